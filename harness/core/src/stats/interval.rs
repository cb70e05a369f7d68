//! Intervals for a rate: Wilson, Clopper-Pearson, Jeffreys, Agresti-Coull, Wald; what no success rules out.
//!
//! Owns: one rate, one interval. Must not: know clusters (see [`overdispersion`](super::overdispersion)).
//!
//! All of them take units that are independent and equally likely to succeed. Attempts at the same task are not: give
//! them one unit per task, or use [`headline`](super::headline).

use serde::Serialize;

use super::special::{beta_quantile, beta_upper_quantile, ln_beta_kernel, normal_quantile};
use super::{Interval, Level, Method, Posterior, Rate, Side, StatsError};

/// Returns Wilson's score interval of a rate: what is displayed.
///
/// With `p = successes / n` and the normal quantile `z` at `(1 + confidence) / 2` (one-sided: at `confidence`):
/// `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`. The denominator is `n`, the number of independent units
/// that have a result. Its mean coverage is near the nominal one, but for some rates it lies below: no guarantee.
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// Journal of the American Statistical Association 22 (1927), 209-212.
///
/// # Errors
/// Nothing was counted.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, Rate, Side, interval::wilson};
/// let interval = wilson(&Rate::of(3, 10)?, Level::P95, Side::Two)?;
/// assert_eq!(format!("{:.3} to {:.3}", interval.lower, interval.upper), "0.108 to 0.603");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn wilson(rate: &Rate, confidence: Level, side: Side) -> Result<Interval, StatsError> {
    let counted = Counted::of(rate)?;
    let z = z(confidence, side)?;
    let (count, p) = (counted.units, counted.share());
    let z2 = z * z;
    let middle = p + z2 / (2.0 * count);
    // A one-sided confidence below one half turns the direction round.
    let half = z.signum() * (z2 * (p * (1.0 - p) / count + z2 / (4.0 * count * count))).sqrt();
    let scale = 1.0 + z2 / count;
    let ends = ((middle - half) / scale, (middle + half) / scale);
    Ok(interval(counted.pinned(ends), confidence, side, Method::Wilson))
}

/// Returns Wilson's interval with a continuity correction, as R's `prop.test` does.
///
/// With `k` successes, `f = n - k` failures and `z` as for [`wilson`]: lower end
/// `(2k + z² - 1 - z √(z² - 2 - 1/n + 4 (k/n)(f + 1))) / 2(n + z²)`, upper end the mirror image. Its coverage is seldom
/// below the nominal one; it is wider than needed. R. G. Newcombe, "Two-sided confidence intervals for the single
/// proportion: comparison of seven methods", Statistics in Medicine 17 (1998), 857-872, method 4.
///
/// # Errors
/// Nothing was counted, or a one-sided confidence lies below one half.
pub fn wilson_continuity(rate: &Rate, confidence: Level, side: Side) -> Result<Interval, StatsError> {
    let counted = Counted::of(rate)?;
    let z = z(confidence, side)?;
    if z < 0.0 {
        return Err(StatsError::OutOfRange {
            what: "the confidence of a one-sided interval with continuity correction",
            value: confidence.get(),
            least: 0.5,
            most: 1.0,
        });
    }
    let n = counted.units;
    let lower = |k: f64| {
        let root = (z * z - 2.0 - 1.0 / n + 4.0 * (k / n) * (n - k + 1.0)).max(0.0);
        (2.0 * k + z * z - 1.0 - z * root.sqrt()) / (2.0 * (n + z * z))
    };
    let ends = (lower(counted.successes), 1.0 - lower(counted.failures()));
    let ends = counted.pinned(ends);
    Ok(interval(ends, confidence, side, Method::WilsonContinuity))
}

/// Returns the exact interval by Clopper and Pearson: what claims rest on.
///
/// With `k` of `n` and error `e` (half of `1 - confidence` on each side, or all of it on one): the lower end is the `e`
/// quantile of Beta(k, n - k + 1), the upper one the `1 - e` quantile of Beta(k + 1, n - k). The coverage is never
/// below the nominal one, whatever the rate; mostly it is above. With `k` = 0 and one side the upper end is
/// `1 - e^(1/n)`, which also holds for the mean of unequal rates of independent units. C. J. Clopper and E. S. Pearson,
/// "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26 (1934), 404-413.
///
/// # Errors
/// Nothing was counted.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, Rate, Side, interval::clopper_pearson};
/// let at_most = clopper_pearson(&Rate::of(0, 59)?, Level::P95, Side::Upper)?;
/// assert_eq!(format!("{:.4}", at_most.upper), "0.0495");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn clopper_pearson(rate: &Rate, confidence: Level, side: Side) -> Result<Interval, StatsError> {
    let counted = Counted::of(rate)?;
    let error = tail(confidence, side);
    let (k, n, failures) = (counted.successes, counted.units, counted.failures());
    let lower = if failures <= 0.0 {
        (error.ln() / n).exp()
    } else if k <= 0.0 {
        0.0
    } else {
        beta_quantile(k, failures + 1.0, error)?
    };
    let upper = if k <= 0.0 {
        -(error.ln() / n).exp_m1()
    } else if failures <= 0.0 {
        1.0
    } else {
        beta_upper_quantile(k + 1.0, failures, error)?
    };
    let ends = (lower, upper);
    Ok(interval(ends, confidence, side, Method::ClopperPearson))
}

