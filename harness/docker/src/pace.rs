//! How many containers are created, started and removed at the daemon at the same time.
//!
//! Owns: the number of such calls at once, which follows how the daemon does, and the pause while it struggles. Must
//! not: make a call, or decide what a failure means for a trial.
//!
//! The number grows by one after a round of calls at the usual pace and shrinks by a third when starts become slow or a
//! call fails (additive increase, multiplicative decrease; Chiu and Jain 1989). When most calls fail the daemon gets a
//! pause; then a single call probes. A daemon that does not answer at all gets none: its errors reach the scheduler at
//! once, whose own breaker then decides.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness_core::ports::SandboxError;
use tokio::sync::Notify;
use tokio::time::Instant;

mod state;
#[cfg(test)]
mod tests;

use state::{Admission, State};

/// The longest time that a call waits because of pauses before it fails with the daemon's last error.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What a call does; only starts tell how fast the daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// Creates and starts a container.
    Start,
    /// Anything else: a removal, a look into an image.
    Other,
}

/// What the ending of a call says about the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Health {
    /// It did what was asked, or refused for a reason that lies with the caller.
    Works,
    /// It answered and failed.
    Struggles(SandboxError),
    /// It says nothing: nobody answered, or the call was given up.
    Unknown,
}

/// Lets calls through.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
    /// Who waits; only the first looks at the state.
    line: tokio::sync::Mutex<()>,
    changed: Notify,
    began: Instant,
}

impl Pace {
    /// Begins with so many calls at once.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            state: Mutex::new(State::new(slots)),
            line: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Waits until a call may be made. The permit must get the call's result by [`Permit::done`]; one that is dropped
    /// without says nothing about the daemon.
    ///
    /// # Errors
    /// The daemon's last error, if it struggled for so long that this call was held back for minutes.
    pub(crate) async fn admit(&self) -> Result<Permit<'_>, SandboxError> {
        let paused_before = self.state().paused(self.now());
        // One after another, in the order in which they came.
        let _turn = self.line.lock().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Enabled before the state is asked, so that no change in between is missed.
            changed.as_mut().enable();
            let now = self.now();
            let admission = self.state().admit(now);
            match admission {
                Admission::Now { probe } => return Ok(Permit::new(self, probe)),
                Admission::Full => changed.await,
                Admission::Paused { until, error } => {
                    let held_back = self.state().paused(now).saturating_sub(paused_before);
                    let left = LONGEST_WAIT.saturating_sub(held_back);
                    if left.is_zero() {
                        return Err(error);
                    }
                    let pause = until.saturating_sub(now);
                    // While a probe is under way there is no end of the pause yet.
                    let wait = if pause.is_zero() { left } else { pause.min(left) };
                    let _ = tokio::time::timeout(wait, changed).await;
                }
            }
        }
    }

    /// Returns how many calls may be made at once now.
    #[cfg(test)]
    pub(crate) fn width(&self) -> usize {
        self.state().width()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn ended(&self, probe: bool, health: Health, took: Option<Duration>) {
        let told = self.state().ended(self.now(), probe, health, took);
        if let Some((pause, error)) = told {
            tracing::warn!(
                "the Docker daemon struggles: most of its last calls failed, so it gets a pause of {} s: {error}",
                pause.as_secs()
            );
        }
        self.changed.notify_waiters();
    }
}

/// The right to make one call.
#[derive(Debug)]
#[must_use = "a permit that is dropped ends at once"]
pub(crate) struct Permit<'a> {
    pace: &'a Pace,
    probe: bool,
    since: Instant,
    open: bool,
}

impl<'a> Permit<'a> {
    fn new(pace: &'a Pace, probe: bool) -> Self {
        Self {
            pace,
            probe,
            since: Instant::now(),
            open: true,
        }
    }

    /// Ends the call and learns from its result.
    pub(crate) fn done<T>(mut self, what: Lifecycle, result: &Result<T, SandboxError>) {
        self.open = false;
        let took = (what == Lifecycle::Start && result.is_ok()).then(|| self.since.elapsed());
        let health = result.as_ref().map_or_else(health_of, |_| Health::Works);
        self.pace.ended(self.probe, health, took);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.open {
            self.pace.ended(self.probe, Health::Unknown, None);
        }
    }
}

/// Returns what an error says about the daemon. What is the caller's (an image, a runtime, a user, a file) says that
/// the daemon works; a daemon that is not there is the scheduler's matter.
fn health_of(error: &SandboxError) -> Health {
    match error {
        SandboxError::Daemon { .. } | SandboxError::Protocol { .. } | SandboxError::HostDisk { .. } => {
            Health::Struggles(error.clone())
        }
        SandboxError::DaemonUnreachable { .. } => Health::Unknown,
        SandboxError::Gone { .. }
        | SandboxError::ImageMissing { .. }
        | SandboxError::ImageBuild { .. }
        | SandboxError::RuntimeUnknown { .. }
        | SandboxError::Unsupported { .. }
        | SandboxError::File { .. }
        | SandboxError::NoShell { .. }
        | SandboxError::UnknownUser { .. }
        | SandboxError::Service { .. }
        | SandboxError::Breached { .. } => Health::Works,
    }
}
