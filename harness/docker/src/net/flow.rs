//! One connection: what either side may still say, and how much.
//!
//! Owns: the rules of a connection's messages, with its bytes that nobody has read yet. Must not: send anything.
//!
//! Each direction has a window: what was sent and not yet credited. The helper's last message of a connection is `NetReset`, always: a connection's number is known until then, even
//! if the host gave it up long before.

use std::task::Waker;

use bytes::{Buf, BytesMut};
use harness_guest::{PIECE, WINDOW};
use tokio::time::Instant;

/// What a connection's messages may not do; a containment event.
pub(super) type Wrong = &'static str;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asked for, and not there yet.
    Dialling,
    /// There, and somebody on the host has it.
    Open,
    /// Nobody on the host has it any more, but it was ended properly: the sandbox gets what was written, and says its
    /// last word when its side has ended too, until then at the latest. A reset would cut off what is still in its
    /// sockets.
    Lingering(Instant),
    /// The host has reset it; what still comes is thrown away until the helper's last word.
    Closing,
    /// The helper has said its last word. Somebody on the host may still read what came.
    Over,
}

/// One connection.
pub(super) struct Flow {
    stage: Stage,
    /// Whether the helper has said that it is there.
    there: bool,
    /// What came and was not read.
    inbox: BytesMut,
    /// How much came for which no credit was given back.
    owed: u32,
    /// How much of that was read.
    taken: u32,
    /// How much the host may still send.
    credit: u32,
    guest_ended: bool,
    host_ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What there is to read.
pub(super) enum Reading {
    /// So much was put into the buffer; if credit is due, the helper is told.
    Bytes {
        /// How much credit is due.
        credit: Option<u32>,
    },
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
    /// The connection broke.
    Broken,
}

/// What can be written.
pub(super) enum Writing {
    /// So many bytes, at once.
    Room(usize),
    /// Nothing yet.
    Full,
    /// Nothing any more.
    Broken,
}

impl Flow {
    /// A connection that was asked for.
    pub(super) fn dialling() -> Self {
        Self {
            stage: Stage::Dialling,
            there: false,
            inbox: BytesMut::new(),
            owed: 0,
            taken: 0,
            credit: WINDOW,
            guest_ended: false,
            host_ended: false,
            reader: None,
            writer: None,
        }
    }

