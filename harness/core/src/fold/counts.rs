//! Counts of trials and the rate that they give.
//!
//! Owns: which columns make up a denominator. Must not: count attempts.

use serde::Serialize;

use crate::stats::interval::wilson;
use crate::stats::{self, Excluded, Interval, Level, Method, Side};

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

/// A rate with what it rests on: its counts, what is in neither of them, and its interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Successes among scored trials, and by reason the trials that are in neither number.
    pub counted: stats::Rate,
    /// The interval, by [`Rate::METHOD`]. It takes trials for independent: with several epochs or related samples it is
    /// too narrow.
    pub interval: Interval,
}

impl Rate {
    /// How the intervals of rates are computed.
    pub const METHOD: Method = Method::Wilson;
    /// Their confidence.
    pub const CONFIDENCE: Level = Level::P95;
    /// Which of their ends say something.
    pub const SIDE: Side = Side::Two;

    /// Returns successes over scored trials.
    pub fn value(&self) -> f64 {
        self.counted.successes() as f64 / self.counted.units() as f64
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
        let counted = stats::Rate::new(self.success, self.scored(), self.reasons()).ok()?;
        let interval = wilson(&counted, Rate::CONFIDENCE, Rate::SIDE).ok()?;
        Some(Rate { counted, interval })
    }

    /// Returns why trials count in no rate, with how many each.
    fn reasons(&self) -> Vec<Excluded> {
        let columns = [
            ("unscored", self.unscored),
            ("breached", self.breached),
            ("void", self.void),
            ("cancelled", self.cancelled),
            ("skipped", self.skipped),
            ("open", self.open),
        ];
        let reason = |(why, units): (&str, u64)| Excluded {
            why: why.to_owned(),
            units,
        };
        columns
            .into_iter()
            .filter(|(_, units)| *units > 0)
            .map(reason)
            .collect()
    }
}

impl FromIterator<TrialStatus> for Counts {
    fn from_iter<I: IntoIterator<Item = TrialStatus>>(statuses: I) -> Self {
        let mut counts = Self::default();
        statuses.into_iter().for_each(|status| counts.add(status));
        counts
    }
}
