//! The artifacts of an attempt: what is kept of its sandbox when the agent is done.

use std::sync::Arc;

use harness_core::capture::{checked, collide, path_fits};
use harness_core::event::AttemptEvent;
use harness_core::outcome::Stage;
use harness_core::ports::{CollectRequest, Collected, CollectedFile, PutFile, SandboxError};
use harness_core::score::ScoreResult;
use harness_core::scoring::failed_at_limit;
use harness_core::task::{ArtifactSpec, FileData};

use super::setup::{SANDBOX_TIME, within};
use super::{Attempt, Break};

impl Attempt {
    /// Keeps the artifacts as they are when the agent is done; everything that could still change them is killed.
    pub(super) async fn keep_artifacts(&mut self) -> Result<(), Break> {
        let task = Arc::clone(self.task());
        let spec = &task.artifacts;
        if spec.paths.is_empty() {
            return Ok(());
        }
        let Some(collected) = self
            .collect(spec)
            .await
            .map_err(|error| Break::sandbox(Stage::Score, &error))?
        else {
            return Ok(());
        };
        for pattern in &spec.paths {
            let kept = |file: &CollectedFile| path_fits(pattern, &file.path);
            if !collected.files.iter().any(kept) {
                let text = format!("no artifact: nothing was kept for {pattern}");
                self.journal.append(&AttemptEvent::Noted { text })?;
            }
        }
        for left in &collected.left {
            let text = format!("an artifact was left: {left}");
            self.journal.append(&AttemptEvent::Noted { text })?;
        }
        collected
            .files
            .into_iter()
            .try_for_each(|file| self.keep_artifact(file))
    }

    /// Ends an attempt whose task says that a spent limit fails: what can be kept is kept for people to look at.
    pub(super) async fn fail_at_limit(&mut self) -> Result<ScoreResult, Break> {
        let kept = match self.close_shell().await {
            Ok(()) => self.keep_artifacts().await,
            Err(stopped) => Err(stopped),
        };
        match kept {
            // The result is known without the sandbox.
            Err(Break::Void { evidence, .. }) => {
                let text = format!("no artifacts: {evidence}");
                self.journal.append(&AttemptEvent::Noted { text })?;
            }
            kept => kept?,
        }
        Ok(failed_at_limit(self.task().threshold))
    }

    /// Returns the artifacts that a fresh scoring sandbox gets: all but those that would be in the way of its own
    /// files.
    pub(super) fn artifacts_beside(&mut self, own: &[PutFile]) -> Result<Vec<PutFile>, Break> {
        let in_the_way = |file: &PutFile| own.iter().any(|own| collide(&own.path, &file.path));
        let (left, kept): (Vec<PutFile>, Vec<PutFile>) = self.artifacts.iter().cloned().partition(in_the_way);
        for file in left {
            let text = format!("the artifact {} is in the way of the scorer's files", file.path);
            self.journal.append(&AttemptEvent::Noted { text })?;
        }
        Ok(kept)
    }

    async fn collect(&self, spec: &ArtifactSpec) -> Result<Option<Collected>, SandboxError> {
        let guard = self.held.lock().await;
        let Some(sandbox) = guard.as_deref() else {
            return Ok(None);
        };
        within(SANDBOX_TIME, "stop processes", sandbox.kill_all()).await?;
        let request = CollectRequest {
            patterns: spec.paths.clone(),
            per_file: spec.max_file,
            total: spec.max_total,
            files: spec.max_files,
        };
        let collected = within(SANDBOX_TIME, "collect files", sandbox.collect(&request)).await?;
        Ok(Some(checked(&request, collected)))
    }

    fn keep_artifact(&mut self, file: CollectedFile) -> Result<(), Break> {
        let CollectedFile { path, bytes, size } = file;
        if size > bytes.len() as u64 {
            let text = format!(
                "the artifact {path} has {size} bytes and was cut to {}",
                bytes.len()
            );
            self.journal.append(&AttemptEvent::Noted { text })?;
        }
        let blob = self.journal.put_blob(&bytes)?;
        self.journal.append(&AttemptEvent::ArtifactKept {
            path: path.clone(),
            blob,
            bytes: size,
        })?;
        let data = Arc::new(FileData {
            bytes,
            executable: false,
        });
        self.artifacts.push(PutFile { path, data });
        Ok(())
    }
}
