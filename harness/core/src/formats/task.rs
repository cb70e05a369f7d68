//! `task.yaml` and what belongs to it.
//!
//! Owns: the shape of tasks and everything that can be checked before a run. Must not: open files.

use std::sync::Arc;
use std::time::Duration;

use super::Folder;
use super::artifacts;
use super::file::{check_version, conclude, digest, file_text};
use super::paths::{Want, folder_path, mapped};
use super::problem::{Parsed, Problem};
use super::reader::Reader;
use super::replies::replies;
use super::samples::{self, Placed, SamplesWire};
use super::sandbox::{check_overlap, sandbox};
use super::score::{self, MatchWord, ScoreContext};
use super::source::Span;
use super::task_wire::{Canned, Human, LimitsWire, TaskWire, ToolsWire};
use super::templates::{self, TemplatePlace};
use super::tree::{parse, quoted};
use super::wire::{At, Wire};
use crate::ids::TaskId;
use crate::prompt::{Target, rubric_variables, sample_variables};
use crate::sandbox::SandboxSpec;
use crate::surface::DeclaredSurface;
use crate::task::{
    BuiltinTool, CannedTool, HumanTime, HumanTimeSource, IntermediateSpec, Limits, Oracle, TaskFiles,
    TaskSpec, ToolSet,
};
use crate::units::{Bytes, Tokens, Usd};

/// The task's own file.
const TASK_FILE: &str = "task.yaml";

/// Reads and checks the task of a folder.
pub fn parse_task(folder: &Folder<'_>) -> Parsed<TaskSpec> {
    let path = format!("{}/{TASK_FILE}", folder.path);
    let text = file_text(&path, TASK_FILE, folder.files)?;
    let mut reader = Reader::new(&path, text);
    let mut others = Vec::new();
    let task = parse(&mut reader)
        .and_then(|node| TaskWire::read(&node, &mut reader))
        .and_then(|wire| {
            Decoder {
                folder,
                others: &mut others,
            }
            .task(&wire, &mut reader)
        });
    let mut problems = reader.finish();
    problems.extend(others);
    conclude(task, problems)
}

struct Decoder<'a> {
    folder: &'a Folder<'a>,
    /// Problems of files beside `task.yaml`.
    others: &'a mut Vec<Problem>,
}

