//! Answers of the fake server, good and bad.
//!
//! Owns: bytes on the wire. Must not: judge requests.

use std::io;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::http::HttpRequest;
use super::{Answer, Behaviour};

/// What happens to the connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    KeepAlive,
    Close,
}

/// Answers a request, or does not.
pub(super) async fn behave(
    stream: &mut TcpStream,
    request: &HttpRequest,
    behaviour: Behaviour,
) -> io::Result<Then> {
    match behaviour {
        Behaviour::Answer(answer) => give(stream, request, &answer).await,
        Behaviour::Delayed(delay, answer) => {
            tokio::time::sleep(delay).await;
            give(stream, request, &answer).await
        }
        Behaviour::Split(answer, size) => {
            let bytes = answer.events().concat();
            let pieces: Vec<_> = bytes.chunks(size.max(1)).map(<[u8]>::to_vec).collect();
            events(stream, &pieces).await
        }
        Behaviour::Raw {
            status,
            headers,
            body,
        } => whole(stream, status, &headers, &body).await,
        Behaviour::Events(pieces) => events(stream, &pieces).await,
        Behaviour::Status(status) => whole(stream, status, &[], b"").await,
        Behaviour::Endless => {
            stream.write_all(EVENTS_HEAD).await?;
            let piece = vec![b'x'; 64 << 10];
            loop {
                chunk(stream, b": ").await?;
                chunk(stream, &piece).await?;
                chunk(stream, b"\n").await?;
            }
        }
        Behaviour::Silence => std::future::pending().await,
        Behaviour::SilenceAfter(beginning) => {
            stream.write_all(EVENTS_HEAD).await?;
            chunk(stream, &beginning).await?;
            std::future::pending().await
        }
        Behaviour::DropAfter(beginning) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                beginning.len() + 1000
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&beginning).await?;
            stream.shutdown().await?;
            Ok(Then::Close)
        }
        Behaviour::Drop => Ok(Then::Close),
        Behaviour::EchoKey(status) => {
            let headers: Vec<_> = request
                .headers
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let body = json!({"error": {"message": format!("bad headers: {}", headers.join("&"))}});
            let json_type = ("Content-Type".to_owned(), "application/json".to_owned());
            whole(stream, status, &[json_type], body.to_string().as_bytes()).await
        }
    }
}

const EVENTS_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

async fn give(stream: &mut TcpStream, request: &HttpRequest, answer: &Answer) -> io::Result<Then> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    if body["stream"] == json!(true) {
        return events(stream, &answer.events()).await;
    }
    let json_type = ("Content-Type".to_owned(), "application/json".to_owned());
    whole(stream, 200, &[json_type], answer.whole().to_string().as_bytes()).await
}

async fn whole(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<Then> {
    let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    Ok(Then::KeepAlive)
}

async fn events(stream: &mut TcpStream, pieces: &[Vec<u8>]) -> io::Result<Then> {
    stream.write_all(EVENTS_HEAD).await?;
    for piece in pieces {
        chunk(stream, piece).await?;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(Then::KeepAlive)
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    stream
        .write_all(format!("{:x}\r\n", bytes.len()).as_bytes())
        .await?;
    stream.write_all(bytes).await?;
    stream.write_all(b"\r\n").await?;
    stream.flush().await?;
    // Lets the other side read this piece on its own.
    tokio::task::yield_now().await;
    Ok(())
}

impl Answer {
    fn finish(&self) -> &str {
        self.finish_reason
            .as_deref()
            .unwrap_or(if self.tool_calls.is_empty() {
                "stop"
            } else {
                "tool_calls"
            })
    }

    fn wire_usage(&self) -> Value {
        self.usage.map_or(Value::Null, |(input, output)| {
            json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
        })
    }

    /// Returns the answer in one piece.
    pub(super) fn whole(&self) -> Value {
        let calls: Vec<_> = self
            .tool_calls
            .iter()
            .map(|(id, name, arguments)| {
                json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
            })
            .collect();
        let mut message = json!({"role": "assistant", "content": self.text, "refusal": self.refusal});
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        }
        if let Some(reasoning) = &self.reasoning {
            message["reasoning_content"] = json!(reasoning);
        }
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake-1",
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish(), "logprobs": null}],
            "usage": self.wire_usage(),
        })
    }

    /// Returns the answer as events, one delta of few characters each.
    pub(super) fn events(&self) -> Vec<Vec<u8>> {
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        let mut text = |key: &str, text: &str| {
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks(3) {
                deltas.push(json!({ key: piece.iter().collect::<String>() }));
            }
        };
        text("reasoning_content", self.reasoning.as_deref().unwrap_or_default());
        text("content", &self.text);
        text("refusal", self.refusal.as_deref().unwrap_or_default());
        for (index, (id, name, arguments)) in self.tool_calls.iter().enumerate() {
            let opening = json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}});
            deltas.push(json!({"tool_calls": [opening]}));
            let characters: Vec<char> = arguments.chars().collect();
            for piece in characters.chunks(4) {
                let piece: String = piece.iter().collect();
                deltas.push(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}));
            }
        }
        let piece = |choices: Value, usage: Value| {
            let body = json!({
                "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake-1",
                "choices": choices, "usage": usage,
            });
            format!("data: {body}\n\n").into_bytes()
        };
        let choice =
            |delta: &Value, finish: Value| json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
        let mut events: Vec<_> = deltas
            .iter()
            .map(|delta| piece(choice(delta, Value::Null), Value::Null))
            .collect();
        events.push(piece(choice(&json!({}), json!(self.finish())), Value::Null));
        if self.usage.is_some() {
            events.push(piece(json!([]), self.wire_usage()));
        }
        events.push(b"data: [DONE]\n\n".to_vec());
        events
    }
}
