//! Splits what a program writes into characters, control characters and escape sequences.
//!
//! Owns: the state between bytes, bounded whatever comes. Must not: know what sequences mean.

/// The longest string that is kept; longer ones are read over.
const LONGEST_STRING: usize = 256;
/// The most parameters of a sequence that are kept.
const MOST_PARAMS: usize = 8;

/// A piece of what a program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A character, never a control character; U+FFFD where the bytes are none.
    Char(char),
    /// A control character.
    Control(u8),
    /// `ESC x`.
    Escape(u8),
    /// `ESC [ params x`.
    Sequence {
        /// Whether it begins with `?`, `>`, `<` or `=`.
        private: bool,
        /// Its numbers; 0 where none is written.
        params: &'a [u16],
        /// Its last byte.
        last: u8,
    },
    /// `ESC ] ... BEL`.
    Command(&'a [u8]),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// After `ESC` and bytes such as `(`: one more ends it.
    Charset,
    Sequence,
    Command,
    /// `ESC` within a command.
    CommandEnd,
    /// A string that nobody reads.
    Ignored,
    /// `ESC` within such a string.
    IgnoredEnd,
}

/// The state between two bytes.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    /// A character that has begun, and how many bytes are missing.
    partial: Vec<u8>,
    missing: usize,
    private: bool,
    params: Vec<u16>,
    string: Vec<u8>,
    overlong: bool,
}

