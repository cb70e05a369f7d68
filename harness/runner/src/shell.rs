//! The tool `shell`: the terminal of an attempt, opened at its first use and kept between calls.
//!
//! Owns: typing, reading, and what the model is shown. Must not: decide when to stop waiting (see
//! `harness_core::terminal`). What the program does to the terminal never ends the attempt; an error of the sandbox
//! does.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use harness_core::outcome::Stage;
use harness_core::ports::{
    ExecEnding, ExecUser, SandboxError, Terminal, TerminalOutput, TerminalRequest, TerminalState,
};
use harness_core::scoring::describe_ending;
use harness_core::terminal::{
    DEFAULT_SIZE, Look, PROMPT_ENV, Prompt, QUIET, Screen, Verdict, judge, shell_argv,
};
use harness_core::text::{Capture, Captured, cut_notice};
use harness_core::tools::ShellCall;
use harness_core::units::format_duration;
use tokio::time::{Instant, sleep, timeout};

use crate::attempt::setup::within;
use crate::attempt::{Attempt, Break};
use crate::tools::Seeing;

/// How much of what a program writes during one call is kept as it is.
const KEEP_RAW: usize = 1 << 20;
/// How long a new shell may take to show its first prompt before it is used all the same.
const FIRST_PROMPT: Duration = Duration::from_secs(10);
/// How much longer than asked for the sandbox may take to answer.
const ANSWER: Duration = Duration::from_mins(3);
/// How long the end of a shell is waited for.
const CLOSE: Duration = Duration::from_secs(10);
/// A pause after an answer that came too soon, so that an idle loop can't come about.
const TOO_SOON: Duration = Duration::from_millis(10);

/// A shell on a terminal.
pub(crate) struct ShellSession {
    terminal: Box<dyn Terminal>,
    screen: Screen,
    /// What was read and not yet put on the screen, and from which place on; then how the program ended.
    pending: (Vec<u8>, usize),
    ended: Option<ExecEnding>,
}

/// What one call has read so far.
struct Reading {
    raw: Capture,
    /// When something last came.
    heard: Instant,
    state: TerminalState,
}

/// How one call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Decided(Verdict),
    TimeIsUp,
    Ended(ExecEnding),
}

impl Attempt {
    /// Carries out a call of the tool `shell`.
    pub(crate) async fn use_shell(&mut self, call: ShellCall) -> Result<Seeing, Break> {
        let (left, limit) = self.time_left();
        let tool_time = self.limits().tool_time;
        let whole = call.wait.map_or(tool_time, |wait| wait.min(tool_time));
        let begun = Instant::now();
        let until = begun + whole.min(left);
        let failed = |error: SandboxError| Break::sandbox(Stage::Solve, &error);
        let mut session = match self.shell.take() {
            Some(session) => session,
            None => self.open_shell(until).await?,
        };
        let mut reading = Reading::new();
        let stop = session
            .carry_out(&call, until, &mut reading)
            .await
            .map_err(failed)?;
        let cap = usize::try_from(self.limits().tool_output.0).unwrap_or(usize::MAX);
        let mut shown = session.show(&call).readable(cap);
        if shown.cut > 0 {
            shown.blob = Some(self.journal.put_blob(&joined(&reading.raw.finish()))?);
        }
        let quiet = shown.text.is_empty() && call.input.is_none() && call.keys.is_empty();
        if let Some(note) = note(stop, whole.min(left), quiet) {
            if !shown.text.is_empty() && !shown.text.ends_with('\n') {
                shown.text.push('\n');
            }
            shown.text.push_str(&note);
        }
        if let Stop::Ended(_) = stop {
            end(session.terminal).await.map_err(failed)?;
        } else {
            self.shell = Some(session);
        }
        Ok(Seeing {
            shown,
            ending: ending(stop),
            took: begun.elapsed(),
            stopped: (stop == Stop::TimeIsUp && left < whole).then_some(limit),
        })
    }

    /// Ends the shell, if there is one.
    pub(crate) async fn close_shell(&mut self) -> Result<(), Break> {
        let Some(session) = self.shell.take() else {
            return Ok(());
        };
        end(session.terminal)
            .await
            .map_err(|error| Break::sandbox(Stage::Score, &error))
    }

