//! How much of the world an attempt can touch: eight axes, and the level that follows.
//!
//! Owns: axes, levels and the declared part. Must not: run or refuse anything (see `plan`).

use std::fmt;

use serde::{Deserialize, Serialize};

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
