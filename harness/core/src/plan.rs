//! Turns a suite with its tasks, scaffolds and models into trials with stable names.
//!
//! Owns: which trials there are, their order, their effective limits, and the plan's digest. Must not: read files or
//! start anything. The same inputs give the same plan and the same digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, ModelId, PhaseId, SampleId, ScaffoldId, SuiteId, TaskId, TrialId};
use crate::model::{ModelSpec, Usage};
use crate::sandbox::Runtime;
use crate::scaffold::{ScaffoldKind, ScaffoldSpec};
use crate::schedule::Spend;
use crate::scoring::{Part, parts};
use crate::suite::{Budget, Checkpoint, Concurrency, PhaseSpec, RetryPolicy, SuiteSpec};
use crate::surface::{self, Level};
use crate::task::{HumanTime, LimitOverrides, Limits, Sample, TaskSpec};
use crate::text::glob_fits;
use crate::units::{Tokens, Usd};

mod check;
#[cfg(test)]
mod tests;

/// The version of `plan.json`.
pub const PLAN_FORMAT: u32 = 1;
/// What is reserved for one call of a judge.
const JUDGE_RESERVE: Tokens = Tokens(40_000);

/// What a plan is made from.
#[derive(Clone, Debug)]
pub struct PlanInput {
    /// The suite.
    pub suite: SuiteSpec,
    /// Its tasks, in suite order.
    pub tasks: Vec<Arc<TaskSpec>>,
    /// Its scaffolds, in suite order.
    pub scaffolds: Vec<Arc<ScaffoldSpec>>,
    /// At most so many samples of each task.
    pub limit: Option<usize>,
    /// Whether a sandbox may reach everything.
    pub open_network: OpenNetwork,
}

/// Whether tasks with `network: open` may be planned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenNetwork {
    /// They are refused.
    #[default]
    Refused,
    /// A person asked for it on the command line.
    Allowed,
}

/// Trials and everything that they refer to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Digest of what was asked.
    pub id: Digest,
    /// The suite.
    pub suite: SuiteSpec,
    /// Its tasks, as they will run: with the suite's runtime, if it has one.
    pub tasks: Vec<Arc<TaskSpec>>,
    /// Its scaffolds.
    pub scaffolds: Vec<Arc<ScaffoldSpec>>,
    /// Effective limits, for each scaffold (inner) of each task (outer).
    pub limits: Vec<Vec<Arc<Limits>>>,
    /// Phases with at least the default one.
    pub phases: Vec<PhaseSpec>,
    /// Trials in the order in which they start.
    pub trials: Vec<Trial>,
}

/// A planned unit.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Its stable name.
    pub id: TrialId,
    /// Its phase, by number.
    pub phase: usize,
    /// Its task, by number.
    pub task: usize,
    /// Its sample.
    pub sample: Arc<Sample>,
    /// Its scaffold, by number.
    pub scaffold: usize,
    /// Its model, by number; `None` for scaffolds that call none.
    pub model: Option<usize>,
    /// From 0.
    pub epoch: u32,
    /// Seeds its calls.
    pub seed: u64,
}

/// The plan as it is stored: what reports need without the task files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// Digest of what was asked.
    pub id: Digest,
    /// Our version.
    pub version: String,
    /// The suite.
    pub suite: SuiteId,
    /// Where the suite or task was read.
    pub source: String,
    /// The seed.
    pub seed: u64,
    /// How often each sample is tried.
    pub epochs: u32,
    /// The series of checkpoints.
    pub series: Option<String>,
    /// The checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The run's budget.
    pub budget: Budget,
    /// What may happen at once.
    pub concurrency: Concurrency,
    /// When attempts are tried again.
    pub retry: RetryPolicy,
    /// The runtime that overrides every task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
    /// Models, key sources included and keys never.
    pub models: Vec<ModelSpec>,
    /// Scaffolds.
    pub scaffolds: Vec<ScaffoldRecord>,
    /// Tasks.
    pub tasks: Vec<TaskRecord>,
    /// Phases.
    pub phases: Vec<PhaseRecord>,
    /// Trials, in the order in which they start.
    pub trials: Vec<TrialRecord>,
}

/// A scaffold of a stored plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaffoldRecord {
    /// Its name.
    pub id: ScaffoldId,
    /// Its loop.
    pub kind: ScaffoldKind,
    /// Digest of its files.
    pub digest: Digest,
    /// The hours of people that it took, if stated.
    pub person_hours: Option<f64>,
}

