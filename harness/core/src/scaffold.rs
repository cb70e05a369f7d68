//! The prompts, tools and loop policy around a model.
//!
//! Owns: the shape of a scaffold after parsing. Must not: run anything.

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, ScaffoldId};
use crate::units::Tokens;

/// The prompts, tools and loop policy around a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaffoldSpec {
    /// Its name.
    pub id: ScaffoldId,
    /// The loop.
    pub kind: ScaffoldKind,
    /// The texts of its templates.
    pub prompts: Prompts,
    /// How tool calls are written.
    pub tool_format: ToolFormat,
    /// How tokens are chosen.
    pub sampling: SamplingSpec,
    /// What happens when the conversation grows.
    pub context: ContextSpec,
    /// What it cost to make.
    pub effort: Option<Effort>,
    /// Digest of its files.
    pub digest: Digest,
}

/// The loop of a scaffold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaffoldKind {
    /// One call; the answer is the submission.
    Single,
    /// Tools in a loop until `submit`.
    React,
    /// The task's own solution, without a model.
    Oracle,
    /// Nothing, without a model.
    Noop,
}

impl ScaffoldKind {
    /// Returns the name used in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::React => "react",
            Self::Oracle => "oracle",
            Self::Noop => "noop",
        }
    }

    /// Returns whether a model is called.
    pub fn calls_a_model(self) -> bool {
        match self {
            Self::Single | Self::React => true,
            Self::Oracle | Self::Noop => false,
        }
    }
}

/// The texts of a scaffold's templates; `None` where it has none and the built-in text serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompts {
    /// Standing instructions; sees `tools`, `limits`, `tool_format`, `tool_grammar`.
    pub system: Option<String>,
    /// Sent after an answer without a tool call; sees `turn`, `turns_left`.
    pub continue_: Option<String>,
    /// Sent after a malformed call; sees `error`, `tool`.
    pub tool_error: Option<String>,
}

/// How tool calls are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolFormat {
    /// By the provider's own means.
    #[default]
    Native,
    /// As text, for models without native calls.
    Text,
    /// Native where the provider has it, else text.
    Auto,
}

/// How tokens are chosen, as a scaffold asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplingSpec {
    /// Temperature.
    pub temperature: Option<f64>,
    /// Nucleus mass.
    pub top_p: Option<f64>,
    /// The longest answer, in tokens.
    pub max_tokens: u32,
    /// Where the seed comes from.
    pub seed: SeedSpec,
}

impl Default for SamplingSpec {
    fn default() -> Self {
        Self {
            temperature: None,
            top_p: None,
            max_tokens: 4096,
            seed: SeedSpec::FromTrial,
        }
    }
}

/// Where the seed of a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedSpec {
    /// From the suite's seed, the trial and the turn.
    FromTrial,
    /// The same for every call.
    Fixed(u64),
    /// None is sent.
    None,
}

/// What happens when the conversation grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextSpec {
    /// The model's window.
    pub window: Tokens,
    /// What is done when it is full.
    pub on_full: OnFull,
}

impl Default for ContextSpec {
    fn default() -> Self {
        Self {
            window: Tokens(128_000),
            on_full: OnFull::Trim,
        }
    }
}

/// What is done when the window is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// The oldest turns are dropped; the instructions stay.
    Trim,
    /// The model writes a summary that replaces the oldest turns.
    Summarize,
    /// The attempt ends at the context limit.
    Fail,
}

/// What it cost to make a scaffold, for honest comparisons.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Hours of people.
    pub person_hours: Option<f64>,
    /// Tasks that it was tuned on.
    pub tuned_on: Vec<String>,
}
