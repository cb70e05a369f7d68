//! The scheduler: a pure state machine from what happened to what to do.
//!
//! Owns: the order of trials, what runs at once, reservations of the run's budget, retries, backoff, phases and
//! cancellation. Must not: wait, spawn, log or know what a sandbox is. Time comes in with each input.
//!
//! Rules it keeps (each has a property test below):
//! - never more trials, sandboxes or calls of a model at once than allowed;
//! - reservations plus what was spent never exceed the run's budget;
//! - each trial gets exactly one ending that settles it, is given up, skipped, or stays open for a later process;
//! - an ending that the model caused is never followed by another attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::{CallThen, RunEnd, SkipReason, Then};
use crate::model::{ModelError, Transience};
use crate::outcome::{CancelledBy, Fault};
use crate::suite::{OnSpent, RetryPolicy};
use crate::units::{Tokens, Usd};

mod backoff;
mod breaker;
mod calls;
#[cfg(test)]
mod tests;

use breaker::{Breakers, Verdict};
use calls::ModelGate;

/// A trial's place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrialIndex(pub u32);

impl TrialIndex {
    /// Returns the place as an index.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// Tokens and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spend {
    /// Tokens, input and output.
    pub tokens: Tokens,
    /// Money; what is unknown counts as nothing here, and a plan with a budget of money has no unknown price.
    pub cost: Usd,
}

impl std::ops::Add for Spend {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            cost: self.cost + other.cost,
        }
    }
}

impl Spend {
    fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            cost: self.cost.saturating_sub(other.cost),
        }
    }
}

/// What the scheduler knows of a trial.
#[derive(Clone, Debug)]
pub struct TrialNeeds {
    /// The phase that it belongs to, by number.
    pub phase: usize,
    /// Whether it needs a sandbox.
    pub sandbox: bool,
    /// The most it can spend; reserved before it starts.
    pub reserve: Spend,
    /// The model that it calls, by number.
    pub model: Option<usize>,
}

/// What an earlier process knew of a trial.
#[derive(Clone, Debug, Default)]
pub struct TrialPast {
    /// Attempts so far.
    pub attempts: u32,
    /// Of these, void ones that count against the retry policy.
    pub voids: u32,
    /// Whether nothing more is to be done.
    pub closed: bool,
}

/// How many calls and tokens a model may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelLimits {
    /// Calls in flight.
    pub requests: Option<u32>,
    /// Tokens per minute.
    pub tokens_per_minute: Option<Tokens>,
}

/// What a scheduler starts from.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Trials in the order in which they are to start.
    pub trials: Vec<TrialNeeds>,
    /// What is known of them; empty or one for each trial.
    pub past: Vec<TrialPast>,
    /// How many phases there are.
    pub phases: usize,
    /// Trials at once.
    pub max_trials: u32,
    /// Sandboxes at once.
    pub max_sandboxes: u32,
    /// By the numbers in [`TrialNeeds::model`].
    pub models: Vec<ModelLimits>,
    /// When an attempt is followed by another.
    pub retry: RetryPolicy,
    /// The most tokens of the run.
    pub budget_tokens: Option<Tokens>,
    /// The most money of the run.
    pub budget_cost: Option<Usd>,
    /// When no further trial starts, on the clock of the inputs.
    pub deadline: Option<Duration>,
    /// What happens to running trials then.
    pub on_spent: OnSpent,
    /// What earlier processes spent.
    pub spent: Spend,
    /// Seeds the jitter.
    pub seed: u64,
}

/// How an attempt ended, as far as scheduling goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The model's doing, for better or worse.
    Settled,
    /// Not the model's doing.
    Void {
        /// Whose.
        fault: Fault,
        /// The error's short name.
        error: String,
        /// Whether other trials are likely to meet the same.
        scope: Scope,
    },
    /// Stopped from outside.
    Cancelled,
}

