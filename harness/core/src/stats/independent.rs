//! Comparisons of independent groups: differences of proportions, Fisher, Welch, Bayesian comparison.
//!
//! Owns: two groups that share no sample. Must not: compare over the same samples (see [`paired`](super::paired)).
//!
//! Differences are those of the first group from the second, and `units` of an estimate counts both groups.

use serde::Serialize;

use super::interval::{two_sided, wilson};
use super::special::{
    beta_sf, hypergeometric_cdf, hypergeometric_pmf, hypergeometric_sf, ln_beta_kernel, student_t_quantile,
    student_t_sf,
};
use super::{Credence, Estimate, Interval, Level, Method, PValue, Rate, Side, StatsError};

/// Returns the difference of two rates with Newcombe's hybrid interval: the default.
///
/// With Wilson's intervals `(l₁, u₁)` and `(l₂, u₂)`: `p₁ - p₂ - √((p₁ - l₁)² + (u₂ - p₂)²)` to
/// `p₁ - p₂ + √((u₁ - p₁)² + (p₂ - l₂)²)`. R. G. Newcombe, "Interval estimation for the difference between independent
/// proportions: comparison of eleven methods", Statistics in Medicine 17 (1998), 873-890, method 10.
///
/// # Errors
/// A group is empty.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, Rate, independent::newcombe};
/// let found = newcombe(&Rate::of(17, 50)?, &Rate::of(9, 50)?, Level::P95)?;
/// let ends = found.interval;
/// assert_eq!(format!("{:.2} ({:.3} to {:.3})", found.value, ends.lower, ends.upper), "0.16 (-0.012 to 0.321)");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn newcombe(first: &Rate, second: &Rate, confidence: Level) -> Result<Estimate, StatsError> {
    let one = wilson(first, confidence, Side::Two)?;
    let two = wilson(second, confidence, Side::Two)?;
    let groups = Groups::of(first, second)?;
    let below = (groups.p1 - one.lower).hypot(two.upper - groups.p2);
    let above = (one.upper - groups.p1).hypot(groups.p2 - two.lower);
    let ends = (groups.difference() - below, groups.difference() + above);
    Ok(groups.estimate(ends, confidence, Method::Newcombe))
}

/// Returns the difference of two rates with the interval by Agresti and Caffo.
///
/// Wald's interval after one success and one failure are added to each group; the value is the plain difference. Good
/// for small groups, conservative near 0 and 1. A. Agresti and B. Caffo, "Simple and effective confidence intervals for
/// proportions and differences of proportions result from adding two successes and two failures", The American
/// Statistician 54 (2000), 280-288.
///
/// # Errors
/// A group is empty.
pub fn agresti_caffo(first: &Rate, second: &Rate, confidence: Level) -> Result<Estimate, StatsError> {
    let groups = Groups::of(first, second)?;
    let (m1, m2) = (groups.n1 + 2.0, groups.n2 + 2.0);
    let (q1, q2) = ((groups.k1 + 1.0) / m1, (groups.k2 + 1.0) / m2);
    let z = two_sided(confidence)?;
    let half = z * (q1 * (1.0 - q1) / m1 + q2 * (1.0 - q2) / m2).sqrt();
    let ends = (q1 - q2 - half, q1 - q2 + half);
    Ok(groups.estimate(ends, confidence, Method::AgrestiCaffo))
}

/// Returns the difference of two rates with the score interval by Miettinen and Nurminen.
///
/// It holds every `d` with `|p₁ - p₂ - d| <= z √(v N / (N - 1))`, `v = r₁(1 - r₁)/n₁ + r₂(1 - r₂)/n₂` at the rates that
/// are most likely among those that differ by `d`. The best of the closed ones for unequal groups and rates near 0. O.
/// Miettinen and M. Nurminen, "Comparative analysis of two rates", Statistics in Medicine 4 (1985), 213-226.
///
/// # Errors
/// A group is empty.
pub fn miettinen_nurminen(first: &Rate, second: &Rate, confidence: Level) -> Result<Estimate, StatsError> {
    let groups = Groups::of(first, second)?;
    let z = two_sided(confidence)?;
    let outside = |shift: f64| (groups.difference() - shift).abs() > z * groups.score_error(shift);
    let end = |edge| score_end(groups.difference(), edge, outside);
    Ok(groups.estimate((end(-1.0), end(1.0)), confidence, Method::MiettinenNurminen))
}

