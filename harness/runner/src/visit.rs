//! A sandbox as an attempt of a trial begins with, for a person to look into.

use std::collections::BTreeMap;
use std::sync::Arc;

use harness_core::ids::AttemptId;
use harness_core::ports::Sandbox;
use harness_core::schedule::TrialIndex;
use tokio::sync::mpsc;

use crate::attempt::{Attempt, end_stopped};
use crate::context::{KeepSandboxes, RunContext, RunInput};
use crate::journal::Journal;
use crate::link::{Cancel, Link};
use crate::rescore::Nowhere;

/// Starts the sandbox of a trial with its files and its setup commands, as an attempt does. Nothing is logged, and no
/// agent works in it; the caller stops it.
///
/// # Errors
/// In words; nothing is left then but the sandbox of a containment event, which is kept.
pub async fn open_fresh(
    input: &RunInput,
    trial: usize,
    attempt: AttemptId,
) -> Result<Box<dyn Sandbox>, String> {
    let planned = input.plan.trials.get(trial).ok_or("the plan has no such trial")?;
    let task = &input.plan.tasks[planned.task];
    let (Some(provider), Some(spec)) = (&input.sandboxes, &task.sandbox) else {
        return Err("the task has no sandbox".to_owned());
    };
    let image = provider
        .prepare(spec, &task.files)
        .await
        .map_err(|error| error.to_string())?;
    let mut context = RunContext::new(input, BTreeMap::from([(planned.task, image)]));
    context.keep = KeepSandboxes::Never;
    // Nobody answers: setting up asks nothing of the scheduler.
    let (to_dispatcher, _) = mpsc::unbounded_channel();
    let link = Link {
        trial: TrialIndex(u32::try_from(trial).unwrap_or(u32::MAX)),
        to_dispatcher,
        cancel: Cancel::default(),
    };
    let journal = Journal::new(Box::new(Nowhere), Arc::new(Nowhere), Arc::clone(&input.clock));
    let mut attempt = Attempt::new(Arc::new(context), attempt, link, journal);
    if let Err(stopped) = attempt.set_up().await {
        return Err(end_stopped(&attempt.held, stopped).await);
    }
    let opened = attempt.held.lock().await.take();
    opened.ok_or_else(|| "the task has no sandbox".to_owned())
}
