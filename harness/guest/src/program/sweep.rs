//! When to look for a command's processes again, and when to give up. Pure.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long processes that were killed may take to die.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);
/// After how many rounds that found processes which the round before had not seen everything is killed.
const FRESH_ROUNDS: u32 = 40;
/// How long rounds may go on finding new processes before everything is killed; looking at thousands is slow.
const FRESH_PATIENCE: Duration = Duration::from_secs(1);
/// Rounds without a pause between them.
const EAGER_ROUNDS: u32 = 4;
/// How long a process without a readable environment may be one whose program is just being started.
const STARTING: Duration = Duration::from_millis(100);
/// The pause between later rounds.
const PAUSE: Duration = Duration::from_millis(5);

/// Rounds of looking for processes and killing them.
#[derive(Debug)]
pub(crate) struct Sweep {
    since: Instant,
    next: Instant,
    rounds: u32,
    fresh_rounds: u32,
    clean: u32,
    seen: BTreeSet<u32>,
    /// How many orphans had ended at the last round.
    orphans: u64,
}

/// What follows a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Another round.
    Again,
    /// Nothing is left.
    Clean,
    /// They are born faster than they die: only killing everything at once helps.
    Everything,
    /// So many do not die.
    GiveUp(u32),
}

impl Sweep {
    /// Starts; the first round is due at once.
    pub(crate) fn start(now: Instant) -> Self {
        Self {
            since: now,
            next: now,
            rounds: 0,
            fresh_rounds: 0,
            clean: 0,
            seen: BTreeSet::new(),
            orphans: 0,
        }
    }

    /// Returns when the next round is due.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Returns whether processes whose environment can't be read are left for later rounds.
    pub(crate) fn waits_for_starts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < STARTING
    }

    /// Something has died: looks again at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.next = self.next.min(now);
    }

    /// Takes how many orphans have ended in all. If that are more than at the last round, what has forked and ended while
    /// it was looked at may have escaped, again and again; a round that found nothing then does not count, for a while.
    fn orphans_ended(&mut self, now: Instant, count: u64) -> bool {
        let before = std::mem::replace(&mut self.orphans, count);
        count != before && now.saturating_duration_since(self.since) < PATIENCE
    }

    /// Takes what a round has found, and how many orphans have ended in all. Two rounds in a row must find nothing, since a
    /// process may escape one by a fork.
    pub(crate) fn round(
        &mut self,
        now: Instant,
        victims: &BTreeSet<u32>,
        unclear: bool,
        orphans: u64,
    ) -> Then {
        let stirs = self.orphans_ended(now, orphans);
        if stirs && victims.is_empty() && !unclear {
            self.clean = 0;
            self.next = now;
            return Then::Again;
        }
        self.rounds = self.rounds.saturating_add(1);
        if victims.is_empty() && !unclear {
            self.clean += 1;
            self.next = now;
            return if self.clean >= 2 { Then::Clean } else { Then::Again };
        }
        self.clean = 0;
        let fresh = self.rounds > 1 && !victims.is_subset(&self.seen);
        self.seen.clone_from(victims);
        let waited = now.saturating_duration_since(self.since);
        if waited >= PATIENCE * 2 || (waited >= PATIENCE && !fresh) {
            // What could not be looked at may live.
            return Then::GiveUp(u32::try_from(victims.len()).unwrap_or(u32::MAX).max(1));
        }
        self.next = now
            + if self.rounds <= EAGER_ROUNDS || fresh {
                Duration::ZERO
            } else {
                PAUSE
            };
        self.fresh_rounds += u32::from(fresh);
        if self.fresh_rounds >= FRESH_ROUNDS || (fresh && waited >= FRESH_PATIENCE) {
            self.fresh_rounds = 0;
            return Then::Everything;
        }
        Then::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn two_rounds_must_find_nothing() {
        let now = Instant::now();
        let mut sweep = Sweep::start(now);
        let nobody = BTreeSet::new();
        let rounds = [
            sweep.round(now, &[5].into(), false, 0),
            sweep.round(now, &nobody, false, 0),
            sweep.round(now, &nobody, true, 0),
            sweep.round(now, &nobody, false, 0),
            sweep.round(now, &nobody, false, 0),
        ];
        assert_eq!(
            rounds,
            [Then::Again, Then::Again, Then::Again, Then::Again, Then::Clean]
        );
    }

    /// A process that forks and ends faster than it is looked at shows in the ends of orphans only.
    #[test]
    fn ends_of_orphans_are_a_reason_to_look_again() {
        let now = Instant::now();
        let mut sweep = Sweep::start(now);
        let nobody = BTreeSet::new();
        let rounds = [1, 1, 2, 2, 2].map(|ended| sweep.round(now, &nobody, false, ended));
        assert_eq!(
            rounds,
            [Then::Again, Then::Again, Then::Again, Then::Again, Then::Clean]
        );
        let mut late = Sweep::start(now);
        let rounds = [1, 2].map(|ended| late.round(now + PATIENCE, &nobody, false, ended));
        assert_eq!(rounds, [Then::Again, Then::Clean], "not for ever");
    }

    #[test]
    fn what_does_not_die_is_counted_in_the_end() {
        let now = Instant::now();
        let mut sweep = Sweep::start(now);
        assert_eq!(sweep.round(now, &[5, 6].into(), false, 0), Then::Again);
        assert_eq!(
            sweep.round(now + PATIENCE, &[5, 6].into(), false, 0),
            Then::GiveUp(2)
        );
    }

    /// What can't be looked at to the end is never taken for dead.
    #[test]
    fn what_stays_unclear_counts_as_alive() {
        let now = Instant::now();
        let mut sweep = Sweep::start(now);
        let nobody = BTreeSet::new();
        assert_eq!(sweep.round(now, &nobody, true, 0), Then::Again);
        assert_eq!(sweep.round(now + PATIENCE, &nobody, true, 0), Then::GiveUp(1));
        assert!(sweep.waits_for_starts(now) && !sweep.waits_for_starts(now + STARTING));
    }

    #[test]
    fn what_is_born_faster_than_it_dies_needs_everything_killed() {
        let now = Instant::now();
        let mut sweep = Sweep::start(now);
        let rounds: Vec<Then> = (0..=FRESH_ROUNDS)
            .map(|pid| sweep.round(now, &[pid].into(), false, 0))
            .collect();
        assert_eq!(rounds.last(), Some(&Then::Everything));
        assert_eq!(rounds.iter().filter(|then| **then == Then::Again).count(), 40);
        let mut slow = Sweep::start(now);
        assert_eq!(slow.round(now, &[5].into(), false, 0), Then::Again);
        assert_eq!(
            slow.round(now + PATIENCE, &[6].into(), false, 0),
            Then::Everything
        );
        assert_eq!(
            slow.round(now + PATIENCE * 2, &[7].into(), false, 0),
            Then::GiveUp(1)
        );
    }
}
