//! Agreement of labellers: how far labels are more than chance.
//!
//! Owns: kappa and its relatives for two labellers, alpha and Fleiss' kappa for more, with intervals. Must not: say
//! which labels are right (see [`misclassification`](super::misclassification)).
//!
//! Kappa falls when one label is rare even if the labellers hardly ever differ ("prevalence paradox"): where spurious
//! failures are rare, report AC1 or alpha beside it.

use serde::Serialize;

use super::interval::{clopper_pearson, wilson};
use super::special::{normal_quantile, student_t_quantile};
use super::{Estimate, Interval, Level, Method, Rate, Side, StatsError};

#[cfg(test)]
mod tests;

/// More labels than anybody tells apart; a bound for tables that come from outside.
const MOST_CATEGORIES: usize = 1_000;

/// How two labellers labelled the same units: rows are the labels of the first, columns those of the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    counts: Vec<Vec<u64>>,
    units: u64,
}

impl Confusion {
    /// Makes a table of counts.
    ///
    /// # Errors
    /// It is not square, has fewer than two labels or too many, or is empty.
    pub fn new(counts: Vec<Vec<u64>>) -> Result<Self, StatsError> {
        check_categories(counts.len())?;
        for row in &counts {
            if row.len() != counts.len() {
                return Err(StatsError::Lengths {
                    what: "rows and columns of a table of labels",
                    left: counts.len(),
                    right: row.len(),
                });
            }
        }
        let sum = counts
            .iter()
            .flatten()
            .try_fold(0_u64, |sum, count| sum.checked_add(*count));
        let Some(units) = sum.filter(|sum| *sum <= 1 << 52) else {
            return Err(StatsError::Undefined {
                what: "agreement",
                why: "there are more units than can be counted exactly",
            });
        };
        if units == 0 {
            return Err(StatsError::TooFew {
                what: "agreement",
                unit: "units with two labels",
                needed: 1,
                found: 0,
            });
        }
        Ok(Self { counts, units })
    }

    /// Counts the labels of two labellers of the same units, in the same order. Labels are numbers from 0.
    ///
    /// # Errors
    /// The lists differ in length or are empty, or a label is not below `categories`.
    pub fn of_labels(first: &[usize], second: &[usize], categories: usize) -> Result<Self, StatsError> {
        check_categories(categories)?;
        if first.len() != second.len() {
            return Err(StatsError::Lengths {
                what: "labels of two labellers",
                left: first.len(),
                right: second.len(),
            });
        }
        let mut counts = vec![vec![0; categories]; categories];
        for (a, b) in first.iter().zip(second) {
            check_label((*a).max(*b), categories)?;
            counts[*a][*b] += 1;
        }
        Self::new(counts)
    }

    /// Returns how many units both labelled: the denominator.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Returns on how many of the units the two agree.
    ///
    /// # Errors
    /// None for a table that was checked.
    pub fn agreement(&self) -> Result<Rate, StatsError> {
        let same = (0..self.counts.len()).map(|at| self.counts[at][at]).sum();
        Rate::of(same, self.units)
    }

    fn shares(&self) -> Shares {
        let total = self.units as f64;
        let cells: Vec<Vec<f64>> = self
            .counts
            .iter()
            .map(|row| row.iter().map(|count| *count as f64 / total).collect())
            .collect();
        let rows = cells.iter().map(|row| row.iter().sum()).collect();
        let columns = (0..cells.len())
            .map(|at| cells.iter().map(|row| row[at]).sum())
            .collect();
        Shares {
            cells,
            rows,
            columns,
            total,
        }
    }
}

/// A table as shares of its total.
struct Shares {
    cells: Vec<Vec<f64>>,
    rows: Vec<f64>,
    columns: Vec<f64>,
    total: f64,
}

impl Shares {
    /// Adds up a function of each cell: its row, its column, its share.
    fn sum(&self, of: impl Fn(usize, usize, f64) -> f64) -> f64 {
        let cells = self.cells.iter().enumerate();
        cells
            .flat_map(|(i, row)| row.iter().enumerate().map(move |(j, share)| (i, j, *share)))
            .map(|(i, j, share)| of(i, j, share))
            .sum()
    }

    fn same(&self) -> f64 {
        self.sum(|i, j, share| if i == j { share } else { 0.0 })
    }
}

fn check_categories(categories: usize) -> Result<(), StatsError> {
    if (2..=MOST_CATEGORIES).contains(&categories) {
        return Ok(());
    }
    Err(StatsError::OutOfRange {
        what: "the number of labels to choose from",
        value: categories as f64,
        least: 2.0,
        most: MOST_CATEGORIES as f64,
    })
}

