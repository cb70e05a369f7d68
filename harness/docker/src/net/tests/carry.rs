use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use harness_core::ports::SandboxFact;
use pretty_assertions::assert_eq;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

use crate::net::attempt::Attempt;
use crate::net::carry::carry;
use crate::net::http::RequestKind;

/// A host that takes nothing more may still be answering.
#[tokio::test]
async fn an_answer_outlives_the_hosts_ear() {
    let (mut client, stream) = duplex(1 << 10);
    let (upstream, mut host) = duplex(1 << 10);
    let report: Arc<dyn Fn(SandboxFact) + Send + Sync> = Arc::new(|_| {});
    let attempt = Attempt::new(report);
    let carried = tokio::spawn(async move {
        let (mut stream, deaf) = (stream, Deaf(upstream));
        let kind = RequestKind::Tunnel;
        carry(&mut stream, deaf, (kind, b"unheard"), &attempt).await
    });
    let mut established = [0; 39];
    client.read_exact(&mut established).await.unwrap();
    client.write_all(b"more").await.unwrap();
    tokio::task::yield_now().await;
    host.write_all(b"the whole answer").await.unwrap();
    host.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "the whole answer");
    carried.await.unwrap();
}

/// Speaks, but does not listen.
struct Deaf(DuplexStream);

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}
