//! Which processes a command has started, however they hide. Pure.

use super::process_table::Table;
use std::collections::{BTreeMap, BTreeSet};

/// What is known about a command that is to be killed.
#[derive(Clone, Debug)]
pub(crate) struct Case<'a> {
    /// The helper; orphans become its children.
    pub(crate) helper: u32,
    /// The command's own process, unless it has been reaped (then its number may be somebody else's).
    pub(crate) main: Option<u32>,
    /// When the command was started, in ticks.
    pub(crate) born: u64,
    /// The own processes of other commands that go on.
    pub(crate) others: &'a BTreeSet<u32>,
}

/// What a process's environment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is of this command.
    Own,
    /// It is of another known command.
    Other,
    /// Nothing that is known.
    Unmarked,
    /// It can't be read, or is empty, as while a program is being started.
    Unknown,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Processes to kill.
    pub(crate) victims: BTreeSet<u32>,
    /// Process groups that have no other living members: killing one is atomic against its forks.
    pub(crate) groups: BTreeSet<u32>,
    /// Whether something could not be placed, since a parent ended while the table was read, or a program was just being
    /// started.
    pub(crate) unclear: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Victim,
    /// In the tree of another command that goes on.
    Running,
    /// Older than the command, another command's, or not of this sandbox.
    Spared,
    Unclear,
}

/// Finds what a command has started and what still lives of it.
///
/// Kinship decides first: what descends from the command is its, what descends from another command that goes on is
/// not. The rest are orphans and their children. An orphan's marker counts, and without one its age: what was born
/// since the command started is the command's. Marked as its own, anything is. The caller decides whose markers are
/// believed, and how long one that can't be read is waited for.
pub(crate) fn find(table: &Table, case: &Case<'_>, mut mark_of: impl FnMut(u32) -> Mark) -> Found {
    let mut sides = BTreeMap::new();
    let mut found = Found::default();
    for (pid, row) in table {
        if *pid == case.helper || !row.lives() {
            continue;
        }
        let mut side = side_of(*pid, table, case, &mut sides, &mut mark_of);
        // A helper that is not process 1 sees strangers' processes, and leaves them alone whatever their markers say.
        if side == Side::Spared && row.born >= case.born && case.helper == 1 && mark_of(*pid) == Mark::Own {
            side = Side::Victim;
        }
        match side {
            Side::Victim => {
                found.victims.insert(*pid);
            }
            Side::Unclear => found.unclear = true,
            Side::Running | Side::Spared => {}
        }
    }
    found.groups = whole_groups(table, &found.victims);
    found
}

/// Returns the living processes below the helper: all of a sandbox, unless the helper is not its first process.
pub(crate) fn below(table: &Table, helper: u32) -> BTreeSet<u32> {
    let nobody = BTreeSet::new();
    let case = Case {
        helper,
        main: None,
        born: 0,
        others: &nobody,
    };
    find(table, &case, |_| Mark::Unmarked).victims
}

fn side_of(
    pid: u32,
    table: &Table,
    case: &Case<'_>,
    sides: &mut BTreeMap<u32, Side>,
    mark_of: &mut impl FnMut(u32) -> Mark,
) -> Side {
    let mut path = Vec::new();
    let mut at = pid;
    let side = loop {
        if let Some(known) = sides.get(&at) {
            break *known;
        }
        if path.len() > table.len() {
            break Side::Unclear;
        }
        path.push(at);
        if case.main == Some(at) {
            break Side::Victim;
        }
        if case.others.contains(&at) {
            break Side::Running;
        }
        let Some(row) = table.get(&at) else {
            path.pop();
            break Side::Unclear;
        };
        if row.parent == case.helper {
            break side_of_orphan(mark_of(at), row.born >= case.born);
        }
        if row.parent == 0 {
            break Side::Spared;
        }
        at = row.parent;
    };
    sides.extend(path.into_iter().map(|pid| (pid, side)));
    side
}

fn side_of_orphan(mark: Mark, young: bool) -> Side {
    match (mark, young) {
        (Mark::Own, _) | (Mark::Unmarked, true) => Side::Victim,
        (Mark::Other, _) | (Mark::Unmarked | Mark::Unknown, false) => Side::Spared,
        (Mark::Unknown, true) => Side::Unclear,
    }
}

