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
    dropped: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        Self {
            source: Source::new(path, text),
            problems: Vec::new(),
            dropped: 0,
        }
    }

    /// Reports an error at a place.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>, hint: Option<&str>) {
        self.report(Severity::Error, span, message.into(), hint);
    }

    /// Reports an error without showing the line, which may hold a secret.
    pub(super) fn secret(&mut self, span: Span, message: &str, hint: &str) {
        self.error(span, message, Some(hint));
        if let Some(problem) = self.problems.last_mut() {
            problem.excerpt = None;
        }
    }

    /// Reports something to look at.
    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, hint: Option<&str>) {
        self.report(Severity::Warning, span, message.into(), hint);
    }

    /// Reports an error of the file as a whole.
    pub(super) fn whole_file(&mut self, message: String, hint: Option<&str>) {
        let problem = file_problem(self.source.path, message, hint);
        self.problems.push(problem);
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

    fn report(&mut self, severity: Severity, span: Span, message: String, hint: Option<&str>) {
        if self.problems.len() >= MAX_PROBLEMS {
            self.dropped += 1;
            return;
        }
        let place = self.source.place(span);
        self.problems.push(Problem {
            severity,
            file: self.source.path.to_owned(),
            line: place.line,
            column: place.column,
            length: place.length,
            message,
            hint: hint.map(str::to_owned),
            excerpt: place.excerpt,
        });
    }

    /// Returns the problems in the order of the file.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems
            .sort_by_key(|problem| (problem.line, problem.column));
        if self.dropped > 0 {
            let message = format!("{} further problems are not shown", self.dropped);
            self.problems.push(file_problem(self.source.path, message, None));
        }
        self.problems
    }
}

/// Builds an error of a file as a whole.
pub(super) fn file_problem(path: &str, message: String, hint: Option<&str>) -> Problem {
    Problem {
        severity: Severity::Error,
        file: path.to_owned(),
        line: 0,
        column: 0,
        length: 0,
        message,
        hint: hint.map(str::to_owned),
        excerpt: None,
    }
}
