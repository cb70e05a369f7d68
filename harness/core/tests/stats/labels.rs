//! Repeats, power, corrected rates, agreement, elicitation, item response.
#![expect(clippy::unwrap_used, reason = "figures of a fixture that is checked in")]

use harness_core::stats::agreement::{
    Confusion, Kappa, Ratings, Weights, cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha, pabak,
};
use harness_core::stats::elicitation::{
    Elicitation, Graded, NoiseSweep, elicitation_gap, recovered_fraction, strong_reject,
};
use harness_core::stats::item_response::{Answer, person_fit, rasch_ability, rasch_ability_with_prior};
use harness_core::stats::misclassification::{
    Calibration, Judged, Labelled, Labeller, Population, Reliance, Share, ppi_mean, rogan_gladen,
    rogan_gladen_posterior,
};
use harness_core::stats::power::{Demand, PairedVariance, samples_needed, smallest_difference};
use harness_core::stats::repeats::{Goal, best_of, mean_pass, pass, pass_sampling};
use harness_core::stats::spurious::{
    Audit, Conversion, audit_interval, audited_rate, imbens_manski, spurious_bounds, spurious_posterior,
};
use harness_core::stats::{Interval, Level, Rate, Side};
use serde_json::{Map, Value, json};

/// Returns what this crate computes for an entry, in the shape of the entry's outputs; `None` if it is not of this family.
pub(crate) fn compute(id: &str, inputs: &Value) -> Option<Value> {
    Some(match id {
        "power_paired" => power_paired(inputs),
        "pass_at_k" => pass_at_k(inputs),
        "pass_at_k_variance" => pass_at_k_variance(),
        "pass_at_k_task_se" => pass_at_k_task_se(inputs),
        "best_of_k" => best_of_k(inputs),
        "rogan_gladen_a" | "rogan_gladen_b" | "rogan_gladen_c" => rogan_gladen_case(inputs),
        "rogan_gladen_bayes" => rogan_gladen_bayes(inputs),
        "audit_hypergeometric" => audit_hypergeometric(inputs),
        "spurious_bounds" => bounds(inputs),
        "imbens_manski" => imbens_manski_case(inputs),
        "spurious_audited" => spurious_audited(inputs),
        "spurious_bayes" => spurious_bayes(inputs),
        "ppi_mean" => ppi(inputs),
        "cohen_kappa" => kappa(inputs),
        "kappa_paradox" => kappa_paradox(inputs),
        "krippendorff_alpha" => alpha(inputs),
        "irt_1pl" => irt(inputs),
        "irt_person_fit" => irt_fit(inputs),
        "recovered_fraction_delta" => recovered(inputs),
        "elicitation_gap" => gap(inputs),
        "noise_improvement_ratio" => noise(inputs),
        "strongreject" => strongreject(inputs),
        _ => return None,
    })
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// Reads `[successes, units]`.
fn rate(value: &Value) -> Rate {
    Rate::of(count(&value[0]), count(&value[1])).unwrap()
}

/// Reads `[units, successes]`.
fn attempts(value: &Value) -> Rate {
    Rate::of(count(&value[1]), count(&value[0])).unwrap()
}

fn level(value: f64) -> Level {
    Level::new("a level of an oracle", value).unwrap()
}

/// Counts and shares were divided and written with ten digits; this finds the count again.
fn times(share: f64, units: u64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of a fixture"
    )]
    let count = (share * units as f64).round() as u64;
    count
}

fn ends(interval: &Interval) -> Value {
    json!([interval.lower, interval.upper])
}

