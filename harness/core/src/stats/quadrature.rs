//! Sums that stand for integrals: Gauss-Legendre nodes, nodes of Beta distributions, a quick Beta distribution function.
//!
//! Owns: deterministic quadrature for posteriors, in place of random draws. Must not: know what is estimated.

use std::f64::consts::{FRAC_PI_2, PI};

use super::StatsError;
use super::special::{beta_cdf, beta_quantile, ln_beta};

/// The probability that may lie outside the nodes on each side.
const OUTSIDE: f64 = 1e-14;
/// Nodes of less weight than this change no digit of a sum.
const LEAST_WEIGHT: f64 = 1e-17;
/// Steps of a table; sixteen standard deviations in so many steps leave an error of about 1e-11.
const STEPS: usize = 2_048;

/// Returns the `n` Gauss-Legendre nodes and weights of the interval from `low` to `high`.
///
/// Nodes are the roots of the Legendre polynomial `P_n` by Newton's method, weights `2 / ((1 - x²) P_n'(x)²)`, scaled.
/// Exact for polynomials of degree `2n - 1`. M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 25.4.30.
pub(super) fn gauss_legendre(n: usize, low: f64, high: f64) -> Vec<(f64, f64)> {
    let (middle, half) = (f64::midpoint(low, high), (high - low) / 2.0);
    let count = n as f64;
    (0..n)
        .map(|i| {
            let mut x = (PI * (i as f64 + 0.75) / (count + 0.5)).cos();
            let mut slope = 1.0;
            // Newton's method from this start converges in four or five rounds for any n.
            for _ in 0..8 {
                let (mut before, mut value) = (1.0, x);
                for k in 2..=n {
                    let k = k as f64;
                    (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
                }
                slope = count * (x * value - before) / (x * x - 1.0);
                x -= value / slope;
            }
            let weight = 2.0 / ((1.0 - x * x) * slope * slope);
            (middle - half * x, half * weight)
        })
        .collect()
}

/// A Beta distribution seen through `x = sin²(angle)`, which has a smooth density for shapes of one half and more.
#[derive(Clone, Copy)]
struct Angles {
    a: f64,
    b: f64,
    ln_beta: f64,
    low: f64,
    high: f64,
}

impl Angles {
    /// Finds the angles between which all but [`OUTSIDE`] lies on either side.
    fn of(a: f64, b: f64) -> Result<Self, StatsError> {
        let low = beta_quantile(a, b, OUTSIDE)?.sqrt().min(1.0).asin();
        // From the other end, so that a point near 1 keeps its digits.
        let high = FRAC_PI_2 - beta_quantile(b, a, OUTSIDE)?.sqrt().min(1.0).asin();
        let ln_beta = ln_beta(a, b)?;
        Ok(Self {
            a,
            b,
            ln_beta,
            low,
            high,
        })
    }

    /// Returns the density with respect to the angle.
    fn density(&self, angle: f64) -> f64 {
        let (sin, cos) = angle.sin_cos();
        let part = |shape: f64, value: f64| {
            let power = 2.0 * shape - 1.0;
            if power == 0.0 {
                0.0
            } else {
                power * value.max(f64::MIN_POSITIVE).ln()
            }
        };
        2.0 * (part(self.a, sin) + part(self.b, cos) - self.ln_beta).exp()
    }
}

/// Returns points and weights that stand for a Beta distribution with shapes of at least one half: the mean of a
/// function is about the sum of weight times value.
pub(super) fn beta_nodes(a: f64, b: f64, n: usize) -> Result<Vec<(f64, f64)>, StatsError> {
    let angles = Angles::of(a, b)?;
    let mut nodes: Vec<(f64, f64)> = gauss_legendre(n, angles.low, angles.high)
        .into_iter()
        .map(|(angle, weight)| (angle.sin().powi(2), weight * angles.density(angle)))
        .collect();
    let total: f64 = nodes.iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut nodes {
        *weight /= total;
    }
    nodes.retain(|(_, weight)| *weight > LEAST_WEIGHT);
    Ok(nodes)
}

/// The distribution function of a Beta distribution with shapes of at least one half, for many lookups.
pub(super) struct BetaTable {
    angles: Angles,
    step: f64,
    /// Distribution function and density at each angle.
    values: Vec<(f64, f64)>,
}

impl BetaTable {
    pub(super) fn new(a: f64, b: f64) -> Result<Self, StatsError> {
        let angles = Angles::of(a, b)?;
        let step = (angles.high - angles.low) / STEPS as f64;
        let mut values = Vec::with_capacity(STEPS + 1);
        for at in 0..=STEPS {
            let angle = angles.low + step * at as f64;
            let below = beta_cdf(a, b, angle.sin().powi(2))?;
            values.push((below, angles.density(angle)));
        }
        Ok(Self { angles, step, values })
    }

    /// Returns the probability of a value up to `x`, by cubic interpolation.
    pub(super) fn below(&self, x: f64) -> f64 {
        let place = (x.clamp(0.0, 1.0).sqrt().asin() - self.angles.low) / self.step;
        if place <= 0.0 {
            return 0.0;
        }
        if place >= STEPS as f64 {
            return 1.0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to STEPS, checked above"
        )]
        let at = (place as usize).min(STEPS - 1);
        let t = place - at as f64;
        let ((left, left_slope), (right, right_slope)) = (self.values[at], self.values[at + 1]);
        let (t2, t3) = (t * t, t * t * t);
        let value = (2.0 * t3 - 3.0 * t2 + 1.0) * left
            + (3.0 * t2 - 2.0 * t3) * right
            + (t3 - 2.0 * t2 + t) * self.step * left_slope
            + (t3 - t2) * self.step * right_slope;
        value.clamp(0.0, 1.0)
    }
}

