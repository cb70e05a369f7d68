use proptest::prelude::*;

use super::*;

fn value(successes: u64, attempts: u64, goal: Goal) -> f64 {
    pass(
        &Rate::of(successes, attempts).unwrap(),
        goal,
        Level::P95,
        Side::Two,
    )
    .unwrap()
    .value
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-12 * expected.abs().max(1.0)
}

/// Calls a function with every set of `k` out of `n` places.
fn sets(n: u64, k: u64, mut each: impl FnMut(&[usize])) {
    for bits in 0_u32..1 << n {
        if u64::from(bits.count_ones()) == k {
            let set: Vec<usize> = (0..32).filter(|at| bits >> at & 1 == 1).collect();
            each(&set);
        }
    }
}

#[test]
fn shares_are_those_of_all_sets() {
    for n in 1..=9_u64 {
        for k in 1..=n {
            for c in 0..=n {
                let (mut any, mut all, mut count) = (0.0, 0.0, 0.0);
                sets(n, k, |set| {
                    let successes = set.iter().filter(|at| (**at as u64) < c).count() as u64;
                    any += f64::from(u8::from(successes > 0));
                    all += f64::from(u8::from(successes == k));
                    count += 1.0;
                });
                assert!(
                    close(value(c, n, Goal::AnyOf(k)), any / count),
                    "{c} of {n}, any of {k}"
                );
                assert!(
                    close(value(c, n, Goal::AllOf(k)), all / count),
                    "{c} of {n}, all of {k}"
                );
            }
        }
    }
}

#[test]
fn the_best_is_that_of_all_sets() {
    let scores = [0.3, -1.0, 7.5, 0.3, 2.0, 0.0, 0.3];
    for k in 1..=7 {
        let (mut sum, mut count) = (0.0, 0.0);
        sets(7, k, |set| {
            sum += set.iter().map(|at| scores[*at]).fold(f64::NEG_INFINITY, f64::max);
            count += 1.0;
        });
        let found = best_of(&scores, k).unwrap();
        assert!(close(found.value, sum / count), "{found:?}");
        assert_eq!((found.k, found.runs), (k, 7));
    }
}

#[test]
fn fewer_attempts_than_k_give_no_number() {
    let two = Rate::of(1, 2).unwrap();
    assert_eq!(
        pass(&two, Goal::AnyOf(5), Level::P95, Side::Two)
            .unwrap_err()
            .to_string(),
        "pass@k needs at least 5 attempts, found 2"
    );
    assert_eq!(
        pass(&two, Goal::AllOf(3), Level::P95, Side::Two)
            .unwrap_err()
            .to_string(),
        "pass^k needs at least 3 attempts, found 2"
    );
    assert!(mean_pass(&vec![two.clone(); 6], Goal::AnyOf(3), Level::P95).is_err());
    assert!(pass_sampling(Goal::AnyOf(5), 4, 0.1).is_err());
    assert!(pass(&two, Goal::AnyOf(0), Level::P95, Side::Two).is_err());
    assert!(pass(&Rate::of(0, 0).unwrap(), Goal::AnyOf(1), Level::P95, Side::Two).is_err());
    // A bound needs no estimate.
    let bound = pass_bound(
        &Rate::of(0, 10).unwrap(),
        Goal::AnyOf(100),
        Level::P95,
        Side::Upper,
    )
    .unwrap();
    assert!(close(bound.upper, 1.0 - (1.0 - 0.258_865_550_9_f64).powi(100)) || bound.upper > 0.999_999);
    assert_eq!(
        (bound.lower.to_bits(), bound.side),
        (0.0_f64.to_bits(), Side::Upper)
    );
}

/// 0 of 10 leaves at most 25.9 % for one attempt (one-sided 95 %): 45.1 % for two and 6.7 % for two in a row.
#[test]
fn bounds_are_those_of_one_attempt_carried_over() {
    let none = Rate::of(0, 10).unwrap();
    let upper = |goal| pass_bound(&none, goal, Level::P95, Side::Upper).unwrap().upper;
    let one = 1.0 - 0.05_f64.powf(0.1);
    assert!(close(upper(Goal::AnyOf(1)), one));
    assert!(close(upper(Goal::AnyOf(2)), 1.0 - (1.0 - one) * (1.0 - one)));
    assert!(close(upper(Goal::AllOf(2)), one * one));
    assert_eq!(value(0, 10, Goal::AnyOf(2)).to_bits(), 0.0_f64.to_bits());
}

