//! Several labellers, with gaps: Krippendorff's alpha and Fleiss' kappa.

use super::{check_categories, check_label, one_label, perfect};
use crate::stats::special::student_t_quantile;
use crate::stats::{Estimate, Interval, Level, Method, Rate, Side, StatsError};

/// What several labellers said about the same units, with gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ratings {
    /// How often each label was given to each unit.
    counts: Vec<Vec<u64>>,
    labellers: u64,
}

impl Ratings {
    /// Counts labels. Each list is one labeller's, over the same units in the same order; labels are numbers from 0.
    ///
    /// # Errors
    /// There are fewer than two labellers, the lists differ in length, or a label is not below `categories`.
    pub fn new(by_labeller: &[Vec<Option<usize>>], categories: usize) -> Result<Self, StatsError> {
        check_categories(categories)?;
        let [first, _, ..] = by_labeller else {
            return Err(StatsError::TooFew {
                what: "agreement",
                unit: "labellers",
                needed: 2,
                found: by_labeller.len() as u64,
            });
        };
        let mut counts = vec![vec![0; categories]; first.len()];
        for labels in by_labeller {
            if labels.len() != first.len() {
                return Err(StatsError::Lengths {
                    what: "labels of several labellers",
                    left: first.len(),
                    right: labels.len(),
                });
            }
            for (unit, label) in counts.iter_mut().zip(labels) {
                if let Some(label) = *label {
                    check_label(label, categories)?;
                    unit[label] += 1;
                }
            }
        }
        Ok(Self {
            counts,
            labellers: by_labeller.len() as u64,
        })
    }

    /// Sums up the units with at least `least` labels.
    fn tallies(&self, least: u64) -> Vec<Tally<'_>> {
        self.counts
            .iter()
            .map(|counts| Tally {
                counts,
                labels: counts.iter().sum(),
            })
            .filter(|tally| tally.labels >= least)
            .collect()
    }
}

/// The labels of one unit.
struct Tally<'a> {
    counts: &'a [u64],
    labels: u64,
}

impl Tally<'_> {
    /// Returns the ordered pairs of different labels, each weighted by `1 / (labels - 1)`.
    fn disagreement(&self) -> f64 {
        let m = self.labels as f64;
        let same: f64 = self.counts.iter().map(|count| squared(*count)).sum();
        (m * m - same) / (m - 1.0)
    }
}

fn squared(count: u64) -> f64 {
    count as f64 * count as f64
}

/// What alpha and Fleiss' kappa are made of, so that one unit can be taken out.
#[derive(Clone)]
struct Totals {
    labels: Vec<u64>,
    all: u64,
    disagreement: f64,
}

