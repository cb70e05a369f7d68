//! Sign-flip permutation and Wilcoxon's signed ranks: tests of paired differences without a distribution.
//!
//! Owns: p-values under flipped signs. Must not: estimate the size of a difference.

use rand::Rng as _;
use serde::Serialize;

use crate::stats::bootstrap::Draws;
use crate::stats::special::normal_cdf;
use crate::stats::{PValue, StatsError};

/// Up to this many differences all flips are counted, by meeting in the middle of two halves with 2¹⁶ sums each.
const EXACT_DIFFERENCES: usize = 32;
/// Up to this many ranks the distribution of their sum is computed exactly.
const EXACT_RANKS: usize = 200;

/// What a test takes as extreme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Alternative {
    /// A differs from B.
    TwoSided,
    /// A is higher.
    Greater,
    /// A is lower.
    Less,
}

/// Which flips a p-value rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Flips {
    /// All of them.
    All {
        /// Their number, a power of two.
        flips: u64,
    },
    /// A random sample, with what it takes to draw it again.
    Drawn(Draws),
}

/// A sign-flip test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SignFlip {
    /// The mean difference.
    pub difference: f64,
    /// The test that differences are as likely with either sign.
    pub p: PValue,
    /// Which flips were looked at.
    pub flips: Flips,
    /// How many differences there are, those of 0 included.
    pub units: u64,
}

/// Returns the sign-flip permutation test of paired differences: all flips up to 32 differences that are not 0, else draws.
///
/// The share of all ways to flip signs in which the sum of the differences is at least as extreme as the one seen; drawn,
/// `(1 + extreme)/(1 + draws)`, which is never 0. Sums that agree to 10⁻¹² of the sum of all sizes count as equal. It takes
/// each difference as independent and, if A and B do not differ, symmetric around 0: one difference per task, epochs averaged.
/// R. A. Fisher, "The design of experiments" (1935), section 21; B. Phipson and G. K. Smyth, "Permutation p-values should
/// never be zero", Statistical Applications in Genetics and Molecular Biology 9 (2010), article 39.
///
/// # Errors
/// A difference is not finite, there is none, or the number of draws is 0 or beyond ten million.
///
/// # Examples
/// ```
/// use harness_core::stats::{bootstrap::Draws, paired::{Alternative, sign_flip}};
/// let differences = [0.4, -0.1, 0.3, 0.0, 0.2, 0.5, -0.2, 0.1, 0.3, 0.1];
/// let found = sign_flip(&differences, Alternative::TwoSided, Draws { count: 100_000, seed: 1 })?;
/// assert_eq!(found.p.value, 0.0703125);
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn sign_flip(
    differences: &[f64],
    alternative: Alternative,
    draws: Draws,
) -> Result<SignFlip, StatsError> {
    draws.check()?;
    let flips = SignFlips::new(differences, alternative)?;
    if let Some(exact) = flips.exact() {
        return Ok(exact);
    }
    let extreme = (0..draws.count).filter(|index| flips.is_extreme(draws.seed, *index));
    flips.drawn(draws, extreme.count() as u64)
}

/// Differences prepared for flips: for callers that spread draws over cores.
#[derive(Clone, Debug)]
pub struct SignFlips {
    /// The sizes of those that are not 0.
    sizes: Vec<f64>,
    /// For every four sizes their sums under the 16 ways to flip them, so that a draw takes one step for four.
    sums: Vec<[f64; 16]>,
    total: f64,
    slack: f64,
    alternative: Alternative,
    units: u64,
}

impl SignFlips {
    /// Prepares the differences.
    ///
    /// # Errors
    /// A difference is not finite, or there is none.
    pub fn new(differences: &[f64], alternative: Alternative) -> Result<Self, StatsError> {
        StatsError::check_finite("the differences", differences)?;
        if differences.is_empty() {
            return Err(none("a sign-flip test"));
        }
        let sizes: Vec<f64> = differences.iter().map(|d| d.abs()).filter(|d| *d > 0.0).collect();
        let sums = sizes
            .chunks(4)
            .map(|four| std::array::from_fn(|flips| flipped(four, flips)))
            .collect();
        Ok(Self {
            slack: 1e-12 * sizes.iter().sum::<f64>(),
            total: differences.iter().sum(),
            sizes,
            sums,
            alternative,
            units: differences.len() as u64,
        })
    }

