//! What a program writes to a terminal, as a person would see it; and what a person would type.
//!
//! Owns: the screen, the plain text of what was written, the shell's prompt, the bytes of keys, and when to stop
//! waiting. Must not: read from or write to anything. All bytes are hostile: whatever they are, memory stays bounded
//! and nothing panics.

use std::fmt::Write as _;
use std::num::NonZeroU16;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::ports::WindowSize;
use crate::text::Captured;

mod filter;
mod keys;
mod lines;
mod scan;
mod shell;
#[cfg(test)]
mod tests;
mod waiting;

pub use filter::{Filter, reset};
pub use keys::{Key, typed};
pub use lines::Prompt;
pub use shell::{PROMPT_ENV, shell_argv};
pub use waiting::{Look, QUIET, Verdict, judge};

use lines::Lines;
use scan::Scanner;

/// The least and the greatest number of lines and of columns.
pub const ROWS: (u16, u16) = (2, 200);
/// The least and the greatest number of columns.
pub const COLS: (u16, u16) = (20, 500);
/// The size of a terminal for which none was asked.
pub const DEFAULT_SIZE: WindowSize = WindowSize { rows: 30, cols: 120 };

/// How many characters of the screen are written at most in one go (see [`Screen::feed_some`]).
const MOST_WORK: u32 = 2_000_000;

/// A terminal of a program.
pub struct Screen {
    parser: vt100::Parser,
    scanner: Scanner,
    lines: Lines,
}

impl Screen {
    /// Makes an empty screen. A prompt counts only if it carries this `nonce`.
    ///
    /// # Examples
    /// ```
    /// use harness_core::terminal::{DEFAULT_SIZE, Prompt, Screen};
    ///
    /// let mut screen = Screen::new(DEFAULT_SIZE, "n7");
    /// screen.feed(b"10%\r100%\r\n\x1b]6973;n7;3\x07/tmp $ ");
    /// assert_eq!(screen.new_text().head, b"100%\n");
    /// assert_eq!(screen.prompt(), Some(Prompt::Ready { code: 3 }));
    /// ```
    pub fn new(size: WindowSize, nonce: &str) -> Self {
        Self {
            parser: parser(size),
            scanner: Scanner::default(),
            lines: Lines::new(nonce),
        }
    }

    /// Takes what the program wrote.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = self.feed_some(bytes);
            bytes = bytes.get(count..).unwrap_or_default();
        }
    }

    /// Takes the beginning of what the program wrote, as much as makes little work, and returns how much that was: at
    /// least one byte. A few bytes may rewrite the whole screen, and who shares a thread with others must not do that a
    /// hundred thousand times in a row.
    pub fn feed_some(&mut self, bytes: &[u8]) -> usize {
        let size = self.size();
        let (columns, cells) = (u32::from(size.cols), u32::from(size.rows) * u32::from(size.cols));
        let mut work = 0_u32;
        let enough = bytes.iter().position(|byte| {
            work = work.saturating_add(match byte {
                0x1b => cells,
                b'\n' | 0x0b | 0x0c => columns,
                _ => 1,
            });
            work > MOST_WORK
        });
        let count = enough.unwrap_or(bytes.len()).max(1).min(bytes.len());
        self.take_in(bytes.get(..count).unwrap_or_default());
        count
    }

    fn take_in(&mut self, bytes: &[u8]) {
        let (scanner, lines) = (&mut self.scanner, &mut self.lines);
        for byte in bytes {
            scanner.push(*byte, &mut |token| lines.take(token));
        }
        let size = self.size();
        let parser = &mut self.parser;
        // The bytes are the program's. Should some of them trip the emulator, that must not end the attempt, or a
        // program could choose to have none: the screen is then empty again.
        if catch_unwind(AssertUnwindSafe(|| parser.process(bytes))).is_err() {
            self.parser = self::parser(size);
        }
    }

    /// Returns what was written since the last call as plain lines: without escapes, with every line as it was left.
    /// The shell's prompt at the end is not part of it.
    pub fn new_text(&mut self) -> Captured {
        self.lines.take_text()
    }

    /// Returns what is to be seen now, and where the cursor is.
    pub fn screen_text(&self) -> String {
        let screen = self.parser.screen();
        let size = self.size();
        let (row, col) = screen.cursor_position();
        let mut text = format!(
            "[screen of {} lines and {} columns, cursor in line {}, column {}]\n",
            size.rows,
            size.cols,
            row.saturating_add(1),
            col.saturating_add(1)
        );
        let rows: Vec<String> = screen.rows(0, size.cols).collect();
        let used = rows.iter().rposition(|row| !row.trim_end().is_empty());
        for row in rows.iter().take(used.map_or(0, |last| last + 1)) {
            let _ = writeln!(text, "{}", row.trim_end());
        }
        text
    }

    /// Returns whether a program draws on the whole screen.
    pub fn alternate(&self) -> bool {
        self.parser.screen().alternate_screen()
    }

    /// Returns the prompt, if the shell has shown one and nothing came after it.
    pub fn prompt(&self) -> Option<Prompt> {
        self.lines.prompt()
    }

    /// Forgets the prompt that is there, since something is typed after it.
    pub fn forget_prompt(&mut self) {
        self.lines.forget_prompt();
    }

    /// Returns whether the last line has text and no end, as when a program asks for something.
    pub fn line_is_open(&self) -> bool {
        self.lines.is_open()
    }

    /// Returns the size.
    pub fn size(&self) -> WindowSize {
        let (rows, cols) = self.parser.screen().size();
        WindowSize {
            rows: rows.get(),
            cols: cols.get(),
        }
    }

    /// Gives the screen another size, as near as it can be.
    pub fn resize(&mut self, size: WindowSize) {
        let (rows, cols) = bounded(size);
        let parser = &mut self.parser;
        if catch_unwind(AssertUnwindSafe(|| parser.set_size(rows, cols))).is_err() {
            self.parser = self::parser(size);
        }
    }

    /// Returns the bytes that typing this text and then Enter makes. Text of several lines, or with tabs, is marked
    /// as pasted where the program asks for that, so that a tab does not complete a word.
    pub fn type_line(&self, text: &str) -> Vec<u8> {
        let paste = self.parser.screen().bracketed_paste() && text.contains(['\n', '\t']);
        typed(text, paste)
    }

    /// Returns the bytes that a key makes.
    pub fn press(&self, key: Key) -> Vec<u8> {
        key.bytes(self.parser.screen().application_cursor())
    }
}

fn bounded(size: WindowSize) -> (NonZeroU16, NonZeroU16) {
    let within = |number: u16, (least, most): (u16, u16)| {
        NonZeroU16::new(number.clamp(least, most)).unwrap_or(NonZeroU16::MIN)
    };
    (within(size.rows, ROWS), within(size.cols, COLS))
}

fn parser(size: WindowSize) -> vt100::Parser {
    let (rows, cols) = bounded(size);
    vt100::Parser::new(rows, cols, 0)
}
