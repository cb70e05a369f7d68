//! The cluster bootstrap and bias-corrected accelerated (BCa) intervals.
//!
//! Owns: resampling of whole clusters, seeded. Must not: use threads; a draw is a function of seed and number, so that
//! callers may spread draws over cores and get the same result.

use rand::SeedableRng as _;
use rand::distr::{Distribution as _, Uniform};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::special::{normal_cdf, normal_quantile};
use super::standard_error::{ClusterTotal, totals};
use super::{Estimate, Interval, Level, Method, Side, StatsError};

/// Up to this many clusters all resamples are gone through: 6,435 different ones of 8.
const EXACT_CLUSTERS: u64 = 8;

/// More draws than this change no digit that matters.
const MOST_DRAWS: u32 = 10_000_000;

/// How many random draws, from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Draws {
    /// How many.
    pub count: u32,
    /// The seed; a draw depends on it and on its number alone.
    pub seed: u64,
}

impl Draws {
    /// Returns the random numbers of draw `index`: one stream of the generator for each.
    pub(super) fn stream(seed: u64, index: u32) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(index));
        rng
    }

    /// Checks that there are some, and not more than memory holds.
    pub(super) fn check(self) -> Result<(), StatsError> {
        StatsError::check_enough("a result from random draws", "draws", 1, u64::from(self.count))?;
        if self.count > MOST_DRAWS {
            return Err(StatsError::OutOfRange {
                what: "the number of draws",
                value: f64::from(self.count),
                least: 1.0,
                most: f64::from(MOST_DRAWS),
            });
        }
        Ok(())
    }
}

/// Which resamples a result rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// All ways to draw as many clusters as there are.
    All {
        /// Their number, the number of clusters to its own power.
        resamples: u64,
    },
    /// A random sample of them, with what it takes to draw it again.
    Drawn(Draws),
}

/// The values of a statistic over resamples.
#[derive(Clone, Debug, PartialEq)]
pub struct Resamples {
    /// Ascending, each with how many resamples have it.
    values: Vec<(f64, u64)>,
    count: u64,
    origin: Origin,
}

impl Resamples {
    /// Takes the values of the draws `0..draws.count`, in any order.
    ///
    /// # Errors
    /// There are none, not as many as drawn, or one is not finite.
    pub fn drawn(values: Vec<f64>, draws: Draws) -> Result<Self, StatsError> {
        draws.check()?;
        StatsError::check_finite("the resampled values", &values)?;
        if values.len() as u64 != u64::from(draws.count) {
            return Err(StatsError::Lengths {
                what: "resampled values and draws",
                left: values.len(),
                right: draws.count as usize,
            });
        }
        let values = values.into_iter().map(|value| (value, 1)).collect();
        Ok(Self::of(values, Origin::Drawn(draws)))
    }

    fn of(mut values: Vec<(f64, u64)>, origin: Origin) -> Self {
        values.sort_by(|left, right| left.0.total_cmp(&right.0));
        let count = values.iter().map(|(_, times)| times).sum();
        Self {
            values,
            count,
            origin,
        }
    }

    fn mean(&self) -> f64 {
        let sum: f64 = self
            .values
            .iter()
            .map(|(value, times)| value * *times as f64)
            .sum();
        sum / self.count as f64
    }

    /// Returns the standard deviation, divisor the number of resamples.
    fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let square = |(value, times): &(f64, u64)| (value - mean).powi(2) * *times as f64;
        (self.values.iter().map(square).sum::<f64>() / self.count as f64).sqrt()
    }

    /// Returns the quantile by linear interpolation: numpy's default, type 7 of R. J. Hyndman and Y. Fan, "Sample quantiles
    /// in statistical packages", The American Statistician 50 (1996), 361-365.
    fn quantile(&self, p: f64) -> f64 {
        let place = (self.count - 1) as f64 * p;
        let (below, part) = (place.floor(), place.fract());
        let at = |place: f64| {
            let mut passed = 0;
            for (value, times) in &self.values {
                passed += times;
                if passed as f64 > place {
                    return *value;
                }
            }
            self.values.last().map_or(f64::NAN, |(value, _)| *value)
        };
        let (lower, upper) = (at(below), at(below + 1.0));
        lower + part * (upper - lower)
    }

    /// Returns the share of resamples below a value, those equal to it by half.
    fn share_below(&self, value: f64, ties: Ties) -> f64 {
        // Sums that cancel are as exact as the largest that they are made of, and the values are sorted.
        let ends = [self.values.first(), self.values.last()].into_iter().flatten();
        let largest = ends.map(|(end, _)| end.abs()).fold(value.abs(), f64::max);
        let slack = match ties {
            Ties::Exact => 1e-12 * largest,
            Ties::AsComputed => 0.0,
        };
        let weight = |(found, times): &(f64, u64)| {
            let part = if (found - value).abs() <= slack {
                0.5
            } else if *found < value {
                1.0
            } else {
                0.0
            };
            part * *times as f64
        };
        self.values.iter().map(weight).sum::<f64>() / self.count as f64
    }
}

