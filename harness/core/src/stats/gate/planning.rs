//! What a gate takes: attempts, critical counts, exact error rates, the price of a long series.
//!
//! Owns: answers before data come in. Must not: decide.

use serde::Serialize;

use super::decide::Rule;
use super::errors::SeriesErrors;
use super::evidence::Data;
use super::process::{Direction, Process, Threshold};
use crate::stats::e_values::LogE;
use crate::stats::interval::units_to_rule_out;
use crate::stats::sequential::{
    Characteristics, Checkpoint, CriticalCounts, MOST_EXACT_UNITS, characteristics,
};
use crate::stats::{Level, StatsError};

/// How many units show a rate to be below a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AttemptsNeeded {
    /// The least number of independent units, successes included.
    pub units: u64,
    /// How many successes are among them.
    pub successes: u64,
    /// The threshold.
    pub threshold: Level,
    /// The error of "shown below".
    pub alpha: Level,
}

/// Returns how many units it takes to show a rate below a threshold if `successes` of them succeed.
///
/// The least `n` with `E_below(s, n - s) ≥ 1/α`; `None` if it is above 10¹². Valid at every look, see [this
/// module](super).
///
/// # Errors
/// There are more than 10¹² successes.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, gate::attempts_needed};
/// let needed = attempts_needed(0, Level::new("threshold", 0.1)?, Level::P05)?;
/// assert_eq!(needed.map(|needed| needed.units), Some(36));
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn attempts_needed(
    successes: u64,
    threshold: Level,
    alpha: Level,
) -> Result<Option<AttemptsNeeded>, StatsError> {
    let seen = Data::Counts {
        successes,
        failures: 0,
    };
    let process = Process::new(&seen, Direction::Below, Threshold::at(threshold))?;
    let failures = process.fewest_more(LogE::needed(alpha).ln())?;
    Ok(failures.map(|failures| AttemptsNeeded {
        units: successes + failures,
        successes,
        threshold,
        alpha,
    }))
}

/// Returns the numbers of successes among `units` at which the gate decides; nothing is unclear.
///
/// # Errors
/// There are more than 10¹² units.
pub fn critical_counts(rule: &Rule, units: u64) -> Result<CriticalCounts, StatsError> {
    let reaches = |successes: u64, direction: Direction, alpha: Level| {
        let data = Data::Counts {
            successes,
            failures: units - successes,
        };
        let process = Process::new(&data, direction, Threshold::at(rule.threshold))?;
        Ok(process.log_e_after(0.0)? >= LogE::needed(alpha).ln())
    };
    CriticalCounts::search(
        units,
        |successes| reaches(successes, Direction::Below, rule.errors.below()),
        |successes| reaches(successes, Direction::Above, rule.errors.above()),
    )
}

/// Returns exactly what the gate does at a true rate if it is looked at after each of `looks` units; see
/// [`characteristics`].
///
/// # Errors
/// The rate does not lie in [0, 1], looks are missing or not in increasing order, or there are more than 20,000 units.
pub fn operating_characteristics(
    rule: &Rule,
    rate: f64,
    looks: &[u64],
) -> Result<Characteristics, StatsError> {
    let within = looks
        .iter()
        .take_while(|&&units| units <= MOST_EXACT_UNITS)
        .count();
    // One look too far is kept, so that it is refused and not left out.
    let looks = looks.get(..=within).unwrap_or(looks);
    let critical: Result<Vec<CriticalCounts>, StatsError> =
        looks.iter().map(|&units| critical_counts(rule, units)).collect();
    characteristics(rate, &critical?)
}

/// What "shown below" costs at a checkpoint of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CheckpointCost {
    /// Which checkpoint.
    pub checkpoint: Checkpoint,
    /// Its share of the error.
    pub alpha: Level,
    /// How many units without success one fixed look takes.
    pub fixed_units: u64,
    /// How many units without success the gate takes, looked at as often as one likes; `None` if above 10¹².
    pub anytime_units: Option<u64>,
}

/// Returns how many units without success show a rate below a threshold at a checkpoint of a series.
///
/// # Errors
/// The share of the error is below the smallest positive `f64`, or one fixed look takes more than 9 · 10¹⁵ units.
pub fn checkpoint_cost(
    errors: &SeriesErrors,
    checkpoint: Checkpoint,
    threshold: Level,
) -> Result<CheckpointCost, StatsError> {
    let alpha = errors.at(checkpoint)?.below;
    Ok(CheckpointCost {
        checkpoint,
        alpha,
        fixed_units: units_to_rule_out(threshold, alpha)?.units,
        anytime_units: attempts_needed(0, threshold, alpha)?.map(|needed| needed.units),
    })
}
