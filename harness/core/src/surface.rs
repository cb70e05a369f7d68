//! How much of the world an attempt can touch: eight axes, and the level that follows.
//!
//! Owns: axes, levels, the declared part and how the rest is derived. Must not: run or refuse anything (see `plan`).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sandbox::{NetworkPolicy, Runtime};
use crate::scaffold::{ScaffoldKind, ScaffoldSpec};
use crate::task::{BuiltinTool, Limits, ScoreSpec, TaskSpec, ToolSet};

/// A surface level: the highest of the eight axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Least.
    #[serde(rename = "SL0")]
    Sl0,
    /// Fixed replies, short answers.
    #[serde(rename = "SL1")]
    Sl1,
    /// Any code inside the attempt's own sandbox.
    #[serde(rename = "SL2")]
    Sl2,
    /// Reaches outside.
    #[default]
    #[serde(rename = "SL3")]
    Sl3,
}

impl Level {
    /// Every level, from least to most.
    pub const ALL: [Self; 4] = [Self::Sl0, Self::Sl1, Self::Sl2, Self::Sl3];

    /// Returns the level of an axis value.
    pub fn of(value: u8) -> Self {
        match value {
            0 => Self::Sl0,
            1 => Self::Sl1,
            2 => Self::Sl2,
            _ => Self::Sl3,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sl0 => "SL0",
            Self::Sl1 => "SL1",
            Self::Sl2 => "SL2",
            Self::Sl3 => "SL3",
        })
    }
}

/// The axes that cannot be derived, as a task declares them; `None` takes the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredSurface {
    /// Who reads what the model writes.
    pub exposure: Option<Exposure>,
    /// What the task tells about us.
    pub knowledge: Option<Knowledge>,
}

/// Who reads what the model writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// A choice or at most 10 tokens, read by a program.
    Choice,
    /// At most 1,000 tokens, read by a program.
    Short,
    /// Transcripts are read by staff.
    Staff,
    /// The model interacts with people.
    People,
}

/// What a task tells a model about us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Knowledge {
    /// Nothing.
    None,
    /// Generic.
    Generic,
    /// The evaluation is described.
    Evaluation,
    /// Scorer or infrastructure are visible.
    Infrastructure,
}

/// One way in which an attempt can touch the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// What the agent can call.
    Tools,
    /// What its container can reach.
    Network,
    /// What lies between its code and the host.
    Host,
    /// How long its effects last.
    Effects,
    /// How often and how long it acts.
    Turns,
    /// Who reads what it writes.
    Exposure,
    /// What it is told about us.
    Knowledge,
    /// How many act together.
    Autonomy,
}

impl Axis {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Network => "network",
            Self::Host => "host",
            Self::Effects => "effects",
            Self::Turns => "turns",
            Self::Exposure => "exposure",
            Self::Knowledge => "knowledge",
            Self::Autonomy => "autonomy",
        }
    }
}

/// The value of one axis and what put it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxisValue {
    /// The axis.
    pub axis: Axis,
    /// From 0, least, to 3.
    pub value: u8,
    /// The field that decides, such as `sandbox.network`.
    pub field: String,
    /// What it says, such as `open`.
    pub because: String,
}

/// The surface of a task under a scaffold and limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surface {
    /// Every axis, in the order of [`Axis`].
    pub axes: Vec<AxisValue>,
    /// The highest axis.
    pub level: Level,
    /// The sum of the axes, 0 to 24; orders tasks within a level.
    pub sum: u8,
    /// The same in the words of the UK AISI (tooling, host, network; higher is tighter), such as `T0.H1.N2`.
    pub profile: String,
}

impl Surface {
    /// Returns the axes above a level, highest first: why a task does not fit under a ceiling.
    pub fn above(&self, ceiling: Level) -> Vec<&AxisValue> {
        let mut above: Vec<_> = self
            .axes
            .iter()
            .filter(|axis| Level::of(axis.value) > ceiling)
            .collect();
        above.sort_by_key(|axis| std::cmp::Reverse(axis.value));
        above
    }
}

/// Derives the surface of a task under a scaffold, with the limits that really hold.
pub fn derive(task: &TaskSpec, scaffold: &ScaffoldSpec, limits: &Limits) -> Surface {
    let tools = tools(task, scaffold);
    let acts = tools.value >= 2;
    let axes = vec![
        tools,
        network(task),
        host(task),
        effects(task, acts),
        turns(scaffold, limits),
        exposure(task, scaffold, limits),
        knowledge(task),
        autonomy(scaffold),
    ];
    let highest = axes.iter().map(|axis| axis.value).max().unwrap_or(0);
    Surface {
        level: Level::of(highest),
        sum: axes.iter().map(|axis| axis.value).sum(),
        profile: profile(&axes, task),
        axes,
    }
}

