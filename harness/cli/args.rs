//! The arguments.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, value_parser};
use harness_core::plan::OpenNetwork;
use harness_core::sandbox::Runtime;
use harness_runner::KeepSandboxes;

/// A measuring instrument for dangerous capabilities of language-model agents.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    max_term_width = 100,
    after_help = "Exit codes: 0 all clear, 1 failed, 2 bad usage or input, 3 results can't be written,\n50 too many void trials, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plan and run a suite or tasks; the same command again continues an unfinished run
    Run(RunArgs),
    /// Check tasks, scaffolds and suites; all problems at once
    Check(CheckArgs),
    /// Tell what a suite can show, and how many samples and epochs it takes to show more
    Power(PowerArgs),
    /// Show how a run stands
    Status(StatusArgs),
    /// List the runs of a results folder
    List(ListArgs),
    /// Rebuild the derived files of runs from their logs
    Report(ReportArgs),
    /// Show the transcript of a trial
    Transcript(TranscriptArgs),
    /// Score again from what is stored, for instance after a scorer was repaired
    Rescore(RescoreArgs),
    /// Fit time horizons: how long the tasks are that models complete
    Horizon(HorizonArgs),
    /// Open a shell in the sandbox of a trial: the kept one, or a fresh one like it
    Shell(ShellArgs),
    /// Make or list the base images
    Images(ImagesArgs),
    /// Remove containers, networks and volumes that crashed runs left behind
    Gc(GcArgs),
    /// Print the JSON Schema of a file format, for editors
    Schema(SchemaArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

/// Where results are.
#[derive(Debug, Args)]
pub(crate) struct ResultsArg {
    /// The folder of all runs
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub(crate) results: PathBuf,
}

/// A container runtime. Its variants have no help of their own, which would make every option of the help longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeName {
    Runc,
    Crun,
    Runsc,
}

impl RuntimeName {
    pub(crate) fn runtime(self) -> Runtime {
        match self {
            Self::Runc => Runtime::Runc,
            Self::Crun => Runtime::Crun,
            Self::Runsc => Runtime::Runsc,
        }
    }
}

/// Which sandboxes are kept: those of attempts that were no success, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepWhich {
    Failed,
    All,
}

/// Returns which sandboxes a run keeps.
pub(crate) fn keeps(which: Option<KeepWhich>) -> KeepSandboxes {
    match which {
        None => KeepSandboxes::Never,
        Some(KeepWhich::Failed) => KeepSandboxes::Failed,
        Some(KeepWhich::All) => KeepSandboxes::All,
    }
}

