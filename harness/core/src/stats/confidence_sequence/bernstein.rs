//! The empirical-Bernstein sequence for scores between 0 and 1.
//!
//! Owns: one running state, a score at a time. Must not: reorder scores.

use super::AnytimeInterval;
use crate::stats::e_values::LogE;
use crate::stats::{Level, Method, Side, StatsError};

/// The predictable plug-in empirical-Bernstein process for the mean of scores in [0, 1], in the order of their arrival.
///
/// Before score `t` the bet is `λₜ = min(√(2 ln(2/α) / (v̂ₜ₋₁ t ln(t + 1))), 1/2)`, where `μ̂ₜ = (1/2 + Σᵢ≤ₜ xᵢ) / (t + 1)`
/// and `v̂ₜ = (1/4 + Σᵢ≤ₜ (xᵢ - μ̂ᵢ)²) / (t + 1)`. With `vᵢ = 4 (xᵢ - μ̂ᵢ₋₁)²` and `ψ(λ) = (-ln(1 - λ) - λ) / 4` the
/// interval is `(Σ λᵢxᵢ ± (ln(2/α) + Σ vᵢψ(λᵢ))) / Σ λᵢ`. I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random
/// variables by betting", Journal of the Royal Statistical Society B 86 (2024), theorem 2.
///
/// Valid if the mean of each score given those before it is the same. It adapts to a small variance, but depends on the
/// order of the scores and is not monotone in them; [`gate`](crate::stats::gate) bets on family means otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct EmpiricalBernstein {
    alpha: Level,
    units: u64,
    sum: f64,
    squares: f64,
    bets: f64,
    bets_on_scores: f64,
    price: f64,
}

impl EmpiricalBernstein {
    /// Starts a sequence that misses the mean with probability at most `alpha`, both ends together.
    #[must_use]
    pub fn new(alpha: Level) -> Self {
        Self {
            alpha,
            units: 0,
            sum: 0.0,
            squares: 0.0,
            bets: 0.0,
            bets_on_scores: 0.0,
            price: 0.0,
        }
    }

    /// Takes the next score.
    ///
    /// # Errors
    /// It does not lie between 0 and 1.
    pub fn push(&mut self, score: f64) -> Result<(), StatsError> {
        if !(0.0..=1.0).contains(&score) {
            return Err(StatsError::OutOfRange {
                what: "a score",
                value: score,
                least: 0.0,
                most: 1.0,
            });
        }
        // The bet and the centre come from the scores before this one only.
        let t = self.units as f64 + 1.0;
        let (mean, variance) = ((0.5 + self.sum) / t, (0.25 + self.squares) / t);
        let bet = (2.0 * self.ln_two_over_alpha() / (variance * t * t.ln_1p()))
            .sqrt()
            .min(0.5);
        self.units += 1;
        self.sum += score;
        self.squares += (score - (0.5 + self.sum) / (t + 1.0)).powi(2);
        self.bets += bet;
        self.bets_on_scores += bet * score;
        self.price += (score - mean).powi(2) * (-(-bet).ln_1p() - bet);
        Ok(())
    }

    /// Returns the interval at this look, cut to [0, 1].
    pub fn interval(&self) -> AnytimeInterval {
        let (lower, upper) = self.ends();
        self.between(lower.max(0.0), upper.min(1.0))
    }

    /// Returns the interval before it is cut to [0, 1]: what other programs print. Infinite before the first score.
    pub fn uncut(&self) -> AnytimeInterval {
        let (lower, upper) = self.ends();
        self.between(lower, upper)
    }

    /// Returns the evidence against a mean of `threshold` or more: `Σ λᵢ(τ - xᵢ) - Σ vᵢψ(λᵢ)`.
    ///
    /// # Errors
    /// Never for scores that were taken.
    pub fn log_e_below(&self, threshold: Level) -> Result<LogE, StatsError> {
        LogE::new(threshold.get() * self.bets - self.bets_on_scores - self.price)
    }

    /// Returns the evidence against a mean of `threshold` or less: `Σ λᵢ(xᵢ - τ) - Σ vᵢψ(λᵢ)`.
    ///
    /// # Errors
    /// Never for scores that were taken.
    pub fn log_e_above(&self, threshold: Level) -> Result<LogE, StatsError> {
        LogE::new(self.bets_on_scores - threshold.get() * self.bets - self.price)
    }

    fn ends(&self) -> (f64, f64) {
        if self.units == 0 {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        let radius = (self.ln_two_over_alpha() + self.price) / self.bets;
        let centre = self.bets_on_scores / self.bets;
        (centre - radius, centre + radius)
    }

    fn between(&self, lower: f64, upper: f64) -> AnytimeInterval {
        AnytimeInterval::new(lower, upper, self.alpha, Side::Two, Method::EmpiricalBernstein)
    }

    fn ln_two_over_alpha(&self) -> f64 {
        std::f64::consts::LN_2 - self.alpha.get().ln()
    }
}
