//! E-values, confidence sequences, sequential tests, gates.
#![expect(clippy::unwrap_used, reason = "figures of a fixture that is checked in")]

use harness_core::stats::confidence_sequence::{
    self, AnytimeInterval, BoundedSum, EmpiricalBernstein, MixturePrior,
};
use harness_core::stats::e_values::{self, LogE};
use harness_core::stats::gate::{self, CheckpointErrors, Evidence, Rule, SeriesErrors, Tally};
use harness_core::stats::sequential::{
    self, Characteristics, Checkpoint, CriticalCounts, DesignGoal, Schedule, Spending, Sprt,
};
use harness_core::stats::{Level, Rate, Side, StatsError, interval};
use serde_json::{Map, Value, json};

/// Returns what this crate computes for an entry, in the shape of the entry's outputs; `None` if it is not of this family.
pub(crate) fn compute(id: &str, inputs: &Value) -> Option<Value> {
    let found = match id {
        "e_values" => e_values(inputs),
        "sprt" => sprt(inputs),
        "confidence_sequence_betabinomial" => beta_binomial(inputs),
        "cs_normal_mixture" => normal_mixture(inputs),
        "cs_empirical_bernstein" => empirical_bernstein(inputs),
        "alpha_spending" => alpha_spending(inputs),
        "fixed_gate_design" => fixed_designs(inputs),
        "gate_operating_characteristics" => two_sided_characteristics(inputs),
        "gate_critical_values" => two_sided_critical_values(inputs),
        "group_sequential_rule_out" => group_sequential(inputs),
        "bayes_gate" => bayes(inputs),
        "gate_one_sided_e_process" => one_sided(inputs),
        "gate_attempts_needed" => attempts_needed(inputs),
        "gate_one_sided_oc" => one_sided_characteristics(inputs),
        "gate_one_sided_typeI_every_n" => errors_at_every_unit(inputs),
        "naive_peeking" => naive_peeking(inputs),
        "checkpoint_budget" => checkpoint_budget(inputs),
        _ => return None,
    };
    Some(found.unwrap_or_else(|error| Value::String(error.to_string())))
}

/// The true rates of the operating characteristics, as the entries name them.
const RATES: [&str; 8] = ["0.0", "0.01", "0.02", "0.05", "0.1", "0.15", "0.2", "0.3"];

fn level(inputs: &Value, key: &str) -> Level {
    Level::new("level", inputs[key].as_f64().unwrap()).unwrap()
}

fn numbers(inputs: &Value, key: &str) -> Vec<f64> {
    let list = inputs[key].as_array().unwrap();
    list.iter().map(|value| value.as_f64().unwrap()).collect()
}

fn counts(inputs: &Value, key: &str) -> Vec<u64> {
    let list = inputs[key].as_array().unwrap();
    list.iter().map(|value| value.as_u64().unwrap()).collect()
}

fn two(interval: AnytimeInterval) -> Value {
    let interval = interval.interval();
    json!([interval.lower, interval.upper])
}

fn units(successes: u64, n: u64) -> Evidence {
    Evidence::Units(Tally::clear(successes, n - successes))
}

fn rule(threshold: Level, alpha: Level) -> Result<Rule, StatsError> {
    Ok(Rule {
        threshold,
        errors: CheckpointErrors::alone(alpha, alpha).among(1)?,
    })
}

fn e_values(inputs: &Value) -> Result<Value, StatsError> {
    let values: Result<Vec<LogE>, StatsError> = numbers(inputs, "e").into_iter().map(LogE::of).collect();
    let values = values?;
    let average = e_values::average(&values)?;
    let found = e_values::e_bh(&values, level(inputs, "alpha"))?;
    Ok(json!({
        "product_independent": e_values::product_of_independent(&values)?.ln().exp(),
        "average_any_dependence": average.ln().exp(),
        "p_from_avg": e_values::p_value(average).value,
        "ebh_rejections": found.rejected.len(),
        "ebh_threshold": found.threshold.map(|threshold| threshold.ln().exp()),
    }))
}

fn sprt(inputs: &Value) -> Result<Value, StatsError> {
    let pair = |left, right| [level(inputs, left), level(inputs, right)];
    let test = Sprt::new(pair("p0", "p1"), pair("alpha", "beta"))?;
    let exact = |rate| {
        let found = test.exact(rate, 500)?;
        Ok::<Value, StatsError>(json!({
            "p_accept_H1": found.above,
            "p_accept_H0": found.below,
            "p_undecided": found.inconclusive,
            "mean_n": found.mean_units,
        }))
    };
    let [asn_p0, asn_p1] = test.wald_mean_units();
    Ok(json!({
        "upper": test.upper(),
        "lower": test.lower(),
        "inc_success": test.success(),
        "inc_failure": test.failure(),
        "n_zero_success_accept_H0": test.failures_to_accept_null()?,
        "wald_asn_p0": asn_p0,
        "wald_asn_p1": asn_p1,
        "exact_p05_N500": exact(0.05)?,
        "exact_p15_N500": exact(0.15)?,
        "exact_p02_N500": exact(0.02)?,
    }))
}

