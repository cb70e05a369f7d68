//! The limit of a sandbox's disk where the daemon's storage has no quota.
//!
//! Owns: one watcher per sandbox, from its first command to its end, so that neither many short commands nor what was
//! left running nor a terminal escapes; and who is told. Must not: free anything: that is left to the sandbox's user, so
//! what is above the limit and grows no more may go on.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::exec::{CreateExecOptions, StartExecOptions};
use bollard::query_parameters::InspectContainerOptionsBuilder;
use harness_core::ports::{
    ExecEnding, Later, SandboxError, Terminal, TerminalOutput, TerminalState, WindowSize,
};
use harness_core::units::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use crate::link::Link;
use crate::scripts;

/// How often is looked, and at most how much of the daemon's time that may take: one part in ten.
const INTERVAL: Duration = Duration::from_secs(2);
const MOST_PAUSE: Duration = Duration::from_secs(30);
const PART: u32 = 10;

/// What is known of a sandbox's disk.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    limit: u64,
    /// The size for which everything was killed last, while it is above the limit.
    known: u64,
    /// How many commands and terminals run.
    running: usize,
    /// Whether something was killed for it while no command ran that could be told.
    untold: bool,
}

impl State {
    /// Takes a size. Returns whether everything has to be killed: it is above the limit and has grown.
    fn measured(&mut self, used: u64) -> bool {
        if used <= self.limit {
            self.known = 0;
            return false;
        }
        let grown = used > self.known;
        self.known = self.known.max(used);
        self.untold |= grown && self.running == 0;
        grown
    }
}

/// The disk of one sandbox.
pub(crate) struct Disk {
    inner: Arc<Inner>,
    watcher: OnceLock<AbortOnDropHandle<()>>,
}

struct Inner {
    docker: Docker,
    container: String,
    state: Mutex<State>,
    /// How often everything was killed, and when was looked last.
    events: watch::Sender<u64>,
    looked: Mutex<Instant>,
}

/// A command or terminal that runs: it is told itself.
pub(crate) struct Running {
    inner: Arc<Inner>,
    events: watch::Receiver<u64>,
}

impl Disk {
    /// A disk that nobody watches yet.
    pub(crate) fn new(docker: &Docker, container: &str, limit: Bytes) -> Self {
        let state = State {
            limit: limit.0,
            ..State::default()
        };
        Self {
            inner: Arc::new(Inner {
                docker: docker.clone(),
                container: container.to_owned(),
                state: Mutex::new(state),
                events: watch::Sender::new(0),
                looked: Mutex::new(Instant::now()),
            }),
            watcher: OnceLock::new(),
        }
    }

    /// Starts to watch, once.
    pub(crate) fn watch(&self, link: Option<&Arc<Link>>) {
        self.watcher.get_or_init(|| {
            let (inner, link) = (Arc::clone(&self.inner), link.cloned());
            AbortOnDropHandle::new(tokio::spawn(async move { inner.watch_on(link).await }))
        });
    }

    /// Returns whether something was killed of which nobody was told; whoever asks is.
    pub(crate) fn take_untold(&self) -> bool {
        std::mem::take(&mut self.inner.state().untold)
    }

    /// A command or terminal begins.
    pub(crate) fn begin(&self) -> Running {
        self.inner.state().running += 1;
        Running {
            inner: Arc::clone(&self.inner),
            events: self.inner.events.subscribe(),
        }
    }
}

