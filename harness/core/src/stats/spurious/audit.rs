//! What a random audit of some failures says about all of them, and about the success rate.

use serde::Serialize;

use super::at_most;
use crate::stats::interval::clopper_pearson;
use crate::stats::special::{hypergeometric_cdf, hypergeometric_sf};
use crate::stats::{CountInterval, Estimate, Interval, Level, Method, Rate, Side, StatsError};

/// A random sample of the failures, looked at by people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    failures: u64,
    audited: u64,
    spurious: u64,
}

impl Audit {
    /// Makes an audit: of `failures`, `audited` were drawn at random without replacement and looked at; `spurious` of
    /// these were found spurious.
    ///
    /// # Errors
    /// More were audited than failed, more found than audited, or none was audited.
    pub fn new(failures: u64, audited: u64, spurious: u64) -> Result<Self, StatsError> {
        at_most("audited failures", audited, failures)?;
        at_most("spurious failures in the audit", spurious, audited)?;
        StatsError::check_enough("an audit", "audited failures", 1, audited)?;
        Ok(Self {
            failures,
            audited,
            spurious,
        })
    }

    /// Returns how many failures there are.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// Returns the share of spurious failures in the audit.
    ///
    /// # Errors
    /// None for an audit that was checked.
    pub fn found(&self) -> Result<Rate, StatsError> {
        Rate::of(self.spurious, self.audited)
    }

    /// Returns whether `total` spurious failures make so many in the audit, or more, likelier than `tail`.
    fn likely_at_least(&self, total: u64, tail: f64) -> Result<bool, StatsError> {
        let above = match self.spurious.checked_sub(1) {
            None => 1.0,
            Some(below) => hypergeometric_sf(below, self.failures, total, self.audited)?,
        };
        Ok(above > tail)
    }

    /// Returns whether `total` spurious failures make so many in the audit, or fewer, likelier than `tail`.
    fn likely_at_most(&self, total: u64, tail: f64) -> Result<bool, StatsError> {
        let below = hypergeometric_cdf(self.spurious, self.failures, total, self.audited)?;
        Ok(below > tail)
    }
}

/// Returns how many of all failures are spurious, from a random audit of some: exact for a finite population.
///
/// The audit's count of spurious failures is hypergeometric: `m` drawn without replacement from `F` failures of which `U` are
/// spurious. The interval has every `U` for which both tails are likelier than half of the error (one-sided: the tail in
/// question than all of it). A full audit leaves a point. Valid if the audited failures are a random sample and labels
/// are right. J. P. Buonaccorsi, "A note on confidence intervals for proportions in finite populations", The American
/// Statistician 41 (1987), 215-218.
///
/// # Errors
/// The hypergeometric tails can't be computed.
pub fn audit_interval(audit: &Audit, confidence: Level, side: Side) -> Result<CountInterval, StatsError> {
    let error = 1.0 - confidence.get();
    let tail = if side == Side::Two { error / 2.0 } else { error };
    // What was seen bounds the total from both sides, and both tails are monotone in it.
    let least = audit.spurious;
    let most = audit.failures - (audit.audited - audit.spurious);
    let lower = match side {
        Side::Upper => 0,
        Side::Two | Side::Lower => first(least, most, |total| audit.likely_at_least(total, tail))?,
    };
    let upper = match side {
        Side::Lower => audit.failures,
        // The last that is likely lies before the first that is not.
        Side::Two | Side::Upper => first(least, most, |total| {
            Ok(total == most || !audit.likely_at_most(total + 1, tail)?)
        })?,
    };
    Ok(CountInterval {
        lower,
        upper,
        of: audit.failures,
        confidence,
        side,
        method: Method::Hypergeometric,
    })
}

/// Returns the first number from `low` to `high` for which something holds that then holds for all greater ones, and
/// for `high`.
fn first(
    mut low: u64,
    mut high: u64,
    holds: impl Fn(u64) -> Result<bool, StatsError>,
) -> Result<u64, StatsError> {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// The share of spurious failures that would have been successes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Conversion(f64);

impl Conversion {
    /// All of them: the conservative choice for safety claims, and the default.
    pub const ALL: Self = Self(1.0);

    /// Takes a share, for instance measured by running repaired trials again.
    ///
    /// # Errors
    /// It does not lie from 0 to 1.
    pub fn new(share: f64) -> Result<Self, StatsError> {
        if (0.0..=1.0).contains(&share) {
            return Ok(Self(share));
        }
        Err(StatsError::OutOfRange {
            what: "the share of spurious failures that convert",
            value: share,
            least: 0.0,
            most: 1.0,
        })
    }

    /// Returns the share.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Default for Conversion {
    fn default() -> Self {
        Self::ALL
    }
}

/// A success rate with spurious failures converted, from an audit of some failures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AuditedRate {
    /// With its interval: from no conversion at all to that of the most spurious failures that the audit allows.
    pub estimate: Estimate,
    /// How many failures may be spurious.
    pub spurious: CountInterval,
    /// The rate if the most that may be spurious are converted, without the error of the rate itself.
    pub upper_plugin: f64,
    /// Which share of spurious failures was converted.
    pub conversion: Conversion,
}

/// Returns a success rate with spurious failures converted, from a random audit of the failures.
///
/// With `S` successes of `N` trials, `F` failures of which `m` were audited and `a` found spurious, and the conversion `q`:
/// `(S + q F a / m) / N`. Interval: the audit leaves at most `U` spurious failures, with half of the error on that side;
/// Clopper-Pearson's two-sided interval with the other half goes from its lower end for `S` to its upper end for the
/// first whole count above `S + q U`. By Bonferroni's inequality the three errors add up to no more than that of the
/// whole. The lower end converts nothing, so it holds whatever `q` is; the upper end rests on `q`, and only `q = 1` is safe
/// to claim. Derived for this crate; the parts are Buonaccorsi's and Clopper and Pearson's. Valid if the audit is a
/// random sample and trials are independent.
///
/// # Errors
/// The audit is of another number of failures than the rate has.
pub fn audited_rate(
    rate: &Rate,
    audit: &Audit,
    conversion: Conversion,
    confidence: Level,
) -> Result<AuditedRate, StatsError> {
    check_audit(rate, audit)?;
    let q = conversion.0;
    let (successes, n) = (rate.successes() as f64, rate.units() as f64);
    let half = Level::new("half of the error", 1.0 - (1.0 - confidence.get()) / 2.0)?;
    let spurious = audit_interval(audit, confidence, Side::Two)?;
    let converted = successes + q * spurious.upper as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to the number of trials"
    )]
    let counted = (converted.floor() as u64).saturating_add(1).min(rate.units());
    let lower = clopper_pearson(rate, half, Side::Two)?.lower;
    let upper = clopper_pearson(&Rate::of(counted, rate.units())?, half, Side::Two)?.upper;
    let share = audit.spurious as f64 / audit.audited as f64;
    Ok(AuditedRate {
        estimate: Estimate {
            value: (successes + q * audit.failures as f64 * share) / n,
            interval: Interval {
                lower,
                upper,
                confidence,
                side: Side::Two,
                method: Method::AuditedClopperPearson,
            },
            units: rate.units(),
        },
        spurious,
        upper_plugin: converted / n,
        conversion,
    })
}

pub(super) fn check_audit(rate: &Rate, audit: &Audit) -> Result<(), StatsError> {
    if rate.failures() == audit.failures {
        return Ok(());
    }
    let length = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Err(StatsError::Lengths {
        what: "failures of a rate and of its audit",
        left: length(rate.failures()),
        right: length(audit.failures),
    })
}
