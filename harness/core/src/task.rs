//! What is asked of a model: a task, its samples, limits, scorer and oracle.
//!
//! Owns: the shape of a task after parsing. Must not: know YAML, paths on the host, or how anything runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{Digest, SampleId, TaskId};
use crate::sandbox::SandboxSpec;
use crate::surface::DeclaredSurface;
use crate::units::{Bytes, Tokens, Usd, seconds, seconds_opt};

/// A file that travels from a task's folder into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileData {
    /// The content.
    pub bytes: Vec<u8>,
    /// Whether it may be executed.
    pub executable: bool,
}

/// Files of a task's folder by their path in it (`files/a.log`), `/`-separated, without `..`.
pub type TaskFiles = BTreeMap<String, Arc<FileData>>;

/// Where files go: absolute container path -> path of a file or folder in the task's folder.
pub type FileMap = BTreeMap<String, String>;

/// A piece of work for an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Its name.
    pub id: TaskId,
    /// Raised on any change that can move scores.
    pub version: u32,
    /// One line for people.
    pub title: String,
    /// Reports group by it.
    pub domain: String,
    /// Tasks that share a cause of success; the clusters of the statistics.
    pub family: String,
    /// Free labels.
    pub tags: Vec<String>,
    /// Never shown to a model.
    pub canary: Option<String>,
    /// How long people take.
    pub human: Option<HumanTime>,
    /// A minijinja template; sees `sample`, `limits`, `tools`.
    pub instructions: String,
    /// Its instances, in file order; never empty.
    pub samples: Vec<Arc<Sample>>,
    /// The container; `None` for tasks without one.
    pub sandbox: Option<SandboxSpec>,
    /// What the agent may call.
    pub tools: ToolSet,
    /// What it may spend.
    pub limits: Limits,
    /// How it is scored.
    pub score: ScoreSpec,
    /// The score from which on a trial is a success, 0 to 1.
    pub threshold: f64,
    /// A score during the attempt.
    pub intermediate: Option<IntermediateSpec>,
    /// What a spent limit gets.
    pub on_limit: OnLimit,
    /// A known way to succeed.
    pub oracle: Option<Oracle>,
    /// Axes of the surface that cannot be derived.
    pub surface: DeclaredSurface,
    /// What is kept of the sandbox, and what a fresh scoring container gets.
    pub artifacts: ArtifactSpec,
    /// Every file of the folder.
    pub files: TaskFiles,
    /// Digest of every file of the folder.
    pub digest: Digest,
}

impl TaskSpec {
    /// Returns the sample with this id.
    pub fn sample(&self, id: &SampleId) -> Option<&Arc<Sample>> {
        self.samples.iter().find(|sample| sample.id == *id)
    }
}

/// What is kept of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactSpec {
    /// Absolute container paths, with `*`, `?` and `**` as in globs; without any, nothing is kept.
    pub paths: Vec<String>,
    /// How much of one file is kept.
    pub max_file: Bytes,
    /// How much of all files is kept.
    pub max_total: Bytes,
    /// How many files are kept.
    pub max_files: usize,
}

impl Default for ArtifactSpec {
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            max_file: Bytes(16 << 20),
            max_total: Bytes(64 << 20),
            max_files: 200,
        }
    }
}

/// How long people take for a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HumanTime {
    /// Minutes of a person with the needed expertise.
    pub minutes: f64,
    /// Where the figure comes from.
    pub source: HumanTimeSource,
    /// How many people were measured; required for a baseline.
    pub n: Option<u32>,
}

/// Where a human time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HumanTimeSource {
    /// People were timed.
    Baseline,
    /// Somebody's estimate.
    Estimate,
}

/// One concrete instance of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name within the task.
    pub id: SampleId,
    /// Values for the templates.
    pub vars: serde_json::Map<String, Value>,
    /// Files of this sample only.
    pub files: FileMap,
    /// Choices of a multiple-choice sample, in order A, B, C...
    pub choices: Vec<String>,
    /// Accepted answers; empty if a program scores without one.
    pub target: Vec<String>,
}

/// What an agent may call.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolSet {
    /// Tools of ours, in the order written; `submit` is always among them.
    Builtin(Vec<BuiltinTool>),
    /// Tools with fixed replies, and `submit`.
    Canned(Arc<Vec<CannedTool>>),
}

/// A tool that the harness provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuiltinTool {
    /// Runs a shell command; nothing persists but files.
    Bash,
    /// Uses a shell on a terminal that stays.
    Shell,
    /// Runs a Python program; nothing persists but files.
    Python,
    /// Views, creates and changes text files.
    Edit,
    /// Reads a part of a file.
    ReadFile,
    /// Ends the attempt with an answer.
    Submit,
    /// Runs the intermediate scorer.
    Score,
}

impl BuiltinTool {
    /// Returns the name that models and task files use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Shell => "shell",
            Self::Python => "python",
            Self::Edit => "edit",
            Self::ReadFile => "read_file",
            Self::Submit => "submit",
            Self::Score => "score",
        }
    }
}

/// A tool whose replies are written in the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CannedTool {
    /// What the model calls it.
    pub name: String,
    /// What the model is told.
    pub description: String,
    /// A JSON Schema of the arguments (an object).
    pub parameters: Value,
    /// The first whose `when` is a part of the arguments answers.
    pub replies: Vec<CannedReply>,
    /// The answer if none fits.
    pub otherwise: String,
}

