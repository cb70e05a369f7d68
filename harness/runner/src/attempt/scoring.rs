//! The score stage: comparisons, programs in the same or a fresh container, judges; and scores in between.

use std::sync::Arc;

use harness_core::event::AttemptEvent;
use harness_core::files::{Readers, in_script, resolve, script_size};
use harness_core::outcome::Stage;
use harness_core::ports::{BeforeExec, ExecRequest, ExecResult, ExecUser, PutFile, SandboxError};
use harness_core::score::ScoreResult;
use harness_core::scoring::{Part, combine, compare, parts, read_result};
use harness_core::task::{CommandSpec, FileData, FileMap, IntermediateSpec, ScorePlace};
use harness_core::units::Bytes;

use super::facts::breach_in;
use super::setup::{SANDBOX_TIME, within};
use super::{Attempt, Break};

/// Where the submission lies for scoring programs.
const SUBMISSION: &str = "/score/submission.txt";
/// Files up to this size travel inside the scoring command itself, which saves a round trip to the daemon.
const IN_SCRIPT: usize = 256 << 10;
/// The largest working folder that is kept when a scorer broke.
const KEPT_STATE: Bytes = Bytes(64 << 20);
const OUTPUT: usize = 16 << 10;

impl Attempt {
    /// Scores what was reached.
    pub(crate) async fn score(&mut self, submission: Option<&str>) -> Result<ScoreResult, Break> {
        self.close_shell().await?;
        self.keep_artifacts().await?;
        self.score_kept(submission).await
    }

    /// Scores with the artifacts that were kept before.
    pub(crate) async fn score_kept(&mut self, submission: Option<&str>) -> Result<ScoreResult, Break> {
        let task = Arc::clone(self.task());
        let found = parts(&task.score);
        let mut results: Vec<Option<ScoreResult>> = vec![None; found.len()];
        // Programs in the agent's container come first: a fresh one takes its place.
        for place in [Some(ScorePlace::Same), None, Some(ScorePlace::Fresh)] {
            for (at, (name, part)) in found.iter().enumerate() {
                if place_of(part) == place {
                    results[at] = Some(self.score_part(name, part, submission).await?);
                }
            }
        }
        let results: Vec<ScoreResult> = results.into_iter().flatten().collect();
        Ok(combine(&task.score, &results, task.threshold))
    }

    async fn score_part(
        &mut self,
        name: &str,
        part: &Part<'_>,
        submission: Option<&str>,
    ) -> Result<ScoreResult, Break> {
        let (score, ending, output) = match part {
            Part::Answer(spec) => (compare(spec, submission, &self.trial().sample.target), None, None),
            Part::Judge(spec) => (self.ask_judge(spec, submission).await?, None, None),
            Part::Command(spec) => {
                let result = match spec.place {
                    ScorePlace::Same => self.score_same(spec, submission).await?,
                    ScorePlace::Fresh => self.score_fresh(spec, submission).await?,
                };
                let output = self
                    .journal
                    .cap_output(&[&result.stdout, &result.stderr], OUTPUT)?;
                (read_result(spec.read, &result), Some(result.ending), Some(output))
            }
        };
        self.journal.append(&AttemptEvent::ScorerRan {
            part: name.to_owned(),
            score: score.clone(),
            ending,
            output,
        })?;
        if score.score().is_none() && place_of(part) == Some(ScorePlace::Same) {
            self.keep_state().await?;
        }
        Ok(score)
    }

    /// Runs a scoring program in the agent's container, after everything that the agent started is dead.
    async fn score_same(
        &mut self,
        spec: &CommandSpec,
        submission: Option<&str>,
    ) -> Result<ExecResult, Break> {
        let files = self.score_files(&spec.files, submission);
        if spec.as_root && script_size(&files) <= IN_SCRIPT {
            let script = in_script(&files, &spec.run, Readers::Everybody);
            let mut request = self.scoring_request(spec);
            request.argv = vec!["/bin/sh".to_owned(), "-s".to_owned()];
            request.stdin = Some(Arc::from(script.into_bytes()));
            request.before = BeforeExec::KillAll;
            return self.exec(Stage::Score, &request).await;
        }
        self.replace_all(&files).await?;
        self.exec(Stage::Score, &self.scoring_request(spec)).await
    }

    /// Kills everything that the agent started and puts files in.
    async fn replace_all(&mut self, files: &[PutFile]) -> Result<(), Break> {
        let held = Arc::clone(&self.held);
        let guard = held.lock().await;
        let Some(sandbox) = guard.as_deref() else {
            return Ok(());
        };
        let failed = |error: SandboxError| Break::sandbox(Stage::Score, &error);
        within(SANDBOX_TIME, "stop processes", sandbox.kill_all())
            .await
            .map_err(failed)?;
        within(SANDBOX_TIME, "write files", sandbox.write(files))
            .await
            .map_err(failed)
    }

