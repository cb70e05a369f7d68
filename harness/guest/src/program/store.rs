//! Putting files: beside their place first, then renamed over it, so that they are never half there.

use super::guest::Guest;
use super::problem::of_errno;
use super::walk::{Owners, to_folder_of};
use harness_guest::{FileWrite, FromGuest, Problem, ProblemKind};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;

/// How often another name is tried.
const MOST_TRIES: u32 = 20;

/// A file that is being put.
#[derive(Debug)]
pub(crate) struct WriteJob {
    asked: FileWrite,
    state: Result<Place, Problem>,
}

#[derive(Debug)]
struct Place {
    folder: OwnedFd,
    name: String,
    beside: String,
    file: OwnedFd,
    users: bool,
}

impl Guest {
    /// Starts to put a file. Problems are told at its end, since its content is on the way already.
    pub(crate) fn begin_write(&mut self, asked: FileWrite) {
        let owners = Owners {
            own: &self.own,
            home: &asked.home,
            user: &asked.user,
        };
        let users = owners.are_users(&asked.path);
        let place = to_folder_of(&asked.path, &owners).and_then(|(folder, name)| {
            let (beside, file) = create_beside(&folder).map_err(|error| of_errno(error, &asked.path))?;
            Ok(Place {
                folder,
                name,
                beside,
                file,
                users,
            })
        });
        let id = asked.id;
        self.writes.insert(id, WriteJob { asked, state: place });
    }

    /// Takes a piece of its content.
    pub(crate) fn write_data(&mut self, id: u32, bytes: &[u8]) {
        let Some(job) = self.writes.get_mut(&id) else {
            return;
        };
        let Ok(place) = &job.state else {
            return;
        };
        if let Err(error) = write_whole(&place.file, bytes) {
            place.give_up();
            job.state = Err(of_errno(error, &job.asked.path));
        }
    }

    /// Puts a whole file at its place.
    pub(crate) fn end_write(&mut self, id: u32) {
        let Some(job) = self.writes.remove(&id) else {
            return;
        };
        let asked = &job.asked;
        let put = job.state.and_then(|place| {
            place.finish(asked).map_err(|error| {
                place.give_up();
                let mut problem = of_errno(error, &asked.path);
                if matches!(error, Errno::NOTDIR | Errno::EXIST | Errno::NOTEMPTY) {
                    problem.kind = ProblemKind::WrongKind;
                }
                problem
            })
        });
        match put {
            Ok(()) => self.outbox.say(&FromGuest::Done { id }),
            Err(problem) => self.fail(id, problem),
        }
    }
}

impl Place {
    fn finish(&self, asked: &FileWrite) -> Result<(), Errno> {
        let (uid, gid) = if self.users {
            (asked.user.uid, asked.user.gid)
        } else {
            (0, 0)
        };
        let stat = rustix::fs::fstat(&self.file)?;
        if (stat.st_uid, stat.st_gid) != (uid, gid) {
            let changed = rustix::fs::fchown(&self.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            match changed {
                // A helper that is not root can give nothing to root.
                Err(Errno::PERM) if !self.users => {}
                changed => changed?,
            }
        }
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(asked.mode & 0o7777))?;
        renameat(&self.folder, &self.beside, &self.folder, &self.name)
    }

    fn give_up(&self) {
        let _ = unlinkat(&self.folder, &self.beside, AtFlags::empty());
    }
}

fn create_beside(folder: &OwnedFd) -> Result<(String, OwnedFd), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..MOST_TRIES {
        // Seeded by the system each time.
        let name = format!(".harness-{:016x}", RandomState::new().build_hasher().finish());
        match openat(folder, &name, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => return Ok((name, file)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::EXIST)
}

fn write_whole(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) if count > 0 => bytes = bytes.get(count..).unwrap_or_default(),
            Ok(_) => return Err(Errno::IO),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