impl Decoder<'_> {
    fn task(&mut self, wire: &TaskWire, reader: &mut Reader<'_>) -> Option<TaskSpec> {
        check_head(wire, self.folder.name, reader);
        let folder = self.folder;
        let sandbox_spec = wire.sandbox.as_ref().map(|wire| sandbox(wire, folder, reader));
        let limits = limits(wire.limits.as_ref(), reader);
        let mut context = ScoreContext {
            folder,
            sandbox: wire.sandbox.is_some(),
            artifacts: artifacts::is_there(wire.artifacts.as_ref()),
            rubrics: Vec::new(),
            matches: Vec::new(),
        };
        let scorer = wire
            .score
            .as_ref()
            .map(|wire| score::score(wire, &mut context, reader));
        let intermediate = wire
            .intermediate
            .as_ref()
            .and_then(|wire| score::intermediate(wire, &context, reader));
        let tools = self.tools(wire, intermediate.as_ref(), reader);
        let samples = self.samples(wire, sandbox_spec.as_ref(), &context.matches, reader);
        let oracle = oracle(wire, folder, reader);
        self.check_templates(wire, &samples, &limits, &tools, &context, reader);
        check_canary(wire, sandbox_spec.as_ref(), &samples, folder.files, reader);
        check_leaks(wire, sandbox_spec.as_ref(), &samples, folder.files, reader);
        let artifacts = artifacts::artifacts(wire.artifacts.as_ref(), reader);
        let human = human(wire.human.as_ref(), reader);
        let (score, threshold) = scorer?;
        Some(TaskSpec {
            id: TaskId::new(&wire.id.as_ref()?.value.0),
            version: wire.version.as_ref()?.value,
            title: wire.title.as_ref()?.value.0.clone(),
            domain: wire.domain.as_ref()?.value.0.clone(),
            family: wire.family.as_ref()?.value.0.clone(),
            tags: wire
                .tags
                .iter()
                .flat_map(|at| at.iter().map(|tag| tag.0.clone()))
                .collect(),
            canary: wire.canary.as_ref().map(|at| at.value.0.clone()),
            human,
            instructions: wire.instructions.as_ref()?.value.text.clone(),
            samples: samples
                .into_iter()
                .map(|placed| Arc::new(placed.sample))
                .collect(),
            sandbox: sandbox_spec,
            tools,
            limits,
            score: score?,
            threshold,
            intermediate,
            on_limit: wire.on_limit.as_ref().map(|at| at.value).unwrap_or_default(),
            oracle,
            surface: DeclaredSurface {
                exposure: wire
                    .surface
                    .as_ref()
                    .and_then(|at| Some(at.exposure.as_ref()?.value)),
                knowledge: wire
                    .surface
                    .as_ref()
                    .and_then(|at| Some(at.knowledge.as_ref()?.value)),
            },
            artifacts,
            files: folder.files.clone(),
            digest: digest(folder.files),
        })
    }

    fn tools(
        &mut self,
        wire: &TaskWire,
        intermediate: Option<&IntermediateSpec>,
        reader: &mut Reader<'_>,
    ) -> ToolSet {
        let visible = intermediate.is_some_and(|spec| spec.visible);
        let sandbox = wire.sandbox.is_some();
        let mut tools = match wire.tools.as_ref().map(|at| (&at.value, at.span)) {
            Some((ToolsWire::Canned(canned), span)) => {
                if visible {
                    let hint = "write `visible: false` or list the harness's own tools";
                    reader.error(
                        span,
                        "fixed replies and the tool `score` do not go together",
                        Some(hint),
                    );
                }
                return ToolSet::Canned(Arc::new(self.canned(canned, reader)));
            }
            Some((ToolsWire::Builtin(tools), _)) => builtin(tools, sandbox, visible, reader),
            None if sandbox => {
                vec![
                    BuiltinTool::Bash,
                    BuiltinTool::Python,
                    BuiltinTool::Edit,
                    BuiltinTool::ReadFile,
                ]
            }
            None => Vec::new(),
        };
        let always = [(visible, BuiltinTool::Score), (true, BuiltinTool::Submit)];
        for tool in always
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, tool)| tool)
        {
            if !tools.contains(&tool) {
                tools.push(tool);
            }
        }
        ToolSet::Builtin(tools)
    }

    fn canned(&mut self, wire: &Canned, reader: &mut Reader<'_>) -> Vec<CannedTool> {
        let files = self.folder.files;
        let Some(name) = wire
            .canned
            .as_ref()
            .and_then(|at| folder_path(at, Want::File, files, reader))
        else {
            return Vec::new();
        };
        let path = format!("{}/{name}", self.folder.path);
        match file_text(&path, &name, files) {
            Ok(text) => {
                let mut inner = Reader::new(&path, text);
                let tools = replies(&mut inner);
                self.others.extend(inner.finish());
                tools
            }
            Err(problems) => {
                self.others.extend(problems.0);
                Vec::new()
            }
        }
    }

    fn samples(
        &mut self,
        wire: &TaskWire,
        sandbox: Option<&SandboxSpec>,
        matches: &[(MatchWord, Span)],
        reader: &mut Reader<'_>,
    ) -> Vec<Placed> {
        let Some(at) = &wire.samples else {
            return Vec::new();
        };
        let samples = match &at.value {
            SamplesWire::Inline(wires) => {
                let samples = samples::inline(wires, self.folder, reader);
                check_samples(&samples, matches, reader);
                samples
            }
            SamplesWire::Csv(csv) => {
                let Some((name, text)) = samples::csv_text(csv, self.folder, reader) else {
                    return Vec::new();
                };
                let path = format!("{}/{name}", self.folder.path);
                let mut inner = Reader::new(&path, text);
                let samples = samples::from_csv(&mut inner);
                if let Some(samples) = &samples {
                    check_samples(samples, matches, &mut inner);
                }
                self.others.extend(inner.finish());
                let Some(samples) = samples else { return Vec::new() };
                samples
            }
        };
        if samples.is_empty() && !reader.has_problem_in(at.span) {
            reader.error(at.span, "there is no sample", Some("a task has at least one"));
        }
        for placed in samples.iter().filter(|placed| !placed.sample.files.is_empty()) {
            let (id, own) = (placed.sample.id.as_str(), &placed.sample.files);
            match sandbox {
                Some(sandbox) => check_overlap(&sandbox.files, own, id, placed.at, reader),
                None => reader.error(
                    placed.at,
                    format!("sample {} has files but there is no sandbox", quoted(id)),
                    None,
                ),
            }
        }
        samples
    }

    fn check_templates(
        &mut self,
        wire: &TaskWire,
        samples: &[Placed],
        limits: &Limits,
        tools: &ToolSet,
        context: &ScoreContext<'_>,
        reader: &mut Reader<'_>,
    ) {
        let names: Vec<&str> = match tools {
            ToolSet::Builtin(tools) => tools.iter().map(|tool| tool.name()).collect(),
            ToolSet::Canned(tools) => tools
                .iter()
                .map(|tool| tool.name.as_str())
                .chain(["submit"])
                .collect(),
        };
        let submit = wire.oracle.as_ref().and_then(|at| at.submit.as_ref());
        let texts = [
            ("instructions", wire.instructions.as_ref(), Target::Hidden),
            ("oracle.submit", submit, Target::Shown),
        ];
        for (name, at, target) in texts {
            let Some(at) = at else { continue };
            let place = TemplatePlace {
                name,
                text: &at.text,
                span: at.span,
                lines_match: at.literal,
            };
            if let Some(template) = templates::compile(place, reader) {
                let variables = samples
                    .iter()
                    .map(|placed| sample_variables(&placed.sample, limits, &names, target));
                templates::render_all(&template, place, variables, reader);
            }
        }
        if wire
            .instructions
            .as_ref()
            .is_some_and(|at| at.text.trim().is_empty())
        {
            let at = wire.instructions.as_ref().map(|at| at.key).unwrap_or_default();
            reader.error(at, "the instructions are empty", None);
        }
        for (path, text, _) in &context.rubrics {
            let file = format!("{}/{path}", self.folder.path);
            let mut inner = Reader::new(&file, text);
            let span = Span {
                start: 0,
                end: text.len(),
            };
            let place = TemplatePlace {
                name: "rubric",
                text,
                span,
                lines_match: true,
            };
            if let Some(template) = templates::compile(place, &mut inner) {
                let variables = samples
                    .iter()
                    .map(|placed| rubric_variables(&placed.sample, "", "", (0.0, 1.0)));
                templates::render_all(&template, place, variables, &mut inner);
            }
            self.others.extend(inner.finish());
        }
    }
}

