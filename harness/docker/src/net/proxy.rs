//! The proxy through which a sandbox reaches what its task allows.
//!
//! Owns: one request from its head to its end: judged, resolved, judged again, connected, copied, reported. Must
//! not: decide who may be reached (`core::egress` does), or look into what is tunnelled. What is inside TLS is not
//! seen: a tunnel to an allowed host can carry anything that this host accepts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness_core::egress::{AllowList, EgressVerdict, Host, Target};
use harness_guest::PIECE;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::attempt::{Attempt, Report};
use super::http::{Body, Head, LONGEST_HEAD, Request, RequestKind, read_head};
use super::mux::Listener;
use super::outside::Outside;

/// Where the helper listens for the proxy, inside the sandbox.
pub(crate) const PROXY_ADDRESS: [u8; 4] = [127, 1, 255, 254];
/// The port there.
pub(crate) const PROXY_PORT: u16 = 3128;
/// How many requests of one sandbox are passed on at a time.
const MOST_REQUESTS: usize = 64;
/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 4;
/// How long a head may take.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long resolving a name may take, and connecting to one address.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// How long nothing may move in either direction before a connection is ended; at most twice this time passes.
const IDLE_TIME: Duration = Duration::from_secs(300);

/// The proxy of one sandbox.
pub(crate) struct Proxy {
    list: AllowList,
    outside: Arc<dyn Outside>,
    report: Report,
    requests: Semaphore,
}

/// Why a request is not passed on.
struct Refusal {
    status: &'static str,
    text: String,
}

impl Proxy {
    /// Makes the proxy of a sandbox. `report` is called once for each request, when it ends; it must not block.
    pub(crate) fn new(list: AllowList, outside: Arc<dyn Outside>, report: Report) -> Self {
        Self {
            list,
            outside,
            report,
            requests: Semaphore::new(MOST_REQUESTS),
        }
    }

    /// Serves a sandbox's connections until its stream is gone. Then what is under way ends and is reported,
    /// before this returns.
    pub(crate) async fn run(self: Arc<Self>, mut listener: Listener) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Some(connection) = accepted else { break };
                    let proxy = Arc::clone(&self);
                    tasks.spawn(async move { proxy.serve(connection).await });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
        tasks.shutdown().await;
    }

    /// Serves one connection, which carries one request.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut client: S) {
        let mut attempt = Attempt::new(Arc::clone(&self.report));
        let served = match timeout(HEAD_TIME, read_request(&mut client, &mut attempt)).await {
            Ok(Ok(Some((request, rest)))) => self.pass_on(&mut client, request, &rest, &mut attempt).await,
            Ok(Ok(None)) => Ok(()),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(malformed("its head did not come in time")),
        };
        if let Err(refusal) = served {
            let answer = refusal.answer();
            let _ = client.write_all(answer.as_bytes()).await;
            let _ = client.shutdown().await;
        }
    }

    async fn pass_on<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        client: &mut S,
        request: Request,
        rest: &[u8],
        attempt: &mut Attempt,
    ) -> Result<(), Refusal> {
        let Request {
            method,
            endpoint,
            kind,
        } = request;
        attempt.asks_for(&method, &endpoint);
        let Ok(_permit) = self.requests.try_acquire() else {
            attempt.is(EgressVerdict::TooMany);
            return Err(Refusal::new(
                "503 Service Unavailable",
                "there are too many connections at once",
            ));
        };
        let shown = endpoint.to_string();
        let reached = match self.list.asked(endpoint) {
            Ok(target) => {
                attempt.is(EgressVerdict::Failed);
                self.reach(&target).await
            }
            Err(verdict) => Err(verdict),
        };
        match reached {
            Ok((upstream, address)) => {
                attempt.reached(address);
                // However a connection ends that was made, there is nobody left to tell.
                let _ = carry(client, upstream, (kind, rest), attempt).await;
                Ok(())
            }
            Err(verdict) => {
                attempt.is(verdict);
                Err(refused(verdict, &shown))
            }
        }
    }

    /// Resolves and connects. Every address is judged before anything is sent to it.
    async fn reach(&self, target: &Target) -> Result<(TcpStream, SocketAddr), EgressVerdict> {
        let addresses: Vec<IpAddr> = match target.endpoint().host() {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let resolved = timeout(DIAL_TIME, self.outside.resolve(name)).await;
                resolved
                    .map_err(|_| EgressVerdict::Failed)?
                    .map_err(|_| EgressVerdict::Failed)?
            }
        };
        let mut verdict = EgressVerdict::Failed;
        let mut allowed = Vec::new();
        for address in addresses {
            match target.address(address) {
                Ok(()) => allowed.push(SocketAddr::new(address, target.endpoint().port())),
                Err(refused) => verdict = refused,
            }
        }
        if !allowed.is_empty() {
            verdict = EgressVerdict::Failed;
        }
        for address in allowed.into_iter().take(MOST_ADDRESSES) {
            if let Ok(Ok(upstream)) = timeout(DIAL_TIME, self.outside.dial(address)).await {
                return Ok((upstream, address));
            }
        }
        Err(verdict)
    }
}