fn power_paired(inputs: &Value) -> Value {
    let demand = Demand {
        alpha: level(number(&inputs["alpha"])),
        power: level(number(&inputs["power"])),
    };
    let within = [number(&inputs["sigma2_A"]), number(&inputs["sigma2_B"])];
    let between = number(&inputs["omega2"]);
    let noisy = PairedVariance::new(between, within).unwrap();
    let exact = PairedVariance::new(between, [0.0, 0.0]).unwrap();
    let needed =
        |variance: &PairedVariance, epochs| samples_needed(variance, epochs, 0.03, demand).unwrap().exact;
    let least = |epochs| {
        smallest_difference(&noisy, epochs, 198, demand)
            .unwrap()
            .difference
    };
    json!({
        "n_delta03_sigma0": needed(&exact, [1, 1]),
        "n_delta03_K1": needed(&noisy, [1, 1]),
        "n_delta03_K10": needed(&noisy, [10, 10]),
        "mde_n198_K1": least([1, 1]),
        "mde_n198_K10": least([10, 10]),
    })
}

fn pass_at_k(inputs: &Value) -> Value {
    let tasks: Vec<Rate> = inputs["n_c"].as_array().unwrap().iter().map(attempts).collect();
    let ks: Vec<u64> = inputs["ks"].as_array().unwrap().iter().map(count).collect();
    let all = |goal: fn(u64) -> Goal| -> Value {
        let each = ks.iter().map(|k| {
            let of_task = |task| pass(task, goal(*k), Level::P95, Side::Two).unwrap().value;
            (
                k.to_string(),
                tasks.iter().map(of_task).collect::<Vec<f64>>().into(),
            )
        });
        Value::Object(each.collect::<Map<String, Value>>())
    };
    // The plug-in is biased and no function of the crate; it is the mean of the sampling distribution at the rate found.
    let plug_in = tasks.iter().map(|task| {
        let p = task.successes() as f64 / task.units() as f64;
        pass_sampling(Goal::AnyOf(5), 5, p).unwrap().mean
    });
    json!({
        "pass_at_k": all(Goal::AnyOf),
        "pass_hat_k": all(Goal::AllOf),
        "biased_plugin_at5": plug_in.collect::<Vec<f64>>(),
    })
}

fn pass_at_k_variance() -> Value {
    let cases = [
        ("n10_p0.1_k5", 10, 0.1, 5),
        ("n20_p0.1_k5", 20, 0.1, 5),
        ("n10_p0.3_k2", 10, 0.3, 2),
        ("n10_p0.05_k10", 10, 0.05, 10),
    ];
    let each = cases.map(|(name, n, p, k)| {
        let found = pass_sampling(Goal::AnyOf(k), n, p).unwrap();
        let truth = 1.0 - (1.0 - p).powi(i32::try_from(k).unwrap());
        let value = json!({"mean": found.mean, "truth": truth, "var": found.variance});
        (name.to_owned(), value)
    });
    Value::Object(each.into_iter().collect())
}

fn pass_at_k_task_se(inputs: &Value) -> Value {
    let tasks: Vec<Rate> = inputs["n_c"].as_array().unwrap().iter().map(attempts).collect();
    let found = mean_pass(&tasks, Goal::AnyOf(count(&inputs["k"])), Level::P95).unwrap();
    json!({"mean": found.estimate.value, "se": found.standard_error})
}

fn best_of_k(inputs: &Value) -> Value {
    let scores = numbers(&inputs["scores"]);
    let each = (1..=scores.len() as u64).map(|k| (k.to_string(), json!(best_of(&scores, k).unwrap().value)));
    Value::Object(each.collect())
}

fn population() -> Population {
    Population {
        model_family: "oracle".to_owned(),
        phase: "main".to_owned(),
    }
}

fn labeller(sensitivity: Share, specificity: Share) -> Labeller {
    let calibration = Calibration {
        population: population(),
        sensitivity,
        specificity,
    };
    calibration.accept(Level::P95).unwrap()
}

fn labelled(positive: Share) -> Labelled {
    Labelled {
        population: population(),
        positive,
    }
}