/// Finds where a distribution function on 0 to 1 reaches `level`, by bisection.
pub(super) fn quantile(below: impl Fn(f64) -> f64, level: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if below(middle) < level {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        for n in [1_usize, 2, 5, 16, 64, 200] {
            let nodes = gauss_legendre(n, -1.0, 3.0);
            let degree = i32::try_from((2 * n - 1).min(30)).unwrap();
            for power in 0..=degree {
                let found: f64 = nodes.iter().map(|(x, w)| w * (x / 3.0).powi(power)).sum();
                let at = |x: f64| 3.0 * (x / 3.0).powi(power + 1) / f64::from(power + 1);
                let exact = at(3.0) - at(-1.0);
                assert!(
                    (found - exact).abs() < 1e-12,
                    "{n} nodes, x^{power}: {found} {exact}"
                );
            }
        }
    }

    #[test]
    fn nodes_have_the_moments_of_their_distribution() {
        for (a, b) in [
            (0.5, 0.5),
            (0.5, 60.5),
            (4.0, 2.0),
            (1.0, 1.0),
            (3e4, 2e6),
            (1e9, 0.5),
        ] {
            let nodes = beta_nodes(a, b, 64).unwrap();
            let mean: f64 = nodes.iter().map(|(x, w)| x * w).sum();
            let exact = a / (a + b);
            let sd = (exact * (b / (a + b)) / (a + b + 1.0)).sqrt();
            let variance: f64 = nodes.iter().map(|(x, w)| (x - mean).powi(2) * w).sum();
            assert!((mean - exact).abs() < 1e-6 * sd, "{a} {b}: {mean} {exact}");
            assert!(
                (variance.sqrt() / sd - 1.0).abs() < 1e-5,
                "{a} {b}: {variance} {sd}"
            );
        }
    }

    #[test]
    fn a_table_is_as_good_as_the_function() {
        for (a, b) in [(0.5, 0.5), (61.0, 141.0), (1.0, 1.0), (0.5, 1e7), (4e8, 6e8)] {
            let table = BetaTable::new(a, b).unwrap();
            for level in [1e-9, 1e-3, 0.1, 0.5, 0.77, 0.999, 1.0 - 1e-9] {
                let x = beta_quantile(a, b, level).unwrap();
                let (found, exact) = (table.below(x), beta_cdf(a, b, x).unwrap());
                assert!((found - exact).abs() < 1e-9, "{a} {b} at {x}: {found} {exact}");
            }
            assert_eq!((table.below(0.0), table.below(1.0)), (0.0, 1.0));
        }
    }
}
