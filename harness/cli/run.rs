//! `harness run`: plan, run, report.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness_core::event::{LOG_FORMAT, RunEvent};
use harness_core::fold::{Life, RunView, TrialStatus, crashed_after};
use harness_core::ids::{AttemptId, Digest, RunId};
use harness_core::outcome::Outcome;
use harness_core::plan::{Plan, plan};
use harness_core::ports::{Clock as _, EventStore as _, SandboxProvider, SweepScope};
use harness_core::schedule::{Finish, Spend, TrialPast};
use harness_core::suite::ReportFormat;
use harness_report::{report_json, summary_table};
use harness_runner::{KeepSandboxes, Progress, RunEnding, RunInput, RunStop, phases_at_start};
use harness_store::{DiskStore, Holder, LockError, ResultsLock, RunDir, Scrubber};
use tokio::sync::{mpsc, watch};

use crate::args::{Format, RunArgs, keeps};
use crate::clients::{Clients, clients};
use crate::clock::{SystemClock, wall};
use crate::exit::{Exit, Failure};
use crate::load::{Loaded, load};
use crate::run_dir::{self, StoredRun};
use crate::{plan_view, progress, report};

/// The longest wait for one whole answer of a model.
const CALL_TIMEOUT: Duration = Duration::from_secs(600);

/// How long the daemon has to answer when everything else is done.
const SWEEP_AT_END: Duration = Duration::from_secs(30);

/// What this command is called in the lock.
const COMMAND: &str = "harness run";

/// `harness run`
pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let loaded = load(&args)?;
    let planned = plan(loaded.input.clone()).map_err(|problems| plan_view::refused(&problems))?;
    if args.dry_run {
        crate::print(&plan_view::describe(&planned, &loaded))?;
        return Ok(Exit::Clear);
    }
    note_formats(&planned);
    let clients = clients(&planned.suite.models, &loaded.base)?;
    let results = &args.results.results;
    let mut lock = lock(results, COMMAND, None)?;
    let prepared = prepare(&args, &loaded, &planned, clients.scrubber.clone())?;
    lock.update(&holder(COMMAND, Some(prepared.run.clone())))
        .map_err(|error| lock_failure(&error))?;
    let ending = execute(Arc::new(planned), clients, &prepared, keeps(args.keep_sandbox)).await?;
    let stored = run_dir::read(prepared.dir.clone())?;
    conclude(&stored, &ending, args.json)
}

/// Says which derived files a suite asks for that this version does not write.
fn note_formats(planned: &Plan) {
    let missing = |format: &ReportFormat| match format {
        ReportFormat::Html | ReportFormat::Junit => true,
        ReportFormat::Csv | ReportFormat::Json | ReportFormat::Markdown => false,
    };
    if planned.suite.report_formats.iter().any(missing) {
        crate::warn("note: this version writes csv, json and markdown; html and junit are left out\n");
    }
}

fn holder(command: &str, run: Option<RunId>) -> Holder {
    Holder {
        pid: std::process::id(),
        command: command.to_owned(),
        run,
        since: wall(),
    }
}

/// Locks a results folder for this process, which works on a run, if that is known already.
pub(crate) fn lock(results: &Path, command: &str, run: Option<RunId>) -> Result<ResultsLock, Failure> {
    ResultsLock::acquire(results, &holder(command, run)).map_err(|error| lock_failure(&error))
}

fn lock_failure(error: &LockError) -> Failure {
    let exit = match error {
        LockError::Held { .. } => Exit::Failed,
        LockError::Io { .. } => Exit::NoResults,
    };
    Failure {
        exit,
        message: error.to_string(),
        hint: None,
    }
}

/// A run's folder and what earlier processes left in it.
struct Prepared {
    run: RunId,
    dir: RunDir,
    store: Arc<DiskStore>,
    view: RunView,
    resumed: bool,
}

fn prepare(args: &RunArgs, loaded: &Loaded, planned: &Plan, scrubber: Scrubber) -> Result<Prepared, Failure> {
    let results = &args.results.results;
    if !args.new
        && let Some(stored) = unfinished(results, planned)?
    {
        return resume(&stored, scrubber);
    }
    let (run, dir) = create(results, planned)?;
    let record = planned.record(env!("CARGO_PKG_VERSION"), &loaded.source, &loaded.folders);
    let text =
        serde_json::to_vec(&record).map_err(|error| Failure::ours("failed to write the plan", error))?;
    dir.write_plan(&text)?;
    let store = Arc::new(DiskStore::begin(&dir, scrubber)?);
    let event = RunEvent::RunStarted {
        format: LOG_FORMAT,
        run: run.clone(),
        plan: planned.id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
    };
    store.append(SystemClock::new().now(), &event)?;
    crate::warn(&format!("run {run}\n"));
    Ok(Prepared {
        run,
        dir,
        store,
        view: RunView::default(),
        resumed: false,
    })
}

