//! E-values and how they combine.
//!
//! Owns: evidence against a hypothesis that may be multiplied, averaged and looked at at will. Must not: know where
//! it came from (see [`gate`](super::gate)).
//!
//! An e-value is a non-negative statistic whose expectation is at most 1 if the hypothesis holds. By Markov's
//! inequality it is `1/α` or more with probability at most `α`; an e-process (a sequence that stays below 1 in
//! expectation at every stopping time) does so at *any* time, by Ville's inequality. V. Vovk and R. Wang, "E-values:
//! calibration, combination and applications", Annals of Statistics 49 (2021), 1736-1754.

use serde::Serialize;

use super::{Level, PValue, StatsError};

/// The natural logarithm of an e-value; evidence of `e^{10⁶}` is held as well as `e^{-10⁶}`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct LogE(f64);

impl LogE {
    /// Makes it from the logarithm; negative infinity is an e-value of 0.
    ///
    /// # Errors
    /// It is no number, or positive infinity.
    pub fn new(ln: f64) -> Result<Self, StatsError> {
        if ln < f64::INFINITY {
            return Ok(Self(ln));
        }
        Err(StatsError::OutOfRange {
            what: "the logarithm of an e-value",
            value: ln,
            least: f64::NEG_INFINITY,
            most: f64::MAX,
        })
    }

    /// Makes it from the e-value itself.
    ///
    /// # Errors
    /// It is negative, infinite or no number.
    pub fn of(e: f64) -> Result<Self, StatsError> {
        if (0.0..f64::INFINITY).contains(&e) {
            return Ok(Self(e.ln()));
        }
        Err(StatsError::OutOfRange {
            what: "an e-value",
            value: e,
            least: 0.0,
            most: f64::MAX,
        })
    }

    /// Returns the logarithm at which evidence is enough for an error rate: `ln(1/α)`.
    #[must_use]
    pub fn needed(alpha: Level) -> Self {
        Self(-alpha.get().ln())
    }

    /// Returns the natural logarithm.
    pub fn ln(self) -> f64 {
        self.0
    }

    /// Whether the e-value is at least `1/α`: the hypothesis is rejected with an error of at most `α`.
    pub fn rejects(self, alpha: Level) -> bool {
        self >= Self::needed(alpha)
    }
}

/// Returns the product of e-values: evidence from independent data.
///
/// `ln e = Σ ln eᵢ`. Valid if they are independent, or if each has expectation at most 1 *given those before it*
/// (successive checkpoints with fresh data). Not valid for e-values of the same data: see [`average`].
///
/// # Errors
/// There is none, or the product is too large for a logarithm.
pub fn product_of_independent(values: &[LogE]) -> Result<LogE, StatsError> {
    at_least_one("a product of e-values", values)?;
    LogE::new(values.iter().map(|value| value.0).sum())
}

/// Returns the mean of e-values: evidence from data that may depend on each other in any way.
///
/// `ln e = ln(Σ eᵢ / K)`, computed so that no term overflows. It is an e-value whatever the dependence, and no other
/// symmetric way to combine them is essentially better (Vovk and Wang 2021).
///
/// # Errors
/// There is none.
pub fn average(values: &[LogE]) -> Result<LogE, StatsError> {
    at_least_one("a mean of e-values", values)?;
    let logs = values.iter().map(|value| value.0);
    LogE::new(ln_sum_exp(logs) - (values.len() as f64).ln())
}

/// Returns the p-value that an e-value amounts to: `min(1, 1/e)`.
///
/// Valid at every look if the e-value is that of an e-process. It is conservative. What is smaller than the smallest
/// positive `f64` is shown as that.
pub fn p_value(value: LogE) -> PValue {
    PValue {
        value: (-value.0).exp().clamp(f64::MIN_POSITIVE, 1.0),
        test: "e-value",
    }
}

/// What the e-BH procedure rejects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EBh {
    /// Positions of the rejected hypotheses in the input, ascending.
    pub rejected: Vec<usize>,
    /// What each of them reached, `K / (α k)` with `k` the number of rejections; `None` if none is rejected.
    pub threshold: Option<LogE>,
    /// The share of rejections that are wrong, at most, in expectation.
    pub alpha: Level,
}

/// Returns which of `K` hypotheses are rejected at a false-discovery rate of `α`, whatever their dependence.
///
/// With the e-values in descending order `e₍₁₎ ≥ e₍₂₎ ≥ …`: the `k*` largest, `k* = max{k: e₍ₖ₎ ≥ K / (α k)}`. R. Wang
/// and A. Ramdas, "False discovery rate control with e-values", Journal of the Royal Statistical Society B 84 (2022),
/// 822-852. If all hypotheses hold, any rejection has probability at most `α`; if some don't, the *share* of wrong
/// rejections is bounded, not the probability of one: for that divide `α` by `K`. With e-processes it may be applied
/// at any stopping time.
///
/// # Errors
/// There is no e-value.
pub fn e_bh(values: &[LogE], alpha: Level) -> Result<EBh, StatsError> {
    at_least_one("e-BH", values)?;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&left, &right| values[right].0.total_cmp(&values[left].0).then(left.cmp(&right)));
    let threshold = |rejections: usize| e_bh_threshold(values.len(), rejections, alpha);
    let rejections = (1..=values.len())
        .rev()
        .find(|&rank| values[order[rank - 1]] >= threshold(rank))
        .unwrap_or(0);
    order.truncate(rejections);
    order.sort_unstable();
    Ok(EBh {
        rejected: order,
        threshold: (rejections > 0).then(|| threshold(rejections)),
        alpha,
    })
}

