//! `suite.yaml`: what a run is asked to do.
//!
//! Owns: its shape and everything that can be checked without the tasks. Must not: open files or expand globs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::file::{check_version, conclude, utf8};
use super::models::{ModelWire, model};
use super::problem::Parsed;
use super::reader::Reader;
use super::source::Span;
use super::suggest;
use super::tree::{Kind, Node, parse, quoted};
use super::wire::{At, Definitions, Id, Keyed, Text, Wire, expected, record, words};
use crate::ids::{ModelId, PhaseId, ScaffoldId, SuiteId};
use crate::model::ModelSpec;
use crate::sandbox::Runtime;
use crate::suite::{
    Budget, Checkpoint, Concurrency, ModelConcurrency, OnSpent, PhaseSpec, ReportFormat, RetryPolicy,
    SuiteSpec,
};
use crate::surface::Level;
use crate::task::LimitOverrides;
use crate::units::{Tokens, Usd};

words!(OnSpent { "stop" => OnSpent::Stop, "cancel" => OnSpent::Cancel });
words!(Level { "SL0" => Level::Sl0, "SL1" => Level::Sl1, "SL2" => Level::Sl2, "SL3" => Level::Sl3 });
words!(ReportFormat {
    "html" => ReportFormat::Html,
    "csv" => ReportFormat::Csv,
    "junit" => ReportFormat::Junit,
    "markdown" => ReportFormat::Markdown,
    "json" => ReportFormat::Json,
});

record! {
    /// A checkpoint of a model in training.
    CheckpointWire {
        /// Its name.
        id: required Text,
        /// Effective training compute, in FLOP.
        compute: optional f64,
    }
}

record! {
    /// Spending of the whole run.
    BudgetWire {
        /// Dollars.
        cost: optional Usd,
        /// Tokens.
        tokens: optional Tokens,
        /// Time by the clock.
        wall: optional Duration,
        /// What happens when it is spent.
        on_spent: optional OnSpent,
    }
}

record! {
    /// Limits of one model.
    PerModel {
        /// Requests in flight.
        requests: optional Requests,
        /// Tokens per minute.
        tokens_per_minute: optional Tokens,
    }
}

record! {
    /// What may happen at once.
    ConcurrencyWire {
        /// Trials.
        trials: optional u32,
        /// Sandboxes of running trials.
        sandboxes: optional u32,
        /// Sandboxes made ahead for the next trials while all others are in use; 0 for none. Without it: as many as
        /// `sandboxes`, at most 8.
        look_ahead: optional u32,
        /// Limits of single models, by id.
        per_model: optional Keyed<PerModel>,
    }
}

record! {
    /// When an attempt is followed by another.
    Retry {
        /// How many further attempts a void one gets.
        void: optional u32,
        /// After so many identical errors in a row it is given up.
        same_error: optional u32,
        /// The share of void trials from which on a run is not to be trusted.
        void_share: optional f64,
    }
}

record! {
    /// Overrides of every task's limits.
    Overrides {
        /// Calls of the model.
        turns: optional u32,
        /// Tokens of all calls.
        tokens: optional Tokens,
        /// Time without waiting for others.
        working: optional Duration,
        /// Time by the clock.
        wall: optional Duration,
        /// Dollars for all calls.
        cost: optional Usd,
    }
}

record! {
    /// An ordered part of a suite.
    Phase {
        /// Its name.
        id: required Id,
        /// Globs over task ids.
        tasks: required Vec<At<String>>,
        /// The highest surface level.
        ceiling: required Level,
        /// The levels in which it proceeds.
        levels: optional Vec<At<Level>>,
        /// The rule after it.
        gate: optional Keyed<Value>,
    }
}

record! {
    /// What a run writes at its end.
    Report {
        /// Derived files.
        formats: optional Vec<At<ReportFormat>>,
    }
}

record! {
    /// What a run is asked to do.
    SuiteWire {
        /// The version of the format.
        harness: required u32,
        /// Its name.
        id: required Id,
        /// Models that are evaluated, and helpers with a role.
        models: required Vec<At<ModelWire>>,
        /// Names of scaffolds.
        scaffolds: required Vec<At<Id>>,
        /// Paths or globs of task folders, from the suite's folder.
        tasks: required Vec<At<String>>,
        /// How often each sample is tried.
        epochs: optional u32,
        /// The seed of orders and calls.
        seed: optional u64,
        /// The series of checkpoints that this belongs to.
        series: optional Id,
        /// Which checkpoint it is.
        checkpoint: optional CheckpointWire,
        /// Spending of the whole run.
        budget: optional BudgetWire,
        /// What may happen at once.
        concurrency: optional ConcurrencyWire,
        /// When an attempt is followed by another.
        retry: optional Retry,
        /// Overrides of every task's limits.
        limits: optional Overrides,
        /// Overrides every task's container runtime.
        runtime: optional Runtime,
        /// Phases in order.
        phases: optional Vec<At<Phase>>,
        /// What a run writes at its end.
        report: optional Report,
    }
}

