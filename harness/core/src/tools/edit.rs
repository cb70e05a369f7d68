//! Edits of text files as pure functions on their content.

use std::fmt::Write as _;

/// What is done with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditCommand {
    /// Shows numbered lines.
    View {
        /// The first line, from 1.
        line: usize,
        /// How many lines.
        limit: usize,
    },
    /// Writes a whole file.
    Create {
        /// Its content.
        text: String,
    },
    /// Puts `new` in place of the only occurrence of `old`.
    Replace {
        /// What is there.
        old: String,
        /// What comes there.
        new: String,
    },
    /// Puts lines after a line.
    Insert {
        /// The line before them; 0 for the beginning.
        line: usize,
        /// The lines.
        new: String,
    },
}

/// Why an edit was not done; the model reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Nothing to look for.
    #[error("`old` is empty; give the exact text to replace")]
    EmptyOld,
    /// Not there.
    #[error("`old` does not occur in the file; nothing was changed")]
    NotFound,
    /// More than once.
    #[error(
        "`old` occurs {count} times (first on lines {lines}); give more of its surroundings so that it occurs once"
    )]
    Ambiguous {
        /// How often.
        count: usize,
        /// Where.
        lines: String,
    },
    /// A line that is not there.
    #[error("the file has {lines} lines; `line` must be from 0 to {lines}")]
    NoSuchLine {
        /// How many there are.
        lines: usize,
    },
}

/// Returns the new content of a file after an edit. `View` changes nothing.
pub fn apply(content: &str, command: &EditCommand) -> Result<String, EditError> {
    match command {
        EditCommand::View { .. } => Ok(content.to_owned()),
        EditCommand::Create { text } => Ok(text.clone()),
        EditCommand::Replace { old, new } => replace(content, old, new),
        EditCommand::Insert { line, new } => insert(content, *line, new),
    }
}

fn replace(content: &str, old: &str, new: &str) -> Result<String, EditError> {
    if old.is_empty() {
        return Err(EditError::EmptyOld);
    }
    let places: Vec<usize> = content.match_indices(old).map(|(at, _)| at).take(1000).collect();
    match places.as_slice() {
        [] => Err(EditError::NotFound),
        [at] => Ok(format!("{}{new}{}", &content[..*at], &content[at + old.len()..])),
        many => {
            let line_of = |at: &usize| content[..*at].matches('\n').count() + 1;
            let lines: Vec<String> = many.iter().take(3).map(|at| line_of(at).to_string()).collect();
            Err(EditError::Ambiguous {
                count: many.len(),
                lines: lines.join(", "),
            })
        }
    }
}

fn insert(content: &str, line: usize, new: &str) -> Result<String, EditError> {
    let lines: Vec<&str> = content.split_inclusive('\n').collect();
    if line > lines.len() {
        return Err(EditError::NoSuchLine { lines: lines.len() });
    }
    let (before, after) = lines.split_at(line);
    let mut text = before.concat();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(new);
    if !new.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&after.concat());
    Ok(text)
}

/// Returns lines of a file with their numbers, and how many lines the file has.
pub fn slice_lines(content: &str, first: usize, limit: usize) -> String {
    let total = content.lines().count();
    let mut shown = String::new();
    let mut last = first.saturating_sub(1);
    for (index, line) in content
        .lines()
        .enumerate()
        .skip(first.saturating_sub(1))
        .take(limit)
    {
        last = index + 1;
        let _ = writeln!(shown, "{:>6}\t{line}", index + 1);
    }
    if last < total || first > 1 {
        let _ = write!(shown, "[lines {first} to {last} of {total}]");
    }
    if total == 0 {
        shown.push_str("[the file is empty]");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn edits_change_exactly_one_place() {
        let replace = |old: &str, new: &str| {
            apply(
                "a\nb\na\n",
                &EditCommand::Replace {
                    old: old.into(),
                    new: new.into(),
                },
            )
        };
        assert_eq!(replace("b", "c"), Ok("a\nc\na\n".into()));
        assert_eq!(replace("x", "c"), Err(EditError::NotFound));
        assert_eq!(replace("", "c"), Err(EditError::EmptyOld));
        assert_eq!(
            replace("a", "c"),
            Err(EditError::Ambiguous {
                count: 2,
                lines: "1, 3".into()
            })
        );
    }

    #[test]
    fn lines_are_inserted_after_a_line() {
        let insert = |content: &str, line| {
            apply(
                content,
                &EditCommand::Insert {
                    line,
                    new: "x".into(),
                },
            )
        };
        assert_eq!(insert("a\nb\n", 0), Ok("x\na\nb\n".into()));
        assert_eq!(insert("a\nb\n", 1), Ok("a\nx\nb\n".into()));
        assert_eq!(insert("a\nb", 2), Ok("a\nb\nx\n".into()));
        assert_eq!(insert("", 0), Ok("x\n".into()));
        assert_eq!(insert("a\n", 5), Err(EditError::NoSuchLine { lines: 1 }));
    }

    #[test]
    fn views_say_what_part_they_show() {
        assert_eq!(slice_lines("a\nb\nc\n", 2, 1), "     2\tb\n[lines 2 to 2 of 3]");
        assert_eq!(slice_lines("a\n", 1, usize::MAX), "     1\ta\n");
        assert_eq!(slice_lines("", 1, 10), "[the file is empty]");
        assert_eq!(slice_lines("a\n", 9, 10), "[lines 9 to 8 of 1]");
    }
}
