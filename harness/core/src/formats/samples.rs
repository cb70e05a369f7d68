//! `samples`: inline or in `samples.csv`.
//!
//! Owns: the shape of samples and their targets. Must not: render templates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Folder;
use super::paths::{FileMapWire, Want, file_map, folder_path};
use super::reader::Reader;
use super::score::MatchWord;
use super::source::Span;
use super::suggest;
use super::tree::{Kind, Node, quoted};
use super::wire::{At, Definitions, Keyed, OneOrMany, Wire, record};
use crate::ids::SampleId;
use crate::task::Sample;

/// How many samples a task may have.
const MAX_SAMPLES: usize = 100_000;

record! {
    /// One concrete instance of the task.
    SampleWire {
        /// Its name within the task.
        id: required String,
        /// Values for the templates.
        vars: optional Keyed<Value>,
        /// Files of this sample: container path to path in the task's folder.
        files: optional FileMapWire,
        /// Choices of a multiple-choice sample, in order A, B, C...
        choices: optional Vec<String>,
        /// The accepted answer, or several.
        target: optional OneOrMany,
    }
}

record! {
    /// Samples as rows of a file with the columns id, target and vars.NAME.
    CsvWire {
        /// The file in the task's folder.
        csv: required String,
    }
}

/// Samples as people write them.
#[derive(Clone, Debug)]
pub(super) enum SamplesWire {
    Inline(Vec<At<SampleWire>>),
    Csv(Box<CsvWire>),
}

impl Wire for SamplesWire {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => Vec::read(node, reader).map(Self::Inline),
            Kind::Map(_) => CsvWire::read(node, reader).map(|wire| Self::Csv(Box::new(wire))),
            Kind::Null | Kind::Scalar(_) => {
                super::wire::expected("a list of samples or `{csv: samples.csv}`", node, reader);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [Vec::<SampleWire>::schema(definitions), CsvWire::schema(definitions)]})
    }
}

/// A sample and where it and its targets stand.
pub(super) struct Placed {
    pub(super) sample: Sample,
    pub(super) at: Span,
    pub(super) targets: Vec<Span>,
}

/// Decodes samples that are written in the task.
pub(super) fn inline(wires: &[At<SampleWire>], folder: &Folder<'_>, reader: &mut Reader<'_>) -> Vec<Placed> {
    let placed = |wire: &At<SampleWire>, reader: &mut Reader<'_>| {
        let id = wire.id.as_ref()?;
        let targets = wire
            .target
            .as_ref()
            .map(|target| target.0.as_slice())
            .unwrap_or_default();
        let choices = wire
            .choices
            .as_ref()
            .map(|at| at.value.clone())
            .unwrap_or_default();
        if let Some(at) = wire
            .choices
            .as_ref()
            .filter(|_| choices.len() > 26 || choices.is_empty())
        {
            reader.error(
                at.span,
                format!("{} choices, expected 1 to 26", choices.len()),
                None,
            );
        }
        let vars = wire.vars.iter().flat_map(|vars| &vars.value.0);
        Some(Placed {
            sample: Sample {
                id: SampleId::new(&id.value),
                vars: vars
                    .map(|(key, value)| (key.text.clone(), value.value.clone()))
                    .collect(),
                files: file_map(wire.files.as_ref(), folder.files, reader),
                choices,
                target: targets.iter().map(|target| target.value.clone()).collect(),
            },
            at: id.span,
            targets: targets.iter().map(|target| target.span).collect(),
        })
    };
    wires.iter().filter_map(|wire| placed(wire, reader)).collect()
}

/// Finds the text of the samples' file.
pub(super) fn csv_text<'f>(
    wire: &CsvWire,
    folder: &Folder<'f>,
    reader: &mut Reader<'_>,
) -> Option<(String, &'f str)> {
    let at = wire.csv.as_ref()?;
    let path = folder_path(at, Want::File, folder.files, reader)?;
    match std::str::from_utf8(&folder.files.get(&path)?.bytes) {
        Ok(text) => Some((path, text.strip_prefix('\u{feff}').unwrap_or(text))),
        Err(error) => {
            let message = format!(
                "{} is not UTF-8 text (byte {})",
                quoted(&path),
                error.valid_up_to()
            );
            reader.error(at.span, message, Some("save it as UTF-8"));
            None
        }
    }
}

/// What a column of the samples' file holds.
enum Column {
    Id,
    Target,
    Var(String),
    Unknown,
}

/// Decodes samples from rows; `None` if the columns are not known.
pub(super) fn from_csv(reader: &mut Reader<'_>) -> Option<Vec<Placed>> {
    let text = reader.source.text;
    let mut rows = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(text.as_bytes());
    let columns = match rows.headers() {
        Ok(header) => columns(&header.clone(), reader)?,
        Err(error) => {
            reader.whole_file(&format!("not valid CSV: {error}"), None);
            return None;
        }
    };
    let mut samples = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        match rows.read_record(&mut record) {
            Ok(true) if samples.len() < MAX_SAMPLES => {}
            Ok(true) => {
                reader.whole_file(&format!("more than {MAX_SAMPLES} samples"), None);
                return Some(samples);
            }
            Ok(false) => return Some(samples),
            Err(error) => {
                reader.whole_file(&format!("not valid CSV: {error}"), None);
                return Some(samples);
            }
        }
        let line = record.position().map_or(1, csv::Position::line);
        let at = reader
            .source
            .line_span(usize::try_from(line).unwrap_or(1).saturating_sub(1));
        if record.len() != columns.len() {
            let message = format!(
                "{} cells, expected {} as in the first row",
                record.len(),
                columns.len()
            );
            reader.error(at, message, Some("put cells with commas or quotes into quotes"));
            continue;
        }
        samples.push(row(&columns, &record, at));
    }
}

