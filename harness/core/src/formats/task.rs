//! `task.yaml` and what belongs to it.
//!
//! Owns: the shape of tasks and everything that can be checked before a run. Must not: open files.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Folder;
use super::paths::{Want, container_path, folder_path, mapped};
use super::problem::{Checked, Parsed, Problem, Problems};
use super::reader::{Reader, file_problem};
use super::replies::replies;
use super::samples::{self, Placed, SamplesWire};
use super::sandbox::{Sandbox, check_overlap, sandbox};
use super::score::{self, Intermediate, MatchWord, Score, ScoreContext};
use super::source::Span;
use super::templates::{self, TemplatePlace};
use super::tree::{Kind, Node, parse, quoted};
use super::wire::{At, Definitions, Id, TemplateText, Text, Wire, expected, record, words};
use crate::ids::{Digest, TaskId};
use crate::prompt::{Target, rubric_variables, sample_variables};
use crate::sandbox::SandboxSpec;
use crate::surface::{DeclaredSurface, Exposure, Knowledge};
use crate::task::{
    BuiltinTool, HumanTime, HumanTimeSource, IntermediateSpec, Limits, OnLimit, Oracle, TaskFiles, TaskSpec,
    ToolSet,
};
use crate::units::{Bytes, Tokens, Usd};

/// The version of the formats that this program reads.
pub(super) const VERSION: u32 = 1;
/// The task's own file.
const TASK_FILE: &str = "task.yaml";

words!(HumanTimeSource { "baseline" => HumanTimeSource::Baseline, "estimate" => HumanTimeSource::Estimate });
words!(OnLimit { "score" => OnLimit::Score, "fail" => OnLimit::Fail });
words!(Exposure {
    "choice" => Exposure::Choice,
    "short" => Exposure::Short,
    "staff" => Exposure::Staff,
    "people" => Exposure::People,
});
words!(Knowledge {
    "none" => Knowledge::None,
    "generic" => Knowledge::Generic,
    "evaluation" => Knowledge::Evaluation,
    "infrastructure" => Knowledge::Infrastructure,
});
words!(BuiltinTool {
    "bash" => BuiltinTool::Bash,
    "python" => BuiltinTool::Python,
    "edit" => BuiltinTool::Edit,
    "read_file" => BuiltinTool::ReadFile,
    "submit" => BuiltinTool::Submit,
    "score" => BuiltinTool::Score,
});

record! {
    /// How long people take for the task.
    Human {
        /// Minutes of a person with the needed expertise.
        minutes: required f64,
        /// Whether people were timed or somebody estimated.
        source: required HumanTimeSource,
        /// How many people were timed.
        n: optional u32,
    }
}

record! {
    /// What one attempt may spend.
    LimitsWire {
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
        /// Time of one tool call.
        tool_time: optional Duration,
        /// Output of one tool call that the model sees.
        tool_output: optional Bytes,
    }
}

record! {
    /// Tools with fixed replies.
    Canned {
        /// The file with the replies in the task's folder.
        canned: required String,
    }
}

record! {
    /// A known way to succeed.
    OracleWire {
        /// A script of the task's folder; its output is the submission.
        run: optional String,
        /// A template of the submission.
        submit: optional TemplateText,
    }
}

record! {
    /// What of the surface cannot be derived.
    SurfaceWire {
        /// Who reads what the model writes.
        exposure: optional Exposure,
        /// What the task tells a model about us.
        knowledge: optional Knowledge,
    }
}

record! {
    /// A piece of work for an agent.
    TaskWire {
        /// The version of the format.
        harness: required u32,
        /// The task's name, which is its folder's name.
        id: required Id,
        /// Raised on any change that can move scores.
        version: required u32,
        /// One line for people.
        title: required Text,
        /// What reports group by: autonomy, cyber, ai_rnd, persuasion, self_knowledge, general, ...
        domain: required Id,
        /// Tasks that share a cause of success.
        family: required Id,
        /// Free labels.
        tags: optional Vec<Text>,
        /// A UUID that is never shown to a model.
        canary: optional Text,
        /// How long people take.
        human: optional Human,
        /// A minijinja template; sees `sample`, `limits`, `tools`.
        instructions: required TemplateText,
        /// Its instances.
        samples: required SamplesWire,
        /// The container; leave it out for tasks without one.
        sandbox: optional Sandbox,
        /// What the agent may call.
        tools: optional ToolsWire,
        /// What one attempt may spend.
        limits: optional LimitsWire,
        /// How it is scored.
        score: required Score,
        /// A score during the attempt.
        intermediate: optional Intermediate,
        /// What a spent limit gets.
        on_limit: optional OnLimit,
        /// A known way to succeed.
        oracle: optional OracleWire,
        /// What of the surface cannot be derived.
        surface: optional SurfaceWire,
        /// Container paths that are kept and that a fresh scoring container gets.
        artifacts: optional Vec<At<String>>,
    }
}

