//! Special functions: the incomplete beta and its inverse, log binomials, tails of distributions, quantiles of the normal and Student's t.
//!
//! Owns: numerics that several methods share, over `statrs` where it is accurate. Must not: know what is estimated.

use statrs::distribution::{ContinuousCDF, Normal};

use super::StatsError;

/// Returns the point below which a standard normal variable lies with probability `p`.
///
/// # Errors
/// `p` does not lie strictly between 0 and 1.
pub fn normal_quantile(p: f64) -> Result<f64, StatsError> {
    if p > 0.0 && p < 1.0 {
        Ok(Normal::standard().inverse_cdf(p))
    } else {
        Err(StatsError::NotALevel {
            what: "the probability of a quantile",
            value: p,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn normal_quantiles_are_accurate() {
        for (p, expected) in QUANTILES {
            let found = normal_quantile(p).unwrap();
            assert!(
                (found - expected).abs() < 1e-10,
                "at {p}: {found} instead of {expected}"
            );
        }
        assert!(
            [0.0, 1.0, -1.0, f64::NAN]
                .into_iter()
                .all(|p| normal_quantile(p).is_err())
        );
    }
}