#[test]
fn many_attempts_stay_exact_and_quick() {
    let n = 1_000_000_000;
    assert!(close(
        value(n / 2, n, Goal::AnyOf(2)),
        0.75 + 0.25 / (n as f64 - 1.0)
    ));
    assert!(close(value(n, n, Goal::AllOf(n)), 1.0));
    assert!(close(value(n - 1, n, Goal::AllOf(n)), 0.0));
    assert!(close(value(1, n, Goal::AnyOf(n)), 1.0));
    assert!(close(value(1, n, Goal::AnyOf(n / 4)), 0.25));
    // About 1 - exp(-c k / n), at the slowest place of the product.
    let found = value(30_000, n, Goal::AnyOf(30_000));
    assert!((found - (1.0 - (-0.9_f64).exp())).abs() < 1e-4, "{found}");
    let huge = Rate::of(0, u64::MAX).unwrap();
    assert!(pass(&huge, Goal::AnyOf(1), Level::P95, Side::Two).is_err());
    assert!(pass_sampling(Goal::AnyOf(5), 1_000_000, 0.1).is_err());
    let planned = pass_sampling(Goal::AnyOf(1), 100_000, 0.01).unwrap();
    assert!(
        (planned.variance / (0.01 * 0.99 / 1e5) - 1.0).abs() < 1e-9,
        "{planned:?}"
    );
}

#[test]
fn sampling_at_the_ends_has_no_spread() {
    for (rate, mean) in [(0.0, 0.0), (1.0, 1.0)] {
        let found = pass_sampling(Goal::AnyOf(3), 10, rate).unwrap();
        assert!(close(found.mean, mean) && close(found.variance, 0.0), "{found:?}");
    }
    for rate in [-0.1, 1.1, f64::NAN] {
        assert!(pass_sampling(Goal::AnyOf(3), 10, rate).is_err());
    }
}

#[test]
fn means_over_tasks_need_tasks_that_differ() {
    let rates =
        |successes: &[u64]| -> Vec<Rate> { successes.iter().map(|c| Rate::of(*c, 4).unwrap()).collect() };
    assert_eq!(
        mean_pass(&rates(&[0, 1, 2, 3]), Goal::AnyOf(2), Level::P95)
            .unwrap_err()
            .to_string(),
        "an interval over tasks needs at least 5 tasks, found 4"
    );
    assert_eq!(
        mean_pass(&rates(&[0; 8]), Goal::AnyOf(2), Level::P95)
            .unwrap_err()
            .to_string(),
        "an interval from a standard error is undefined: all units have the same mean, so the data show no spread"
    );
    let found = mean_pass(&rates(&[0, 0, 0, 0, 1]), Goal::AnyOf(1), Level::P95).unwrap();
    assert_eq!(found.estimate.units, 5);
    assert_eq!(found.estimate.interval.lower.to_bits(), 0.0_f64.to_bits());
    // Student's t with four degrees of freedom: 2.776 times the standard error of 0.05.
    assert!((found.estimate.interval.upper - (0.05 + 2.776_445_105 * 0.05)).abs() < 1e-8);
}

#[test]
fn settings_are_compared_at_equal_budget() {
    let (cheap, dear) = ([0.1, 0.2, 0.4, 0.3], [0.5, 0.6]);
    let within = |scores, each| best_within(CostedRuns { scores, each }, 8.0).unwrap();
    assert_eq!((within(&cheap, 2.0).best.k, within(&dear, 8.0).best.k), (4, 1));
    assert!(close(
        within(&cheap, 2.5).best.value,
        best_of(&cheap, 3).unwrap().value
    ));
    let refused = |each, budget| {
        best_within(CostedRuns { scores: &cheap, each }, budget)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(9.0, 8.0),
        "best within a budget needs at least 1 runs that it pays for, found 0"
    );
    assert_eq!(refused(1.0, 8.0), "best of k needs at least 8 runs, found 4");
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(
            best_within(
                CostedRuns {
                    scores: &cheap,
                    each: bad
                },
                8.0
            )
            .is_err()
        );
        assert!(
            best_within(
                CostedRuns {
                    scores: &cheap,
                    each: 1.0
                },
                bad
            )
            .is_err()
        );
    }
    assert!(
        best_within(
            CostedRuns {
                scores: &cheap,
                each: 1e-300
            },
            1e300
        )
        .is_err()
    );
}

