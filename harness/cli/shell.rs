//! `harness shell`: a look into the sandbox of a trial, the kept one or a fresh one like it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use harness_core::ids::{AttemptId, RunId, TrialId};
use harness_core::ports::{
    ExecEnding, ExecRequest, ExecUser, KeepReason, Sandbox, SandboxError, SandboxProvider, TerminalRequest,
};
use harness_core::scoring::describe_ending;
use harness_core::terminal::DEFAULT_SIZE;
use harness_core::text::{Captured, printable};
use harness_core::units::Bytes;
use harness_docker::{DockerProvider, KeptContainer};
use harness_runner::open_fresh;

use crate::args::{ShellArgs, open_network};
use crate::exit::{Exit, Failure};
use crate::run_dir::{StoredRun, open};
use crate::{rescore, terminal};

/// How long a command of `--command` may take.
const COMMAND_TIME: Duration = Duration::from_hours(1);
/// How much of each stream of it is shown.
const COMMAND_OUTPUT: Bytes = Bytes(64 << 20);
/// How long the daemon has to remove a fresh sandbox.
const REMOVAL: Duration = Duration::from_secs(60);
/// Starts the best shell that the image has.
const SHELL: &str = "if [ -x /bin/bash ]; then exec /bin/bash; else exec /bin/sh; fi";

/// A sandbox that is looked into.
struct Opened {
    sandbox: Box<dyn Sandbox>,
    after: After,
}

/// What happens to a sandbox when nobody looks into it any more.
enum After {
    /// It stays as it is.
    Stays,
    /// Its processes are stopped again.
    Pauses(DockerProvider, KeptContainer),
    /// It is removed, with what else carries the run that it is labelled with.
    Goes(Arc<dyn SandboxProvider>, RunId),
}

/// `harness shell`
pub(crate) fn shell(args: &ShellArgs) -> Result<Exit, Failure> {
    if args.command.is_none() && !terminal::is_there() {
        return Err(Failure::input("`harness shell` needs a terminal")
            .hint("give a command with --command 'ls -l' to run without one"));
    }
    let stored = open(&args.results.results, &args.run)?;
    crate::with_runtime(visit(args, stored))
}

async fn visit(args: &ShellArgs, stored: StoredRun) -> Result<Exit, Failure> {
    let (trial, number) = stored.find_attempt(&args.trial)?;
    let trial = trial.clone();
    let kept = if args.fresh {
        None
    } else {
        find_kept(&crate::images::connect().await?, &stored, &trial, number).await?
    };
    // Before anything is opened, so that no signal ends this process while something would have to be ended first.
    let mut stopped = std::pin::pin!(signals()?);
    let opened = match kept {
        Some(kept) => open_kept(args, &kept).await?,
        None => open_new(args, &stored, &trial, stopped.as_mut()).await?,
    };
    let worked = tokio::select! {
        worked = work(args, opened.sandbox.as_ref()) => worked,
        () = stopped.as_mut(), if args.command.is_some() => Ok(Exit::Interrupted),
        // With a terminal in raw mode this is a key like others, and other signals end the terminal.
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    };
    match opened.after {
        After::Stays => {}
        After::Pauses(provider, kept) => pause_again(&provider, &kept).await?,
        After::Goes(provider, run) => remove(opened.sandbox.as_ref(), provider.as_ref(), run).await,
    }
    worked
}

