//! A server for tests that speaks chat completions on the loopback interface, well or badly.
//!
//! Owns: strict checks of every request, and every way in which a server can misbehave. Must not: be used outside
//! of tests, listen on anything but 127.0.0.1.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use harness_models::testing::{Answer, Behaviour, FakeServer};
//!
//! let server = FakeServer::start([Behaviour::Status(500), Behaviour::Answer(Answer::text("hello"))]).await?;
//! // ... calls to `server.base_url()`: the first fails, the others are answered ...
//! assert_eq!(server.problems(), Vec::<String>::new());
//! # Ok(())
//! # }
//! ```

mod http;
mod validate;
mod write;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use http::HttpRequest;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers; streamed if the request asks for it, in pieces of one event.
    Answer(Answer),
    /// Answers after a delay.
    Delayed(Duration, Answer),
    /// Answers with a stream that is cut into pieces of so many bytes.
    Split(Answer, usize),
    /// Sends this status, these headers and this body.
    Raw {
        /// The HTTP status.
        status: u16,
        /// Headers beside the length.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Sends an event stream of exactly these bytes, piece by piece.
    Events(Vec<Vec<u8>>),
    /// Sends a status and nothing else.
    Status(u16),
    /// Sends an event stream that never ends.
    Endless,
    /// Sends nothing, and keeps the connection.
    Silence,
    /// Sends headers and this beginning of an event stream, then nothing.
    SilenceAfter(Vec<u8>),
    /// Sends headers that promise more than this beginning of a JSON body, then closes the connection.
    DropAfter(Vec<u8>),
    /// Closes the connection without a byte.
    Drop,
    /// Answers with a status and an error that repeats the request's headers, key included.
    EchoKey(u16),
}

impl Behaviour {
    /// Builds an error answer as OpenAI writes it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({
            "error": {"message": message, "type": code, "code": code, "param": null}
        });
        Self::json(status, &body)
    }

    /// Builds a JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Raw {
            status,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    /// Adds a header to a raw answer.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Raw { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// A good answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Reasoning (`reasoning_content`).
    pub reasoning: Option<String>,
    /// Calls: id, name, arguments.
    pub tool_calls: Vec<(String, String, String)>,
    /// A refusal.
    pub refusal: Option<String>,
    /// Why it ends; `stop` or `tool_calls` if empty.
    pub finish_reason: Option<String>,
    /// Input and output tokens.
    pub usage: Option<(u64, u64)>,
}

impl Answer {
    /// Builds an answer of text.
    pub fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            usage: Some((10, 5)),
            ..Self::default()
        }
    }

    /// Builds an answer that calls one tool.
    pub fn tool(id: &str, name: &str, arguments: &Value) -> Self {
        Self {
            tool_calls: vec![(id.to_owned(), name.to_owned(), arguments.to_string())],
            usage: Some((10, 5)),
            ..Self::default()
        }
    }
}

/// A request that came, as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The bearer key.
    pub key: Option<String>,
    /// The body.
    pub body: Value,
}

type Decide = dyn Fn(usize, &Seen) -> Behaviour + Send + Sync;

struct Shared {
    decide: Box<Decide>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    problems: Vec<String>,
    connections: usize,
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down, checks it, and decides what happens.
    fn receive(&self, request: &HttpRequest) -> Behaviour {
        let (seen, problems) = validate::request(request);
        let number = {
            let mut log = self.log();
            log.seen.push(seen.clone());
            log.problems.extend(problems.iter().cloned());
            log.seen.len() - 1
        };
        match problems.first() {
            Some(problem) => Behaviour::error(400, "invalid_request_error", problem),
            None => (self.decide)(number, &seen),
        }
    }
}

/// A running server; dropped, it stops.
pub struct FakeServer {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    accept: AbortHandle,
}

impl fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl FakeServer {
    /// Starts a server that treats its n-th request with the n-th behaviour, and all further ones with the last.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(behaviours: impl IntoIterator<Item = Behaviour>) -> io::Result<Self> {
        let behaviours: Vec<_> = behaviours.into_iter().collect();
        Self::start_with(move |number, _| {
            let behaviour = behaviours.get(number).or(behaviours.last());
            behaviour.cloned().unwrap_or(Behaviour::Status(500))
        })
        .await
    }

    /// Starts a server that decides by the request's number (from 0) and content.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start_with(
        decide: impl Fn(usize, &Seen) -> Behaviour + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            decide: Box::new(decide),
            log: Mutex::default(),
        });
        let accept = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Ok(Self {
            address,
            shared,
            accept,
        })
    }

    /// Returns what clients take as `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.log().seen.clone()
    }

    /// Returns what was wrong with requests; each of them was answered with status 400.
    pub fn problems(&self) -> Vec<String> {
        self.shared.log().problems.clone()
    }

    /// Returns how many connections were made.
    pub fn connections(&self) -> usize {
        self.shared.log().connections
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Accepts connections until it is aborted; the connections end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.log().connections += 1;
        connections.spawn(serve(stream, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection. Errors of the socket end it: what they mean is for the client to say.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Ok(Some(request)) = http::read(&mut stream, &mut buffer).await {
        let behaviour = shared.receive(&request);
        match write::behave(&mut stream, &request, behaviour).await {
            Ok(write::Then::KeepAlive) => {}
            Ok(write::Then::Close) | Err(_) => return,
        }
    }
}
