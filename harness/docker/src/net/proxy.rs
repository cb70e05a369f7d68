//! The proxy through which a sandbox reaches what its task allows.
//!
//! Owns: one request from its head to its end: judged, resolved, judged again, connected, reported (`carry` copies).
//! Must not: decide who may be reached (`core::egress` does), or look into what is tunnelled. What is inside TLS is
//! not seen: a tunnel to an allowed host can carry anything that this host accepts.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use harness_core::egress::{AllowList, EgressVerdict, Host, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::attempt::{Attempt, Report};
use super::carry::{carry, without_line_ends};
use super::http::{Head, LONGEST_HEAD, Request, RequestKind, read_head};
use super::mux::{Listener, Net};
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
/// How long the rest of a head may take that came behind another request.
const BEHIND_TIME: Duration = Duration::from_secs(1);
/// How many requests behind another one are told apart.
const MOST_BEHIND: usize = 16;

/// The proxy of one sandbox.
pub(crate) struct Proxy {
    list: AllowList,
    /// The task's own services: to reach one is no attempt to reach the outside.
    services: BTreeMap<String, Net>,
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
    /// Makes the proxy of a sandbox. `report` is called once for each request, when it ends, and when a tunnel opens;
    /// it must not block.
    pub(crate) fn new(
        list: AllowList,
        services: BTreeMap<String, Net>,
        outside: Arc<dyn Outside>,
        report: Report,
    ) -> Self {
        Self {
            list,
            services,
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
                    self.report_turned_away(&listener);
                    let Some(connection) = accepted else { break };
                    let proxy = Arc::clone(&self);
                    tasks.spawn(async move { proxy.serve(connection).await });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
        tasks.shutdown().await;
    }

    /// Reports connections that never came to be served.
    fn report_turned_away(&self, listener: &Listener) {
        for _ in 0..listener.take_turned_away() {
            let mut attempt = Attempt::new(Arc::clone(&self.report));
            attempt.begin();
            attempt.is(EgressVerdict::TooMany);
        }
    }

    /// Serves one connection, which carries one request.
    pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut client: S) {
        let mut attempt = Attempt::new(Arc::clone(&self.report));
        let reading = read_request(&mut client, Vec::new(), &mut attempt);
        let served = match timeout(HEAD_TIME, reading).await {
            Ok(Ok(Some((request, rest)))) => self.pass_on(&mut client, request, &rest, &mut attempt).await,
            Ok(Ok(None)) => Ok(Vec::new()),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(malformed("its head did not come in time")),
        };
        drop(attempt);
        match served {
            Ok(behind) => self.report_behind(&mut client, behind).await,
            Err(refusal) => {
                let answer = refusal.answer();
                let _ = client.write_all(answer.as_bytes()).await;
                let _ = client.shutdown().await;
            }
        }
    }

