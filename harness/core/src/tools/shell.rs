//! The tool `shell`: a terminal that stays between calls.
//!
//! Owns: how models see it, and how its calls are read. Must not: know what runs on it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::model::ToolSpec;
use crate::ports::WindowSize;
use crate::task::{BuiltinTool, Limits};
use crate::terminal::{COLS, Key, ROWS};
use crate::text::Capped;
use crate::units::format_duration;

/// The most keys of one call.
const MOST_KEYS: usize = 200;
/// The longest text of one call, in bytes.
const LONGEST_INPUT: usize = 64 << 10;

/// What is done on the terminal. Nothing at all is a further look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShellCall {
    /// Text that is typed, and Enter after it.
    pub input: Option<String>,
    /// Keys that are pressed, after the text.
    pub keys: Vec<Key>,
    /// How long the program may take; `None` is as long as a tool may take.
    pub wait: Option<Duration>,
    /// Whether the whole screen is shown in place of what is new.
    pub screen: bool,
    /// Another number of lines.
    pub rows: Option<u16>,
    /// Another number of columns.
    pub cols: Option<u16>,
}

impl ShellCall {
    /// Returns the size that is asked for; `None` if the present one stays.
    pub fn size(&self, present: WindowSize) -> Option<WindowSize> {
        let size = WindowSize {
            rows: self.rows.unwrap_or(present.rows),
            cols: self.cols.unwrap_or(present.cols),
        };
        (size != present).then_some(size)
    }
}

/// Returns the tool as models see it.
pub(super) fn spec(limits: &Limits) -> ToolSpec {
    let (time, output) = (format_duration(limits.tool_time), limits.tool_output);
    let description = format!(
        "Use a shell on a terminal of the sandbox that stays between calls: the working folder, variables and running \
         programs persist, and interactive programs work. Type a line with `input`, press keys with `keys`, or call it \
         without arguments to look again. A call returns when the shell's prompt is back, when a program waits for you, \
         or after `wait` seconds (at most {time}); what still runs then goes on. It shows what is new on the terminal, \
         at most {output} of it."
    );
    let parameters = json!({
        "type": "object",
        "properties": {
            "input": {"type": "string", "description": "Text to type; Enter is pressed after it."},
            "keys": {
                "type": "array",
                "items": {"type": "string"},
                "description": format!("Keys to press after the text: {}.", Key::NAMES),
            },
            "wait": {"type": "number", "description": "The most seconds to wait."},
            "screen": {
                "type": "boolean",
                "description": "Show the whole screen instead of what is new, as full-screen programs need it.",
            },
            "rows": {"type": "integer", "description": "Change the terminal's number of lines."},
            "cols": {"type": "integer", "description": "Change the terminal's number of columns."},
        },
        "required": [],
        "additionalProperties": false,
    });
    ToolSpec {
        name: BuiltinTool::Shell.name().to_owned(),
        description,
        parameters,
    }
}

/// Reads arguments whose types were checked; or says what is wrong with them.
pub(super) fn read(arguments: &Map<String, Value>) -> Result<ShellCall, String> {
    let input = arguments.get("input").and_then(Value::as_str).map(str::to_owned);
    if input.as_ref().is_some_and(|text| text.len() > LONGEST_INPUT) {
        return Err(format!(
            "`input` is longer than {LONGEST_INPUT} bytes; write a file instead"
        ));
    }
    Ok(ShellCall {
        input,
        keys: keys(arguments)?,
        wait: wait(arguments)?,
        screen: arguments.get("screen").and_then(Value::as_bool).unwrap_or(false),
        rows: number(arguments, "rows", ROWS)?,
        cols: number(arguments, "cols", COLS)?,
    })
}

fn keys(arguments: &Map<String, Value>) -> Result<Vec<Key>, String> {
    let Some(list) = arguments.get("keys").and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    if list.len() > MOST_KEYS {
        return Err(format!("`keys` has more than {MOST_KEYS} keys"));
    }
    let key = |value: &Value| {
        let name = value.as_str().ok_or("`keys` must hold only names of keys")?;
        Key::parse(name).ok_or_else(|| {
            let name = Capped::new(name, 40).text;
            format!("there is no key `{name}`; the keys are: {}", Key::NAMES)
        })
    };
    list.iter().map(key).collect()
}

fn wait(arguments: &Map<String, Value>) -> Result<Option<Duration>, String> {
    let Some(seconds) = arguments.get("wait").and_then(Value::as_f64) else {
        return Ok(None);
    };
    // The caller has a limit of its own; this one keeps the number a duration.
    Duration::try_from_secs_f64(seconds.min(1e9))
        .map(Some)
        .map_err(|_| "`wait` must be a number of seconds from 0 on".to_owned())
}

fn number(
    arguments: &Map<String, Value>,
    name: &str,
    (least, most): (u16, u16),
) -> Result<Option<u16>, String> {
    let Some(value) = arguments.get(name) else {
        return Ok(None);
    };
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    match number.filter(|number| (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(format!("`{name}` must be from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn reads(arguments: Value) -> Result<ShellCall, String> {
        let Value::Object(arguments) = arguments else {
            panic!("an object")
        };
        read(&arguments)
    }

    #[test]
    fn calls_are_read() {
        let none = ShellCall::default();
        let cases = [
            (json!({}), none.clone()),
            (
                json!({"input": "ls", "wait": 0.5, "screen": true, "rows": 40}),
                ShellCall {
                    input: Some("ls".into()),
                    wait: Some(Duration::from_millis(500)),
                    screen: true,
                    rows: Some(40),
                    ..none.clone()
                },
            ),
            (
                json!({"keys": ["ctrl-c", "y", "F5"], "wait": 1e300}),
                ShellCall {
                    keys: vec![Key::Control(3), Key::Char('y'), Key::Numbered(15)],
                    wait: Some(Duration::from_secs(1_000_000_000)),
                    ..none
                },
            ),
        ];
        for (arguments, expected) in cases {
            assert_eq!(reads(arguments), Ok(expected));
        }
    }

    #[test]
    fn wrong_calls_say_what_is_right() {
        let keys = format!("there is no key `ctrl-alt-del`; the keys are: {}", Key::NAMES);
        let cases = [
            (json!({"keys": ["ctrl-alt-del"]}), keys.as_str()),
            (json!({"keys": [1]}), "`keys` must hold only names of keys"),
            (json!({"keys": vec!["a"; 201]}), "`keys` has more than 200 keys"),
            (
                json!({"wait": -1}),
                "`wait` must be a number of seconds from 0 on",
            ),
            (json!({"rows": 1}), "`rows` must be from 2 to 200"),
            (json!({"cols": -5}), "`cols` must be from 20 to 500"),
            (
                json!({"input": "x".repeat(70_000)}),
                "`input` is longer than 65536 bytes; write a file instead",
            ),
        ];
        for (arguments, expected) in cases {
            assert_eq!(reads(arguments), Err(expected.to_owned()));
        }
    }

    #[test]
    fn sizes_change_only_where_they_are_given() {
        let present = WindowSize { rows: 30, cols: 120 };
        let call = |rows, cols| ShellCall {
            rows,
            cols,
            ..ShellCall::default()
        };
        assert_eq!(call(None, None).size(present), None);
        assert_eq!(call(Some(30), Some(120)).size(present), None);
        assert_eq!(
            call(None, Some(80)).size(present),
            Some(WindowSize { rows: 30, cols: 80 })
        );
    }
}
