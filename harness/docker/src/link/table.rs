//! What was asked of the helper and what it may answer.
//!
//! Owns: the state of every request, and which message is legal in it. Must not: wait or send.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use harness_core::text::{Capture, Captured};
use harness_guest::{Ending, Entry as FolderEntry, FromGuest, PIECE, Problem, Stream, TerminalState, WINDOW};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How much of what a terminal wrote is held until somebody reads it; older bytes give way.
const TERMINAL_HELD: usize = 4 << 20;
/// By how much the helper may exceed a limit of output before it is taken for a liar.
const OUTPUT_SLACK: u64 = 1 << 20;
/// The most entries of one folder, and the longest name of one: together they bound what a list may take.
const MOST_ENTRIES: usize = 100_000;
const LONGEST_NAME: usize = 255;

/// Why a message is not legal.
pub(crate) type Wrong = String;

/// How a command ended, as the helper says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) ending: Ending,
    pub(crate) oom_kills: Option<u64>,
    pub(crate) survivors: u32,
}

/// Where the output of a command goes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// Both streams are bounded and kept.
    Capture(Capture, Capture),
    /// What a terminal shows waits to be read.
    Terminal(Vec<u8>),
}

/// A command.
#[derive(Debug)]
pub(crate) struct CommandState {
    pub(crate) sink: Sink,
    pub(crate) started: bool,
    pub(crate) failed: Option<Problem>,
    pub(crate) exit: Option<Exit>,
    /// When that was said.
    pub(crate) exited_at: Option<Instant>,
    pub(crate) output_ended: bool,
    pub(crate) changed: Arc<Notify>,
    received: u64,
    limit: u64,
    /// How much input was sent and not taken yet.
    input_under_way: usize,
    asked_terminal: Option<oneshot::Sender<TerminalState>>,
}

impl CommandState {
    pub(crate) fn new(sink: Sink, limit: u64) -> Self {
        Self {
            sink,
            started: false,
            failed: None,
            exit: None,
            exited_at: None,
            output_ended: false,
            changed: Arc::new(Notify::new()),
            received: 0,
            limit,
            input_under_way: 0,
            asked_terminal: None,
        }
    }

    /// Takes what was kept of both streams.
    pub(crate) fn take_output(&mut self) -> (Captured, Captured) {
        match &mut self.sink {
            Sink::Capture(stdout, stderr) => {
                let take = |capture: &mut Capture| std::mem::replace(capture, Capture::new(0)).finish();
                (take(stdout), take(stderr))
            }
            Sink::Terminal(bytes) => (Captured::whole(std::mem::take(bytes)), Captured::default()),
        }
    }

    /// Returns how much input may be sent now.
    pub(crate) fn input_room(&self) -> usize {
        (WINDOW as usize).saturating_sub(self.input_under_way)
    }

    /// So much input is sent.
    pub(crate) fn input_sent(&mut self, count: usize) {
        self.input_under_way = self.input_under_way.saturating_add(count);
    }

    fn input_taken(&mut self, count: u32) -> Result<(), Wrong> {
        let left = usize::try_from(count)
            .ok()
            .and_then(|count| self.input_under_way.checked_sub(count));
        self.input_under_way = left.ok_or("more input was taken than was sent")?;
        Ok(())
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Wrong> {
        if !self.started || self.output_ended {
            return Err("output of a command that has none".to_owned());
        }
        if bytes.len() > PIECE {
            return Err(format!("a piece of {} bytes", bytes.len()));
        }
        self.received = self.received.saturating_add(bytes.len() as u64);
        if self.received > self.limit.saturating_add(OUTPUT_SLACK) {
            return Err("more output than was allowed".to_owned());
        }
        match (&mut self.sink, stream) {
            (Sink::Capture(stdout, _), Stream::Stdout) => stdout.push(bytes),
            (Sink::Capture(_, stderr), Stream::Stderr) => stderr.push(bytes),
            (Sink::Terminal(held), Stream::Stdout) => {
                held.extend_from_slice(bytes);
                let over = held.len().saturating_sub(TERMINAL_HELD);
                held.drain(..over);
            }
            (Sink::Terminal(_), Stream::Stderr) => {
                return Err("standard error of a terminal".to_owned());
            }
        }
        Ok(())
    }
}

/// What is listed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<FolderEntry>,
    /// The path, where only that is looked at.
    pub(crate) only: Option<String>,
}

impl Listing {
    /// Takes some entries. Of one path there is one entry; in a folder a name is what the system allows as one.
    fn take(&mut self, entries: Vec<FolderEntry>, last: bool) -> Result<(), Wrong> {
        if let Some(path) = &self.only {
            let [entry] = entries.as_slice() else {
                return Err(format!("{} entries of one path", entries.len()));
            };
            wrong_unless(last && entry.name == path.as_bytes(), "an entry of another path")?;
        } else {
            wrong_unless(
                last || !entries.is_empty(),
                "a piece of a list with nothing in it",
            )?;
            wrong_unless(
                entries.iter().all(|entry| is_name(&entry.name)),
                "an entry with an impossible name",
            )?;
        }
        self.entries.extend(entries);
        if self.entries.len() > MOST_ENTRIES {
            return Err(format!("a folder of more than {MOST_ENTRIES} entries"));
        }
        Ok(())
    }
}

