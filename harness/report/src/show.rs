//! Numbers and foreign text as people may safely see them.
//!
//! Owns: that a rate never stands without its denominator and interval. Must not: know where text goes.

use std::time::Duration;

use harness_core::fold::Counts;
use harness_core::text::printable;
use harness_core::units::Usd;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The widest cell of a table, in columns.
const WIDEST: usize = 40;

/// Returns `3/10 = 30.0% [10.8%, 60.3%]`, or why there is no rate.
pub(crate) fn rate(counts: &Counts) -> String {
    let Some(rate) = counts.rate() else {
        return "n/a (0 scored)".to_owned();
    };
    let (lower, upper) = (rate.interval.lower, rate.interval.upper);
    format!(
        "{}/{} = {} [{}, {}]",
        rate.successes,
        rate.scored,
        percent(rate.value()),
        percent(lower),
        percent(upper)
    )
}

/// Returns a share with one decimal; what is not exactly none or all is not shown as such.
pub(crate) fn percent(share: f64) -> String {
    let rounded = format!("{:.1}%", share * 100.0);
    match rounded.as_str() {
        "0.0%" if share > 0.0 => "<0.1%".to_owned(),
        "100.0%" if share < 1.0 => ">99.9%".to_owned(),
        _ => rounded,
    }
}

/// Returns a count with commas.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns dollars and cents, or `unknown`.
pub(crate) fn cost(cost: Option<Usd>) -> String {
    match cost {
        None => "unknown".to_owned(),
        Some(cost) => cost.to_string(),
    }
}

/// Returns the exact amount in dollars, such as `0.0125`.
pub(crate) fn dollars(cost: Usd) -> String {
    decimal(cost.0 / 1_000_000_000, cost.0 % 1_000_000_000, 9)
}

/// Returns seconds to the microsecond, such as `3.25`.
pub(crate) fn seconds(duration: Duration) -> String {
    decimal(duration.as_secs(), u64::from(duration.subsec_micros()), 6)
}

fn decimal(whole: u64, fraction: u64, digits: usize) -> String {
    let text = format!("{whole}.{fraction:0digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Makes foreign text fit for one cell of a table on a terminal.
pub(crate) fn cell(text: &str) -> String {
    let clean = printable(text).replace('\n', "\\n").replace('\t', "\\t");
    if clean.width() <= WIDEST {
        return clean;
    }
    let mut width = 0;
    let kept = clean.chars().take_while(|c| {
        width += c.width().unwrap_or(0);
        width < WIDEST
    });
    kept.chain(['…']).collect()
}
