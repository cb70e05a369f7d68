//! Drives one attempt through its stages: setup, solve, score, teardown.
//!
//! Owns: the order of the stages, and that teardown happens on every path. Must not: decide what the agent does
//! next, or whether anything is tried again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use harness_core::agent::{Agent, Finished, Why};
use harness_core::egress::EgressCounts;
use harness_core::event::{AttemptEvent, LOG_FORMAT};
use harness_core::ids::AttemptId;
use harness_core::model::{ModelError, Usage};
use harness_core::outcome::{
    CancelledBy, Fault, Outcome, Stage, model_fault, model_scope, sandbox_fault, sandbox_scope,
};
use harness_core::plan::Trial;
use harness_core::ports::{LogSeal, PutFile, Sandbox, SandboxError, StoreError};
use harness_core::schedule::{Ending, Scope, Spend, TrialIndex};
use harness_core::task::{LimitKind, Limits, OnLimit, TaskSpec};
use harness_core::text::Capped;
use harness_core::units::Usd;
use tokio::sync::Mutex;

use crate::context::RunContext;
use crate::journal::Journal;
use crate::link::Link;
use crate::shell::ShellSession;
use crate::starting::Starting;

mod artifacts;
mod facts;
mod judge;
mod model;
mod scoring;
pub(crate) mod setup;
mod solve;
mod teardown;

use facts::{FactBook, breach_in};
pub(crate) use teardown::{end_stopped, remove};

/// How long the removal of a sandbox may take before it is left to the next sweep.
pub(crate) const TEARDOWN: Duration = Duration::from_mins(1);

/// What the dispatcher learns about an attempt.
#[derive(Debug)]
pub(crate) struct AttemptReport {
    pub(crate) trial: TrialIndex,
    pub(crate) attempt: AttemptId,
    pub(crate) outcome: Outcome,
    pub(crate) ending: Ending,
    pub(crate) usage: Usage,
    pub(crate) judge_usage: Usage,
    pub(crate) cost: Option<Usd>,
    pub(crate) turns: u32,
    pub(crate) malformed_calls: u32,
    pub(crate) egress: EgressCounts,
    pub(crate) working: Duration,
    pub(crate) wall: Duration,
    /// `None` if nobody is left who could have sealed it.
    pub(crate) log: Result<Option<LogSeal>, StoreError>,
}

impl AttemptReport {
    /// The report of an attempt whose driver can't give one.
    pub(crate) fn lost(trial: TrialIndex, attempt: AttemptId, why: &str) -> Self {
        let (outcome, ending, _) = conclude(Err(Break::harness(Stage::Solve, "panic", why.to_owned())));
        Self {
            trial,
            attempt,
            outcome,
            ending,
            usage: Usage::default(),
            judge_usage: Usage::default(),
            cost: None,
            turns: 0,
            malformed_calls: 0,
            egress: EgressCounts::default(),
            working: Duration::ZERO,
            wall: Duration::ZERO,
            log: Ok(None),
        }
    }

    pub(crate) fn spent(&self) -> Spend {
        Spend {
            tokens: self.usage.total() + self.judge_usage.total(),
            cost: self.cost.unwrap_or(Usd::ZERO),
        }
    }
}

/// Why an attempt does not come to a score.
#[derive(Debug)]
pub(crate) enum Break {
    Void {
        stage: Stage,
        fault: Fault,
        scope: Scope,
        error: String,
        evidence: String,
    },
    Cancelled(CancelledBy),
    Breached {
        breach: String,
        evidence: String,
    },
    Store(StoreError),
}

impl From<StoreError> for Break {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Break {
    pub(crate) fn sandbox(stage: Stage, error: &SandboxError) -> Self {
        if let SandboxError::Breached { breach, evidence } = error {
            return Self::Breached {
                breach: breach.clone(),
                evidence: evidence.clone(),
            };
        }
        Self::Void {
            stage,
            fault: sandbox_fault(error),
            scope: sandbox_scope(error),
            error: error.name().to_owned(),
            evidence: error.to_string(),
        }
    }

