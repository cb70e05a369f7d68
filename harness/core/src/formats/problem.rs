//! What is wrong with an input, and how it is shown.
//!
//! Owns: problems and their rendering. Must not: find any.

use std::fmt;

use super::source::Excerpt;

/// Whether a problem stops a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The input cannot be used.
    Error,
    /// The input can be used, and somebody should look.
    Warning,
}

impl Severity {
    /// Returns the word that begins a message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong with an input, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops a run.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters are meant.
    pub length: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line it stands in.
    pub excerpt: Option<Excerpt>,
}

/// Shows a problem with its line, a caret and the hint.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity.name(), self.message)?;
        let file = crate::text::printable(&self.file);
        if self.line == 0 {
            writeln!(f, "  --> {file}")?;
        } else {
            writeln!(f, "  --> {file}:{}:{}", self.line, self.column)?;
        }
        if let Some(excerpt) = &self.excerpt {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            writeln!(f, " {margin} |")?;
            writeln!(f, " {number} | {}", excerpt.text.trim_end())?;
            let (indent, carets) = (" ".repeat(excerpt.indent), "^".repeat(excerpt.marked));
            writeln!(f, " {margin} | {indent}{carets}")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with some input, in the order of files and lines. Shows all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Returns whether any of them stops a run.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// Returns the number of errors and of warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.0.iter().filter(|p| p.severity == Severity::Error).count();
        (errors, self.0.len() - errors)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// An input without errors, and what somebody should look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked<T> {
    /// The input.
    pub value: T,
    /// Problems that do not stop a run.
    pub warnings: Problems,
}

/// A checked input, or everything that is wrong with it (warnings too).
pub type Parsed<T> = Result<Checked<T>, Problems>;
