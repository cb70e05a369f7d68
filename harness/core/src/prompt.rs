//! What the templates of tasks and scaffolds see.
//!
//! Owns: the variables of each template, in one place for checks and runs. Must not: render.

use serde_json::{Map, Value, json};

use crate::model::ToolSpec;
use crate::scaffold::ToolFormat;
use crate::task::{Limits, Sample};
use crate::units::format_duration;

/// Whether a template sees the accepted answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// It does not: everything that an agent reads.
    Hidden,
    /// It does: oracles and rubrics.
    Shown,
}

/// Returns the variables of `instructions` (target hidden) or of `oracle.submit` (target shown).
pub fn sample_variables(sample: &Sample, limits: &Limits, tools: &[&str], target: Target) -> Value {
    json!({"sample": sample_value(sample, target), "limits": limits_value(limits), "tools": tools})
}

/// Returns the variables of a scaffold's `system` prompt.
pub fn system_variables(
    tools: &[ToolSpec],
    limits: &Limits,
    tool_format: ToolFormat,
    tool_grammar: &str,
) -> Value {
    let tools: Vec<_> = tools
        .iter()
        .map(
            |tool| json!({"name": tool.name, "description": tool.description, "parameters": tool.parameters}),
        )
        .collect();
    json!({
        "tools": tools,
        "limits": limits_value(limits),
        "tool_format": tool_format,
        "tool_grammar": tool_grammar,
    })
}

/// Returns the variables of a scaffold's `continue` prompt.
pub fn continue_variables(turn: u32, turns_left: u32) -> Value {
    json!({"turn": turn, "turns_left": turns_left})
}

/// Returns the variables of a scaffold's `tool_error` prompt.
pub fn tool_error_variables(error: &str, tool: &str) -> Value {
    json!({"error": error, "tool": tool})
}

/// Returns the variables of a judge's rubric.
pub fn rubric_variables(sample: &Sample, instructions: &str, submission: &str, scale: (f64, f64)) -> Value {
    json!({
        "sample": sample_value(sample, Target::Shown),
        "instructions": instructions,
        "submission": submission,
        "scale": {"lowest": scale.0, "highest": scale.1},
    })
}

/// Returns the letter of a choice: A for the first; `None` after the 26th.
pub fn letter(index: usize) -> Option<char> {
    ('A'..='Z').nth(index)
}

fn sample_value(sample: &Sample, target: Target) -> Value {
    let choices: Vec<_> = sample
        .choices
        .iter()
        .enumerate()
        .map(|(index, text)| json!({"letter": letter(index), "text": text}))
        .collect();
    let mut value = Map::from_iter([
        ("id".to_owned(), json!(sample.id)),
        ("vars".to_owned(), Value::Object(sample.vars.clone())),
        ("choices".to_owned(), json!(choices)),
    ]);
    if target == Target::Shown {
        value.insert("target".to_owned(), json!(sample.target.first()));
    }
    Value::Object(value)
}

fn limits_value(limits: &Limits) -> Value {
    json!({
        "turns": limits.turns,
        "tokens": limits.tokens,
        "working": format_duration(limits.working),
        "wall": format_duration(limits.wall),
        "cost": limits.cost.map(crate::units::Usd::dollars),
        "tool_time": format_duration(limits.tool_time),
        "tool_output": limits.tool_output.to_string(),
    })
}
