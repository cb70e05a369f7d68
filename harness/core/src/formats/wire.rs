//! The types of what people write: each knows how to be read from a tree and how to describe itself to editors.
//!
//! Owns: reading values with all their problems, and their JSON Schemas, from one declaration. Must not: know the
//! files' meaning.
//!
//! [`record!`] declares a map with its keys, [`words!`] a choice of words. One declaration gives the reader, the
//! unknown-key suggestions and the schema, so they cannot differ.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::reader::Reader;
use super::source::Span;
use super::suggest;
use super::tree::{Key, Kind, Node, Scalar, quoted};
use crate::units::{Bytes, Tokens, UnitError, Usd, parse_bytes, parse_count, parse_duration};

/// Schemas by name, for `$defs`.
pub(super) type Definitions = BTreeMap<&'static str, Value>;

/// Something that people write.
pub(super) trait Wire: Sized {
    /// Reads it and reports everything that is wrong with it; `None` if nothing could be made of it.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
    /// Returns its JSON Schema.
    fn schema(definitions: &mut Definitions) -> Value;
    /// Whether an empty value is a value.
    const NULLABLE: bool = false;
    /// The keys of a map, so that a key in the wrong place can be told where it belongs.
    const KEYS: &'static [&'static str] = &[];
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
    /// The place of the key, or of the value itself in a list.
    pub(super) key: Span,
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Wire> Wire for At<T> {
    const NULLABLE: bool = T::NULLABLE;
    const KEYS: &'static [&'static str] = T::KEYS;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            value: T::read(node, reader)?,
            span: node.span,
            key: node.span,
        })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        T::schema(definitions)
    }
}

/// Reports that a value is of the wrong kind.
pub(super) fn expected(what: &str, node: &Node, reader: &mut Reader<'_>) {
    if matches!(node.kind, Kind::Map(_)) && reader.has_problem_in(node.span) {
        // A template without quotes looks like a map and was reported.
        return;
    }
    let hint = match &node.kind {
        Kind::Null => Some("give it a value or remove the key"),
        Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => None,
    };
    reader.error(
        node.span,
        format!("expected {what}, found {}", node.describe()),
        hint,
    );
}

/// Returns the entries of a map or reports that it is none.
pub(super) fn entries<'n>(what: &str, node: &'n Node, reader: &mut Reader<'_>) -> Option<&'n [(Key, Node)]> {
    if let Kind::Map(entries) = &node.kind {
        return Some(entries);
    }
    expected(what, node, reader);
    None
}

/// Reports keys that are not known. `inner` are the keys of the maps below.
pub(super) fn unknown_keys(
    entries: &[(Key, Node)],
    known: &[&'static str],
    inner: &[(&'static str, &[&'static str])],
    reader: &mut Reader<'_>,
) {
    let mut listed = false;
    for (key, _) in entries
        .iter()
        .filter(|(key, _)| !known.contains(&key.text.as_str()))
    {
        if reader.is_full() {
            return;
        }
        let text = key.text.as_str();
        let below = inner
            .iter()
            .find_map(|(owner, keys)| Some((owner, suggest::nearest(text, keys.iter().copied())?)));
        let hint = match (suggest::nearest(text, known.iter().copied()), below) {
            (Some(near), _) => Some(format!("did you mean `{near}`?")),
            (None, Some((owner, near))) => Some(format!("did you mean `{near}` in `{owner}`?")),
            (None, None) if listed => None,
            (None, None) => {
                listed = true;
                Some(suggest::hint(text, known.iter().copied()))
            }
        };
        reader.error(key.span, format!("unknown key {}", quoted(text)), hint.as_deref());
    }
}

/// Reads the value of one key.
pub(super) fn field<T: Wire>(entries: &[(Key, Node)], name: &str, reader: &mut Reader<'_>) -> Option<At<T>> {
    let (key, node) = entries.iter().find(|(key, _)| key.text == name)?;
    if matches!(node.kind, Kind::Null) && !T::NULLABLE {
        let hint = "give it a value or remove the key";
        reader.error(key.span, format!("key `{name}` has no value"), Some(hint));
        return None;
    }
    Some(At {
        value: T::read(node, reader)?,
        span: node.span,
        key: key.span,
    })
}

