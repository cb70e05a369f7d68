//! Rates that an imperfect labeller measured: Rogan-Gladen, its Bayesian form, prediction-powered inference.
//!
//! Owns: what a labeller's errors do to a rate, and when a correction for them is allowed. Must not: correct with
//! errors that were measured on other failures than those that were labelled.

mod prediction_powered;

use std::fmt;

use serde::Serialize;

pub use prediction_powered::{Judged, PredictionPowered, Reliance, ppi_mean};

use super::quadrature::{BetaTable, beta_nodes, quantile};
use super::{Estimate, Interval, Level, Method, Posterior, Rate, Side, StatsError};
use crate::stats::interval::two_sided;

#[cfg(test)]
mod tests;

/// The least sensitivity + specificity - 1 at which a labeller is corrected for.
pub const LEAST_INFORMEDNESS: f64 = 0.3;
/// Nodes for each of sensitivity and specificity.
const NODES: usize = 128;

/// Below this, what is left of a probability is rounding.
const LEAST_MASS: f64 = 1e-9;

/// Which failures were labelled: errors of a labeller hold only where they were measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Population {
    /// The family of the model that failed.
    pub model_family: String,
    /// The phase in which it did.
    pub phase: String,
}

impl fmt::Display for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model family `{}`, phase `{}`", self.model_family, self.phase)
    }
}

/// A measured share with its denominator. Unlike a [`Rate`] its numerator may be broken, as with averaged labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    value: f64,
    units: u64,
}

impl Share {
    /// Makes a share of `units` units.
    ///
    /// # Errors
    /// It does not lie from 0 to 1, is no number, or there are no units. `what` names it in the message.
    pub fn new(what: &'static str, value: f64, units: u64) -> Result<Self, StatsError> {
        if !(0.0..=1.0).contains(&value) {
            return Err(StatsError::OutOfRange {
                what,
                value,
                least: 0.0,
                most: 1.0,
            });
        }
        StatsError::check_enough(what, "units", 1, units)?;
        Ok(Self { value, units })
    }

    /// Takes the share from counts.
    ///
    /// # Errors
    /// Nothing was counted.
    pub fn of(what: &'static str, rate: &Rate) -> Result<Self, StatsError> {
        let value = if rate.units() == 0 {
            0.0
        } else {
            rate.successes() as f64 / rate.units() as f64
        };
        Self::new(what, value, rate.units())
    }

    /// Returns the share.
    pub fn value(self) -> f64 {
        self.value
    }

    /// Returns the denominator.
    pub fn units(self) -> u64 {
        self.units
    }

    fn variance(self) -> f64 {
        self.value * (1.0 - self.value) / self.units as f64
    }

    /// Returns the shapes of its posterior under a uniform prior.
    fn shapes(self) -> (f64, f64) {
        let units = self.units as f64;
        (self.value * units + 1.0, (1.0 - self.value) * units + 1.0)
    }

    /// Returns the ends of Wilson's interval; the formula takes broken numerators too.
    fn wilson(self, z: f64) -> (f64, f64) {
        let (n, z2) = (self.units as f64, z * z);
        let middle = self.value + z2 / (2.0 * n);
        let half = z * (self.variance() + z2 / (4.0 * n * n)).sqrt();
        let scale = 1.0 + z2 / n;
        ((middle - half) / scale, (middle + half) / scale)
    }

    /// Returns the share after so many more units, of which a given number (maybe broken) are positive.
    fn with(self, positive: f64, more: f64) -> Adjusted {
        let units = self.units as f64 + more;
        Adjusted {
            value: (self.value * self.units as f64 + positive) / units,
            units,
        }
    }
}

/// A share with invented units.
#[derive(Clone, Copy)]
struct Adjusted {
    value: f64,
    units: f64,
}

impl Adjusted {
    fn variance(self) -> f64 {
        self.value * (1.0 - self.value) / self.units
    }
}

/// How a labeller did where people knew the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// On which failures it was measured.
    pub population: Population,
    /// Labelled positive, of those that are positive.
    pub sensitivity: Share,
    /// Labelled negative, of those that are negative.
    pub specificity: Share,
}

