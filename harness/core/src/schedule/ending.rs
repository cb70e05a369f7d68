//! What follows the ending of an attempt.
//!
//! Owns: retries, void counting and what a breaker says. Must not: start anything.

use std::time::Duration;

use super::breaker::Verdict;
use super::{
    Class, Command, Ending, Scheduler, Scope, Spend, State, Stopping, TrialIndex, TrialNeeds, backoff,
};
use crate::event::{SkipReason, Then};
use crate::outcome::{CancelledBy, Fault};
use crate::units::Tokens;

impl Scheduler {
    pub(super) fn attempt_ended(
        &mut self,
        now: Duration,
        trial: TrialIndex,
        ending: &Ending,
        spent: Spend,
        commands: &mut Vec<Command>,
    ) {
        if !self.running.remove(&trial) {
            return;
        }
        let needs = &self.schedule.trials[trial.at()];
        self.sandboxes -= u32::from(needs.sandbox);
        self.reserved = self.reserved.minus(needs.reserve);
        self.schedule.spent = self.schedule.spent + spent;
        self.call_errors.remove(&trial);
        if let Some(gate) = self.gate(trial) {
            gate.release(trial, Tokens::ZERO);
        }
        let then = match ending {
            Ending::Settled => {
                let class = self.class(trial);
                self.breakers.works(class);
                if class.0 {
                    self.ahead.works();
                }
                self.close(trial, State::Closed);
                Then::Settled
            }
            Ending::Cancelled => {
                self.close(trial, State::Open);
                Then::Open
            }
            Ending::Void { fault, error, scope } => self.void(now, trial, *fault, error, *scope),
        };
        let class = self.class(trial);
        self.breakers.ended(trial, class);
        commands.push(Command::CloseAttempt { trial, then });
        if then == Then::Open && self.budget_spent && self.stopping == Stopping::No {
            // Nothing will try it again: the budget is spent.
            self.books[trial.at()].state = State::Closed;
            commands.push(Command::SkipTrial {
                trial,
                why: SkipReason::Budget,
            });
        }
        if self.stopping == Stopping::Halted {
            self.cancel_running(CancelledBy::Operator, commands);
        }
    }

    fn void(&mut self, now: Duration, trial: TrialIndex, fault: Fault, error: &str, scope: Scope) -> Then {
        let (class, by_hand) = (self.class(trial), fault == Fault::Operator);
        let left = if scope == Scope::Environment || by_hand {
            self.left_like(class)
        } else {
            0
        };
        let verdict = self
            .breakers
            .of(class, fault)
            .fails(now, trial, error, scope, (by_hand, left));
        match verdict {
            Verdict::Halt => {
                self.stopping = Stopping::Halted;
                self.blocked = Some(error.to_owned());
                self.close(trial, State::Open);
                return Then::Open;
            }
            Verdict::Environment { wait } if self.stopping == Stopping::No && !self.budget_spent => {
                return self.retry(now, trial, wait);
            }
            Verdict::Environment { .. } => {
                self.close(trial, State::Open);
                return Then::Open;
            }
            Verdict::Own => {}
        }
        if fault == Fault::Operator {
            self.blocked = Some(error.to_owned());
            self.close(trial, State::Open);
            return Then::Open;
        }
        let book = &mut self.books[trial.at()];
        book.voids += 1;
        book.same = if book.last_error.as_deref() == Some(error) {
            book.same + 1
        } else {
            1
        };
        book.last_error = Some(error.to_owned());
        if book.voids > self.schedule.retry.void || book.same >= self.schedule.retry.same_error.max(1) {
            self.close(trial, State::Closed);
            return Then::GivenUp;
        }
        if self.stopping != Stopping::No || self.budget_spent {
            self.close(trial, State::Open);
            return Then::Open;
        }
        let wait = backoff::wait(self.schedule.seed, trial.0, self.books[trial.at()].voids, None);
        self.retry(now, trial, wait)
    }

    /// Counts the trials of the phase that rely on the same and are not settled, as far as the breaker asks.
    fn left_like(&self, class: Class) -> u32 {
        let alike = |(index, needs): &(usize, &TrialNeeds)| {
            needs.phase == self.phase
                && (needs.sandbox, needs.model) == class
                && !matches!(self.books[*index].state, State::Closed | State::Open)
        };
        let trials = self.schedule.trials.iter().enumerate();
        let enough = self.schedule.retry.same_error as usize;
        u32::try_from(trials.filter(alike).take(enough).count()).unwrap_or(u32::MAX)
    }

    fn retry(&mut self, now: Duration, trial: TrialIndex, after: Duration) -> Then {
        self.books[trial.at()].state = State::Backoff;
        self.backoff.insert((now + after, trial));
        Then::Retry { after }
    }
}
