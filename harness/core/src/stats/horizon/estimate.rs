//! Horizons with their intervals.
//!
//! Owns: what draws say about each model. Must not: draw, or print.

use serde::Serialize;

use super::analysis::{Analysis, Fitted};
use super::bootstrap::{Draw, Drawn};
use super::buckets::{BUCKETS, Bucket, Means};
use super::curve::{Curve, NoCurve, Order};
use super::data::Model;
use super::reading::{Lengths, Reading};
use crate::stats::interval::clopper_pearson;
use crate::stats::{Interval, Level, Method, Rate, Side};

/// What is known of one model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelEstimate {
    /// The model.
    pub model: String,
    /// Runs.
    pub runs: u64,
    /// The sum of their outcomes, not weighted.
    pub successes: f64,
    /// Tasks that it tried.
    pub tasks: u64,
    /// Families that these are in: the units that are drawn first.
    pub families: u64,
    /// The range of lengths.
    pub lengths: Lengths,
    /// The weighted mean outcome.
    pub average: MeanEstimate,
    /// The curve, if there is one.
    pub curve: Option<Curve>,
    /// Why there is none.
    pub no_curve: Option<NoCurve>,
    /// The mean cross-entropy of the curve in nats.
    pub cross_entropy: Option<f64>,
    /// A horizon for each level that was asked for.
    pub horizons: Vec<HorizonEstimate>,
    /// Success by length, without the buckets in which it has no run.
    pub buckets: Vec<BucketEstimate>,
    /// What became of the draws.
    pub draws: DrawCounts,
}

/// A weighted mean outcome.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MeanEstimate {
    /// The mean.
    pub value: f64,
    /// Its interval; by Clopper and Pearson over families if all outcomes are alike, since draws of them don't vary.
    pub interval: Option<Interval>,
}

/// Success in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BucketEstimate {
    /// The bucket.
    pub bucket: Bucket,
    /// Runs in it.
    pub runs: u64,
    /// The sum of their outcomes, not weighted.
    pub successes: f64,
    /// Tasks.
    pub tasks: u64,
    /// Families.
    pub families: u64,
    /// The weighted mean outcome.
    pub mean: MeanEstimate,
}

/// The horizon at one level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HorizonEstimate {
    /// The probability of success.
    pub level: Level,
    /// What may be shown.
    pub point: Reading,
    /// What may be shown of the interval; `None` without draws, or where the point is no matter of the curve.
    pub interval: Option<ReadingInterval>,
    /// The formula's number and its interval as METR publishes them, wherever the tasks lie; for comparisons with
    /// METR's tables, not for display. `None` without a curve.
    pub formula: Option<Formula>,
}

/// Both ends of an interval of a horizon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReadingInterval {
    /// The lower end.
    pub lower: Reading,
    /// The upper end.
    pub upper: Reading,
    /// The confidence.
    pub confidence: Level,
}

/// What METR's formulas give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Formula {
    /// `2^((ln(p / (1 - p)) - intercept) / slope)`, in minutes.
    pub minutes: f64,
    /// The median of the draws.
    pub median: Option<f64>,
    /// The outer points of the draws that have a curve; those of one class are left out.
    pub interval: Option<Interval>,
}

/// What became of the draws of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DrawCounts {
    /// All.
    pub draws: u64,
    /// With a curve that falls with length.
    pub falling: u64,
    /// With a curve that does not.
    pub not_falling: u64,
    /// With failures only.
    pub all_failed: u64,
    /// With successes only.
    pub all_succeeded: u64,
    /// Without a penalty: successes and failures did not overlap.
    pub separated: u64,
    /// In which it has no run.
    pub absent: u64,
    /// Where no fit was found.
    pub no_convergence: u64,
}