    async fn open_shell(&mut self, until: Instant) -> Result<ShellSession, Break> {
        let failed = |error: SandboxError| Break::sandbox(Stage::Solve, &error);
        let nonce = nonce();
        let request = TerminalRequest {
            argv: shell_argv(&nonce),
            user: ExecUser::Task,
            cwd: None,
            env: PROMPT_ENV
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            size: DEFAULT_SIZE,
        };
        let held = Arc::clone(&self.held);
        let guard = held.lock().await;
        let Some(sandbox) = guard.as_deref() else {
            let evidence = "the task has no sandbox".to_owned();
            return Err(Break::harness(Stage::Solve, "no_sandbox", evidence));
        };
        let terminal = within(ANSWER, "open a terminal", sandbox.open_terminal(&request))
            .await
            .map_err(failed)?;
        let mut session = ShellSession {
            terminal,
            screen: Screen::new(DEFAULT_SIZE, &nonce),
            pending: (Vec::new(), 0),
            ended: None,
        };
        let until = until.min(Instant::now() + FIRST_PROMPT);
        let mut reading = Reading::new();
        let stop = session
            .read_until(until, false, &mut reading)
            .await
            .map_err(failed)?;
        if let Stop::Decided(Verdict::Prompt(_)) = stop {
            // What the shell says of itself is no news.
            session.screen.new_text();
        }
        Ok(session)
    }
}

impl ShellSession {
    /// Types what the call says and reads until there is a reason to stop.
    async fn carry_out(
        &mut self,
        call: &ShellCall,
        until: Instant,
        reading: &mut Reading,
    ) -> Result<Stop, SandboxError> {
        if let Some(stop) = self.read_once(Duration::ZERO, reading).await? {
            return Ok(stop);
        }
        while self.pending.0.len() > self.pending.1 && Instant::now() < until {
            if let Some(stop) = self.read_once(Duration::ZERO, reading).await? {
                return Ok(stop);
            }
        }
        if let Some(size) = call.size(self.screen.size()) {
            self.screen.resize(size);
            within(
                ANSWER,
                "resize a terminal",
                self.terminal.resize(self.screen.size()),
            )
            .await?;
        }
        let mut bytes = Vec::new();
        let mut more_prompts = false;
        if let Some(text) = &call.input {
            bytes = self.screen.type_line(text);
            more_prompts = bytes.split(|byte| *byte == b'\r').nth(2).is_some();
        }
        bytes.extend(call.keys.iter().flat_map(|key| self.screen.press(*key)));
        if !bytes.is_empty() {
            // A program that ends just now brings a prompt that is not the answer to what is typed.
            more_prompts |= self.screen.prompt().is_none();
            self.screen.forget_prompt();
            within(ANSWER, "type", self.terminal.send(&bytes)).await?;
        }
        self.read_until(until, more_prompts, reading).await
    }

    async fn read_until(
        &mut self,
        until: Instant,
        more_prompts: bool,
        reading: &mut Reading,
    ) -> Result<Stop, SandboxError> {
        loop {
            let verdict = judge(&Look {
                prompt: self.screen.prompt(),
                more_prompts,
                quiet: reading.heard.elapsed(),
                state: reading.state,
                line_is_open: self.screen.line_is_open(),
                read: reading.raw.total(),
            });
            if verdict != Verdict::Wait {
                return Ok(Stop::Decided(verdict));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Stop::TimeIsUp);
            }
            if let Some(stop) = self.read_once(left.min(QUIET), reading).await? {
                return Ok(stop);
            }
            if reading.heard.elapsed() >= QUIET {
                reading.state = within(ANSWER, "look at a terminal", self.terminal.state()).await?;
            }
        }
    }

    /// Reads what comes within a time. Of what makes much work on the screen only some is taken; others get their turn, and
    /// the next call goes on.
    async fn read_once(
        &mut self,
        wait: Duration,
        reading: &mut Reading,
    ) -> Result<Option<Stop>, SandboxError> {
        if self.pending.0.len() == self.pending.1 && self.ended.is_none() {
            let begun = Instant::now();
            let reads = within(wait + ANSWER, "read a terminal", self.terminal.read(wait));
            let TerminalOutput { bytes, ended } = reads.await?;
            if bytes.is_empty() && ended.is_none() && begun.elapsed() < wait {
                sleep(TOO_SOON.min(wait)).await;
            }
            (self.pending, self.ended) = ((bytes, 0), ended);
        }
        let (bytes, from) = &mut self.pending;
        let rest = bytes.get(*from..).unwrap_or_default();
        if !rest.is_empty() {
            let count = self.screen.feed_some(rest);
            reading.raw.push(rest.get(..count).unwrap_or_default());
            *from += count;
            reading.heard = Instant::now();
            reading.state = TerminalState::default();
            tokio::task::yield_now().await;
        }
        let all = self.pending.0.len() == self.pending.1;
        Ok(self.ended.filter(|_| all).map(Stop::Ended))
    }

    /// Returns what the model sees: the screen, or what is new without the echo of the first line that
    /// was typed.
    fn show(&mut self, call: &ShellCall) -> Captured {
        let mut text = self.screen.new_text();
        if call.screen || self.screen.alternate() {
            return Captured::whole(self.screen.screen_text());
        }
        let first = |input: &String| format!("{}\n", input.lines().next().unwrap_or_default());
        let echo = call.input.as_ref().map(first);
        if let Some(echo) = echo
            && text.head.starts_with(echo.as_bytes())
        {
            text.head.drain(..echo.len());
            text.total -= echo.len() as u64;
        }
        text
    }
}

