//! Gamma and beta functions, the regularised incomplete beta and its inverse.
//!
//! Owns: accuracy at shapes from 10⁻⁶ to 10⁹ and tails below the smallest `f64`, by logarithms. Must not: know counts.

use std::f64::consts::PI;

use crate::stats::StatsError;

/// Returns the natural logarithm of the gamma function, `ln Γ(x)`.
///
/// # Errors
/// `x` is not positive and finite.
pub fn ln_gamma(x: f64) -> Result<f64, StatsError> {
    positive("the argument of ln gamma", x)?;
    Ok(libm::lgamma(x))
}

/// Returns `ln B(a, b) = ln Γ(a) + ln Γ(b) - ln Γ(a + b)`, by Stirling's series so that large terms never cancel.
///
/// # Errors
/// A shape is not positive and finite.
pub fn ln_beta(a: f64, b: f64) -> Result<f64, StatsError> {
    shapes(a, b)?;
    Ok(ln_beta_unchecked(a, b))
}

/// Returns `ln(x^a (1 - x)^b / B(a, b))`: the Beta density times `x (1 - x)`, accurate where its three factors are huge.
///
/// With `n = a + b` and `δ` the remainder of Stirling's formula this is
/// `½ ln(ab / 2πn) + δ(n) - δ(a) - δ(b) - D(a, nx) - D(b, n(1 - x))`, `D(k, m) = k ln(k/m) + m - k`. C. Loader, "Fast
/// and accurate computation of binomial probabilities" (2000). It is negative infinity at `x = 0` and `x = 1`.
///
/// # Errors
/// A shape is not positive and finite, or `x` does not lie in [0, 1].
pub fn ln_beta_kernel(a: f64, b: f64, x: f64) -> Result<f64, StatsError> {
    shapes(a, b)?;
    unit("the argument of a Beta density", x)?;
    Ok(ln_kernel(a, b, &Point::at(x)))
}

/// Returns the regularised incomplete beta `I_x(a, b)`: the probability that a Beta(a, b) variable is at most `x`.
///
/// The continued fraction of M. Abramowitz and I. Stegun, "Handbook of mathematical functions" (1964), 26.5.8, on the
/// side of the mean where it converges.
///
/// # Errors
/// A shape is not positive and finite, or `x` does not lie in [0, 1].
pub fn beta_cdf(a: f64, b: f64, x: f64) -> Result<f64, StatsError> {
    Ok(ln_tails(a, b, x)?.0.exp())
}

/// Returns `ln I_x(a, b)`, finite where `I_x(a, b)` itself is below the smallest `f64`.
///
/// # Errors
/// A shape is not positive and finite, or `x` does not lie in [0, 1].
pub fn ln_beta_cdf(a: f64, b: f64, x: f64) -> Result<f64, StatsError> {
    Ok(ln_tails(a, b, x)?.0)
}

/// Returns `1 - I_x(a, b)` without the loss of digits of the subtraction.
///
/// # Errors
/// A shape is not positive and finite, or `x` does not lie in [0, 1].
pub fn beta_sf(a: f64, b: f64, x: f64) -> Result<f64, StatsError> {
    Ok(ln_tails(a, b, x)?.1.exp())
}

/// Returns `ln(1 - I_x(a, b))`.
///
/// # Errors
/// A shape is not positive and finite, or `x` does not lie in [0, 1].
pub fn ln_beta_sf(a: f64, b: f64, x: f64) -> Result<f64, StatsError> {
    Ok(ln_tails(a, b, x)?.1)
}

/// Returns the `x` at which `I_x(a, b) = p`.
///
/// Newton's method on `ln I` as a function of `ln(x / (1 - x))`: that function is increasing and concave (the density
/// is log-concave on this scale), so the iteration never passes the root twice. Above one half it runs on the other
/// tail.
///
/// # Errors
/// A shape is not positive and finite, `p` does not lie in [0, 1], or the search did not end.
pub fn beta_quantile(a: f64, b: f64, p: f64) -> Result<f64, StatsError> {
    shapes(a, b)?;
    unit("the probability of a quantile", p)?;
    if p <= 0.0 || p >= 1.0 {
        return Ok(p);
    }
    Ok(logistic(beta_quantile_logit(a, b, p)?))
}