/// Puts together what is known of each model, in the order of the data set's models.
///
/// Intervals are percentiles of the draws (linear interpolation, type 7) at half the error on either side. For
/// display a draw of failures alone counts as a horizon of zero and one of successes alone as an infinite one; a
/// draw in which success does not fall with length counts as zero for the lower end and as infinite for the upper, since
/// it bounds nothing. METR leaves the former out and takes the formula's number for the latter; see
/// [`HorizonEstimate::formula`]. Percentile intervals are rough below some twenty families.
pub fn estimate(
    analysis: &Analysis<'_>,
    draws: &[Draw],
    levels: &[Level],
    confidence: Level,
) -> Vec<ModelEstimate> {
    let models = analysis.data.models.iter().zip(&analysis.models).enumerate();
    let of_model = |(at, (model, fitted))| {
        let drawn: Vec<&Drawn> = draws.iter().filter_map(|draw| draw.models.get(at)).collect();
        Subject {
            analysis,
            model,
            fitted,
            drawn,
            confidence,
        }
        .estimate(levels)
    };
    models.map(of_model).collect()
}

/// One model with its draws.
struct Subject<'a> {
    analysis: &'a Analysis<'a>,
    model: &'a Model,
    fitted: &'a Fitted,
    drawn: Vec<&'a Drawn>,
    confidence: Level,
}

impl Subject<'_> {
    fn estimate(&self, levels: &[Level]) -> ModelEstimate {
        let everything = Bucket {
            from: 0.0,
            to: f64::INFINITY,
        };
        let all = self.bucket(everything, |means| means.average);
        let of_bucket = |at: usize| self.bucket(BUCKETS[at], |means| means.buckets[at]);
        let curve = self.fitted.curve.ok();
        ModelEstimate {
            model: self.model.name.clone(),
            runs: all.runs,
            successes: all.successes,
            tasks: all.tasks,
            families: all.families,
            lengths: self.fitted.lengths,
            average: all.mean,
            curve,
            no_curve: self.fitted.curve.err(),
            cross_entropy: curve.and_then(|curve| curve.cross_entropy(&self.fitted.points)),
            horizons: levels.iter().map(|level| self.horizon(*level)).collect(),
            buckets: (0..BUCKETS.len())
                .map(of_bucket)
                .filter(|bucket| bucket.runs > 0)
                .collect(),
            draws: self.counts(),
        }
    }

    fn horizon(&self, level: Level) -> HorizonEstimate {
        let interval = match (self.fitted.order, self.fitted.curve) {
            (Order::Mixed, Ok(curve)) if curve.slope < 0.0 => self.reading_interval(level),
            _ => None,
        };
        HorizonEstimate {
            level,
            point: self.fitted.horizon(level),
            interval,
            formula: self.fitted.curve.ok().map(|curve| self.formula(curve, level)),
        }
    }

    fn reading_interval(&self, level: Level) -> Option<ReadingInterval> {
        let (mut low, mut high): (Vec<f64>, Vec<f64>) = self
            .drawn
            .iter()
            .filter_map(|drawn| match drawn.curve {
                Ok(curve) if curve.slope < 0.0 => Some((curve.minutes_at(level), curve.minutes_at(level))),
                Ok(_) | Err(NoCurve::Reversed | NoCurve::NoConvergence) => Some((0.0, f64::INFINITY)),
                Err(NoCurve::AllFailed) => Some((0.0, 0.0)),
                Err(NoCurve::AllSucceeded) => Some((f64::INFINITY, f64::INFINITY)),
                Err(NoCurve::Separated {
                    longest_success,
                    shortest_failure,
                }) => Some((longest_success, shortest_failure)),
                // Of a draw without a run of the model nothing can be said.
                Err(NoCurve::NoRuns) => None,
            })
            .unzip();
        let tail = self.confidence.complement().get() / 2.0;
        Some(ReadingInterval {
            lower: self.fitted.lengths.read(percentile(&mut low, tail)?),
            upper: self.fitted.lengths.read(percentile(&mut high, 1.0 - tail)?),
            confidence: self.confidence,
        })
    }

    fn formula(&self, curve: Curve, level: Level) -> Formula {
        let minutes = |drawn: &&Drawn| drawn.curve.ok().map(|curve| curve.minutes_at(level));
        let mut minutes: Vec<f64> = self.drawn.iter().filter_map(minutes).collect();
        Formula {
            minutes: curve.minutes_at(level),
            median: percentile(&mut minutes, 0.5),
            interval: percentile_interval(&mut minutes, self.confidence),
        }
    }

    fn bucket(&self, bucket: Bucket, of: impl Fn(&Means) -> Option<f64>) -> BucketEstimate {
        let data = self.analysis.data;
        let cheats = self.analysis.settings.cheats;
        let inside = |cell: &&super::data::Cell| bucket.holds(data.tasks[cell.task].minutes);
        let cells: Vec<_> = self.model.cells.iter().filter(inside).collect();
        let mut families: Vec<usize> = cells.iter().map(|cell| data.tasks[cell.task].family).collect();
        families.sort_unstable();
        families.dedup();
        let mut means: Vec<f64> = self.drawn.iter().filter_map(|drawn| of(&drawn.means)).collect();
        let families = families.len() as u64;
        let value = of(&self.fitted.means).unwrap_or(f64::NAN);
        // Draws of outcomes that are all alike show no spread, which is not certainty.
        let spread = percentile_interval(&mut means, self.confidence)
            .filter(|found| value > 0.0 && value < 1.0 && found.upper - found.lower > 1e-12);
        let interval = if self.drawn.is_empty() {
            None
        } else {
            spread.or_else(|| alike(value, families, self.confidence))
        };
        BucketEstimate {
            bucket,
            runs: cells.iter().map(|cell| cell.runs).sum(),
            successes: cells.iter().map(|cell| cell.successes(cheats)).sum(),
            tasks: cells.len() as u64,
            families,
            mean: MeanEstimate { value, interval },
        }
    }

    fn counts(&self) -> DrawCounts {
        let mut counts = DrawCounts::default();
        for drawn in &self.drawn {
            counts.draws += 1;
            *match drawn.curve {
                Ok(curve) if curve.slope < 0.0 => &mut counts.falling,
                Ok(_) | Err(NoCurve::Reversed) => &mut counts.not_falling,
                Err(NoCurve::AllFailed) => &mut counts.all_failed,
                Err(NoCurve::AllSucceeded) => &mut counts.all_succeeded,
                Err(NoCurve::Separated { .. }) => &mut counts.separated,
                Err(NoCurve::NoRuns) => &mut counts.absent,
                Err(NoCurve::NoConvergence) => &mut counts.no_convergence,
            } += 1;
        }
        counts
    }
}

