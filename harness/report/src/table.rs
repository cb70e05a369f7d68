//! The summary as a table for terminals, and the cells that Markdown uses too.
//!
//! Owns: the columns and their alignment. Must not: use colour as a sign.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr;

use crate::show;
use crate::summary::{Group, Summary};

/// How a column is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A column: its title, its alignment, and its cells.
pub(crate) struct Column {
    pub(crate) title: Cow<'static, str>,
    pub(crate) align: Align,
    pub(crate) cells: Vec<String>,
}

type Number = fn(&Group) -> u64;

/// Columns of counts, and whether they are shown even if nothing is in them.
const COUNTS: [(&str, Number, bool); 9] = [
    ("unscored", |group| group.counts.unscored, true),
    ("breached", |group| group.counts.breached, false),
    ("void", |group| group.counts.void, true),
    ("cancelled", |group| group.counts.cancelled, false),
    ("skipped", |group| group.counts.skipped, false),
    ("open", |group| group.counts.open, false),
    ("at limit", |group| group.limit_reached, false),
    ("refused", |group| group.refused, false),
    ("attempts", |group| group.attempts, true),
];

/// Returns the columns of a summary: a row for each group, and one for all together if there are several.
pub(crate) fn columns(summary: &Summary) -> Vec<Column> {
    let groups: Vec<&Group> = summary.groups.iter().map(|(_, group)| group).collect();
    let rows: Vec<&Group> = match groups.len() {
        1 => groups,
        _ => groups.into_iter().chain([&summary.total]).collect(),
    };
    let names = |first: &str, of: &dyn Fn(usize) -> String| {
        let total = (summary.groups.len() != 1).then(|| first.to_owned());
        (0..summary.groups.len()).map(of).chain(total).collect()
    };
    let name = |at: usize| &summary.groups[at].0;
    let text = |title: &'static str, cells| Column {
        title: title.into(),
        align: Align::Left,
        cells,
    };
    let number = |title: &'static str, of: &dyn Fn(&Group) -> String| Column {
        title: title.into(),
        align: Align::Right,
        cells: rows.iter().map(|group| of(group)).collect(),
    };
    let mut columns = vec![
        text("phase", names("all", &|at| name(at).phase.to_string())),
        text("model", names("", &|at| name(at).model.to_string())),
        text("scaffold", names("", &|at| name(at).scaffold.to_string())),
        text("domain", names("", &|at| name(at).domain.clone())),
        number("planned", &|group| show::grouped(group.counts.trials)),
        number("scored", &|group| show::grouped(group.counts.scored())),
        number("success", &|group| show::grouped(group.counts.success)),
        text(
            "rate [95% interval]",
            rows.iter().map(|group| show::rate(&group.counts)).collect(),
        ),
    ];
    for (title, of, always) in COUNTS {
        if always || of(&summary.total) > 0 {
            columns.push(number(title, &|group| show::grouped(of(group))));
        }
    }
    columns.push(number("tokens", &|group| show::grouped(group.usage.total().0)));
    columns.push(number("cost", &|group| show::cost(group.cost)));
    columns
}

/// Writes the summary as a table for terminals, with what must be said beside the numbers below it. Columns for
/// rare endings are left out where no trial ended so.
pub fn summary_table(summary: &Summary) -> String {
    let mut columns = columns(summary);
    for cell in columns.iter_mut().flat_map(|column| &mut column.cells) {
        *cell = show::cell(cell);
    }
    let mut out = lines(&columns, Some(summary.groups.len()));
    for note in summary.notes() {
        out.push_str(&note);
        out.push('\n');
    }
    out
}

/// Writes columns as lines, with a rule below the titles and one before a row.
pub(crate) fn lines(columns: &[Column], rule_before: Option<usize>) -> String {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| {
            let cells = column.cells.iter().map(|cell| cell.width());
            cells.chain([column.title.width()]).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    let titles = columns.iter().map(|column| column.title.to_string());
    push_row(&mut out, columns, &widths, titles);
    let rule = || widths.iter().map(|width| "-".repeat(*width));
    push_row(&mut out, columns, &widths, rule());
    for row in 0..rows {
        if row > 0 && rule_before == Some(row) {
            push_row(&mut out, columns, &widths, rule());
        }
        let cells = columns
            .iter()
            .map(|column| column.cells.get(row).cloned().unwrap_or_default());
        push_row(&mut out, columns, &widths, cells);
    }
    out
}

fn push_row(out: &mut String, columns: &[Column], widths: &[usize], cells: impl Iterator<Item = String>) {
    let mut line = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        let padding = " ".repeat(width.saturating_sub(cell.width()));
        let (before, after) = match column.align {
            Align::Left => ("", padding.as_str()),
            Align::Right => (padding.as_str(), ""),
        };
        line.extend([before, &cell, after, "  "]);
    }
    out.push_str(line.trim_end());
    out.push('\n');
}
