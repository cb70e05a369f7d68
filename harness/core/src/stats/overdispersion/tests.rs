//! Fits and posteriors against other programs, laws, and data that have no answer.

use proptest::prelude::*;

use super::*;
use crate::stats::standard_error::clustered_counts;

type Counts = (u64, u64);

fn rates(counts: &[Counts]) -> Vec<Rate> {
    counts.iter().map(|(k, n)| Rate::of(*k, *n).unwrap()).collect()
}

const UNEQUAL: [(u64, u64); 6] = [(3, 4), (0, 7), (20, 22), (1, 1), (5, 9), (2, 40)];

fn sixty() -> Vec<(u64, u64)> {
    (0..60).map(|i| (i % 11, 10)).collect()
}

#[test]
fn fits_agree_with_scipy() {
    // Nelder and Mead's method on betaln, to 10⁻¹².
    let rare = [(1, 100), (0, 100), (0, 100), (9, 100), (2, 300)];
    let cases: [(&[Counts], f64, f64, f64); 4] = [
        (&UNEQUAL, 0.570_941_35, 0.649_058_84, -31.505_081_87),
        (&sixty(), 0.948_616_43, 1.040_176_28, -350.039_011_72),
        (&rare, 0.424_567_90, 19.821_196_48, -53.826_075_01),
        (
            &[(4, 10), (5, 10), (9, 10)],
            4.826_521_39,
            3.163_046_17,
            -19.659_335_99,
        ),
    ];
    for (counts, alpha, beta, ln_likelihood) in cases {
        let found = beta_binomial(&rates(counts)).unwrap();
        assert!((found.alpha / alpha - 1.0).abs() < 1e-6, "{counts:?}: {found:?}");
        assert!((found.beta / beta - 1.0).abs() < 1e-6, "{counts:?}: {found:?}");
        assert!(
            (found.ln_likelihood - ln_likelihood).abs() < 1e-7,
            "{counts:?}: {found:?}"
        );
    }
}

