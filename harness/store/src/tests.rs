//! The store against real files, in folders of its own.

mod crash;
mod failures;
mod logs;
mod results_lock;

use std::time::Duration;

use harness_core::event::{AttemptEnded, AttemptEvent, LOG_FORMAT, RunEvent, Then};
use harness_core::ids::{AttemptId, Digest};
use harness_core::model::Usage;
use harness_core::outcome::{CancelledBy, Outcome};
use harness_core::ports::{EventStore, LogSeal, StoreError};
use harness_core::units::Moment;
use tempfile::TempDir;

use crate::{DiskStore, RunDir, Scrubber};

fn folder() -> (TempDir, RunDir) {
    let results = tempfile::tempdir().unwrap();
    let dir = RunDir::create(results.path(), &"run-1".into()).unwrap();
    dir.write_plan(b"{}").unwrap();
    (results, dir)
}

fn begin(dir: &RunDir) -> DiskStore {
    DiskStore::begin(dir, Scrubber::none()).unwrap()
}

fn now() -> Moment {
    Moment::at(Duration::from_millis(1500))
}

fn attempt(trial: &str, number: u32) -> AttemptId {
    AttemptId {
        trial: trial.into(),
        number,
    }
}

fn run_started() -> RunEvent {
    RunEvent::RunStarted {
        format: LOG_FORMAT,
        run: "run-1".into(),
        plan: Digest::of(b"{}"),
        version: "0.1.0".into(),
        pid: 1,
    }
}

fn started(trial: &str) -> RunEvent {
    RunEvent::AttemptStarted {
        attempt: attempt(trial, 1),
    }
}

fn ended(attempt: AttemptId, log: Option<LogSeal>) -> RunEvent {
    RunEvent::AttemptEnded(Box::new(AttemptEnded {
        judge_usage: Usage::default(),
        attempt,
        outcome: Outcome::Cancelled {
            by: CancelledBy::Operator,
        },
        turns: 0,
        usage: Usage::default(),
        cost: None,
        working: Duration::from_millis(250),
        wall: Duration::from_millis(500),
        malformed_calls: 0,
        egress: harness_core::egress::EgressCounts::default(),
        log,
        then: Then::Open,
    }))
}

fn note(text: &str) -> AttemptEvent {
    AttemptEvent::Noted { text: text.into() }
}

/// Writes an attempt of `notes` events and returns its seal.
fn write_attempt(store: &dyn EventStore, index: u32, notes: usize) -> (AttemptId, LogSeal) {
    let attempt = attempt(&format!("task/sample-{index}"), 1);
    let mut log = store.attempt(&attempt, index).unwrap();
    for n in 0..notes {
        log.append(
            now(),
            Duration::from_millis(7),
            &note(&format!("note {n} of {index}")),
        )
        .unwrap();
    }
    let seal = log.finish().unwrap();
    (attempt, seal)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}

fn text<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    result.unwrap_err().to_string()
}