/// Returns the `x` at which `1 - I_x(a, b) = q`, to all digits where `q` is too small for `1 - q` to hold it.
///
/// # Errors
/// A shape is not positive and finite, `q` does not lie in [0, 1], or the search did not end.
pub fn beta_upper_quantile(a: f64, b: f64, q: f64) -> Result<f64, StatsError> {
    shapes(a, b)?;
    unit("the probability of a quantile", q)?;
    if q <= 0.0 || q >= 1.0 {
        return Ok(1.0 - q);
    }
    Ok(logistic(-beta_quantile_logit(b, a, q)?))
}

/// Returns the logit `ln(x / (1 - x))` of the `x` at which `I_x(a, b) = p`, for 0 < p < 1 and checked shapes.
pub(super) fn beta_quantile_logit(a: f64, b: f64, p: f64) -> Result<f64, StatsError> {
    if p <= 0.5 {
        lower_tail_logit(a, b, p.ln())
    } else {
        Ok(-lower_tail_logit(b, a, (-p).ln_1p())?)
    }
}

fn lower_tail_logit(a: f64, b: f64, ln_p: f64) -> Result<f64, StatsError> {
    const ROUNDS: u32 = 200;
    let mut logit = first_guess(a, b, ln_p);
    let mut from_left = false;
    for _ in 0..ROUNDS {
        let point = Point::at_logit(logit);
        let (ln_tail, _) = ln_tails_at(a, b, &point);
        // The slope of ln I on this scale is x^a (1 - x)^b / B(a, b) / I, which lies between 0 and a.
        let slope = (ln_kernel(a, b, &point) - ln_tail).exp();
        let miss = ln_p - ln_tail;
        let step = if slope > 0.0 { miss / slope } else { f64::NAN };
        if step.is_nan() {
            // So far right that the tail is 1 to the last digit: back to the middle, where the slope is not 0.
            logit = f64::midpoint(logit.min(700.0), (a / b).ln());
            continue;
        }
        logit += step;
        let converged = step.abs() <= 4.0 * f64::EPSILON * logit.abs().max(1.0);
        // Left of the root every step goes right; one that does not is rounding.
        if converged || (from_left && step <= 0.0) {
            return Ok(logit);
        }
        from_left = miss > 0.0;
    }
    Err(StatsError::NoConvergence {
        what: "a quantile of a Beta distribution",
        rounds: ROUNDS,
    })
}

/// Returns where the search starts: a normal on the logit scale, or the power law of the tail for a shape below 1.
fn first_guess(a: f64, b: f64, ln_p: f64) -> f64 {
    let power = (ln_p + a.ln() + ln_beta_unchecked(a, b)) / a;
    if a.min(b) < 1.0 {
        return power.min(0.0);
    }
    let z = -(-2.0 * ln_p).sqrt();
    ((a / b).ln() + z * (1.0 / a + 1.0 / b).sqrt()).max(power)
}

/// A point of the unit interval with what rounding would lose: its complement and both logarithms.
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    ln_x: f64,
    ln_y: f64,
}

impl Point {
    pub(super) fn at(x: f64) -> Self {
        Self {
            x,
            y: 1.0 - x,
            ln_x: x.ln(),
            ln_y: (-x).ln_1p(),
        }
    }

    /// Makes the point from two parts that sum to 1, each exact.
    pub(super) fn of_parts(x: f64, y: f64) -> Self {
        let ln = |part: f64, rest: f64| {
            if part < 0.5 { part.ln() } else { (-rest).ln_1p() }
        };
        Self {
            x,
            y,
            ln_x: ln(x, y),
            ln_y: ln(y, x),
        }
    }

    fn at_logit(logit: f64) -> Self {
        let tail = (-logit.abs()).exp();
        let (small, large) = (tail / (1.0 + tail), 1.0 / (1.0 + tail));
        let (ln_small, ln_large) = (-logit.abs() - tail.ln_1p(), -tail.ln_1p());
        if logit < 0.0 {
            Self {
                x: small,
                y: large,
                ln_x: ln_small,
                ln_y: ln_large,
            }
        } else {
            Self {
                x: large,
                y: small,
                ln_x: ln_large,
                ln_y: ln_small,
            }
        }
    }

