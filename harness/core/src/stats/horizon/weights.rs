//! How much each run counts.
//!
//! Owns: METR's two weightings. Must not: fit.

use serde::Serialize;

use super::curve::Point;
use super::data::{Cell, Cheats, Dataset, Model};

/// What a task counts for. Either way its runs share its weight, and the weights of a model's runs add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Weighting {
    /// Every task the same. METR's `equal_task_weight`.
    #[serde(rename = "equal_task_weight")]
    EqualTask,
    /// A task in a family of n tasks that the model tried: `1 / sqrt(n)`, so that many alike don't drown the others.
    /// METR's `invsqrt_task_weight`.
    #[default]
    #[serde(rename = "invsqrt_task_weight")]
    InverseSquareRoot,
}

impl Weighting {
    /// Returns METR's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EqualTask => "equal_task_weight",
            Self::InverseSquareRoot => "invsqrt_task_weight",
        }
    }
}

/// The weight of one run on a task.
#[derive(Clone, Debug, PartialEq)]
pub struct RunWeight<'a> {
    /// The model.
    pub model: &'a str,
    /// The task.
    pub task: &'a str,
    /// The weight of each of its runs; those of a model add up to 1.
    pub weight: f64,
    /// What the task counts for before that: 1, or `1 / sqrt(n)`.
    pub task_weight: f64,
}

impl Dataset {
    /// Returns the weight of a run, for every model and task: `1 / runs`, divided by the square root of the number of
    /// tasks in the family that the model tried where `weighting` says so, over the sum of all runs of the model.
    pub fn weights(&self, weighting: Weighting) -> Vec<RunWeight<'_>> {
        let mut out = Vec::new();
        for model in &self.models {
            let weights = self.task_weights(model, weighting);
            let total: f64 = weights.iter().sum();
            out.extend(
                model
                    .cells
                    .iter()
                    .zip(weights)
                    .map(|(cell, task_weight)| RunWeight {
                        model: &model.name,
                        task: &self.tasks[cell.task].name,
                        weight: task_weight / (cell.runs as f64 * total),
                        task_weight,
                    }),
            );
        }
        out
    }

    /// Returns the weight of a run for each cell of a model.
    pub(super) fn run_weights(&self, model: &Model, weighting: Weighting) -> Vec<f64> {
        let weights = self.task_weights(model, weighting);
        let total: f64 = weights.iter().sum();
        let cells = model.cells.iter().zip(weights);
        cells
            .map(|(cell, weight)| weight / (cell.runs as f64 * total))
            .collect()
    }

    fn task_weights(&self, model: &Model, weighting: Weighting) -> Vec<f64> {
        let family = |cell: &Cell| self.tasks[cell.task].family;
        let mut tried = vec![0_u32; self.families.len()];
        for cell in &model.cells {
            tried[family(cell)] += 1;
        }
        let weight = |cell: &Cell| match weighting {
            Weighting::EqualTask => 1.0,
            Weighting::InverseSquareRoot => 1.0 / f64::from(tried[family(cell)]).sqrt(),
        };
        model.cells.iter().map(weight).collect()
    }

    /// Returns the points that a model's curve is fitted to, one for each of its tasks.
    pub(super) fn points(&self, model: &Model, weights: &[f64], cheats: Cheats) -> Vec<Point> {
        let cells = model.cells.iter().zip(weights);
        let point = |(cell, weight): (&Cell, &f64)| {
            let successes = cell.successes(cheats);
            Point {
                log2_minutes: self.tasks[cell.task].log2_minutes,
                successes: weight * successes,
                failures: weight * (cell.runs as f64 - successes),
            }
        };
        cells.map(point).collect()
    }
}
