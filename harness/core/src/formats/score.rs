//! `score`, `intermediate`: how an attempt is scored.
//!
//! Owns: the shape of scorers and what each needs of a task. Must not: score.

use std::time::Duration;

use serde_json::{Value, json};

use super::Folder;
use super::paths::{FileMapWire, Want, file_map, folder_path};
use super::reader::Reader;
use super::source::Span;
use super::wire::{At, Definitions, Text, Wire, record, words};
use crate::task::{
    AnswerSpec, CommandSpec, FileMap, IntermediateSpec, JudgeSpec, Matching, ScorePlace, ScoreRead, ScoreSpec,
};

/// How deep `all`, `any` and `mean` may be nested.
const MAX_LISTS: usize = 3;
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);

/// How a submission is compared, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchWord {
    Exact,
    Includes,
    Regex,
    Numeric,
    Json,
    Choice,
    F1,
}

impl MatchWord {
    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Includes => "includes",
            Self::Regex => "regex",
            Self::Numeric => "numeric",
            Self::Json => "json",
            Self::Choice => "choice",
            Self::F1 => "f1",
        }
    }
}

words!(MatchWord {
    "exact" => MatchWord::Exact,
    "includes" => MatchWord::Includes,
    "regex" => MatchWord::Regex,
    "numeric" => MatchWord::Numeric,
    "json" => MatchWord::Json,
    "choice" => MatchWord::Choice,
    "f1" => MatchWord::F1,
});
words!(ScorePlace { "same" => ScorePlace::Same, "fresh" => ScorePlace::Fresh });
words!(ScoreRead { "exit" => ScoreRead::Exit, "reward" => ScoreRead::Reward, "json" => ScoreRead::Json });

/// Who runs a scoring program.
#[derive(Clone, Debug)]
pub(super) enum ScoreUser {
    Root,
    Agent,
}
words!(ScoreUser { "root" => ScoreUser::Root, "agent" => ScoreUser::Agent });

record! {
    /// Compares the submission with the target.
    Answer {
        /// How they are compared.
        matching = "match": required MatchWord,
        /// Whether upper and lower case are the same.
        ignore_case: optional bool,
        /// `match: numeric`: the greatest absolute difference.
        tolerance: optional f64,
        /// `match: json`: a JSON Schema that the submission must fit.
        schema: optional Value,
    }
}

record! {
    /// Runs a program that scores.
    Command {
        /// Shell text, run as root in the workdir; the submission is in /score/submission.txt.
        run: required Text,
        /// Files that are put in only now: container path to path in the task's folder.
        files: optional FileMapWire,
        /// same: the agent's container after it was stopped; fresh: a new one that gets the artifacts.
        place = "where": optional ScorePlace,
        /// exit: 0 is 1.0 and 1 is 0.0; reward: the last line is a number; json: the last line is an object with `score`.
        read: optional ScoreRead,
        /// How long it may take.
        timeout: optional Duration,
        /// Who runs it.
        user: optional ScoreUser,
    }
}

record! {
    /// Asks a model.
    Judge {
        /// A role or a model id of the suite.
        model: required Text,
        /// The rubric's template in the task's folder.
        rubric: required String,
        /// The lowest and the highest number that the judge gives.
        scale: optional Vec<f64>,
    }
}

record! {
    /// One scorer, or a list that is combined.
    Score {
        /// Compares the submission with the target.
        answer: optional Answer,
        /// Runs a program.
        command: optional Command,
        /// Asks a model.
        judge: optional Judge,
        /// The lowest of several scorers.
        all: optional Parts,
        /// The highest of several scorers.
        any: optional Parts,
        /// The mean of several scorers.
        mean: optional Parts,
        /// The score from which on a trial is a success; at the top only.
        threshold: optional f64,
    }
}

