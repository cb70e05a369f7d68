//! Success rates beside spurious failures: worst-case bounds, Imbens-Manski, audits, conversion.
//!
//! Owns: what a success rate can be if some failures were not the model's. Must not: label failures, or leave spurious
//! ones out of a rate by default: hard tasks crash more, so leaving them out is not neutral.
//!
//! Void trials are in none of these numbers. For safety claims every spurious failure counts as a success that was
//! missed ([`Conversion::ALL`]).

mod audit;
mod posterior;

use serde::Serialize;

pub use audit::{Audit, AuditedRate, Conversion, audit_interval, audited_rate};
pub use posterior::{SpuriousPosterior, spurious_posterior};

use super::interval::{clopper_pearson, two_sided};
use super::special::{normal_cdf, normal_quantile};
use super::{Estimate, Interval, Level, Method, Rate, Side, StatsError};

#[cfg(test)]
mod tests;

/// With fewer failures than this no statistics are given: they are listed.
pub const LEAST_FAILURES: u64 = 10;

/// Where the labels of failures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelSource {
    /// People labelled every failure, and their labels are trusted.
    PeopleAll,
    /// People labelled a random sample of the failures.
    PeopleAudit,
    /// A judge labelled all runs, people a random part of the same runs.
    JudgeAndPeople,
    /// A judge labelled all; it was calibrated on other runs of the same population.
    JudgeCalibratedHere,
    /// A judge labelled all; it was calibrated on another population.
    JudgeCalibratedElsewhere,
}

/// What is reported about a success rate beside spurious failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// A list of the failures, and the interval of successes plus spurious failures.
    List,
    /// [`spurious_bounds`] and [`imbens_manski`].
    Bounds,
    /// [`audited_rate`], with full and with measured conversion.
    Audited,
    /// [`ppi_mean`](super::misclassification::ppi_mean).
    PredictionPowered,
    /// [`rogan_gladen`](super::misclassification::rogan_gladen).
    RoganGladen,
    /// [`spurious_bounds`] only, with the words that no correction is valid.
    BoundsOnly,
}

/// Returns the headline for a kind of labels and a number of failures.
pub fn correction(source: LabelSource, failures: u64) -> Correction {
    if failures < LEAST_FAILURES {
        return Correction::List;
    }
    match source {
        LabelSource::PeopleAll => Correction::Bounds,
        LabelSource::PeopleAudit => Correction::Audited,
        LabelSource::JudgeAndPeople => Correction::PredictionPowered,
        LabelSource::JudgeCalibratedHere => Correction::RoganGladen,
        LabelSource::JudgeCalibratedElsewhere => Correction::BoundsOnly,
    }
}

/// What the success rate can be when every failure is labelled and labels are right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// Spurious failures count as failures: the least.
    pub as_failures: Estimate,
    /// They are left out, which is the same as converting them at the rate of the others. Nothing if all are spurious.
    pub excluded: Option<Estimate>,
    /// They count as successes: the most.
    pub all_converted: Estimate,
    /// From the lower end of the least to the upper end of the most.
    pub envelope: Interval,
    /// The one-sided upper bound if they count as successes: for claims of "at most".
    pub at_most: Interval,
    /// How many failures are spurious.
    pub spurious: u64,
}

/// Returns bounds of a success rate of which some failures are spurious.
///
/// With `S` successes, `F` failures, `U` of them spurious and `N = S + F`: from `S / N` to `(S + U) / N`, each with
/// Clopper-Pearson's interval; `S / (N - U)` leaves them out. The bounds hold whatever spurious failures would have
/// become. Valid for independent trials and right labels. C. F. Manski, "Partial Identification of Probability
/// Distributions" (2003).
///
/// # Errors
/// There are no trials, or more spurious failures than failures.
pub fn spurious_bounds(rate: &Rate, spurious: u64, confidence: Level) -> Result<Bounds, StatsError> {
    check_spurious(rate, spurious)?;
    let (successes, units) = (rate.successes(), rate.units());
    let exact = |successes: u64, units: u64| -> Result<Estimate, StatsError> {
        let interval = clopper_pearson(&Rate::of(successes, units)?, confidence, Side::Two)?;
        Ok(Estimate {
            value: successes as f64 / units as f64,
            interval,
            units,
        })
    };
    let as_failures = exact(successes, units)?;
    let all_converted = exact(successes + spurious, units)?;
    let excluded = match units - spurious {
        0 => None,
        left => Some(exact(successes, left)?),
    };
    let converted = Rate::of(successes + spurious, units)?;
    Ok(Bounds {
        as_failures,
        excluded,
        all_converted,
        envelope: Interval {
            lower: as_failures.interval.lower,
            upper: all_converted.interval.upper,
            confidence,
            side: Side::Two,
            method: Method::WorstCase,
        },
        at_most: Interval {
            method: Method::WorstCase,
            ..clopper_pearson(&converted, confidence, Side::Upper)?
        },
        spurious,
    })
}

