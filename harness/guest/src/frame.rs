//! Framing: four bytes of length, least significant first, then one message.

use serde::Serialize;
use serde::de::DeserializeOwned;

const HEADER: usize = 4;

/// Why bytes are not frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame claims to be longer than any may be, or empty.
    #[error("a frame of {length} bytes, where 1 to {longest} are allowed")]
    Length {
        /// What it claims.
        length: usize,
        /// The longest.
        longest: usize,
    },
    /// The content of a frame is no message.
    #[error("a frame of {length} bytes that is no message")]
    Content {
        /// Its length.
        length: usize,
    },
    /// The message to send is too long.
    #[error("a message of {length} bytes, where {longest} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
        /// The longest.
        longest: usize,
    },
}

/// Appends one framed message to `out`; on an error `out` is as before.
pub fn encode<T: Serialize>(message: &T, longest: usize, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let encoded = postcard::to_extend(message, Appender(out)).is_ok();
    let length = out.len() - start - HEADER;
    if !encoded || length > longest {
        out.truncate(start);
        return Err(if encoded {
            FrameError::TooLong { length, longest }
        } else {
            FrameError::Content { length }
        });
    }
    let header = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out[start..start + HEADER].copy_from_slice(&header);
    Ok(())
}

/// Lets a message be written at the end of bytes that stay whoever fails.
struct Appender<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appender<'_> {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.0.extend(bytes);
    }
}

/// Cuts a stream of bytes into messages. Holds at most one frame and what was pushed beyond it.
#[derive(Debug)]
pub struct FrameReader {
    longest: usize,
    buffer: Vec<u8>,
    /// Where the unread part begins.
    start: usize,
}

impl FrameReader {
    /// Starts to read frames of at most `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Takes further bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > self.longest {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next message; `None` if more bytes are needed. After an error the stream can't be read on.
    ///
    /// # Errors
    /// If a length is out of bounds (before anything is kept for it), or a frame is no message or has bytes left over.
    #[expect(
        clippy::should_implement_trait,
        reason = "it can fail, and what it returns is the caller's choice"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let unread = &self.buffer[self.start..];
        let Some((header, rest)) = unread.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if length == 0 || length > self.longest {
            return Err(FrameError::Length {
                length,
                longest: self.longest,
            });
        }
        let Some(content) = rest.get(..length) else {
            return Ok(None);
        };
        match postcard::take_from_bytes(content) {
            Ok((message, [])) => {
                self.start += HEADER + length;
                Ok(Some(message))
            }
            Ok(_) | Err(_) => Err(FrameError::Content { length }),
        }
    }

    /// Returns how many bytes are held that are no whole frame yet.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FromGuest, LONGEST_FROM_GUEST, Stream, ToGuest};
    use pretty_assertions::assert_eq;

    fn some() -> Vec<FromGuest> {
        vec![
            FromGuest::Hello { version: 1 },
            FromGuest::Output {
                id: 7,
                stream: Stream::Stdout,
                bytes: b"a\0\xff".to_vec(),
            },
            FromGuest::Pong { id: u32::MAX },
        ]
    }

    fn bytes_of(messages: &[FromGuest]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            encode(message, LONGEST_FROM_GUEST, &mut out).unwrap();
        }
        out
    }

    #[test]
    fn messages_come_back_however_the_stream_is_cut() {
        let bytes = bytes_of(&some());
        for step in 1..=bytes.len() {
            let mut reader = FrameReader::new(LONGEST_FROM_GUEST);
            let mut found = Vec::new();
            for piece in bytes.chunks(step) {
                reader.push(piece);
                while let Some(message) = reader.next::<FromGuest>().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, some());
            assert_eq!(reader.held(), 0);
        }
    }

    #[test]
    fn wrong_frames_are_errors() {
        let read = |bytes: &[u8]| {
            let mut reader = FrameReader::new(100);
            reader.push(bytes);
            reader.next::<FromGuest>().map_err(|error| error.to_string())
        };
        assert_eq!(read(&[5, 0, 0]), Ok(None));
        assert_eq!(
            read(&[0, 0, 0, 0]),
            Err("a frame of 0 bytes, where 1 to 100 are allowed".to_owned())
        );
        assert_eq!(
            read(&[101, 0, 0, 0]),
            Err("a frame of 101 bytes, where 1 to 100 are allowed".to_owned())
        );
        assert_eq!(
            read(&[1, 0, 0, 0, 255]),
            Err("a frame of 1 bytes that is no message".to_owned())
        );
        let mut longer = bytes_of(&[FromGuest::Pong { id: 1 }]);
        longer[0] += 1;
        longer.push(0);
        assert_eq!(
            read(&longer),
            Err("a frame of 3 bytes that is no message".to_owned())
        );
    }

    #[test]
    fn what_is_too_long_is_not_sent() {
        let message = ToGuest::Stdin {
            id: 1,
            bytes: vec![0; 100],
        };
        let mut out = b"before".to_vec();
        let refused = encode(&message, 50, &mut out).unwrap_err();
        assert_eq!(
            refused,
            FrameError::TooLong {
                length: 103,
                longest: 50
            }
        );
        assert_eq!(out, b"before");
    }
}