fn rogan_gladen_case(inputs: &Value) -> Value {
    let share = |value: &str, units: &str| {
        Share::new("a share", number(&inputs[value]), count(&inputs[units])).unwrap()
    };
    let labeller = labeller(share("se", "m1"), share("sp", "m0"));
    let found = rogan_gladen(&labelled(share("p", "n")), &labeller, Level::P95).unwrap();
    json!({
        "theta": found.unclipped,
        "theta_clipped": found.estimate.value,
        "se": found.standard_error,
        "wald": ends(&found.normal),
        "lee2025": ends(&found.estimate.interval),
    })
}

fn rogan_gladen_bayes(inputs: &Value) -> Value {
    let share = |part: &str, units: &str| {
        let rate = Rate::of(count(&inputs[part]), count(&inputs[units])).unwrap();
        Share::of("a share", &rate).unwrap()
    };
    let labeller = labeller(share("tp", "m1"), share("tn", "m0"));
    let found = rogan_gladen_posterior(&labelled(share("y", "n")), &labeller, Level::P95).unwrap();
    json!({
        "mean": found.mean, "q025": found.interval.lower, "q50": found.median, "q975": found.interval.upper,
    })
}

fn audit_hypergeometric(inputs: &Value) -> Value {
    let confidence = level(number(&inputs["alpha"])).complement();
    let cases = inputs["cases"].as_array().unwrap().iter().map(|case| {
        let (failures, audited, found) = (count(&case[0]), count(&case[1]), count(&case[2]));
        let audit = Audit::new(failures, audited, found).unwrap();
        let both = audit_interval(&audit, confidence, Side::Two).unwrap();
        let upper = audit_interval(&audit, confidence, Side::Upper).unwrap().upper;
        json!({"F": failures, "m": audited, "a": found, "ci": [both.lower, both.upper], "upper_1sided": upper})
    });
    Value::Array(cases.collect())
}

fn bounds(inputs: &Value) -> Value {
    let rate = Rate::of(count(&inputs["success"]), count(&inputs["N"])).unwrap();
    let spurious = count(&inputs["fail_spurious"]);
    assert_eq!(rate.failures(), spurious + count(&inputs["fail_real"]));
    let found = spurious_bounds(&rate, spurious, Level::P95).unwrap();
    let excluded = found.excluded.unwrap();
    // Converting spurious failures at the rate of the others is an audit of all of them with that conversion.
    let audit = Audit::new(rate.failures(), rate.failures(), spurious).unwrap();
    let same = Conversion::new(excluded.value).unwrap();
    let converted = audited_rate(&rate, &audit, same, Level::P95).unwrap();
    json!({
        "as_failure": found.as_failures.value,
        "as_failure_cp": ends(&found.as_failures.interval),
        "exclude": excluded.value,
        "exclude_cp": ends(&excluded.interval),
        "all_convert": found.all_converted.value,
        "all_convert_cp": ends(&found.all_converted.interval),
        "convert_at_observed_rate": converted.estimate.value,
        "envelope_cp_2sided": ends(&found.envelope),
        "upper_1sided_all_convert": found.at_most.upper,
    })
}

fn imbens_manski_case(inputs: &Value) -> Value {
    let n = count(&inputs["n"]);
    let least = times(number(&inputs["lower"]), n);
    let most = times(number(&inputs["upper"]), n);
    let confidence = level(number(&inputs["alpha"])).complement();
    let found = imbens_manski(&Rate::of(least, n).unwrap(), most - least, confidence).unwrap();
    json!({"C": found.critical, "ci": ends(&found.interval)})
}

fn audit(inputs: &Value) -> (Rate, Audit) {
    let rate = Rate::of(count(&inputs["S"]), count(&inputs["N"])).unwrap();
    let audit = Audit::new(count(&inputs["F"]), count(&inputs["m"]), count(&inputs["a"])).unwrap();
    (rate, audit)
}

