//! One text that people wrote, with its lines, and places in it.
//!
//! Owns: offsets to lines and columns, and excerpts. Must not: know YAML.

use crate::text::printable;

/// The longest text that is read, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

/// How many characters of a line an excerpt shows.
const WINDOW: usize = 100;

/// A range of bytes of a [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    /// The first byte.
    pub(super) start: usize,
    /// The byte after the last.
    pub(super) end: usize,
}

impl Span {
    pub(super) fn at(start: usize) -> Self {
        Self { start, end: start }
    }
}

/// A text, its path for messages, and where its lines begin.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    starts: Vec<usize>,
}

/// A place as people count: lines and columns from 1, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) length: u32,
    pub(super) excerpt: Option<Excerpt>,
}

/// The part of a line that a message shows, free of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The text.
    pub text: String,
    /// How many columns stand before the marked part.
    pub indent: usize,
    /// How many columns are marked; at least 1.
    pub marked: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(
                text.bytes()
                    .enumerate()
                    .filter(|(_, byte)| *byte == b'\n')
                    .map(|(at, _)| at + 1),
            )
            .collect();
        Self { path, text, starts }
    }

    /// Returns the number of the line, from 0, that holds a byte.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1)
    }

    /// Returns a line without its end.
    pub(super) fn line(&self, line: usize) -> &'a str {
        let Some(start) = self.starts.get(line) else {
            return "";
        };
        let end = self.starts.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let text = self.text.get(*start..end).unwrap_or("");
        text.strip_suffix('\r').unwrap_or(text)
    }

    /// Returns the span of a line's text without its indentation.
    pub(super) fn line_span(&self, line: usize) -> Span {
        let Some(start) = self.starts.get(line) else {
            return Span::at(self.text.len());
        };
        let text = self.line(line);
        let indent = text.len() - text.trim_start().len();
        Span {
            start: start + indent,
            end: start + text.trim_end().len().max(indent),
        }
    }

    pub(super) fn place(&self, span: Span) -> Place {
        let index = self.line_of(span.start);
        let line = self.line(index);
        let from = span.start - self.starts.get(index).copied().unwrap_or(0);
        let before = line.get(..from.min(line.len())).unwrap_or("");
        let to = (from + span.end.saturating_sub(span.start)).min(line.len());
        let marked = line.get(from.min(to)..to).unwrap_or("").trim_end();
        let column = before.chars().count();
        let length = marked.chars().count().max(1);
        Place {
            line: number(index + 1),
            column: number(column + 1),
            length: number(length),
            excerpt: excerpt(line, column, length),
        }
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn excerpt(line: &str, column: usize, length: usize) -> Option<Excerpt> {
    if line.trim().is_empty() {
        return None;
    }
    let skip = if column + length.min(WINDOW / 2) <= WINDOW {
        0
    } else {
        column.saturating_sub(WINDOW / 3)
    };
    let piece = |from: usize, count: usize| -> String {
        printable(&line.chars().skip(from).take(count).collect::<String>()).replace('\t', " ")
    };
    let lead = if skip > 0 { "..." } else { "" };
    let before = piece(skip, column - skip);
    let room = WINDOW.saturating_sub(column - skip).max(1);
    let marked = piece(column, length.min(room));
    let after = piece(column + length.min(room), room.saturating_sub(length));
    let more = line.chars().nth(skip + WINDOW).is_some();
    let width = |text: &str| text.chars().count();
    Some(Excerpt {
        indent: lead.len() + width(&before),
        marked: width(&marked).max(1),
        text: format!("{lead}{before}{marked}{after}{}", if more { "..." } else { "" }),
    })
}
