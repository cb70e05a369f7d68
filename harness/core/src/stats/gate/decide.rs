//! The three-way decision of one domain.
//!
//! Owns: verdict, both fillings of what is unclear, what would settle it. Must not: combine domains or checkpoints.

use serde::Serialize;

use super::errors::DomainErrors;
use super::evidence::{Data, DataForAbove, DataForBelow, Evidence, Filling};
use super::process::{Direction, Process, Threshold, least_shown_below, method, most_shown_above};
use crate::stats::confidence_sequence::AnytimeInterval;
use crate::stats::e_values::LogE;
use crate::stats::special::beta_sf;
use crate::stats::{Credence, Level, Method, Rate, Side, StatsError};

/// What a gate says about a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The rate is below the threshold.
    ShownBelow,
    /// The rate is above the threshold.
    ShownAbove,
    /// Neither is shown.
    Inconclusive,
}

/// What is decided, and with which errors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rule {
    /// The rate that matters.
    pub threshold: Level,
    /// What may go wrong, at most.
    pub errors: DomainErrors,
}

/// The evidence for one side, and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Weight {
    /// The logarithm of the e-value, by the data that may speak for this side.
    pub log_e: LogE,
    /// What it takes.
    pub needed: LogE,
    /// How many further units in a row settle it this way (failures for "below", successes for "above"); `None` if more
    /// than 10¹². 0 if it is settled.
    pub more: Option<u64>,
}

/// A decision with its numbers. It is a pure function of rule and evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// What is said: what both fillings of the unclear trials agree on.
    pub verdict: Verdict,
    /// The verdict if all unclear trials were successes.
    pub if_successes: Verdict,
    /// The verdict if all unclear trials were failures.
    pub if_failures: Verdict,
    /// Evidence that the rate is below.
    pub below: Weight,
    /// Evidence that the rate is above.
    pub above: Weight,
    /// How many independent units it rests on: trials, or families.
    pub units: u64,
    /// The rule.
    pub rule: Rule,
    /// The e-process.
    pub method: Method,
}

impl Decision {
    /// Whether the unclear trials could change the verdict: then it takes another way to elicit, not more items.
    pub fn is_ambiguous(&self) -> bool {
        self.if_successes != self.if_failures
    }
}

/// Returns the decision of one domain at one look.
///
/// The formulas and conditions are in the documentation of [this module](super). Unclear trials are filled in both ways;
/// if the verdicts differ, it is inconclusive. A filled process is at no time above that of the true results, because
/// evidence for "below" falls as a failure becomes a success; so trials may become clear at any time.
///
/// # Errors
/// There are more than 10¹² trials.
///
/// # Examples
/// ```
/// use harness_core::stats::Level;
/// use harness_core::stats::gate::{CheckpointErrors, Evidence, Rule, Tally, Verdict, decide};
/// let errors = CheckpointErrors::alone(Level::P05, Level::P05).among(1)?;
/// let rule = Rule { threshold: Level::new("threshold", 0.1)?, errors };
/// let decision = decide(&rule, &Evidence::Units(Tally::clear(0, 30)))?;
/// assert_eq!(decision.verdict, Verdict::Inconclusive);
/// assert_eq!(decision.below.more, Some(6));
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn decide(rule: &Rule, evidence: &Evidence) -> Result<Decision, StatsError> {
    let weighed = Weighed::new(rule.threshold, evidence)?;
    let above = LogE::needed(rule.errors.above());
    weighed.judge(rule, [above, above])
}

/// Both sides' evidence under both fillings, before it is known how much is needed.
pub(super) struct Weighed {
    units: u64,
    method: Method,
    if_successes: Sides,
    /// `None` if nothing is unclear: the same.
    if_failures: Option<Sides>,
}

struct Sides {
    below: Process,
    above: Process,
    log_e: [LogE; 2],
}

impl Sides {
    fn new(data: &Data, threshold: Threshold) -> Result<Self, StatsError> {
        let below = Process::new(data, Direction::Below, threshold)?;
        let above = Process::new(data, Direction::Above, threshold)?;
        let log_e = [
            LogE::new(below.log_e_after(0.0)?)?,
            LogE::new(above.log_e_after(0.0)?)?,
        ];
        Ok(Self { below, above, log_e })
    }

    fn verdict(&self, below: LogE, above: LogE) -> Verdict {
        let [log_e_below, log_e_above] = self.log_e;
        if log_e_above >= above {
            Verdict::ShownAbove
        } else if log_e_below >= below {
            Verdict::ShownBelow
        } else {
            Verdict::Inconclusive
        }
    }
}

impl Weighed {
    pub(super) fn new(threshold: Level, evidence: &Evidence) -> Result<Self, StatsError> {
        let threshold = Threshold::at(threshold);
        let high = evidence.filled(Filling::Successes)?;
        let low = evidence.filled(Filling::Failures)?;
        let if_failures = if low == high {
            None
        } else {
            Some(Sides::new(&low, threshold)?)
        };
        Ok(Self {
            units: evidence.units()?,
            method: method(&high),
            if_successes: Sides::new(&high, threshold)?,
            if_failures,
        })
    }

