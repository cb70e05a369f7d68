//! From a tree to scripts, with every problem on the way.
//!
//! Owns: the keys of the format. Must not: answer anything.

use std::time::Duration;

use harness_core::model::{StopReason, Usage};
use harness_core::units::Tokens;
use regex::Regex;
use serde_yaml::Location;

use super::ScriptProblem;
use super::script::{
    Action, Alternative, Fault, FaultKind, ReplyTemplate, Scope, Script, Seen, ToolTemplate, Turn, When,
};
use super::template::{NoSuchGroup, Template};
use super::yaml::{self, Fields, Node, Reader, Yaml};

const TURN_KEYS: [&str; 10] = [
    "text",
    "reasoning",
    "tools",
    "delay",
    "stop",
    "usage",
    "repeat",
    "fault",
    "hang",
    "first",
];
const ALTERNATIVE_KEYS: [&str; 9] = [
    "seen",
    "anywhere",
    "text",
    "reasoning",
    "tools",
    "delay",
    "stop",
    "usage",
    "hang",
];
/// Keys of a turn that say what is answered, and so can't stand beside `first`.
const ANSWER_KEYS: [&str; 5] = ["text", "reasoning", "tools", "stop", "hang"];
const STOPS: [(&str, StopReason); 6] = [
    ("end_turn", StopReason::EndTurn),
    ("tool_calls", StopReason::ToolCalls),
    ("max_tokens", StopReason::MaxTokens),
    ("refusal", StopReason::Refusal),
    ("content_filter", StopReason::ContentFilter),
    ("stop_text", StopReason::StopText),
];
const MOST: u64 = u32::MAX as u64;
const MOST_TOKENS: u64 = 1_000_000_000_000;

/// Reads all scripts of a file.
pub(super) fn scripts(text: &str, file: &str) -> Result<Vec<Script>, Vec<ScriptProblem>> {
    let root = yaml::parse(text, file).map_err(|problem| vec![problem])?;
    let mut reader = Reader {
        file,
        problems: Vec::new(),
    };
    let scripts = read_file(&mut reader, &root);
    if reader.problems.is_empty() {
        return Ok(scripts);
    }
    reader
        .problems
        .sort_by_key(|problem| (problem.line, problem.column));
    Err(reader.problems)
}

/// What turns inherit from the file.
#[derive(Clone, Copy)]
struct Defaults {
    usage: Option<Usage>,
    delay: Duration,
}

fn read_file(reader: &mut Reader<'_>, root: &Yaml) -> Vec<Script> {
    let known = ["harness", "usage", "delay", "scripts"];
    let Some(fields) = reader.fields(root, "a scripted model", &known) else {
        return Vec::new();
    };
    match fields.get("harness") {
        Some(version) => {
            reader.version(version);
        }
        None => reader.problem(fields.at, "`harness: 1` is missing"),
    }
    let usage = fields.get("usage").and_then(|yaml| read_usage(reader, yaml));
    let delay = fields.get("delay").and_then(|yaml| reader.duration(yaml));
    let defaults = Defaults {
        usage,
        delay: delay.unwrap_or_default(),
    };
    let Some(list) = fields.get("scripts") else {
        reader.problem(fields.at, "`scripts` is missing");
        return Vec::new();
    };
    let items = reader.list(list).unwrap_or_default();
    if items.is_empty() && matches!(list.value, Node::List(_)) {
        reader.problem(list.referenced, "`scripts` must not be empty");
    }
    items
        .iter()
        .filter_map(|item| read_script(reader, item, defaults))
        .collect()
}

