//! Exact error rates of a rule that stops at given numbers of successes.
//!
//! Owns: the distribution of successes among what has not stopped. Must not: know where the rule comes from.

use serde::Serialize;

use super::MOST_EXACT_UNITS;
use crate::stats::StatsError;

/// At one look: the numbers of successes at which a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CriticalCounts {
    /// How many units have been seen.
    pub units: u64,
    /// The most successes at which the rate is shown to be below; `None` if no number shows it.
    pub below_at_most: Option<u64>,
    /// The fewest successes at which the rate is shown to be above; `None` if no number shows it.
    pub above_at_least: Option<u64>,
}

impl CriticalCounts {
    /// Finds them by bisection for a rule that decides "below" up to some number of successes, "above" from some number on.
    pub(in crate::stats) fn search(
        units: u64,
        below: impl Fn(u64) -> Result<bool, StatsError>,
        above: impl Fn(u64) -> Result<bool, StatsError>,
    ) -> Result<Self, StatsError> {
        let not_below = first(units, |successes| Ok(!below(successes)?))?;
        let above = first(units, above)?;
        Ok(Self {
            units,
            below_at_most: not_below.unwrap_or(units + 1).checked_sub(1),
            above_at_least: above,
        })
    }
}

/// Returns the least number up to `most` from which a condition holds that holds for all larger numbers too.
pub(in crate::stats) fn first(
    most: u64,
    holds: impl Fn(u64) -> Result<bool, StatsError>,
) -> Result<Option<u64>, StatsError> {
    if !holds(most)? {
        return Ok(None);
    }
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Some(high))
}

/// What has been decided up to a look.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LookShare {
    /// How many units have been seen.
    pub units: u64,
    /// The probability of having decided "below" by now.
    pub below: f64,
    /// The probability of having decided "above" by now.
    pub above: f64,
}

/// How a rule behaves at one true rate, exactly.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Characteristics {
    /// The true rate for which this holds.
    pub rate: f64,
    /// The probability that the rule decides "below".
    pub below: f64,
    /// The probability that the rule decides "above".
    pub above: f64,
    /// The probability that the last look decides nothing.
    pub inconclusive: f64,
    /// The mean number of units; what stays undecided counts with the last look.
    pub mean_units: f64,
    /// The same, look by look.
    pub looks: Vec<LookShare>,
}

/// Returns what a rule does if the true rate is `rate`, by exact recursion over the numbers of successes.
///
/// The probability of `s` successes after `n` units without a decision obeys
/// `P(n, s) = (1 - p) P(n - 1, s) + p P(n - 1, s - 1)`; what a look decides is taken out. P. Armitage, C. McPherson and
/// B. Rowe, "Repeated significance tests on accumulating data", Journal of the Royal Statistical Society A 132 (1969),
/// 235-244. `rate` is per unit, units are independent. Rounding stays below 10⁻¹² at the sizes that are allowed.
///
/// # Errors
/// The rate does not lie in [0, 1], looks are missing or not in increasing order, or there are more than 20,000 units.
pub fn characteristics(rate: f64, looks: &[CriticalCounts]) -> Result<Characteristics, StatsError> {
    check(rate, looks)?;
    let mut walk = Walk::start(rate);
    let (mut below, mut above, mut mean) = (0.0, 0.0, 0.0);
    let mut shares = Vec::with_capacity(looks.len());
    for look in looks {
        walk.advance_to(look.units);
        let (lower, upper) = walk.stop(look);
        below += lower;
        above += upper;
        mean += (lower + upper) * look.units as f64;
        shares.push(LookShare {
            units: look.units,
            below,
            above,
        });
    }
    let inconclusive: f64 = walk.undecided.iter().sum();
    Ok(Characteristics {
        rate,
        below,
        above,
        inconclusive,
        mean_units: mean + inconclusive * walk.units as f64,
        looks: shares,
    })
}

/// The distribution of successes among what has not stopped.
pub(super) struct Walk {
    rate: f64,
    units: u64,
    undecided: Vec<f64>,
}

impl Walk {
    pub(super) fn start(rate: f64) -> Self {
        Self {
            rate,
            units: 0,
            undecided: vec![1.0],
        }
    }

    pub(super) fn advance_to(&mut self, units: u64) {
        while self.units < units {
            self.units += 1;
            self.undecided.push(0.0);
            let mut before = 0.0;
            for probability in &mut self.undecided {
                let here = *probability;
                let next = (1.0 - self.rate) * here + self.rate * before;
                // What is too rare to be a normal number would slow the recursion a hundredfold and change nothing.
                *probability = if next < 1e-290 { 0.0 } else { next };
                before = here;
            }
        }
    }

    /// Returns the probabilities of 0, 1, 2, … successes without a decision.
    pub(super) fn undecided(&self) -> &[f64] {
        &self.undecided
    }

    /// Takes out what a look decides and returns its probabilities, "below" and "above".
    pub(super) fn stop(&mut self, look: &CriticalCounts) -> (f64, f64) {
        let (mut below, mut above) = (0.0, 0.0);
        for (successes, probability) in (0..).zip(&mut self.undecided) {
            if look.below_at_most.is_some_and(|most| successes <= most) {
                below += std::mem::take(probability);
            } else if look.above_at_least.is_some_and(|least| successes >= least) {
                above += std::mem::take(probability);
            }
        }
        (below, above)
    }
}

pub(super) fn check(rate: f64, looks: &[CriticalCounts]) -> Result<(), StatsError> {
    const WHAT: &str = "exact operating characteristics";
    if !(0.0..=1.0).contains(&rate) {
        return Err(StatsError::OutOfRange {
            what: "the true rate",
            value: rate,
            least: 0.0,
            most: 1.0,
        });
    }
    let Some(last) = looks.last() else {
        return Err(StatsError::TooFew {
            what: WHAT,
            unit: "looks",
            needed: 1,
            found: 0,
        });
    };
    if looks.windows(2).any(|pair| pair[0].units >= pair[1].units) {
        return Err(StatsError::Undefined {
            what: WHAT,
            why: "looks are not in increasing order",
        });
    }
    if last.units > MOST_EXACT_UNITS {
        return Err(StatsError::Count {
            what: "units of an exact recursion",
            found: last.units,
            most: MOST_EXACT_UNITS,
        });
    }
    Ok(())
}
