//! What of a server's words may enter an error text.
//!
//! Owns: taking the key out, cutting, cleaning. Must not: decide what an error means.

use harness_core::text::printable;
use secrecy::{ExposeSecret, SecretString};

/// The longest excerpt, in characters.
pub(super) const MAX_EXCERPT: usize = 200;
/// How much of a text is looked at for an excerpt, in bytes.
const LOOKED_AT: usize = 64 << 10;

/// Makes excerpts that never hold the key.
#[derive(Clone)]
pub(super) struct Redactor {
    /// The key as it is and as JSON may write it, longest first.
    forms: Vec<SecretString>,
}

impl Redactor {
    /// Prepares for a key.
    pub(super) fn new(key: Option<&str>) -> Self {
        let key = key.unwrap_or_default();
        let quoted = serde_json::to_string(key).unwrap_or_default();
        let quoted = quoted.trim_matches('"').to_owned();
        let mut forms = vec![key.to_owned(), quoted.replace('/', "\\/"), quoted];
        forms.retain(|form| !form.is_empty());
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self {
            forms: forms.into_iter().map(SecretString::from).collect(),
        }
    }

    /// Returns the beginning of some text, in one line, without control characters and without the key.
    pub(super) fn excerpt(&self, text: &str) -> String {
        let end = harness_core::text::floor_border(text, LOOKED_AT);
        let text = self.without_key(&text[..end]);
        let words: Vec<_> = text.split_whitespace().collect();
        let line = self.without_key(&printable(&words.join(" ")));
        if line.chars().count() <= MAX_EXCERPT {
            return line;
        }
        let mut cut: String = line.chars().take(MAX_EXCERPT - 1).collect();
        cut.push('…');
        cut
    }

    /// Returns an excerpt of bytes.
    pub(super) fn excerpt_bytes(&self, bytes: &[u8]) -> String {
        self.excerpt(&String::from_utf8_lossy(&bytes[..bytes.len().min(LOOKED_AT)]))
    }

    fn without_key(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| {
            if text.contains(form.expose_secret()) {
                text.replace(form.expose_secret(), "***")
            } else {
                text
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn excerpts_are_short_clean_and_without_the_key() {
        let redactor = Redactor::new(Some("sk-a/b\"c"));
        let cases = [
            ("wrong key sk-a/b\"c given", "wrong key *** given"),
            (r#"{"key": "sk-a\/b\"c"}"#, r#"{"key": "***"}"#),
            (r#"{"key": "sk-a/b\"c"}"#, r#"{"key": "***"}"#),
            ("a\r\n\t b\x1b[31m\u{202e}", "a b\\u{1b}[31m\\u{202e}"),
        ];
        for (text, expected) in cases {
            assert_eq!(redactor.excerpt(text), expected);
        }
        let long = redactor.excerpt(&"ä".repeat(100_000));
        assert_eq!(long, format!("{}…", "ä".repeat(199)));
        assert_eq!(Redactor::new(None).excerpt("text"), "text");
        assert_eq!(Redactor::new(Some("ab")).excerpt("a\u{1}b"), "a\\u{1}b");
    }

    #[test]
    fn a_key_with_spaces_does_not_come_back_by_joining_words() {
        assert_eq!(Redactor::new(Some("a b")).excerpt("a  b"), "***");
    }
}