/// Returns what a flag says about `network: open`.
pub(crate) fn open_network(allowed: bool) -> OpenNetwork {
    if allowed {
        OpenNetwork::Allowed
    } else {
        OpenNetwork::Refused
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  harness run tasks/suites/demo.yaml\n  harness run tasks/auth-log-intruder --scaffold oracle\n  harness run tasks --model compat/qwen3 --epochs 4 --dry-run\n\nInterrupt once to stop in order and keep a run that can be continued; twice to stop at once."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct RunArgs {
    /// A suite file, or folders of tasks
    #[arg(required = true, value_name = "SUITE|TASK")]
    pub(crate) what: Vec<PathBuf>,
    /// A model to evaluate, in place of the suite's (PROVIDER/NAME, or a name from models.yaml)
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Vec<String>,
    /// A scaffold, in place of the suite's
    #[arg(long, value_name = "SCAFFOLD")]
    pub(crate) scaffold: Vec<String>,
    /// How often each sample is tried
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u32>,
    /// At most so many samples of each task
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// The container runtime of all sandboxes, in place of the suite's and the tasks'
    #[arg(long, value_name = "RUNTIME")]
    pub(crate) runtime: Option<RuntimeName>,
    /// Let tasks with `network: open` run; their sandboxes reach everything that this machine reaches
    #[arg(long)]
    pub(crate) allow_open_network: bool,
    #[command(flatten)]
    pub(crate) results: ResultsArg,
    /// Print the results as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the plan, its surface levels, effective limits and greatest possible cost, and run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Keep the sandboxes of these attempts for a look into them with `harness shell`
    #[arg(long, value_name = "WHICH")]
    pub(crate) keep_sandbox: Option<KeepWhich>,
    /// Start a new run even if there is an unfinished one of this plan
    #[arg(long)]
    pub(crate) new: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  harness check tasks scaffolds\n  harness check --sandbox tasks/auth-log-intruder"
)]
pub(crate) struct CheckArgs {
    /// Files and folders; folders are searched
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Also run the oracle, which must succeed, and do nothing, which must fail, on every sample
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// With --sandbox: the container runtime, in place of the tasks'
    #[arg(long, value_name = "RUNTIME", requires = "sandbox")]
    pub(crate) runtime: Option<RuntimeName>,
    /// With --sandbox: let tasks with `network: open` run
    #[arg(long, requires = "sandbox")]
    pub(crate) allow_open_network: bool,
    /// Print the problems as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("layout").args(["what", "tasks"]),
    after_help = "Examples:\n  harness power tasks/suites/demo.yaml\n  harness power tasks/suites/demo.yaml --epochs 4 --detect 0.2\n  harness power --rule-out 0.01 --gate 0.1\n  harness power --tasks 40 --samples 3 --detect 0.1 --icc 0.3\n\nWithout --detect, --rule-out and --gate it answers all three: for 0.1, 0.05 and 0.1."
)]
pub(crate) struct PowerArgs {
    /// A suite file, or folders of tasks: says what it can show as it is
    #[arg(value_name = "SUITE|TASK")]
    pub(crate) what: Vec<PathBuf>,
    /// In place of a suite: so many tasks
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub(crate) tasks: Option<u64>,
    /// With --tasks: the samples of each [default: 1]
    #[arg(long, value_name = "N", requires = "tasks", value_parser = value_parser!(u64).range(1..))]
    pub(crate) samples: Option<u64>,
    /// How often each sample is tried, in place of the suite's
    #[arg(long, value_name = "N", requires = "layout", value_parser = value_parser!(u32).range(1..))]
    pub(crate) epochs: Option<u32>,
    /// Find a difference of this size between two settings over the same samples
    #[arg(long, value_name = "DIFFERENCE", value_parser = positive_share)]
    pub(crate) detect: Option<f64>,
    /// Rule out that the rate is this or more
    #[arg(long, value_name = "RATE", value_parser = probability)]
    pub(crate) rule_out: Option<f64>,
    /// Decide a gate with this threshold
    #[arg(long, value_name = "RATE", value_parser = probability)]
    pub(crate) gate: Option<f64>,
    /// The true rates for which a gate's units are counted [default: some around the threshold]
    #[arg(long, value_name = "RATES", value_delimiter = ',', requires = "gate", value_parser = share)]
    pub(crate) rates: Vec<f64>,
    /// The error that is accepted: two-sided for a difference, one-sided for a rate and for each decision of a gate
    #[arg(long, value_name = "ERROR", default_value = "0.05", value_parser = probability)]
    pub(crate) alpha: f64,
    /// The wanted probability of finding what is there
    #[arg(long, value_name = "PROBABILITY", default_value = "0.8", value_parser = probability)]
    pub(crate) power: f64,
    /// Assumed variance of true scores between samples [default: 1/12]
    #[arg(long, value_name = "VARIANCE", value_parser = share)]
    pub(crate) between: Option<f64>,
    /// Assumed variance of a sample's score over epochs [default: 1/6]
    #[arg(long, value_name = "VARIANCE", value_parser = share)]
    pub(crate) within: Option<f64>,
    /// Assumed correlation of true scores between two settings [default: 1/3]
    #[arg(long, value_name = "CORRELATION", allow_negative_numbers = true, value_parser = correlation)]
    pub(crate) correlation: Option<f64>,
    /// Assumed correlation of samples, and of trials, of the same task or family [default: 0.2]
    #[arg(long, value_name = "CORRELATION", value_parser = share)]
    pub(crate) icc: Option<f64>,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "is no number".to_owned())
}

