//! What can be seen of a run while it goes on.

use std::time::Duration;

use harness_core::ids::PhaseId;
use harness_core::model::Usage;
use harness_core::plan::Plan;
use harness_core::suite::PhaseSpec;
use harness_core::units::Usd;

/// A view of a running run; made anew several times a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Phases in order.
    pub phases: Vec<PhaseProgress>,
    /// Trials that run now.
    pub running: u32,
    /// Trials that wait before another attempt.
    pub backing_off: u32,
    /// What waiting trials wait for, in words.
    pub waiting_for: Option<String>,
    /// Tokens so far, earlier processes included.
    pub usage: Usage,
    /// Money so far; `None` if a price is unknown.
    pub cost: Option<Usd>,
    /// Time since this process began the run.
    pub elapsed: Duration,
    /// Time since the last trial was settled.
    pub since_last: Duration,
    /// Trials that this process settled.
    pub settled_here: u32,
    /// What is being done before any trial starts.
    pub preparing: Option<String>,
}

/// A phase of a running run.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseProgress {
    /// Which.
    pub id: PhaseId,
    /// Trials that are settled, given up or skipped.
    pub done: u32,
    /// All trials.
    pub total: u32,
    /// Of the done ones, successes.
    pub successes: u32,
    /// Of the done ones, scored.
    pub scored: u32,
    /// Of the done ones, void.
    pub void: u32,
}

impl Progress {
    /// Returns done and all trials over the phases.
    pub fn done_of_total(&self) -> (u32, u32) {
        let sum = |field: fn(&PhaseProgress) -> u32| self.phases.iter().map(field).sum();
        (sum(|phase| phase.done), sum(|phase| phase.total))
    }

    /// Estimates the time that is left from the pace of this process; `None` before three trials are settled.
    pub fn time_left(&self) -> Option<Duration> {
        let (done, total) = self.done_of_total();
        if self.settled_here < 3 || done >= total {
            return None;
        }
        let each = self.elapsed.as_secs_f64() / f64::from(self.settled_here);
        Some(Duration::from_secs_f64(each * f64::from(total - done)))
    }
}

/// Returns the views of the phases before anything ran.
pub fn phases_at_start(plan: &Plan) -> Vec<PhaseProgress> {
    let count = |at| trials_of(plan, at);
    let view = |(at, phase): (usize, &PhaseSpec)| PhaseProgress {
        id: phase.id.clone(),
        done: 0,
        total: count(at),
        successes: 0,
        scored: 0,
        void: 0,
    };
    plan.phases.iter().enumerate().map(view).collect()
}

/// Counts the trials of a phase.
pub(crate) fn trials_of(plan: &Plan, phase: usize) -> u32 {
    let trials = plan.trials.iter().filter(|trial| trial.phase == phase);
    u32::try_from(trials.count()).unwrap_or(u32::MAX)
}
