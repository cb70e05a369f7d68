//! What rows of runs say together.
//!
//! Owns: the checks of cells, and of rows against each other. Must not: take lines apart (see `rows`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::super::reader::Reader;
use super::super::source::Span;
use super::super::tree::quoted;
use super::columns::{Column, RowKind};
use super::rows::Row;
use super::{Day, Observation, OutcomeColumn};
use crate::stats::horizon::{MAX_RUNS, figures};

/// Rows as they come.
pub(super) struct Table<'a> {
    pub(super) rows: u64,
    text: &'a str,
    outcome: OutcomeColumn,
    kind: Option<RowKind>,
    pub(super) observations: Vec<Observation>,
    pub(super) excluded: BTreeMap<String, u64>,
    tasks: BTreeMap<String, TaskFacts>,
    pub(super) models: BTreeMap<String, ModelFacts>,
    /// Runs, or models and tasks, that had a row.
    seen: BTreeSet<[String; 3]>,
    /// Columns of which it was told that they are missing or too many: it may be so in every row.
    missing: BTreeSet<Column>,
    pub(super) weights: Vec<FileWeight>,
}

struct TaskFacts {
    minutes: f64,
    family: String,
    line: usize,
}

/// What is known of a model while its rows are read.
pub(super) struct ModelFacts {
    pub(super) first: Span,
    pub(super) release: Option<Day>,
    pub(super) runs: u64,
    pub(super) succeeded: bool,
    pub(super) failed: bool,
    pub(super) shortest: f64,
    pub(super) longest: f64,
}

/// A weight as a file gives it.
pub(super) struct FileWeight {
    pub(super) model: String,
    pub(super) task: String,
    pub(super) column: Column,
    pub(super) value: f64,
    pub(super) at: Span,
}

/// A row whose cells are sound by themselves.
struct Cells {
    model: String,
    task: String,
    family: String,
    minutes: f64,
    release: Option<Day>,
}

impl<'a> Table<'a> {
    pub(super) fn new(text: &'a str, outcome: OutcomeColumn) -> Self {
        Self {
            rows: 0,
            text,
            outcome,
            kind: None,
            observations: Vec::new(),
            excluded: BTreeMap::new(),
            tasks: BTreeMap::new(),
            models: BTreeMap::new(),
            seen: BTreeSet::new(),
            missing: BTreeSet::new(),
            weights: Vec::new(),
        }
    }

    /// Takes a row.
    pub(super) fn add(&mut self, row: &Row<'_>, reader: &mut Reader<'_>) {
        self.rows += 1;
        let Some(kind) = self.kind(row, reader) else {
            return;
        };
        let Some(cells) = self.cells(row, reader) else {
            return;
        };
        if !self.fits(&cells, row, reader) {
            return;
        }
        match kind {
            RowKind::Run => self.add_run(&cells, row, reader),
            RowKind::Task => self.add_task(&cells, row, reader),
        }
    }

    fn error(&self, row: &Row<'_>, column: Column, reader: &mut Reader<'_>, message: &str) {
        reader.error(row.span(column, self.text), message, None);
    }

    fn kind(&mut self, row: &Row<'_>, reader: &mut Reader<'_>) -> Option<RowKind> {
        let found = match RowKind::of(|column| row.has(column)) {
            Ok(found) => found.or(self.kind),
            Err((run, task)) => {
                // In a table it is so in every row.
                if self.missing.insert(task) {
                    let message = format!(
                        "`{}` is of one run, `{}` of all runs on a task",
                        run.name(),
                        task.name()
                    );
                    let span = row.span(task, self.text);
                    reader.error(span, message, Some("keep the one or the other"));
                }
                return None;
            }
        };
        match (found, self.kind) {
            (None, _) if !self.missing.insert(Column::Success) => None,
            (None, _) => {
                let hint = "give `score_binarized` for each run, or `n_successes` and `n_runs` for each task";
                reader.error(row.at, "there is no outcome in this row", Some(hint));
                None
            }
            (Some(found), Some(first)) if found != first => {
                let message = "rows for each run and rows for each task are mixed";
                reader.error(row.at, message, Some("keep all rows of one kind"));
                None
            }
            (Some(found), _) => {
                self.kind = Some(found);
                Some(found)
            }
        }
    }

    fn cells(&mut self, row: &Row<'_>, reader: &mut Reader<'_>) -> Option<Cells> {
        let texts =
            [Column::Alias, Column::Task, Column::Family].map(|column| self.required(row, column, reader));
        let minutes = self.required(row, Column::Minutes, reader);
        let minutes = minutes.and_then(|text| self.minutes(&text, row, reader));
        let release = release(row, self.text, reader).ok()?;
        let [Some(model), Some(task), Some(family)] = texts else {
            return None;
        };
        Some(Cells {
            model,
            task,
            family,
            minutes: minutes?,
            release,
        })
    }