record! {
    /// A score during the attempt.
    Intermediate {
        /// Shell text.
        run: required Text,
        /// Files that are put in for it and taken away again.
        files: optional FileMapWire,
        /// Whether the model gets a tool `score`.
        visible: optional bool,
        /// Turns between two runs when it is not visible.
        every: optional u32,
        /// How its result is read.
        read: optional ScoreRead,
        /// How long it may take.
        timeout: optional Duration,
    }
}

/// The parts of a combined scorer; a type of its own because scorers contain it.
#[derive(Clone, Debug)]
pub(super) struct Parts(Vec<At<Score>>);

impl Wire for Parts {
    fn read(node: &super::tree::Node, reader: &mut Reader<'_>) -> Option<Self> {
        Vec::read(node, reader).map(Self)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let mut schema = Vec::<Score>::schema(definitions);
        schema["minItems"] = json!(1);
        schema
    }
}

/// What decoding a scorer needs of the task, and what it found out.
pub(super) struct ScoreContext<'a> {
    pub(super) folder: &'a Folder<'a>,
    /// Whether there is a container.
    pub(super) sandbox: bool,
    /// Whether the task keeps artifacts.
    pub(super) artifacts: bool,
    /// Rubrics that were found: path, text, place of the path.
    pub(super) rubrics: Vec<(String, String, Span)>,
    /// Comparisons that need a target, with their places.
    pub(super) matches: Vec<(MatchWord, Span)>,
}

/// Decodes the scorer and its threshold.
pub(super) fn score(
    wire: &At<Score>,
    context: &mut ScoreContext<'_>,
    reader: &mut Reader<'_>,
) -> (Option<ScoreSpec>, f64) {
    let threshold = wire.threshold.as_ref().map_or(1.0, |threshold| {
        if !(0.0..=1.0).contains(&threshold.value) {
            reader.error(threshold.span, "the threshold is not between 0 and 1", None);
        }
        threshold.value
    });
    (part(wire, 0, context, reader), threshold)
}

fn part(
    wire: &At<Score>,
    lists: usize,
    context: &mut ScoreContext<'_>,
    reader: &mut Reader<'_>,
) -> Option<ScoreSpec> {
    let Score {
        answer,
        command,
        judge,
        all,
        any,
        mean,
        threshold,
    } = &wire.value;
    let keys = [
        answer.as_ref().map(|at| at.key),
        command.as_ref().map(|at| at.key),
        judge.as_ref().map(|at| at.key),
        all.as_ref().map(|at| at.key),
        any.as_ref().map(|at| at.key),
        mean.as_ref().map(|at| at.key),
    ];
    let mut written: Vec<Span> = keys.into_iter().flatten().collect();
    written.sort_by_key(|span| span.start);
    if let Some(second) = written.get(1) {
        reader.error(
            *second,
            "a second scorer in one map",
            Some("put both into a list under `all`, `any` or `mean`"),
        );
    }
    if written.is_empty() && !reader.has_problem_in(wire.span) {
        let hint = "give one of `answer`, `command`, `judge`, `all`, `any`, `mean`";
        reader.error(wire.key, "there is no scorer", Some(hint));
    }
    if let (Some(threshold), true) = (threshold, lists > 0) {
        reader.error(
            threshold.key,
            "a part of a score has no threshold",
            Some("move it to the top of `score`"),
        );
    }
    let parts = |parts: &At<Parts>, context: &mut ScoreContext<'_>, reader: &mut Reader<'_>| {
        if parts.0.is_empty() {
            reader.error(
                parts.span,
                "the list of scorers is empty",
                Some("give at least one scorer"),
            );
        }
        if lists >= MAX_LISTS {
            reader.error(
                parts.key,
                format!("scorers are nested deeper than {MAX_LISTS} lists"),
                None,
            );
            return Vec::new();
        }
        parts
            .0
            .iter()
            .filter_map(|wire| part(wire, lists + 1, context, reader))
            .collect()
    };
    if let Some(wire) = answer {
        return answer_spec(wire, context, reader).map(ScoreSpec::Answer);
    }
    if let Some(wire) = command {
        return command_spec(wire, context, reader).map(ScoreSpec::Command);
    }
    if let Some(wire) = judge {
        return judge_spec(wire, context, reader).map(ScoreSpec::Judge);
    }
    if let Some(wire) = all {
        return Some(ScoreSpec::All(parts(wire, context, reader)));
    }
    if let Some(wire) = any {
        return Some(ScoreSpec::Any(parts(wire, context, reader)));
    }
    mean.as_ref()
        .map(|wire| ScoreSpec::Mean(parts(wire, context, reader)))
}

