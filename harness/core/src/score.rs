//! Scores: a number with evidence, or the reason why there is none.
//!
//! Owns: the values. Must not: run scorers (see `scoring` for comparing and reading).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::Capped;

/// A number with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// From 0 to 1, finite.
    pub value: f64,
    /// From this on it is a success.
    pub threshold: f64,
    /// What the number rests on, in words.
    pub evidence: Capped,
    /// Further numbers of the scorer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

impl Score {
    /// Returns whether the score reaches the threshold.
    pub fn success(&self) -> bool {
        self.value >= self.threshold
    }
}

/// What a scorer came to. There is no number that stands for "no score".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ScoreResult {
    /// A number.
    Scored(Score),
    /// None, and why.
    Unscored {
        /// The kind of reason.
        why: Unscored,
        /// What is known about it.
        detail: Capped,
    },
}

impl ScoreResult {
    /// Returns the number, if there is one.
    pub fn score(&self) -> Option<&Score> {
        match self {
            Self::Scored(score) => Some(score),
            Self::Unscored { .. } => None,
        }
    }
}

/// Why there is no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unscored {
    /// The scorer ended in a way that means neither success nor failure.
    Crashed,
    /// The scorer took too long.
    TimedOut,
    /// What it printed is not a score (no number, NaN, out of range).
    BadOutput,
    /// The judge could not be asked, or gave no verdict.
    NoVerdict,
    /// The sandbox was lost before or during scoring.
    SandboxLost,
    /// Nothing stored that could be scored.
    NothingStored,
}

impl Unscored {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::BadOutput => "bad_output",
            Self::NoVerdict => "no_verdict",
            Self::SandboxLost => "sandbox_lost",
            Self::NothingStored => "nothing_stored",
        }
    }
}
