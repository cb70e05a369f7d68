//! Sample sizes, power and smallest detectable effects: what a suite can tell, before it is run.
//!
//! Owns: the variance of a planned comparison, how many units rule out a rate, how many a gate needs. Must not: look at
//! results; power computed from what was found says nothing that the interval does not.

mod gate;
mod layout;
mod plan;

use serde::Serialize;

use super::headline::TASKS_TO_POOL;
use super::interval::units_to_rule_out;
use super::special::{binomial_cdf, normal_quantile, student_t_quantile};
use super::{Level, StatsError};

#[cfg(test)]
mod tests;

pub use gate::{FixedNeed, GateChance, GateNeed, GateOutlook, MOST_GATE_UNITS, Shows};
pub use layout::{EffectiveTrials, Layout};
pub use plan::{Answer, Assumed, Bounds, Chances, Planned, Question, Reach, RuleOutNeed, Written, answer};

/// With fewer tasks than this there is no interval over tasks to plan for.
const LEAST_TASKS: u64 = TASKS_TO_POOL as u64;
/// More units than this are no plan.
const MOST_UNITS: u64 = 1 << 40;
/// More epochs than this are no plan.
const MOST_EPOCHS: u32 = 1_000_000;

/// Which errors a plan accepts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Demand {
    /// The probability of finding a difference where there is none, two-sided.
    pub alpha: Level,
    /// The probability of finding one of the wanted size.
    pub power: Level,
}

/// Variances of a paired comparison of two settings A and B over the same samples, in squared units of the score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedVariance {
    between: f64,
    within: [f64; 2],
}

impl PairedVariance {
    /// Takes the variance `between` samples of the true difference between A and B, and the mean variances `within` a
    /// sample, over its epochs, of A and of B.
    ///
    /// # Errors
    /// One is negative or no number, or all are 0.
    pub fn new(between: f64, within: [f64; 2]) -> Result<Self, StatsError> {
        for (what, value) in [
            ("the variance between samples", between),
            ("the variance within a sample", within[0]),
            ("the variance within a sample", within[1]),
        ] {
            not_negative(what, value)?;
        }
        if between + within[0] + within[1] == 0.0 {
            return Err(StatsError::Undefined {
                what: "a sample size",
                why: "no variance is assumed, so one sample would prove anything",
            });
        }
        Ok(Self { between, within })
    }

    /// Takes the variance between samples of the true score of each setting, the correlation of these scores between
    /// the settings, and the mean variance within a sample: `between = 2 (1 - correlation) scores`.
    ///
    /// # Errors
    /// A variance is negative or no number, all are 0, or the correlation does not lie from -1 to 1.
    pub fn of_scores(scores: f64, correlation: f64, within: f64) -> Result<Self, StatsError> {
        StatsError::check_range("the correlation", correlation, [-1.0, 1.0])?;
        not_negative("the variance between samples", scores)?;
        Self::new(2.0 * (1.0 - correlation) * scores, [within, within])
    }

    /// Returns the variance of one sample's measured difference.
    fn of_sample(&self, epochs: [u32; 2]) -> f64 {
        self.between + self.noise(epochs)
    }

    fn noise(&self, epochs: [u32; 2]) -> f64 {
        self.within[0] / f64::from(epochs[0]) + self.within[1] / f64::from(epochs[1])
    }
}

fn check_epochs(epochs: u32) -> Result<(), StatsError> {
    StatsError::check_range("epochs", f64::from(epochs), [1.0, f64::from(MOST_EPOCHS)])
}

fn check_difference(difference: f64) -> Result<(), StatsError> {
    if difference > 0.0 && difference.is_finite() {
        return Ok(());
    }
    Err(StatsError::Unfit {
        what: "the difference",
        must: "a positive number",
        value: difference,
    })
}

fn not_negative(what: &'static str, value: f64) -> Result<(), StatsError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(StatsError::Unfit {
        what,
        must: "a number from 0 on",
        value,
    })
}

/// How many samples a comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SampleSize {
    /// As the formula gives it.
    pub exact: f64,
    /// Rounded up.
    pub samples: u64,
    /// The difference that it is for.
    pub difference: f64,
    /// The errors that are accepted.
    pub demand: Demand,
}

/// The smallest difference that a comparison is likely to find.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Detectable {
    /// The difference, in units of the score.
    pub difference: f64,
    /// The independent units that it rests on.
    pub units: u64,
    /// The errors that are accepted.
    pub demand: Demand,
}