fn check_spurious(rate: &Rate, spurious: u64) -> Result<(), StatsError> {
    StatsError::check_enough(
        "a success rate beside spurious failures",
        "trials",
        1,
        rate.units(),
    )?;
    at_most("spurious failures", spurious, rate.failures())
}

fn at_most(what: &'static str, found: u64, most: u64) -> Result<(), StatsError> {
    if found <= most {
        return Ok(());
    }
    Err(StatsError::Count { what, found, most })
}

/// A rate of which only bounds are known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Identified {
    /// The least that it can be: spurious failures as failures.
    pub least: f64,
    /// The most: spurious failures as successes.
    pub most: f64,
    /// Holds the true rate, wherever between the bounds it lies, with the confidence.
    pub interval: Interval,
    /// The quantile that was used: from about 1.645, where the bounds are far apart, to 1.96 where they meet (at 95 %).
    pub critical: f64,
    /// Trials.
    pub units: u64,
}

/// Returns the interval of a success rate of which some failures are spurious, by Imbens and Manski.
///
/// With `least = S / N`, `most = (S + U) / N`, standard deviations `s = sqrt(p (1 - p))` at both, the width `D` between
/// them and `n` trials: `least - C s_least / sqrt(n)` to `most + C s_most / sqrt(n)`, where `C` solves
/// `Phi(C + sqrt(n) D / max(s)) - Phi(-C) = confidence`. It covers the rate, not the whole range, hence a quantile below
/// the usual. A normal approximation: for hundreds of trials; with few take [`spurious_bounds`], whose envelope is exact.
/// G. W. Imbens, C. F. Manski, "Confidence intervals for partially identified parameters", Econometrica 72 (2004),
/// 1845-1857.
///
/// # Errors
/// There are no trials, more spurious failures than failures, or an end that must say something has no spread (no
/// success even with all spurious failures converted, or no failure at all): the interval would end in a certainty.
pub fn imbens_manski(rate: &Rate, spurious: u64, confidence: Level) -> Result<Identified, StatsError> {
    check_spurious(rate, spurious)?;
    let n = rate.units() as f64;
    let least = rate.successes() as f64 / n;
    let most = (rate.successes() + spurious) as f64 / n;
    if rate.successes() + spurious == 0 || rate.failures() == 0 {
        return Err(StatsError::Undefined {
            what: "the interval by Imbens and Manski",
            why: "at no or all successes its ends have no spread; take the worst-case bounds",
        });
    }
    let sd = |p: f64| (p * (1.0 - p)).sqrt();
    let apart = n.sqrt() * (most - least) / sd(least).max(sd(most));
    let (mut low, mut high) = (
        normal_quantile(confidence.get())?.max(0.0),
        two_sided(confidence)?,
    );
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        let covered = normal_cdf(middle + apart)? - normal_cdf(-middle)?;
        if covered < confidence.get() {
            low = middle;
        } else {
            high = middle;
        }
    }
    let critical = f64::midpoint(low, high);
    Ok(Identified {
        least,
        most,
        interval: Interval {
            lower: (least - critical * sd(least) / n.sqrt()).max(0.0),
            upper: (most + critical * sd(most) / n.sqrt()).min(1.0),
            confidence,
            side: Side::Two,
            method: Method::ImbensManski,
        },
        critical,
        units: rate.units(),
    })
}
