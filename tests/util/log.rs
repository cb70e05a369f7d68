//! A run as its files tell it, and the laws that hold for every run that is over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use harness_core::event::{AttemptEvent, Line, RunEvent, Then};
use harness_core::fold::{RunView, fold};
use harness_core::ids::{AttemptId, TrialId};
use harness_core::plan::PlanRecord;
use harness_store::RunDir;

/// A run's plan, log and fold.
pub(crate) struct Log {
    pub(crate) dir: RunDir,
    pub(crate) plan: PlanRecord,
    pub(crate) lines: Vec<Line<RunEvent>>,
    pub(crate) view: RunView,
}

/// Reads a run whole.
pub(crate) fn log_of(path: &Path) -> Log {
    let dir = RunDir::open(path).unwrap();
    let plan = serde_json::from_slice(&dir.read_plan().unwrap()).unwrap();
    let log = dir.read_run().unwrap();
    assert!(log.torn.is_none(), "the last line is torn");
    let view = fold(&log.lines).unwrap();
    Log {
        dir,
        plan,
        lines: log.lines,
        view,
    }
}

impl Log {
    /// Asserts that every planned trial has exactly one counted ending, that every attempt that began has exactly
    /// one ending, that what endings say was used adds up, and that the transcripts are there, whole.
    pub(crate) fn assert_sound(&self) {
        let mut counted: BTreeMap<&TrialId, u32> = BTreeMap::new();
        let mut balance: BTreeMap<&AttemptId, (u32, u32)> = BTreeMap::new();
        let mut tokens = 0;
        for line in &self.lines {
            match &line.event {
                RunEvent::AttemptStarted { attempt } => balance.entry(attempt).or_default().0 += 1,
                RunEvent::AttemptEnded(ended) => {
                    balance.entry(&ended.attempt).or_default().1 += 1;
                    tokens += ended.usage.total().0 + ended.judge_usage.total().0;
                    if matches!(ended.then, Then::Settled | Then::GivenUp) {
                        *counted.entry(&ended.attempt.trial).or_default() += 1;
                    }
                    if let Some(seal) = &ended.log {
                        let lines: Result<Vec<_>, _> = self.dir.read_attempt(seal).unwrap().collect();
                        let lines = lines.unwrap();
                        assert_eq!(lines.len() as u64, seal.lines);
                        assert!(matches!(lines.last().unwrap().event, AttemptEvent::Ended { .. }));
                    }
                }
                _ => {}
            }
        }
        let once: BTreeMap<&TrialId, u32> = self.plan.trials.iter().map(|trial| (&trial.id, 1)).collect();
        assert_eq!(counted, once);
        assert!(
            balance.values().all(|balance| *balance == (1, 1)),
            "{:?}",
            balance.iter().find(|(_, balance)| **balance != (1, 1))
        );
        assert_eq!(self.view.totals().usage.total().0, tokens);
        let counts = self.view.counts(self.plan.trials.iter().map(|trial| &trial.id));
        assert_eq!(counts.trials, self.plan.trials.len() as u64);
        assert_eq!(
            counts.success + counts.failure + counts.unscored + counts.void,
            counts.trials
        );
        assert!(matches!(self.view.life(), harness_core::fold::Life::Ended(_)));
    }

    /// Returns how a trial ended, in short: status, score, error, number of attempts.
    pub(crate) fn endings(&self) -> String {
        let mut text = String::new();
        for trial in &self.plan.trials {
            let view = self.view.trials().get(&trial.id);
            let Some(view) = view else {
                let _ = writeln!(text, "{}: not tried", trial.id);
                continue;
            };
            let words = view.attempts.iter().map(|attempt| match &attempt.ended {
                None => "open".to_owned(),
                Some(ended) => describe(&ended.facts.outcome),
            });
            let words: Vec<String> = words.collect();
            let _ = writeln!(text, "{}: {}", trial.id, words.join("; "));
        }
        text
    }

    /// Returns the events of the attempt that ended a trial.
    pub(crate) fn events(&self, trial: usize) -> Vec<AttemptEvent> {
        let id = &self.plan.trials[trial].id;
        let ended = self.view.trials()[id]
            .attempts
            .last()
            .unwrap()
            .ended
            .as_ref()
            .unwrap();
        let lines = self.dir.read_attempt(ended.facts.log.as_ref().unwrap()).unwrap();
        lines.map(|line| line.unwrap().event).collect()
    }
}

fn describe(outcome: &harness_core::outcome::Outcome) -> String {
    use harness_core::outcome::Outcome;
    use harness_core::score::ScoreResult;
    let score = match outcome.score() {
        None => String::new(),
        Some(ScoreResult::Scored(score)) => format!(" {}", score.value),
        Some(ScoreResult::Unscored { why, .. }) => format!(" unscored ({})", why.name()),
    };
    let detail = match outcome {
        Outcome::Void {
            stage, fault, error, ..
        } => {
            format!(" in {}, {} of the {}", stage.name(), error, fault.name())
        }
        Outcome::LimitReached { limit, .. } => format!(" ({limit:?})"),
        Outcome::Cancelled { by } => format!(" by {by:?}"),
        Outcome::Scored { .. } | Outcome::Refused { .. } | Outcome::Breached { .. } => String::new(),
    };
    format!("{}{score}{detail}", outcome.name())
}