/// A number of requests, as written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests(u32);

impl Wire for Requests {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(scalar) if scalar.text == "adaptive" => {
                reader.error(
                    node.span,
                    "`adaptive` is not available in this version",
                    Some("give a number"),
                );
                None
            }
            Kind::Scalar(_) => u32::read(node, reader).map(Self),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                expected("a number", node, reader);
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "adaptive"}]})
    }
}

/// Reads and checks a suite.
pub fn parse_suite(path: &str, bytes: &[u8]) -> Parsed<SuiteSpec> {
    let text = utf8(path, bytes)?;
    let mut reader = Reader::new(path, text);
    let suite = parse(&mut reader)
        .and_then(|node| SuiteWire::read(&node, &mut reader))
        .and_then(|wire| decode(&wire, &mut reader));
    conclude(suite, reader.finish())
}

fn decode(wire: &SuiteWire, reader: &mut Reader<'_>) -> Option<SuiteSpec> {
    check_version(wire.harness.as_ref(), reader);
    let models = models(wire.models.as_ref(), reader);
    let scaffolds = scaffolds(wire.scaffolds.as_ref(), reader);
    let tasks = patterns(wire.tasks.as_ref(), reader);
    let concurrency = concurrency(wire.concurrency.as_ref(), wire.models.as_ref(), reader);
    let phases = phases(wire.phases.as_ref(), reader);
    let budget = budget(wire.budget.as_ref(), reader);
    let checkpoint = checkpoint(wire, reader);
    let retry = retry(wire.retry.as_ref(), reader);
    let limits = overrides(wire.limits.as_ref(), reader);
    let report_formats = formats(wire.report.as_ref(), reader);
    let epochs = wire
        .epochs
        .as_ref()
        .map_or(1, |at| at_least_one(at, "epochs", reader));
    Some(SuiteSpec {
        id: SuiteId::new(&wire.id.as_ref()?.value.0),
        models,
        scaffolds,
        tasks,
        epochs,
        seed: wire.seed.as_ref().map_or(0, |at| at.value),
        series: wire.series.as_ref().map(|at| at.value.0.clone()),
        checkpoint,
        budget,
        concurrency,
        retry,
        limits,
        runtime: wire.runtime.as_ref().map(|at| at.value),
        phases,
        report_formats,
    })
}

fn at_least_one(at: &At<u32>, name: &str, reader: &mut Reader<'_>) -> u32 {
    if at.value == 0 {
        reader.error(at.span, format!("`{name}` is zero"), Some("give at least 1"));
    }
    at.value
}

fn models(wire: Option<&At<Vec<At<ModelWire>>>>, reader: &mut Reader<'_>) -> Vec<ModelSpec> {
    let Some(wire) = wire else { return Vec::new() };
    let mut models = Vec::new();
    let mut seen = BTreeMap::new();
    for entry in &wire.value {
        match &entry.id {
            None if !reader.has_problem_in(entry.span) => {
                reader.error(
                    entry.span,
                    "missing key `id`",
                    Some("name the model, such as `subject`"),
                );
            }
            None => {}
            Some(id) => duplicate("model", &id.value.0, id.span, &mut seen, reader),
        }
        models.extend(model(entry, reader));
    }
    if models.iter().all(|model: &ModelSpec| model.role.is_some()) && !reader.has_problem_in(wire.span) {
        let hint = "add a model without a role; those with one only help";
        reader.error(wire.key, "no model is evaluated", Some(hint));
    }
    models
}

/// Reports the second of two equal names.
fn duplicate(what: &str, name: &str, at: Span, seen: &mut BTreeMap<String, Span>, reader: &mut Reader<'_>) {
    if let Some(first) = seen.get(name) {
        let line = reader.source.line_of(first.start) + 1;
        let message = format!("a second {what} named {}", quoted(name));
        reader.error(
            at,
            message,
            Some(&format!("the first is in line {line}; rename or remove one")),
        );
    } else {
        seen.insert(name.to_owned(), at);
    }
}

