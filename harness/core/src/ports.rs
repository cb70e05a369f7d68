//! The traits at the seams. Adapters implement them; `runner` knows only these.
//!
//! Owns: what the outside must be able to do. Must not: have a runtime, a socket or a file.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{AttemptEvent, RunEvent};
use crate::ids::{AttemptId, Digest, RunId};
use crate::model::{ModelError, ModelRequest, ModelResponse};
use crate::sandbox::SandboxSpec;
use crate::task::FileData;
use crate::text::Captured;
use crate::units::{Bytes, Moment, Timestamp, seconds};

mod fact_room;
mod facts;
mod terminal;

pub use fact_room::{FactBounds, FactRoom};
pub use facts::{CollectRequest, Collected, CollectedFile, KeepReason, KeptSandbox, SandboxFact};
pub use terminal::{Terminal, TerminalOutput, TerminalRequest, TerminalState, WindowSize};

/// A boxed future, the only kind that crosses a port.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Calls what is evaluated. Never retries: the scheduler does.
pub trait ModelClient: Send + Sync {
    /// Makes one call. Dropping the future cancels it.
    fn complete<'a>(&'a self, request: &'a ModelRequest) -> Later<'a, Result<ModelResponse, ModelError>>;
}

/// Makes sandboxes.
pub trait SandboxProvider: Send + Sync {
    /// Makes sure that an image is there: pulled, built or made. Idempotent; called before any trial starts.
    /// `files` is the task's folder, for images built from it. Returns the content id of the image.
    fn prepare<'a>(
        &'a self,
        spec: &'a SandboxSpec,
        files: &'a BTreeMap<String, Arc<FileData>>,
    ) -> Later<'a, Result<PreparedImage, SandboxError>>;

    /// Creates and starts a sandbox with its files. No setup command is run here.
    /// On error or when the future is dropped, nothing stays behind that [`sweep`](Self::sweep) would not find.
    fn start<'a>(&'a self, request: &'a SandboxRequest) -> Later<'a, Result<Box<dyn Sandbox>, SandboxError>>;

    /// Removes what earlier processes left behind.
    fn sweep<'a>(&'a self, scope: &'a SweepScope) -> Later<'a, Result<Swept, SandboxError>>;

    /// Waits until every sandbox that was stopped is really gone. Returns what could not be removed, in words.
    fn settle(&self) -> Later<'_, Vec<String>>;
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedImage {
    /// The name that sandboxes are started from.
    pub name: String,
    /// The daemon's content id (`sha256:...`).
    pub id: String,
    /// How it came to be there.
    pub origin: ImageOrigin,
    /// The images of the services, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, PreparedImage>,
}

/// How an image came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageOrigin {
    /// It was there.
    Present,
    /// From a registry.
    Pulled,
    /// From a task's Dockerfile.
    Built,
    /// One of the shipped base images, made on this machine.
    Made,
}

/// What a sandbox is started from.
#[derive(Clone, Debug, PartialEq)]
pub struct SandboxRequest {
    /// The container as asked for; its `files` and `setup` are not looked at here.
    pub spec: Arc<SandboxSpec>,
    /// The image, as `prepare` returned it.
    pub image: PreparedImage,
    /// Files to put in before anything runs.
    pub files: Vec<PutFile>,
    /// The same for the services that have files, by name.
    pub service_files: BTreeMap<String, Vec<PutFile>>,
    /// Whose it is.
    pub labels: SandboxLabels,
}

/// A file to put into a sandbox. Parent folders are made. Files below the spec's workdir belong to the task's
/// user, others to root; mode 0644, or 0755 if executable.
#[derive(Clone, Debug, PartialEq)]
pub struct PutFile {
    /// Absolute container path.
    pub path: String,
    /// Content and mode.
    pub data: Arc<FileData>,
}

/// Whose a sandbox is; written on everything that a provider makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxLabels {
    /// The run.
    pub run: RunId,
    /// The attempt.
    pub attempt: AttemptId,
    /// After this instant anybody may remove it.
    pub expires: Timestamp,
}

