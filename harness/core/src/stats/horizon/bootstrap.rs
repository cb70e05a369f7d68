//! The hierarchical bootstrap: what else could have been seen.
//!
//! Owns: one draw as a pure function of its index. Must not: start threads; whoever has cores spreads the draws.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::analysis::{Analysis, Fitted};
use super::buckets::{Means, Sums};
use super::curve::{Curve, NoCurve, Point, fit_from};
use super::data::{Cell, Cheats, Lump, Model};
use crate::stats::bootstrap::Draws;

/// What each model came to in one draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// In the order of the data set's models.
    pub(super) models: Vec<Drawn>,
}

/// What one model came to in one draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drawn {
    pub(super) curve: Result<Curve, NoCurve>,
    pub(super) means: Means,
}

impl Draw {
    /// Returns the curves, in the order of the data set's models.
    pub fn curves(&self) -> impl Iterator<Item = Result<Curve, NoCurve>> {
        self.models.iter().map(|drawn| drawn.curve)
    }
}

impl Analysis<'_> {
    /// Draws data like the original and fits every model to it.
    ///
    /// Families are drawn with replacement, as many as there are; in each drawn copy of a family its tasks; for each
    /// task and model, as many runs as its copies have, out of all of them. The same families and tasks are drawn for
    /// all models, so that differences between models are those of one world. Weights stay as they were and no longer
    /// add up to 1: a task drawn twice counts twice. METR's routine (arXiv 2503.14499, eval-analysis-public) with
    /// another generator.
    ///
    /// A draw depends on the data, the settings, `seed` and `index` alone, so draws can be made in any order and on
    /// any number of threads: `ChaCha8` keyed by the seed, with the draw's index as its stream.
    pub fn draw(&self, seed: u64, index: u32) -> Draw {
        let mut dice = Draws::stream(seed, index);
        let copies = self.copies(&mut dice);
        let models = self.data.models.iter().zip(&self.models);
        Draw {
            models: models
                .map(|(model, fitted)| self.refit(model, fitted, &copies, &mut dice))
                .collect(),
        }
    }

    /// Draws families, then tasks; returns how often each task was drawn.
    fn copies(&self, dice: &mut ChaCha8Rng) -> Vec<u32> {
        let families = &self.data.families;
        let mut copies = vec![0_u32; self.data.tasks.len()];
        for _ in families {
            let tasks = one_of(dice, families).map(Vec::as_slice).unwrap_or_default();
            for _ in tasks {
                if let Some(task) = one_of(dice, tasks) {
                    copies[*task] += 1;
                }
            }
        }
        copies
    }

    fn refit(&self, model: &Model, fitted: &Fitted, copies: &[u32], dice: &mut ChaCha8Rng) -> Drawn {
        let mut points = Vec::with_capacity(model.cells.len());
        let mut sums = Sums::default();
        for (cell, weight) in model.cells.iter().zip(&fitted.weights) {
            let runs = u64::from(copies[cell.task]) * cell.runs;
            if runs == 0 {
                continue;
            }
            let drawn = draw_outcomes(cell, runs, self.settings.cheats, dice);
            let task = &self.data.tasks[cell.task];
            let point = Point {
                log2_minutes: task.log2_minutes,
                successes: weight * drawn,
                failures: weight * (runs as f64 - drawn),
            };
            sums.add(task.minutes, weight * runs as f64, point.successes);
            points.push(point);
        }
        Drawn {
            curve: fit_from(&points, self.settings.ridge, fitted.curve.ok()),
            means: sums.means(),
        }
    }
}

/// Draws runs with replacement and returns the sum of their outcomes.
fn draw_outcomes(cell: &Cell, runs: u64, cheats: Cheats, dice: &mut ChaCha8Rng) -> f64 {
    match cell.lumps.as_slice() {
        [] => 0.0,
        [only] => runs as f64 * only.outcome(cheats),
        // Successes and failures: nearly always, and worth counting without memory of its own.
        [first, second] => {
            let hits = (0..runs).filter(|_| below(dice, cell.runs) < first.runs).count() as f64;
            hits * first.outcome(cheats) + (runs as f64 - hits) * second.outcome(cheats)
        }
        lumps => {
            let end = |end: &mut u64, lump: &Lump| {
                *end += lump.runs;
                Some(*end)
            };
            let ends: Vec<u64> = lumps.iter().scan(0, end).collect();
            let mut counts = vec![0_u64; lumps.len()];
            for _ in 0..runs {
                let run = below(dice, cell.runs);
                counts[ends.partition_point(|end| *end <= run)] += 1;
            }
            let sum = |(lump, count): (&Lump, u64)| count as f64 * lump.outcome(cheats);
            lumps.iter().zip(counts).map(sum).sum()
        }
    }
}

/// Returns a number below `end`. Draws of 32 bits where they do, half the price of those of 64.
fn below(dice: &mut ChaCha8Rng, end: u64) -> u64 {
    match u32::try_from(end) {
        Ok(end) => u64::from(dice.random_range(0..end.max(1))),
        Err(_) => dice.random_range(0..end),
    }
}

/// Returns one of several.
fn one_of<'a, T>(dice: &mut ChaCha8Rng, several: &'a [T]) -> Option<&'a T> {
    let at = below(dice, several.len() as u64);
    usize::try_from(at).ok().and_then(|at| several.get(at))
}
