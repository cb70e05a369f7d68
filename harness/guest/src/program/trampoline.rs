//! What the helper's program does as a command's process, before it becomes the command: a session with a terminal,
//! groups, user, folder.
//!
//! Must not: run for anybody but the helper. It gets no rights from anywhere, so calling it gains nothing.

use harness_guest::Identity;
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// What is set up, as it travels in the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The inherited descriptor of the pipe that tells of failures.
    pub(crate) status: i32,
    /// As whom.
    pub(crate) user: Identity,
    /// Whether standard input is a terminal to be taken.
    pub(crate) terminal: bool,
    /// The folder.
    pub(crate) cwd: PathBuf,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Becoming the user.
    Identity,
    /// Taking the terminal.
    Terminal,
    /// Entering the folder.
    Folder,
    /// Starting the program.
    Program,
}

const STAGES: [Stage; 4] = [Stage::Identity, Stage::Terminal, Stage::Folder, Stage::Program];

impl Plan {
    /// Returns the arguments; the command's own follow.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let groups: Vec<String> = self.user.groups.iter().map(u32::to_string).collect();
        vec![
            "run".into(),
            self.status.to_string().into(),
            self.user.uid.to_string().into(),
            self.user.gid.to_string().into(),
            groups.join(",").into(),
            if self.terminal { "terminal" } else { "pipes" }.into(),
            self.cwd.clone().into(),
        ]
    }

    /// Reads the arguments after the first; the rest is the command.
    fn parse(mut arguments: Vec<OsString>) -> Option<(Self, Vec<OsString>)> {
        if arguments.len() < 7 {
            return None;
        }
        let command = arguments.split_off(6);
        let [status, uid, gid, groups, terminal, cwd] = <[OsString; 6]>::try_from(arguments).ok()?;
        let groups: Option<Vec<u32>> = groups
            .to_str()?
            .split(',')
            .filter(|group| !group.is_empty())
            .map(|group| group.parse().ok())
            .collect();
        let user = Identity {
            uid: uid.to_str()?.parse().ok()?,
            gid: gid.to_str()?.parse().ok()?,
            groups: groups?,
        };
        let plan = Self {
            status: status.to_str()?.parse().ok()?,
            user,
            terminal: terminal == "terminal",
            cwd: cwd.into(),
        };
        Some((plan, command))
    }
}

/// Sets up what the arguments say and becomes the command.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let Some((plan, command)) = Plan::parse(arguments) else {
        return ExitCode::from(64);
    };
    super::identity::hide_from_tracers();
    // Opened anew it closes when the program begins; the inherited one would stay open in the program.
    let told = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{}", plan.status));
    let _ = nix::unistd::close(plan.status);
    let Ok(told) = told else {
        return ExitCode::from(71);
    };
    let (stage, error) = become_command(&plan, &command);
    tell(told, stage, error);
    ExitCode::from(127)
}

/// Reads what [`run`] told. Empty bytes mean that the program has begun.
pub(crate) fn read_told(bytes: &[u8]) -> Option<(Stage, Errno)> {
    let (stage, error) = bytes.split_first()?;
    let error = i32::from_le_bytes(error.get(..4)?.try_into().ok()?);
    // Beyond these numbers are none of the system's.
    let error = (1..4096)
        .contains(&error)
        .then(|| Errno::from_raw_os_error(error));
    Some((*STAGES.get(usize::from(*stage))?, error.unwrap_or(Errno::IO)))
}

fn tell(mut told: File, stage: Stage, error: Errno) {
    let place = STAGES
        .iter()
        .position(|known| *known == stage)
        .unwrap_or_default();
    let mut bytes = vec![u8::try_from(place).unwrap_or_default()];
    bytes.extend(error.raw_os_error().to_le_bytes());
    let _ = told.write_all(&bytes);
}

fn become_command(plan: &Plan, command: &[OsString]) -> (Stage, Errno) {
    if plan.terminal
        && let Err(error) = take_terminal()
    {
        return (Stage::Terminal, error);
    }
    if let Err(error) = become_user(&plan.user) {
        return (Stage::Identity, error);
    }
    let errno = |error: &std::io::Error| Errno::from_io_error(error).unwrap_or(Errno::INVAL);
    if let Err(error) = std::env::set_current_dir(&plan.cwd) {
        return (Stage::Folder, errno(&error));
    }
    let Some((program, arguments)) = command.split_first() else {
        return (Stage::Program, Errno::NOENT);
    };
    (
        Stage::Program,
        errno(&Command::new(program).args(arguments).exec()),
    )
}

fn take_terminal() -> Result<(), Errno> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
}

fn become_user(user: &Identity) -> Result<(), Errno> {
    let already =
        rustix::process::getuid().as_raw() == user.uid && rustix::process::getgid().as_raw() == user.gid;
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    match rustix::thread::set_thread_groups(&groups) {
        Err(Errno::PERM) if already => {}
        result => result?,
    }
    if already {
        return Ok(());
    }
    if user.uid == u32::MAX || user.gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    rustix::thread::set_thread_gid(Gid::from_raw(user.gid))?;
    rustix::thread::set_thread_uid(Uid::from_raw(user.uid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn a_plan_survives_its_arguments() {
        for groups in [vec![], vec![7], vec![10, 1000]] {
            let plan = Plan {
                status: 9,
                user: Identity {
                    uid: 1000,
                    gid: 1001,
                    groups,
                },
                terminal: true,
                cwd: "/a b".into(),
            };
            let mut arguments = plan.arguments();
            assert_eq!(arguments.remove(0), "run");
            arguments.extend(["sh".into(), "-c".into()]);
            let expected = (plan, vec!["sh".into(), "-c".into()]);
            assert_eq!(Plan::parse(arguments), Some(expected));
        }
        assert_eq!(Plan::parse(vec![]), None);
        let wrong = ["9", "x", "1", "", "pipes", "/", "sh"].map(OsString::from);
        assert_eq!(Plan::parse(wrong.to_vec()), None);
    }

    #[test]
    fn what_is_told_is_read() {
        assert_eq!(read_told(&[]), None);
        assert_eq!(read_told(&[3, 2, 0, 0, 0]), Some((Stage::Program, Errno::NOENT)));
        assert_eq!(
            read_told(&[2, 255, 255, 255, 255]),
            Some((Stage::Folder, Errno::IO))
        );
        assert_eq!(read_told(&[9, 2, 0, 0, 0]), None);
        assert_eq!(read_told(&[3, 2]), None);
    }
}
