//! Starting a command's own process.
//!
//! A plain command costs a fork and an exec. A terminal or further groups need calls between the two that the standard
//! library has not, so the helper's own program is executed first and does them ([`trampoline`](super::trampoline)).

use super::command::window;
use super::identity::Own;
use super::problem::{of_errno, problem, shortened};
use super::trampoline::{self, Plan};
use harness_guest::{Exec, MARKER, Problem, ProblemKind, WindowSize};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::OpenptFlags;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// The type of terminal that programs are told.
const TERM: &str = "xterm-256color";

/// A process that was started, and this side of its streams.
#[derive(Debug)]
pub(crate) struct Spawned {
    /// The process.
    pub(crate) pid: u32,
    /// Its input, if it has one.
    pub(crate) stdin: Option<OwnedFd>,
    /// Its output, or its terminal.
    pub(crate) stdout: Option<OwnedFd>,
    /// Its second output.
    pub(crate) stderr: Option<OwnedFd>,
    /// Tells whether the program could be started, if that is not known yet.
    pub(crate) status: Option<OwnedFd>,
    /// The other side of its terminal.
    pub(crate) peer: Option<OwnedFd>,
}

/// Starts a command's process.
///
/// # Errors
/// If there is no such program or folder, the user may not, or the sandbox is out of processes.
pub(crate) fn spawn(exec: &Exec, own: &Own) -> Result<Spawned, Problem> {
    let Some((program, arguments)) = exec.argv.split_first() else {
        return Err(problem(ProblemKind::Missing, "no program is named"));
    };
    match exec.terminal {
        Some(size) => spawn_in_terminal(exec, size),
        None if exec.user.groups.is_empty() || own.is(&exec.user) => {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(&exec.cwd).process_group(0);
            if !own.is(&exec.user) {
                command.uid(exec.user.uid).gid(exec.user.gid);
            }
            let child = with_pipes(&mut command, exec).map_err(|error| of_spawn(&error, exec, own))?;
            spawned(child, None)
        }
        None => {
            let (status, told) = status_pipe()?;
            let mut command = jump(exec, &told, false);
            command.process_group(0);
            let child = with_pipes(&mut command, exec).map_err(|error| of_jump(&error))?;
            spawned(child, Some(status))
        }
    }
}

/// Returns what a failed start says about a command.
pub(crate) fn of_start(stage: trampoline::Stage, error: Errno, exec_name: &str, cwd: &str) -> Problem {
    match stage {
        trampoline::Stage::Identity => problem(ProblemKind::Denied, "the helper may not act as this user"),
        trampoline::Stage::Terminal => problem(ProblemKind::Other, "no terminal could be set up"),
        trampoline::Stage::Folder => of_errno(error, cwd),
        trampoline::Stage::Program => of_program(error, exec_name),
    }
}

fn with_pipes(command: &mut Command, exec: &Exec) -> std::io::Result<Child> {
    command
        .stdin(if exec.stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    spawn_unblocked(with_environment(command, exec))
}

/// Starts a program that can be sent every signal: it inherits what is blocked here, and a shell whose SIGCHLD is
/// blocked waits for its children for ever. What ends meanwhile goes untold, so whoever calls this reaps afterwards.
fn spawn_unblocked(command: &mut Command) -> std::io::Result<Child> {
    let mut before = SigSet::empty();
    let nothing = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&nothing), Some(&mut before))?;
    let child = command.spawn();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    child
}

fn with_environment<'a>(command: &'a mut Command, exec: &Exec) -> &'a mut Command {
    command
        .envs(exec.env.iter().map(|(name, value)| (name, value)))
        .env(MARKER, &exec.marker)
}

fn spawn_in_terminal(exec: &Exec, size: WindowSize) -> Result<Spawned, Problem> {
    let broken = |error: Errno| of_errno(error, "terminal");
    let (main, peer) = open_terminal().map_err(broken)?;
    rustix::termios::tcsetwinsize(&main, window(size)).map_err(broken)?;
    // A user who does not own the terminal could not open it again by its name.
    let _ = rustix::fs::fchown(
        &peer,
        Some(rustix::fs::Uid::from_raw(exec.user.uid)),
        None::<rustix::fs::Gid>,
    );
    let (status, told) = status_pipe()?;
    let mut command = jump(exec, &told, true);
    let copy = || peer.try_clone().map(Stdio::from);
    let streams = copy().and_then(|stdin| Ok((stdin, copy()?, copy()?)));
    let (stdin, stdout, stderr) = streams.map_err(|error| of_jump(&error))?;
    command
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .env("TERM", TERM);
    let child = spawn_unblocked(with_environment(&mut command, exec)).map_err(|error| of_jump(&error))?;
    let input = main.try_clone().map_err(|error| of_jump(&error))?;
    rustix::io::ioctl_fionbio(&main, true).map_err(broken)?;
    Ok(Spawned {
        pid: child.id(),
        stdin: Some(input),
        stdout: Some(main),
        stderr: None,
        status: Some(status),
        peer: Some(peer),
    })
}

