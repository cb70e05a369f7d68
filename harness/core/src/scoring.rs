//! Turns submissions and the output of scoring programs into scores.
//!
//! Owns: comparisons, the reading of a scorer's output, judges' verdicts, combinations. Must not: run a program or
//! call a model; what is run and what it printed come in as values.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ports::{ExecEnding, ExecResult};
use crate::score::{Score, ScoreResult, Unscored};
use crate::task::{CommandSpec, JudgeSpec, ScoreRead, ScoreSpec};
use crate::text::{Capped, clean};

mod answer;
mod judge;

pub use answer::compare;
pub use judge::{judge_prompt, read_verdict};

/// The longest evidence that is kept with a score, in bytes.
const EVIDENCE: usize = 4096;

/// One part of a scorer that the driver runs: a comparison, a program or a judge.
#[derive(Clone, Debug, PartialEq)]
pub enum Part<'a> {
    /// Compare the submission (no effects).
    Answer(&'a crate::task::AnswerSpec),
    /// Run this program.
    Command(&'a CommandSpec),
    /// Ask this model.
    Judge(&'a JudgeSpec),
}

/// Returns the parts of a scorer in order, each with its place in it, such as `all/0/command`.
pub fn parts(spec: &ScoreSpec) -> Vec<(String, Part<'_>)> {
    let mut found = Vec::new();
    collect(spec, "", &mut found);
    found
}

fn collect<'a>(spec: &'a ScoreSpec, place: &str, found: &mut Vec<(String, Part<'a>)>) {
    let list = |name: &str, parts: &'a [ScoreSpec], found: &mut Vec<_>| {
        for (index, part) in parts.iter().enumerate() {
            collect(part, &format!("{place}{name}/{index}/"), found);
        }
    };
    match spec {
        ScoreSpec::Answer(answer) => found.push((format!("{place}answer"), Part::Answer(answer))),
        ScoreSpec::Command(command) => found.push((format!("{place}command"), Part::Command(command))),
        ScoreSpec::Judge(judge) => found.push((format!("{place}judge"), Part::Judge(judge))),
        ScoreSpec::All(parts) => list("all", parts, found),
        ScoreSpec::Any(parts) => list("any", parts, found),
        ScoreSpec::Mean(parts) => list("mean", parts, found),
    }
}

/// Puts the results of the parts (in the order of [`parts`]) together.
///
/// `all` is the lowest part, `any` the highest, `mean` the arithmetic mean. An unscored part makes the whole
/// unscored, unless it cannot matter: a part at 0 decides `all`, a part at 1 decides `any`.
pub fn combine(spec: &ScoreSpec, results: &[ScoreResult], threshold: f64) -> ScoreResult {
    let mut results = results.iter();
    let mut result = fold(spec, &mut results);
    if let ScoreResult::Scored(score) = &mut result {
        score.threshold = threshold;
    }
    result
}

fn fold<'a>(spec: &ScoreSpec, results: &mut impl Iterator<Item = &'a ScoreResult>) -> ScoreResult {
    match spec {
        ScoreSpec::Answer(_) | ScoreSpec::Command(_) | ScoreSpec::Judge(_) => results
            .next()
            .cloned()
            .unwrap_or_else(|| unscored(Unscored::NothingStored, "a part of the scorer brought no result")),
        ScoreSpec::All(parts) => {
            let scores: Vec<_> = parts.iter().map(|part| fold(part, results)).collect();
            merge(&scores, Some(0.0), |values| {
                values.iter().copied().fold(1.0, f64::min)
            })
        }
        ScoreSpec::Any(parts) => {
            let scores: Vec<_> = parts.iter().map(|part| fold(part, results)).collect();
            merge(&scores, Some(1.0), |values| {
                values.iter().copied().fold(0.0, f64::max)
            })
        }
        ScoreSpec::Mean(parts) => {
            let scores: Vec<_> = parts.iter().map(|part| fold(part, results)).collect();
            merge(&scores, None, |values| {
                values.iter().sum::<f64>() / values.len().max(1) as f64
            })
        }
    }
}

