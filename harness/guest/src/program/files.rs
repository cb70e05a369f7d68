//! Reading files and folders as a user, piece by piece.
//!
//! Must not: open or read anything that is no regular file, or wait for one.

use super::guest::Guest;
use super::problem::{of_errno, problem, shortened};
use harness_guest::{Entry, EntryKind, FileRead, FromGuest, Identity, PIECE, Problem, ProblemKind};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

/// What `statfs` says of /proc, whose files have no size and may not end.
const PROC: i64 = 0x9fa0;
/// How many entries are looked at in one go, and how many bytes of names travel in one message at most.
const ENTRIES: usize = 200;
/// The most entries of a folder that can be listed.
const MOST_ENTRIES: usize = 100_000;

/// A file that is being read.
#[derive(Debug)]
pub(crate) struct ReadJob {
    file: OwnedFd,
    left: u64,
}

/// A folder that is being listed.
#[derive(Debug)]
pub(crate) struct ListJob {
    folder: Dir,
    at: OwnedFd,
    user: Identity,
    path: String,
    seen: usize,
}

impl Guest {
    /// Starts to read a file.
    pub(crate) fn begin_read(&mut self, read: &FileRead) {
        let opened = self.own.acting_as(&read.user, || open_file(&read.path));
        match opened.and_then(|opened| opened) {
            Ok((file, size)) => {
                self.outbox.say(&FromGuest::File { id: read.id, size });
                let left = size.min(read.cap);
                self.reads.insert(read.id, ReadJob { file, left });
            }
            Err(problem) => self.fail(read.id, problem),
        }
    }

    /// Looks at a path.
    pub(crate) fn look_at(&mut self, id: u32, path: &str, user: &Identity) {
        let looked = self.own.acting_as(user, || {
            absolute(path)?;
            statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| of_errno(error, path))
        });
        match looked.and_then(|looked| looked) {
            Ok(stat) => {
                let entries = vec![entry(path.as_bytes(), &stat)];
                self.outbox.say(&FromGuest::Entries {
                    id,
                    entries,
                    last: true,
                });
            }
            Err(problem) => self.fail(id, problem),
        }
    }

    /// Starts to list a folder.
    pub(crate) fn begin_list(&mut self, id: u32, path: &str, user: Identity) {
        let opened = self.own.acting_as(&user, || open_folder(path));
        match opened.and_then(|opened| opened) {
            Ok((folder, at)) => {
                let job = ListJob {
                    folder,
                    at,
                    user,
                    path: path.to_owned(),
                    seen: 0,
                };
                self.lists.insert(id, job);
            }
            Err(problem) => self.fail(id, problem),
        }
    }

    /// Goes on with everything that is read or listed, one piece each.
    pub(crate) fn go_on_with_files(&mut self) {
        let reads: Vec<u32> = self.reads.keys().copied().collect();
        for id in reads {
            if self.outbox.has_room() {
                self.go_on_reading(id);
            }
        }
        let lists: Vec<u32> = self.lists.keys().copied().collect();
        for id in lists {
            if self.outbox.has_room() {
                self.go_on_listing(id);
            }
        }
    }

    fn go_on_reading(&mut self, id: u32) {
        let Some(job) = self.reads.get_mut(&id) else {
            return;
        };
        let most = usize::try_from(job.left).unwrap_or(PIECE).min(PIECE);
        let Some(piece) = self.scratch.get_mut(..most) else {
            return;
        };
        match rustix::io::read(&job.file, &mut *piece) {
            Ok(count) if count > 0 => {
                job.left = job.left.saturating_sub(count as u64);
                let bytes = piece.get(..count).unwrap_or_default().to_vec();
                let whole = job.left == 0;
                self.outbox.say(&FromGuest::FileData { id, bytes });
                if whole {
                    self.end_reading(id);
                }
            }
            Ok(_) => self.end_reading(id),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => {
                self.reads.remove(&id);
                self.fail(id, of_errno(error, "reading"));
            }
        }
    }

    fn end_reading(&mut self, id: u32) {
        self.reads.remove(&id);
        self.outbox.say(&FromGuest::FileEnd { id });
    }

    fn go_on_listing(&mut self, id: u32) {
        let Some(mut job) = self.lists.remove(&id) else {
            return;
        };
        let user = job.user.clone();
        let listed = self.own.acting_as(&user, || next_entries(&mut job));
        match listed.and_then(|listed| listed) {
            Ok((entries, last)) => {
                // A piece whose entries are all gone again is none.
                if last || !entries.is_empty() {
                    self.outbox.say(&FromGuest::Entries { id, entries, last });
                }
                if !last {
                    self.lists.insert(id, job);
                }
            }
            Err(problem) => self.fail(id, problem),
        }
    }
}

fn absolute(path: &str) -> Result<(), Problem> {
    if path.starts_with('/') {
        return Ok(());
    }
    let text = format!("{}: not an absolute path", shortened(path));
    Err(problem(ProblemKind::Other, text))
}

fn open_file(path: &str) -> Result<(OwnedFd, u64), Problem> {
    absolute(path)?;
    let wrong = |error| of_errno(error, path);
    let wrong_kind = |what: &str| {
        let text = format!("{}: {what}", shortened(path));
        problem(ProblemKind::WrongKind, text)
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).map_err(wrong)?;
    let stat = rustix::fs::fstat(&file).map_err(wrong)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(wrong_kind("is a folder")),
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => return Err(wrong_kind("is a special file")),
    }
    if rustix::fs::fstatfs(&file).map_err(wrong)?.f_type == PROC {
        return Err(wrong_kind("has no size; a command can read it"));
    }
    Ok((file, u64::try_from(stat.st_size).unwrap_or_default()))
}

fn open_folder(path: &str) -> Result<(Dir, OwnedFd), Problem> {
    absolute(path)?;
    let wrong = |error| match error {
        Errno::NOTDIR if statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok() => {
            let text = format!("{}: is no folder", shortened(path));
            problem(ProblemKind::WrongKind, text)
        }
        error => of_errno(error, path),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let at = openat(CWD, path, flags, Mode::empty()).map_err(wrong)?;
    let folder = Dir::read_from(&at).map_err(wrong)?;
    Ok((folder, at))
}

fn next_entries(job: &mut ListJob) -> Result<(Vec<Entry>, bool), Problem> {
    let mut entries = Vec::new();
    for _ in 0..ENTRIES {
        let found = match job.folder.read() {
            None => return Ok((entries, true)),
            Some(found) => found.map_err(|error| of_errno(error, &job.path))?,
        };
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        job.seen += 1;
        if job.seen > MOST_ENTRIES {
            let text = format!("{}: more than {MOST_ENTRIES} entries", shortened(&job.path));
            return Err(problem(ProblemKind::Other, text));
        }
        match statat(&job.at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => entries.push(entry(name.to_bytes(), &stat)),
            // It is gone.
            Err(Errno::NOENT) => {}
            Err(error) => {
                let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                return Err(of_errno(error, &name.to_string_lossy()));
            }
        }
    }
    Ok((entries, false))
}

fn entry(name: &[u8], stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => EntryKind::Special,
    };
    Entry {
        name: name.to_vec(),
        kind,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        #[cfg_attr(
            target_arch = "x86_64",
            expect(clippy::useless_conversion, reason = "narrower elsewhere")
        )]
        links: u64::from(stat.st_nlink),
        uid: stat.st_uid,
    }
}
