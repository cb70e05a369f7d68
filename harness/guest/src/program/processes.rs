//! Commands as the host sees them: started, their output, their end.

use super::command::{Command, Input, Killing};
use super::guest::Guest;
use super::problem::problem;
use super::process_table::Table;
use super::start::{self, Spawned};
use super::trampoline;
use super::tree;
use harness_guest::{Ending, Exec, FromGuest, MARKER, Problem, ProblemKind, Process, Stream};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Ticks per second in /proc, the same on all machines.
const TICKS: i64 = 100;
/// The most processes that are named, and how many bytes their names and markers may take together.
const MOST_NAMED: usize = 500;
const MOST_NAMES: usize = 64 << 10;
/// How much of a command's output is read after its end before that is told, and what comes still later is what others
/// write: the largest pipe that a user can make.
const LATE_OUTPUT: usize = 1 << 20;
/// How long after a command's end its terminal closes at the latest. Linux closes it at once; gVisor does not say so.
const HANG_UP: Duration = Duration::from_millis(200);
/// The longest name or marker.
const LONGEST_NAME: usize = 64;

/// What a look at a command's output found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// There may be more.
    Taken,
    /// Nothing now.
    Later,
    /// Nothing any more.
    End,
}

impl Guest {
    /// Starts a command.
    pub(crate) fn start(&mut self, exec: Exec) {
        let id = exec.id;
        if self.commands.contains_key(&id) {
            let text = "a command of this number is there already";
            self.fail(id, problem(ProblemKind::Other, text));
            return;
        }
        let born = ticks();
        let oom_kills_before = self.oom.read();
        let started = Instant::now();
        match start::spawn(&exec, &self.own) {
            Ok(spawned) => {
                let mut command = command_of(exec, spawned, (born, started));
                command.oom_kills_before = oom_kills_before;
                self.markers.insert(command.marker.clone(), None);
                if command.status.is_none() {
                    let pid = command.pid;
                    self.outbox.say(&FromGuest::Started { id, pid });
                }
                self.commands.insert(id, command);
            }
            Err(problem) => self.fail(id, problem),
        }
        self.reap();
    }

    /// Says that a request could not be done.
    pub(crate) fn fail(&mut self, id: u32, problem: Problem) {
        self.outbox.say(&FromGuest::Failed { id, problem });
    }

    /// Learns whether a command's program could be started.
    pub(crate) fn read_status(&mut self, id: u32) {
        let Some(command) = self.commands.get_mut(&id) else {
            return;
        };
        let Some(status) = command.status.as_ref() else {
            return;
        };
        let mut buffer = [0; 8];
        let told = match rustix::io::read(status, &mut buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return,
            Ok(count) => trampoline::read_told(buffer.get(..count).unwrap_or_default()),
            Err(_) => None,
        };
        command.status = None;
        command.peer = None;
        let pid = command.pid;
        let Some((stage, error)) = told else {
            self.outbox.say(&FromGuest::Started { id, pid });
            self.say_if_over(id);
            return;
        };
        if let Some(command) = self.commands.remove(&id) {
            if command.exit.is_none() {
                self.left_running.insert(pid, command.marker.clone());
            }
            let (program, cwd) = (&command.names.0, &command.names.1);
            self.fail(id, start::of_start(stage, error, program, cwd));
        }
    }

    /// Takes a piece of a command's output; nothing before the host knows that it was started.
    pub(crate) fn read_output(&mut self, id: u32, stream: Stream) -> Piece {
        self.read_status(id);
        if self
            .commands
            .get(&id)
            .is_some_and(|command| command.status.is_some())
        {
            return Piece::Later;
        }
        let Some(command) = self.commands.get_mut(&id) else {
            return Piece::End;
        };
        let slot = match stream {
            Stream::Stdout => &mut command.stdout,
            Stream::Stderr => &mut command.stderr,
        };
        let Some(fd) = slot.as_ref() else {
            return Piece::End;
        };
        let count = match rustix::io::read(fd, &mut self.scratch) {
            Err(Errno::AGAIN | Errno::INTR) => return Piece::Later,
            // A terminal whose other side is closed gives an error.
            Ok(0) | Err(_) => {
                *slot = None;
                self.say_if_silent(id);
                return Piece::End;
            }
            Ok(count) => count,
        };
        if command.exit.is_some() {
            command.late_output = command.late_output.saturating_add(count);
        }
        let allowed = count.min(usize::try_from(command.output_left).unwrap_or(usize::MAX));
        command.output_left -= allowed as u64;
        let bytes = self.scratch.get(..allowed).unwrap_or_default().to_vec();
        if !bytes.is_empty() {
            self.outbox.say(&FromGuest::Output { id, stream, bytes });
        }
        if allowed < count {
            self.kill(id, Ending::OutputLimit);
        }
        Piece::Taken
    }