impl Calibration {
    /// Accepts the labeller if it is good enough to be corrected for.
    ///
    /// Its informedness `J = sensitivity + specificity - 1` must be at least [`LEAST_INFORMEDNESS`], and the interval of
    /// `J` must lie above 0. That interval is Newcombe's hybrid score interval for the difference of sensitivity and
    /// `1 - specificity`, two independent proportions (Statistics in Medicine 17 (1998), 873-890, method 10).
    ///
    /// # Errors
    /// It is not; the message has `J` and its lower end.
    pub fn accept(self, confidence: Level) -> Result<Labeller, StatsError> {
        let z = two_sided(confidence)?;
        let (se, sp) = (self.sensitivity.value, self.specificity.value);
        let ((se_low, se_high), (sp_low, sp_high)) = (self.sensitivity.wilson(z), self.specificity.wilson(z));
        let informedness = se + sp - 1.0;
        let lower = informedness - (se - se_low).hypot(sp - sp_low);
        let upper = informedness + (se_high - se).hypot(sp_high - sp);
        if informedness < LEAST_INFORMEDNESS || lower <= 0.0 {
            return Err(StatsError::PoorLabeller { informedness, lower });
        }
        let estimate = Estimate {
            value: informedness,
            interval: Interval {
                lower: lower.max(-1.0),
                upper: upper.min(1.0),
                confidence,
                side: Side::Two,
                method: Method::Newcombe,
            },
            units: self.sensitivity.units.saturating_add(self.specificity.units),
        };
        Ok(Labeller {
            calibration: self,
            informedness: estimate,
        })
    }
}

/// A labeller that is good enough to be corrected for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Labeller {
    calibration: Calibration,
    informedness: Estimate,
}

impl Labeller {
    /// Returns how it was calibrated.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    /// Returns sensitivity + specificity - 1.
    pub fn informedness(&self) -> Estimate {
        self.informedness
    }

    fn check(&self, labelled: &Labelled) -> Result<(), StatsError> {
        if self.calibration.population == labelled.population {
            return Ok(());
        }
        Err(StatsError::OtherPopulation {
            calibrated: self.calibration.population.to_string(),
            applied: labelled.population.to_string(),
        })
    }
}

/// What a labeller said about units whose truth is not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Labelled {
    /// Which units.
    pub population: Population,
    /// Labelled positive, of all.
    pub positive: Share,
}

/// A rate corrected for a labeller's errors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Corrected {
    /// The corrected rate within 0 and 1, with the interval by Lang and Reiczigel: what is reported.
    pub estimate: Estimate,
    /// As the formula gives it. Outside 0 to 1 the calibration contradicts the labels.
    pub unclipped: f64,
    /// Of the unclipped value, normal approximation.
    pub standard_error: f64,
    /// The normal interval around the unclipped value, for comparison only: it covers too little for small samples.
    pub normal: Interval,
    /// Whether the unclipped value is no rate at all: look for a changed population before believing anything.
    pub contradiction: bool,
}

/// Returns the true rate behind the rate that a labeller found.
///
/// `theta = (p + sp - 1) / (se + sp - 1)` with the labelled rate `p` of `n` units, the sensitivity `se` of `m1` positive
/// and the specificity `sp` of `m0` negative calibration units; its variance is
/// `(p (1 - p) / n + theta² se (1 - se) / m1 + (1 - theta)² sp (1 - sp) / m0) / (se + sp - 1)²`. The interval of the
/// estimate adds `z²/2` of `z²` units to `p` and one of two to `se` and `sp`, puts those into the formulas, and moves
/// the middle by `2 z² (theta se (1 - se) / m1 - (1 - theta) sp (1 - sp) / m0)`. Valid if calibration and labelled units
/// come from one population, and calibration was not chosen by the label. W. J. Rogan, B. Gladen, American Journal of
/// Epidemiology 107 (1978), 71-76; Z. Lang, J. Reiczigel, Preventive Veterinary Medicine 113 (2014), 13-22; for judges
/// C. Lee et al., arXiv:2511.21140 (2025).
///
/// # Errors
/// The labeller was calibrated on another population.
pub fn rogan_gladen(
    labelled: &Labelled,
    labeller: &Labeller,
    confidence: Level,
) -> Result<Corrected, StatsError> {
    labeller.check(labelled)?;
    let z = two_sided(confidence)?;
    let (p, se, sp) = (
        labelled.positive,
        labeller.calibration.sensitivity,
        labeller.calibration.specificity,
    );
    let theta = solved(p.value, se.value, sp.value);
    let variance = [p.variance(), se.variance(), sp.variance()];
    let standard_error = spread(theta, variance, se.value + sp.value - 1.0);
    let two_sided = |middle: f64, half: f64, method: Method| Interval {
        lower: middle - half,
        upper: middle + half,
        confidence,
        side: Side::Two,
        method,
    };
    let z2 = z * z;
    let (p, se, sp) = (p.with(z2 / 2.0, z2), se.with(1.0, 2.0), sp.with(1.0, 2.0));
    let adjusted = solved(p.value, se.value, sp.value);
    let move_by = 2.0 * z2 * (adjusted * se.variance() - (1.0 - adjusted) * sp.variance());
    let variance = [p.variance(), se.variance(), sp.variance()];
    let half = z * spread(adjusted, variance, se.value + sp.value - 1.0);
    let interval = two_sided(adjusted + move_by, half, Method::LangReiczigel);
    Ok(Corrected {
        estimate: Estimate {
            value: theta.clamp(0.0, 1.0),
            interval: Interval {
                lower: interval.lower.clamp(0.0, 1.0),
                upper: interval.upper.clamp(0.0, 1.0),
                ..interval
            },
            units: labelled.positive.units,
        },
        unclipped: theta,
        standard_error,
        normal: two_sided(theta, z * standard_error, Method::RoganGladen),
        contradiction: !(0.0..=1.0).contains(&theta),
    })
}