    pub(crate) fn model(stage: Stage, error: &ModelError) -> Self {
        Self::Void {
            stage,
            fault: model_fault(error),
            scope: model_scope(error),
            error: error.name().to_owned(),
            evidence: error.to_string(),
        }
    }

    pub(crate) fn harness(stage: Stage, error: &str, evidence: String) -> Self {
        Self::Void {
            stage,
            fault: Fault::Harness,
            scope: Scope::Attempt,
            error: error.to_owned(),
            evidence,
        }
    }
}

/// The sandbox of an attempt, where teardown finds it whatever happened.
pub(crate) type Held = Arc<Mutex<Option<Box<dyn Sandbox>>>>;

/// What the stages of one attempt share.
pub(crate) struct Attempt {
    pub(crate) context: Arc<RunContext>,
    pub(crate) index: TrialIndex,
    pub(crate) id: AttemptId,
    pub(crate) link: Link,
    pub(crate) journal: Journal,
    pub(crate) held: Held,
    /// The agent's sandbox while a fresh one is scored in, if it may have to be kept.
    aside: Held,
    pub(crate) judge_usage: Usage,
    pub(crate) judge_cost: Option<Usd>,
    pub(crate) agent: Option<Agent>,
    pub(crate) artifacts: Vec<PutFile>,
    pub(crate) egress: EgressCounts,
    /// The terminal of the tool `shell`, from its first use on.
    pub(crate) shell: Option<ShellSession>,
    facts: FactBook,
    /// A sandbox that is being started; perhaps since before the attempt began. An attempt that is stopped meanwhile
    /// waits for it and removes it.
    pub(crate) starting: Option<Starting>,
    at: Stage,
}

impl Attempt {
    pub(crate) fn new(context: Arc<RunContext>, id: AttemptId, link: Link, journal: Journal) -> Self {
        Self {
            context,
            index: link.trial,
            id,
            link,
            journal,
            held: Held::default(),
            aside: Held::default(),
            judge_usage: Usage::default(),
            judge_cost: Some(Usd::ZERO),
            agent: None,
            artifacts: Vec::new(),
            egress: EgressCounts::default(),
            shell: None,
            facts: FactBook::default(),
            starting: None,
            at: Stage::Setup,
        }
    }

    pub(crate) fn trial(&self) -> &Trial {
        &self.context.plan.trials[self.index.at()]
    }

    pub(crate) fn task(&self) -> &Arc<TaskSpec> {
        &self.context.plan.tasks[self.trial().task]
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        let trial = self.trial();
        &self.context.plan.limits[trial.task][trial.scaffold]
    }

    fn stage(&mut self, stage: Stage) -> Result<(), StoreError> {
        self.at = stage;
        self.journal.append(&AttemptEvent::StageStarted { stage })
    }

    /// Returns the time until the first limit of time, and which it is.
    pub(crate) fn time_left(&self) -> (Duration, LimitKind) {
        let limits = self.limits();
        let working = limits.working.saturating_sub(self.journal.working());
        let wall = limits.wall.saturating_sub(self.journal.wall());
        if wall <= working {
            (wall, LimitKind::Wall)
        } else {
            (working, LimitKind::Working)
        }
    }

    fn started(&self) -> AttemptEvent {
        let (plan, trial) = (&self.context.plan, self.trial());
        let model = trial
            .model
            .map(|model| plan.suite.models[model].reference.to_string());
        AttemptEvent::Started {
            format: LOG_FORMAT,
            attempt: self.id.clone(),
            task_version: self.task().version,
            task: self.task().digest,
            scaffold: plan.scaffolds[trial.scaffold].digest,
            model: model.unwrap_or_else(|| "none".to_owned()),
        }
    }

    async fn stages(&mut self) -> Result<Outcome, Break> {
        self.journal.append(&self.started())?;
        if self.task().sandbox.is_some() {
            self.stage(Stage::Setup)?;
            self.set_up().await?;
        }
        self.stage(Stage::Solve)?;
        let finished = self.solve().await?;
        self.stage(Stage::Score)?;
        self.drain_facts().await?;
        self.judged_outcome(finished).await
    }

