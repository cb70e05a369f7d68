//! Designs that show a rate to be below a threshold: at one look, at planned looks, and what unplanned looks cost.
//!
//! Owns: exact binomial designs. Must not: look without plan (see [`gate`](crate::stats::gate)).

use serde::Serialize;

use super::walk::{CriticalCounts, Walk, characteristics, check, first};
use super::{Characteristics, MOST_EXACT_UNITS, Spending};
use crate::stats::interval::units_to_rule_out;
use crate::stats::special::binomial_cdf;
use crate::stats::{Level, StatsError};

/// A design with one look: after `units`, at most `at_most` successes show the rate to be below the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FixedDesign {
    /// The rate that is to be ruled out, with every one above it.
    pub threshold: Level,
    /// How many independent units it takes.
    pub units: u64,
    /// The most successes that rule it out.
    pub at_most: u64,
    /// The exact probability of ruling it out wrongly, at the threshold.
    pub error: f64,
    /// The true rate at which the power holds.
    pub rate: Level,
    /// The exact probability of ruling the threshold out at that rate.
    pub power: f64,
}

/// What a design is asked for: `threshold` ruled out with at most `alpha`, at `rate` with at least `power`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DesignGoal {
    /// The rate to rule out.
    pub threshold: Level,
    /// The true rate at which it should succeed.
    pub rate: Level,
    /// The error at the threshold, at most.
    pub alpha: Level,
    /// The probability of success at `rate`, at least.
    pub power: Level,
}

/// The most successes that a design with one look may allow.
pub const MOST_FIXED_SUCCESSES: u64 = 10_000;

/// Returns the smallest exact design with one look.
///
/// The first `n` for which the largest `c` with `P(X ≤ c | n, τ) ≤ α` has `P(X ≤ c | n, p) ≥ power`, `X` binomial. Since `c`
/// is a whole number, the power is a sawtooth in `n`: a slightly larger design can fall short. Valid for one look at a
/// number of independent units that was fixed beforehand.
///
/// # Errors
/// `rate` is not below `threshold`, or the design allows more than 10,000 successes.
pub fn fixed_design(goal: &DesignGoal) -> Result<FixedDesign, StatsError> {
    const WHAT: &str = "a fixed design that rules a rate out";
    if goal.rate >= goal.threshold {
        return Err(StatsError::Undefined {
            what: WHAT,
            why: "the true rate is not below the threshold",
        });
    }
    let mut units = units_to_rule_out(goal.threshold, goal.alpha)?.units;
    for at_most in 0..=MOST_FIXED_SUCCESSES {
        // At a critical number the power falls with more units, so only the fewest for each number can be the design.
        if at_most > 0 {
            units = fewest_units(at_most, units, goal)?;
        }
        let power = binomial_cdf(at_most, units, goal.rate.get())?;
        if power >= goal.power.get() {
            return Ok(FixedDesign {
                threshold: goal.threshold,
                units,
                at_most,
                error: binomial_cdf(at_most, units, goal.threshold.get())?,
                rate: goal.rate,
                power,
            });
        }
    }
    Err(StatsError::Undefined {
        what: WHAT,
        why: "it takes more than 10,000 successes",
    })
}

/// Returns the fewest units after which `at_most` successes rule the threshold out; `too_few` were enough for one less.
fn fewest_units(at_most: u64, too_few: u64, goal: &DesignGoal) -> Result<u64, StatsError> {
    let rules_out = |units| Ok(binomial_cdf(at_most, units, goal.threshold.get())? <= goal.alpha.get());
    let mut step = 1;
    while !rules_out(too_few + step)? {
        step *= 2;
    }
    let more = first(step - 1, |more| rules_out(too_few + 1 + more))?;
    Ok(too_few + 1 + more.unwrap_or(step - 1))
}

/// A design with planned looks: at each, at most so many successes show the rate to be below the threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupDesign {
    /// The rate that is to be ruled out.
    pub threshold: Level,
    /// The looks; `below_at_most` is `None` where no number of successes stops.
    pub looks: Vec<CriticalCounts>,
    /// The exact probability of ruling the threshold out wrongly, over all looks.
    pub error: f64,
    /// How the error is spent.
    pub spending: Spending,
}

impl GroupDesign {
    /// Returns exactly what the design does at a true rate.
    ///
    /// # Errors
    /// The rate does not lie in [0, 1].
    pub fn characteristics(&self, rate: f64) -> Result<Characteristics, StatsError> {
        characteristics(rate, &self.looks)
    }
}

/// Returns the exact group-sequential design that rules a rate out at planned looks.
///
/// Look `k` of `K` stops at the largest number of successes for which the probability at the threshold of having stopped
/// by then stays within `spending` at `t = n_k / n_K`; exact recursion, see [`characteristics`]. Valid for looks after
/// exactly the planned numbers of independent units, and no others.
///
/// # Errors
/// There are no looks, they are not in increasing order, or they go beyond 20,000 units.
pub fn group_design(
    threshold: Level,
    alpha: Level,
    looks: &[u64],
    spending: Spending,
) -> Result<GroupDesign, StatsError> {
    let mut planned: Vec<CriticalCounts> = looks.iter().map(|&units| undecided_at(units)).collect();
    check(threshold.get(), &planned)?;
    let last = looks.last().copied().unwrap_or(0);
    let mut walk = Walk::start(threshold.get());
    let mut error = 0.0;
    for look in &mut planned {
        let allowed = spending.spent(alpha, look.units as f64 / last as f64)?.cumulative;
        walk.advance_to(look.units);
        for (successes, probability) in (0..).zip(walk.undecided()) {
            if error + probability > allowed {
                break;
            }
            error += probability;
            look.below_at_most = Some(successes);
        }
        walk.stop(look);
    }
    Ok(GroupDesign {
        threshold,
        looks: planned,
        error,
        spending,
    })
}

fn undecided_at(units: u64) -> CriticalCounts {
    CriticalCounts {
        units,
        below_at_most: None,
        above_at_least: None,
    }
}

/// Returns what an exact one-sided test made for one look does at the threshold if it is repeated after every unit.
///
/// After `n` units the threshold is "ruled out" if `P(X ≤ s | n, τ) ≤ α`. The probability of doing so wrongly, `below`, is
/// far above `α` and grows with the looks: why a gate must not be an interval made for one look.
///
/// # Errors
/// `units` is 0 or above 20,000.
pub fn repeated_fixed_test(
    threshold: Level,
    alpha: Level,
    units: u64,
) -> Result<Characteristics, StatsError> {
    let critical = |n| {
        CriticalCounts::search(
            n,
            |successes| Ok(binomial_cdf(successes, n, threshold.get())? <= alpha.get()),
            |_| Ok(false),
        )
    };
    let looks: Result<Vec<CriticalCounts>, StatsError> =
        (1..=units.min(MOST_EXACT_UNITS + 1)).map(critical).collect();
    characteristics(threshold.get(), &looks?)
}