/// When a resampled mean equals the mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// When they agree to 10⁻¹²: the rule to use. Sums of the same scores in another order are equal.
    Exact,
    /// When they agree to the last bit, as scipy compares them: for figures that are to agree with scipy's. Where many
    /// resamples have the mean itself, rounding moves some of them to one side and the bias correction with them.
    AsComputed,
}

/// A mean with its bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// The mean of all scores with its percentile interval.
    pub estimate: Estimate,
    /// The mean over the resamples.
    pub mean: f64,
    /// The median over the resamples.
    pub median: f64,
    /// The standard deviation over the resamples: the bootstrap's standard error.
    pub standard_error: f64,
    /// Which resamples were looked at.
    pub resamples: Origin,
}

/// A mean with its bias-corrected and accelerated interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bca {
    /// The mean of all scores with its interval.
    pub estimate: Estimate,
    /// The bias correction `z0`, in standard errors.
    pub bias: f64,
    /// The acceleration `a`: how fast the standard error changes with the mean.
    pub acceleration: f64,
    /// Which quantile of the resamples the lower end is.
    pub lower_level: f64,
    /// Which quantile the upper end is.
    pub upper_level: f64,
    /// The standard deviation over the resamples.
    pub standard_error: f64,
    /// Which resamples were looked at.
    pub resamples: Origin,
}

/// Clusters to draw from: the total of each, whatever the number of its scores.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterBootstrap {
    totals: Vec<ClusterTotal>,
    /// Draws the number of a cluster.
    number: Uniform<u32>,
}

impl ClusterBootstrap {
    /// Adds the scores up by cluster; `clusters` names each score's cluster (its task, or its family).
    ///
    /// # Errors
    /// A score is not finite, the lists differ in length, there are fewer than two clusters, or all of them have the same
    /// mean: resampling such data shows no spread, which is not certainty.
    pub fn new<K: Ord>(scores: &[f64], clusters: &[K]) -> Result<Self, StatsError> {
        let totals = totals(scores, clusters)?;
        let too_few = StatsError::TooFew {
            what: "a cluster bootstrap",
            unit: "clusters",
            needed: 2,
            found: totals.len() as u64,
        };
        let (2.., Ok(clusters)) = (totals.len(), u32::try_from(totals.len())) else {
            return Err(too_few);
        };
        let number = Uniform::new(0, clusters).map_err(|_| too_few)?;
        let found = Self { totals, number };
        let mean = found.value();
        let slack = 1e-12
            * found
                .totals
                .iter()
                .map(|t| t.sum.abs() / t.scores as f64)
                .fold(0.0, f64::max);
        if found
            .totals
            .iter()
            .all(|t| (t.sum / t.scores as f64 - mean).abs() <= slack)
        {
            return Err(StatsError::Undefined {
                what: "a cluster bootstrap",
                why: "all clusters have the same mean, so resampling shows no spread",
            });
        }
        Ok(found)
    }

    /// Returns the clusters.
    pub fn clusters(&self) -> usize {
        self.totals.len()
    }

    /// Returns the mean of all scores.
    pub fn value(&self) -> f64 {
        ratio(self.totals.iter().copied())
    }

    /// Returns the mean score of draw `index`: as many clusters as there are, with replacement; sum of their scores over
    /// number of their scores.
    pub fn draw(&self, seed: u64, index: u32) -> f64 {
        let mut rng = Draws::stream(seed, index);
        let (mut sum, mut scores) = (0.0, 0);
        for _ in 0..self.totals.len() {
            let total = &self.totals[self.number.sample(&mut rng) as usize];
            sum += total.sum;
            scores += total.scores;
        }
        sum / scores as f64
    }

    /// Returns all resamples: of up to 8 clusters, else `None`.
    pub fn all(&self) -> Option<Resamples> {
        let clusters = self.totals.len() as u64;
        if clusters > EXACT_CLUSTERS {
            return None;
        }
        let mut values = Vec::new();
        let mut counts = vec![0; self.totals.len()];
        self.compositions(&mut counts, 0, clusters, &mut values);
        let resamples = clusters.pow(u32::try_from(clusters).unwrap_or(0));
        Some(Resamples::of(values, Origin::All { resamples }))
    }

    /// Goes through the ways to draw `left` more clusters from number `from` on.
    fn compositions(&self, counts: &mut [u64], from: usize, left: u64, values: &mut Vec<(f64, u64)>) {
        if from + 1 == counts.len() {
            counts[from] = left;
            let times = counts.iter().map(|count| factorial(*count)).product::<u64>();
            let drawn = self
                .totals
                .iter()
                .zip(counts.iter())
                .map(|(total, count)| ClusterTotal {
                    sum: total.sum * *count as f64,
                    scores: total.scores * count,
                });
            values.push((ratio(drawn), factorial(self.totals.len() as u64) / times));
            return;
        }
        for count in 0..=left {
            counts[from] = count;
            self.compositions(counts, from + 1, left - count, values);
        }
    }