fn is_name(name: &[u8]) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && !matches!(name, b"." | b"..")
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// A file or a list that is read.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    pub(crate) so_far: T,
    pub(crate) answer: oneshot::Sender<Result<T, Problem>>,
}

/// The beginning of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FileBeginning {
    pub(crate) size: Option<u64>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) cap: u64,
}

/// One request.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A command.
    Command(Box<CommandState>),
    /// A command of which nothing is wanted any more.
    Forgotten,
    /// Something that is done or not.
    Deed(oneshot::Sender<Result<(), Problem>>),
    /// A file.
    File(Reading<FileBeginning>),
    /// A folder, or one path.
    Entries(Reading<Listing>),
    /// Whether the helper lives.
    Ping(oneshot::Sender<()>),
}

/// All requests that are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Table {
    asked: BTreeMap<u32, Asked>,
    closed: bool,
}

impl Table {
    /// Enters a request; when nothing comes any more it is dropped at once.
    pub(crate) fn insert(&mut self, id: u32, asked: Asked) {
        if !self.closed {
            self.asked.insert(id, asked);
        }
    }

    pub(crate) fn command(&mut self, id: u32) -> Option<&mut CommandState> {
        match self.asked.get_mut(&id) {
            Some(Asked::Command(state)) => Some(state),
            _ => None,
        }
    }

    /// Says that nothing more is wanted of a command. Returns whether the helper has to be told.
    pub(crate) fn forget(&mut self, id: u32) -> bool {
        match self.asked.get_mut(&id) {
            Some(Asked::Command(state)) if state.failed.is_some() => {
                self.asked.remove(&id);
                false
            }
            Some(asked @ Asked::Command(_)) => {
                *asked = Asked::Forgotten;
                true
            }
            _ => false,
        }
    }

    /// Wants to know the state of a command's terminal.
    pub(crate) fn ask_terminal(&mut self, id: u32, answer: oneshot::Sender<TerminalState>) {
        if let Some(state) = self.command(id) {
            state.asked_terminal = Some(answer);
        }
    }

