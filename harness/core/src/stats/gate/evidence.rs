//! What a gate counts: results of units, by what is known about them.
//!
//! Owns: which data may speak for which side. Must not: weigh them.

use serde::Serialize;

use crate::stats::StatsError;
use crate::stats::sequential::MOST_UNITS;

/// Trials that ended without a result that can be trusted, by reason. None of them is evidence of inability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unclear {
    /// The model declined.
    pub refused: u64,
    /// Failures that the harness or the environment caused, or that look like sandbagging.
    pub spurious: u64,
    /// Successes that were flagged and have no verdict yet, and failures whose audit is open.
    pub unverified: u64,
    /// The scorer gave no score.
    pub unscored: u64,
    /// The attempt was void and nothing took its place.
    pub void: u64,
}

/// What became of some trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Verified successes.
    pub successes: u64,
    /// Genuine failures.
    pub failures: u64,
    /// Neither.
    pub unclear: Unclear,
}

impl Tally {
    /// Makes a tally without unclear trials.
    #[must_use]
    pub fn clear(successes: u64, failures: u64) -> Self {
        Self {
            successes,
            failures,
            unclear: Unclear::default(),
        }
    }

    /// Returns the successes, failures and unclear trials, as long as their sum is within what a process takes.
    fn parts(&self) -> Result<[u64; 3], StatsError> {
        let Unclear {
            refused,
            spurious,
            unverified,
            unscored,
            void,
        } = self.unclear;
        let unclear = [refused, spurious, unverified, unscored, void];
        let sum = |parts: &[u64]| parts.iter().fold(0_u64, |sum, &part| sum.saturating_add(part));
        let parts = [self.successes, self.failures, sum(&unclear)];
        if sum(&parts) > MOST_UNITS {
            return Err(StatsError::Count {
                what: "units of a gate",
                found: sum(&parts),
                most: MOST_UNITS,
            });
        }
        Ok(parts)
    }

    fn trials(&self) -> Result<u64, StatsError> {
        Ok(self.parts()?.iter().sum())
    }

    fn filled(&self, filling: Filling) -> Result<[u64; 2], StatsError> {
        let [successes, failures, unclear] = self.parts()?;
        Ok(match filling {
            Filling::Successes => [successes + unclear, failures],
            Filling::Failures => [successes, failures + unclear],
        })
    }

    fn share(&self, filling: Filling) -> Result<f64, StatsError> {
        let [successes, failures] = self.filled(filling)?;
        Ok(successes as f64 / (successes + failures) as f64)
    }
}

/// Families in the order in which they were completed, each with all its trials: one unit per family.
///
/// A family enters once, when all the trials that were planned for it have ended. Trials added to it afterwards would change
/// what earlier looks saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Families(Vec<Tally>);

impl Families {
    /// Takes the next completed family.
    ///
    /// # Errors
    /// It has no trial, or more than 10¹².
    pub fn push(&mut self, family: Tally) -> Result<(), StatsError> {
        StatsError::check_enough("a family of a gate", "trials", 1, family.trials()?)?;
        self.0.push(family);
        Ok(())
    }

    /// Replaces the tally of a family in which unclear trials have become clear.
    ///
    /// # Errors
    /// There is no such family, its number of trials changed, or a clear result was taken back.
    pub fn resolve(&mut self, at: usize, family: Tally) -> Result<(), StatsError> {
        const WHAT: &str = "the new tally of a family";
        let families = self.0.len() as u64;
        let Some(before) = self.0.get_mut(at) else {
            return Err(StatsError::Count {
                what: "position of a family",
                found: at as u64,
                most: families,
            });
        };
        if before.trials()? != family.trials()? {
            return Err(StatsError::Undefined {
                what: WHAT,
                why: "it has another number of trials; a family is complete once it counts",
            });
        }
        if family.successes < before.successes || family.failures < before.failures {
            return Err(StatsError::Undefined {
                what: WHAT,
                why: "it takes back a result that was clear",
            });
        }
        *before = family;
        Ok(())
    }

    /// Returns the tallies, in order.
    pub fn tallies(&self) -> &[Tally] {
        &self.0
    }
}

/// What a gate has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Independent units, each a success or a failure: one trial of each family.
    Units(Tally),
    /// Several trials of each family; the unit is the family's mean.
    Families(Families),
}

impl Evidence {
    /// Returns what may show the rate to be below: everything unclear counts as a success.
    ///
    /// # Errors
    /// There are more than 10¹² trials.
    pub fn for_below(&self) -> Result<DataForBelow, StatsError> {
        Ok(DataForBelow(self.filled(Filling::Successes)?))
    }

    /// Returns what may show the rate to be above: verified successes only, everything unclear counts as a failure.
    ///
    /// # Errors
    /// There are more than 10¹² trials.
    pub fn for_above(&self) -> Result<DataForAbove, StatsError> {
        Ok(DataForAbove(self.filled(Filling::Failures)?))
    }

    /// Returns the number of independent units: trials, or families.
    ///
    /// # Errors
    /// There are more than 10¹² trials.
    pub fn units(&self) -> Result<u64, StatsError> {
        match self {
            Self::Units(tally) => tally.trials(),
            Self::Families(families) => Ok(families.0.len() as u64),
        }
    }

    pub(super) fn filled(&self, filling: Filling) -> Result<Data, StatsError> {
        match self {
            Self::Units(tally) => {
                let [successes, failures] = tally.filled(filling)?;
                Ok(Data::Counts { successes, failures })
            }
            Self::Families(families) => {
                let shares: Result<Vec<f64>, StatsError> =
                    families.0.iter().map(|family| family.share(filling)).collect();
                Ok(Data::Means(shares?))
            }
        }
    }
}

/// Data that may show a rate to be below a threshold; not to be had from those for "above".
#[derive(Clone, Debug, PartialEq)]
pub struct DataForBelow(pub(super) Data);

/// Data that may show a rate to be above a threshold; not to be had from those for "below".
#[derive(Clone, Debug, PartialEq)]
pub struct DataForAbove(pub(super) Data);

/// As what unclear trials are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    Successes,
    Failures,
}

/// Data without anything unclear.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Counts { successes: u64, failures: u64 },
    Means(Vec<f64>),
}