/// Returns the equal-tailed interval of the posterior with Jeffreys' prior, Beta(1/2, 1/2).
///
/// The `e` and `1 - e` quantiles of Beta(k + 1/2, n - k + 1/2), as they are: at `k` = 0 the lower end of a two-sided
/// interval is above 0, where L. D. Brown, T. T. Cai and A. DasGupta, "Interval estimation for a binomial proportion",
/// Statistical Science 16 (2001), 101-133, set it to 0. Its coverage is near the nominal one on average, not always.
///
/// # Errors
/// Nothing was counted.
pub fn jeffreys(rate: &Rate, confidence: Level, side: Side) -> Result<Interval, StatsError> {
    equal_tails(rate, confidence, side, (0.5, Method::Jeffreys))
}

/// Returns the equal-tailed interval of the posterior with a uniform prior, Beta(1, 1).
///
/// The `e` and `1 - e` quantiles of Beta(k + 1, n - k + 1); T. Bayes, "An essay towards solving a problem in the
/// doctrine of chances" (1763). It pulls towards one half: with no success it says less than the exact bound.
///
/// # Errors
/// Nothing was counted.
pub fn uniform(rate: &Rate, confidence: Level, side: Side) -> Result<Interval, StatsError> {
    equal_tails(rate, confidence, side, (1.0, Method::Uniform))
}

/// Returns mean, median and equal-tailed interval of the posterior with a uniform prior, Beta(k + 1, n - k + 1).
///
/// # Errors
/// Nothing was counted.
pub fn uniform_posterior(rate: &Rate, confidence: Level) -> Result<Posterior, StatsError> {
    let interval = uniform(rate, confidence, Side::Two)?;
    let counted = Counted::of(rate)?;
    let (a, b) = (counted.successes + 1.0, counted.failures() + 1.0);
    Ok(Posterior {
        mean: a / (a + b),
        median: beta_quantile(a, b, 0.5)?,
        interval,
        units: rate.units(),
    })
}

/// Returns the shortest interval that holds the wanted part of the posterior with a uniform prior.
///
/// The densities of Beta(k + 1, n - k + 1) at its ends are equal; at no and at all successes one end is 0 or 1. It has
/// two sides but not equal tails. G. E. P. Box and G. C. Tiao, "Bayesian inference in statistical analysis" (1973), 2.8.
///
/// # Errors
/// Nothing was counted.
pub fn uniform_highest_density(rate: &Rate, confidence: Level) -> Result<Interval, StatsError> {
    let counted = Counted::of(rate)?;
    let (a, b) = (counted.successes + 1.0, counted.failures() + 1.0);
    let error = 1.0 - confidence.get();
    let ends = if rate.successes() == 0 {
        (0.0, beta_upper_quantile(a, b, error)?)
    } else if rate.failures() == 0 {
        (beta_quantile(a, b, error)?, 1.0)
    } else {
        let ends = |below: f64| -> Result<(f64, f64), StatsError> {
            let upper = beta_upper_quantile(a, b, error - below)?;
            Ok((beta_quantile(a, b, below)?, upper))
        };
        // ln density, from the kernel x^a (1 - x)^b.
        let density =
            |x: f64| -> Result<f64, StatsError> { Ok(ln_beta_kernel(a, b, x)? - x.ln() - (-x).ln_1p()) };
        // The density at the lower end grows with the part below it, and that at the upper end shrinks.
        let (mut least, mut most) = (0.0, error);
        for _ in 0..60 {
            let below = f64::midpoint(least, most);
            let (lower, upper) = ends(below)?;
            if density(lower)? < density(upper)? {
                least = below;
            } else {
                most = below;
            }
        }
        ends(f64::midpoint(least, most))?
    };
    Ok(interval(ends, confidence, Side::Two, Method::HighestDensity))
}

/// Returns the interval by Agresti and Coull: Wald's around Wilson's middle.
///
/// With `ñ = n + z²` and `p̃ = (k + z²/2) / ñ`: `p̃ ± z √(p̃(1 - p̃)/ñ)`, cut at 0 and 1. Never shorter than Wilson's.
/// A. Agresti and B. A. Coull, "Approximate is better than exact for interval estimation of binomial proportions",
/// The American Statistician 52 (1998), 119-126.
///
/// # Errors
/// Nothing was counted.
pub fn agresti_coull(rate: &Rate, confidence: Level, side: Side) -> Result<Interval, StatsError> {
    let counted = Counted::of(rate)?;
    let z = z(confidence, side)?;
    let n = counted.units + z * z;
    let p = (counted.successes + z * z / 2.0) / n;
    let half = z * (p * (1.0 - p) / n).sqrt();
    Ok(interval(
        (p - half, p + half),
        confidence,
        side,
        Method::AgrestiCoull,
    ))
}

