//! Reads a call: which tool, and whether its arguments fit.

use serde_json::{Map, Value};

use super::edit::EditCommand;
use super::shell::{self, ShellCall};
use crate::model::{ToolCall, ToolSpec};
use crate::task::{BuiltinTool, CannedTool, ToolSet};
use crate::text::Capped;

/// A call that can be executed.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Shell text.
    Bash {
        /// The text.
        command: String,
    },
    /// A terminal that stays.
    Shell(ShellCall),
    /// A Python program.
    Python {
        /// The program.
        code: String,
    },
    /// A file edit.
    Edit {
        /// The file.
        path: String,
        /// What is done with it.
        command: EditCommand,
    },
    /// Lines of a file.
    ReadFile {
        /// The file.
        path: String,
        /// The first line, from 1.
        offset: usize,
        /// How many lines.
        limit: usize,
    },
    /// A fixed reply.
    Canned {
        /// What the tool answers.
        reply: String,
    },
    /// The intermediate scorer.
    Score,
    /// The end.
    Submit {
        /// The submission.
        answer: String,
    },
}

/// Why a call can't be executed, in words that help the model to write a right one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallProblem {
    /// There is no such tool.
    #[error("there is no tool `{name}`; the tools are: {known}")]
    UnknownTool {
        /// The name as written, capped.
        name: String,
        /// The names that are there.
        known: String,
    },
    /// The arguments are not a JSON object.
    #[error("the arguments of `{tool}` are not a JSON object: {detail}; expected {expected}")]
    NotAnObject {
        /// The tool.
        tool: String,
        /// What the parser said.
        detail: String,
        /// An example.
        expected: String,
    },
    /// An argument is missing, unknown or of the wrong type.
    #[error("wrong arguments for `{tool}`: {detail}; expected {expected}")]
    WrongArguments {
        /// The tool.
        tool: String,
        /// What is wrong.
        detail: String,
        /// An example.
        expected: String,
    },
}

