//! Laws of intervals: coverage by exact enumeration, symmetry, order, agreement between methods, extremes.

use proptest::prelude::*;

use super::*;
use crate::stats::special::binomial_pmf;

/// Successes, units, lower and upper end, from statsmodels' `proportion_confint(method="wilson")` at 0.95.
const WILSON: [(u64, u64, f64, f64); 8] = [
    (0, 10, 0.0, 0.277_532_799_9),
    (1, 10, 0.017_876_213_1, 0.404_150_026_8),
    (3, 10, 0.107_791_267_4, 0.603_221_852_5),
    (10, 10, 0.722_467_200_1, 1.0),
    (17, 50, 0.224_369_492_2, 0.478_461_739_5),
    (0, 59, 0.0, 0.061_129_370_53),
    (2, 200, 0.002_746_658_134, 0.035_721_761_72),
    (490, 500, 0.963_579_816_8, 0.989_100_816_4),
];

#[test]
fn wilson_agrees_with_statsmodels() {
    for (successes, n, lower, upper) in WILSON {
        let found = wilson(&Rate::of(successes, n).unwrap(), Level::P95, Side::Two).unwrap();
        let off = (found.lower - lower).abs().max((found.upper - upper).abs());
        assert!(off < 1e-8, "{successes} of {n}: {found:?}");
    }
}

#[test]
fn the_ends_are_exact_where_nothing_or_everything_succeeded() {
    for n in [1, 2, 3, 7, 59, 1_000, 123_457, u64::from(u32::MAX)] {
        for confidence in [0.5, 0.9, 0.95, 0.999] {
            let of = |successes| {
                let level = Level::new("confidence", confidence).unwrap();
                wilson(&Rate::of(successes, n).unwrap(), level, Side::Two).unwrap()
            };
            let (none, all) = (of(0), of(n));
            assert_eq!(none.lower.to_bits(), 0.0_f64.to_bits());
            assert_eq!(all.upper.to_bits(), 1.0_f64.to_bits());
            assert!(
                (none.upper - (1.0 - all.lower)).abs() < 1e-12,
                "{n} at {confidence}"
            );
        }
    }
}

type OfRate = fn(&Rate, Level, Side) -> Result<Interval, StatsError>;

const METHODS: [OfRate; 7] = [
    wilson,
    wilson_continuity,
    clopper_pearson,
    jeffreys,
    uniform,
    agresti_coull,
    wald,
];

fn ends(method: OfRate, successes: u64, units: u64) -> (f64, f64) {
    let rate = Rate::of(successes, units).unwrap();
    let found = method(&rate, Level::P95, Side::Two).unwrap();
    (found.lower, found.upper)
}

fn highest_density(rate: &Rate, confidence: Level, _: Side) -> Result<Interval, StatsError> {
    uniform_highest_density(rate, confidence)
}

/// Returns the probability that the interval holds `p`, over all counts of `units`.
fn coverage(intervals: &[(f64, f64)], p: f64) -> f64 {
    let units = intervals.len() as u64 - 1;
    (0..=units)
        .zip(intervals)
        .filter(|(_, (lower, upper))| (*lower..=*upper).contains(&p))
        .map(|(k, _)| binomial_pmf(k, units, p).unwrap())
        .sum()
}

fn all(method: OfRate, units: u64) -> Vec<(f64, f64)> {
    (0..=units).map(|k| ends(method, k, units)).collect()
}

#[test]
fn clopper_pearson_never_covers_less_than_it_says() {
    for units in 1..=60 {
        let intervals = all(clopper_pearson, units);
        // Coverage is least right beside an end, where one count stops to hold the rate.
        let beside = intervals
            .iter()
            .flat_map(|(lower, upper)| [*lower, *upper])
            .flat_map(|end| [end - 1e-9, end, end + 1e-9]);
        let grid = (0..=200).map(|step| f64::from(step) / 200.0);
        for p in beside.chain(grid).filter(|p| (0.0..=1.0).contains(p)) {
            let found = coverage(&intervals, p);
            assert!(found >= 0.95 - 1e-12, "{units} units at {p}: {found}");
        }
    }
}

