//! Confidence sequences: intervals that hold at every look.
//!
//! Owns: intervals for which the probability of *ever* missing the true value, whatever the looking and stopping, is at
//! most `α`. Must not: decide a gate (see [`gate`](super::gate)), take an interval that was computed for one look.

use serde::Serialize;

use super::e_values::LogE;
use super::sequential::{CriticalCounts, MOST_UNITS};
use super::special::ln_beta_kernel;
use super::{Interval, Level, Method, Rate, Side, StatsError};

mod bernstein;
pub(super) mod search;
#[cfg(test)]
mod tests;

pub use bernstein::EmpiricalBernstein;
use search::{Search, crossing, logistic};

/// An interval that is valid at every look. Only this module and [`gate`](super::gate) make one, so that an interval
/// computed for one look can't stand where one for many is needed:
/// ```compile_fail,E0308
/// use harness_core::stats::confidence_sequence::{AnytimeInterval, MixturePrior, beta_binomial};
/// use harness_core::stats::{Level, Rate, Side, interval::wilson};
/// let rate = Rate::of(0, 30).unwrap();
/// let anytime = beta_binomial(&rate, Level::P05, MixturePrior::JEFFREYS).unwrap();
/// anytime.intersect(wilson(&rate, Level::P95, Side::Two).unwrap());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct AnytimeInterval(Interval);

impl AnytimeInterval {
    pub(super) fn new(lower: f64, upper: f64, alpha: Level, side: Side, method: Method) -> Self {
        Self(Interval {
            lower,
            upper,
            confidence: alpha.complement(),
            side,
            method,
        })
    }

    /// Returns the interval, for printing; what comes out can't be turned back.
    pub fn interval(&self) -> Interval {
        self.0
    }

    /// Whether everything in the interval is below a threshold: "shown below". False for a lower bound.
    pub fn lies_below(&self, threshold: Level) -> bool {
        self.0.side != Side::Lower && self.0.upper <= threshold.get()
    }

    /// Whether everything in the interval is above a threshold: "shown above". False for an upper bound.
    pub fn lies_above(&self, threshold: Level) -> bool {
        self.0.side != Side::Upper && self.0.lower >= threshold.get()
    }

    /// Returns what this interval and one from another look *at the same process* have in common.
    ///
    /// The true value is in all intervals of a sequence at once with the stated confidence, so the intersection over
    /// looks is valid too.
    ///
    /// # Errors
    /// They differ in confidence, side or method, or have nothing in common, which has at most the stated probability of
    /// error if the conditions of the method hold.
    pub fn intersect(self, other: Self) -> Result<Self, StatsError> {
        const WHAT: &str = "the intersection of two looks";
        let (left, right) = (self.0, other.0);
        if (left.confidence, left.side, left.method) != (right.confidence, right.side, right.method) {
            return Err(StatsError::Undefined {
                what: WHAT,
                why: "they differ in confidence, side or method",
            });
        }
        let (lower, upper) = (left.lower.max(right.lower), left.upper.min(right.upper));
        if lower > upper {
            return Err(StatsError::Undefined {
                what: WHAT,
                why: "they have nothing in common",
            });
        }
        Ok(Self(Interval { lower, upper, ..left }))
    }
}

/// The Beta prior over which likelihood ratios are mixed. It decides where a sequence is tight, not whether it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MixturePrior {
    a: f64,
    b: f64,
}

impl MixturePrior {
    /// Beta(1/2, 1/2): tight at rates near 0 and 1.
    pub const JEFFREYS: Self = Self { a: 0.5, b: 0.5 };
    /// Beta(1, 1).
    pub const UNIFORM: Self = Self { a: 1.0, b: 1.0 };

    /// Checks the shapes of a prior.
    ///
    /// # Errors
    /// One does not lie between 0.001 and 10⁶.
    pub fn new(a: f64, b: f64) -> Result<Self, StatsError> {
        for value in [a, b] {
            if !(1e-3..=1e6).contains(&value) {
                return Err(StatsError::OutOfRange {
                    what: "a shape of the prior",
                    value,
                    least: 1e-3,
                    most: 1e6,
                });
            }
        }
        Ok(Self { a, b })
    }
}

/// Returns the evidence against the rate being exactly `p`: the beta-binomial mixture martingale.
///
/// With `s` successes, `f` failures and the Beta(a, b) prior:
/// `ln Mₙ(p) = ln B(a + s, b + f) - ln B(a, b) - s ln p - f ln(1 - p)`, H. Robbins, "Statistical methods related to the
/// law of the iterated logarithm", Annals of Mathematical Statistics 41 (1970), 1397-1409. Valid at every look for
/// independent units, or units that are exchangeable given the past, in an order that does not depend on their results.
/// Two-sided: it grows whether the rate is above or below `p`.
///
/// # Errors
/// There are more than 10¹² units.
pub fn beta_binomial_log_e(rate: &Rate, p: Level, prior: MixturePrior) -> Result<LogE, StatsError> {
    let (successes, failures) = counts(rate)?;
    // Both kernels hold p^a (1-p)^b; what is left of them is the martingale, without the cancellation of huge terms.
    let after = ln_beta_kernel(prior.a + successes, prior.b + failures, p.get())?;
    LogE::new(ln_beta_kernel(prior.a, prior.b, p.get())? - after)
}