/// A task of a stored plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Its name.
    pub id: TaskId,
    /// Its version.
    pub version: u32,
    /// One line for people.
    pub title: String,
    /// Reports group by it.
    pub domain: String,
    /// The clusters of the statistics.
    pub family: String,
    /// How long people take.
    pub human: Option<HumanTime>,
    /// Digest of its files.
    pub digest: Digest,
    /// From this score on it is a success.
    pub threshold: f64,
    /// Its folder, for scoring again; not part of the plan's digest.
    pub folder: String,
    /// Effective limits for each scaffold.
    pub limits: Vec<Limits>,
    /// Surface level for each scaffold.
    pub levels: Vec<Level>,
}

/// A phase of a stored plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// Its name.
    pub id: PhaseId,
    /// The highest surface level.
    pub ceiling: Level,
}

/// A trial of a stored plan; numbers refer to the lists beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Its name.
    pub id: TrialId,
    /// Its phase.
    pub phase: usize,
    /// Its task.
    pub task: usize,
    /// Its sample.
    pub sample: SampleId,
    /// Its scaffold.
    pub scaffold: usize,
    /// Its model.
    pub model: Option<usize>,
    /// From 0.
    pub epoch: u32,
}

/// Something that keeps a plan from being run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {message}")]
pub struct PlanProblem {
    /// Where: a task, phase, model or scaffold.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Makes the plan, or says everything that is wrong with it.
pub fn plan(input: PlanInput) -> Result<Plan, Vec<PlanProblem>> {
    let PlanInput {
        suite,
        tasks,
        scaffolds,
        limit,
        open_network,
    } = input;
    let tasks = with_runtime(tasks, suite.runtime);
    let phases = phases_of(&suite);
    let limits: Vec<Vec<Arc<Limits>>> = tasks
        .iter()
        .map(|task| {
            scaffolds
                .iter()
                .map(|scaffold| Arc::new(effective(task, scaffold, &suite.limits)))
                .collect()
        })
        .collect();
    let mut plan = Plan {
        id: Digest::of(b""),
        suite,
        tasks,
        scaffolds,
        limits,
        phases,
        trials: Vec::new(),
    };
    plan.trials = trials_of(&plan, limit);
    let problems = check::problems(&plan, open_network);
    if !problems.is_empty() {
        return Err(problems);
    }
    plan.id = digest_of(&plan);
    Ok(plan)
}

impl Plan {
    /// Returns the most that a trial can spend.
    pub fn greatest(&self, trial: &Trial) -> Spend {
        let limits = &self.limits[trial.task][trial.scaffold];
        let model = trial.model.map(|model| &self.suite.models[model]);
        let judges = judge_calls(&self.tasks[trial.task]);
        let subject = greatest(limits, &self.scaffolds[trial.scaffold], model);
        subject + judge_reserve(&self.suite, judges)
    }

    /// Returns whether the most that a trial can spend in money is known.
    pub fn cost_known(&self, trial: &Trial) -> bool {
        let priced = |model: &ModelSpec| model.price.is_some();
        let judged = judge_calls(&self.tasks[trial.task]) == 0
            || self
                .suite
                .models
                .iter()
                .filter(|model| model.role.is_some())
                .all(priced);
        trial.model.is_none_or(|model| priced(&self.suite.models[model])) && judged
    }

    /// Returns the plan as it is stored. `source` is where it was read, `folders` the tasks' folders.
    pub fn record(&self, version: &str, source: &str, folders: &BTreeMap<TaskId, String>) -> PlanRecord {
        let suite = &self.suite;
        PlanRecord {
            format: PLAN_FORMAT,
            id: self.id,
            version: version.to_owned(),
            suite: suite.id.clone(),
            source: source.to_owned(),
            seed: suite.seed,
            epochs: suite.epochs,
            series: suite.series.clone(),
            checkpoint: suite.checkpoint.clone(),
            budget: suite.budget.clone(),
            concurrency: suite.concurrency.clone(),
            retry: suite.retry.clone(),
            runtime: suite.runtime,
            models: suite.models.clone(),
            scaffolds: self
                .scaffolds
                .iter()
                .map(|scaffold| scaffold_record(scaffold))
                .collect(),
            tasks: self.task_records(folders),
            phases: self
                .phases
                .iter()
                .map(|phase| PhaseRecord {
                    id: phase.id.clone(),
                    ceiling: phase.ceiling,
                })
                .collect(),
            trials: self.trials.iter().map(trial_record).collect(),
        }
    }