fn merge(results: &[ScoreResult], decisive: Option<f64>, value: impl Fn(&[f64]) -> f64) -> ScoreResult {
    let decided = |result: &&ScoreResult| result.score().is_some_and(|score| Some(score.value) == decisive);
    if let Some(result) = results.iter().find(decided) {
        return result.clone();
    }
    if let Some(missing) = results.iter().find(|result| result.score().is_none()) {
        return missing.clone();
    }
    let scores: Vec<&Score> = results.iter().filter_map(ScoreResult::score).collect();
    let values: Vec<f64> = scores.iter().map(|score| score.value).collect();
    let words: Vec<String> = scores
        .iter()
        .map(|score| format!("{}: {}", score.value, score.evidence.text))
        .collect();
    let metrics: BTreeMap<String, f64> = scores
        .iter()
        .flat_map(|score| score.metrics.iter().map(|(name, value)| (name.clone(), *value)))
        .collect();
    ScoreResult::Scored(Score {
        value: value(&values),
        threshold: 1.0,
        evidence: Capped::new(&words.join("; "), EVIDENCE),
        metrics,
    })
}

/// Reads the result of a scoring program.
pub fn read_result(read: ScoreRead, result: &ExecResult) -> ScoreResult {
    let code = match result.ending {
        ExecEnding::Exited { code } => code,
        ExecEnding::TimedOut { after } => {
            let detail = format!(
                "the scorer took longer than {}",
                crate::units::format_duration(after)
            );
            return unscored(Unscored::TimedOut, &detail);
        }
        ExecEnding::OutOfMemory { .. } => return unscored(Unscored::Crashed, "the scorer ran out of memory"),
        ExecEnding::OutputLimit { limit } => {
            return unscored(
                Unscored::BadOutput,
                &format!("the scorer printed more than {limit}"),
            );
        }
        ExecEnding::DiskLimit { limit } => {
            return unscored(
                Unscored::Crashed,
                &format!("the disk grew over {limit} while scoring"),
            );
        }
    };
    let stdout = result.stdout.readable(64 << 10);
    let tail = format!("{}{}", clean(&result.stdout.head), clean(&result.stdout.tail));
    let last = tail
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("");
    match (read, code) {
        (ScoreRead::Exit, 0 | 1) => {
            scored(f64::from(1 - code), &format!("exit code {code}; {}", stdout.text))
        }
        (_, 0) => read_line(read, last),
        (_, code) => {
            let stderr = result.stderr.readable(2048).text;
            unscored(
                Unscored::Crashed,
                &format!("the scorer ended with exit code {code}: {stderr}"),
            )
        }
    }
}

fn read_line(read: ScoreRead, line: &str) -> ScoreResult {
    let bad = |what: &str| {
        let line = Capped::new(line, 200).text;
        unscored(
            Unscored::BadOutput,
            &format!("{what}; the scorer's last line was {line:?}"),
        )
    };
    if read == ScoreRead::Reward {
        return match line.parse::<f64>() {
            Ok(value) if (0.0..=1.0).contains(&value) => scored(value, line),
            Ok(_) => bad("the reward is not a number from 0 to 1"),
            Err(_) => bad("there is no number"),
        };
    }
    let Ok(Value::Object(object)) = serde_json::from_str(line) else {
        return bad("there is no JSON object");
    };
    let Some(value) = object.get("score").and_then(Value::as_f64) else {
        return bad("`score` is missing or not a number");
    };
    if !(0.0..=1.0).contains(&value) {
        return bad("`score` is not a number from 0 to 1");
    }
    let metrics = object.iter().filter(|(name, _)| *name != "score").take(64);
    let metrics = metrics
        .filter_map(|(name, value)| Some((Capped::new(name, 64).text, value.as_f64()?)))
        .collect();
    ScoreResult::Scored(Score {
        value,
        threshold: 1.0,
        evidence: Capped::new(line, EVIDENCE),
        metrics,
    })
}

/// Returns a score without further numbers. The threshold is set when the parts are put together.
pub(crate) fn scored(value: f64, evidence: &str) -> ScoreResult {
    ScoreResult::Scored(Score {
        value,
        threshold: 1.0,
        evidence: Capped::new(evidence.trim_end(), EVIDENCE),
        metrics: BTreeMap::new(),
    })
}

