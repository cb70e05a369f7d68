//! One call of a model: waiting for a slot, calling, failing, trying again as the scheduler says.

use std::time::Duration;

use harness_core::event::{AttemptEvent, CallThen, WaitReason};
use harness_core::model::{ModelError, ModelRequest, ModelResponse};
use harness_core::outcome::Stage;
use harness_core::ports::StoreError;
use harness_core::task::LimitKind;
use harness_core::units::Tokens;

use super::{Attempt, Break};

/// How a call of the subject came out.
pub(super) enum Called {
    /// It answered.
    Answered(Box<ModelResponse>, Duration),
    /// A limit of the attempt came first.
    Stopped(LimitKind),
}

impl Attempt {
    /// Calls the subject until it answers, a limit comes, or the scheduler gives the call up.
    pub(super) async fn call_subject(&mut self, mut request: Box<ModelRequest>) -> Result<Called, Break> {
        let Some(model) = self.trial().model else {
            return Err(Break::harness(
                Stage::Solve,
                "no_model",
                "the scaffold calls a model, and there is none".into(),
            ));
        };
        let client = std::sync::Arc::clone(&self.context.models[model]);
        loop {
            if let Some(limit) = self.wait_for_slot(&request).await? {
                return Ok(Called::Stopped(limit));
            }
            self.journal.append(&AttemptEvent::ModelCalled {
                turn: request.origin.turn,
                messages: u32::try_from(request.messages.len()).unwrap_or(u32::MAX),
                sampling: request.sampling.clone(),
            })?;
            let (left, limit) = self.time_left();
            let before = self.journal.now();
            let Ok(answer) = tokio::time::timeout(left, client.complete(&request)).await else {
                self.link.call_done(Tokens::ZERO);
                return Ok(Called::Stopped(limit));
            };
            let took = self.journal.now().saturating_sub(before);
            match answer {
                Ok(response) => {
                    let estimate = || Tokens(rough_tokens(&request));
                    let used = response.usage.map_or_else(estimate, |usage| usage.total());
                    self.link.call_done(used);
                    return Ok(Called::Answered(Box::new(response), took));
                }
                Err(error) => {
                    if let Some(limit) = self.after_failure(&request, error, took).await? {
                        return Ok(Called::Stopped(limit));
                    }
                    request.origin.tries += 1;
                }
            }
        }
    }

    async fn wait_for_slot(&mut self, request: &ModelRequest) -> Result<Option<LimitKind>, Break> {
        let rough: u64 = if self.context.gated {
            rough_tokens(request)
        } else {
            0
        };
        let before = self.journal.now();
        let wall_left = self.limits().wall.saturating_sub(self.journal.wall());
        let granted = tokio::time::timeout(wall_left, self.link.want_call(Tokens(rough))).await;
        let took = self.journal.now().saturating_sub(before);
        self.journal.waited(WaitReason::ModelSlot, took)?;
        match granted {
            Ok(Ok(())) => Ok(None),
            Ok(Err(by)) => Err(Break::Cancelled(by)),
            Err(_) => {
                self.link.call_done(Tokens::ZERO);
                Ok(Some(LimitKind::Wall))
            }
        }
    }

    /// Logs a failed call and waits as the scheduler says. The time of a failed call is not the agent's.
    async fn after_failure(
        &mut self,
        request: &ModelRequest,
        error: ModelError,
        took: Duration,
    ) -> Result<Option<LimitKind>, Break> {
        self.journal.waited(WaitReason::Backoff, took)?;
        let then = self.link.call_failed(error.clone()).await;
        self.log_failure(request.origin.turn, &error, then)?;
        if let ModelError::ContextTooLong { .. } = error {
            return Ok(Some(LimitKind::Context));
        }
        match then {
            CallThen::GiveUp => Err(Break::model(Stage::Solve, &error)),
            CallThen::Retry { after } => {
                let wall_left = self.limits().wall.saturating_sub(self.journal.wall());
                let before = self.journal.now();
                tokio::time::sleep(after.min(wall_left)).await;
                let waited = self.journal.now().saturating_sub(before);
                self.journal.waited(WaitReason::Backoff, waited)?;
                Ok((after >= wall_left).then_some(LimitKind::Wall))
            }
        }
    }

    pub(super) fn log_failure(
        &mut self,
        turn: u32,
        error: &ModelError,
        then: CallThen,
    ) -> Result<(), StoreError> {
        self.journal.append(&AttemptEvent::ModelFailed {
            turn,
            error: error.clone(),
            then,
        })
    }
}

/// Returns the most tokens that a call takes, roughly.
fn rough_tokens(request: &ModelRequest) -> u64 {
    let input: u64 = request
        .messages
        .iter()
        .map(|message| message.rough_tokens().0)
        .sum();
    input + u64::from(request.sampling.max_tokens)
}
