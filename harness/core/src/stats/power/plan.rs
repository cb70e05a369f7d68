//! What a plan can show and what it takes to show more: the answers that people ask for before money is spent.

use serde::Serialize;

use super::super::gate::{CheckpointErrors, Evidence, Rule, Tally, attempts_needed, upper_bound};
use super::super::interval::clopper_pearson;
use super::super::{Interval, Level, Rate, Side, StatsError};
use super::gate::{GateChance, GateNeed, GateOutlook, MOST_GATE_UNITS};
use super::{
    Demand, Detectable, EffectiveTrials, LEAST_TASKS, Layout, PairedDesign, PairedVariance, RuleOut,
    TasksNeeded, beyond, rule_out_units,
};

/// Samples of a task and epochs of a sample for which tasks are counted.
const GRID: [u32; 4] = [1, 2, 4, 8];
/// Successes for which units are counted.
const SUCCESSES: [u64; 5] = [0, 1, 2, 3, 5];

/// What is assumed about scores from 0 to 1 that nobody has measured yet.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Assumed {
    /// The variance between samples of a setting's true scores.
    pub between: f64,
    /// The mean variance of a sample's score over its epochs.
    pub within: f64,
    /// The correlation of the true scores between two settings.
    pub correlation: f64,
    /// The correlation of two samples of a task: of their true differences between settings, and of their trials.
    pub icc: f64,
}

impl Assumed {
    /// Returns the correlation of two trials of the same sample, which the variances imply.
    fn same_sample(&self) -> f64 {
        self.between / (self.between + self.within)
    }
}

impl Default for Assumed {
    /// True rates spread evenly from 0 to 1 (variance 1/12 between samples, 1/6 within), correlated by 1/3 between
    /// settings, as in the worked example by E. Miller, arXiv:2411.00640 (2024), section 5; samples of a task correlated
    /// by 0.2.
    fn default() -> Self {
        Self {
            between: 1.0 / 12.0,
            within: 1.0 / 6.0,
            correlation: 1.0 / 3.0,
            icc: 0.2,
        }
    }
}

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Question {
    /// The difference between two settings that is to be found.
    pub detect: Option<f64>,
    /// The rate that is to be ruled out.
    pub rule_out: Option<Level>,
    /// The threshold of a gate.
    pub gate: Option<Level>,
    /// True rates for which a gate's needs are counted; if there are none, some around the threshold.
    pub rates: Vec<f64>,
    /// The errors that are accepted; a gate accepts alpha for each of its two decisions.
    pub demand: Demand,
    /// What is assumed.
    pub assumed: Assumed,
}

/// A named layout: a phase of a suite, or a plan by hand.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its tasks, samples and epochs.
    pub layout: Layout,
}

/// All that was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// Tasks that find the difference.
    pub detect: Option<Vec<TasksNeeded>>,
    /// Units that rule the rate out.
    pub rule_out: Option<Vec<RuleOutNeed>>,
    /// Units that the gate needs.
    pub gate: Option<Vec<GateNeed>>,
    /// What the layouts can show as they are.
    pub written: Vec<Written>,
}

/// Units that rule a rate out at some number of successes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RuleOutNeed {
    /// Looked at once, at the end.
    pub fixed: RuleOut,
    /// Looked at any time.
    pub any_time: RuleOut,
}

/// What a layout can show as it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Written {
    /// The layout.
    pub planned: Planned,
    /// What its trials are worth for claims about tasks like these.
    pub effective: EffectiveTrials,
    /// The smallest difference that it finds.
    pub detect: Option<Reach>,
    /// The bound that it puts on a rate if nothing succeeds.
    pub bounds: Option<Bounds>,
    /// What a gate decides by the end of it, by true rate.
    pub gate: Option<Chances>,
}

/// Whether a layout can find a difference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It has too few tasks for an interval over tasks.
    TooFewTasks {
        /// How many it takes.
        needed: u64,
    },
    /// It finds differences from some size on.
    From {
        /// The smallest.
        smallest: Detectable,
        /// How many epochs it would take to find the wanted one; nothing if no number does.
        epochs: Option<u32>,
    },
}

/// Upper bounds of a rate after no success, for these tasks and for tasks like these.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bounds {
    /// For these tasks: every trial counts, looked at once.
    pub these_fixed: Interval,
    /// For these tasks, looked at any time.
    pub these_any_time: Interval,
    /// For tasks like these: independent trials count, looked at once.
    pub like_fixed: Interval,
    /// For tasks like these, looked at any time.
    pub like_any_time: Interval,
}

/// What a gate decides, for these tasks and for tasks like these. Nothing where there are more units than are followed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chances {
    /// For these tasks: every trial counts.
    pub these: Option<Vec<GateChance>>,
    /// For tasks like these: independent trials count.
    pub like: Option<Vec<GateChance>>,
}

