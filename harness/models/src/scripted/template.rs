//! Text with places for what a pattern captured.
//!
//! Owns: `${1}` and `${name}` in replies. Must not: match patterns.

use regex::{Captures, Regex};
use serde_json::Value;

/// Text with places for captures.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(String),
    /// A capture; `quoted` within a JSON string.
    Capture {
        group: usize,
        quoted: bool,
    },
}

/// A place for a group that the pattern does not have.
#[derive(Debug, PartialEq)]
pub(super) struct NoSuchGroup(pub(super) String);

impl Template {
    /// Reads a template. Without a pattern every character stands for itself. With one, `${1}` and `${name}`
    /// stand for its groups, `$${` for `${`; other `${...}` stay, since shell text is full of them.
    pub(super) fn text(text: &str, pattern: Option<&Regex>) -> Result<Self, NoSuchGroup> {
        let mut template = Self::default();
        template.push_text(text, pattern, false)?;
        Ok(template)
    }

    /// Reads a template of JSON: captures are filled into its strings.
    pub(super) fn json(value: &Value, pattern: Option<&Regex>) -> Result<Self, NoSuchGroup> {
        let mut template = Self::default();
        template.push_json(value, pattern)?;
        Ok(template)
    }

    /// Fills in what was captured.
    pub(super) fn fill(&self, captures: Option<&Captures<'_>>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Capture { group, quoted } => {
                    let found = captures.and_then(|captures| captures.get(*group));
                    let found = found.map_or("", |found| found.as_str());
                    if *quoted {
                        out.push_str(&inside_quotes(found));
                    } else {
                        out.push_str(found);
                    }
                }
            }
        }
        out
    }

    fn push_literal(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Part::Literal(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(Part::Literal(text.to_owned())),
        }
    }

    fn push_text(&mut self, text: &str, pattern: Option<&Regex>, quoted: bool) -> Result<(), NoSuchGroup> {
        let literal = |template: &mut Self, text: &str| {
            if quoted {
                template.push_literal(&inside_quotes(text));
            } else {
                template.push_literal(text);
            }
        };
        let Some(pattern) = pattern else {
            literal(self, text);
            return Ok(());
        };
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                literal(self, &rest[..start - 1]);
                literal(self, "${");
                rest = &rest[start + 2..];
                continue;
            }
            literal(self, &rest[..start]);
            rest = &rest[start..];
            let Some(end) = rest.find('}') else { break };
            let name = &rest[2..end];
            match group_of(pattern, name)? {
                Some(group) => self.0.push(Part::Capture { group, quoted }),
                None => literal(self, &rest[..=end]),
            }
            rest = &rest[end + 1..];
        }
        literal(self, rest);
        Ok(())
    }

    fn push_json(&mut self, value: &Value, pattern: Option<&Regex>) -> Result<(), NoSuchGroup> {
        match value {
            Value::String(text) => {
                self.push_literal("\"");
                self.push_text(text, pattern, true)?;
                self.push_literal("\"");
            }
            Value::Array(items) => {
                self.push_literal("[");
                for (n, item) in items.iter().enumerate() {
                    self.push_literal(if n > 0 { "," } else { "" });
                    self.push_json(item, pattern)?;
                }
                self.push_literal("]");
            }
            Value::Object(entries) => {
                self.push_literal("{");
                for (n, (key, item)) in entries.iter().enumerate() {
                    self.push_literal(if n > 0 { "," } else { "" });
                    self.push_literal(&format!("\"{}\":", inside_quotes(key)));
                    self.push_json(item, pattern)?;
                }
                self.push_literal("}");
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => self.push_literal(&value.to_string()),
        }
        Ok(())
    }
}

/// Returns the group of that name or number; `None` if this is no name of a group at all.
fn group_of(pattern: &Regex, name: &str) -> Result<Option<usize>, NoSuchGroup> {
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return match name.parse::<usize>() {
            Ok(group) if group < pattern.captures_len() => Ok(Some(group)),
            _ => Err(NoSuchGroup(name.chars().take(20).collect())),
        };
    }
    Ok(pattern.capture_names().position(|group| group == Some(name)))
}

/// Writes text as it stands between the quotes of a JSON string.
fn inside_quotes(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    #[test]
    fn captures_are_filled_in() {
        let pattern = Regex::new(r"is (\S+)(?: by (?P<who>\w+))?").unwrap();
        let captures = pattern.captures("it is a\"b by ann");
        let cases = [
            ("${1} ${who}", "a\"b ann"),
            ("${0}!", "is a\"b by ann!"),
            ("$1 ${HOME} $${1} ${", "$1 ${HOME} ${1} ${"),
            ("${}${ä}", "${}${ä}"),
        ];
        for (text, expected) in cases {
            let template = Template::text(text, Some(&pattern)).unwrap();
            assert_eq!(template.fill(captures.as_ref()), expected);
            let filled = Template::json(&json!({"k\"": [text, 1, null]}), Some(&pattern)).unwrap();
            let filled: Value = serde_json::from_str(&filled.fill(captures.as_ref())).unwrap();
            assert_eq!(filled, json!({"k\"": [expected, 1, null]}));
        }
        assert_eq!(
            Template::text("${3}", Some(&pattern)),
            Err(NoSuchGroup("3".to_owned()))
        );
        assert_eq!(Template::text("${3}", None).unwrap().fill(None), "${3}");
        let unmatched = pattern.captures("is x");
        assert_eq!(
            Template::text("<${who}>", Some(&pattern))
                .unwrap()
                .fill(unmatched.as_ref()),
            "<>"
        );
    }
}
