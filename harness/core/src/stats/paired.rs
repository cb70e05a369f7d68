//! Comparisons over the same samples: McNemar, sign flips, differences of paired proportions.
//!
//! Owns: two results for each sample. Must not: compare groups that share none (see [`independent`](super::independent)).
//!
//! Differences are those of A from B. A pair is one sample (or one task's mean): pairs must be independent of each other.
//! The interval of the difference comes first in a report, the p-value second.

mod sign_flip;

use serde::Serialize;

pub use sign_flip::{Alternative, Flips, SignFlip, SignFlips, Wilcoxon, sign_flip, wilcoxon};

use super::independent::score_end;
use super::interval::{two_sided, wilson};
use super::special::{beta_sf, binomial_cdf, binomial_pmf, chi_squared_sf};
use super::standard_error::{Mean, plain};
use super::{Credence, Estimate, Interval, Level, Method, PValue, Rate, Side, StatsError};

/// How often A and B succeeded on the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PairedCounts {
    /// Both succeeded.
    pub both: u64,
    /// Only A did.
    pub only_a: u64,
    /// Only B did.
    pub only_b: u64,
    /// Neither did.
    pub neither: u64,
}

impl PairedCounts {
    /// Returns the number of pairs.
    pub fn pairs(&self) -> u64 {
        self.both
            .saturating_add(self.only_a)
            .saturating_add(self.only_b)
            .saturating_add(self.neither)
    }

    fn table(&self) -> Result<Table, StatsError> {
        StatsError::check_enough("a difference of paired rates", "pairs", 1, self.pairs())?;
        Ok(Table {
            a: self.both as f64,
            b: self.only_a as f64,
            c: self.only_b as f64,
            d: self.neither as f64,
            n: self.pairs() as f64,
            pairs: self.pairs(),
        })
    }
}

/// The counts in the letters of the literature.
#[derive(Clone, Copy)]
struct Table {
    a: f64,
    b: f64,
    c: f64,
    d: f64,
    n: f64,
    pairs: u64,
}

impl Table {
    fn difference(&self) -> f64 {
        (self.b - self.c) / self.n
    }

    fn estimate(&self, (lower, upper): (f64, f64), confidence: Level, method: Method) -> Estimate {
        Estimate {
            value: self.difference(),
            interval: Interval {
                lower: lower.clamp(-1.0, 1.0),
                upper: upper.clamp(-1.0, 1.0),
                confidence,
                side: Side::Two,
                method,
            },
            units: self.pairs,
        }
    }
}

/// A test whose statistic is chi-squared with one degree of freedom.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChiSquared {
    /// The statistic.
    pub statistic: f64,
    /// Its p-value.
    pub p: PValue,
}

/// McNemar's test in its four forms; the exact one and the mid-p one need no large numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Exact: never rejects more often than it says.
    pub exact: PValue,
    /// With half the probability of what was seen: nearer to the nominal error, sometimes a little above it.
    pub mid: PValue,
    /// `(b - c)²/(b + c)`; `None` if A and B never differ.
    pub asymptotic: Option<ChiSquared>,
    /// `(|b - c| - 1)²/(b + c)`, conservative; `None` likewise.
    pub corrected: Option<ChiSquared>,
}

/// Returns McNemar's test of equal rates of A and B over the same samples, two-sided.
///
/// With `b` pairs on which only A succeeded, `c` only B, and `X` binomial of `b + c` trials at 1/2: exact
/// `min(1, 2 P(X <= min(b, c)))`; mid-p the same less `P(X = min(b, c))`, and `1 - P(X = b)/2` where `b = c`. Pairs on
/// which both do the same say nothing. Q. McNemar, "Note on the sampling error of the difference between correlated
/// proportions or percentages", Psychometrika 12 (1947), 153-157; M. W. Fagerland, S. Lydersen and P. Laake, "The McNemar
/// test for binary matched-pairs data", BMC Medical Research Methodology 13:91 (2013).
///
/// # Errors
/// There are over 10¹³ pairs.
pub fn mcnemar(counts: &PairedCounts) -> Result<McNemar, StatsError> {
    let least = counts.only_a.min(counts.only_b);
    let differing = counts.only_a.saturating_add(counts.only_b);
    let seen = binomial_pmf(least, differing, 0.5)?;
    let exact = (2.0 * binomial_cdf(least, differing, 0.5)?).min(1.0);
    let mid = if counts.only_a == counts.only_b {
        1.0 - seen / 2.0
    } else {
        exact - seen
    };
    let p = |value: f64, test| PValue {
        value: value.clamp(f64::MIN_POSITIVE, 1.0),
        test,
    };
    let chi_squared = |less: f64, test| -> Result<Option<ChiSquared>, StatsError> {
        if differing == 0 {
            return Ok(None);
        }
        let distance = (counts.only_a.abs_diff(counts.only_b) as f64 - less).max(0.0);
        let statistic = distance * distance / differing as f64;
        let p = p(chi_squared_sf(statistic, 1.0)?, test);
        Ok(Some(ChiSquared { statistic, p }))
    };
    Ok(McNemar {
        exact: p(exact, "McNemar's test, exact"),
        mid: p(mid, "McNemar's test, mid-p"),
        asymptotic: chi_squared(0.0, "McNemar's test, chi-squared")?,
        corrected: chi_squared(1.0, "McNemar's test, chi-squared with continuity correction")?,
    })
}