/// Makes the folder of a new run: suite, time and plan in its name, and a number if that is taken.
fn create(results: &Path, planned: &Plan) -> Result<(RunId, RunDir), Failure> {
    let time: String = wall()
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect();
    let (day, clock) = time.split_at(8);
    let name = format!("{}-{day}-{clock}-{}", planned.suite.id, &planned.id.short()[..6]);
    for number in 1..1000 {
        let run = RunId::new(if number == 1 {
            name.clone()
        } else {
            format!("{name}-{number}")
        });
        if !results.join(run.as_str()).exists() {
            return Ok((run.clone(), RunDir::create(results, &run)?));
        }
    }
    Err(Failure::input(format!(
        "{name} and a thousand like it exist already"
    )))
}

/// Finds the latest unfinished run of this very plan.
fn unfinished(results: &Path, planned: &Plan) -> Result<Option<StoredRun>, Failure> {
    let mut found = None;
    for dir in RunDir::all(results)? {
        if !same_plan(&dir, planned.id) {
            continue;
        }
        let stored = match run_dir::read(dir) {
            Ok(stored) => stored,
            Err(failure) => {
                crate::warn(&format!(
                    "warning: an earlier run is left alone: {}\n",
                    failure.message
                ));
                continue;
            }
        };
        if !matches!(stored.view.life(), Life::Ended(_)) {
            found = Some(stored);
        }
    }
    Ok(found)
}

fn same_plan(dir: &RunDir, id: Digest) -> bool {
    #[derive(serde::Deserialize)]
    struct OnlyId {
        id: Digest,
    }
    dir.read_plan()
        .ok()
        .and_then(|bytes| serde_json::from_slice::<OnlyId>(&bytes).ok())
        .is_some_and(|plan| plan.id == id)
}

/// Takes up an unfinished run: cuts a torn line, and ends the attempts that died with the earlier process.
fn resume(stored: &StoredRun, scrubber: Scrubber) -> Result<Prepared, Failure> {
    let dir = stored.dir.clone();
    let (store, log) = DiskStore::resume(&dir, scrubber)?;
    let torn_bytes = log.torn.map_or(0, |torn| torn.bytes);
    let version = env!("CARGO_PKG_VERSION");
    let now = SystemClock::new().now();
    let mut events = Vec::new();
    if stored.view.life() == Life::NotStarted {
        // The earlier process died before its first line.
        events.push(RunEvent::RunStarted {
            format: LOG_FORMAT,
            run: stored.name(),
            plan: stored.plan.id,
            version: version.to_owned(),
            pid: std::process::id(),
        });
    } else {
        events = stored.view.continuation(version, std::process::id(), torn_bytes);
        for event in &mut events {
            with_usage(event, stored);
        }
    }
    let mut view = stored.view.clone();
    for event in events {
        let line = harness_core::event::Line {
            seq: view.lines(),
            at: now.wall,
            working: Duration::ZERO,
            event,
        };
        view.apply(&line)
            .map_err(|error| Failure::ours("failed to continue the run", error))?;
        store.append(now, &line.event)?;
    }
    let run = stored.name();
    let done = stored
        .view
        .trials()
        .values()
        .filter(|trial| trial.is_final())
        .count();
    crate::warn(&format!(
        "continuing run {run}: {done} of {} trials are done\n",
        stored.plan.trials.len()
    ));
    Ok(Prepared {
        run,
        dir,
        store: Arc::new(store),
        view,
        resumed: true,
    })
}

/// Fills the ending of an attempt that died with what its log still says it used.
fn with_usage(event: &mut RunEvent, stored: &StoredRun) {
    let RunEvent::AttemptEnded(ended) = event else {
        return;
    };
    let index = stored
        .plan
        .trials
        .iter()
        .position(|trial| trial.id == ended.attempt.trial);
    let Some(index) = index.and_then(|index| u32::try_from(index).ok()) else {
        return;
    };
    let Ok(lines) = stored.dir.read_unsealed(&ended.attempt, index) else {
        return;
    };
    let lines: Vec<_> = lines.map_while(Result::ok).collect();
    **ended = crashed_after(ended.attempt.clone(), &lines);
}