fn check_samples(samples: &[Placed], matches: &[(MatchWord, Span)], reader: &mut Reader<'_>) {
    samples::check_ids(samples, reader);
    for (index, (matching, _)) in matches.iter().enumerate() {
        if !matches[..index].iter().any(|(earlier, _)| earlier == matching) {
            samples::check_targets(samples, *matching, reader);
        }
    }
}

fn check_head(wire: &TaskWire, folder: &str, reader: &mut Reader<'_>) {
    check_version(wire.harness.as_ref(), reader);
    if let Some(id) = wire.id.as_ref().filter(|id| id.value.0 != folder) {
        let message = format!(
            "the id {} is not the folder's name {}",
            quoted(&id.value.0),
            quoted(folder)
        );
        reader.error(id.span, message, Some("rename one of them"));
    }
    if let Some(version) = wire.version.as_ref().filter(|version| version.value == 0) {
        reader.error(version.span, "the version is zero", Some("versions count from 1"));
    }
    if let Some(title) = wire
        .title
        .as_ref()
        .filter(|title| title.value.0.trim().contains('\n'))
    {
        reader.error(title.span, "the title has more than one line", None);
    }
    if let Some(domain) = wire.domain.as_ref().filter(|domain| domain.value.0.contains('-')) {
        let hint = format!("write `{}`", domain.value.0.replace('-', "_"));
        reader.error(domain.span, "a domain has `_` between its words", Some(&hint));
    }
}

