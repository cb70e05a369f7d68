//! Statistics of counts.
//!
//! Owns: formulas, each with its denominator and source. Must not: choose what is counted (see `fold`).

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

/// The confidence of intervals that people see.
pub const CONFIDENCE: f64 = 0.95;

/// An interval around a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end, from 0 to 1.
    pub lower: f64,
    /// The upper end, from 0 to 1.
    pub upper: f64,
    /// The share of such intervals that hold the true rate.
    pub confidence: f64,
}

/// Returns Wilson's score interval of a rate, two-sided.
///
/// With `p = successes / n` and the normal quantile `z` at `(1 + confidence) / 2`:
/// `(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)`. The denominator is `n`, the number of independent units
/// that have a result. E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
/// Journal of the American Statistical Association 22 (1927), 209-212.
///
/// `None` if nothing was counted (`n` is 0), if there are more successes than units, or if the confidence does
/// not lie strictly between 0 and 1.
///
/// # Examples
/// ```
/// let interval = harness_core::stats::wilson(3, 10, 0.95).unwrap();
/// assert_eq!(format!("{:.3} to {:.3}", interval.lower, interval.upper), "0.108 to 0.603");
/// ```
pub fn wilson(successes: u64, n: u64, confidence: f64) -> Option<Interval> {
    if n == 0 || successes > n || !(confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let (k, count) = (successes as f64, n as f64);
    let z2 = normal_quantile(f64::midpoint(1.0, confidence))?.powi(2);
    let p = k / count;
    let middle = p + z2 / (2.0 * count);
    let half = (z2 * (p * (1.0 - p) / count + z2 / (4.0 * count * count))).sqrt();
    let scale = 1.0 + z2 / count;
    // At no and at all successes one end is exactly 0 or 1; rounding must not say otherwise.
    let lower = if successes == 0 {
        0.0
    } else {
        (middle - half) / scale
    };
    let upper = if successes == n {
        1.0
    } else {
        (middle + half) / scale
    };
    Some(Interval {
        lower: lower.clamp(0.0, 1.0),
        upper: upper.clamp(0.0, 1.0),
        confidence,
    })
}

/// Returns the point below which a standard normal variable lies with probability `p`; `None` unless
/// `0 < p < 1`.
pub fn normal_quantile(p: f64) -> Option<f64> {
    (p > 0.0 && p < 1.0).then(|| Normal::standard().inverse_cdf(p))
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

    /// Probabilities and quantiles from Python's `statistics.NormalDist().inv_cdf`.
    const QUANTILES: [(f64, f64); 7] = [
        (1e-12, -7.034_483_825_301_132),
        (1e-06, -4.753_424_308_822_899),
        (0.025, -1.959_963_984_540_053_8),
        (0.3, -0.524_400_512_708_040_7),
        (0.95, 1.644_853_626_951_471_5),
        (0.975, 1.959_963_984_540_053_6),
        (0.999_5, 3.290_526_731_491_925_5),
    ];

    #[test]
    fn wilson_agrees_with_statsmodels() {
        for (successes, n, lower, upper) in WILSON {
            let found = wilson(successes, n, 0.95).unwrap();
            let off = (found.lower - lower).abs().max((found.upper - upper).abs());
            assert!(off < 1e-8, "{successes} of {n}: {found:?}");
        }
    }

    #[test]
    fn the_ends_are_exact_where_nothing_or_everything_succeeded() {
        for n in [1, 2, 3, 7, 59, 1_000, 123_457, u64::from(u32::MAX)] {
            for confidence in [0.5, 0.9, 0.95, 0.999] {
                let (none, all) = (
                    wilson(0, n, confidence).unwrap(),
                    wilson(n, n, confidence).unwrap(),
                );
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
        let none = [
            wilson(0, 0, 0.95),
            wilson(2, 1, 0.95),
            wilson(0, 1, 0.0),
            wilson(0, 1, 1.0),
            wilson(0, 1, f64::NAN),
        ];
        assert_eq!(none, [None; 5]);
    }

    #[test]
    fn normal_quantiles_are_accurate() {
        for (p, expected) in QUANTILES {
            let found = normal_quantile(p).unwrap();
            assert!(
                (found - expected).abs() < 1e-10,
                "at {p}: {found} instead of {expected}"
            );
        }
        assert_eq!([0.0, 1.0, -1.0, f64::NAN].map(normal_quantile), [None; 4]);
    }
}