async fn execute(
    planned: Arc<Plan>,
    clients: Clients,
    prepared: &Prepared,
    keep: KeepSandboxes,
) -> Result<RunEnding, Failure> {
    raise_file_limit();
    let clock = Arc::new(SystemClock::new());
    let past = past_of(&planned, &prepared.view);
    let needs_sandbox = planned
        .trials
        .iter()
        .zip(&past)
        .any(|(trial, past)| !past.closed && planned.tasks[trial.task].sandbox.is_some());
    let sandboxes = if needs_sandbox {
        Some(provider(prepared).await?)
    } else {
        None
    };
    let (view, followed) = watch::channel(first_view(&planned, &prepared.view));
    let (interrupt, interrupts) = mpsc::unbounded_channel();
    let signals = tokio::spawn(listen(interrupt));
    let shown = tokio::spawn(progress::follow(followed));
    let totals = prepared.view.totals();
    let began = prepared.view.facts().map(|facts| facts.started);
    let input = RunInput {
        run: prepared.run.clone(),
        past,
        spent: Spend {
            tokens: totals.usage.total(),
            cost: totals.known_cost,
        },
        open_phase: open_phase(&planned, &prepared.view),
        used_wall: began.map_or(Duration::ZERO, |_| totals_wall(&prepared.view)),
        models: clients.models,
        sandboxes,
        store: Arc::clone(&prepared.store) as _,
        clock,
        interrupts,
        progress: view,
        call_timeout: CALL_TIMEOUT,
        keep,
        plan: planned,
    };
    let swept_by = input.sandboxes.clone();
    let ended = harness_runner::run(input).await;
    if let (Some(provider), Ok(RunEnding::Finished(_))) = (swept_by, &ended) {
        sweep_at_end(provider.as_ref(), &prepared.run).await;
    }
    signals.abort();
    let _ = shown.await;
    let closed = prepared.store.close();
    match ended {
        Err(RunStop::Store(_)) => Err(closed
            .err()
            .map_or_else(|| Failure::input("results can't be written"), Failure::from)),
        Err(stop @ RunStop::Image { .. }) => {
            let source = std::error::Error::source(&stop)
                .map(ToString::to_string)
                .unwrap_or_default();
            Err(Failure::ours(&stop.to_string(), source)
                .hint("nothing is lost: the same command continues the run"))
        }
        Ok(ending) => {
            closed?;
            Ok(ending)
        }
    }
}

/// Returns how long earlier processes worked on this run, from its first line to the last before each stop.
fn totals_wall(view: &RunView) -> Duration {
    let Some(facts) = view.facts() else {
        return Duration::ZERO;
    };
    let micros = view.last().0.saturating_sub(facts.started.0);
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

async fn provider(prepared: &Prepared) -> Result<Arc<dyn SandboxProvider>, Failure> {
    let provider = crate::images::connect().await?;
    // What could not be put into quarantine when it should have been is still evidence.
    let breached = breached_attempts(&prepared.view);
    let kept = provider.quarantine(&prepared.run, &breached).await;
    kept.map_err(|error| Failure::ours("failed to keep what a containment event left", error))?;
    let mut scopes = vec![SweepScope::Expired(wall())];
    if prepared.resumed {
        scopes.push(SweepScope::Run(prepared.run.clone()));
    }
    for scope in scopes {
        let swept = provider
            .sweep(&scope)
            .await
            .map_err(|error| Failure::ours("failed to remove what an earlier process left behind", error))?;
        if swept != harness_core::ports::Swept::default() {
            prepared
                .store
                .append(SystemClock::new().now(), &RunEvent::Swept(swept))?;
        }
    }
    Ok(Arc::new(provider))
}

/// Returns the attempts that ended by a containment event.
pub(crate) fn breached_attempts(view: &RunView) -> Vec<AttemptId> {
    let attempts = view.trials().values().flat_map(|trial| &trial.attempts);
    let breached = attempts.filter(|attempt| {
        let outcome = attempt.ended.as_ref().map(|ended| &ended.facts.outcome);
        matches!(outcome, Some(Outcome::Breached { .. }))
    });
    breached.map(|attempt| attempt.attempt.clone()).collect()
}

/// Removes what has come up since the start: what the daemon still made for a process that was killed, and what could
/// not be removed while the daemon was away.
async fn sweep_at_end(provider: &dyn SandboxProvider, run: &RunId) {
    let scope = SweepScope::Run(run.clone());
    let swept = tokio::time::timeout(SWEEP_AT_END, provider.sweep(&scope)).await;
    if !matches!(swept, Ok(Ok(_))) {
        crate::warn("warning: it is not sure that nothing was left behind; `harness gc` removes it\n");
    }
}

fn past_of(planned: &Plan, view: &RunView) -> Vec<TrialPast> {
    let past = |trial: &harness_core::plan::Trial| {
        let Some(known) = view.trials().get(&trial.id) else {
            return TrialPast::default();
        };
        let voids = known.attempts.iter().filter(|attempt| {
            let outcome = attempt.ended.as_ref().map(|ended| &ended.facts.outcome);
            matches!(outcome, Some(Outcome::Void { .. }))
        });
        TrialPast {
            attempts: u32::try_from(known.attempts.len()).unwrap_or(u32::MAX),
            // An open trial always gets one more attempt, whatever it met before.
            voids: u32::try_from(voids.count())
                .unwrap_or(u32::MAX)
                .min(planned.suite.retry.void),
            closed: known.is_final(),
        }
    };
    planned.trials.iter().map(past).collect()
}

fn open_phase(planned: &Plan, view: &RunView) -> Option<usize> {
    let open = view.open_phase()?;
    planned.phases.iter().position(|phase| phase.id == open.phase)
}

fn first_view(planned: &Plan, view: &RunView) -> Progress {
    let mut phases = phases_at_start(planned);
    for trial in &planned.trials {
        let Some(known) = view.trials().get(&trial.id).filter(|known| known.is_final()) else {
            continue;
        };
        let phase = &mut phases[trial.phase];
        let status = known.status();
        phase.done += 1;
        phase.scored += u32::from(matches!(status, TrialStatus::Success | TrialStatus::Failure));
        phase.successes += u32::from(status == TrialStatus::Success);
        phase.void += u32::from(status == TrialStatus::Void);
    }
    let totals = view.totals();
    Progress {
        phases,
        usage: totals.usage,
        cost: totals.cost,
        ..Progress::default()
    }
}

/// Each running attempt holds a file open.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            },
        );
    }
}