fn read_script(reader: &mut Reader<'_>, yaml: &Yaml, defaults: Defaults) -> Option<Script> {
    let fields = reader.fields(yaml, "a script", &["when", "turns", "then"])?;
    let when = fields.get("when").and_then(|yaml| read_when(reader, yaml));
    let mut script = Script {
        line: fields.at.line(),
        when: when.unwrap_or_default(),
        turns: Vec::new(),
        ends: Vec::new(),
        then: None,
    };
    let items = fields.get("turns").and_then(|yaml| reader.list(yaml));
    let mut end = 0_u32;
    for item in items.unwrap_or_default() {
        let Some((turn, repeat)) = read_turn(reader, item, defaults) else {
            continue;
        };
        end = end.saturating_add(repeat);
        script.turns.push(turn);
        script.ends.push(end);
    }
    if let Some(yaml) = fields.get("then") {
        script.then = read_turn(reader, yaml, defaults).map(|(turn, _)| turn);
        if let Node::Map(entries) = &yaml.value
            && let Some((key, _)) = entries.iter().find(|(key, _)| key.value == "repeat")
        {
            reader.problem(key.referenced, "`repeat` has no meaning in `then`");
        }
    }
    if items.unwrap_or_default().is_empty() && fields.get("then").is_none() {
        reader.problem(fields.at, "a script needs `turns` or `then`");
    }
    Some(script)
}

fn read_when(reader: &mut Reader<'_>, yaml: &Yaml) -> Option<When> {
    let fields = reader.fields(
        yaml,
        "`when`",
        &["task", "sample", "scaffold", "epoch", "attempt"],
    )?;
    let mut text = |key: &str| {
        let yaml = fields.get(key)?;
        reader.text(yaml).map(str::to_owned)
    };
    let (task, sample, scaffold) = (text("task"), text("sample"), text("scaffold"));
    Some(When {
        task,
        sample,
        scaffold,
        epoch: read_count(reader, fields, "epoch", 0),
        attempt: read_count(reader, fields, "attempt", 1),
    })
}

fn read_count(reader: &mut Reader<'_>, fields: Fields<'_>, key: &str, least: u64) -> Option<u32> {
    let number = fields
        .get(key)
        .and_then(|yaml| reader.number(yaml, least, MOST))?;
    u32::try_from(number).ok()
}

fn read_turn(reader: &mut Reader<'_>, yaml: &Yaml, defaults: Defaults) -> Option<(Turn, u32)> {
    let fields = reader.fields(yaml, "a turn", &TURN_KEYS)?;
    let fault = fields.get("fault").and_then(|yaml| read_fault(reader, yaml));
    let delay = fields.get("delay").and_then(|yaml| reader.duration(yaml));
    let usage = fields.get("usage").and_then(|yaml| read_usage(reader, yaml));
    let defaults = Defaults {
        usage: usage.or(defaults.usage),
        delay: delay.unwrap_or(defaults.delay),
    };
    let always_fails = fault.as_ref().is_some_and(|fault| fault.times.is_none());
    let alternatives = if let Some(first) = fields.get("first") {
        if let Some(key) = ANSWER_KEYS.iter().find(|key| fields.get(key).is_some()) {
            let message = format!("`{key}` can't stand beside `first`, write it into the alternatives");
            reader.problem(fields.at, message);
        }
        read_alternatives(reader, first, defaults)
    } else {
        if !(has_answer(fields) || always_fails) {
            let message = "a turn needs `text`, `tools`, `first`, `hang`, or a `fault` without `times`";
            reader.problem(fields.at, message);
        }
        vec![Alternative {
            seen: None,
            delay: None,
            action: read_action(reader, fields, defaults, None),
        }]
    };
    let repeat = read_count(reader, fields, "repeat", 1).unwrap_or(1);
    let turn = Turn {
        line: fields.at.line(),
        delay: defaults.delay,
        fault,
        alternatives,
    };
    Some((turn, repeat))
}

fn has_answer(fields: Fields<'_>) -> bool {
    ["text", "tools", "hang", "stop"]
        .iter()
        .any(|key| fields.get(key).is_some())
}

