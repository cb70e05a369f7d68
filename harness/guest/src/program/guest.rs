//! The event loop.
//!
//! Owns: what is waited for, and that nothing blocks: a full outbox stops reading from commands, files and connections,
//! never from the host; a command that does not read its input stops nobody.

use super::command::{Command, Killing};
use super::files::{ListJob, ReadJob};
use super::identity::Own;
use super::kill::KillAll;
use super::memory::OomCounter;
use super::net::Net;
use super::outbox::Outbox;
use super::problem::BROKEN_FRAME;
use super::process_table::ProcessFolder;
use super::store::WriteJob;
use harness_guest::{FrameReader, LONGEST_TO_GUEST, PIECE, Stream, ToGuest};
use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How much input of commands may wait before the host is read more slowly.
const MUCH_INPUT: usize = 1 << 20;
/// How much more slowly: long enough for a command to read, short enough for a request to kill it.
const BREATH: Duration = Duration::from_millis(5);
/// How many ended processes are reaped before others get their turn.
const MOST_REAPED: usize = 4096;

/// Everything that the helper knows.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) own: Own,
    pub(crate) pid: u32,
    pub(crate) outbox: Outbox,
    pub(crate) processes: ProcessFolder,
    pub(crate) oom: OomCounter,
    pub(crate) commands: BTreeMap<u32, Command>,
    /// The markers of all commands that ever ran, and when their own processes ended, in ticks.
    pub(crate) markers: BTreeMap<String, Option<u64>>,
    /// Own processes of commands that were forgotten while they ran, and their markers.
    pub(crate) left_running: BTreeMap<u32, String>,
    /// How many processes have ended here that were no command's own.
    pub(crate) orphans_ended: u64,
    /// Commands that are over while there is no room for the rest of their output.
    pub(crate) late_ends: BTreeSet<u32>,
    pub(crate) kill_all: Option<KillAll>,
    pub(crate) reads: BTreeMap<u32, ReadJob>,
    pub(crate) lists: BTreeMap<u32, ListJob>,
    pub(crate) writes: BTreeMap<u32, WriteJob>,
    pub(crate) net: Net,
    pub(crate) scratch: Vec<u8>,
    reader: FrameReader,
    signals: SignalFd,
    host_open: bool,
    host_after: Option<Instant>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Host,
    Outbox,
    Output(u32, Stream),
    Input(u32),
    Status(u32),
    Listener(u32),
    Connection(u32),
}

impl Guest {
    /// A helper that has started nothing yet.
    pub(crate) fn new(signals: SignalFd) -> Self {
        Self {
            own: Own::ask(),
            pid: std::process::id(),
            outbox: Outbox::default(),
            processes: ProcessFolder::open(),
            oom: OomCounter::open(),
            commands: BTreeMap::new(),
            markers: BTreeMap::new(),
            left_running: BTreeMap::new(),
            orphans_ended: 0,
            late_ends: BTreeSet::new(),
            kill_all: None,
            reads: BTreeMap::new(),
            lists: BTreeMap::new(),
            writes: BTreeMap::new(),
            net: Net::default(),
            scratch: vec![0; PIECE],
            reader: FrameReader::new(LONGEST_TO_GUEST),
            signals,
            host_open: true,
            host_after: None,
        }
    }

    /// Goes on until the host sends something that is no frame.
    pub(crate) fn serve(mut self) -> ExitCode {
        loop {
            if self.handle_messages().is_err() {
                return ExitCode::from(BROKEN_FRAME);
            }
            let now = Instant::now();
            self.keep_deadlines(now);
            self.hang_up(now);
            self.say_late_ends();
            let held_messages = self.kill_all.is_some();
            self.kill_rounds(now);
            if held_messages && self.kill_all.is_none() {
                continue;
            }
            self.go_on_with_files();
            self.look_for_ports(now);
            self.outbox.flush();
            let ready = self.wait();
            for source in ready {
                self.attend(source);
            }
        }
    }

    fn wait(&mut self) -> Vec<Source> {
        let now = Instant::now();
        let (sources, mut fds) = self.sources(now);
        let timeout = self.timeout(now).map(timespec);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Vec::new(),
            Err(_) => {
                // A kernel without memory for the call, or more descriptors than the helper may have since an agent that is
                // root has lowered the limit. Nothing here blocks, so all may be tried.
                std::thread::sleep(BREATH);
                return sources;
            }
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let found = sources.into_iter().zip(&fds).filter(|(_, fd)| ready(fd));
        found.map(|(source, _)| source).collect()
    }