/// Resolves when the system or a person wants the process to end.
fn signals() -> Result<impl Future<Output = ()>, Failure> {
    use crate::terminal::listen;
    use tokio::signal::unix::SignalKind;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let (mut end, mut hang_up) = (listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = end.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// What was stopped when the sandbox was opened is stopped again.
async fn pause_again(provider: &DockerProvider, kept: &KeptContainer) -> Result<(), Failure> {
    let paused = tokio::time::timeout(REMOVAL, provider.pause(kept)).await;
    let why = match paused {
        Ok(Ok(true)) => {
            crate::warn(&format!("the processes of {} are stopped again\n", kept.name));
            return Ok(());
        }
        Ok(Ok(false)) => {
            crate::warn(&format!("{} has ended; it is still kept\n", kept.name));
            return Ok(());
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the Docker daemon does not answer".to_owned(),
    };
    let failed = format!("failed to stop the processes of {} again", kept.name);
    Err(Failure::ours(&failed, why).hint(format!(
        "they may run on: stop them with `docker pause {}`",
        kept.name
    )))
}

/// Finds the kept sandbox of a trial: that of the attempt with this number, or of the last one.
async fn find_kept(
    provider: &DockerProvider,
    stored: &StoredRun,
    trial: &TrialId,
    number: Option<u32>,
) -> Result<Option<KeptContainer>, Failure> {
    let found = provider.kept().await;
    let found = found.map_err(|error| Failure::ours("failed to look for kept sandboxes", error))?;
    let run = stored.name();
    let number_of = |kept: &KeptContainer| {
        let (of, number) = kept.attempt.rsplit_once(':')?;
        (of == trial.as_str()).then(|| number.parse::<u32>().ok())?
    };
    let fitting = found
        .into_iter()
        .filter(|kept| kept.run == run.as_str() && !kept.service)
        .filter_map(|kept| Some((number_of(&kept)?, kept)))
        .filter(|(found, _)| number.is_none_or(|number| number == *found));
    Ok(fitting.max_by_key(|(number, _)| *number).map(|(_, kept)| kept))
}

async fn open_kept(args: &ShellArgs, kept: &KeptContainer) -> Result<Opened, Failure> {
    let provider = crate::images::connect().await?;
    let failed = |error: SandboxError| Failure::ours(&format!("failed to open {}", kept.name), error);
    if kept.paused && !args.unpause {
        let why = match kept.reason {
            KeepReason::Quarantine => {
                "is in quarantine after a containment event, and its processes are stopped"
            }
            KeepReason::Asked => "is paused",
        };
        return Err(Failure::input(format!("the kept sandbox {} {why}", kept.name))
            .hint("--unpause lets its processes run again; --fresh starts another one like it"));
    }
    if provider.had_connections(kept).await.map_err(failed)? {
        crate::warn(
            "warning: its services and its proxy ended with the attempt: their names lead nowhere now\n",
        );
    }
    crate::warn(&printable(&format!(
        "kept sandbox {} of {}\n",
        kept.name, kept.attempt
    )));
    if kept.paused {
        provider.unpause(kept).await.map_err(failed)?;
        crate::warn(&format!("the processes of {} run until you leave\n", kept.name));
    }
    match (provider.open_kept(kept).await, kept.paused) {
        (Ok(sandbox), true) => Ok(Opened {
            sandbox,
            after: After::Pauses(provider, kept.clone()),
        }),
        (Ok(sandbox), false) => Ok(Opened {
            sandbox,
            after: After::Stays,
        }),
        (Err(error), true) => {
            pause_again(&provider, kept).await?;
            Err(failed(error))
        }
        (Err(error), false) => Err(failed(error)),
    }
}

async fn open_new(
    args: &ShellArgs,
    stored: &StoredRun,
    trial: &TrialId,
    stopped: impl Future<Output = ()>,
) -> Result<Opened, Failure> {
    let planned = rescore::plan_again(stored, open_network(args.allow_open_network))?;
    let Some(index) = planned.trials.iter().position(|planned| planned.id == *trial) else {
        let message = format!("the tasks as they are now have no trial {trial}");
        return Err(
            Failure::input(message).hint("the task, its samples or its scaffold were renamed or removed")
        );
    };
    if planned.tasks[planned.trials[index].task].sandbox.is_none() {
        return Err(Failure::input(format!("the task of {trial} has no sandbox")));
    }
    if !args.fresh {
        crate::warn("no sandbox of this trial was kept; a fresh one is started\n");
    }
    let run = RunId::new(format!("shell-{:016x}", RandomState::new().hash_one(())));
    let mut input = rescore::input(stored, planned, Vec::new()).await?;
    input.run = run.clone();
    let Some(provider) = input.sandboxes.clone() else {
        return Err(Failure::input("the task has no sandbox"));
    };
    let attempt = AttemptId {
        trial: trial.clone(),
        number: 1,
    };
    let opened = tokio::select! {
        opened = open_fresh(&input, index, attempt) => opened,
        () = stopped => Err("it was interrupted".to_owned()),
    };
    let sandbox = match opened {
        Ok(sandbox) => sandbox,
        Err(why) => {
            let _ = tokio::time::timeout(REMOVAL, provider.settle()).await;
            sweep(provider.as_ref(), run).await;
            return Err(Failure::ours("failed to start the sandbox", why));
        }
    };
    Ok(Opened {
        sandbox,
        after: After::Goes(provider, run),
    })
}

async fn work(args: &ShellArgs, sandbox: &dyn Sandbox) -> Result<Exit, Failure> {
    let user = if args.root { ExecUser::Root } else { ExecUser::Task };
    match &args.command {
        Some(command) => run_command(sandbox, command, user).await,
        None => run_shell(sandbox, user).await,
    }
}

async fn run_command(sandbox: &dyn Sandbox, command: &str, user: ExecUser) -> Result<Exit, Failure> {
    let request = ExecRequest {
        user,
        keep: COMMAND_OUTPUT,
        ..ExecRequest::shell(command, COMMAND_TIME)
    };
    let result = sandbox.exec(&request).await;
    let result = result.map_err(|error| Failure::ours("failed to run the command", error))?;
    let written =
        write(std::io::stdout(), &result.stdout).and_then(|()| write(std::io::stderr(), &result.stderr));
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(Failure::ours("failed to write the output", error));
        }
        Ok(()) | Err(_) => {}
    }
    match result.ending {
        ExecEnding::Exited { code } => Ok(Exit::Command(u8::try_from(code).unwrap_or(1))),
        ending => Err(Failure {
            exit: Exit::Failed,
            message: format!("the command ended with {}", describe_ending(ending)),
            hint: None,
        }),
    }
}

/// Writes a stream as it is, except to a terminal, which must not see what a sandbox makes up.
fn write(mut to: impl std::io::Write + std::io::IsTerminal, stream: &Captured) -> std::io::Result<()> {
    let mut bytes = stream.head.clone();
    if stream.cut() > 0 {
        bytes.extend_from_slice(harness_core::text::cut_notice(stream.cut()).as_bytes());
    }
    bytes.extend_from_slice(&stream.tail);
    if to.is_terminal() {
        bytes = printable(&harness_core::text::clean(&bytes)).into_bytes();
    }
    to.write_all(&bytes).and_then(|()| to.flush())
}

async fn run_shell(sandbox: &dyn Sandbox, user: ExecUser) -> Result<Exit, Failure> {
    let failed = |error: SandboxError| Failure::ours("failed to open a terminal in the sandbox", error);
    let name = std::env::var("TERM").unwrap_or_else(|_| "xterm-256color".to_owned());
    let request = TerminalRequest {
        argv: ["/bin/sh", "-c", SHELL].map(str::to_owned).into(),
        user,
        cwd: None,
        env: BTreeMap::from([("TERM".to_owned(), name)]),
        size: terminal::size().unwrap_or(DEFAULT_SIZE),
    };
    let inside = sandbox.open_terminal(&request).await.map_err(failed)?;
    crate::warn("ctrl-] leaves the sandbox\n");
    let ended = terminal::connect(inside.as_ref()).await;
    // The program may be gone already; what it left is the sandbox's.
    let _ = tokio::time::timeout(REMOVAL, inside.close()).await;
    ended.map(|_| Exit::Clear)
}

/// Removes a fresh sandbox and what else carries its label.
async fn remove(sandbox: &dyn Sandbox, provider: &dyn SandboxProvider, run: RunId) {
    let _ = tokio::time::timeout(REMOVAL, sandbox.stop()).await;
    let _ = tokio::time::timeout(REMOVAL, provider.settle()).await;
    sweep(provider, run).await;
}

async fn sweep(provider: &dyn SandboxProvider, run: RunId) {
    let scope = harness_core::ports::SweepScope::Run(run);
    let swept = tokio::time::timeout(REMOVAL, provider.sweep(&scope)).await;
    if !matches!(swept, Ok(Ok(_))) {
        crate::warn(
            "warning: the sandbox could not be removed; `harness gc --all` removes it once it is past its time\n",
        );
    }
}