impl Refusal {
    fn new(status: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    fn answer(&self) -> String {
        let text = format!("harness: {}\n", self.text);
        let headers = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
        format!(
            "HTTP/1.1 {}\r\n{headers}\r\nContent-Length: {}\r\n\r\n{text}",
            self.status,
            text.len()
        )
    }
}

/// Reads the head of a request and what came with it; `None` if the other side is gone.
async fn read_request<S: AsyncRead + Unpin>(
    client: &mut S,
    attempt: &mut Attempt,
) -> Result<Option<(Request, Vec<u8>)>, Refusal> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let room = (LONGEST_HEAD - bytes.len()).min(buffer.len());
        let read = match client.read(&mut buffer[..room]).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(read) => read,
        };
        attempt.begin();
        let searched = bytes.len().saturating_sub(2);
        bytes.extend_from_slice(&buffer[..read]);
        // A head ends with an empty line; reading it again and again before that would cost the square of its length.
        let new = &bytes[searched..];
        let ended =
            new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
        if !ended && bytes.len() < LONGEST_HEAD {
            continue;
        }
        match read_head(&bytes) {
            Head::Partial => {}
            Head::Bad(bad) => {
                attempt.asks(&bad.method, &bad.asked);
                return Err(malformed(bad.problem));
            }
            Head::Whole(request, length) => return Ok(Some((request, bytes.split_off(length)))),
        }
    }
}

fn malformed(problem: &str) -> Refusal {
    Refusal::new(
        "400 Bad Request",
        format!("this request is not understood: {problem}"),
    )
}

fn refused(verdict: EgressVerdict, shown: &str) -> Refusal {
    let forbidden = "403 Forbidden";
    match verdict {
        EgressVerdict::NotListed => Refusal::new(
            forbidden,
            format!("{shown} is not on the list of what this task allows"),
        ),
        EgressVerdict::Forbidden => Refusal::new(
            forbidden,
            format!("{shown} leads to an address that this task's list does not allow"),
        ),
        EgressVerdict::Malformed => malformed("its host is not understood"),
        EgressVerdict::TooMany => Refusal::new(
            "503 Service Unavailable",
            "there are too many connections at once",
        ),
        EgressVerdict::Failed | EgressVerdict::Allowed => {
            Refusal::new("502 Bad Gateway", format!("{shown} cannot be reached"))
        }
    }
}

/// Carries a request to where it goes and the answer back, until it is over or nothing moves any more.
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut S,
    mut upstream: TcpStream,
    (kind, rest): (RequestKind, &[u8]),
    attempt: &Attempt,
) -> io::Result<()> {
    match kind {
        RequestKind::Tunnel => {
            client
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await?;
            let (from_client, to_client) = tokio::io::split(client);
            let (from_upstream, to_upstream) = upstream.split();
            let up = copy(rest, from_client, to_upstream, attempt.sent());
            let down = copy(&[], from_upstream, to_client, attempt.received());
            tokio::select! {
                both = async { tokio::try_join!(up, down) } => both.map(|_| ()),
                () = silence(attempt) => Err(io::ErrorKind::TimedOut.into()),
            }
        }
        RequestKind::Plain { head, body } => {
            let (from_client, to_client) = tokio::io::split(client);
            let (from_upstream, to_upstream) = upstream.split();
            let up = send_request((&head, rest), body, from_client, (to_upstream, attempt.sent()));
            let down = copy(&[], from_upstream, to_client, attempt.received());
            tokio::select! {
                answered = down => answered,
                problem = up => Err(problem),
                () = silence(attempt) => Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

/// Copies until the end and passes the end on.
async fn copy(
    first: &[u8],
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
) -> io::Result<()> {
    write_counted(&mut to, first, count).await?;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        write_counted(&mut to, &buffer[..read], count).await?;
    }
}

/// Sends one request and its body and nothing behind it: a second request would reach the host without having been
/// judged. Returns only if the sandbox's side does something wrong; the answer's end is what ends a request, also of
/// a host that answers before it has read everything.
async fn send_request(
    (head, rest): (&[u8], &[u8]),
    mut body: Body,
    mut from: impl AsyncRead + Unpin,
    (mut to, count): (impl AsyncWrite + Unpin, &AtomicU64),
) -> io::Error {
    let mut gone = write_counted(&mut to, head, count).await.is_err();
    let mut buffer = rest.to_vec();
    loop {
        let Some(own) = body.take(&buffer) else {
            return io::ErrorKind::InvalidData.into();
        };
        let (own, behind) = buffer.split_at(own);
        if !behind.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            return io::ErrorKind::InvalidData.into();
        }
        gone = gone || write_counted(&mut to, own, count).await.is_err();
        buffer.resize(PIECE, 0);
        match from.read(&mut buffer).await {
            Ok(0) if body.is_over() => std::future::pending().await,
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(read) => buffer.truncate(read),
            Err(error) => return error,
        }
    }
}

async fn write_counted(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    count: &AtomicU64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = to.write(bytes).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        count.fetch_add(written as u64, Ordering::Relaxed);
        bytes = &bytes[written..];
    }
    to.flush().await
}

/// Waits until nothing has moved for a while.
async fn silence(attempt: &Attempt) {
    let mut before = attempt.bytes();
    loop {
        sleep(IDLE_TIME).await;
        let now = attempt.bytes();
        if now == before {
            return;
        }
        before = now;
    }
}