    /// Runs a scoring program in a new container that gets the artifacts.
    async fn score_fresh(
        &mut self,
        spec: &CommandSpec,
        submission: Option<&str>,
    ) -> Result<ExecResult, Break> {
        let task = Arc::clone(self.task());
        if task.sandbox.is_none() {
            return Err(Break::harness(
                Stage::Score,
                "no_sandbox",
                "the task has no sandbox".to_owned(),
            ));
        }
        let own = self.score_files(&spec.files, submission);
        let mut files = self.artifacts_beside(&own)?;
        files.extend(own);
        // The agent's sandbox may be removed now, and nobody asks it anything after that.
        if let Some(breach) = breach_in(&self.held).await {
            return Err(breach);
        }
        self.make_room().await?;
        self.start_sandbox(files, Stage::Score).await?;
        self.exec(Stage::Score, &self.scoring_request(spec)).await
    }

    fn scoring_request(&self, spec: &CommandSpec) -> ExecRequest {
        ExecRequest {
            user: if spec.as_root {
                ExecUser::Root
            } else {
                ExecUser::Task
            },
            env: self.sample_env(),
            ..ExecRequest::shell(&spec.run, spec.timeout)
        }
    }

    fn score_files(&self, map: &FileMap, submission: Option<&str>) -> Vec<PutFile> {
        let mut files = resolve(map, &self.task().files);
        let bytes = submission.unwrap_or_default().as_bytes().to_vec();
        files.push(PutFile {
            path: SUBMISSION.to_owned(),
            data: Arc::new(FileData {
                bytes,
                executable: false,
            }),
        });
        files
    }

    /// Keeps the working folder when a scorer broke, so that it can be scored again.
    async fn keep_state(&mut self) -> Result<(), Break> {
        let task = Arc::clone(self.task());
        let Some(spec) = &task.sandbox else { return Ok(()) };
        let held = Arc::clone(&self.held);
        let guard = held.lock().await;
        let Some(sandbox) = guard.as_deref() else {
            return Ok(());
        };
        match within(
            SANDBOX_TIME,
            "pack a folder",
            sandbox.export(&spec.workdir, KEPT_STATE),
        )
        .await
        {
            Ok(archive) => {
                let blob = self.journal.put_blob(&archive)?;
                let bytes = archive.len() as u64;
                self.journal.append(&AttemptEvent::StateKept {
                    path: spec.workdir.clone(),
                    blob,
                    bytes,
                })?;
            }
            Err(error) => {
                let text = format!("the working folder was not kept, so this can't be scored again: {error}");
                self.journal.append(&AttemptEvent::Noted { text })?;
            }
        }
        Ok(())
    }

    /// Takes an intermediate score and returns it in words for the model.
    pub(crate) async fn take_intermediate(&mut self, visible: bool) -> Result<String, Break> {
        let task = Arc::clone(self.task());
        let Some(spec) = &task.intermediate else {
            return Ok("there is no intermediate score in this task".to_owned());
        };
        let result = self.run_intermediate(spec).await?;
        let score = read_result(spec.read, &result);
        self.journal.append(&AttemptEvent::IntermediateScored {
            score: score.clone(),
            visible,
        })?;
        Ok(match score {
            ScoreResult::Scored(score) => {
                format!("score {:.4} (success from {})", score.value, task.threshold)
            }
            ScoreResult::Unscored { detail, .. } => format!("no score: {}", detail.text),
        })
    }

    async fn run_intermediate(&mut self, spec: &IntermediateSpec) -> Result<ExecResult, Break> {
        let files = resolve(&spec.files, &self.task().files);
        let quoted: Vec<String> = files
            .iter()
            .map(|file| format!("'{}'", file.path.replace('\'', "'\\''")))
            .collect();
        let cleanup = if quoted.is_empty() {
            ":".to_owned()
        } else {
            format!("rm -f {}", quoted.join(" "))
        };
        let run = format!("trap \"{}\" EXIT\n{}", cleanup.replace('"', "\\\""), spec.run);
        let mut request = ExecRequest::shell("", spec.timeout);
        request.user = ExecUser::Root;
        request.env = self.sample_env();
        request.argv = vec!["/bin/sh".to_owned(), "-s".to_owned()];
        request.stdin = Some(Arc::from(in_script(&files, &run, Readers::Root).into_bytes()));
        self.exec(Stage::Solve, &request).await
    }
}

fn place_of(part: &Part<'_>) -> Option<ScorePlace> {
    match part {
        Part::Command(spec) => Some(spec.place),
        Part::Answer(_) | Part::Judge(_) => None,
    }
}