fn columns(header: &csv::StringRecord, reader: &mut Reader<'_>) -> Option<Vec<Column>> {
    let mut seen = BTreeSet::new();
    let head = reader.source.line_span(0);
    let columns: Vec<_> = header
        .iter()
        .map(|name| {
            if !seen.insert(name.to_owned()) {
                reader.error(head, format!("duplicate column {}", quoted(name)), None);
            }
            match (name, name.strip_prefix("vars.")) {
                ("id", _) => Column::Id,
                ("target", _) => Column::Target,
                (_, Some(var)) if !var.is_empty() => Column::Var(var.to_owned()),
                _ => {
                    let hint = match suggest::nearest(name, ["id", "target"]) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "name it `vars.NAME` for a variable of the templates".to_owned(),
                    };
                    reader.error(head, format!("unknown column {}", quoted(name)), Some(&hint));
                    Column::Unknown
                }
            }
        })
        .collect();
    if !columns.iter().any(|column| matches!(column, Column::Id)) {
        reader.error(
            head,
            "missing column `id`",
            Some("the first row names the columns: `id,target,vars.NAME`"),
        );
    }
    reader.problems.is_empty().then_some(columns)
}

fn row(columns: &[Column], record: &csv::StringRecord, at: Span) -> Placed {
    let mut sample = Sample {
        id: SampleId::new(""),
        vars: Map::new(),
        files: BTreeMap::new(),
        choices: Vec::new(),
        target: Vec::new(),
    };
    for (column, cell) in columns.iter().zip(record) {
        match column {
            Column::Id => sample.id = SampleId::new(cell),
            Column::Target if cell.is_empty() => {}
            Column::Target => sample.target.push(cell.to_owned()),
            Column::Var(name) => {
                sample.vars.insert(name.clone(), Value::String(cell.to_owned()));
            }
            Column::Unknown => {}
        }
    }
    let targets = vec![at; sample.target.len()];
    Placed { sample, at, targets }
}

/// Checks ids and that no two are the same.
pub(super) fn check_ids(samples: &[Placed], reader: &mut Reader<'_>) {
    let mut seen = BTreeMap::<&str, Span>::new();
    for placed in samples {
        let id = placed.sample.id.as_str();
        if let Some(problem) = sample_id_problem(id) {
            reader.error(placed.at, format!("sample id {} {problem}", quoted(id)), None);
        } else if let Some(first) = seen.insert(id, placed.at) {
            let line = reader.source.line_of(first.start) + 1;
            let message = format!("a second sample with the id {}", quoted(id));
            reader.error(
                placed.at,
                message,
                Some(&format!("the first is in line {line}; give each its own id")),
            );
        }
    }
}

/// Sample ids are parts of trial names, so a slash or a blank in one would be read wrongly.
fn sample_id_problem(id: &str) -> Option<String> {
    if id.is_empty() {
        return Some("is empty".to_owned());
    }
    if id.len() > crate::ids::MAX_ID {
        return Some(format!("is longer than {} characters", crate::ids::MAX_ID));
    }
    let bad = id
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
    bad.map(|c| format!("must not contain {c:?} (letters, digits, `-`, `_` and `.` only)"))
}

/// Checks the targets of all samples against one comparison.
pub(super) fn check_targets(samples: &[Placed], matching: MatchWord, reader: &mut Reader<'_>) {
    for placed in samples {
        if placed.targets.is_empty() && matching != MatchWord::Json {
            let message = format!("sample {} has no target", quoted(placed.sample.id.as_str()));
            reader.error(
                placed.at,
                message,
                Some("the answer is compared with `target`; add it"),
            );
        }
        for (target, span) in placed.sample.target.iter().zip(&placed.targets) {
            if let Some((message, hint)) = target_problem(target, matching, &placed.sample) {
                reader.error(*span, message, hint);
            }
        }
    }
}

fn target_problem(
    target: &str,
    matching: MatchWord,
    sample: &Sample,
) -> Option<(String, Option<&'static str>)> {
    match matching {
        MatchWord::Regex => {
            let error = regex::RegexBuilder::new(target)
                .size_limit(1 << 20)
                .build()
                .err()?;
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            let last = last.strip_prefix("error: ").unwrap_or(last);
            Some((format!("not a regular expression: {last}"), None))
        }
        MatchWord::Numeric => target
            .trim()
            .parse::<f64>()
            .ok()
            .is_none_or(|number| !number.is_finite())
            .then(|| (format!("target {} is not a number", quoted(target)), None)),
        MatchWord::Choice => {
            let count = if sample.choices.is_empty() {
                26
            } else {
                sample.choices.len()
            };
            let letter = |index| {
                crate::prompt::letter(index).is_some_and(|letter| target.eq(letter.encode_utf8(&mut [0; 4])))
            };
            (!(0..count).any(letter)).then(|| {
                let last = crate::prompt::letter(count.saturating_sub(1)).unwrap_or('Z');
                (
                    format!("target {} is not a letter from A to {last}", quoted(target)),
                    Some("write the letter of the right choice, not its text"),
                )
            })
        }
        MatchWord::Json => serde_json::from_str::<Value>(target)
            .is_err()
            .then(|| (format!("target {} is not JSON", quoted(target)), None)),
        MatchWord::Exact | MatchWord::Includes | MatchWord::F1 => target.trim().is_empty().then(|| {
            (
                "an empty target accepts any empty answer".to_owned(),
                Some("write the answer"),
            )
        }),
    }
}
