//! One command in a sandbox, from its start to its end.
//!
//! Owns: how a command may end, and what is known then. Must not: kill (see `kill`).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use harness_core::ports::{BeforeExec, ExecEnding, ExecRequest, ExecResult, ExecUser, SandboxError};
use harness_core::text::Captured;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::disk;
use crate::output::{Output, OutputStream, Reading};
use crate::sandbox::DockerSandbox;
use crate::scripts;

/// How long the daemon's events are waited for before it is asked, at first and at most. While something that
/// the command left behind holds its output open, the daemon knows the end two seconds before it tells.
const FIRST_ASK: Duration = Duration::from_millis(100);
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// The same, once the streams have ended.
const ASK_AFTER_END_OF_OUTPUT: Duration = Duration::from_millis(15);
/// A command has ended, but something that it left behind holds its output open.
const QUIET: Duration = Duration::from_millis(250);
const DRAIN: Duration = Duration::from_secs(2);
/// How long it may take until it is heard why a process died by SIGKILL (lack of memory, or the whole container
/// died), or that it failed for lack of memory.
pub(crate) const NEWS_AFTER_KILL: Duration = Duration::from_millis(250);
const NEWS_AFTER_FAILURE: Duration = Duration::from_millis(20);
pub(crate) const KILLED: i32 = 137;

/// A command as the daemon takes it.
pub(crate) struct Command {
    pub(crate) argv: Vec<String>,
    pub(crate) user: String,
    pub(crate) cwd: String,
    pub(crate) env: Vec<String>,
    pub(crate) stdin: Option<Arc<[u8]>>,
    pub(crate) timeout: Duration,
    pub(crate) keep: usize,
    /// What tells that the disk's limit was exceeded.
    pub(crate) disk: Option<disk::Running>,
}

/// Why a command is no longer waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It ended.
    Ended(i32),
    /// It was never started; the runtime said why.
    NotStarted(i32, String),
    /// Its time is over.
    Deadline,
    /// It wrote too much.
    TooMuchOutput,
    /// The file system grew too much.
    TooMuchDisk,
}

/// A command that is no longer waited for.
pub(crate) struct Ran {
    pub(crate) id: String,
    pub(crate) stop: Stop,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    pub(crate) took: Duration,
    /// Whether the kernel killed something for lack of memory meanwhile.
    pub(crate) out_of_memory: bool,
    /// The rest of the output.
    rest: OutputStream,
}

impl Ran {
    /// Says whether a command that had to kill all others first could not do so.
    fn did_not_kill(&self, marker: &str) -> bool {
        match &self.stop {
            Stop::NotStarted(..) => true,
            Stop::Ended(code) => {
                *code == scripts::SURVIVORS && self.stderr.head.starts_with(marker.as_bytes())
            }
            Stop::Deadline | Stop::TooMuchOutput | Stop::TooMuchDisk => false,
        }
    }
}

impl DockerSandbox {
    /// Runs what the port asks for.
    pub(crate) async fn exec_request(&self, request: &ExecRequest) -> Result<ExecResult, SandboxError> {
        let user = match request.user {
            ExecUser::Task => self.user.clone(),
            ExecUser::Root => "0:0".to_owned(),
        };
        let mut argv = request.argv.clone();
        let mut together = false;
        if request.before == BeforeExec::KillAll {
            together = request.user == ExecUser::Root || self.facts.owner.uid == 0;
            if together {
                let shell = ["/bin/sh", "-c", scripts::KILL_ALL_THEN, "sh"].map(str::to_owned);
                argv.splice(0..0, shell);
            } else {
                self.kill_everything().await?;
            }
        }
        let marker = self.shared.unique("exec");
        // The daemon takes HOME from the image's list of users; one that is not in it has its workdir.
        let home =
            (!self.facts.listed && request.user == ExecUser::Task).then(|| format!("HOME={}", self.workdir));
        let given = request.env.iter().map(|(name, value)| format!("{name}={value}"));
        let env = home.into_iter().chain(given);
        let command = Command {
            argv,
            user: user.clone(),
            cwd: request.cwd.clone().unwrap_or_else(|| self.workdir.clone()),
            env: env.chain([format!("{}={marker}", scripts::MARKER)]).collect(),
            stdin: request.stdin.clone(),
            timeout: request.timeout,
            keep: usize::try_from(request.keep.0).unwrap_or(usize::MAX),
            disk: self.watch_disk(),
        };
        let _running = Running::enter(self, &marker);
        let mut ran = self.run(&command).await?;
        if together && ran.did_not_kill(&marker) {
            self.restart("processes could not be killed from inside").await?;
            ran = self.run(&command).await?;
        }
        if matches!(ran.stop, Stop::Deadline | Stop::TooMuchOutput | Stop::TooMuchDisk) {
            // Unread output would block the daemon, and closing it would let the command end by itself unseen.
            tokio::select! {
                ended = self.end_command(&ran.id, &marker, &user) => ended?,
                () = discard(&mut ran.rest) => {}
            }
        }
        self.result(request, ran).await
    }

