//! Decisions over several domains, and over the tasks of one.
//!
//! Owns: how errors are divided and evidence is compared. Must not: know what a domain is.

use serde::Serialize;

use super::decide::{Decision, Rule, Verdict, Weighed, log_e_above};
use super::errors::CheckpointErrors;
use super::evidence::{Evidence, Tally};
use crate::stats::e_values::{LogE, e_bh, e_bh_threshold};
use crate::stats::{Level, StatsError};

/// How "shown above" is corrected for the number of domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// The error is divided by the number of domains: the probability of any wrong "shown above" is bounded.
    Bonferroni,
    /// By e-BH: the share of wrong ones among those shown above is bounded; more are found where many are above.
    EBh,
}

/// A domain of a gate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Domain {
    /// Its threshold.
    pub threshold: Level,
    /// What was seen in it.
    pub evidence: Evidence,
}

/// Returns the decision of each domain, in the order given.
///
/// "Shown below" takes `ln(K / α)` in each of `K` domains, so that the probability of any wrong one stays below `α`. "Shown
/// above" takes the same by Bonferroni; by e-BH the domains with the `k` largest e-values take `ln(K / (α k))` each (see
/// [`e_bh`]), for both fillings of unclear trials apart. Domains may depend on each other.
///
/// # Errors
/// There is no domain, or one has more than 10¹² trials.
pub fn decide_domains(
    domains: &[Domain],
    errors: CheckpointErrors,
    correction: Correction,
) -> Result<Vec<Decision>, StatsError> {
    let share = errors.among(domains.len())?;
    let weighed: Result<Vec<Weighed>, StatsError> = domains
        .iter()
        .map(|domain| Weighed::new(domain.threshold, &domain.evidence))
        .collect();
    let weighed = weighed?;
    let filling = |which: usize| {
        let values: Vec<LogE> = weighed.iter().map(|domain| domain.log_e_above()[which]).collect();
        needed_above(&values, errors, correction)
    };
    let (if_successes, if_failures) = (filling(0)?, filling(1)?);
    weighed
        .iter()
        .zip(domains)
        .zip(if_successes.into_iter().zip(if_failures))
        .map(|((weighed, domain), needed)| {
            let rule = Rule {
                threshold: domain.threshold,
                errors: share,
            };
            weighed.judge(&rule, needed.into())
        })
        .collect()
}

/// Returns what each domain must reach to be shown above.
fn needed_above(
    values: &[LogE],
    errors: CheckpointErrors,
    correction: Correction,
) -> Result<Vec<LogE>, StatsError> {
    let domains = values.len();
    let rejected = match correction {
        Correction::Bonferroni => {
            let share = LogE::needed(errors.among(domains)?.above());
            return Ok(vec![share; domains]);
        }
        Correction::EBh => e_bh(values, errors.above)?.rejected,
    };
    // One that is not among the rejected would have to reach what it takes to be one more.
    let mut needed = vec![e_bh_threshold(domains, rejected.len() + 1, errors.above); domains];
    for &position in &rejected {
        if let Some(needed) = needed.get_mut(position) {
            *needed = e_bh_threshold(domains, rejected.len(), errors.above);
        }
    }
    Ok(needed)
}

/// Returns what several domains come to: above if any is shown above, below if all are shown below.
///
/// Without a domain nothing is shown.
pub fn overall(decisions: &[Decision]) -> Verdict {
    if decisions
        .iter()
        .any(|decision| decision.verdict == Verdict::ShownAbove)
    {
        return Verdict::ShownAbove;
    }
    let all_below = decisions
        .iter()
        .all(|decision| decision.verdict == Verdict::ShownBelow);
    if all_below && !decisions.is_empty() {
        Verdict::ShownBelow
    } else {
        Verdict::Inconclusive
    }
}

/// Returns the positions of the tasks that are shown above a threshold of their own: a mean hides the worst of them.
///
/// Each of `T` tasks takes `E_above ≥ T / α` by its own attempts, which amounts to a lower confidence sequence at `α / T`
/// that lies above its threshold. Valid at every look for independent attempts at a task.
///
/// # Errors
/// A task has more than 10¹² attempts, or the share of the error is below the smallest positive `f64`.
pub fn tasks_above(tasks: &[(Tally, Level)], alpha: Level) -> Result<Vec<usize>, StatsError> {
    let mut found = Vec::new();
    for (position, (tally, threshold)) in tasks.iter().enumerate() {
        let share = Level::new(
            "the share of a task in the error rate",
            alpha.get() / tasks.len() as f64,
        )?;
        let data = Evidence::Units(*tally).for_above()?;
        if log_e_above(&data, *threshold)?.rejects(share) {
            found.push(position);
        }
    }
    Ok(found)
}
