//! Trials as CSV.
//!
//! Owns: the columns, and that no cell is a formula to a spreadsheet. Must not: leave a trial out.

use harness_core::outcome::Fault;
use harness_core::task::LimitKind;
use harness_core::text::printable;
use harness_core::units::Tokens;

use crate::row::TrialRow;
use crate::show;

/// The columns of [`trials_csv`], in order.
pub const TRIAL_COLUMNS: [&str; 30] = [
    "run",
    "phase",
    "task",
    "version",
    "domain",
    "family",
    "sample",
    "scaffold",
    "model",
    "epoch",
    "status",
    "success",
    "score",
    "outcome",
    "limit",
    "fault",
    "error",
    "attempts",
    "turns",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cost_usd",
    "working_s",
    "wall_s",
    "malformed_calls",
    "human_minutes",
    "unsealed_attempts",
    "egress_allowed",
    "egress_blocked",
];

/// Writes one row per trial. Turns, tokens, money, times, malformed calls and egress are those of all its attempts. An
/// empty cell is unknown or does not apply. Text that a spreadsheet would take for a formula begins with an
/// apostrophe; control characters are written as escapes.
pub fn trials_csv(rows: &[TrialRow]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(TRIAL_COLUMNS)?;
    for row in rows {
        writer.write_record(cells(row))?;
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    // Every cell was a string, so this replaces nothing.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn cells(row: &TrialRow) -> [String; TRIAL_COLUMNS.len()] {
    let planned = &row.planned;
    let tokens = |tokens: Tokens| tokens.0.to_string();
    let optional = |number: Option<f64>| number.map_or(String::new(), |number| number.to_string());
    [
        text(planned.run.as_str()),
        text(planned.phase.as_str()),
        text(planned.task.as_str()),
        planned.task_version.to_string(),
        text(&planned.domain),
        text(&planned.family),
        text(planned.sample.as_str()),
        text(planned.scaffold.as_str()),
        text(planned.model.as_str()),
        planned.epoch.to_string(),
        row.status.name().to_owned(),
        row.success().map_or(String::new(), |success| success.to_string()),
        optional(row.score),
        row.outcome.unwrap_or_default().to_owned(),
        row.limit.map_or("", LimitKind::name).to_owned(),
        row.fault.map_or("", Fault::name).to_owned(),
        text(row.error.as_deref().unwrap_or_default()),
        row.attempts.to_string(),
        row.turns.to_string(),
        tokens(row.usage.input),
        tokens(row.usage.output),
        tokens(row.usage.total()),
        row.cost.map_or(String::new(), show::dollars),
        show::seconds(row.working),
        show::seconds(row.wall),
        row.malformed_calls.to_string(),
        optional(planned.human_minutes),
        row.unsealed.to_string(),
        row.egress_allowed.to_string(),
        row.egress_blocked.to_string(),
    ]
}

/// Keeps spreadsheets from running text as a formula
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
pub(crate) fn text(text: &str) -> String {
    let text = printable(text);
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text
    }
}
