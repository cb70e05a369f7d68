//! Jumps: a checkpoint far above what the earlier ones of its series forecast.
//!
//! Owns: forecast and excess. Must not: let a phase run.

use serde::Serialize;

use crate::stats::{Rate, StatsError};

/// How many standard errors above the forecast are a jump.
const STANDARD_ERRORS: f64 = 3.0;

/// The score of one checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    ln_compute: f64,
    logit: f64,
    variance: f64,
}

impl Observed {
    /// Makes it from the compute that went into the checkpoint (any unit, the same for all) and its success rate.
    ///
    /// On the logit scale `ln((s + 1/2) / (f + 1/2))` with variance `1/(s + 1/2) + 1/(f + 1/2)`, times `design_effect`: by how
    /// much the variance is larger than that of independent units (1 if they are).
    ///
    /// # Errors
    /// The compute is not positive and finite, nothing was counted, or the design effect is not between 1 and 10⁶.
    pub fn new(compute: f64, rate: &Rate, design_effect: f64) -> Result<Self, StatsError> {
        StatsError::check_range(
            "the compute of a checkpoint",
            compute,
            [f64::MIN_POSITIVE, f64::MAX],
        )?;
        StatsError::check_range("a design effect", design_effect, [1.0, 1e6])?;
        StatsError::check_enough("the score of a checkpoint", "units", 1, rate.units())?;
        let (successes, failures) = (rate.successes() as f64 + 0.5, rate.failures() as f64 + 0.5);
        Ok(Self {
            ln_compute: compute.ln(),
            logit: (successes / failures).ln(),
            variance: design_effect * (1.0 / successes + 1.0 / failures),
        })
    }
}

/// How far a checkpoint is above what the earlier ones forecast.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Jump {
    /// The forecast of its success rate.
    pub forecast: f64,
    /// Observed less forecast logit, in standard errors.
    pub excess: f64,
    /// The standard error of that difference, on the logit scale.
    pub standard_error: f64,
    /// Whether the excess is above three.
    pub jumped: bool,
    /// How many earlier checkpoints the forecast rests on.
    pub checkpoints: u64,
}

/// Returns whether a checkpoint lies above the trend of the earlier ones by more than three standard errors.
///
/// Least squares of the logit `yᵢ` on the logarithm of compute `xᵢ` over `m` earlier checkpoints. With residual variance
/// `r = Σ (yᵢ - ŷᵢ)² / (m - 2)`, mean sampling variance `v` of the earlier logits, `S = Σ (xᵢ - x̄)²` and the new
/// checkpoint at `x` with sampling variance `w`, the variance of the difference is
/// `max(r, v) (1/m + (x - x̄)²/S) + max(r - v, 0) + w`: error of the fitted line, scatter of checkpoints beyond sampling,
/// error of the observation. That the line passes through few points by luck can't make it look more certain than the
/// samples allow. A linear trend on this scale is an assumption; beyond the range of the earlier checkpoints the
/// forecast is an extrapolation, and its error grows with the distance. N. Draper and H. Smith, "Applied regression
/// analysis" (1998).
///
/// # Errors
/// There are fewer than three earlier checkpoints, or all have the same compute.
pub fn jump(earlier: &[Observed], now: &Observed) -> Result<Jump, StatsError> {
    const WHAT: &str = "the forecast of a checkpoint";
    let checkpoints = earlier.len() as u64;
    StatsError::check_enough(WHAT, "earlier checkpoints", 3, checkpoints)?;
    let m = checkpoints as f64;
    let mean = |of: fn(&Observed) -> f64| earlier.iter().map(of).sum::<f64>() / m;
    let (x_mean, y_mean) = (mean(|point| point.ln_compute), mean(|point| point.logit));
    let from_mean = |point: &Observed| (point.ln_compute - x_mean, point.logit - y_mean);
    let spread: f64 = earlier.iter().map(|point| from_mean(point).0.powi(2)).sum();
    // Equal computes leave only rounding.
    if spread <= m * (1e-9 * x_mean.abs().max(1.0)).powi(2) {
        return Err(StatsError::Undefined {
            what: WHAT,
            why: "all earlier checkpoints have the same compute",
        });
    }
    let slope = earlier.iter().map(from_mean).map(|(x, y)| x * y).sum::<f64>() / spread;
    let residuals: f64 = earlier
        .iter()
        .map(from_mean)
        .map(|(x, y)| (y - slope * x).powi(2))
        .sum();
    let (residual, sampling) = (residuals / (m - 2.0), mean(|point| point.variance));
    let ahead = now.ln_compute - x_mean;
    let line = residual.max(sampling) * (1.0 / m + ahead * ahead / spread);
    let standard_error = (line + (residual - sampling).max(0.0) + now.variance).sqrt();
    let forecast = y_mean + slope * ahead;
    let excess = (now.logit - forecast) / standard_error;
    Ok(Jump {
        forecast: 1.0 / (1.0 + (-forecast).exp()),
        excess,
        standard_error,
        jumped: excess > STANDARD_ERRORS,
        checkpoints,
    })
}
