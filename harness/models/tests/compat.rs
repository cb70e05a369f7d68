//! Calls of a loopback server that behaves in every way, and what comes of each.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use harness_core::ids::{AttemptId, TrialId};
use harness_core::model::{
    CallOrigin, Message, ModelError, ModelRef, ModelRequest, ModelResponse, ModelSpec, ProviderKind, Reply,
    Sampling, StopReason, ToolCall, ToolSpec, Usage,
};
use harness_core::ports::ModelClient;
use harness_core::units::Tokens;
use harness_models::compat::{CompatClient, CompatSettings, Dialect, HttpClient, MAX_BODY, SettingsError};
use harness_models::testing::{Answer, Behaviour, FakeServer};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const KEY: &str = "sk-test/7\"x";

fn request(messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        messages: Arc::new(messages.into_iter().map(Arc::new).collect()),
        tools: Arc::new(Vec::new()),
        sampling: Sampling {
            max_tokens: 64,
            ..Sampling::default()
        },
        origin: CallOrigin {
            attempt: AttemptId {
                trial: TrialId::new("t/s/react/m/0"),
                number: 1,
            },
            task: "t".into(),
            sample: "s".into(),
            scaffold: "react".into(),
            epoch: 0,
            turn: 3,
            tries: 0,
        },
        timeout: Duration::from_secs(30),
    }
}

fn hello() -> ModelRequest {
    request(vec![Message::User { text: "hello".into() }])
}

fn settings(server: &FakeServer, stream: bool) -> CompatSettings {
    CompatSettings {
        base_url: server.base_url(),
        model: "fake".into(),
        key: Some(KEY.into()),
        stream,
        dialect: Dialect::Compat,
        stall_timeout: Duration::from_secs(20),
    }
}

fn client(settings: CompatSettings) -> CompatClient {
    CompatClient::new(settings, &HttpClient::new().unwrap()).unwrap()
}

fn response(reply: Reply, stop: StopReason, usage: Option<(u64, u64)>) -> ModelResponse {
    ModelResponse {
        reply,
        stop,
        usage: usage.map(|(input, output)| Usage {
            input: Tokens(input),
            output: Tokens(output),
            ..Usage::default()
        }),
        served_by: Some("fake-1".into()),
    }
}

fn text(text: &str) -> Reply {
    Reply {
        text: text.into(),
        ..Reply::default()
    }
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    }
}

async fn check(behaviour: Behaviour, stream: bool, expected: Result<ModelResponse, ModelError>) {
    let shown = format!("{behaviour:?}").chars().take(300).collect::<String>();
    let server = FakeServer::start([behaviour]).await.unwrap();
    let result = client(settings(&server, stream)).complete(&hello()).await;
    assert_eq!(result, expected, "{shown}");
    assert_eq!(server.problems(), Vec::<String>::new(), "{shown}");
}

fn events(pieces: &[Value]) -> Behaviour {
    let lines = pieces
        .iter()
        .map(|piece| format!("data: {piece}\n\n").into_bytes());
    Behaviour::Events(lines.collect())
}