/// Returns the interval between the outer percentiles of draws, sorted on the way; `None` of no draws.
///
/// The percentiles at `(1 - confidence) / 2` on either side, by linear interpolation (Hyndman and Fan's type 7,
/// numpy's default). Infinite values are values. B. Efron, "Bootstrap methods", Annals of Statistics 7 (1979), 1-26.
pub fn percentile_interval(draws: &mut [f64], confidence: Level) -> Option<Interval> {
    let tail = confidence.complement().get() / 2.0;
    Some(Interval {
        lower: percentile(draws, tail)?,
        upper: percentile(draws, 1.0 - tail)?,
        confidence,
        side: Side::Two,
        method: Method::HierarchicalBootstrap,
    })
}

/// Returns the percentile of values by linear interpolation (Hyndman and Fan's type 7, numpy's default); `None` of
/// nothing. Infinite values are values.
pub(super) fn percentile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let at = share * values.len().checked_sub(1)? as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position in the list"
    )]
    let below = at.floor() as usize;
    let (low, high) = (*values.get(below)?, *values.get(below + 1).or(values.last())?);
    let part = at - at.floor();
    // Also keeps two equal infinities from giving no number.
    if part == 0.0 || low.total_cmp(&high).is_eq() {
        return Some(low);
    }
    Some(low + part * (high - low))
}

/// Returns the interval where all outcomes are alike: Clopper and Pearson's, with families as units. A fraction of the
/// families lies between two counts; each end is that of the count on its side.
fn alike(value: f64, families: u64, confidence: Level) -> Option<Interval> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a mean between 0 and 1 times a count"
    )]
    let whole = |count: f64| (count as u64).min(families);
    let exact = |successes| clopper_pearson(&Rate::of(successes, families).ok()?, confidence, Side::Two).ok();
    let successes = value * families as f64;
    let (low, high) = (exact(whole(successes.floor()))?, exact(whole(successes.ceil()))?);
    Some(Interval {
        upper: high.upper,
        ..low
    })
}
