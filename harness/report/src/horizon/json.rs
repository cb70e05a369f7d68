//! Horizons as JSON.
//!
//! Owns: the names of the fields; programs read them. Must not: estimate.

use harness_core::stats::Interval;
use harness_core::stats::horizon::{BucketEstimate, HorizonEstimate, MeanEstimate, ModelEstimate, Reading};
use serde_json::{Value, json};

use super::{HorizonReport, Treatment, TrendReport};

/// The version of the format.
const FORMAT: u32 = 1;

/// Returns the report as JSON. A horizon's `minutes`, `lower` and `upper` are `null` where no task lies, and `says` has
/// it in words; `formula` has METR's numbers, wherever they lie. What is infinite is `null`.
pub fn horizon_json(report: &HorizonReport) -> Value {
    json!({
        "harness_horizon": FORMAT,
        "source": report.source,
        "outcome": report.outcome,
        "runs": report.runs,
        "tasks": report.tasks,
        "families": report.families,
        "excluded": report.excluded,
        "weights": report.weighting,
        "ridge": report.ridge,
        "confidence": report.confidence,
        "draws": report.draws,
        "seed": report.seed,
        "treatments": report.treatments.iter().map(treatment).collect::<Vec<_>>(),
    })
}

fn treatment(treatment: &Treatment) -> Value {
    json!({
        "cheats": treatment.cheats,
        "models": treatment.models.iter().map(model).collect::<Vec<_>>(),
        "trend": treatment.trend.as_ref().map(trend),
    })
}

fn model(model: &ModelEstimate) -> Value {
    json!({
        "alias": model.model,
        "runs": model.runs,
        "successes": model.successes,
        "tasks": model.tasks,
        "families": model.families,
        "shortest_minutes": model.lengths.shortest,
        "longest_minutes": model.lengths.longest,
        "average": mean(&model.average),
        "slope": model.curve.map(|curve| curve.slope),
        "intercept": model.curve.map(|curve| curve.intercept),
        "no_curve": model.no_curve,
        "cross_entropy": model.cross_entropy,
        "horizons": model.horizons.iter().map(horizon).collect::<Vec<_>>(),
        "buckets": model.buckets.iter().map(bucket).collect::<Vec<_>>(),
        "draws": model.draws,
    })
}

fn horizon(horizon: &HorizonEstimate) -> Value {
    let ends = horizon.interval;
    let (lower, upper) = (ends.map(|ends| ends.lower), ends.map(|ends| ends.upper));
    let minutes = |reading: Option<Reading>| reading.and_then(|reading| reading.minutes());
    let says = |reading: Option<Reading>| reading.map(|reading| reading.to_string());
    let formula = horizon.formula.map(|formula| {
        json!({
            "minutes": formula.minutes,
            "lower": formula.interval.map(|Interval { lower, .. }| lower),
            "median": formula.median,
            "upper": formula.interval.map(|Interval { upper, .. }| upper),
        })
    });
    json!({
        "level": horizon.level,
        "minutes": horizon.point.minutes(),
        "lower": minutes(lower),
        "upper": minutes(upper),
        "says": horizon.point.to_string(),
        "lower_says": says(lower),
        "upper_says": says(upper),
        "point": horizon.point,
        "formula": formula,
    })
}

fn bucket(bucket: &BucketEstimate) -> Value {
    json!({
        "from_minutes": bucket.bucket.from,
        "to_minutes": bucket.bucket.to,
        "runs": bucket.runs,
        "successes": bucket.successes,
        "tasks": bucket.tasks,
        "families": bucket.families,
        "mean": mean(&bucket.mean),
    })
}

fn mean(mean: &MeanEstimate) -> Value {
    json!({
        "value": mean.value,
        "lower": mean.interval.map(|Interval { lower, .. }| lower),
        "upper": mean.interval.map(|Interval { upper, .. }| upper),
        "method": mean.interval.map(|Interval { method, .. }| method),
    })
}

fn trend(report: &TrendReport) -> Value {
    let trend = report.trend.as_ref().ok();
    let ends = trend.and_then(harness_core::stats::horizon::Trend::doubling_interval);
    json!({
        "window": report.window,
        "state_of_the_art": trend.map(|trend| &trend.models),
        "doubling_days": trend.and_then(harness_core::stats::horizon::Trend::doubling_days),
        "doubling_days_lower": ends.and_then(|(lower, _)| lower),
        "doubling_days_upper": ends.and_then(|(_, upper)| upper),
        "doublings_per_day": trend.map(|trend| trend.doublings_per_day),
        "doublings_per_day_lower": trend.and_then(|trend| trend.interval).map(|Interval { lower, .. }| lower),
        "doublings_per_day_upper": trend.and_then(|trend| trend.interval).map(|Interval { upper, .. }| upper),
        "draws": trend.map(|trend| trend.draws),
        "why": report.trend.as_ref().err(),
        "releases": report.releases,
        "left_out": report.left_out.iter().map(|(model, why)| json!({"alias": model, "why": why})).collect::<Vec<_>>(),
    })
}