impl Scanner {
    /// Takes the next byte and hands on what it completes.
    pub(super) fn push(&mut self, byte: u8, out: &mut impl FnMut(Token<'_>)) {
        match self.state {
            State::Ground => self.ground(byte, out),
            State::Charset => {
                if !(0x20..=0x2f).contains(&byte) {
                    self.state = State::Ground;
                }
            }
            State::Sequence => self.sequence(byte, out),
            State::Command => match byte {
                0x07 => self.end_command(out),
                0x1b => self.state = State::CommandEnd,
                0x18 | 0x1a => self.state = State::Ground,
                _ if self.string.len() < LONGEST_STRING => self.string.push(byte),
                _ => self.overlong = true,
            },
            State::CommandEnd if byte == b'\\' => self.end_command(out),
            State::Ignored => match byte {
                0x1b => self.state = State::IgnoredEnd,
                0x18 | 0x1a => self.state = State::Ground,
                _ => {}
            },
            State::IgnoredEnd if byte == b'\\' => self.state = State::Ground,
            // An escape inside a string ends it.
            State::Escape | State::CommandEnd | State::IgnoredEnd => self.escape(byte, out),
        }
    }

    /// Returns whether nothing has begun that is not complete.
    pub(super) fn is_between(&self) -> bool {
        self.state == State::Ground && self.missing == 0
    }

    fn ground(&mut self, byte: u8, out: &mut impl FnMut(Token<'_>)) {
        if self.missing > 0 {
            if (0x80..0xc0).contains(&byte) {
                self.partial.push(byte);
                self.missing -= 1;
                if self.missing == 0 {
                    let text = std::str::from_utf8(&self.partial);
                    let char = text.ok().and_then(|text| text.chars().find(|c| !c.is_control()));
                    out(Token::Char(char.unwrap_or(char::REPLACEMENT_CHARACTER)));
                }
                return;
            }
            self.missing = 0;
            out(Token::Char(char::REPLACEMENT_CHARACTER));
        }
        self.missing = match byte {
            0xc2..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => 0,
        };
        match byte {
            0x1b => self.state = State::Escape,
            0x00..=0x1f | 0x7f => out(Token::Control(byte)),
            0x20..=0x7e => out(Token::Char(char::from(byte))),
            _ if self.missing > 0 => {
                self.partial.clear();
                self.partial.push(byte);
            }
            _ => out(Token::Char(char::REPLACEMENT_CHARACTER)),
        }
    }

    fn escape(&mut self, byte: u8, out: &mut impl FnMut(Token<'_>)) {
        self.state = State::Ground;
        match byte {
            b'[' => {
                self.state = State::Sequence;
                self.private = false;
                self.params.clear();
                self.params.push(0);
            }
            b']' => {
                self.state = State::Command;
                self.string.clear();
                self.overlong = false;
            }
            b'P' | b'X' | b'^' | b'_' => self.state = State::Ignored,
            0x1b => self.state = State::Escape,
            0x20..=0x2f => self.state = State::Charset,
            0x00..=0x1f | 0x7f => out(Token::Control(byte)),
            0x30..=0x7e => out(Token::Escape(byte)),
            0x80.. => self.ground(byte, out),
        }
    }

    fn sequence(&mut self, byte: u8, out: &mut impl FnMut(Token<'_>)) {
        match byte {
            b'0'..=b'9' => {
                if let Some(last) = self.params.last_mut() {
                    *last = last.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' | b':' if self.params.len() < MOST_PARAMS => self.params.push(0),
            b'<' | b'=' | b'>' | b'?' => self.private = true,
            b';' | b':' | 0x20..=0x2f | 0x7f => {}
            0x40..=0x7e => {
                self.state = State::Ground;
                out(Token::Sequence {
                    private: self.private,
                    params: &self.params,
                    last: byte,
                });
            }
            0x18 | 0x1a => self.state = State::Ground,
            0x1b => self.state = State::Escape,
            0x00..=0x1f => out(Token::Control(byte)),
            0x80.. => {
                self.state = State::Ground;
                self.ground(byte, out);
            }
        }
    }

    fn end_command(&mut self, out: &mut impl FnMut(Token<'_>)) {
        self.state = State::Ground;
        if !self.overlong {
            out(Token::Command(&self.string));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn scanned(bytes: &[u8]) -> Vec<String> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        for byte in bytes {
            scanner.push(*byte, &mut |token| found.push(format!("{token:?}")));
        }
        found
    }

    #[test]
    fn bytes_become_tokens() {
        let cases: [(&[u8], &[&str]); 10] = [
            (b"a\r\n", &["Char('a')", "Control(13)", "Control(10)"]),
            ("ä€🙂".as_bytes(), &["Char('ä')", "Char('€')", "Char('🙂')"]),
            (
                b"\xffa\xc3(",
                &["Char('\u{fffd}')", "Char('a')", "Char('\u{fffd}')", "Char('(')"],
            ),
            (
                b"\xe2\x82\x1b[m",
                &[
                    "Char('\u{fffd}')",
                    "Sequence { private: false, params: [0], last: 109 }",
                ],
            ),
            (
                b"\x1b[?1049h\x1b[2;99999999K",
                &[
                    "Sequence { private: true, params: [1049], last: 104 }",
                    "Sequence { private: false, params: [2, 65535], last: 75 }",
                ],
            ),
            (
                b"\x1b]0;t\x07x\x1b]1\x1b\\",
                &["Command([48, 59, 116])", "Char('x')", "Command([49])"],
            ),
            (
                b"\x1bPanything\x07at all\x1b\\x\x1b(B\x1bM",
                &["Char('x')", "Escape(77)"],
            ),
            (
                b"\x1b]0;never\x1b[1mx",
                &["Sequence { private: false, params: [1], last: 109 }", "Char('x')"],
            ),
            (b"\x1b[3\x18x\x1b]a\x1ay", &["Char('x')", "Char('y')"]),
            (
                b"\x1b[1;2;3;4;5;6;7;8;9;10m",
                &["Sequence { private: false, params: [1, 2, 3, 4, 5, 6, 7, 8910], last: 109 }"],
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(scanned(bytes), expected, "{}", bytes.escape_ascii());
        }
        let endless = [b"\x1b]".as_slice(), &[b'x'; 10_000], b"\x07y"].concat();
        assert_eq!(scanned(&endless), ["Char('y')"]);
    }
}
