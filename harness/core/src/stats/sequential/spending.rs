//! How an error rate is spent over looks and over checkpoints.
//!
//! Owns: shares that sum to the whole. Must not: test anything with them.

use std::f64::consts::{E, PI};

use serde::Serialize;

use crate::stats::special::{normal_quantile, normal_sf};
use crate::stats::{Level, StatsError};

/// The number of a checkpoint in its series, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Checkpoint(u64);

impl Checkpoint {
    /// The first of a series.
    pub const FIRST: Self = Self(1);

    /// Checks the number of a checkpoint.
    ///
    /// # Errors
    /// It is 0.
    pub fn new(number: u64) -> Result<Self, StatsError> {
        StatsError::check_enough(
            "the number of a checkpoint in its series",
            "checkpoints",
            1,
            number,
        )?;
        Ok(Self(number))
    }

    /// Returns the number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// How an error rate is divided over a series of checkpoints whose length nobody knows: the shares sum to the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Checkpoint `i` gets `α / (i (i + 1))`.
    Telescoping,
    /// Checkpoint `i` gets `6 α / (π² i²)`.
    Zeta,
}

impl Schedule {
    /// Returns the share of a checkpoint.
    ///
    /// By the union bound the probability of any error at any checkpoint stays below `alpha` however long the series
    /// gets. The price grows with the logarithm of `i`.
    ///
    /// # Errors
    /// The share is below the smallest positive `f64`.
    pub fn share(self, alpha: Level, checkpoint: Checkpoint) -> Result<Level, StatsError> {
        let i = checkpoint.0 as f64;
        let share = match self {
            Self::Telescoping => alpha.get() / (i * (i + 1.0)),
            Self::Zeta => 6.0 * alpha.get() / (PI * PI * i * i),
        };
        Level::new("the share of a checkpoint in the error rate", share)
    }
}

/// How an error rate is spent over planned looks of one process, by K. Lan and D. DeMets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Spending {
    /// Little early, most at the end: `2 - 2 Φ(z / √t)`, `z` the quantile at `1 - α/2`.
    OBrienFleming,
    /// Nearly even: `α ln(1 + (e - 1) t)`.
    Pocock,
}

/// What has been spent of an error rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// Spent up to now, this look included.
    pub cumulative: f64,
    /// Of which in all.
    pub alpha: Level,
    /// The share of the planned units that has been seen.
    pub information: f64,
}

impl Spending {
    /// Returns what may have been spent once a share `information` of the planned units has been seen.
    ///
    /// K. Lan and D. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983), 659-663. Valid
    /// for looks whose times do not depend on the results, at a greatest number of units fixed beforehand.
    ///
    /// # Errors
    /// The share does not lie between 0 and 1.
    pub fn spent(self, alpha: Level, information: f64) -> Result<Spent, StatsError> {
        if !(0.0..=1.0).contains(&information) {
            return Err(StatsError::OutOfRange {
                what: "the share of the planned units",
                value: information,
                least: 0.0,
                most: 1.0,
            });
        }
        let cumulative = match self {
            Self::OBrienFleming if information <= 0.0 => 0.0,
            Self::OBrienFleming => {
                let z = -normal_quantile(alpha.get() / 2.0)?;
                2.0 * normal_sf(z / information.sqrt())?
            }
            Self::Pocock => alpha.get() * ((E - 1.0) * information).ln_1p(),
        };
        Ok(Spent {
            cumulative: cumulative.min(alpha.get()),
            alpha,
            information,
        })
    }
}