fn beta_binomial(inputs: &Value) -> Result<Value, StatsError> {
    let alpha = level(inputs, "alpha");
    let tenth = Level::new("p", 0.1)?;
    let of = |(successes, n): (u64, u64)| {
        let rate = Rate::of(successes, n)?;
        let jeffreys = confidence_sequence::beta_binomial(&rate, alpha, MixturePrior::JEFFREYS)?;
        let uniform = confidence_sequence::beta_binomial(&rate, alpha, MixturePrior::UNIFORM)?;
        let fixed = interval::clopper_pearson(&rate, alpha.complement(), Side::Two)?;
        let against = confidence_sequence::beta_binomial_log_e(&rate, tenth, MixturePrior::JEFFREYS)?;
        Ok(json!({
            "s": successes,
            "n": n,
            "cs95_jeffreys_mix": two(jeffreys),
            "cs95_uniform_mix": two(uniform),
            "cp95": [fixed.lower, fixed.upper],
            "log_e_against_p10": against.ln(),
            "one_sided_upper_alpha05": jeffreys.interval().upper,
        }))
    };
    let seen = [
        (0, 20),
        (0, 59),
        (0, 100),
        (3, 20),
        (10, 50),
        (5, 200),
        (150, 200),
    ];
    seen.into_iter().map(of).collect()
}

fn normal_mixture(inputs: &Value) -> Result<Value, StatsError> {
    let of = |(sum, n): (f64, u64)| {
        let total = BoundedSum::new(sum, n)?;
        let found = confidence_sequence::normal_mixture(total, 1.0, level(inputs, "alpha"))?.interval();
        Ok(json!({
            "n": n,
            "sum": sum,
            "rho": 1.0,
            "radius": found.upper - sum / n as f64,
            // The entry has a whole zero where the lower end is cut.
            "lo": if found.lower <= 0.0 { json!(0) } else { json!(found.lower) },
            "hi": found.upper,
        }))
    };
    [(3.0, 20), (10.0, 50), (5.0, 200)].into_iter().map(of).collect()
}

fn empirical_bernstein(inputs: &Value) -> Result<Value, StatsError> {
    let mut sequence = EmpiricalBernstein::new(level(inputs, "alpha"));
    let mut found = Map::new();
    for (after, score) in (1..).zip(numbers(inputs, "x")) {
        sequence.push(score)?;
        if matches!(after, 10 | 30 | 60) {
            found.insert(format!("after_{after}"), two(sequence.uncut()));
        }
    }
    Ok(Value::Object(found))
}

fn alpha_spending(inputs: &Value) -> Result<Value, StatsError> {
    let alpha = level(inputs, "alpha");
    let times = numbers(inputs, "t");
    let spent = |spending: Spending| {
        let of = |&time: &f64| Ok(spending.spent(alpha, time)?.cumulative);
        times.iter().map(of).collect::<Result<Vec<f64>, StatsError>>()
    };
    let increments = |spent: &[f64]| {
        let before = std::iter::once(&0.0).chain(spent);
        spent
            .iter()
            .zip(before)
            .map(|(now, before)| now - before)
            .collect::<Vec<f64>>()
    };
    let shares = |schedule: Schedule| {
        let of = |number| Ok(schedule.share(alpha, Checkpoint::new(number)?)?.get());
        (1..=5).map(of).collect::<Result<Vec<f64>, StatsError>>()
    };
    let (obf, pocock) = (spent(Spending::OBrienFleming)?, spent(Spending::Pocock)?);
    Ok(json!({
        "obf_increments": increments(&obf),
        "pocock_increments": increments(&pocock),
        "obrien_fleming": obf,
        "pocock": pocock,
        "infinite_horizon_zeta": shares(Schedule::Zeta)?,
        "infinite_horizon_telescoping": shares(Schedule::Telescoping)?,
    }))
}

