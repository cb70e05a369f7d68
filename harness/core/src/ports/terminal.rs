//! Programs on a terminal in a sandbox.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ExecEnding, ExecUser, Later, SandboxError};

/// A program to start on a terminal of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TerminalRequest {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// As whom.
    pub user: ExecUser,
    /// The folder; `None` is the spec's workdir.
    pub cwd: Option<String>,
    /// Variables on top of the spec's.
    pub env: std::collections::BTreeMap<String, String>,
    /// The size of the window.
    pub size: WindowSize,
}

/// A size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A program that runs on a terminal. Dropping it without [`close`](Self::close) may leave the program running until
/// the sandbox ends.
pub trait Terminal: Send + Sync {
    /// Types bytes.
    fn send<'a>(&'a self, bytes: &'a [u8]) -> Later<'a, Result<(), SandboxError>>;

    /// Gives the window another size.
    fn resize(&self, size: WindowSize) -> Later<'_, Result<(), SandboxError>>;

    /// Waits until the program has written something or ended, but no longer than `wait`, and returns what it wrote
    /// since the last call, at most 256 KiB at once. Of what nobody reads the last 4 MiB are held.
    fn read(&self, wait: Duration) -> Later<'_, Result<TerminalOutput, SandboxError>>;

    /// Returns what the terminal is doing, as far as that can be seen.
    fn state(&self) -> Later<'_, Result<TerminalState, SandboxError>>;

    /// Kills the program and everything that it started, and closes the terminal.
    fn close(&self) -> Later<'_, Result<(), SandboxError>>;
}

/// What a program wrote to its terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminalOutput {
    /// The bytes, hostile.
    pub bytes: Vec<u8>,
    /// How the program ended, once it has and everything was read.
    pub ended: Option<ExecEnding>,
}

/// What a terminal is doing. `None`: it can't be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalState {
    /// Whether the program itself (a shell, not what it started) is in the foreground.
    pub idle: Option<bool>,
    /// Whether input is taken by lines (as while an ordinary program runs), not by keys.
    pub by_lines: Option<bool>,
}