/// Reports the keys that must be there and are not.
pub(super) fn missing(entries: &[(Key, Node)], needed: &[(&str, bool)], span: Span, reader: &mut Reader<'_>) {
    let absent: Vec<_> = needed
        .iter()
        .filter(|(name, needed)| *needed && !entries.iter().any(|(key, _)| key.text == *name))
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if !absent.is_empty() {
        let at = entries.first().map_or(span, |(key, _)| key.span);
        let keys = if absent.len() == 1 { "key" } else { "keys" };
        reader.error(at, format!("missing {keys} {}", absent.join(", ")), None);
    }
}

/// Declares a map with its keys. A key is `name: required Type` or `name: optional Type`, with `= "key"` after the
/// name where it is a word of Rust. Fields are `Option<At<Type>>`: a required one is `None` after it was reported.
macro_rules! record {
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@required required) => { true };
    (@required optional) => { false };
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $about:literal])* $field:ident $(= $key:literal)? : $mode:ident $type:ty),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $name {
            $($(#[doc = $about])* pub(super) $field: Option<$crate::formats::wire::At<$type>>,)*
        }

        impl $crate::formats::wire::Wire for $name {
            const KEYS: &'static [&'static str] = &[$(record!(@key $field $($key)?)),*];

            fn read(
                node: &$crate::formats::tree::Node,
                reader: &mut $crate::formats::reader::Reader<'_>,
            ) -> Option<Self> {
                use $crate::formats::wire;
                let entries = wire::entries("a map", node, reader)?;
                let inner = [$((record!(@key $field $($key)?), <$type as wire::Wire>::KEYS)),*];
                wire::unknown_keys(entries, Self::KEYS, &inner, reader);
                let needed = [$((record!(@key $field $($key)?), record!(@required $mode))),*];
                wire::missing(entries, &needed, node.span, reader);
                Some(Self {
                    $($field: wire::field::<$type>(entries, record!(@key $field $($key)?), reader),)*
                })
            }

            fn schema(definitions: &mut $crate::formats::wire::Definitions) -> serde_json::Value {
                use $crate::formats::wire;
                let name = wire::public_name(stringify!($name));
                if !definitions.contains_key(name) {
                    // A placeholder first: score trees contain themselves.
                    definitions.insert(name, serde_json::Value::Null);
                    let properties = [$((
                        record!(@key $field $($key)?),
                        wire::described(<$type as wire::Wire>::schema(definitions), &[$($about),*]),
                    )),*];
                    let required = [$((record!(@key $field $($key)?), record!(@required $mode))),*];
                    definitions.insert(name, wire::object(&[$($doc),*], properties, &required));
                }
                serde_json::json!({"$ref": format!("#/$defs/{name}")})
            }
        }
    };
}
pub(super) use record;

/// Declares the words of an enum.
macro_rules! words {
    ($type:ty { $($word:literal => $value:expr),+ $(,)? }) => {
        impl $crate::formats::wire::Wire for $type {
            fn read(
                node: &$crate::formats::tree::Node,
                reader: &mut $crate::formats::reader::Reader<'_>,
            ) -> Option<Self> {
                let word = $crate::formats::wire::word(node, &[$($word),+], reader)?;
                match word {
                    $($word => Some($value),)+
                    _ => None,
                }
            }

            fn schema(_: &mut $crate::formats::wire::Definitions) -> serde_json::Value {
                serde_json::json!({"enum": [$($word),+]})
            }
        }
    };
}
pub(super) use words;