/// Returns how many independent samples a paired comparison needs to find a difference.
///
/// `n = (z_(1 - alpha/2) + z_power)² (w² + sA² / KA + sB² / KB) / d²`: `w²` is the variance between samples of the true
/// difference, `sA²` and `sB²` the mean variances within a sample over `KA` and `KB` epochs, `d` the difference. Valid for
/// samples that are independent of each other and a normal mean, so for tens of samples and more; for samples in
/// tasks see [`PairedDesign`]. E. Miller, "Adding error bars to evals", arXiv:2411.00640 (2024), section 5.
///
/// # Errors
/// The difference is not positive, epochs are 0, or the plan is beyond all bounds.
pub fn samples_needed(
    variance: &PairedVariance,
    epochs: [u32; 2],
    difference: f64,
    demand: Demand,
) -> Result<SampleSize, StatsError> {
    check_difference(difference)?;
    check_epochs(epochs[0])?;
    check_epochs(epochs[1])?;
    let reach = reach(demand)?;
    let exact = variance.of_sample(epochs) * (reach / difference).powi(2);
    Ok(SampleSize {
        exact,
        samples: whole(exact)?.max(1),
        difference,
        demand,
    })
}

/// Returns the smallest difference that a paired comparison over independent samples finds with the wanted power: the
/// formula of [`samples_needed`] solved for the difference.
///
/// # Errors
/// There is no sample, epochs are 0, or alpha and power contradict each other.
pub fn smallest_difference(
    variance: &PairedVariance,
    epochs: [u32; 2],
    samples: u64,
    demand: Demand,
) -> Result<Detectable, StatsError> {
    check_epochs(epochs[0])?;
    check_epochs(epochs[1])?;
    if samples == 0 {
        return Err(too_few("a comparison", "samples", 1, 0));
    }
    Ok(Detectable {
        difference: reach(demand)? * (variance.of_sample(epochs) / samples as f64).sqrt(),
        units: samples,
        demand,
    })
}

fn beyond() -> StatsError {
    StatsError::Undefined {
        what: "the number of units",
        why: "it is above a million million",
    }
}

fn too_few(what: &'static str, unit: &'static str, needed: u64, found: u64) -> StatsError {
    StatsError::TooFew {
        what,
        unit,
        needed,
        found,
    }
}

/// Returns how many standard errors a difference must have: the sum of both normal quantiles.
fn reach(demand: Demand) -> Result<f64, StatsError> {
    let reach = normal_quantile(1.0 - demand.alpha.get() / 2.0)? + normal_quantile(demand.power.get())?;
    check_reach(reach)?;
    Ok(reach)
}

fn check_reach(reach: f64) -> Result<(), StatsError> {
    if reach > 0.0 {
        return Ok(());
    }
    Err(StatsError::Undefined {
        what: "a sample size",
        why: "chance alone finds a difference more often than the wanted power",
    })
}

fn whole(exact: f64) -> Result<u64, StatsError> {
    if exact.is_nan() || exact > MOST_UNITS as f64 {
        return Err(beyond());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "MOST_UNITS at most, and a variance is not negative"
    )]
    let whole = exact.ceil() as u64;
    Ok(whole)
}

/// A paired comparison of two settings over samples in tasks, with as many epochs for both.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedDesign {
    /// Variances of samples.
    pub variance: PairedVariance,
    /// The correlation of the true differences of two samples of the same task, from 0 to 1.
    pub task_icc: f64,
    /// The errors that are accepted.
    pub demand: Demand,
}

impl PairedDesign {
    /// Returns the smallest difference that a layout finds with the wanted power.
    ///
    /// `d = (t_(1 - alpha/2) + t_power) sqrt((w² (1 + (m - 1) icc) + (sA² + sB²) / K) / M)` for `M` samples in `C` tasks, `m`
    /// samples in a sample's task on average and `K` epochs, with Student's quantiles at `C - 1` degrees of freedom. With
    /// one sample for each of many tasks this is [`smallest_difference`]. An approximation of the noncentral t test, good
    /// from some ten tasks on. Source as for [`samples_needed`], with a design effect as in [`Layout::effective`].
    ///
    /// # Errors
    /// Fewer than five tasks: there is no interval over so few. The correlation does not lie from 0 to 1.
    pub fn smallest_difference(&self, layout: &Layout) -> Result<Detectable, StatsError> {
        let difference = self.reached(layout, f64::from(layout.epochs()))?;
        Ok(Detectable {
            difference,
            units: layout.tasks(),
            demand: self.demand,
        })
    }

