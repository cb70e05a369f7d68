//! The requests that the proxy understands.
//!
//! Owns: what of a request is judged, and what of it is passed on. Must not: read or write anything.
//!
//! What is passed on is written anew from what was understood, so that nobody behind the proxy can read a request
//! differently: one Host, one length, no second request behind the body.

use harness_core::egress::{Endpoint, EndpointProblem};

/// The longest head of a request.
pub(super) const LONGEST_HEAD: usize = 16 << 10;
/// The most headers of a request.
const MOST_HEADERS: usize = 100;
/// The longest method that is shown.
const LONGEST_METHOD: usize = 20;
/// Headers that are for the proxy, and those that are written anew.
const NOT_PASSED_ON: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What a head turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// There is more to come.
    Partial,
    /// It is none, or none that is understood.
    Bad(BadRequest),
    /// A request, and how long its head is.
    Whole(Request, usize),
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// How it is reported: `connect`, or the method.
    pub(super) method: String,
    /// Where it wants to go.
    pub(super) endpoint: Endpoint,
    /// How it wants to go there.
    pub(super) kind: RequestKind,
}

/// How a request wants to be passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// As bytes in both directions.
    Tunnel,
    /// As one request and its response.
    Plain {
        /// The head that is passed on.
        head: Vec<u8>,
        /// What follows it.
        body: Body,
    },
}

/// A request that is not understood, as far as it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BadRequest {
    /// Its method.
    pub(super) method: String,
    /// Where it wanted to go, as written.
    pub(super) asked: String,
    /// What is wrong.
    pub(super) problem: &'static str,
}

/// Reads the head of a request.
pub(super) fn read_head(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => return Head::Partial,
        Ok(httparse::Status::Partial) => return bad("", "", "its head is too long"),
        Err(httparse::Error::TooManyHeaders) => return bad("", "", "it has too many headers"),
        Err(_) => return bad("", "", "it is not HTTP/1.1"),
    };
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return bad("", "", "it is not HTTP/1.1");
    };
    let read = if method == "CONNECT" {
        Endpoint::parse(target)
            .map_err(|problem| (target, not_understood(problem)))
            .map(|endpoint| Request {
                method: "connect".to_owned(),
                endpoint,
                kind: RequestKind::Tunnel,
            })
    } else {
        read_plain(method, target, version, parsed.headers)
    };
    match read {
        Ok(request) => Head::Whole(request, length),
        Err((asked, problem)) => bad(method, asked, problem),
    }
}

type Refused<'a> = (&'a str, &'static str);

fn read_plain<'a>(
    method: &str,
    target: &'a str,
    version: u8,
    headers: &[httparse::Header<'_>],
) -> Result<Request, Refused<'a>> {
    let scheme = target
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    if scheme.is_none() {
        return Err((
            target,
            "it is neither CONNECT nor a request for a whole http:// address",
        ));
    }
    let rest = &target[7..];
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let endpoint =
        Endpoint::parse_or(authority, 80).map_err(|problem| (authority, not_understood(problem)))?;
    if path.contains('#') {
        return Err((authority, "its address has a fragment"));
    }
    let body = body(headers, version).map_err(|problem| (authority, problem))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut head = format!("{method} {slash}{path} HTTP/1.{version}\r\n").into_bytes();
    let mut line = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    let host = if endpoint.port() == 80 {
        endpoint.host().to_string()
    } else {
        endpoint.to_string()
    };
    line("Host", host.as_bytes());
    for header in headers.iter().filter(|header| is_passed_on(header.name, headers)) {
        line(header.name, header.value);
    }
    match &body {
        Body::Length(length) => line("Content-Length", length.to_string().as_bytes()),
        Body::Chunked(_) => line("Transfer-Encoding", b"chunked"),
        Body::Over => {}
    }
    line("Connection", b"close");
    head.extend_from_slice(b"\r\n");
    Ok(Request {
        method: method.chars().take(LONGEST_METHOD).collect(),
        endpoint,
        kind: RequestKind::Plain { head, body },
    })
}

