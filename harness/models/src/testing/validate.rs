//! What a strict server would refuse.
//!
//! Owns: the rules of a well-formed conversation. Must not: be lenient.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Seen;
use super::http::HttpRequest;

const REQUEST_KEYS: [&str; 11] = [
    "model",
    "messages",
    "tools",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stop",
    "stream",
    "stream_options",
];
/// The longest text of one message.
const MAX_TEXT: usize = 4 << 20;

/// Reads a request and lists what is wrong with it.
pub(super) fn request(request: &HttpRequest) -> (Seen, Vec<String>) {
    let mut check = Check::default();
    if !request.target.starts_with("POST /v1/chat/completions") {
        check.problem(format!("unexpected request `{}`", request.target));
    }
    if request.header("content-type") != Some("application/json") {
        check.problem("content type is not application/json");
    }
    let key = request
        .header("authorization")
        .map(|value| value.strip_prefix("Bearer ").unwrap_or(value).to_owned());
    let body = match serde_json::from_slice::<Value>(&request.body) {
        Ok(body) => {
            check.body(&body);
            body
        }
        Err(error) => {
            check.problem(format!("the body is not JSON: {error}"));
            Value::Null
        }
    };
    (Seen { key, body }, check.problems)
}

#[derive(Default)]
struct Check {
    problems: Vec<String>,
    /// Calls that were made and not answered yet.
    open: BTreeSet<String>,
    /// All calls so far.
    made: BTreeSet<String>,
}

impl Check {
    fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    fn object<'v>(&mut self, value: &'v Value, what: &str, known: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.problem(format!("{what} is not an object"));
            return None;
        };
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.problem(format!("unknown field `{key}` in {what}"));
        }
        Some(object)
    }

    fn text(&mut self, value: Option<&Value>, what: &str) -> String {
        match value.and_then(Value::as_str) {
            Some(text) if text.len() <= MAX_TEXT => text.to_owned(),
            Some(_) => {
                self.problem(format!("{what} is too long"));
                String::new()
            }
            None => {
                self.problem(format!("{what} is not text"));
                String::new()
            }
        }
    }

    fn body(&mut self, body: &Value) {
        let Some(fields) = self.object(body, "the request", &REQUEST_KEYS) else {
            return;
        };
        if self.text(fields.get("model"), "`model`").is_empty() {
            self.problem("`model` is empty");
        }
        for (key, most) in [("temperature", 2.0), ("top_p", 1.0)] {
            if let Some(value) = fields.get(key)
                && !value.as_f64().is_some_and(|value| (0.0..=most).contains(&value))
            {
                self.problem(format!("`{key}` is not a number from 0 to {most}"));
            }
        }
        for key in ["max_tokens", "max_completion_tokens"] {
            if let Some(value) = fields.get(key)
                && value.as_u64().is_none_or(|value| value == 0)
            {
                self.problem(format!("`{key}` is not a positive number"));
            }
        }
        if fields.get("seed").is_some_and(|seed| seed.as_i64().is_none()) {
            self.problem("`seed` is not a signed number");
        }
        if fields.contains_key("stream_options") && fields.get("stream") != Some(&Value::Bool(true)) {
            self.problem("`stream_options` without `stream`");
        }
        if let Some(tools) = fields.get("tools") {
            self.tools(tools);
        }
        self.messages(fields.get("messages"));
    }

    fn tools(&mut self, tools: &Value) {
        let Some(tools) = tools.as_array().filter(|tools| !tools.is_empty()) else {
            self.problem("`tools` is not a filled list");
            return;
        };
        let mut names = BTreeSet::new();
        for tool in tools {
            let Some(tool) = self.object(tool, "a tool", &["type", "function"]) else {
                continue;
            };
            let function = tool.get("function").unwrap_or(&Value::Null);
            let known = ["name", "description", "parameters"];
            let Some(function) = self.object(function, "a tool's function", &known) else {
                continue;
            };
            let name = self.text(function.get("name"), "a tool's name");
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
                self.problem(format!("`{name}` is no name for a tool"));
            }
            let parameters = function.get("parameters");
            if parameters.is_none_or(|parameters| parameters["type"] != "object") {
                self.problem(format!("the parameters of `{name}` are no schema of an object"));
            }
            if !names.insert(name.clone()) {
                self.problem(format!("two tools are named `{name}`"));
            }
        }
    }

    fn messages(&mut self, messages: Option<&Value>) {
        let messages = messages.and_then(Value::as_array);
        let Some(messages) = messages.filter(|messages| !messages.is_empty()) else {
            self.problem("`messages` is not a filled list");
            return;
        };
        let mut before = "";
        for (n, message) in messages.iter().enumerate() {
            let role = message["role"].as_str().unwrap_or_default();
            if role != "tool" && !self.open.is_empty() {
                let open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
                self.problem(format!(
                    "calls without an answer before message {n}: {}",
                    open.join(", ")
                ));
            }
            match role {
                "system" if matches!(before, "" | "system") => self.plain(message, n),
                "user" if before != "user" => self.plain(message, n),
                "assistant" if matches!(before, "user" | "tool") => self.assistant(message, n),
                "tool" if matches!(before, "assistant" | "tool") => self.tool(message, n),
                _ => self.problem(format!("message {n} is of `{role}` after `{before}`")),
            }
            before = role;
        }
        if !matches!(before, "user" | "tool") {
            self.problem(format!("the last message is of `{before}`"));
        }
        if !self.open.is_empty() {
            self.problem("calls without an answer at the end");
        }
    }

    fn plain(&mut self, message: &Value, n: usize) {
        let what = format!("message {n}");
        self.object(message, &what, &["role", "content"]);
        self.text(message.get("content"), &what);
    }

    fn assistant(&mut self, message: &Value, n: usize) {
        let what = format!("message {n}");
        self.object(message, &what, &["role", "content", "tool_calls"]);
        let calls = message.get("tool_calls").map(|calls| calls.as_array());
        let calls = match calls {
            None => &[][..],
            Some(Some(calls)) if !calls.is_empty() => calls,
            Some(_) => {
                self.problem(format!("the tool calls of {what} are no filled list"));
                &[]
            }
        };
        if !message["content"].is_null() || calls.is_empty() {
            self.text(message.get("content"), &what);
        }
        for call in calls {
            self.object(call, "a call", &["id", "type", "function"]);
            self.object(&call["function"], "a call's function", &["name", "arguments"]);
            let id = self.text(call.get("id"), "a call's id");
            self.text(call["function"].get("name"), "a call's name");
            let arguments = self.text(call["function"].get("arguments"), "a call's arguments");
            if !matches!(serde_json::from_str(&arguments), Ok(Value::Object(_))) {
                self.problem(format!("the arguments of call `{id}` are no JSON object"));
            }
            if id.is_empty() || !self.made.insert(id.clone()) {
                self.problem(format!("the id `{id}` of a call is empty or used before"));
            }
            self.open.insert(id);
        }
    }

    fn tool(&mut self, message: &Value, n: usize) {
        let what = format!("message {n}");
        self.object(message, &what, &["role", "content", "tool_call_id"]);
        self.text(message.get("content"), &what);
        let id = self.text(message.get("tool_call_id"), "a tool's call id");
        if !self.open.remove(&id) {
            self.problem(format!("{what} answers `{id}`, which is no open call"));
        }
    }
}