fn spurious_audited(inputs: &Value) -> Value {
    let (rate, audit) = audit(inputs);
    let each = numbers(&inputs["q_values"]).into_iter().map(|q| {
        let found = audited_rate(&rate, &audit, Conversion::new(q).unwrap(), Level::P95).unwrap();
        let value = json!({
            "point": found.estimate.value,
            "spurious_ci": [found.spurious.lower, found.spurious.upper],
            "upper_plugin": found.upper_plugin,
            "bonferroni_interval": ends(&found.estimate.interval),
        });
        (format!("{q:.1}"), value)
    });
    Value::Object(each.collect())
}

fn spurious_bayes(inputs: &Value) -> Value {
    let (rate, audit) = audit(inputs);
    // A Beta(c + 1, t - c + 1) is c of t with a uniform prior.
    let (a, b) = (count(&inputs["q_beta"][0]), count(&inputs["q_beta"][1]));
    let converted = Rate::of(a - 1, a + b - 2).unwrap();
    let found = spurious_posterior(&rate, &audit, &converted, Level::P95).unwrap();
    let posterior = found.posterior;
    json!({
        "mean": posterior.mean, "q025": posterior.interval.lower, "q50": posterior.median,
        "q975": posterior.interval.upper, "q95": found.at_most.upper,
    })
}

fn ppi(inputs: &Value) -> Value {
    let truths = numbers(&inputs["Y"]);
    let both: Vec<Judged> = truths
        .iter()
        .zip(numbers(&inputs["Yhat"]))
        .map(|(truth, judged)| Judged {
            truth: *truth,
            judged,
        })
        .collect();
    let judged_only = numbers(&inputs["Yhat_unlabeled"]);
    let of = |reliance| ppi_mean(&both, &judged_only, reliance, Level::P95).unwrap();
    let (full, tuned) = (of(Reliance::Full), of(Reliance::Tuned));
    let interval = full.estimate.interval;
    // The entry's own lambda divides the covariance by n - 1; the one that gave its interval divides by n.
    let n = truths.len() as f64;
    json!({
        "lam1_point": full.estimate.value,
        "lam1_ci": ends(&interval),
        "tuned_point": tuned.estimate.value,
        "tuned_ci": ends(&tuned.estimate.interval),
        "classical_ci": ends(&full.people_only.unwrap().interval),
        "own_lam1": [full.estimate.value, interval.lower, interval.upper],
        "own_lambda_hat": tuned.lambda * n / (n - 1.0),
    })
}

fn table(value: &Value) -> Confusion {
    let rows = value.as_array().unwrap().iter();
    Confusion::new(
        rows.map(|row| row.as_array().unwrap().iter().map(count).collect())
            .collect(),
    )
    .unwrap()
}

fn labels(value: &Value) -> Vec<Option<usize>> {
    let each = value.as_array().unwrap().iter();
    each.map(|label| label.as_u64().map(|label| usize::try_from(label).unwrap()))
        .collect()
}

fn agreement(table: &Confusion) -> f64 {
    let rate = table.agreement().unwrap();
    rate.successes() as f64 / rate.units() as f64
}

fn kappa(inputs: &Value) -> Value {
    let full = |name: &str| -> Vec<usize> { labels(&inputs[name]).into_iter().map(Option::unwrap).collect() };
    let counted = Confusion::of_labels(&full("rater1"), &full("rater2"), 3).unwrap();
    assert_eq!(counted, table(&inputs["table"]));
    let of = |weights| -> Kappa { cohen_kappa(&counted, weights, Level::P95).unwrap() };
    let plain = of(Weights::None);
    json!({
        "po": agreement(&counted),
        "kappa": plain.estimate.value,
        "se": plain.standard_error,
        "se_null": plain.standard_error_if_chance,
        "ci": ends(&plain.estimate.interval),
        "linear": of(Weights::Linear).estimate.value,
        "quadratic": of(Weights::Quadratic).estimate.value,
        "gwet_ac1": gwet_ac1(&counted, Level::P95).unwrap().value,
        "pabak": pabak(&counted, Level::P95).unwrap().value,
    })
}