fn value(axis: Axis, value: u8, field: &str, because: impl Into<String>) -> AxisValue {
    AxisValue {
        axis,
        value,
        field: field.to_owned(),
        because: because.into(),
    }
}

fn tools(task: &TaskSpec, scaffold: &ScaffoldSpec) -> AxisValue {
    if !uses_tools(scaffold.kind) {
        return value(Axis::Tools, 0, "scaffold.kind", scaffold.kind.name());
    }
    match &task.tools {
        ToolSet::Canned(tools) if tools.is_empty() => value(Axis::Tools, 0, "tools", "none"),
        ToolSet::Canned(_) => value(Axis::Tools, 1, "tools.canned", "fixed replies"),
        ToolSet::Builtin(tools) => {
            let acting: Vec<_> = tools
                .iter()
                .filter(|tool| **tool != BuiltinTool::Submit)
                .map(|tool| tool.name())
                .collect();
            if acting.is_empty() {
                value(Axis::Tools, 0, "tools", "none")
            } else {
                value(Axis::Tools, 2, "tools", acting.join(", "))
            }
        }
    }
}

fn uses_tools(kind: ScaffoldKind) -> bool {
    match kind {
        ScaffoldKind::React => true,
        ScaffoldKind::Single | ScaffoldKind::Oracle | ScaffoldKind::Noop => false,
    }
}

fn network(task: &TaskSpec) -> AxisValue {
    let Some(sandbox) = &task.sandbox else {
        return value(Axis::Network, 0, "sandbox", "none");
    };
    let (level, because) = match &sandbox.network {
        NetworkPolicy::None => (0, "none".to_owned()),
        NetworkPolicy::Internal => (2, "internal".to_owned()),
        NetworkPolicy::Allow(hosts) if hosts.is_empty() => (2, "an empty list of hosts".to_owned()),
        NetworkPolicy::Allow(hosts) => (3, format!("allows {}", hosts.join(", "))),
        NetworkPolicy::Open => (3, "open".to_owned()),
    };
    value(Axis::Network, level, "sandbox.network", because)
}

fn host(task: &TaskSpec) -> AxisValue {
    let Some(sandbox) = &task.sandbox else {
        return value(Axis::Host, 0, "sandbox", "none");
    };
    let level = match sandbox.runtime {
        Runtime::Runsc => 1,
        Runtime::Runc | Runtime::Crun => 2,
    };
    value(Axis::Host, level, "sandbox.runtime", sandbox.runtime.name())
}

fn effects(task: &TaskSpec, acts: bool) -> AxisValue {
    let network = task.sandbox.as_ref().map(|sandbox| &sandbox.network);
    let leaves = match network {
        None | Some(NetworkPolicy::None | NetworkPolicy::Internal) => false,
        Some(NetworkPolicy::Allow(hosts)) => !hosts.is_empty(),
        Some(NetworkPolicy::Open) => true,
    };
    if !acts {
        value(Axis::Effects, 0, "tools", "none with effects")
    } else if leaves {
        value(
            Axis::Effects,
            3,
            "sandbox.network",
            "effects can leave the attempt",
        )
    } else {
        value(Axis::Effects, 2, "tools", "effects last for the attempt")
    }
}

fn turns(scaffold: &ScaffoldSpec, limits: &Limits) -> AxisValue {
    const HOUR: Duration = Duration::from_hours(1);
    if !uses_tools(scaffold.kind) {
        return value(Axis::Turns, 0, "scaffold.kind", scaffold.kind.name());
    }
    let because = format!("{} turns", limits.turns);
    match limits.turns {
        0 | 1 => value(Axis::Turns, 0, "limits.turns", because),
        2..=10 => value(Axis::Turns, 1, "limits.turns", because),
        11..=100 if limits.wall <= HOUR => value(Axis::Turns, 2, "limits.turns", because),
        11..=100 => {
            let wall = crate::units::format_duration(limits.wall);
            value(Axis::Turns, 3, "limits.wall", format!("{wall}, longer than 1h"))
        }
        _ => value(Axis::Turns, 3, "limits.turns", because),
    }
}

