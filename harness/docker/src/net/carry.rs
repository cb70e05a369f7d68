//! Carrying a request that may be passed on.
//!
//! Owns: copying in both directions and its end. Must not: judge anything.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness_guest::PIECE;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::sleep;

use super::attempt::Attempt;
use super::http::{Body, RequestKind};

/// How long nothing may move in either direction before a connection is ended; at most twice this time passes.
const IDLE_TIME: Duration = Duration::from_secs(300);

/// Which side of a copy failed.
enum Cut {
    From,
    To,
}

/// Why a request does not go on.
enum Stopped {
    /// The sandbox's side broke or its body is malformed.
    Broken,
    /// Something came behind the body.
    Behind(Vec<u8>),
}

/// Carries a request to where it goes and the answer back, until it is over or nothing moves any more. However a
/// connection ends that was made, there is nobody left to tell. Returns what came behind a plain request.
pub(super) async fn carry(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: impl AsyncRead + AsyncWrite + Unpin,
    (kind, rest): (RequestKind, &[u8]),
    attempt: &Attempt,
) -> Vec<u8> {
    let silence = silence(attempt);
    match kind {
        RequestKind::Tunnel => {
            attempt.opened();
            let tunnelled = tunnel(client, upstream, rest, attempt);
            tokio::select! {
                () = tunnelled => {}
                () = silence => {}
            }
            Vec::new()
        }
        RequestKind::Plain { head, body } => {
            let (from_client, to_client) = split(client);
            let (from_upstream, to_upstream) = split(upstream);
            let up = send_request((&head, rest), body, from_client, (to_upstream, attempt.sent()));
            let down = copy(&[], from_upstream, to_client, attempt.received());
            tokio::select! {
                // First, so that what came before the answer's end is seen.
                biased;
                stopped = up => match stopped {
                    Stopped::Behind(behind) => behind,
                    Stopped::Broken => Vec::new(),
                },
                _ = down => Vec::new(),
                () = silence => Vec::new(),
            }
        }
    }
}

async fn tunnel(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: impl AsyncRead + AsyncWrite + Unpin,
    rest: &[u8],
    attempt: &Attempt,
) {
    let established = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
    if established.await.is_err() {
        return;
    }
    let (from_client, to_client) = split(client);
    let (from_upstream, to_upstream) = split(upstream);
    let up = async {
        match copy(rest, from_client, to_upstream, attempt.sent()).await {
            // The host takes no more, but may still have something to say.
            Ok(()) | Err(Cut::To) => Ok(()),
            Err(Cut::From) => Err(()),
        }
    };
    let down = async {
        let copied = copy(&[], from_upstream, to_client, attempt.received()).await;
        copied.map_err(|_| ())
    };
    let _ = tokio::try_join!(up, down);
}

/// Copies until the end and passes the end on.
async fn copy(
    first: &[u8],
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
) -> Result<(), Cut> {
    write_counted(&mut to, first, count).await.map_err(|_| Cut::To)?;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| Cut::From)?;
        if read == 0 {
            return to.shutdown().await.map_err(|_| Cut::To);
        }
        let written = write_counted(&mut to, &buffer[..read], count).await;
        written.map_err(|_| Cut::To)?;
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
) -> Stopped {
    let mut gone = write_counted(&mut to, head, count).await.is_err();
    let mut buffer = rest.to_vec();
    loop {
        let Some(own) = body.take(&buffer) else {
            return Stopped::Broken;
        };
        let (own, behind) = buffer.split_at(own);
        let behind = without_line_ends(behind);
        if !behind.is_empty() {
            return Stopped::Behind(behind.to_vec());
        }
        gone = gone || write_counted(&mut to, own, count).await.is_err();
        buffer.resize(PIECE, 0);
        match from.read(&mut buffer).await {
            Ok(0) if body.is_over() => std::future::pending().await,
            Ok(0) | Err(_) => return Stopped::Broken,
            Ok(read) => buffer.truncate(read),
        }
    }
}

/// Some programs send an empty line behind a body.
pub(super) fn without_line_ends(bytes: &[u8]) -> &[u8] {
    let line_ends = bytes
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    &bytes[line_ends..]
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