impl Reading {
    fn new() -> Self {
        Self {
            raw: Capture::new(KEEP_RAW),
            heard: Instant::now(),
            state: TerminalState::default(),
        }
    }
}

/// Closes a terminal. That it is gone is no news here; that something is wrong with the sandbox is.
async fn end(terminal: Box<dyn Terminal>) -> Result<(), SandboxError> {
    match timeout(CLOSE, terminal.close()).await {
        Ok(Err(error)) if error.is_breach() => Err(error),
        Ok(Ok(()) | Err(_)) | Err(_) => Ok(()),
    }
}

fn note(stop: Stop, waited: Duration, nothing: bool) -> Option<String> {
    let words = match stop {
        Stop::Decided(Verdict::Prompt(Prompt::Ready { code: 0 })) if nothing => {
            "nothing new; the shell waits for a command"
        }
        Stop::Decided(Verdict::Prompt(Prompt::Ready { code: 0 }) | Verdict::Wait) => return None,
        Stop::Decided(Verdict::Prompt(Prompt::Ready { code })) => return Some(format!("[exit code {code}]")),
        Stop::Decided(Verdict::Prompt(Prompt::More)) => "the shell waits for the rest of the command",
        Stop::Decided(Verdict::Idle) => "no prompt was seen, but the shell runs nothing",
        Stop::Decided(Verdict::Keys) => "program waits for keys",
        Stop::Decided(Verdict::Question) => "still running; it may wait for a line",
        Stop::Decided(Verdict::Flood) => "still running; it writes so much that reading stopped",
        Stop::TimeIsUp => return Some(format!("[still running after {}]", format_duration(waited))),
        Stop::Ended(ExecEnding::Exited { code }) => {
            return Some(format!(
                "[the shell ended with exit code {code}; the next call starts a new one]"
            ));
        }
        Stop::Ended(ending) => {
            let how = describe_ending(ending);
            return Some(format!(
                "[the shell was ended: {how}; the next call starts a new one]"
            ));
        }
    };
    Some(format!("[{words}]"))
}

fn ending(stop: Stop) -> Option<ExecEnding> {
    match stop {
        Stop::Decided(Verdict::Prompt(Prompt::Ready { code })) => Some(ExecEnding::Exited { code }),
        Stop::Ended(ending) => Some(ending),
        Stop::Decided(
            Verdict::Prompt(Prompt::More)
            | Verdict::Wait
            | Verdict::Idle
            | Verdict::Keys
            | Verdict::Question
            | Verdict::Flood,
        )
        | Stop::TimeIsUp => None,
    }
}

fn joined(captured: &Captured) -> Vec<u8> {
    let notice = if captured.cut() > 0 {
        cut_notice(captured.cut())
    } else {
        String::new()
    };
    [
        captured.head.as_slice(),
        notice.as_bytes(),
        captured.tail.as_slice(),
    ]
    .concat()
}

/// Returns a word that nothing in the sandbox can guess before it sees it.
fn nonce() -> String {
    // Each of these is seeded by the system's random numbers.
    let part = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", part(), part())
}