    /// A connection that the helper accepted.
    pub(super) fn accepted() -> Self {
        Self {
            stage: Stage::Open,
            there: true,
            ..Self::dialling()
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether the helper knows it and has not said its last word.
    pub(super) fn known_to_guest(&self) -> bool {
        self.there && self.stage != Stage::Over
    }

    /// Whether somebody on the host has it.
    pub(super) fn held(&self) -> bool {
        match self.stage {
            Stage::Dialling | Stage::Open | Stage::Over => true,
            Stage::Lingering(_) | Stage::Closing => false,
        }
    }

    /// The helper says that it is there.
    pub(super) fn arrive(&mut self) -> Result<(), Wrong> {
        if self.there {
            return Err("it was there already");
        }
        self.there = true;
        if self.stage == Stage::Dialling {
            self.stage = Stage::Open;
        }
        self.wake_reader();
        Ok(())
    }

    /// Bytes came. Returns how much credit to give back at once, since nobody will read them.
    pub(super) fn data(&mut self, bytes: &[u8]) -> Result<Option<u32>, Wrong> {
        self.check_there()?;
        if self.guest_ended {
            return Err("data came after its end");
        }
        if bytes.len() > PIECE {
            return Err("a piece of data is too long");
        }
        let owed = u32::try_from(bytes.len())
            .ok()
            .and_then(|more| self.owed.checked_add(more));
        self.owed = owed
            .filter(|owed| *owed <= WINDOW)
            .ok_or("more data came than it had credit for")?;
        match self.stage {
            Stage::Open => {
                self.inbox.extend_from_slice(bytes);
                self.wake_reader();
                Ok(None)
            }
            Stage::Lingering(_) => Ok(self.give_back_all()),
            Stage::Dialling | Stage::Closing | Stage::Over => Ok(None),
        }
    }

    /// The helper has passed on bytes.
    pub(super) fn credit(&mut self, bytes: u32) -> Result<(), Wrong> {
        self.check_there()?;
        let credit = self.credit.checked_add(bytes).filter(|credit| *credit <= WINDOW);
        self.credit = credit.ok_or("it gave credit for more than was sent")?;
        self.wake_writer();
        Ok(())
    }

    /// The sandbox's side sends no more.
    pub(super) fn end(&mut self) -> Result<(), Wrong> {
        self.check_there()?;
        if self.guest_ended {
            return Err("it ended twice");
        }
        self.guest_ended = true;
        self.wake_reader();
        Ok(())
    }

    /// The helper has said its last word, or its stream is gone.
    pub(super) fn finish(&mut self) {
        self.stage = Stage::Over;
        self.wake_reader();
        self.wake_writer();
    }

    /// The host resets it, or has nobody left who would.
    pub(super) fn close(&mut self) {
        self.stage = Stage::Closing;
        self.inbox = BytesMut::new();
    }

    /// Nobody on the host has it any more. Returns credit to give back if it lingers.
    pub(super) fn linger(&mut self, until: Instant) -> Option<u32> {
        self.stage = Stage::Lingering(until);
        self.inbox = BytesMut::new();
        self.give_back_all()
    }

    /// Whether the host has ended it properly.
    pub(super) fn has_to_linger(&self) -> bool {
        self.stage == Stage::Open && self.host_ended
    }

    /// The host sends no more. Returns whether the helper has to be told.
    pub(super) fn end_by_host(&mut self) -> bool {
        let first = !self.host_ended && self.stage == Stage::Open;
        self.host_ended = true;
        first
    }

    /// Reads into a buffer; if there is nothing, the waker is woken when there is.
    pub(super) fn read(&mut self, buffer: &mut tokio::io::ReadBuf<'_>, waker: &Waker) -> Reading {
        if self.inbox.is_empty() {
            if self.guest_ended {
                return Reading::End;
            }
            if self.stage == Stage::Over {
                return Reading::Broken;
            }
            self.reader = Some(waker.clone());
            return Reading::Nothing;
        }
        let piece = self.inbox.len().min(buffer.remaining());
        buffer.put_slice(&self.inbox[..piece]);
        self.inbox.advance(piece);
        self.taken = self
            .taken
            .saturating_add(u32::try_from(piece).unwrap_or(u32::MAX));
        let due = self.taken as usize >= PIECE && self.stage == Stage::Open;
        let credit = due.then(|| std::mem::take(&mut self.taken));
        self.owed = self.owed.saturating_sub(credit.unwrap_or(0));
        Reading::Bytes { credit }
    }

    /// Takes room for some bytes; if there is none, the waker is woken when there is.
    pub(super) fn write(&mut self, wanted: usize, waker: &Waker) -> Writing {
        if self.host_ended || self.stage != Stage::Open {
            return Writing::Broken;
        }
        if self.credit == 0 {
            self.writer = Some(waker.clone());
            return Writing::Full;
        }
        let room = u32::try_from(wanted.min(PIECE))
            .unwrap_or(u32::MAX)
            .min(self.credit);
        self.credit -= room;
        Writing::Room(room as usize)
    }

    /// Returns whether a dialled connection came about; if that is open, the waker is woken when it is not.
    pub(super) fn dialled(&mut self, waker: &Waker) -> Option<bool> {
        if self.stage == Stage::Dialling {
            self.reader = Some(waker.clone());
            return None;
        }
        Some(self.there)
    }

    fn check_there(&self) -> Result<(), Wrong> {
        if self.there {
            Ok(())
        } else {
            Err("it was not there yet")
        }
    }

    fn give_back_all(&mut self) -> Option<u32> {
        self.taken = 0;
        Some(std::mem::take(&mut self.owed)).filter(|bytes| *bytes > 0)
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}
