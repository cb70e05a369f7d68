//! Commands in a sandbox whose helper carries them out.
//!
//! Owns: what the port asks for in the helper's terms, and what its answers mean. Must not: frame anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use harness_core::ports::{
    BeforeExec, ExecEnding, ExecRequest, ExecResult, ExecUser, PutFile, SandboxError, Terminal,
    TerminalRequest,
};
use harness_core::text::Captured;
use harness_guest::{Ending, Exec, Identity, ProblemKind, WindowSize};
use tokio::time::timeout;

use crate::exec::{KILLED, NEWS_AFTER_KILL};
use crate::files::check_path;
use crate::link::{CommandAsked, Exit, Link, LinkRan, LinkTerminal, Over};
use crate::sandbox::DockerSandbox;

/// What a shell says for a program that is not there, and for one that can't be started.
const NOT_FOUND: i32 = 127;
const NOT_STARTED: i32 = 126;
/// What nothing works without.
const SHELL: &str = "/bin/sh";
/// Arguments and variables together; the kernel takes no more than two megabytes, and no single one above 128 KiB.
const LONGEST_COMMAND: usize = 900 << 10;
/// The longest input of one command.
const LONGEST_INPUT: usize = 16 << 20;

/// What was heard beside a command.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// How often the daemon had told of a lack of memory before it.
    ooms: u64,
    /// Whether everything was killed since the disk's limit was exceeded.
    outgrew: bool,
}

impl DockerSandbox {
    /// Runs what the port asks for.
    pub(crate) async fn exec_helped(
        &self,
        link: &Arc<Link>,
        request: &ExecRequest,
    ) -> Result<ExecResult, SandboxError> {
        let long = request.argv.iter().map(String::len).sum::<usize>()
            + request
                .env
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>();
        if long > LONGEST_COMMAND {
            return Ok(not_started(NOT_STARTED, "argument list too long"));
        }
        if request
            .stdin
            .as_ref()
            .is_some_and(|bytes| bytes.len() > LONGEST_INPUT)
        {
            let what = "more than 16 MiB of input for a command".to_owned();
            return Err(SandboxError::Unsupported { what });
        }
        let asked = CommandAsked {
            exec: self.exec_of(request),
            stdin: request.stdin.clone(),
            keep: usize::try_from(request.keep.0).unwrap_or(usize::MAX),
        };
        let ooms = self.ear.borrow().ooms;
        let disk = self.watch_disk();
        let outgrown = async {
            match &disk {
                Some(disk) => disk.outgrown().await,
                None => std::future::pending().await,
            }
        };
        match link.run(asked, outgrown).await {
            Ok(ran) => {
                let outgrew = ran.interrupted
                    || match &disk {
                        Some(disk) => disk.outgrew(Some(link)).await,
                        None => false,
                    };
                let heard = Heard { ooms, outgrew };
                self.helped_result(request, ran, heard).await
            }
            Err(broken) => Err(self.explain_loss(broken.into()).await),
        }
    }