    /// Returns the test over all flips, or `None` if they are too many.
    pub fn exact(&self) -> Option<SignFlip> {
        if self.sizes.len() > EXACT_DIFFERENCES {
            return None;
        }
        let (left, right) = self.sizes.split_at(self.sizes.len() / 2);
        let (left, mut right) = (all_sums(left), all_sums(right));
        right.reverse();
        let flips = (left.len() * right.len()) as u64;
        let threshold = self.threshold();
        let extreme = match self.alternative {
            Alternative::TwoSided if threshold <= 0.0 => flips,
            // Flipping all signs turns every sum round.
            Alternative::TwoSided => 2 * pairs_from(&left, &right, threshold),
            Alternative::Greater | Alternative::Less => pairs_from(&left, &right, threshold),
        };
        Some(self.result(extreme as f64 / flips as f64, Flips::All { flips }))
    }

    /// Returns whether draw number `index` is at least as extreme as what was seen; the same on every machine and thread.
    pub fn is_extreme(&self, seed: u64, index: u32) -> bool {
        let mut rng = Draws::stream(seed, index);
        // Four sums side by side, since each addition to one has to wait for the one before.
        let mut sums = [0.0; 4];
        for word in self.sums.chunks(16) {
            let mut bits = rng.next_u64();
            for fours in word.chunks(4) {
                for (sum, four) in sums.iter_mut().zip(fours) {
                    *sum += four[(bits & 15) as usize];
                    bits >>= 4;
                }
            }
        }
        let sum: f64 = sums.iter().sum();
        match self.alternative {
            Alternative::TwoSided => sum.abs() >= self.threshold(),
            // A draw is as likely as its mirror image.
            Alternative::Greater | Alternative::Less => sum >= self.threshold(),
        }
    }

    /// Returns the test over draws of which `extreme` were at least as extreme.
    ///
    /// # Errors
    /// There are no draws, or fewer than `extreme`.
    pub fn drawn(&self, draws: Draws, extreme: u64) -> Result<SignFlip, StatsError> {
        draws.check()?;
        let count = u64::from(draws.count);
        if extreme > count {
            return Err(StatsError::MoreSuccessesThanUnits {
                successes: extreme,
                units: count,
            });
        }
        let p = (1.0 + extreme as f64) / (1.0 + count as f64);
        Ok(self.result(p, Flips::Drawn(draws)))
    }

    /// Returns the sum from which on the flips of positive sums count.
    fn threshold(&self) -> f64 {
        self.slack.mul_add(
            -1.0,
            match self.alternative {
                Alternative::TwoSided => self.total.abs(),
                Alternative::Greater => self.total,
                Alternative::Less => -self.total,
            },
        )
    }

    fn result(&self, value: f64, flips: Flips) -> SignFlip {
        SignFlip {
            difference: self.total / self.units as f64,
            p: PValue {
                value: value.min(1.0),
                test: match self.alternative {
                    Alternative::TwoSided => "sign flips, two-sided",
                    Alternative::Greater => "sign flips, A higher",
                    Alternative::Less => "sign flips, A lower",
                },
            },
            flips,
            units: self.units,
        }
    }
}

/// Returns the sum of up to four sizes, each negative where its bit is not set.
fn flipped(sizes: &[f64], flips: usize) -> f64 {
    let signed = |(bit, size): (usize, &f64)| if flips >> bit & 1 == 1 { *size } else { -size };
    sizes.iter().enumerate().map(signed).sum()
}

/// Returns the sums under all flips, ascending.
fn all_sums(sizes: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for size in sizes {
        sums = sums.iter().flat_map(|sum| [sum - size, sum + size]).collect();
    }
    sums.sort_by(f64::total_cmp);
    sums
}

/// Returns how many pairs, one from an ascending and one from a descending list, sum to at least `threshold`.
fn pairs_from(ascending: &[f64], descending: &[f64], threshold: f64) -> u64 {
    let mut taken = 0;
    let mut pairs = 0;
    for left in ascending {
        while descending
            .get(taken)
            .is_some_and(|right| left + right >= threshold)
        {
            taken += 1;
        }
        pairs += taken as u64;
    }
    pairs
}