impl Totals {
    fn of(tallies: &[Tally<'_>]) -> Self {
        let mut totals = Self {
            labels: vec![0; tallies.first().map_or(0, |tally| tally.counts.len())],
            all: 0,
            disagreement: 0.0,
        };
        for tally in tallies {
            totals.all += tally.labels;
            totals.disagreement += tally.disagreement();
            for (sum, count) in totals.labels.iter_mut().zip(tally.counts) {
                *sum += count;
            }
        }
        totals
    }

    fn without(&self, tally: &Tally<'_>) -> Self {
        let labels = self.labels.iter().zip(tally.counts);
        Self {
            labels: labels.map(|(sum, count)| sum - count).collect(),
            all: self.all - tally.labels,
            disagreement: self.disagreement - tally.disagreement(),
        }
    }

    /// Returns one minus the sum of squared shares of the labels: how often two random labels differ.
    fn diversity(&self) -> f64 {
        if self.labels.contains(&self.all) {
            return 0.0;
        }
        1.0 - self.labels.iter().map(|count| squared(*count)).sum::<f64>() / squared(self.all)
    }

    /// Returns alpha, or nothing if all labels are the same.
    fn alpha(&self) -> Option<f64> {
        let all = self.all as f64;
        let diversity = self.diversity();
        (diversity > 0.0).then(|| 1.0 - (all - 1.0) * self.disagreement / (all * all * diversity))
    }

    /// Returns Fleiss' kappa, or nothing if all labels are the same.
    fn fleiss(&self) -> Option<f64> {
        let diversity = self.diversity();
        (diversity > 0.0).then(|| 1.0 - self.disagreement / (self.all as f64 * diversity))
    }
}

/// Returns Krippendorff's alpha for labels without an order, of any number of labellers, with gaps.
///
/// `alpha = 1 - (n - 1) sum_{c != k} o_ck / sum_{c != k} n_c n_k`: each ordered pair of labels in a unit adds
/// `1 / (m_u - 1)` to the coincidences `o`, where `m_u` is the number of the unit's labels; `n_c` counts label `c` and
/// `n` all of them. Units with fewer than two labels are dropped, and the denominator of the estimate counts the
/// others. The interval is a jackknife over units with Student's t, approximate below some 20 units; where all agree,
/// Clopper-Pearson's for the share of units that do. Valid if labellers worked independently of each other. K.
/// Krippendorff, "Content Analysis", 4th edition (2018), chapter 12.
///
/// # Errors
/// Fewer than two units have two labels, or only one label was ever used, or only one unit holds another label, which
/// leaves nothing to compute an interval from.
pub fn krippendorff_alpha(ratings: &Ratings, confidence: Level) -> Result<Estimate, StatsError> {
    over_units(
        &ratings.tallies(2),
        Totals::alpha,
        "Krippendorff's alpha",
        confidence,
    )
}

/// Returns Fleiss' kappa of several labellers over the units that all of them labelled.
///
/// `kappa = (P - Pe) / (1 - Pe)`: `P` is the mean share of agreeing pairs of labels within a unit, `Pe` the sum of the
/// squared shares of the labels. The interval is a jackknife over units with Student's t. Valid if the units with gaps
/// are no special ones; otherwise take alpha, which uses them. J. L. Fleiss, "Measuring nominal scale agreement among
/// many raters", Psychological Bulletin 76 (1971), 378-382.
///
/// # Errors
/// As for [`krippendorff_alpha`], counting units that all labelled.
pub fn fleiss_kappa(ratings: &Ratings, confidence: Level) -> Result<Estimate, StatsError> {
    over_units(
        &ratings.tallies(ratings.labellers),
        Totals::fleiss,
        "Fleiss' kappa",
        confidence,
    )
}

fn over_units(
    tallies: &[Tally<'_>],
    statistic: impl Fn(&Totals) -> Option<f64>,
    what: &'static str,
    confidence: Level,
) -> Result<Estimate, StatsError> {
    let units = tallies.len() as u64;
    StatsError::check_enough(what, "units with enough labels", 2, units)?;
    let totals = Totals::of(tallies);
    let value = statistic(&totals).ok_or_else(|| one_label(what))?;
    let agreeing = tallies
        .iter()
        .filter(|tally| tally.counts.contains(&tally.labels))
        .count() as u64;
    let interval = if agreeing == units {
        perfect(&Rate::of(agreeing, units)?, 1.0 - totals.diversity(), confidence)?
    } else {
        let left: Option<Vec<f64>> = tallies
            .iter()
            .map(|tally| statistic(&totals.without(tally)))
            .collect();
        let left = left.ok_or(StatsError::Undefined {
            what: "an interval for the agreement",
            why: "without one of the units only one label is left; list the labels instead",
        })?;
        jackknife(value, &left, confidence)?
    };
    Ok(Estimate {
        value,
        interval,
        units,
    })
}

/// Returns a jackknife interval from the values without each unit in turn.
fn jackknife(value: f64, left: &[f64], confidence: Level) -> Result<Interval, StatsError> {
    let n = left.len() as f64;
    let mean = left.iter().sum::<f64>() / n;
    let spread: f64 = left.iter().map(|one| (one - mean) * (one - mean)).sum();
    let standard_error = ((n - 1.0) / n * spread).sqrt();
    let t = student_t_quantile(f64::midpoint(1.0, confidence.get()), n - 1.0)?;
    Ok(Interval {
        lower: (value - t * standard_error).max(-1.0),
        upper: (value + t * standard_error).min(1.0),
        confidence,
        side: Side::Two,
        method: Method::Jackknife,
    })
}
