//! Walking to the folder of a file that is put, past whatever the agent has laid in the way.
//!
//! Every step is held by its descriptor, so nothing can be exchanged between looking at it and using it.

use super::identity::Own;
use super::problem::{of_errno, problem, shortened};
use harness_guest::{Identity, Problem, ProblemKind};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// How many links are followed, and how often a step is tried that somebody else undoes.
const MOST_TRIES: u32 = 40;

/// Whose things are where.
#[derive(Debug)]
pub(crate) struct Owners<'a> {
    /// Who the helper is.
    pub(crate) own: &'a Own,
    /// Below this folder things belong to `user`.
    pub(crate) home: &'a str,
    /// Whose they are there; elsewhere they are root's.
    pub(crate) user: &'a Identity,
}

impl Owners<'_> {
    /// Returns whether a path, written plainly, is below the user's folder.
    pub(crate) fn are_users(&self, path: &str) -> bool {
        let home = parts(self.home);
        let path = parts(path);
        !home.is_empty() && path.len() > home.len() && path.starts_with(&home)
    }
}

/// Returns the names in a path.
pub(crate) fn parts(path: &str) -> Vec<&str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

/// Opens the folder of a path, making what is missing; returns it and the name in it.
///
/// # Errors
/// If the path is no plain absolute path, or something of root's is in the way that is no folder.
pub(crate) fn to_folder_of(path: &str, owners: &Owners<'_>) -> Result<(OwnedFd, String), Problem> {
    let mut names = parts(path);
    let plain = path.starts_with('/') && !path.ends_with('/') && !names.contains(&"..");
    let Some(last) = names.pop().filter(|_| plain) else {
        let text = format!("{}: not a plain absolute path of a file", shortened(path));
        return Err(problem(ProblemKind::Other, text));
    };
    let mut walk = Walk::new(owners)?;
    let mut so_far = String::new();
    for name in names {
        so_far.push('/');
        so_far.push_str(name);
        walk.enter_or_make(name, owners.are_users(&so_far))
            .map_err(|error| in_the_way(error, &so_far))?;
    }
    Ok((walk.at, last.to_owned()))
}

fn in_the_way(error: Errno, path: &str) -> Problem {
    match error {
        Errno::NOTDIR | Errno::EXIST => {
            let text = format!("{}: is no folder", shortened(path));
            problem(ProblemKind::WrongKind, text)
        }
        error => of_errno(error, path),
    }
}

struct Walk<'a> {
    owners: &'a Owners<'a>,
    at: OwnedFd,
    links: u32,
}

impl<'a> Walk<'a> {
    fn new(owners: &'a Owners<'a>) -> Result<Self, Problem> {
        let at = open_root().map_err(|error| of_errno(error, "/"))?;
        Ok(Self { owners, at, links: 0 })
    }

    /// Steps into a folder. What is no folder is replaced by one, unless it is root's.
    fn enter_or_make(&mut self, name: &str, users: bool) -> Result<(), Errno> {
        for _ in 0..MOST_TRIES {
            let step = match open_step(&self.at, name) {
                Ok(step) => step,
                Err(Errno::NOENT) => {
                    self.make(name, users)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let stat = rustix::fs::fstat(&step)?;
            match (FileType::from_raw_mode(stat.st_mode), stat.st_uid) {
                (FileType::Directory, _) => {
                    self.at = step;
                    return Ok(());
                }
                (FileType::Symlink, 0) => return self.follow(&step),
                (_, 0) => return Err(Errno::NOTDIR),
                (_, _) => unlinkat(&self.at, name, AtFlags::empty()).or_else(unless_gone)?,
            }
        }
        Err(Errno::NOTDIR)
    }

    /// Follows a link of root's. Nothing is made or replaced on its way, except what is behind it in the path.
    fn follow(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.links += 1;
        if self.links > MOST_TRIES {
            return Err(Errno::LOOP);
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new())?;
        let target = target.to_str().map_err(|_| Errno::ILSEQ)?;
        if target.starts_with('/') {
            self.at = open_root()?;
        }
        for name in parts(target) {
            let step = open_step(&self.at, name)?;
            let stat = rustix::fs::fstat(&step)?;
            match (FileType::from_raw_mode(stat.st_mode), stat.st_uid) {
                (FileType::Directory, _) => self.at = step,
                (FileType::Symlink, 0) => self.follow(&step)?,
                (_, _) => return Err(Errno::NOTDIR),
            }
        }
        Ok(())
    }

    /// Makes a folder. The user's are made by the user where they may, so that nothing has to be given away by name.
    fn make(&self, name: &str, users: bool) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(0o755);
        if users {
            let made = self
                .owners
                .own
                .acting_as(self.owners.user, || mkdirat(&self.at, name, mode));
            match made {
                Ok(Ok(()) | Err(Errno::EXIST)) => return Ok(()),
                Ok(Err(Errno::ACCESS | Errno::PERM)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
        mkdirat(&self.at, name, mode).or_else(unless_there)?;
        if !users {
            return Ok(());
        }
        // The user can't write where this is, so nobody has exchanged it.
        let (uid, gid) = (self.owners.user.uid, self.owners.user.gid);
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::fs::chownat(&self.at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn open_root() -> Result<OwnedFd, Errno> {
    rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

/// Opens whatever has a name, links included, without doing anything to it.
fn open_step(at: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(
        at,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn unless_gone(error: Errno) -> Result<(), Errno> {
    if error == Errno::NOENT { Ok(()) } else { Err(error) }
}

fn unless_there(error: Errno) -> Result<(), Errno> {
    if error == Errno::EXIST { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn what_is_below_home_is_the_users() {
        let own = Own::ask();
        let user = Identity::default();
        let cases = [
            ("/home/agent", "/home/agent/x", true),
            ("/home/agent/", "//home/agent//x/y", true),
            ("/home/agent", "/home/agent", false),
            ("/home/agent", "/home/agents/x", false),
            ("/home/agent", "/etc/x", false),
            ("/", "/x", false),
            ("", "/x", false),
        ];
        for (home, path, expected) in cases {
            let owners = Owners {
                own: &own,
                home,
                user: &user,
            };
            assert_eq!(owners.are_users(path), expected, "{home} {path}");
        }
    }
}
