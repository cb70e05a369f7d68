//! The Bayesian cluster model: the posterior of the mean rate of tasks whose rates differ.
//!
//! Owns: its quadrature. Must not: sample.

use super::{Tally, distinct, pooled};
use crate::stats::{Interval, Level, Method, Posterior, Rate, Side, StatsError};

/// Points per axis while the region of the posterior is looked for.
const LOOK: u32 = 28;
/// Points over the mean rate.
const MEANS: u32 = 320;
/// Points over the concentration.
const CONCENTRATIONS: u32 = 80;
/// What lies this far below the top of the log posterior counts as nothing: 10⁻¹².
const NEGLIGIBLE: f64 = 28.0;

/// Returns the posterior of the mean rate `θ` of tasks, some or all attempted several times.
///
/// A task's rate is Beta(dθ, d(1 - θ)), its successes are binomial; `θ` is uniform a priori and `d` Gamma(1, 1), which
/// expects tasks to differ. The interval is about the tasks' distribution, and honest for few tasks, where those from
/// standard errors are too short. S. Bowyer, L. Aitchison and D. R. Ivanova, "Position: don't use the CLT in LLM evals with
/// fewer than a few hundred datapoints" (2025). The posterior over `ln(θ/(1 - θ))` and `ln d` is summed on a regular grid,
/// which is exact to about 10⁻⁶.
///
/// # Errors
/// There is no task, or one has no attempt.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, Rate, overdispersion::cluster_model};
/// let tasks = [0, 1, 0, 5, 9, 2, 10, 3, 0, 6].map(|successes| Rate::of(successes, 10));
/// let found = cluster_model(&tasks.into_iter().collect::<Result<Vec<_>, _>>()?, Level::P95)?;
/// assert_eq!(format!("{:.2} to {:.2}", found.interval.lower, found.interval.upper), "0.19 to 0.60");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn cluster_model(tasks: &[Rate], confidence: Level) -> Result<Posterior, StatsError> {
    pooled("the cluster model", tasks, 1)?;
    let counts = distinct(tasks);
    let [means, concentrations] = region(&counts);
    let marginal = Marginal::of(&counts, means, concentrations);
    let error = (1.0 - confidence.get()) / 2.0;
    Ok(Posterior {
        mean: marginal.mean(),
        median: marginal.quantile(0.5),
        interval: Interval {
            lower: marginal.quantile(error),
            upper: marginal.quantile(1.0 - error),
            confidence,
            side: Side::Two,
            method: Method::ClusterModel,
        },
        units: tasks.len() as u64,
    })
}

/// A range of a regular grid.
#[derive(Clone, Copy)]
struct Axis {
    least: f64,
    most: f64,
    steps: u32,
}

impl Axis {
    fn step(self) -> f64 {
        (self.most - self.least) / f64::from(self.steps)
    }

    fn points(self) -> impl Iterator<Item = f64> {
        (0..=self.steps).map(move |index| self.least + f64::from(index) * self.step())
    }
}

/// Returns the log posterior density over `ln(θ/(1 - θ))` and `ln d`, but for a constant.
fn ln_density(counts: &[Tally], logit: f64, ln_concentration: f64) -> f64 {
    let concentration = ln_concentration.exp();
    let (ln_theta, ln_rest) = (-(-logit).exp().ln_1p(), -logit.exp().ln_1p());
    let (a, b) = (concentration * ln_theta.exp(), concentration * ln_rest.exp());
    // The priors, and what the change to logarithms multiplies them by.
    let prior = ln_theta + ln_rest - concentration + ln_concentration;
    let likelihood = |tally: &Tally| {
        tally.tasks
            * (ln_rising(a, tally.successes) + ln_rising(b, tally.failures)
                - ln_rising(concentration, tally.successes + tally.failures))
    };
    prior + counts.iter().map(likelihood).sum::<f64>()
}

/// Returns `ln(x (x + 1) ... (x + count - 1))`.
fn ln_rising(x: f64, count: f64) -> f64 {
    if count <= 16.0 && x < 1e9 {
        let (mut product, mut factor) = (1.0, 0.0);
        while factor < count {
            product *= x + factor;
            factor += 1.0;
        }
        return product.ln();
    }
    libm::lgamma(x + count) - libm::lgamma(x)
}