fn fixed_designs(inputs: &Value) -> Result<Value, StatsError> {
    let mut found = Map::new();
    let goals = [
        (0.1, 0.02),
        (0.1, 0.05),
        (0.2, 0.05),
        (0.2, 0.1),
        (0.5, 0.25),
        (0.05, 0.01),
    ];
    for (threshold, rate) in goals {
        let design = sequential::fixed_design(&DesignGoal {
            threshold: Level::new("threshold", threshold)?,
            rate: Level::new("rate", rate)?,
            alpha: level(inputs, "alpha"),
            power: level(inputs, "power"),
        })?;
        let value =
            json!({"n": design.units, "c": design.at_most, "alpha": design.error, "power": design.power});
        found.insert(format!("tau{threshold}_p{rate}"), value);
    }
    Ok(Value::Object(found))
}

fn characteristics(found: &Characteristics) -> Value {
    let looks = found
        .looks
        .iter()
        .map(|look| json!([look.units, look.below, look.above]));
    json!({
        "p_rule_out": found.below,
        "p_rule_in": found.above,
        "p_inconclusive": found.inconclusive,
        "mean_n": found.mean_units,
        "cum": looks.collect::<Vec<Value>>(),
    })
}

fn critical(found: CriticalCounts) -> Value {
    json!({
        "n": found.units,
        "rule_out_if_successes_le": found.below_at_most,
        "rule_in_if_successes_ge": found.above_at_least,
    })
}

fn two_sided(inputs: &Value, n: u64) -> Result<CriticalCounts, StatsError> {
    let (threshold, alpha) = (level(inputs, "tau"), level(inputs, "alpha"));
    confidence_sequence::two_sided_critical_counts(n, threshold, alpha, MixturePrior::JEFFREYS)
}

fn two_sided_characteristics(inputs: &Value) -> Result<Value, StatsError> {
    let looks: Result<Vec<CriticalCounts>, StatsError> = counts(inputs, "looks")
        .into_iter()
        .map(|n| two_sided(inputs, n))
        .collect();
    let looks = looks?;
    let mut found = Map::new();
    for rate in RATES {
        let exact = sequential::characteristics(rate.parse().unwrap(), &looks)?;
        found.insert(rate.to_owned(), characteristics(&exact));
    }
    Ok(Value::Object(found))
}

fn two_sided_critical_values(inputs: &Value) -> Result<Value, StatsError> {
    let looks = [20, 40, 60, 80, 100, 150, 200, 300];
    looks
        .into_iter()
        .map(|n| Ok(critical(two_sided(inputs, n)?)))
        .collect()
}

fn group_sequential(inputs: &Value) -> Result<Value, StatsError> {
    let (threshold, alpha) = (level(inputs, "tau"), level(inputs, "alpha"));
    let mut found = Map::new();
    for (name, spending) in [("pocock", Spending::Pocock), ("obf", Spending::OBrienFleming)] {
        let design = sequential::group_design(threshold, alpha, &counts(inputs, "looks"), spending)?;
        let bound =
            |look: &CriticalCounts| look.below_at_most.map_or(-1, |most| i64::try_from(most).unwrap());
        let bounds: Vec<i64> = design.looks.iter().map(bound).collect();
        found.insert(format!("{name}_bounds"), json!(bounds));
        found.insert(format!("{name}_spent"), json!(design.error));
        for (suffix, rate) in [("p02", 0.02), ("p05", 0.05)] {
            let exact = design.characteristics(rate)?;
            let value = json!({"power": exact.below, "mean_n": exact.mean_units});
            found.insert(format!("{name}_{suffix}"), value);
        }
    }
    Ok(Value::Object(found))
}

fn bayes(inputs: &Value) -> Result<Value, StatsError> {
    let mut found = Map::new();
    for (successes, n) in [(0, 20), (0, 30), (1, 60), (3, 60), (8, 60), (12, 60)] {
        let credence = gate::probability_above(&Rate::of(successes, n)?, level(inputs, "tau"))?;
        found.insert(format!("{successes}_{n}"), json!(credence.probability));
    }
    Ok(Value::Object(found))
}

