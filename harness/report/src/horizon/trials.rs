//! Trials of our own runs as observations.
//!
//! Owns: which trials count, and what a task is. Must not: read runs.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::stats::Excluded;
use harness_core::stats::horizon::Observation;

use crate::row::TrialRow;

/// What the outcome of a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialOutcome {
    /// Whether the score reached its threshold.
    Success,
    /// The score itself, which must lie between 0 and 1.
    Score,
}

/// Turns trials into observations. A sample is a task here (`TASK/SAMPLE`), since it is what was tried; the family is
/// that of its task, and so is the length. A model with several scaffolds is several models. What is not scored or
/// has no known length is excluded, by reason.
pub fn observations(rows: &[TrialRow], outcome: TrialOutcome) -> (Vec<Observation>, Vec<Excluded>) {
    let mut scaffolds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in rows {
        let model = scaffolds.entry(row.planned.model.as_str()).or_default();
        model.insert(row.planned.scaffold.as_str());
    }
    let mut observations = Vec::new();
    let mut excluded: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        let planned = &row.planned;
        let Some(success) = row.success() else {
            *excluded.entry(row.status.name().to_owned()).or_default() += 1;
            continue;
        };
        let Some(minutes) = planned.human_minutes else {
            *excluded.entry("no human time known".to_owned()).or_default() += 1;
            continue;
        };
        let outcome = match outcome {
            TrialOutcome::Success => f64::from(u8::from(success)),
            TrialOutcome::Score => row.score.unwrap_or(f64::NAN),
        };
        let model = planned.model.as_str();
        let alone = scaffolds.get(model).is_none_or(|scaffolds| scaffolds.len() == 1);
        observations.push(Observation {
            model: if alone {
                model.to_owned()
            } else {
                format!("{model} ({})", planned.scaffold)
            },
            task: format!("{}/{}", planned.task, planned.sample),
            family: planned.family.clone(),
            minutes,
            outcome,
            cheated: false,
            runs: 1,
        });
    }
    let excluded = excluded.into_iter().map(|(why, units)| Excluded { why, units });
    (observations, excluded.collect())
}
