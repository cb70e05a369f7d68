//! The words of scheduling: what it starts from, what happens, what is to be done.
//!
//! Owns: the values that cross the scheduler's edge. Must not: decide.

use std::time::Duration;

use crate::event::{CallThen, RunEnd, SkipReason, Then};
use crate::model::ModelError;
use crate::outcome::{CancelledBy, Fault};
use crate::suite::{OnSpent, RetryPolicy};
use crate::units::{Tokens, Usd};

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
    pub(super) fn minus(self, other: Self) -> Self {
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
    /// Sandboxes of running trials at once.
    pub max_sandboxes: u32,
    /// Sandboxes of trials that have not started, at once.
    pub look_ahead: u32,
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
    /// A sandbox could not be made ahead. Its trial is not spent: its attempt will start one itself.
    PreparationFailed {
        /// Of which trial.
        trial: TrialIndex,
    },
    /// A person asks to stop: once to end in order, twice to end at once.
    Interrupt,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Log the start of a phase.
    StartPhase(usize),
    /// Start the sandbox of a trial's next attempt ahead of it.
    PrepareSandbox {
        /// Of which trial.
        trial: TrialIndex,
        /// The attempt's number, from 1.
        number: u32,
    },
    /// Remove the sandbox that was started ahead: its attempt does not come.
    DropSandbox {
        /// Of which trial.
        trial: TrialIndex,
    },
    /// Start an attempt. It takes the sandbox that was started ahead, if there is one.
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
