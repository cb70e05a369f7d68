//! The scheduler: a pure state machine from what happened to what to do.
//!
//! Owns: the order of trials, what runs at once, reservations of the run's budget, retries, backoff, phases and
//! cancellation. Must not: wait, spawn, log or know what a sandbox is. Time comes in with each input.
//!
//! Rules it keeps (each has a property test below):
//! - never more trials, sandboxes or calls of a model at once than allowed;
//! - never more sandboxes made ahead than allowed, and each is used, failed or dropped before the run ends;
//! - reservations plus what was spent never exceed the run's budget;
//! - each trial gets exactly one ending that settles it, is given up, skipped, or stays open for a later process;
//! - an ending that the model caused is never followed by another attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{CallThen, RunEnd, SkipReason};
use crate::model::{ModelError, Transience};
use crate::outcome::CancelledBy;
use crate::suite::OnSpent;
use crate::units::Tokens;

mod admission;
mod backoff;
mod breaker;
mod calls;
mod ending;
mod terms;
#[cfg(test)]
mod tests;

use admission::Ahead;
use breaker::Breakers;
use calls::ModelGate;
pub use terms::{
    Census, Command, Ending, Finish, Input, ModelLimits, Schedule, Scope, Spend, TrialIndex, TrialNeeds,
    TrialPast,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a later phase, or waiting for a slot.
    Ready,
    Running,
    /// Waiting before the next attempt.
    Backoff,
    /// Settled, given up or skipped.
    Closed,
    /// Left for a later process.
    Open,
}

#[derive(Clone, Debug)]
struct Book {
    state: State,
    attempts: u32,
    voids: u32,
    same: u32,
    last_error: Option<String>,
    /// Its sandbox could not be made ahead; that is not tried twice.
    not_ahead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    Interrupted,
    Halted,
}

/// The scheduler. See the module's page for its rules.
#[derive(Debug)]
pub struct Scheduler {
    schedule: Schedule,
    books: Vec<Book>,
    ready: BTreeMap<Class, BTreeSet<TrialIndex>>,
    /// The least that any trial of a class reserves: if not even that fits, its many trials need not be looked at.
    least: BTreeMap<Class, Spend>,
    backoff: BTreeSet<(Duration, TrialIndex)>,
    running: BTreeSet<TrialIndex>,
    sandboxes: u32,
    ahead: Ahead,
    reserved: Spend,
    gates: Vec<ModelGate>,
    call_errors: BTreeMap<TrialIndex, (String, u32)>,
    phase: usize,
    phase_started: bool,
    unsettled: Vec<u32>,
    blocked: Option<String>,
    breakers: Breakers,
    stopping: Stopping,
    budget_spent: bool,
    finished: bool,
    woken_for: Option<Duration>,
}

/// What trials rely on: whether on sandboxes, and on which model.
type Class = (bool, Option<usize>);

impl Scheduler {
    /// Starts from a schedule.
    pub fn new(mut schedule: Schedule) -> Self {
        schedule
            .past
            .resize_with(schedule.trials.len(), TrialPast::default);
        let books: Vec<Book> = schedule
            .past
            .iter()
            .map(|past| Book {
                state: if past.closed { State::Closed } else { State::Ready },
                attempts: past.attempts,
                voids: past.voids,
                same: 0,
                last_error: None,
                not_ahead: false,
            })
            .collect();
        let mut unsettled = vec![0; schedule.phases];
        for (trial, book) in schedule.trials.iter().zip(&books) {
            if book.state == State::Ready && trial.phase < schedule.phases {
                unsettled[trial.phase] += 1;
            }
        }
        let gates = schedule
            .models
            .iter()
            .map(|limits| ModelGate::new(*limits))
            .collect();
        Self {
            books,
            ready: BTreeMap::new(),
            least: least(&schedule.trials),
            backoff: BTreeSet::new(),
            running: BTreeSet::new(),
            sandboxes: 0,
            ahead: Ahead::default(),
            reserved: Spend::default(),
            gates,
            call_errors: BTreeMap::new(),
            phase: 0,
            phase_started: false,
            unsettled,
            blocked: None,
            breakers: Breakers::new(schedule.retry.same_error, schedule.models.len()),
            stopping: Stopping::No,
            budget_spent: false,
            finished: false,
            woken_for: None,
            schedule,
        }
    }