fn answer_spec(wire: &Answer, context: &mut ScoreContext<'_>, reader: &mut Reader<'_>) -> Option<AnswerSpec> {
    let word = wire.matching.as_ref()?;
    context.matches.push((word.value, word.span));
    let only = |key: Option<Span>, owner: MatchWord, name: &str, reader: &mut Reader<'_>| {
        if let Some(key) = key.filter(|_| word.value != owner) {
            let message = format!("`{name}` has no meaning for `match: {}`", word.value.name());
            reader.error(
                key,
                message,
                Some(&format!("it belongs to `match: {}`", owner.name())),
            );
        }
    };
    only(
        wire.tolerance.as_ref().map(|at| at.key),
        MatchWord::Numeric,
        "tolerance",
        reader,
    );
    only(
        wire.schema.as_ref().map(|at| at.key),
        MatchWord::Json,
        "schema",
        reader,
    );
    let matching = match word.value {
        MatchWord::Exact => Matching::Exact,
        MatchWord::Includes => Matching::Includes,
        MatchWord::Regex => Matching::Regex,
        MatchWord::Choice => Matching::Choice,
        MatchWord::F1 => Matching::F1,
        MatchWord::Numeric => Matching::Numeric {
            tolerance: tolerance(wire.tolerance.as_ref(), reader),
        },
        MatchWord::Json => Matching::Json {
            schema: json_schema(wire.schema.as_ref(), word.span, reader),
        },
    };
    Some(AnswerSpec {
        matching,
        ignore_case: wire.ignore_case.as_ref().is_some_and(|at| at.value),
    })
}

fn tolerance(wire: Option<&At<f64>>, reader: &mut Reader<'_>) -> f64 {
    let Some(tolerance) = wire else { return 0.0 };
    if tolerance.value < 0.0 {
        reader.error(tolerance.span, "the tolerance is negative", None);
    }
    tolerance.value
}

fn json_schema(wire: Option<&At<Value>>, at: Span, reader: &mut Reader<'_>) -> Value {
    let Some(schema) = wire else {
        reader.error(
            at,
            "`match: json` needs a `schema`",
            Some("`schema: {type: object}` takes any object"),
        );
        return Value::Null;
    };
    if !matches!(schema.value, Value::Object(_) | Value::Bool(_)) {
        reader.error(schema.span, "a JSON Schema is a map", None);
    } else if let Err(error) = validator(&schema.value) {
        let message = format!("not a valid JSON Schema: {}", crate::text::printable(&error));
        reader.error(schema.span, message, None);
    }
    schema.value.clone()
}

/// Compiles a JSON Schema; patterns run in linear time, and references to other documents fail.
fn validator(schema: &Value) -> Result<jsonschema::Validator, String> {
    jsonschema::options()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(schema)
        .map_err(|error| error.to_string())
}

