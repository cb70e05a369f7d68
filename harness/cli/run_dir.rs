//! Finds runs, and reads a run's plan and log into rows.

use std::path::{Path, PathBuf};

use harness_core::event::{Line, RunEvent};
use harness_core::fold::{RunView, fold};
use harness_core::ids::{RunId, TrialId};
use harness_core::model::ModelSpec;
use harness_core::plan::{PlanRecord, TrialRecord};
use harness_report::{Planned, Summary, TrialRow};
use harness_store::RunDir;

use crate::exit::Failure;

/// A run as its files tell it.
pub(crate) struct StoredRun {
    pub(crate) dir: RunDir,
    pub(crate) plan: PlanRecord,
    pub(crate) view: RunView,
    /// Bytes of a torn last line, if there is one.
    pub(crate) torn_bytes: u64,
}

/// Opens a run by name or folder.
pub(crate) fn open(results: &Path, run: &str) -> Result<StoredRun, Failure> {
    let named = results.join(run);
    let path = if named.join("plan.json").is_file() {
        named
    } else {
        PathBuf::from(run)
    };
    if !path.join("plan.json").is_file() {
        let message = format!("there is no run `{run}` in {}", results.display());
        return Err(
            Failure::input(message).hint("`harness list` shows the runs; --results names their folder")
        );
    }
    read(RunDir::open(path)?)
}

/// Reads a run.
pub(crate) fn read(dir: RunDir) -> Result<StoredRun, Failure> {
    let plan = plan_of(&dir)?;
    let log = dir.read_run()?;
    let view = view_of(&dir, &log.lines)?;
    let torn_bytes = log.torn.map_or(0, |torn| torn.bytes);
    Ok(StoredRun {
        dir,
        plan,
        view,
        torn_bytes,
    })
}

/// Folds the lines of a run.
pub(crate) fn view_of(dir: &RunDir, lines: &[Line<RunEvent>]) -> Result<RunView, Failure> {
    fold(lines).map_err(|error| {
        Failure::ours(
            &format!("the log of {} is not sound", dir.path().display()),
            error,
        )
    })
}

fn plan_of(dir: &RunDir) -> Result<PlanRecord, Failure> {
    let bytes = dir.read_plan()?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::ours(
            &format!("failed to read the plan of {}", dir.path().display()),
            error,
        )
    })
}

/// Returns every run of a results folder that can be read, and says which can't.
pub(crate) fn all(results: &Path) -> Result<Vec<StoredRun>, Failure> {
    let mut runs = Vec::new();
    for dir in RunDir::all(results)? {
        let name = dir.path().display().to_string();
        match read(dir) {
            Ok(run) => runs.push(run),
            Err(failure) => crate::warn(&format!("warning: {name} is left out: {}\n", failure.message)),
        }
    }
    Ok(runs)
}

impl StoredRun {
    /// Returns the run's name.
    pub(crate) fn name(&self) -> RunId {
        let folder = self
            .dir
            .path()
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        self.view.facts().map_or_else(
            || RunId::new(folder.unwrap_or_default()),
            |facts| facts.run.clone(),
        )
    }

    /// Returns a row for each planned trial, in the plan's order.
    pub(crate) fn rows(&self) -> Vec<TrialRow> {
        let run = self.name();
        self.plan
            .trials
            .iter()
            .map(|trial| TrialRow::new(self.planned(trial, &run), self.view.trials().get(&trial.id)))
            .collect()
    }

    /// Returns the rows put together.
    pub(crate) fn summary(&self) -> Summary {
        Summary::of(&self.rows())
    }

    fn planned(&self, trial: &TrialRecord, run: &RunId) -> Planned {
        let task = &self.plan.tasks[trial.task];
        let model: Option<&ModelSpec> = trial.model.and_then(|model| self.plan.models.get(model));
        Planned {
            run: run.clone(),
            phase: self.plan.phases[trial.phase].id.clone(),
            task: task.id.clone(),
            task_version: task.version,
            domain: task.domain.clone(),
            family: task.family.clone(),
            sample: trial.sample.clone(),
            scaffold: self.plan.scaffolds[trial.scaffold].id.clone(),
            model: model.map_or_else(|| "none".into(), |model| model.id.clone()),
            epoch: trial.epoch,
            human_minutes: task.human.as_ref().map(|human| human.minutes),
        }
    }

    /// Finds the trial of `TRIAL[:ATTEMPT]`, and the number of the attempt, if one is given.
    pub(crate) fn find_attempt(&self, name: &str) -> Result<(&TrialId, Option<u32>), Failure> {
        let Some((part, number)) = name.rsplit_once(':') else {
            return Ok((self.find_trial(name)?, None));
        };
        let number = number
            .parse()
            .map_err(|_| Failure::input(format!("`{name}` does not end in an attempt's number")))?;
        Ok((self.find_trial(part)?, Some(number)))
    }

    /// Finds a trial by its name or a part of it that fits only one.
    pub(crate) fn find_trial(&self, part: &str) -> Result<&TrialId, Failure> {
        let all = || self.plan.trials.iter().map(|trial| &trial.id);
        if let Some(exact) = all().find(|id| id.as_str() == part) {
            return Ok(exact);
        }
        let fitting: Vec<&TrialId> = all().filter(|id| id.as_str().contains(part)).collect();
        match fitting.as_slice() {
            [one] => Ok(one),
            [] => Err(
                Failure::input(format!("no trial of {} fits `{part}`", self.name()))
                    .hint("trials are named TASK/SAMPLE/SCAFFOLD/MODEL/EPOCH; trials.csv lists them"),
            ),
            many => {
                let shown: Vec<&str> = many.iter().take(5).map(|id| id.as_str()).collect();
                let message = format!("{} trials fit `{part}`: {}, ...", many.len(), shown.join(", "));
                Err(Failure::input(message).hint("write more of the name"))
            }
        }
    }
}
