//! Models whose answers tests write down.

use std::sync::Arc;
use std::time::Duration;

use harness_core::model::{
    Message, ModelError, ModelRequest, ModelResponse, Reply, StopReason, ToolCall, Usage,
};
use harness_core::ports::{Later, ModelClient};
use harness_core::units::Tokens;
use serde_json::Value;

/// What a model answers, and after how long. `None` is never.
pub(crate) type Answer = (Option<Duration>, Result<ModelResponse, ModelError>);

struct Written<F>(F);

impl<F: Fn(&ModelRequest) -> Answer + Send + Sync> ModelClient for Written<F> {
    fn complete<'a>(&'a self, request: &'a ModelRequest) -> Later<'a, Result<ModelResponse, ModelError>> {
        Box::pin(async move {
            let (after, answer) = (self.0)(request);
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            answer
        })
    }
}

/// A model that answers as the function says.
pub(crate) fn model(
    answer: impl Fn(&ModelRequest) -> Answer + Send + Sync + 'static,
) -> Arc<dyn ModelClient> {
    Arc::new(Written(answer))
}

/// A model that gives these answers, one for each turn; each takes a second.
pub(crate) fn turns(answers: Vec<Result<ModelResponse, ModelError>>) -> Arc<dyn ModelClient> {
    model(move |request| {
        let answer = answers.get(request.origin.turn as usize);
        let missing = || panic!("no answer for turn {}", request.origin.turn);
        (
            Some(Duration::from_secs(1)),
            answer.cloned().unwrap_or_else(missing),
        )
    })
}

/// An answer at once.
pub(crate) fn now(answer: Result<ModelResponse, ModelError>) -> Answer {
    (Some(Duration::ZERO), answer)
}

fn response(reply: Reply, stop: StopReason) -> ModelResponse {
    ModelResponse {
        reply,
        stop,
        usage: Some(Usage {
            input: Tokens(100),
            output: Tokens(10),
            ..Usage::default()
        }),
        served_by: None,
    }
}

/// An answer in words.
pub(crate) fn says(text: &str) -> Result<ModelResponse, ModelError> {
    let reply = Reply {
        text: text.to_owned(),
        ..Reply::default()
    };
    Ok(response(reply, StopReason::EndTurn))
}

/// An answer that stops for a reason.
pub(crate) fn stops(text: &str, stop: StopReason) -> Result<ModelResponse, ModelError> {
    says(text).map(|answer| ModelResponse { stop, ..answer })
}

/// An answer that calls tools.
#[expect(clippy::needless_pass_by_value, reason = "`json!` at every call")]
pub(crate) fn calls<const N: usize>(calls: [(&str, Value); N]) -> Result<ModelResponse, ModelError> {
    let calls = calls.iter().enumerate();
    let tool_calls = calls
        .map(|(at, (name, arguments))| ToolCall {
            id: format!("c{at}"),
            name: (*name).to_owned(),
            arguments: arguments.to_string(),
        })
        .collect();
    let reply = Reply {
        tool_calls,
        ..Reply::default()
    };
    Ok(response(reply, StopReason::ToolCalls))
}

/// Calls bash.
pub(crate) fn bash(command: &str) -> Result<ModelResponse, ModelError> {
    calls([("bash", serde_json::json!({"command": command}))])
}

/// Submits.
pub(crate) fn submits(answer: &str) -> Result<ModelResponse, ModelError> {
    calls([("submit", serde_json::json!({"answer": answer}))])
}

/// The texts of a conversation, for asserting what a model was shown.
pub(crate) fn shown(request: &ModelRequest) -> Vec<String> {
    let text = |message: &Arc<Message>| match message.as_ref() {
        Message::System { text } | Message::User { text } | Message::Tool { text, .. } => text.clone(),
        Message::Assistant(reply) => reply.text.clone(),
    };
    request.messages.iter().map(text).collect()
}