fn delta(delta: &Value, finish: &Value) -> Value {
    json!({"model": "fake-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn whole(message: &Value, finish: &str) -> Behaviour {
    let body =
        json!({"model": "fake-1", "choices": [{"message": message, "finish_reason": finish}], "extra": [1]});
    Behaviour::json(200, &body)
}

#[tokio::test]
async fn good_answers_are_the_same_whole_streamed_and_split() {
    let answer = Answer {
        text: "grüße, 世界 😀".into(),
        reasoning: Some("so, nämlich".into()),
        tool_calls: vec![
            ("a".into(), "bash".into(), r#"{"command": "ls ä"}"#.into()),
            ("b".into(), "submit".into(), "not json".into()),
        ],
        usage: Some((12, 7)),
        ..Answer::default()
    };
    let reply = Reply {
        text: "grüße, 世界 😀".into(),
        reasoning: Some("so, nämlich".into()),
        tool_calls: vec![
            call("a", "bash", r#"{"command": "ls ä"}"#),
            call("b", "submit", "not json"),
        ],
    };
    let expected = response(reply, StopReason::ToolCalls, Some((12, 7)));
    check(Behaviour::Answer(answer.clone()), false, Ok(expected.clone())).await;
    check(Behaviour::Answer(answer.clone()), true, Ok(expected.clone())).await;
    for size in [1, 2, 7, 1000] {
        check(Behaviour::Split(answer.clone(), size), true, Ok(expected.clone())).await;
    }
    // A server that does not stream although it was asked to.
    let plain = whole(&json!({"content": "plain"}), "stop");
    check(
        plain,
        true,
        Ok(response(text("plain"), StopReason::EndTurn, None)),
    )
    .await;
}

#[tokio::test]
async fn endings_have_one_meaning() {
    let cases = [
        ("stop", StopReason::EndTurn),
        ("eos", StopReason::EndTurn),
        ("length", StopReason::MaxTokens),
        ("content_filter", StopReason::ContentFilter),
        ("stop_sequence", StopReason::StopText),
        ("tool_calls", StopReason::EndTurn),
    ];
    for (finish, stop) in cases {
        for stream in [false, true] {
            let answer = Answer {
                text: "x".into(),
                finish_reason: Some(finish.into()),
                ..Answer::default()
            };
            check(
                Behaviour::Answer(answer),
                stream,
                Ok(response(text("x"), stop, None)),
            )
            .await;
        }
    }
    for stream in [false, true] {
        let answer = Answer {
            refusal: Some("I won't".into()),
            ..Answer::default()
        };
        let refused = response(text("I won't"), StopReason::Refusal, None);
        check(Behaviour::Answer(answer), stream, Ok(refused)).await;
    }
}

#[tokio::test]
async fn odd_but_good_answers_are_understood() {
    let finished = |message: &Value| whole(message, "stop");
    let calls = |calls: Vec<ToolCall>| Reply {
        tool_calls: calls,
        ..Reply::default()
    };
    let cases = [
        (
            finished(&json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})),
            response(text("ab"), StopReason::EndTurn, None),
        ),
        (
            finished(&json!({"content": null, "tool_calls": [
                {"function": {"name": "f", "arguments": {"x": 1}}}, {"id": "z", "function": {"name": "g"}},
                {"id": "z", "function": {"name": "h", "arguments": ""}}]})),
            response(
                calls(vec![
                    call("call_3_0", "f", r#"{"x":1}"#),
                    call("z", "g", ""),
                    call("call_3_2", "h", ""),
                ]),
                StopReason::ToolCalls,
                None,
            ),
        ),
        // Calls that are all counted as 0, and calls without any index.
        (
            events(&[
                delta(&json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}), &Value::Null),
                delta(&json!({"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g", "arguments": "{"}}]}), &Value::Null),
                delta(&json!({"tool_calls": [{"index": 0, "id": "b", "function": {"name": "g", "arguments": "}"}}]}), &Value::Null),
                delta(&json!({"tool_calls": [{"id": "c", "function": {"name": "h", "arguments": "{}"}}]}), &json!("tool_calls")),
            ]),
            response(
                calls(vec![call("a", "f", "{}"), call("b", "g", "{}"), call("c", "h", "{}")]),
                StopReason::ToolCalls,
                None,
            ),
        ),
        // Comments, CRLF, an unfinished last line and no `[DONE]`.
        (
            Behaviour::Events(vec![
                b": wait\r\n\r\nevent: x\r\ndata:{\"model\": \"fake-1\", \"choices\": [{\"delta\": {\"content\": \"a\"}}]}\r".to_vec(),
                b"\n\r\ndata: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}]}".to_vec(),
            ]),
            response(text("a"), StopReason::EndTurn, None),
        ),
    ];
    for (behaviour, expected) in cases {
        check(behaviour, true, Ok(expected)).await;
    }
}

