//! `harness status` and `harness list`: live and past runs.

use std::fmt::Write as _;

use harness_core::fold::Life;
use harness_core::units::{Timestamp, format_duration};
use harness_report::summary_table;
use harness_store::{Holder, ResultsLock};
use serde_json::json;
use std::time::Duration;

use crate::args::{ListArgs, StatusArgs};
use crate::clock::wall;
use crate::exit::{Exit, Failure};
use crate::plan_view::aligned;
use crate::run_dir::{StoredRun, all, open};

/// `harness status`
pub(crate) fn status(args: &StatusArgs) -> Result<Exit, Failure> {
    let results = &args.results.results;
    let run = match &args.run {
        Some(name) => open(results, name)?,
        None => all(results)?
            .into_iter()
            .max_by_key(|run| run.view.last())
            .ok_or_else(|| Failure::input(format!("there is no run in {}", results.display())))?,
    };
    let live = ResultsLock::holder(run.dir.path().parent().unwrap_or(results));
    let worker = live.filter(|holder| holder.run.as_ref() == Some(&run.name()));
    if args.json {
        crate::print(&format!("{}\n", as_json(&run, worker.as_ref())))?;
        return Ok(Exit::Clear);
    }
    crate::print(&describe(&run, worker.as_ref()))?;
    crate::print(&summary_table(&run.summary()))?;
    Ok(Exit::Clear)
}

fn describe(run: &StoredRun, worker: Option<&Holder>) -> String {
    let mut text = String::new();
    let counts = run.view.counts(run.plan.trials.iter().map(|trial| &trial.id));
    let done = run
        .view
        .trials()
        .values()
        .filter(|trial| trial.is_final())
        .count();
    let totals = run.view.totals();
    let _ = writeln!(
        text,
        "run {} of suite `{}`: {}",
        run.name(),
        run.plan.suite,
        state(run, worker)
    );
    let _ = writeln!(
        text,
        "  {done} of {} trials are done, {} run now",
        counts.trials,
        run.view.unfinished().len()
    );
    let cost = totals.cost.map_or_else(
        || format!("unknown (at least {})", totals.known_cost),
        |cost| cost.to_string(),
    );
    let _ = writeln!(text, "  {} tokens, cost {cost}", totals.usage.total());
    if let Some(facts) = run.view.facts() {
        let age = format_duration(since(facts.started));
        let quiet = format_duration(since(run.view.last()));
        let _ = writeln!(
            text,
            "  began {} ({age} ago); no event for {quiet}",
            facts.started
        );
    }
    for (attempt, waits) in waiting(run) {
        let _ = writeln!(
            text,
            "  {attempt} waits {} before its next attempt",
            format_duration(waits)
        );
    }
    if run.torn_bytes > 0 {
        let _ = writeln!(
            text,
            "  the last line is torn ({} bytes); it does not count",
            run.torn_bytes
        );
    }
    text
}

/// Returns the trials that wait before another attempt; at most ten.
fn waiting(run: &StoredRun) -> Vec<(String, Duration)> {
    let wait = |trial: &harness_core::fold::TrialView| {
        let ended = trial.attempts.last()?.ended.as_ref()?;
        let harness_core::event::Then::Retry { after } = ended.facts.then else {
            return None;
        };
        Some((ended.facts.attempt.to_string(), after))
    };
    run.view
        .trials()
        .values()
        .filter(|trial| trial.skipped.is_none())
        .filter_map(wait)
        .take(10)
        .collect()
}

fn state(run: &StoredRun, worker: Option<&Holder>) -> String {
    match (run.view.life(), worker) {
        (Life::Ended(end), _) => format!("ended ({end:?})").to_lowercase(),
        (_, Some(holder)) => format!("going on in process {}", holder.pid),
        (Life::Interrupted, None) => "interrupted; the same command continues it".to_owned(),
        (Life::Going | Life::NotStarted, None) => {
            "its process died; the same command continues it".to_owned()
        }
    }
}

fn since(then: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from((wall().0 - then.0) / 1_000_000).unwrap_or(0))
}

fn as_json(run: &StoredRun, worker: Option<&Holder>) -> serde_json::Value {
    let counts = run.view.counts(run.plan.trials.iter().map(|trial| &trial.id));
    let totals = run.view.totals();
    json!({
        "run": run.name(),
        "suite": run.plan.suite,
        "plan": run.plan.id,
        "state": state(run, worker),
        "pid": worker.map(|holder| holder.pid),
        "counts": counts,
        "running": run.view.unfinished().len(),
        "tokens": totals.usage.total(),
        "cost_usd": totals.cost.map(harness_core::units::Usd::dollars),
        "started": run.view.facts().map(|facts| facts.started),
        "last_event": run.view.last(),
    })
}

/// `harness list`
pub(crate) fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let results = &args.results.results;
    let mut runs = all(results)?;
    runs.sort_by_key(|run| run.view.facts().map(|facts| facts.started));
    let live = ResultsLock::holder(results);
    let worker = |run: &StoredRun| {
        live.as_ref()
            .filter(|holder| holder.run.as_ref() == Some(&run.name()))
    };
    if args.json {
        let listed: Vec<_> = runs.iter().map(|run| as_json(run, worker(run))).collect();
        crate::print(&format!("{}\n", serde_json::Value::Array(listed)))?;
        return Ok(Exit::Clear);
    }
    if runs.is_empty() {
        crate::warn(&format!("there is no run in {}\n", results.display()));
        return Ok(Exit::Clear);
    }
    let mut rows = vec![
        [
            "run",
            "suite",
            "trials",
            "success/scored",
            "void",
            "unscored",
            "state",
        ]
        .map(str::to_owned),
    ];
    for run in &runs {
        let counts = run.view.counts(run.plan.trials.iter().map(|trial| &trial.id));
        rows.push([
            run.name().to_string(),
            run.plan.suite.to_string(),
            counts.trials.to_string(),
            format!("{}/{}", counts.success, counts.scored()),
            counts.void.to_string(),
            counts.unscored.to_string(),
            state(run, worker(run)),
        ]);
    }
    crate::print(&aligned(&rows))?;
    Ok(Exit::Clear)
}