/// One fixed reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CannedReply {
    /// Arguments that must be there with these values.
    pub when: serde_json::Map<String, Value>,
    /// What the tool answers.
    pub reply: String,
}

/// What one attempt may spend. `None`: unlimited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Calls of the model.
    pub turns: u32,
    /// Tokens of all calls, input and output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Time without any waiting for others.
    #[serde(with = "seconds")]
    pub working: Duration,
    /// Time by the clock.
    #[serde(with = "seconds")]
    pub wall: Duration,
    /// Money for all calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
    /// Time of one tool call.
    #[serde(with = "seconds")]
    pub tool_time: Duration,
    /// Output of one tool call that the model sees.
    pub tool_output: Bytes,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turns: 50,
            tokens: None,
            working: Duration::from_secs(30 * 60),
            wall: Duration::from_secs(60 * 60),
            cost: None,
            tool_time: Duration::from_secs(120),
            tool_output: Bytes(16 << 10),
        }
    }
}

/// Which limit ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Calls of the model.
    Turns,
    /// Tokens.
    Tokens,
    /// Time without waiting.
    Working,
    /// Time by the clock.
    Wall,
    /// Money.
    Cost,
    /// The model's context window, where the scaffold says `on_full: fail`.
    Context,
    /// Disk space of the sandbox.
    Disk,
}

impl LimitKind {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Tokens => "tokens",
            Self::Working => "working",
            Self::Wall => "wall",
            Self::Cost => "cost",
            Self::Context => "context",
            Self::Disk => "disk",
        }
    }
}

/// What a spent limit gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// The state that was reached is scored.
    #[default]
    Score,
    /// Score 0.
    Fail,
}

/// How an attempt is scored.
#[derive(Clone, Debug, PartialEq)]
pub enum ScoreSpec {
    /// Compares the submission with the target.
    Answer(AnswerSpec),
    /// Runs a program.
    Command(CommandSpec),
    /// Asks a model.
    Judge(JudgeSpec),
    /// The lowest part.
    All(Vec<ScoreSpec>),
    /// The highest part.
    Any(Vec<ScoreSpec>),
    /// The mean of the parts.
    Mean(Vec<ScoreSpec>),
}

/// How a submission is compared with the target.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerSpec {
    /// The comparison.
    pub matching: Matching,
    /// Whether letter case counts not.
    pub ignore_case: bool,
}

/// A way to compare a submission with the target.
#[derive(Clone, Debug, PartialEq)]
pub enum Matching {
    /// The trimmed texts are equal.
    Exact,
    /// The submission contains the target.
    Includes,
    /// The target is a regular expression that is found in the submission.
    Regex,
    /// The last number of the submission lies within `tolerance` of the target.
    Numeric {
        /// The greatest absolute difference.
        tolerance: f64,
    },
    /// The submission is JSON of this schema (and equals the target, if there is one).
    Json {
        /// A JSON Schema.
        schema: Value,
    },
    /// The letter of a choice.
    Choice,
    /// F1 of the tokens, against the best target.
    F1,
}

/// A scoring program.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandSpec {
    /// Shell text.
    pub run: String,
    /// Files that are put in only now.
    pub files: FileMap,
    /// In which container.
    pub place: ScorePlace,
    /// How its result is read.
    pub read: ScoreRead,
    /// How long it may take.
    pub timeout: Duration,
    /// `true` for root, `false` for the task's user.
    pub as_root: bool,
}

/// In which container a scoring program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScorePlace {
    /// The agent's, after everything that it started is dead.
    Same,
    /// A new one that gets the artifacts.
    Fresh,
}

/// How the result of a scoring program is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreRead {
    /// Exit code 0 is 1, exit code 1 is 0, all else is a broken scorer.
    Exit,
    /// The last line is a number from 0 to 1.
    Reward,
    /// The last line is a JSON object with `score`.
    Json,
}

/// A model as scorer.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeSpec {
    /// A role or a model id of the suite.
    pub model: String,
    /// The text of the rubric template.
    pub rubric: String,
    /// What the judge's numbers mean: lowest, highest.
    pub scale: (f64, f64),
}

/// A score during the attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct IntermediateSpec {
    /// Shell text.
    pub run: String,
    /// Files that are put in for it and taken away again.
    pub files: FileMap,
    /// Whether the model may ask for it and sees the result.
    pub visible: bool,
    /// Turns between two runs when it is not visible.
    pub every: u32,
    /// How its result is read.
    pub read: ScoreRead,
    /// How long it may take.
    pub timeout: Duration,
}

/// A known way to succeed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Oracle {
    /// A script of the task's folder; its trimmed stdout is the submission.
    pub run: Option<String>,
    /// A template of the submission; also sees `sample.target`.
    pub submit: Option<String>,
}

/// Overrides of limits by a suite or command line; `None` keeps the task's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitOverrides {
    /// Calls of the model.
    pub turns: Option<u32>,
    /// Tokens.
    pub tokens: Option<Tokens>,
    /// Working time.
    #[serde(with = "seconds_opt")]
    pub working: Option<Duration>,
    /// Wall time.
    #[serde(with = "seconds_opt")]
    pub wall: Option<Duration>,
    /// Money.
    pub cost: Option<Usd>,
}
