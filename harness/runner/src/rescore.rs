//! Scores an attempt again from what is stored, without a new attempt.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use harness_core::event::{AttemptEvent, CallThen, RunEvent};
use harness_core::ids::{AttemptId, Digest};
use harness_core::model::Transience;
use harness_core::outcome::Stage;
use harness_core::ports::{AttemptLog, EventStore, Later, LogSeal, PutFile, SandboxError, StoreError};
use harness_core::schedule::TrialIndex;
use harness_core::score::{ScoreResult, Unscored};
use harness_core::scoring::{Part, parts, unscored};
use harness_core::task::{FileData, ScorePlace};
use harness_core::units::Moment;
use tokio::sync::mpsc;

use crate::attempt::{Attempt, Break, end_stopped, remove};
use crate::context::{KeepSandboxes, RunContext, RunInput};
use crate::journal::Journal;
use crate::link::{Cancel, Link, Told};

/// How often a judge is called.
const TRIES: u32 = 5;

/// What an attempt left behind.
#[derive(Clone, Debug, Default)]
pub struct RescoreInput {
    /// What was submitted.
    pub submission: Option<String>,
    /// The kept artifacts, by container path.
    pub artifacts: BTreeMap<String, Vec<u8>>,
    /// The kept working folder: its path and a tar archive of it.
    pub state: Option<(String, Vec<u8>)>,
}

impl RescoreInput {
    /// Collects what a transcript says was left behind. `blob` reads a stored blob.
    ///
    /// # Errors
    /// Whatever `blob` says when a blob that the transcript names can't be read.
    pub fn from_events<E>(
        events: impl IntoIterator<Item = AttemptEvent>,
        mut blob: impl FnMut(Digest) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut found = Self::default();
        for event in events {
            match event {
                AttemptEvent::Submitted { submission } => {
                    found.submission = Some(match submission.blob {
                        Some(digest) => String::from_utf8_lossy(&blob(digest)?).into_owned(),
                        None => submission.text,
                    });
                }
                AttemptEvent::ArtifactKept {
                    path, blob: digest, ..
                } => {
                    found.artifacts.insert(path, blob(digest)?);
                }
                AttemptEvent::StateKept {
                    path, blob: digest, ..
                } => found.state = Some((path, blob(digest)?)),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Scores one trial of a plan again. The plan's task may be a repaired version of the one that was tried.
/// A part that needs the agent's container is scored in a new one with the kept working folder.
///
/// # Errors
/// A sandbox that cannot be had, in words; the old score then stays.
pub async fn rescore_attempt(
    input: &RunInput,
    trial: usize,
    attempt: AttemptId,
    left: RescoreInput,
) -> Result<ScoreResult, String> {
    let planned = input.plan.trials.get(trial).ok_or("the plan has no such trial")?;
    let task = Arc::clone(&input.plan.tasks[planned.task]);
    let found = parts(&task.score);
    let place = |wanted| {
        found
            .iter()
            .any(|(_, part)| matches!(part, Part::Command(spec) if spec.place == wanted))
    };
    if place(ScorePlace::Same) && left.state.is_none() && !covers(&task.artifacts.paths, &left) {
        let detail = "the agent's container is gone and its working folder was not kept";
        return Ok(unscored(Unscored::NothingStored, detail));
    }
    let mut images = BTreeMap::new();
    if let (Some(provider), Some(spec)) = (&input.sandboxes, &task.sandbox) {
        let image = provider
            .prepare(spec, &task.files)
            .await
            .map_err(|error| error.to_string())?;
        images.insert(planned.task, image);
    }
    let mut context = RunContext::new(input, images);
    // There is no agent's sandbox to keep.
    context.keep = KeepSandboxes::Never;
    let context = Arc::new(context);
    let index = TrialIndex(u32::try_from(trial).unwrap_or(u32::MAX));
    let (to_dispatcher, asked) = mpsc::unbounded_channel();
    let link = Link {
        trial: index,
        to_dispatcher,
        cancel: Cancel::default(),
    };
    let journal = Journal::new(Box::new(Nowhere), Arc::new(Nowhere), Arc::clone(&input.clock));
    let mut attempt = Attempt::new(context, attempt, link, journal);
    let scored = tokio::select! {
        scored = score_again(&mut attempt, left, place(ScorePlace::Same)) => scored,
        never = answer_calls(asked) => match never {},
    };
    match scored {
        Ok(scored) => {
            remove(&attempt.held).await;
            Ok(scored)
        }
        Err(stopped) => Err(end_stopped(&attempt.held, stopped).await),
    }
}

/// Answers failed calls of judges, since no scheduler runs here: a few tries with growing waits.
async fn answer_calls(mut asked: mpsc::UnboundedReceiver<Told>) -> Infallible {
    let mut tries = 0;
    while let Some(told) = asked.recv().await {
        if let Told::CallFailed { error, then, .. } = told {
            tries += 1;
            let after = error.retry_after().unwrap_or(Duration::from_secs(1 << tries));
            let again = error.transience() == Transience::Transient && tries < TRIES;
            let answer = if again {
                CallThen::Retry { after }
            } else {
                CallThen::GiveUp
            };
            let _ = then.send(answer);
        }
    }
    std::future::pending().await
}

fn covers(artifacts: &[String], left: &RescoreInput) -> bool {
    !artifacts.is_empty() && !left.artifacts.is_empty()
}

async fn score_again(attempt: &mut Attempt, left: RescoreInput, same: bool) -> Result<ScoreResult, Break> {
    let artifacts: Vec<PutFile> = left
        .artifacts
        .into_iter()
        .map(|(path, bytes)| PutFile {
            path,
            data: Arc::new(FileData {
                bytes,
                executable: false,
            }),
        })
        .collect();
    if same {
        attempt.set_up().await?;
        let held = Arc::clone(&attempt.held);
        let guard = held.lock().await;
        if let Some(sandbox) = guard.as_deref() {
            let failed = |error: SandboxError| Break::sandbox(Stage::Score, &error);
            match left.state {
                Some((path, archive)) => sandbox.import(&path, archive).await.map_err(failed)?,
                None => sandbox.write(&artifacts).await.map_err(failed)?,
            }
        }
    }
    attempt.artifacts = artifacts;
    attempt.score_kept(left.submission.as_deref()).await
}

/// A store that keeps nothing: the result of scoring again is one event of the run, not a transcript.
pub(crate) struct Nowhere;

impl EventStore for Nowhere {
    fn append(&self, _: Moment, _: &RunEvent) -> Result<(), StoreError> {
        Ok(())
    }

    fn attempt(&self, _: &AttemptId, _: u32) -> Result<Box<dyn AttemptLog>, StoreError> {
        Ok(Box::new(Self))
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        Ok(Digest::of(bytes))
    }

    fn commit(&self, _: Moment, _: RunEvent) -> Later<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl AttemptLog for Nowhere {
    fn append(&mut self, _: Moment, _: Duration, _: &AttemptEvent) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<LogSeal, StoreError> {
        Ok(LogSeal {
            file: String::new(),
            lines: 0,
            bytes: 0,
            digest: Digest::of(b""),
        })
    }
}
