//! How much tasks differ: beta-binomial fits, intraclass correlation, design effects, the Bayesian cluster model.
//!
//! Owns: several attempts at each of several tasks. Must not: choose what a report shows (see [`headline`](super::headline)).
//!
//! Tasks are given as one [`Rate`] each: attempts that succeeded, of those that have a score. Tasks must be independent.

mod cluster_model;
mod fit;

use serde::Serialize;

pub use cluster_model::cluster_model;
pub use fit::{BetaBinomial, beta_binomial};

use super::special::beta_quantile;
use super::standard_error::{Mean, plain, proportion};
use super::{Interval, Level, Method, Posterior, Rate, Side, StatsError};

/// How much attempts at the same task resemble each other, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The intraclass correlation: 0 if tasks do not differ, 1 if each always or never succeeds. Chance can make it negative.
    pub icc: f64,
    /// The variance of the pooled rate over that of independent attempts; at least 1.
    pub design_effect: f64,
    /// The number of independent attempts that would say as much.
    pub effective_attempts: f64,
    /// The pooled rate with the standard error that takes attempts as independent: too small.
    pub attempts: Mean,
    /// The mean of the tasks' rates with its standard error over tasks.
    pub tasks: Mean,
}

/// Returns the intraclass correlation by analysis of variance, the design effect, and both standard errors.
///
/// With `C` tasks of `n_i` attempts, rates `p_i`, `N = Σn_i` and `p` pooled: `MSB = Σ n_i (p_i - p)²/(C - 1)`,
/// `MSW = Σ n_i p_i (1 - p_i)/(N - C)`, `m = (N - Σn_i²/N)/(C - 1)`, `icc = (MSB - MSW)/(MSB + (m - 1) MSW)`; the design
/// effect is `1 + (Σn_i²/N - 1) icc`, and not below 1. M. S. Ridout, C. G. B. Demétrio and D. Firth, "Estimating intraclass
/// correlation for binary data", Biometrics 55 (1999), 137-148; L. Kish, "Survey sampling" (1965), section 8.2.
///
/// # Errors
/// There are fewer than two tasks, one has no attempt, none has two, or all attempts end alike.
///
/// # Examples
/// ```
/// use harness_core::stats::{Rate, overdispersion::spread};
/// let tasks = [0, 1, 0, 5, 9, 2, 10, 3, 0, 6].map(|successes| Rate::of(successes, 10));
/// let found = spread(&tasks.into_iter().collect::<Result<Vec<_>, _>>()?)?;
/// assert_eq!(format!("{:.2}, {:.1} of 100", found.icc, found.effective_attempts), "0.53, 17.4 of 100");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn spread(tasks: &[Rate]) -> Result<Spread, StatsError> {
    let pooled = pooled("a design effect", tasks, 2)?;
    let (count, attempts) = (tasks.len() as f64, pooled.units() as f64);
    if pooled.units() == tasks.len() as u64 {
        return Err(StatsError::Undefined {
            what: "an intraclass correlation",
            why: "no task has more than one attempt",
        });
    }
    let p = pooled.successes() as f64 / attempts;
    let rates: Vec<f64> = tasks
        .iter()
        .map(|task| task.successes() as f64 / task.units() as f64)
        .collect();
    let sum = |term: fn(f64, f64, f64) -> f64| -> f64 {
        tasks
            .iter()
            .zip(&rates)
            .map(|(task, rate)| term(task.units() as f64, *rate, p))
            .sum()
    };
    let squares = sum(|n, _, _| n * n) / attempts;
    let between = sum(|n, rate, p| n * (rate - p) * (rate - p)) / (count - 1.0);
    let within = sum(|n, rate, _| n * rate * (1.0 - rate)) / (attempts - count);
    let size = (attempts - squares) / (count - 1.0);
    let total = between + (size - 1.0) * within;
    if total <= 0.0 {
        return Err(StatsError::Undefined {
            what: "an intraclass correlation",
            why: "all attempts end alike",
        });
    }
    let icc = (between - within) / total;
    let design_effect = (1.0 + (squares - 1.0) * icc).max(1.0);
    Ok(Spread {
        icc,
        design_effect,
        effective_attempts: attempts / design_effect,
        attempts: proportion(&pooled)?,
        tasks: plain(&rates)?,
    })
}

/// Returns each task's rate, drawn towards those of the others: empirical Bayes.
///
/// With the fitted prior Beta(α, β) the posterior of a task with `k` of `n` is Beta(α + k, β + n - k). Its intervals take
/// the fit as known, so they are too short for few tasks. C. N. Morris, "Parametric empirical Bayes inference", Journal of
/// the American Statistical Association 78 (1983), 47-55.
///
/// # Errors
/// A quantile can't be computed.
pub fn shrunken(tasks: &[Rate], fit: &BetaBinomial, confidence: Level) -> Result<Vec<Posterior>, StatsError> {
    let error = (1.0 - confidence.get()) / 2.0;
    let posterior = |task: &Rate| {
        let a = fit.alpha + task.successes() as f64;
        let b = fit.beta + task.failures() as f64;
        Ok(Posterior {
            mean: a / (a + b),
            median: beta_quantile(a, b, 0.5)?,
            interval: Interval {
                lower: beta_quantile(a, b, error)?,
                upper: beta_quantile(a, b, 1.0 - error)?,
                confidence,
                side: Side::Two,
                method: Method::EmpiricalBayes,
            },
            units: task.units(),
        })
    };
    tasks.iter().map(posterior).collect()
}

/// Returns the sum of all tasks, each of which must have an attempt.
pub(super) fn pooled(what: &'static str, tasks: &[Rate], needed: u64) -> Result<Rate, StatsError> {
    let too_few = |unit, needed, found| StatsError::TooFew {
        what,
        unit,
        needed,
        found,
    };
    if (tasks.len() as u64) < needed {
        return Err(too_few("tasks", needed, tasks.len() as u64));
    }
    if tasks.iter().any(|task| task.units() == 0) {
        return Err(too_few("attempts at each task", 1, 0));
    }
    let sum = |of: fn(&Rate) -> u64| tasks.iter().map(of).fold(0, u64::saturating_add);
    Rate::of(sum(Rate::successes), sum(Rate::units))
}

/// Returns the distinct pairs of successes and attempts with how many tasks have them.
fn distinct(tasks: &[Rate]) -> Vec<Tally> {
    let mut found = std::collections::BTreeMap::new();
    for task in tasks {
        *found.entry((task.successes(), task.units())).or_insert(0_u32) += 1;
    }
    let tally = |((successes, units), tasks): ((u64, u64), u32)| Tally {
        successes: successes as f64,
        failures: (units - successes) as f64,
        tasks: f64::from(tasks),
    };
    found.into_iter().map(tally).collect()
}

/// Tasks with the same counts.
#[derive(Clone, Copy)]
struct Tally {
    successes: f64,
    failures: f64,
    tasks: f64,
}

#[cfg(test)]
mod tests;
