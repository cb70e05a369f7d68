//! The plain text of what a program writes.
//!
//! Owns: what carriage returns, backspaces and erasures leave of a line, and the shell's prompt. Must not: know the
//! screen: what is drawn all over it breaks lines here, and what is drawn on the alternate one is left out.

use super::scan::Token;
use crate::text::{Capture, Captured};

/// How much text is kept between two calls; of more, the beginning and the end.
const KEEP: usize = 1 << 20;
/// A longer line is taken as it is, in pieces.
const LONGEST_LINE: usize = 8 << 10;
/// The number of the command that marks a prompt; no program uses it.
const MARK: &str = "6973";
const TAB: usize = 8;

/// What the shell waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A command.
    Ready {
        /// How the last one ended.
        code: i32,
    },
    /// The rest of a command.
    More,
}

/// The text since it was last taken, and the line that is being written.
pub(super) struct Lines {
    mark: Vec<u8>,
    text: Capture,
    line: Vec<char>,
    at: usize,
    /// How much of the line was in a text that was taken, as it was then.
    shown: Vec<char>,
    /// Whether something on the line was written over, so that blanks at its end are leftovers.
    rewritten: bool,
    /// Whether the last thing that came is a prompt.
    prompt: Option<Prompt>,
    /// Whether the line begins with a prompt.
    on_prompt: bool,
    alternate: bool,
}

impl Lines {
    pub(super) fn new(nonce: &str) -> Self {
        Self {
            mark: format!("{MARK};{nonce};").into_bytes(),
            text: Capture::new(KEEP),
            line: Vec::new(),
            at: 0,
            shown: Vec::new(),
            rewritten: false,
            prompt: None,
            on_prompt: false,
            alternate: false,
        }
    }

    pub(super) fn prompt(&self) -> Option<Prompt> {
        self.prompt
    }

    pub(super) fn forget_prompt(&mut self) {
        self.prompt = None;
    }

    pub(super) fn is_open(&self) -> bool {
        self.prompt.is_none() && !self.line.is_empty() && !self.alternate
    }

    /// Returns the text since the last call.
    pub(super) fn take_text(&mut self) -> Captured {
        if self.prompt.is_none() {
            self.emit();
        }
        // A prompt is not shown, but it is not new the next time either.
        self.shown.clone_from(&self.line);
        std::mem::replace(&mut self.text, Capture::new(KEEP)).finish()
    }

    pub(super) fn take(&mut self, token: Token<'_>) {
        match token {
            Token::Command(command) => self.command(command),
            Token::Sequence {
                private: true,
                params,
                last: last @ (b'h' | b'l'),
            } if params.iter().any(|mode| matches!(mode, 47 | 1047 | 1049)) => self.alternate = last == b'h',
            _ if self.alternate => {}
            Token::Char(c) => self.put(c),
            Token::Control(byte) => self.control(byte),
            Token::Escape(byte) => self.escape(byte),
            Token::Sequence {
                private: false,
                params,
                last,
            } => self.sequence(params.first().copied().unwrap_or(0), last),
            Token::Sequence { private: true, .. } => {}
        }
    }

    fn command(&mut self, command: &[u8]) {
        let Some(rest) = command.strip_prefix(self.mark.as_slice()) else {
            return;
        };
        let text = std::str::from_utf8(rest).unwrap_or_default();
        let prompt = match text.parse() {
            Ok(code) => Prompt::Ready { code },
            Err(_) if text == "more" => Prompt::More,
            Err(_) => return,
        };
        self.alternate = false;
        if self.on_prompt && self.line.iter().collect::<String>().trim().is_empty() {
            // The shell writes its prompt again.
            self.line.clear();
        }
        self.emit();
        self.begin_line();
        (self.prompt, self.on_prompt) = (Some(prompt), true);
    }

    fn put(&mut self, c: char) {
        if self.at < self.line.len() {
            self.line[self.at] = c;
            self.rewritten = true;
        } else {
            if self.line.len() >= LONGEST_LINE {
                self.emit();
                self.begin_line();
            }
            self.line.resize(self.at, ' ');
            self.line.push(c);
        }
        self.at += 1;
    }

    fn control(&mut self, byte: u8) {
        match byte {
            b'\n' | 0x0b | 0x0c => self.end_line(),
            b'\r' => self.at = 0,
            0x08 => self.at = self.at.saturating_sub(1),
            b'\t' => self.go_to((self.at / TAB + 1) * TAB),
            _ => {}
        }
    }

    fn escape(&mut self, byte: u8) {
        match byte {
            b'E' | b'D' => self.end_line(),
            // Up, or everything anew.
            b'M' | b'c' => self.break_line(),
            _ => {}
        }
    }

    fn sequence(&mut self, first: u16, last: u8) {
        let count = usize::from(first).max(1);
        match (last, first) {
            (b'C' | b'a', _) => self.go_to(self.at + count),
            (b'D', _) => self.at = self.at.saturating_sub(count),
            (b'G' | b'`', _) => self.go_to(count - 1),
            (b'K' | b'J', 0) => self.line.truncate(self.at),
            (b'K', 1) => self.blank(0, self.at + 1),
            (b'K', _) => self.blank(0, self.line.len()),
            (b'X', _) => self.blank(self.at, self.at.saturating_add(count)),
            (b'P', _) => {
                let end = self.at.saturating_add(count).min(self.line.len());
                self.line.drain(self.at.min(end)..end);
            }
            (b'@', _) => self.insert(count),
            (b'A' | b'B' | b'E' | b'F' | b'H' | b'J' | b'L' | b'M' | b'S' | b'T' | b'd' | b'e' | b'f', _) => {
                self.break_line();
            }
            _ => {}
        }
    }

    /// Moves the cursor; where there is nothing yet, it is filled with blanks when something is written.
    fn go_to(&mut self, at: usize) {
        self.at = at.min(LONGEST_LINE - 1);
    }

    fn blank(&mut self, from: usize, to: usize) {
        let to = to.min(self.line.len());
        if from < to {
            self.line[from..to].fill(' ');
            self.rewritten = true;
        }
    }

    fn insert(&mut self, count: usize) {
        if self.at < self.line.len() {
            let count = count.min(LONGEST_LINE.saturating_sub(self.line.len()));
            self.line
                .splice(self.at..self.at, std::iter::repeat_n(' ', count));
            self.rewritten = true;
        }
    }

    fn end_line(&mut self) {
        self.prompt = None;
        self.emit();
        self.text.push(b"\n");
        self.begin_line();
    }

    /// The cursor goes somewhere else on the screen: what was written there stands on its own.
    fn break_line(&mut self) {
        if self.line.iter().any(|c| *c != ' ') && !self.on_prompt {
            self.end_line();
        }
    }

    fn begin_line(&mut self) {
        self.line.clear();
        self.shown.clear();
        self.at = 0;
        (self.rewritten, self.on_prompt) = (false, false);
    }

    /// Puts what is new on the line into the text.
    fn emit(&mut self) {
        let mut line = self.line.as_slice();
        if self.rewritten {
            let end = line.iter().rposition(|c| *c != ' ').map_or(0, |last| last + 1);
            line = &line[..end];
        }
        let new = line.strip_prefix(self.shown.as_slice()).unwrap_or(line);
        let text: String = new.iter().collect();
        self.text.push(text.as_bytes());
    }
}