    /// Returns `draws` resamples, one after the other; all of them where they are few.
    ///
    /// # Errors
    /// There are no draws.
    pub fn resample(&self, draws: Draws) -> Result<Resamples, StatsError> {
        draws.check()?;
        if let Some(all) = self.all() {
            return Ok(all);
        }
        let values = (0..draws.count)
            .map(|index| self.draw(draws.seed, index))
            .collect();
        Resamples::drawn(values, draws)
    }

    /// Returns the mean of all scores with the percentile interval of the resamples.
    ///
    /// The ends are the `e` and `1 - e` quantiles of the resampled means, `e` half of `1 - confidence`. Clusters must be
    /// independent. Too short for few clusters: below 20 use [`headline`](super::headline). B. Efron and R. Tibshirani, "An
    /// introduction to the bootstrap" (1993), chapter 13; whole clusters: A. C. Davison and D. V. Hinkley, "Bootstrap methods
    /// and their application" (1997), section 3.8.
    pub fn percentile(&self, resamples: &Resamples, confidence: Level) -> Bootstrap {
        let error = (1.0 - confidence.get()) / 2.0;
        let ends = (resamples.quantile(error), resamples.quantile(1.0 - error));
        Bootstrap {
            estimate: self.estimate(ends, confidence, Method::ClusterBootstrap),
            mean: resamples.mean(),
            median: resamples.quantile(0.5),
            standard_error: resamples.standard_deviation(),
            resamples: resamples.origin,
        }
    }

    /// Returns the mean of all scores with the BCa interval.
    ///
    /// The ends are the quantiles at `Φ(z0 + (z0 + z)/(1 - a (z0 + z)))` of the resampled means, `z` the normal quantiles of
    /// the percentile interval, `z0` the normal quantile of the share of resamples below the mean (equal ones by half), and
    /// `a = Σd³/(6 (Σd²)^1.5)` over the distances `d` of the means without one cluster from their mean. Better than the
    /// percentiles for skewed scores; it does not mend few clusters. B. Efron, "Better bootstrap confidence intervals",
    /// Journal of the American Statistical Association 82 (1987), 171-185.
    ///
    /// # Errors
    /// All resamples lie on one side of the mean, or the acceleration is too strong for the confidence.
    pub fn bca(&self, resamples: &Resamples, confidence: Level, ties: Ties) -> Result<Bca, StatsError> {
        let undefined = |why| StatsError::Undefined {
            what: "a BCa interval",
            why,
        };
        let share = resamples.share_below(self.value(), ties);
        if share <= 0.0 || share >= 1.0 {
            return Err(undefined("all resamples lie on one side of the mean"));
        }
        let (bias, acceleration) = (normal_quantile(share)?, self.acceleration());
        let level = |p: f64| -> Result<f64, StatsError> {
            let shifted = bias + normal_quantile(p)?;
            let scale = 1.0 - acceleration * shifted;
            if scale <= 0.0 {
                return Err(undefined("the acceleration is too strong for the confidence"));
            }
            normal_cdf(bias + shifted / scale)
        };
        let error = (1.0 - confidence.get()) / 2.0;
        let (lower_level, upper_level) = (level(error)?, level(1.0 - error)?);
        let ends = (resamples.quantile(lower_level), resamples.quantile(upper_level));
        Ok(Bca {
            estimate: self.estimate(ends, confidence, Method::Bca),
            bias,
            acceleration,
            lower_level,
            upper_level,
            standard_error: resamples.standard_deviation(),
            resamples: resamples.origin,
        })
    }

    fn acceleration(&self) -> f64 {
        let (sum, scores) = sums(self.totals.iter().copied());
        let without = |left: &ClusterTotal| (sum - left.sum) / (scores - left.scores) as f64;
        let values: Vec<f64> = self.totals.iter().map(without).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let power = |exponent| {
            values
                .iter()
                .map(|value| (mean - value).powi(exponent))
                .sum::<f64>()
        };
        power(3) / (6.0 * power(2).powf(1.5))
    }

    fn estimate(&self, (lower, upper): (f64, f64), confidence: Level, method: Method) -> Estimate {
        Estimate {
            value: self.value(),
            interval: Interval {
                lower,
                upper,
                confidence,
                side: Side::Two,
                method,
            },
            units: self.totals.len() as u64,
        }
    }
}

fn factorial(n: u64) -> u64 {
    (1..=n).product()
}

fn ratio(totals: impl Iterator<Item = ClusterTotal>) -> f64 {
    let (sum, scores) = sums(totals);
    sum / scores as f64
}

fn sums(totals: impl Iterator<Item = ClusterTotal>) -> (f64, u64) {
    totals.fold((0.0, 0), |(sum, scores), total| {
        (sum + total.sum, scores + total.scores)
    })
}

#[cfg(test)]
mod tests;
