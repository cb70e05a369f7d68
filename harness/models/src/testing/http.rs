//! As much of HTTP/1.1 as the fake server needs.
//!
//! Owns: reading requests. Must not: know what they ask.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const MAX_HEAD: usize = 64 << 10;
const MAX_REQUEST: usize = 64 << 20;

/// A request.
#[derive(Debug)]
pub(super) struct HttpRequest {
    /// Method and path, such as `POST /v1/chat/completions`.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl HttpRequest {
    /// Returns a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(value)
    }
}

/// Reads the next request of a connection; `None` at its end.
pub(super) async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<HttpRequest>> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > MAX_HEAD {
            return Err(io::Error::other("head too long"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
        if !buffer.first().is_some_and(u8::is_ascii_uppercase) {
            return Err(io::Error::other("not HTTP"));
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let target = first
        .rsplit_once(' ')
        .map_or(first, |(target, _)| target)
        .to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = HttpRequest {
        target,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length").unwrap_or("0");
    let length: usize = length.parse().map_err(io::Error::other)?;
    if length > MAX_REQUEST {
        return Err(io::Error::other("body too long"));
    }
    let end = head_end + 4 + length;
    while buffer.len() < end {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    request.body = buffer[head_end + 4..end].to_vec();
    buffer.drain(..end);
    Ok(Some(request))
}
