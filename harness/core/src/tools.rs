//! The tools of an agent: how models see them, how calls are read, how file edits are computed.
//!
//! Owns: descriptions, the text grammar for models without native calls, and the checks of a call.
//! Must not: run anything; an [`Invocation`] is data that the driver executes.

use serde_json::{Map, Value, json};

use crate::model::{Reply, ToolCall, ToolSpec};
use crate::task::{BuiltinTool, CannedTool, Limits, ToolSet};
use crate::units::format_duration;

mod call;
mod edit;
mod grammar;
mod shell;

pub use call::{CallProblem, Invocation, read_call};
pub use edit::{EditCommand, EditError, apply, slice_lines};
pub use grammar::{calls_in_text, grammar_text, result_text};
pub use shell::ShellCall;

/// The largest file that `edit` and `read_file` handle, in bytes.
pub const MAX_EDIT_FILE: u64 = 4 << 20;

/// Returns the tools as models see them; `submit` is always the last.
pub fn specs(tools: &ToolSet, limits: &Limits, intermediate_visible: bool) -> Vec<ToolSpec> {
    let mut specs = match tools {
        ToolSet::Builtin(list) => list
            .iter()
            .filter(|tool| **tool != BuiltinTool::Submit)
            .map(|tool| builtin(*tool, limits))
            .collect(),
        ToolSet::Canned(list) => list.iter().map(canned).collect::<Vec<_>>(),
    };
    if intermediate_visible && !specs.iter().any(|spec| spec.name == BuiltinTool::Score.name()) {
        specs.push(builtin(BuiltinTool::Score, limits));
    }
    specs.push(builtin(BuiltinTool::Submit, limits));
    specs
}

fn canned(tool: &CannedTool) -> ToolSpec {
    ToolSpec {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: tool.parameters.clone(),
    }
}

fn builtin(tool: BuiltinTool, limits: &Limits) -> ToolSpec {
    let (time, output) = (format_duration(limits.tool_time), limits.tool_output);
    let (description, parameters) = match tool {
        BuiltinTool::Bash => (
            format!(
                "Run a shell command in the sandbox. Each call is a new shell: files persist, the working folder and \
                 variables do not. A call may take {time} and show {output} of output; longer output is cut in the middle."
            ),
            object(&[("command", "string", "The shell command.", true)]),
        ),
        BuiltinTool::Shell => return shell::spec(limits),
        BuiltinTool::Python => (
            format!(
                "Run a Python 3 program in the sandbox and see what it prints. Each call is a new process: files persist, \
                 variables do not. A call may take {time} and show {output} of output."
            ),
            object(&[("code", "string", "The program.", true)]),
        ),
        BuiltinTool::Edit => (
            "View, create or change a text file in the sandbox.".to_owned(),
            edit_schema(),
        ),
        BuiltinTool::ReadFile => (
            "Read lines of a text file in the sandbox.".to_owned(),
            object(&[
                ("path", "string", "The file.", true),
                ("offset", "integer", "The first line, from 1.", false),
                ("limit", "integer", "How many lines.", false),
            ]),
        ),
        BuiltinTool::Submit => (
            "Hand in your answer and end the task. This can be done once.".to_owned(),
            object(&[("answer", "string", "The answer, or a short note where the work is in files.", true)]),
        ),
        BuiltinTool::Score => (
            "Have the present state of your work scored. The score counts nothing; use it to see where you stand."
                .to_owned(),
            object(&[]),
        ),
    };
    ToolSpec {
        name: tool.name().to_owned(),
        description,
        parameters,
    }
}

fn object(parameters: &[(&str, &str, &str, bool)]) -> Value {
    let properties: Map<String, Value> = parameters
        .iter()
        .map(|(name, kind, about, _)| ((*name).to_owned(), json!({"type": kind, "description": about})))
        .collect();
    let required: Vec<&str> = parameters
        .iter()
        .filter(|(.., needed)| *needed)
        .map(|(name, ..)| *name)
        .collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn edit_schema() -> Value {
    let mut schema = object(&[
        (
            "action",
            "string",
            "view: show lines; create: write a whole file; replace: put `new` in place of the one place that says `old`; insert: put `new` after line `line`.",
            true,
        ),
        ("path", "string", "The file.", true),
        ("text", "string", "create: the whole content.", false),
        (
            "old",
            "string",
            "replace: the exact text, which must occur exactly once.",
            false,
        ),
        ("new", "string", "replace, insert: the new text.", false),
        (
            "line",
            "integer",
            "insert: the line after which to insert; 0 for the beginning. view: the first line.",
            false,
        ),
        ("limit", "integer", "view: how many lines.", false),
    ]);
    if let Some(action) = schema
        .pointer_mut("/properties/action")
        .and_then(Value::as_object_mut)
    {
        action.insert("enum".to_owned(), json!(["view", "create", "replace", "insert"]));
    }
    schema
}

/// Returns the answer of a tool with fixed replies.
pub fn canned_reply<'a>(tool: &'a CannedTool, arguments: &Map<String, Value>) -> &'a str {
    let fits = |when: &Map<String, Value>| {
        when.iter()
            .all(|(name, value)| arguments.get(name) == Some(value))
    };
    tool.replies
        .iter()
        .find(|reply| fits(&reply.when))
        .map_or(&tool.otherwise, |reply| &reply.reply)
}

/// Returns the calls of a reply: native ones, or those in its text where `text_format` holds.
pub fn calls_of(reply: &Reply, specs: &[ToolSpec], text_format: bool) -> Vec<ToolCall> {
    if text_format {
        calls_in_text(&reply.text, specs)
    } else {
        reply.tool_calls.clone()
    }
}