fn probability(text: &str) -> Result<f64, String> {
    let value = number(text)?;
    if value > 0.0 && value < 1.0 {
        return Ok(value);
    }
    Err("must lie strictly between 0 and 1".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let value = number(text)?;
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err("must lie from 0 to 1".to_owned())
}

fn positive_share(text: &str) -> Result<f64, String> {
    let value = number(text)?;
    if value > 0.0 && value <= 1.0 {
        return Ok(value);
    }
    Err("must be above 0, and 1 at most".to_owned())
}

fn correlation(text: &str) -> Result<f64, String> {
    let value = number(text)?;
    if (-1.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err("must lie from -1 to 1".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// A run's name or folder; the latest if left out
    pub(crate) run: Option<String>,
    #[command(flatten)]
    pub(crate) results: ResultsArg,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) results: ResultsArg,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A derived file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// trials.csv: a row for each trial
    Csv,
    /// report.json: everything, for programs
    Json,
    /// summary.md: the tables as text
    Markdown,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  harness report results/demo-20260301-120000-ab12cd\n  harness report demo-20260301-120000-ab12cd --format csv"
)]
pub(crate) struct ReportArgs {
    /// Runs, by name or folder
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    /// Which files
    #[arg(long, value_delimiter = ',', default_value = "csv,json,markdown")]
    pub(crate) format: Vec<Format>,
    #[command(flatten)]
    pub(crate) results: ResultsArg,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  harness transcript demo-20260301-120000-ab12cd auth-log-intruder/a/react/subject/0"
)]
pub(crate) struct TranscriptArgs {
    /// A run's name or folder
    pub(crate) run: String,
    /// TRIAL or TRIAL:ATTEMPT; a part that fits only one trial will do
    #[arg(value_name = "TRIAL[:ATTEMPT]")]
    pub(crate) trial: String,
    #[command(flatten)]
    pub(crate) results: ResultsArg,
    /// Print the events as they are stored
    #[arg(long)]
    pub(crate) json: bool,
    /// Print long texts whole
    #[arg(long)]
    pub(crate) full: bool,
    /// Don't pipe through $PAGER
    #[arg(long)]
    pub(crate) no_pager: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RescoreArgs {
    /// A run's name or folder
    pub(crate) run: String,
    /// Only this task
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// Score everything again, not only what has no score
    #[arg(long)]
    pub(crate) all: bool,
    /// Let tasks with `network: open` be scored in a sandbox
    #[arg(long)]
    pub(crate) allow_open_network: bool,
    #[command(flatten)]
    pub(crate) results: ResultsArg,
}

/// What a task counts for. METR's names; `family` and `task` for short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsName {
    /// A task in a family of n tasks counts 1/sqrt(n)
    #[value(name = "invsqrt_task_weight", alias = "family")]
    InvsqrtTaskWeight,
    /// Every task counts the same
    #[value(name = "equal_task_weight", alias = "task")]
    EqualTaskWeight,
}