    /// Passes a request on. Returns what came behind it, if that is anything but the rest of a tunnel.
    async fn pass_on<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        client: &mut S,
        request: Request,
        rest: &[u8],
        attempt: &mut Attempt,
    ) -> Result<Vec<u8>, Refusal> {
        let Request {
            method,
            endpoint,
            kind,
        } = request;
        attempt.asks_for(&method, &endpoint);
        let service = self.service(endpoint.host());
        if service.is_some() {
            attempt.stays_inside();
        }
        let Ok(_permit) = self.requests.try_acquire() else {
            attempt.is(EgressVerdict::TooMany);
            return Err(Refusal::new(
                "503 Service Unavailable",
                "there are too many connections at once",
            ));
        };
        let shown = endpoint.to_string();
        if let Some(service) = service {
            return match service.dial(endpoint.port()).await {
                Ok(upstream) => Ok(carry(client, upstream, (kind, rest), attempt).await),
                Err(_) => Err(refused(EgressVerdict::Failed, &shown)),
            };
        }
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
                Ok(carry(client, upstream, (kind, rest), attempt).await)
            }
            Err(verdict) => {
                attempt.is(verdict);
                Err(refused(verdict, &shown))
            }
        }
    }

    fn service(&self, host: &Host) -> Option<&Net> {
        match host {
            Host::Name(name) => self.services.get(name),
            Host::Address(_) => None,
        }
    }

    /// Reports the requests that came behind another one on the same connection. None of them is passed on.
    async fn report_behind<S: AsyncRead + Unpin>(&self, client: &mut S, mut behind: Vec<u8>) {
        for _ in 0..MOST_BEHIND {
            if behind.is_empty() {
                return;
            }
            let mut attempt = Attempt::new(Arc::clone(&self.report));
            let reading = read_request(client, behind, &mut attempt);
            let Ok(Ok(Some((request, rest)))) = timeout(BEHIND_TIME, reading).await else {
                return;
            };
            attempt.asks_for(&request.method, &request.endpoint);
            if self.service(request.endpoint.host()).is_some() {
                attempt.stays_inside();
            }
            // What is on the list could have been reached, but not so.
            attempt.is(self
                .list
                .asked(request.endpoint)
                .err()
                .unwrap_or(EgressVerdict::Failed));
            behind = match request.kind {
                RequestKind::Tunnel => Vec::new(),
                RequestKind::Plain { mut body, .. } => {
                    let own = body.take(&rest).unwrap_or(rest.len());
                    without_line_ends(&rest[own..]).to_vec()
                }
            };
        }
        if !behind.is_empty() {
            Attempt::new(Arc::clone(&self.report)).begin();
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
        // A public name can be made to lead to a public address of this very host.
        let own = match target.endpoint().host() {
            Host::Address(_) => Vec::new(),
            Host::Name(_) => self.outside.own_addresses().map_err(|_| EgressVerdict::Failed)?,
        };
        let mut verdict = EgressVerdict::Failed;
        let mut allowed = Vec::new();
        for address in addresses {
            match target.address(address) {
                Ok(()) if is_among(address, &own) => verdict = EgressVerdict::Forbidden,
                Ok(()) => allowed.push(SocketAddr::new(address, target.endpoint().port())),
                Err(refused) => verdict = refused,
            }
        }
        if !allowed.is_empty() {
            verdict = EgressVerdict::Failed;
        }
        for address in allowed.into_iter().take(MOST_ADDRESSES) {
            if let Ok(Ok(upstream)) = timeout(DIAL_TIME, self.outside.dial(address)).await {
                if matches!(target.endpoint().host(), Host::Name(_)) && self.outside.ends_here(&upstream) {
                    return Err(EgressVerdict::Forbidden);
                }
                return Ok((upstream, address));
            }
        }
        Err(verdict)
    }
}

/// Compares addresses in the form that the kernel connects to.
fn is_among(address: IpAddr, own: &[IpAddr]) -> bool {
    let address = address.to_canonical();
    own.iter().any(|own| own.to_canonical() == address)
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

/// Reads the head of a request, which begins with what has come already, and what came with it; `None` if the other
/// side is gone.
async fn read_request<S: AsyncRead + Unpin>(
    client: &mut S,
    mut bytes: Vec<u8>,
    attempt: &mut Attempt,
) -> Result<Option<(Request, Vec<u8>)>, Refusal> {
    let mut buffer = [0; 4096];
    let mut searched = 0;
    loop {
        // A head ends with an empty line; reading it again and again before that would cost the square of its length.
        let new = &bytes[searched..];
        let ended =
            new.windows(2).any(|two| two == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n");
        if !bytes.is_empty() {
            attempt.begin();
        }
        if ended || bytes.len() >= LONGEST_HEAD {
            match read_head(&bytes) {
                Head::Partial => {}
                Head::Bad(bad) => {
                    attempt.asks(&bad.method, &bad.asked);
                    return Err(malformed(bad.problem));
                }
                Head::Whole(request, length) => return Ok(Some((request, bytes.split_off(length)))),
            }
        }
        searched = bytes.len().saturating_sub(2);
        let room = LONGEST_HEAD.saturating_sub(bytes.len()).clamp(1, buffer.len());
        match client.read(&mut buffer[..room]).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
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