    pub(crate) fn exec_of(&self, request: &ExecRequest) -> Exec {
        let given = request
            .env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        Exec {
            id: 0,
            argv: request.argv.clone(),
            env: self.base_env(request.user).into_iter().chain(given).collect(),
            cwd: request.cwd.clone().unwrap_or_else(|| self.workdir.clone()),
            user: self.identity(request.user),
            stdin: request.stdin.is_some(),
            terminal: None,
            timeout: Some(u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX)),
            output_limit: self.shared.settings.output_limit.0,
            kill_all_first: request.before == BeforeExec::KillAll,
            marker: self.shared.unique("exec"),
        }
    }

    /// Returns as whom the helper does something.
    pub(crate) fn identity(&self, user: ExecUser) -> Identity {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        match user {
            ExecUser::Root => Identity::default(),
            ExecUser::Task => Identity {
                uid: number(self.facts.owner.uid),
                gid: number(self.facts.owner.gid),
                groups: self.facts.groups.clone(),
            },
        }
    }

    /// Variables that every command of a user has besides the container's.
    pub(crate) fn base_env(&self, user: ExecUser) -> Vec<(String, String)> {
        let home = match user {
            ExecUser::Root => "/root",
            ExecUser::Task => self.facts.home.as_str(),
        };
        let mut env = vec![("HOME".to_owned(), home.to_owned())];
        env.extend(self.extra_env.iter().cloned());
        env
    }

    async fn helped_result(
        &self,
        request: &ExecRequest,
        ran: LinkRan,
        heard: Heard,
    ) -> Result<ExecResult, SandboxError> {
        let LinkRan {
            over,
            stdout,
            stderr,
            took,
            interrupted: _,
        } = ran;
        let exit = match over {
            Over::Exit(exit) => exit,
            Over::NotStarted(problem) => {
                if problem.kind == ProblemKind::Missing
                    && request.argv.first().is_some_and(|first| first == SHELL)
                {
                    let detail = problem.text;
                    return Err(SandboxError::NoShell { detail });
                }
                if request.before == BeforeExec::KillAll
                    && matches!(problem.kind, ProblemKind::Survivors | ProblemKind::Other)
                {
                    // Whoever wants to be alone must not take this for an exit code of their program.
                    return Err(SandboxError::Daemon {
                        operation: "kill everything in a sandbox and run a command".to_owned(),
                        detail: problem.text,
                    });
                }
                let code = match problem.kind {
                    ProblemKind::Missing => NOT_FOUND,
                    ProblemKind::WrongKind
                    | ProblemKind::Denied
                    | ProblemKind::DiskFull
                    | ProblemKind::Survivors
                    | ProblemKind::Other => NOT_STARTED,
                };
                return Ok(not_started(code, &problem.text));
            }
        };
        if exit.survivors > 0 {
            self.note("some processes could not be killed");
        }
        let out_of_memory = self.killed_for_memory(exit, heard.ooms).await;
        let limits = self.shared.settings.output_limit;
        let ending = match exit.ending {
            _ if heard.outgrew => ExecEnding::DiskLimit { limit: self.disk },
            Ending::Exited(code) if out_of_memory => ExecEnding::OutOfMemory { code },
            Ending::Exited(code) => ExecEnding::Exited { code },
            Ending::Killed => ExecEnding::Exited { code: KILLED },
            Ending::TimedOut => ExecEnding::TimedOut {
                after: request.timeout,
            },
            Ending::OutputLimit => ExecEnding::OutputLimit { limit: limits },
        };
        Ok(ExecResult {
            ending,
            stdout,
            stderr,
            took,
        })
    }

    /// Says whether the kernel killed something for lack of memory. Where the helper can't see that, the daemon tells.
    async fn killed_for_memory(&self, exit: Exit, before: u64) -> bool {
        if exit.oom_kills == Some(0) || (exit.oom_kills.is_none() && exit.ending != Ending::Exited(KILLED)) {
            return false;
        }
        let mut heard = self.ear.subscribe();
        let news = timeout(NEWS_AFTER_KILL, heard.wait_for(|heard| heard.ooms > before)).await;
        let told = matches!(news, Ok(Ok(_)));
        // The daemon counts otherwise than the kernel: what it has told by now, or tells of this later, is explained.
        let late = u64::from(exit.oom_kills.is_some() && !told);
        let explained = self.ear.borrow().ooms.saturating_add(late);
        self.explained_ooms.fetch_max(explained, Ordering::AcqRel);
        told || exit.oom_kills.is_some()
    }

    /// If the sandbox is lost, finds out why.
    pub(crate) async fn explain_loss(&self, error: SandboxError) -> SandboxError {
        if !matches!(error, SandboxError::Gone { .. }) {
            return error;
        }
        match self.check_alive().await {
            Ok(()) => error,
            Err(better) => better,
        }
    }

    /// Puts files in one after the other.
    pub(crate) async fn write_helped(&self, link: &Link, files: &[PutFile]) -> Result<(), SandboxError> {
        let user = self.identity(ExecUser::Task);
        for file in files {
            check_path(&file.path)?;
        }
        for file in files {
            if let Err(error) = link.write_file(file, &self.workdir, &user).await {
                return Err(self.explain_loss(error).await);
            }
        }
        Ok(())
    }

    /// Starts a program on a terminal.
    pub(crate) async fn terminal_helped(
        &self,
        link: &Arc<Link>,
        request: &TerminalRequest,
    ) -> Result<Box<dyn Terminal>, SandboxError> {
        let exec = ExecRequest {
            argv: request.argv.clone(),
            user: request.user,
            cwd: request.cwd.clone(),
            env: request.env.clone(),
            ..ExecRequest::shell("", std::time::Duration::ZERO)
        };
        let exec = Exec {
            terminal: Some(WindowSize {
                rows: request.size.rows,
                cols: request.size.cols,
            }),
            stdin: true,
            timeout: None,
            output_limit: u64::MAX,
            ..self.exec_of(&exec)
        };
        match LinkTerminal::open(Arc::clone(link), exec).await {
            Ok(terminal) => Ok(Box::new(terminal)),
            Err(error) => Err(self.explain_loss(error).await),
        }
    }
}

fn not_started(code: i32, text: &str) -> ExecResult {
    ExecResult {
        ending: ExecEnding::Exited { code },
        stdout: Captured::default(),
        stderr: Captured::whole(format!("{text}\n")),
        took: std::time::Duration::ZERO,
    }
}
