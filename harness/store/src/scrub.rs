//! Takes secrets out of everything that is written.
//!
//! Owns: what a secret looks like in text, in JSON and in JSON within JSON. Must not: know where secrets come
//! from.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::Value;

/// What stands where a secret was.
const REPLACEMENT: &str = "[secret]";

/// The fewest characters of a secret; anything shorter would be found in innocent text.
const SHORTEST: usize = 6;

/// Finds a fixed set of secrets.
#[derive(Clone, Default)]
pub struct Scrubber {
    finder: Option<AhoCorasick>,
}

/// A secret that can't be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// It would be found in innocent text. The secret itself is not named here.
    #[error("secret number {number} has fewer than {SHORTEST} characters, use a longer one")]
    Short {
        /// Its place in the list, from 1.
        number: usize,
    },
    /// The list is too long for a search.
    #[error("the secrets can't be searched for: {detail}")]
    TooMany {
        /// Why.
        detail: String,
    },
}

impl Scrubber {
    /// Returns a scrubber that knows no secret.
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes a scrubber of secrets. White space around a secret is not part of it; empty ones are left out.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, WeakSecret> {
        let mut forms = BTreeSet::new();
        for (at, secret) in secrets.into_iter().enumerate() {
            let secret = secret.as_ref().trim();
            if secret.is_empty() {
                continue;
            }
            if secret.chars().count() < SHORTEST {
                return Err(WeakSecret::Short { number: at + 1 });
            }
            add_forms(secret, &mut forms);
        }
        if forms.is_empty() {
            return Ok(Self::none());
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&forms)
            .map_err(|error| WeakSecret::TooMany {
                detail: error.to_string(),
            })?;
        Ok(Self { finder: Some(finder) })
    }

    /// Takes secrets out of bytes of any kind.
    pub fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(finder) = self.finder.as_ref().filter(|finder| finder.is_match(bytes)) else {
            return Cow::Borrowed(bytes);
        };
        let mut clean = Vec::with_capacity(bytes.len());
        finder.replace_all_with_bytes(bytes, &mut clean, |_, _, out| {
            out.extend_from_slice(REPLACEMENT.as_bytes());
            true
        });
        Cow::Owned(clean)
    }

    /// Takes secrets out of text.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(finder) = self.finder.as_ref().filter(|finder| finder.is_match(text)) else {
            return Cow::Borrowed(text);
        };
        let mut clean = String::with_capacity(text.len());
        finder.replace_all_with(text, &mut clean, |_, _, out| {
            out.push_str(REPLACEMENT);
            true
        });
        Cow::Owned(clean)
    }

    /// Takes secrets out of one serialized JSON value. `None` if there is none in it, which is the quick and
    /// common case. Replacing within the serialized text could cut an escape (`\n` before `ameless`) or a
    /// number in half, so the strings of the value are cleaned one by one; numbers stay.
    pub(crate) fn json(&self, text: &str) -> Option<Result<String, serde_json::Error>> {
        let finder = self.finder.as_ref()?;
        if !finder.is_match(text) {
            return None;
        }
        Some(serde_json::from_str(text).and_then(|value| serde_json::to_string(&self.value(value))))
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(entries) => entries
                .into_iter()
                .map(|(key, item)| (self.text(&key).into_owned(), self.value(item)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

/// Never shows what is looked for.
impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.finder.as_ref().map_or(0, AhoCorasick::patterns_len);
        write!(f, "Scrubber({forms} forms)")
    }
}

/// Adds a secret as it is, as JSON writes it (with and without non-ASCII characters), and as JSON writes that
/// again, up to three levels: a tool's output that shows a request body is a string in a string in a line.
fn add_forms(secret: &str, forms: &mut BTreeSet<String>) {
    let mut level = BTreeSet::from([secret.to_owned()]);
    for _ in 0..3 {
        let next = level
            .iter()
            .flat_map(|form| [escaped(form), ascii(&escaped(form))])
            .collect();
        forms.append(&mut level);
        level = next;
    }
    forms.append(&mut level);
}

/// Returns the text between the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Returns JSON text with every non-ASCII character as `\uXXXX`.
fn ascii(text: &str) -> String {
    let mut units = [0; 2];
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            out.extend(
                c.encode_utf16(&mut units)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    #[test]
    fn secrets_are_found_at_every_depth() {
        let secret = "sk-\"quoted\"\\é\u{1f511}-end";
        let scrubber = Scrubber::new([secret]).unwrap();
        let mut text = format!("key: {secret}.");
        for depth in 0..3 {
            assert_eq!(
                scrubber.text(&text).matches(REPLACEMENT).count(),
                1,
                "depth {depth}: {text}"
            );
            assert_eq!(scrubber.bytes(text.as_bytes()), scrubber.text(&text).as_bytes());
            text = ascii(&json!({ "body": text }).to_string());
        }
        assert_eq!(scrubber.text("nothing here"), "nothing here");
    }

    #[test]
    fn json_stays_json() {
        let scrubber = Scrubber::new(["nameless", "123456", "  spaced-out\n", ""]).unwrap();
        let value = json!({
            "text": "line\nnameless", "escape": "line\nameless", "number": 123_456, "digits": "123456",
            "nameless": ["spaced-out", "x\"nameless\"y"],
        });
        let clean = scrubber.json(&value.to_string()).unwrap().unwrap();
        let expected = json!({
            "text": "line\n[secret]", "escape": "line\nameless", "number": 123_456, "digits": "[secret]",
            "[secret]": ["[secret]", "x\"[secret]\"y"],
        });
        assert_eq!(serde_json::from_str::<Value>(&clean).unwrap(), expected);
        assert!(scrubber.json(r#"{"a":1}"#).is_none());
    }

    #[test]
    fn weak_secrets_are_refused_without_naming_them() {
        let error = Scrubber::new(["long enough", "12345"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "secret number 2 has fewer than 6 characters, use a longer one"
        );
        let scrubber = Scrubber::new(["long enough"]).unwrap();
        assert_eq!(format!("{scrubber:?}"), "Scrubber(1 forms)");
    }

    #[test]
    fn the_longest_of_overlapping_secrets_goes() {
        let scrubber = Scrubber::new(["abcdef", "abcdefghij", "cdefgh"]).unwrap();
        assert_eq!(
            scrubber.text("xabcdefghijx abcdefx cdefghx"),
            "x[secret]x [secret]x [secret]x"
        );
    }
}