    fn sources(&self, now: Instant) -> (Vec<Source>, Vec<PollFd<'_>>) {
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        if self.reads_host(now) {
            sources.push(Source::Host);
            fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
        }
        if self.outbox.waits() {
            sources.push(Source::Outbox);
            fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::OUT));
        }
        let room = self.outbox.has_room();
        for (source, fd, flags) in self
            .commands
            .iter()
            .flat_map(|(id, command)| sources_of(*id, command, room))
        {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        }
        for (conn, connection) in &self.net.connections {
            if let Some((fd, flags)) = connection.wanted(room) {
                sources.push(Source::Connection(*conn));
                fds.push(PollFd::new(fd, flags));
            }
        }
        for (id, listener) in self
            .net
            .listeners
            .iter()
            .filter(|_| room && self.net.accepts(now))
        {
            sources.push(Source::Listener(*id));
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        // Last: what a command wrote is read before its end is seen.
        sources.push(Source::Signals);
        fds.push(PollFd::new(&self.signals, PollFlags::IN));
        (sources, fds)
    }

    fn reads_host(&self, now: Instant) -> bool {
        self.host_open && self.kill_all.is_none() && self.host_after.is_none_or(|after| after <= now)
    }

    /// Returns how long nothing has to happen by itself; `None` if only what is waited for matters.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.outbox.has_room() && !(self.reads.is_empty() && self.lists.is_empty()) {
            return Some(Duration::ZERO);
        }
        let commands = self.commands.values().flat_map(|command| {
            let sweep = match &command.killing {
                Killing::Sweeping(sweep) => Some(sweep.next()),
                Killing::No | Killing::WithAll | Killing::Over(_) => None,
            };
            [command.deadline, command.hang_up, sweep]
        });
        let all = self.kill_all.as_ref().map(KillAll::next);
        let host = self
            .host_after
            .filter(|after| *after > now && self.host_open && self.kill_all.is_none());
        let first = commands.chain([all, host, self.net.next(now)]).flatten().min()?;
        Some(first.saturating_duration_since(now))
    }

    fn attend(&mut self, source: Source) {
        match source {
            Source::Signals => self.reap(),
            Source::Host => self.read_host(),
            Source::Outbox => self.outbox.flush(),
            Source::Output(id, stream) => {
                self.read_output(id, stream);
            }
            Source::Input(id) => {
                if let Some(command) = self.commands.get_mut(&id) {
                    command.input.flush();
                }
                self.say_taken(id);
            }
            Source::Status(id) => self.read_status(id),
            Source::Listener(id) => self.accept(id),
            Source::Connection(conn) => self.attend_connection(conn),
        }
    }

    fn read_host(&mut self) {
        match rustix::io::read(rustix::stdio::stdin(), &mut self.scratch) {
            Ok(0) => self.host_open = false,
            Ok(count) => {
                self.reader.push(self.scratch.get(..count).unwrap_or_default());
                let waiting: usize = self
                    .commands
                    .values()
                    .map(|command| command.input.waiting())
                    .sum();
                self.host_after = (waiting > MUCH_INPUT).then(|| Instant::now() + BREATH);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.host_open = false,
        }
    }

    /// Handles what the host has sent. While everything is being killed the rest waits, since what would be started now
    /// would be killed too.
    fn handle_messages(&mut self) -> Result<(), harness_guest::FrameError> {
        while self.kill_all.is_none() {
            let Some(message) = self.reader.next::<ToGuest>()? else {
                break;
            };
            self.handle(message);
        }
        Ok(())
    }

    /// Takes the ends of all processes that have ended, the commands' own and orphans.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        for _ in 0..MOST_REAPED {
            let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) else {
                break;
            };
            let signal = status
                .terminating_signal()
                .map(|signal| signal.saturating_add(128));
            let code = status.exit_status().or(signal).unwrap_or(-1);
            if let Ok(pid) = u32::try_from(pid.as_raw_pid()) {
                self.has_ended(pid, code);
            }
        }
    }
}

/// Returns what is waited for of a command; its output only while there is room for it, and once it has started.
fn sources_of(id: u32, command: &Command, room: bool) -> impl Iterator<Item = (Source, &OwnedFd, PollFlags)> {
    let wanted = room && command.status.is_none();
    let stdout = command.stdout.as_ref().filter(|_| wanted);
    let stderr = command.stderr.as_ref().filter(|_| wanted);
    let all = [
        (Source::Output(id, Stream::Stdout), stdout, PollFlags::IN),
        (Source::Output(id, Stream::Stderr), stderr, PollFlags::IN),
        (Source::Input(id), command.input.wanted(), PollFlags::OUT),
        (Source::Status(id), command.status.as_ref(), PollFlags::IN),
    ];
    all.into_iter()
        .filter_map(|(source, fd, flags)| Some((source, fd?, flags)))
}

fn timespec(duration: Duration) -> Timespec {
    // Rounded up: a wait that ends a little too early would be followed by another.
    let duration = duration.saturating_add(Duration::from_nanos(1000));
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
