//! A program on a terminal over the stream.

use std::sync::Arc;
use std::time::Duration;

use harness_core::ports::{
    ExecEnding, Later, SandboxError, Terminal, TerminalOutput, TerminalState, WindowSize,
};
use harness_guest::{Ending, Exec, PIECE, ProblemKind, ToGuest};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::stream::{Broken, Link};
use super::table::{Asked, CommandState, Sink};
use crate::exec::KILLED;

/// How much is read at once.
const READ: usize = 256 << 10;
/// How long the rest of a program's output may take after its end.
const LAST_OUTPUT: Duration = Duration::from_secs(1);
const STATE: Duration = Duration::from_secs(5);
const OPENED_WITHIN: Duration = Duration::from_secs(30);
const CLOSED_WITHIN: Duration = Duration::from_secs(20);

/// A program on a terminal.
pub(crate) struct LinkTerminal {
    link: Arc<Link>,
    id: u32,
    changed: Arc<Notify>,
}

impl LinkTerminal {
    /// Starts a program on a terminal and waits until it runs.
    pub(crate) async fn open(link: Arc<Link>, mut exec: Exec) -> Result<Self, SandboxError> {
        let id = link.number();
        exec.id = id;
        let state = CommandState::new(Sink::Terminal(Vec::new()), u64::MAX);
        let changed = Arc::clone(&state.changed);
        link.enter(id, Asked::Command(Box::new(state)));
        let terminal = Self { link, id, changed };
        terminal.link.send(ToGuest::Exec(Box::new(exec)));
        let patience = Instant::now() + OPENED_WITHIN;
        loop {
            let changed = Arc::clone(&terminal.changed);
            let (started, failed) = {
                let mut table = terminal.link.table();
                let state = table.command(id);
                let Some(state) = state else {
                    drop(table);
                    return Err(terminal.gone());
                };
                (state.started, state.failed.clone())
            };
            if let Some(problem) = failed {
                return Err(match problem.kind {
                    ProblemKind::Missing => SandboxError::NoShell { detail: problem.text },
                    _ => SandboxError::Daemon {
                        operation: "open a terminal".to_owned(),
                        detail: problem.text,
                    },
                });
            }
            if started {
                return Ok(terminal);
            }
            tokio::select! {
                () = changed.notified() => {}
                broken = terminal.link.until_broken() => return Err(broken.into()),
                () = sleep_until(patience) => {
                    terminal.link.check().await?;
                    let why = "the helper could not start a terminal".to_owned();
                    return Err(Broken::Ended(why).into());
                }
            }
        }
    }

    fn gone(&self) -> SandboxError {
        let broken = self.link.broken();
        broken
            .unwrap_or(Broken::Ended("the stream is over".to_owned()))
            .into()
    }

    async fn read_some(&self, wait: Duration) -> Result<TerminalOutput, SandboxError> {
        let until = Instant::now() + wait;
        loop {
            let change = self.changed.notified();
            if let Some(output) = self.take()? {
                return Ok(output);
            }
            let exited = self
                .link
                .table()
                .command(self.id)
                .and_then(|state| state.exited_at);
            let late = exited.map_or(until, |exited| exited + LAST_OUTPUT);
            if timeout_at(until.min(late), change).await.is_err() && Instant::now() >= until {
                return Ok(self.take()?.unwrap_or_default());
            }
        }
    }

    fn take(&self) -> Result<Option<TerminalOutput>, SandboxError> {
        let mut table = self.link.table();
        let Some(state) = table.command(self.id) else {
            drop(table);
            return Err(self.gone());
        };
        // What the program wrote last may still be under way; what others write on has no end.
        let all = state.output_ended || state.exited_at.is_some_and(|at| at.elapsed() >= LAST_OUTPUT);
        let ended = state.exit.filter(|_| all);
        let Sink::Terminal(held) = &mut state.sink else {
            return Ok(None);
        };
        let rest = held.split_off(held.len().min(READ));
        let bytes = std::mem::replace(held, rest);
        let ended = ended.filter(|_| held.is_empty()).map(|exit| ExecEnding::Exited {
            code: match exit.ending {
                Ending::Exited(code) => code,
                Ending::TimedOut | Ending::OutputLimit | Ending::Killed => KILLED,
            },
        });
        if bytes.is_empty() && ended.is_none() {
            return Ok(None);
        }
        Ok(Some(TerminalOutput { bytes, ended }))
    }

    async fn ask_state(&self) -> Result<TerminalState, SandboxError> {
        let (tell, answer) = oneshot::channel();
        self.link.table().ask_terminal(self.id, tell);
        self.link.send(ToGuest::AskTerminal { id: self.id });
        let Ok(Ok(state)) = timeout(STATE, answer).await else {
            return Ok(TerminalState::default());
        };
        Ok(TerminalState {
            idle: state.idle,
            by_lines: state.by_lines,
        })
    }

    async fn end(&self) -> Result<(), SandboxError> {
        self.link.send(ToGuest::Kill { id: self.id });
        let until = Instant::now() + CLOSED_WITHIN;
        loop {
            let change = self.changed.notified();
            let exit = self.link.table().command(self.id).map(|state| state.exit);
            match exit {
                Some(Some(_)) => return Ok(()),
                Some(None) => {}
                None => return Err(self.gone()),
            }
            if timeout_at(until, change).await.is_err() {
                return Err(Broken::Ended("the helper could not end a terminal".to_owned()).into());
            }
        }
    }
}

impl Drop for LinkTerminal {
    fn drop(&mut self) {
        let mut table = self.link.table();
        let runs = table
            .command(self.id)
            .is_some_and(|state| state.exit.is_none() && state.failed.is_none());
        if runs {
            self.link.send(ToGuest::Kill { id: self.id });
        }
        if table.forget(self.id) {
            self.link.send(ToGuest::Forget { id: self.id });
        }
    }
}

impl Terminal for LinkTerminal {
    fn send<'a>(&'a self, bytes: &'a [u8]) -> Later<'a, Result<(), SandboxError>> {
        for piece in bytes.chunks(PIECE) {
            let bytes = piece.to_vec();
            self.link.send(ToGuest::Stdin { id: self.id, bytes });
        }
        Box::pin(async {
            if self.link.broken().is_some() {
                Err(self.gone())
            } else {
                Ok(())
            }
        })
    }

    fn resize(&self, size: WindowSize) -> Later<'_, Result<(), SandboxError>> {
        let size = harness_guest::WindowSize {
            rows: size.rows,
            cols: size.cols,
        };
        self.link.send(ToGuest::Resize { id: self.id, size });
        Box::pin(async { Ok(()) })
    }

    fn read(&self, wait: Duration) -> Later<'_, Result<TerminalOutput, SandboxError>> {
        Box::pin(self.read_some(wait))
    }

    fn state(&self) -> Later<'_, Result<TerminalState, SandboxError>> {
        Box::pin(self.ask_state())
    }

    fn close(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(self.end())
    }
}
