//! What a run is asked to do: models, scaffolds, tasks, phases, budgets, concurrency.
//!
//! Owns: the shape of a suite after parsing. Must not: choose trials (see `plan`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ModelId, PhaseId, ScaffoldId, SuiteId};
use crate::model::ModelSpec;
use crate::sandbox::Runtime;
use crate::surface::Level;
use crate::task::LimitOverrides;
use crate::units::{Tokens, Usd, seconds_opt};

/// What a run is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct SuiteSpec {
    /// Its name.
    pub id: SuiteId,
    /// Subjects and helpers, in file order.
    pub models: Vec<ModelSpec>,
    /// Names of scaffolds, in file order.
    pub scaffolds: Vec<ScaffoldId>,
    /// Paths or globs of task folders, relative to the suite's folder.
    pub tasks: Vec<String>,
    /// How often each sample is tried.
    pub epochs: u32,
    /// The seed of orders and calls.
    pub seed: u64,
    /// The series of checkpoints that this belongs to.
    pub series: Option<String>,
    /// Which checkpoint it is.
    pub checkpoint: Option<Checkpoint>,
    /// Spending of the whole run.
    pub budget: Budget,
    /// What may happen at once.
    pub concurrency: Concurrency,
    /// When an attempt is followed by another.
    pub retry: RetryPolicy,
    /// Overrides of every task's limits.
    pub limits: LimitOverrides,
    /// Overrides every task's container runtime.
    pub runtime: Option<Runtime>,
    /// Phases in order; a suite without any has the one phase `main`.
    pub phases: Vec<PhaseSpec>,
    /// Derived files that a run writes at its end.
    pub report_formats: Vec<ReportFormat>,
}

/// A checkpoint of a model in training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its name.
    pub id: String,
    /// Effective training compute, in FLOP.
    pub compute: Option<f64>,
}

/// Spending of a whole run. `None`: unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Money.
    pub cost: Option<Usd>,
    /// Tokens.
    pub tokens: Option<Tokens>,
    /// Time by the clock.
    #[serde(with = "seconds_opt")]
    pub wall: Option<Duration>,
    /// What happens when it is spent.
    pub on_spent: OnSpent,
}

/// What happens when the budget of a run is spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSpent {
    /// No new trial starts; what runs may finish within its reservation.
    #[default]
    Stop,
    /// What runs is cancelled too.
    Cancel,
}

/// What may happen at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Trials.
    pub trials: u32,
    /// Sandboxes of running trials.
    pub sandboxes: u32,
    /// Sandboxes of trials that are to start next, made ahead while all others are in use; 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub look_ahead: u32,
    /// Limits of single models.
    pub per_model: BTreeMap<ModelId, ModelConcurrency>,
}

/// The most sandboxes that are made ahead unless a suite says otherwise.
const MOST_AHEAD: u32 = 8;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Concurrency {
    /// Returns how many sandboxes are made ahead if a suite does not say: one for each in use, since trials that began
    /// together often end together; at most eight.
    pub fn usual_look_ahead(sandboxes: u32) -> u32 {
        sandboxes.min(MOST_AHEAD)
    }
}

impl Default for Concurrency {
    fn default() -> Self {
        let sandboxes = 8;
        Self {
            trials: 64,
            sandboxes,
            look_ahead: Self::usual_look_ahead(sandboxes),
            per_model: BTreeMap::new(),
        }
    }
}

/// Limits of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelConcurrency {
    /// Requests in flight; `None` is as many as trials.
    pub requests: Option<u32>,
    /// Tokens per minute.
    pub tokens_per_minute: Option<Tokens>,
}

/// When an attempt is followed by another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How many further attempts a void one gets.
    pub void: u32,
    /// After so many identical errors in a row a call or trial is given up.
    pub same_error: u32,
    /// The share of void trials from which on the run's result is not to be trusted (exit code 50).
    pub void_share: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            void: 2,
            same_error: 3,
            void_share: 0.2,
        }
    }
}

/// An ordered part of a suite.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseSpec {
    /// Its name.
    pub id: PhaseId,
    /// Globs over task ids; a trial belongs to the first phase that selects it.
    pub tasks: Vec<String>,
    /// The highest surface level.
    pub ceiling: Level,
    /// The levels in which it proceeds; empty for all at once.
    pub levels: Vec<Level>,
    /// The rule after it, as written.
    pub gate: Option<serde_json::Value>,
}

/// A derived file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportFormat {
    /// A page.
    Html,
    /// Trials as rows.
    Csv,
    /// For CI servers.
    Junit,
    /// A summary as text.
    Markdown,
    /// Everything, for programs.
    Json,
}