fn solved(p: f64, se: f64, sp: f64) -> f64 {
    (p + sp - 1.0) / (se + sp - 1.0)
}

/// Returns the standard error of a corrected rate from the variances of labelled rate, sensitivity and specificity.
fn spread(theta: f64, [p, se, sp]: [f64; 3], informedness: f64) -> f64 {
    let off = 1.0 - theta;
    (p + theta * theta * se + off * off * sp).sqrt() / informedness
}

/// Returns the posterior of the true rate behind the rate that a labeller found, with uniform priors.
///
/// Rate, sensitivity and specificity have uniform priors; `n p ~ Binomial(n, theta se + (1 - theta) (1 - sp))`, and the
/// calibration counts are binomial. For given `se` and `sp` the integral over `theta` is a difference of incomplete beta
/// functions; the rest is Gauss-Legendre quadrature over the Beta posteriors of `se` and `sp`, 128 nodes each. The
/// quantiles are good to about 1e-4, or a hundredth of the posterior's width if `n` is far beyond the calibration. It never
/// leaves 0 to 1 and is honest about small calibrations; valid as [`rogan_gladen`] is. Same model as P. J. Diggle,
/// "Estimating prevalence using an imperfect test", Epidemiology Research International (2011), 608719.
///
/// # Errors
/// The labeller was calibrated on another population.
pub fn rogan_gladen_posterior(
    labelled: &Labelled,
    labeller: &Labeller,
    confidence: Level,
) -> Result<Posterior, StatsError> {
    labeller.check(labelled)?;
    let (a, b) = labelled.positive.shapes();
    let table = BetaTable::new(a, b)?;
    let raised = BetaTable::new(a + 1.0, b)?;
    let nodes = |share: Share| beta_nodes(share.shapes().0, share.shapes().1, NODES);
    let sensitivities = nodes(labeller.calibration.sensitivity)?;
    let specificities = nodes(labeller.calibration.specificity)?;
    let pairs = || {
        sensitivities
            .iter()
            .flat_map(|se| specificities.iter().map(move |sp| (se.0, sp.0, se.1 * sp.1)))
    };
    // The probability of a rate up to `theta`, not yet divided by that of any rate.
    let mass = |theta: f64| {
        let each = pairs().map(|(se, sp, weight)| {
            let informedness = se + sp - 1.0;
            if informedness.abs() < 1e-9 {
                return 0.0;
            }
            let most = 1.0 - sp + theta * informedness;
            weight * (table.below(most) - table.below(1.0 - sp)) / informedness
        });
        each.sum::<f64>()
    };
    let all = mass(1.0);
    if all.is_nan() || all < LEAST_MASS {
        return Err(StatsError::Undefined {
            what: "the posterior of a corrected rate",
            why: "the labelled rate is impossible under the calibration",
        });
    }
    let moment: f64 = pairs()
        .map(|(se, sp, weight)| {
            let (informedness, least) = (se + sp - 1.0, 1.0 - sp);
            if informedness.abs() < 1e-6 {
                return 0.0;
            }
            let first = a / (a + b) * (raised.below(se) - raised.below(least));
            let rest = least * (table.below(se) - table.below(least));
            weight * (first - rest) / (informedness * informedness)
        })
        .sum();
    let tail = (1.0 - confidence.get()) / 2.0;
    let at = |level: f64| quantile(|theta| mass(theta) / all, level);
    Ok(Posterior {
        mean: moment / all,
        median: at(0.5),
        interval: Interval {
            lower: at(tail),
            upper: at(1.0 - tail),
            confidence,
            side: Side::Two,
            method: Method::Posterior,
        },
        units: labelled.positive.units,
    })
}
