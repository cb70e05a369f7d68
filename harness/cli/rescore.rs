//! `harness rescore`: scores again from what is stored.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use harness_core::event::RunEvent;
use harness_core::fold::{EndedView, Life};
use harness_core::plan::{OpenNetwork, Plan, PlanInput, plan};
use harness_core::ports::{Clock as _, EventStore as _};
use harness_core::schedule::Spend;
use harness_core::score::ScoreResult;
use harness_core::suite::SuiteSpec;
use harness_report::summary_table;
use harness_runner::{Progress, RescoreInput, RunInput, rescore_attempt};
use harness_store::DiskStore;

use crate::args::{Format, RescoreArgs, open_network};
use crate::clients::clients;
use crate::clock::SystemClock;
use crate::exit::{Exit, Failure};
use crate::load::{Collector, read_task, shipped_scaffold};
use crate::run_dir::{self, StoredRun, open};
use crate::{report, run};

/// How long the daemon has to remove the sandboxes of scorers.
const SETTLE: Duration = Duration::from_secs(60);

/// `harness rescore`
pub(crate) async fn rescore(args: RescoreArgs) -> Result<Exit, Failure> {
    let stored = open(&args.results.results, &args.run)?;
    let parent = stored
        .dir
        .path()
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let _lock = run::lock(&parent, "harness rescore", Some(stored.name()))?;
    let chosen = chosen(&stored, &args)?;
    if chosen.is_empty() {
        crate::warn(
            "nothing to score again: every scored trial has a score (`--all` scores them all again)\n",
        );
        return Ok(Exit::Clear);
    }
    let planned = plan_again(&stored, open_network(args.allow_open_network))?;
    let source = Path::new(&stored.plan.source);
    let base = source
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let made = clients(&planned.suite.models, &base)?;
    let (store, _) = DiskStore::resume(&stored.dir, made.scrubber)?;
    let input = input(&stored, planned, made.models).await?;
    let scored = score_all(&stored, &input, &store, chosen).await;
    settle(&input).await;
    let changed = scored?;
    store.close()?;
    let again = run_dir::read(stored.dir)?;
    report::write(&again, &[Format::Csv, Format::Json, Format::Markdown])?;
    crate::warn(&format!("{changed} score(s) changed\n"));
    crate::print(&summary_table(&again.summary()))?;
    Ok(Exit::Clear)
}

/// Waits until the sandboxes of scorers are gone, and says what is not.
async fn settle(input: &RunInput) {
    let Some(provider) = &input.sandboxes else { return };
    let left = tokio::time::timeout(SETTLE, provider.settle()).await;
    let left = left.unwrap_or_else(|_| vec!["no answer of the daemon".to_owned()]);
    for why in left {
        let text = format!("warning: a sandbox was not removed: {why}; `harness gc` does it\n");
        crate::warn(&harness_core::text::printable(&text));
    }
}

async fn score_all(
    stored: &StoredRun,
    input: &RunInput,
    store: &DiskStore,
    chosen: Vec<(usize, EndedView)>,
) -> Result<u32, Failure> {
    let mut changed = 0;
    let clock = SystemClock::new();
    for (index, ended) in chosen {
        let attempt = ended.facts.attempt.clone();
        let Some(seal) = &ended.facts.log else { continue };
        let events = stored
            .dir
            .read_attempt(seal)?
            .map(|line| line.map(|line| line.event));
        let events = events.collect::<Result<Vec<_>, _>>()?;
        let left = RescoreInput::from_events(events, |digest| stored.dir.read_blob(digest))?;
        let trial = input
            .plan
            .trials
            .iter()
            .position(|trial| trial.id == attempt.trial)
            .unwrap_or(index);
        let score = match rescore_attempt(input, trial, attempt.clone(), left).await {
            Ok(score) => score,
            Err(problem) => {
                crate::warn(&format!("{attempt}: not scored again: {problem}\n"));
                continue;
            }
        };
        let old = ended.facts.outcome.score();
        if old == Some(&score) {
            continue;
        }
        changed += 1;
        crate::warn(&format!("{attempt}: {} -> {}\n", words(old), words(Some(&score))));
        let task_version = input.plan.tasks[input.plan.trials[trial].task].version;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        store.append(
            clock.now(),
            &RunEvent::Rescored {
                attempt,
                score,
                task_version,
                version,
            },
        )?;
    }
    Ok(changed)
}

