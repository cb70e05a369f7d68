//! One command over the stream, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use harness_core::text::{Capture, Captured};
use harness_guest::{Exec, PIECE, Problem, ToGuest};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::stream::{Broken, Link};
use super::table::{Asked, CommandState, Exit, Sink};

/// A command has ended, but something that it left behind holds its output open.
const QUIET: Duration = Duration::from_millis(250);
const DRAIN: Duration = Duration::from_secs(2);
/// How much longer than its time a command may take to be killed with all that it started.
const KILLED_WITHIN: Duration = Duration::from_secs(20);

/// A command as the helper takes it.
pub(crate) struct CommandAsked {
    /// What is run; its number is given here.
    pub(crate) exec: Exec,
    /// What it reads.
    pub(crate) stdin: Option<Arc<[u8]>>,
    /// How much of each stream is kept.
    pub(crate) keep: usize,
}

/// Why a command is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// It ended or was ended.
    Exit(Exit),
    /// It was never started.
    NotStarted(Problem),
}

/// A command that is over.
pub(crate) struct LinkRan {
    pub(crate) over: Over,
    /// Whether it was ended by what was waited for beside it.
    pub(crate) interrupted: bool,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    pub(crate) took: Duration,
}

impl Link {
    /// Runs a command until it ends, or until `interrupt` resolves: then it is killed.
    pub(crate) async fn run(
        &self,
        asked: CommandAsked,
        interrupt: impl Future<Output = ()>,
    ) -> Result<LinkRan, Broken> {
        let CommandAsked {
            mut exec,
            stdin,
            keep,
        } = asked;
        let (id, limit, time) = (self.number(), exec.output_limit, exec.timeout);
        exec.id = id;
        let state = CommandState::new(Sink::Capture(Capture::new(keep), Capture::new(keep)), limit);
        let changed = Arc::clone(&state.changed);
        self.enter(id, Asked::Command(Box::new(state)));
        let running = Running { link: self, id };
        let began = Instant::now();
        self.send(ToGuest::Exec(Box::new(exec)));
        let mut waiting = Waiting {
            id,
            changed: &changed,
            stdin: stdin.map(|bytes| (bytes, 0)),
        };
        let time = time.map(Duration::from_millis);
        let (over, interrupted) = self.until_over(&mut waiting, time, interrupt).await?;
        let took = began.elapsed();
        if matches!(over, Over::Exit(_)) {
            self.drain(id, &changed).await;
        }
        let taken = self.table().command(id).map(CommandState::take_output);
        drop(running);
        let Some((stdout, stderr)) = taken else {
            return Err(self.until_broken().await);
        };
        Ok(LinkRan {
            over,
            interrupted,
            stdout,
            stderr,
            took,
        })
    }

    async fn until_over(
        &self,
        waiting: &mut Waiting<'_>,
        time: Option<Duration>,
        interrupt: impl Future<Output = ()>,
    ) -> Result<(Over, bool), Broken> {
        let id = waiting.id;
        let mut interrupt = std::pin::pin!(interrupt);
        let mut interrupted = false;
        let far = Duration::from_hours(24 * 365);
        let mut patience = Instant::now() + time.map_or(far, |time| time + KILLED_WITHIN);
        let mut broken = std::pin::pin!(self.until_broken());
        loop {
            let change = waiting.changed.notified();
            if let Some(over) = self.over(id)? {
                return Ok((over, interrupted));
            }
            self.feed(waiting);
            tokio::select! {
                () = change => {}
                broken = &mut broken => return Err(broken),
                () = &mut interrupt, if !interrupted => {
                    interrupted = true;
                    self.send(ToGuest::Kill { id });
                    patience = patience.min(Instant::now() + KILLED_WITHIN);
                }
                () = sleep_until(patience) => {
                    self.check().await?;
                    return Err(Broken::Ended("the helper could not end a command".to_owned()));
                }
            }
        }
    }

    /// Sends as much of a command's input as may be under way.
    fn feed(&self, waiting: &mut Waiting<'_>) {
        let id = waiting.id;
        let Some((bytes, sent)) = &mut waiting.stdin else {
            return;
        };
        let mut table = self.table();
        let Some(state) = table.command(id) else { return };
        while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
            let count = rest.len().min(state.input_room()).min(PIECE);
            if count == 0 {
                return;
            }
            let bytes = rest[..count].to_vec();
            self.send(ToGuest::Stdin { id, bytes });
            state.input_sent(count);
            *sent += count;
        }
        self.send(ToGuest::StdinEnd { id });
        waiting.stdin = None;
    }

    fn over(&self, id: u32) -> Result<Option<Over>, Broken> {
        let mut table = self.table();
        let Some(state) = table.command(id) else {
            drop(table);
            return Err(self
                .broken()
                .unwrap_or(Broken::Ended("the stream is over".to_owned())));
        };
        if let Some(problem) = &state.failed {
            return Ok(Some(Over::NotStarted(problem.clone())));
        }
        Ok(state.exit.map(Over::Exit))
    }

    /// Reads what is left of a command's output, but does not wait long for what it left behind.
    async fn drain(&self, id: u32, changed: &Notify) {
        let until = Instant::now() + DRAIN;
        loop {
            let change = changed.notified();
            if self.table().command(id).is_none_or(|state| state.output_ended) {
                return;
            }
            let Ok(quiet) = timeout_at(until, timeout(QUIET, change)).await else {
                return;
            };
            if quiet.is_err() {
                return;
            }
        }
    }
}

/// A command whose end is waited for, and what is left of its input from a place on.
struct Waiting<'a> {
    id: u32,
    changed: &'a Notify,
    stdin: Option<(Arc<[u8]>, usize)>,
}

/// A command that is asked for: given up when this is dropped. If it still ran, it is killed.
struct Running<'a> {
    link: &'a Link,
    id: u32,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let id = self.id;
        let mut table = self.link.table();
        let runs = table
            .command(id)
            .is_some_and(|state| state.exit.is_none() && state.failed.is_none());
        if runs {
            self.link.send(ToGuest::Kill { id });
        }
        if table.forget(id) {
            self.link.send(ToGuest::Forget { id });
        }
    }
}