/// Returns the region outside of which the posterior is negligible.
fn region(counts: &[Tally]) -> [Axis; 2] {
    let axis = |least, most| Axis {
        least,
        most,
        steps: LOOK,
    };
    // Rates from e⁻⁶⁰ to 1 - e⁻⁶⁰; concentrations over 50 have the prior against them.
    let mut axes = [axis(-60.0, 60.0), axis(-60.0, 4.0)];
    for _ in 0..12 {
        let points: Vec<(f64, f64, f64)> = axes[0]
            .points()
            .flat_map(|logit| axes[1].points().map(move |ln| (logit, ln)))
            .map(|(logit, ln)| (logit, ln, ln_density(counts, logit, ln)))
            .collect();
        let top = points
            .iter()
            .map(|point| point.2)
            .fold(f64::NEG_INFINITY, f64::max);
        let inside = || points.iter().filter(|point| point.2 > top - NEGLIGIBLE);
        let shrunken = |axis: Axis, of: fn(&(f64, f64, f64)) -> f64| {
            let ends = inside()
                .map(of)
                .fold((f64::INFINITY, f64::NEG_INFINITY), |ends, value| {
                    (ends.0.min(value), ends.1.max(value))
                });
            Axis {
                least: (ends.0 - 2.0 * axis.step()).max(axis.least),
                most: (ends.1 + 2.0 * axis.step()).min(axis.most),
                ..axis
            }
        };
        let next = [
            shrunken(axes[0], |point| point.0),
            shrunken(axes[1], |point| point.1),
        ];
        let stays = (0..2).all(|i| next[i].step() > 0.8 * axes[i].step());
        axes = next;
        if stays {
            break;
        }
    }
    axes
}

/// The posterior of the mean rate alone, on a grid over its logit.
struct Marginal {
    logits: Vec<f64>,
    densities: Vec<f64>,
    /// The probability up to each point.
    cumulated: Vec<f64>,
}

impl Marginal {
    fn of(counts: &[Tally], means: Axis, concentrations: Axis) -> Self {
        let means = Axis {
            steps: MEANS,
            ..means
        };
        let concentrations = Axis {
            steps: CONCENTRATIONS,
            ..concentrations
        };
        let logits: Vec<f64> = means.points().collect();
        let rows: Vec<Vec<f64>> = logits
            .iter()
            .map(|logit| {
                concentrations
                    .points()
                    .map(|ln| ln_density(counts, *logit, ln))
                    .collect()
            })
            .collect();
        let top = rows.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut densities: Vec<f64> = rows
            .iter()
            .map(|row| row.iter().map(|value| (value - top).exp()).sum())
            .collect();
        let total: f64 = densities.iter().sum::<f64>() * means.step();
        for density in &mut densities {
            *density /= total;
        }
        // By five points; at both ends of the range the density is negligible.
        let slope = |index: usize| match densities.get(index.saturating_sub(2)..index + 3) {
            Some([a, b, _, d, e]) => (a - 8.0 * b + 8.0 * d - e) / (12.0 * means.step()),
            _ => 0.0,
        };
        // The trapezoidal rule up to a point within the range errs by the slope there (Euler and Maclaurin).
        let mut sum = 0.0;
        let mut cumulated = vec![0.0];
        for index in 1..densities.len() {
            sum += f64::midpoint(densities[index - 1], densities[index]) * means.step();
            cumulated.push(sum - means.step().powi(2) / 12.0 * slope(index));
        }
        Self {
            logits,
            densities,
            cumulated,
        }
    }

    fn mean(&self) -> f64 {
        let terms = self.logits.iter().zip(&self.densities);
        let (sum, weight) = terms.fold((0.0, 0.0), |(sum, weight), (logit, density)| {
            (sum + density / (1.0 + (-logit).exp()), weight + density)
        });
        sum / weight
    }

    fn quantile(&self, p: f64) -> f64 {
        let last = self.logits.len() - 1;
        let index = self.cumulated.partition_point(|value| *value < p).clamp(1, last);
        let (before, step) = (
            self.logits[index - 1],
            self.logits[index] - self.logits[index - 1],
        );
        let (left, right) = (self.cumulated[index - 1], self.cumulated[index]);
        let (left_slope, right_slope) = (self.densities[index - 1] * step, self.densities[index] * step);
        // Hermite's cubic through both points with the densities as slopes.
        let at = |part: f64| {
            let rest = 1.0 - part;
            left * rest * rest * (1.0 + 2.0 * part)
                + right * part * part * (3.0 - 2.0 * part)
                + part * rest * (left_slope * rest - right_slope * part)
        };
        let (mut least, mut most) = (0.0, 1.0);
        for _ in 0..50 {
            let middle = f64::midpoint(least, most);
            if at(middle) < p {
                least = middle;
            } else {
                most = middle;
            }
        }
        1.0 / (1.0 + (-(before + least * step)).exp())
    }
}
