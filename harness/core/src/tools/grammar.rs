//! Tool calls as text, for models without native calls.
//!
//! A call is `<tool:NAME>` on a line, one element for each argument with its value verbatim, and `</tool:NAME>`:
//! nothing needs to be escaped, so that weak models get it right.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::model::{ToolCall, ToolSpec};

/// The most calls that are read from one text.
const MAX_CALLS: usize = 16;

/// Returns the description of the grammar and of the tools, for a system prompt.
pub fn grammar_text(specs: &[ToolSpec]) -> String {
    let mut text = String::from(
        "To call a tool, write a block of this form, with each argument's value between its marks exactly as it is \
         (no quotes, no escapes):\n\n<tool:NAME>\n<ARGUMENT>\nvalue\n</ARGUMENT>\n</tool:NAME>\n\nThe result is shown \
         to you in the next message. The tools:\n",
    );
    for spec in specs {
        let _ = writeln!(text, "\n<tool:{}>  {}", spec.name, spec.description);
        for (name, about) in properties(spec) {
            let kind = about.get("type").and_then(Value::as_str).unwrap_or("string");
            let words = about.get("description").and_then(Value::as_str).unwrap_or("");
            let optional = if is_required(spec, name) { "" } else { ", optional" };
            let _ = writeln!(text, "  <{name}> ({kind}{optional}) {words}");
        }
    }
    text
}

fn properties(spec: &ToolSpec) -> impl Iterator<Item = (&String, &Value)> {
    spec.parameters
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn is_required(spec: &ToolSpec, name: &str) -> bool {
    let required = spec.parameters.get("required").and_then(Value::as_array);
    required.is_some_and(|list| list.iter().any(|item| item == name))
}

/// Returns the message that shows a tool's result in the text format.
pub fn result_text(tool: &str, output: &str) -> String {
    format!("<result:{tool}>\n{output}\n</result:{tool}>")
}

/// Finds the calls in a text. An unknown tool or a block without an end becomes a call too, so that the model is
/// told what is wrong with it; text without `<tool:` has no calls.
pub fn calls_in_text(text: &str, specs: &[ToolSpec]) -> Vec<ToolCall> {
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<tool:") {
        let after = &rest[at + "<tool:".len()..];
        let Some(end) = after.find('>').filter(|end| *end <= 64) else {
            rest = after;
            continue;
        };
        let name = after[..end].trim().trim_end_matches('/');
        let body = &after[end + 1..];
        let close = format!("</tool:{name}>");
        let (inside, next) = match body.find(&close) {
            Some(close_at) => (&body[..close_at], &body[close_at + close.len()..]),
            None => (body, ""),
        };
        let spec = specs.iter().find(|spec| spec.name == name);
        let arguments = spec.map_or_else(Map::new, |spec| arguments_in(inside, spec));
        calls.push(ToolCall {
            id: format!("text_{}", calls.len()),
            name: name.to_owned(),
            arguments: Value::Object(arguments).to_string(),
        });
        rest = next;
        if calls.len() == MAX_CALLS {
            break;
        }
    }
    calls
}

fn arguments_in(inside: &str, spec: &ToolSpec) -> Map<String, Value> {
    let mut arguments = Map::new();
    let mut rest = inside;
    // In the order of the text, so that a value which mentions another argument's mark is kept whole.
    while let Some((name, about, value, after)) = next_argument(rest, spec) {
        let kind = about.get("type").and_then(Value::as_str).unwrap_or("string");
        let value = match kind {
            "string" => Value::String(value.to_owned()),
            _ => {
                serde_json::from_str(value.trim()).unwrap_or_else(|_| Value::String(value.trim().to_owned()))
            }
        };
        arguments.entry(name.to_owned()).or_insert(value);
        rest = after;
    }
    arguments
}

fn next_argument<'t, 's>(
    text: &'t str,
    spec: &'s ToolSpec,
) -> Option<(&'s str, &'s Value, &'t str, &'t str)> {
    let (at, name, about) = properties(spec)
        .filter_map(|(name, about)| text.find(&format!("<{name}>")).map(|at| (at, name, about)))
        .min_by_key(|(at, ..)| *at)?;
    let value = &text[at + name.len() + 2..];
    let close = format!("</{name}>");
    let (value, after) = match value.find(&close) {
        Some(end) => (&value[..end], &value[end + close.len()..]),
        None => (value, ""),
    };
    let value = value.strip_prefix('\n').unwrap_or(value);
    Some((name, about, value.strip_suffix('\n').unwrap_or(value), after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{BuiltinTool, Limits, ToolSet};
    use pretty_assertions::assert_eq;

    fn calls(text: &str) -> Vec<(String, String)> {
        let tools = ToolSet::Builtin(vec![BuiltinTool::Bash, BuiltinTool::ReadFile]);
        let specs = crate::tools::specs(&tools, &Limits::default(), false);
        calls_in_text(text, &specs)
            .into_iter()
            .map(|call| (call.name, call.arguments))
            .collect()
    }

    #[test]
    fn values_are_taken_verbatim() {
        let found = calls(
            "I look.\n<tool:bash>\n<command>\necho \"<b>\" \\n | grep '</c>'\n</command>\n</tool:bash>\n\
             <tool:read_file><path>a</path><offset> 3 </offset></tool:read_file> done",
        );
        assert_eq!(
            found,
            [
                (
                    "bash".into(),
                    r#"{"command":"echo \"<b>\" \\n | grep '</c>'"}"#.into()
                ),
                ("read_file".into(), r#"{"path":"a","offset":3}"#.into()),
            ]
        );
    }

    #[test]
    fn broken_blocks_become_calls_that_can_be_explained() {
        assert_eq!(calls("no call, a < b"), []);
        assert_eq!(calls("<tool:fly></tool:fly>"), [("fly".into(), "{}".into())]);
        assert_eq!(
            calls("<tool:bash><command>ls"),
            [("bash".into(), r#"{"command":"ls"}"#.into())]
        );
        assert_eq!(calls(&"<tool:bash></tool:bash>".repeat(40)).len(), MAX_CALLS);
    }
}