#[tokio::test]
async fn usage_is_read_in_its_dialects() {
    let cases = [
        (
            json!({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 3}}),
            Some((9, 4, 5, 3)),
        ),
        (
            json!({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 14,
                "completion_tokens_details": {"reasoning_tokens": 3}}),
            Some((9, 0, 5, 3)),
        ),
        (
            json!({"prompt_tokens": 9, "completion_tokens": 5, "prompt_cache_hit_tokens": 4, "prompt_tokens_details": null}),
            Some((9, 4, 5, 0)),
        ),
        (json!({"prompt_tokens": "many"}), None),
        (Value::Null, None),
    ];
    for (usage, expected) in cases {
        let body =
            json!({"choices": [{"message": {"content": ""}, "finish_reason": "stop"}], "usage": usage});
        let expected = expected.map(|(input, cached, output, reasoning)| Usage {
            input: Tokens(input),
            cached_input: Tokens(cached),
            output: Tokens(output),
            reasoning: Tokens(reasoning),
        });
        let response = ModelResponse {
            reply: Reply::default(),
            stop: StopReason::EndTurn,
            usage: expected,
            served_by: None,
        };
        check(Behaviour::json(200, &body), false, Ok(response)).await;
    }
}

#[tokio::test]
async fn refused_calls_have_one_meaning() {
    let said = |status: u16, what: &str| format!("status {status}: {what}");
    let limited = |code: &str| Behaviour::error(429, code, "slow down");
    let seconds = |n| Some(Duration::from_secs(n));
    let cases = [
        (
            limited("rate_limit_exceeded").with_header("Retry-After", "7"),
            ModelError::RateLimited {
                retry_after: seconds(7),
            },
        ),
        (
            limited("x")
                .with_header("Retry-After", "Sun, 06 Nov 1994 08:50:07 GMT")
                .with_header("Date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ModelError::RateLimited {
                retry_after: seconds(30),
            },
        ),
        (limited("x"), ModelError::RateLimited { retry_after: None }),
        (
            limited("insufficient_quota"),
            ModelError::QuotaSpent {
                detail: said(429, "slow down"),
            },
        ),
        (
            Behaviour::Status(503),
            ModelError::Overloaded {
                status: 503,
                retry_after: None,
            },
        ),
        (
            Behaviour::error(529, "overloaded", "busy").with_header("retry-after-ms", "1500"),
            ModelError::Overloaded {
                status: 529,
                retry_after: Some(Duration::from_millis(1500)),
            },
        ),
        (
            Behaviour::error(404, "model_not_found", "no such model"),
            ModelError::UnknownModel {
                detail: said(404, "no such model"),
            },
        ),
        (
            Behaviour::error(400, "context_length_exceeded", "too long"),
            ModelError::ContextTooLong {
                detail: said(400, "too long"),
            },
        ),
        (
            Behaviour::error(400, "content_policy_violation", "no"),
            ModelError::ContentPolicy {
                detail: said(400, "no"),
            },
        ),
        (
            Behaviour::json(
                400,
                &json!({"error": {"message": "too hot", "param": "temperature"}}),
            ),
            ModelError::BadRequest {
                detail: "status 400, field `temperature`: too hot".into(),
            },
        ),
        (
            Behaviour::Status(307).with_header("Location", "http://127.0.0.1:9/"),
            ModelError::BadRequest {
                detail: said(307, "the server redirects, check `base_url`"),
            },
        ),
    ];
    for (behaviour, expected) in cases {
        check(behaviour, true, Err(expected)).await;
    }
}

#[tokio::test]
async fn failures_that_come_with_status_200_keep_their_meaning() {
    let said = |status: u16, what: &str| format!("status {status}: {what}");
    let cases = [
        (
            Behaviour::json(200, &json!({"error": {"message": "upstream", "code": 502}})),
            ModelError::Overloaded {
                status: 502,
                retry_after: None,
            },
        ),
        (
            events(&[
                delta(&json!({"content": "a"}), &Value::Null),
                json!({"error": {"message": "no", "code": "429"}}),
            ]),
            ModelError::RateLimited { retry_after: None },
        ),
        (
            events(&[json!({"error": {"message": "pay", "type": "insufficient_quota"}})]),
            ModelError::QuotaSpent {
                detail: said(429, "pay"),
            },
        ),
        (
            events(&[json!({"error": "boom"})]),
            ModelError::Overloaded {
                status: 500,
                retry_after: None,
            },
        ),
    ];
    for (behaviour, expected) in cases {
        check(behaviour, true, Err(expected)).await;
    }
}

