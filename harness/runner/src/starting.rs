//! Sandboxes between being asked for and being held by an attempt.
//!
//! Owns: what a sandbox is asked for with, the task that starts one, and the end of one that nobody takes. Must not:
//! decide when one is started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness_core::files::resolve;
use harness_core::ids::AttemptId;
use harness_core::ports::{PutFile, Sandbox, SandboxError, SandboxLabels, SandboxProvider, SandboxRequest};
use harness_core::schedule::TrialIndex;
use harness_core::task::TaskSpec;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::setup::{START_TIME, within};
use crate::attempt::{Held, TEARDOWN, remove};
use crate::context::{KeepSandboxes, RunContext};

/// A sandbox that is being started, or was. Dropping the daemon's half-done work would leave a container behind, so
/// whoever does not want it any more gives it to [`discard`].
pub(crate) type Starting = AbortOnDropHandle<Result<Box<dyn Sandbox>, SandboxError>>;

/// How long a sandbox that a person asked for stays after its attempt at least. The daemon takes no other expiry later.
const KEPT: Duration = Duration::from_hours(24);

/// Why no sandbox can even be asked for: a short name, and how it is known.
pub(crate) type CannotAsk = (&'static str, &'static str);

/// Returns the files that the agent's sandbox begins with.
pub(crate) fn first_files(context: &RunContext, index: TrialIndex) -> Vec<PutFile> {
    let trial = &context.plan.trials[index.at()];
    let task = &context.plan.tasks[trial.task];
    let Some(spec) = &task.sandbox else {
        return Vec::new();
    };
    let mut map = spec.files.clone();
    map.extend(trial.sample.files.clone());
    resolve(&map, &task.files)
}

/// Returns what the sandbox of an attempt is asked for with. `slack` is how long it may wait for its attempt.
pub(crate) fn request(
    context: &RunContext,
    (index, attempt): (TrialIndex, &AttemptId),
    files: Vec<PutFile>,
    slack: Duration,
) -> Result<SandboxRequest, CannotAsk> {
    let trial = &context.plan.trials[index.at()];
    let task = &context.plan.tasks[trial.task];
    let Some(spec) = &task.sandbox else {
        return Err(("no_sandbox", "the task has no sandbox"));
    };
    let Some(image) = context.images.get(&trial.task).cloned() else {
        return Err(("image_not_prepared", "the image of the task was not prepared"));
    };
    let limits = &context.plan.limits[trial.task][trial.scaffold];
    let kept = match context.keep {
        KeepSandboxes::Never => Duration::ZERO,
        KeepSandboxes::Failed | KeepSandboxes::All => KEPT,
    };
    let lifetime = slack + limits.wall * 2 + Duration::from_hours(1) + kept;
    Ok(SandboxRequest {
        spec: Arc::new(spec.clone()),
        image,
        files,
        service_files: service_files(task),
        labels: SandboxLabels {
            run: context.run.clone(),
            attempt: attempt.clone(),
            expires: context.clock.now().wall.plus(lifetime),
        },
    })
}

/// Returns the files of the services that have any.
fn service_files(task: &TaskSpec) -> BTreeMap<String, Vec<PutFile>> {
    let services = task.sandbox.iter().flat_map(|spec| &spec.services);
    services
        .map(|(name, service)| (name.clone(), resolve(&service.files, &task.files)))
        .filter(|(_, files)| !files.is_empty())
        .collect()
}

/// Returns where sandboxes come from.
pub(crate) fn provider(context: &RunContext) -> Result<Arc<dyn SandboxProvider>, CannotAsk> {
    context.sandboxes.clone().ok_or((
        "no_provider",
        "the task needs a sandbox, and there is no provider of sandboxes",
    ))
}

/// Starts a sandbox, but does not wait for ever.
pub(crate) async fn start(
    provider: Arc<dyn SandboxProvider>,
    request: SandboxRequest,
) -> Result<Box<dyn Sandbox>, SandboxError> {
    within(START_TIME, "start a sandbox", provider.start(&request)).await
}

/// Waits until a sandbox is there and removes it. Returns what is worth a note.
pub(crate) async fn discard(starting: Starting) -> Option<String> {
    match came_up(starting).await {
        Ok(None) => None,
        Ok(Some(sandbox)) => {
            let held: Held = Arc::new(Mutex::new(Some(sandbox)));
            remove(&held).await
        }
        Err(note) => Some(note),
    }
}

/// Waits for a sandbox that is only wanted so that it can be removed or kept. `Err` is what is worth a note.
pub(crate) async fn came_up(starting: Starting) -> Result<Option<Box<dyn Sandbox>>, String> {
    let why = match tokio::time::timeout(TEARDOWN, starting).await {
        Ok(Ok(Ok(sandbox))) => return Ok(Some(sandbox)),
        Ok(Ok(Err(error))) if error.is_breach() => {
            let note = format!("a sandbox that was being started for nobody did what none may: {error}");
            tracing::warn!("{note}");
            return Err(note);
        }
        // Nothing was started, so nothing stays behind.
        Ok(Ok(Err(_))) => return Ok(None),
        Ok(Err(_)) => "our program panicked".to_owned(),
        Err(_) => "it was not there within a minute".to_owned(),
    };
    let note = format!("a sandbox that was being started for nobody is left to the next sweep: {why}");
    tracing::warn!("{note}");
    Err(note)
}