/// Answers what samples and epochs can show, and how many it takes to show more.
///
/// Differences by [`PairedDesign`], rates by [`rule_out_units`] and by the one-sided e-process of
/// [`gate`](super::super::gate), gates by [`GateOutlook`]. Claims about these tasks count every trial, since with a random
/// order the mean of unequal rates is bounded like one rate; claims about tasks like these count trials over the design
/// effect ([`Layout::effective`]), an approximation.
///
/// # Errors
/// A number makes no sense, or a plan is beyond all bounds.
pub fn answer(question: &Question, layouts: &[Planned]) -> Result<Answer, StatsError> {
    let Assumed {
        between,
        within,
        correlation,
        icc,
    } = question.assumed;
    let design = PairedDesign {
        variance: PairedVariance::of_scores(between, correlation, within)?,
        task_icc: icc,
        demand: question.demand,
    };
    let mut gate = question
        .gate
        .map(|threshold| Gate::new(threshold, question))
        .transpose()?;
    Ok(Answer {
        question: question.clone(),
        detect: question
            .detect
            .map(|difference| grid(&design, difference))
            .transpose()?,
        rule_out: question
            .rule_out
            .map(|rate| rule_out(rate, question.demand.alpha))
            .transpose()?,
        gate: gate
            .as_mut()
            .map(|gate| gate.needs(question.demand.power))
            .transpose()?,
        written: layouts
            .iter()
            .map(|planned| written(planned, question, &design, gate.as_mut()))
            .collect::<Result<_, _>>()?,
    })
}

/// A gate with the true rates that are asked about.
struct Gate {
    outlook: GateOutlook,
    rates: Vec<f64>,
}

impl Gate {
    fn new(threshold: Level, question: &Question) -> Result<Self, StatsError> {
        let alpha = question.demand.alpha;
        let errors = CheckpointErrors::alone(alpha, alpha).among(1)?;
        Ok(Self {
            outlook: GateOutlook::new(Rule { threshold, errors }),
            rates: rates_around(threshold, &question.rates),
        })
    }

    fn needs(&mut self, power: Level) -> Result<Vec<GateNeed>, StatsError> {
        let outlook = &mut self.outlook;
        self.rates.iter().map(|rate| outlook.need(*rate, power)).collect()
    }

    fn chances(&mut self, units: u64) -> Result<Option<Vec<GateChance>>, StatsError> {
        if units > MOST_GATE_UNITS {
            return Ok(None);
        }
        let outlook = &mut self.outlook;
        let each = self.rates.iter().map(|rate| outlook.chance(*rate, units));
        each.collect::<Result<_, _>>().map(Some)
    }
}

/// Returns the given true rates in order, or some around a threshold.
fn rates_around(threshold: Level, given: &[f64]) -> Vec<f64> {
    let tau = threshold.get();
    let mut rates = if given.is_empty() {
        let around = [0.0, 0.1, 0.2, 0.5, 1.5, 2.0, 3.0];
        // Rounded, so that half of a tenth prints as such.
        let part = |factor: f64| (factor * tau * 1e9).round() / 1e9;
        around.into_iter().map(part).filter(|rate| *rate <= 1.0).collect()
    } else {
        given.to_vec()
    };
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    rates
}

fn grid(design: &PairedDesign, difference: f64) -> Result<Vec<TasksNeeded>, StatsError> {
    let mut needed = Vec::with_capacity(GRID.len() * GRID.len());
    for epochs in GRID {
        for samples in GRID {
            needed.push(design.tasks_needed(u64::from(samples), epochs, difference)?);
        }
    }
    Ok(needed)
}

fn rule_out(rate: Level, alpha: Level) -> Result<Vec<RuleOutNeed>, StatsError> {
    let each = SUCCESSES.map(|successes| {
        Ok(RuleOutNeed {
            fixed: rule_out_units(rate, successes, alpha)?,
            any_time: any_time(rate, successes, alpha)?,
        })
    });
    each.into_iter().collect()
}

fn any_time(rate: Level, successes: u64, alpha: Level) -> Result<RuleOut, StatsError> {
    let needed = attempts_needed(successes, rate, alpha)?.ok_or_else(beyond)?;
    Ok(RuleOut {
        rate,
        successes,
        units: needed.units,
        alpha,
    })
}

fn written(
    planned: &Planned,
    question: &Question,
    design: &PairedDesign,
    gate: Option<&mut Gate>,
) -> Result<Written, StatsError> {
    let layout = planned.layout;
    let effective = layout.effective(question.assumed.same_sample(), question.assumed.icc)?;
    let alpha = question.demand.alpha;
    Ok(Written {
        planned: planned.clone(),
        effective,
        detect: question
            .detect
            .map(|difference| reach(design, &layout, difference))
            .transpose()?,
        bounds: match question.rule_out {
            Some(_) => Some(Bounds {
                these_fixed: none_of(effective.trials, alpha)?,
                these_any_time: any_time_bound(effective.trials, alpha)?,
                like_fixed: none_of(effective.units, alpha)?,
                like_any_time: any_time_bound(effective.units, alpha)?,
            }),
            None => None,
        },
        gate: match gate {
            Some(gate) => Some(Chances {
                these: gate.chances(effective.trials)?,
                like: gate.chances(effective.units)?,
            }),
            None => None,
        },
    })
}

fn reach(design: &PairedDesign, layout: &Layout, difference: f64) -> Result<Reach, StatsError> {
    if layout.tasks() < LEAST_TASKS {
        return Ok(Reach::TooFewTasks { needed: LEAST_TASKS });
    }
    Ok(Reach::From {
        smallest: design.smallest_difference(layout)?,
        epochs: design.epochs_needed(layout, difference)?,
    })
}

fn none_of(units: u64, alpha: Level) -> Result<Interval, StatsError> {
    clopper_pearson(&Rate::of(0, units)?, alpha.complement(), Side::Upper)
}

fn any_time_bound(units: u64, alpha: Level) -> Result<Interval, StatsError> {
    let data = Evidence::Units(Tally::clear(0, units)).for_below()?;
    Ok(upper_bound(&data, alpha)?.interval())
}
