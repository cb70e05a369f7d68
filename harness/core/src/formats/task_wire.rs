//! The keys of `task.yaml`.
//!
//! Owns: its shape. Must not: check what the values mean together.

use std::time::Duration;

use serde_json::{Value, json};

use super::artifacts::ArtifactsWire;
use super::reader::Reader;
use super::samples::SamplesWire;
use super::sandbox::Sandbox;
use super::score::{Intermediate, Score};
use super::tree::{Kind, Node};
use super::wire::{At, Definitions, Id, TemplateText, Text, Wire, expected, record, words};
use crate::surface::{Exposure, Knowledge};
use crate::task::{BuiltinTool, HumanTimeSource, OnLimit};
use crate::units::{Bytes, Tokens, Usd};

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
    "shell" => BuiltinTool::Shell,
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
        /// What is kept of the sandbox, and what a fresh scoring container gets.
        artifacts: optional ArtifactsWire,
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