fn whole_groups(table: &Table, victims: &BTreeSet<u32>) -> BTreeSet<u32> {
    let group_of = |pid: &u32| table.get(pid).map(|row| row.group).filter(|group| *group > 1);
    let mut groups: BTreeSet<u32> = victims.iter().filter_map(group_of).collect();
    for (pid, row) in table {
        if row.lives() && !victims.contains(pid) {
            groups.remove(&row.group);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::process_table::Row;
    use super::*;
    use pretty_assertions::assert_eq;

    /// Number, parent, group, birth, state.
    fn table(rows: &[(u32, u32, u32, u64, u8)]) -> Table {
        rows.iter()
            .map(|(pid, parent, group, born, state)| {
                let row = Row {
                    parent: *parent,
                    group: *group,
                    born: *born,
                    state: *state,
                    threads: 1,
                    foreground: -1,
                    name: Vec::new(),
                };
                (*pid, row)
            })
            .collect()
    }

    struct World {
        helper: u32,
        main: Option<u32>,
        rows: Vec<(u32, u32, u32, u64, u8)>,
        own: Vec<u32>,
        other: Vec<u32>,
        unknown: Vec<u32>,
        running: Vec<u32>,
    }

    impl World {
        /// The helper is 1, the command 10, born at 100; 20 is another command that goes on.
        fn of(rows: &[(u32, u32, u32, u64, u8)]) -> Self {
            let mut all = vec![(1, 0, 1, 0, b'S'), (10, 1, 10, 100, b'S'), (20, 1, 20, 100, b'S')];
            all.extend_from_slice(rows);
            Self {
                helper: 1,
                main: Some(10),
                rows: all,
                own: vec![],
                other: vec![],
                unknown: vec![],
                running: vec![20],
            }
        }

        fn found(&self) -> (Vec<u32>, Vec<u32>, bool) {
            let others = self.running.iter().copied().collect();
            let case = Case {
                helper: self.helper,
                main: self.main,
                born: 100,
                others: &others,
            };
            let found = find(&table(&self.rows), &case, |pid| {
                if self.own.contains(&pid) {
                    Mark::Own
                } else if self.other.contains(&pid) {
                    Mark::Other
                } else if self.unknown.contains(&pid) {
                    Mark::Unknown
                } else {
                    Mark::Unmarked
                }
            });
            (
                found.victims.into_iter().collect(),
                found.groups.into_iter().collect(),
                found.unclear,
            )
        }
    }

    #[test]
    fn descendants_are_found_in_other_groups_too() {
        let world = World::of(&[
            (11, 10, 10, 100, b'S'),
            (12, 11, 12, 105, b'S'),
            (21, 20, 20, 101, b'R'),
        ]);
        assert_eq!(world.found(), (vec![10, 11, 12], vec![10, 12], false));
    }

    #[test]
    fn young_orphans_are_found_and_what_is_older_or_anothers_is_spared() {
        let mut world = World::of(&[
            (30, 1, 30, 100, b'S'),
            (31, 30, 30, 101, b'S'),
            (40, 1, 40, 99, b'S'),
            (41, 40, 40, 150, b'S'),
            (50, 1, 50, 120, b'S'),
            (51, 50, 50, 121, b'S'),
        ]);
        world.other = vec![50];
        assert_eq!(world.found(), (vec![10, 30, 31], vec![10, 30], false));
        world.main = None;
        world.rows.retain(|row| row.0 != 10);
        assert_eq!(world.found(), (vec![30, 31], vec![30], false));
    }

    #[test]
    fn the_own_marker_counts_unless_another_command_is_the_ancestor() {
        let mut world = World::of(&[
            (40, 1, 40, 99, b'S'),
            (41, 40, 40, 150, b'S'),
            (42, 0, 42, 150, b'S'),
            (43, 0, 43, 150, b'S'),
            (21, 20, 20, 101, b'R'),
        ]);
        world.own = vec![41, 42, 21];
        assert_eq!(world.found(), (vec![10, 41, 42], vec![10, 42], false));
    }

    #[test]
    fn a_young_orphan_whose_marker_cannot_be_read_is_unclear() {
        let mut world = World::of(&[
            (30, 1, 30, 100, b'S'),
            (40, 1, 40, 99, b'S'),
            (11, 10, 10, 100, b'S'),
        ]);
        world.unknown = vec![11, 40];
        assert_eq!(world.found(), (vec![10, 11, 30], vec![10, 30], false));
        world.unknown = vec![30];
        assert_eq!(world.found(), (vec![10, 11], vec![10], true));
    }

    #[test]
    fn a_group_with_a_strange_member_is_not_killed_as_a_whole() {
        let world = World::of(&[(11, 10, 20, 100, b'S'), (12, 10, 1, 100, b'S')]);
        assert_eq!(world.found(), (vec![10, 11, 12], vec![10], false));
    }

    #[test]
    fn zombies_do_not_count_and_lost_parents_and_circles_are_unclear() {
        let world = World::of(&[(11, 10, 10, 100, b'Z'), (12, 10, 12, 100, b'X')]);
        assert_eq!(world.found(), (vec![10], vec![10], false));
        let world = World::of(&[(60, 61, 60, 100, b'S')]);
        assert_eq!(world.found(), (vec![10], vec![10], true));
        let world = World::of(&[(60, 61, 60, 100, b'S'), (61, 60, 60, 100, b'S')]);
        assert_eq!(world.found(), (vec![10], vec![10], true));
    }

    #[test]
    fn a_helper_that_is_not_the_first_process_leaves_strangers_alone() {
        let world = World {
            helper: 5,
            main: Some(10),
            rows: vec![
                (1, 0, 1, 0, b'S'),
                (5, 1, 5, 50, b'S'),
                (10, 5, 10, 100, b'S'),
                (11, 5, 11, 100, b'S'),
                (70, 1, 70, 200, b'S'),
                (71, 70, 70, 200, b'S'),
            ],
            own: vec![70, 71],
            other: vec![],
            unknown: vec![],
            running: vec![],
        };
        assert_eq!(world.found(), (vec![10, 11], vec![10, 11], false));
        assert_eq!(below(&table(&world.rows), 5), [10, 11].into());
        assert_eq!(below(&table(&world.rows), 1), [5, 10, 11, 70, 71].into());
    }
}