    /// Returns a cell that must be there. That there is no such column is told once.
    fn required(&mut self, row: &Row<'_>, column: Column, reader: &mut Reader<'_>) -> Option<String> {
        let found = row.text(column).map(str::to_owned);
        if found.is_none() && (row.has(column) || self.missing.insert(column)) {
            let message = format!("`{}` is missing", column.name());
            self.error(row, column, reader, &message);
        }
        found
    }

    fn minutes(&self, text: &str, row: &Row<'_>, reader: &mut Reader<'_>) -> Option<f64> {
        let span = || row.span(Column::Minutes, self.text);
        match text.parse::<f64>() {
            Ok(minutes) if minutes > 0.0 && minutes <= 1e9 => Some(minutes),
            Ok(_) => {
                let message = format!("`human_minutes` is {}, expected a number above 0", quoted(text));
                reader.error(span(), message, None);
                None
            }
            Err(_) => {
                let message = format!(
                    "`human_minutes` is {}, expected a number of minutes",
                    quoted(text)
                );
                let unit = text.starts_with(|c: char| c.is_ascii_digit());
                let hint = "the unit is always minutes and is not written: 120, not 2h";
                reader.error(span(), message, unit.then_some(hint));
                None
            }
        }
    }

    /// Checks a row against those before it.
    fn fits(&mut self, cells: &Cells, row: &Row<'_>, reader: &mut Reader<'_>) -> bool {
        let facts = match self.tasks.entry(cells.task.clone()) {
            Entry::Occupied(entry) => &*entry.into_mut(),
            Entry::Vacant(entry) => &*entry.insert(TaskFacts {
                minutes: cells.minutes,
                family: cells.family.clone(),
                line: reader.source.line_of(row.at.start) + 1,
            }),
        };
        let task = quoted(&cells.task);
        let line = facts.line;
        let ratio = (facts.minutes / cells.minutes).max(cells.minutes / facts.minutes);
        if ratio > 1.0 {
            let (here, there) = (figures(cells.minutes), figures(facts.minutes));
            let message = format!("task {task} takes {here} minutes here and {there} in line {line}");
            let mixed = [60.0, 3600.0, 1440.0]
                .iter()
                .any(|unit| (ratio / unit - 1.0).abs() < 1e-6);
            let hint = if mixed {
                "units are mixed; write minutes"
            } else {
                "a task has one length"
            };
            reader.error(row.span(Column::Minutes, self.text), message, Some(hint));
            return false;
        }
        if facts.family != cells.family {
            let (here, there) = (quoted(&cells.family), quoted(&facts.family));
            let message = format!("task {task} is of family {here} here and of {there} in line {line}");
            reader.error(row.span(Column::Family, self.text), message, None);
            return false;
        }
        let first = row.span(Column::Alias, self.text);
        let model = self.models.entry(cells.model.clone()).or_insert(ModelFacts {
            first,
            release: cells.release,
            runs: 0,
            succeeded: false,
            failed: false,
            shortest: f64::INFINITY,
            longest: 0.0,
        });
        if let (Some(here), Some(there)) = (cells.release, model.release)
            && here != there
        {
            let message = format!(
                "{} came out on {here} here and on {there} before",
                quoted(&cells.model)
            );
            reader.error(row.span(Column::Release, self.text), message, None);
            return false;
        }
        model.release = model.release.or(cells.release);
        true
    }

    fn add_run(&mut self, cells: &Cells, row: &Row<'_>, reader: &mut Reader<'_>) {
        if let Some(run) = row.text(Column::RunId)
            && !self
                .seen
                .insert([cells.model.clone(), cells.task.clone(), run.to_owned()])
        {
            let message = format!("run {} of this model and task has a row already", quoted(run));
            return self.error(row, Column::RunId, reader, &message);
        }
        let cheated = row.text(Column::Cheated).map_or(Some(false), flag);
        let Some(cheated) = cheated else {
            let found = quoted(row.text(Column::Cheated).unwrap_or_default());
            let message = format!("`cheated` is {found}, expected true or false");
            return self.error(row, Column::Cheated, reader, &message);
        };
        if let Some(fatal) = row.text(Column::Fatal).filter(|text| *text != "usageLimits") {
            return self.exclude(format!("fatal error from {fatal}"));
        }
        let column = match self.outcome {
            OutcomeColumn::Binarized => Column::Success,
            OutcomeColumn::Continuous => Column::Score,
        };
        let Some(text) = row.text(column) else {
            return self.exclude(format!("no {}", column.name()));
        };
        let outcome = match flag(text) {
            Some(flag) => f64::from(u8::from(flag)),
            None => match text.parse::<f64>() {
                Ok(outcome) if (0.0..=1.0).contains(&outcome) => outcome,
                _ => {
                    let message = format!("`{}` is {}, expected 0 to 1", column.name(), quoted(text));
                    return self.error(row, column, reader, &message);
                }
            },
        };
        for column in [Column::EqualWeight, Column::InverseWeight] {
            self.note_weight(cells, row, column);
        }
        self.observe(cells, outcome, cheated, 1);
    }

