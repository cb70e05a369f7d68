//! Statistics that an evaluator can defend: one file for a family of methods, each with its formula and source.
//!
//! Owns: formulas, each with its denominator and source. Must not: choose what is counted (see `fold`), draw random
//! numbers without a seed, read a clock. Values carry what it takes to read them (see [`Rate`], [`Interval`],
//! [`Estimate`], [`PValue`]); what can't be computed is a [`StatsError`], never a NaN. Which method answers which question
//! is in [`guide`].

pub mod agreement;
pub mod bootstrap;
pub mod confidence_sequence;
pub mod e_values;
pub mod elicitation;
pub mod gate;
#[doc = include_str!("stats/README.md")]
pub mod guide {}
pub mod headline;
pub mod horizon;
pub mod independent;
pub mod interval;
pub mod item_response;
pub mod misclassification;
pub mod multiplicity;
pub mod overdispersion;
pub mod paired;
pub mod power;
mod quadrature;
pub mod repeats;
pub mod sequential;
pub mod special;
pub mod spurious;
pub mod standard_error;
mod value;

pub use value::{
    CountInterval, Credence, Estimate, Excluded, Interval, Level, Method, PValue, Posterior, Rate, Side,
    StatsError,
};
