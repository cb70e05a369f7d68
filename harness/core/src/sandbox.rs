//! The container of an attempt as it is asked for.
//!
//! Owns: what a sandbox may be. Must not: know Docker.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::task::FileMap;
use crate::units::Bytes;

/// The user of a sandbox that names none. In an image without such a user it is number 1000, still not root.
pub const DEFAULT_USER: &str = "agent";

/// The container of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxSpec {
    /// Where its file system comes from.
    pub image: ImageSource,
    /// What it can reach.
    pub network: NetworkPolicy,
    /// Further containers on the task's own network.
    pub services: BTreeMap<String, ServiceSpec>,
    /// Files of every sample.
    pub files: FileMap,
    /// Shell commands run as root before the agent.
    pub setup: Vec<String>,
    /// Variables of every command.
    pub env: BTreeMap<String, String>,
    /// The user of the agent's commands.
    pub user: String,
    /// The folder of the agent's commands.
    pub workdir: String,
    /// What it may use.
    pub resources: Resources,
    /// The container runtime.
    pub runtime: Runtime,
}

/// Where a container's file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageSource {
    /// A name with a tag, such as `harness/python:1`.
    Named(String),
    /// Built from a folder of the task.
    Build {
        /// The folder in the task's folder.
        context: String,
        /// The Dockerfile in the context.
        dockerfile: String,
    },
}

/// What a sandbox can reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkPolicy {
    /// Loopback only.
    None,
    /// The task's own services.
    Internal,
    /// These `host:port` patterns through the proxy.
    Allow(Vec<String>),
    /// Everything.
    Open,
}

/// A further container.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSpec {
    /// Where its file system comes from.
    pub image: ImageSource,
    /// What it runs; empty for the image's own command.
    pub command: Vec<String>,
    /// Its files.
    pub files: FileMap,
    /// Variables of its command and its health check.
    pub env: BTreeMap<String, String>,
    /// How one knows that it is ready.
    pub healthcheck: Option<Healthcheck>,
}

/// How one knows that a service is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthcheck {
    /// Shell text that succeeds when it is.
    pub run: String,
    /// How often it is tried, a second apart.
    pub retries: u32,
}

/// What a container may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Processor cores.
    pub cpus: f64,
    /// Memory, swap included.
    pub memory: Bytes,
    /// Processes and threads.
    pub pids: u32,
    /// Growth of its file system.
    pub disk: Bytes,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpus: 1.0,
            memory: Bytes(512 << 20),
            pids: 256,
            disk: Bytes(1 << 30),
        }
    }
}

/// A container runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// The daemon's default.
    #[default]
    Runc,
    /// crun.
    Crun,
    /// gVisor.
    Runsc,
}

impl Runtime {
    /// Returns the name that the daemon knows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Runsc => "runsc",
        }
    }
}
