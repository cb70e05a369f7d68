//! YAML as a tree that knows where each value was written, and typed reading that collects every problem.
//!
//! Owns: lines and columns, limits against hostile files. Must not: know what a script is.

use std::fmt;
use std::time::Duration;

use harness_core::units::{format_duration, parse_duration};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};
use serde_yaml::{Location, Spanned};

use super::ScriptProblem;

/// How many nodes aliases may repeat in all.
const MAX_REPEATED_NODES: usize = 20_000;

/// A value and where it stands.
pub(super) type Yaml = Spanned<Node>;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(Spanned<String>, Yaml)>),
}

impl Node {
    /// Names what is written there, for messages.
    fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Number(number) => format!("the number {number}"),
            Self::Text(text) => {
                let text: String = text.chars().take(40).collect();
                format!("{text:?}")
            }
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }

    /// Converts to JSON.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.clone()),
            Self::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Self::Map(entries) => entries
                .iter()
                .map(|(key, item)| (key.value.clone(), item.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("expected a finite number"))?;
        Ok(Node::Number(number))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

/// Reads a file's text into a tree.
pub(super) fn parse(text: &str, file: &str) -> Result<Yaml, ScriptProblem> {
    let options = serde_yaml::options! {
        with_snippet: false,
        strict_booleans: true,
        merge_keys: serde_yaml::MergeKeyPolicy::Error,
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_REPEATED_NODES },
    };
    serde_yaml::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().unwrap_or(Location::UNKNOWN);
        let message = error.to_string();
        // The place stands in front of the message already.
        let message = message
            .rfind(" at line ")
            .map_or(message.as_str(), |end| &message[..end]);
        ScriptProblem::new(file, at.line(), at.column(), message)
    })
}

/// Reads a tree and collects what is wrong with it.
pub(super) struct Reader<'f> {
    pub(super) file: &'f str,
    pub(super) problems: Vec<ScriptProblem>,
}

/// The entries of a map whose keys are all known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'y> {
    pub(super) at: Location,
    entries: &'y [(Spanned<String>, Yaml)],
}

impl<'y> Fields<'y> {
    /// Returns the value of a key; a key with nothing behind it counts as absent.
    pub(super) fn get(self, key: &str) -> Option<&'y Yaml> {
        let (_, value) = self.entries.iter().find(|(name, _)| name.value == key)?;
        (!matches!(value.value, Node::Null)).then_some(value)
    }
}

impl Reader<'_> {
    /// Records a problem.
    pub(super) fn problem(&mut self, at: Location, message: impl Into<String>) {
        self.problems
            .push(ScriptProblem::new(self.file, at.line(), at.column(), message));
    }

    fn expected<T>(&mut self, yaml: &Yaml, expected: &str) -> Option<T> {
        self.problem(
            yaml.referenced,
            format!("expected {expected}, found {}", yaml.value.describe()),
        );
        None
    }

    /// Reads a map and reports keys that are not known.
    pub(super) fn fields<'y>(&mut self, yaml: &'y Yaml, what: &str, known: &[&str]) -> Option<Fields<'y>> {
        let Node::Map(entries) = &yaml.value else {
            return self.expected(yaml, &format!("a map ({what})"));
        };
        for (key, _) in entries {
            if !known.contains(&key.value.as_str()) {
                let known: Vec<_> = known.iter().map(|key| format!("`{key}`")).collect();
                let name: String = key.value.chars().take(40).collect();
                let message = format!(
                    "unknown key `{name}` in {what}, expected one of {}",
                    known.join(", ")
                );
                self.problem(key.referenced, message);
            }
        }
        Some(Fields {
            at: yaml.referenced,
            entries,
        })
    }

    /// Reads a list.
    pub(super) fn list<'y>(&mut self, yaml: &'y Yaml) -> Option<&'y [Yaml]> {
        match &yaml.value {
            Node::List(items) => Some(items),
            _ => self.expected(yaml, "a list"),
        }
    }

    /// Reads text.
    pub(super) fn text<'y>(&mut self, yaml: &'y Yaml) -> Option<&'y str> {
        match &yaml.value {
            Node::Text(text) => Some(text),
            _ => self.expected(yaml, "text (in quotes, if it looks like a number)"),
        }
    }

    /// Reads `true` or `false`.
    pub(super) fn truth(&mut self, yaml: &Yaml) -> Option<bool> {
        match &yaml.value {
            Node::Bool(value) => Some(*value),
            _ => self.expected(yaml, "`true` or `false`"),
        }
    }

    /// Reads a whole number within bounds.
    pub(super) fn number(&mut self, yaml: &Yaml, least: u64, most: u64) -> Option<u64> {
        let number = match &yaml.value {
            Node::Number(number) => number.as_u64(),
            _ => None,
        };
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Some(number),
            None => self.expected(yaml, &format!("a whole number from {least} to {most}")),
        }
    }

    /// Reads the version of the format.
    pub(super) fn version(&mut self, yaml: &Yaml) -> Option<()> {
        match &yaml.value {
            Node::Number(number) if number.as_u64() == Some(1) => Some(()),
            _ => self.expected(yaml, "`harness: 1`, the version of the format"),
        }
    }

    /// Reads a duration such as `500ms`.
    pub(super) fn duration(&mut self, yaml: &Yaml) -> Option<Duration> {
        let Node::Text(text) = &yaml.value else {
            return self.expected(yaml, "a duration such as `500ms`");
        };
        match parse_duration(text) {
            Ok(duration) if duration <= MAX_DELAY => Some(duration),
            Ok(_) => self.expected(
                yaml,
                &format!("a duration of at most {}", format_duration(MAX_DELAY)),
            ),
            Err(error) => {
                self.problem(yaml.referenced, error.to_string());
                None
            }
        }
    }
}

/// The longest duration that a script may name.
const MAX_DELAY: Duration = Duration::from_hours(24);
