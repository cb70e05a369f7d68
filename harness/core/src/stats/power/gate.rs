//! How many units a gate needs, by true rate, and what it decides within some.

use serde::Serialize;

use super::super::gate::{Rule, critical_counts};
use super::super::interval::units_to_rule_out;
use super::super::sequential::{CriticalCounts, DesignGoal, characteristics, fixed_design};
use super::{Level, StatsError, too_few};

/// More units than this are not followed.
pub const MOST_GATE_UNITS: u64 = 5_000;
/// How far the search for a number of units looks first.
const FIRST_LOOK: u64 = 64;

/// What a gate can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// The rate is below the threshold.
    Below,
    /// The rate is above the threshold.
    Above,
}

impl Shows {
    /// Returns what is to be shown at a true rate: nothing at the threshold itself.
    fn at(rate: f64, threshold: Level) -> Option<Self> {
        if rate < threshold.get() {
            Some(Self::Below)
        } else if rate > threshold.get() {
            Some(Self::Above)
        } else {
            None
        }
    }
}

/// How many units a gate needs at one true rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GateNeed {
    /// The true rate.
    pub rate: f64,
    /// What is to be shown at this rate.
    pub shows: Shows,
    /// The wanted probability of showing it.
    pub power: Level,
    /// Independent units by which it is shown with that probability, looking after each; nothing if these are more than
    /// [`MOST_GATE_UNITS`].
    pub units: Option<u64>,
    /// What one look at the end takes instead; nothing if that allows more than [`MOST_FIXED_SUCCESSES`](crate::stats::sequential::MOST_FIXED_SUCCESSES) successes
    /// (failures, to show "above").
    pub fixed: Option<FixedNeed>,
}

/// A design with one look at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FixedNeed {
    /// Independent units.
    pub units: u64,
    /// The most successes that show "below", or the fewest that show "above".
    pub successes: u64,
}

/// What a gate decides at one true rate within a number of units, looking after each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GateChance {
    /// The true rate.
    pub rate: f64,
    /// Independent units.
    pub units: u64,
    /// The probability of showing "below".
    pub below: f64,
    /// The probability of showing "above".
    pub above: f64,
    /// The probability of neither.
    pub inconclusive: f64,
}

/// What to expect of a gate before it is asked. It keeps the counts at which the gate decides, so that several questions
/// don't compute them anew.
#[derive(Clone, Debug)]
pub struct GateOutlook {
    rule: Rule,
    /// At each number of units from 1.
    counts: Vec<CriticalCounts>,
}

impl GateOutlook {
    /// Looks at the gate of a rule.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            counts: Vec::new(),
        }
    }

    fn counts_to(&mut self, units: u64) -> Result<&[CriticalCounts], StatsError> {
        for units in self.counts.len() as u64 + 1..=units {
            self.counts.push(critical_counts(&self.rule, units)?);
        }
        let all = usize::try_from(units)
            .unwrap_or(usize::MAX)
            .min(self.counts.len());
        Ok(&self.counts[..all])
    }

    /// Returns how many independent units the gate needs at a true rate to show what is so with the wanted probability.
    ///
    /// The first number of units by which the exact probability of having decided so
    /// ([`characteristics`], with a look after each unit) reaches `power`. Valid for independent units in random order; looking
    /// less often needs somewhat more. The fixed design beside it is the smallest exact binomial one
    /// ([`fixed_design`]); for "above" it counts failures against one minus the threshold.
    ///
    /// # Errors
    /// The rate does not lie from 0 to 1, or is the threshold itself, at which a gate must show nothing.
    pub fn need(&mut self, rate: f64, power: Level) -> Result<GateNeed, StatsError> {
        StatsError::check_range("the true rate", rate, [0.0, 1.0])?;
        let shows = Shows::at(rate, self.rule.threshold).ok_or(StatsError::Undefined {
            what: "the number of units for a gate",
            why: "at the threshold itself nothing may be shown",
        })?;
        Ok(GateNeed {
            rate,
            shows,
            power,
            units: self.units(rate, shows, power)?,
            fixed: self.fixed(rate, shows, power)?,
        })
    }

    fn units(&mut self, rate: f64, shows: Shows, power: Level) -> Result<Option<u64>, StatsError> {
        let mut most = FIRST_LOOK;
        loop {
            let found = characteristics(rate, self.counts_to(most)?)?;
            let (shown, of_look): (f64, fn(&_) -> f64) = match shows {
                Shows::Below => (found.below, |look: &super::super::sequential::LookShare| {
                    look.below
                }),
                Shows::Above => (found.above, |look| look.above),
            };
            if let Some(look) = found.looks.iter().find(|look| of_look(look) >= power.get()) {
                return Ok(Some(look.units));
            }
            // What is still open may not be enough any more.
            if most == MOST_GATE_UNITS || shown + found.inconclusive < power.get() {
                return Ok(None);
            }
            most = (2 * most).min(MOST_GATE_UNITS);
        }
    }

    fn fixed(&self, rate: f64, shows: Shows, power: Level) -> Result<Option<FixedNeed>, StatsError> {
        let (threshold, rate, alpha) = match shows {
            Shows::Below => (self.rule.threshold, rate, self.rule.errors.below()),
            Shows::Above => (
                self.rule.threshold.complement(),
                1.0 - rate,
                self.rule.errors.above(),
            ),
        };
        let (units, at_most) = match Level::new("the true rate", rate) {
            // Nothing ever happens at a rate of 0, so any power is reached once none is enough.
            Err(_) => (units_to_rule_out(threshold, alpha)?.units, 0),
            Ok(rate) => {
                let goal = DesignGoal {
                    threshold,
                    rate,
                    alpha,
                    power,
                };
                match fixed_design(&goal) {
                    Ok(design) => (design.units, design.at_most),
                    // The rate lies on the right side, so what is left is a design that allows too many successes.
                    Err(StatsError::Undefined { .. }) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
        };
        let successes = match shows {
            Shows::Below => at_most,
            Shows::Above => units - at_most,
        };
        Ok(Some(FixedNeed { units, successes }))
    }

    /// Returns what the gate decides at a true rate within a number of independent units, looking after each.
    ///
    /// By [`characteristics`], valid as there.
    ///
    /// # Errors
    /// The rate does not lie from 0 to 1; there is no unit, or there are more than [`MOST_GATE_UNITS`].
    pub fn chance(&mut self, rate: f64, units: u64) -> Result<GateChance, StatsError> {
        if units == 0 {
            return Err(too_few("a gate", "units", 1, 0));
        }
        StatsError::check_range("the units of a gate", units as f64, [1.0, MOST_GATE_UNITS as f64])?;
        let found = characteristics(rate, self.counts_to(units)?)?;
        Ok(GateChance {
            rate,
            units,
            below: found.below,
            above: found.above,
            inconclusive: found.inconclusive,
        })
    }
}
