//! Rasch ability and person fit: does a model fail what is easy and pass what is hard?
//!
//! Owns: one model's ability over items of known difficulty, and how well its answers fit. Must not: estimate
//! difficulties, or take a misfit for proof of hiding; it is an alarm that asks for elicitation.

use serde::Serialize;

use super::{Estimate, Interval, Level, Method, Side, StatsError};
use crate::stats::interval::two_sided;

#[cfg(test)]
mod tests;

/// Outfit above this is the alarm.
pub const OUTFIT_ALARM: f64 = 1.5;
/// Rounds of a bracketed search; bisection alone needs fewer for any double.
const ROUNDS: u32 = 2_200;

/// One item: how hard it is, and whether the model passed it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The item's difficulty on the logit scale: the ability at which half pass.
    pub difficulty: f64,
    /// Whether the model passed.
    pub passed: bool,
}

/// Returns the ability that makes the answers likeliest under the Rasch model.
///
/// `P(pass item i) = 1 / (1 + exp(b_i - theta))` with the known difficulty `b_i` and the ability `theta`, both in
/// logits; `theta` solves `sum (y_i - P_i) = 0`, its standard error is `1 / sqrt(sum P_i (1 - P_i))`. The denominator is
/// the number of items. Valid if items are independent given the ability, difficulties come from other models' answers
/// and there are tens of items; the normal interval is rough below that. G. Rasch, "Probabilistic Models for Some
/// Intelligence and Attainment Tests" (1960).
///
/// # Errors
/// There is no item, a difficulty is not finite, or all items were passed or all failed: the ability is then above or
/// below everything that these items can tell.
pub fn rasch_ability(answers: &[Answer], confidence: Level) -> Result<Estimate, StatsError> {
    ability(answers, 0.0, confidence)
}

/// Returns the most probable ability under the Rasch model with a standard normal prior.
///
/// As [`rasch_ability`], but `theta` solves `sum (y_i - P_i) = theta` and the information grows by 1, so that it exists
/// for any answers. The prior draws towards 0: only for abilities measured against a population whose abilities are
/// spread like that. R. D. Bock, M. Aitkin, Psychometrika 46 (1981), 443-459.
///
/// # Errors
/// There is no item, or a difficulty is not finite.
pub fn rasch_ability_with_prior(answers: &[Answer], confidence: Level) -> Result<Estimate, StatsError> {
    ability(answers, 1.0, confidence)
}

/// How well answers fit an ability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PersonFit {
    /// The ability, in logits, with its interval.
    pub ability: Estimate,
    /// Mean squared standardised residual; 1 is expected, large if easy items fail or hard ones pass.
    pub outfit: f64,
    /// The same weighted by information; 1 is expected.
    pub infit: f64,
    /// Over how many items.
    pub items: u64,
    /// Whether outfit is above [`OUTFIT_ALARM`].
    pub alarm: bool,
}

/// Returns how well a model's answers fit the Rasch model: the alarm for failing easy and passing hard items.
///
/// With `P_i` at the likeliest ability, `outfit = mean((y_i - P_i)² / (P_i (1 - P_i)))` and
/// `infit = sum (y_i - P_i)² / sum P_i (1 - P_i)`. Seven answers that fit have an outfit of 0.58; the same seven reversed
/// have 3.53. An outfit above 1.5 is an alarm, no proof: contamination and odd items misfit too. B. D. Wright, G. N.
/// Masters, "Rating Scale Analysis" (1982), chapter 5.
///
/// # Errors
/// As for [`rasch_ability`], or the difficulties are so far from the ability that residuals overflow.
pub fn person_fit(answers: &[Answer], confidence: Level) -> Result<PersonFit, StatsError> {
    let ability = rasch_ability(answers, confidence)?;
    let mut outfit = 0.0;
    let (mut squares, mut information) = (0.0, 0.0);
    for answer in answers {
        let above = ability.value - answer.difficulty;
        // (y - P)² / (P (1 - P)) is the odds against what happened; written so, nothing cancels.
        outfit += if answer.passed {
            (-above).exp()
        } else {
            above.exp()
        };
        let missed = if answer.passed {
            logistic(-above)
        } else {
            logistic(above)
        };
        squares += missed * missed;
        information += logistic(above) * logistic(-above);
    }
    outfit /= answers.len() as f64;
    let infit = squares / information;
    if !(outfit.is_finite() && infit.is_finite()) {
        return Err(StatsError::Undefined {
            what: "person fit",
            why: "the difficulties are too far from the ability",
        });
    }
    Ok(PersonFit {
        ability,
        outfit,
        infit,
        items: answers.len() as u64,
        alarm: outfit > OUTFIT_ALARM,
    })
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Solves `sum (y - P) = precision theta`. The left side falls strictly with `theta`.
fn ability(answers: &[Answer], precision: f64, confidence: Level) -> Result<Estimate, StatsError> {
    check(answers, precision)?;
    let passed = answers.iter().filter(|answer| answer.passed).count() as f64;
    let difficulties = || answers.iter().map(|answer| answer.difficulty);
    let expected = |theta: f64| difficulties().map(|b| logistic(theta - b)).sum::<f64>();
    let information = |theta: f64| {
        let each = difficulties().map(|b| logistic(theta - b) * logistic(b - theta));
        each.sum::<f64>() + precision
    };
    // Beyond these every item is all but certain, whatever the mix of answers; the prior's root is nearer to 0.
    let room = (answers.len() as f64).ln() + 1.0;
    let mut low = difficulties().fold(0.0, f64::min) - room;
    let mut high = difficulties().fold(0.0, f64::max) + room;
    let mut theta = 0.0;
    let mut rounds = 0;
    while high - low > 1e-14 * (1.0 + low.abs().max(high.abs())) {
        let slope = passed - expected(theta) - precision * theta;
        if slope > 0.0 {
            low = theta;
        } else {
            high = theta;
        }
        let newton = theta + slope / information(theta);
        if (newton - theta).abs() <= 1e-15 * (1.0 + theta.abs()) {
            break;
        }
        theta = if newton > low && newton < high {
            newton
        } else {
            f64::midpoint(low, high)
        };
        rounds += 1;
        if rounds > ROUNDS {
            return Err(StatsError::NoConvergence {
                what: "the ability",
                rounds,
            });
        }
    }
    let half = two_sided(confidence)? / information(theta).sqrt();
    if !half.is_finite() {
        return Err(StatsError::Undefined {
            what: "the ability",
            why: "no item is near it in difficulty",
        });
    }
    Ok(Estimate {
        value: theta,
        interval: Interval {
            lower: theta - half,
            upper: theta + half,
            confidence,
            side: Side::Two,
            method: Method::FisherInformation,
        },
        units: answers.len() as u64,
    })
}

fn check(answers: &[Answer], precision: f64) -> Result<(), StatsError> {
    StatsError::check_enough("an ability", "items", 1, answers.len() as u64)?;
    if let Some(at) = answers.iter().position(|answer| !answer.difficulty.is_finite()) {
        return Err(StatsError::NotFinite {
            what: "the difficulty",
            at,
        });
    }
    let passed = answers.iter().filter(|answer| answer.passed).count();
    if precision > 0.0 {
        return Ok(());
    }
    if passed == answers.len() {
        return Err(StatsError::Undefined {
            what: "the ability",
            why: "all items were passed, so it is above them all",
        });
    }
    if passed == 0 {
        return Err(StatsError::Undefined {
            what: "the ability",
            why: "no item was passed, so it is below them all",
        });
    }
    Ok(())
}