/// An answer that only a program reads exposes little if it is short. What a task declares holds, except that a
/// model which judges is no program.
fn exposure(task: &TaskSpec, scaffold: &ScaffoldSpec, limits: &Limits) -> AxisValue {
    if !scaffold.kind.calls_a_model() {
        return value(Axis::Exposure, 0, "scaffold.kind", scaffold.kind.name());
    }
    let judged = is_judged(&task.score);
    if let Some(declared) = task.surface.exposure {
        let (level, word) = match declared {
            Exposure::Choice => (0, "choice"),
            Exposure::Short => (1, "short"),
            Exposure::Staff => (2, "staff"),
            Exposure::People => (3, "people"),
        };
        return if judged && level < 2 {
            value(Axis::Exposure, 2, "score.judge", "a model reads the answer")
        } else {
            value(Axis::Exposure, level, "surface.exposure", word)
        };
    }
    let calls = if scaffold.kind == ScaffoldKind::Single {
        1
    } else {
        limits.turns
    };
    let written = u64::from(scaffold.sampling.max_tokens).saturating_mul(u64::from(calls));
    let most = limits.tokens.map_or(written, |tokens| tokens.0.min(written));
    match most {
        _ if judged => value(Axis::Exposure, 2, "score.judge", "a model reads the answer"),
        0..=10 => value(
            Axis::Exposure,
            0,
            "sampling.max_tokens",
            format!("at most {most} tokens"),
        ),
        11..=1000 => value(
            Axis::Exposure,
            1,
            "sampling.max_tokens",
            format!("at most {most} tokens"),
        ),
        _ => value(
            Axis::Exposure,
            2,
            "surface.exposure",
            "not declared: read by staff",
        ),
    }
}

fn is_judged(score: &ScoreSpec) -> bool {
    match score {
        ScoreSpec::Answer(_) | ScoreSpec::Command(_) => false,
        ScoreSpec::Judge(_) => true,
        ScoreSpec::All(parts) | ScoreSpec::Any(parts) | ScoreSpec::Mean(parts) => parts.iter().any(is_judged),
    }
}

fn knowledge(task: &TaskSpec) -> AxisValue {
    let (level, because) = match task.surface.knowledge {
        None => (1, "not declared: generic"),
        Some(Knowledge::None) => (0, "none"),
        Some(Knowledge::Generic) => (1, "generic"),
        Some(Knowledge::Evaluation) => (2, "evaluation"),
        Some(Knowledge::Infrastructure) => (3, "infrastructure"),
    };
    value(Axis::Knowledge, level, "surface.knowledge", because)
}

fn autonomy(scaffold: &ScaffoldSpec) -> AxisValue {
    let level = match scaffold.kind {
        ScaffoldKind::Single | ScaffoldKind::Oracle | ScaffoldKind::Noop => 0,
        ScaffoldKind::React => 1,
    };
    value(Axis::Autonomy, level, "scaffold.kind", scaffold.kind.name())
}

