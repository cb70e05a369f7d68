//! Wald's sequential probability ratio test of two rates.
//!
//! Owns: bounds, steps, Wald's approximations. Must not: stop at a fixed number of units (see `walk` for exact rates).

use serde::Serialize;

use super::walk::{CriticalCounts, first};
use super::{Characteristics, MOST_EXACT_UNITS, MOST_UNITS, characteristics};
use crate::stats::{Level, Rate, StatsError};

/// What the test says after some units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SprtStep {
    /// The rate is taken to be the smaller one.
    AcceptNull,
    /// The rate is taken to be the larger one.
    AcceptAlternative,
    /// More units.
    Continue,
}

/// The sequential probability ratio test of a rate `p0` against a larger one `p1`.
///
/// The log-likelihood ratio grows by `ln(p1/p0)` with a success and `ln((1-p1)/(1-p0))` with a failure. At or above
/// `ln((1-β)/α)` the larger rate is accepted, at or below `ln(β/(1-α))` the smaller. A. Wald, "Sequential tests of
/// statistical hypotheses", Annals of Mathematical Statistics 16 (1945), 117-186.
///
/// Valid for independent units looked at one by one. The error rates `α` (accepting `p1` at `p0`) and `β` are those of
/// Wald's approximation; the exact ones are in [`Sprt::exact`]. For rates *between* `p0` and `p1` it takes longest and
/// promises nothing: a gate, which must hold at its threshold, uses [`gate`](crate::stats::gate).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sprt {
    p0: Level,
    p1: Level,
    alpha: Level,
    beta: Level,
}

impl Sprt {
    /// Makes the test of `[p0, p1]` with the errors `[alpha, beta]`.
    ///
    /// # Errors
    /// `p0` is not below `p1`, or the two errors sum to 1 or more.
    pub fn new([p0, p1]: [Level; 2], [alpha, beta]: [Level; 2]) -> Result<Self, StatsError> {
        const WHAT: &str = "a sequential probability ratio test";
        if p0 >= p1 {
            return Err(StatsError::Undefined {
                what: WHAT,
                why: "the first rate is not below the second",
            });
        }
        if alpha.get() + beta.get() >= 1.0 {
            return Err(StatsError::Undefined {
                what: WHAT,
                why: "the two error rates sum to 1 or more",
            });
        }
        Ok(Self { p0, p1, alpha, beta })
    }

    /// Returns the log-likelihood ratio from which on the larger rate is accepted.
    pub fn upper(&self) -> f64 {
        (-self.beta.get()).ln_1p() - self.alpha.get().ln()
    }

    /// Returns the log-likelihood ratio down from which the smaller rate is accepted.
    pub fn lower(&self) -> f64 {
        self.beta.get().ln() - (-self.alpha.get()).ln_1p()
    }

    /// Returns what a success adds.
    pub fn success(&self) -> f64 {
        (self.p1.get() / self.p0.get()).ln()
    }

    /// Returns what a failure adds; negative.
    pub fn failure(&self) -> f64 {
        (-self.p1.get()).ln_1p() - (-self.p0.get()).ln_1p()
    }

    /// Returns what the test says after the units of a rate.
    pub fn step(&self, rate: &Rate) -> SprtStep {
        let ratio = self.ratio(rate.successes(), rate.units());
        if ratio >= self.upper() {
            SprtStep::AcceptAlternative
        } else if ratio <= self.lower() {
            SprtStep::AcceptNull
        } else {
            SprtStep::Continue
        }
    }

    /// Returns how many failures in a row, from the start, accept the smaller rate.
    ///
    /// # Errors
    /// They are more than 10¹².
    pub fn failures_to_accept_null(&self) -> Result<u64, StatsError> {
        let accepts = |units| Ok(self.ratio(0, units) <= self.lower());
        first(MOST_UNITS, accepts)?.ok_or(StatsError::Undefined {
            what: "the number of failures that accept the smaller rate",
            why: "it is above 10¹²",
        })
    }

    /// Returns Wald's approximation to the mean number of units `[if p0 holds, if p1 holds]`.
    ///
    /// `((1-α) lower + α upper) / E₀` and `(β lower + (1-β) upper) / E₁`, `E` the mean growth per unit. It neglects that
    /// the last step goes past the bound, and so is a little too small.
    pub fn wald_mean_units(&self) -> [f64; 2] {
        let growth = |p: Level| p.get() * self.success() + (1.0 - p.get()) * self.failure();
        let (alpha, beta) = (self.alpha.get(), self.beta.get());
        [
            ((1.0 - alpha) * self.lower() + alpha * self.upper()) / growth(self.p0),
            (beta * self.lower() + (1.0 - beta) * self.upper()) / growth(self.p1),
        ]
    }

    /// Returns exactly what the test does at a true rate if it is cut off after `units`; "above" is the larger rate.
    ///
    /// # Errors
    /// The rate does not lie in [0, 1], or `units` is 0 or above 20,000.
    pub fn exact(&self, rate: f64, units: u64) -> Result<Characteristics, StatsError> {
        let looks: Result<Vec<CriticalCounts>, StatsError> = (1..=units.min(MOST_EXACT_UNITS + 1))
            .map(|n| self.critical_counts(n))
            .collect();
        characteristics(rate, &looks?)
    }

    fn critical_counts(&self, units: u64) -> Result<CriticalCounts, StatsError> {
        CriticalCounts::search(
            units,
            |successes| Ok(self.ratio(successes, units) <= self.lower()),
            |successes| Ok(self.ratio(successes, units) >= self.upper()),
        )
    }

    fn ratio(&self, successes: u64, units: u64) -> f64 {
        successes as f64 * self.success() + (units - successes) as f64 * self.failure()
    }
}
