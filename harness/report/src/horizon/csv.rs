//! Horizons as CSV: a row for each model, level and treatment of cheats.
//!
//! Owns: the columns. Must not: put a number where none can be defended.

use harness_core::stats::Interval;
use harness_core::stats::horizon::{HorizonEstimate, ModelEstimate, Reading};

use super::{HorizonReport, Treatment, percent};
use crate::trials::text;

/// The columns of [`horizon_csv`], in order.
pub const HORIZON_COLUMNS: [&str; 36] = [
    "alias",
    "cheats",
    "success_percent",
    "minutes",
    "lower",
    "upper",
    "says",
    "lower_says",
    "upper_says",
    "formula_minutes",
    "formula_lower",
    "formula_median",
    "formula_upper",
    "slope",
    "intercept",
    "cross_entropy",
    "runs",
    "successes",
    "average",
    "average_lower",
    "average_upper",
    "tasks",
    "families",
    "shortest_minutes",
    "longest_minutes",
    "weights",
    "ridge",
    "confidence",
    "draws",
    "seed",
    "draws_falling",
    "draws_not_falling",
    "draws_all_failed",
    "draws_all_succeeded",
    "draws_without_runs",
    "draws_without_fit",
];

/// Writes a row for each model and level. `minutes`, `lower` and `upper` are empty where no task lies; `says` and its
/// like have that in words. The columns `formula_` have METR's numbers, wherever they lie.
pub fn horizon_csv(report: &HorizonReport) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HORIZON_COLUMNS)?;
    for treatment in &report.treatments {
        for model in &treatment.models {
            for horizon in &model.horizons {
                writer.write_record(cells(report, treatment, model, horizon))?;
            }
        }
    }
    let bytes = writer.into_inner().map_err(csv::IntoInnerError::into_error)?;
    // Every cell was a string, so this replaces nothing.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn cells(
    report: &HorizonReport,
    treatment: &Treatment,
    model: &ModelEstimate,
    horizon: &HorizonEstimate,
) -> [String; HORIZON_COLUMNS.len()] {
    let ends = horizon.interval;
    let (lower, upper) = (ends.map(|ends| ends.lower), ends.map(|ends| ends.upper));
    let minutes = |reading: Option<Reading>| number(reading.and_then(|reading| reading.minutes()));
    let says = |reading: Option<Reading>| reading.map_or(String::new(), |reading| reading.to_string());
    let formula = horizon.formula;
    let formula_ends = formula.and_then(|formula| formula.interval);
    let draws = model.draws;
    [
        text(&model.model),
        treatment.name().to_owned(),
        percent(horizon.level),
        minutes(Some(horizon.point)),
        minutes(lower),
        minutes(upper),
        says(Some(horizon.point)),
        says(lower),
        says(upper),
        number(formula.map(|formula| formula.minutes)),
        number(formula_ends.map(|ends| ends.lower)),
        number(formula.and_then(|formula| formula.median)),
        number(formula_ends.map(|ends| ends.upper)),
        number(model.curve.map(|curve| curve.slope)),
        number(model.curve.map(|curve| curve.intercept)),
        number(model.cross_entropy),
        model.runs.to_string(),
        model.successes.to_string(),
        number(Some(model.average.value)),
        number(model.average.interval.map(|Interval { lower, .. }| lower)),
        number(model.average.interval.map(|Interval { upper, .. }| upper)),
        model.tasks.to_string(),
        model.families.to_string(),
        number(Some(model.lengths.shortest)),
        number(Some(model.lengths.longest)),
        report.weighting.name().to_owned(),
        report.ridge.get().to_string(),
        report.confidence.get().to_string(),
        report.draws.to_string(),
        report.seed.to_string(),
        draws.falling.to_string(),
        draws.not_falling.to_string(),
        draws.all_failed.to_string(),
        draws.all_succeeded.to_string(),
        draws.absent.to_string(),
        (draws.separated + draws.no_convergence).to_string(),
    ]
}

/// Returns a number so that it reads back the same; nothing for none and for what is infinite.
fn number(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        None => String::new(),
        Some(value) if value != 0.0 && (value.abs() < 1e-5 || value.abs() >= 1e15) => format!("{value:e}"),
        Some(value) => value.to_string(),
    }
}
