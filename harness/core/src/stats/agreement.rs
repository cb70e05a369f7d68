//! Agreement of labellers: how far labels are more than chance.
//!
//! Owns: kappa and its relatives for two labellers, alpha and Fleiss' kappa for more, with intervals. Must not: say
//! which labels are right (see [`misclassification`](super::misclassification)).
//!
//! Kappa falls when one label is rare even if the labellers hardly ever differ ("prevalence paradox"): where spurious
//! failures are rare, report AC1 or alpha beside it.

mod several;

use serde::Serialize;

pub use several::{Ratings, fleiss_kappa, krippendorff_alpha};

use super::interval::{clopper_pearson, two_sided, wilson};
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
        StatsError::check_enough("agreement", "units with two labels", 1, units)?;
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
            let z = two_sided(confidence)?;
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
