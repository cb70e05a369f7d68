//! Notices that something which all trials rely on is broken, and stops spending trials on it.
//!
//! When several different trials in a row end in the same error of the environment, new trials are held back: after
//! a growing wait a single one probes. Trials that met the breakage get another attempt that does not count against
//! them. If no probe works, or the error is one that only a person can repair, the run halts and can be continued.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Scope, TrialIndex};
use crate::units::format_duration;

/// Probes before the run halts: waits of 1, 2, 4, ... 60 s, about four minutes in all.
const PROBES: u32 = 9;
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    error: String,
    trials: BTreeSet<TrialIndex>,
    failed_probes: u32,
    closed_until: Option<Duration>,
}

/// What a void ending means.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It concerns this trial.
    Own,
    /// The environment is broken for now.
    Environment {
        /// When the trial may be tried again.
        wait: Duration,
    },
    /// The run can't go on.
    Halt,
}

impl Breaker {
    pub(super) fn new(threshold: u32) -> Self {
        Self {
            threshold: threshold.max(1),
            error: String::new(),
            trials: BTreeSet::new(),
            failed_probes: 0,
            closed_until: None,
        }
    }

    /// An attempt ended by the model's doing: the environment works.
    pub(super) fn works(&mut self) {
        self.error.clear();
        self.trials.clear();
        self.failed_probes = 0;
        self.closed_until = None;
    }

    /// An attempt was void. The last argument: whether only a person can repair it, and how many trials of the
    /// phase are not settled.
    pub(super) fn fails(
        &mut self,
        now: Duration,
        trial: TrialIndex,
        error: &str,
        scope: Scope,
        (by_hand, left): (bool, u32),
    ) -> Verdict {
        if scope == Scope::Attempt && !by_hand {
            return Verdict::Own;
        }
        if self.error != error {
            self.works();
            error.clone_into(&mut self.error);
        }
        self.trials.insert(trial);
        let distinct = u32::try_from(self.trials.len()).unwrap_or(u32::MAX);
        if distinct < self.threshold.min(left.max(1)) {
            return Verdict::Own;
        }
        if by_hand {
            return Verdict::Halt;
        }
        // Attempts that were under way when it broke end together; they are one failure, not several probes.
        if self.closed_until.is_none_or(|until| now >= until) {
            self.failed_probes += 1;
            if self.failed_probes > PROBES {
                return Verdict::Halt;
            }
            let wait = Duration::from_secs(1 << (self.failed_probes - 1).min(10)).min(LONGEST);
            self.closed_until = Some(now + wait);
        }
        Verdict::Environment {
            wait: self
                .closed_until
                .map_or(Duration::ZERO, |until| until.saturating_sub(now)),
        }
    }

    /// Returns how many trials may run at once.
    pub(super) fn room(&self, now: Duration, running: usize) -> usize {
        match self.closed_until {
            None => usize::MAX,
            Some(until) if now < until => 0,
            Some(_) => usize::from(running == 0),
        }
    }

    pub(super) fn wakes_at(&self) -> Option<Duration> {
        self.closed_until
    }

    pub(super) fn waiting_for(&self, now: Duration) -> Option<String> {
        let until = self.closed_until?;
        let wait = format_duration(until.saturating_sub(now));
        Some(format!(
            "the error `{}` to go away; next try in {wait}",
            self.error
        ))
    }
}
