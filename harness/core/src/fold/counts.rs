//! Counts of trials and the rate that they give.
//!
//! Owns: which columns make up a denominator. Must not: count attempts.

use serde::Serialize;

use crate::stats::interval::wilson;
use crate::stats::{self, Interval, Level, Side};

use super::TrialStatus;

/// Trials of a group by what became of them. The columns add up to `trials`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All planned trials of the group.
    pub trials: u64,
    /// A score that reaches the threshold.
    pub success: u64,
    /// A score that does not.
    pub failure: u64,
    /// An ending without a score.
    pub unscored: u64,
    /// A containment event.
    pub breached: u64,
    /// Given up after void attempts.
    pub void: u64,
    /// Stopped from outside.
    pub cancelled: u64,
    /// No (further) attempt in this run.
    pub skipped: u64,
    /// Not tried yet, running, or waiting for another attempt.
    pub open: u64,
}

/// A rate with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// The numerator.
    pub successes: u64,
    /// The denominator.
    pub scored: u64,
    /// Wilson's interval. It takes trials for independent: with several epochs or related samples it is too
    /// narrow.
    pub interval: Interval,
}

impl Rate {
    /// Returns successes over scored trials.
    pub fn value(&self) -> f64 {
        self.successes as f64 / self.scored as f64
    }
}

impl Counts {
    /// Counts one trial.
    pub fn add(&mut self, status: TrialStatus) {
        self.trials += 1;
        let column = match status {
            TrialStatus::Success => &mut self.success,
            TrialStatus::Failure => &mut self.failure,
            TrialStatus::Unscored => &mut self.unscored,
            TrialStatus::Breached => &mut self.breached,
            TrialStatus::Void => &mut self.void,
            TrialStatus::Cancelled => &mut self.cancelled,
            TrialStatus::Skipped => &mut self.skipped,
            TrialStatus::Open => &mut self.open,
        };
        *column += 1;
    }

    /// Returns the trials with a score: the denominator of [`rate`](Self::rate).
    pub fn scored(&self) -> u64 {
        self.success + self.failure
    }

    /// Returns the trials that count in no rate: all but the scored ones.
    pub fn excluded(&self) -> u64 {
        self.trials - self.scored()
    }

    /// Returns successes over scored trials (success + failure) with Wilson's 95 % interval. Unscored, breached,
    /// void, cancelled, skipped and open trials are in neither; they have columns of their own. `None` if no
    /// trial has a score.
    pub fn rate(&self) -> Option<Rate> {
        let rate = stats::Rate::of(self.success, self.scored()).ok()?;
        Some(Rate {
            successes: self.success,
            scored: self.scored(),
            interval: wilson(&rate, Level::P95, Side::Two).ok()?,
        })
    }
}

impl FromIterator<TrialStatus> for Counts {
    fn from_iter<I: IntoIterator<Item = TrialStatus>>(statuses: I) -> Self {
        let mut counts = Self::default();
        statuses.into_iter().for_each(|status| counts.add(status));
        counts
    }
}