    fn mirrored(&self) -> Self {
        Self {
            x: self.y,
            y: self.x,
            ln_x: self.ln_y,
            ln_y: self.ln_x,
        }
    }
}

pub(super) fn logistic(logit: f64) -> f64 {
    if logit < 0.0 {
        let tail = logit.exp();
        tail / (1.0 + tail)
    } else {
        1.0 / (1.0 + (-logit).exp())
    }
}

fn ln_tails(a: f64, b: f64, x: f64) -> Result<(f64, f64), StatsError> {
    shapes(a, b)?;
    unit("the argument of a Beta distribution", x)?;
    Ok(if x <= 0.0 {
        (f64::NEG_INFINITY, 0.0)
    } else if x >= 1.0 {
        (0.0, f64::NEG_INFINITY)
    } else {
        ln_tails_at(a, b, &Point::at(x))
    })
}

/// Returns `ln I` and `ln(1 - I)`, for checked shapes and a point strictly inside.
pub(super) fn ln_tails_at(a: f64, b: f64, point: &Point) -> (f64, f64) {
    let (below, above) = if point.x <= 0.9 && b * point.x <= 1.0 {
        // A power series whose terms shrink at once; it keeps the digits of a tail that the fraction finds as a difference.
        let below = a * point.ln_x - a.ln() - ln_beta_unchecked(a, b) + power_series(a, b, point.x).ln();
        (below, None)
    } else if point.y <= 0.9 && a * point.y <= 1.0 {
        let above = b * point.ln_y - b.ln() - ln_beta_unchecked(b, a) + power_series(b, a, point.y).ln();
        (0.0, Some(above))
    } else if point.x < (a + 1.0) / (a + b + 2.0) {
        let below = ln_kernel(a, b, point) - a.ln() + continued_fraction(a, b, point).ln();
        (below, None)
    } else {
        let mirrored = point.mirrored();
        let above = ln_kernel(b, a, &mirrored) - b.ln() + continued_fraction(b, a, &mirrored).ln();
        (0.0, Some(above))
    };
    match above {
        None => (below.min(0.0), ln_complement(below)),
        Some(above) => (ln_complement(above), above.min(0.0)),
    }
}

/// Returns `ln(1 - e^t)` for `t ≤ 0`; M. Mächler, "Accurately computing log(1 - exp(-|a|))" (2012).
pub(super) fn ln_complement(t: f64) -> f64 {
    if t >= 0.0 {
        f64::NEG_INFINITY
    } else if t > -std::f64::consts::LN_2 {
        (-t.exp_m1()).ln()
    } else {
        (-t.exp()).ln_1p()
    }
}

fn ln_kernel(a: f64, b: f64, point: &Point) -> f64 {
    if point.x < f64::MIN_POSITIVE || point.y < f64::MIN_POSITIVE || a.min(b) < 1e-3 {
        return a * point.ln_x + b * point.ln_y - ln_beta_unchecked(a, b);
    }
    let n = a + b;
    0.5 * (a / n * b / (2.0 * PI)).ln() + stirling_remainder(n)
        - stirling_remainder(a)
        - stirling_remainder(b)
        - deviance(a, n * point.x)
        - deviance(b, n * point.y)
}

pub(super) fn ln_beta_unchecked(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if large < 15.0 {
        return libm::lgamma(small) + libm::lgamma(large) - libm::lgamma(small + large);
    }
    let n = small + large;
    let from_large = -large * (small / large).ln_1p() + stirling_remainder(large) - stirling_remainder(n);
    if small < 15.0 {
        // Γ(large) / Γ(n) by Stirling; Γ(small) as it is.
        return libm::lgamma(small) - small * n.ln() + small + from_large + 0.5 * (small / large).ln_1p();
    }
    0.5 * (2.0 * PI * (n / large) / small).ln()
        + small * (small / n).ln()
        + from_large
        + stirling_remainder(small)
}