/// Reads a call against the tools of the task.
pub fn read_call(call: &ToolCall, tools: &ToolSet, specs: &[ToolSpec]) -> Result<Invocation, CallProblem> {
    let Some(spec) = specs.iter().find(|spec| spec.name == call.name) else {
        let known = specs
            .iter()
            .map(|spec| spec.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        return Err(CallProblem::UnknownTool {
            name: Capped::new(&call.name, 80).text,
            known,
        });
    };
    let arguments = arguments_of(call, spec)?;
    check(spec, &arguments)?;
    if let ToolSet::Canned(list) = tools
        && let Some(tool) = list.iter().find(|tool| tool.name == call.name)
    {
        return Ok(canned(tool, &arguments));
    }
    builtin(spec, &arguments)
}

fn canned(tool: &CannedTool, arguments: &Map<String, Value>) -> Invocation {
    Invocation::Canned {
        reply: super::canned_reply(tool, arguments).to_owned(),
    }
}

fn arguments_of(call: &ToolCall, spec: &ToolSpec) -> Result<Map<String, Value>, CallProblem> {
    let text = call.arguments.trim();
    if text.is_empty() {
        return Ok(Map::new());
    }
    let problem = |detail: String| CallProblem::NotAnObject {
        tool: spec.name.clone(),
        detail: Capped::new(&detail, 200).text,
        expected: example(spec),
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(problem(format!("found {}", kind_of(&other)))),
        Err(error) => Err(problem(error.to_string())),
    }
}

fn check(spec: &ToolSpec, arguments: &Map<String, Value>) -> Result<(), CallProblem> {
    let wrong = |detail: String| CallProblem::WrongArguments {
        tool: spec.name.clone(),
        detail: Capped::new(&detail, 200).text,
        expected: example(spec),
    };
    let empty = Map::new();
    let properties = spec
        .parameters
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    for name in required(spec) {
        if !arguments.contains_key(name) {
            return Err(wrong(format!("`{name}` is missing")));
        }
    }
    for (name, value) in arguments {
        let Some(property) = properties.get(name) else {
            return Err(wrong(format!("there is no argument `{name}`")));
        };
        let wanted = property.get("type").and_then(Value::as_str).unwrap_or("string");
        if !fits(value, wanted) {
            return Err(wrong(format!(
                "`{name}` must be of type {wanted}, found {}",
                kind_of(value)
            )));
        }
        let choices = property.get("enum").and_then(Value::as_array);
        if choices.is_some_and(|choices| !choices.contains(value)) {
            return Err(wrong(format!("`{name}` is not one of {}", property["enum"])));
        }
    }
    Ok(())
}

fn required(spec: &ToolSpec) -> impl Iterator<Item = &str> {
    spec.parameters
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn fits(value: &Value, wanted: &str) -> bool {
    match wanted {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => true,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Returns an example of right arguments: the required ones, or the first.
fn example(spec: &ToolSpec) -> String {
    let names: Vec<&str> = required(spec).collect();
    let inside: Vec<String> = names.iter().map(|name| format!("\"{name}\": ...")).collect();
    format!("{{{}}}", inside.join(", "))
}

fn builtin(spec: &ToolSpec, arguments: &Map<String, Value>) -> Result<Invocation, CallProblem> {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str).map(str::to_owned);
    let needed = |name: &str| {
        text(name).ok_or_else(|| CallProblem::WrongArguments {
            tool: spec.name.clone(),
            detail: format!("`{name}` is missing"),
            expected: example(spec),
        })
    };
    let number = |name: &str, default: usize| {
        arguments
            .get(name)
            .and_then(Value::as_i64)
            .map_or(default, |n| usize::try_from(n).unwrap_or(0))
    };
    match spec.name.as_str() {
        "bash" => Ok(Invocation::Bash {
            command: needed("command")?,
        }),
        "shell" => {
            shell::read(arguments)
                .map(Invocation::Shell)
                .map_err(|detail| CallProblem::WrongArguments {
                    tool: spec.name.clone(),
                    detail,
                    expected: r#"{"input": ...} or {"keys": [...]}"#.to_owned(),
                })
        }
        "python" => Ok(Invocation::Python {
            code: needed("code")?,
        }),
        "read_file" => Ok(Invocation::ReadFile {
            path: needed("path")?,
            offset: number("offset", 1).max(1),
            limit: number("limit", usize::MAX),
        }),
        "edit" => {
            let command = match needed("action")?.as_str() {
                "create" => EditCommand::Create {
                    text: needed("text")?,
                },
                "replace" => EditCommand::Replace {
                    old: needed("old")?,
                    new: needed("new")?,
                },
                "insert" => EditCommand::Insert {
                    line: number("line", 0),
                    new: needed("new")?,
                },
                _ => EditCommand::View {
                    line: number("line", 1).max(1),
                    limit: number("limit", usize::MAX),
                },
            };
            Ok(Invocation::Edit {
                path: needed("path")?,
                command,
            })
        }
        "submit" => Ok(Invocation::Submit {
            answer: needed("answer")?,
        }),
        name if name == BuiltinTool::Score.name() => Ok(Invocation::Score),
        name => Err(CallProblem::UnknownTool {
            name: name.to_owned(),
            known: String::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::task::{CannedReply, Limits};
    use crate::tools::specs;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    fn read(name: &str, arguments: &str) -> Result<Invocation, String> {
        use BuiltinTool::{Bash, Edit, Python, ReadFile, Submit};
        let tools = ToolSet::Builtin(vec![Bash, Python, Edit, ReadFile, Submit]);
        let specs = specs(&tools, &Limits::default(), false);
        let call = ToolCall {
            id: "1".into(),
            name: name.into(),
            arguments: arguments.into(),
        };
        read_call(&call, &tools, &specs).map_err(|problem| problem.to_string())
    }

    #[test]
    fn right_calls_are_read() {
        let cases = [
            (
                "bash",
                r#"{"command": "ls"}"#,
                Invocation::Bash { command: "ls".into() },
            ),
            (
                "python",
                r#"{"code": "print(1)"}"#,
                Invocation::Python {
                    code: "print(1)".into(),
                },
            ),
            (
                "submit",
                r#"{"answer": "42"}"#,
                Invocation::Submit { answer: "42".into() },
            ),
            (
                "read_file",
                r#"{"path": "a", "offset": 3}"#,
                Invocation::ReadFile {
                    path: "a".into(),
                    offset: 3,
                    limit: usize::MAX,
                },
            ),
            (
                "edit",
                r#"{"action": "replace", "path": "a", "old": "x", "new": "y"}"#,
                Invocation::Edit {
                    path: "a".into(),
                    command: EditCommand::Replace {
                        old: "x".into(),
                        new: "y".into(),
                    },
                },
            ),
        ];
        for (name, arguments, expected) in cases {
            assert_eq!(read(name, arguments), Ok(expected));
        }
    }

    #[test]
    fn wrong_calls_say_what_is_right() {
        let cases = [
            (
                "shell",
                "{}",
                "there is no tool `shell`; the tools are: bash, python, edit, read_file, submit",
            ),
            (
                "bash",
                "{}",
                "wrong arguments for `bash`: `command` is missing; expected {\"command\": ...}",
            ),
            (
                "bash",
                "[1]",
                "the arguments of `bash` are not a JSON object: found a list; expected {\"command\": ...}",
            ),
            (
                "bash",
                r#"{"cmd": "ls", "command": "ls"}"#,
                "wrong arguments for `bash`: there is no argument `cmd`; expected {\"command\": ...}",
            ),
            (
                "submit",
                r#"{"answer": 42}"#,
                "wrong arguments for `submit`: `answer` must be of type string, found a number; expected {\"answer\": ...}",
            ),
            (
                "edit",
                r#"{"action": "delete", "path": "a"}"#,
                "wrong arguments for `edit`: `action` is not one of [\"view\",\"create\",\"replace\",\"insert\"]; expected {\"action\": ..., \"path\": ...}",
            ),
            (
                "edit",
                r#"{"action": "create", "path": "a"}"#,
                "wrong arguments for `edit`: `text` is missing; expected {\"action\": ..., \"path\": ...}",
            ),
        ];
        for (name, arguments, expected) in cases {
            assert_eq!(read(name, arguments), Err(expected.to_owned()));
        }
    }

    #[test]
    fn canned_tools_answer_by_the_first_fitting_reply() {
        let tool = CannedTool {
            name: "lookup".into(),
            description: String::new(),
            parameters: json!({"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}),
            replies: vec![CannedReply {
                when: json!({"key": "a"}).as_object().unwrap().clone(),
                reply: "1".into(),
            }],
            otherwise: "none".into(),
        };
        let tools = ToolSet::Canned(Arc::new(vec![tool]));
        let specs = specs(&tools, &Limits::default(), false);
        let answer = |key: &str| {
            let call = ToolCall {
                id: String::new(),
                name: "lookup".into(),
                arguments: json!({"key": key}).to_string(),
            };
            read_call(&call, &tools, &specs).unwrap()
        };
        assert_eq!(answer("a"), Invocation::Canned { reply: "1".into() });
        assert_eq!(answer("b"), Invocation::Canned { reply: "none".into() });
    }
}
