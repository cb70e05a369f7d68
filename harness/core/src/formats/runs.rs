//! Files of runs for time horizons: CSV or JSON Lines with METR's names, one row for each run or for each task.
//!
//! Owns: which rows count, and every way in which a file contradicts itself. Must not: fit.

mod checks;
mod columns;
mod rows;
mod table;

use std::collections::BTreeMap;

use super::problem::{Checked, Parsed, Problems};
use super::reader::{Reader, file_problem};
use super::source::Span;
use super::tree::quoted;
use crate::stats::Excluded;
use crate::stats::horizon::{DataError, Dataset, Day, Observation, Weighting};
use columns::Column;
use rows::Row;
use table::Table;

/// The longest file of runs that is read, in bytes.
pub const MAX_RUNS_TEXT: usize = 256 << 20;
/// The longest line of it.
const MAX_LINE: usize = 1 << 20;

/// Which score of a run is its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutcomeColumn {
    /// `score_binarized`: success or not; fractions are allowed.
    #[default]
    Binarized,
    /// `score_cont`, or `score` in older files: partial credit.
    Continuous,
}

/// What a file of runs says.
#[derive(Clone, Debug, PartialEq)]
pub struct RunsFile {
    /// The runs.
    pub data: Dataset,
    /// When models came out, as far as it says so.
    pub releases: BTreeMap<String, Day>,
}

/// Reads a file of runs.
///
/// One row for each run has `alias`, `task_id`, `task_family`, `human_minutes` and `score_binarized`; `run_id`,
/// `score_cont`, `fatal_error_from`, `release_date` and `cheated` are read where they are. One row for each model and task
/// has `n_successes` and `n_runs` in place of the score, and maybe `n_cheated`. Other columns of METR's are
/// let be, any other is an error. Runs without a score, and those that an error ended which was not the model's (`fatal_error_from`
/// is neither empty nor `usageLimits`), are excluded and counted. Weights are computed anew; those in the file that
/// differ give a warning.
///
/// # Errors
/// Everything that is wrong with it, with row and column: also that no model has both successes and failures.
pub fn parse_runs(path: &str, bytes: &[u8], outcome: OutcomeColumn) -> Parsed<RunsFile> {
    let text = match checked_text(bytes) {
        Ok(text) => text,
        Err(message) => return Err(Problems(vec![file_problem(path, &message, None)])),
    };
    let mut reader = Reader::new(path, text);
    let mut table = Table::new(text, outcome);
    rows::each(text, &mut reader, |row, reader| table.add(row, reader));
    if table.rows == 0 && reader.problems.is_empty() {
        let hint = "a header and a row for each run: alias,task_id,task_family,human_minutes,score_binarized";
        reader.error(Span::at(0), "there are no runs in it", Some(hint));
    }
    let file = if reader.problems.is_empty() {
        table.finish(&mut reader)
    } else {
        None
    };
    let problems = Problems(reader.finish());
    match file {
        Some(value) if !problems.has_errors() => Ok(Checked {
            value,
            warnings: problems,
        }),
        _ => Err(problems),
    }
}

/// Reads days of release: a file with the columns `alias` and `release_date`, as CSV or JSON Lines.
///
/// # Errors
/// Everything that is wrong with it, with row and column.
pub fn parse_releases(path: &str, bytes: &[u8]) -> Parsed<BTreeMap<String, Day>> {
    let text = match checked_text(bytes) {
        Ok(text) => text,
        Err(message) => return Err(Problems(vec![file_problem(path, &message, None)])),
    };
    let mut reader = Reader::new(path, text);
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    let mut found = 0;
    rows::each(text, &mut reader, |row, reader| {
        found += 1;
        add_release(row, text, &mut days, reader);
    });
    if found == 0 && reader.problems.is_empty() {
        let hint = "a header and a row for each model: alias,release_date";
        reader.error(Span::at(0), "there are no days of release in it", Some(hint));
    }
    let problems = Problems(reader.finish());
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Checked {
        value: days,
        warnings: problems,
    })
}

fn add_release(row: &Row<'_>, text: &str, days: &mut BTreeMap<String, Day>, reader: &mut Reader<'_>) {
    let Ok(day) = table::release(row, text, reader) else {
        return;
    };
    let (Some(model), Some(day)) = (row.text(Column::Alias), day) else {
        for column in [Column::Alias, Column::Release] {
            if row.text(column).is_none() {
                let message = format!("`{}` is missing", column.name());
                reader.error(row.span(column, text), message, None);
            }
        }
        return;
    };
    let there = *days.entry(model.to_owned()).or_insert(day);
    if there != day {
        let message = format!("{} came out on {day} here and on {there} before", quoted(model));
        reader.error(row.span(Column::Release, text), message, None);
    }
}

fn checked_text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.len() > MAX_RUNS_TEXT {
        return Err(format!(
            "{} bytes are more than the {MAX_RUNS_TEXT} that are read",
            bytes.len()
        ));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            return Err(format!("not UTF-8 text: line {line}, column {column}"));
        }
    };
    match text.lines().position(|line| line.len() > MAX_LINE) {
        Some(at) => Err(format!("line {} is longer than {MAX_LINE} bytes", at + 1)),
        None => Ok(text),
    }
}