fn scaffolds(wire: Option<&At<Vec<At<Id>>>>, reader: &mut Reader<'_>) -> Vec<ScaffoldId> {
    let Some(wire) = wire else { return Vec::new() };
    let mut seen = BTreeMap::new();
    for at in &wire.value {
        duplicate("scaffold", &at.value.0, at.span, &mut seen, reader);
    }
    if wire.is_empty() && !reader.has_problem_in(wire.span) {
        reader.error(
            wire.span,
            "there is no scaffold",
            Some("give at least one, such as `react`"),
        );
    }
    wire.iter().map(|at| ScaffoldId::new(&at.value.0)).collect()
}

fn patterns(wire: Option<&At<Vec<At<String>>>>, reader: &mut Reader<'_>) -> Vec<String> {
    let Some(wire) = wire else { return Vec::new() };
    if wire.is_empty() && !reader.has_problem_in(wire.span) {
        reader.error(
            wire.span,
            "there is no task",
            Some("give at least one path or pattern, such as `\"*\"`"),
        );
    }
    let mut seen = BTreeMap::new();
    for at in &wire.value {
        if at.value.trim().is_empty() || at.value.chars().any(char::is_control) {
            reader.error(
                at.span,
                format!("{} is not a path or pattern", quoted(&at.value)),
                None,
            );
        }
        duplicate("task pattern", &at.value, at.span, &mut seen, reader);
    }
    wire.iter().map(|at| at.value.clone()).collect()
}

fn checkpoint(wire: &SuiteWire, reader: &mut Reader<'_>) -> Option<Checkpoint> {
    let at = wire.checkpoint.as_ref()?;
    if let Some(compute) = at.compute.as_ref().filter(|compute| compute.value <= 0.0) {
        reader.error(compute.span, "`compute` is not above zero", None);
    }
    if wire.series.is_none() {
        reader.error(
            at.key,
            "a checkpoint without a series",
            Some("add `series`, the name of the training run"),
        );
    }
    Some(Checkpoint {
        id: at.id.as_ref()?.value.0.clone(),
        compute: at.compute.as_ref().map(|at| at.value),
    })
}

fn zero(at: Span, name: &str, reader: &mut Reader<'_>) {
    reader.error(
        at,
        format!("`{name}` is zero"),
        Some("leave it out for no limit of your own"),
    );
}

macro_rules! positive {
    ($wire:ident, $reader:ident, $($name:ident: $zero:expr),+) => {$(
        if let Some(at) = $wire.$name.as_ref().filter(|at| at.value == $zero) {
            zero(at.span, stringify!($name), $reader);
        }
    )+};
}

fn budget(wire: Option<&At<BudgetWire>>, reader: &mut Reader<'_>) -> Budget {
    let Some(wire) = wire else {
        return Budget::default();
    };
    positive!(wire, reader, cost: Usd::ZERO, tokens: Tokens::ZERO, wall: Duration::ZERO);
    Budget {
        cost: wire.cost.as_ref().map(|at| at.value),
        tokens: wire.tokens.as_ref().map(|at| at.value),
        wall: wire.wall.as_ref().map(|at| at.value),
        on_spent: wire.on_spent.as_ref().map(|at| at.value).unwrap_or_default(),
    }
}

fn overrides(wire: Option<&At<Overrides>>, reader: &mut Reader<'_>) -> LimitOverrides {
    let Some(wire) = wire else {
        return LimitOverrides::default();
    };
    positive!(wire, reader, turns: 0, tokens: Tokens::ZERO, working: Duration::ZERO, wall: Duration::ZERO, cost: Usd::ZERO);
    LimitOverrides {
        turns: wire.turns.as_ref().map(|at| at.value),
        tokens: wire.tokens.as_ref().map(|at| at.value),
        working: wire.working.as_ref().map(|at| at.value),
        wall: wire.wall.as_ref().map(|at| at.value),
        cost: wire.cost.as_ref().map(|at| at.value),
    }
}