fn is_passed_on(name: &str, headers: &[httparse::Header<'_>]) -> bool {
    let for_proxy = NOT_PASSED_ON.iter().any(|other| other.eq_ignore_ascii_case(name))
        || name
            .get(..6)
            .is_some_and(|start| start.eq_ignore_ascii_case("proxy-"));
    let named = |header: &httparse::Header<'_>| {
        header.name.eq_ignore_ascii_case("connection")
            && header
                .value
                .split(|byte| *byte == b',')
                .any(|part| part.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    !for_proxy && !headers.iter().any(named)
}

/// Says how long a request's body is. Where two programs might disagree, it is refused.
fn body(headers: &[httparse::Header<'_>], version: u8) -> Result<Body, &'static str> {
    let values = |name: &str| -> Vec<&[u8]> {
        headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
            .collect()
    };
    match (
        values("content-length").as_slice(),
        values("transfer-encoding").as_slice(),
    ) {
        ([], []) => Ok(Body::Over),
        ([length], []) => {
            let digits = length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length)
                .ok()
                .filter(|_| digits)
                .and_then(|text| text.parse().ok());
            length.map(Body::Length).ok_or("its Content-Length is no number")
        }
        ([], [encoding]) if version == 1 && encoding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Body::Chunked(Chunks::Size { size: 0, digits: 0 }))
        }
        ([], [_]) => Err("its Transfer-Encoding is not chunked"),
        ([_, _, ..], []) => Err("it has more than one Content-Length"),
        ([], [_, _, ..]) => Err("it has more than one Transfer-Encoding"),
        ([_, ..], [_, ..]) => Err("it has both Content-Length and Transfer-Encoding"),
    }
}

fn not_understood(problem: EndpointProblem) -> &'static str {
    match problem {
        EndpointProblem::More => "it names more than a host and a port",
        EndpointProblem::NoPort => "it names no port",
        EndpointProblem::BadPort => "its port is not between 1 and 65535",
        EndpointProblem::NoHost => "it names no host",
        EndpointProblem::NotAscii => "its host is not ASCII",
        EndpointProblem::OddAddress => "its host is an address in an unusual spelling",
        EndpointProblem::BadHost | EndpointProblem::AnyHost | EndpointProblem::Never => {
            "its host is neither a name nor an address"
        }
    }
}

fn bad(method: &str, asked: &str, problem: &'static str) -> Head {
    let method = if method == "CONNECT" { "connect" } else { method };
    Head::Bad(BadRequest {
        method: method.chars().take(LONGEST_METHOD).collect(),
        asked: asked.to_owned(),
        problem,
    })
}

/// What is left of a request's body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    Over,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
}

/// What comes next in a body of chunks. Extensions and trailers are refused: hardly anybody sends them, and
/// programs disagree about them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// A digit of a size, or the end of its line.
    Size {
        /// The size so far.
        size: u64,
        /// How many digits it has.
        digits: u8,
    },
    /// The end of the line with this size.
    SizeEnd(u64),
    /// So many bytes of data.
    Data(u64),
    /// The second byte of the line end behind the data.
    DataEnd,
    /// The line end behind the last chunk.
    Last,
    /// The second byte of that.
    LastEnd,
}

impl Body {
    /// Returns how many of the bytes belong to the body, and goes behind them; `None` if the body is malformed.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self {
                Self::Over => break,
                Self::Length(left) => {
                    at += go_behind(left, bytes.len() - at);
                    if *left == 0 {
                        *self = Self::Over;
                    }
                }
                Self::Chunked(Chunks::Data(left)) if *left > 0 => at += go_behind(left, bytes.len() - at),
                Self::Chunked(chunks) => {
                    *self = chunks.next(bytes[at])?;
                    at += 1;
                }
            }
        }
        Some(at)
    }

    /// Returns whether nothing is left.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over | Self::Length(0))
    }
}

impl Chunks {
    fn next(&self, byte: u8) -> Option<Body> {
        let next = match (self, byte) {
            (Self::Size { size, digits: 1.. }, b'\r') => Self::SizeEnd(*size),
            (Self::Size { size, digits }, byte) if *digits < 15 => {
                let digit = char::from(byte).to_digit(16)?;
                Self::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (Self::SizeEnd(0), b'\n') => Self::Last,
            (Self::SizeEnd(size), b'\n') => Self::Data(*size),
            (Self::Data(0), b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Last, b'\r') => Self::LastEnd,
            (Self::LastEnd, b'\n') => return Some(Body::Over),
            (
                Self::Size { .. }
                | Self::SizeEnd(_)
                | Self::Data(_)
                | Self::DataEnd
                | Self::Last
                | Self::LastEnd,
                _,
            ) => return None,
        };
        Some(Body::Chunked(next))
    }
}

/// Goes over as much of what is left as there is.
fn go_behind(left: &mut u64, there: usize) -> usize {
    let piece = usize::try_from(*left).unwrap_or(usize::MAX).min(there);
    *left -= piece as u64;
    piece
}