/// Returns `ln Γ(x) - (x - ½) ln x + x - ½ ln 2π`: what Stirling's formula leaves.
fn stirling_remainder(x: f64) -> f64 {
    // Half of ln 2π.
    const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;
    if x < 15.0 {
        return libm::lgamma(x) - (x - 0.5) * x.ln() + x - HALF_LN_TAU;
    }
    // 1/12x - 1/360x³ + 1/1260x⁵ - 1/1680x⁷ + 1/1188x⁹: below 10⁻¹⁶ from 15 on.
    let inverse = 1.0 / x;
    let square = inverse * inverse;
    inverse
        * (1.0 / 12.0
            - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))))
}

/// Returns `k ln(k/m) + m - k` without cancellation where `k` is near `m`.
fn deviance(k: f64, m: f64) -> f64 {
    let difference = k - m;
    if difference.abs() >= 0.1 * (k + m) {
        return k * (k / m).ln() - difference;
    }
    let v = difference / (k + m);
    let mut sum = difference * v;
    let mut term = 2.0 * k * v;
    let square = v * v;
    let mut odd = 1.0;
    loop {
        term *= square;
        odd += 2.0;
        let next = sum + term / odd;
        if next.to_bits() == sum.to_bits() {
            return next;
        }
        sum = next;
    }
}

/// Returns `1 + a Σ_{n≥1} (1-b)(2-b)...(n-b) xⁿ / (n! (a+n))`; `I_x(a, b)` is `x^a / (a B(a, b))` times it.
fn power_series(a: f64, b: f64, x: f64) -> f64 {
    let (mut sum, mut factor, mut n) = (1.0, a, 0.0);
    loop {
        n += 1.0;
        factor *= (n - b) / n * x;
        let term = factor / (a + n);
        sum += term;
        if term.abs() <= f64::EPSILON * 0.25 * sum {
            return sum;
        }
    }
}

/// Returns the continued fraction that `x^a (1-x)^b / (a B(a, b))` multiplies to `I_x(a, b)`, by Lentz's method.
///
/// The even part of Abramowitz and Stegun's 26.5.8, whose terms take `x` and `1 - x` apart, so that neither has to be
/// found from the other: A. R. DiDonato and A. H. Morris, "Significant digit computation of the incomplete beta function
/// ratios", ACM Transactions on Mathematical Software 18 (1992), equation 9. Below the mean it takes about the square
/// root of the larger shape in rounds.
#[expect(clippy::many_single_char_names, reason = "the symbols of the paper")]
fn continued_fraction(a: f64, b: f64, point: &Point) -> f64 {
    const TINY: f64 = 1e-300;
    const ROUNDS: u32 = 10_000_000;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (x, y) = (point.x, point.y);
    let offset = a * y - b * x + 1.0;
    // The zeroth term: what the fraction's numerator `a` is divided by.
    let mut fraction = guard(a * offset / (a + 1.0));
    let (mut c, mut d) = (fraction, 0.0);
    for round in 1..ROUNDS {
        let m = f64::from(round);
        let middle = a + 2.0 * m - 1.0;
        let odd = m * (b - m) * x / middle;
        let numerator = (a + m - 1.0) / middle * (a + b + m - 1.0) * x * odd;
        let denominator = m + odd + (a + m) / (middle + 2.0) * (offset + m * (1.0 + y));
        d = 1.0 / guard(denominator + numerator * d);
        c = guard(denominator + numerator / c);
        let factor = c * d;
        fraction *= factor;
        if (factor - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    a / fraction
}

fn positive(what: &'static str, value: f64) -> Result<(), StatsError> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(StatsError::OutOfRange {
            what,
            value,
            least: f64::MIN_POSITIVE,
            most: f64::MAX,
        })
    }
}

pub(super) fn shapes(a: f64, b: f64) -> Result<(), StatsError> {
    for shape in [a, b] {
        if !(1e-300..=1e13).contains(&shape) {
            return Err(StatsError::OutOfRange {
                what: "a shape of a Beta distribution",
                value: shape,
                least: 1e-300,
                most: 1e13,
            });
        }
    }
    Ok(())
}

pub(super) fn unit(what: &'static str, value: f64) -> Result<(), StatsError> {
    if (0.0..=1.0).contains(&value) {
        Ok(())
    } else {
        Err(StatsError::OutOfRange {
            what,
            value,
            least: 0.0,
            most: 1.0,
        })
    }
}
