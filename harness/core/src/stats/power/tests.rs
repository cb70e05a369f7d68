use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::super::gate::{CheckpointErrors, Rule};
use super::super::interval::clopper_pearson;
use super::super::{Rate, Side};
use super::*;

fn level(value: f64) -> Level {
    Level::new("a level", value).unwrap()
}

fn demand() -> Demand {
    Demand {
        alpha: Level::P05,
        power: level(0.8),
    }
}

/// Miller's example: true scores spread evenly from 0 to 1.
fn usual() -> PairedVariance {
    PairedVariance::new(1.0 / 9.0, [1.0 / 6.0, 1.0 / 6.0]).unwrap()
}

fn design(task_icc: f64) -> PairedDesign {
    PairedDesign {
        variance: usual(),
        task_icc,
        demand: demand(),
    }
}

#[test]
fn the_published_number_comes_out() {
    let exact = PairedVariance::new(1.0 / 9.0, [0.0, 0.0]).unwrap();
    assert_eq!(
        samples_needed(&exact, [1, 1], 0.03, demand()).unwrap().samples,
        969
    );
    let assumed = PairedVariance::of_scores(1.0 / 12.0, 1.0 / 3.0, 1.0 / 6.0).unwrap();
    assert!((assumed.between - usual().between).abs() < 1e-15);
}

#[test]
fn nonsense_is_refused() {
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(PairedVariance::new(bad, [0.1, 0.1]).is_err());
        assert!(PairedVariance::new(0.1, [0.1, bad]).is_err());
        assert!(samples_needed(&usual(), [1, 1], bad, demand()).is_err());
        assert!(Layout::even(9, 1, 1).unwrap().effective(bad, 0.1).is_err());
        assert!(
            design(bad)
                .smallest_difference(&Layout::even(9, 1, 1).unwrap())
                .is_err()
        );
    }
    assert_eq!(
        PairedVariance::new(0.0, [0.0, 0.0]).unwrap_err().to_string(),
        "a sample size is undefined: no variance is assumed, so one sample would prove anything"
    );
    assert!(PairedVariance::of_scores(0.1, 1.1, 0.1).is_err());
    assert!(samples_needed(&usual(), [0, 1], 0.1, demand()).is_err());
    assert!(samples_needed(&usual(), [1, 1], 0.0, demand()).is_err());
    assert!(samples_needed(&usual(), [1, 1], 1e-30, demand()).is_err());
    assert!(smallest_difference(&usual(), [1, 1], 0, demand()).is_err());
    let absurd = Demand {
        alpha: level(0.99),
        power: level(0.01),
    };
    assert!(samples_needed(&usual(), [1, 1], 0.1, absurd).is_err());
    assert!(design(0.2).tasks_needed(1, 1, 1e-12).is_err());
    for layout in [
        Layout::new(&[], 1),
        Layout::new(&[3, 0], 1),
        Layout::new(&[3], 0),
        Layout::new(&[u64::MAX, 2], 1),
        Layout::even(0, 1, 1),
        Layout::even(1, 0, 1),
        Layout::even(u64::MAX, u64::MAX, 1),
    ] {
        assert!(layout.is_err(), "{layout:?}");
    }
    assert_eq!(
        design(0.2)
            .smallest_difference(&Layout::even(4, 9, 9).unwrap())
            .unwrap_err()
            .to_string(),
        "a comparison needs at least 5 tasks, found 4"
    );
    assert!(rule_out_units(level(1e-15), 0, level(1e-9)).is_err());
    assert!(rule_out_units(level(0.5), u64::MAX, Level::P05).is_err());
}

#[test]
fn many_single_sample_tasks_are_independent_samples() {
    let layout = Layout::even(100_000, 1, 3).unwrap();
    let clustered = design(0.7).smallest_difference(&layout).unwrap().difference;
    let plain = smallest_difference(&usual(), [3, 3], 100_000, demand())
        .unwrap()
        .difference;
    assert!((clustered / plain - 1.0).abs() < 1e-4, "{clustered} {plain}");
}

#[test]
fn uneven_tasks_are_worth_less_than_even_ones() {
    let (even, uneven) = (
        Layout::new(&[4; 10], 2).unwrap(),
        Layout::new(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 31], 2).unwrap(),
    );
    assert_eq!((even.samples(), uneven.samples(), even.trials()), (40, 40, 80));
    assert!(
        design(0.3).smallest_difference(&even).unwrap().difference
            < design(0.3).smallest_difference(&uneven).unwrap().difference
    );
    assert!(even.effective(0.3, 0.3).unwrap().units > uneven.effective(0.3, 0.3).unwrap().units);
    assert_eq!(even, Layout::even(10, 4, 2).unwrap());
}

