//! What became of a run: the state machine over its log.
//!
//! Owns: which event is legal when, and what counts. Must not: know the plan (callers bring the trials that they
//! group) or files.
//!
//! What is legal, in short; anything else is a [`FoldError`] and leaves the view as it was:
//! - `RunStarted` comes first and once; every `seq` is one more than the last.
//! - After `RunContinued` the attempts that were running are orphans: each is closed by an ending
//!   `Cancelled { by: Crash }` with `then: Open` before anything starts. No other attempt ends that way.
//! - One phase at a time; attempts start only within one. A phase is not started again by a continued run. It
//!   ends when nothing runs, no trial waits for another attempt, and as many trials are final as it has.
//! - The attempts of a trial are numbered from 1 without gaps, one at a time, none after a final ending.
//! - After `Interrupted` nothing starts until `RunContinued`; what runs still ends. It may come twice.
//! - After `RunEnded` only `Rescored` may follow: a run that ended is not continued.
//! - `Rescored` names an attempt that settled its trial and went to the scorer.

mod check;
mod counts;
mod crash;
#[cfg(test)]
mod tests;
mod trial;

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{AttemptEnded, Line, RunEnd, RunEvent, SkipReason, Then};
use crate::ids::{AttemptId, Digest, PhaseId, RunId, TrialId};
use crate::ports::{PreparedImage, Swept};
use crate::score::ScoreResult;
use crate::units::Timestamp;

pub use check::{FoldError, Illegal};
pub use counts::{Counts, Rate};
pub use crash::{crashed, crashed_after};
pub use trial::{AttemptView, EndedView, PastScore, Totals, TrialStatus, TrialView};

/// What is known of a run from its log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunView {
    lines: u64,
    facts: Option<RunFacts>,
    life: Life,
    images: Vec<ImageView>,
    swept: Swept,
    left: Vec<String>,
    phases: Vec<PhaseView>,
    trials: BTreeMap<TrialId, TrialView>,
    running: BTreeSet<AttemptId>,
    orphans: BTreeSet<AttemptId>,
    final_trials: u64,
    waiting_trials: u64,
    totals: Totals,
    continued: u32,
    interrupted: u32,
    last: Timestamp,
}

/// What the first line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// The run.
    pub run: RunId,
    /// The digest of its plan.
    pub plan: Digest,
    /// The version that began it.
    pub version: String,
    /// When it began.
    pub started: Timestamp,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// No line was read.
    #[default]
    NotStarted,
    /// It goes on, or its process died.
    Going,
    /// A person stopped it; it can be continued.
    Interrupted,
    /// It is over.
    Ended(RunEnd),
}

/// An image of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageView {
    /// As the tasks name it.
    pub asked: String,
    /// What it is.
    pub image: PreparedImage,
}

/// A phase that began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseView {
    /// Which.
    pub phase: PhaseId,
    /// Trials in it.
    pub trials: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, if it did.
    pub ended: Option<Timestamp>,
}

/// Folds a whole log.
pub fn fold<'a>(lines: impl IntoIterator<Item = &'a Line<RunEvent>>) -> Result<RunView, FoldError> {
    let mut view = RunView::default();
    for line in lines {
        view.apply(line)?;
    }
    Ok(view)
}

impl RunView {
    /// Takes the next line of the log.
    ///
    /// # Errors
    /// If the event is illegal in the present state (see the module). The view is then unchanged.
    pub fn apply(&mut self, line: &Line<RunEvent>) -> Result<(), FoldError> {
        self.check(line).map_err(|illegal| FoldError {
            line: self.lines + 1,
            illegal,
        })?;
        self.take(line.at, &line.event);
        self.lines += 1;
        self.last = line.at;
        Ok(())
    }

    /// Takes an event that was checked.
    fn take(&mut self, at: Timestamp, event: &RunEvent) {
        match event {
            RunEvent::RunStarted {
                run, plan, version, ..
            } => {
                self.facts = Some(RunFacts {
                    run: run.clone(),
                    plan: *plan,
                    version: version.clone(),
                    started: at,
                });
                self.life = Life::Going;
            }
            RunEvent::RunContinued { .. } => {
                self.continued += 1;
                self.life = Life::Going;
                self.orphans.clone_from(&self.running);
            }
            RunEvent::ImageReady { asked, image } => self.images.push(ImageView {
                asked: asked.clone(),
                image: image.clone(),
            }),
            RunEvent::Swept(swept) => {
                self.swept.containers = self.swept.containers.saturating_add(swept.containers);
                self.swept.networks = self.swept.networks.saturating_add(swept.networks);
                self.swept.volumes = self.swept.volumes.saturating_add(swept.volumes);
            }
            RunEvent::SandboxesLeft { left } => self.left.extend(left.iter().cloned()),
            RunEvent::PhaseStarted { phase, trials } => self.phases.push(PhaseView {
                phase: phase.clone(),
                trials: *trials,
                started: at,
                ended: None,
            }),
            RunEvent::AttemptStarted { attempt } => self.take_start(at, attempt),
            RunEvent::AttemptEnded(ended) => self.take_end(at, ended),
            RunEvent::TrialSkipped { trial, why } => self.take_skip(trial, *why),
            RunEvent::PhaseEnded { .. } => {
                if let Some(phase) = self.phases.last_mut() {
                    phase.ended = Some(at);
                }
            }
            RunEvent::Interrupted => {
                self.interrupted += 1;
                self.life = Life::Interrupted;
            }
            RunEvent::Rescored {
                attempt,
                score,
                task_version,
                version,
            } => self.take_score(at, attempt, score, (*task_version, version)),
            RunEvent::RunEnded { why } => self.life = Life::Ended(*why),
        }
    }

