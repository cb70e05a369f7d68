//! Which event is legal in which state.
//!
//! Owns: the checks and their texts. Must not: change the view.

use crate::event::{AttemptEnded, LOG_FORMAT, Line, RunEnd, RunEvent, Then};
use crate::ids::{AttemptId, PhaseId, TrialId};
use crate::outcome::{CancelledBy, Outcome};
use crate::score::ScoreResult;

use super::{Life, RunView};

/// An event that is illegal where it stands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line} of the run's log: {illegal}")]
pub struct FoldError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub illegal: Illegal,
}

/// Why an event is illegal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Illegal {
    #[error("its number is {found} where {expected} follows: lines are missing, doubled or mixed up")]
    Sequence { expected: u64, found: u64 },
    #[error("the first event must be `run_started`")]
    NotStarted,
    #[error("the run has started already")]
    StartedTwice,
    #[error("the log has format {found}, this program reads {LOG_FORMAT}: use the version that wrote it")]
    Format { found: u32 },
    #[error("the run has ended: only `rescored` may follow")]
    AfterEnd,
    #[error("{what} started although a person had stopped the run")]
    StartAfterInterrupt { what: String },
    #[error("{what} started before attempt {orphan} of the earlier process was ended")]
    StartBeforeOrphans { what: String, orphan: AttemptId },
    #[error("phase {phase} started while phase {open} is going on")]
    PhaseOverlap { phase: PhaseId, open: PhaseId },
    #[error("phase {phase} started a second time")]
    PhaseTwice { phase: PhaseId },
    #[error("phase {phase} ended, which is not going on")]
    PhaseNotOpen { phase: PhaseId },
    #[error("{what} ended while attempt {running} is running")]
    EndWhileRunning { what: String, running: AttemptId },
    #[error("phase {phase} ended while {waiting} trials wait for another attempt")]
    PhaseUnsettled { phase: PhaseId, waiting: u64 },
    #[error("phase {phase} ended with {settled} settled trials in the run where at least {planned} are due")]
    PhaseIncomplete {
        phase: PhaseId,
        settled: u64,
        planned: u64,
    },
    #[error("the run ended as complete while phase {phase} is going on")]
    CompleteWithinPhase { phase: PhaseId },
    #[error("attempt {attempt} started outside of any phase")]
    OutsidePhase { attempt: AttemptId },
    #[error("attempt {attempt} started although the trial is settled or skipped")]
    StartAfterFinal { attempt: AttemptId },
    #[error("attempt {attempt} started while attempt {running} of the trial is running")]
    StartWhileRunning { attempt: AttemptId, running: AttemptId },
    #[error("attempt {attempt} started where number {expected} follows")]
    AttemptNumber { attempt: AttemptId, expected: u64 },
    #[error("attempt {attempt} ended, which is not running")]
    NotRunning { attempt: AttemptId },
    #[error(
        "attempt {attempt} of an earlier process can only end as cancelled by the crash, open to be tried again"
    )]
    OrphanEnding { attempt: AttemptId },
    #[error("attempt {attempt} ended as cancelled by a crash, but no process died while it ran")]
    NoCrash { attempt: AttemptId },
    #[error("attempt {attempt} ended as `{outcome}`, which cannot be followed by `{then}`")]
    Follows {
        attempt: AttemptId,
        outcome: &'static str,
        then: &'static str,
    },
    #[error(
        "attempt {attempt} has the score {value} of threshold {threshold}: both must lie between 0 and 1"
    )]
    Score {
        attempt: AttemptId,
        value: f64,
        threshold: f64,
    },
    #[error("trial {trial} was skipped although it is settled or was skipped before")]
    SkipAfterFinal { trial: TrialId },
    #[error("trial {trial} was skipped while attempt {running} is running")]
    SkipWhileRunning { trial: TrialId, running: AttemptId },
    #[error("attempt {attempt} was scored again, which did not settle its trial by going to the scorer")]
    NothingToRescore { attempt: AttemptId },
}