/// Wilcoxon's signed-rank test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wilcoxon {
    /// The sum of the ranks of positive differences.
    pub positive_ranks: f64,
    /// The test that differences are as likely with either sign.
    pub p: PValue,
    /// How many differences are not 0.
    pub units: u64,
    /// How many are 0 and say nothing here.
    pub zeros: u64,
}

/// Returns Wilcoxon's signed-rank test of paired differences, two-sided.
///
/// Differences of 0 are dropped, equal sizes (to 10⁻¹² of the largest) share the mean of their ranks. Up to 200 differences
/// the distribution of the rank sum over all flips is exact, ties included; beyond, normal with the correction for ties and
/// continuity. One independent difference per task. F. Wilcoxon, "Individual comparisons by ranking methods", Biometrics
/// Bulletin 1 (1945), 80-83; J. W. Pratt's treatment of zeros is not used.
///
/// # Errors
/// A difference is not finite, or there is none.
pub fn wilcoxon(differences: &[f64]) -> Result<Wilcoxon, StatsError> {
    StatsError::check_finite("the differences", differences)?;
    if differences.is_empty() {
        return Err(none("a signed-rank test"));
    }
    let mut sorted: Vec<f64> = differences.iter().copied().filter(|d| d.abs() > 0.0).collect();
    sorted.sort_by(|left, right| left.abs().total_cmp(&right.abs()));
    let ranks = doubled_ranks(&sorted);
    let positive: u64 = sorted
        .iter()
        .zip(&ranks)
        .filter(|(d, _)| **d > 0.0)
        .map(|(_, rank)| rank)
        .sum();
    let all: u64 = ranks.iter().sum();
    let least = positive.min(all - positive);
    let (p, test) = if ranks.len() <= EXACT_RANKS {
        let tail: f64 = rank_sums(&ranks, least).iter().sum();
        (2.0 * tail, "Wilcoxon's signed ranks, exact, two-sided")
    } else {
        let squares: f64 = ranks.iter().map(|rank| (*rank as f64).powi(2)).sum();
        // In units of half a rank; 1 is the continuity correction of half a rank.
        let distance = (all as f64 / 2.0 - least as f64 - 1.0).max(0.0);
        let z = distance / (squares / 4.0).sqrt();
        (
            2.0 * normal_cdf(-z)?,
            "Wilcoxon's signed ranks, normal approximation, two-sided",
        )
    };
    Ok(Wilcoxon {
        positive_ranks: positive as f64 / 2.0,
        p: PValue {
            value: p.clamp(f64::MIN_POSITIVE, 1.0),
            test,
        },
        units: sorted.len() as u64,
        zeros: (differences.len() - sorted.len()) as u64,
    })
}

/// Returns twice the rank of each size, ties sharing their mean: whole numbers.
fn doubled_ranks(sorted: &[f64]) -> Vec<u64> {
    let slack = 1e-12 * sorted.last().map_or(0.0, |d| d.abs());
    let mut ranks = Vec::with_capacity(sorted.len());
    for tie in sorted.chunk_by(|left, right| right.abs() - left.abs() <= slack) {
        let first = ranks.len() as u64 + 1;
        let last = first + tie.len() as u64 - 1;
        ranks.extend(tie.iter().map(|_| first + last));
    }
    ranks
}

/// Returns the probabilities of the sums 0 to `most` of the ranks whose sign is positive.
fn rank_sums(ranks: &[u64], most: u64) -> Vec<f64> {
    let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
    let mut probabilities = vec![0.0; most + 1];
    probabilities[0] = 1.0;
    for rank in ranks {
        let rank = usize::try_from(*rank).unwrap_or(usize::MAX);
        for sum in (0..=most).rev() {
            let with = sum.checked_sub(rank).map_or(0.0, |rest| probabilities[rest]);
            probabilities[sum] = 0.5 * (probabilities[sum] + with);
        }
    }
    probabilities
}

fn none(what: &'static str) -> StatsError {
    StatsError::TooFew {
        what,
        unit: "differences",
        needed: 1,
        found: 0,
    }
}
