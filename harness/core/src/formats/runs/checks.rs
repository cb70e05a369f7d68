//! What is only known when all rows have been read.
//!
//! Owns: models with one class, and weights that a file has besides its runs. Must not: look at cells again.

use std::collections::BTreeMap;

use super::super::reader::Reader;
use super::super::tree::quoted;
use super::columns::Column;
use super::table::{ModelFacts, Table};
use super::{DataError, Dataset, Excluded, RunsFile, Weighting};
use crate::stats::horizon::figures;

/// How far a weight in a file may be from ours, as a part of ours: files round.
const WEIGHTS_AGREE: f64 = 1e-3;
/// How far METR's `task_weight` may be besides, which has three decimals.
const THREE_DECIMALS: f64 = 5e-4;

impl Table<'_> {
    /// Puts the rows together, if they are sound.
    pub(super) fn finish(self, reader: &mut Reader<'_>) -> Option<RunsFile> {
        self.check_classes(reader);
        let excluded = self.excluded.iter();
        let excluded = excluded.map(|(why, units)| Excluded {
            why: why.clone(),
            units: *units,
        });
        let data = match Dataset::new(&self.observations, excluded.collect()) {
            Ok(data) => data,
            Err(error) => {
                // The contradictions were found above, with their places; what is left has none.
                let too_many = matches!(error, DataError::TooMany { .. });
                reader.whole_file(&error.to_string(), too_many.then_some("leave some models out"));
                return None;
            }
        };
        self.check_weights(&data, reader);
        let releases = self
            .models
            .into_iter()
            .filter_map(|(model, facts)| Some((model, facts.release?)));
        Some(RunsFile {
            data,
            releases: releases.collect(),
        })
    }

    /// Tells which models have only successes or only failures: an error if all have, a warning otherwise.
    fn check_classes(&self, reader: &mut Reader<'_>) {
        let fits = self.models.values().any(|model| model.succeeded && model.failed);
        for (name, model) in &self.models {
            let Some(what) = one_class(model) else { continue };
            let message = format!("{} {what}", quoted(name));
            if fits {
                reader.warn(model.first, message, None);
            } else {
                reader.error(model.first, message, Some("a curve needs successes and failures"));
            }
        }
    }

    /// Compares the file's weights with ours.
    fn check_weights(&self, data: &Dataset, reader: &mut Reader<'_>) {
        for (column, weighting, share) in [
            (Column::EqualWeight, Weighting::EqualTask, true),
            (Column::InverseWeight, Weighting::InverseSquareRoot, true),
            (Column::TaskWeight, Weighting::InverseSquareRoot, false),
        ] {
            let ours: BTreeMap<(&str, &str), f64> = data
                .weights(weighting)
                .into_iter()
                .map(|weight| {
                    (
                        (weight.model, weight.task),
                        if share { weight.weight } else { weight.task_weight },
                    )
                })
                .collect();
            let theirs = self.weights.iter().filter(|weight| weight.column == column);
            let off = theirs.filter_map(|weight| {
                let ours = *ours.get(&(weight.model.as_str(), weight.task.as_str()))?;
                let allowed = WEIGHTS_AGREE * ours + if share { 0.0 } else { THREE_DECIMALS };
                let off = (weight.value - ours).abs();
                (off > allowed).then_some((off, ours, weight))
            });
            let Some((_, ours, worst)) = off.max_by(|a, b| a.0.total_cmp(&b.0)) else {
                continue;
            };
            let message = format!(
                "`{}` is not what the runs of this file give: {} here instead of {}",
                column.name(),
                worst.value,
                figures(ours)
            );
            let hint = "the weights are computed anew; the file may be a part of another";
            reader.warn(worst.at, message, Some(hint));
        }
    }
}

/// Says what is so if a model has only successes, only failures or nothing.
fn one_class(model: &ModelFacts) -> Option<String> {
    let all = |verb: &str, comparison: &str, minutes: f64| {
        let runs = match model.runs {
            1 => "its only run".to_owned(),
            runs => format!("all {runs} runs"),
        };
        let minutes = figures(minutes);
        format!(
            "{verb} in {runs}: there is no curve to fit, its horizon is {comparison} task ({minutes} min)"
        )
    };
    match (model.succeeded, model.failed) {
        (true, true) => None,
        (false, false) => Some("has no run that counts: there is nothing to fit".to_owned()),
        (true, false) => Some(all("succeeded", "longer than the longest", model.longest)),
        (false, true) => Some(all("failed", "shorter than the shortest", model.shortest)),
    }
}
