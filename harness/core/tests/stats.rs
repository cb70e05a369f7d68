//! The statistics against figures that other programs computed: scipy, statsmodels, numpy, exact enumeration.
//!
//! `stats/oracles.json` holds inputs, outputs, tolerance and source of each entry. A tolerance is absolute for
//! values up to 1 and relative beyond; whole numbers, texts and nulls must be equal.

#[path = "stats/guide.rs"]
mod guide;
#[path = "stats/labels.rs"]
mod labels;
#[path = "stats/rates.rs"]
mod rates;
#[path = "stats/sequential.rs"]
mod sequential;
#[path = "stats/time_horizon.rs"]
mod time_horizon;

use serde_json::Value;

fn compute(id: &str, inputs: &Value) -> Option<Value> {
    rates::compute(id, inputs)
        .or_else(|| labels::compute(id, inputs))
        .or_else(|| sequential::compute(id, inputs))
        .or_else(|| time_horizon::compute(id, inputs))
}

/// Collects where what was found differs from what is expected.
fn differences(at: &str, expected: &Value, found: &Value, tolerance: f64, out: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                let at = format!("{at}.{key}");
                match found.get(key) {
                    Some(found) => differences(&at, value, found, tolerance, out),
                    None => out.push(format!("{at}: not computed")),
                }
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            if expected.len() != found.len() {
                out.push(format!(
                    "{at}: {} values instead of {}",
                    found.len(),
                    expected.len()
                ));
            }
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                differences(&format!("{at}[{index}]"), expected, found, tolerance, out);
            }
        }
        (Value::Number(expected), Value::Number(number)) => {
            let (Some(wanted), Some(got)) = (expected.as_f64(), number.as_f64()) else {
                out.push(format!("{at}: no numbers"));
                return;
            };
            let off = (wanted - got).abs() / wanted.abs().max(1.0);
            // Figures were written with ten digits.
            let written = 6e-10 * if wanted.abs() > 1.0 { 1.0 } else { wanted.abs() };
            let allowed = if tolerance == 0.0 {
                0.0
            } else {
                tolerance.max(written)
            };
            if off.is_nan() || off > allowed {
                out.push(format!(
                    "{at}: {got} instead of {wanted}, off by {off:e}, allowed {tolerance:e}"
                ));
            }
        }
        _ if expected == found => {}
        _ => out.push(format!("{at}: {found} instead of {expected}")),
    }
}

#[test]
fn every_oracle_is_matched() {
    let oracles: Vec<Value> = serde_json::from_str(include_str!("stats/oracles.json")).unwrap();
    assert_eq!(oracles.len(), 73);
    let mut problems = Vec::new();
    for oracle in &oracles {
        let id = oracle["id"].as_str().unwrap();
        let tolerance = oracle["tolerance"].as_f64().unwrap();
        match compute(id, &oracle["inputs"]) {
            None => problems.push(format!("{id}: nobody computes it")),
            Some(found) => differences(id, &oracle["outputs"], &found, tolerance, &mut problems),
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
