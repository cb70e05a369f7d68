//! A connection as a stream of bytes.
//!
//! Owns: nothing but the number; what is left of a connection when it is dropped is the mux's. Must not: know HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use harness_guest::ToGuest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::{Flow, Reading, Writing};
use super::mux::Shared;

/// A connection with something in a sandbox. Shut down and then dropped, what was written still arrives; dropped
/// without being shut down, it breaks.
pub(crate) struct Connection {
    number: u32,
    shared: Arc<Shared>,
}

impl Connection {
    pub(super) fn new(number: u32, shared: Arc<Shared>) -> Self {
        Self { number, shared }
    }

    /// Waits for the helper's answer to a dial.
    pub(super) fn poll_dialled(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let Some(flow) = state.flows.get_mut(&self.number) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match flow.dialled(context.waker()) {
            None => Poll::Pending,
            Some(true) => Poll::Ready(Ok(())),
            Some(false) => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        let reading = match state.flows.get_mut(&self.number) {
            Some(flow) => flow.read(buffer, context.waker()),
            None => Reading::Broken,
        };
        match reading {
            Reading::Bytes { credit } => {
                if let Some(bytes) = credit {
                    let conn = self.number;
                    self.shared.send(ToGuest::NetCredit { conn, bytes });
                }
                Poll::Ready(Ok(()))
            }
            Reading::Nothing => Poll::Pending,
            Reading::End => Poll::Ready(Ok(())),
            Reading::Broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut state = self.shared.lock();
        let writing = match state.flows.get_mut(&self.number) {
            Some(flow) => flow.write(bytes.len(), context.waker()),
            None => Writing::Broken,
        };
        match writing {
            Writing::Room(room) => {
                let bytes = bytes[..room].to_vec();
                let conn = self.number;
                self.shared.send(ToGuest::NetData { conn, bytes });
                Poll::Ready(Ok(room))
            }
            Writing::Full => Poll::Pending,
            Writing::Broken => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.lock();
        if state.flows.get_mut(&self.number).is_some_and(Flow::end_by_host) {
            let conn = self.number;
            self.shared.send(ToGuest::NetEnd { conn });
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.let_go(self.number);
    }
}
