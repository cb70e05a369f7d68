//! The client that answers from a script.
//!
//! Owns: waiting as long as the script says. Must not: change anything from call to call.

use std::time::Duration;

use harness_core::model::{CallOrigin, ModelError, ModelRequest, ModelResponse, Reply, ToolCall};
use harness_core::ports::{Later, ModelClient};
use regex::Captures;

use super::script::{Action, Alternative, Fit, ReplyTemplate, Script, Turn};
use super::{ScriptProblem, read};

/// A model whose replies are written in YAML.
#[derive(Debug)]
pub struct ScriptedModel {
    file: String,
    scripts: Vec<Script>,
}

impl ScriptedModel {
    /// Reads a script. `file_name` is only used in messages.
    ///
    /// # Errors
    /// Everything that is wrong with the text, each with its place.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, Vec<ScriptProblem>> {
        let scripts = read::scripts(text, file_name)?;
        Ok(Self {
            file: file_name.to_owned(),
            scripts,
        })
    }

    async fn answer(&self, request: &ModelRequest) -> Result<ModelResponse, ModelError> {
        let turn = self.find_turn(&request.origin)?;
        if let Some(error) = turn.fault.as_ref().and_then(|fault| fault.error(request)) {
            wait(turn.delay, request.timeout).await?;
            return Err(error);
        }
        let (alternative, fit) = self.find_alternative(turn, request)?;
        match &alternative.action {
            Action::Hang => std::future::pending().await,
            Action::Reply(template) => {
                let response = fill(template, fit.captures(), request.origin.turn);
                wait(alternative.delay.unwrap_or(turn.delay), request.timeout).await?;
                Ok(response)
            }
        }
    }

    fn find_turn(&self, origin: &CallOrigin) -> Result<&Turn, ModelError> {
        let CallOrigin {
            task,
            sample,
            scaffold,
            epoch,
            turn,
            ..
        } = origin;
        let script = self.scripts.iter().find(|script| script.when.fits(origin));
        let Some(script) = script else {
            return Err(self.no_reply(&format!(
                "no script fits task `{task}`, sample `{sample}`, scaffold `{scaffold}`, epoch {epoch}, attempt {}",
                origin.attempt.number
            )));
        };
        script.turn(*turn).ok_or_else(|| {
            let last = script.ends.last().unwrap_or(&0).saturating_sub(1);
            self.no_reply(&format!(
                "the script at line {} answers turns 0 to {last} and has no `then`, asked for turn {turn}",
                script.line
            ))
        })
    }

    fn find_alternative<'a>(
        &'a self,
        turn: &'a Turn,
        request: &'a ModelRequest,
    ) -> Result<(&'a Alternative, Fit<'a>), ModelError> {
        let fitting = turn
            .alternatives
            .iter()
            .find_map(|alternative| Some((alternative, alternative.fit(&request.messages)?)));
        fitting.ok_or_else(|| {
            self.no_reply(&format!(
                "no alternative at line {} fits what was seen in turn {}",
                turn.line, request.origin.turn
            ))
        })
    }

    fn no_reply(&self, what: &str) -> ModelError {
        ModelError::NoReply {
            detail: format!("{}: {what}", self.file),
        }
    }
}

impl ModelClient for ScriptedModel {
    fn complete<'a>(&'a self, request: &'a ModelRequest) -> Later<'a, Result<ModelResponse, ModelError>> {
        Box::pin(self.answer(request))
    }
}

async fn wait(delay: Duration, timeout: Duration) -> Result<(), ModelError> {
    if delay.is_zero() {
        return Ok(());
    }
    tokio::time::sleep(delay.min(timeout)).await;
    if delay > timeout {
        return Err(ModelError::Stalled { waited: timeout });
    }
    Ok(())
}

fn fill(template: &ReplyTemplate, captures: Option<&Captures<'_>>, turn: u32) -> ModelResponse {
    let ReplyTemplate {
        text,
        reasoning,
        tools,
        stop,
        usage,
    } = template;
    let tool_calls = tools.iter().enumerate().map(|(n, tool)| ToolCall {
        id: format!("call_{turn}_{n}"),
        name: tool.name.fill(captures),
        arguments: tool.arguments.fill(captures),
    });
    ModelResponse {
        reply: Reply {
            text: text.fill(captures),
            reasoning: reasoning.as_ref().map(|reasoning| reasoning.fill(captures)),
            tool_calls: tool_calls.collect(),
        },
        stop: *stop,
        usage: *usage,
        served_by: Some("scripted".to_owned()),
    }
}