#[tokio::test]
async fn errors_never_hold_the_key() {
    for stream in [false, true] {
        for status in [400, 401, 403, 404, 422, 429, 500] {
            let server = FakeServer::start([Behaviour::EchoKey(status)]).await.unwrap();
            let error = client(settings(&server, stream))
                .complete(&hello())
                .await
                .unwrap_err();
            assert_eq!(server.seen()[0].key.as_deref(), Some(KEY));
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sk-test"), "{shown}");
            assert!(
                matches!(status, 429 | 500) || shown.contains("authorization=Bearer ***"),
                "{shown}"
            );
        }
    }
    let html = format!("<html>{KEY}</html>");
    let not_json = Behaviour::Raw {
        status: 200,
        headers: vec![],
        body: html.into_bytes(),
    };
    let detail = "not the JSON of an answer (expected value at line 1 column 1): <html>***</html>".to_owned();
    check(not_json, false, Err(ModelError::Malformed { detail })).await;
}

#[tokio::test]
async fn bytes_that_are_no_answer_are_malformed() {
    let kind = |kind: &str, body: &[u8]| Behaviour::Raw {
        status: 200,
        headers: vec![("Content-Type".into(), kind.into())],
        body: body.to_vec(),
    };
    let cut = "not the JSON of an answer (EOF while parsing a value at line 1 column 12)";
    let no_end = "no `finish_reason`, so the answer may be cut";
    let piece = delta(&json!({"content": "a"}), &Value::Null);
    let cases = [
        (
            kind("application/json", b"{\"choices\": "),
            format!("{cut}: {{\"choices\":"),
        ),
        (
            kind("application/json", b""),
            "not the JSON of an answer (EOF while parsing a value at line 1 column 0): nothing came".into(),
        ),
        (
            kind("text/html; charset=utf-8", b"<h1>\x1b[31mLog\r\nin</h1>"),
            "content type `text/html` where JSON was expected: <h1>\\u{1b}[31mLog in</h1>".into(),
        ),
        (Behaviour::json(200, &json!({})), format!("{no_end}: {{}}")),
        (events(std::slice::from_ref(&piece)), format!("{no_end}: {piece}")),
        (kind("text/event-stream", b""), format!("{no_end}: nothing came")),
        (
            kind("text/event-stream", b"data: {\"choices\": \n\n"),
            format!("{cut}: {{\"choices\":"),
        ),
        (
            Behaviour::Endless,
            format!("the body is longer than {MAX_BODY} bytes"),
        ),
        (
            whole(&json!({"content": "a"}), "aliens"),
            format!(
                "unknown `finish_reason` \"aliens\": {}",
                r#"{"model":"fake-1","choices":[{"message":{"content":"a"},"finish_reason":"aliens"}],"extra":[1]}"#
            ),
        ),
    ];
    for (behaviour, detail) in cases {
        check(behaviour, true, Err(ModelError::Malformed { detail })).await;
    }
}

#[tokio::test]
async fn endless_talk_is_malformed() {
    let piece = delta(&json!({"content": "x".repeat(100_000)}), &Value::Null);
    let server = FakeServer::start([events(&vec![piece; 11])]).await.unwrap();
    let error = client(settings(&server, true))
        .complete(&hello())
        .await
        .unwrap_err();
    let ModelError::Malformed { detail } = error else {
        panic!("{error:?}");
    };
    let beginning = "the reply is longer than 1048576 bytes: {\"model\":\"fake-1\",";
    assert_eq!(
        (&detail[..beginning.len()], detail.chars().count()),
        (beginning, 40 + 200)
    );
}

