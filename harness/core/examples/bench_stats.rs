//! What statistics cost. `cargo xtask bench reports` builds this and reads its output: one JSON object a line, a name
//! and the values that were measured. One thread does the work.
//!
//! Owns: the measuring loops. Must not: judge or combine the values.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the library is pure; measuring takes a clock, and the output is what it is for"
)]

use std::hint::black_box;
use std::time::Instant;

use harness_core::stats::bootstrap::{ClusterBootstrap, Draws};
use harness_core::stats::gate::{CheckpointErrors, Evidence, Families, Rule, Tally, Unclear, decide};
use harness_core::stats::paired::{Alternative, sign_flip};
use harness_core::stats::{Level, StatsError};
use serde_json::json;

const ROUNDS: usize = 7;
/// Decisions between two looks at the clock.
const DECISIONS: u32 = 1_000;
const TASKS: u32 = 1_000;
const EPOCHS: u32 = 10;

fn main() -> Result<(), StatsError> {
    let seeded = |count| Draws { count, seed: 7 };
    let scores: Vec<f64> = (0..TASKS * EPOCHS)
        .map(|trial| f64::from(u8::from(noise(trial) > noise(trial / EPOCHS))))
        .collect();
    let tasks: Vec<u32> = (0..TASKS * EPOCHS).map(|trial| trial / EPOCHS).collect();
    measure("cluster_bootstrap_s", 1.0, || {
        let bootstrap = ClusterBootstrap::new(&scores, &tasks)?;
        let resamples = bootstrap.resample(seeded(10_000))?;
        black_box(bootstrap.percentile(&resamples, Level::P95));
        Ok(())
    })?;
    let differences: Vec<f64> = (0..TASKS).map(|task| noise(task) - 0.45).collect();
    measure("sign_flip_exact_s", 1.0, || {
        black_box(sign_flip(&differences[..20], Alternative::TwoSided, seeded(1))?);
        Ok(())
    })?;
    measure("sign_flip_s", 1.0, || {
        black_box(sign_flip(&differences, Alternative::TwoSided, seeded(100_000))?);
        Ok(())
    })?;
    let errors = CheckpointErrors::alone(Level::P05, Level::P05).among(1)?;
    let rule = Rule {
        threshold: Level::new("threshold", 0.1)?,
        errors,
    };
    let tally = |successes, failures| Tally {
        unclear: Unclear {
            refused: 1,
            ..Unclear::default()
        },
        ..Tally::clear(successes, failures)
    };
    let units = Evidence::Units(tally(5, 194));
    let mut families = Families::default();
    for family in 0..60_u32 {
        families.push(tally(u64::from(family % 5 == 0), 3))?;
    }
    let families = Evidence::Families(families);
    for (name, evidence) in [("gate_decision_us", units), ("gate_families_us", families)] {
        measure(name, 1e6 / f64::from(DECISIONS), || {
            for _ in 0..DECISIONS {
                black_box(decide(black_box(&rule), black_box(&evidence))?);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Prints how long some work takes, several times, in seconds times `unit`.
fn measure(
    name: &str,
    unit: f64,
    mut work: impl FnMut() -> Result<(), StatsError>,
) -> Result<(), StatsError> {
    work()?;
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work()?;
        values.push(start.elapsed().as_secs_f64() * unit);
    }
    println!("{}", json!({"name": name, "values": values}));
    Ok(())
}

/// Returns a number from 0 to 1 that is the same every time (Knuth's multiplicative hash).
fn noise(at: u32) -> f64 {
    f64::from(at.wrapping_mul(2_654_435_761) ^ at.rotate_left(15)) / f64::from(u32::MAX)
}
