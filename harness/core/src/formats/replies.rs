//! `replies.yaml`: tools whose replies are fixed.
//!
//! Owns: their shape. Must not: answer calls.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::file::{check_version, conclude, utf8};
use super::problem::Parsed;
use super::reader::Reader;
use super::suggest;
use super::tree::{parse, quoted};
use super::wire::{At, Keyed, Text, Wire, record, words};
use crate::task::CannedTool;

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentType {
    String,
    Integer,
    Number,
    Boolean,
}

words!(ArgumentType {
    "string" => ArgumentType::String,
    "integer" => ArgumentType::Integer,
    "number" => ArgumentType::Number,
    "boolean" => ArgumentType::Boolean,
});

impl ArgumentType {
    fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn takes(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

record! {
    /// An argument of a tool.
    Parameter {
        /// Its type.
        kind = "type": required ArgumentType,
        /// What the model is told.
        description: optional String,
        /// Whether it must be given.
        required: optional bool,
    }
}

record! {
    /// One fixed reply.
    Reply {
        /// Arguments that must be there with these values.
        when: optional Keyed<Value>,
        /// What the tool answers.
        reply: required String,
    }
}

record! {
    /// A tool with fixed replies.
    Tool {
        /// What the model calls it.
        name: required String,
        /// What the model is told.
        description: required Text,
        /// Its arguments.
        parameters: optional Keyed<Parameter>,
        /// The first whose `when` is a part of the arguments answers.
        replies: optional Vec<Reply>,
        /// The answer if none fits.
        otherwise: required String,
    }
}

record! {
    /// Tools with fixed replies.
    Replies {
        /// The version of the format.
        harness: required u32,
        /// The tools.
        tools: required Vec<At<Tool>>,
    }
}

/// Reads and checks `replies.yaml` by itself.
pub fn parse_replies(path: &str, bytes: &[u8]) -> Parsed<Vec<CannedTool>> {
    let text = utf8(path, bytes)?;
    let mut reader = Reader::new(path, text);
    let tools = replies(&mut reader);
    conclude(Some(tools), reader.finish())
}

/// Reads the tools of a file.
pub(super) fn replies(reader: &mut Reader<'_>) -> Vec<CannedTool> {
    let Some(wire) = parse(reader).and_then(|node| Replies::read(&node, reader)) else {
        return Vec::new();
    };
    check_version(wire.harness.as_ref(), reader);
    let Some(tools) = &wire.tools else {
        return Vec::new();
    };
    if tools.is_empty() {
        reader.error(
            tools.span,
            "there is no tool",
            Some("leave `tools` out of the task if it needs none"),
        );
    }
    let mut seen = BTreeMap::new();
    for name in tools.iter().filter_map(|tool| tool.name.as_ref()) {
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= 64;
        if !plain {
            let hint = "lower-case letters, digits and `_`, beginning with a letter";
            reader.error(
                name.span,
                format!("{} cannot name a tool", quoted(name)),
                Some(hint),
            );
        } else if name.value == "submit" {
            reader.error(
                name.span,
                "`submit` is always there",
                Some("remove it or choose another name"),
            );
        } else if seen.insert(name.value.clone(), name.span).is_some() {
            reader.error(name.span, format!("a second tool named {}", quoted(name)), None);
        }
    }
    tools.iter().filter_map(|tool| canned(tool, reader)).collect()
}

fn canned(tool: &Tool, reader: &mut Reader<'_>) -> Option<CannedTool> {
    let parameters: Vec<_> = tool.parameters.iter().flat_map(|at| &at.value.0).collect();
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (key, parameter) in &parameters {
        let kind = parameter.kind.as_ref().map_or("string", |at| at.value.name());
        let mut schema = json!({"type": kind});
        if let Some(description) = &parameter.description {
            schema["description"] = Value::String(description.value.clone());
        }
        properties.insert(key.text.clone(), schema);
        if parameter.required.as_ref().is_some_and(|at| at.value) {
            required.push(key.text.clone());
        }
    }
    let mut replies = Vec::new();
    for reply in tool.replies.iter().flat_map(|at| &at.value) {
        let mut when = Map::new();
        for (key, value) in reply.when.iter().flat_map(|at| &at.value.0) {
            let parameter = parameters.iter().find(|(known, _)| known.text == key.text);
            match parameter.and_then(|(_, parameter)| parameter.kind.as_ref()) {
                None if parameter.is_some() => {}
                None => {
                    let hint =
                        suggest::hint(&key.text, parameters.iter().map(|(known, _)| known.text.as_str()));
                    reader.error(
                        key.span,
                        format!("the tool has no argument {}", quoted(&key.text)),
                        Some(&hint),
                    );
                }
                Some(kind) if !kind.takes(&value.value) => {
                    let message = format!(
                        "this reply never comes: argument {} is a {}",
                        quoted(&key.text),
                        kind.name()
                    );
                    let hint = if kind.value == ArgumentType::String {
                        Some("put the value in quotes")
                    } else {
                        None
                    };
                    reader.error(value.span, message, hint);
                }
                Some(_) => {}
            }
            when.insert(key.text.clone(), value.value.clone());
        }
        let reply = reply
            .reply
            .as_ref()
            .map(|at| at.value.clone())
            .unwrap_or_default();
        replies.push(crate::task::CannedReply { when, reply });
    }
    Some(CannedTool {
        name: tool.name.as_ref()?.value.clone(),
        description: tool.description.as_ref()?.value.0.clone(),
        parameters: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
        replies,
        otherwise: tool.otherwise.as_ref()?.value.clone(),
    })
}