#[test]
fn one_sided_bounds_by_clopper_and_pearson_err_at_most_as_often_as_they_say() {
    let confidence = Level::P95;
    for units in 1..=60 {
        for side in [Side::Lower, Side::Upper] {
            let intervals: Vec<(f64, f64)> = (0..=units)
                .map(|k| clopper_pearson(&Rate::of(k, units).unwrap(), confidence, side).unwrap())
                .map(|found| (found.lower, found.upper))
                .collect();
            for (lower, upper) in intervals.clone() {
                for p in [lower - 1e-9, lower + 1e-9, upper - 1e-9, upper + 1e-9] {
                    if (0.0..=1.0).contains(&p) {
                        let found = coverage(&intervals, p);
                        assert!(found >= 0.95 - 1e-12, "{units} units at {p}: {found}");
                    }
                }
            }
        }
    }
}

/// Returns the coverage averaged over rates that are all equally likely.
fn mean_coverage(method: OfRate, units: u64) -> f64 {
    const STEPS: u32 = 2_000;
    let intervals = all(method, units);
    let at = |step: u32| coverage(&intervals, (f64::from(step) + 0.5) / f64::from(STEPS));
    (0..STEPS).map(at).sum::<f64>() / f64::from(STEPS)
}

#[test]
fn mean_coverage_is_near_what_is_said() {
    for units in [5, 10, 20, 37, 60] {
        // A posterior covers exactly as often as it says when rates are drawn from its prior.
        for method in [uniform, highest_density] {
            let found = mean_coverage(method, units);
            assert!((found - 0.95).abs() < 1.5e-3, "{units} units: {found}");
        }
        let (wilson, exact) = (
            mean_coverage(wilson, units),
            mean_coverage(clopper_pearson, units),
        );
        assert!((0.945..0.96).contains(&wilson), "{units} units: {wilson}");
        assert!(exact > wilson && exact < 0.995, "{units} units: {exact}");
        let (wald, jeffreys) = (mean_coverage(wald, units), mean_coverage(jeffreys, units));
        assert!(wald < 0.935, "{units} units: {wald}");
        assert!((0.94..0.96).contains(&jeffreys), "{units} units: {jeffreys}");
    }
}

#[test]
fn failures_mirror_successes() {
    for method in METHODS.into_iter().chain([highest_density as OfRate]) {
        for units in [1, 2, 7, 30, 60, 1_000_000_000] {
            for k in (0..=units.min(60)).chain([units / 2, units]) {
                let (lower, upper) = ends(method, k, units);
                let mirrored = ends(method, units - k, units);
                assert!((lower - (1.0 - mirrored.1)).abs() < 1e-9, "{k} of {units}");
                assert!((upper - (1.0 - mirrored.0)).abs() < 1e-9, "{k} of {units}");
                assert!(lower <= upper && (0.0..=1.0).contains(&lower) && upper <= 1.0);
            }
        }
    }
}

#[test]
fn ends_rise_with_successes() {
    for method in METHODS.into_iter().take(6).chain([highest_density as OfRate]) {
        for units in [1, 5, 13, 60, 400] {
            let intervals = all(method, units);
            for pair in intervals.windows(2) {
                assert!(
                    pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1,
                    "{units}: {pair:?}"
                );
            }
        }
    }
}

#[test]
fn one_side_at_95_is_one_end_of_two_at_90() {
    let wide = Level::new("confidence", 0.9).unwrap();
    for method in METHODS {
        for (k, n) in [(0, 10), (1, 10), (5, 10), (10, 10), (3, 400)] {
            let rate = Rate::of(k, n).unwrap();
            let two = method(&rate, wide, Side::Two).unwrap();
            let lower = method(&rate, Level::P95, Side::Lower).unwrap();
            let upper = method(&rate, Level::P95, Side::Upper).unwrap();
            assert!((two.lower - lower.lower).abs() < 1e-12, "{k} of {n}");
            assert!((two.upper - upper.upper).abs() < 1e-12, "{k} of {n}");
            assert_eq!((lower.upper, upper.lower), (1.0, 0.0));
            assert_eq!((lower.side, upper.side), (Side::Lower, Side::Upper));
        }
    }
}