/// Returns Wald's interval, `p ± z √(p(1 - p)/n)`: for comparison with what others print, not for reports.
///
/// It has no width at no and at all successes, and its coverage is below the nominal one for small `n`.
///
/// # Errors
/// Nothing was counted.
pub fn wald(rate: &Rate, confidence: Level, side: Side) -> Result<Interval, StatsError> {
    let counted = Counted::of(rate)?;
    let p = counted.share();
    let half = z(confidence, side)? * (p * (1.0 - p) / counted.units).sqrt();
    Ok(interval((p - half, p + half), confidence, side, Method::Wald))
}

/// Returns the rule of three: with no success in `units`, the rate is at most `3 / units` with 95 % confidence.
///
/// The approximation `-ln 0.05 ≈ 3` of [`clopper_pearson`]'s bound, which it exceeds slightly. J. A. Hanley and
/// A. Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983), 1743-1745.
///
/// # Errors
/// Nothing was counted.
pub fn rule_of_three(units: u64) -> Result<Interval, StatsError> {
    let counted = Counted::of(&Rate::of(0, units)?)?;
    let ends = (0.0, 3.0 / counted.units);
    Ok(interval(ends, Level::P95, Side::Upper, Method::RuleOfThree))
}

/// How many units without a success rule out a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RuleOut {
    /// The least number of independent units that, all without success, rule the rate out.
    pub units: u64,
    /// The rate that is ruled out, and every one above it.
    pub rate: Level,
    /// The probability of ruling it out wrongly, at most.
    pub alpha: Level,
}

/// Returns how many units, all without success, rule out `rate`: the least `n` with `(1 - rate)^n <= alpha`.
///
/// `⌈ln alpha / ln(1 - rate)⌉`. Valid for one look at a number of units that was fixed beforehand.
///
/// # Errors
/// The number is beyond 2⁵³.
pub fn units_to_rule_out(rate: Level, alpha: Level) -> Result<RuleOut, StatsError> {
    let exact = alpha.get().ln() / (-rate.get()).ln_1p();
    // A whole number that rounding has moved up by its last digits stays that number.
    let units = (exact * (1.0 - 4.0 * f64::EPSILON)).ceil().max(1.0);
    if units > 9.0e15 {
        return Err(StatsError::OutOfRange {
            what: "the number of units that rules a rate out",
            value: units,
            least: 1.0,
            most: 9.0e15,
        });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number between 1 and 9e15"
    )]
    let units = units as u64;
    Ok(RuleOut { units, rate, alpha })
}

/// Counts of a rate that has a denominator.
#[derive(Clone, Copy)]
struct Counted {
    successes: f64,
    units: f64,
}

impl Counted {
    fn of(rate: &Rate) -> Result<Self, StatsError> {
        StatsError::check_enough("an interval for a rate", "units", 1, rate.units())?;
        Ok(Self {
            successes: rate.successes() as f64,
            units: rate.units() as f64,
        })
    }

    fn failures(self) -> f64 {
        self.units - self.successes
    }

    fn share(self) -> f64 {
        self.successes / self.units
    }

    /// At no and at all successes one end is exactly 0 or 1; rounding must not say otherwise.
    fn pinned(self, (lower, upper): (f64, f64)) -> (f64, f64) {
        (
            if self.successes <= 0.0 { 0.0 } else { lower },
            if self.failures() <= 0.0 { 1.0 } else { upper },
        )
    }
}

fn interval((lower, upper): (f64, f64), confidence: Level, side: Side, method: Method) -> Interval {
    Interval {
        lower: if side == Side::Upper {
            0.0
        } else {
            lower.clamp(0.0, 1.0)
        },
        upper: if side == Side::Lower {
            1.0
        } else {
            upper.clamp(0.0, 1.0)
        },
        confidence,
        side,
        method,
    }
}

/// Returns the error on one side.
fn tail(confidence: Level, side: Side) -> f64 {
    let error = 1.0 - confidence.get();
    match side {
        Side::Two => error / 2.0,
        Side::Lower | Side::Upper => error,
    }
}

/// Returns the normal quantile that leaves the error on one side.
fn z(confidence: Level, side: Side) -> Result<f64, StatsError> {
    match side {
        Side::Two => two_sided(confidence),
        Side::Lower | Side::Upper => normal_quantile(confidence.get()),
    }
}

/// Returns the normal quantile that leaves half of the error on each side.
pub(super) fn two_sided(confidence: Level) -> Result<f64, StatsError> {
    normal_quantile(f64::midpoint(1.0, confidence.get()))
}

fn equal_tails(
    rate: &Rate,
    confidence: Level,
    side: Side,
    (prior, method): (f64, Method),
) -> Result<Interval, StatsError> {
    let counted = Counted::of(rate)?;
    let (a, b) = (counted.successes + prior, counted.failures() + prior);
    let error = tail(confidence, side);
    let ends = (beta_quantile(a, b, error)?, beta_upper_quantile(a, b, error)?);
    Ok(interval(ends, confidence, side, method))
}

#[cfg(test)]
mod tests;
