//! Maximum likelihood of the beta-binomial distribution.
//!
//! Owns: the search for the two shapes. Must not: guess shapes where the likelihood has no maximum.

use serde::Serialize;
use statrs::function::gamma::digamma;

use super::{Tally, distinct, pooled};
use crate::stats::special::ln_beta;
use crate::stats::{Rate, StatsError};

/// Tasks whose rates are Beta(α, β), fitted to counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BetaBinomial {
    /// The first shape.
    pub alpha: f64,
    /// The second shape.
    pub beta: f64,
    /// The mean rate of tasks, `α/(α + β)`.
    pub mean: f64,
    /// The correlation of attempts at the same task, `1/(α + β + 1)`.
    pub rho: f64,
    /// The log likelihood without binomial coefficients, `Σ ln B(k + α, n - k + β) - ln B(α, β)`.
    pub ln_likelihood: f64,
    /// How many tasks were fitted.
    pub tasks: u64,
}

/// Returns the shapes under which the counts are most likely.
///
/// The rate of a task is Beta(α, β), its successes binomial. D. A. Griffiths, "Maximum likelihood estimation for the
/// beta-binomial distribution and an application to the household distribution of the total number of cases of a disease",
/// Biometrics 29 (1973), 637-648. Newton's method over `ln(α/β)` and `ln(α + β)` with step halving. With few tasks the
/// likelihood is flat: look at the spread of `rho`, not at its digits.
///
/// # Errors
/// There are fewer than two tasks, one has no attempt, none has two, all attempts end alike, or the likelihood has no
/// maximum: tasks differ no more than chance lets them, or each always or never succeeds.
pub fn beta_binomial(tasks: &[Rate]) -> Result<BetaBinomial, StatsError> {
    const ROUNDS: u32 = 500;
    let pooled = pooled("a beta-binomial fit", tasks, 2)?;
    let undefined = |why| StatsError::Undefined {
        what: "a beta-binomial fit",
        why,
    };
    if pooled.units() == tasks.len() as u64 {
        return Err(undefined("no task has more than one attempt"));
    }
    if pooled.successes() == 0 || pooled.failures() == 0 {
        return Err(undefined("all attempts end alike"));
    }
    if tasks
        .iter()
        .all(|task| task.successes() == 0 || task.failures() == 0)
    {
        return Err(undefined("each task always or never succeeds"));
    }
    let counts = Counts(distinct(tasks));
    let mean = pooled.successes() as f64 / pooled.units() as f64;
    // A moderate spread to start from.
    let mut at = [(mean / (1.0 - mean)).ln(), 1.0];
    let mut value = counts.ln_likelihood(at)?;
    for _ in 0..ROUNDS {
        let gradient = counts.gradient(at);
        let step = counts.newton_step(at, gradient);
        let climbed = counts.climb(at, step, value)?;
        let moved = climbed.map_or(0.0, |(next, _)| {
            (next[0] - at[0]).abs().max((next[1] - at[1]).abs())
        });
        (at, value) = climbed.unwrap_or((at, value));
        if at[1] > LARGEST_SUM.ln() || (moved < 1e-10 && value <= counts.without_spread(mean)) {
            return Err(undefined("tasks differ no more than chance lets them"));
        }
        if moved < 1e-10 {
            return Ok(fitted(at, value, tasks.len() as u64));
        }
    }
    Err(StatsError::NoConvergence {
        what: "a beta-binomial fit",
        rounds: ROUNDS,
    })
}

/// A larger sum of shapes than this is no spread between tasks.
const LARGEST_SUM: f64 = 1e8;

fn shapes([logit, ln_sum]: [f64; 2]) -> (f64, f64) {
    let sum = ln_sum.exp();
    (sum / (1.0 + (-logit).exp()), sum / (1.0 + logit.exp()))
}

fn fitted(at: [f64; 2], ln_likelihood: f64, tasks: u64) -> BetaBinomial {
    let (alpha, beta) = shapes(at);
    BetaBinomial {
        alpha,
        beta,
        mean: alpha / (alpha + beta),
        rho: 1.0 / (alpha + beta + 1.0),
        ln_likelihood,
        tasks,
    }
}

struct Counts(Vec<Tally>);

impl Counts {
    fn ln_likelihood(&self, at: [f64; 2]) -> Result<f64, StatsError> {
        let (alpha, beta) = shapes(at);
        let prior = ln_beta(alpha, beta)?;
        let mut sum = 0.0;
        for tally in &self.0 {
            sum += tally.tasks * (ln_beta(tally.successes + alpha, tally.failures + beta)? - prior);
        }
        Ok(sum)
    }

    /// Returns the log likelihood if all tasks have the rate `mean`, and a little for rounding.
    fn without_spread(&self, mean: f64) -> f64 {
        let term =
            |tally: &Tally| tally.tasks * (tally.successes * mean.ln() + tally.failures * (-mean).ln_1p());
        let sum: f64 = self.0.iter().map(term).sum();
        sum + 1e-6 + 1e-12 * sum.abs()
    }

    fn gradient(&self, at: [f64; 2]) -> [f64; 2] {
        let (alpha, beta) = shapes(at);
        let sum = alpha + beta;
        let (mut by_alpha, mut by_beta) = (0.0, 0.0);
        for tally in &self.0 {
            let n = tally.successes + tally.failures;
            let both = digamma(n + sum) - digamma(sum);
            by_alpha += tally.tasks * (digamma(tally.successes + alpha) - digamma(alpha) - both);
            by_beta += tally.tasks * (digamma(tally.failures + beta) - digamma(beta) - both);
        }
        let product = alpha * beta / sum;
        [product * (by_alpha - by_beta), alpha * by_alpha + beta * by_beta]
    }

    /// Returns Newton's step with differences of the gradient for the curvature, or the gradient where the likelihood is not
    /// concave.
    fn newton_step(&self, at: [f64; 2], gradient: [f64; 2]) -> [f64; 2] {
        const WIDTH: f64 = 1e-4;
        let column = |axis: usize| {
            let (mut below, mut above) = (at, at);
            below[axis] -= WIDTH;
            above[axis] += WIDTH;
            let (below, above) = (self.gradient(below), self.gradient(above));
            [
                (above[0] - below[0]) / (2.0 * WIDTH),
                (above[1] - below[1]) / (2.0 * WIDTH),
            ]
        };
        let (first, second) = (column(0), column(1));
        let cross = f64::midpoint(first[1], second[0]);
        let determinant = first[0] * second[1] - cross * cross;
        if first[0] < 0.0 && determinant > 0.0 {
            let step = [
                (cross * gradient[1] - second[1] * gradient[0]) / determinant,
                (cross * gradient[0] - first[0] * gradient[1]) / determinant,
            ];
            // Far out on a flat side a whole step would leave the range of numbers.
            let longest = step[0].abs().max(step[1].abs()).max(2.0) / 2.0;
            return step.map(|part| part / longest);
        }
        let longest = gradient[0].abs().max(gradient[1].abs()).max(f64::MIN_POSITIVE);
        gradient.map(|part| part / longest)
    }

    /// Returns the first point along the step, halved as often as needed, that is higher; `None` at the top.
    fn climb(&self, at: [f64; 2], step: [f64; 2], value: f64) -> Result<Option<([f64; 2], f64)>, StatsError> {
        let mut part = 1.0;
        for _ in 0..50 {
            let next = [at[0] + part * step[0], at[1] + part * step[1]];
            let reached = self.ln_likelihood(next)?;
            if reached > value {
                return Ok(Some((next, reached)));
            }
            part /= 2.0;
        }
        Ok(None)
    }
}
