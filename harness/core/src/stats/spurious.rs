//! Success rates beside spurious failures: worst-case bounds, Imbens-Manski, audits, conversion.
//!
//! Owns: what a success rate can be if some failures were not the model's. Must not: label failures, or leave spurious
//! ones out of a rate by default: hard tasks crash more, so leaving them out is not neutral.
//!
//! Void trials are in none of these numbers. For safety claims every spurious failure counts as a success that was
//! missed ([`Conversion::ALL`]).

use serde::Serialize;

use super::interval::clopper_pearson;
use super::quadrature::{BetaTable, beta_nodes, quantile};
use super::special::{hypergeometric_cdf, hypergeometric_sf, normal_cdf, normal_quantile};
use super::{CountInterval, Estimate, Interval, Level, Method, Posterior, Rate, Side, StatsError};

#[cfg(test)]
mod tests;

/// With fewer failures than this no statistics are given: they are listed.
pub const LEAST_FAILURES: u64 = 10;
/// Nodes for each of the share of spurious failures and their conversion.
const NODES: usize = 96;

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
    if rate.units() == 0 {
        return Err(StatsError::TooFew {
            what: "a success rate beside spurious failures",
            unit: "trials",
            needed: 1,
            found: 0,
        });
    }
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
        normal_quantile(f64::midpoint(1.0, confidence.get()))?,
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
        if audited == 0 {
            return Err(StatsError::TooFew {
                what: "an audit",
                unit: "audited failures",
                needed: 1,
                found: 0,
            });
        }
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

fn check_audit(rate: &Rate, audit: &Audit) -> Result<(), StatsError> {
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

/// The posterior of a success rate with spurious failures converted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SpuriousPosterior {
    /// Mean, median and central interval.
    pub posterior: Posterior,
    /// The quantile below which the rate lies with the confidence.
    pub at_most: Interval,
}

/// Returns the posterior of a success rate with spurious failures converted at a measured rate.
///
/// `theta = p + (1 - p) r q`: success rate `p ~ Beta(S + 1/2, F + 1/2)` and share of spurious failures
/// `r ~ Beta(a + 1/2, m - a + 1/2)` with Jeffreys' priors, conversion `q ~ Beta(c + 1, t - c + 1)` with a uniform one,
/// after `c` of `t` spurious failures succeeded when they were run again, repaired. Exact in the one of the three that
/// contributes the most spread, Gauss-Legendre quadrature over the others; quantiles are good to about 1e-4. It takes the failures for a sample of endless ones, so it is wider than the audit where that was
/// nearly full. Derived for this crate.
///
/// # Errors
/// The audit is of another number of failures than the rate has.
pub fn spurious_posterior(
    rate: &Rate,
    audit: &Audit,
    converted: &Rate,
    confidence: Level,
) -> Result<SpuriousPosterior, StatsError> {
    check_audit(rate, audit)?;
    let beta = |rate: &Rate, prior: f64| Beta {
        a: rate.successes() as f64 + prior,
        b: rate.failures() as f64 + prior,
    };
    let success = beta(rate, 0.5);
    let share = beta(&audit.found()?, 0.5);
    let conversion = beta(converted, 1.0);
    let mixture = Mixture::new(success, share, conversion)?;
    let below = |theta: f64| mixture.below(theta);
    let tail = (1.0 - confidence.get()) / 2.0;
    let side = |side: Side, lower: f64, upper: f64| Interval {
        lower,
        upper,
        confidence,
        side,
        method: Method::Posterior,
    };
    Ok(SpuriousPosterior {
        posterior: Posterior {
            mean: success.mean() + (1.0 - success.mean()) * share.mean() * conversion.mean(),
            median: quantile(below, 0.5),
            interval: side(Side::Two, quantile(below, tail), quantile(below, 1.0 - tail)),
            units: rate.units(),
        },
        at_most: side(Side::Upper, 0.0, quantile(below, confidence.get())),
    })
}

/// The shapes of a Beta distribution.
#[derive(Clone, Copy)]
struct Beta {
    a: f64,
    b: f64,
}

impl Beta {
    fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    fn variance(self) -> f64 {
        let total = self.a + self.b;
        self.a / total * (self.b / total) / (total + 1.0)
    }

    fn nodes(self) -> Result<Vec<(f64, f64)>, StatsError> {
        beta_nodes(self.a, self.b, NODES)
    }
}

/// The distribution of `p + (1 - p) r q`: nodes for two of the three, a distribution function for the third.
struct Mixture {
    table: BetaTable,
    /// Given the nodes, the third is below `(theta - offset) / scale` where the rate is below `theta`.
    nodes: Vec<Node>,
}

struct Node {
    offset: f64,
    scale: f64,
    weight: f64,
}

impl Mixture {
    fn new(success: Beta, share: Beta, conversion: Beta) -> Result<Self, StatsError> {
        let (p, r, q) = (success.mean(), share.mean(), conversion.mean());
        let spreads = [
            (1.0 - r * q).powi(2) * success.variance(),
            ((1.0 - p) * q).powi(2) * share.variance(),
            ((1.0 - p) * r).powi(2) * conversion.variance(),
        ];
        // What is narrow beside the rest would be a step between nodes as the third; so the widest is the third.
        let widest = spreads.iter().copied().fold(0.0, f64::max);
        let pair = |left: Vec<(f64, f64)>, right: &[(f64, f64)], node: fn(f64, f64) -> (f64, f64)| {
            let each = left.into_iter().flat_map(|(x, x_weight)| {
                right.iter().map(move |(y, y_weight)| {
                    let (offset, scale) = node(x, *y);
                    let weight = x_weight * y_weight;
                    Node {
                        offset,
                        scale,
                        weight,
                    }
                })
            });
            each.filter(|node| node.scale > 0.0).collect()
        };
        let of_rate = |p: f64, factor: f64| (p, (1.0 - p) * factor);
        let (third, nodes) = if spreads[0] >= widest {
            let product = |r: f64, q: f64| (r * q, 1.0 - r * q);
            (success, pair(share.nodes()?, &conversion.nodes()?, product))
        } else if spreads[1] >= widest {
            (share, pair(success.nodes()?, &conversion.nodes()?, of_rate))
        } else {
            (conversion, pair(success.nodes()?, &share.nodes()?, of_rate))
        };
        Ok(Self {
            table: BetaTable::new(third.a, third.b)?,
            nodes,
        })
    }

    fn below(&self, theta: f64) -> f64 {
        let each = self.nodes.iter().map(|node| {
            if theta <= node.offset {
                return 0.0;
            }
            node.weight * self.table.below((theta - node.offset) / node.scale)
        });
        each.sum()
    }
}
