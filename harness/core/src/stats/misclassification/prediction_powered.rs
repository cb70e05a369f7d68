//! Prediction-powered inference: a judge on all units, people on a random few.

use serde::Serialize;

use crate::stats::interval::two_sided;
use crate::stats::{Estimate, Interval, Level, Method, Side, StatsError};

/// A unit with what a person found and what the judge said, both from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The person's label: the truth.
    pub truth: f64,
    /// The judge's.
    pub judged: f64,
}

/// How far the judge is relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reliance {
    /// Fully: `lambda = 1`.
    Full,
    /// As far as it helps: the `lambda` of least variance, from 0 to 1.
    Tuned,
}

/// A rate from many judged units and few that people labelled too.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PredictionPowered {
    /// The rate; its denominator is the number of units that people labelled, which is what limits it.
    pub estimate: Estimate,
    /// Its standard error.
    pub standard_error: f64,
    /// How far the judge was relied on: from 0, not at all, to 1.
    pub lambda: f64,
    /// How many further units only the judge saw.
    pub judged_only: u64,
    /// From the people's labels alone, for comparison; nothing if they are all the same, since a normal interval would
    /// then be a point.
    pub people_only: Option<Estimate>,
}

/// Returns a mean from a judge's labels of all units and people's labels of a random few: prediction-powered inference.
///
/// `theta = lambda mean(f~) + mean(Y - lambda f)`: `f~` are the judge's labels of the `N` units that only it saw, `f` its
/// labels of the `n` units whose truth `Y` people know. Variance `lambda² var(f~) / N + var(Y - lambda f) / n`, with
/// population variances and a normal interval. Tuned, `lambda = cov(Y, f) / ((1 + n/N) var(f))` within 0 and 1, where the
/// covariance divides by `n` and the variance, over all of the judge's labels, by one less than their number. Valid if
/// people's units are a random part of all units and `n` is in the tens; never if they were chosen by the judge's
/// label. A. N. Angelopoulos et al., Science 382 (2023), 669-674; tuning: A. N. Angelopoulos, J. C. Duchi, T. Zrnic,
/// arXiv:2311.01453.
///
/// # Errors
/// Fewer than two units of either kind, a value that is not from 0 to 1, or labels without any spread, for which a
/// normal interval would be a point.
pub fn ppi_mean(
    both: &[Judged],
    judged_only: &[f64],
    reliance: Reliance,
    confidence: Level,
) -> Result<PredictionPowered, StatsError> {
    check_labels(both, judged_only)?;
    let z = two_sided(confidence)?;
    let (n, more) = (both.len() as f64, judged_only.len() as f64);
    let lambda = match reliance {
        Reliance::Full => 1.0,
        Reliance::Tuned => tuned(both, judged_only),
    };
    let (judge, judge_variance) = moments(judged_only.iter().copied());
    let (off, off_variance) = moments(both.iter().map(|one| one.truth - lambda * one.judged));
    let (truth, truth_variance) = moments(both.iter().map(|one| one.truth));
    let standard_error = (lambda * lambda * judge_variance / more + off_variance / n).sqrt();
    let around = |value: f64, standard_error: f64, method: Method| Estimate {
        value,
        interval: Interval {
            lower: (value - z * standard_error).clamp(0.0, 1.0),
            upper: (value + z * standard_error).clamp(0.0, 1.0),
            confidence,
            side: Side::Two,
            method,
        },
        units: both.len() as u64,
    };
    if standard_error == 0.0 {
        return Err(StatsError::Undefined {
            what: "prediction-powered inference",
            why: "the labels do not vary; give Clopper-Pearson's interval of the people's labels",
        });
    }
    Ok(PredictionPowered {
        estimate: around(lambda * judge + off, standard_error, Method::PredictionPowered),
        standard_error,
        lambda,
        judged_only: judged_only.len() as u64,
        people_only: (truth_variance > 0.0).then(|| around(truth, (truth_variance / n).sqrt(), Method::Wald)),
    })
}

/// Returns how far to rely on the judge for the least variance.
fn tuned(both: &[Judged], judged_only: &[f64]) -> f64 {
    let (n, more) = (both.len() as f64, judged_only.len() as f64);
    let judged = || both.iter().map(|one| one.judged);
    let (truth, _) = moments(both.iter().map(|one| one.truth));
    let (judge, _) = moments(judged());
    let covariance = both
        .iter()
        .map(|one| (one.truth - truth) * (one.judged - judge))
        .sum::<f64>()
        / n;
    let (_, variance) = moments(judged().chain(judged_only.iter().copied()));
    let variance = variance * (n + more) / (n + more - 1.0);
    if variance == 0.0 {
        return 0.0;
    }
    (covariance / ((1.0 + n / more) * variance)).clamp(0.0, 1.0)
}

/// Returns mean and population variance.
fn moments(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (count, sum) = values
        .clone()
        .fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    let mean = sum / count;
    let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
    (mean, squares / count)
}

fn check_labels(both: &[Judged], judged_only: &[f64]) -> Result<(), StatsError> {
    let lists = [
        ("the people's labels", both.iter().map(|one| one.truth).collect()),
        ("the judge's labels", both.iter().map(|one| one.judged).collect()),
        ("the judge's further labels", judged_only.to_vec()),
    ];
    for (what, values) in lists {
        let values: Vec<f64> = values;
        StatsError::check_enough(what, "units", 2, values.len() as u64)?;
        StatsError::check_finite(what, &values)?;
        if let Some(value) = values.into_iter().find(|value| !(0.0..=1.0).contains(value)) {
            return Err(StatsError::OutOfRange {
                what,
                value,
                least: 0.0,
                most: 1.0,
            });
        }
    }
    Ok(())
}