/// Returns Fisher's exact test of equal rates, two-sided.
///
/// The probability, given both margins, of all tables that are at most as likely as the one seen (to seven digits). It
/// errs on the safe side. R. A. Fisher, "The logic of inductive inference", Journal of the Royal Statistical Society 98
/// (1935), 39-82.
///
/// # Errors
/// There are over 10¹² units.
pub fn fisher(first: &Rate, second: &Rate) -> Result<PValue, StatsError> {
    let population = first.units().saturating_add(second.units());
    let marked = first.successes().saturating_add(second.successes());
    let (drawn, seen) = (first.units(), first.successes());
    let probability = |k: u64| hypergeometric_pmf(k, population, marked, drawn);
    let limit = probability(seen)? * (1.0 + 1e-7);
    let least = drawn.saturating_sub(population - marked);
    let most = drawn.min(marked);
    let mode = ((drawn as f64 + 1.0) * (marked as f64 + 1.0) / (population as f64 + 2.0)).floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 10¹², not negative"
    )]
    let mode = (mode as u64).clamp(least, most);
    if probability(mode)? <= limit {
        return Ok(fisher_p(1.0));
    }
    // Probabilities rise up to the mode and fall after it: on each side the tables that count are a tail.
    let below = boundary(least, mode, |k| Ok(probability(k)? <= limit))?;
    let above = boundary(0, most - mode, |back| Ok(probability(most - back)? <= limit))?;
    let lower = match below {
        0 => 0.0,
        tables => hypergeometric_cdf(least + tables - 1, population, marked, drawn)?,
    };
    let upper = match above {
        0 => 0.0,
        tables => hypergeometric_sf(most - tables, population, marked, drawn)?,
    };
    Ok(fisher_p((lower + upper).min(1.0)))
}

fn fisher_p(value: f64) -> PValue {
    PValue {
        value: value.max(f64::MIN_POSITIVE),
        test: "Fisher's exact test, two-sided",
    }
}

/// Returns how many of `from..=to` fulfil a condition that holds up to some point and not after it.
fn boundary(from: u64, to: u64, holds: impl Fn(u64) -> Result<bool, StatsError>) -> Result<u64, StatsError> {
    let (mut least, mut most) = (0, to - from + 1);
    while least < most {
        let middle = u64::midpoint(least, most);
        if holds(from + middle)? {
            least = middle + 1;
        } else {
            most = middle;
        }
    }
    Ok(least)
}

/// Welch's comparison of two means.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Welch {
    /// The difference of the means, with its interval by Student's t.
    pub difference: Estimate,
    /// The difference in standard errors.
    pub t: f64,
    /// The degrees of freedom, by Welch and Satterthwaite.
    pub freedom: f64,
    /// The test of equal means, two-sided.
    pub p: PValue,
}

/// Returns Welch's comparison of the means of two groups whose variances may differ.
///
/// With variances `s²` (divisor `n - 1`) and `e = s²/n`: `t = (m₁ - m₂)/√(e₁ + e₂)` with
/// `(e₁ + e₂)² / (e₁²/(n₁ - 1) + e₂²/(n₂ - 1))` degrees of freedom. Values must be independent: one per task. B. L. Welch,
/// "The generalization of Student's problem when several different population variances are involved", Biometrika 34
/// (1947), 28-35.
///
/// # Errors
/// A value is not finite, a group has fewer than two, or neither varies.
pub fn welch(first: &[f64], second: &[f64], confidence: Level) -> Result<Welch, StatsError> {
    let (mean1, error1, freedom1) = moments("the first group", first)?;
    let (mean2, error2, freedom2) = moments("the second group", second)?;
    let error = error1 + error2;
    if error <= 0.0 {
        return Err(StatsError::Undefined {
            what: "Welch's test",
            why: "no value differs from its group's mean",
        });
    }
    let freedom = error.powi(2) / (error1.powi(2) / freedom1 + error2.powi(2) / freedom2);
    let difference = mean1 - mean2;
    let t = difference / error.sqrt();
    let half = student_t_quantile(f64::midpoint(1.0, confidence.get()), freedom)? * error.sqrt();
    Ok(Welch {
        difference: Estimate {
            value: difference,
            interval: Interval {
                lower: difference - half,
                upper: difference + half,
                confidence,
                side: Side::Two,
                method: Method::Welch,
            },
            units: (first.len() + second.len()) as u64,
        },
        t,
        freedom,
        p: PValue {
            value: (2.0 * student_t_sf(t.abs(), freedom)?).clamp(f64::MIN_POSITIVE, 1.0),
            test: "Welch's t test, two-sided",
        },
    })
}

/// Returns mean, squared standard error and degrees of freedom.
fn moments(what: &'static str, values: &[f64]) -> Result<(f64, f64, f64), StatsError> {
    StatsError::check_finite(what, values)?;
    StatsError::check_enough("Welch's test", "values in each group", 2, values.len() as u64)?;
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Ok((mean, squares / (n - 1.0) / n, n - 1.0))
}