/// Returns the difference of paired rates with Newcombe's interval: the default.
///
/// With Wilson's intervals `(l, u)` of both rates and the correlation `φ` of the pairs: lower end
/// `d - √((p₁-l₁)² - 2φ(p₁-l₁)(u₂-p₂) + (u₂-p₂)²)`, upper end alike with `u₁ - p₁` and `p₂ - l₂`. `φ` is
/// `(ad - bc)/√((a+b)(c+d)(a+c)(b+d))`, its numerator less n/2 if above it and 0 if between 0 and n/2; 0 if a margin is 0.
/// R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
/// Statistics in Medicine 17 (1998), 2635-2650, method 10.
///
/// # Errors
/// There is no pair.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, paired::{PairedCounts, newcombe}};
/// let counts = PairedCounts { both: 20, only_a: 9, only_b: 2, neither: 19 };
/// let found = newcombe(&counts, Level::P95)?;
/// let ends = found.interval;
/// assert_eq!(format!("{:.2} ({:.3} to {:.3})", found.value, ends.lower, ends.upper), "0.14 (0.010 to 0.261)");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn newcombe(counts: &PairedCounts, confidence: Level) -> Result<Estimate, StatsError> {
    let table = counts.table()?;
    let Table { a, b, c, d, n, .. } = table;
    let one = wilson(
        &Rate::of(counts.both.saturating_add(counts.only_a), counts.pairs())?,
        confidence,
        Side::Two,
    )?;
    let two = wilson(
        &Rate::of(counts.both.saturating_add(counts.only_b), counts.pairs())?,
        confidence,
        Side::Two,
    )?;
    let (p1, p2) = ((a + b) / n, (a + c) / n);
    let product = a * d - b * c;
    let numerator = if product > n / 2.0 {
        product - n / 2.0
    } else {
        product.min(0.0)
    };
    let margins = ((a + b) * (c + d)).sqrt() * ((a + c) * (b + d)).sqrt();
    let phi = if margins > 0.0 { numerator / margins } else { 0.0 };
    let reach = |left: f64, right: f64| {
        (left * left - 2.0 * phi * left * right + right * right)
            .max(0.0)
            .sqrt()
    };
    let difference = table.difference();
    let ends = (
        difference - reach(p1 - one.lower, two.upper - p2),
        difference + reach(one.upper - p1, p2 - two.lower),
    );
    Ok(table.estimate(ends, confidence, Method::NewcombePaired))
}

/// Returns the difference of paired rates with Tango's score interval.
///
/// It holds every `t` with `|b - c - nt| <= z √(n (2q + t(1 - t)))`, `q` the most likely share of pairs on which only B
/// succeeds: the larger root of `2n q² + (-b - c + (2n - b + c) t) q - c t (1 - t)`. Good also for small numbers and for
/// no differing pair. T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
/// paired-sample design", Statistics in Medicine 17 (1998), 891-908.
///
/// # Errors
/// There is no pair.
pub fn tango(counts: &PairedCounts, confidence: Level) -> Result<Estimate, StatsError> {
    let table = counts.table()?;
    let z = two_sided(confidence)?;
    let Table { b, c, n, .. } = table;
    let outside = |shift: f64| {
        let linear = (2.0 * n - b + c) * shift - b - c;
        let constant = -c * shift * (1.0 - shift);
        let root = (linear * linear - 8.0 * n * constant).max(0.0).sqrt();
        // Of the two forms of the root the one without a difference of near numbers.
        let q = if linear <= 0.0 {
            (root - linear) / (4.0 * n)
        } else {
            -2.0 * constant / (root + linear)
        };
        let variance = (n * (2.0 * q + shift * (1.0 - shift))).max(0.0);
        (b - c - n * shift).abs() > z * variance.sqrt()
    };
    let end = |edge| score_end(table.difference(), edge, outside);
    Ok(table.estimate((end(-1.0), end(1.0)), confidence, Method::Tango))
}