fn read_alternatives(reader: &mut Reader<'_>, yaml: &Yaml, defaults: Defaults) -> Vec<Alternative> {
    let items = reader.list(yaml).unwrap_or_default();
    if items.is_empty() && matches!(yaml.value, Node::List(_)) {
        reader.problem(yaml.referenced, "`first` must not be empty");
    }
    let mut alternatives: Vec<Alternative> = Vec::new();
    for item in items {
        if alternatives.last().is_some_and(|last| last.seen.is_none()) {
            let message =
                "this alternative is never used, since the one before it has no `seen` and always fits";
            reader.problem(item.referenced, message);
            break;
        }
        alternatives.extend(read_alternative(reader, item, defaults));
    }
    alternatives
}

fn read_alternative(reader: &mut Reader<'_>, yaml: &Yaml, defaults: Defaults) -> Option<Alternative> {
    let fields = reader.fields(yaml, "an alternative", &ALTERNATIVE_KEYS)?;
    let pattern = match fields.get("seen") {
        Some(yaml) => Some(read_pattern(reader, yaml)?),
        None => None,
    };
    let anywhere = fields.get("anywhere").and_then(|yaml| reader.truth(yaml));
    if anywhere.is_some() && pattern.is_none() {
        reader.problem(fields.at, "`anywhere` needs `seen`");
    }
    if !has_answer(fields) {
        reader.problem(fields.at, "an alternative needs `text`, `tools` or `hang`");
    }
    let action = read_action(reader, fields, defaults, pattern.as_ref());
    let delay = fields.get("delay").and_then(|yaml| reader.duration(yaml));
    let scope = if anywhere == Some(true) {
        Scope::Anywhere
    } else {
        Scope::Latest
    };
    Some(Alternative {
        seen: pattern.map(|pattern| Seen { pattern, scope }),
        delay,
        action,
    })
}

fn read_pattern(reader: &mut Reader<'_>, yaml: &Yaml) -> Option<Regex> {
    match Regex::new(reader.text(yaml)?) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            // The last line says what is wrong; those before it only draw an arrow.
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default();
            let why = why.trim().trim_start_matches("error: ").to_owned();
            reader.problem(yaml.referenced, format!("not a regular expression: {why}"));
            None
        }
    }
}

fn read_action(
    reader: &mut Reader<'_>,
    fields: Fields<'_>,
    defaults: Defaults,
    pattern: Option<&Regex>,
) -> Action {
    let hang = fields.get("hang").and_then(|yaml| reader.truth(yaml));
    let mut text = |key: &str| {
        let yaml = fields.get(key)?;
        let text = reader.text(yaml)?;
        let template = Template::text(text, pattern);
        checked(reader, yaml.referenced, template)
    };
    let (text, reasoning) = (text("text"), text("reasoning"));
    let tools = fields.get("tools").and_then(|yaml| reader.list(yaml));
    let tools: Vec<_> = tools
        .unwrap_or_default()
        .iter()
        .filter_map(|yaml| read_tool(reader, yaml, pattern))
        .collect();
    let stop = fields
        .get("stop")
        .and_then(|yaml| read_word(reader, yaml, &STOPS));
    let usage = fields.get("usage").and_then(|yaml| read_usage(reader, yaml));
    if hang == Some(true) {
        return Action::Hang;
    }
    let done = if tools.is_empty() {
        StopReason::EndTurn
    } else {
        StopReason::ToolCalls
    };
    Action::Reply(ReplyTemplate {
        text: text.unwrap_or_default(),
        reasoning,
        tools,
        stop: stop.unwrap_or(done),
        usage: usage.or(defaults.usage),
    })
}

