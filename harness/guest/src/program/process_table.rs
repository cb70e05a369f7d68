//! What /proc says about processes. All of it is written by strangers: names may hold anything.

use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

/// The longest line of `stat`, with room.
const LONGEST_STAT: usize = 1024;
/// How much of an environment is looked at.
const LONGEST_ENVIRON: usize = 256 << 10;
/// The most processes that are looked at.
const MOST: usize = 100_000;

/// A process, as far as its kinship matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its parent.
    pub(crate) parent: u32,
    /// Its process group.
    pub(crate) group: u32,
    /// When it was born, in ticks since the start of the system.
    pub(crate) born: u64,
    /// Its state, as in ps: that of its first thread.
    pub(crate) state: u8,
    /// How many threads it has; one that has ended and was not reaped counts.
    pub(crate) threads: u32,
    /// The foreground group of its terminal; negative without one.
    pub(crate) foreground: i64,
    /// Its name.
    pub(crate) name: Vec<u8>,
}

impl Row {
    /// Returns whether it still does something. A zombie does not, unless only its first thread has ended.
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x') || self.threads > 1
    }
}

/// All processes by number.
pub(crate) type Table = BTreeMap<u32, Row>;

/// Reads a line of `/proc/PID/stat`. The name stands in brackets and may hold brackets, spaces and newlines itself, but
/// nothing after it has a bracket.
pub(crate) fn parse_stat(text: &[u8]) -> Option<(u32, Row)> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let pid = number(text.get(..open)?.trim_ascii())?;
    let name = text.get(open.checked_add(1)?..close)?;
    let rest = text.get(close.checked_add(1)?..)?;
    let fields: Vec<&[u8]> = rest
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
        .collect();
    let row = Row {
        state: *fields.first()?.first()?,
        parent: number(fields.get(1)?)?,
        group: number(fields.get(2)?)?,
        foreground: number(fields.get(5)?)?,
        threads: number(fields.get(17)?)?,
        born: number(fields.get(19)?)?,
        name: name.to_vec(),
    };
    Some((pid, row))
}

/// Returns the value of a variable in an environment: entries that end with a zero byte.
pub(crate) fn variable<'a>(environ: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environ
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What one look at /proc found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// The processes.
    pub(crate) table: Table,
    /// Whether that is all. Where something could not be read (an agent that is root may leave the helper no descriptor
    /// for it), nobody may take what is missing for dead.
    pub(crate) whole: bool,
}

/// The folder `/proc`.
#[derive(Debug)]
pub(crate) struct ProcessFolder {
    folder: Option<OwnedFd>,
}