/// What a sweep removes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SweepScope {
    /// Everything of one run (which must not be running elsewhere).
    Run(RunId),
    /// Everything whose expiry lies before this instant.
    Expired(Timestamp),
    /// Everything that carries our labels, except that of these live runs.
    AllBut(Vec<RunId>),
}

/// What a sweep removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Containers.
    pub containers: u32,
    /// Networks.
    pub networks: u32,
    /// Volumes.
    pub volumes: u32,
}

/// The container of one attempt.
pub trait Sandbox: Send + Sync {
    /// Returns what is recorded about it.
    fn info(&self) -> SandboxInfo;

    /// Runs one command to its end, its timeout, or a limit of the sandbox. When this returns, a command that was
    /// stopped is dead together with everything it started.
    /// How the command ended is data; `Err` means that the sandbox could not do its job (or is gone).
    fn exec<'a>(&'a self, request: &'a ExecRequest) -> Later<'a, Result<ExecResult, SandboxError>>;

    /// Reads a regular file, at most `cap` bytes of it (the beginning).
    fn read<'a>(&'a self, path: &'a str, cap: Bytes) -> Later<'a, Result<FileContent, SandboxError>>;

    /// Puts files in, as [`PutFile`] says.
    fn write<'a>(&'a self, files: &'a [PutFile]) -> Later<'a, Result<(), SandboxError>>;

    /// Kills everything but the sandbox's own keeper process: all that the agent or setup started, `setsid`
    /// children included. Fails only if the sandbox is gone or something survived.
    fn kill_all(&self) -> Later<'_, Result<(), SandboxError>>;

    /// Packs a folder into a tar archive, for keeping; at most `cap` bytes, else an error.
    fn export<'a>(&'a self, path: &'a str, cap: Bytes) -> Later<'a, Result<Vec<u8>, SandboxError>>;

    /// Unpacks an archive made by [`export`](Self::export) of a folder of this name into the parent of `path`.
    fn import<'a>(&'a self, path: &'a str, archive: Vec<u8>) -> Later<'a, Result<(), SandboxError>>;

    /// Starts a program on a terminal of its own.
    fn open_terminal<'a>(
        &'a self,
        request: &'a TerminalRequest,
    ) -> Later<'a, Result<Box<dyn Terminal>, SandboxError>>;

    /// Reads the regular files that match patterns, as far as the task's user may read them. Links are not followed.
    fn collect<'a>(&'a self, request: &'a CollectRequest) -> Later<'a, Result<Collected, SandboxError>>;

    /// Checks that nothing has happened to the sandbox and its services while nobody used them.
    fn check(&self) -> Later<'_, Result<(), SandboxError>>;

    /// Makes sure that all that the sandbox has said by now was looked at. The only error is a containment event; a
    /// sandbox that is gone or silent has shown none.
    fn check_containment(&self) -> Later<'_, Result<(), SandboxError>>;

    /// Returns what happened since the last call without being asked for.
    fn take_facts(&self) -> Vec<SandboxFact>;

    /// Keeps the sandbox beyond its attempt, in quarantine or since a person asked for it; `stop` then does nothing.
    fn keep(&self, reason: KeepReason) -> Later<'_, Result<KeptSandbox, SandboxError>>;

    /// Removes the sandbox; the removal may go on in the background (see [`SandboxProvider::settle`]). Safe to call
    /// when it is gone.
    fn stop(&self) -> Later<'_, Result<(), SandboxError>>;
}

/// What is recorded about a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxInfo {
    /// The container's id.
    pub id: String,
    /// The image's content id.
    pub image: String,
    /// The runtime.
    pub runtime: String,
    /// What differs from what was asked (a disk limit that this daemon can't set, ...).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One command.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// As whom.
    pub user: ExecUser,
    /// The folder; `None` is the spec's workdir.
    pub cwd: Option<String>,
    /// Variables on top of the spec's.
    pub env: BTreeMap<String, String>,
    /// What it reads.
    pub stdin: Option<Arc<[u8]>>,
    /// How long it may take.
    pub timeout: Duration,
    /// How many bytes of each stream are kept.
    pub keep: Bytes,
    /// What happens to the rest before it runs.
    pub before: BeforeExec,
}

