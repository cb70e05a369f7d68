//! What a program writes to a terminal, made safe for the terminal of a person.
//!
//! Owns: which sequences pass. Must not: keep more than one sequence.
//!
//! Programs must be able to draw, but a terminal also has commands that answer (what is answered is then typed), write
//! to the clipboard, print, or change its title and keys. Only what draws passes.

use super::scan::{Scanner, Token};

/// A longer sequence does not pass.
const LONGEST: usize = 96;

/// Takes the output of a hostile program and passes what only draws.
#[derive(Debug, Default)]
pub struct Filter {
    scanner: Scanner,
    /// The bytes of the sequence that has begun.
    raw: Vec<u8>,
    overlong: bool,
    refused: bool,
}

impl Filter {
    /// Returns what passes of the next bytes.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            if self.raw.len() < LONGEST {
                self.raw.push(*byte);
            } else {
                self.overlong = true;
            }
            let refused = &mut self.refused;
            self.scanner.push(*byte, &mut |token| *refused |= !draws(token));
            if self.scanner.is_between() {
                if !self.refused && !self.overlong && !is_broken(&self.raw) {
                    passed.extend_from_slice(&self.raw);
                }
                self.raw.clear();
                (self.refused, self.overlong) = (false, false);
            }
        }
        passed
    }
}

/// Returns what puts a terminal back in order after a program that is gone.
pub const fn reset() -> &'static [u8] {
    b"\x1b[?1049l\x1b[?2004l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1l\x1b[?25h\x1b[r\x1b[0m\x1b>\r\n"
}

/// Returns whether bytes are a string, or a sequence within which another began or that was broken off: terminals
/// differ in what they make of these.
fn is_broken(raw: &[u8]) -> bool {
    let string = matches!(raw, [0x1b, b']' | b'P' | b'X' | b'^' | b'_', ..]);
    string || raw.iter().skip(1).any(|byte| matches!(byte, 0x18 | 0x1a | 0x1b))
}

fn draws(token: Token<'_>) -> bool {
    match token {
        Token::Char(c) => c != char::REPLACEMENT_CHARACTER,
        Token::Control(byte) => (0x07..=0x0d).contains(&byte),
        Token::Escape(byte) => matches!(byte, b'7' | b'8' | b'D' | b'E' | b'M' | b'=' | b'>'),
        Token::Command(_) => false,
        Token::Sequence {
            private: false, last, ..
        } => {
            matches!(last, b'@' | b'A'..=b'H' | b'J'..=b'M' | b'P' | b'S' | b'T' | b'X' | b'`' | b'a' | b'd'..=b'h'
                | b'l' | b'm' | b'r' | b's' | b'u')
        }
        Token::Sequence {
            private: true, last, ..
        } => matches!(last, b'h' | b'l' | b'J' | b'K'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn only_what_draws_passes() {
        let drawing: [&[u8]; 8] = [
            b"plain text\r\n\t\x08\x07",
            "größe 中 🙂".as_bytes(),
            b"\x1b[1;31mred\x1b[0m",
            b"\x1b[?1049h\x1b[2J\x1b[1;1H\x1b[?25l",
            b"\x1b[10;20r\x1b[3S\x1b[2K\x1b[?2004h",
            b"\x1b7\x1b8\x1bM\x1b=\x1b>",
            b"\x1b(0\x1b(B",
            b"\x1b[38;2;1;2;3m",
        ];
        for bytes in drawing {
            assert_eq!(Filter::default().pass(bytes), bytes, "{}", bytes.escape_ascii());
        }
        let dropped: [&[u8]; 17] = [
            b"\x1b[31\x1b]0;x\x1a",
            b"\x1b[\x1b[6n",
            b"\x1b]52;c;aGk=\x07",
            b"\x1b]0;title\x1b\\",
            b"\x1b]8;;http://x\x07",
            b"\x1bP+q544e\x1b\\",
            b"\x1b_anything\x1b\\",
            b"\x1b[c",
            b"\x1b[>c",
            b"\x1b[6n",
            b"\x1b[21t",
            b"\x1b[5i",
            b"\x1b[?2$p",
            b"\x1bZ",
            b"\x1bc",
            b"\x05",
            b"\xff",
        ];
        for bytes in dropped {
            assert_eq!(Filter::default().pass(bytes), b"", "{}", bytes.escape_ascii());
            let around = [b"a", bytes, b"b"].concat();
            assert_eq!(Filter::default().pass(&around), b"ab", "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn pieces_and_endless_sequences_make_no_difference() {
        let mut filter = Filter::default();
        let pieces: [&[u8]; 4] = [b"a\x1b", b"[3", b"1m\x1b]52;", b"c\x07b"];
        let passed: Vec<u8> = pieces.iter().flat_map(|piece| filter.pass(piece)).collect();
        assert_eq!(passed, b"a\x1b[31mb");
        let endless = [b"\x1b[".as_slice(), &b"1;".repeat(5000), b"mx"].concat();
        assert_eq!(Filter::default().pass(&endless), b"x");
        let open = [b"\x1b]".as_slice(), &[b'x'; 5000]].concat();
        assert_eq!(Filter::default().pass(&open), b"");
    }
}
