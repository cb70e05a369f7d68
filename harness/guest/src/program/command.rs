//! A command that was started: its streams, its input that waits, and how far it is.

use super::sweep::Sweep;
use harness_guest::{Ending, TerminalState, WINDOW, WindowSize};
use rustix::io::Errno;
use rustix::termios::{LocalModes, Winsize};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// How much input may wait for a pipe. The host waits for what is under way to be taken, so only a broken one meets the
/// bound; the command's input is closed then.
const MOST_INPUT: usize = WINDOW as usize;
/// How much input may wait for a terminal; what is typed beyond it is lost, as it is on any terminal.
const MOST_TYPED: usize = 1 << 20;
/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: u8 = 4;

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Its own process.
    pub(crate) pid: u32,
    /// Its marker.
    pub(crate) marker: String,
    /// Its program and its folder, for texts.
    pub(crate) names: (String, String),
    /// When it was started, in ticks.
    pub(crate) born: u64,
    /// When it was started.
    pub(crate) started: Instant,
    /// When it is killed.
    pub(crate) deadline: Option<Instant>,
    /// How many more bytes of output it may have.
    pub(crate) output_left: u64,
    /// Its input.
    pub(crate) input: Input,
    /// Its output, or its terminal.
    pub(crate) stdout: Option<OwnedFd>,
    /// Its second output.
    pub(crate) stderr: Option<OwnedFd>,
    /// Tells whether its program could be started; gone when that is known.
    pub(crate) status: Option<OwnedFd>,
    /// The other side of its terminal, held until its program has started: nothing is over before.
    pub(crate) peer: Option<OwnedFd>,
    /// When its terminal counts as closed although the system has not said so.
    pub(crate) hang_up: Option<Instant>,
    /// How often something had been killed for lack of memory when it started.
    pub(crate) oom_kills_before: Option<u64>,
    /// Its own process's exit code and how long it ran in microseconds, once reaped.
    pub(crate) exit: Option<(i32, u64)>,
    /// Whether it is being killed.
    pub(crate) killing: Killing,
    /// Whether nothing more is wanted of it, once killing it is over.
    pub(crate) forgotten: bool,
    /// How much of its output was read after its end.
    pub(crate) late_output: usize,
    /// How it ended, if not by itself.
    pub(crate) ending: Option<Ending>,
    /// Whether the host has been told that it exited.
    pub(crate) exit_said: bool,
    /// Whether the host has been told that its output ended.
    pub(crate) output_end_said: bool,
}

/// How far killing a command is.
#[derive(Debug)]
pub(crate) enum Killing {
    /// Nobody kills it.
    No,
    /// Its processes are being looked for and killed.
    Sweeping(Sweep),
    /// Everything in the sandbox is being killed.
    WithAll,
    /// It is over; so many survived.
    Over(u32),
}

/// A command's input: its pipe or its terminal, and what waits for it.
#[derive(Debug, Default)]
pub(crate) struct Input {
    fd: Option<OwnedFd>,
    queue: VecDeque<u8>,
    /// How much was taken since that was last said.
    taken: usize,
    ended: bool,
    terminal: bool,
}

impl Input {
    /// An input that goes to a pipe, or nowhere.
    pub(crate) fn pipe(fd: Option<OwnedFd>) -> Self {
        Self {
            fd,
            ..Self::default()
        }
    }

    /// An input that goes to a terminal.
    pub(crate) fn terminal(fd: OwnedFd) -> Self {
        Self {
            fd: Some(fd),
            terminal: true,
            ..Self::default()
        }
    }

    /// Returns the descriptor if something waits for it.
    pub(crate) fn wanted(&self) -> Option<&OwnedFd> {
        self.fd.as_ref().filter(|_| !self.queue.is_empty())
    }

