//! Runs of models on tasks of known length.
//!
//! Owns: their order, which does not depend on the order of rows, and that a task has one length and one family.
//! Must not: weigh or fit.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::Excluded;

/// Runs of one model on one task that came to the same outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The model, or the model with its scaffold: METR's alias.
    pub model: String,
    /// The task.
    pub task: String,
    /// Tasks that share a cause of success.
    pub family: String,
    /// How long people need for the task.
    pub minutes: f64,
    /// 0 to 1; a fraction is a partial score.
    pub outcome: f64,
    /// Whether the outcome was reached by cheating.
    pub cheated: bool,
    /// How many runs.
    pub runs: u64,
}

/// Why observations make no data set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DataError {
    /// Minutes that are none.
    #[error("task `{task}` takes {minutes} minutes, expected a positive number")]
    Minutes {
        /// The task.
        task: String,
        /// What was given.
        minutes: f64,
    },
    /// Two lengths of one task.
    #[error("task `{task}` takes {first} minutes in one place and {second} in another")]
    TwoLengths {
        /// The task.
        task: String,
        /// Minutes.
        first: f64,
        /// Other minutes.
        second: f64,
    },
    /// Two families of one task.
    #[error("task `{task}` is in the families `{first}` and `{second}`")]
    TwoFamilies {
        /// The task.
        task: String,
        /// A family.
        first: String,
        /// Another.
        second: String,
    },
    /// An outcome outside 0 to 1.
    #[error("an outcome of model `{model}` on task `{task}` is {outcome}, expected 0 to 1")]
    Outcome {
        /// The model.
        model: String,
        /// The task.
        task: String,
        /// What was given.
        outcome: f64,
    },
    /// More runs than can be drawn from.
    #[error("{found} runs are more than the {most} that can be handled")]
    TooMany {
        /// How many there are.
        found: u64,
        /// How many there may be.
        most: u64,
    },
}

/// What a success by cheating counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cheats {
    /// As a failure: the rate that was observed in earnest.
    Fail,
    /// As the score says.
    Count,
}

/// Runs with the same outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lump {
    outcome: f64,
    cheated: bool,
    pub(super) runs: u64,
}

impl Lump {
    pub(super) fn outcome(&self, cheats: Cheats) -> f64 {
        match cheats {
            Cheats::Fail if self.cheated => 0.0,
            Cheats::Fail | Cheats::Count => self.outcome,
        }
    }
}

/// All runs of a model on a task.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    /// The position of the task.
    pub(super) task: usize,
    pub(super) lumps: Vec<Lump>,
    pub(super) runs: u64,
}

impl Cell {
    /// Returns the sum of the outcomes.
    pub(super) fn successes(&self, cheats: Cheats) -> f64 {
        let sum = |lump: &Lump| lump.runs as f64 * lump.outcome(cheats);
        self.lumps.iter().map(sum).sum()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Model {
    pub(super) name: String,
    /// In the order of tasks.
    pub(super) cells: Vec<Cell>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) family: usize,
    pub(super) minutes: f64,
    pub(super) log2_minutes: f64,
}

/// Runs of models on tasks in families, sorted by name: the order of rows in a file changes no number.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    pub(super) models: Vec<Model>,
    pub(super) tasks: Vec<Task>,
    /// The tasks of each family.
    pub(super) families: Vec<Vec<usize>>,
    excluded: Vec<Excluded>,
}

/// The most runs of a data set. Each is drawn again in every draw of a bootstrap.
pub const MAX_RUNS: u64 = 10_000_000;

impl Dataset {
    /// Puts observations together; `excluded` is what is in none of them, by reason.
    ///
    /// # Errors
    /// A task has two lengths or families, or a number is outside its range.
    pub fn new(observations: &[Observation], excluded: Vec<Excluded>) -> Result<Self, DataError> {
        let mut tasks: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        let mut families: BTreeMap<&str, &str> = BTreeMap::new();
        let mut found = 0_u64;
        for one in observations {
            check(one)?;
            found = found.saturating_add(one.runs);
            let family = *families.entry(&one.task).or_insert(&one.family);
            if family != one.family {
                return Err(DataError::TwoFamilies {
                    task: one.task.clone(),
                    first: family.to_owned(),
                    second: one.family.clone(),
                });
            }
            let minutes = *tasks.entry((&one.family, &one.task)).or_insert(one.minutes);
            #[expect(clippy::float_cmp, reason = "the same text gives the same number")]
            if minutes != one.minutes {
                return Err(DataError::TwoLengths {
                    task: one.task.clone(),
                    first: minutes,
                    second: one.minutes,
                });
            }
        }
        if found > MAX_RUNS {
            return Err(DataError::TooMany {
                found,
                most: MAX_RUNS,
            });
        }
        Ok(Self::sorted(observations, &tasks, excluded))
    }