/// Returns the name of a type for editors: some have a suffix that keeps them apart from the nouns.
pub(super) fn public_name(name: &'static str) -> &'static str {
    name.strip_suffix("Wire").unwrap_or(name)
}

/// Builds the schema of a map.
pub(super) fn object<const N: usize>(
    doc: &[&str],
    properties: [(&str, Value); N],
    required: &[(&str, bool)],
) -> Value {
    let required: Vec<_> = required
        .iter()
        .filter(|(_, needed)| *needed)
        .map(|(key, _)| *key)
        .collect();
    let properties: serde_json::Map<_, _> = properties
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    described(
        json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
        doc,
    )
}

/// Adds a description to a schema.
pub(super) fn described(schema: Value, doc: &[&str]) -> Value {
    let text = doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    match schema {
        Value::Object(mut map) if !text.is_empty() => {
            map.insert("description".to_owned(), Value::String(text));
            Value::Object(map)
        }
        schema => schema,
    }
}

/// Reads one of some words.
pub(super) fn word(node: &Node, known: &[&'static str], reader: &mut Reader<'_>) -> Option<&'static str> {
    let Kind::Scalar(Scalar { text, .. }) = &node.kind else {
        let words: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
        expected(&format!("one of {}", words.join(", ")), node, reader);
        return None;
    };
    let found = known.iter().copied().find(|word| word == text);
    if found.is_none() {
        let hint = suggest::hint(text, known.iter().copied());
        reader.error(node.span, format!("unknown value {}", quoted(text)), Some(&hint));
    }
    found
}

/// Returns the text of a scalar as written.
pub(super) fn text<'n>(what: &str, node: &'n Node, reader: &mut Reader<'_>) -> Option<&'n Scalar> {
    if let Kind::Scalar(scalar) = &node.kind {
        return Some(scalar);
    }
    expected(what, node, reader);
    None
}

/// Text as written; numbers and the like are taken as their text.
impl Wire for String {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        text("text", node, reader).map(|scalar| scalar.text.clone())
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["string", "number", "boolean"]})
    }
}

/// Text that is not blank.
#[derive(Clone, Debug)]
pub(super) struct Text(pub(super) String);

impl Wire for Text {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = String::read(node, reader)?;
        if text.trim().is_empty() {
            reader.error(
                node.span,
                "the text is empty",
                Some("write something or remove the key"),
            );
            return None;
        }
        Some(Self(text))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string", "minLength": 1})
    }
}

/// A template: text with the knowledge of where its lines stand.
#[derive(Clone, Debug)]
pub(super) struct TemplateText {
    pub(super) text: String,
    pub(super) literal: bool,
}

impl Wire for TemplateText {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = text("text", node, reader)?;
        Some(Self {
            text: scalar.text.clone(),
            literal: scalar.literal,
        })
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "string"})
    }
}

/// An identifier.
#[derive(Clone, Debug)]
pub(super) struct Id(pub(super) String);

impl Wire for Id {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = text("an identifier", node, reader)?;
        if let Some(problem) = crate::ids::id_problem(&scalar.text) {
            let hint = "use lower-case letters, digits, `-` and `_`, such as `auth-log-intruder`";
            reader.error(
                node.span,
                format!("identifier {} {problem}", quoted(&scalar.text)),
                Some(hint),
            );
            return None;
        }
        Some(Self(scalar.text.clone()))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": ["string", "integer"], "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"})
    }
}

impl Wire for bool {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Kind::Scalar(Scalar {
            text, plain: true, ..
        }) = &node.kind
        else {
            expected("true or false", node, reader);
            return None;
        };
        match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                reader.error(
                    node.span,
                    format!("expected true or false, found {}", quoted(text)),
                    Some("write `true` or `false`; `yes`, `no`, `on` and `off` are text"),
                );
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "boolean"})
    }
}

impl Wire for f64 {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = text("a number", node, reader)?;
        let number = plain_number(&scalar.text).and_then(|number| number.as_f64());
        if number.is_none() || !scalar.plain {
            let hint = (!scalar.plain).then_some("write the number without quotes");
            reader.error(
                node.span,
                format!("expected a number, found {}", quoted(&scalar.text)),
                hint,
            );
            return None;
        }
        number
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "number"})
    }
}

macro_rules! whole_numbers {
    ($($type:ty),+) => {$(
        impl Wire for $type {
            fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
                let scalar = text("a whole number", node, reader)?;
                let digits = scalar.text.replace('_', "");
                let number = digits.parse().ok().filter(|_| scalar.plain);
                if number.is_none() {
                    let large = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() && scalar.plain;
                    let (message, hint) = match (large, scalar.plain) {
                        (true, _) => (format!("{} is more than {}", quoted(&scalar.text), <$type>::MAX), None),
                        (false, true) => (format!("expected a whole number, found {}", quoted(&scalar.text)), None),
                        (false, false) => (
                            format!("expected a whole number, found the text {}", quoted(&scalar.text)),
                            Some("write the number without quotes"),
                        ),
                    };
                    reader.error(node.span, message, hint);
                }
                number
            }

            fn schema(_: &mut Definitions) -> Value {
                json!({"type": "integer", "minimum": 0, "maximum": <$type>::MAX})
            }
        }
    )+};
}
whole_numbers!(u32, u64);