    /// Takes one input and returns what to do, in order.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.finished {
            return commands;
        }
        // Calls free no slot and no budget: whether a further trial can start is asked only when it may have changed,
        // since the answer takes long if many trials wait for the budget.
        let of_a_call = matches!(
            input,
            Input::CallWanted { .. } | Input::CallDone { .. } | Input::CallFailed { .. }
        );
        match input {
            Input::Begin => self.open_phase(&mut commands),
            // Asked for again if it came early: whoever sent it has no other alarm set.
            Input::Tick => self.woken_for = None,
            Input::CallWanted { trial, tokens } => self.call_wanted(trial, tokens),
            Input::CallDone { trial, tokens } => self.call_done(trial, tokens),
            Input::CallFailed { trial, error } => self.call_failed(trial, &error, &mut commands),
            Input::AttemptEnded { trial, ending, spent } => {
                self.attempt_ended(now, trial, &ending, spent, &mut commands);
            }
            Input::PreparationFailed { trial } => self.preparation_failed(trial),
            Input::Interrupt => self.interrupt(&mut commands),
        }
        self.advance(now, !of_a_call, &mut commands);
        commands
    }

    /// Counts the trials by state.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for book in &self.books {
            match book.state {
                State::Ready => census.ready += 1,
                State::Running => census.running += 1,
                State::Backoff => census.backoff += 1,
                State::Closed => census.closed += 1,
                State::Open => census.open += 1,
            }
        }
        census
    }

    /// Returns how many trials wait before another attempt.
    pub fn backing_off(&self) -> u32 {
        u32::try_from(self.backoff.len()).unwrap_or(u32::MAX)
    }

    /// Returns why trials that could run are waiting, in words, if they are.
    pub fn waiting_for(&self, now: Duration) -> Option<String> {
        if let Some(text) = self.breakers.waiting_for(now) {
            return Some(text);
        }
        let calls: usize = self.gates.iter().map(ModelGate::waiting).sum();
        if calls > 0 {
            return Some(format!("{calls} for a slot of their model"));
        }
        if !self.any_ready() {
            let next = self.backoff.first().map(|(due, _)| due.saturating_sub(now));
            return next.map(|wait| format!("a retry in {}", crate::units::format_duration(wait)));
        }
        if self.running.len() >= self.schedule.max_trials as usize {
            return Some("a slot for a trial".to_owned());
        }
        let boxed = self.ready.iter().any(|(class, set)| class.0 && !set.is_empty());
        if boxed && self.sandboxes >= self.schedule.max_sandboxes {
            return Some("a slot for a sandbox".to_owned());
        }
        Some("the run's budget".to_owned())
    }

    fn open_phase(&mut self, commands: &mut Vec<Command>) {
        while self.phase < self.schedule.phases && self.unsettled[self.phase] == 0 {
            self.phase += 1;
        }
        if self.phase == self.schedule.phases {
            return;
        }
        self.phase_started = true;
        commands.push(Command::StartPhase(self.phase));
        for (index, needs) in self.schedule.trials.iter().enumerate() {
            if needs.phase == self.phase && self.books[index].state == State::Ready {
                let class = (needs.sandbox, needs.model);
                self.ready.entry(class).or_default().insert(trial_index(index));
            }
        }
    }

    fn advance(&mut self, now: Duration, freed: bool, commands: &mut Vec<Command>) {
        self.check_deadline(now, commands);
        let due = self.take_due(now);
        let admitting = freed || due || self.breakers.any_open();
        for gate in &mut self.gates {
            gate.grant(now, commands);
        }
        loop {
            if admitting && self.stopping == Stopping::No && !self.budget_spent {
                self.start_trials(now, commands);
                self.look_ahead(commands);
            }
            if self.stopping != Stopping::No || self.budget_spent {
                self.drop_ahead(commands);
            }
            let phase = self.phase;
            self.settle_phase(commands);
            if self.finished || self.phase == phase {
                break;
            }
        }
        self.wake(now, commands);
    }

    fn check_deadline(&mut self, now: Duration, commands: &mut Vec<Command>) {
        if self.budget_spent || self.schedule.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.spend_budget(commands);
    }

    /// Ends admission: whatever has not started is skipped.
    fn spend_budget(&mut self, commands: &mut Vec<Command>) {
        self.budget_spent = true;
        if self.schedule.on_spent == OnSpent::Cancel {
            for trial in &self.running {
                commands.push(Command::CancelAttempt {
                    trial: *trial,
                    by: CancelledBy::Budget,
                });
            }
        }
        self.skip_waiting(commands);
    }

    fn skip_waiting(&mut self, commands: &mut Vec<Command>) {
        let waiting: Vec<TrialIndex> = (0..self.books.len())
            .filter(|index| matches!(self.books[*index].state, State::Ready | State::Backoff))
            .map(trial_index)
            .collect();
        for trial in waiting {
            self.close(trial, State::Closed);
            commands.push(Command::SkipTrial {
                trial,
                why: SkipReason::Budget,
            });
        }
        self.ready.clear();
        self.backoff.clear();
    }

    /// Makes the trials ready whose wait is over; returns whether there were any.
    fn take_due(&mut self, now: Duration) -> bool {
        let mut any = false;
        while let Some((due, trial)) = self.backoff.first().copied() {
            if due > now {
                break;
            }
            self.backoff.remove(&(due, trial));
            self.books[trial.at()].state = State::Ready;
            let class = self.class(trial);
            self.ready.entry(class).or_default().insert(trial);
            any = true;
        }
        any
    }

    fn class(&self, trial: TrialIndex) -> Class {
        let needs = &self.schedule.trials[trial.at()];
        (needs.sandbox, needs.model)
    }

    fn any_ready(&self) -> bool {
        self.ready.values().any(|set| !set.is_empty())
    }

    fn call_wanted(&mut self, trial: TrialIndex, tokens: Tokens) {
        if let Some(gate) = self.gate(trial) {
            gate.want(trial, tokens);
        }
    }

    fn call_done(&mut self, trial: TrialIndex, tokens: Tokens) {
        self.call_errors.remove(&trial);
        if let Some(gate) = self.gate(trial) {
            gate.release(trial, tokens);
        }
    }

    fn call_failed(&mut self, trial: TrialIndex, error: &ModelError, commands: &mut Vec<Command>) {
        if let Some(gate) = self.gate(trial) {
            gate.release(trial, Tokens::ZERO);
        }
        let entry = self
            .call_errors
            .entry(trial)
            .or_insert_with(|| (String::new(), 0));
        if entry.0 != error.name() {
            *entry = (error.name().to_owned(), 0);
        }
        entry.1 += 1;
        let tries = entry.1;
        let allowed = backoff::allowed_tries(error, self.schedule.retry.same_error);
        let then = if error.transience() == Transience::Permanent || tries >= allowed {
            self.call_errors.remove(&trial);
            CallThen::GiveUp
        } else {
            let after = backoff::wait(self.schedule.seed, trial.0, tries, error.retry_after());
            CallThen::Retry { after }
        };
        commands.push(Command::AnswerCall { trial, then });
    }

    fn gate(&mut self, trial: TrialIndex) -> Option<&mut ModelGate> {
        let model = self.schedule.trials.get(trial.at())?.model?;
        self.gates.get_mut(model)
    }

    fn close(&mut self, trial: TrialIndex, state: State) {
        self.books[trial.at()].state = state;
        if let Some(count) = self.unsettled.get_mut(self.schedule.trials[trial.at()].phase) {
            *count = count.saturating_sub(1);
        }
    }

    fn interrupt(&mut self, commands: &mut Vec<Command>) {
        if self.stopping == Stopping::Interrupted {
            self.finished = true;
            commands.push(Command::Abort);
            return;
        }
        self.stopping = Stopping::Interrupted;
        self.cancel_running(CancelledBy::Operator, commands);
    }

    fn cancel_running(&self, by: CancelledBy, commands: &mut Vec<Command>) {
        commands.extend(
            self.running
                .iter()
                .map(|trial| Command::CancelAttempt { trial: *trial, by }),
        );
    }

    fn settle_phase(&mut self, commands: &mut Vec<Command>) {
        if self.finished || !self.running.is_empty() {
            return;
        }
        match self.stopping {
            Stopping::Interrupted => return self.finish(Finish::Interrupted, commands),
            Stopping::Halted => return self.halt(commands),
            Stopping::No => {}
        }
        if self.phase < self.schedule.phases && self.unsettled[self.phase] > 0 {
            return;
        }
        if self.blocked.is_some() {
            return self.halt(commands);
        }
        if self.phase_started {
            commands.push(Command::EndPhase(self.phase));
            self.phase_started = false;
            self.phase += 1;
        }
        if self.budget_spent {
            return self.finish(Finish::Ended(RunEnd::BudgetSpent), commands);
        }
        self.open_phase(commands);
        if self.phase == self.schedule.phases {
            self.finish(Finish::Ended(RunEnd::Complete), commands);
        }
    }

    fn halt(&mut self, commands: &mut Vec<Command>) {
        let error = self.blocked.clone().unwrap_or_default();
        self.finish(Finish::Halted { error }, commands);
    }

    fn finish(&mut self, finish: Finish, commands: &mut Vec<Command>) {
        self.finished = true;
        self.drop_ahead(commands);
        commands.push(Command::Finish(finish));
    }

    fn wake(&mut self, now: Duration, commands: &mut Vec<Command>) {
        if self.finished {
            return;
        }
        let backoff = self.backoff.first().map(|(due, _)| *due);
        let deadline = self.schedule.deadline.filter(|_| !self.budget_spent);
        let breaker = self.breakers.wakes_at(now).filter(|_| self.any_ready());
        let calls = self.gates.iter().filter_map(|gate| gate.wakes_at(now)).min();
        let next = [backoff, deadline, breaker, calls]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min();
        if let Some(at) = next
            && self.woken_for != Some(at)
        {
            self.woken_for = Some(at);
            commands.push(Command::Wake(at));
        }
    }
}

fn least(trials: &[TrialNeeds]) -> BTreeMap<Class, Spend> {
    let mut least: BTreeMap<Class, Spend> = BTreeMap::new();
    for needs in trials {
        let entry = least.entry((needs.sandbox, needs.model)).or_insert(needs.reserve);
        entry.tokens = entry.tokens.min(needs.reserve.tokens);
        entry.cost = entry.cost.min(needs.reserve.cost);
    }
    least
}

fn trial_index(index: usize) -> TrialIndex {
    TrialIndex(u32::try_from(index).unwrap_or(u32::MAX))
}
