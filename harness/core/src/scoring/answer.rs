//! Compares a submission with the accepted answers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{scored, unscored};
use crate::score::{ScoreResult, Unscored};
use crate::task::{AnswerSpec, Matching};
use crate::text::Capped;

/// The longest submission that is compared, in bytes; what lies beyond is not looked at.
const LONGEST: usize = 1 << 20;

/// Compares a submission with the accepted answers. No submission at all scores 0.
pub fn compare(spec: &AnswerSpec, submission: Option<&str>, targets: &[String]) -> ScoreResult {
    let Some(submission) = submission else {
        return scored(0.0, "nothing was submitted");
    };
    let submission = &submission[..crate::text::floor_border(submission, LONGEST)];
    let fold = |text: &str| {
        if spec.ignore_case {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let shown = Capped::new(submission.trim(), 500).text;
    let verdict = |right: bool| {
        let word = if right { "right" } else { "wrong" };
        scored(f64::from(u8::from(right)), &format!("{word}: {shown:?}"))
    };
    let given = fold(submission.trim());
    match &spec.matching {
        Matching::Exact => verdict(targets.iter().any(|target| fold(target.trim()) == given)),
        Matching::Includes => verdict(
            targets
                .iter()
                .any(|target| given.contains(fold(target.trim()).as_str())),
        ),
        Matching::Regex => match any_regex(spec, submission, targets) {
            Ok(right) => verdict(right),
            Err(detail) => unscored(Unscored::Crashed, &detail),
        },
        Matching::Numeric { tolerance } => verdict(numeric(submission, targets, *tolerance)),
        Matching::Json { schema } => match json(submission, schema, targets) {
            Ok(right) => verdict(right),
            Err(detail) => unscored(Unscored::Crashed, &detail),
        },
        Matching::Choice => verdict(choice(submission).is_some_and(|letter| {
            targets
                .iter()
                .any(|target| target.trim().eq_ignore_ascii_case(letter.to_string().as_str()))
        })),
        Matching::F1 => {
            let best = targets
                .iter()
                .map(|target| f1(submission, target))
                .fold(0.0, f64::max);
            scored(best, &format!("F1 {best:.3}: {shown:?}"))
        }
    }
}

fn any_regex(spec: &AnswerSpec, submission: &str, targets: &[String]) -> Result<bool, String> {
    for target in targets {
        let regex = regex::RegexBuilder::new(target)
            .case_insensitive(spec.ignore_case)
            .size_limit(1 << 20)
            .build()
            .map_err(|error| format!("the target is not a regular expression: {error}"))?;
        if regex.is_match(submission) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn numeric(submission: &str, targets: &[String], tolerance: f64) -> bool {
    let Some(given) = last_number(submission) else {
        return false;
    };
    targets
        .iter()
        .filter_map(|target| last_number(target))
        .any(|target| {
            // A target such as 0.1 is not exact in binary; the last bits of both may differ.
            (given - target).abs() <= tolerance + 1e-12 * target.abs()
        })
}

/// Returns the last number of a text. Thousands separators (`1,234`) are understood.
fn last_number(text: &str) -> Option<f64> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+' | 'e' | 'E');
    text.split(|c| !is_part(c)).rev().find_map(|word| {
        let word = word
            .trim_matches(|c| matches!(c, '.' | ',' | 'e' | 'E'))
            .trim_end_matches(['-', '+']);
        let plain = word.replace(',', "");
        plain
            .starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            .then_some(())?;
        plain.parse::<f64>().ok().filter(|value| value.is_finite())
    })
}

fn json(submission: &str, schema: &Value, targets: &[String]) -> Result<bool, String> {
    let validator =
        jsonschema::validator_for(schema).map_err(|error| format!("the schema is wrong: {error}"))?;
    let text = submission.trim();
    let inside = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let text = inside
        .and_then(|inside| inside.strip_suffix("```"))
        .unwrap_or(text);
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Ok(false);
    };
    if !validator.is_valid(&value) {
        return Ok(false);
    }
    let accepted: Vec<Value> = targets
        .iter()
        .filter_map(|target| serde_json::from_str(target).ok())
        .collect();
    Ok(targets.is_empty() || accepted.iter().any(|target| same(target, &value)))
}

/// Compares JSON values; `1` and `1.0` are the same number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}

/// Returns the letter that a submission chooses: `B`, `b)`, `(B)`, `B. because ...`, `The answer is B`. The first line
/// counts if it begins with a letter alone, else the last letter that stands alone after "answer" or at the end.
fn choice(submission: &str) -> Option<char> {
    let text = submission
        .trim()
        .trim_matches(|c| matches!(c, '*' | '`' | '"' | '\''));
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let letter = |word: &&str| -> Option<char> {
        let mut chars = word.chars();
        let first = chars.next().filter(char::is_ascii_alphabetic)?;
        chars.next().is_none().then(|| first.to_ascii_uppercase())
    };
    let first = words.first().and_then(letter);
    let marked = text
        .trim_start_matches('(')
        .chars()
        .nth(1)
        .is_none_or(|c| !c.is_alphanumeric() && c != ' ' && c != '\'');
    if let Some(first) = first
        && marked
    {
        return Some(first);
    }
    let after_answer = words
        .iter()
        .rposition(|word| matches!(word.to_lowercase().as_str(), "answer" | "choice" | "option"));
    let from = after_answer.map_or(words.len().saturating_sub(1), |at| at + 1);
    // "A" and "I" are words too: they count only in capitals and as the last word or right after "is".
    words[from.min(words.len())..]
        .iter()
        .filter(|word| word.chars().all(|c| c.is_ascii_uppercase()))
        .find_map(letter)
}

/// F1 of the tokens as SQuAD defines it (Rajpurkar et al. 2016): the harmonic mean of precision and recall over the
/// bags of lower-case words without punctuation and English articles.
fn f1(submission: &str, target: &str) -> f64 {
    let bag = |text: &str| {
        let mut bag: BTreeMap<String, u32> = BTreeMap::new();
        let lower = text.to_lowercase();
        for word in lower.split_whitespace() {
            let word: String = word.chars().filter(|c| c.is_alphanumeric()).collect();
            if !word.is_empty() && !matches!(word.as_str(), "a" | "an" | "the") {
                *bag.entry(word).or_default() += 1;
            }
        }
        bag
    };
    let (given, wanted) = (bag(submission), bag(target));
    let (n_given, n_wanted) = (given.values().sum::<u32>(), wanted.values().sum::<u32>());
    if n_given == 0 || n_wanted == 0 {
        return f64::from(u8::from(n_given == n_wanted));
    }
    let common: u32 = given
        .iter()
        .map(|(word, n)| (*n).min(wanted.get(word).copied().unwrap_or(0)))
        .sum();
    if common == 0 {
        return 0.0;
    }
    let (precision, recall) = (
        f64::from(common) / f64::from(n_given),
        f64::from(common) / f64::from(n_wanted),
    );
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    fn value(matching: Matching, submission: &str, target: &str) -> Option<f64> {
        let spec = AnswerSpec {
            matching,
            ignore_case: false,
        };
        compare(&spec, Some(submission), &[target.to_owned()])
            .score()
            .map(|score| score.value)
    }

    #[test]
    fn texts_are_compared() {
        let cases = [
            (Matching::Exact, " mallory\n", "mallory", 1.0),
            (Matching::Exact, "Mallory", "mallory", 0.0),
            (Matching::Exact, "it is mallory", "mallory", 0.0),
            (Matching::Includes, "it is mallory.", "mallory", 1.0),
            (Matching::Regex, "flag{abc}", r"^flag\{[a-c]+\}$", 1.0),
            (Matching::Regex, "flag{xyz}", r"^flag\{[a-c]+\}$", 0.0),
            (Matching::F1, "the cat sat", "a cat sat down", 0.8),
            (Matching::F1, "", "x", 0.0),
        ];
        for (matching, submission, target, expected) in cases {
            assert_eq!(
                value(matching.clone(), submission, target),
                Some(expected),
                "{matching:?} {submission:?}"
            );
        }
        let loose = AnswerSpec {
            matching: Matching::Exact,
            ignore_case: true,
        };
        assert_eq!(
            compare(&loose, Some("MALLORY"), &["mallory".into()])
                .score()
                .map(|s| s.value),
            Some(1.0)
        );
        assert_eq!(
            compare(&loose, None, &[String::new()]).score().map(|s| s.value),
            Some(0.0)
        );
    }

    #[test]
    fn the_last_number_counts() {
        let number = |submission: &str| value(Matching::Numeric { tolerance: 0.5 }, submission, "1234");
        let right = [
            "1234",
            "1,234",
            "it is 1234.",
            "12 + 1222 = 1234",
            "1233.5",
            "$1,234.4",
            "1.234e3",
            "=1234!",
        ];
        for submission in right {
            assert_eq!(number(submission), Some(1.0), "{submission}");
        }
        for submission in ["", "none", "1234 or 99", "12345", "-1234", "NaN", "inf"] {
            assert_eq!(number(submission), Some(0.0), "{submission}");
        }
        assert_eq!(
            value(Matching::Numeric { tolerance: 0.0 }, "0.30000000000000004", "0.3"),
            Some(1.0)
        );
    }

    #[test]
    fn letters_are_found_as_people_and_models_write_them() {
        for submission in [
            "B",
            "b",
            "(B)",
            "B.",
            "B) a bridge",
            "**B**",
            "Answer: B",
            "The answer is B.",
            "I choose B",
        ] {
            assert_eq!(choice(submission), Some('B'), "{submission}");
        }
        for submission in ["", "bridge", "none of them", "AB", "42"] {
            assert_eq!(choice(submission), None, "{submission}");
        }
        assert_eq!(choice("I think it is A"), Some('A'));
        assert_eq!(choice("A container is isolated, so the answer is C"), Some('C'));
    }

    #[test]
    fn json_answers_fit_schema_and_target() {
        let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "number"}}});
        let matching = || Matching::Json {
            schema: schema.clone(),
        };
        assert_eq!(value(matching(), "{\"n\": 1.0}", "{\"n\": 1}"), Some(1.0));
        assert_eq!(
            value(matching(), "```json\n{\"n\": 1}\n```", "{\"n\": 1}"),
            Some(1.0)
        );
        assert_eq!(value(matching(), "{\"n\": 2}", "{\"n\": 1}"), Some(0.0));
        assert_eq!(value(matching(), "{\"n\": \"1\"}", "{\"n\": 1}"), Some(0.0));
        assert_eq!(value(matching(), "n=1", "{\"n\": 1}"), Some(0.0));
        assert_eq!(
            value(
                Matching::Json {
                    schema: json!({"type": 3})
                },
                "{}",
                "{}"
            ),
            None
        );
    }
}