/// Returns how a command ended, in words.
pub fn describe_ending(ending: ExecEnding) -> String {
    match ending {
        ExecEnding::Exited { code } => format!("exit code {code}"),
        ExecEnding::OutOfMemory { code } => format!("stopped: out of memory; exit code {code}"),
        ExecEnding::TimedOut { after } => {
            format!(
                "stopped after {}, the longest time of a call",
                crate::units::format_duration(after)
            )
        }
        ExecEnding::OutputLimit { limit } => format!("stopped: more than {limit} of output"),
        ExecEnding::DiskLimit { limit } => format!("stopped: the disk limit of {limit} is exceeded"),
    }
}

/// Returns "no score" with its reason.
pub fn unscored(why: Unscored, detail: &str) -> ScoreResult {
    ScoreResult::Unscored {
        why,
        detail: Capped::new(detail, EVIDENCE),
    }
}

/// Returns the score of an attempt whose spent limit counts as failure.
pub fn failed_at_limit(threshold: f64) -> ScoreResult {
    ScoreResult::Scored(Score {
        value: 0.0,
        threshold,
        evidence: Capped::new(
            "a limit was reached, and the task counts that as failure",
            EVIDENCE,
        ),
        metrics: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::text::Captured;
    use pretty_assertions::assert_eq;

    fn ran(read: ScoreRead, code: i32, stdout: &str) -> Result<f64, Unscored> {
        let result = ExecResult {
            ending: ExecEnding::Exited { code },
            stdout: Captured::whole(stdout),
            stderr: Captured::default(),
            took: Duration::ZERO,
        };
        match read_result(read, &result) {
            ScoreResult::Scored(score) => Ok(score.value),
            ScoreResult::Unscored { why, .. } => Err(why),
        }
    }

    #[test]
    fn programs_are_read_strictly() {
        use ScoreRead::{Exit, Json, Reward};
        let cases = [
            (Exit, 0, "", Ok(1.0)),
            (Exit, 1, "wrong", Ok(0.0)),
            (Exit, 2, "", Err(Unscored::Crashed)),
            (Exit, 137, "", Err(Unscored::Crashed)),
            (Reward, 0, "noise\n0.25\n\n", Ok(0.25)),
            (Reward, 0, "NaN", Err(Unscored::BadOutput)),
            (Reward, 0, "1.5", Err(Unscored::BadOutput)),
            (Reward, 0, "inf", Err(Unscored::BadOutput)),
            (Reward, 0, "", Err(Unscored::BadOutput)),
            (Reward, 1, "0.5", Err(Unscored::Crashed)),
            (Json, 0, "{\"score\": 0.5, \"n\": 3}", Ok(0.5)),
            (Json, 0, "{\"score\": \"1\"}", Err(Unscored::BadOutput)),
            (Json, 0, "{\"n\": 1}", Err(Unscored::BadOutput)),
            (Json, 0, "[1]", Err(Unscored::BadOutput)),
        ];
        for (read, code, stdout, expected) in cases {
            assert_eq!(ran(read, code, stdout), expected, "{read:?} {code} {stdout:?}");
        }
    }

    #[test]
    fn combinations_let_only_what_matters_be_missing() {
        let part = || {
            ScoreSpec::Judge(JudgeSpec {
                model: String::new(),
                rubric: String::new(),
                scale: (0.0, 1.0),
            })
        };
        let missing = unscored(Unscored::TimedOut, "");
        let value =
            |spec: &ScoreSpec, results: &[ScoreResult]| combine(spec, results, 1.0).score().map(|s| s.value);
        let (all, any) = (
            ScoreSpec::All(vec![part(), part()]),
            ScoreSpec::Any(vec![part(), part()]),
        );
        let mean = ScoreSpec::Mean(vec![part(), part()]);
        assert_eq!(value(&all, &[scored(0.0, ""), missing.clone()]), Some(0.0));
        assert_eq!(value(&all, &[scored(1.0, ""), missing.clone()]), None);
        assert_eq!(value(&any, &[scored(1.0, ""), missing.clone()]), Some(1.0));
        assert_eq!(value(&any, &[scored(0.0, ""), missing.clone()]), None);
        assert_eq!(value(&mean, &[scored(1.0, ""), missing]), None);
        assert_eq!(value(&mean, &[scored(1.0, ""), scored(0.5, "")]), Some(0.75));
        let nested = ScoreSpec::All(vec![any, part()]);
        assert_eq!(
            value(&nested, &[scored(0.0, ""), scored(1.0, ""), scored(0.5, "")]),
            Some(0.5)
        );
    }
}