fn command_spec(
    wire: &At<Command>,
    context: &mut ScoreContext<'_>,
    reader: &mut Reader<'_>,
) -> Option<CommandSpec> {
    if !context.sandbox {
        let hint = "add a `sandbox` or score the answer with `answer`";
        reader.error(wire.key, "a scoring program needs a sandbox", Some(hint));
    }
    let place = wire.place.as_ref().map_or(ScorePlace::Same, |at| at.value);
    if let (Some(place), ScorePlace::Fresh, false) = (&wire.place, place, context.artifacts) {
        let hint = "list the container paths it needs under `artifacts`";
        reader.error(
            place.span,
            "`where: fresh` without artifacts has nothing to score",
            Some(hint),
        );
    }
    let files = score_files(wire.files.as_ref(), context.folder, reader);
    let timeout = timeout(wire.timeout.as_ref(), reader);
    Some(CommandSpec {
        run: wire.run.as_ref()?.value.0.clone(),
        files,
        place,
        read: wire.read.as_ref().map_or(ScoreRead::Exit, |at| at.value),
        timeout,
        as_root: wire
            .user
            .as_ref()
            .is_none_or(|at| matches!(at.value, ScoreUser::Root)),
    })
}

fn score_files(wire: Option<&At<FileMapWire>>, folder: &Folder<'_>, reader: &mut Reader<'_>) -> FileMap {
    let files = file_map(wire, folder.files, reader);
    if let (Some(wire), true) = (wire, files.contains_key("/score/submission.txt")) {
        reader.error(
            wire.key,
            "/score/submission.txt holds the submission",
            Some("choose another path"),
        );
    }
    files
}

fn timeout(wire: Option<&At<Duration>>, reader: &mut Reader<'_>) -> Duration {
    let Some(timeout) = wire else {
        return DEFAULT_TIMEOUT;
    };
    if timeout.is_zero() {
        reader.error(timeout.span, "the timeout is zero", None);
    }
    timeout.value
}

fn judge_spec(
    wire: &At<Judge>,
    context: &mut ScoreContext<'_>,
    reader: &mut Reader<'_>,
) -> Option<JudgeSpec> {
    let scale = match wire.scale.as_ref() {
        None => (0.0, 1.0),
        Some(scale) => match scale.value[..] {
            [low, high] if low < high => (low, high),
            _ => {
                let hint = "write the lowest and the highest number, such as `[0, 10]`";
                reader.error(scale.span, "the scale is not two rising numbers", Some(hint));
                (0.0, 1.0)
            }
        },
    };
    let rubric = wire.rubric.as_ref()?;
    let path = folder_path(rubric, Want::File, context.folder.files, reader)?;
    let bytes = &context.folder.files.get(&path)?.bytes;
    let Ok(text) = std::str::from_utf8(bytes) else {
        reader.error(rubric.span, "the rubric is not UTF-8 text", None);
        return None;
    };
    context.rubrics.push((path, text.to_owned(), rubric.span));
    Some(JudgeSpec {
        model: wire.model.as_ref()?.value.0.clone(),
        rubric: text.to_owned(),
        scale,
    })
}

/// Decodes the score during the attempt.
pub(super) fn intermediate(
    wire: &At<Intermediate>,
    context: &ScoreContext<'_>,
    reader: &mut Reader<'_>,
) -> Option<IntermediateSpec> {
    if !context.sandbox {
        reader.error(wire.key, "an intermediate score needs a sandbox", None);
    }
    if let Some(every) = wire.every.as_ref().filter(|every| every.value == 0) {
        reader.error(
            every.span,
            "`every` is zero",
            Some("give the number of turns between two runs"),
        );
    }
    if let Some(read) = wire.read.as_ref().filter(|read| read.value == ScoreRead::Exit) {
        reader.error(
            read.span,
            "an intermediate score is a number",
            Some("use `read: reward` or `read: json`"),
        );
    }
    let files = score_files(wire.files.as_ref(), context.folder, reader);
    let timeout = timeout(wire.timeout.as_ref(), reader);
    Some(IntermediateSpec {
        run: wire.run.as_ref()?.value.0.clone(),
        files,
        visible: wire.visible.as_ref().is_some_and(|at| at.value),
        every: wire.every.as_ref().map_or(10, |at| at.value),
        read: wire.read.as_ref().map_or(ScoreRead::Reward, |at| at.value),
        timeout,
    })
}