impl ProcessFolder {
    /// Opens it; without it no look is ever whole.
    pub(crate) fn open() -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Self {
            folder: rustix::fs::open("/proc", flags, Mode::empty()).ok(),
        }
    }

    /// Reads all processes. What ends meanwhile may be missing.
    pub(crate) fn look(&self) -> Look {
        let mut table = Table::new();
        let Ok(numbers) = self.numbers() else {
            return Look::default();
        };
        let mut whole = numbers.len() < MOST;
        for pid in numbers {
            match self.row(pid) {
                Ok(Some((found, row))) => {
                    table.insert(found, row);
                }
                Ok(None) => {}
                Err(_) => whole = false,
            }
        }
        Look { table, whole }
    }

    /// Reads one process; `None` if it is gone.
    ///
    /// # Errors
    /// If it can't be read, or what is read makes no sense.
    pub(crate) fn row(&self, pid: u32) -> Result<Option<(u32, Row)>, Errno> {
        let mut buffer = [0; LONGEST_STAT];
        let read = self
            .open_file(&format!("{pid}/stat"))
            .and_then(|file| rustix::io::read(&file, &mut buffer));
        match read {
            Ok(0) | Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Ok(count) => {
                let parsed = buffer.get(..count).and_then(parse_stat);
                parsed.map(Some).ok_or(Errno::ILSEQ)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a file of a process, up to a bound.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        let file = self.open_file(path).ok()?;
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while text.len() < LONGEST_ENVIRON {
            match rustix::io::read(&file, &mut buffer) {
                Ok(0) => break,
                Ok(count) => text.extend_from_slice(buffer.get(..count)?),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        Some(text)
    }

    /// Returns whom a process belongs to, as far as files about it show.
    pub(crate) fn owner(&self, pid: u32) -> Option<(u32, u32)> {
        let folder = self.folder.as_ref()?;
        let stat = rustix::fs::statat(folder, pid.to_string(), rustix::fs::AtFlags::empty()).ok()?;
        Some((stat.st_uid, stat.st_gid))
    }

    fn open_file(&self, path: &str) -> Result<OwnedFd, Errno> {
        let folder = self.folder.as_ref().ok_or(Errno::BADF)?;
        openat(folder, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    }

    fn numbers(&self) -> Result<Vec<u32>, Errno> {
        let folder = self.folder.as_ref().ok_or(Errno::BADF)?;
        let mut numbers = Vec::new();
        for entry in Dir::read_from(folder.as_fd())? {
            numbers.extend(number::<u32>(entry?.file_name().to_bytes()));
            if numbers.len() >= MOST {
                break;
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    const REST: &str = "S 7 12 3 34816 99 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 1000 9";

    #[test]
    fn stat_lines_are_read_whatever_the_name_is() {
        let row = |name: &str| {
            let row = Row {
                parent: 7,
                group: 12,
                born: 4242,
                state: b'S',
                threads: 1,
                foreground: 99,
                name: name.as_bytes().to_vec(),
            };
            Some((31, row))
        };
        for name in [
            "sh",
            "",
            "a b",
            ") R 1 1",
            "(((",
            "x\n31 (y) Z 1",
            "a)b(c",
            "\u{e9}",
        ] {
            assert_eq!(parse_stat(format!("31 ({name}) {REST}\n").as_bytes()), row(name));
        }
    }

    /// A process whose first thread has ended is shown as a zombie while the others go on.
    #[test]
    fn a_process_lives_as_long_as_one_of_its_threads() {
        let lives = |state: &str, threads: u32| {
            let rest = REST
                .replacen('S', state, 1)
                .replacen(" 20 0 1 ", &format!(" 20 0 {threads} "), 1);
            parse_stat(format!("31 (x) {rest}").as_bytes()).unwrap().1.lives()
        };
        for (state, threads, expected) in [
            ("S", 1, true),
            ("R", 3, true),
            ("D", 1, true),
            ("Z", 1, false),
            ("Z", 2, true),
            ("Z", 0, false),
            ("X", 0, false),
            ("x", 1, false),
        ] {
            assert_eq!(lives(state, threads), expected, "{state} {threads}");
        }
    }

    /// An agent that is root can take the helper's descriptors away; then nothing may count as dead.
    #[test]
    fn what_cannot_be_looked_at_is_not_whole() {
        assert_eq!(ProcessFolder { folder: None }.look(), Look::default());
        assert!(!Look::default().whole);
        let look = ProcessFolder::open().look();
        assert!(look.whole && look.table.contains_key(&std::process::id()));
        assert_eq!(ProcessFolder { folder: None }.row(1), Err(Errno::BADF));
        assert_eq!(ProcessFolder::open().row(u32::MAX), Ok(None));
    }

    #[test]
    fn lines_that_are_no_stat_lines_are_nothing() {
        let cases = [
            "",
            "31",
            ")(",
            "31 (sh",
            "31 sh) S 1",
            "(sh) S 7 12",
            "x (sh) S 7 12 3 34816 99 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242",
            "31 (sh) S 7 12 3 34816 99 4194304 1 2 3 4 5 6 7 8 20 0 1 0",
            "31 (sh) S 7 12 3 34816 99 4194304 1 2 3 4 5 6 7 8 20 0 1 0 -1",
            "31 (sh) S 99999999999 12 3 34816 99 4194304 1 2 3 4 5 6 7 8 20 0 1 0 1",
        ];
        for case in cases {
            assert_eq!(parse_stat(case.as_bytes()), None, "{case}");
        }
    }

    #[test]
    fn variables_are_found_by_their_whole_name() {
        let environ = b"AHARNESS=1\0HARNESSB=2\0HARNESS=three\0HARNESS=4\0LAST";
        assert_eq!(variable(environ, "HARNESS"), Some(b"three".as_slice()));
        assert_eq!(variable(environ, "LAST"), None);
        assert_eq!(variable(b"", "HARNESS"), None);
    }
}
