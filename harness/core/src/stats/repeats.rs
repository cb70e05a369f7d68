//! Repeated attempts: pass@k, pass^k, best of k.
//!
//! Owns: what k attempts achieve, from n that were made. Must not: extrapolate; with fewer attempts than k there is no
//! estimate, only a bound.

use serde::Serialize;

use super::headline::TASKS_TO_POOL;
use super::interval::clopper_pearson;
use super::special::binomial_pmf;
use super::standard_error::plain;
use super::{Estimate, Interval, Level, Method, Rate, Side, StatsError};

#[cfg(test)]
mod tests;

/// Attempts at one task beyond this make no sense, and would make sums over them slow.
const MOST_ATTEMPTS: u64 = 1 << 40;
/// The most attempts for which a sum over all counts is computed.
const MOST_SUMMED: u64 = 100_000;
/// Counts less likely than this change no digit of a sum.
const LEAST_CHANCE: f64 = 1e-22;

/// What is asked of several attempts at one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// At least one of so many succeeds: pass@k.
    AnyOf(u64),
    /// All of so many succeed: pass^k.
    AllOf(u64),
}

impl Goal {
    /// Returns how many attempts are meant.
    pub fn attempts(self) -> u64 {
        match self {
            Self::AnyOf(k) | Self::AllOf(k) => k,
        }
    }

    /// Returns the probability of reaching it with independent attempts of one rate.
    fn reached(self, rate: f64) -> f64 {
        let k = self.attempts() as f64;
        match self {
            // 1 - (1 - p)^k without losing small rates.
            Self::AnyOf(_) => -(k * (-rate).ln_1p()).exp_m1(),
            Self::AllOf(_) => rate.powf(k),
        }
    }

    /// Returns the share of sets of k out of `n` attempts with `c` successes that reach it.
    fn share(self, n: u64, c: u64) -> f64 {
        match self {
            Self::AnyOf(k) => 1.0 - none_of(n, c, k),
            Self::AllOf(k) => none_of(n, n - c, k),
        }
    }

    fn check(self) -> Result<(), StatsError> {
        let k = self.attempts();
        if (1..=MOST_ATTEMPTS).contains(&k) {
            return Ok(());
        }
        Err(StatsError::OutOfRange {
            what: "the number of attempts",
            value: k as f64,
            least: 1.0,
            most: MOST_ATTEMPTS as f64,
        })
    }
}

/// Returns `C(n - c, k) / C(n, k)`: the probability that none of `c` marked ones is among `k` drawn of `n`.
fn none_of(n: u64, c: u64, k: u64) -> f64 {
    if c + k > n {
        return 0.0;
    }
    let (fewer, more) = (c.min(k), c.max(k));
    let mut share = 1.0;
    for at in 0..fewer {
        share *= (n - more - at) as f64 / (n - at) as f64;
        if share < f64::MIN_POSITIVE {
            return 0.0;
        }
    }
    share
}

/// Returns pass@k or pass^k of one task, without bias.
///
/// Of `n` independent attempts `c` succeeded: `pass@k = 1 - C(n - c, k) / C(n, k)`, `pass^k = C(c, k) / C(n, k)`. The
/// plug-in `1 - (1 - c/n)^k` is biased downwards. The interval carries Clopper-Pearson's of one attempt's rate over:
/// `1 - (1 - p)^k` and `p^k` at its ends, exact since both are monotone in `p`. Near 0 and 1 the
/// unbiased estimate can pass these ends (2 successes of 3 make pass@2 a 1), which are then widened up to it. The
/// denominator is `n`. Valid if attempts are
/// independent and their number was fixed beforehand. M. Chen et al., arXiv:2107.03374 (2021), for pass@k; S. Yao et al.,
/// arXiv:2406.12045 (2024), for pass^k.
///
/// # Errors
/// There are fewer attempts than k: that is unscored, no number. k is 0.
pub fn pass(attempts: &Rate, goal: Goal, confidence: Level, side: Side) -> Result<Estimate, StatsError> {
    check_attempts(attempts, goal)?;
    let value = goal.share(attempts.units(), attempts.successes());
    let interval = pass_bound(attempts, goal, confidence, side)?;
    Ok(Estimate {
        value,
        interval: Interval {
            lower: interval.lower.min(value),
            upper: interval.upper.max(value),
            ..interval
        },
        units: attempts.units(),
    })
}

