//! The one-sided e-process of counts, where it ends up after more units, and for which thresholds it is enough.
//!
//! Owns: the formula and its inversions. Must not: decide.

use super::evidence::Data;
use super::families::Bets;
use crate::stats::confidence_sequence::search::{FAR, Search, crossing, logistic};
use crate::stats::sequential::MOST_UNITS;
use crate::stats::special::{ln_beta_cdf, ln_beta_kernel, ln_beta_sf};
use crate::stats::{Level, Method, StatsError};

/// Both shapes of the prior.
const SHAPE: f64 = 0.5;

/// What an e-process shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Below,
    Above,
}

impl Direction {
    pub(super) fn mirrored(self) -> Self {
        match self {
            Self::Below => Self::Above,
            Self::Above => Self::Below,
        }
    }
}

/// A threshold as itself or as its complement, whichever is at most one half and so has all its digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Threshold {
    pub(super) small: f64,
    pub(super) is_complement: bool,
}

impl Threshold {
    pub(super) fn at(level: Level) -> Self {
        let is_complement = level.get() > 0.5;
        Self {
            small: if is_complement {
                1.0 - level.get()
            } else {
                level.get()
            },
            is_complement,
        }
    }

    fn at_logit(logit: f64) -> Self {
        Self {
            small: logistic(-logit.abs()),
            is_complement: logit > 0.0,
        }
    }
}

/// An e-process with what it has seen.
pub(super) enum Process {
    Counts(Counts),
    Bets(Box<Bets>),
}

impl Process {
    pub(super) fn new(data: &Data, direction: Direction, threshold: Threshold) -> Result<Self, StatsError> {
        Ok(match data {
            &Data::Counts { successes, failures } => Self::Counts(Counts::new(
                [successes as f64, failures as f64],
                direction,
                threshold,
            )?),
            Data::Means(means) => {
                let mut bets = Box::new(Bets::new(direction, threshold));
                bets.add(means);
                Self::Bets(bets)
            }
        })
    }

    /// Returns ln E after `more` further units in a row that speak for the process: failures for "below".
    pub(super) fn log_e_after(&self, more: f64) -> Result<f64, StatsError> {
        match self {
            Self::Counts(counts) => counts.log_e_after(more),
            Self::Bets(bets) => Ok(bets.log_e_after(more)),
        }
    }

    /// Returns the fewest further units in a row that reach `needed`; `None` if that takes more than 10¹².
    ///
    /// The logarithm of a mixture of powers is convex in the exponent, so the first chord leads beyond the place.
    pub(super) fn fewest_more(&self, needed: f64) -> Result<Option<u64>, StatsError> {
        const MOST: f64 = MOST_UNITS as f64;
        let start = self.log_e_after(0.0)?;
        if start >= needed {
            return Ok(Some(0));
        }
        let chord = self.log_e_after(1.0)? - start;
        let stride = if chord > 0.0 {
            (needed - start) / chord
        } else {
            1.0
        };
        let search = Search {
            from: 0.0,
            to: MOST,
            first_stride: stride.clamp(1.0, MOST),
            width: 0.5,
        };
        let Some(place) = crossing(&search, |more| Ok(self.log_e_after(more)? - needed))? else {
            return Ok(None);
        };
        // The place is past the root by less than one: the whole number before it may be enough.
        let found = place.ceil();
        let enough = found >= 1.0 && self.log_e_after(found - 1.0)? >= needed;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 1 and 10¹²"
        )]
        let found = if enough { found - 1.0 } else { found } as u64;
        Ok(Some(found))
    }
}

/// The mixture of binomial likelihood ratios.
///
/// `x^a (1-x)^b / B(a, b)` divides both terms of the formula, so that what is left is the difference of two moderate
/// numbers: `ln(I_τ(a+s, b+f) / kernel(a+s, b+f))` less the same at the start.
pub(super) struct Counts {
    seen: [f64; 2],
    direction: Direction,
    small: f64,
    start: f64,
}

impl Counts {
    /// `counts` are successes and failures.
    fn new(counts: [f64; 2], direction: Direction, threshold: Threshold) -> Result<Self, StatsError> {
        let [successes, failures] = counts;
        // A threshold above one half is one below it for failures.
        let (seen, direction) = if threshold.is_complement {
            ([failures, successes], direction.mirrored())
        } else {
            ([successes, failures], direction)
        };
        let small = threshold.small;
        Ok(Self {
            seen,
            direction,
            small,
            start: ln_tail_over_kernel([0.0, 0.0], direction, small)?,
        })
    }

    fn log_e_after(&self, more: f64) -> Result<f64, StatsError> {
        let [first, second] = self.seen;
        let counts = match self.direction {
            Direction::Below => [first, second + more],
            Direction::Above => [first + more, second],
        };
        Ok(ln_tail_over_kernel(counts, self.direction, self.small)? - self.start)
    }
}

fn ln_tail_over_kernel([first, second]: [f64; 2], direction: Direction, x: f64) -> Result<f64, StatsError> {
    let (a, b) = (SHAPE + first, SHAPE + second);
    let ln_tail = match direction {
        Direction::Below => ln_beta_cdf(a, b, x)?,
        Direction::Above => ln_beta_sf(a, b, x)?,
    };
    Ok(ln_tail - ln_beta_kernel(a, b, x)?)
}

/// Returns the least threshold that the data show the rate to be below, 1 if there is none; rounded outward.
pub(super) fn least_shown_below(data: &Data, needed: f64) -> Result<f64, StatsError> {
    let excess = |logit: f64| {
        let process = Process::new(data, Direction::Below, Threshold::at_logit(logit))?;
        Ok(process.log_e_after(0.0)? - needed)
    };
    // At the observed rate there is no evidence, and beyond it evidence grows with the threshold.
    let found = crossing(&Search::logit(mean_logit(data)), excess)?;
    Ok(found.map_or(1.0, |logit| logistic(logit).next_up().min(1.0)))
}

/// Returns the largest threshold that the data show the rate to be above, 0 if there is none; rounded outward.
pub(super) fn most_shown_above(data: &Data, needed: f64) -> Result<f64, StatsError> {
    let excess = |mirrored: f64| {
        let process = Process::new(data, Direction::Above, Threshold::at_logit(-mirrored))?;
        Ok(process.log_e_after(0.0)? - needed)
    };
    let found = crossing(&Search::logit(-mean_logit(data)), excess)?;
    Ok(found.map_or(0.0, |mirrored| logistic(-mirrored).next_down()))
}

pub(super) fn method(data: &Data) -> Method {
    match data {
        Data::Counts { .. } => Method::TruncatedBetaMixture,
        Data::Means(_) => Method::FamilyBets,
    }
}

/// Returns the logit of the observed rate; 0 where nothing was observed, which shows nothing whatever the threshold.
fn mean_logit(data: &Data) -> f64 {
    let (sum, rest) = match data {
        &Data::Counts { successes, failures } => (successes as f64, failures as f64),
        Data::Means(means) => (means.iter().sum(), means.iter().map(|mean| 1.0 - mean).sum()),
    };
    if sum + rest > 0.0 {
        (sum / rest).ln().clamp(-FAR, FAR)
    } else {
        0.0
    }
}
