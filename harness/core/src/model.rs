//! Models and what is said to them: messages, requests, responses, usage, errors, prices.
//!
//! Owns: the words between agents and models, free of any provider's wire format. Must not: know HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AttemptId, ModelId, SampleId, ScaffoldId, TaskId};
use crate::units::{Tokens, Usd, seconds_opt};

/// A model of a suite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Its name within the suite.
    pub id: ModelId,
    /// What it is, such as `compat/qwen3` or `scripted/demo-model.yaml`.
    pub reference: ModelRef,
    /// `None` for a subject; `judge` and the like for helpers that are not evaluated.
    pub role: Option<String>,
    /// Where an OpenAI-compatible server listens.
    pub base_url: Option<String>,
    /// The environment variable or file that holds the key; never the key itself.
    pub key: Option<KeySource>,
    /// The name that the server knows, if other than the reference's.
    pub remote_name: Option<String>,
    /// Whether replies are streamed.
    pub stream: bool,
    /// The longest wait for one whole answer; ten minutes if `None`.
    #[serde(with = "seconds_opt", default, skip_serializing_if = "Option::is_none")]
    pub call_timeout: Option<Duration>,
    /// Price of a million tokens; `None` is unknown, which is never zero.
    pub price: Option<Price>,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// An environment variable.
    Env(String),
    /// A file.
    File(String),
}

/// What a model is: a provider and a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelRef {
    /// Who serves it.
    pub provider: ProviderKind,
    /// A name, path or file after the slash.
    pub name: String,
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider.name(), self.name)
    }
}

/// Who serves a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// api.openai.com.
    Openai,
    /// Anthropic's API.
    Anthropic,
    /// Google's API.
    Google,
    /// Any OpenAI-compatible server.
    Compat,
    /// Weights of ours.
    Torch,
    /// A YAML file of replies.
    Scripted,
    /// Replies of a recorded run.
    Replay,
}

impl ProviderKind {
    /// Every provider, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Openai,
        Self::Anthropic,
        Self::Google,
        Self::Compat,
        Self::Torch,
        Self::Scripted,
        Self::Replay,
    ];

    /// Returns the word before the slash.
    pub fn name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
            Self::Google => "google",
            Self::Compat => "compat",
            Self::Torch => "torch",
            Self::Scripted => "scripted",
            Self::Replay => "replay",
        }
    }
}

/// Prices of a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Input tokens.
    pub input: Usd,
    /// Input tokens read from a prompt cache.
    pub cached_input: Usd,
    /// Output tokens, reasoning included.
    pub output: Usd,
}

