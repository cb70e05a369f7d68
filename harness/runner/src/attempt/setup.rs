//! The setup stage: the sandbox, its files, its setup commands.

use std::sync::Arc;
use std::time::Duration;

use harness_core::event::{AttemptEvent, WaitReason};
use harness_core::outcome::{Fault, Stage};
use harness_core::ports::{ExecEnding, ExecRequest, ExecUser, PutFile, Sandbox, SandboxError, StoreError};
use harness_core::schedule::Scope;
use harness_core::text::Capped;
use harness_core::units::format_duration;
use tokio_util::task::AbortOnDropHandle;

use super::{Attempt, Break, remove};
use crate::starting::{first_files, provider, request, start};

/// The longest time of one setup command.
const SETUP_TIME: Duration = Duration::from_mins(10);
/// The longest wait for an answer of the sandbox to anything but a command.
pub(crate) const SANDBOX_TIME: Duration = Duration::from_mins(10);
/// The longest time until a sandbox is there: services alone may take ten minutes to get healthy, and a daemon that
/// struggles gets pauses of five.
pub(crate) const START_TIME: Duration = Duration::from_mins(20);
/// How much of a setup command's output is kept.
const SETUP_OUTPUT: usize = 16 << 10;

impl Attempt {
    /// Starts the sandbox, or takes the one that was started ahead, and prepares it.
    pub(crate) async fn set_up(&mut self) -> Result<(), Break> {
        let task = Arc::clone(self.task());
        let Some(spec) = &task.sandbox else { return Ok(()) };
        if !self.take_prepared().await? {
            let files = first_files(&self.context, self.index);
            self.start_sandbox(files, Stage::Setup).await?;
        }
        for command in &spec.setup {
            self.run_setup(command).await?;
        }
        self.drain_facts().await?;
        Ok(())
    }

    /// Waits for the sandbox that was started ahead. One that failed is as good as none: the attempt starts one itself
    /// and meets the error. Only a containment event is not tried again.
    async fn take_prepared(&mut self) -> Result<bool, Break> {
        if self.starting.is_none() {
            return Ok(false);
        }
        let before = self.journal.now();
        let intact = match self.starting_ended().await {
            Ok(()) => self.check_prepared().await?,
            Err(error) => Err(error),
        };
        match intact {
            Ok(()) => {
                self.sandbox_is_there(before).await?;
                Ok(true)
            }
            Err(error) if error.is_breach() => Err(Break::sandbox(Stage::Setup, &error)),
            Err(error) => {
                let took = self.journal.now().saturating_sub(before);
                self.journal.waited(WaitReason::SandboxStart, took)?;
                let text = format!("the sandbox could not be started ahead or did not last: {error}");
                self.journal.append(&AttemptEvent::Noted { text })?;
                Ok(false)
            }
        }
    }

    /// Checks that the sandbox that was started ahead is intact, and removes one that is not. After a containment event
    /// it stays, to be kept.
    async fn check_prepared(&mut self) -> Result<Result<(), SandboxError>, StoreError> {
        let checked = match self.held.lock().await.as_deref() {
            Some(sandbox) => within(SANDBOX_TIME, "look at a sandbox", sandbox.check()).await,
            None => Ok(()),
        };
        if let Err(error) = &checked
            && !error.is_breach()
            && let Some(text) = remove(&self.held).await
        {
            self.journal.append(&AttemptEvent::Noted { text })?;
        }
        Ok(checked)
    }

    /// Starts a sandbox and puts it where teardown finds it.
    pub(super) async fn start_sandbox(&mut self, files: Vec<PutFile>, stage: Stage) -> Result<(), Break> {
        let cannot = |(error, why): (&str, &str)| Break::harness(stage, error, why.to_owned());
        let provider = provider(&self.context).map_err(cannot)?;
        let whose = (self.index, &self.id);
        let request = request(&self.context, whose, files, Duration::ZERO).map_err(cannot)?;
        let before = self.journal.now();
        let starting = AbortOnDropHandle::new(tokio::spawn(start(provider, request)));
        self.starting = Some(starting);
        match self.starting_ended().await {
            Ok(()) => self.sandbox_is_there(before).await,
            Err(error) => {
                let took = self.journal.now().saturating_sub(before);
                self.journal.waited(WaitReason::SandboxStart, took)?;
                Err(Break::sandbox(stage, &error))
            }
        }
    }

    /// Waits for the sandbox that is being started and holds it, before anything can fail, so that it is removed
    /// whatever comes.
    async fn starting_ended(&mut self) -> Result<(), SandboxError> {
        let Some(starting) = self.starting.as_mut() else {
            return Ok(());
        };
        let started = starting.await.unwrap_or_else(|panicked| {
            Err(SandboxError::Protocol {
                detail: format!("our program panicked while a sandbox was started: {panicked}"),
            })
        });
        self.starting = None;
        *self.held.lock().await = Some(started?);
        Ok(())
    }

    async fn sandbox_is_there(&mut self, before: Duration) -> Result<(), Break> {
        let took = self.journal.now().saturating_sub(before);
        let info = self.held.lock().await.as_deref().map(Sandbox::info);
        self.journal.waited(WaitReason::SandboxStart, took)?;
        if let Some(info) = info {
            // They are in the log with it.
            self.facts.new_notes(&info);
            self.journal.append(&AttemptEvent::SandboxStarted(info))?;
        }
        Ok(())
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