#[test]
fn exact_bounds_contain_those_of_jeffreys_and_the_shortest_is_shortest() {
    for units in [1, 4, 20, 60] {
        for k in 0..=units {
            let (exact, posterior) = (ends(clopper_pearson, k, units), ends(jeffreys, k, units));
            assert!(exact.0 <= posterior.0 && exact.1 >= posterior.1, "{k} of {units}");
            let (shortest, central) = (ends(highest_density, k, units), ends(uniform, k, units));
            assert!(shortest.1 - shortest.0 <= central.1 - central.0 + 1e-12);
        }
    }
}

#[test]
fn methods_agree_on_a_billion_units() {
    let (units, half) = (1_000_000_000, 500_000_000);
    let sigma = 1.959_963_984_540_054 * (0.25 / units as f64).sqrt();
    for method in METHODS {
        let (lower, upper) = ends(method, half, units);
        assert!((0.5 - sigma - lower).abs() < 1e-8 && (0.5 + sigma - upper).abs() < 1e-8);
    }
    // Rare events are Poisson: 2 λ is a chi-squared quantile. With one event the upper end is 5.571643391.
    let (lower, upper) = ends(clopper_pearson, 1, units);
    assert!((lower * 1e9 - 0.025_317_808).abs() < 1e-8, "{lower}");
    assert!((upper * 1e9 - 5.571_643_39).abs() < 1e-7, "{upper}");
    let none = clopper_pearson(&Rate::of(0, units).unwrap(), Level::P95, Side::Upper).unwrap();
    assert!((none.upper * 1e9 / 2.995_732_273_553_991 - 1.0).abs() < 1e-8);
}

#[test]
fn what_no_success_rules_out_agrees_with_the_exact_bound() {
    for n in [1, 10, 59, 299, 1_000_000_000] {
        let rate = Rate::of(0, n).unwrap();
        let exact = clopper_pearson(&rate, Level::P95, Side::Upper).unwrap().upper;
        let three = rule_of_three(n).unwrap();
        assert!(three.upper >= exact && three.side == Side::Upper);
        let found = units_to_rule_out(Level::new("rate", exact).unwrap(), Level::P05).unwrap();
        assert!(found.units.abs_diff(n) <= n / 100_000_000, "{n}: {found:?}");
    }
    // Whole numbers stay what they are: 1/2 in the second power is 1/4.
    let half = Level::new("rate", 0.5).unwrap();
    let quarter = Level::new("alpha", 0.25).unwrap();
    assert_eq!(units_to_rule_out(half, quarter).unwrap().units, 2);
    let tiny = Level::new("rate", 1e-300).unwrap();
    assert!(units_to_rule_out(tiny, Level::P05).is_err());
}

#[test]
fn a_correction_for_continuity_has_no_confidence_below_one_half() {
    let rate = Rate::of(3, 10).unwrap();
    let low = Level::new("confidence", 0.4).unwrap();
    assert!(wilson_continuity(&rate, low, Side::Two).is_ok());
    assert!(wilson_continuity(&rate, low, Side::Upper).is_err());
}

proptest! {
    #[test]
    fn more_confidence_is_wider(k in 0_u64..200, more in 0_u64..200, low in 0.01..0.98_f64) {
        let rate = Rate::of(k, k + more + 1).unwrap();
        let (low, high) = (Level::new("", low).unwrap(), Level::new("", low + 0.019).unwrap());
        for method in METHODS.into_iter().chain([highest_density as OfRate]) {
            let narrow = method(&rate, low, Side::Two).unwrap();
            let wide = method(&rate, high, Side::Two).unwrap();
            prop_assert!(wide.lower <= narrow.lower + 1e-12 && wide.upper >= narrow.upper - 1e-12);
        }
    }
}

#[test]
fn nothing_counted_has_no_interval() {
    for method in METHODS.into_iter().chain([highest_density as OfRate]) {
        assert!(method(&Rate::of(0, 0).unwrap(), Level::P95, Side::Two).is_err());
    }
    assert!(rule_of_three(0).is_err());
    let error = wilson(&Rate::of(0, 0).unwrap(), Level::P95, Side::Two).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an interval for a rate needs at least 1 units, found 0"
    );
    assert!(Rate::of(2, 1).is_err());
    assert!(
        [0.0, 1.0, f64::NAN]
            .into_iter()
            .all(|level| Level::new("confidence", level).is_err())
    );
}