impl RunView {
    pub(super) fn check(&self, line: &Line<RunEvent>) -> Result<(), Illegal> {
        if line.seq != self.lines {
            return Err(Illegal::Sequence {
                expected: self.lines,
                found: line.seq,
            });
        }
        self.check_life(&line.event)?;
        match &line.event {
            RunEvent::RunStarted { format, .. } if *format != LOG_FORMAT => {
                Err(Illegal::Format { found: *format })
            }
            RunEvent::RunStarted { .. }
            | RunEvent::RunContinued { .. }
            | RunEvent::ImageReady { .. }
            | RunEvent::Swept(_)
            | RunEvent::SandboxesLeft { .. }
            | RunEvent::Interrupted => Ok(()),
            RunEvent::PhaseStarted { phase, .. } => self.check_phase_start(phase),
            RunEvent::AttemptStarted { attempt } => self.check_start(attempt),
            RunEvent::AttemptEnded(ended) => self.check_end(ended),
            RunEvent::TrialSkipped { trial, .. } => self.check_skip(trial),
            RunEvent::PhaseEnded { phase } => self.check_phase_end(phase),
            RunEvent::Rescored { attempt, score, .. } => self.check_rescored(attempt, score),
            RunEvent::RunEnded { why } => self.check_run_end(*why),
        }
    }

    fn check_life(&self, event: &RunEvent) -> Result<(), Illegal> {
        let first = matches!(event, RunEvent::RunStarted { .. });
        match self.life {
            Life::NotStarted if first => Ok(()),
            Life::NotStarted => Err(Illegal::NotStarted),
            _ if first => Err(Illegal::StartedTwice),
            Life::Ended(_) if !matches!(event, RunEvent::Rescored { .. }) => Err(Illegal::AfterEnd),
            Life::Going | Life::Interrupted | Life::Ended(_) => Ok(()),
        }
    }

    /// Checks that anything may start now.
    fn check_can_start(&self, what: impl Fn() -> String) -> Result<(), Illegal> {
        if self.life == Life::Interrupted {
            return Err(Illegal::StartAfterInterrupt { what: what() });
        }
        match self.orphans.first() {
            None => Ok(()),
            Some(orphan) => Err(Illegal::StartBeforeOrphans {
                what: what(),
                orphan: orphan.clone(),
            }),
        }
    }

    fn check_phase_start(&self, phase: &PhaseId) -> Result<(), Illegal> {
        self.check_can_start(|| format!("phase {phase}"))?;
        let phase = phase.clone();
        if self.phases.iter().any(|earlier| earlier.phase == phase) {
            return Err(Illegal::PhaseTwice { phase });
        }
        match self.open_phase() {
            None => Ok(()),
            Some(open) => Err(Illegal::PhaseOverlap {
                phase,
                open: open.phase.clone(),
            }),
        }
    }

    fn check_phase_end(&self, phase: &PhaseId) -> Result<(), Illegal> {
        let phase = phase.clone();
        if self.open_phase().is_none_or(|open| open.phase != phase) {
            return Err(Illegal::PhaseNotOpen { phase });
        }
        self.check_none_running(|| format!("phase {phase}"))?;
        if self.waiting_trials > 0 {
            return Err(Illegal::PhaseUnsettled {
                phase,
                waiting: self.waiting_trials,
            });
        }
        let planned = self.phases.iter().map(|phase| u64::from(phase.trials)).sum();
        if self.final_trials < planned {
            return Err(Illegal::PhaseIncomplete {
                phase,
                settled: self.final_trials,
                planned,
            });
        }
        Ok(())
    }

    fn check_none_running(&self, what: impl Fn() -> String) -> Result<(), Illegal> {
        match self.running.first() {
            None => Ok(()),
            Some(running) => Err(Illegal::EndWhileRunning {
                what: what(),
                running: running.clone(),
            }),
        }
    }