/// Returns bounds of pass@k or pass^k of one task, for any k: `1 - (1 - p)^k` or `p^k` at Clopper-Pearson's ends for
/// one attempt's rate.
///
/// For k above the number of attempts it rests on the attempts being independent and equal, which nothing in the data
/// can show. Source as for [`pass`].
///
/// # Errors
/// There is no attempt, or k is 0.
pub fn pass_bound(
    attempts: &Rate,
    goal: Goal,
    confidence: Level,
    side: Side,
) -> Result<Interval, StatsError> {
    goal.check()?;
    let one = clopper_pearson(attempts, confidence, side)?;
    Ok(Interval {
        lower: goal.reached(one.lower),
        upper: goal.reached(one.upper),
        method: Method::RepeatedClopperPearson,
        ..one
    })
}

fn check_attempts(attempts: &Rate, goal: Goal) -> Result<(), StatsError> {
    goal.check()?;
    if attempts.units() > MOST_ATTEMPTS {
        return Err(StatsError::OutOfRange {
            what: "the number of attempts at one task",
            value: attempts.units() as f64,
            least: 1.0,
            most: MOST_ATTEMPTS as f64,
        });
    }
    if attempts.units() < goal.attempts() {
        return Err(StatsError::TooFew {
            what: match goal {
                Goal::AnyOf(_) => "pass@k",
                Goal::AllOf(_) => "pass^k",
            },
            unit: "attempts",
            needed: goal.attempts(),
            found: attempts.units(),
        });
    }
    Ok(())
}

/// How an estimate of pass@k or pass^k would vary if the attempts were made anew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// What is estimated.
    pub goal: Goal,
    /// The assumed rate of one attempt.
    pub rate: f64,
    /// How many attempts.
    pub attempts: u64,
    /// The mean of the estimate.
    pub mean: f64,
    /// Its variance.
    pub variance: f64,
}

/// Returns mean and variance of the estimate by [`pass`] under an assumed rate of one attempt: for planning.
///
/// `sum_c Binomial(c; n, p) (est(c) - mean)²`, exactly; the mean is `1 - (1 - p)^k` or `p^k`. Source as for [`pass`].
///
/// # Errors
/// Fewer attempts than k, more than a hundred thousand, or the rate is none.
pub fn pass_sampling(goal: Goal, attempts: u64, rate: f64) -> Result<Sampling, StatsError> {
    check_attempts(&Rate::of(0, attempts)?, goal)?;
    if attempts > MOST_SUMMED {
        return Err(StatsError::OutOfRange {
            what: "the number of attempts to sum over",
            value: attempts as f64,
            least: 1.0,
            most: MOST_SUMMED as f64,
        });
    }
    if !(0.0..=1.0).contains(&rate) {
        return Err(StatsError::OutOfRange {
            what: "the rate of one attempt",
            value: rate,
            least: 0.0,
            most: 1.0,
        });
    }
    let mut values = Vec::new();
    for c in 0..=attempts {
        let weight = binomial_pmf(c, attempts, rate)?;
        if weight > LEAST_CHANCE {
            values.push((weight, goal.share(attempts, c)));
        }
    }
    let all: f64 = values.iter().map(|(weight, _)| weight).sum();
    let mean = values.iter().map(|(weight, value)| weight * value).sum::<f64>() / all;
    let squares: f64 = values
        .iter()
        .map(|(weight, value)| weight * (value - mean).powi(2))
        .sum();
    Ok(Sampling {
        goal,
        rate,
        attempts,
        mean,
        variance: squares / all,
    })
}

/// A mean over tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OverTasks {
    /// The mean with its interval; the denominator is the number of tasks.
    pub estimate: Estimate,
    /// Its standard error.
    pub standard_error: f64,
}

/// Returns the mean of pass@k or pass^k over tasks.
///
/// The mean of each task's unbiased estimate; standard error `s / sqrt(C)` with the standard deviation `s` between the `C`
/// tasks (divisor `C - 1`), which already holds the noise within tasks; interval by Student's t with `C - 1` degrees of
/// freedom, cut to 0 to 1. Tasks are the units, so attempts may be as many as one likes. Valid for tasks drawn from
/// what the claim is about; below some 20 tasks a Bayesian cluster model is the better headline. E. Miller,
/// arXiv:2411.00640 (2024), for tasks as units.
///
/// # Errors
/// Fewer than five tasks (give the tasks' own intervals), a task with fewer attempts than k, or the same value for
/// every task, which says nothing about their spread.
pub fn mean_pass(tasks: &[Rate], goal: Goal, confidence: Level) -> Result<OverTasks, StatsError> {
    let mut values = Vec::with_capacity(tasks.len());
    for attempts in tasks {
        check_attempts(attempts, goal)?;
        values.push(goal.share(attempts.units(), attempts.successes()));
    }
    let mut found = over_tasks(&values, confidence)?;
    let interval = &mut found.estimate.interval;
    interval.lower = interval.lower.max(0.0);
    interval.upper = interval.upper.min(1.0);
    Ok(found)
}