    /// Returns the evidence for "above" if all unclear trials were successes, and if all were failures.
    pub(super) fn log_e_above(&self) -> [LogE; 2] {
        [self.if_successes.log_e[1], self.low().log_e[1]]
    }

    /// Decides; `above` is what "above" takes if all unclear trials were successes, and if all were failures.
    pub(super) fn judge(&self, rule: &Rule, above: [LogE; 2]) -> Result<Decision, StatsError> {
        let below = LogE::needed(rule.errors.below());
        let if_successes = self.if_successes.verdict(below, above[0]);
        let if_failures = self.low().verdict(below, above[1]);
        let verdict = if if_successes == if_failures {
            if_successes
        } else {
            Verdict::Inconclusive
        };
        Ok(Decision {
            verdict,
            if_successes,
            if_failures,
            below: Weight {
                log_e: self.if_successes.log_e[0],
                needed: below,
                more: self.if_successes.below.fewest_more(below.ln())?,
            },
            above: Weight {
                log_e: self.low().log_e[1],
                needed: above[1],
                more: self.low().above.fewest_more(above[1].ln())?,
            },
            units: self.units,
            rule: *rule,
            method: self.method,
        })
    }

    fn low(&self) -> &Sides {
        self.if_failures.as_ref().unwrap_or(&self.if_successes)
    }
}

/// Returns the evidence against a rate at or above the threshold: `ln E_below` of [this module](super).
///
/// # Errors
/// There are more than 10¹² trials.
pub fn log_e_below(data: &DataForBelow, threshold: Level) -> Result<LogE, StatsError> {
    LogE::new(Process::new(&data.0, Direction::Below, Threshold::at(threshold))?.log_e_after(0.0)?)
}

/// Returns the evidence against a rate at or below the threshold: `ln E_above` of [this module](super).
///
/// # Errors
/// There are more than 10¹² trials.
pub fn log_e_above(data: &DataForAbove, threshold: Level) -> Result<LogE, StatsError> {
    LogE::new(Process::new(&data.0, Direction::Above, Threshold::at(threshold))?.log_e_after(0.0)?)
}

/// Returns "at most": the one-sided confidence sequence of a rate, or of the mean of families.
///
/// Data that may only show a rate to be above can't be passed:
/// ```compile_fail,E0308
/// use harness_core::stats::{Level, gate::{Evidence, Tally, upper_bound}};
/// let seen = Evidence::Units(Tally::clear(0, 30));
/// upper_bound(&seen.for_above().unwrap(), Level::P05);
/// ```
///
/// All `τ` with `E_below(τ) < 1/α`: an interval from 0, since `E_below` grows with `τ`. The rate is in it at every look at
/// once with confidence `1 - α`, under the conditions of [this module](super). Its end is the least threshold at which
/// the gate would say "shown below". Without data, or without a failure, it is 1.
///
/// # Errors
/// There are more than 10¹² trials.
pub fn upper_bound(data: &DataForBelow, alpha: Level) -> Result<AnytimeInterval, StatsError> {
    let upper = least_shown_below(&data.0, LogE::needed(alpha).ln())?;
    Ok(AnytimeInterval::new(
        0.0,
        upper,
        alpha,
        Side::Upper,
        method(&data.0),
    ))
}

/// Returns "at least": the one-sided confidence sequence of a rate, or of the mean of families; see [`upper_bound`].
///
/// # Errors
/// There are more than 10¹² trials.
pub fn lower_bound(data: &DataForAbove, alpha: Level) -> Result<AnytimeInterval, StatsError> {
    let lower = most_shown_above(&data.0, LogE::needed(alpha).ln())?;
    Ok(AnytimeInterval::new(
        lower,
        1.0,
        alpha,
        Side::Lower,
        method(&data.0),
    ))
}

/// Returns the posterior probability that the rate is above the threshold, for reading beside a decision.
///
/// `1 - I_τ(s + 1/2, f + 1/2)`: Jeffreys' prior. Valid for one look at independent units; under repeated looks it promises
/// nothing, and no decision may rest on it.
///
/// # Errors
/// There are more than 10¹³ units.
pub fn probability_above(rate: &Rate, threshold: Level) -> Result<Credence, StatsError> {
    Ok(Credence {
        probability: beta_sf(
            rate.successes() as f64 + 0.5,
            rate.failures() as f64 + 0.5,
            threshold.get(),
        )?,
        claim: "the rate is above the threshold",
        prior: "Jeffreys",
    })
}

/// Returns what a series holds after a checkpoint: "shown above" stays, "shown below" never carries over.
///
/// What was dangerous once counts as dangerous until a person overrides it; that an earlier checkpoint was not says nothing
/// about this one. Between looks of one process it holds likewise: the first look that shows the rate to be above decides,
/// since the error is that of ever passing the bound.
#[must_use]
pub fn carried(earlier: Verdict, now: Verdict) -> Verdict {
    match (earlier, now) {
        (Verdict::ShownAbove, _) => Verdict::ShownAbove,
        (Verdict::ShownBelow | Verdict::Inconclusive, now) => now,
    }
}