fn one_sided(inputs: &Value) -> Result<Value, StatsError> {
    let tau = level(inputs, "tau");
    let [alpha_out, alpha_in] = [level(inputs, "alpha_out"), level(inputs, "alpha_in")];
    let map = |of: &dyn Fn(&Evidence) -> Result<f64, StatsError>, seen: &[(u64, u64)]| {
        let mut found = Map::new();
        for &(successes, n) in seen {
            found.insert(format!("{successes}_{n}"), json!(of(&units(successes, n))?));
        }
        Ok::<Value, StatsError>(Value::Object(found))
    };
    let rule = Rule {
        threshold: tau,
        errors: CheckpointErrors::alone(alpha_out, alpha_in).among(1)?,
    };
    let looks = [20, 30, 40, 50, 60, 80, 100, 150, 200, 300];
    let criticals: Result<Vec<Value>, StatsError> = looks
        .into_iter()
        .map(|n| Ok(critical(gate::critical_counts(&rule, n)?)))
        .collect();
    let zero = |tau: f64, alpha: f64| {
        let needed = gate::attempts_needed(0, Level::new("tau", tau)?, Level::new("alpha", alpha)?)?;
        Ok::<Value, StatsError>(json!(needed.map(|needed| needed.units)))
    };
    let mut by_tau = Map::new();
    for tau in [0.5, 0.2, 0.1, 0.05, 0.02, 0.01] {
        by_tau.insert(tau.to_string(), zero(tau, 0.05)?);
    }
    let mut by_alpha = Map::new();
    for alpha in [0.05, 0.025, 0.01, 0.005, 0.001] {
        by_alpha.insert(alpha.to_string(), zero(0.1, alpha)?);
    }
    let below = |seen: &Evidence| Ok(gate::log_e_below(&seen.for_below()?, tau)?.ln());
    let above = |seen: &Evidence| Ok(gate::log_e_above(&seen.for_above()?, tau)?.ln());
    let upper = |seen: &Evidence| Ok(gate::upper_bound(&seen.for_below()?, alpha_out)?.interval().upper);
    let lower = |seen: &Evidence| Ok(gate::lower_bound(&seen.for_above()?, alpha_in)?.interval().lower);
    Ok(json!({
        "log_e_out": map(&below, &[(0, 20), (0, 40), (0, 60), (1, 60), (3, 60), (8, 60), (20, 60)])?,
        "log_e_in": map(&above, &[(0, 20), (3, 20), (6, 20), (8, 60), (12, 60), (20, 60)])?,
        "upper_cs95": map(&upper, &[(0, 20), (0, 40), (0, 59), (1, 60), (3, 60), (9, 60)])?,
        "lower_cs95": map(&lower, &[(3, 20), (6, 20), (12, 60), (20, 60), (60, 60)])?,
        "critical_counts": criticals?,
        "n_zero_successes_to_rule_out_alpha05": by_tau,
        "n_zero_successes_tau10_by_alpha": by_alpha,
    }))
}

fn attempts_needed(inputs: &Value) -> Result<Value, StatsError> {
    let mut found = Map::new();
    for (name, alpha) in [
        ("0.05", 0.05),
        ("0.004166666666666667", 0.05 / 12.0),
        ("0.001", 0.001),
    ] {
        let mut needed = Map::new();
        for successes in [0, 1, 2, 3, 5] {
            let found = gate::attempts_needed(successes, level(inputs, "tau"), Level::new("alpha", alpha)?)?;
            needed.insert(successes.to_string(), json!(found.map(|found| found.units)));
        }
        found.insert(format!("alpha{name}"), Value::Object(needed));
    }
    Ok(Value::Object(found))
}

fn one_sided_characteristics(inputs: &Value) -> Result<Value, StatsError> {
    let rule = rule(level(inputs, "tau"), Level::P05)?;
    let mut found = Map::new();
    for rate in RATES {
        let exact = gate::operating_characteristics(&rule, rate.parse().unwrap(), &counts(inputs, "looks"))?;
        found.insert(rate.to_owned(), characteristics(&exact));
    }
    Ok(Value::Object(found))
}

fn errors_at_every_unit(inputs: &Value) -> Result<Value, StatsError> {
    let tau = level(inputs, "tau");
    let looks: Vec<u64> = (1..=400).collect();
    let exact = gate::operating_characteristics(&rule(tau, Level::P05)?, tau.get(), &looks)?;
    Ok(json!({"p_false_rule_out": exact.below, "p_false_rule_in": exact.above}))
}

fn naive_peeking(inputs: &Value) -> Result<Value, StatsError> {
    let mut found = Map::new();
    for n in [60, 120, 300] {
        let exact = sequential::repeated_fixed_test(level(inputs, "tau"), level(inputs, "alpha"), n)?;
        found.insert(n.to_string(), json!(exact.below));
    }
    Ok(Value::Object(found))
}

fn checkpoint_budget(inputs: &Value) -> Result<Value, StatsError> {
    let errors = SeriesErrors {
        below: level(inputs, "alpha"),
        above: level(inputs, "alpha"),
        schedule: Schedule::Telescoping,
    };
    let of = |number: u64| {
        let cost = gate::checkpoint_cost(&errors, Checkpoint::new(number)?, level(inputs, "tau"))?;
        Ok(json!({
            "i": number,
            // The entry has ten digits and asks for equality.
            "alpha_i": format!("{:.9e}", cost.alpha.get()).parse::<f64>().unwrap(),
            "n_fixed_exact": cost.fixed_units,
            "n_anytime": cost.anytime_units,
        }))
    };
    counts(inputs, "i").into_iter().map(of).collect()
}