/// Returns the probability that the first rate is the higher one, with uniform priors on both.
///
/// `∫ f(x) P(B < x) dx` over the posteriors `A ~ Beta(k₁ + 1, n₁ - k₁ + 1)`, density `f`, and `B` likewise. By the
/// trapezoidal rule over `ln(x / (1 - x))`, which converges exponentially for such densities; twelve digits. Rates are
/// taken as independent; over the same samples use [`paired`](super::paired).
///
/// # Errors
/// A posterior can't be computed, for over 10¹³ units.
pub fn probability_higher(first: &Rate, second: &Rate) -> Result<Credence, StatsError> {
    let posterior = |rate: &Rate| (rate.successes() as f64 + 1.0, rate.failures() as f64 + 1.0);
    let (one, two) = (posterior(first), posterior(second));
    let spread = |(a, b): (f64, f64)| 1.0 / a + 1.0 / b;
    // Over the narrower of the two the other's distribution is smooth.
    let probability = if spread(one) <= spread(two) {
        1.0 - mean_of_upper_tail(one, two)?
    } else {
        mean_of_upper_tail(two, one)?
    };
    Ok(Credence {
        probability: probability.clamp(0.0, 1.0),
        claim: "the first rate is the higher one",
        prior: "uniform on both rates",
    })
}

/// Returns the mean of `P(other > x)` over `x` from the Beta distribution `over`.
fn mean_of_upper_tail((a, b): (f64, f64), other: (f64, f64)) -> Result<f64, StatsError> {
    let (mode, step) = ((a / b).ln(), 0.1 * (1.0 / a + 1.0 / b).sqrt());
    let mut sum = 0.0;
    let mut weights = 0.0;
    for direction in [-1.0, 1.0] {
        let mut steps = if direction < 0.0 { 0.0 } else { 1.0 };
        loop {
            let x = 1.0 / (1.0 + (-(mode + direction * steps * step)).exp());
            let weight = ln_beta_kernel(a, b, x)?.exp() * step;
            weights += weight;
            sum += weight * beta_sf(other.0, other.1, x)?;
            if weight <= 1e-18 * weights {
                break;
            }
            steps += 1.0;
        }
    }
    // The weights sum to 1 up to rounding, which at shapes of 10⁹ is more than the rule's error.
    Ok(sum / weights)
}

/// Returns the end of a score interval towards `edge`: the last value from `inside` on that is not outside.
pub(super) fn score_end(inside: f64, edge: f64, outside: impl Fn(f64) -> bool) -> f64 {
    if !outside(edge) {
        return edge;
    }
    let (mut inside, mut beyond) = (inside, edge);
    for _ in 0..60 {
        let middle = f64::midpoint(inside, beyond);
        if outside(middle) {
            beyond = middle;
        } else {
            inside = middle;
        }
    }
    f64::midpoint(inside, beyond)
}

/// Two rates whose denominators are not 0.
struct Groups {
    k1: f64,
    n1: f64,
    p1: f64,
    k2: f64,
    n2: f64,
    p2: f64,
    units: u64,
}

impl Groups {
    fn of(first: &Rate, second: &Rate) -> Result<Self, StatsError> {
        if first.units() == 0 || second.units() == 0 {
            return Err(StatsError::TooFew {
                what: "a difference of rates",
                unit: "units in each group",
                needed: 1,
                found: 0,
            });
        }
        let (k1, n1) = (first.successes() as f64, first.units() as f64);
        let (k2, n2) = (second.successes() as f64, second.units() as f64);
        Ok(Self {
            k1,
            n1,
            p1: k1 / n1,
            k2,
            n2,
            p2: k2 / n2,
            units: first.units().saturating_add(second.units()),
        })
    }

    fn difference(&self) -> f64 {
        self.p1 - self.p2
    }

    fn estimate(&self, (lower, upper): (f64, f64), confidence: Level, method: Method) -> Estimate {
        Estimate {
            value: self.difference(),
            interval: Interval {
                lower: lower.clamp(-1.0, 1.0),
                upper: upper.clamp(-1.0, 1.0),
                confidence,
                side: Side::Two,
                method,
            },
            units: self.units,
        }
    }

    /// Returns Miettinen and Nurminen's standard error of the difference if the true one is `shift`.
    fn score_error(&self, shift: f64) -> f64 {
        let all = self.n1 + self.n2;
        let second = self.likeliest(shift);
        let first = second + shift;
        let variance = first * (1.0 - first) / self.n1 + second * (1.0 - second) / self.n2;
        (variance.max(0.0) * all / (all - 1.0)).sqrt()
    }

    /// Returns the most likely second rate if the first is `shift` higher.
    ///
    /// The slope of the log likelihood falls throughout, so halving finds its zero where the closed form of the cubic
    /// would lose digits.
    fn likeliest(&self, shift: f64) -> f64 {
        let part = |count: f64, share: f64| if count > 0.0 { count / share } else { 0.0 };
        let slope = |second: f64| {
            let first = second + shift;
            part(self.k1, first) - part(self.n1 - self.k1, 1.0 - first) + part(self.k2, second)
                - part(self.n2 - self.k2, 1.0 - second)
        };
        let (mut least, mut most) = ((-shift).max(0.0), (1.0 - shift).min(1.0));
        for _ in 0..60 {
            let middle = f64::midpoint(least, most);
            if slope(middle) > 0.0 {
                least = middle;
            } else {
                most = middle;
            }
        }
        f64::midpoint(least, most)
    }
}

#[cfg(test)]
mod tests;