fn unit<T>(
    node: &Node,
    what: &str,
    read: fn(&str) -> Result<T, UnitError>,
    reader: &mut Reader<'_>,
) -> Option<T> {
    let scalar = text(what, node, reader)?;
    match read(&scalar.text) {
        Ok(value) => Some(value),
        Err(error) => {
            let hint = match &error {
                UnitError::UnknownUnit { unit, known } => {
                    suggest::nearest(unit, known.split(", ")).map(|near| format!("did you mean `{near}`?"))
                }
                UnitError::NoUnit { .. } | UnitError::NotANumber { .. } | UnitError::TooLarge { .. } => None,
            };
            let message = crate::text::printable(&error.to_string());
            reader.error(node.span, message, hint.as_deref());
            None
        }
    }
}

macro_rules! units {
    ($($type:ty, $what:literal, $read:expr, $pattern:literal;)+) => {$(
        impl Wire for $type {
            fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
                unit(node, $what, $read, reader)
            }

            fn schema(_: &mut Definitions) -> Value {
                json!({"type": ["string", "integer"], "pattern": $pattern})
            }
        }
    )+};
}
units! {
    Duration, "a duration such as `20m`", parse_duration, "^([0-9][0-9_.]* ?(ms|s|m|h|d) ?)+$";
    Bytes, "a size such as `512MiB`", parse_bytes, "^[0-9][0-9_.]* ?(B|KB|MB|GB|KiB|MiB|GiB|TiB)$";
    Tokens, "a count such as `200k`", |text| parse_count(text).map(Tokens), "^[0-9][0-9_.]* ?(k|M|G)?$";
}

impl Wire for Usd {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = text("dollars such as `2.50`", node, reader)?;
        let amount = plain_number(&scalar.text)
            .and_then(|number| number.as_f64())
            .and_then(Self::from_dollars);
        if amount.is_none() {
            reader.error(
                node.span,
                format!("expected dollars such as `2.50`, found {}", quoted(&scalar.text)),
                Some("write a number without a currency sign"),
            );
        }
        amount
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"type": "number", "minimum": 0})
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            expected("a list", node, reader);
            return None;
        };
        Some(items.iter().filter_map(|item| T::read(item, reader)).collect())
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "array", "items": T::schema(definitions)})
    }
}

/// A map from free keys.
#[derive(Clone, Debug)]
pub(super) struct Keyed<T>(pub(super) Vec<(Key, At<T>)>);

impl<T: Wire> Wire for Keyed<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let entries = entries("a map", node, reader)?;
        let read = |(key, node): &(Key, Node)| Some((key.clone(), At::read(node, reader)?));
        Some(Self(entries.iter().filter_map(read).collect()))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"type": "object", "additionalProperties": T::schema(definitions)})
    }
}

/// One text or several.
#[derive(Clone, Debug)]
pub(super) struct OneOrMany(pub(super) Vec<At<String>>);

impl Wire for OneOrMany {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Kind::List(_) = &node.kind {
            return Vec::read(node, reader).map(Self);
        }
        At::read(node, reader).map(|one| Self(vec![one]))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [String::schema(definitions), Vec::<String>::schema(definitions)]})
    }
}

/// Any value, as JSON.
impl Wire for Value {
    const NULLABLE: bool = true;

    fn read(node: &Node, _: &mut Reader<'_>) -> Option<Self> {
        Some(to_json(node))
    }

    fn schema(_: &mut Definitions) -> Value {
        json!(true)
    }
}

/// Converts a tree to JSON: unquoted `true`, `false` and numbers become what they look like, all else is text.
pub(super) fn to_json(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::List(items) => items.iter().map(to_json).collect(),
        Kind::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, node)| (key.text.clone(), to_json(node)))
                .collect(),
        ),
        Kind::Scalar(scalar) if scalar.plain => match scalar.text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => plain_number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
        },
        Kind::Scalar(scalar) => Value::String(scalar.text.clone()),
    }
}

/// Reads a finite decimal number; `007`, `0x10`, `.nan` and `1_000` are text.
fn plain_number(text: &str) -> Option<serde_json::Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit())
        || (digits.len() > 1
            && digits.starts_with('0')
            && !digits.starts_with("0.")
            && !digits.starts_with("0e"))
        || !digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    serde_json::Number::from_f64(text.parse().ok()?)
}