    /// Looks once more for containment events: one that came after the last call of a sandbox would else be none.
    async fn unless_breached(&self, ended: Result<Outcome, Break>) -> Result<Outcome, Break> {
        if matches!(ended, Err(Break::Breached { .. } | Break::Store(_))) {
            return ended;
        }
        for held in [&self.held, &self.aside] {
            if let Some(breach) = breach_in(held).await {
                return Err(breach);
            }
        }
        ended
    }

    async fn judged_outcome(&mut self, finished: Finished) -> Result<Outcome, Break> {
        let submission = finished.submission.as_deref();
        Ok(match finished.why {
            Why::Submitted => Outcome::Scored {
                score: self.score(submission).await?,
            },
            Why::Refused(by) => Outcome::Refused {
                by,
                score: self.score(submission).await?,
            },
            Why::Limit { limit, .. } => match self.task().on_limit {
                OnLimit::Score => Outcome::LimitReached {
                    limit,
                    score: self.score(submission).await?,
                },
                OnLimit::Fail => Outcome::LimitReached {
                    limit,
                    score: self.fail_at_limit().await?,
                },
            },
        })
    }
}

/// Runs one attempt to its end. Never panics and never returns early: what goes wrong is in the report.
pub(crate) async fn drive(mut attempt: Attempt) -> AttemptReport {
    let cancel = attempt.link.cancel.clone();
    let stages = async {
        tokio::select! {
            biased;
            ended = attempt.stages() => ended,
            by = cancel.cancelled() => Err(Break::Cancelled(by)),
        }
    };
    let ended = AssertUnwindSafe(stages).catch_unwind().await;
    let at = attempt.at;
    let ended = ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(Break::harness(
            at,
            "panic",
            format!("our program panicked: {text}"),
        ))
    });
    let ended = attempt.unless_breached(ended).await;
    let (outcome, ending, mut failed) = conclude(ended);
    failed = failed.or(attempt.tear_down(&outcome).await.err());
    let (working, wall) = (attempt.journal.working(), attempt.journal.wall());
    failed = failed.or(attempt
        .journal
        .append(&AttemptEvent::Ended {
            outcome: outcome.clone(),
        })
        .err());
    let agent = attempt.agent.as_ref();
    let cost = agent
        .map_or(Some(Usd::ZERO), Agent::cost)
        .zip(attempt.judge_cost)
        .map(|(a, b)| a + b);
    AttemptReport {
        trial: attempt.index,
        usage: agent.map(Agent::usage).unwrap_or_default(),
        turns: agent.map_or(0, Agent::turns),
        malformed_calls: agent.map_or(0, Agent::malformed_calls),
        egress: attempt.egress,
        judge_usage: attempt.judge_usage,
        attempt: attempt.id,
        outcome,
        ending,
        cost,
        working,
        wall,
        log: match failed {
            Some(error) => Err(error),
            None => attempt.journal.finish().map(Some),
        },
    }
}

fn conclude(ended: Result<Outcome, Break>) -> (Outcome, Ending, Option<StoreError>) {
    match ended {
        Ok(outcome) => (outcome, Ending::Settled, None),
        Err(Break::Cancelled(by)) => (Outcome::Cancelled { by }, Ending::Cancelled, None),
        Err(Break::Breached { breach, evidence }) => {
            let evidence = Capped::new(&evidence, 8192);
            (Outcome::Breached { breach, evidence }, Ending::Settled, None)
        }
        Err(Break::Store(error)) => (
            Outcome::Cancelled {
                by: CancelledBy::Operator,
            },
            Ending::Cancelled,
            Some(error),
        ),
        Err(Break::Void {
            stage,
            fault,
            scope,
            error,
            evidence,
        }) => {
            let ending = Ending::Void {
                fault,
                error: error.clone(),
                scope,
            };
            let evidence = Capped::new(&evidence, 8192);
            (
                Outcome::Void {
                    stage,
                    fault,
                    error,
                    evidence,
                },
                ending,
                None,
            )
        }
    }
}
