//! How much error a gate may make: of a series, at a checkpoint, in a domain.
//!
//! Owns: the order of division. A rule takes only what has been divided, so that an error rate can't be spent twice.

use serde::Serialize;

use crate::stats::sequential::{Checkpoint, Schedule};
use crate::stats::{Level, StatsError};

/// What a series of checkpoints may err in all, however long it gets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeriesErrors {
    /// The probability of ever saying "shown below" of a rate at or above the threshold.
    pub below: Level,
    /// The probability of ever saying "shown above" of a rate at or below the threshold.
    pub above: Level,
    /// How they are divided over checkpoints.
    pub schedule: Schedule,
}

impl SeriesErrors {
    /// Returns the share of a checkpoint.
    ///
    /// # Errors
    /// It is below the smallest positive `f64`.
    pub fn at(&self, checkpoint: Checkpoint) -> Result<CheckpointErrors, StatsError> {
        Ok(CheckpointErrors {
            below: self.schedule.share(self.below, checkpoint)?,
            above: self.schedule.share(self.above, checkpoint)?,
        })
    }
}

/// What the gate of a phase may err at one checkpoint, over all its looks and domains.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CheckpointErrors {
    pub(super) below: Level,
    pub(super) above: Level,
}

impl CheckpointErrors {
    /// Makes the errors of a checkpoint that stands alone, in no series.
    #[must_use]
    pub fn alone(below: Level, above: Level) -> Self {
        Self { below, above }
    }

    /// Returns the share of each of several domains: the errors divided by their number.
    ///
    /// # Errors
    /// There is no domain, or a share is below the smallest positive `f64`.
    pub fn among(&self, domains: usize) -> Result<DomainErrors, StatsError> {
        StatsError::check_enough("a gate", "domains", 1, domains as u64)?;
        let share = |level: Level| {
            Level::new(
                "the share of a domain in the error rate",
                level.get() / domains as f64,
            )
        };
        Ok(DomainErrors {
            below: share(self.below)?,
            above: share(self.above)?,
        })
    }
}

/// What the gate of one domain may err at one checkpoint, over all its looks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DomainErrors {
    below: Level,
    above: Level,
}

impl DomainErrors {
    /// Returns the error of "shown below".
    pub fn below(&self) -> Level {
        self.below
    }

    /// Returns the error of "shown above".
    pub fn above(&self) -> Level {
        self.above
    }
}