    /// Closes the terminals of commands that ended a while ago, once they are read empty.
    pub(crate) fn hang_up(&mut self, now: Instant) {
        let due = |command: &Command| command.hang_up.is_some_and(|time| time <= now);
        let due: Vec<u32> = self
            .commands
            .iter()
            .filter(|(_, command)| due(command))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let piece = if self.outbox.has_room() {
                self.read_output(id, Stream::Stdout)
            } else {
                Piece::Taken
            };
            let Some(command) = self.commands.get_mut(&id) else {
                continue;
            };
            match piece {
                Piece::Taken => command.hang_up = now.checked_add(HANG_UP),
                Piece::Later | Piece::End => {
                    command.hang_up = None;
                    command.stdout = None;
                    self.say_if_silent(id);
                }
            }
        }
    }

    /// A process of nobody or of a command has ended.
    pub(crate) fn has_ended(&mut self, pid: u32, code: i32) {
        let now = Instant::now();
        if let Some(marker) = self.left_running.remove(&pid) {
            self.markers.insert(marker, Some(ticks()));
        }
        let mut ended = None;
        for (id, command) in &mut self.commands {
            if let Killing::Sweeping(sweep) = &mut command.killing {
                sweep.hurry(now);
            }
            if command.pid == pid && command.exit.is_none() {
                let took = now.saturating_duration_since(command.started).as_micros();
                command.exit = Some((code, u64::try_from(took).unwrap_or(u64::MAX)));
                self.markers.insert(command.marker.clone(), Some(ticks()));
                command.deadline = None;
                command.hang_up = now.checked_add(HANG_UP).filter(|_| command.has_terminal());
                ended = Some(*id);
            }
        }
        if let Some(all) = &mut self.kill_all {
            all.hurry(now);
        }
        match ended {
            Some(id) => self.say_if_over(id),
            None => self.orphans_ended = self.orphans_ended.wrapping_add(1),
        }
    }

    /// Says that a command exited once it has, once everything is dead if it was killed, and after what it wrote.
    pub(crate) fn say_if_over(&mut self, id: u32) {
        self.late_ends.remove(&id);
        let Some(command) = self
            .commands
            .get_mut(&id)
            .filter(|command| command.survivors().is_some())
        else {
            return;
        };
        if command.status.take().is_some() {
            let pid = command.pid;
            self.outbox.say(&FromGuest::Started { id, pid });
        }
        if !self.read_rest(id) {
            self.late_ends.insert(id);
            return;
        }
        // Reading the rest may have found that it wrote too much.
        let Some(command) = self.commands.get_mut(&id) else {
            return;
        };
        let Some(survivors) = command.survivors() else {
            return;
        };
        command.exit_said = true;
        let since = u64::try_from(command.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (code, took) = command.exit.unwrap_or((-1, since));
        let before = command.oom_kills_before;
        let oom_kills = before.and_then(|before| Some(self.oom.read()?.saturating_sub(before)));
        self.outbox.say(&FromGuest::Exited {
            id,
            ending: command.ending.unwrap_or(Ending::Exited(code)),
            oom_kills,
            took,
            survivors,
        });
        command.peer = None;
    }

    /// Reads what a command that is over has left in its streams. Returns whether that is all, or enough.
    fn read_rest(&mut self, id: u32) -> bool {
        for stream in [Stream::Stdout, Stream::Stderr] {
            loop {
                let enough = self
                    .commands
                    .get(&id)
                    .is_none_or(|command| command.late_output >= LATE_OUTPUT);
                if enough {
                    return true;
                }
                if !self.outbox.has_room() {
                    return false;
                }
                match self.read_output(id, stream) {
                    Piece::Taken => {}
                    Piece::Later | Piece::End => break,
                }
            }
        }
        true
    }

    /// Says the ends that there was no room for.
    pub(crate) fn say_late_ends(&mut self) {
        if self.outbox.has_room() {
            for id in std::mem::take(&mut self.late_ends) {
                self.say_if_over(id);
            }
        }
    }

    fn say_if_silent(&mut self, id: u32) {
        if let Some(command) = self.commands.get_mut(&id)
            && command.is_silent()
            && !command.output_end_said
        {
            command.output_end_said = true;
            self.outbox.say(&FromGuest::OutputEnd { id });
        }
    }

    /// Closes what is open of a command. One that is being killed is forgotten when that is over, or nobody would look for
    /// what it has started any more.
    pub(crate) fn forget(&mut self, id: u32) {
        if let Some(command) = self.commands.get_mut(&id)
            && matches!(command.killing, Killing::Sweeping(_) | Killing::WithAll)
        {
            command.forgotten = true;
            command.close();
            return;
        }
        if let Some(command) = self.commands.remove(&id)
            && command.exit.is_none()
        {
            self.left_running.insert(command.pid, command.marker);
        }
        self.late_ends.remove(&id);
        self.outbox.say(&FromGuest::Forgotten { id });
    }

    /// Answers how a command's terminal is.
    pub(crate) fn say_terminal(&mut self, id: u32) {
        if let Some(command) = self.commands.get(&id) {
            let foreground = || {
                let (_, row) = self.processes.row(command.pid).ok()??;
                u32::try_from(row.foreground).ok()
            };
            let state = command.terminal_state(foreground);
            self.outbox.say(&FromGuest::Terminal { id, state });
        }
    }

    /// Answers what runs.
    pub(crate) fn say_processes(&mut self, id: u32) {
        let mut processes = Vec::new();
        let mut names = 0;
        let mut table = self.processes.look().table;
        // Where the helper is not process 1 the sandbox's own come before strangers.
        let own = tree::below(&table, self.pid);
        let own: Table = own
            .into_iter()
            .filter_map(|pid| table.remove_entry(&pid))
            .collect();
        for (pid, row) in own.into_iter().chain(table) {
            let (uid, _) = self.processes.owner(pid).unwrap_or_default();
            let marker = self.marker_of(pid).map(|marker| printable(&marker));
            let name = printable(&row.name);
            names += name.len() + marker.as_ref().map_or(0, String::len);
            if processes.len() >= MOST_NAMED || names > MOST_NAMES {
                break;
            }
            processes.push(Process {
                pid,
                parent: row.parent,
                uid,
                state: row.state,
                marker,
                name,
            });
        }
        self.outbox.say(&FromGuest::Processes { id, processes });
    }

    /// Returns the marker in a process's environment.
    pub(crate) fn marker_of(&self, pid: u32) -> Option<Vec<u8>> {
        let environ = self.environ_of(pid)?;
        super::process_table::variable(&environ, MARKER).map(<[u8]>::to_vec)
    }

    /// Returns a process's environment, if it can be read. It is empty while a program is being started.
    pub(crate) fn environ_of(&self, pid: u32) -> Option<Vec<u8>> {
        let (uid, gid) = self.processes.owner(pid)?;
        let owner = harness_guest::Identity {
            uid,
            gid,
            groups: Vec::new(),
        };
        let read = || self.processes.read(&format!("{pid}/environ"));
        self.own.acting_as(&owner, read).ok().flatten()
    }
}

fn command_of(exec: Exec, spawned: Spawned, (born, started): (u64, Instant)) -> Command {
    let timeout = exec.timeout.map(Duration::from_millis);
    let names = (exec.argv.into_iter().next().unwrap_or_default(), exec.cwd);
    Command {
        pid: spawned.pid,
        marker: exec.marker,
        names,
        born,
        started,
        deadline: timeout.and_then(|timeout| started.checked_add(timeout)),
        output_left: exec.output_limit,
        input: match spawned.stdin {
            Some(terminal) if exec.terminal.is_some() => Input::terminal(terminal),
            stdin => Input::pipe(stdin),
        },
        stdout: spawned.stdout,
        stderr: spawned.stderr,
        status: spawned.status,
        peer: spawned.peer,
        hang_up: None,
        oom_kills_before: None,
        exit: None,
        killing: Killing::No,
        forgotten: false,
        late_output: 0,
        ending: None,
        exit_said: false,
        output_end_said: false,
    }
}

fn ticks() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let ticks = now
        .tv_sec
        .saturating_mul(TICKS)
        .saturating_add(now.tv_nsec / (1_000_000_000 / TICKS));
    u64::try_from(ticks).unwrap_or_default()
}

fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .take(LONGEST_NAME)
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}
