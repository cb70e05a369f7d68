//! The normal, Student's t and chi-squared distributions.
//!
//! Owns: their tails and quantiles. Must not: choose which of them a method needs.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::gamma;

use super::beta::{Point, beta_quantile_logit, ln_tails_at};
use crate::stats::StatsError;

/// Returns the probability that a standard normal variable lies at or below `x`.
///
/// # Errors
/// `x` is no number.
pub fn normal_cdf(x: f64) -> Result<f64, StatsError> {
    number("the argument of a normal distribution", x)?;
    Ok(0.5 * libm::erfc(-x / std::f64::consts::SQRT_2))
}

/// Returns the probability that a standard normal variable lies above `x`.
///
/// # Errors
/// `x` is no number.
pub fn normal_sf(x: f64) -> Result<f64, StatsError> {
    normal_cdf(-x)
}

/// Returns the point below which a standard normal variable lies with probability `p`.
///
/// # Errors
/// `p` does not lie strictly between 0 and 1.
pub fn normal_quantile(p: f64) -> Result<f64, StatsError> {
    probability(p)?;
    Ok(Normal::standard().inverse_cdf(p))
}

/// Returns the probability that a variable with Student's t distribution of `freedom` degrees lies at or below `t`.
///
/// With `x = freedom / (freedom + t²)` the tail beyond `|t|` is `I_x(freedom / 2, 1/2) / 2`.
///
/// # Errors
/// `t` is no number, or the degrees of freedom are not positive and finite.
pub fn student_t_cdf(t: f64, freedom: f64) -> Result<f64, StatsError> {
    number("the argument of a t distribution", t)?;
    degrees(freedom)?;
    if t == 0.0 {
        return Ok(0.5);
    }
    if t.is_infinite() {
        return Ok(if t < 0.0 { 0.0 } else { 1.0 });
    }
    let scaled = t / freedom.sqrt();
    // Written for either size of t so that its square does not overflow.
    let (x, y) = if scaled.abs() <= 1.0 {
        let square = scaled * scaled;
        (1.0 / (1.0 + square), square / (1.0 + square))
    } else {
        let square = 1.0 / scaled / scaled;
        (square / (1.0 + square), 1.0 / (1.0 + square))
    };
    let tail = if x == 0.0 {
        0.0
    } else if y == 0.0 {
        0.5
    } else {
        0.5 * ln_tails_at(freedom / 2.0, 0.5, &Point::of_parts(x, y)).0.exp()
    };
    Ok(if t < 0.0 { tail } else { 1.0 - tail })
}

/// Returns the probability that a variable with Student's t distribution of `freedom` degrees lies above `t`.
///
/// # Errors
/// `t` is no number, or the degrees of freedom are not positive and finite.
pub fn student_t_sf(t: f64, freedom: f64) -> Result<f64, StatsError> {
    student_t_cdf(-t, freedom)
}

/// Returns the point below which a variable with Student's t distribution of `freedom` degrees lies with probability `p`.
///
/// # Errors
/// `p` does not lie strictly between 0 and 1, the degrees of freedom are not positive and finite, or the search did not end.
pub fn student_t_quantile(p: f64, freedom: f64) -> Result<f64, StatsError> {
    probability(p)?;
    degrees(freedom)?;
    let (tail, sign) = if p <= 0.5 { (p, -1.0) } else { (1.0 - p, 1.0) };
    if tail >= 0.5 {
        return Ok(0.0);
    }
    // x / (1 - x) = freedom / t².
    let logit = beta_quantile_logit(freedom / 2.0, 0.5, 2.0 * tail)?;
    Ok(sign * (0.5 * (freedom.ln() - logit)).exp())
}

/// Returns the probability that a chi-squared variable of `freedom` degrees lies above `x`: `Q(freedom / 2, x / 2)`.
///
/// # Errors
/// `x` is negative or no number, or the degrees of freedom are not positive and finite.
pub fn chi_squared_sf(x: f64, freedom: f64) -> Result<f64, StatsError> {
    degrees(freedom)?;
    if x.is_nan() || x < 0.0 {
        return Err(StatsError::OutOfRange {
            what: "the argument of a chi-squared distribution",
            value: x,
            least: 0.0,
            most: f64::INFINITY,
        });
    }
    if x == 0.0 {
        return Ok(1.0);
    }
    if x.is_infinite() {
        return Ok(0.0);
    }
    gamma::checked_gamma_ur(freedom / 2.0, x / 2.0).map_err(|_| StatsError::Undefined {
        what: "the tail of a chi-squared distribution",
        why: "its argument is out of range",
    })
}

fn probability(p: f64) -> Result<(), StatsError> {
    if p > 0.0 && p < 1.0 {
        Ok(())
    } else {
        Err(StatsError::NotALevel {
            what: "the probability of a quantile",
            value: p,
        })
    }
}

fn number(what: &'static str, value: f64) -> Result<(), StatsError> {
    if value.is_nan() {
        Err(StatsError::OutOfRange {
            what,
            value,
            least: f64::NEG_INFINITY,
            most: f64::INFINITY,
        })
    } else {
        Ok(())
    }
}

fn degrees(freedom: f64) -> Result<(), StatsError> {
    if (1e-3..=1e13).contains(&freedom) {
        Ok(())
    } else {
        Err(StatsError::OutOfRange {
            what: "degrees of freedom",
            value: freedom,
            least: 1e-3,
            most: 1e13,
        })
    }
}