    fn add_task(&mut self, cells: &Cells, row: &Row<'_>, reader: &mut Reader<'_>) {
        if !self
            .seen
            .insert([cells.model.clone(), cells.task.clone(), String::new()])
        {
            let message = format!(
                "{} has a row for task {} already",
                quoted(&cells.model),
                quoted(&cells.task)
            );
            return self.error(row, Column::Task, reader, &message);
        }
        if self.outcome == OutcomeColumn::Continuous {
            if self.missing.insert(Column::Score) {
                let message = "rows for each task count successes; there is no partial credit in them";
                self.error(row, Column::Successes, reader, message);
            }
            return;
        }
        let successes = self.count(row, Column::Successes, reader);
        let runs = self.count(row, Column::Runs, reader);
        let cheated = match row.text(Column::CheatedRuns) {
            None => Some(0),
            Some(_) => self.count(row, Column::CheatedRuns, reader),
        };
        let (Some(successes), Some(runs), Some(cheated)) = (successes, runs, cheated) else {
            return;
        };
        if runs == 0 {
            return self.error(row, Column::Runs, reader, "`n_runs` is 0; leave the row out");
        }
        if successes > runs {
            let message = format!("`n_successes` is {successes}, more than the {runs} of `n_runs`");
            return self.error(row, Column::Successes, reader, &message);
        }
        if cheated > successes {
            let message = format!("`n_cheated` is {cheated}, more than the {successes} of `n_successes`");
            return self.error(row, Column::CheatedRuns, reader, &message);
        }
        self.note_weight(cells, row, Column::TaskWeight);
        for (outcome, cheated, runs) in [
            (1.0, false, successes - cheated),
            (1.0, true, cheated),
            (0.0, false, runs - successes),
        ] {
            if runs > 0 {
                self.observe(cells, outcome, cheated, runs);
            }
        }
    }

    fn count(&mut self, row: &Row<'_>, column: Column, reader: &mut Reader<'_>) -> Option<u64> {
        let text = self.required(row, column, reader)?;
        // JSON and spreadsheets write whole numbers as 3.0, too.
        let whole = text.strip_suffix(".0").unwrap_or(&text);
        let name = column.name();
        let message = match whole.parse::<u64>() {
            Ok(count) if count <= MAX_RUNS => return Some(count),
            Ok(_) => format!("`{name}` is {}, more than {MAX_RUNS}", quoted(&text)),
            Err(_) if whole.starts_with('-') => {
                format!("`{name}` is {}, and a count is never negative", quoted(&text))
            }
            Err(_) => format!("`{name}` is {}, expected a whole number", quoted(&text)),
        };
        self.error(row, column, reader, &message);
        None
    }

    fn exclude(&mut self, why: String) {
        *self.excluded.entry(why).or_default() += 1;
    }

    fn observe(&mut self, cells: &Cells, outcome: f64, cheated: bool, runs: u64) {
        if let Some(model) = self.models.get_mut(&cells.model) {
            let success = if cheated { 0.0 } else { outcome };
            model.runs += runs;
            model.succeeded |= success > 0.0;
            model.failed |= success < 1.0;
            model.shortest = model.shortest.min(cells.minutes);
            model.longest = model.longest.max(cells.minutes);
        }
        self.observations.push(Observation {
            model: cells.model.clone(),
            task: cells.task.clone(),
            family: cells.family.clone(),
            minutes: cells.minutes,
            outcome,
            cheated,
            runs,
        });
    }

    fn note_weight(&mut self, cells: &Cells, row: &Row<'_>, column: Column) {
        let value = row.text(column).and_then(|text| text.parse().ok());
        if let Some(value) = value.filter(|value: &f64| value.is_finite()) {
            self.weights.push(FileWeight {
                model: cells.model.clone(),
                task: cells.task.clone(),
                column,
                value,
                at: row.span(column, self.text),
            });
        }
    }
}

/// Reads a yes or a no as programs write it.
fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "1.0" | "true" | "True" | "TRUE" => Some(true),
        "0" | "0.0" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A problem that was reported.
pub(super) struct Told;

/// Reads the day of release, if there is one.
pub(super) fn release(row: &Row<'_>, text: &str, reader: &mut Reader<'_>) -> Result<Option<Day>, Told> {
    let Some(found) = row.text(Column::Release) else {
        return Ok(None);
    };
    let day = Day::parse(found);
    if day.is_none() {
        let found = quoted(found);
        let message = format!("`release_date` is {found}, expected a day such as 2025-02-24");
        reader.error(row.span(Column::Release, text), message, None);
    }
    day.map(Some).ok_or(Told)
}
