//! The facts that are logged: of a run (by the scheduler) and of an attempt (by its driver).
//!
//! Owns: the events and the line around them. Must not: know files. One line of a log is one [`Line`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::egress::EgressCounts;
use crate::ids::{AttemptId, Digest, PhaseId, RunId, TrialId};
use crate::model::{Message, ModelError, Reply, Sampling, StopReason, Usage};
use crate::outcome::{Outcome, Stage};
use crate::ports::{ExecEnding, KeptSandbox, LogSeal, PreparedImage, SandboxFact, SandboxInfo, Swept};
use crate::score::ScoreResult;
use crate::task::LimitKind;
use crate::text::Capped;
use crate::units::{Timestamp, Tokens, Usd, seconds};

/// The version of both log formats, written in the first event of each file.
pub const LOG_FORMAT: u32 = 1;

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<E> {
    /// Its number in the file, from 0.
    pub seq: u64,
    /// The wall clock.
    pub at: Timestamp,
    /// Seconds that the attempt (or run) did not spend waiting.
    #[serde(with = "seconds")]
    pub working: Duration,
    /// What happened.
    pub event: E,
}

/// A fact about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RunEvent {
    /// A process began the run.
    RunStarted {
        /// [`LOG_FORMAT`].
        format: u32,
        /// The run.
        run: RunId,
        /// The digest of the plan.
        plan: Digest,
        /// Our version.
        version: String,
        /// The process.
        pid: u32,
    },
    /// A process took up an unfinished run.
    RunContinued {
        /// Our version.
        version: String,
        /// The process.
        pid: u32,
        /// Bytes of a torn last line that were cut from the log.
        torn_bytes: u64,
    },
    /// An image is there.
    ImageReady {
        /// As the tasks name it.
        asked: String,
        /// What it is.
        image: PreparedImage,
    },
    /// Leftovers of an earlier process were removed.
    Swept(Swept),
    /// A phase began.
    PhaseStarted {
        /// Which.
        phase: PhaseId,
        /// Trials in it.
        trials: u32,
    },
    /// An attempt began.
    AttemptStarted {
        /// Which.
        attempt: AttemptId,
    },
    /// An attempt ended; its log is complete and named by the seal.
    AttemptEnded(Box<AttemptEnded>),
    /// A trial will get no (further) attempt in this run.
    TrialSkipped {
        /// Which.
        trial: TrialId,
        /// Why.
        why: SkipReason,
    },
    /// Every trial of a phase is settled.
    PhaseEnded {
        /// Which.
        phase: PhaseId,
    },
    /// Sandboxes that could not be removed by the end; the next sweep finds them.
    SandboxesLeft {
        /// Which and why, in words.
        left: Vec<String>,
    },
    /// A person asked to stop.
    Interrupted,
    /// A score was made again from what is stored; replaces the score of that attempt.
    Rescored {
        /// Which attempt.
        attempt: AttemptId,
        /// The new result.
        score: ScoreResult,
        /// The task's version that scored.
        task_version: u32,
        /// Our version.
        version: String,
    },
    /// Nothing is left to do.
    RunEnded {
        /// Why.
        why: RunEnd,
    },
}

/// Why a trial was not tried (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The run's budget is spent.
    Budget,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Every trial is settled.
    Complete,
    /// The run's budget is spent.
    BudgetSpent,
}

/// The ending of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptEnded {
    /// Which.
    pub attempt: AttemptId,
    /// How.
    pub outcome: Outcome,
    /// Model calls that brought an answer.
    pub turns: u32,
    /// Tokens of all calls.
    pub usage: Usage,
    /// Money of all calls; `None` if a price is unknown.
    pub cost: Option<Usd>,
    /// Tokens of the calls of judges; their money is in `cost`.
    #[serde(default)]
    pub judge_usage: Usage,
    /// Time not spent waiting.
    #[serde(with = "seconds")]
    pub working: Duration,
    /// Time by the clock.
    #[serde(with = "seconds")]
    pub wall: Duration,
    /// Malformed tool calls.
    pub malformed_calls: u32,
    /// How often the sandbox reached for the outside.
    #[serde(default, skip_serializing_if = "EgressCounts::is_zero")]
    pub egress: EgressCounts,
    /// The attempt's log. `None` if the process died before it was sealed.
    pub log: Option<LogSeal>,
    /// What follows.
    pub then: Then,
}

/// What follows an ending.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Then {
    /// The trial is settled by this ending.
    Settled,
    /// Another attempt, not before this wait is over.
    Retry {
        /// The wait.
        #[serde(with = "seconds")]
        after: Duration,
    },
    /// The trial is void: no attempt is left, or the same error came too often.
    GivenUp,
    /// The trial is open: a continued run tries it again.
    Open,
}