    fn take_start(&mut self, at: Timestamp, attempt: &AttemptId) {
        let trial = self.trials.entry(attempt.trial.clone()).or_default();
        if !trial.attempts.is_empty() {
            self.waiting_trials -= 1;
        }
        trial.attempts.push(AttemptView {
            attempt: attempt.clone(),
            started: at,
            ended: None,
        });
        self.running.insert(attempt.clone());
    }

    fn take_end(&mut self, at: Timestamp, ended: &AttemptEnded) {
        self.running.remove(&ended.attempt);
        self.orphans.remove(&ended.attempt);
        self.totals.add(ended);
        match ended.then {
            Then::Settled | Then::GivenUp => self.final_trials += 1,
            Then::Retry { .. } | Then::Open => self.waiting_trials += 1,
        }
        let trial = self.trials.get_mut(&ended.attempt.trial);
        if let Some(attempt) = trial.and_then(|trial| trial.attempts.last_mut()) {
            attempt.ended = Some(EndedView {
                at,
                facts: ended.clone(),
                past_scores: Vec::new(),
            });
        }
    }

    fn take_skip(&mut self, trial: &TrialId, why: SkipReason) {
        let trial = self.trials.entry(trial.clone()).or_default();
        if !trial.attempts.is_empty() {
            self.waiting_trials -= 1;
        }
        trial.skipped = Some(why);
        self.final_trials += 1;
    }

    fn take_score(&mut self, at: Timestamp, attempt: &AttemptId, score: &ScoreResult, by: (u32, &str)) {
        let trial = self.trials.get_mut(&attempt.trial);
        let Some(ended) = trial.and_then(|trial| trial.attempts.last_mut()?.ended.as_mut()) else {
            return;
        };
        if let Some(present) = ended.facts.outcome.score_mut() {
            ended.past_scores.push(PastScore {
                score: std::mem::replace(present, score.clone()),
                replaced: at,
                by_task_version: by.0,
                by_version: by.1.to_owned(),
            });
        }
    }
}

/// Questions to the view.
impl RunView {
    /// Returns how many lines were taken, which is also the `seq` of the next one.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Returns what the first line says; `None` before it.
    pub fn facts(&self) -> Option<&RunFacts> {
        self.facts.as_ref()
    }

    /// Returns where the run stands.
    pub fn life(&self) -> Life {
        self.life
    }

    /// Returns the images, in the order in which they were ready.
    pub fn images(&self) -> &[ImageView] {
        &self.images
    }

    /// Returns what was removed of earlier processes' leftovers.
    pub fn swept(&self) -> &Swept {
        &self.swept
    }

    /// Returns which sandboxes were left behind for a sweep, in words.
    pub fn left(&self) -> &[String] {
        &self.left
    }

    /// Returns the phases that began, in order.
    pub fn phases(&self) -> &[PhaseView] {
        &self.phases
    }

    /// Returns the phase that is going on.
    pub fn open_phase(&self) -> Option<&PhaseView> {
        self.phases.last().filter(|phase| phase.ended.is_none())
    }

    /// Returns the trials that were started or skipped. Planned trials that are missing here are open.
    pub fn trials(&self) -> &BTreeMap<TrialId, TrialView> {
        &self.trials
    }

    /// Returns the state of a trial; one that the log does not name is open.
    pub fn status(&self, trial: &TrialId) -> TrialStatus {
        self.trials
            .get(trial)
            .map_or(TrialStatus::Open, TrialView::status)
    }

    /// Returns an attempt.
    pub fn attempt(&self, attempt: &AttemptId) -> Option<&AttemptView> {
        let at = usize::try_from(attempt.number).ok()?.checked_sub(1)?;
        self.trials.get(&attempt.trial)?.attempts.get(at)
    }

    /// Returns the attempts that began and did not end.
    pub fn unfinished(&self) -> Vec<AttemptId> {
        self.running.iter().cloned().collect()
    }

    /// Returns what all ended attempts used together.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns how often another process took the run up.
    pub fn continued(&self) -> u32 {
        self.continued
    }

    /// Returns how often a person asked to stop.
    pub fn interrupted(&self) -> u32 {
        self.interrupted
    }

    /// Returns when the last line was written.
    pub fn last(&self) -> Timestamp {
        self.last
    }

    /// Counts a group of planned trials. Every one of them is in exactly one column.
    pub fn counts<'a>(&self, trials: impl IntoIterator<Item = &'a TrialId>) -> Counts {
        trials.into_iter().map(|trial| self.status(trial)).collect()
    }

    /// Returns the trials of the log that are not among the planned ones: the plan is not the run's.
    pub fn unplanned<'a>(&'a self, planned: &BTreeSet<TrialId>) -> Vec<&'a TrialId> {
        self.trials
            .keys()
            .filter(|trial| !planned.contains(*trial))
            .collect()
    }

    /// Returns what a process that takes up this run logs first: that it does, and the ending of every attempt
    /// that the earlier process left unfinished.
    pub fn continuation(&self, version: &str, pid: u32, torn_bytes: u64) -> Vec<RunEvent> {
        let continued = RunEvent::RunContinued {
            version: version.to_owned(),
            pid,
            torn_bytes,
        };
        let endings = self.running.iter().cloned().map(crashed);
        std::iter::once(continued)
            .chain(endings.map(|ended| RunEvent::AttemptEnded(Box::new(ended))))
            .collect()
    }
}
