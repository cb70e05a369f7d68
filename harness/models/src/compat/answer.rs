//! Answers as the server writes them: one JSON object, or the pieces of a stream put together.
//!
//! Owns: what an answer means. Must not: know how its bytes arrived.
//!
//! Reading is lenient: unknown fields are ignored, and a field of an unexpected type counts as absent, unless the
//! answer would then say something else than the model did.

use std::collections::BTreeSet;

use harness_core::model::{ModelResponse, Reply, StopReason, ToolCall, Usage};
use harness_core::text::{floor_border, printable};
use harness_core::units::Tokens;
use serde::Deserialize;
use serde_json::Value;

use super::MAX_REPLY;

/// The most tool calls of one answer.
const MAX_CALLS: usize = 256;
/// The longest name of a model that is kept.
const MAX_NAME: usize = 200;

/// A whole answer, or one piece of a stream.
#[derive(Deserialize)]
pub(super) struct WireAnswer {
    choices: Option<Vec<WireChoice>>,
    usage: Option<Value>,
    model: Option<Value>,
    /// Set where a failure is reported with status 200 or within a stream.
    pub(super) error: Option<Value>,
}

#[derive(Deserialize)]
struct WireChoice {
    index: Option<u64>,
    message: Option<WireMessage>,
    delta: Option<WireMessage>,
    finish_reason: Option<Value>,
    stop_reason: Option<Value>,
}

#[derive(Deserialize)]
struct WireMessage {
    content: Option<Value>,
    refusal: Option<Value>,
    reasoning_content: Option<Value>,
    reasoning: Option<Value>,
    tool_calls: Option<Vec<WireCall>>,
}

#[derive(Deserialize)]
struct WireCall {
    index: Option<u64>,
    id: Option<Value>,
    function: Option<WireFunction>,
}

#[derive(Deserialize)]
struct WireFunction {
    name: Option<Value>,
    arguments: Option<Value>,
}

/// What an answer says so far.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    reply: Reply,
    refusal: String,
    /// The wire's index of each call.
    indices: Vec<Option<u64>>,
    finish: Option<String>,
    /// A stop text that the server says it met.
    stop_text: Option<String>,
    usage: Option<Usage>,
    served_by: Option<String>,
    size: usize,
}

/// Bytes came, but not an answer; says why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAnAnswer(pub(super) String);

impl Assembly {
    /// Takes a whole answer or the next piece of a stream.
    pub(super) fn take(&mut self, answer: WireAnswer) -> Result<(), NotAnAnswer> {
        if let Some(usage) = answer.usage.as_ref().and_then(read_usage) {
            self.usage = Some(usage);
        }
        if let Some(Value::String(name)) = answer.model
            && self.served_by.is_none()
            && !name.is_empty()
        {
            self.served_by = Some(printable(&name[..floor_border(&name, MAX_NAME)]));
        }
        for choice in answer.choices.into_iter().flatten() {
            if choice.index.unwrap_or(0) == 0 {
                self.take_choice(choice)?;
            }
        }
        Ok(())
    }