/// A fact about an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AttemptEvent {
    /// The attempt began.
    Started {
        /// [`LOG_FORMAT`].
        format: u32,
        /// Which.
        attempt: AttemptId,
        /// The task's version.
        task_version: u32,
        /// Digest of the task's files.
        task: Digest,
        /// Digest of the scaffold's files.
        scaffold: Digest,
        /// What the model is.
        model: String,
    },
    /// A stage began.
    StageStarted {
        /// Which.
        stage: Stage,
    },
    /// The sandbox runs.
    SandboxStarted(SandboxInfo),
    /// A setup command ended.
    SetupRan {
        /// The command.
        command: Capped,
        /// How it ended.
        ending: ExecEnding,
        /// Both streams.
        output: Capped,
    },
    /// A message was put into the conversation by the harness (model replies and tool results are events of
    /// their own).
    Prompted {
        /// The message.
        message: Message,
    },
    /// Messages were taken out of the conversation to keep within the window.
    ContextTrimmed {
        /// How many messages.
        messages: u32,
        /// Their rough size.
        tokens: Tokens,
        /// The summary that stands in their place, if one was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<Capped>,
    },
    /// The attempt waited for something that is not its own doing.
    Waited {
        /// For what.
        reason: WaitReason,
        /// How long.
        #[serde(with = "seconds")]
        took: Duration,
    },
    /// The model is called.
    ModelCalled {
        /// The turn, from 0.
        turn: u32,
        /// Messages in the conversation.
        messages: u32,
        /// How tokens are chosen.
        sampling: Sampling,
    },
    /// The model answered.
    ModelReplied {
        /// The turn.
        turn: u32,
        /// The answer.
        reply: Reply,
        /// Why it ended.
        stop: StopReason,
        /// What was used.
        usage: Usage,
        /// Whether `usage` is an estimate since the server gave none.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        usage_estimated: bool,
        /// How long it took.
        #[serde(with = "seconds")]
        took: Duration,
        /// The model's name as the server reports it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        served_by: Option<String>,
    },
    /// A call failed.
    ModelFailed {
        /// The turn.
        turn: u32,
        /// Why.
        error: ModelError,
        /// What the scheduler decided.
        then: CallThen,
    },
    /// A call of a tool could not be understood; the model was told what is wrong.
    CallMalformed {
        /// The tool, as written.
        tool: String,
        /// What is wrong.
        error: Capped,
    },
    /// A tool is called.
    ToolCalled {
        /// The call's id.
        call_id: String,
        /// The tool.
        tool: String,
        /// Its arguments.
        arguments: Value,
    },
    /// A tool answered.
    ToolReturned {
        /// The call's id.
        call_id: String,
        /// The tool.
        tool: String,
        /// What the model sees.
        output: Capped,
        /// How the command ended, if one ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ending: Option<ExecEnding>,
        /// How long it took.
        #[serde(with = "seconds")]
        took: Duration,
    },
    /// A score was taken during the attempt.
    IntermediateScored {
        /// The result.
        score: ScoreResult,
        /// Whether the model sees it.
        visible: bool,
    },
    /// The agent submitted.
    Submitted {
        /// The submission.
        submission: Capped,
    },
    /// A limit ended the work.
    LimitReached {
        /// Which.
        limit: LimitKind,
        /// What was used and allowed, in words.
        detail: String,
    },
    /// An artifact was kept.
    ArtifactKept {
        /// Its container path.
        path: String,
        /// Its content.
        blob: Digest,
        /// Its size.
        bytes: u64,
    },
    /// The working folder was kept since a scorer broke, so that it can be scored again.
    StateKept {
        /// The folder.
        path: String,
        /// A tar archive of it.
        blob: Digest,
        /// The archive's size.
        bytes: u64,
    },
    /// A part of the scorer ended.
    ScorerRan {
        /// Which part, such as `command` or `all/0/answer`.
        part: String,
        /// What it came to.
        score: ScoreResult,
        /// How its program ended, if one ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ending: Option<ExecEnding>,
        /// What its program printed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Capped>,
    },
    /// Something happened in or around the sandbox without being asked for.
    SandboxReported {
        /// What.
        fact: SandboxFact,
    },
    /// The sandbox is kept beyond the attempt.
    SandboxKept(KeptSandbox),
    /// Something worth knowing that has no event of its own.
    Noted {
        /// What.
        text: String,
    },
    /// The attempt ended. The last line.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// What an attempt waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// A slot of the model.
    ModelSlot,
    /// A pause before a call is tried again.
    Backoff,
    /// A slot for a scoring sandbox.
    SandboxSlot,
    /// The daemon, to start a sandbox.
    SandboxStart,
}

/// What follows a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CallThen {
    /// It is tried again after a wait.
    Retry {
        /// The wait.
        #[serde(with = "seconds")]
        after: Duration,
    },
    /// The attempt is void.
    GiveUp,
}