fn check_label(label: usize, categories: usize) -> Result<(), StatsError> {
    if label < categories {
        return Ok(());
    }
    Err(StatsError::OutOfRange {
        what: "a label",
        value: label as f64,
        least: 0.0,
        most: (categories - 1) as f64,
    })
}

/// How much two different labels count as agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Not at all: labels without an order.
    None,
    /// `1 - |i - j| / (q - 1)`: labels in order.
    Linear,
    /// `1 - (i - j)² / (q - 1)²`: labels in order, large differences count more.
    Quadratic,
}

impl Weights {
    fn of(self, i: usize, j: usize, categories: usize) -> f64 {
        let apart = i.abs_diff(j) as f64 / (categories - 1) as f64;
        match self {
            Self::None if i == j => 1.0,
            Self::None => 0.0,
            Self::Linear => 1.0 - apart,
            Self::Quadratic => 1.0 - apart * apart,
        }
    }
}

/// Cohen's kappa with both of its standard errors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kappa {
    /// Kappa with its interval; the denominator is the number of units that both labelled.
    pub estimate: Estimate,
    /// Of the estimate: for intervals.
    pub standard_error: f64,
    /// If agreement were chance: for a test of that, never for intervals.
    pub standard_error_if_chance: f64,
}

/// Returns Cohen's kappa of two labellers, plain or weighted.
///
/// `kappa = (po - pe) / (1 - pe)` with the observed agreement `po = sum w_ij p_ij`, the agreement by chance
/// `pe = sum w_ij p_i. p_.j`, shares `p` of all units and weights `w` (1 on the diagonal). With
/// `v_ij = sum_k p_.k w_ik + sum_k p_k. w_kj` its variance over `n` units is
/// `(sum p_ij (w_ij - v_ij (1 - kappa))² - (kappa - pe (1 - kappa))²) / (n (1 - pe)²)`. Valid for large samples (tens of
/// units, no expected cell near 0). Where the labellers never differ that variance is 0; the lower end is then that of
/// Clopper and Pearson for the agreement. J. L. Fleiss, J. Cohen, B. S. Everitt, "Large sample standard errors of
/// kappa and weighted kappa", Psychological Bulletin 72 (1969), 323-327.
///
/// # Errors
/// Both labellers only ever used one and the same label.
pub fn cohen_kappa(table: &Confusion, weights: Weights, confidence: Level) -> Result<Kappa, StatsError> {
    let shares = table.shares();
    let q = table.counts.len();
    let w = |i: usize, j: usize| weights.of(i, j, q);
    let of_row: Vec<f64> = (0..q)
        .map(|i| (0..q).map(|j| shares.columns[j] * w(i, j)).sum())
        .collect();
    let of_column: Vec<f64> = (0..q)
        .map(|j| (0..q).map(|i| shares.rows[i] * w(i, j)).sum())
        .collect();
    let po = shares.sum(|i, j, share| w(i, j) * share);
    let pe: f64 = (0..q).map(|i| shares.rows[i] * of_row[i]).sum();
    if one_label_only(table) {
        return Err(one_label("Cohen's kappa"));
    }
    let kappa = (po - pe) / (1.0 - pe);
    let spread = shares.sum(|i, j, share| {
        let off = w(i, j) - (of_row[i] + of_column[j]) * (1.0 - kappa);
        share * off * off
    });
    let chance = shares.sum(|i, j, _| {
        let off = w(i, j) - (of_row[i] + of_column[j]);
        shares.rows[i] * shares.columns[j] * off * off
    });
    let centre = kappa - pe * (1.0 - kappa);
    let scale = shares.total * (1.0 - pe) * (1.0 - pe);
    let variance = ((spread - centre * centre) / scale).max(0.0);
    let found = Coefficient {
        value: kappa,
        variance,
        chance: pe,
        method: Method::FleissCohenEveritt,
    };
    Ok(Kappa {
        estimate: found.estimate(table, confidence)?,
        standard_error: variance.sqrt(),
        standard_error_if_chance: ((chance - pe * pe) / scale).max(0.0).sqrt(),
    })
}

