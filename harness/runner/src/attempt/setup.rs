//! The setup stage: the sandbox, its files, its setup commands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness_core::event::{AttemptEvent, WaitReason};
use harness_core::files::resolve;
use harness_core::outcome::{Fault, Stage};
use harness_core::ports::{
    ExecEnding, ExecRequest, ExecUser, PutFile, SandboxError, SandboxLabels, SandboxRequest,
};
use harness_core::sandbox::SandboxSpec;
use harness_core::schedule::Scope;
use harness_core::text::Capped;
use harness_core::units::format_duration;

use tokio_util::task::AbortOnDropHandle;

use super::{Attempt, Break};

/// The longest time of one setup command.
const SETUP_TIME: Duration = Duration::from_mins(10);
/// The longest wait for an answer of the sandbox to anything but a command.
pub(crate) const SANDBOX_TIME: Duration = Duration::from_mins(10);
/// How much of a setup command's output is kept.
const SETUP_OUTPUT: usize = 16 << 10;

impl Attempt {
    /// Starts the sandbox and prepares it.
    pub(crate) async fn set_up(&mut self) -> Result<(), Break> {
        let task = Arc::clone(self.task());
        let Some(spec) = &task.sandbox else { return Ok(()) };
        let mut map = spec.files.clone();
        map.extend(self.trial().sample.files.clone());
        let files = resolve(&map, &task.files);
        self.start_sandbox(spec, files, Stage::Setup).await?;
        for command in &spec.setup {
            self.run_setup(command).await?;
        }
        Ok(())
    }

    /// Starts a sandbox and puts it where teardown finds it.
    pub(super) async fn start_sandbox(
        &mut self,
        spec: &SandboxSpec,
        files: Vec<PutFile>,
        stage: Stage,
    ) -> Result<(), Break> {
        let Some(provider) = self.context.sandboxes.clone() else {
            let evidence = "the task needs a sandbox, and there is no provider of sandboxes".to_owned();
            return Err(Break::harness(stage, "no_provider", evidence));
        };
        let Some(image) = self.context.images.get(&self.trial().task).cloned() else {
            let evidence = "the image of the task was not prepared".to_owned();
            return Err(Break::harness(stage, "image_not_prepared", evidence));
        };
        let now = self.context.clock.now();
        let request = SandboxRequest {
            spec: Arc::new(spec.clone()),
            image,
            files,
            service_files: BTreeMap::new(),
            labels: SandboxLabels {
                run: self.context.run.clone(),
                attempt: self.id.clone(),
                expires: now.wall.plus(self.limits().wall * 2 + Duration::from_hours(1)),
            },
        };
        let before = self.journal.now();
        let starting =
            tokio::spawn(
                async move { within(SANDBOX_TIME, "start a sandbox", provider.start(&request)).await },
            );
        let starting = self.starting.insert(AbortOnDropHandle::new(starting));
        let started = starting.await.unwrap_or_else(|panicked| {
            Err(SandboxError::Protocol {
                detail: format!("our program panicked while a sandbox was started: {panicked}"),
            })
        });
        self.starting = None;
        let took = self.journal.now().saturating_sub(before);
        let info = started.as_ref().ok().map(|sandbox| sandbox.info());
        let failed = match started {
            Ok(sandbox) => {
                // Held before anything can fail, so that it is removed whatever comes.
                *self.held.lock().await = Some(sandbox);
                None
            }
            Err(error) => Some(error),
        };
        self.journal.waited(WaitReason::SandboxStart, took)?;
        if let Some(info) = info {
            self.journal.append(&AttemptEvent::SandboxStarted(info))?;
        }
        failed.map_or(Ok(()), |error| Err(Break::sandbox(stage, &error)))
    }

    async fn run_setup(&mut self, command: &str) -> Result<(), Break> {
        let mut request = ExecRequest::shell(command, SETUP_TIME);
        request.user = ExecUser::Root;
        request.cwd = Some("/".to_owned());
        let result = self.exec(Stage::Setup, &request).await?;
        let output = self
            .journal
            .cap_output(&[&result.stdout, &result.stderr], SETUP_OUTPUT)?;
        let text = output.text.clone();
        self.journal.append(&AttemptEvent::SetupRan {
            command: Capped::new(command, SETUP_OUTPUT),
            ending: result.ending,
            output,
        })?;
        if result.ending == (ExecEnding::Exited { code: 0 }) {
            return Ok(());
        }
        let words = harness_core::scoring::describe_ending(result.ending);
        Err(Break::Void {
            stage: Stage::Setup,
            fault: Fault::Task,
            scope: Scope::Attempt,
            error: "setup_failed".to_owned(),
            evidence: format!(
                "the setup command `{}` ended with {words}: {text}",
                Capped::new(command, 200).text
            ),
        })
    }
}

/// Waits for the sandbox's daemon, but not for ever: adapters have limits of their own, this one is for the day on
/// which they fail.
pub(crate) async fn within<T>(
    limit: Duration,
    operation: &str,
    doing: impl Future<Output = Result<T, SandboxError>>,
) -> Result<T, SandboxError> {
    tokio::time::timeout(limit, doing).await.unwrap_or_else(|_| {
        Err(SandboxError::Daemon {
            operation: operation.to_owned(),
            detail: format!("no answer within {}", format_duration(limit)),
        })
    })
}