    fn task_records(&self, folders: &BTreeMap<TaskId, String>) -> Vec<TaskRecord> {
        let record = |(task, limits): (&Arc<TaskSpec>, &Vec<Arc<Limits>>)| TaskRecord {
            id: task.id.clone(),
            version: task.version,
            title: task.title.clone(),
            domain: task.domain.clone(),
            family: task.family.clone(),
            human: task.human.clone(),
            digest: task.digest,
            threshold: task.threshold,
            folder: folders.get(&task.id).cloned().unwrap_or_default(),
            limits: limits.iter().map(|limits| Limits::clone(limits)).collect(),
            levels: self
                .scaffolds
                .iter()
                .zip(limits)
                .map(|(scaffold, limits)| surface::derive(task, scaffold, limits).level)
                .collect(),
        };
        self.tasks.iter().zip(&self.limits).map(record).collect()
    }
}

/// Returns the tasks as they run where the suite says in which runtime.
fn with_runtime(tasks: Vec<Arc<TaskSpec>>, runtime: Option<Runtime>) -> Vec<Arc<TaskSpec>> {
    let Some(runtime) = runtime else { return tasks };
    let change = |mut task: Arc<TaskSpec>| {
        if task.sandbox.is_some()
            && let Some(sandbox) = &mut Arc::make_mut(&mut task).sandbox
        {
            sandbox.runtime = runtime;
        }
        task
    };
    tasks.into_iter().map(change).collect()
}

fn scaffold_record(scaffold: &ScaffoldSpec) -> ScaffoldRecord {
    ScaffoldRecord {
        id: scaffold.id.clone(),
        kind: scaffold.kind,
        digest: scaffold.digest,
        person_hours: scaffold.effort.as_ref().and_then(|effort| effort.person_hours),
    }
}

fn trial_record(trial: &Trial) -> TrialRecord {
    TrialRecord {
        id: trial.id.clone(),
        phase: trial.phase,
        task: trial.task,
        sample: trial.sample.id.clone(),
        scaffold: trial.scaffold,
        model: trial.model,
        epoch: trial.epoch,
    }
}

/// Hashes what was asked. What may differ without changing any result stays out: where files lie, how much runs at
/// once, and our version.
fn digest_of(plan: &Plan) -> Digest {
    let mut record = plan.record("", "", &BTreeMap::new());
    // Older versions knew no look-ahead, and zero is not written: plans keep their ids.
    record.concurrency = Concurrency {
        look_ahead: 0,
        ..Concurrency::default()
    };
    let text = serde_json::to_vec(&record).unwrap_or_default();
    Digest::of(&text)
}

fn phases_of(suite: &SuiteSpec) -> Vec<PhaseSpec> {
    if !suite.phases.is_empty() {
        return suite.phases.clone();
    }
    vec![PhaseSpec {
        id: PhaseId::new("main"),
        tasks: vec!["*".to_owned()],
        ceiling: Level::Sl3,
        levels: Vec::new(),
        gate: None,
    }]
}

fn effective(task: &TaskSpec, scaffold: &ScaffoldSpec, overrides: &LimitOverrides) -> Limits {
    let own = &task.limits;
    let single = scaffold.kind == ScaffoldKind::Single;
    Limits {
        turns: if single {
            1
        } else {
            overrides.turns.unwrap_or(own.turns)
        },
        tokens: overrides.tokens.or(own.tokens),
        working: overrides.working.unwrap_or(own.working),
        wall: overrides.wall.unwrap_or(own.wall),
        cost: overrides.cost.or(own.cost),
        tool_time: own.tool_time,
        tool_output: own.tool_output,
    }
}

fn greatest(limits: &Limits, scaffold: &ScaffoldSpec, model: Option<&ModelSpec>) -> Spend {
    let Some(model) = model else {
        return Spend::default();
    };
    let turns = u64::from(limits.turns);
    let window = scaffold.context.window.0;
    let by_turns = Tokens(turns.saturating_mul(window));
    let tokens = limits.tokens.map_or(by_turns, |limit| limit.min(by_turns));
    let output = Tokens(
        turns
            .saturating_mul(u64::from(scaffold.sampling.max_tokens))
            .min(tokens.0),
    );
    let usage = Usage {
        input: tokens.saturating_sub(output),
        output,
        ..Usage::default()
    };
    let by_price = model.price.map_or(Usd::ZERO, |price| price.cost(&usage));
    Spend {
        tokens,
        cost: limits.cost.map_or(by_price, |limit| limit.min(by_price)),
    }
}

fn judge_calls(task: &TaskSpec) -> u64 {
    parts(&task.score)
        .iter()
        .filter(|(_, part)| matches!(part, Part::Judge(_)))
        .count() as u64
}

fn judge_reserve(suite: &SuiteSpec, calls: u64) -> Spend {
    if calls == 0 {
        return Spend::default();
    }
    let usage = Usage {
        input: JUDGE_RESERVE,
        output: Tokens(4096),
        ..Usage::default()
    };
    let dearest = suite
        .models
        .iter()
        .filter(|model| model.role.is_some())
        .filter_map(|model| model.price);
    let cost = dearest.map(|price| price.cost(&usage)).max().unwrap_or(Usd::ZERO);
    Spend {
        tokens: Tokens((usage.total().0).saturating_mul(calls)),
        cost: Usd(cost.0.saturating_mul(calls)),
    }
}

/// Lists the trials in a fair order: phase by phase, and within a phase one trial of each cell (task, scaffold,
/// model) after the other, so that no task waits for all of another.
fn trials_of(plan: &Plan, limit: Option<usize>) -> Vec<Trial> {
    let subjects: Vec<usize> = (0..plan.suite.models.len())
        .filter(|at| is_subject(&plan.suite.models[*at]))
        .collect();
    let mut trials: Vec<(usize, usize, usize, Trial)> = Vec::new();
    let mut cell = 0;
    for (task_at, task) in plan.tasks.iter().enumerate() {
        let Some(phase) = phase_of(&plan.phases, &task.id) else {
            continue;
        };
        for (scaffold_at, scaffold) in plan.scaffolds.iter().enumerate() {
            let models: Vec<Option<usize>> = if scaffold.kind.calls_a_model() {
                subjects.iter().copied().map(Some).collect()
            } else {
                vec![None]
            };
            for model in models {
                let mut rank = 0;
                for epoch in 0..plan.suite.epochs {
                    for sample in task.samples.iter().take(limit.unwrap_or(usize::MAX)) {
                        let trial = trial_of(plan, (phase, task_at, scaffold_at), model, sample, epoch);
                        trials.push((phase, rank, cell, trial));
                        rank += 1;
                    }
                }
                cell += 1;
            }
        }
    }
    trials.sort_by_key(|(phase, rank, cell, _)| (*phase, *rank, *cell));
    trials.into_iter().map(|(.., trial)| trial).collect()
}

fn trial_of(
    plan: &Plan,
    (phase, task, scaffold): (usize, usize, usize),
    model: Option<usize>,
    sample: &Arc<Sample>,
    epoch: u32,
) -> Trial {
    let model_id = model.map_or_else(
        || ModelId::new("none"),
        |model| plan.suite.models[model].id.clone(),
    );
    let id = TrialId::of(
        &plan.tasks[task].id,
        &sample.id,
        &plan.scaffolds[scaffold].id,
        &model_id,
        epoch,
    );
    let seed = Digest::of_parts([&plan.suite.seed.to_le_bytes()[..], id.as_str().as_bytes()]).seed();
    Trial {
        id,
        phase,
        task,
        sample: Arc::clone(sample),
        scaffold,
        model,
        epoch,
        seed,
    }
}

/// Returns whether a model is evaluated (and not a judge or another helper).
pub fn is_subject(model: &ModelSpec) -> bool {
    model.role.as_deref().is_none_or(|role| role == "subject")
}

fn phase_of(phases: &[PhaseSpec], task: &TaskId) -> Option<usize> {
    phases.iter().position(|phase| {
        phase
            .tasks
            .iter()
            .any(|pattern| glob_fits(pattern, task.as_str()))
    })
}

/// Returns the phases of a suite with the tasks that each runs, before anything is planned.
pub fn tasks_by_phase(suite: &SuiteSpec, tasks: &[Arc<TaskSpec>]) -> Vec<(PhaseId, Vec<Arc<TaskSpec>>)> {
    let phases = phases_of(suite);
    let of_phase = |at: usize| {
        let fits = |task: &&Arc<TaskSpec>| phase_of(&phases, &task.id) == Some(at);
        tasks.iter().filter(fits).cloned().collect()
    };
    phases
        .iter()
        .enumerate()
        .map(|(at, phase)| (phase.id.clone(), of_phase(at)))
        .collect()
}

/// Returns the tasks that no phase selects; they are not run, and the caller says so.
pub fn unselected(plan: &Plan) -> Vec<TaskId> {
    let selected: BTreeSet<usize> = plan.trials.iter().map(|trial| trial.task).collect();
    (0..plan.tasks.len())
        .filter(|at| !selected.contains(at))
        .map(|at| plan.tasks[at].id.clone())
        .collect()
}

/// Returns the model that a judge's name means: a role first, else an id.
pub fn judge_of(suite: &SuiteSpec, name: &str) -> Option<usize> {
    let by_role = suite
        .models
        .iter()
        .position(|model| model.role.as_deref() == Some(name));
    by_role.or_else(|| suite.models.iter().position(|model| model.id.as_str() == name))
}