/// Turns SIGINT and SIGTERM into requests to stop.
async fn listen(interrupt: mpsc::UnboundedSender<()>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        crate::warn("warning: signals can't be caught; an interrupt ends the process at once\n");
        return;
    };
    let mut asked = 0;
    loop {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        asked += 1;
        if asked == 1 {
            crate::warn(
                "\nstopping: sandboxes are removed; the same command continues the run. Once more to stop at once.\n",
            );
        }
        if interrupt.send(()).is_err() {
            return;
        }
    }
}

/// Prints the results, writes the derived files and returns the exit code.
fn conclude(stored: &StoredRun, ending: &RunEnding, json: bool) -> Result<Exit, Failure> {
    let paths = report::write(stored, &[Format::Csv, Format::Json, Format::Markdown])?;
    let (summary, rows) = (stored.summary(), stored.rows());
    if json {
        let text = serde_json::to_string(&report_json(&summary, &rows));
        crate::print(&(text.map_err(|error| Failure::ours("failed to print the results", error))? + "\n"))?;
    } else {
        crate::print(&summary_table(&summary))?;
    }
    crate::warn(&format!("results: {}\n", stored.dir.path().display()));
    for path in paths {
        crate::warn(&format!("  {path}\n"));
    }
    for left in stored.view.left() {
        crate::warn(&format!(
            "warning: a sandbox could not be removed and is left to `harness gc`: {left}\n"
        ));
    }
    match ending {
        RunEnding::Aborted | RunEnding::Finished(Finish::Interrupted) => {
            crate::warn("interrupted: the same command continues the run\n");
            Ok(Exit::Interrupted)
        }
        RunEnding::Finished(Finish::Halted { error }) => Err(halted(stored, error)),
        RunEnding::Finished(Finish::Ended(_)) => Ok(void_exit(stored)),
    }
}

fn halted(stored: &StoredRun, error: &str) -> Failure {
    let evidence = stored
        .view
        .trials()
        .values()
        .flat_map(|trial| &trial.attempts)
        .rev()
        .find_map(|attempt| match &attempt.ended.as_ref()?.facts.outcome {
            Outcome::Void {
                error: name,
                evidence,
                ..
            } if name == error => Some(evidence.text.clone()),
            _ => None,
        });
    let why = evidence.unwrap_or_else(|| error.to_owned());
    Failure::ours(
        "the run was halted, since trial after trial met the same error",
        why,
    )
    .hint("repair the cause; the same command then continues the run")
}

fn void_exit(stored: &StoredRun) -> Exit {
    let counts = stored
        .view
        .counts(stored.plan.trials.iter().map(|trial| &trial.id));
    let share = counts.void as f64 / counts.trials.max(1) as f64;
    if counts.void > 0 && share >= stored.plan.retry.void_share {
        crate::warn(&format!(
            "{} of {} trials are void: too many for the result to be trusted (from {} on)\n",
            counts.void, counts.trials, stored.plan.retry.void_share
        ));
        return Exit::TooManyVoid;
    }
    Exit::Clear
}
