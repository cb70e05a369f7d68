//! How an attempt ended, and whose fault a void ending is.
//!
//! Owns: the values, and what counts. Must not: retry (see `schedule`).

use serde::{Deserialize, Serialize};

use crate::model::ModelError;
use crate::ports::SandboxError;
use crate::schedule::Scope;
use crate::score::ScoreResult;
use crate::task::LimitKind;
use crate::text::Capped;

/// How an attempt ended. Only `Void` may be followed by another attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The agent ended, and its result went to the scorer.
    Scored {
        /// What the scorer came to.
        score: ScoreResult,
    },
    /// A limit ended it; the state that was reached went to the scorer, or counts as 0.
    LimitReached {
        /// Which limit.
        limit: LimitKind,
        /// What the scorer came to.
        score: ScoreResult,
    },
    /// The model or its provider refused; what was reached went to the scorer.
    Refused {
        /// Who refused.
        by: RefusedBy,
        /// What the scorer came to.
        score: ScoreResult,
    },
    /// A containment event.
    Breached {
        /// What happened.
        breach: String,
        /// How it is known.
        evidence: Capped,
    },
    /// Something other than the model ended it; it says nothing about the model.
    Void {
        /// Where.
        stage: Stage,
        /// Whose fault.
        fault: Fault,
        /// The short name of the error; equal errors have equal names.
        error: String,
        /// How it is known.
        evidence: Capped,
    },
    /// It was stopped from outside before its end.
    Cancelled {
        /// Who stopped it.
        by: CancelledBy,
    },
}

impl Outcome {
    /// Returns what the scorer came to, if it was asked.
    pub fn score(&self) -> Option<&ScoreResult> {
        match self {
            Self::Scored { score } | Self::LimitReached { score, .. } | Self::Refused { score, .. } => {
                Some(score)
            }
            Self::Breached { .. } | Self::Void { .. } | Self::Cancelled { .. } => None,
        }
    }

    /// Returns the place of what the scorer came to, for scoring again.
    pub fn score_mut(&mut self) -> Option<&mut ScoreResult> {
        match self {
            Self::Scored { score } | Self::LimitReached { score, .. } | Self::Refused { score, .. } => {
                Some(score)
            }
            Self::Breached { .. } | Self::Void { .. } | Self::Cancelled { .. } => None,
        }
    }

    /// Returns the name used in files and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Scored { .. } => "scored",
            Self::LimitReached { .. } => "limit_reached",
            Self::Refused { .. } => "refused",
            Self::Breached { .. } => "breached",
            Self::Void { .. } => "void",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Returns whether this ending settles its trial: everything but void and cancelled does.
    pub fn settles(&self) -> bool {
        match self {
            Self::Scored { .. }
            | Self::LimitReached { .. }
            | Self::Refused { .. }
            | Self::Breached { .. } => true,
            Self::Void { .. } | Self::Cancelled { .. } => false,
        }
    }
}

/// A part of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The sandbox is started, files and setup commands.
    Setup,
    /// The agent works.
    Solve,
    /// The scorer works.
    Score,
    /// The sandbox is removed.
    Teardown,
}

impl Stage {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Solve => "solve",
            Self::Score => "score",
            Self::Teardown => "teardown",
        }
    }
}

/// Who caused a void ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Our program.
    Harness,
    /// The sandbox or its daemon.
    Sandbox,
    /// The model's provider.
    Provider,
    /// The task.
    Task,
    /// The scorer.
    Scorer,
    /// A person.
    Operator,
}

impl Fault {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Harness => "harness",
            Self::Sandbox => "sandbox",
            Self::Provider => "provider",
            Self::Task => "task",
            Self::Scorer => "scorer",
            Self::Operator => "operator",
        }
    }
}

/// Who refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusedBy {
    /// The model said so, by the provider's stop reason.
    Model,
    /// A filter of the provider.
    Provider,
}

/// Who stopped an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelledBy {
    /// A person.
    Operator,
    /// The run's budget.
    Budget,
    /// The process died; written when the run is continued.
    Crash,
}

/// Decides whose fault a failed model call is.
pub fn model_fault(error: &ModelError) -> Fault {
    match error {
        ModelError::RateLimited { .. }
        | ModelError::Overloaded { .. }
        | ModelError::Stalled { .. }
        | ModelError::Malformed { .. }
        | ModelError::Connection { .. }
        | ModelError::ContentPolicy { .. } => Fault::Provider,
        ModelError::QuotaSpent { .. }
        | ModelError::Authentication { .. }
        | ModelError::UnknownModel { .. }
        | ModelError::NoReply { .. } => Fault::Operator,
        ModelError::BadRequest { .. } | ModelError::ContextTooLong { .. } => Fault::Harness,
    }
}

/// Decides whether other trials are likely to meet the same failure of a model call.
pub fn model_scope(error: &ModelError) -> Scope {
    match error {
        ModelError::RateLimited { .. }
        | ModelError::Overloaded { .. }
        | ModelError::Stalled { .. }
        | ModelError::Malformed { .. }
        | ModelError::Connection { .. }
        | ModelError::QuotaSpent { .. }
        | ModelError::Authentication { .. }
        | ModelError::UnknownModel { .. } => Scope::Environment,
        ModelError::ContentPolicy { .. }
        | ModelError::BadRequest { .. }
        | ModelError::ContextTooLong { .. }
        | ModelError::NoReply { .. } => Scope::Attempt,
    }
}

/// Decides whether other trials are likely to meet the same failure of a sandbox.
pub fn sandbox_scope(error: &SandboxError) -> Scope {
    match error {
        SandboxError::DaemonUnreachable { .. }
        | SandboxError::Daemon { .. }
        | SandboxError::HostDisk { .. }
        | SandboxError::RuntimeUnknown { .. } => Scope::Environment,
        SandboxError::Gone { .. }
        | SandboxError::ImageMissing { .. }
        | SandboxError::ImageBuild { .. }
        | SandboxError::Unsupported { .. }
        | SandboxError::File { .. }
        | SandboxError::NoShell { .. }
        | SandboxError::UnknownUser { .. }
        | SandboxError::Service { .. }
        | SandboxError::Protocol { .. }
        | SandboxError::Breached { .. } => Scope::Attempt,
    }
}

/// Decides whose fault a failed sandbox operation is.
pub fn sandbox_fault(error: &SandboxError) -> Fault {
    match error {
        SandboxError::DaemonUnreachable { .. }
        | SandboxError::Daemon { .. }
        | SandboxError::Gone { .. }
        | SandboxError::HostDisk { .. }
        | SandboxError::Breached { .. } => Fault::Sandbox,
        SandboxError::ImageMissing { .. }
        | SandboxError::ImageBuild { .. }
        | SandboxError::RuntimeUnknown { .. }
        | SandboxError::Unsupported { .. } => Fault::Operator,
        SandboxError::File { .. }
        | SandboxError::NoShell { .. }
        | SandboxError::UnknownUser { .. }
        | SandboxError::Service { .. } => Fault::Task,
        SandboxError::Protocol { .. } => Fault::Harness,
    }
}