#[tokio::test]
async fn silence_is_stalled() {
    let wait = Duration::from_millis(300);
    let mut request = hello();
    request.timeout = wait;
    for stream in [false, true] {
        let server = FakeServer::start([Behaviour::Silence]).await.unwrap();
        let result = client(settings(&server, stream)).complete(&request).await;
        assert_eq!(result, Err(ModelError::Stalled { waited: wait }));
    }
    let begun = b"data: {\"choices\": [{\"delta\": {\"content\": \"a\"}}]}\n\n".to_vec();
    let server = FakeServer::start([Behaviour::SilenceAfter(begun)]).await.unwrap();
    let mut settings = settings(&server, true);
    settings.stall_timeout = Duration::from_millis(200);
    let result = client(settings).complete(&hello()).await;
    let waited = Duration::from_millis(200);
    assert_eq!(result, Err(ModelError::Stalled { waited }));
}

#[tokio::test]
async fn broken_connections_are_named() {
    let broken = |detail: &str| {
        Err(ModelError::Connection {
            detail: detail.to_owned(),
        })
    };
    check(
        Behaviour::Drop,
        false,
        broken("connection closed before message completed"),
    )
    .await;
    let begun = Behaviour::DropAfter(b"{\"choices\": [".to_vec());
    check(begun, false, broken("end of file before message length reached")).await;
    let server = FakeServer::start([]).await.unwrap();
    let mut settings = settings(&server, false);
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    settings.base_url = format!("http://{closed}");
    let result = client(settings.clone()).complete(&hello()).await;
    assert_eq!(result, broken("Connection refused (os error 111)"));

    settings.base_url = server.base_url().replace("http:", "https:");
    let error = client(settings).complete(&hello()).await.unwrap_err();
    assert_eq!(error.name(), "connection");
}

