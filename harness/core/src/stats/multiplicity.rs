//! Adjusted p-values for several comparisons: Bonferroni, Holm, Hochberg, Hommel, Benjamini-Hochberg, Benjamini-Yekutieli.
//!
//! Owns: families of tests. Must not: run tests, or choose which belong together.

use serde::Serialize;

use super::{PValue, StatsError};

/// How p-values of several comparisons are adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Correction {
    /// `m p`. Controls the probability of any false rejection; under any dependence. Never better than Holm's.
    Bonferroni,
    /// `max_{j <= i} (m - j + 1) p_(j)`: the default. Controls the same under any dependence. S. Holm, "A simple sequentially
    /// rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979), 65-70.
    Holm,
    /// `min_{j >= i} (m - j + 1) p_(j)`. Controls the same for independent or positively dependent tests. Y. Hochberg, "A
    /// sharper Bonferroni procedure for multiple tests of significance", Biometrika 75 (1988), 800-802.
    Hochberg,
    /// Closed testing with Simes' test. Controls the same where Hochberg's does, and rejects at least as much. G. Hommel, "A
    /// stagewise rejective multiple test procedure based on a modified Bonferroni test", Biometrika 75 (1988), 383-386.
    Hommel,
    /// `min_{j >= i} m p_(j) / j`. Controls the expected share of false rejections among all, for independent or positively
    /// dependent tests. Y. Benjamini and Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal
    /// Statistical Society B 57 (1995), 289-300.
    BenjaminiHochberg,
    /// Benjamini and Hochberg's times `Σ_{j <= m} 1/j`: under any dependence. Y. Benjamini and D. Yekutieli, "The control of
    /// the false discovery rate in multiple testing under dependency", Annals of Statistics 29 (2001), 1165-1188.
    BenjaminiYekutieli,
}

impl Correction {
    /// Returns the name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bonferroni => "Bonferroni",
            Self::Holm => "Holm",
            Self::Hochberg => "Hochberg",
            Self::Hommel => "Hommel",
            Self::BenjaminiHochberg => "Benjamini-Hochberg",
            Self::BenjaminiYekutieli => "Benjamini-Yekutieli",
        }
    }
}

/// A p-value that takes the other comparisons into account.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Adjusted {
    /// The adjusted value: rejecting where it is at most alpha controls the error at alpha.
    pub value: f64,
    /// The test by itself.
    pub single: PValue,
    /// How it was adjusted.
    pub correction: Correction,
    /// How many comparisons were made: the number that reports state beside it.
    pub comparisons: usize,
}

/// Returns the adjusted p-values, in the order of the input; ties keep their order.
///
/// `p_values` are those of all comparisons that were made, not only of those that look good. Hommel's takes time with the
/// square of their number, the others hardly more than their number.
///
/// # Errors
/// A p-value is no number or lies outside [0, 1].
///
/// # Examples
/// ```
/// use harness_core::stats::{PValue, multiplicity::{Correction, adjust}};
/// let p = [0.01, 0.04, 0.03].map(|value| PValue { value, test: "McNemar, exact" });
/// let adjusted = adjust(&p, Correction::Holm)?;
/// let printed: Vec<String> = adjusted.iter().map(|p| format!("{:.2}", p.value)).collect();
/// assert_eq!(printed, ["0.03", "0.06", "0.06"]);
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn adjust(p_values: &[PValue], correction: Correction) -> Result<Vec<Adjusted>, StatsError> {
    for (at, p) in p_values.iter().enumerate() {
        if !(0.0..=1.0).contains(&p.value) {
            return Err(StatsError::OutOfRangeAt {
                what: "the p-values",
                at,
                value: p.value,
                least: 0.0,
                most: 1.0,
            });
        }
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|left, right| p_values[*left].value.total_cmp(&p_values[*right].value));
    let sorted: Vec<f64> = order.iter().map(|index| p_values[*index].value).collect();
    let mut values = vec![0.0; sorted.len()];
    for (index, value) in order.into_iter().zip(adjust_sorted(&sorted, correction)) {
        values[index] = value;
    }
    let adjusted = |(value, single): (f64, &PValue)| Adjusted {
        value,
        single: *single,
        correction,
        comparisons: p_values.len(),
    };
    Ok(values.into_iter().zip(p_values).map(adjusted).collect())
}

fn adjust_sorted(sorted: &[f64], correction: Correction) -> Vec<f64> {
    let m = sorted.len() as f64;
    let ranked = || {
        sorted
            .iter()
            .enumerate()
            .map(|(index, p)| (index as f64 + 1.0, *p))
    };
    match correction {
        Correction::Bonferroni => sorted.iter().map(|p| (m * p).min(1.0)).collect(),
        Correction::Holm => {
            let mut most = 0.0_f64;
            ranked()
                .map(|(rank, p)| {
                    most = most.max(((m - rank + 1.0) * p).min(1.0));
                    most
                })
                .collect()
        }
        Correction::Hochberg => step_up(ranked().map(|(rank, p)| (m - rank + 1.0) * p).collect()),
        Correction::Hommel => hommel(sorted),
        Correction::BenjaminiHochberg => step_up(ranked().map(|(rank, p)| m / rank * p).collect()),
        Correction::BenjaminiYekutieli => {
            let harmonic: f64 = ranked().map(|(rank, _)| 1.0 / rank).sum();
            step_up(ranked().map(|(rank, p)| harmonic * m / rank * p).collect())
        }
    }
}