fn kappa_paradox(inputs: &Value) -> Value {
    let table = table(&inputs["table"]);
    json!({
        "po": agreement(&table),
        "kappa": cohen_kappa(&table, Weights::None, Level::P95).unwrap().estimate.value,
        "gwet_ac1": gwet_ac1(&table, Level::P95).unwrap().value,
    })
}

fn alpha(inputs: &Value) -> Value {
    let by_labeller: Vec<_> = inputs["raters_by_units"]
        .as_array()
        .unwrap()
        .iter()
        .map(labels)
        .collect();
    let ratings = Ratings::new(&by_labeller, 2).unwrap();
    json!({
        "alpha": krippendorff_alpha(&ratings, Level::P95).unwrap().value,
        "fleiss_complete_units": fleiss_kappa(&ratings, Level::P95).unwrap().value,
    })
}

fn answers(inputs: &Value, name: &str) -> Vec<Answer> {
    numbers(&inputs["difficulty"])
        .into_iter()
        .zip(inputs[name].as_array().unwrap())
        .map(|(difficulty, passed)| Answer {
            difficulty,
            passed: count(passed) == 1,
        })
        .collect()
}

fn irt(inputs: &Value) -> Value {
    let answers = answers(inputs, "response");
    let found = rasch_ability(&answers, Level::P95).unwrap();
    let z = 1.959_963_984_540_054;
    json!({
        "theta_mle": found.value,
        "se": (found.interval.upper - found.interval.lower) / 2.0 / z,
        "theta_map_N01": rasch_ability_with_prior(&answers, Level::P95).unwrap().value,
    })
}

fn irt_fit(inputs: &Value) -> Value {
    let fit = |name: &str| {
        let found = person_fit(&answers(inputs, name), Level::P95).unwrap();
        assert_eq!(found.alarm, name == "reversed");
        json!({"theta": found.ability.value, "outfit": found.outfit, "infit": found.infit})
    };
    json!({"normal": fit("normal"), "reversed": fit("reversed")})
}

fn recovered(inputs: &Value) -> Value {
    let found = recovered_fraction(
        Elicitation {
            elicited: &rate(&inputs["e"]),
            baseline: &rate(&inputs["b"]),
            ceiling: &rate(&inputs["c"]),
        },
        Level::P95,
    )
    .unwrap();
    json!({"rf": found.estimate.value, "se": found.standard_error, "ci": ends(&found.estimate.interval)})
}

fn gap(inputs: &Value) -> Value {
    let (baseline, elicited) = (rate(&inputs["base"]), rate(&inputs["elicited"]));
    let found = elicitation_gap(&elicited, &baseline, Level::P95).unwrap();
    let recovered = recovered_fraction(
        Elicitation {
            elicited: &elicited,
            baseline: &baseline,
            ceiling: &rate(&inputs["ceiling"]),
        },
        Level::P95,
    );
    json!({
        "gap": found.value,
        "gap_newcombe": ends(&found.interval),
        "recovered_fraction": recovered.unwrap().estimate.value,
    })
}

fn noise(inputs: &Value) -> Value {
    let sweep = NoiseSweep {
        items: 20,
        baseline: number(&inputs["baseline"]),
        with_noise: vec![0.1, number(&inputs["max_over_noise"]), 0.2],
    };
    json!({"phi": sweep.improvement().unwrap().ratio})
}

fn strongreject(inputs: &Value) -> Value {
    let cases = inputs["cases"].as_array().unwrap().iter().map(|case| {
        let part = |at: usize| u8::try_from(count(&case[at])).unwrap();
        let graded = Graded::new(part(0) == 1, part(1), part(2)).unwrap();
        json!(strong_reject(graded).score)
    });
    Value::Array(cases.collect())
}