#[test]
fn posteriors_agree_with_a_dense_grid() {
    // Mean, median and ends from 3,001 x 1,501 points with numpy and a spline.
    let cases: [(&[Counts], [f64; 4]); 4] = [
        (
            &[(0, 10); 5],
            [0.090_646_289, 0.061_067_393, 0.002_148_141, 0.343_151_411],
        ),
        (
            &UNEQUAL,
            [0.475_694_333, 0.473_686_889, 0.227_235_278, 0.734_956_232],
        ),
        (
            &sixty(),
            [0.477_721_291, 0.477_568_464, 0.399_174_068, 0.557_135_160],
        ),
        (
            &[(40, 100); 30],
            [0.407_520_486, 0.407_239_463, 0.359_304_249, 0.457_354_785],
        ),
    ];
    for (counts, expected) in cases {
        let found = cluster_model(&rates(counts), Level::P95).unwrap();
        let found = [
            found.mean,
            found.median,
            found.interval.lower,
            found.interval.upper,
        ];
        for (found, expected) in found.into_iter().zip(expected) {
            assert!(
                (found - expected).abs() < 2e-6,
                "{counts:?}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn one_attempt_per_task_is_the_uniform_posterior() {
    // Without repeats the concentration does not matter: θ is Beta(k + 1, n - k + 1).
    for (k, n) in [(0_u64, 1_u64), (0, 8), (3, 8), (8, 8), (30, 200)] {
        let counts: Vec<(u64, u64)> = (0..n).map(|i| (u64::from(i < k), 1)).collect();
        let found = cluster_model(&rates(&counts), Level::P95).unwrap();
        let (a, b) = (k as f64 + 1.0, (n - k) as f64 + 1.0);
        let ends = [0.025, 0.975].map(|p| beta_quantile(a, b, p).unwrap());
        assert!((found.mean - a / (a + b)).abs() < 1e-6, "{k} of {n}: {found:?}");
        assert!(
            (found.interval.lower - ends[0]).abs() < 2e-6,
            "{k} of {n}: {found:?}"
        );
        assert!(
            (found.interval.upper - ends[1]).abs() < 2e-6,
            "{k} of {n}: {found:?}"
        );
    }
}

#[test]
fn many_tasks_agree_with_the_standard_error() {
    let tasks = rates(&(0..1_000).map(|i| (i * 7 % 11, 10)).collect::<Vec<_>>());
    let model = cluster_model(&tasks, Level::P95).unwrap().interval;
    let clustered = clustered_counts(&tasks)
        .unwrap()
        .mean
        .interval(Level::P95)
        .unwrap()
        .interval;
    let width = clustered.upper - clustered.lower;
    assert!(
        (model.upper - model.lower - width).abs() < 0.05 * width,
        "{model:?} {clustered:?}"
    );
    assert!(
        (model.lower - clustered.lower).abs() < 0.05 * width,
        "{model:?} {clustered:?}"
    );
}

#[test]
fn a_billion_attempts_are_as_many_tasks() {
    let tasks = rates(&[
        (100_000_000, 1_000_000_000),
        (500_000_000, 1_000_000_000),
        (0, 1_000_000_000),
    ]);
    let found = cluster_model(&tasks, Level::P95).unwrap();
    assert!(
        found.interval.lower > 0.01 && found.interval.upper < 0.75,
        "{found:?}"
    );
    let spread = spread(&tasks).unwrap();
    assert!(spread.icc > 0.2 && spread.effective_attempts < 20.0, "{spread:?}");
    assert!(beta_binomial(&tasks).is_ok());
}

#[test]
fn data_without_an_answer_are_refused() {
    let cases: [(&[Counts], &str); 5] = [
        (&[(0, 10), (0, 10)], "all attempts end alike"),
        (&[(10, 10), (5, 5)], "all attempts end alike"),
        (&[(0, 10), (10, 10)], "each task always or never succeeds"),
        (&[(0, 1), (1, 1)], "no task has more than one attempt"),
        (
            &[(5, 10), (5, 10), (5, 10), (4, 10)],
            "tasks differ no more than chance lets them",
        ),
    ];
    for (counts, why) in cases {
        let error = beta_binomial(&rates(counts)).unwrap_err().to_string();
        assert_eq!(error, format!("a beta-binomial fit is undefined: {why}"));
    }
    for counts in [&[(1, 2)][..], &[], &[(1, 2), (0, 0)]] {
        assert!(beta_binomial(&rates(counts)).is_err() && spread(&rates(counts)).is_err());
    }
    assert!(spread(&rates(&[(0, 5), (0, 5)])).is_err() && spread(&rates(&[(0, 1), (1, 1)])).is_err());
    assert!(cluster_model(&[], Level::P95).is_err());
    assert!(cluster_model(&rates(&[(0, 0)]), Level::P95).is_err());
    assert!(cluster_model(&rates(&[(1, 2)]), Level::P95).is_ok());
}

#[test]
fn extreme_spreads_have_their_correlations() {
    let all = spread(&rates(&[(0, 10), (10, 10), (10, 10), (0, 10)])).unwrap();
    assert!((all.icc - 1.0).abs() < 1e-12 && (all.effective_attempts - 4.0).abs() < 1e-9);
    // Tasks that differ less than by chance: a negative correlation buys no attempts.
    let none = spread(&rates(&[(5, 10), (5, 10), (5, 10)])).unwrap();
    assert!(none.icc < 0.0);
    assert_eq!((none.design_effect, none.effective_attempts), (1.0, 30.0));
}

/// The share of intervals that hold the mean rate, over seeded data with an intraclass correlation of 1/2.
fn simulated_coverage(tasks: u32, interval: impl Fn(&[Rate]) -> (f64, f64)) -> f64 {
    use rand::RngExt as _;
    const SETS: u32 = 60;
    let holds = (0..SETS).filter(|set| {
        let mut rng = crate::stats::bootstrap::Draws::stream(20, *set);
        // Beta(1/2, 1/2) has mean 1/2 and correlation 1/(1/2 + 1/2 + 1).
        let data: Vec<Rate> = (0..tasks)
            .map(|_| {
                let rate = (std::f64::consts::FRAC_PI_2 * rng.random::<f64>()).sin().powi(2);
                let successes = (0..10).filter(|_| rng.random::<f64>() < rate).count();
                Rate::of(successes as u64, 10).unwrap()
            })
            .collect();
        let (lower, upper) = interval(&data);
        (lower..=upper).contains(&0.5)
    });
    holds.count() as f64 / f64::from(SETS)
}

#[test]
fn few_tasks_need_the_cluster_model() {
    let model = |data: &[Rate]| {
        let found = cluster_model(data, Level::P95).unwrap().interval;
        (found.lower, found.upper)
    };
    let naive = |data: &[Rate]| {
        let found = super::super::interval::wilson(&pooled("", data, 1).unwrap(), Level::P95, Side::Two);
        let found = found.unwrap();
        (found.lower, found.upper)
    };
    let clustered = |data: &[Rate]| match clustered_counts(data).unwrap().mean.interval(Level::P95) {
        Ok(found) => (found.interval.lower, found.interval.upper),
        Err(_) => (1.0, 0.0),
    };
    assert!(simulated_coverage(5, model) > 0.88);
    assert!(simulated_coverage(5, naive) < 0.85);
    assert!(simulated_coverage(20, clustered) > 0.88);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn order_does_not_matter_and_failures_mirror_successes(
        counts in prop::collection::vec((0_u64..6, 1_u64..6), 1..7),
    ) {
        let counts: Vec<(u64, u64)> = counts.into_iter().map(|(k, more)| (k, k + more)).collect();
        let of = |counts: &[(u64, u64)]| cluster_model(&rates(counts), Level::P95).unwrap();
        let found = of(&counts);
        let mirrored: Vec<(u64, u64)> = counts.iter().rev().map(|(k, n)| (n - k, *n)).collect();
        let mirrored = of(&mirrored);
        prop_assert!((found.mean + mirrored.mean - 1.0).abs() < 1e-6);
        prop_assert!((found.interval.lower + mirrored.interval.upper - 1.0).abs() < 1e-4);
        prop_assert!(found.interval.lower < found.median && found.median < found.interval.upper);
    }

    #[test]
    fn fits_are_maxima_and_pull_rates_together(counts in prop::collection::vec((0_u64..6, 1_u64..6), 2..9)) {
        let tasks = rates(&counts.into_iter().map(|(k, more)| (k, k + more)).collect::<Vec<_>>());
        let Ok(fit) = beta_binomial(&tasks) else { return Ok(()) };
        let value = |alpha: f64, beta: f64| -> f64 {
            let ln = |a, b| crate::stats::special::ln_beta(a, b).unwrap();
            tasks.iter().map(|t| ln(t.successes() as f64 + alpha, t.failures() as f64 + beta) - ln(alpha, beta)).sum()
        };
        for (left, right) in [(1.001, 1.0), (0.999, 1.0), (1.0, 1.001), (1.0, 0.999), (1.001, 1.001)] {
            prop_assert!(value(fit.alpha * left, fit.beta * right) <= fit.ln_likelihood + 1e-9);
        }
        for (task, posterior) in tasks.iter().zip(shrunken(&tasks, &fit, Level::P95).unwrap()) {
            let raw = task.successes() as f64 / task.units() as f64;
            let between = (posterior.mean - raw) * (posterior.mean - fit.mean);
            prop_assert!(between <= 1e-12);
            prop_assert!(posterior.interval.lower <= posterior.mean && posterior.mean <= posterior.interval.upper);
        }
    }
}