fn words(score: Option<&ScoreResult>) -> String {
    match score {
        None => "none".to_owned(),
        Some(ScoreResult::Scored(score)) => format!("{:.4}", score.value),
        Some(ScoreResult::Unscored { why, .. }) => format!("unscored ({})", why.name()),
    }
}

/// Returns the settled trials that are to be scored again, by their place in the plan.
fn chosen(stored: &StoredRun, args: &RescoreArgs) -> Result<Vec<(usize, EndedView)>, Failure> {
    if !matches!(stored.view.life(), Life::Ended(_) | Life::Interrupted) {
        return Err(Failure::input(format!("run {} is not over", stored.name()))
            .hint("continue it with the same command as before, then score again"));
    }
    if let Some(task) = &args.task
        && !stored.plan.tasks.iter().any(|known| known.id.as_str() == task)
    {
        return Err(Failure::input(format!("the run has no task `{task}`")));
    }
    let mut chosen = Vec::new();
    for (index, trial) in stored.plan.trials.iter().enumerate() {
        let task = &stored.plan.tasks[trial.task];
        if args
            .task
            .as_ref()
            .is_some_and(|wanted| task.id.as_str() != wanted)
        {
            continue;
        }
        let Some(ended) = stored
            .view
            .trials()
            .get(&trial.id)
            .and_then(|known| known.counted())
        else {
            continue;
        };
        let Some(score) = ended.facts.outcome.score() else {
            continue;
        };
        if args.all || score.score().is_none() {
            chosen.push((index, ended.clone()));
        }
    }
    Ok(chosen)
}

/// Plans the run's tasks as they are now in their folders: a repaired scorer is what is wanted.
pub(crate) fn plan_again(stored: &StoredRun, open_network: OpenNetwork) -> Result<Plan, Failure> {
    let mut collector = Collector::default();
    let mut tasks = Vec::new();
    for task in &stored.plan.tasks {
        if let Some(task) = read_task(Path::new(&task.folder), &mut collector)? {
            tasks.push(Arc::new(task));
        }
    }
    let mut scaffolds = Vec::new();
    for scaffold in &stored.plan.scaffolds {
        // Only the loop's kind matters here: nothing is sent to a model but to judges.
        if let Some(mut spec) = shipped_scaffold(scaffold.kind.name(), &mut collector) {
            spec.id = scaffold.id.clone();
            scaffolds.push(Arc::new(spec));
        }
    }
    collector.finish()?;
    let record = &stored.plan;
    let suite = SuiteSpec {
        id: record.suite.clone(),
        models: record.models.clone(),
        scaffolds: record
            .scaffolds
            .iter()
            .map(|scaffold| scaffold.id.clone())
            .collect(),
        tasks: Vec::new(),
        epochs: record.epochs,
        seed: record.seed,
        series: None,
        checkpoint: None,
        budget: harness_core::suite::Budget::default(),
        concurrency: record.concurrency.clone(),
        retry: record.retry.clone(),
        limits: harness_core::task::LimitOverrides::default(),
        runtime: record.runtime,
        phases: Vec::new(),
        report_formats: Vec::new(),
    };
    plan(PlanInput {
        suite,
        tasks,
        scaffolds,
        limit: None,
        open_network,
    })
    .map_err(|problems| crate::plan_view::refused(&problems))
}

pub(crate) async fn input(
    stored: &StoredRun,
    planned: Plan,
    models: Vec<Arc<dyn harness_core::ports::ModelClient>>,
) -> Result<RunInput, Failure> {
    let needs = planned.tasks.iter().any(|task| task.sandbox.is_some());
    let sandboxes = if needs {
        Some(Arc::new(crate::images::connect().await?) as _)
    } else {
        None
    };
    let (_, interrupts) = tokio::sync::mpsc::unbounded_channel();
    let (progress, _) = tokio::sync::watch::channel(Progress::default());
    Ok(RunInput {
        plan: Arc::new(planned),
        run: stored.name(),
        past: Vec::new(),
        spent: Spend::default(),
        open_phase: None,
        used_wall: Duration::ZERO,
        models,
        sandboxes,
        store: Arc::new(harness_store::MemoryStore::default()),
        clock: Arc::new(SystemClock::new()),
        interrupts,
        progress,
        call_timeout: Duration::from_secs(600),
        keep: harness_runner::KeepSandboxes::Never,
    })
}
