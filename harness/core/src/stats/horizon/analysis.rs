//! All models of a data set with their curves.
//!
//! Owns: the fit of each model under one weighting, one ridge and one treatment of cheats. Must not: draw.

use serde::Serialize;

use super::buckets::{Means, Sums};
use super::curve::{Curve, NoCurve, Order, Point, Ridge, fit, order};
use super::data::{Cheats, Dataset};
use super::reading::{Lengths, Reading};
use super::weights::Weighting;
use crate::stats::Level;

/// How runs are weighed and fitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// What a task counts for.
    pub weighting: Weighting,
    /// The penalty on the slope.
    pub ridge: Ridge,
    /// What a success by cheating counts as.
    pub cheats: Cheats,
}

/// A data set with a curve for each model.
#[derive(Clone, Debug)]
pub struct Analysis<'a> {
    pub(super) data: &'a Dataset,
    pub(super) settings: Settings,
    /// In the order of the data set's models.
    pub(super) models: Vec<Fitted>,
}

/// One model's curve and what it was fitted to.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    /// The weight of a run, for each cell.
    pub(super) weights: Vec<f64>,
    pub(super) points: Vec<Point>,
    pub(super) order: Order,
    pub(super) lengths: Lengths,
    pub(super) curve: Result<Curve, NoCurve>,
    pub(super) means: Means,
}

impl<'a> Analysis<'a> {
    /// Fits a curve for each model.
    pub fn new(data: &'a Dataset, settings: Settings) -> Self {
        let fitted = |model| {
            let weights = data.run_weights(model, settings.weighting);
            let points = data.points(model, &weights, settings.cheats);
            let mut sums = Sums::default();
            let mut lengths = Lengths {
                shortest: f64::INFINITY,
                longest: 0.0,
            };
            for (cell, point) in model.cells.iter().zip(&points) {
                let minutes = data.tasks[cell.task].minutes;
                lengths.shortest = lengths.shortest.min(minutes);
                lengths.longest = lengths.longest.max(minutes);
                sums.add(minutes, point.successes + point.failures, point.successes);
            }
            Fitted {
                order: order(&points),
                curve: fit(&points, settings.ridge),
                means: sums.means(),
                weights,
                points,
                lengths,
            }
        };
        Self {
            data,
            settings,
            models: data.models.iter().map(fitted).collect(),
        }
    }

    /// Returns the data.
    pub fn data(&self) -> &'a Dataset {
        self.data
    }

    /// Returns how runs were weighed and fitted.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Returns each model's curve.
    pub fn curves(&self) -> impl Iterator<Item = (&'a str, Result<Curve, NoCurve>)> {
        let models = self.data.models.iter().zip(&self.models);
        models.map(|(model, fitted)| (model.name.as_str(), fitted.curve))
    }
}

impl Fitted {
    pub(super) fn horizon(&self, level: Level) -> Reading {
        self.lengths.horizon(self.order, self.curve.ok(), level)
    }
}
