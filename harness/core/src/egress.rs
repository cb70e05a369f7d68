//! What a sandbox may reach outside of it.
//!
//! Owns: the rules and the record of an attempt. Must not: resolve names or open connections.
//!
//! A decision has two steps. [`AllowList::asked`] judges host and port as written; only then may the name be
//! resolved. [`Target::address`] judges every address before anything is sent to it, so that a name of the list
//! can't be turned towards this host, its networks or a cloud's metadata.

mod address;
mod endpoint;
mod list;
mod room;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use endpoint::{Endpoint, EndpointProblem, Host};
pub use list::{AllowList, Pattern, PatternError, Target};
pub use room::EgressRoom;

use serde::{Deserialize, Serialize};

use crate::units::{Timestamp, seconds};

/// One attempt of something in a sandbox to reach the outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EgressAttempt {
    /// The host as asked for, shortened and printable.
    pub host: String,
    /// The port.
    pub port: u16,
    /// How it was asked for: `connect`, or the method of a plain request.
    pub method: String,
    /// What became of it.
    pub verdict: EgressVerdict,
    /// The address that was connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes that left the sandbox.
    pub sent: u64,
    /// Bytes that came in.
    pub received: u64,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// How long it lasted.
    #[serde(with = "seconds")]
    pub took: Duration,
}

/// What became of an attempt to reach the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EgressVerdict {
    /// It is on the list, and a connection was made.
    Allowed,
    /// It is on the list, but no connection came about (no such name, refused, silent).
    Failed,
    /// It is not on the list; nothing was sent.
    NotListed,
    /// Its address is one that nothing may reach (this host, a private network, a cloud's metadata); nothing was sent.
    Forbidden,
    /// It was no request that the proxy understands; nothing was sent.
    Malformed,
    /// There were too many connections at once; nothing was sent.
    TooMany,
}

impl EgressVerdict {
    /// Returns whether the sandbox was kept from where it wanted to go.
    pub fn blocked(self) -> bool {
        match self {
            Self::NotListed | Self::Forbidden | Self::Malformed | Self::TooMany => true,
            Self::Allowed | Self::Failed => false,
        }
    }
}

/// How often a sandbox reached for the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressCounts {
    /// With success or at least by right.
    pub allowed: u64,
    /// In vain.
    pub blocked: u64,
}

impl EgressCounts {
    /// Counts one attempt.
    pub fn count(&mut self, verdict: EgressVerdict) {
        if verdict.blocked() {
            self.blocked += 1;
        } else {
            self.allowed += 1;
        }
    }

    /// Counts what was counted elsewhere.
    pub fn add(&mut self, other: Self) {
        self.allowed = self.allowed.saturating_add(other.allowed);
        self.blocked = self.blocked.saturating_add(other.blocked);
    }

    /// Returns whether there was none.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}
