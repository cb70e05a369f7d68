//! Problems in words.

use harness_guest::{Problem, ProblemKind};
use rustix::io::Errno;

/// The exit code after a broken frame of the host.
pub(crate) const BROKEN_FRAME: u8 = 70;

/// The longest name that stands in a text.
const LONGEST_NAME: usize = 200;

/// Returns a problem of a kind.
pub(crate) fn problem(kind: ProblemKind, text: impl Into<String>) -> Problem {
    Problem {
        kind,
        text: text.into(),
    }
}

/// Returns what an error of the system means for something named.
pub(crate) fn of_errno(error: Errno, name: &str) -> Problem {
    let kind = kind_of(error);
    problem(kind, format!("{}: {}", shortened(name), words_of(error, kind)))
}

/// Returns a name that is short enough for a text.
pub(crate) fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// Returns the kind of an error of the system.
pub(crate) fn kind_of(error: Errno) -> ProblemKind {
    match error {
        Errno::NOENT | Errno::NOTDIR => ProblemKind::Missing,
        Errno::LOOP | Errno::NXIO | Errno::ISDIR => ProblemKind::WrongKind,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ProblemKind::Denied,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ProblemKind::DiskFull,
        _ => ProblemKind::Other,
    }
}

fn words_of(error: Errno, kind: ProblemKind) -> String {
    match kind {
        ProblemKind::Missing => "not found".to_owned(),
        ProblemKind::WrongKind if error == Errno::ISDIR => "is a folder".to_owned(),
        ProblemKind::WrongKind => "is a link or a special file".to_owned(),
        ProblemKind::Denied if error == Errno::ROFS => "the file system is read-only".to_owned(),
        ProblemKind::Denied => "permission denied".to_owned(),
        ProblemKind::DiskFull => "the disk is full, or the file too large".to_owned(),
        ProblemKind::Survivors | ProblemKind::Other => std::io::Error::from(error).to_string(),
    }
}