fn open_terminal() -> Result<(OwnedFd, OwnedFd), Errno> {
    let main = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    rustix::pty::grantpt(&main)?;
    rustix::pty::unlockpt(&main)?;
    let name = rustix::pty::ptsname(&main, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let peer = rustix::fs::open(name, flags, rustix::fs::Mode::empty())?;
    Ok((main, peer))
}

/// The pipe that tells how a start by the own program went. Its writing end is inherited by the next process that is
/// started, which closes it when its program begins.
fn status_pipe() -> Result<(OwnedFd, OwnedFd), Problem> {
    let broken = |error: Errno| of_errno(error, "pipe");
    let (status, told) = pipe_with(PipeFlags::empty()).map_err(broken)?;
    rustix::io::fcntl_setfd(&status, rustix::io::FdFlags::CLOEXEC).map_err(broken)?;
    rustix::io::ioctl_fionbio(&status, true).map_err(broken)?;
    Ok((status, told))
}

fn jump(exec: &Exec, told: &OwnedFd, terminal: bool) -> Command {
    let plan = Plan {
        status: told.as_fd().as_raw_fd(),
        user: exec.user.clone(),
        terminal,
        cwd: exec.cwd.clone().into(),
    };
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("harness-guest")
        .args(plan.arguments())
        .args(&exec.argv);
    command
}

fn spawned(child: Child, status: Option<OwnedFd>) -> Result<Spawned, Problem> {
    let spawned = Spawned {
        pid: child.id(),
        stdin: child.stdin.map(OwnedFd::from),
        stdout: child.stdout.map(OwnedFd::from),
        stderr: child.stderr.map(OwnedFd::from),
        status,
        peer: None,
    };
    for fd in [&spawned.stdin, &spawned.stdout, &spawned.stderr]
        .into_iter()
        .flatten()
    {
        rustix::io::ioctl_fionbio(fd, true).map_err(|error| of_errno(error, "pipe"))?;
    }
    Ok(spawned)
}

/// Finds out what a failed start means: a missing folder and a missing program look the same.
fn of_spawn(error: &std::io::Error, exec: &Exec, own: &Own) -> Problem {
    let program = exec.argv.first().map_or("", String::as_str);
    let Some(error) = Errno::from_io_error(error) else {
        return problem(ProblemKind::Other, format!("{}: {error}", shortened(program)));
    };
    let folder = own.acting_as(&exec.user, || folder_problem(&exec.cwd));
    match folder {
        Err(problem) => problem,
        Ok(Some(wrong)) => of_errno(wrong, &exec.cwd),
        Ok(None) => of_program(error, program),
    }
}

fn folder_problem(cwd: &str) -> Option<Errno> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let folder = match rustix::fs::open(cwd, flags, rustix::fs::Mode::empty()) {
        Ok(folder) => folder,
        Err(error) => return Some(error),
    };
    let enters = rustix::fs::accessat(
        &folder,
        ".",
        rustix::fs::Access::EXEC_OK,
        rustix::fs::AtFlags::EACCESS,
    );
    enters.err().filter(|error| *error == Errno::ACCESS)
}

fn of_program(error: Errno, program: &str) -> Problem {
    match error {
        Errno::AGAIN | Errno::NOMEM => no_process(error),
        _ => of_errno(error, program),
    }
}

/// Returns what it means that the own program could not be started.
fn of_jump(error: &std::io::Error) -> Problem {
    match Errno::from_io_error(error) {
        Some(error @ (Errno::AGAIN | Errno::NOMEM)) => no_process(error),
        Some(error) => of_errno(error, "helper"),
        None => problem(ProblemKind::Other, error.to_string()),
    }
}

fn no_process(error: Errno) -> Problem {
    let text = if error == Errno::AGAIN {
        "no further process can be started: the sandbox's limit of processes is reached"
    } else {
        "no further process can be started: the sandbox is out of memory"
    };
    problem(ProblemKind::Other, text)
}
