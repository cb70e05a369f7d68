//! Collects the problems of one file while it is read.
//!
//! Owns: places of problems and their number. Must not: decide what is wrong.

use super::problem::{Problem, Severity};
use super::source::{Source, Span};

/// How many problems of one file are kept.
const MAX_PROBLEMS: usize = 100;

/// A file that is being read and what was found wrong with it.
pub(super) struct Reader<'a> {
    pub(super) source: Source<'a>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        Self {
            source: Source::new(path, text),
            problems: Vec::new(),
        }
    }

    /// Reports an error at a place.
    pub(super) fn error(&mut self, span: Span, message: impl AsRef<str>, hint: Option<&str>) {
        self.report(Severity::Error, span, message.as_ref(), hint);
    }

    /// Reports an error without showing the line, which may hold a secret.
    pub(super) fn secret(&mut self, span: Span, message: &str, hint: &str) {
        self.error(span, message, Some(hint));
        if let Some(problem) = self.problems.last_mut() {
            problem.excerpt = None;
        }
    }

    /// Reports something to look at.
    pub(super) fn warn(&mut self, span: Span, message: impl AsRef<str>, hint: Option<&str>) {
        self.report(Severity::Warning, span, message.as_ref(), hint);
    }

    /// Reports an error of the file as a whole.
    pub(super) fn whole_file(&mut self, message: &str, hint: Option<&str>) {
        let problem = file_problem(self.source.path, message, hint);
        self.problems.push(problem);
    }

    /// Returns whether further problems would only be counted, so that looking for hints is in vain.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() > MAX_PROBLEMS
    }

    /// Returns whether something was reported within a span; what follows from it need not be reported too.
    pub(super) fn has_problem_in(&self, span: Span) -> bool {
        let first = self.source.place(span);
        let last = self.source.line_of(span.end) + 1;
        self.problems.iter().any(|problem| {
            (problem.line, problem.column) >= (first.line, first.column)
                && usize::try_from(problem.line).is_ok_and(|line| line <= last)
        })
    }

    fn report(&mut self, severity: Severity, span: Span, message: &str, hint: Option<&str>) {
        if self.problems.len() > MAX_PROBLEMS {
            return;
        }
        let place = self.source.place(span);
        self.problems.push(Problem {
            severity,
            file: self.source.path.to_owned(),
            line: place.line,
            column: place.column,
            length: place.length,
            message: one_line(message),
            hint: hint.map(one_line),
            excerpt: place.excerpt,
        });
    }

    /// Returns the problems in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        if self.is_full() {
            self.problems.truncate(MAX_PROBLEMS);
            let message = format!("there are more than {MAX_PROBLEMS} problems; the others are not shown");
            self.problems.push(file_problem(self.source.path, &message, None));
        }
        self.problems
    }
}

/// Builds an error of a file as a whole.
pub(super) fn file_problem(path: &str, message: &str, hint: Option<&str>) -> Problem {
    Problem {
        severity: Severity::Error,
        file: path.to_owned(),
        line: 0,
        column: 0,
        length: 0,
        message: one_line(message),
        hint: hint.map(one_line),
        excerpt: None,
    }
}

/// Returns text that a terminal can show in one line, whatever an input put into it.
fn one_line(text: &str) -> String {
    crate::text::printable(text).replace(['\t', '\n'], " ")
}