fn human(wire: Option<&At<Human>>, reader: &mut Reader<'_>) -> Option<HumanTime> {
    let wire = wire?;
    let (minutes, source) = (wire.minutes.as_ref()?, wire.source.as_ref()?);
    if minutes.value <= 0.0 {
        reader.error(minutes.span, "`minutes` is not above zero", None);
    }
    let n = wire.n.as_ref().map(|at| at.value);
    if source.value == HumanTimeSource::Baseline && n.unwrap_or(0) == 0 {
        let hint = "add `n`, the number of people who were timed, or write `source: estimate`";
        reader.error(source.span, "a baseline without people", Some(hint));
    }
    Some(HumanTime {
        minutes: minutes.value,
        source: source.value,
        n,
    })
}

/// Decodes limits; what is not written takes its default.
fn limits(wire: Option<&At<LimitsWire>>, reader: &mut Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(wire) = wire else { return limits };
    let zero = |at: Span, name: &str, reader: &mut Reader<'_>| {
        reader.error(
            at,
            format!("`{name}` is zero"),
            Some("leave it out for no limit of your own"),
        );
    };
    macro_rules! take {
        ($($name:ident: $wrap:expr, $zero:expr;)+) => {$(
            if let Some(at) = &wire.$name {
                if at.value == $zero {
                    zero(at.span, stringify!($name), reader);
                }
                limits.$name = $wrap(at.value);
            }
        )+};
    }
    take! {
        turns: std::convert::identity, 0;
        tokens: Some, Tokens::ZERO;
        working: std::convert::identity, Duration::ZERO;
        wall: std::convert::identity, Duration::ZERO;
        cost: Some, Usd::ZERO;
        tool_time: std::convert::identity, Duration::ZERO;
        tool_output: std::convert::identity, Bytes::ZERO;
    }
    limits
}

fn builtin(
    tools: &[At<BuiltinTool>],
    sandbox: bool,
    visible: bool,
    reader: &mut Reader<'_>,
) -> Vec<BuiltinTool> {
    let mut found = Vec::new();
    for tool in tools {
        let name = tool.name();
        match tool.value {
            BuiltinTool::Bash
            | BuiltinTool::Shell
            | BuiltinTool::Python
            | BuiltinTool::Edit
            | BuiltinTool::ReadFile
                if !sandbox =>
            {
                let hint = "add a `sandbox` or use `{canned: replies.yaml}`";
                reader.error(tool.span, format!("tool `{name}` needs a sandbox"), Some(hint));
            }
            BuiltinTool::Score if !visible => {
                let hint = "add `intermediate` with `visible: true`";
                reader.error(tool.span, "tool `score` has nothing to run", Some(hint));
            }
            BuiltinTool::Bash
            | BuiltinTool::Shell
            | BuiltinTool::Python
            | BuiltinTool::Edit
            | BuiltinTool::ReadFile
            | BuiltinTool::Score
            | BuiltinTool::Submit => {}
        }
        if found.contains(&tool.value) {
            reader.error(tool.span, format!("tool `{name}` is listed twice"), None);
        } else {
            found.push(tool.value);
        }
    }
    found
}

