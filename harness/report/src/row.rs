//! A trial as a row.
//!
//! Owns: which parts of a trial's history the row shows. Must not: print.

use std::time::Duration;

use harness_core::fold::{TrialStatus, TrialView};
use harness_core::ids::{ModelId, PhaseId, RunId, SampleId, ScaffoldId, TaskId};
use harness_core::model::Usage;
use harness_core::outcome::{CancelledBy, Fault, Outcome};
use harness_core::score::ScoreResult;
use harness_core::task::LimitKind;
use harness_core::units::Usd;
use serde::{Serialize, Serializer};

/// What the plan says of a trial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// The run.
    pub run: RunId,
    /// The phase.
    pub phase: PhaseId,
    /// The task.
    pub task: TaskId,
    /// The task's version.
    pub task_version: u32,
    /// What the task is about.
    pub domain: String,
    /// Tasks that are alike.
    pub family: String,
    /// The sample.
    pub sample: SampleId,
    /// The scaffold.
    pub scaffold: ScaffoldId,
    /// The model.
    pub model: ModelId,
    /// Which repetition.
    pub epoch: u32,
    /// How long people need, if known.
    pub human_minutes: Option<f64>,
}

/// A planned trial and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialRow {
    /// What the plan says.
    #[serde(flatten)]
    pub planned: Planned,
    /// The column in which it is counted.
    pub status: TrialStatus,
    /// The score, if there is one.
    pub score: Option<f64>,
    /// How the last attempt ended, if one did.
    pub outcome: Option<&'static str>,
    /// The limit that ended it.
    pub limit: Option<LimitKind>,
    /// Whose fault a void ending is.
    pub fault: Option<Fault>,
    /// The short name of what went wrong: a void ending's error, why there is no score, what was breached, or
    /// who cancelled.
    pub error: Option<String>,
    /// Attempts that ended.
    pub attempts: u64,
    /// Of these, those of which the log was not sealed: what they used may be missing below.
    pub unsealed: u64,
    /// Model calls of all attempts.
    pub turns: u64,
    /// Tokens of all attempts, void ones too: rows add up to what the run used.
    pub usage: Usage,
    /// Money of all attempts; `None` if that of one is unknown.
    #[serde(rename = "cost_usd", serialize_with = "dollars_opt")]
    pub cost: Option<Usd>,
    /// Money of those attempts of which it is known.
    #[serde(rename = "known_cost_usd", serialize_with = "dollars")]
    pub known_cost: Usd,
    /// Time of all attempts that was not spent waiting.
    #[serde(with = "harness_core::units::seconds")]
    pub working: Duration,
    /// Time of all attempts by the clock.
    #[serde(with = "harness_core::units::seconds")]
    pub wall: Duration,
    /// Malformed tool calls of all attempts.
    pub malformed_calls: u64,
    /// How often sandboxes of all attempts reached the outside by right.
    pub egress_allowed: u64,
    /// How often they were kept from it.
    pub egress_blocked: u64,
}

impl TrialRow {
    /// Makes the row of a planned trial; `None` for one that the log does not name.
    pub fn new(planned: Planned, trial: Option<&TrialView>) -> Self {
        let totals = trial.map(TrialView::totals).unwrap_or_default();
        let ended = trial.and_then(|trial| {
            trial
                .attempts
                .iter()
                .rev()
                .find_map(|attempt| attempt.ended.as_ref())
        });
        let outcome = ended.map(|ended| &ended.facts.outcome);
        let score = outcome.and_then(Outcome::score);
        Self {
            planned,
            status: trial.map_or(TrialStatus::Open, TrialView::status),
            score: score.and_then(ScoreResult::score).map(|score| score.value),
            outcome: outcome.map(Outcome::name),
            limit: outcome.and_then(limit),
            fault: outcome.and_then(fault),
            error: outcome.and_then(error),
            attempts: totals.attempts,
            unsealed: totals.unsealed,
            turns: totals.turns,
            usage: totals.usage,
            cost: totals.cost,
            known_cost: totals.known_cost,
            working: totals.working,
            wall: totals.wall,
            malformed_calls: totals.malformed_calls,
            egress_allowed: totals.egress.allowed,
            egress_blocked: totals.egress.blocked,
        }
    }

    /// Returns whether it is a success; `None` without a score.
    pub fn success(&self) -> Option<bool> {
        match self.status {
            TrialStatus::Success => Some(true),
            TrialStatus::Failure => Some(false),
            TrialStatus::Unscored
            | TrialStatus::Breached
            | TrialStatus::Void
            | TrialStatus::Cancelled
            | TrialStatus::Skipped
            | TrialStatus::Open => None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference to the field"
)]
fn dollars<S: Serializer>(cost: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(cost.dollars())
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn dollars_opt<S: Serializer>(cost: &Option<Usd>, serializer: S) -> Result<S::Ok, S::Error> {
    cost.map(Usd::dollars).serialize(serializer)
}

fn limit(outcome: &Outcome) -> Option<LimitKind> {
    match outcome {
        Outcome::LimitReached { limit, .. } => Some(*limit),
        Outcome::Scored { .. }
        | Outcome::Refused { .. }
        | Outcome::Breached { .. }
        | Outcome::Void { .. }
        | Outcome::Cancelled { .. } => None,
    }
}

fn fault(outcome: &Outcome) -> Option<Fault> {
    match outcome {
        Outcome::Void { fault, .. } => Some(*fault),
        Outcome::Scored { .. }
        | Outcome::LimitReached { .. }
        | Outcome::Refused { .. }
        | Outcome::Breached { .. }
        | Outcome::Cancelled { .. } => None,
    }
}

fn error(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Scored { score } | Outcome::LimitReached { score, .. } | Outcome::Refused { score, .. } => {
            match score {
                ScoreResult::Scored(_) => None,
                ScoreResult::Unscored { why, .. } => Some(why.name().to_owned()),
            }
        }
        Outcome::Breached { breach, .. } => Some(breach.clone()),
        Outcome::Void { error, .. } => Some(error.clone()),
        Outcome::Cancelled { by } => Some(
            match by {
                CancelledBy::Operator => "operator",
                CancelledBy::Budget => "budget",
                CancelledBy::Crash => "crash",
            }
            .to_owned(),
        ),
    }
}