    /// Returns whether the server said why the answer ended.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Ends the answer. `turn` makes ids of calls that have none unique, `stops` are the stop texts asked for.
    pub(super) fn finish(mut self, turn: u32, stops: &[String]) -> Result<ModelResponse, NotAnAnswer> {
        let Some(finish) = self.finish.take() else {
            return Err(NotAnAnswer(
                "no `finish_reason`, so the answer may be cut".to_owned(),
            ));
        };
        let refused = !self.refusal.is_empty();
        if refused {
            if !self.reply.text.is_empty() {
                self.reply.text.push('\n');
            }
            self.reply.text.push_str(&self.refusal);
        }
        self.name_calls(turn);
        let met_stop_text = self.stop_text.is_some_and(|met| stops.contains(&met));
        let done = if self.reply.tool_calls.is_empty() {
            StopReason::EndTurn
        } else {
            StopReason::ToolCalls
        };
        let stop = match finish.as_str() {
            "refusal" => StopReason::Refusal,
            _ if refused => StopReason::Refusal,
            "stop" | "end_turn" | "eos" | "eos_token" if met_stop_text => StopReason::StopText,
            "stop" | "end_turn" | "eos" | "eos_token" | "tool_calls" | "function_call" => done,
            "stop_sequence" => StopReason::StopText,
            "length" | "max_tokens" => StopReason::MaxTokens,
            "content_filter" => StopReason::ContentFilter,
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(NotAnAnswer(format!("unknown `finish_reason` {other:?}")));
            }
        };
        Ok(ModelResponse {
            reply: self.reply,
            stop,
            usage: self.usage,
            served_by: self.served_by,
        })
    }

    fn take_choice(&mut self, choice: WireChoice) -> Result<(), NotAnAnswer> {
        if let Some(Value::String(finish)) = choice.finish_reason {
            self.finish = Some(finish);
        }
        if let Some(Value::String(met)) = choice.stop_reason {
            self.stop_text = Some(met);
        }
        if let Some(message) = choice.message {
            self.take_message(message, Piece::Whole)?;
        }
        if let Some(message) = choice.delta {
            self.take_message(message, Piece::Delta)?;
        }
        Ok(())
    }

    fn take_message(&mut self, message: WireMessage, piece: Piece) -> Result<(), NotAnAnswer> {
        let text = plain_text(message.content);
        let refusal = plain_text(message.refusal);
        let reasoning = Some(plain_text(message.reasoning_content))
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| plain_text(message.reasoning));
        self.grow(text.len() + refusal.len() + reasoning.len())?;
        self.reply.text.push_str(&text);
        self.refusal.push_str(&refusal);
        if !reasoning.is_empty() {
            self.reply.reasoning.get_or_insert_default().push_str(&reasoning);
        }
        message
            .tool_calls
            .into_iter()
            .flatten()
            .try_for_each(|call| self.take_call(call, piece))
    }

    fn take_call(&mut self, call: WireCall, piece: Piece) -> Result<(), NotAnAnswer> {
        let id = string(call.id);
        let (name, arguments) = match call.function {
            Some(function) => (string(function.name), arguments(function.arguments)),
            None => Default::default(),
        };
        self.grow(id.len() + name.len() + arguments.len())?;
        let at = match piece {
            Piece::Whole => None,
            Piece::Delta => self.open_call(call.index, &id, &name),
        };
        let Some(at) = at else {
            if self.indices.len() == MAX_CALLS {
                return Err(NotAnAnswer(format!("more than {MAX_CALLS} tool calls")));
            }
            self.indices.push(call.index);
            self.reply.tool_calls.push(ToolCall { id, name, arguments });
            return Ok(());
        };
        let open = &mut self.reply.tool_calls[at];
        if open.id.is_empty() {
            open.id = id;
        }
        // Some servers repeat the name with every piece.
        if open.name != name {
            open.name.push_str(&name);
        }
        open.arguments.push_str(&arguments);
        Ok(())
    }

    /// Returns the call that a piece belongs to; `None` if it begins a new one. Some servers count all calls as 0
    /// or leave the index out; then a new id with a name begins a new call.
    fn open_call(&self, index: Option<u64>, id: &str, name: &str) -> Option<usize> {
        let at = match index {
            Some(_) => self.indices.iter().rposition(|seen| *seen == index)?,
            None => self.indices.len().checked_sub(1)?,
        };
        let open = &self.reply.tool_calls[at];
        let begins = !id.is_empty() && !open.id.is_empty() && open.id != id && !name.is_empty();
        (!begins).then_some(at)
    }

    /// Gives an id to calls that have none, or one that another call of this answer has.
    fn name_calls(&mut self, turn: u32) {
        let mut taken = BTreeSet::new();
        for (n, call) in self.reply.tool_calls.iter_mut().enumerate() {
            if call.id.is_empty() || taken.contains(&call.id) {
                call.id = format!("call_{turn}_{n}");
            }
            taken.insert(call.id.clone());
        }
    }

    fn grow(&mut self, by: usize) -> Result<(), NotAnAnswer> {
        self.size += by;
        if self.size > MAX_REPLY {
            return Err(NotAnAnswer(format!("the reply is longer than {MAX_REPLY} bytes")));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Piece {
    Whole,
    Delta,
}

fn string(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Reads text that may also come as a list of parts.
fn plain_text(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| part.get("text")?.as_str())
            .collect(),
        _ => String::new(),
    }
}

/// Reads arguments: a string as the model wrote it; some servers parse it into an object first.
fn arguments(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn read_usage(usage: &Value) -> Option<Usage> {
    let number = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
    let (input, output) = (number("/prompt_tokens")?, number("/completion_tokens")?);
    let cached = number("/prompt_tokens_details/cached_tokens").or(number("/prompt_cache_hit_tokens"));
    let reasoning = number("/completion_tokens_details/reasoning_tokens").unwrap_or(0);
    // A few servers leave reasoning out of the completion's tokens; the total tells.
    let apart = reasoning > 0
        && number("/total_tokens") == Some(input.saturating_add(output).saturating_add(reasoning));
    let output = if apart {
        output.saturating_add(reasoning)
    } else {
        output
    };
    Some(Usage {
        input: Tokens(input),
        cached_input: Tokens(cached.unwrap_or(0).min(input)),
        output: Tokens(output),
        reasoning: Tokens(reasoning.min(output)),
    })
}