/// Returns the two-sided confidence sequence of a rate: `{p: Mₙ(p) < 1/α}`, see [`beta_binomial_log_e`].
///
/// # Errors
/// There are more than 10¹² units.
pub fn beta_binomial(rate: &Rate, alpha: Level, prior: MixturePrior) -> Result<AnytimeInterval, StatsError> {
    let (successes, failures) = counts(rate)?;
    let needed = LogE::needed(alpha).ln();
    // From the logit; the kernel is symmetric, so that the smaller of p and 1 - p is always the one that is exact.
    let excess = |logit: f64| {
        let (x, y) = (prior.a + successes, prior.b + failures);
        let p = logistic(-logit.abs());
        let [before, after] = if logit <= 0.0 {
            [ln_beta_kernel(prior.a, prior.b, p)?, ln_beta_kernel(x, y, p)?]
        } else {
            [ln_beta_kernel(prior.b, prior.a, p)?, ln_beta_kernel(y, x, p)?]
        };
        Ok(before - after - needed)
    };
    // At the observed rate the martingale is at its least, below 1.
    let middle = if successes + failures > 0.0 {
        (successes / failures).ln().clamp(-search::FAR, search::FAR)
    } else {
        0.0
    };
    // Without a failure no rate up to 1 is left out, without a success none down to 0. Rounding goes outward.
    let upper =
        crossing(&Search::logit(middle), excess)?.map_or(1.0, |logit| logistic(logit).next_up().min(1.0));
    let lower = crossing(&Search::logit(-middle), |mirrored| excess(-mirrored))?
        .map_or(0.0, |mirrored| logistic(-mirrored).next_down());
    let method = Method::BetaBinomialMixture;
    Ok(AnytimeInterval::new(lower, upper, alpha, Side::Two, method))
}

/// Returns which numbers of successes among `units` a gate on the two-sided sequence would decide at.
///
/// "Below" if `Mₙ(τ) ≥ 1/α` and the observed rate is below `τ`, "above" likewise. The one-sided processes of
/// [`gate`](super::gate) decide earlier at the same error; this is for comparison.
///
/// # Errors
/// There are more than 10¹² units.
pub fn two_sided_critical_counts(
    units: u64,
    threshold: Level,
    alpha: Level,
    prior: MixturePrior,
) -> Result<CriticalCounts, StatsError> {
    let rejects = |successes: u64| {
        let rate = Rate::of(successes, units)?;
        Ok(beta_binomial_log_e(&rate, threshold, prior)?.rejects(alpha))
    };
    let is_below = |successes: u64| (successes as f64) < threshold.get() * units as f64;
    CriticalCounts::search(
        units,
        |successes| Ok(is_below(successes) && rejects(successes)?),
        |successes| Ok(!is_below(successes) && rejects(successes)?),
    )
}

/// The sum of scores that lie between 0 and 1 each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BoundedSum {
    sum: f64,
    units: u64,
}

impl BoundedSum {
    /// Checks a sum of `units` scores.
    ///
    /// # Errors
    /// There is no unit, there are more than 10¹², or the sum does not lie between 0 and their number.
    pub fn new(sum: f64, units: u64) -> Result<Self, StatsError> {
        StatsError::check_enough("a confidence sequence for scores", "scores", 1, units)?;
        bounded_units(units)?;
        if !(0.0..=units as f64).contains(&sum) {
            return Err(StatsError::OutOfRange {
                what: "a sum of scores between 0 and 1",
                value: sum,
                least: 0.0,
                most: units as f64,
            });
        }
        Ok(Self { sum, units })
    }
}

/// Returns the two-sided confidence sequence for the mean of scores in [0, 1] by a normal mixture.
///
/// `mean ± √((V + ρ) ln((V + ρ) / (ρ α²))) / n` with `V = n/4`, the most that the variance of `n` scores can be, cut to
/// [0, 1]. S. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
/// sequences", Annals of Statistics 49 (2021), 1055-1080: the two-sided normal mixture. `rho` says at which `V` it is tightest. Valid for partial
/// credit, for scores whose mean given the past is the same; far looser than [`beta_binomial`] near 0 and 1.
///
/// # Errors
/// `rho` is not positive and finite.
pub fn normal_mixture(total: BoundedSum, rho: f64, alpha: Level) -> Result<AnytimeInterval, StatsError> {
    if !(f64::MIN_POSITIVE..=1e100).contains(&rho) {
        return Err(StatsError::OutOfRange {
            what: "rho of a normal mixture",
            value: rho,
            least: f64::MIN_POSITIVE,
            most: 1e100,
        });
    }
    let n = total.units as f64;
    let spread = n / 4.0 + rho;
    let radius = (spread * ((spread / rho).ln() - 2.0 * alpha.get().ln())).sqrt() / n;
    let mean = total.sum / n;
    let (lower, upper) = ((mean - radius).max(0.0), (mean + radius).min(1.0));
    Ok(AnytimeInterval::new(
        lower,
        upper,
        alpha,
        Side::Two,
        Method::NormalMixture,
    ))
}

fn counts(rate: &Rate) -> Result<(f64, f64), StatsError> {
    bounded_units(rate.units())?;
    Ok((rate.successes() as f64, rate.failures() as f64))
}

fn bounded_units(units: u64) -> Result<(), StatsError> {
    if units > MOST_UNITS {
        return Err(StatsError::Count {
            what: "units of a sequence",
            found: units,
            most: MOST_UNITS,
        });
    }
    Ok(())
}