#[test]
fn effective_trials_go_from_all_to_one_per_task() {
    let layout = Layout::even(10, 4, 5).unwrap();
    assert_eq!(layout.effective(0.0, 0.0).unwrap().units, 200);
    assert_eq!(layout.effective(1.0, 1.0).unwrap().units, 10);
    // Samples that have nothing in common but their epochs: 200 / (1 + 4 * 0.5).
    assert_eq!(layout.effective(0.5, 0.0).unwrap().units, 66);
    // Trials of a sample are no less alike than those of its task.
    assert_eq!(
        layout.effective(0.0, 0.2).unwrap(),
        layout.effective(0.2, 0.2).unwrap()
    );
    // 200 / (1 + 19 * 0.2) = 41.67: a unit that is not whole does not count.
    assert_eq!(layout.effective(0.2, 0.2).unwrap().units, 41);
    assert_eq!(
        Layout::even(7, 1, 1).unwrap().effective(1.0, 1.0).unwrap().units,
        7
    );
}

#[test]
fn epochs_only_shrink_the_noise_within_samples() {
    let layout = Layout::even(30, 2, 1).unwrap();
    let needed = design(0.2).epochs_needed(&layout, 0.2).unwrap().unwrap();
    let reached = |epochs| {
        design(0.2)
            .smallest_difference(&Layout::even(30, 2, epochs).unwrap())
            .unwrap()
            .difference
    };
    assert!(
        needed > 1 && reached(needed) <= 0.2 && reached(needed - 1) > 0.2,
        "{needed}"
    );
    assert_eq!(design(0.2).epochs_needed(&layout, 0.05).unwrap(), None);
    assert_eq!(design(0.2).epochs_needed(&layout, 0.9).unwrap(), Some(1));
}

#[test]
fn no_success_rules_out_what_the_logarithm_says() {
    for (rate, units) in [
        (0.5, 5),
        (0.3, 9),
        (0.1, 29),
        (0.05, 59),
        (0.01, 299),
        (0.001, 2_995),
    ] {
        assert_eq!(rule_out_units(level(rate), 0, Level::P05).unwrap().units, units);
    }
    // 1.8 billion units, by the same formula.
    assert_eq!(
        rule_out_units(level(1.6e-9), 0, Level::P05).unwrap().units,
        1_872_332_670
    );
}

/// A paired t test on simulated scores finds the smallest detectable difference about as often as wanted.
#[test]
fn the_wanted_power_is_reached() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut normal = || {
        // The sum of twelve uniform draws is normal enough for a power of 0.8.
        (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
    };
    let (tasks, samples, epochs, icc) = (12_u64, 3_u64, 2_u32, 0.4_f64);
    let design = design(icc);
    let shift = design
        .smallest_difference(&Layout::even(tasks, samples, epochs).unwrap())
        .unwrap()
        .difference;
    let t = student_t_quantile(0.975, 11.0).unwrap();
    let (mut found, draws) = (0, 4_000);
    for _ in 0..draws {
        let means: Vec<f64> = (0..tasks)
            .map(|_| {
                let shared = normal() * (icc * usual().between).sqrt();
                let of_sample = (0..samples).map(|_| {
                    let own = normal() * ((1.0 - icc) * usual().between).sqrt();
                    let noise = normal() * ((2.0 / 6.0) / f64::from(epochs)).sqrt();
                    shift + shared + own + noise
                });
                of_sample.sum::<f64>() / samples as f64
            })
            .collect();
        let mean = means.iter().sum::<f64>() / tasks as f64;
        let squares: f64 = means.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = (squares / (tasks - 1) as f64 / tasks as f64).sqrt();
        found += i32::from(mean.abs() > t * standard_error);
    }
    let power = f64::from(found) / f64::from(draws);
    assert!((0.77..0.84).contains(&power), "{power}");
}

