//! Text with a cap that records what was cut, and bytes of unknown origin made readable.
//!
//! Owns: how stored, prompted and printed text is bounded and cleaned. Must not: decide where a cap lies.

use serde::{Deserialize, Serialize};

use crate::ids::Digest;

/// Text that was cut to a cap, and what was cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capped {
    /// What was kept.
    pub text: String,
    /// Bytes that were cut away; 0 when the text is whole.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u64,
    /// Where the whole content lies, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Digest>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Capped {
    /// Keeps the beginning and the end of `text`, at most `cap` bytes in all, cut at character borders.
    pub fn new(text: &str, cap: usize) -> Self {
        if text.len() <= cap {
            return Self {
                text: text.to_owned(),
                cut: 0,
                blob: None,
            };
        }
        let head = floor_border(text, cap / 2);
        let tail = ceil_border(text, text.len() - (cap - cap / 2));
        let cut = tail - head;
        let notice = cut_notice(cut as u64);
        Self {
            text: format!("{}{notice}{}", &text[..head], &text[tail..]),
            cut: cut as u64,
            blob: None,
        }
    }
}

/// Returns the line that stands where bytes were cut.
pub fn cut_notice(cut: u64) -> String {
    format!("\n[... {cut} bytes cut ...]\n")
}

/// Returns the largest character border at or below `at`.
pub fn floor_border(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// Returns the smallest character border at or above `at`.
pub fn ceil_border(text: &str, at: usize) -> usize {
    (at..=text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

/// Bytes captured from a stream within a budget: the beginning, the end, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The last bytes after `head`; empty if everything fitted into `head`.
    pub tail: Vec<u8>,
    /// All bytes that the stream brought.
    pub total: u64,
}

impl Captured {
    /// Wraps bytes that were kept whole.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        let head = bytes.into();
        let total = head.len() as u64;
        Self {
            head,
            tail: Vec::new(),
            total,
        }
    }

    /// Returns how many bytes were not kept.
    pub fn cut(&self) -> u64 {
        self.total
            .saturating_sub((self.head.len() + self.tail.len()) as u64)
    }

    /// Returns the kept bytes as readable text within `cap` bytes; what is missing is counted in `cut`.
    pub fn readable(&self, cap: usize) -> Capped {
        let mut text = clean(&self.head);
        let lost = self.cut();
        if lost == 0 {
            text.push_str(&clean(&self.tail));
            return Capped::new(&text, cap);
        }
        let tail = clean(&self.tail);
        let head = floor_border(&text, cap / 2);
        let from = ceil_border(&tail, tail.len().saturating_sub(cap - cap / 2));
        let cut = lost + (text.len() - head) as u64 + from as u64;
        Capped {
            text: format!("{}{}{}", &text[..head], cut_notice(cut), &tail[from..]),
            cut,
            blob: None,
        }
    }
}

/// Collects a stream of unknown length into a [`Captured`] of bounded size.
#[derive(Clone, Debug)]
pub struct Capture {
    captured: Captured,
    ring_start: usize,
    half: usize,
}

impl Capture {
    /// Starts a capture that keeps at most `keep` bytes.
    pub fn new(keep: usize) -> Self {
        Self {
            captured: Captured::default(),
            ring_start: 0,
            half: (keep / 2).max(1),
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let Captured { head, tail, total } = &mut self.captured;
        *total += bytes.len() as u64;
        let into_head = bytes.len().min(self.half - head.len());
        head.extend_from_slice(&bytes[..into_head]);
        let mut rest = &bytes[into_head..];
        if rest.len() > self.half {
            rest = &rest[rest.len() - self.half..];
        }
        let grow = rest.len().min(self.half - tail.len());
        tail.extend_from_slice(&rest[..grow]);
        for byte in &rest[grow..] {
            tail[self.ring_start] = *byte;
            self.ring_start = (self.ring_start + 1) % self.half;
        }
    }

    /// Returns how many bytes the stream brought so far.
    pub fn total(&self) -> u64 {
        self.captured.total
    }

    /// Ends the capture.
    pub fn finish(mut self) -> Captured {
        self.captured.tail.rotate_left(self.ring_start);
        self.captured
    }
}

/// Decodes bytes of unknown origin: invalid UTF-8 and NUL become U+FFFD; escapes stay, since a model may
/// need them. Use [`printable`] before a terminal sees the text.
pub fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{FFFD}")
}

/// Makes hostile text safe for a terminal: control characters other than newline and tab, and characters that
/// reorder or hide text, are shown as escapes.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        if matches!(c, '\n' | '\t') || !(c.is_control() || hidden) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
        out
    })
}

/// Returns whether `text` fits a pattern with `*` (any characters) and `?` (one character).
pub fn glob_fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn cutting_records_what_was_cut() {
        assert_eq!(
            Capped::new("short", 10),
            Capped {
                text: "short".into(),
                cut: 0,
                blob: None
            }
        );
        let cut = Capped::new("aaaaaäbbbbbb", 6);
        assert_eq!(
            cut,
            Capped {
                text: "aaa\n[... 7 bytes cut ...]\nbbb".into(),
                cut: 7,
                blob: None
            }
        );
    }

    #[test]
    fn a_capture_keeps_head_and_tail_whatever_the_pieces() {
        let stream: Vec<u8> = (0..=255_u8).cycle().take(1000).collect();
        for piece in [1, 3, 7, 64, 1000] {
            let mut capture = Capture::new(20);
            stream.chunks(piece).for_each(|bytes| capture.push(bytes));
            let expected = Captured {
                head: stream[..10].into(),
                tail: stream[990..].into(),
                total: 1000,
            };
            assert_eq!(capture.finish(), expected, "pieces of {piece}");
        }
        let mut capture = Capture::new(20);
        capture.push(&stream[..15]);
        let captured = capture.finish();
        assert_eq!((captured.cut(), captured.readable(100).cut), (0, 0));
    }

    #[test]
    fn globs_fit_whole_texts() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("arith-*", "arith-1", true),
            ("arith-*", "xarith-1", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*b", "abab", true),
            ("*b*b", "aba", false),
            ("", "", true),
            ("a*", "a", true),
            ("a*c", "abcbc", true),
            ("*a?", "xaä", true),
            ("**b", "ab", true),
            ("a-*", "a-b", true),
            ("", "a", false),
            ("a", "", false),
            ("?", "", false),
            ("a*c", "abcb", false),
            ("*a?", "xa", false),
            ("A", "a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(glob_fits(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn terminals_see_no_control_characters() {
        assert_eq!(
            printable("a\x1b[31mb\r\u{202e}c\n"),
            "a\\u{1b}[31mb\\u{d}\\u{202e}c\n"
        );
        assert_eq!(clean(b"a\0b\xff"), "a\u{FFFD}b\u{FFFD}");
    }
}
