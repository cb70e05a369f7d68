//! What waits to be read by the host.
//!
//! Owns: the bound. Whoever produces output asks for room first; answers to the host's own requests always fit.

use harness_guest::{FromGuest, LONGEST_FROM_GUEST, encode};
use rustix::io::Errno;

/// How much may wait before nothing more is read from commands, files and connections.
const ROOM: usize = 1 << 20;
/// From how many sent bytes on the rest is moved to the front.
const SENT: usize = 256 << 10;

/// Bytes on their way to the host.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Nobody reads any more: a kept sandbox. What would be said is dropped.
    broken: bool,
}

impl Outbox {
    /// Appends a message.
    pub(crate) fn say(&mut self, message: &FromGuest) {
        if self.broken {
            return;
        }
        let fits = encode(message, LONGEST_FROM_GUEST, &mut self.bytes).is_ok();
        debug_assert!(fits, "every message that is built here is short");
    }

    /// Returns whether producers may go on.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len().saturating_sub(self.sent) < ROOM
    }

    /// Returns whether something waits.
    pub(crate) fn waits(&self) -> bool {
        self.sent < self.bytes.len()
    }

    /// Writes what the host's side of the stream takes now.
    pub(crate) fn flush(&mut self) {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(count) if count > 0 => self.sent = self.sent.saturating_add(count),
                Ok(_) | Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.broken = true;
                    self.bytes = Vec::new();
                    self.sent = 0;
                }
            }
        }
        if !self.waits() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent > SENT {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}
