//! The output of one command while it runs.
//!
//! Owns: splitting, bounding and counting of both streams. Must not: decide when the command ends.

use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures_util::{Stream, StreamExt};
use harness_core::text::{Capture, Captured};

/// The attached streams of a command.
pub(crate) type OutputStream = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// What came of reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// There may be more.
    More,
    /// Both streams ended, or the connection did.
    Over,
    /// The command wrote more than it may.
    TooMuch,
}

/// Reads and bounds the output of a command.
pub(crate) struct Output {
    stream: OutputStream,
    stdout: Capture,
    stderr: Capture,
    limit: u64,
    /// Whether there is nothing more to read.
    pub(crate) over: bool,
}

impl Output {
    /// Starts to read; `keep` bytes of each stream are kept, and both together may have `limit` bytes.
    pub(crate) fn new(stream: OutputStream, keep: usize, limit: u64) -> Self {
        Self {
            stream,
            stdout: Capture::new(keep),
            stderr: Capture::new(keep),
            limit,
            over: false,
        }
    }

    /// Reads the next piece. Dropping the future loses nothing.
    pub(crate) async fn read(&mut self) -> Reading {
        match self.stream.next().await {
            Some(Ok(LogOutput::StdErr { message })) => self.stderr.push(&message),
            Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => {
                self.stdout.push(&message);
            }
            Some(Ok(LogOutput::StdIn { .. })) => {}
            Some(Err(_)) | None => {
                self.over = true;
                return Reading::Over;
            }
        }
        if self.stdout.total() + self.stderr.total() > self.limit {
            return Reading::TooMuch;
        }
        Reading::More
    }

    /// Splits what was kept from the stream itself, which the caller may hold open.
    pub(crate) fn finish(self) -> (Captured, Captured, OutputStream) {
        (self.stdout.finish(), self.stderr.finish(), self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn piece(bytes: &'static [u8], err: bool) -> LogOutput {
        let message = bytes::Bytes::from_static(bytes);
        if err {
            LogOutput::StdErr { message }
        } else {
            LogOutput::StdOut { message }
        }
    }

    #[tokio::test]
    async fn both_streams_count_towards_the_limit() {
        let pieces = [
            piece(b"\xff\0abc", false),
            piece(b"err", true),
            piece(b"xyz", false),
        ];
        let mut output = Output::new(Box::pin(stream::iter(pieces.map(Ok))), 100, 10);
        assert_eq!(output.read().await, Reading::More);
        assert_eq!(output.read().await, Reading::More);
        assert_eq!(output.read().await, Reading::TooMuch);
        assert_eq!(output.read().await, Reading::Over);
        let (stdout, stderr, _) = output.finish();
        assert_eq!((stdout.total, stderr.total), (8, 3));
        assert_eq!(stdout.head, b"\xff\0abcxyz");
    }
}
