//! Notices that something which all trials rely on is broken, and stops spending trials on it.
//!
//! When several different trials in a row end in the same error of the environment, new trials are held back: after
//! a growing wait a single one probes. Trials that met the breakage get another attempt that does not count against
//! them. If no probe works, or the error is one that only a person can repair, the run halts and can be continued.
//!
//! Sandboxes and each model have a breaker of their own: trials that do not rely on what is broken go on, and that
//! they work says nothing about it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Class, Scope, TrialIndex};
use crate::outcome::Fault;
use crate::units::format_duration;

/// Probes before the run halts: waits of 1, 2, 4, ... 60 s, about four minutes in all.
const PROBES: u32 = 9;
const LONGEST: Duration = Duration::from_secs(60);

/// One breaker for everything that trials rely on.
#[derive(Debug)]
pub(super) struct Breakers {
    sandboxes: Breaker,
    models: Vec<Breaker>,
    other: Breaker,
}

impl Breakers {
    pub(super) fn new(threshold: u32, models: usize) -> Self {
        Self {
            sandboxes: Breaker::new(threshold),
            models: (0..models).map(|_| Breaker::new(threshold)).collect(),
            other: Breaker::new(threshold),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Breaker> {
        [&self.sandboxes, &self.other].into_iter().chain(&self.models)
    }

    /// The breakers that watch what trials of a class rely on.
    fn watching(&self, (sandbox, model): Class) -> impl Iterator<Item = &Breaker> {
        let model = model.and_then(|model| self.models.get(model));
        let other = (!sandbox && model.is_none()).then_some(&self.other);
        sandbox
            .then_some(&self.sandboxes)
            .into_iter()
            .chain(model)
            .chain(other)
    }

    fn watching_mut(&mut self, (sandbox, model): Class) -> impl Iterator<Item = &mut Breaker> {
        let model = model.and_then(|model| self.models.get_mut(model));
        let other = (!sandbox && model.is_none()).then_some(&mut self.other);
        sandbox
            .then_some(&mut self.sandboxes)
            .into_iter()
            .chain(model)
            .chain(other)
    }

    /// The breaker that a void ending of a trial of this class concerns.
    pub(super) fn of(&mut self, (sandbox, model): Class, fault: Fault) -> &mut Breaker {
        let own = model.and_then(|model| self.models.get_mut(model));
        match own {
            Some(own) if fault != Fault::Sandbox => own,
            _ if sandbox => &mut self.sandboxes,
            Some(own) => own,
            None => &mut self.other,
        }
    }

    /// Returns whether one more trial of a class may run.
    pub(super) fn room(&self, now: Duration, class: Class) -> bool {
        self.watching(class).all(|breaker| breaker.room(now))
    }

    /// Returns whether nothing that trials of a class rely on is known to be broken.
    pub(super) fn quiet(&self, class: Class) -> bool {
        self.watching(class).all(|breaker| breaker.closed_until.is_none())
    }

    pub(super) fn started(&mut self, trial: TrialIndex, class: Class) {
        self.watching_mut(class)
            .for_each(|breaker| breaker.started(trial));
    }

    pub(super) fn ended(&mut self, trial: TrialIndex, class: Class) {
        self.watching_mut(class).for_each(|breaker| {
            breaker.probes.remove(&trial);
        });
    }

    /// A trial of a class ended by the model's doing: what it relies on works.
    pub(super) fn works(&mut self, class: Class) {
        self.watching_mut(class).for_each(Breaker::works);
    }

    /// Returns whether any trial is or was just held back.
    pub(super) fn any_open(&self) -> bool {
        self.all().any(|breaker| breaker.closed_until.is_some())
    }

    /// Returns when the next probe is due.
    pub(super) fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let times = self.all().filter_map(|breaker| breaker.closed_until);
        times.filter(|at| *at > now).min()
    }

    pub(super) fn waiting_for(&self, now: Duration) -> Option<String> {
        self.all().find_map(|breaker| breaker.waiting_for(now))
    }
}

#[derive(Debug)]
pub(super) struct Breaker {
    threshold: u32,
    error: String,
    trials: BTreeSet<TrialIndex>,
    failed_probes: u32,
    closed_until: Option<Duration>,
    /// Trials that were started since. Those from before say nothing about whether what broke works again.
    probes: BTreeSet<TrialIndex>,
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
    fn new(threshold: u32) -> Self {
        Self {
            threshold: threshold.max(1),
            error: String::new(),
            trials: BTreeSet::new(),
            failed_probes: 0,
            closed_until: None,
            probes: BTreeSet::new(),
        }
    }

    fn started(&mut self, trial: TrialIndex) {
        if self.closed_until.is_some() {
            self.probes.insert(trial);
        }
    }

    /// Returns whether one more trial may start.
    fn room(&self, now: Duration) -> bool {
        self.closed_until
            .is_none_or(|until| now >= until && self.probes.is_empty())
    }

    /// An attempt ended by the model's doing: the environment works.
    fn works(&mut self) {
        self.error.clear();
        self.trials.clear();
        self.failed_probes = 0;
        self.closed_until = None;
        self.probes.clear();
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
        // Attempts that were under way when it broke are one failure, not several probes, whenever they end.
        let probed = self.probes.contains(&trial);
        if self.closed_until.is_none_or(|until| now >= until && probed) {
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

    fn waiting_for(&self, now: Duration) -> Option<String> {
        let until = self.closed_until?;
        let wait = format_duration(until.saturating_sub(now));
        Some(format!(
            "the error `{}` to go away; next try in {wait}",
            self.error
        ))
    }
}