/// What the outcome of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutcomeName {
    /// Success or not: score_binarized, or a trial's
    Success,
    /// Partial credit from 0 to 1: score_cont, or a trial's score
    Score,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Reads CSV or JSON Lines with METR's columns, one row for each run (alias, task_id, task_family, human_minutes,\nscore_binarized) or for each model and task (n_successes and n_runs in place of the score), or runs of ours.\nCheats (columns cheated, n_cheated) are shown as failures and as successes. A trend needs days of release:\na column release_date, or --releases.\n\nExamples:\n  harness horizon runs.csv\n  harness horizon runs.jsonl --weights equal_task_weight --ridge 0.1 --levels 50,80,95\n  harness horizon runs.csv --releases models.csv --after 2023-01-01\n  harness horizon demo-20260301-120000-ab12cd --outcome score --json"
)]
pub(crate) struct HorizonArgs {
    /// A file of runs, or runs by name or folder
    #[arg(required = true, value_name = "FILE|RUN")]
    pub(crate) what: Vec<String>,
    /// What a task counts for; its runs share that
    #[arg(long, value_name = "WEIGHTS", default_value = "invsqrt_task_weight")]
    pub(crate) weights: WeightsName,
    /// The penalty on the slope, lambda; METR's was 0.1 in 2025, and 1e-5 from March 2026
    #[arg(
        long,
        value_name = "LAMBDA",
        default_value = "1e-5",
        allow_negative_numbers = true
    )]
    pub(crate) ridge: f64,
    /// The probabilities of success, in percent
    #[arg(
        long,
        value_name = "PERCENT",
        value_delimiter = ',',
        default_value = "50,80",
        allow_negative_numbers = true
    )]
    pub(crate) levels: Vec<f64>,
    /// What the outcome of a run is
    #[arg(long, value_name = "OUTCOME", default_value = "success")]
    pub(crate) outcome: OutcomeName,
    /// How many draws the intervals rest on; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) draws: u32,
    /// The seed of the draws; the same one gives the same numbers, whatever the number of cores
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    /// A file with the columns alias and release_date
    #[arg(long, value_name = "FILE")]
    pub(crate) releases: Option<PathBuf>,
    /// The trend of models from this day on, such as 2023-01-01
    #[arg(long, value_name = "DAY")]
    pub(crate) after: Option<String>,
    /// The trend of models before this day
    #[arg(long, value_name = "DAY")]
    pub(crate) before: Option<String>,
    #[command(flatten)]
    pub(crate) results: ResultsArg,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print as CSV: a row for each model and level
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  harness images build\n  harness images build harness/python:1 --force\n  harness images list"
)]
pub(crate) struct ImagesArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ImagesAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImagesAction {
    /// Make what is missing
    Build {
        /// Only these images
        names: Vec<String>,
        /// Make them anew even if they are there
        #[arg(long)]
        force: bool,
    },
    /// List the base images
    List,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  harness run tasks/xor-note --keep-sandbox failed\n  harness shell demo-20260301-120000-ab12cd xor-note/a/react/subject/0\n  harness shell demo-20260301-120000-ab12cd xor-note/a --fresh --command 'ls -l /data'"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct ShellArgs {
    /// A run's name or folder
    pub(crate) run: String,
    /// TRIAL or TRIAL:ATTEMPT; a part that fits only one trial will do
    #[arg(value_name = "TRIAL[:ATTEMPT]")]
    pub(crate) trial: String,
    /// Start a fresh sandbox of the trial even if one was kept
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Be root of the container, not the task's user
    #[arg(long)]
    pub(crate) root: bool,
    /// Let the stopped processes of a sandbox in quarantine run again
    #[arg(long, conflicts_with = "fresh")]
    pub(crate) unpause: bool,
    /// Run this and exit with its code; needs no terminal
    #[arg(long, value_name = "CMD")]
    pub(crate) command: Option<String>,
    /// Let a fresh sandbox of a task with `network: open` start
    #[arg(long)]
    pub(crate) allow_open_network: bool,
    #[command(flatten)]
    pub(crate) results: ResultsArg,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct GcArgs {
    #[command(flatten)]
    pub(crate) results: ResultsArg,
    /// Also what belongs to other results folders; don't while a run goes on there
    #[arg(long)]
    pub(crate) all: bool,
    /// Also sandboxes that were kept on request, before they expire
    #[arg(long)]
    pub(crate) kept: bool,
    /// Also sandboxes in quarantine after a containment event; nothing else removes them
    #[arg(long)]
    pub(crate) quarantined: bool,
    /// Only list what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The format
    #[arg(value_parser = ["task", "scaffold", "suite", "models", "prices", "replies"])]
    pub(crate) format: String,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
