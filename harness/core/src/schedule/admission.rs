//! Which trials start, and for which the sandbox is started ahead.
//!
//! Owns: slots, the budget's room, and the look-ahead. Must not: know how attempts end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Class, Command, Scheduler, Spend, State, TrialIndex};

/// The trials whose sandboxes are made before they start.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Ready trials whose sandboxes are being made or are there.
    trials: BTreeSet<TrialIndex>,
    /// A sandbox could not be made ahead, and nothing has shown since that sandboxes work.
    paused: bool,
}

impl Ahead {
    /// An attempt in a sandbox ended by the model's doing.
    pub(super) fn works(&mut self) {
        self.paused = false;
    }
}

impl Scheduler {
    pub(super) fn start_trials(&mut self, now: Duration, commands: &mut Vec<Command>) {
        while self.running.len() < self.schedule.max_trials as usize {
            let Some(trial) = self.next_trial(now) else { break };
            let class = self.class(trial);
            if let Some(set) = self.ready.get_mut(&class) {
                set.remove(&trial);
            }
            self.breakers.started(trial, class);
            let needs = &self.schedule.trials[trial.at()];
            self.sandboxes += u32::from(needs.sandbox);
            self.reserved = self.reserved + needs.reserve;
            self.running.insert(trial);
            self.ahead.trials.remove(&trial);
            let book = &mut self.books[trial.at()];
            book.state = State::Running;
            book.attempts += 1;
            commands.push(Command::StartAttempt {
                trial,
                number: book.attempts,
            });
        }
        let held = |(class, set): (&Class, &BTreeSet<_>)| !set.is_empty() && !self.breakers.room(now, *class);
        let held = self.ready.iter().any(held);
        if self.running.is_empty() && self.backoff.is_empty() && self.any_ready() && !held {
            // Nothing runs, nothing will free anything, and nothing fits: the budget is spent.
            self.spend_budget(commands);
        }
    }

    fn next_trial(&self, now: Duration) -> Option<TrialIndex> {
        let free = self.sandboxes < self.schedule.max_sandboxes;
        let unlimited = self.schedule.budget_tokens.is_none() && self.schedule.budget_cost.is_none();
        let fits = |trial: &&TrialIndex| unlimited || self.fits(self.schedule.trials[trial.at()].reserve);
        self.ready
            .iter()
            .filter(|(class, _)| (free || !class.0) && self.breakers.room(now, **class))
            .filter(|(class, _)| unlimited || self.fits(self.least.get(class).copied().unwrap_or_default()))
            .filter_map(|(_, set)| set.iter().find(fits))
            .min()
            .copied()
    }

    fn fits(&self, reserve: Spend) -> bool {
        let total = self.schedule.spent + self.reserved + reserve;
        self.schedule
            .budget_tokens
            .is_none_or(|budget| total.tokens <= budget)
            && self
                .schedule
                .budget_cost
                .is_none_or(|budget| total.cost <= budget)
    }

    /// Has sandboxes started for the trials that start next, as long as no slot is free for the trials themselves.
    pub(super) fn look_ahead(&mut self, commands: &mut Vec<Command>) {
        let full = self.sandboxes >= self.schedule.max_sandboxes
            || self.running.len() >= self.schedule.max_trials as usize;
        let free = (self.schedule.look_ahead as usize).saturating_sub(self.ahead.trials.len());
        if !full || free == 0 || self.ahead.paused {
            return;
        }
        let mut reserved = self.ahead.trials.iter().fold(Spend::default(), |sum, trial| {
            sum + self.schedule.trials[trial.at()].reserve
        });
        for trial in self.next_in_line(free) {
            reserved = reserved + self.schedule.trials[trial.at()].reserve;
            if !self.fits(reserved) {
                break;
            }
            self.ahead.trials.insert(trial);
            commands.push(Command::PrepareSandbox {
                trial,
                number: self.books[trial.at()].attempts + 1,
            });
        }
    }

    /// Returns the first ready trials that need a sandbox, have none, and are held back by no breaker.
    fn next_in_line(&self, count: usize) -> Vec<TrialIndex> {
        let without =
            |trial: &&TrialIndex| !self.ahead.trials.contains(trial) && !self.books[trial.at()].not_ahead;
        let classes = self
            .ready
            .iter()
            .filter(|(class, _)| class.0 && self.breakers.quiet(**class));
        let mut next: Vec<TrialIndex> = classes
            .flat_map(|(_, set)| set.iter().filter(without).take(count))
            .copied()
            .collect();
        next.sort_unstable();
        next.truncate(count);
        next
    }

    /// Drops every sandbox that was made ahead: its trial does not start any more.
    pub(super) fn drop_ahead(&mut self, commands: &mut Vec<Command>) {
        let dropped = std::mem::take(&mut self.ahead.trials).into_iter();
        commands.extend(dropped.map(|trial| Command::DropSandbox { trial }));
    }

    /// A trial whose sandbox could not be made ahead starts one itself and meets the error, so that it counts as
    /// always. Nothing more is made ahead until an attempt shows that sandboxes work.
    pub(super) fn preparation_failed(&mut self, trial: TrialIndex) {
        if self.ahead.trials.remove(&trial) {
            self.books[trial.at()].not_ahead = true;
            self.ahead.paused = true;
        }
    }
}
