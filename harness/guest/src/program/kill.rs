//! Killing commands with all that they started, and everything at once.

use super::command::Killing;
use super::guest::Guest;
use super::problem::problem;
use super::process_table::{Look, Row, Table, variable};
use super::sweep::{Sweep, Then};
use super::tree::{self, Case, Found, Mark};
use harness_guest::{Ending, Exec, FromGuest, MARKER, ProblemKind};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::time::Instant;

/// Everything is being killed.
#[derive(Debug)]
pub(crate) struct KillAll {
    purpose: Purpose,
    sweep: Sweep,
}

/// What follows when everything is dead.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// An answer.
    Answer(u32),
    /// A command.
    Start(Box<Exec>),
}

impl KillAll {
    /// Returns when to look again.
    pub(crate) fn next(&self) -> Instant {
        self.sweep.next()
    }

    /// Something has died: looks again at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.sweep.hurry(now);
    }
}

impl Guest {
    /// Starts to kill a command with all that it started.
    pub(crate) fn kill(&mut self, id: u32, ending: Ending) {
        let Some(command) = self.commands.get_mut(&id) else {
            return;
        };
        match command.killing {
            Killing::No | Killing::Over(_) => {}
            Killing::Sweeping(_) | Killing::WithAll => return,
        }
        if !command.exit_said && command.ending.is_none() {
            command.ending = Some(ending);
        }
        command.deadline = None;
        let now = Instant::now();
        command.killing = Killing::Sweeping(Sweep::start(now));
        self.kill_rounds(now);
    }

    /// Starts to kill everything.
    pub(crate) fn kill_everything(&mut self, purpose: Purpose) {
        for command in self.commands.values_mut().filter(|command| !command.exit_said) {
            command.ending.get_or_insert(Ending::Killed);
            command.killing = Killing::WithAll;
            command.deadline = None;
        }
        let now = Instant::now();
        let sweep = Sweep::start(now);
        self.kill_all = Some(KillAll { purpose, sweep });
        self.kill_rounds(now);
    }

    /// Kills commands that have run long enough.
    pub(crate) fn keep_deadlines(&mut self, now: Instant) {
        let due: Vec<u32> = self
            .commands
            .iter()
            .filter(|(_, command)| command.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.kill(id, Ending::TimedOut);
        }
    }

    /// Looks again wherever it is time to.
    pub(crate) fn kill_rounds(&mut self, now: Instant) {
        if self.kill_all.as_ref().is_some_and(|all| all.next() <= now) {
            self.kill_all_round(now);
        }
        let due: Vec<u32> = self
            .commands
            .iter()
            .filter(|(_, command)| match &command.killing {
                Killing::Sweeping(sweep) => sweep.next() <= now,
                Killing::No | Killing::WithAll | Killing::Over(_) => false,
            })
            .map(|(id, _)| *id)
            .collect();
        if due.is_empty() {
            return;
        }
        let look = self.processes.look();
        self.reap();
        for id in due {
            self.kill_round(id, &look, now);
        }
    }

    fn kill_round(&mut self, id: u32, look: &Look, now: Instant) {
        let found = self.find_victims(id, &look.table, now);
        signal_all(&found);
        let Some(command) = self.commands.get_mut(&id) else {
            return;
        };
        let Killing::Sweeping(sweep) = &mut command.killing else {
            return;
        };
        // Its own process counts until it is reaped.
        let unreaped = command.exit.is_none() && !command.exit_said;
        let unclear = found.unclear || unreaped || !look.whole;
        let own = u32::from(unreaped && !found.victims.contains(&command.pid));
        let survivors = match sweep.round(now, &found.victims, unclear, self.orphans_ended) {
            Then::Again => return,
            Then::Everything => return self.signal_everything(),
            Then::Clean => 0,
            Then::GiveUp(survivors) if found.victims.is_empty() => survivors,
            Then::GiveUp(survivors) => survivors.saturating_add(own),
        };
        self.killing_is_over(id, survivors);
    }

    /// Nothing more is killed of a command.
    fn killing_is_over(&mut self, id: u32, survivors: u32) {
        let Some(command) = self.commands.get_mut(&id) else {
            return;
        };
        command.killing = Killing::Over(survivors);
        if command.forgotten {
            self.forget(id);
        } else {
            self.say_if_over(id);
        }
    }

