//! Intervals, standard errors, comparisons, spread between tasks.
#![expect(clippy::unwrap_used, reason = "figures of a fixture that is checked in")]

use harness_core::stats::bootstrap::{ClusterBootstrap, Draws, Resamples, Ties};
use harness_core::stats::confidence_sequence::{self, MixturePrior};
use harness_core::stats::multiplicity::{Correction, adjust};
use harness_core::stats::overdispersion::{self, beta_binomial};
use harness_core::stats::paired::{self, Alternative, PairedCounts};
use harness_core::stats::special::student_t_quantile;
use harness_core::stats::standard_error::{self, ClusteredMean};
use harness_core::stats::{Interval, Level, PValue, Rate, Side, StatsError, independent, interval};
use serde_json::{Map, Value, json};

/// Returns what this crate computes for an entry, in the shape of the entry's outputs; `None` if it is not of this family.
pub(crate) fn compute(id: &str, inputs: &Value) -> Option<Value> {
    let found = match id {
        "zero_successes" => zero_successes(),
        "zero_successes_sample_size" => rule_out_units(inputs),
        "clustered_se_basic" => clustered(inputs),
        "paired_diff" => paired_scores(inputs),
        "resample_variance_uniform_p" => resampling(inputs),
        "cluster_bootstrap_exact" => cluster_bootstrap(inputs),
        "bca_exact" => bca(inputs),
        "paired_permutation" => permutation(inputs),
        "paired_bayes_dirichlet" => paired_bayes(inputs),
        "overdispersion" => overdispersion(inputs),
        "clustered_bayes" => cluster_model(inputs),
        "eb_shrinkage" => shrinkage(inputs),
        "multiplicity" => multiplicity(inputs),
        _ if id.starts_with("mcnemar_") => mcnemar(inputs),
        _ if id.starts_with("paired_diff_ci_") => paired_rates(inputs),
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
        let anytime = confidence_sequence::beta_binomial(&rate, Level::P05, MixturePrior::JEFFREYS)?;
        Ok(json!({
            "n": n,
            "cs_anytime": anytime.interval().upper,
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

fn clusters(inputs: &Value) -> Vec<u64> {
    let values = inputs["clusters"].as_array().unwrap();
    values.iter().map(|value| value.as_u64().unwrap()).collect()
}

fn clustered(inputs: &Value) -> Result<Value, StatsError> {
    let scores = numbers(inputs, "scores");
    let clusters = clusters(inputs);
    let ClusteredMean {
        mean,
        uncorrected,
        design_effect,
    } = standard_error::clustered(&scores, &clusters)?;
    let successes = scores.iter().filter(|score| **score > 0.5).count() as u64;
    let rate = Rate::of(successes, scores.len() as u64)?;
    Ok(json!({
        "mean": mean.value,
        "se_clt": standard_error::plain(&scores)?.standard_error,
        "se_bernoulli": standard_error::proportion(&rate)?.standard_error,
        "se_cluster_miller": uncorrected.standard_error,
        "se_cluster_corrected": mean.standard_error,
        "deff": design_effect,
        "t_crit_df_Cminus1": student_t_quantile(0.975, mean.units as f64 - 1.0)?,
        "ci_t": two(mean.interval(Level::P95)?.interval),
    }))
}

fn paired_scores(inputs: &Value) -> Result<Value, StatsError> {
    let (a, b) = (numbers(inputs, "a"), numbers(inputs, "b"));
    let found = paired::paired_difference(&a, &b)?;
    let clustered = standard_error::clustered(&paired::differences(&a, &b)?, &clusters(inputs))?;
    Ok(json!({
        "diff": found.difference.value,
        "se_paired": found.difference.standard_error,
        "se_unpaired": found.unpaired_standard_error,
        "corr": found.correlation,
        "z": found.difference.value / found.difference.standard_error,
        "se_paired_cluster_miller": clustered.uncorrected.standard_error,
        "se_paired_cluster_corrected": clustered.mean.standard_error,
    }))
}

fn resampling(inputs: &Value) -> Result<Value, StatsError> {
    let between = inputs["var_x"].as_f64().unwrap();
    let within = inputs["mean_sigma2"].as_f64().unwrap();
    let of = |repeats| {
        let found = standard_error::resampling(between, within, repeats)?;
        Ok(json!({
            "K": found.repeats,
            "var_per_question": found.variance,
            "reduction": found.reduction,
        }))
    };
    [1, 2, 4, 6, 10].into_iter().map(of).collect()
}

const DRAWS: Draws = Draws {
    count: 1_000,
    seed: 0,
};

fn cluster_bootstrap(inputs: &Value) -> Result<Value, StatsError> {
    let bootstrap = ClusterBootstrap::new(&numbers(inputs, "scores"), &clusters(inputs))?;
    let found = bootstrap.percentile(&bootstrap.resample(DRAWS)?, Level::P95);
    Ok(json!({
        "mean": found.mean,
        "sd": found.standard_error,
        "q025": found.estimate.interval.lower,
        "q50": found.median,
        "q975": found.estimate.interval.upper,
    }))
}

/// Returns the means of all resamples of `x`, in the order and with the roundings of numpy.
fn all_means(x: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0];
    for _ in x {
        sums = sums
            .iter()
            .flat_map(|sum| x.iter().map(move |value| sum + value))
            .collect();
    }
    sums.into_iter().map(|sum| sum / x.len() as f64).collect()
}

/// The figures are scipy's, whose comparison of resampled means with the mean depends on roundings.
fn bca(inputs: &Value) -> Result<Value, StatsError> {
    let x = numbers(inputs, "x");
    let units: Vec<usize> = (0..x.len()).collect();
    let bootstrap = ClusterBootstrap::new(&x, &units)?;
    let means = all_means(&x);
    let draws = Draws {
        count: u32::try_from(means.len()).unwrap(),
        seed: 0,
    };
    let resamples = Resamples::drawn(means, draws)?;
    let found = bootstrap.bca(&resamples, Level::P95, Ties::AsComputed)?;
    Ok(json!({
        "theta": found.estimate.value,
        "z0": found.bias,
        "a": found.acceleration,
        "level_lo": found.lower_level,
        "level_hi": found.upper_level,
        "bca": two(found.estimate.interval),
        "percentile": two(bootstrap.percentile(&resamples, Level::P95).estimate.interval),
        "boot_se": found.standard_error,
        "scipy_B200000": two(found.estimate.interval),
    }))
}

fn mcnemar(inputs: &Value) -> Result<Value, StatsError> {
    let found = paired::mcnemar(&PairedCounts {
        both: 0,
        only_a: count(inputs, "b"),
        only_b: count(inputs, "c"),
        neither: 0,
    })?;
    let (plain, corrected) = (found.asymptotic.unwrap(), found.corrected.unwrap());
    Ok(json!({
        "p_exact": found.exact.value,
        "p_mid": found.mid.value,
        "chi2": plain.statistic,
        "p_chi2": plain.p.value,
        "chi2_cc": corrected.statistic,
        "p_chi2_cc": corrected.p.value,
    }))
}

fn permutation(inputs: &Value) -> Result<Value, StatsError> {
    let differences = numbers(inputs, "diffs");
    let two_sided = paired::sign_flip(&differences, Alternative::TwoSided, DRAWS)?;
    let greater = paired::sign_flip(&differences, Alternative::Greater, DRAWS)?;
    Ok(json!({
        "mean": two_sided.difference,
        "p_two": two_sided.p.value,
        "p_greater": greater.p.value,
        "wilcoxon_p": paired::wilcoxon(&differences)?.p.value,
    }))
}

fn paired_rates(inputs: &Value) -> Result<Value, StatsError> {
    let counts = PairedCounts {
        both: count(inputs, "both"),
        only_a: count(inputs, "only_A"),
        only_b: count(inputs, "only_B"),
        neither: count(inputs, "neither"),
    };
    let newcombe = paired::newcombe(&counts, Level::P95)?;
    Ok(json!({
        "diff": newcombe.value,
        "wald": two(paired::wald(&counts, Level::P95)?.interval),
        "agresti_min": two(paired::agresti_min(&counts, Level::P95)?.interval),
        "newcombe10": two(newcombe.interval),
        "tango": two(paired::tango(&counts, Level::P95)?.interval),
    }))
}

fn paired_bayes(inputs: &Value) -> Result<Value, StatsError> {
    let found = paired::probability_higher(&PairedCounts {
        both: 0,
        only_a: count(inputs, "b_onlyA"),
        only_b: count(inputs, "c_onlyB"),
        neither: 0,
    })?;
    Ok(json!({"prob": found.probability}))
}

fn multiplicity(inputs: &Value) -> Result<Value, StatsError> {
    let p = numbers(inputs, "p");
    let p: Vec<PValue> = p
        .into_iter()
        .map(|value| PValue { value, test: "given" })
        .collect();
    let mut found = Map::new();
    for (name, correction) in [
        ("bonferroni", Correction::Bonferroni),
        ("holm", Correction::Holm),
        ("hommel", Correction::Hommel),
        ("simes-hochberg", Correction::Hochberg),
        ("fdr_bh", Correction::BenjaminiHochberg),
        ("fdr_by", Correction::BenjaminiYekutieli),
    ] {
        let adjusted = adjust(&p, correction)?;
        found.insert(name.into(), adjusted.iter().map(|p| json!(p.value)).collect());
    }
    Ok(Value::Object(found))
}

fn tasks(inputs: &Value) -> Result<Vec<Rate>, StatsError> {
    let counts = |key: &str| -> Vec<u64> {
        let values = inputs[key].as_array().unwrap();
        values.iter().map(|value| value.as_u64().unwrap()).collect()
    };
    counts("successes")
        .into_iter()
        .zip(counts("trials"))
        .map(|(k, n)| Rate::of(k, n))
        .collect()
}

fn overdispersion(inputs: &Value) -> Result<Value, StatsError> {
    let tasks = tasks(inputs)?;
    let fit = beta_binomial(&tasks)?;
    let spread = overdispersion::spread(&tasks)?;
    Ok(json!({
        "alpha": fit.alpha,
        "beta": fit.beta,
        "mean": fit.mean,
        "rho": fit.rho,
        "loglik_kernel": fit.ln_likelihood,
        "icc_anova": spread.icc,
        "deff": spread.design_effect,
        "n_eff": spread.effective_attempts,
        "se_naive": spread.attempts.standard_error,
        "se_task": spread.tasks.standard_error,
    }))
}

fn cluster_model(inputs: &Value) -> Result<Value, StatsError> {
    let tasks = tasks(inputs)?;
    let found = overdispersion::cluster_model(&tasks, Level::P95)?;
    let pooled = Rate::of(
        tasks.iter().map(Rate::successes).sum(),
        tasks.iter().map(Rate::units).sum(),
    )?;
    let naive = interval::uniform_posterior(&pooled, Level::P95)?;
    Ok(json!({
        "posterior": {
            "mean": found.mean,
            "q025": found.interval.lower,
            "q50": found.median,
            "q975": found.interval.upper,
        },
        "naive_iid_beta": {"mean": naive.mean, "interval": two(naive.interval)},
    }))
}

fn shrinkage(inputs: &Value) -> Result<Value, StatsError> {
    let tasks = tasks(inputs)?;
    let found = overdispersion::shrunken(&tasks, &beta_binomial(&tasks)?, Level::P95)?;
    let means: Vec<f64> = found.iter().map(|posterior| posterior.mean).collect();
    Ok(json!({"posterior_mean": means}))
}