fn oracle(wire: &TaskWire, folder: &Folder<'_>, reader: &mut Reader<'_>) -> Option<Oracle> {
    let Some(oracle) = &wire.oracle else {
        let at = wire.score.as_ref().map(|at| at.key).unwrap_or_default();
        let hint = "add `oracle: {run: solution.sh}` or `oracle: {submit: ...}`, so that it can be shown to be solvable";
        reader.warn(at, "the task has no oracle", Some(hint));
        return None;
    };
    if oracle.run.is_none() && oracle.submit.is_none() && !reader.has_problem_in(oracle.span) {
        reader.error(
            oracle.key,
            "the oracle does nothing",
            Some("give it `run` or `submit`"),
        );
    }
    if let (Some(run), None) = (&oracle.run, &wire.sandbox) {
        reader.error(
            run.span,
            "an oracle's script needs a sandbox",
            Some("use `submit`"),
        );
    }
    Some(Oracle {
        run: oracle
            .run
            .as_ref()
            .and_then(|at| folder_path(at, Want::File, folder.files, reader)),
        submit: oracle.submit.as_ref().map(|at| at.value.text.clone()),
    })
}

/// Reports a canary that is none, or that a model could see.
fn check_canary(
    wire: &TaskWire,
    sandbox: Option<&SandboxSpec>,
    samples: &[Placed],
    files: &TaskFiles,
    reader: &mut Reader<'_>,
) {
    let Some(canary) = &wire.canary else { return };
    let text = canary.value.0.as_str();
    if !is_uuid(text) {
        let message = format!("canary {} is not a UUID", quoted(text));
        reader.error(canary.span, message, Some("make one with `uuidgen`"));
        return;
    }
    let Ok(pattern) = regex::bytes::Regex::new(&regex::escape(text)) else {
        return;
    };
    if let Some(at) = wire.instructions.as_ref().filter(|at| at.text.contains(text)) {
        reader.error(
            at.key,
            "the canary is in the instructions",
            Some("a model must never see it"),
        );
    }
    for placed in samples {
        let seen = placed
            .sample
            .vars
            .values()
            .any(|value| value.to_string().contains(text))
            || placed.sample.choices.iter().any(|choice| choice.contains(text));
        if seen {
            reader.error(
                canary.span,
                format!("the canary is in sample {}", quoted(placed.sample.id.as_str())),
                None,
            );
        }
    }
    let maps = sandbox
        .map(|sandbox| &sandbox.files)
        .into_iter()
        .chain(samples.iter().map(|p| &p.sample.files));
    let mut found: Vec<&str> = maps
        .flat_map(|map| mapped(map, files))
        .filter(|(_, bytes)| pattern.is_match(bytes))
        .map(|(path, _)| path)
        .collect();
    found.sort_unstable();
    found.dedup();
    for path in found {
        let hint = Some("the agent can read that file; remove the canary from it");
        reader.error(canary.span, format!("the canary is in {}", quoted(path)), hint);
    }
}

/// Reports files that hold the answers and that the agent would get.
fn check_leaks(
    wire: &TaskWire,
    sandbox: Option<&SandboxSpec>,
    samples: &[Placed],
    files: &TaskFiles,
    reader: &mut Reader<'_>,
) {
    let secret = |at: Option<&At<String>>| at.map(|at| at.value.trim_start_matches("./").to_owned());
    let csv = match wire.samples.as_ref().map(|at| &at.value) {
        Some(SamplesWire::Csv(csv)) => secret(csv.csv.as_ref()),
        Some(SamplesWire::Inline(_)) | None => None,
    };
    let run = wire.oracle.as_ref().and_then(|at| secret(at.run.as_ref()));
    let secrets: Vec<String> = [Some(TASK_FILE.to_owned()), csv, run]
        .into_iter()
        .flatten()
        .collect();
    let at = wire.sandbox.as_ref().map(|at| at.key).unwrap_or_default();
    let common = sandbox.map(|sandbox| (&sandbox.files, at));
    let own = samples.iter().map(|placed| (&placed.sample.files, placed.at));
    for (map, at) in common.into_iter().chain(own) {
        for (path, _) in mapped(map, files).filter(|(path, _)| secrets.iter().any(|secret| secret == path)) {
            let hint = "map single files, or a folder that holds only what the agent may see";
            reader.error(
                at,
                format!("the agent would get {}, which holds answers", quoted(path)),
                Some(hint),
            );
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