impl Price {
    /// Returns the cost of some usage, rounded up to a billionth of a dollar.
    pub fn cost(&self, usage: &Usage) -> Usd {
        let fresh = u128::from(usage.input.0.saturating_sub(usage.cached_input.0));
        let total = fresh * u128::from(self.input.0)
            + u128::from(usage.cached_input.0) * u128::from(self.cached_input.0)
            + u128::from(usage.output.0) * u128::from(self.output.0);
        Usd(u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

/// Tokens of one call or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens, cached ones included.
    pub input: Tokens,
    /// Of these, read from a prompt cache.
    #[serde(default)]
    pub cached_input: Tokens,
    /// Output tokens, reasoning included.
    pub output: Tokens,
    /// Of these, reasoning.
    #[serde(default)]
    pub reasoning: Tokens,
}

impl Usage {
    /// Returns input plus output.
    pub fn total(&self) -> Tokens {
        self.input + self.output
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.cached_input += other.cached_input;
        self.output += other.output;
        self.reasoning += other.reasoning;
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// Standing instructions.
    System {
        /// The text.
        text: String,
    },
    /// What the model is asked.
    User {
        /// The text.
        text: String,
    },
    /// What the model answered.
    Assistant(Reply),
    /// What a tool answered.
    Tool {
        /// The call that it answers.
        call_id: String,
        /// The tool's name.
        name: String,
        /// The text.
        text: String,
    },
}

impl Message {
    /// Returns a rough size in tokens: a quarter of the bytes and a few for the frame. Used to keep within a
    /// window before a call; what was really used is what the provider reports.
    pub fn rough_tokens(&self) -> Tokens {
        let bytes = match self {
            Self::System { text } | Self::User { text } | Self::Tool { text, .. } => text.len(),
            Self::Assistant(reply) => {
                reply.text.len()
                    + reply
                        .tool_calls
                        .iter()
                        .map(|call| call.name.len() + call.arguments.len())
                        .sum::<usize>()
            }
        };
        Tokens(bytes as u64 / 4 + 8)
    }
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The visible text.
    pub text: String,
    /// Reasoning that the provider showed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// Calls of tools, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// A call of a tool as the model wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id, or one of ours.
    pub id: String,
    /// The tool's name as written, known or not.
    pub name: String,
    /// The arguments as written: JSON if the model did well.
    pub arguments: String,
}

/// A tool as a model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// A JSON Schema of the arguments (an object).
    pub parameters: Value,
}

/// How the next tokens are chosen. `None` leaves it to the provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Nucleus mass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// The seed of this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts that end an answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

/// Who calls: for scripted models, logs and prompt caches; never sent to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallOrigin {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// Its sample.
    pub sample: SampleId,
    /// Its scaffold.
    pub scaffold: ScaffoldId,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The turn within the attempt, from 0. Calls that are tried again keep it.
    pub turn: u32,
    /// How often this very call was tried before.
    pub tries: u32,
}

/// One call of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelRequest {
    /// The whole conversation; shared, never copied per call.
    pub messages: Arc<Vec<Arc<Message>>>,
    /// Tools that the model may call natively.
    pub tools: Arc<Vec<ToolSpec>>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Who calls.
    pub origin: CallOrigin,
    /// The longest wait for the whole answer.
    pub timeout: Duration,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelResponse {
    /// The answer.
    pub reply: Reply,
    /// Why it ended.
    pub stop: StopReason,
    /// What was used. `None` if the server did not say; then it is estimated and marked.
    pub usage: Option<Usage>,
    /// The model's name as the server reports it.
    pub served_by: Option<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model was done.
    EndTurn,
    /// It calls tools.
    ToolCalls,
    /// The answer was as long as it may be.
    MaxTokens,
    /// A stop text.
    StopText,
    /// The model or provider refused.
    Refusal,
    /// A filter of the provider cut the answer.
    ContentFilter,
}

/// Why a call failed. Each variant has one meaning; see [`ModelError::transience`] and
/// [`model_fault`](crate::outcome::model_fault).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ModelError {
    /// Too many requests for the moment.
    #[error("rate limited by the provider{}", after(*retry_after))]
    RateLimited {
        /// When the provider wants to be asked again.
        #[serde(with = "seconds_opt", default)]
        retry_after: Option<Duration>,
    },
    /// The provider has too much to do, or failed on its side (5xx).
    #[error("provider overloaded or failing (status {status})")]
    Overloaded {
        /// The HTTP status.
        status: u16,
        /// When the provider wants to be asked again.
        #[serde(with = "seconds_opt", default)]
        retry_after: Option<Duration>,
    },
    /// The account has no money or quota left.
    #[error("quota spent: {detail}")]
    QuotaSpent {
        /// What the provider said.
        detail: String,
    },
    /// The key is missing or wrong.
    #[error("authentication failed: {detail}")]
    Authentication {
        /// What the provider said.
        detail: String,
    },
    /// No such model.
    #[error("unknown model: {detail}")]
    UnknownModel {
        /// What the provider said.
        detail: String,
    },
    /// The request is wrong.
    #[error("bad request: {detail}")]
    BadRequest {
        /// What the provider said.
        detail: String,
    },
    /// The conversation does not fit the window.
    #[error("context too long: {detail}")]
    ContextTooLong {
        /// What the provider said.
        detail: String,
    },
    /// The provider's policy blocked the request before any token.
    #[error("blocked by the provider's policy: {detail}")]
    ContentPolicy {
        /// What the provider said.
        detail: String,
    },
    /// No answer, or no next piece of it, in time.
    #[error("no answer within {}", crate::units::format_duration(*.waited))]
    Stalled {
        /// How long was waited.
        #[serde(with = "crate::units::seconds")]
        waited: Duration,
    },
    /// Bytes came, but not an answer (truncated JSON, HTML, too much of it).
    #[error("malformed answer: {detail}")]
    Malformed {
        /// What is wrong with it.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("connection failed: {detail}")]
    Connection {
        /// What the network said.
        detail: String,
    },
    /// A scripted or replayed model has no reply for this; a mistake of the script.
    #[error("no scripted reply: {detail}")]
    NoReply {
        /// What was looked for.
        detail: String,
    },
}

fn after(retry_after: Option<Duration>) -> String {
    retry_after
        .map(|d| format!(", again in {}", crate::units::format_duration(d)))
        .unwrap_or_default()
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transience {
    /// The next try may work.
    Transient,
    /// The next try fails in the same way.
    Permanent,
}

impl ModelError {
    /// Decides whether trying again can help.
    pub fn transience(&self) -> Transience {
        match self {
            Self::RateLimited { .. }
            | Self::Overloaded { .. }
            | Self::Stalled { .. }
            | Self::Malformed { .. }
            | Self::Connection { .. } => Transience::Transient,
            Self::QuotaSpent { .. }
            | Self::Authentication { .. }
            | Self::UnknownModel { .. }
            | Self::BadRequest { .. }
            | Self::ContextTooLong { .. }
            | Self::ContentPolicy { .. }
            | Self::NoReply { .. } => Transience::Permanent,
        }
    }

    /// Returns when the provider wants to be asked again, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Overloaded { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns the snake_case name of the variant; two errors are "identical" if their names are.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded { .. } => "overloaded",
            Self::QuotaSpent { .. } => "quota_spent",
            Self::Authentication { .. } => "authentication",
            Self::UnknownModel { .. } => "unknown_model",
            Self::BadRequest { .. } => "bad_request",
            Self::ContextTooLong { .. } => "context_too_long",
            Self::ContentPolicy { .. } => "content_policy",
            Self::Stalled { .. } => "stalled",
            Self::Malformed { .. } => "malformed",
            Self::Connection { .. } => "connection",
            Self::NoReply { .. } => "no_reply",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_counts_cached_input_once() {
        let dollars = |d| Usd::from_dollars(d).unwrap();
        let price = Price {
            input: dollars(3.0),
            cached_input: dollars(0.3),
            output: dollars(15.0),
        };
        let usage = Usage {
            input: Tokens(1_000_000),
            cached_input: Tokens(500_000),
            output: Tokens(100_000),
            reasoning: Tokens(50_000),
        };
        assert_eq!(price.cost(&usage), dollars(1.5 + 0.15 + 1.5));
    }
}
