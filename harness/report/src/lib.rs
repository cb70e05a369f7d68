//! What came of a run, as text: CSV, tables for terminals, Markdown, JSON.
//!
//! Owns: how numbers are shown, and with which denominators. Must not: read or write files, or decide what
//! counts (see `fold` in core).

mod horizon;
mod json;
mod markdown;
mod row;
mod show;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod trials;

pub use horizon::{
    HORIZON_COLUMNS, HorizonReport, Treatment, TrendReport, TrialOutcome, horizon_csv, horizon_json,
    horizon_table, observations,
};
pub use json::report_json;
pub use markdown::markdown_summary;
pub use row::{Planned, TrialRow};
pub use summary::{Group, GroupName, Summary};
pub use table::summary_table;
pub use trials::{TRIAL_COLUMNS, trials_csv};
