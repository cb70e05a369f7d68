//! The summary and all trials as JSON.
//!
//! Owns: the names of the fields; programs read them. Must not: count.

use harness_core::fold::Rate;
use serde_json::{Value, json};

use crate::row::TrialRow;
use crate::summary::{Group, Summary};

/// The version of the format.
const FORMAT: u32 = 1;

/// Returns the summary and its rows as JSON. Unknown numbers are `null`; a rate stands beside its numerator,
/// denominator and interval, and is `null` where nothing is scored.
pub fn report_json(summary: &Summary, rows: &[TrialRow]) -> Value {
    let named = |(name, numbers)| {
        let mut value = json!(name);
        if let (Value::Object(value), Value::Object(numbers)) = (&mut value, group(numbers)) {
            value.extend(numbers);
        }
        value
    };
    json!({
        "harness_report": FORMAT,
        "runs": summary.runs,
        "interval": {"method": Rate::METHOD, "confidence": Rate::CONFIDENCE, "unit": "trial"},
        "notes": summary.notes(),
        "total": group(&summary.total),
        "groups": summary.groups.iter().map(|(name, group)| named((name, group))).collect::<Vec<_>>(),
        "trials": rows,
    })
}

fn group(group: &Group) -> Value {
    let rate = group.counts.rate().map(|rate| {
        json!({
            "successes": rate.counted.successes(),
            "scored": rate.counted.units(),
            "value": rate.value(),
            "lower": rate.interval.lower,
            "upper": rate.interval.upper,
        })
    });
    json!({
        "planned": group.counts.trials,
        "scored": group.counts.scored(),
        "counts": group.counts,
        "rate": rate,
        "tasks": group.tasks.len(),
        "limit_reached": group.limit_reached,
        "refused": group.refused,
        "attempts": group.attempts,
        "unsealed_attempts": group.unsealed,
        "egress_allowed": group.egress_allowed,
        "egress_blocked": group.egress_blocked,
        "egress_blocked_trials": group.blocked_trials,
        "usage": group.usage,
        "total_tokens": group.usage.total(),
        "cost_usd": group.cost.map(harness_core::units::Usd::dollars),
        "known_cost_usd": group.known_cost.dollars(),
    })
}