impl ExecRequest {
    /// Returns a request that runs shell text with `sh -c` as the task's user.
    pub fn shell(text: impl Into<String>, timeout: Duration) -> Self {
        Self {
            argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), text.into()],
            user: ExecUser::Task,
            cwd: None,
            env: BTreeMap::new(),
            stdin: None,
            timeout,
            keep: Bytes(1 << 20),
            before: BeforeExec::Nothing,
        }
    }
}

/// As whom a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecUser {
    /// The spec's user.
    Task,
    /// Root.
    Root,
}

/// What happens to running processes before a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeExec {
    /// They go on.
    Nothing,
    /// All are killed as by [`Sandbox::kill_all`], in the same step if the provider can.
    KillAll,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecResult {
    /// How.
    pub ending: ExecEnding,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// How long it took.
    pub took: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExecEnding {
    /// By itself; 128 + n for signal n.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// The kernel killed something in the sandbox for lack of memory while it ran.
    OutOfMemory {
        /// The exit code.
        code: i32,
    },
    /// At its timeout.
    TimedOut {
        /// The timeout.
        #[serde(with = "seconds")]
        after: Duration,
    },
    /// It wrote too much output.
    OutputLimit {
        /// The limit.
        limit: Bytes,
    },
    /// The sandbox's file system grew over its limit.
    DiskLimit {
        /// The limit.
        limit: Bytes,
    },
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// The beginning of it.
    pub bytes: Vec<u8>,
    /// How long the whole file is.
    pub size: u64,
}

/// Why a sandbox or its daemon could not do its job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SandboxError {
    /// Nobody answers.
    #[error("no Docker daemon answers at {address}: {detail}")]
    DaemonUnreachable {
        /// Where it was looked for.
        address: String,
        /// What the connection said.
        detail: String,
    },
    /// The daemon refused or failed.
    #[error("the Docker daemon failed to {operation}: {detail}")]
    Daemon {
        /// What was asked.
        operation: String,
        /// What it said.
        detail: String,
    },
    /// The container is dead or was removed.
    #[error("the sandbox is gone{}: {detail}", if *.out_of_memory { " (out of memory)" } else { "" })]
    Gone {
        /// Whether the kernel killed it for lack of memory.
        out_of_memory: bool,
        /// What is known.
        detail: String,
    },
    /// The disk of the host is full.
    #[error("the disk of the host is full: {detail}")]
    HostDisk {
        /// What the daemon said.
        detail: String,
    },
    /// An image is not there and cannot be had.
    #[error("image `{image}` is missing: {detail}")]
    ImageMissing {
        /// The image.
        image: String,
        /// What was tried.
        detail: String,
    },
    /// An image could not be built.
    #[error("failed to build image `{image}`: {detail}")]
    ImageBuild {
        /// The image.
        image: String,
        /// The end of the build's output.
        detail: String,
    },
    /// The daemon does not know the runtime.
    #[error("the Docker daemon does not know the runtime `{runtime}`")]
    RuntimeUnknown {
        /// The runtime.
        runtime: String,
    },
    /// Something that this provider cannot do.
    #[error("not supported here: {what}")]
    Unsupported {
        /// What.
        what: String,
    },
    /// A file of the sandbox is not there or not what is expected.
    #[error("file `{path}` in the sandbox: {problem}")]
    File {
        /// Which.
        path: String,
        /// What is wrong.
        problem: FileProblem,
    },
    /// The image has no shell.
    #[error("the image has no /bin/sh: {detail}")]
    NoShell {
        /// What the daemon said.
        detail: String,
    },
    /// The image has no such user.
    #[error("the image has no user `{user}`")]
    UnknownUser {
        /// The user.
        user: String,
    },
    /// A service of the sandbox does not come up.
    #[error("service `{service}` {detail}")]
    Service {
        /// Which.
        service: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An answer that makes no sense.
    #[error("unexpected answer of the Docker daemon: {detail}")]
    Protocol {
        /// What.
        detail: String,
    },
    /// A containment event: something in the sandbox tried to deceive or get at the host.
    #[error("containment event `{breach}`: {evidence}")]
    Breached {
        /// Its short name.
        breach: String,
        /// How it is known.
        evidence: String,
    },
}

impl SandboxError {
    /// Returns the snake_case name of the variant; two errors are "identical" if their names are.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DaemonUnreachable { .. } => "daemon_unreachable",
            Self::Daemon { .. } => "daemon",
            Self::Gone {
                out_of_memory: true, ..
            } => "out_of_memory",
            Self::Gone {
                out_of_memory: false, ..
            } => "sandbox_gone",
            Self::HostDisk { .. } => "host_disk",
            Self::ImageMissing { .. } => "image_missing",
            Self::ImageBuild { .. } => "image_build",
            Self::RuntimeUnknown { .. } => "runtime_unknown",
            Self::Unsupported { .. } => "unsupported",
            Self::File { .. } => "file",
            Self::NoShell { .. } => "no_shell",
            Self::UnknownUser { .. } => "unknown_user",
            Self::Service { .. } => "service",
            Self::Protocol { .. } => "protocol",
            Self::Breached { .. } => "breached",
        }
    }
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum FileProblem {
    /// It is not there.
    #[error("no such file")]
    Missing,
    /// It is a folder, link or device.
    #[error("not a regular file")]
    NotRegular,
    /// The path cannot be used.
    #[error("not a valid path")]
    BadPath,
    /// It may not be read or written.
    #[error("permission denied")]
    Denied,
    /// There is no room for it: the sandbox's disk limit, or the host's disk.
    #[error("no space left")]
    NoSpace,
}