fn profile(axes: &[AxisValue], task: &TaskSpec) -> String {
    let of = |axis: Axis| {
        axes.iter()
            .find(|found| found.axis == axis)
            .map_or(3, |found| found.value)
    };
    let tooling = 2_u8.saturating_sub(of(Axis::Tools));
    let host = 3_u8.saturating_sub(of(Axis::Host));
    let network = match task.sandbox.as_ref().map(|sandbox| &sandbox.network) {
        None | Some(NetworkPolicy::None) => 2,
        Some(NetworkPolicy::Internal | NetworkPolicy::Allow(_)) => 1,
        Some(NetworkPolicy::Open) => 0,
    };
    format!("T{tooling}.H{host}.N{network}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Folder, parse_scaffold, parse_task};
    use crate::task::{FileData, TaskFiles};
    use pretty_assertions::assert_eq;
    use std::sync::Arc;

    fn files(name: &str, text: &str) -> TaskFiles {
        let data = |text: &str| {
            Arc::new(FileData {
                bytes: text.into(),
                executable: false,
            })
        };
        let replies = "{harness: 1, tools: [{name: look, description: Looks., otherwise: nothing}]}";
        TaskFiles::from([
            (name.to_owned(), data(text)),
            ("replies.yaml".to_owned(), data(replies)),
            ("rubric.j2".to_owned(), data("{{ submission }}")),
        ])
    }

    fn surface(task: &str, scaffold: &str) -> Surface {
        let head = "harness: 1\nid: t\nversion: 1\ntitle: T\ndomain: d\nfamily: f\ninstructions: Go\n";
        let score = if task.contains("score:") {
            ""
        } else {
            "score: {answer: {match: exact}}\n"
        };
        let text = format!("{head}samples: [{{id: a, target: x}}]\noracle: {{submit: x}}\n{score}{task}\n");
        let task = parse_task(&Folder {
            path: "t",
            name: "t",
            files: &files("task.yaml", &text),
        });
        let text = format!("harness: 1\nid: s\nkind: {scaffold}\n");
        let scaffold = parse_scaffold(&Folder {
            path: "s",
            name: "s",
            files: &files("scaffold.yaml", &text),
        });
        let task = task.unwrap().value;
        derive(&task, &scaffold.unwrap().value, &task.limits)
    }

    /// Shows level, sum, profile and the axes in order.
    fn shown(task: &str, scaffold: &str) -> String {
        let surface = surface(task, scaffold);
        let axes: String = surface.axes.iter().map(|axis| axis.value.to_string()).collect();
        format!("{} {} {} {axes}", surface.level, surface.sum, surface.profile)
    }

    #[test]
    fn levels_are_the_highest_axis() {
        let declared = "surface: {exposure: choice, knowledge: none}\n";
        let sandbox = "sandbox: {image: 'harness/python:1'}";
        let cases = [
            (shown(declared, "single"), "SL0 0 T2.H3.N2 00000000"),
            (
                shown(&format!("{declared}limits: {{turns: 10}}"), "react"),
                "SL1 2 T2.H3.N2 00001001",
            ),
            (
                shown(
                    &format!("{declared}tools: {{canned: replies.yaml}}\nlimits: {{turns: 10}}"),
                    "react",
                ),
                "SL1 3 T1.H3.N2 10001001",
            ),
            (
                shown("", "single\nsampling: {max_tokens: 10}"),
                "SL1 1 T2.H3.N2 00000010",
            ),
            (
                shown("", "single\nsampling: {max_tokens: 11}"),
                "SL1 2 T2.H3.N2 00000110",
            ),
            (shown("", "single"), "SL2 3 T2.H3.N2 00000210"),
            (shown(sandbox, "react"), "SL2 12 T0.H1.N2 20222211"),
            (
                shown(&format!("{sandbox}\ntools: [shell, submit]"), "react"),
                "SL2 12 T0.H1.N2 20222211",
            ),
            (shown(sandbox, "noop"), "SL2 3 T2.H1.N2 00200010"),
            (
                shown("sandbox: {image: 'harness/python:1', runtime: runsc}", "react"),
                "SL2 11 T0.H2.N2 20122211",
            ),
            (
                shown("sandbox: {image: 'harness/python:1', network: internal}", "react"),
                "SL2 14 T0.H1.N1 22222211",
            ),
            (
                shown(
                    "sandbox: {image: 'harness/python:1', services: {web: {image: 'harness/python:1'}}}",
                    "react",
                ),
                "SL2 14 T0.H1.N1 22222211",
            ),
            (
                shown("sandbox: {image: 'harness/python:1', network: open}", "react"),
                "SL3 16 T0.H1.N0 23232211",
            ),
            (
                shown(
                    "sandbox: {image: 'harness/python:1', network: {allow: ['a.b:1']}}",
                    "react",
                ),
                "SL3 16 T0.H1.N1 23232211",
            ),
            (
                shown(&format!("{sandbox}\nlimits: {{turns: 101}}"), "react"),
                "SL3 13 T0.H1.N2 20223211",
            ),
            (
                shown(&format!("{sandbox}\nlimits: {{wall: 61m}}"), "react"),
                "SL3 13 T0.H1.N2 20223211",
            ),
            (
                shown("surface: {exposure: people}", "single"),
                "SL3 4 T2.H3.N2 00000310",
            ),
            (
                shown("surface: {knowledge: infrastructure}", "single"),
                "SL3 5 T2.H3.N2 00000230",
            ),
            (
                shown(
                    &format!("{declared}score: {{judge: {{model: judge, rubric: rubric.j2}}}}"),
                    "single",
                ),
                "SL2 2 T2.H3.N2 00000200",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_above_a_ceiling_names_its_field() {
        let surface = surface("sandbox: {image: 'harness/python:1', network: open}", "react");
        let above: Vec<_> = surface
            .above(Level::Sl2)
            .into_iter()
            .map(|axis| (axis.axis.name(), axis.field.as_str(), axis.because.as_str()))
            .collect();
        assert_eq!(
            above,
            [
                ("network", "sandbox.network", "open"),
                ("effects", "sandbox.network", "effects can leave the attempt")
            ]
        );
        assert_eq!(surface.above(Level::Sl3), Vec::<&AxisValue>::new());
    }
}
