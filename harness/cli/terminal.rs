//! The person's own terminal while it is connected to one in a sandbox.
//!
//! Owns: raw mode and its end on every path, the keys, the size. Must not: pass anything from the sandbox that does
//! more than draw (see [`Filter`]).

use std::io::{Read as _, Write as _};
use std::time::Duration;

use harness_core::ports::{ExecEnding, SandboxError, Terminal, WindowSize};
use harness_core::terminal::{Filter, reset};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::exit::Failure;

/// The key that leaves: ctrl-].
const LEAVE: u8 = 0x1d;
/// The exit code for a program that was killed.
const KILLED: i32 = 137;
/// How long one look for output waits.
const LOOK: Duration = Duration::from_secs(10);

/// Returns whether a person sits at both ends of this process.
pub(crate) fn is_there() -> bool {
    rustix::termios::isatty(stdin()) && rustix::termios::isatty(stdout())
}

/// Returns the size of the person's terminal.
pub(crate) fn size() -> Option<WindowSize> {
    let size = tcgetwinsize(stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(WindowSize {
        rows: size.ws_row,
        cols: size.ws_col,
    })
}

/// Raw mode: every key goes to the program. Dropping it restores what was, also when something panics.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn begin() -> Result<Self, Failure> {
        let failed = |error: rustix::io::Errno| Failure::ours("failed to set up the terminal", error);
        let before = tcgetattr(stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let mut out = std::io::stdout();
        let _ = out.write_all(reset()).and_then(|()| out.flush());
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Connects the person's terminal with one in a sandbox until its program ends, the person leaves, or a signal comes.
/// Returns the program's exit code, if it ended.
pub(crate) async fn connect(terminal: &dyn Terminal) -> Result<Option<i32>, Failure> {
    let failed = |error: SandboxError| Failure::ours("the terminal in the sandbox is gone", error);
    let signals = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    let resized = listen(SignalKind::window_change())?;
    let raw = RawMode::begin()?;
    let keys = keys();
    // Each of these waits for one side only, so that leaving one never loses what another has begun to read.
    let ended = tokio::select! {
        code = show(terminal) => code.map(Some),
        left = send(terminal, keys) => left.map(|()| None),
        gone = follow_size(terminal, resized) => gone.map(|()| None),
        () = any(signals) => Ok(None),
    };
    drop(raw);
    ended.map_err(failed)
}

pub(crate) fn listen(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::ours("failed to listen for signals", error))
}

async fn any((mut terminate, mut hang_up): (Signal, Signal)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
}

/// Reads the keyboard in a thread of its own: a read of it can't be given up, so the thread ends with the process.
fn keys() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if sender.blocking_send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn send(terminal: &dyn Terminal, mut keys: mpsc::Receiver<Vec<u8>>) -> Result<(), SandboxError> {
    while let Some(bytes) = keys.recv().await {
        if let Some(at) = bytes.iter().position(|byte| *byte == LEAVE) {
            return terminal.send(&bytes[..at]).await;
        }
        terminal.send(&bytes).await?;
    }
    Ok(())
}

async fn show(terminal: &dyn Terminal) -> Result<i32, SandboxError> {
    let mut filter = Filter::default();
    loop {
        let output = terminal.read(LOOK).await?;
        let passed = filter.pass(&output.bytes);
        let mut out = std::io::stdout();
        let _ = out.write_all(&passed).and_then(|()| out.flush());
        if let Some(ending) = output.ended {
            return Ok(match ending {
                ExecEnding::Exited { code } | ExecEnding::OutOfMemory { code } => code,
                ExecEnding::TimedOut { .. }
                | ExecEnding::OutputLimit { .. }
                | ExecEnding::DiskLimit { .. } => KILLED,
            });
        }
    }
}

async fn follow_size(terminal: &dyn Terminal, mut resized: Signal) -> Result<(), SandboxError> {
    while resized.recv().await.is_some() {
        if let Some(size) = size() {
            terminal.resize(size).await?;
        }
    }
    std::future::pending().await
}