/// Where events and blobs are kept. Calls are quick: they buffer, or write to the page cache.
/// The first failure makes every later call fail: the run then stops.
pub trait EventStore: Send + Sync {
    /// Appends one fact of the scheduler.
    fn append(&self, now: Moment, event: &RunEvent) -> Result<(), StoreError>;

    /// Opens the log of an attempt. An older file of that name (a crash) is replaced.
    fn attempt(&self, attempt: &AttemptId, index: u32) -> Result<Box<dyn AttemptLog>, StoreError>;

    /// Keeps bytes under their digest.
    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError>;

    /// Appends the ending of an attempt and resolves once it and the attempt's log would survive a power cut.
    fn commit(&self, now: Moment, event: RunEvent) -> Later<'_, Result<(), StoreError>>;
}

/// The log of one attempt; one writer.
pub trait AttemptLog: Send + Sync {
    /// Appends one event.
    fn append(&mut self, now: Moment, working: Duration, event: &AttemptEvent) -> Result<(), StoreError>;

    /// Writes out what is buffered.
    fn flush(&mut self) -> Result<(), StoreError>;

    /// Ends the log and returns what names its content.
    fn finish(self: Box<Self>) -> Result<LogSeal, StoreError>;
}

/// What names the content of a finished log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSeal {
    /// The file's name below `attempts/`.
    pub file: String,
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Digest of all bytes.
    pub digest: Digest,
}

/// Results can't be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Writing failed.
    #[error("failed to write {path}: {detail}")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        detail: String,
    },
    /// Reading failed.
    #[error("failed to read {path}: {detail}")]
    Read {
        /// The file.
        path: String,
        /// What the system said, or what is wrong with the content.
        detail: String,
    },
    /// An earlier write failed, so nothing more is written.
    #[error("results can't be written since an earlier write failed")]
    Broken,
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the present moment.
    fn now(&self) -> Moment;
}