#[tokio::test]
async fn requests_are_written_as_a_strict_server_wants_them() {
    let server = FakeServer::start([Behaviour::Answer(Answer::text("ok"))])
        .await
        .unwrap();
    let mut request = request(vec![
        Message::System {
            text: "be brief".into(),
        },
        Message::User { text: "go".into() },
        Message::Assistant(Reply {
            text: String::new(),
            reasoning: Some("not sent back".into()),
            tool_calls: vec![call("a", "bash", "not json"), call("b", "submit", "")],
        }),
        Message::Tool {
            call_id: "a".into(),
            name: "bash".into(),
            text: "bad arguments".into(),
        },
        Message::Tool {
            call_id: "b".into(),
            name: "submit".into(),
            text: String::new(),
        },
        Message::Assistant(text("")),
        Message::User { text: "more".into() },
    ]);
    request.tools = Arc::new(vec![ToolSpec {
        name: "bash".into(),
        description: "runs".into(),
        parameters: json!({"type": "object", "properties": {}}),
    }]);
    request.sampling = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: 64,
        seed: Some(u64::MAX),
        stop: vec!["END".into()],
    };
    client(settings(&server, true)).complete(&request).await.unwrap();
    let tool_call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expected = json!({
        "model": "fake",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "tool_calls": [
                tool_call("a", "bash", r#"{"malformed_arguments":"not json"}"#), tool_call("b", "submit", "{}")]},
            {"role": "tool", "tool_call_id": "a", "content": "bad arguments"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": "more"},
        ],
        "tools": [{"type": "function", "function":
            {"name": "bash", "description": "runs", "parameters": {"type": "object", "properties": {}}}}],
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 64, "seed": i64::MAX, "stop": ["END"],
        "stream": true, "stream_options": {"include_usage": true},
    });
    assert_eq!(server.seen()[0].body, expected);
    assert_eq!(server.problems(), Vec::<String>::new());

    // What is not set is not sent; OpenAI's own name of the length.
    let plain = CompatSettings {
        key: None,
        dialect: Dialect::Openai,
        ..settings(&server, false)
    };
    client(plain).complete(&hello()).await.unwrap();
    let seen = server.seen().remove(1);
    assert_eq!(seen.key, None);
    assert_eq!(
        seen.body,
        json!({"model": "fake", "messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 64, "stream": false})
    );
}

#[tokio::test]
async fn the_server_refuses_broken_conversations() {
    let orphan = Message::Tool {
        call_id: "x".into(),
        name: "bash".into(),
        text: String::new(),
    };
    let open = Message::Assistant(Reply {
        tool_calls: vec![call("a", "f", "{}")],
        ..Reply::default()
    });
    let user = || Message::User { text: "u".into() };
    let cases = [
        (vec![user(), orphan], "message 1 is of `tool` after `user`"),
        (
            vec![user(), open, user()],
            "calls without an answer before message 2: a",
        ),
        (vec![user(), user()], "message 1 is of `user` after `user`"),
        (vec![], "`messages` is not a filled list"),
    ];
    for (messages, expected) in cases {
        let server = FakeServer::start([Behaviour::Answer(Answer::text("ok"))])
            .await
            .unwrap();
        let result = client(settings(&server, false))
            .complete(&request(messages))
            .await;
        let detail = format!("status 400: {expected}");
        assert_eq!(result, Err(ModelError::BadRequest { detail }));
        assert_eq!(server.problems()[0], expected);
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let http = HttpClient::new().unwrap();
    let server = FakeServer::start([Behaviour::Answer(Answer::text("ok"))])
        .await
        .unwrap();
    for stream in [true, false, true, false] {
        let client = CompatClient::new(settings(&server, stream), &http).unwrap();
        client.complete(&hello()).await.unwrap();
    }
    assert_eq!((server.seen().len(), server.connections()), (4, 1));
}

#[test]
fn settings_are_checked() {
    let with = |base_url: &str, key: Option<&str>| CompatSettings {
        base_url: base_url.into(),
        model: "m".into(),
        key: key.map(Into::into),
        stream: false,
        dialect: Dialect::Compat,
        stall_timeout: Duration::from_secs(1),
    };
    let http = HttpClient::new().unwrap();
    let problem = |settings| CompatClient::new(settings, &http).err();
    let bad = |problem| Some(SettingsError::BadBaseUrl { problem });
    let no_url = "is not a URL, expected one such as `http://localhost:8000/v1`";
    assert_eq!(problem(with("http://localhost:1/v1/", Some("k\n"))), None);
    assert_eq!(problem(with("localhost", None)), bad(no_url));
    assert_eq!(
        problem(with("ftp://localhost", None)),
        bad("must begin with `http://` or `https://`")
    );
    assert_eq!(
        problem(with("http://me:secret@localhost", None)),
        bad("must not contain a user or password, give the key on its own")
    );
    let bad_key = Some(SettingsError::BadKey { model: "m".into() });
    assert_eq!(problem(with("http://localhost", Some("a\nb"))), bad_key);
    assert!(!format!("{:?}", with("http://localhost", Some(KEY))).contains("sk-test"));
}

#[test]
fn settings_come_from_the_model_of_a_suite() {
    let spec = |provider, base_url: Option<&str>| ModelSpec {
        id: "m".into(),
        reference: ModelRef {
            provider,
            name: "big".into(),
        },
        role: None,
        base_url: base_url.map(Into::into),
        key: None,
        remote_name: Some("remote".into()),
        stream: true,
        call_timeout: None,
        price: None,
    };
    let from = |spec| {
        CompatSettings::from_spec(&spec, None).map(|settings| {
            (
                settings.base_url,
                settings.model,
                settings.stream,
                settings.dialect,
            )
        })
    };
    let settings = |url: &str, dialect| Ok((url.to_owned(), "remote".to_owned(), true, dialect));
    assert_eq!(
        from(spec(ProviderKind::Openai, None)),
        settings("https://api.openai.com/v1", Dialect::Openai)
    );
    assert_eq!(
        from(spec(ProviderKind::Compat, Some("http://localhost:1/v1"))),
        settings("http://localhost:1/v1", Dialect::Compat)
    );
    let model = "compat/big".to_owned();
    assert_eq!(
        from(spec(ProviderKind::Compat, None)),
        Err(SettingsError::NoBaseUrl { model })
    );
    let model = "torch/big".to_owned();
    assert_eq!(
        from(spec(ProviderKind::Torch, None)),
        Err(SettingsError::OtherProvider { model })
    );
}
