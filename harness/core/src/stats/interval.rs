//! Intervals for a rate: Wilson, Clopper-Pearson, Jeffreys, Agresti-Coull, Wald; what no success rules out.
//!
//! Owns: one rate, one interval. Must not: know clusters (see [`overdispersion`](super::overdispersion)).

use super::special::normal_quantile;
use super::{Interval, Level, Method, Rate, Side, StatsError};

/// Returns Wilson's score interval of a rate: what is displayed.
///
/// With `p = successes / n` and the normal quantile `z` at `(1 + confidence) / 2` (one-sided: at `confidence`):
/// `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`. The denominator is `n`, the number of independent units
/// that have a result. E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
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
    let (successes, n) = (rate.successes(), rate.units());
    if n == 0 {
        return Err(StatsError::TooFew {
            what: "an interval for a rate",
            unit: "units",
            needed: 1,
            found: 0,
        });
    }
    let (k, count) = (successes as f64, n as f64);
    let at = match side {
        Side::Two => f64::midpoint(1.0, confidence.get()),
        Side::Lower | Side::Upper => confidence.get(),
    };
    let z = normal_quantile(at)?;
    let z2 = z * z;
    let p = k / count;
    let middle = p + z2 / (2.0 * count);
    // A one-sided confidence below one half turns the direction round.
    let half = z.signum() * (z2 * (p * (1.0 - p) / count + z2 / (4.0 * count * count))).sqrt();
    let scale = 1.0 + z2 / count;
    // At no and at all successes one end is exactly 0 or 1; rounding must not say otherwise.
    let lower = if successes == 0 || side == Side::Upper {
        0.0
    } else {
        (middle - half) / scale
    };
    let upper = if successes == n || side == Side::Lower {
        1.0
    } else {
        (middle + half) / scale
    };
    Ok(Interval {
        lower: lower.clamp(0.0, 1.0),
        upper: upper.clamp(0.0, 1.0),
        confidence,
        side,
        method: Method::Wilson,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Successes, units, lower and upper end, from statsmodels' `proportion_confint(method="wilson")` at 0.95.
    const WILSON: [(u64, u64, f64, f64); 8] = [
        (0, 10, 0.0, 0.277_532_799_9),
        (1, 10, 0.017_876_213_1, 0.404_150_026_8),
        (3, 10, 0.107_791_267_4, 0.603_221_852_5),
        (10, 10, 0.722_467_200_1, 1.0),
        (17, 50, 0.224_369_492_2, 0.478_461_739_5),
        (0, 59, 0.0, 0.061_129_370_53),
        (2, 200, 0.002_746_658_134, 0.035_721_761_72),
        (490, 500, 0.963_579_816_8, 0.989_100_816_4),
    ];

    #[test]
    fn wilson_agrees_with_statsmodels() {
        for (successes, n, lower, upper) in WILSON {
            let found = wilson(&Rate::of(successes, n).unwrap(), Level::P95, Side::Two).unwrap();
            let off = (found.lower - lower).abs().max((found.upper - upper).abs());
            assert!(off < 1e-8, "{successes} of {n}: {found:?}");
        }
    }

    #[test]
    fn the_ends_are_exact_where_nothing_or_everything_succeeded() {
        for n in [1, 2, 3, 7, 59, 1_000, 123_457, u64::from(u32::MAX)] {
            for confidence in [0.5, 0.9, 0.95, 0.999] {
                let of = |successes| {
                    let level = Level::new("confidence", confidence).unwrap();
                    wilson(&Rate::of(successes, n).unwrap(), level, Side::Two).unwrap()
                };
                let (none, all) = (of(0), of(n));
                assert_eq!(none.lower.to_bits(), 0.0_f64.to_bits());
                assert_eq!(all.upper.to_bits(), 1.0_f64.to_bits());
                assert!(
                    (none.upper - (1.0 - all.lower)).abs() < 1e-12,
                    "{n} at {confidence}"
                );
            }
        }
    }

    #[test]
    fn nothing_counted_has_no_interval() {
        let error = wilson(&Rate::of(0, 0).unwrap(), Level::P95, Side::Two).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an interval for a rate needs at least 1 units, found 0"
        );
        assert!(Rate::of(2, 1).is_err());
        assert!(
            [0.0, 1.0, f64::NAN]
                .into_iter()
                .all(|level| Level::new("confidence", level).is_err())
        );
    }
}