proptest! {
    #[test]
    fn needed_tasks_are_the_least(samples in 1_u64..8, epochs in 1_u32..8, icc in 0.0_f64..=1.0, d in 0.02_f64..0.6) {
        let design = design(icc);
        let needed = design.tasks_needed(samples, epochs, d).unwrap();
        let reached = |tasks| {
            design.smallest_difference(&Layout::even(tasks, samples, epochs).unwrap()).unwrap().difference
        };
        prop_assert!(reached(needed.tasks) <= d);
        prop_assert!(needed.tasks == LEAST_TASKS || reached(needed.tasks - 1) > d);
    }

    #[test]
    fn sizes_and_differences_are_inverse(d in 0.001_f64..1.0, a in 1_u32..20, b in 1_u32..20) {
        let needed = samples_needed(&usual(), [a, b], d, demand()).unwrap();
        let reached = |samples| smallest_difference(&usual(), [a, b], samples, demand()).unwrap().difference;
        prop_assert!(reached(needed.samples) <= d * (1.0 + 1e-12));
        prop_assert!(needed.samples == 1 || reached(needed.samples - 1) > d);
    }

    #[test]
    fn rule_out_is_the_bound_of_clopper_and_pearson(rate in 0.001_f64..0.9, successes in 0_u64..20, alpha in 0.001_f64..0.3) {
        let (rate, alpha) = (level(rate), level(alpha));
        let needed = rule_out_units(rate, successes, alpha).unwrap().units;
        let upper = |units: u64| {
            clopper_pearson(&Rate::of(successes, units).unwrap(), alpha.complement(), Side::Upper).unwrap().upper
        };
        prop_assert!(upper(needed) <= rate.get() + 1e-9, "{needed}");
        prop_assert!(needed == successes + 1 || upper(needed - 1) >= rate.get() - 1e-9);
        prop_assert!(rule_out_units(rate, successes + 1, alpha).unwrap().units > needed);
    }
}

fn gate(threshold: f64) -> GateOutlook {
    let errors = CheckpointErrors::alone(Level::P05, Level::P05).among(1).unwrap();
    GateOutlook::new(Rule {
        threshold: level(threshold),
        errors,
    })
}

/// Units from a walk over all counts in numpy with scipy's incomplete beta function; designs with one look from an
/// exhaustive binomial search.
#[test]
fn a_gate_needs_more_the_nearer_the_rate_is() {
    let rates = [0.0, 0.01, 0.02, 0.05, 0.15, 0.2, 0.3, 1.0];
    let mut gate = gate(0.1);
    let needs = rates.map(|rate| gate.need(rate, level(0.8)).unwrap());
    assert_eq!(
        needs.map(|need| need.units),
        [36, 64, 86, 346, 686, 173, 45, 2].map(Some)
    );
    assert_eq!(needs.map(|need| need.shows)[3..5], [Shows::Below, Shows::Above]);
    let fixed = needs.map(|need| need.fixed.map(|fixed| (fixed.units, fixed.successes)));
    assert_eq!(fixed[..4], [(29, 0), (46, 1), (61, 2), (179, 11)].map(Some));
    assert_eq!(fixed[4..], [(270, 36), (78, 13), (25, 6), (2, 2)].map(Some));
    // The units found are the first that are enough.
    for need in needs {
        let units = need.units.unwrap();
        let mut reached = |units| {
            let chance = gate.chance(need.rate, units).unwrap();
            match need.shows {
                Shows::Below => chance.below,
                Shows::Above => chance.above,
            }
        };
        assert!(
            reached(units) >= 0.8 && (units == 1 || reached(units - 1) < 0.8),
            "{need:?}"
        );
    }
}

/// The exact error of looking after every unit up to 400, at the threshold: 3.9 % and 2.3 %.
#[test]
fn at_the_threshold_errors_stay_within_alpha() {
    let chance = gate(0.1).chance(0.1, 400).unwrap();
    assert!(
        (chance.below - 0.039).abs() < 1e-3 && (chance.above - 0.023).abs() < 1e-3,
        "{chance:?}"
    );
    assert!((chance.below + chance.above + chance.inconclusive - 1.0).abs() < 1e-12);
}

#[test]
fn impossible_gates_are_refused() {
    let refused = |rate| gate(0.1).need(rate, level(0.8)).unwrap_err().to_string();
    assert_eq!(
        refused(0.1),
        "the number of units for a gate is undefined: at the threshold itself nothing may be shown"
    );
    assert_eq!(refused(f64::NAN), "the true rate must lie from 0 to 1, found NaN");
    assert!(gate(0.1).chance(0.0, 0).is_err());
    assert!(gate(0.1).chance(0.0, MOST_GATE_UNITS + 1).is_err());
    assert!(gate(0.1).chance(-1.0, 10).is_err());
}

/// Where `1 - rate` is a power of alpha, rounding must not ask for one unit more.
#[test]
fn without_a_success_one_formula_serves_both() {
    let (rate, alpha) = (level(0.99), level(0.01));
    let by_interval = crate::stats::interval::units_to_rule_out(rate, alpha)
        .unwrap()
        .units;
    assert_eq!(by_interval, 1);
    assert_eq!(rule_out_units(rate, 0, alpha).unwrap().units, by_interval);
}