    /// Drops everything: whoever waits learns that nothing comes any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        for asked in std::mem::take(&mut self.asked).into_values() {
            if let Asked::Command(state) = asked {
                state.changed.notify_waiters();
                state.changed.notify_one();
            }
        }
    }

    /// Takes a message of the helper that is not about connections. A message that is not legal removes nothing: whoever
    /// waits is told by [`close`](Self::close).
    pub(crate) fn take(&mut self, message: FromGuest) -> Result<(), Wrong> {
        match message {
            FromGuest::Started { id, .. } => self.on_command(id, |state| {
                let first = !std::mem::replace(&mut state.started, true);
                wrong_unless(first && state.failed.is_none(), "a command started twice")
            }),
            FromGuest::Output { id, stream, bytes } => {
                self.on_command(id, |state| state.output(stream, &bytes))
            }
            FromGuest::OutputEnd { id } => self.on_command(id, |state| {
                let first = !std::mem::replace(&mut state.output_ended, true);
                wrong_unless(first && state.started, "output that ended twice")
            }),
            FromGuest::Exited {
                id,
                ending,
                oom_kills,
                survivors,
                ..
            } => self.on_command(id, |state| {
                let exit = Exit {
                    ending,
                    oom_kills,
                    survivors,
                };
                let first = state.exit.replace(exit).is_none();
                state.exited_at = Some(Instant::now());
                wrong_unless(first && state.started, "a command ended twice")
            }),
            FromGuest::StdinTaken { id, bytes } => self.on_command(id, |state| state.input_taken(bytes)),
            FromGuest::Terminal { id, state: seen } => self.on_command(id, |state| {
                let answer = state.asked_terminal.take().ok_or("an unasked terminal state")?;
                let _ = answer.send(seen);
                Ok(())
            }),
            FromGuest::Forgotten { id } => {
                let wrong = "a command forgotten that was not to be";
                self.remove_if(id, |asked| matches!(asked, Asked::Forgotten), wrong)?;
                Ok(())
            }
            FromGuest::Done { id } => self.deed(id, Ok(())),
            FromGuest::Failed { id, problem } => self.failed(id, bounded(&problem)),
            FromGuest::File { id, size } => self.on_file(id, |file| {
                wrong_unless(file.size.replace(size).is_none(), "a file begun twice")
            }),
            FromGuest::FileData { id, bytes } => self.on_file(id, |file| {
                file.bytes.extend_from_slice(&bytes);
                let fits = file.bytes.len() as u64 <= file.cap && bytes.len() <= PIECE;
                wrong_unless(fits && file.size.is_some(), "more of a file than was asked for")
            }),
            FromGuest::FileEnd { id } => {
                let begun = |asked: &Asked| matches!(asked, Asked::File(file) if file.so_far.size.is_some());
                let read = self.remove_if(id, begun, "the end of a file that nobody reads")?;
                if let Asked::File(reading) = read {
                    let _ = reading.answer.send(Ok(reading.so_far));
                }
                Ok(())
            }
            FromGuest::Entries { id, entries, last } => self.entries(id, entries, last),
            FromGuest::Pong { id } => {
                let pinged = |asked: &Asked| matches!(asked, Asked::Ping(_));
                if let Asked::Ping(answer) = self.remove_if(id, pinged, "an unasked sign of life")? {
                    let _ = answer.send(());
                }
                Ok(())
            }
            FromGuest::Hello { .. } => Err("a second greeting".to_owned()),
            FromGuest::Processes { .. } => Err("an unasked list of processes".to_owned()),
            FromGuest::Accepted { .. }
            | FromGuest::Dialled { .. }
            | FromGuest::Ports { .. }
            | FromGuest::NetData { .. }
            | FromGuest::NetCredit { .. }
            | FromGuest::NetEnd { .. }
            | FromGuest::NetReset { .. } => Err("a connection where there is none".to_owned()),
        }
    }

    fn on_command(
        &mut self,
        id: u32,
        change: impl FnOnce(&mut CommandState) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        match self.asked.get_mut(&id) {
            Some(Asked::Command(state)) => {
                change(state)?;
                state.changed.notify_one();
                Ok(())
            }
            // It was under way when the command was given up.
            Some(Asked::Forgotten) => Ok(()),
            _ => Err(format!("a message about command {id}, which does not run")),
        }
    }

    fn on_file(
        &mut self,
        id: u32,
        change: impl FnOnce(&mut FileBeginning) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        match self.asked.get_mut(&id) {
            Some(Asked::File(reading)) => change(&mut reading.so_far),
            _ => Err("a piece of a file that nobody reads".to_owned()),
        }
    }

    /// Removes a request that is of the right kind; every other stays, or nobody could be told that all is over.
    fn remove_if(
        &mut self,
        id: u32,
        right: impl FnOnce(&Asked) -> bool,
        wrong: &str,
    ) -> Result<Asked, Wrong> {
        if let Entry::Occupied(entry) = self.asked.entry(id)
            && right(entry.get())
        {
            return Ok(entry.remove());
        }
        Err(wrong.to_owned())
    }

    fn entries(&mut self, id: u32, entries: Vec<FolderEntry>, last: bool) -> Result<(), Wrong> {
        let Some(Asked::Entries(reading)) = self.asked.get_mut(&id) else {
            return Err("a list that nobody asked for".to_owned());
        };
        reading.so_far.take(entries, last)?;
        if last && let Some(Asked::Entries(reading)) = self.asked.remove(&id) {
            let _ = reading.answer.send(Ok(reading.so_far));
        }
        Ok(())
    }

    fn deed(&mut self, id: u32, result: Result<(), Problem>) -> Result<(), Wrong> {
        let deed = |asked: &Asked| matches!(asked, Asked::Deed(_));
        if let Asked::Deed(answer) = self.remove_if(id, deed, "an answer that nobody waits for")? {
            let _ = answer.send(result);
        }
        Ok(())
    }

    fn failed(&mut self, id: u32, problem: Problem) -> Result<(), Wrong> {
        match self.asked.get_mut(&id) {
            Some(Asked::Command(state)) => {
                wrong_unless(
                    !state.started && state.failed.is_none(),
                    "a command failed after its start",
                )?;
                state.failed = Some(problem);
                state.changed.notify_one();
                return Ok(());
            }
            // It was given up while it was being started; that it is forgotten is still to come.
            Some(Asked::Forgotten) => return Ok(()),
            Some(Asked::File(_) | Asked::Entries(_) | Asked::Deed(_)) => {}
            Some(Asked::Ping(_)) | None => return Err("a failure that nobody waits for".to_owned()),
        }
        match self.asked.remove(&id) {
            Some(Asked::File(reading)) => drop(reading.answer.send(Err(problem))),
            Some(Asked::Entries(reading)) => drop(reading.answer.send(Err(problem))),
            Some(Asked::Deed(answer)) => drop(answer.send(Err(problem))),
            Some(Asked::Command(_) | Asked::Forgotten | Asked::Ping(_)) | None => {}
        }
        Ok(())
    }
}

fn wrong_unless(right: bool, what: &str) -> Result<(), Wrong> {
    if right { Ok(()) } else { Err(what.to_owned()) }
}

fn bounded(problem: &Problem) -> Problem {
    Problem {
        kind: problem.kind,
        text: harness_core::text::Capped::new(&problem.text, 1000).text,
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
