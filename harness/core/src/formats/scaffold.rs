//! `scaffold.yaml` and its prompts.
//!
//! Owns: the shape of scaffolds and the check of their templates. Must not: open files.

use serde_json::{Value, json};

use super::Folder;
use super::file::{check_version, conclude, digest, file_text, utf8};
use super::paths::{Want, folder_path};
use super::problem::{Parsed, Problem};
use super::reader::Reader;
use super::source::Span;
use super::templates::{self, TemplatePlace};
use super::tree::{Kind, Node, parse, quoted};
use super::wire::{At, Definitions, Id, Keyed, Wire, record, word, words};
use crate::ids::ScaffoldId;
use crate::model::ToolSpec;
use crate::prompt::{continue_variables, system_variables, tool_error_variables};
use crate::scaffold::{
    ContextSpec, Effort, OnFull, Prompts, SamplingSpec, ScaffoldKind, ScaffoldSpec, SeedSpec, ToolFormat,
};
use crate::task::Limits;
use crate::units::Tokens;

/// The scaffold's own file.
const SCAFFOLD_FILE: &str = "scaffold.yaml";
/// Kinds that the format knows and this version cannot run.
const LATER: [&str; 5] = ["advisor", "best_of", "refine", "tree", "human"];
const KINDS: [&str; 9] = [
    "single", "react", "oracle", "noop", "advisor", "best_of", "refine", "tree", "human",
];

words!(ToolFormat { "native" => ToolFormat::Native, "text" => ToolFormat::Text, "auto" => ToolFormat::Auto });
words!(OnFull { "trim" => OnFull::Trim, "summarize" => OnFull::Summarize, "fail" => OnFull::Fail });

impl Wire for ScaffoldKind {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match word(node, &KINDS, reader)? {
            "single" => Some(Self::Single),
            "react" => Some(Self::React),
            "oracle" => Some(Self::Oracle),
            "noop" => Some(Self::Noop),
            later => {
                debug_assert!(LATER.contains(&later));
                let message = format!("scaffold kind `{later}` is not available in this version");
                reader.error(
                    node.span,
                    message,
                    Some("use `single`, `react`, `oracle` or `noop`"),
                );
                None
            }
        }
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"enum": KINDS})
    }
}

impl Wire for SeedSpec {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Kind::Scalar(scalar) = &node.kind
            && scalar.text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        {
            return u64::read(node, reader).map(Self::Fixed);
        }
        Some(match word(node, &["from_trial", "none"], reader)? {
            "none" => Self::None,
            _ => Self::FromTrial,
        })
    }

    fn schema(_: &mut Definitions) -> Value {
        json!({"anyOf": [{"enum": ["from_trial", "none"]}, {"type": "integer", "minimum": 0}]})
    }
}

record! {
    /// The texts of a scaffold; the built-in ones serve where one is left out.
    PromptsWire {
        /// Standing instructions; sees `tools`, `limits`, `tool_format`, `tool_grammar`.
        system: optional String,
        /// Sent after an answer without a tool call; sees `turn`, `turns_left`.
        continue_ = "continue": optional String,
        /// Sent after a malformed call; sees `error`, `tool`.
        tool_error: optional String,
    }
}

record! {
    /// How tokens are chosen; what is left out is left to the provider.
    Sampling {
        /// Temperature.
        temperature: optional f64,
        /// Nucleus mass.
        top_p: optional f64,
        /// The longest answer, in tokens.
        max_tokens: optional Tokens,
        /// from_trial, none or a number.
        seed: optional SeedSpec,
    }
}

record! {
    /// What happens when the conversation grows.
    Context {
        /// The model's window, in tokens.
        window: optional Tokens,
        /// What is done when it is full.
        on_full: optional OnFull,
    }
}

record! {
    /// What the scaffold cost to make, for honest comparisons.
    EffortWire {
        /// Hours of people.
        person_hours: optional f64,
        /// Tasks that it was tuned on.
        tuned_on: optional Vec<Id>,
    }
}

record! {
    /// The prompts, tools and loop policy around a model.
    ScaffoldWire {
        /// The version of the format.
        harness: required u32,
        /// The scaffold's name, which is its folder's name.
        id: required Id,
        /// The loop.
        kind: required ScaffoldKind,
        /// Templates in the scaffold's folder.
        prompts: optional PromptsWire,
        /// How tool calls are written.
        tool_format: optional ToolFormat,
        /// How tokens are chosen.
        sampling: optional Sampling,
        /// What happens when the conversation grows.
        context: optional Context,
        /// Settings of the kind.
        params: optional Keyed<Value>,
        /// What it cost to make.
        effort: optional EffortWire,
    }
}

/// Reads and checks the scaffold of a folder.
pub fn parse_scaffold(folder: &Folder<'_>) -> Parsed<ScaffoldSpec> {
    let path = format!("{}/{SCAFFOLD_FILE}", folder.path);
    let text = file_text(&path, SCAFFOLD_FILE, folder.files)?;
    let mut reader = Reader::new(&path, text);
    let mut others = Vec::new();
    let scaffold = parse(&mut reader)
        .and_then(|node| ScaffoldWire::read(&node, &mut reader))
        .and_then(|wire| decode(&wire, folder, &mut others, &mut reader));
    let mut problems = reader.finish();
    problems.extend(others);
    conclude(scaffold, problems)
}

