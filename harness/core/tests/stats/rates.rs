//! Intervals, standard errors, comparisons, spread between tasks.
#![expect(clippy::unwrap_used, reason = "figures of a fixture that is checked in")]

use harness_core::stats::{Interval, Level, Rate, Side, StatsError, independent, interval};
use serde_json::{Map, Value, json};

/// Returns what this crate computes for an entry, in the shape of the entry's outputs; `None` if it is not of this family.
pub(crate) fn compute(id: &str, inputs: &Value) -> Option<Value> {
    let found = match id {
        "zero_successes" => zero_successes(),
        "zero_successes_sample_size" => rule_out_units(inputs),
        "two_indep_17_50_vs_9_50" => independent_rates(inputs),
        "bayes_two_rates" => higher_rate(inputs),
        "welch_t" => welch(inputs),
        _ if id.starts_with("interval_") => intervals(inputs),
        _ => return None,
    };
    Some(found.unwrap_or_else(|error| json!(error.to_string())))
}

fn count(inputs: &Value, key: &str) -> u64 {
    inputs[key].as_u64().unwrap()
}

fn numbers(inputs: &Value, key: &str) -> Vec<f64> {
    let values = inputs[key].as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

fn two(found: Interval) -> Value {
    json!([found.lower, found.upper])
}

fn intervals(inputs: &Value) -> Result<Value, StatsError> {
    let rate = Rate::of(count(inputs, "k"), count(inputs, "n"))?;
    let level = Level::new("confidence", inputs["conf"].as_f64().unwrap())?;
    let exact = |side| interval::clopper_pearson(&rate, Level::P95, side);
    Ok(json!({
        "wald": two(interval::wald(&rate, level, Side::Two)?),
        "wilson": two(interval::wilson(&rate, level, Side::Two)?),
        "clopper_pearson": two(interval::clopper_pearson(&rate, level, Side::Two)?),
        "jeffreys": two(interval::jeffreys(&rate, level, Side::Two)?),
        "agresti_coull": two(interval::agresti_coull(&rate, level, Side::Two)?),
        "beta_uniform_eti": two(interval::uniform(&rate, level, Side::Two)?),
        "beta_uniform_hpd": two(interval::uniform_highest_density(&rate, level)?),
        "cp_upper_1sided_95": exact(Side::Upper)?.upper,
        "cp_lower_1sided_95": exact(Side::Lower)?.lower,
        "wilson_cc": two(interval::wilson_continuity(&rate, level, Side::Two)?),
    }))
}

fn zero_successes() -> Result<Value, StatsError> {
    let of = |n: u64| -> Result<Value, StatsError> {
        let rate = Rate::of(0, n)?;
        Ok(json!({
            "n": n,
            "rule_of_three": interval::rule_of_three(n)?.upper,
            "exact_1sided": interval::clopper_pearson(&rate, Level::P95, Side::Upper)?.upper,
            "exact_2sided_hi": interval::clopper_pearson(&rate, Level::P95, Side::Two)?.upper,
            "bayes_uniform": interval::uniform(&rate, Level::P95, Side::Upper)?.upper,
            "jeffreys_1sided": interval::jeffreys(&rate, Level::P95, Side::Upper)?.upper,
        }))
    };
    [10, 30, 59, 100, 299, 1000].into_iter().map(of).collect()
}

fn rule_out_units(inputs: &Value) -> Result<Value, StatsError> {
    let alpha = Level::new("alpha", inputs["alpha"].as_f64().unwrap())?;
    let mut found = Map::new();
    for rate in [0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01, 0.001] {
        let needed = interval::units_to_rule_out(Level::new("rate", rate)?, alpha)?;
        found.insert(rate.to_string(), json!(needed.units));
    }
    Ok(Value::Object(found))
}

fn independent_rates(inputs: &Value) -> Result<Value, StatsError> {
    let first = Rate::of(count(inputs, "k1"), count(inputs, "n1"))?;
    let second = Rate::of(count(inputs, "k2"), count(inputs, "n2"))?;
    let newcombe = independent::newcombe(&first, &second, Level::P95)?;
    let caffo = independent::agresti_caffo(&first, &second, Level::P95)?;
    let score = independent::miettinen_nurminen(&first, &second, Level::P95)?;
    Ok(json!({
        "diff": newcombe.value,
        "newcombe": two(newcombe.interval),
        "agresti_caffo": two(caffo.interval),
        "miettinen_nurminen": two(score.interval),
        "fisher_p": independent::fisher(&first, &second)?.value,
    }))
}

fn higher_rate(inputs: &Value) -> Result<Value, StatsError> {
    let first = Rate::of(count(inputs, "kA"), count(inputs, "nA"))?;
    let second = Rate::of(count(inputs, "kB"), count(inputs, "nB"))?;
    let found = independent::probability_higher(&first, &second)?;
    Ok(json!({"prob": found.probability}))
}

fn welch(inputs: &Value) -> Result<Value, StatsError> {
    let found = independent::welch(&numbers(inputs, "a"), &numbers(inputs, "b"), Level::P95)?;
    Ok(json!({"t": found.t, "df": found.freedom, "p_two": found.p.value}))
}