    fn check_start(&self, attempt: &AttemptId) -> Result<(), Illegal> {
        self.check_can_start(|| format!("attempt {attempt}"))?;
        let attempt = attempt.clone();
        if self.open_phase().is_none() {
            return Err(Illegal::OutsidePhase { attempt });
        }
        let earlier = self.trials.get(&attempt.trial);
        if earlier.is_some_and(super::TrialView::is_final) {
            return Err(Illegal::StartAfterFinal { attempt });
        }
        let last = earlier.and_then(|trial| trial.attempts.last());
        if let Some(running) = last.filter(|last| last.ended.is_none()) {
            let running = running.attempt.clone();
            return Err(Illegal::StartWhileRunning { attempt, running });
        }
        let expected = earlier.map_or(0, |trial| trial.attempts.len() as u64) + 1;
        if u64::from(attempt.number) != expected {
            return Err(Illegal::AttemptNumber { attempt, expected });
        }
        Ok(())
    }

    fn check_end(&self, ended: &AttemptEnded) -> Result<(), Illegal> {
        let attempt = ended.attempt.clone();
        if !self.running.contains(&attempt) {
            return Err(Illegal::NotRunning { attempt });
        }
        let crash = matches!(
            ended.outcome,
            Outcome::Cancelled {
                by: CancelledBy::Crash
            }
        );
        match (self.orphans.contains(&attempt), crash) {
            (true, false) => return Err(Illegal::OrphanEnding { attempt }),
            (false, true) => return Err(Illegal::NoCrash { attempt }),
            (true, true) | (false, false) => {}
        }
        check_follows(ended)?;
        match ended.outcome.score() {
            Some(score) => check_score(&attempt, score),
            None => Ok(()),
        }
    }

    fn check_skip(&self, trial: &TrialId) -> Result<(), Illegal> {
        let Some(earlier) = self.trials.get(trial) else {
            return Ok(());
        };
        let trial = trial.clone();
        if earlier.is_final() {
            return Err(Illegal::SkipAfterFinal { trial });
        }
        match earlier.attempts.last().filter(|last| last.ended.is_none()) {
            None => Ok(()),
            Some(running) => Err(Illegal::SkipWhileRunning {
                trial,
                running: running.attempt.clone(),
            }),
        }
    }

    fn check_rescored(&self, attempt: &AttemptId, score: &ScoreResult) -> Result<(), Illegal> {
        let counted = self.trials.get(&attempt.trial).and_then(|trial| trial.counted());
        let scored = counted
            .is_some_and(|ended| ended.facts.attempt == *attempt && ended.facts.outcome.score().is_some());
        if !scored {
            return Err(Illegal::NothingToRescore {
                attempt: attempt.clone(),
            });
        }
        check_score(attempt, score)
    }

    fn check_run_end(&self, why: RunEnd) -> Result<(), Illegal> {
        self.check_none_running(|| "the run".to_owned())?;
        match (why, self.open_phase()) {
            (RunEnd::Complete, Some(phase)) => Err(Illegal::CompleteWithinPhase {
                phase: phase.phase.clone(),
            }),
            (RunEnd::Complete, None) | (RunEnd::BudgetSpent, _) => Ok(()),
        }
    }
}

fn check_follows(ended: &AttemptEnded) -> Result<(), Illegal> {
    let legal = match ended.outcome {
        Outcome::Void { .. } => ended.then != Then::Settled,
        Outcome::Cancelled { .. } => ended.then == Then::Open,
        Outcome::Scored { .. }
        | Outcome::LimitReached { .. }
        | Outcome::Refused { .. }
        | Outcome::Breached { .. } => ended.then == Then::Settled,
    };
    if legal {
        return Ok(());
    }
    let then = match ended.then {
        Then::Settled => "settled",
        Then::Retry { .. } => "retry",
        Then::GivenUp => "given_up",
        Then::Open => "open",
    };
    Err(Illegal::Follows {
        attempt: ended.attempt.clone(),
        outcome: ended.outcome.name(),
        then,
    })
}

fn check_score(attempt: &AttemptId, score: &ScoreResult) -> Result<(), Illegal> {
    match score.score() {
        Some(score) if !((0.0..=1.0).contains(&score.value) && (0.0..=1.0).contains(&score.threshold)) => {
            Err(Illegal::Score {
                attempt: attempt.clone(),
                value: score.value,
                threshold: score.threshold,
            })
        }
        Some(_) | None => Ok(()),
    }
}