fn decode(
    wire: &ScaffoldWire,
    folder: &Folder<'_>,
    others: &mut Vec<Problem>,
    reader: &mut Reader<'_>,
) -> Option<ScaffoldSpec> {
    check_version(wire.harness.as_ref(), reader);
    if let Some(id) = wire.id.as_ref().filter(|id| id.value.0 != folder.name) {
        let message = format!(
            "the id {} is not the folder's name {}",
            quoted(&id.value.0),
            quoted(folder.name)
        );
        reader.error(id.span, message, Some("rename one of them"));
    }
    let params = wire.params.iter().flat_map(|at| &at.value.0);
    for ((key, _), kind) in params.zip(std::iter::repeat(wire.kind.as_ref())) {
        let Some(kind) = kind.map(|at| at.value.name()) else {
            break;
        };
        reader.error(
            key.span,
            format!("unknown parameter {}", quoted(&key.text)),
            Some(&format!("{kind} has no parameters")),
        );
    }
    let prompts = prompts(wire, folder, others, reader);
    let effort = wire.effort.as_ref().map(|effort| Effort {
        person_hours: effort.person_hours.as_ref().map(|at| at.value),
        tuned_on: effort
            .tuned_on
            .iter()
            .flat_map(|at| at.iter().map(|id| id.0.clone()))
            .collect(),
    });
    if let Some(hours) = wire
        .effort
        .as_ref()
        .and_then(|at| at.person_hours.as_ref())
        .filter(|h| h.value < 0.0)
    {
        reader.error(hours.span, "`person_hours` is negative", None);
    }
    let sampling = sampling(wire.sampling.as_ref(), reader);
    let context = context(wire.context.as_ref(), reader);
    Some(ScaffoldSpec {
        id: ScaffoldId::new(&wire.id.as_ref()?.value.0),
        kind: wire.kind.as_ref()?.value,
        prompts,
        tool_format: wire.tool_format.as_ref().map(|at| at.value).unwrap_or_default(),
        sampling,
        context,
        effort,
        digest: digest(folder.files),
    })
}

fn sampling(wire: Option<&At<Sampling>>, reader: &mut Reader<'_>) -> SamplingSpec {
    let mut spec = SamplingSpec::default();
    let Some(wire) = wire else { return spec };
    let mut between = |at: Option<&At<f64>>, name: &str, low: f64, high: f64| {
        let at = at?;
        if !(low..=high).contains(&at.value) {
            reader.error(at.span, format!("`{name}` is not between {low} and {high}"), None);
        }
        Some(at.value)
    };
    spec.temperature = between(wire.temperature.as_ref(), "temperature", 0.0, 10.0);
    spec.top_p = between(wire.top_p.as_ref(), "top_p", 0.0, 1.0);
    if let Some(most) = &wire.max_tokens {
        match u32::try_from(most.value.0) {
            Ok(tokens) if tokens > 0 => spec.max_tokens = tokens,
            _ => reader.error(most.span, "`max_tokens` is not between 1 and 4294967295", None),
        }
    }
    if let Some(seed) = &wire.seed {
        spec.seed = seed.value;
    }
    spec
}

fn context(wire: Option<&At<Context>>, reader: &mut Reader<'_>) -> ContextSpec {
    let mut spec = ContextSpec::default();
    let Some(wire) = wire else { return spec };
    if let Some(window) = &wire.window {
        if window.value < Tokens(256) {
            reader.error(window.span, "`window` is below 256 tokens", None);
        }
        spec.window = window.value;
    }
    if let Some(on_full) = &wire.on_full {
        spec.on_full = on_full.value;
    }
    spec
}

/// Reads the prompts and renders each with example variables.
fn prompts(
    wire: &ScaffoldWire,
    folder: &Folder<'_>,
    others: &mut Vec<Problem>,
    reader: &mut Reader<'_>,
) -> Prompts {
    let Some(prompts) = &wire.prompts else {
        return Prompts::default();
    };
    if let Some(kind) = wire.kind.as_ref().filter(|kind| !kind.value.calls_a_model()) {
        let message = format!(
            "kind `{}` calls no model, so it has no prompts",
            kind.value.name()
        );
        reader.error(prompts.key, message, Some("remove `prompts`"));
    }
    let tool = ToolSpec {
        name: "bash".to_owned(),
        description: "Runs a command".to_owned(),
        parameters: json!({"type": "object", "properties": {"command": {"type": "string"}}}),
    };
    let format = wire.tool_format.as_ref().map(|at| at.value).unwrap_or_default();
    let limits = Limits::default();
    let system = vec![
        system_variables(&[tool], &limits, format, "grammar"),
        system_variables(&[], &limits, format, ""),
    ];
    let again = vec![continue_variables(1, 49), continue_variables(50, 0)];
    let error = vec![tool_error_variables("no such tool", "bash")];
    let mut load = |at: Option<&At<String>>, name: &'static str, variables: Vec<Value>| {
        let path = folder_path(at?, Want::File, folder.files, reader)?;
        let file = format!("{}/{path}", folder.path);
        let text = match utf8(&file, &folder.files.get(&path)?.bytes) {
            Ok(text) => text,
            Err(problems) => {
                others.extend(problems.0);
                return None;
            }
        };
        let mut inner = Reader::new(&file, text);
        let span = Span {
            start: 0,
            end: text.len(),
        };
        let place = TemplatePlace {
            name,
            text,
            span,
            lines_match: true,
        };
        if let Some(template) = templates::compile(place, &mut inner) {
            templates::render_all(&template, place, variables.into_iter(), &mut inner);
        }
        others.extend(inner.finish());
        Some(text.to_owned())
    };
    Prompts {
        system: load(prompts.system.as_ref(), "prompts.system", system),
        continue_: load(prompts.continue_.as_ref(), "prompts.continue", again),
        tool_error: load(prompts.tool_error.as_ref(), "prompts.tool_error", error),
    }
}