    fn reached(&self, layout: &Layout, epochs: f64) -> Result<f64, StatsError> {
        StatsError::check_range("the correlation within a task", self.task_icc, [0.0, 1.0])?;
        if layout.tasks() < LEAST_TASKS {
            let unit = "tasks";
            return Err(too_few("a comparison", unit, LEAST_TASKS, layout.tasks()));
        }
        let freedom = (layout.tasks() - 1) as f64;
        let t = student_t_quantile(1.0 - self.demand.alpha.get() / 2.0, freedom)?
            + student_t_quantile(self.demand.power.get(), freedom)?;
        check_reach(t)?;
        let crowded = 1.0 + (layout.crowding - 1.0) * self.task_icc;
        let noise = (self.variance.within[0] + self.variance.within[1]) / epochs;
        Ok(t * ((self.variance.between * crowded + noise) / layout.samples() as f64).sqrt())
    }

    /// Returns how many tasks with equally many samples find a difference with the wanted power.
    ///
    /// The least number, five or more, for which [`Self::smallest_difference`] is no greater.
    ///
    /// # Errors
    /// The difference is not positive, a number is 0, or the plan is beyond all bounds.
    pub fn tasks_needed(
        &self,
        samples: u64,
        epochs: u32,
        difference: f64,
    ) -> Result<TasksNeeded, StatsError> {
        check_difference(difference)?;
        let enough = |tasks: u64| -> Result<bool, StatsError> {
            let layout = Layout::even(tasks, samples, epochs)?;
            Ok(self.smallest_difference(&layout)?.difference <= difference)
        };
        let (mut low, mut high) = (LEAST_TASKS, LEAST_TASKS);
        while !enough(high)? {
            low = high + 1;
            high *= 2;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if enough(middle)? {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(TasksNeeded {
            tasks: high,
            samples,
            epochs,
            difference,
            demand: self.demand,
        })
    }

    /// Returns how many epochs make a layout find a difference with the wanted power; nothing if no number does, since
    /// epochs only shrink the noise within samples.
    ///
    /// # Errors
    /// As for [`Self::smallest_difference`], or the difference is not positive.
    pub fn epochs_needed(&self, layout: &Layout, difference: f64) -> Result<Option<u32>, StatsError> {
        check_difference(difference)?;
        if self.reached(layout, f64::INFINITY)? >= difference {
            return Ok(None);
        }
        let (mut low, mut high) = (1_u32, MOST_EPOCHS + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.reached(layout, f64::from(middle))? <= difference {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok((high <= MOST_EPOCHS).then_some(high))
    }
}

/// How many tasks a comparison needs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TasksNeeded {
    /// Tasks.
    pub tasks: u64,
    /// Samples of each.
    pub samples: u64,
    /// How often each sample is tried.
    pub epochs: u32,
    /// The difference that it is for.
    pub difference: f64,
    /// The errors that are accepted.
    pub demand: Demand,
}

/// How many units rule a rate out with one look at the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RuleOut {
    /// The rate that is ruled out, and every greater one.
    pub rate: Level,
    /// How many successes may be among the units.
    pub successes: u64,
    /// Independent units.
    pub units: u64,
    /// The probability of ruling it out although it is the true rate.
    pub alpha: Level,
}

/// Returns how many independent units with so many successes rule out a rate, looked at once at the end.
///
/// The smallest `n` with `P(X <= s) <= alpha` for `X ~ Binomial(n, rate)`: from there on Clopper-Pearson's one-sided upper bound
/// is at most the rate. Without successes `n = ceil(ln alpha / ln(1 - rate))`. It also holds for the mean of unequal
/// rates of independent units (W. Hoeffding, Annals of Mathematical Statistics 27 (1956), 713-721). Not valid when
/// looked at more than once; see [`gate`](super::gate). C. J. Clopper, E. S. Pearson, Biometrika 26 (1934), 404-413.
///
/// # Errors
/// The plan is beyond all bounds.
pub fn rule_out_units(rate: Level, successes: u64, alpha: Level) -> Result<RuleOut, StatsError> {
    let of = |units| RuleOut {
        rate,
        successes,
        units,
        alpha,
    };
    if successes == 0 {
        let units = units_to_rule_out(rate, alpha)?.units;
        return if units > MOST_UNITS {
            Err(beyond())
        } else {
            Ok(of(units))
        };
    }
    let enough = |units: u64| -> Result<bool, StatsError> {
        if units > MOST_UNITS {
            return Err(beyond());
        }
        Ok(binomial_cdf(successes, units, rate.get())? <= alpha.get())
    };
    let mut low = successes.saturating_add(1);
    let mut high = low;
    while !enough(high)? {
        low = high + 1;
        high = high.saturating_mul(2);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if enough(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(of(high))
}