/// Returns the difference of paired rates with the interval by Agresti and Min.
///
/// Wald's after half a pair is added to each of the four counts; the value is the plain difference. A. Agresti and
/// Y. Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in Medicine 24 (2005),
/// 729-740.
///
/// # Errors
/// There is no pair.
pub fn agresti_min(counts: &PairedCounts, confidence: Level) -> Result<Estimate, StatsError> {
    let table = counts.table()?;
    let more = Table {
        b: table.b + 0.5,
        c: table.c + 0.5,
        n: table.n + 2.0,
        ..table
    };
    Ok(table.estimate(wald_ends(&more, confidence)?, confidence, Method::AgrestiMin))
}

/// Returns the difference of paired rates with Wald's interval: for comparison with what others print.
///
/// `d ± z √(b + c - (b - c)²/n)/n`. Too short for small numbers, and without width if A and B never differ.
///
/// # Errors
/// There is no pair.
pub fn wald(counts: &PairedCounts, confidence: Level) -> Result<Estimate, StatsError> {
    let table = counts.table()?;
    Ok(table.estimate(wald_ends(&table, confidence)?, confidence, Method::Wald))
}

fn wald_ends(table: &Table, confidence: Level) -> Result<(f64, f64), StatsError> {
    let Table { b, c, n, .. } = *table;
    let half = two_sided(confidence)? * (b + c - (b - c) * (b - c) / n).max(0.0).sqrt() / n;
    Ok((table.difference() - half, table.difference() + half))
}

/// Returns the probability that A's rate is the higher one, with a uniform prior on the four kinds of pairs.
///
/// `1 - I_{1/2}(b + 1, c + 1)`: with a Dirichlet(1, 1, 1, 1) prior the share of A among differing pairs is
/// Beta(b + 1, c + 1).
///
/// # Errors
/// There are over 10¹³ pairs.
pub fn probability_higher(counts: &PairedCounts) -> Result<Credence, StatsError> {
    let (b, c) = (counts.only_a as f64 + 1.0, counts.only_b as f64 + 1.0);
    Ok(Credence {
        probability: beta_sf(b, c, 0.5)?,
        claim: "A's rate is higher than B's on the same samples",
        prior: "uniform on the four kinds of pairs",
    })
}

/// Returns A's scores less B's, sample by sample.
///
/// # Errors
/// A score is not finite, or the lists differ in length.
pub fn differences(a: &[f64], b: &[f64]) -> Result<Vec<f64>, StatsError> {
    StatsError::check_finite("A's scores", a)?;
    StatsError::check_finite("B's scores", b)?;
    if a.len() != b.len() {
        return Err(StatsError::Lengths {
            what: "scores of A and of B",
            left: a.len(),
            right: b.len(),
        });
    }
    Ok(a.iter().zip(b).map(|(a, b)| a - b).collect())
}

/// The mean difference of scores on the same samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PairedDifference {
    /// The mean difference with its standard error over pairs.
    pub difference: Mean,
    /// What the standard error would be if the samples were not the same.
    pub unpaired_standard_error: f64,
    /// The correlation of the scores; `None` if those of A or of B are all equal.
    pub correlation: Option<f64>,
}

/// Returns the mean difference of A's scores from B's, and what pairing them gains.
///
/// With `d = a - b`: mean of `d` and `s_d/√n`; unpaired `√(s_a²/n + s_b²/n)`. One score per sample and independent samples;
/// for epochs or families give [`differences`] to [`clustered`](super::standard_error::clustered). E. Miller, "Adding
/// error bars to evals" (2024), section 4.2.
///
/// # Errors
/// A score is not finite, the lists differ in length, or there are fewer than two samples.
pub fn paired_difference(a: &[f64], b: &[f64]) -> Result<PairedDifference, StatsError> {
    let difference = plain(&differences(a, b)?)?;
    let (of_a, of_b) = (plain(a)?, plain(b)?);
    let n = a.len() as f64;
    let product = of_a.standard_error * of_b.standard_error;
    let together: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| (a - of_a.value) * (b - of_b.value))
        .sum();
    Ok(PairedDifference {
        difference,
        unpaired_standard_error: of_a.standard_error.hypot(of_b.standard_error),
        correlation: (product > 0.0).then(|| (together / (n - 1.0) / n / product).clamp(-1.0, 1.0)),
    })
}

#[cfg(test)]
mod tests;