/// Returns mean, standard error and Student's t interval of values of independent tasks.
fn over_tasks(values: &[f64], confidence: Level) -> Result<OverTasks, StatsError> {
    StatsError::check_enough(
        "an interval over tasks",
        "tasks",
        TASKS_TO_POOL as u64,
        values.len() as u64,
    )?;
    let mean = plain(values)?;
    Ok(OverTasks {
        estimate: mean.interval(confidence)?,
        standard_error: mean.standard_error,
    })
}

/// The expected best score of some of the runs that were made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BestOf {
    /// The expected best score, in the score's unit.
    pub value: f64,
    /// Of how many runs the best is taken.
    pub k: u64,
    /// From how many runs it was computed.
    pub runs: u64,
}

/// Returns the expected best score of `k` of the runs, drawn without replacement.
///
/// `sum_i x_(i) C(i - 1, k - 1) / C(n, k)` over the `n` scores in ascending order: a U-statistic without bias for the best
/// of `k` independent runs. No interval: runs of one task say nothing about other tasks (see [`mean_best_of`]). Compare
/// settings at equal budget, not at equal k ([`best_within`]). H. Wijk et al., RE-Bench, arXiv:2411.15114 (2024).
///
/// # Errors
/// There are fewer runs than k, k is 0, or a score is not finite.
pub fn best_of(scores: &[f64], k: u64) -> Result<BestOf, StatsError> {
    StatsError::check_finite("scores", scores)?;
    let runs = scores.len() as u64;
    if k == 0 {
        return Err(StatsError::OutOfRange {
            what: "k of best of k",
            value: 0.0,
            least: 1.0,
            most: runs as f64,
        });
    }
    StatsError::check_enough("best of k", "runs", k, runs)?;
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    // The greatest of n is the best with probability k/n; each next one with that of the one before, times (i-k)/(i-1).
    let mut weight = k as f64 / runs as f64;
    let mut value = 0.0;
    for (place, score) in (1..=runs).rev().zip(&sorted) {
        value += weight * score;
        if place <= k {
            break;
        }
        weight *= (place - k) as f64 / (place - 1) as f64;
    }
    Ok(BestOf { value, k, runs })
}

/// Runs of one setting at one task, with what each costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostedRuns<'a> {
    /// Scores, one for each run.
    pub scores: &'a [f64],
    /// What one run costs: time, tokens or money, in the unit of the budget.
    pub each: f64,
}

/// The best that a budget buys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WithinBudget {
    /// The budget.
    pub budget: f64,
    /// The expected best score of as many runs as it pays for.
    pub best: BestOf,
}

/// Returns the expected best score that a budget buys: best of `k = floor(budget / cost of a run)`.
///
/// For comparisons of settings whose runs cost differently: give all the same budget. Source as for [`best_of`].
///
/// # Errors
/// A cost or the budget is not a positive number, the budget pays for no run, or for more than were made.
pub fn best_within(runs: CostedRuns<'_>, budget: f64) -> Result<WithinBudget, StatsError> {
    for (what, value) in [("the cost of a run", runs.each), ("the budget", budget)] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(StatsError::Unfit {
                what,
                must: "a positive number",
                value,
            });
        }
    }
    let affordable = (budget / runs.each).floor();
    if affordable < 1.0 {
        return Err(StatsError::TooFew {
            what: "best within a budget",
            unit: "runs that it pays for",
            needed: 1,
            found: 0,
        });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 1, and casts saturate"
    )]
    let k = affordable as u64;
    Ok(WithinBudget {
        budget,
        best: best_of(runs.scores, k)?,
    })
}

/// Returns the mean over tasks of the expected best of `k` runs, with Student's t interval over tasks as in
/// [`mean_pass`].
///
/// # Errors
/// As for [`best_of`] for each task and [`mean_pass`] for their number.
pub fn mean_best_of(tasks: &[&[f64]], k: u64, confidence: Level) -> Result<OverTasks, StatsError> {
    let mut values = Vec::with_capacity(tasks.len());
    for scores in tasks {
        values.push(best_of(scores, k)?.value);
    }
    over_tasks(&values, confidence)
}