fn read_tool(reader: &mut Reader<'_>, yaml: &Yaml, pattern: Option<&Regex>) -> Option<ToolTemplate> {
    let fields = reader.fields(yaml, "a tool call", &["name", "arguments", "arguments_text"])?;
    let Some(name) = fields.get("name") else {
        reader.problem(fields.at, "a tool call needs a `name`");
        return None;
    };
    let template = Template::text(reader.text(name)?, pattern);
    let name = checked(reader, name.referenced, template)?;
    let (at, template) = match (fields.get("arguments"), fields.get("arguments_text")) {
        (Some(_), Some(text)) => {
            reader.problem(text.referenced, "give either `arguments` or `arguments_text`");
            return None;
        }
        (Some(yaml), None) => {
            if !matches!(yaml.value, Node::Map(_)) {
                let message = "expected a map of arguments; use `arguments_text` for anything else";
                reader.problem(yaml.referenced, message);
                return None;
            }
            (yaml.referenced, Template::json(&yaml.value.to_json(), pattern))
        }
        (None, Some(yaml)) => (yaml.referenced, Template::text(reader.text(yaml)?, pattern)),
        (None, None) => (fields.at, Template::text("{}", None)),
    };
    let arguments = checked(reader, at, template)?;
    Some(ToolTemplate { name, arguments })
}

fn checked(
    reader: &mut Reader<'_>,
    at: Location,
    template: Result<Template, NoSuchGroup>,
) -> Option<Template> {
    template
        .map_err(|NoSuchGroup(name)| {
            let message = format!(
                "`seen` has no group {name} (write `$${{{name}}}` if `${{{name}}}` is meant literally)"
            );
            reader.problem(at, message);
        })
        .ok()
}

fn read_word<T: Copy>(reader: &mut Reader<'_>, yaml: &Yaml, words: &[(&str, T)]) -> Option<T> {
    let text = reader.text(yaml)?;
    let found = words.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let words: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let text: String = text.chars().take(40).collect();
        let message = format!("unknown word {text:?}, expected one of {}", words.join(", "));
        reader.problem(yaml.referenced, message);
    }
    found.map(|(_, value)| *value)
}

fn read_fault(reader: &mut Reader<'_>, yaml: &Yaml) -> Option<Fault> {
    let fields = reader.fields(yaml, "`fault`", &["kind", "times", "retry_after", "status"])?;
    let Some(kind) = fields.get("kind") else {
        reader.problem(fields.at, "`fault` needs a `kind`");
        return None;
    };
    let kind = read_word(reader, kind, &FaultKind::ALL);
    let times = read_count(reader, fields, "times", 1);
    let retry_after = fields.get("retry_after").and_then(|yaml| reader.duration(yaml));
    let status = fields
        .get("status")
        .and_then(|yaml| reader.number(yaml, 400, 599));
    let kind = kind?;
    if let Some(yaml) = fields.get("status")
        && !matches!(kind, FaultKind::Overloaded)
    {
        reader.problem(yaml.referenced, "`status` belongs to `overloaded` only");
    }
    if let Some(yaml) = fields.get("retry_after")
        && !matches!(kind, FaultKind::Overloaded | FaultKind::RateLimited)
    {
        reader.problem(
            yaml.referenced,
            "`retry_after` belongs to `rate_limited` and `overloaded` only",
        );
    }
    Some(Fault {
        kind,
        times,
        retry_after,
        status: status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(503),
    })
}

fn read_usage(reader: &mut Reader<'_>, yaml: &Yaml) -> Option<Usage> {
    let fields = reader.fields(yaml, "`usage`", &["input", "output", "cached_input", "reasoning"])?;
    let mut tokens = |key: &str| {
        let number = fields
            .get(key)
            .and_then(|yaml| reader.number(yaml, 0, MOST_TOKENS));
        Tokens(number.unwrap_or(0))
    };
    let usage = Usage {
        input: tokens("input"),
        cached_input: tokens("cached_input"),
        output: tokens("output"),
        reasoning: tokens("reasoning"),
    };
    if usage.cached_input > usage.input || usage.reasoning > usage.output {
        let message =
            "`cached_input` is a part of `input`, and `reasoning` of `output`; neither can be larger";
        reader.problem(fields.at, message);
    }
    Some(usage)
}