fn concurrency(
    wire: Option<&At<ConcurrencyWire>>,
    models: Option<&At<Vec<At<ModelWire>>>>,
    reader: &mut Reader<'_>,
) -> Concurrency {
    let default = Concurrency::default();
    let Some(wire) = wire else { return default };
    let models = models.map(|at| at.value.as_slice()).unwrap_or_default();
    let names: Vec<&str> = models
        .iter()
        .filter_map(|model| Some(model.id.as_ref()?.value.0.as_str()))
        .collect();
    // With a model that has no id, or none at all, this would only confuse.
    let complete = !names.is_empty() && names.len() == models.len();
    let mut per_model = BTreeMap::new();
    for (key, limits) in wire.per_model.iter().flat_map(|at| &at.value.0) {
        if complete && !names.contains(&key.text.as_str()) {
            let hint = suggest::hint(&key.text, names.iter().copied());
            reader.error(
                key.span,
                format!("there is no model {}", quoted(&key.text)),
                Some(&hint),
            );
        }
        if let Some(at) = limits.requests.as_ref().filter(|at| at.value.0 == 0) {
            reader.error(at.span, "`requests` is zero", Some("give at least 1"));
        }
        let limits = &limits.value;
        positive!(limits, reader, tokens_per_minute: Tokens::ZERO);
        let limits = ModelConcurrency {
            requests: limits.requests.as_ref().map(|at| at.value.0),
            tokens_per_minute: limits.tokens_per_minute.as_ref().map(|at| at.value),
        };
        per_model.insert(ModelId::new(&key.text), limits);
    }
    let sandboxes = wire
        .sandboxes
        .as_ref()
        .map_or(default.sandboxes, |at| at_least_one(at, "sandboxes", reader));
    Concurrency {
        trials: wire
            .trials
            .as_ref()
            .map_or(default.trials, |at| at_least_one(at, "trials", reader)),
        sandboxes,
        look_ahead: look_ahead(wire.look_ahead.as_ref(), sandboxes, reader),
        per_model,
    }
}

fn look_ahead(wire: Option<&At<u32>>, sandboxes: u32, reader: &mut Reader<'_>) -> u32 {
    let Some(at) = wire else {
        return Concurrency::usual_look_ahead(sandboxes);
    };
    if at.value > sandboxes && sandboxes > 0 {
        let hint = format!("give at most {sandboxes}: more trials never start at once");
        reader.error(at.span, "`look_ahead` is above `sandboxes`", Some(&hint));
    }
    at.value
}

fn retry(wire: Option<&At<Retry>>, reader: &mut Reader<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(wire) = wire else { return default };
    if let Some(share) = wire
        .void_share
        .as_ref()
        .filter(|share| !(0.0..=1.0).contains(&share.value))
    {
        reader.error(share.span, "`void_share` is not between 0 and 1", None);
    }
    RetryPolicy {
        void: wire.void.as_ref().map_or(default.void, |at| at.value),
        same_error: wire
            .same_error
            .as_ref()
            .map_or(default.same_error, |at| at_least_one(at, "same_error", reader)),
        void_share: wire.void_share.as_ref().map_or(default.void_share, |at| at.value),
    }
}

fn phases(wire: Option<&At<Vec<At<Phase>>>>, reader: &mut Reader<'_>) -> Vec<PhaseSpec> {
    let Some(wire) = wire else { return Vec::new() };
    let mut seen = BTreeMap::new();
    for id in wire.iter().filter_map(|phase| phase.id.as_ref()) {
        duplicate("phase", &id.value.0, id.span, &mut seen, reader);
    }
    wire.iter().filter_map(|wire| phase(wire, reader)).collect()
}

fn phase(wire: &At<Phase>, reader: &mut Reader<'_>) -> Option<PhaseSpec> {
    let tasks = patterns(wire.tasks.as_ref(), reader);
    let levels = wire
        .levels
        .as_ref()
        .map(|at| at.value.as_slice())
        .unwrap_or_default();
    for pair in levels.windows(2).filter(|pair| pair[0].value >= pair[1].value) {
        reader.error(
            pair[1].span,
            "levels do not rise",
            Some("write each once, from least to most surface"),
        );
    }
    let ceiling = wire.ceiling.as_ref()?.value;
    for level in levels.iter().filter(|level| level.value > ceiling) {
        let message = format!("level {} is above the ceiling {ceiling}", level.value);
        reader.error(level.span, message, Some("raise `ceiling` or remove the level"));
    }
    let gate = wire.gate.as_ref().map(|gate| {
        let entries = gate.value.0.iter();
        Value::Object(
            entries
                .map(|(key, value)| (key.text.clone(), value.value.clone()))
                .collect(),
        )
    });
    Some(PhaseSpec {
        id: PhaseId::new(&wire.id.as_ref()?.value.0),
        tasks,
        ceiling,
        levels: levels.iter().map(|at| at.value).collect(),
        gate,
    })
}

fn formats(wire: Option<&At<Report>>, reader: &mut Reader<'_>) -> Vec<ReportFormat> {
    let Some(formats) = wire.and_then(|report| report.formats.as_ref()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for format in &formats.value {
        if found.contains(&format.value) {
            reader.error(format.span, "this format is listed twice", None);
        } else {
            found.push(format.value);
        }
    }
    found
}
