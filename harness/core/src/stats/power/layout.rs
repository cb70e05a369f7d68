//! How trials lie in samples and samples in tasks, and what they are worth.

use serde::Serialize;

use super::{MOST_UNITS, beyond, check_epochs, too_few, whole};
use crate::stats::StatsError;

/// How trials lie in samples and samples in tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Layout {
    tasks: u64,
    samples: u64,
    /// The mean number of samples in a sample's task: their mean number if all tasks have equally many.
    pub(super) crowding: f64,
    epochs: u32,
}

impl Layout {
    /// Takes the number of samples of each task, and how often each sample is tried.
    ///
    /// # Errors
    /// There is no task, one without samples, or no epoch.
    pub fn new(samples: &[u64], epochs: u32) -> Result<Self, StatsError> {
        check_epochs(epochs)?;
        if samples.is_empty() {
            return Err(too_few("a plan", "tasks", 1, 0));
        }
        if samples.contains(&0) {
            return Err(too_few("a task", "samples", 1, 0));
        }
        let sum = samples
            .iter()
            .try_fold(0_u64, |sum, count| sum.checked_add(*count))
            .filter(|sum| *sum <= MOST_UNITS);
        let Some(sum) = sum else {
            return Err(beyond());
        };
        let squares: f64 = samples.iter().map(|count| (*count as f64).powi(2)).sum();
        Ok(Self {
            tasks: samples.len() as u64,
            samples: sum,
            crowding: squares / sum as f64,
            epochs,
        })
    }

    /// Takes a number of tasks with equally many samples each.
    ///
    /// # Errors
    /// A number is 0 or beyond all bounds.
    pub fn even(tasks: u64, samples: u64, epochs: u32) -> Result<Self, StatsError> {
        let one = Self::new(&[samples], epochs)?;
        let all = samples.checked_mul(tasks).filter(|all| *all <= MOST_UNITS);
        match all {
            Some(0) => Err(too_few("a plan", "tasks", 1, 0)),
            Some(all) => Ok(Self {
                tasks,
                samples: all,
                ..one
            }),
            None => Err(beyond()),
        }
    }

    /// Returns how many tasks there are: the clusters.
    pub fn tasks(&self) -> u64 {
        self.tasks
    }

    /// Returns how many samples all tasks have together.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Returns how often each sample is tried.
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// Returns how many trials that makes for one setting.
    pub fn trials(&self) -> u64 {
        self.samples.saturating_mul(u64::from(self.epochs))
    }

    /// Returns how many independent trials the planned ones are worth for a rate.
    ///
    /// `trials / (1 + (K - 1) s + K (m - 1) t)`: `s` is the correlation of two trials of the same sample, `t` of two trials
    /// of different samples of the same task, `K` the number of epochs, `m` the number of samples in a sample's task on
    /// average. Where `s` is given below `t` it is taken as `t`. Approximate, and only as good as the assumed
    /// correlations. L. Kish, "Survey Sampling" (1965), sections 5.4 and 8.2.
    ///
    /// # Errors
    /// A correlation does not lie from 0 to 1.
    pub fn effective(&self, same_sample: f64, same_task: f64) -> Result<EffectiveTrials, StatsError> {
        StatsError::check_range("the correlation within a sample", same_sample, [0.0, 1.0])?;
        StatsError::check_range("the correlation within a task", same_task, [0.0, 1.0])?;
        let epochs = f64::from(self.epochs);
        let others = epochs * (self.crowding - 1.0);
        let design_effect = 1.0 + (epochs - 1.0) * same_sample.max(same_task) + others * same_task;
        let units = self.trials() as f64 / design_effect;
        Ok(EffectiveTrials {
            trials: self.trials(),
            design_effect,
            // Rounded down: a unit that is not whole rules nothing out. The nudge keeps 10 / 1 from being 9.
            units: whole((units * (1.0 + 1e-12)).floor())?,
        })
    }
}

/// Trials of one setting, and how many independent ones they are worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EffectiveTrials {
    /// Planned trials.
    pub trials: u64,
    /// By how much their correlation widens a variance.
    pub design_effect: f64,
    /// Independent units: trials over the design effect, rounded down.
    pub units: u64,
}
