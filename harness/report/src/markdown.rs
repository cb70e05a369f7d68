//! The summary as Markdown.
//!
//! Owns: that foreign text stays text in it. Must not: count.

use harness_core::text::printable;

use crate::summary::Summary;
use crate::table::{Align, columns};

/// Writes the summary as a Markdown section: a table and what must be said beside it.
pub fn markdown_summary(summary: &Summary) -> String {
    let columns = columns(summary);
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let runs: Vec<String> = summary.runs.iter().map(|run| plain(run.as_str())).collect();
    let mut out = format!("## Results of {}\n\n", runs.join(", "));
    let titles = columns.iter().map(|column| column.title.to_string());
    push_row(&mut out, titles);
    let rules = columns.iter().map(|column| match column.align {
        Align::Left => "---".to_owned(),
        Align::Right => "---:".to_owned(),
    });
    push_row(&mut out, rules);
    for row in 0..rows {
        let cells = columns
            .iter()
            .map(|column| column.cells.get(row).map_or(String::new(), |cell| plain(cell)));
        push_row(&mut out, cells);
    }
    out.push('\n');
    for note in summary.notes() {
        out.extend(["- ", &note, "\n"]);
    }
    out
}

fn push_row(out: &mut String, cells: impl Iterator<Item = String>) {
    for cell in cells {
        out.extend(["| ", &cell, " "]);
    }
    out.push_str("|\n");
}

/// Escapes what Markdown or HTML would take for markup.
fn plain(text: &str) -> String {
    let clean = printable(text).replace(['\n', '\t'], " ");
    let mut out = String::new();
    for c in clean.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '|' | '#' | '!' | '~' => out.extend(['\\', c]),
            // `[a](b)` is a link, the brackets of an interval are not.
            '(' if out.ends_with(']') => out.push_str("\\("),
            _ => out.push(c),
        }
    }
    out
}
