//! What a sandbox reports beside the answers to requests.

use serde::{Deserialize, Serialize};

use super::SandboxError;
use crate::egress::{EgressAttempt, EgressCounts};
use crate::text::Capped;
use crate::units::Bytes;

/// Something that happened in or around a sandbox without being asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SandboxFact {
    /// Something in it wanted to reach the outside.
    Egress(EgressAttempt),
    /// A connection to the outside was opened; how it went is an [`Egress`](Self::Egress) at its end, which alone counts.
    EgressOpened(EgressAttempt),
    /// A service ended by itself.
    ServiceEnded {
        /// Which.
        service: String,
        /// Its exit code.
        code: i32,
        /// The end of what it wrote.
        output: Capped,
    },
    /// The stream to a service's helper is over: it died, or what it said made no sense.
    ServiceBroken {
        /// Which.
        service: String,
        /// How it is known.
        detail: String,
    },
    /// So many facts were not kept since there were too many.
    Dropped {
        /// How many.
        count: u64,
        /// The attempts to reach the outside among them.
        #[serde(default, skip_serializing_if = "EgressCounts::is_zero")]
        egress: EgressCounts,
    },
}

/// Why a sandbox is kept after its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepReason {
    /// A containment event: paused, and removed only on explicit request.
    Quarantine,
    /// A person asked for it.
    Asked,
}

/// A sandbox that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSandbox {
    /// The container's id.
    pub id: String,
    /// The name under which it is found.
    pub name: String,
    /// Why.
    pub reason: KeepReason,
    /// Whether its processes are stopped.
    pub paused: bool,
}

/// What is collected from a sandbox at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectRequest {
    /// Absolute paths, with `*`, `?` and `**` as in globs.
    pub patterns: Vec<String>,
    /// How much of one file is kept.
    pub per_file: Bytes,
    /// How much of all files is kept.
    pub total: Bytes,
    /// How many files are kept.
    pub files: usize,
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The files, by path.
    pub files: Vec<CollectedFile>,
    /// What matched and was left, and why; at most a few dozen, the last one counts the rest.
    pub left: Vec<String>,
}

/// A file that was collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectedFile {
    /// Its path in the container.
    pub path: String,
    /// The beginning of it.
    pub bytes: Vec<u8>,
    /// How long the whole file is.
    pub size: u64,
}

impl SandboxError {
    /// Returns whether this is a containment event: something in a sandbox tried to deceive or get at the host.
    pub fn is_breach(&self) -> bool {
        matches!(self, Self::Breached { .. })
    }
}