/// Returns Gwet's AC1 of two labellers: agreement beyond chance that does not fall when a label is rare.
///
/// `AC1 = (po - pe) / (1 - pe)` with `pe = sum m_k (1 - m_k) / (q - 1)` over the `q` labels and the mean share
/// `m_k = (p_k. + p_.k) / 2` of a label. Large-sample variance over `n` units:
/// `(po (1 - po) - 4 (1 - AC1) (A - po pe) + 4 (1 - AC1)² (B - pe²)) / (n (1 - pe)²)`, with
/// `A = sum p_kk (1 - m_k) / (q - 1)` and `B = sum p_kl (1 - (m_k + m_l) / 2)² / (q - 1)²`. Valid like kappa's. K. L.
/// Gwet, "Computing inter-rater reliability and its variance in the presence of high agreement", British Journal of
/// Mathematical and Statistical Psychology 61 (2008), 29-48.
///
/// # Errors
/// None for a table that was checked, but those of the intervals.
pub fn gwet_ac1(table: &Confusion, confidence: Level) -> Result<Estimate, StatsError> {
    let shares = table.shares();
    let others = (table.counts.len() - 1) as f64;
    let mean: Vec<f64> = shares
        .rows
        .iter()
        .zip(&shares.columns)
        .map(|(row, column)| f64::midpoint(*row, *column))
        .collect();
    let po = shares.same();
    let pe = mean.iter().map(|m| m * (1.0 - m)).sum::<f64>() / others;
    let value = (po - pe) / (1.0 - pe);
    let off = 1.0 - value;
    let a = shares.sum(|i, j, share| if i == j { share * (1.0 - mean[i]) } else { 0.0 }) / others;
    let b = shares.sum(|i, j, share| {
        let rest = 1.0 - f64::midpoint(mean[i], mean[j]);
        share * rest * rest
    }) / (others * others);
    let spread = po * (1.0 - po) - 4.0 * off * (a - po * pe) + 4.0 * off * off * (b - pe * pe);
    let found = Coefficient {
        value,
        variance: (spread / (shares.total * (1.0 - pe) * (1.0 - pe))).max(0.0),
        chance: pe,
        method: Method::Gwet,
    };
    found.estimate(table, confidence)
}

/// Returns the prevalence- and bias-adjusted kappa of two labellers.
///
/// `PABAK = (q po - 1) / (q - 1)`: kappa if all `q` labels were equally common. Only a rescaled share of agreement, so
/// its interval is Wilson's of that share. T. Byrt, J. Bishop, J. B. Carlin, "Bias, prevalence and kappa", Journal of
/// Clinical Epidemiology 46 (1993), 423-429.
///
/// # Errors
/// None for a table that was checked, but those of the interval.
pub fn pabak(table: &Confusion, confidence: Level) -> Result<Estimate, StatsError> {
    let q = table.counts.len() as f64;
    let scaled = |share: f64| (q * share - 1.0) / (q - 1.0);
    let agreement = table.agreement()?;
    let interval = wilson(&agreement, confidence, Side::Two)?;
    Ok(Estimate {
        value: scaled(agreement.successes() as f64 / agreement.units() as f64),
        interval: Interval {
            lower: scaled(interval.lower),
            upper: scaled(interval.upper),
            ..interval
        },
        units: table.units,
    })
}

/// A chance-corrected coefficient with its large-sample variance.
struct Coefficient {
    value: f64,
    variance: f64,
    /// The agreement that chance would give.
    chance: f64,
    method: Method,
}

impl Coefficient {
    fn estimate(&self, table: &Confusion, confidence: Level) -> Result<Estimate, StatsError> {
        let agreement = table.agreement()?;
        let interval = if agreement.failures() == 0 {
            perfect(&agreement, self.chance, confidence)?
        } else {
            let z = normal_quantile(f64::midpoint(1.0, confidence.get()))?;
            let half = z * self.variance.sqrt();
            Interval {
                lower: (self.value - half).max(-1.0),
                upper: (self.value + half).min(1.0),
                confidence,
                side: Side::Two,
                method: self.method,
            }
        };
        Ok(Estimate {
            value: self.value,
            interval,
            units: table.units,
        })
    }
}

/// Returns the interval of a coefficient of 1. Its large-sample variance is 0, but a few units that agree don't prove
/// that all would: the lower end of their share is carried over to the coefficient.
fn perfect(agreement: &Rate, chance: f64, confidence: Level) -> Result<Interval, StatsError> {
    let shared = clopper_pearson(agreement, confidence, Side::Two)?;
    Ok(Interval {
        lower: ((shared.lower - chance) / (1.0 - chance)).max(-1.0),
        upper: 1.0,
        ..shared
    })
}

/// Whether all units are in one cell of the diagonal, where chance explains everything.
fn one_label_only(table: &Confusion) -> bool {
    (0..table.counts.len()).any(|at| table.counts[at][at] == table.units)
}

fn one_label(what: &'static str) -> StatsError {
    StatsError::Undefined {
        what,
        why: "only one label was ever used, so nothing can be told from chance",
    }
}

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
    if units < 2 {
        return Err(StatsError::TooFew {
            what,
            unit: "units with enough labels",
            needed: 2,
            found: units,
        });
    }
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