impl Running {
    /// Resolves when everything is killed.
    pub(crate) async fn outgrown(&self) {
        let mut events = self.events.clone();
        if events.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns whether everything was killed since this began. Looks itself if that was not done for a while.
    pub(crate) async fn outgrew(&self, link: Option<&Arc<Link>>) -> bool {
        if self.inner.since_look() >= INTERVAL {
            self.inner.look(link).await;
        }
        self.was_told()
    }

    /// The same, without looking.
    fn was_told(&self) -> bool {
        self.events.has_changed().unwrap_or(false)
    }

    /// Returns the limit.
    pub(crate) fn limit(&self) -> Bytes {
        Bytes(self.inner.state().limit)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        state.running = state.running.saturating_sub(1);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since_look(&self) -> Duration {
        self.looked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }

    async fn watch_on(&self, link: Option<Arc<Link>>) {
        let mut pause = INTERVAL;
        loop {
            sleep(pause).await;
            let began = Instant::now();
            self.look(link.as_ref()).await;
            pause = (began.elapsed() * PART).clamp(INTERVAL, MOST_PAUSE);
        }
    }

    async fn look(&self, link: Option<&Arc<Link>>) {
        let used = self.used().await;
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let Some(used) = used else { return };
        if !self.state().measured(used) {
            return;
        }
        // First told, then killed: a command must not take it for an end of its own.
        self.events.send_modify(|count| *count += 1);
        let killed = match link.filter(|link| link.broken().is_none()) {
            Some(link) => link.kill_all().await.map_err(|error| error.to_string()),
            None => self.kill_by_daemon().await.map_err(|error| error.to_string()),
        };
        if let Err(error) = killed {
            tracing::warn!(container = %self.container, %error, "a sandbox above its disk limit could not be stopped");
        }
    }

    /// Returns how much the container's file system has grown; `None` if the daemon does not say.
    async fn used(&self) -> Option<u64> {
        let options = InspectContainerOptionsBuilder::new().size(true).build();
        let found = self
            .docker
            .inspect_container(&self.container, Some(options))
            .await;
        found.ok()?.size_rw.and_then(|size| u64::try_from(size).ok())
    }

    async fn kill_by_daemon(&self) -> Result<(), bollard::errors::Error> {
        let options = CreateExecOptions {
            cmd: Some(["/bin/sh", "-c", scripts::KILL_ALL].map(str::to_owned).to_vec()),
            user: Some("0:0".to_owned()),
            ..CreateExecOptions::default()
        };
        let created = self.docker.create_exec(&self.container, options).await?;
        let start = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        self.docker.start_exec(&created.id, Some(start)).await.map(drop)
    }
}

/// A terminal whose end may be that of a disk that is full.
pub(crate) struct WatchedTerminal {
    pub(crate) terminal: Box<dyn Terminal>,
    pub(crate) running: Running,
}

impl Terminal for WatchedTerminal {
    fn send<'a>(&'a self, bytes: &'a [u8]) -> Later<'a, Result<(), SandboxError>> {
        self.terminal.send(bytes)
    }

    fn resize(&self, size: WindowSize) -> Later<'_, Result<(), SandboxError>> {
        self.terminal.resize(size)
    }

    fn read(&self, wait: Duration) -> Later<'_, Result<TerminalOutput, SandboxError>> {
        Box::pin(async move {
            let mut output = self.terminal.read(wait).await?;
            if output.ended.is_some() && self.running.was_told() {
                let limit = self.running.limit();
                output.ended = Some(ExecEnding::DiskLimit { limit });
            }
            Ok(output)
        })
    }

    fn state(&self) -> Later<'_, Result<TerminalState, SandboxError>> {
        self.terminal.state()
    }

    fn close(&self) -> Later<'_, Result<(), SandboxError>> {
        self.terminal.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn only_what_grows_above_the_limit_is_killed_and_somebody_is_told() {
        let mut state = State {
            limit: 10,
            ..State::default()
        };
        let killed = [5, 10, 11, 11, 9, 11, 12, 12, 11].map(|used| state.measured(used));
        assert_eq!(
            killed,
            [false, false, true, false, false, true, true, false, false]
        );
        assert!(state.untold);
        let mut state = State {
            limit: 10,
            running: 1,
            ..State::default()
        };
        assert!(state.measured(11) && !state.untold);
        state.running = 0;
        assert!(!state.measured(11) && !state.untold);
        assert!(state.measured(20) && state.untold);
        assert!(!state.measured(3) && state.untold);
    }
}
