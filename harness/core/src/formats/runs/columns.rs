//! The columns of files of runs: METR's names.
//!
//! Owns: which there are, and which of them are read. Must not: read a cell.

use super::super::suggest;

/// A column that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Alias,
    Task,
    Family,
    Minutes,
    Release,
    RunId,
    Success,
    Score,
    Cheated,
    Fatal,
    EqualWeight,
    InverseWeight,
    Successes,
    Runs,
    CheatedRuns,
    TaskWeight,
}

/// How many columns are read.
pub(super) const READ: usize = 16;

/// Columns that are read, by name. `score` is what the files of February 2025 call `score_cont`.
const COLUMNS: [(&str, Column); READ + 1] = [
    ("alias", Column::Alias),
    ("task_id", Column::Task),
    ("task_family", Column::Family),
    ("human_minutes", Column::Minutes),
    ("release_date", Column::Release),
    ("run_id", Column::RunId),
    ("score_binarized", Column::Success),
    ("score_cont", Column::Score),
    ("score", Column::Score),
    ("cheated", Column::Cheated),
    ("fatal_error_from", Column::Fatal),
    ("equal_task_weight", Column::EqualWeight),
    ("invsqrt_task_weight", Column::InverseWeight),
    ("n_successes", Column::Successes),
    ("n_runs", Column::Runs),
    ("n_cheated", Column::CheatedRuns),
    ("task_weight", Column::TaskWeight),
];

/// Further columns of METR's files, which no horizon needs.
const OTHERS: [&str; 15] = [
    "model",
    "human_score",
    "human_source",
    "task_source",
    "generation_cost",
    "human_cost",
    "dollar_equivalent",
    "total_tokens",
    "tokens_count",
    "time_limit",
    "started_at",
    "completed_at",
    "task_version",
    "cloned",
    "scaffold",
];

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Read(Column),
    Other,
    Unknown,
}

/// Finds a column.
pub(super) fn find(name: &str) -> Named {
    let read = COLUMNS.iter().find(|(known, _)| *known == name);
    match read {
        Some((_, column)) => Named::Read(*column),
        None if OTHERS.contains(&name) => Named::Other,
        None => Named::Unknown,
    }
}

/// Says what an unknown name may have meant.
pub(super) fn hint(name: &str) -> String {
    let lower = name.to_lowercase();
    if ["hour", "second", "minute"]
        .iter()
        .any(|unit| lower.contains(unit))
    {
        return "the length of a task is `human_minutes`, in minutes".to_owned();
    }
    let known = COLUMNS.iter().map(|(name, _)| *name);
    suggest::hint(name, known.chain(OTHERS))
}

impl Column {
    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        let found = COLUMNS.iter().find(|(_, column)| *column == self);
        found.map_or("", |(name, _)| name)
    }

    /// Returns its names, where it has several.
    pub(super) fn spellings(self) -> impl Iterator<Item = &'static str> {
        let own = COLUMNS.iter().filter(move |(_, column)| *column == self);
        own.map(|(name, _)| *name)
    }
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowKind {
    /// One run.
    Run,
    /// All runs of a model on a task.
    Task,
}

impl RowKind {
    /// Tells what a row with these columns is about; `Err` if they are of both kinds, `None` if of neither.
    pub(super) fn of(has: impl Fn(Column) -> bool) -> Result<Option<Self>, (Column, Column)> {
        let first = |columns: &[Column]| columns.iter().copied().find(|column| has(*column));
        let run = first(&[Column::Success, Column::Score, Column::Cheated, Column::RunId]);
        let task = first(&[Column::Successes, Column::Runs, Column::CheatedRuns]);
        match (run, task) {
            (Some(run), Some(task)) => Err((run, task)),
            (Some(_), None) => Ok(Some(Self::Run)),
            (None, Some(_)) => Ok(Some(Self::Task)),
            (None, None) => Ok(None),
        }
    }
}