#[test]
fn scores_that_are_no_numbers_are_named() {
    assert_eq!(
        best_of(&[1.0, f64::NAN, 2.0], 1).unwrap_err().to_string(),
        "scores at position 1 is not a finite number"
    );
    assert!(best_of(&[], 1).is_err() && best_of(&[1.0], 0).is_err() && best_of(&[1.0], 2).is_err());
    let tasks: Vec<&[f64]> = vec![&[0.1, 0.5], &[0.2, 0.2], &[0.9, 0.1], &[0.0, 0.0], &[1.0, 0.4]];
    let found = mean_best_of(&tasks, 2, Level::P95).unwrap();
    assert!(close(found.estimate.value, (0.5 + 0.2 + 0.9 + 0.0 + 1.0) / 5.0));
}

/// The interval covers the true pass@k and pass^k at least as often as it says, by exact enumeration.
#[test]
fn intervals_cover_by_exact_enumeration() {
    for n in [1_u64, 2, 7, 25, 60] {
        for goal in [Goal::AnyOf(1), Goal::AnyOf(n.min(5)), Goal::AllOf(n.min(3))] {
            let intervals: Vec<Interval> = (0..=n)
                .map(|c| {
                    pass(&Rate::of(c, n).unwrap(), goal, Level::P95, Side::Two)
                        .unwrap()
                        .interval
                })
                .collect();
            for step in 0..=40 {
                let rate = f64::from(step) / 40.0;
                let truth = goal.reached(rate);
                let covered: f64 = (0..=n)
                    .zip(&intervals)
                    .filter(|(_, interval)| {
                        interval.lower <= truth + 1e-12 && truth - 1e-12 <= interval.upper
                    })
                    .map(|(c, _)| binomial_pmf(c, n, rate).unwrap())
                    .sum();
                assert!(covered >= 0.95 - 1e-12, "{goal:?} of {n} at {rate}: {covered}");
            }
        }
    }
}

proptest! {
    #[test]
    fn more_attempts_help_one_and_hurt_all(n in 2_u64..300, c in 0_u64..300, k in 1_u64..299) {
        let (c, k) = (c.min(n), k.min(n - 1));
        prop_assert!(value(c, n, Goal::AnyOf(k + 1)) >= value(c, n, Goal::AnyOf(k)) - 1e-15);
        prop_assert!(value(c, n, Goal::AllOf(k + 1)) <= value(c, n, Goal::AllOf(k)) + 1e-15);
        // All succeed exactly where none of the others fails.
        prop_assert!(close(value(c, n, Goal::AllOf(k)), 1.0 - value(n - c, n, Goal::AnyOf(k))));
        let found = pass(&Rate::of(c, n).unwrap(), Goal::AnyOf(k), Level::P95, Side::Two).unwrap();
        prop_assert!(found.interval.lower <= found.value + 1e-12);
        prop_assert!(found.interval.upper >= found.value - 1e-12);
    }

    #[test]
    fn estimates_are_unbiased(n in 1_u64..80, k in 1_u64..80, rate in 0.0_f64..=1.0) {
        let k = k.min(n);
        for goal in [Goal::AnyOf(k), Goal::AllOf(k)] {
            let found = pass_sampling(goal, n, rate).unwrap();
            prop_assert!((found.mean - goal.reached(rate)).abs() < 1e-11, "{found:?}");
        }
    }

    #[test]
    fn the_best_of_passes_and_failures_is_pass_at_k(n in 1_u64..40, c in 0_u64..40, k in 1_u64..40) {
        let (c, k) = (c.min(n), k.min(n));
        let scores: Vec<f64> = (0..n).map(|at| f64::from(u8::from(at < c))).collect();
        prop_assert!(close(best_of(&scores, k).unwrap().value, value(c, n, Goal::AnyOf(k))));
    }

    #[test]
    fn runs_may_come_in_any_order(
        scores in prop::collection::vec(-10.0_f64..10.0, 1..30),
        shift in 0_usize..30,
        k in 1_u64..30,
    ) {
        let k = k.min(scores.len() as u64);
        let mut turned = scores.clone();
        turned.rotate_left(shift % scores.len());
        prop_assert_eq!(best_of(&scores, k).unwrap(), best_of(&turned, k).unwrap());
        if k > 1 {
            prop_assert!(best_of(&scores, k).unwrap().value >= best_of(&scores, k - 1).unwrap().value - 1e-12);
        }
    }
}