    fn find_victims(&self, id: u32, table: &Table, now: Instant) -> Found {
        let Some(command) = self.commands.get(&id) else {
            return Found::default();
        };
        let running = |(other, command): (&u32, &super::command::Command)| {
            (*other != id && command.exit.is_none() && matches!(command.killing, Killing::No))
                .then_some(command.pid)
        };
        let mut others: BTreeSet<u32> = self.commands.iter().filter_map(running).collect();
        others.extend(self.left_running.keys());
        let case = Case {
            helper: self.pid,
            main: command.exit.is_none().then_some(command.pid),
            born: command.born,
            others: &others,
        };
        let waits = matches!(&command.killing, Killing::Sweeping(sweep) if sweep.waits_for_starts(now));
        let mut elders = None;
        tree::find(table, &case, |pid| match self.environ_of(pid) {
            Some(environ) if !environ.is_empty() => match variable(&environ, MARKER) {
                Some(marker) if marker == command.marker.as_bytes() => Mark::Own,
                Some(marker) if self.may_be_of(marker, command.born) => Mark::Other,
                Some(marker)
                    if self.is_known(marker)
                        && elders
                            .get_or_insert_with(|| self.markers_before(table, command.born))
                            .contains(marker) =>
                {
                    Mark::Other
                }
                Some(_) | None => Mark::Unmarked,
            },
            Some(_) | None if waits => Mark::Unknown,
            Some(_) | None => Mark::Unmarked,
        })
    }

    /// Returns whether a command with this marker ran at or after a time, so that what is young may be its. Anybody can
    /// write the marker of a command that was over before.
    fn may_be_of(&self, marker: &[u8], since: u64) -> bool {
        let known = std::str::from_utf8(marker).ok();
        let ended = known.and_then(|marker| self.markers.get(marker));
        ended.is_some_and(|ended| ended.is_none_or(|ended| ended >= since))
    }

    fn is_known(&self, marker: &[u8]) -> bool {
        std::str::from_utf8(marker).is_ok_and(|marker| self.markers.contains_key(marker))
    }

    /// Returns the markers of all that lives and is older: commands that are over have left it running, and it may start
    /// more.
    fn markers_before(&self, table: &Table, born: u64) -> BTreeSet<Vec<u8>> {
        let old = |(_, row): &(&u32, &Row)| row.lives() && row.born < born;
        table
            .iter()
            .filter(old)
            .filter_map(|(pid, _)| self.marker_of(*pid))
            .collect()
    }

    /// The one signal that no fork escapes. Where the helper is not process 1 it would hit strangers.
    fn signal_everything(&self) {
        if self.pid == 1 {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        } else {
            let victims = tree::below(&self.processes.look().table, self.pid);
            victims.into_iter().for_each(signal);
        }
    }

    fn kill_all_round(&mut self, now: Instant) {
        self.signal_everything();
        self.reap();
        let (alive, whole) = self.alive();
        // What has died since the last look is a zombie of this process now.
        self.reap();
        let unreaped = self
            .commands
            .values()
            .any(|command| matches!(command.killing, Killing::WithAll) && command.exit.is_none());
        let Some(all) = &mut self.kill_all else {
            return;
        };
        // The one signal leaves nothing that could fork on.
        let orphans = if self.pid == 1 { 0 } else { self.orphans_ended };
        let survivors = match all.sweep.round(now, &alive, unreaped || !whole, orphans) {
            Then::Again | Then::Everything => return,
            Then::Clean => 0,
            Then::GiveUp(survivors) => survivors,
        };
        if let Some(all) = self.kill_all.take() {
            self.everything_is_dead(all.purpose, survivors);
        }
    }

    /// Returns what lives, and whether that is all.
    fn alive(&self) -> (BTreeSet<u32>, bool) {
        let Look { table, whole } = self.processes.look();
        if self.pid != 1 {
            return (tree::below(&table, self.pid), whole);
        }
        let others = table.iter().filter(|(pid, row)| **pid != 1 && row.lives());
        (others.map(|(pid, _)| *pid).collect(), whole)
    }

    fn everything_is_dead(&mut self, purpose: Purpose, survivors: u32) {
        let killed: Vec<u32> = self
            .commands
            .iter()
            .filter(|(_, command)| matches!(command.killing, Killing::WithAll))
            .map(|(id, _)| *id)
            .collect();
        for id in killed {
            let own = self
                .commands
                .get(&id)
                .is_some_and(|command| command.exit.is_none());
            self.killing_is_over(id, u32::from(own));
        }
        match purpose {
            Purpose::Answer(id) if survivors == 0 => self.outbox.say(&FromGuest::Done { id }),
            Purpose::Start(exec) if survivors == 0 => self.start(*exec),
            Purpose::Answer(id) => self.fail_with_survivors(id, survivors),
            Purpose::Start(exec) => self.fail_with_survivors(exec.id, survivors),
        }
    }

    fn fail_with_survivors(&mut self, id: u32, survivors: u32) {
        let text = format!("{survivors} processes could not be killed");
        self.fail(id, problem(ProblemKind::Survivors, text));
    }
}

fn signal_all(found: &Found) {
    for group in &found.groups {
        if let Ok(group) = i32::try_from(*group) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
    found.victims.iter().copied().for_each(signal);
}

fn signal(pid: u32) {
    // Numbers below 2 would mean everybody.
    if let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