    fn sorted(
        observations: &[Observation],
        tasks: &BTreeMap<(&str, &str), f64>,
        excluded: Vec<Excluded>,
    ) -> Self {
        let mut families: Vec<Vec<usize>> = Vec::new();
        let mut last = None;
        let mut places = BTreeMap::new();
        let mut sorted = Vec::new();
        for (at, ((family, name), minutes)) in tasks.iter().enumerate() {
            if last.replace(*family) != Some(*family) {
                families.push(Vec::new());
            }
            let of = families.len() - 1;
            families[of].push(at);
            places.insert(*name, at);
            sorted.push(Task {
                name: (*name).to_owned(),
                family: of,
                minutes: *minutes,
                log2_minutes: minutes.log2(),
            });
        }
        let mut models: BTreeMap<&str, BTreeMap<usize, Vec<Lump>>> = BTreeMap::new();
        for one in observations.iter().filter(|one| one.runs > 0) {
            let cells = models.entry(&one.model).or_default();
            if let Some(place) = places.get(one.task.as_str()) {
                cells.entry(*place).or_default().push(Lump {
                    outcome: one.outcome,
                    cheated: one.cheated,
                    runs: one.runs,
                });
            }
        }
        let models = models.into_iter().map(|(name, cells)| Model {
            name: name.to_owned(),
            cells: cells.into_iter().map(|(task, lumps)| cell(task, lumps)).collect(),
        });
        Self {
            models: models.collect(),
            tasks: sorted,
            families,
            excluded,
        }
    }

    /// Returns the models' names, sorted; other values that are lists by model have this order.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|model| model.name.as_str())
    }

    /// Returns how many tasks there are.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Returns how many families there are.
    pub fn families(&self) -> usize {
        self.families.len()
    }

    /// Returns how many runs there are.
    pub fn runs(&self) -> u64 {
        let cells = self.models.iter().flat_map(|model| &model.cells);
        cells.map(|cell| cell.runs).sum()
    }

    /// Returns what is in no number, by reason.
    pub fn excluded(&self) -> &[Excluded] {
        &self.excluded
    }

    /// Returns whether any success was reached by cheating, so that both treatments of cheats must be shown.
    pub fn has_cheats(&self) -> bool {
        let cells = self.models.iter().flat_map(|model| &model.cells);
        cells
            .flat_map(|cell| &cell.lumps)
            .any(|lump| lump.cheated && lump.outcome > 0.0)
    }
}

fn check(one: &Observation) -> Result<(), DataError> {
    if !(one.minutes > 0.0 && one.minutes.is_finite()) {
        return Err(DataError::Minutes {
            task: one.task.clone(),
            minutes: one.minutes,
        });
    }
    if !(0.0..=1.0).contains(&one.outcome) {
        return Err(DataError::Outcome {
            model: one.model.clone(),
            task: one.task.clone(),
            outcome: one.outcome,
        });
    }
    Ok(())
}

/// Puts equal outcomes together, failures last: draws then don't depend on the order of rows.
fn cell(task: usize, mut lumps: Vec<Lump>) -> Cell {
    let order = |lump: &Lump| (lump.cheated, -lump.outcome);
    lumps.sort_by(|a, b| {
        let ((a, a_outcome), (b, b_outcome)) = (order(a), order(b));
        a.cmp(&b).then(a_outcome.total_cmp(&b_outcome))
    });
    lumps.dedup_by(|next, kept| {
        let same = next.cheated == kept.cheated && next.outcome.total_cmp(&kept.outcome).is_eq();
        if same {
            kept.runs += next.runs;
        }
        same
    });
    Cell {
        task,
        runs: lumps.iter().map(|lump| lump.runs).sum(),
        lumps,
    }
}
