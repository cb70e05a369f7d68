//! Requests as the server reads them.
//!
//! Owns: the shape of a request's JSON; borrows the conversation. Must not: know how answers look.

use std::borrow::Cow;

use harness_core::model::{Message, ModelRequest, Reply, Sampling, ToolCall, ToolSpec};
use serde::Serialize;
use serde_json::Value;

use super::settings::{CompatSettings, Dialect};

/// Writes the body of a request.
pub(super) fn body(settings: &CompatSettings, request: &ModelRequest) -> Result<Vec<u8>, serde_json::Error> {
    let Sampling {
        temperature,
        top_p,
        max_tokens,
        seed,
        stop,
    } = &request.sampling;
    let longest = (*max_tokens > 0).then_some(*max_tokens);
    let (max_tokens, max_completion_tokens) = match settings.dialect {
        Dialect::Openai => (None, longest),
        Dialect::Compat => (longest, None),
    };
    serde_json::to_vec(&WireRequest {
        model: &settings.model,
        messages: request
            .messages
            .iter()
            .map(|message| WireMessage::new(message, settings.dialect))
            .collect(),
        tools: request.tools.iter().map(WireTool::new).collect(),
        temperature: *temperature,
        top_p: *top_p,
        max_tokens,
        max_completion_tokens,
        seed: seed.map(|seed| seed & (u64::MAX >> 1)),
        stop,
        stream: settings.stream,
        stream_options: settings.stream.then_some(StreamOptions { include_usage: true }),
    })
}

#[derive(Serialize)]
struct WireRequest<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<WireTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    /// Servers read a signed number, so the highest bit of ours is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum WireMessage<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<WireCall<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

impl<'a> WireMessage<'a> {
    fn new(message: &'a Message, dialect: Dialect) -> Self {
        match message {
            Message::System { text } => Self::System { content: text },
            Message::User { text } => Self::User { content: text },
            Message::Assistant(Reply { text, tool_calls, .. }) => Self::Assistant {
                content: (!text.is_empty() || tool_calls.is_empty()).then_some(text.as_str()),
                tool_calls: tool_calls
                    .iter()
                    .map(|call| WireCall::new(call, dialect))
                    .collect(),
            },
            Message::Tool { call_id, text, .. } => Self::Tool {
                tool_call_id: call_id,
                content: text,
            },
        }
    }
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: Cow<'a, str>,
}

impl<'a> WireCall<'a> {
    fn new(call: &'a ToolCall, dialect: Dialect) -> Self {
        Self {
            id: &call.id,
            r#type: "function",
            function: WireFunction {
                name: &call.name,
                arguments: match dialect {
                    Dialect::Openai => Cow::Borrowed(&call.arguments),
                    Dialect::Compat => as_object(&call.arguments),
                },
            },
        }
    }
}

fn as_object(arguments: &str) -> Cow<'_, str> {
    if arguments.trim().is_empty() {
        return Cow::Borrowed("{}");
    }
    match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(_)) => Cow::Borrowed(arguments),
        Ok(_) | Err(_) => Cow::Owned(serde_json::json!({ "malformed_arguments": arguments }).to_string()),
    }
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: WireToolFunction<'a>,
}

#[derive(Serialize)]
struct WireToolFunction<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

impl<'a> WireTool<'a> {
    fn new(tool: &'a ToolSpec) -> Self {
        Self {
            r#type: "function",
            function: WireToolFunction {
                name: &tool.name,
                description: &tool.description,
                parameters: &tool.parameters,
            },
        }
    }
}
