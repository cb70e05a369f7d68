//! The e-process of family means: bets on bounded units.
//!
//! Owns: the discrete mixture of bets and its wealth. Must not: know what a family is.

use super::process::{Direction, Threshold};
use crate::stats::e_values::ln_sum_exp;

/// How many rates the mixture bets on.
const NODES: usize = 64;

/// A mixture of bets on the means of families, each in [0, 1].
///
/// A bet on the rate `q` multiplies its wealth by `x q/τ + (1 - x)(1 - q)/(1 - τ) = 1 + (x - τ)(q - τ)/(τ(1 - τ))` with
/// each family of mean `x`. For `x` of 0 or 1 this is the likelihood ratio of `q` against `τ`; for `x` between it is linear
/// in `x`, so its expectation is at most 1 whenever the mean given the past is on the other side of `τ` from `q`, however
/// `x` is distributed. The e-value is the mean wealth over 64 rates, evenly spread on the scale `arcsin √q` between
/// `τ` and the end of the range: Beta(1/2, 1/2) cut off at `τ`, as for counts. I. Waudby-Smith and A. Ramdas, "Estimating
/// means of bounded random variables by betting", Journal of the Royal Statistical Society B 86 (2024).
///
/// It does not depend on the order of the families, falls (for "below") as any of them rises, and grows with `τ`: every factor
/// does at a fixed place between `τ` and the end. The last makes its inversion an interval.
pub(super) struct Bets {
    threshold: Threshold,
    slopes: [f64; NODES],
    ln_wealth: [f64; NODES],
    /// What one more unit that speaks for the process adds to each.
    ln_gain: [f64; NODES],
}

impl Bets {
    pub(super) fn new(direction: Direction, threshold: Threshold) -> Self {
        let tau = threshold.small;
        let direction = if threshold.is_complement {
            direction.mirrored()
        } else {
            direction
        };
        let slopes = slopes(direction, tau);
        let gain = match direction {
            Direction::Below => -tau,
            Direction::Above => 1.0 - tau,
        };
        Self {
            threshold,
            slopes,
            ln_wealth: [0.0; NODES],
            ln_gain: slopes.map(|slope| (gain * slope).ln_1p()),
        }
    }

    /// Takes further families by their means.
    pub(super) fn add(&mut self, means: &[f64]) {
        let Threshold { small, is_complement } = self.threshold;
        for chunk in means.chunks(factors_at_once(small)) {
            let mut product = [1.0; NODES];
            for &mean in chunk {
                let x = if is_complement { 1.0 - mean } else { mean };
                let excess = x - small;
                for (product, slope) in product.iter_mut().zip(&self.slopes) {
                    *product *= 1.0 + excess * slope;
                }
            }
            for (sum, product) in self.ln_wealth.iter_mut().zip(product) {
                *sum += product.ln();
            }
        }
    }

    /// Returns ln E after `more` further families in a row that speak for the process.
    pub(super) fn log_e_after(&self, more: f64) -> f64 {
        let wealth = self
            .ln_wealth
            .iter()
            .zip(&self.ln_gain)
            .map(|(wealth, gain)| wealth + more * gain);
        ln_sum_exp(wealth) - (NODES as f64).ln()
    }
}

/// Returns `(q - τ) / (τ(1 - τ))` for each rate.
fn slopes(direction: Direction, tau: f64) -> [f64; NODES] {
    let edge = tau.sqrt().asin();
    let (from, span) = match direction {
        Direction::Below => (0.0, edge),
        Direction::Above => (edge, std::f64::consts::FRAC_PI_2 - edge),
    };
    let mut slopes = [0.0; NODES];
    for (index, slope) in slopes.iter_mut().enumerate() {
        let angle = from + span * (index as f64 + 0.5) / NODES as f64;
        // sin² angle - sin² edge, without cancellation.
        *slope = (angle + edge).sin() * (angle - edge).sin() / (tau * (1.0 - tau));
    }
    slopes
}

/// Returns how many factors, each between 10⁻⁵ and `1/τ`, can be multiplied before a logarithm is due.
fn factors_at_once(tau: f64) -> usize {
    const MOST: usize = 16;
    (1..=MOST)
        .rev()
        .find(|&count| tau.powf(count as f64) > 1e-280)
        .unwrap_or(1)
}
