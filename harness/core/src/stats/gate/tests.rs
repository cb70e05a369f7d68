//! Laws of gates: exact error rates, what changes a decision and what does not, simulations of what breaks the guarantee.

mod decisions;
mod families;
mod jump;
mod process;

use super::*;
use crate::stats::{Level, StatsError};

fn level(value: f64) -> Level {
    Level::new("level", value).unwrap()
}

fn rule(threshold: f64, alpha: f64) -> Rule {
    Rule {
        threshold: level(threshold),
        errors: CheckpointErrors::alone(level(alpha), level(alpha))
            .among(1)
            .unwrap(),
    }
}

fn units(successes: u64, failures: u64) -> Evidence {
    Evidence::Units(Tally::clear(successes, failures))
}

fn below(evidence: &Evidence, threshold: f64) -> f64 {
    log_e_below(&evidence.for_below().unwrap(), level(threshold))
        .unwrap()
        .ln()
}

fn above(evidence: &Evidence, threshold: f64) -> f64 {
    log_e_above(&evidence.for_above().unwrap(), level(threshold))
        .unwrap()
        .ln()
}