/// Returns what `rejections` of `hypotheses` must each reach: `ln(K / (α k))`.
pub(super) fn e_bh_threshold(hypotheses: usize, rejections: usize, alpha: Level) -> LogE {
    LogE(-(alpha.get() * rejections.max(1) as f64 / hypotheses as f64).ln())
}

/// Returns `ln Σ exp(tᵢ)` without overflow; negative infinity for no terms.
pub(super) fn ln_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln()
}

fn at_least_one(what: &'static str, values: &[LogE]) -> Result<(), StatsError> {
    StatsError::check_enough(what, "e-values", 1, values.len() as u64)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn logs(values: &[f64]) -> Vec<LogE> {
        values.iter().map(|&value| LogE::new(value).unwrap()).collect()
    }

    #[test]
    fn evidence_of_a_million_digits_neither_overflows_nor_vanishes() {
        let huge = logs(&[1e6, -1e6, 1e6]);
        assert_eq!(product_of_independent(&huge).unwrap(), LogE(1e6));
        let mean = average(&huge).unwrap().ln();
        assert!((mean - (1e6 + (2.0_f64 / 3.0).ln())).abs() < 1e-9, "{mean}");
        assert_eq!(p_value(LogE(1e6)).value.to_bits(), f64::MIN_POSITIVE.to_bits());
        assert_eq!(p_value(LogE(-1e6)).value.to_bits(), 1.0_f64.to_bits());
        assert!(LogE(1e6).rejects(Level::new("alpha", 1e-300).unwrap()));
        assert_eq!(
            average(&[LogE::of(0.0).unwrap()]).unwrap(),
            LogE(f64::NEG_INFINITY)
        );
    }

    #[test]
    fn what_is_no_e_value_is_refused() {
        assert!(
            [-1.0, f64::NAN, f64::INFINITY]
                .into_iter()
                .all(|e| LogE::of(e).is_err())
        );
        assert!(
            [f64::NAN, f64::INFINITY]
                .into_iter()
                .all(|ln| LogE::new(ln).is_err())
        );
        assert!(
            average(&[]).is_err() && product_of_independent(&[]).is_err() && e_bh(&[], Level::P05).is_err()
        );
        assert!(product_of_independent(&logs(&[f64::MAX, f64::MAX])).is_err());
    }

    #[test]
    fn rejections_need_their_rank() {
        // Worked by hand: K = 3, alpha = 0.1; thresholds 30, 15, 10.
        let of = |e: [f64; 3]| {
            let values: Vec<LogE> = e.into_iter().map(|e| LogE::of(e).unwrap()).collect();
            e_bh(&values, Level::new("alpha", 0.1).unwrap()).unwrap().rejected
        };
        assert_eq!(of([29.0, 14.0, 9.0]), Vec::<usize>::new());
        assert_eq!(of([9.0, 31.0, 14.0]), [1]);
        assert_eq!(of([11.0, 11.0, 11.0]), [0, 1, 2]);
        assert_eq!(of([1.0, 16.0, 16.0]), [1, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(26), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn order_changes_no_rejection(mut e in prop::collection::vec(-5.0_f64..10.0, 1..12), shift in 0usize..12) {
            let alpha = Level::new("alpha", 0.1).unwrap();
            let mut first: Vec<LogE> = e_bh(&logs(&e), alpha).unwrap().rejected.iter().map(|&at| LogE(e[at])).collect();
            let by = shift % e.len();
            e.rotate_left(by);
            let mut second: Vec<LogE> = e_bh(&logs(&e), alpha).unwrap().rejected.iter().map(|&at| LogE(e[at])).collect();
            first.sort_by(|a, b| a.0.total_cmp(&b.0));
            second.sort_by(|a, b| a.0.total_cmp(&b.0));
            prop_assert_eq!(first, second);
        }

        #[test]
        fn more_evidence_never_loses_a_rejection(e in prop::collection::vec(-5.0_f64..10.0, 1..12), at in 0usize..12, more in 0.0_f64..5.0) {
            let alpha = Level::new("alpha", 0.1).unwrap();
            let before = e_bh(&logs(&e), alpha).unwrap().rejected;
            let mut raised = e.clone();
            let at = at % e.len();
            raised[at] += more;
            let after = e_bh(&logs(&raised), alpha).unwrap().rejected;
            prop_assert!(before.iter().all(|position| after.contains(position)));
            prop_assert!(average(&logs(&e)).unwrap() <= average(&logs(&raised)).unwrap());
        }
    }
}