/// Tools as people write them.
#[derive(Clone, Debug)]
pub(super) enum ToolsWire {
    Builtin(Vec<At<BuiltinTool>>),
    Canned(Box<Canned>),
}

impl Wire for ToolsWire {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => Vec::read(node, reader).map(Self::Builtin),
            Kind::Map(_) => Canned::read(node, reader).map(|wire| Self::Canned(Box::new(wire))),
            Kind::Null | Kind::Scalar(_) => {
                expected("a list of tools or `{canned: replies.yaml}`", node, reader);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [Vec::<BuiltinTool>::schema(definitions), Canned::schema(definitions)]})
    }
}

/// Reads and checks the task of a folder.
pub fn parse_task(folder: &Folder<'_>) -> Parsed<TaskSpec> {
    let path = format!("{}/{TASK_FILE}", folder.path);
    let text = match file_text(&path, TASK_FILE, folder.files) {
        Ok(text) => text,
        Err(problem) => return Err(Problems(vec![problem])),
    };
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

/// Returns the value if nothing is wrong with it.
pub(super) fn conclude<T>(value: Option<T>, problems: Vec<Problem>) -> Parsed<T> {
    let mut problems = Problems(problems);
    match value {
        Some(value) if !problems.has_errors() => Ok(Checked {
            value,
            warnings: problems,
        }),
        _ => {
            if !problems.has_errors() {
                let hint = Some("this is a mistake of the program; please report it");
                problems
                    .0
                    .push(file_problem("", "the file could not be read".to_owned(), hint));
            }
            Err(problems)
        }
    }
}

/// Returns the text of a folder's file.
pub(super) fn file_text<'f>(path: &str, name: &str, files: &'f TaskFiles) -> Result<&'f str, Problem> {
    match files.get(name) {
        Some(file) => utf8(path, &file.bytes),
        None => Err(file_problem(
            path,
            format!("there is no {name} in this folder"),
            None,
        )),
    }
}

/// Returns bytes as text, or where they stop being text.
pub(super) fn utf8<'b>(path: &str, bytes: &'b [u8]) -> Result<&'b str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        Problem {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            length: 1,
            ..file_problem(
                path,
                format!("the file is not UTF-8 text (byte 0x{byte:02x})"),
                Some("save it as UTF-8"),
            )
        }
    })
}

/// Reports a version of the format that is not ours.
pub(super) fn check_version(version: Option<&At<u32>>, reader: &mut Reader<'_>) {
    if let Some(version) = version.filter(|version| version.value != VERSION) {
        let message = format!("format version {} is not known", version.value);
        reader.error(version.span, message, Some("this program reads `harness: 1`"));
    }
}

/// Hashes what of a folder counts: everything but hidden files and Python's caches.
pub(super) fn digest(files: &TaskFiles) -> Digest {
    let counts = |path: &str| {
        path.split('/')
            .all(|part| !part.starts_with('.') && part != "__pycache__")
    };
    Digest::of_parts(
        files
            .iter()
            .filter(|(path, _)| counts(path))
            .flat_map(|(path, file)| {
                let flag: &[u8] = if file.executable { b"x" } else { b"-" };
                [path.as_bytes(), flag, file.bytes.as_slice()]
            }),
    )
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
            artifacts: wire.artifacts.as_ref().is_some_and(|at| !at.is_empty()),
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
        let artifacts: Vec<String> = wire
            .artifacts
            .iter()
            .flat_map(|at| &at.value)
            .filter_map(|at| container_path(&at.value, at.span, reader))
            .collect();
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
            human: human(wire.human.as_ref(), reader),
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

    fn canned(&mut self, wire: &Canned, reader: &mut Reader<'_>) -> Vec<crate::task::CannedTool> {
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
            Err(problem) => {
                self.others.push(problem);
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
                check_samples(&samples, matches, &mut inner);
                self.others.extend(inner.finish());
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
            BuiltinTool::Bash | BuiltinTool::Python | BuiltinTool::Edit | BuiltinTool::ReadFile
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

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