/// Whom an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This attempt.
    Attempt,
    /// Whatever all trials rely on: the daemon, the provider, the network.
    Environment,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The run begins.
    Begin,
    /// Time has passed.
    Tick,
    /// A trial wants to call its model.
    CallWanted {
        /// Which.
        trial: TrialIndex,
        /// The most tokens that the call can take.
        tokens: Tokens,
    },
    /// A call brought an answer.
    CallDone {
        /// Which trial's.
        trial: TrialIndex,
        /// Tokens that it took.
        tokens: Tokens,
    },
    /// A call failed.
    CallFailed {
        /// Which trial's.
        trial: TrialIndex,
        /// Why.
        error: ModelError,
    },
    /// An attempt ended and its sandbox is gone.
    AttemptEnded {
        /// Which trial's.
        trial: TrialIndex,
        /// How.
        ending: Ending,
        /// What it spent.
        spent: Spend,
    },
    /// A person asks to stop: once to end in order, twice to end at once.
    Interrupt,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Log the start of a phase.
    StartPhase(usize),
    /// Start an attempt.
    StartAttempt {
        /// Of which trial.
        trial: TrialIndex,
        /// Its number, from 1.
        number: u32,
    },
    /// Let a waiting trial call its model.
    GrantCall(TrialIndex),
    /// Tell a trial what follows its failed call.
    AnswerCall {
        /// Which.
        trial: TrialIndex,
        /// What follows.
        then: CallThen,
    },
    /// Log the ending of an attempt with what follows.
    CloseAttempt {
        /// Of which trial.
        trial: TrialIndex,
        /// What follows.
        then: Then,
    },
    /// Stop a running attempt.
    CancelAttempt {
        /// Of which trial.
        trial: TrialIndex,
        /// By whose order.
        by: CancelledBy,
    },
    /// Log that a trial is not tried.
    SkipTrial {
        /// Which.
        trial: TrialIndex,
        /// Why.
        why: SkipReason,
    },
    /// Log the end of a phase.
    EndPhase(usize),
    /// Send [`Input::Tick`] at this time.
    Wake(Duration),
    /// End the run.
    Finish(Finish),
    /// End the process at once.
    Abort,
}

/// Why a process ends its run.
#[derive(Clone, Debug, PartialEq)]
pub enum Finish {
    /// Nothing is left to do.
    Ended(RunEnd),
    /// A person stopped it; it can be continued.
    Interrupted,
    /// It cannot go on until somebody repairs something; it can be continued.
    Halted {
        /// The error's short name.
        error: String,
    },
}

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

/// How many trials are in which state; they add up to the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Waiting for a slot, or in a later phase.
    pub ready: u32,
    /// Running.
    pub running: u32,
    /// Waiting before another attempt.
    pub backoff: u32,
    /// Settled, given up or skipped.
    pub closed: u32,
    /// Left for a later process.
    pub open: u32,
}

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

    fn start_trials(&mut self, now: Duration, commands: &mut Vec<Command>) {
        while self.running.len() < self.schedule.max_trials as usize {
            let Some(trial) = self.next_trial(now) else { break };
            let class = self.class(trial);
            if let Some(set) = self.ready.get_mut(&class) {
                set.remove(&trial);
            }
            self.breakers.started(class);
            let needs = &self.schedule.trials[trial.at()];
            self.sandboxes += u32::from(needs.sandbox);
            self.reserved = self.reserved + needs.reserve;
            self.running.insert(trial);
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

    fn attempt_ended(
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
        self.breakers.ended((needs.sandbox, needs.model));
        self.schedule.spent = self.schedule.spent + spent;
        self.call_errors.remove(&trial);
        if let Some(gate) = self.gate(trial) {
            gate.release(trial, Tokens::ZERO);
        }
        let then = match ending {
            Ending::Settled => {
                self.breakers.works(self.class(trial));
                self.close(trial, State::Closed);
                Then::Settled
            }
            Ending::Cancelled => {
                self.close(trial, State::Open);
                Then::Open
            }
            Ending::Void { fault, error, scope } => self.void(now, trial, *fault, error, *scope),
        };
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