    /// Returns how much waits.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Takes further bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.ended || self.fd.is_none() {
            self.taken = self.taken.saturating_add(bytes.len());
            return;
        }
        let waiting = self.queue.len();
        if self.terminal {
            let room = MOST_TYPED.saturating_sub(waiting).min(bytes.len());
            self.queue.extend(bytes.get(..room).unwrap_or_default());
        } else if waiting.saturating_add(bytes.len()) > MOST_INPUT {
            self.close();
            return;
        } else {
            self.queue.extend(bytes);
        }
        self.flush();
    }

    /// Returns how much was taken since the last call. A terminal's input is not counted.
    pub(crate) fn taken(&mut self) -> Option<u32> {
        let taken = std::mem::take(&mut self.taken);
        u32::try_from(taken)
            .ok()
            .filter(|taken| *taken > 0 && !self.terminal)
    }

    /// Nothing more comes.
    pub(crate) fn end(&mut self) {
        if self.terminal && !self.ended {
            self.push(&[END_OF_TRANSMISSION]);
        }
        self.ended = true;
        self.flush();
    }

    /// Writes what fits now.
    pub(crate) fn flush(&mut self) {
        while let Some(fd) = self.fd.as_ref() {
            let (front, _) = self.queue.as_slices();
            if front.is_empty() {
                break;
            }
            match rustix::io::write(fd, front) {
                Ok(count) if count > 0 => {
                    self.taken = self.taken.saturating_add(count);
                    drop(self.queue.drain(..count.min(self.queue.len())));
                }
                Ok(_) | Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.close(),
            }
        }
        self.queue = VecDeque::new();
        if self.ended && !self.terminal {
            self.fd = None;
        }
    }

    fn close(&mut self) {
        self.fd = None;
        self.taken = self.taken.saturating_add(self.queue.len());
        self.queue = VecDeque::new();
    }

    /// Returns the terminal.
    fn as_terminal(&self) -> Option<&OwnedFd> {
        self.fd.as_ref().filter(|_| self.terminal)
    }
}

impl Command {
    /// Gives its terminal another size.
    pub(crate) fn resize(&self, size: WindowSize) {
        if let Some(terminal) = self.input.as_terminal() {
            let _ = rustix::termios::tcsetwinsize(terminal, window(size));
        }
    }

    /// Looks at its terminal. `foreground` is what the table of processes says about it.
    pub(crate) fn terminal_state(&self, foreground: impl FnOnce() -> Option<u32>) -> TerminalState {
        let Some(terminal) = self.input.as_terminal() else {
            return TerminalState {
                idle: None,
                by_lines: None,
            };
        };
        let asked = rustix::termios::tcgetpgrp(terminal).ok();
        let group = asked.and_then(|pid| u32::try_from(pid.as_raw_pid()).ok());
        let modes = rustix::termios::tcgetattr(terminal).ok();
        TerminalState {
            idle: group
                .or_else(foreground)
                .filter(|group| *group > 0)
                .map(|group| group == self.pid),
            by_lines: modes.map(|modes| modes.local_modes.contains(LocalModes::ICANON)),
        }
    }

    /// Returns how many of its processes survived, if it is over and that was not said.
    pub(crate) fn survivors(&self) -> Option<u32> {
        match &self.killing {
            Killing::No if self.exit.is_some() && self.status.is_none() && !self.exit_said => Some(0),
            Killing::Over(survivors) if !self.exit_said => Some(*survivors),
            Killing::No | Killing::Over(_) | Killing::Sweeping(_) | Killing::WithAll => None,
        }
    }

    /// Closes its streams.
    pub(crate) fn close(&mut self) {
        self.input = Input::default();
        self.stdout = None;
        self.stderr = None;
        self.status = None;
        self.peer = None;
    }

    /// Returns whether it has a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.input.as_terminal().is_some()
    }

    /// Returns whether all its output has ended.
    pub(crate) fn is_silent(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }
}

/// Returns a size as the system takes it.
pub(crate) fn window(size: WindowSize) -> Winsize {
    Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
