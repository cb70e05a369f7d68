//! One connection of the sandbox's loopback that the host carries on.
//!
//! Owns: credit in both directions. No more is read than the host has taken, no more kept than the window.

use harness_guest::{FromGuest, PIECE, WINDOW};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    number: u32,
    socket: OwnedFd,
    /// Not there yet; the port, while there is another address to try.
    pub(crate) dialling: Option<Dialling>,
    /// How much the host still takes.
    credit: u32,
    /// What the host has sent and the sandbox has not taken.
    queue: VecDeque<u8>,
    /// The host sends no more.
    host_ended: bool,
    /// The sandbox's side sends no more, and the host knows.
    end_said: bool,
    /// The sandbox's side knows that the host sends no more.
    shut: bool,
}

/// A connection that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialling {
    /// The port.
    pub(crate) port: u16,
    /// Whether only the second address is left.
    pub(crate) second: bool,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goes {
    /// It does.
    On,
    /// Both sides have ended, or it is broken.
    Over,
}

impl Connection {
    /// A connection over a socket.
    pub(crate) fn new(number: u32, socket: OwnedFd, dialling: Option<Dialling>) -> Self {
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        Self {
            number,
            socket,
            dialling,
            credit: WINDOW,
            queue: VecDeque::new(),
            host_ended: false,
            end_said: false,
            shut: false,
        }
    }

    /// Returns the socket and what it waits for; nothing if the host has to move first.
    pub(crate) fn wanted(&self, room: bool) -> Option<(&OwnedFd, PollFlags)> {
        let mut flags = PollFlags::empty();
        let reads = self.dialling.is_none() && !self.end_said && self.credit > 0 && room;
        flags.set(PollFlags::IN, reads);
        flags.set(PollFlags::OUT, self.dialling.is_some() || !self.queue.is_empty());
        (!flags.is_empty()).then_some((&self.socket, flags))
    }

    /// Returns how much waits for the sandbox's side.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Returns why it could not be made, if it could not.
    pub(crate) fn dial_error(&self) -> Option<Errno> {
        match rustix::net::sockopt::socket_error(&self.socket) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error),
        }
    }

    /// The host has taken more.
    pub(crate) fn add_credit(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes).min(WINDOW);
    }

    /// Takes bytes of the host's.
    pub(crate) fn push(&mut self, bytes: &[u8], say: impl FnMut(FromGuest)) -> Goes {
        let most = usize::try_from(WINDOW).unwrap_or(usize::MAX);
        if self.host_ended || self.queue.len().saturating_add(bytes.len()) > most {
            return Goes::Over;
        }
        self.queue.extend(bytes);
        self.write(say)
    }

    /// The host sends no more.
    pub(crate) fn end(&mut self, say: impl FnMut(FromGuest)) -> Goes {
        self.host_ended = true;
        self.write(say)
    }

    /// Passes on what the sandbox's side takes now.
    pub(crate) fn write(&mut self, mut say: impl FnMut(FromGuest)) -> Goes {
        if self.dialling.is_some() {
            return Goes::On;
        }
        let mut written = 0;
        loop {
            let (front, _) = self.queue.as_slices();
            if front.is_empty() {
                break;
            }
            match rustix::net::send(&self.socket, front, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) if count > 0 => {
                    written += count;
                    self.queue.drain(..count.min(self.queue.len()));
                }
                Ok(_) | Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => return Goes::Over,
            }
        }
        if let Some(bytes) = u32::try_from(written).ok().filter(|bytes| *bytes > 0) {
            let conn = self.number;
            say(FromGuest::NetCredit { conn, bytes });
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
            if self.host_ended && !self.shut {
                self.shut = true;
                let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
            }
        }
        self.goes()
    }

    /// Takes a piece of what the sandbox's side sends.
    pub(crate) fn read(&mut self, scratch: &mut [u8], mut say: impl FnMut(FromGuest)) -> Goes {
        if self.end_said || self.credit == 0 || self.dialling.is_some() {
            return Goes::On;
        }
        let most = usize::try_from(self.credit).unwrap_or(PIECE).min(PIECE);
        let Some(piece) = scratch.get_mut(..most) else {
            return Goes::On;
        };
        let conn = self.number;
        match rustix::io::read(&self.socket, &mut *piece) {
            Ok(0) => {
                self.end_said = true;
                say(FromGuest::NetEnd { conn });
            }
            Ok(count) => {
                self.credit -= u32::try_from(count).unwrap_or(self.credit).min(self.credit);
                let bytes = piece.get(..count).unwrap_or_default().to_vec();
                say(FromGuest::NetData { conn, bytes });
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return Goes::Over,
        }
        self.goes()
    }

    /// Lets the sandbox's side see that it was cut off, not that it has ended.
    pub(crate) fn cut(&self) {
        if !(self.shut && self.end_said) {
            let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
        }
    }

    fn goes(&self) -> Goes {
        if self.shut && self.end_said {
            Goes::Over
        } else {
            Goes::On
        }
    }
}