    async fn result(&self, request: &ExecRequest, ran: Ran) -> Result<ExecResult, SandboxError> {
        let Ran {
            stop,
            stdout,
            mut stderr,
            took,
            out_of_memory,
            ..
        } = ran;
        let mut stdout = stdout;
        let ending = match stop {
            Stop::Ended(code) if out_of_memory => ExecEnding::OutOfMemory { code },
            Stop::Ended(code) => ExecEnding::Exited { code },
            Stop::NotStarted(code, text) => {
                self.check_alive().await?;
                (stdout, stderr) = (Captured::default(), Captured::whole(text));
                ExecEnding::Exited { code }
            }
            Stop::Deadline => ExecEnding::TimedOut {
                after: request.timeout,
            },
            Stop::TooMuchOutput => ExecEnding::OutputLimit {
                limit: self.shared.settings.output_limit,
            },
            Stop::TooMuchDisk => ExecEnding::DiskLimit { limit: self.disk },
        };
        Ok(ExecResult {
            ending,
            stdout,
            stderr,
            took,
        })
    }

    /// Runs a command until it ends or has to be ended.
    pub(crate) async fn run(&self, command: &Command) -> Result<Ran, SandboxError> {
        let options = CreateExecOptions {
            attach_stdin: Some(command.stdin.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(command.env.clone()),
            cmd: Some(command.argv.clone()),
            user: Some(command.user.clone()),
            working_dir: Some(command.cwd.clone()),
            ..CreateExecOptions::default()
        };
        let docker = &self.shared.docker;
        let created = docker.create_exec(&self.id, options).await;
        let id = match created {
            Ok(created) => created.id,
            Err(error) => return Err(self.explain(&error, "create a command").await),
        };
        let ooms = self.ear.borrow().ooms;
        let began = Instant::now();
        let deadline = began + command.timeout;
        let started = docker.start_exec(&id, None).await;
        let (stream, input) = match started {
            Ok(StartExecResults::Attached { output, input }) => (output, Some(input)),
            Err(error) => return Err(self.explain(&error, "start a command").await),
            Ok(StartExecResults::Detached) => (empty_stream(), None),
        };
        let mut output = Output::new(stream, command.keep, self.shared.settings.output_limit.0);
        let stop = self.wait(&id, command, deadline, &mut output, input).await?;
        let took = began.elapsed();
        let stop = self.settle(&id, command, stop, ooms).await?;
        let (stdout, stderr, stream) = output.finish();
        let stop = match stop {
            Stop::NotStarted(code, _) => {
                Stop::NotStarted(code, String::from_utf8_lossy(&stdout.head).trim().to_owned())
            }
            other => other,
        };
        let heard_ooms = self.ear.borrow().ooms;
        self.explained_ooms.store(heard_ooms, Ordering::Release);
        Ok(Ran {
            id,
            stop,
            stdout,
            stderr,
            took,
            out_of_memory: heard_ooms > ooms,
            rest: stream,
        })
    }

    async fn wait(
        &self,
        id: &str,
        command: &Command,
        deadline: Instant,
        output: &mut Output,
        input: Option<std::pin::Pin<Box<dyn AsyncWrite + Send>>>,
    ) -> Result<Stop, SandboxError> {
        let end_of_output = Notify::new();
        let mut ending = pin!(self.ending(id, &end_of_output));
        let mut feeding = pin!(feed(input, command.stdin.clone()));
        let mut fed = false;
        let mut disk = pin!(async {
            match &command.disk {
                Some(disk) => disk.outgrown().await,
                None => std::future::pending().await,
            }
        });
        let code = loop {
            tokio::select! {
                code = &mut ending => break code?,
                reading = output.read(), if !output.over => match reading {
                    Reading::More => {}
                    Reading::Over => end_of_output.notify_one(),
                    Reading::TooMuch => return Ok(Stop::TooMuchOutput),
                },
                () = &mut feeding, if !fed => fed = true,
                () = &mut disk => return Ok(Stop::TooMuchDisk),
                () = sleep_until(deadline) => return Ok(Stop::Deadline),
            }
        };
        let drained_by = Instant::now() + DRAIN;
        while !output.over && Instant::now() < drained_by {
            match timeout(QUIET, output.read()).await {
                Ok(Reading::More) => {}
                Ok(Reading::TooMuch) => return Ok(Stop::TooMuchOutput),
                Ok(Reading::Over) | Err(_) => break,
            }
        }
        Ok(Stop::Ended(code))
    }

    /// Resolves when the command's own process has ended, or when the container is dead.
    async fn ending(&self, id: &str, end_of_output: &Notify) -> Result<i32, SandboxError> {
        let mut heard = self.ear.subscribe();
        let mut pause = FIRST_ASK;
        loop {
            let (code, suspect) = {
                let heard = heard.borrow_and_update();
                (heard.ended.get(id).copied(), heard.suspect)
            };
            if let Some(code) = code {
                return Ok(code);
            }
            if suspect {
                self.check_alive().await?;
            }
            tokio::select! {
                changed = heard.changed() => if changed.is_err() { sleep(pause).await },
                () = end_of_output.notified() => pause = ASK_AFTER_END_OF_OUTPUT,
                () = sleep(pause) => {
                    if let Some(code) = self.ask(id).await? {
                        return Ok(code);
                    }
                    pause = (pause * 3 / 2).min(ASK_INTERVAL);
                }
            }
        }
    }

    /// Asks the daemon for the exit code of a command; `None` while it runs.
    async fn ask(&self, id: &str) -> Result<Option<i32>, SandboxError> {
        let found = match self.shared.docker.inspect_exec(id).await {
            Ok(found) => found,
            Err(error) => return Err(self.explain(&error, "look at a command").await),
        };
        if found.running == Some(true) {
            return Ok(None);
        }
        let code = found.exit_code.and_then(|code| i32::try_from(code).ok());
        Ok(code)
    }

    /// Finds out what an exit code alone does not tell.
    async fn settle(&self, id: &str, command: &Command, stop: Stop, ooms: u64) -> Result<Stop, SandboxError> {
        let Stop::Ended(code) = stop else {
            return Ok(stop);
        };
        if matches!(code, 126 | 127) && self.was_never_started(id).await {
            return Ok(Stop::NotStarted(code, String::new()));
        }
        let mut heard = self.ear.subscribe();
        if code == KILLED {
            let _ = timeout(NEWS_AFTER_KILL, heard.wait_for(|heard| heard.suspect)).await;
        } else if code != 0 {
            let _ = timeout(NEWS_AFTER_FAILURE, heard.wait_for(|heard| heard.ooms > ooms)).await;
        }
        if code == KILLED || self.ear.borrow().suspect {
            self.check_alive().await?;
        }
        let outgrown = match &command.disk {
            Some(disk) => disk.outgrew(None).await,
            None => false,
        };
        Ok(if outgrown { Stop::TooMuchDisk } else { stop })
    }

    async fn was_never_started(&self, id: &str) -> bool {
        let found: Result<_, Error> = self.shared.docker.inspect_exec(id).await;
        found.is_ok_and(|found| found.pid.unwrap_or(0) == 0)
    }
}

fn empty_stream() -> OutputStream {
    Box::pin(futures_util::stream::empty())
}

/// Reads and forgets; never resolves.
async fn discard(stream: &mut OutputStream) {
    while stream.next().await.is_some() {}
    std::future::pending::<()>().await;
}

async fn feed(input: Option<std::pin::Pin<Box<dyn AsyncWrite + Send>>>, bytes: Option<Arc<[u8]>>) {
    let (Some(mut input), Some(bytes)) = (input, bytes) else {
        return std::future::pending().await;
    };
    // A command that does not read its input to the end is not an error.
    if input.write_all(&bytes).await.is_ok() {
        let _ = input.shutdown().await;
    }
    std::future::pending::<()>().await;
}

/// Says which commands run, so that ending one spares the others.
struct Running<'a> {
    sandbox: &'a DockerSandbox,
    marker: &'a str,
}

impl<'a> Running<'a> {
    fn enter(sandbox: &'a DockerSandbox, marker: &'a str) -> Self {
        sandbox.with_running(|running| running.insert(marker.to_owned()));
        Self { sandbox, marker }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.sandbox.with_running(|running| running.remove(self.marker));
    }
}