/// Returns for every place the least value from there on, at most 1.
fn step_up(mut values: Vec<f64>) -> Vec<f64> {
    let mut least = 1.0_f64;
    for value in values.iter_mut().rev() {
        least = least.min(*value);
        *value = least;
    }
    values
}

/// The algorithm of S. P. Wright, "Adjusted p-values for simultaneous inference", Biometrics 48 (1992), 1005-1013.
fn hommel(sorted: &[f64]) -> Vec<f64> {
    let m = sorted.len();
    let scaled = |index: usize| m as f64 * sorted[index] / (index as f64 + 1.0);
    let start = (0..m).map(scaled).fold(1.0, f64::min);
    let mut adjusted = vec![start; m];
    for size in (2..m).rev() {
        let (first, last) = sorted.split_at(m - size + 1);
        let count = size as f64;
        let simes = last
            .iter()
            .zip(2_u32..)
            .map(|(p, rank)| count * p / f64::from(rank))
            .fold(f64::INFINITY, f64::min);
        // Of the first ones the last is the largest: what the rest of the family gets.
        let mut rest = simes;
        for (value, p) in adjusted.iter_mut().zip(first) {
            rest = (count * p).min(simes);
            *value = value.max(rest);
        }
        for value in adjusted.iter_mut().skip(first.len()) {
            *value = value.max(rest);
        }
    }
    adjusted
        .iter()
        .zip(sorted)
        .map(|(value, p)| value.max(*p))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Correction; 6] = [
        Correction::Bonferroni,
        Correction::Holm,
        Correction::Hochberg,
        Correction::Hommel,
        Correction::BenjaminiHochberg,
        Correction::BenjaminiYekutieli,
    ];

    fn values(p: &[f64], correction: Correction) -> Vec<f64> {
        let p: Vec<PValue> = p
            .iter()
            .map(|value| PValue {
                value: *value,
                test: "t",
            })
            .collect();
        adjust(&p, correction).unwrap().iter().map(|p| p.value).collect()
    }

    #[test]
    fn one_comparison_is_left_alone_and_none_is_none() {
        for correction in ALL {
            assert_eq!(values(&[0.03], correction), [0.03]);
            assert!(values(&[], correction).is_empty());
        }
    }

    #[test]
    fn what_is_no_probability_is_refused_with_its_position() {
        let p = |value| PValue { value, test: "t" };
        for bad in [f64::NAN, -0.1, 1.1] {
            let error = adjust(&[p(0.1), p(bad)], Correction::Holm).unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("the p-values at position 1 must lie from 0 to 1")
            );
        }
    }

    /// Closed testing by definition: the largest Simes p-value of all subsets with the comparison.
    fn hommel_by_definition(p: &[f64]) -> Vec<f64> {
        let mut most = vec![0.0_f64; p.len()];
        for subset in 1_u32..1 << p.len() {
            let members: Vec<usize> = (0..p.len()).filter(|i| subset >> i & 1 == 1).collect();
            let mut sorted: Vec<f64> = members.iter().map(|i| p[*i]).collect();
            sorted.sort_by(f64::total_cmp);
            let size = sorted.len() as f64;
            let simes = (1_u32..).zip(&sorted).map(|(rank, p)| size * p / f64::from(rank));
            let simes = simes.fold(f64::INFINITY, f64::min);
            for index in members {
                most[index] = most[index].max(simes);
            }
        }
        most
    }

    proptest! {
        #[test]
        fn hommel_is_closed_testing(p in prop::collection::vec(0.0..=1.0_f64, 1..9)) {
            for (found, expected) in values(&p, Correction::Hommel).iter().zip(hommel_by_definition(&p)) {
                prop_assert!((found - expected).abs() < 1e-12);
            }
        }

        #[test]
        fn corrections_are_ordered_and_blind_to_order(p in prop::collection::vec(0.0..=1.0_f64, 1..30)) {
            let of = |correction| values(&p, correction);
            let chain = [
                of(Correction::Bonferroni),
                of(Correction::Holm),
                of(Correction::Hochberg),
                of(Correction::Hommel),
                of(Correction::BenjaminiHochberg),
                p.clone(),
            ];
            for pair in chain.windows(2) {
                prop_assert!(pair[0].iter().zip(&pair[1]).all(|(more, less)| more + 1e-12 >= *less));
            }
            let (hochberg, yekutieli) = (of(Correction::BenjaminiHochberg), of(Correction::BenjaminiYekutieli));
            prop_assert!(yekutieli.iter().zip(&hochberg).all(|(more, less)| more >= less));
            for correction in ALL {
                let found = values(&p, correction);
                let turned: Vec<f64> = p.iter().rev().copied().collect();
                let turned: Vec<f64> = values(&turned, correction).into_iter().rev().collect();
                prop_assert_eq!(&found, &turned);
                prop_assert!(found.iter().all(|value| (0.0..=1.0).contains(value)));
                for (i, j) in (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| (i, j))) {
                    prop_assert!(p[i] > p[j] || found[i] <= found[j]);
                }
            }
        }
    }
}
