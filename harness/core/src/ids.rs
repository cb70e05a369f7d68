//! Identifiers as types of their own, and the digest that names content.
//!
//! Owns: what an identifier may look like. Must not: know what the things behind them are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest identifier that people may write, in bytes.
pub const MAX_ID: usize = 64;

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps text that is known to be an identifier (parsed before, or written by us).
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }
    )+};
}

text_ids! {
    /// Names a task; equals the name of its folder.
    TaskId,
    /// Names a sample within its task.
    SampleId,
    /// Names a scaffold; equals the name of its folder.
    ScaffoldId,
    /// Names a model within a suite.
    ModelId,
    /// Names a phase within a suite.
    PhaseId,
    /// Names a suite.
    SuiteId,
    /// Names a run; equals the name of its folder under `results/`.
    RunId,
    /// Names a trial: `task/sample/scaffold/model/epoch`. Stable over runs of one suite.
    TrialId,
}

impl TrialId {
    /// Builds the stable name of a planned unit.
    pub fn of(task: &TaskId, sample: &SampleId, scaffold: &ScaffoldId, model: &ModelId, epoch: u32) -> Self {
        Self::new(format!("{task}/{sample}/{scaffold}/{model}/{epoch}"))
    }
}

/// Names one physical execution of a trial: the trial and its number, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The trial that was executed.
    pub trial: TrialId,
    /// 1 for the first attempt.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.trial, self.number)
    }
}

/// Returns why `text` cannot be an identifier that people write, if so: lower-case letters, digits,
/// `-` and `_`, beginning with a letter or digit, at most [`MAX_ID`] bytes.
pub fn id_problem(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    if text.len() > MAX_ID {
        return Some(format!("is longer than {MAX_ID} characters"));
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Some("must begin with a lower-case letter or a digit".to_owned());
    }
    let bad = text
        .chars()
        .find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')));
    bad.map(|c| format!("must not contain {c:?} (lower-case letters, digits, `-` and `_` only)"))
}

/// The BLAKE3 digest of some content, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes one piece of content.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Wraps 32 bytes computed elsewhere with BLAKE3 (a streaming hasher).
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes several pieces; their borders count, so `["ab", "c"]` differs from `["a", "bc"]`.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Returns the first 12 hexadecimal digits, for names and screens.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// Returns the first eight bytes as a number, for seeds.
    pub fn seed(&self) -> u64 {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(first)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// Text that is not 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected 64 hexadecimal digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        blake3::Hash::from_hex(text)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| NotADigest)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn ids_are_checked() {
        let problems: Vec<_> = ["auth-log", "", "A", "a b", "-a", "a/b", &"x".repeat(65)]
            .map(id_problem)
            .into();
        assert_eq!(
            problems.iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, true, true, true, true, true, true]
        );
    }

    #[test]
    fn borders_of_parts_count() {
        let (left, right): ([&[u8]; 2], [&[u8]; 2]) = ([b"ab", b"c"], [b"a", b"bc"]);
        assert_ne!(Digest::of_parts(left), Digest::of_parts(right));
    }

    #[test]
    fn a_digest_survives_json() {
        let digest = Digest::of(b"x");
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
    }
}
