//! The e-process of counts: values, exact errors, laws, extremes, inversion.

use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::stats::special::{binomial_pmf, ln_binomial_pmf};

/// Successes, failures, threshold, ln E_below, ln E_above, by continued fractions in arithmetic of 50 digits (mpmath).
const VALUES: [(u64, u64, f64, f64, f64); 19] = [
    (0, 60, 0.1, 5.285_205_415_926_758, -3.982_741_201_875_149),
    (8, 60, 0.1, -1.851_059_227_351_018, -2.357_302_705_860_951),
    (0, 1_000_000, 0.1, 105_354.621_098_894_1, -13.632_430_327_506_95),
    (0, 10_000_000, 0.1, 1_053_598.110_726_897, -15.935_010_920_557_92),
    (
        100_000,
        900_000,
        0.1,
        -6.241_487_622_450_919,
        -7.597_136_977_956_203,
    ),
    (
        98_000,
        902_000,
        0.1,
        16.807_275_069_730_85,
        -9.741_573_992_380_326,
    ),
    (
        3,
        1_000_000_000,
        8e-9,
        1.204_343_891_849_41,
        -12.227_892_714_585_23,
    ),
    (
        0,
        1_000_000_000,
        1e-9,
        0.708_074_447_516_769_1,
        -11.783_583_240_058_28,
    ),
    (
        1_000_000_000,
        0,
        0.999,
        -18.394_278_319_073_35,
        1_000_493.304_879_29,
    ),
    (50, 50, 0.5, -2.530_876_403_977_105, -2.530_876_403_977_105),
    (0, 0, 0.3, 0.0, 0.0),
    (
        500_000,
        500_000,
        0.1,
        -13.662_362_664_032_12,
        510_818.719_421_936_6,
    ),
    (1_000, 99_000, 0.99, 450_315.828_908_752_8, -12.192_573_020_893_53),
    (1, 1, 1e-12, -1.098_612_288_667_576, 25.551_580_210_869_69),
    (
        123_456,
        876_544,
        0.125,
        5.272_593_736_873_913,
        -9.373_234_524_906_852,
    ),
    (
        999_997,
        3,
        0.999_99,
        -8.947_673_476_804_209,
        2.443_216_216_105_044,
    ),
    (
        100_000_000,
        900_000_000,
        0.1,
        -9.695_021_251_478_565,
        -11.051_357_410_784_07,
    ),
    (
        99_950_000,
        900_050_000,
        0.1,
        4.889_084_098_929_971,
        -12.972_493_871_945_07,
    ),
    (
        0,
        1_000_000_000,
        0.1,
        105_360_506.309_389_9,
        -20.540_180_611_546_59,
    ),
];

#[test]
fn evidence_agrees_with_arithmetic_of_50_digits_up_to_a_billion_units() {
    for (successes, failures, threshold, low, high) in VALUES {
        let seen = units(successes, failures);
        for (found, expected) in [(below(&seen, threshold), low), (above(&seen, threshold), high)] {
            // Where the evidence is against it, at a billion units, two terms of 10⁸ cancel.
            let allowed = 3e-13 * (successes + failures) as f64 + 1e-12 * expected.abs() + 1e-10;
            assert!(
                (found - expected).abs() < allowed.min(1e-6 + 1e-12 * expected.abs()),
                "{successes} and {failures} at {threshold}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn at_the_threshold_evidence_is_one_in_expectation() {
    for threshold in [0.001, 0.02, 0.1, 0.5, 0.8, 0.999] {
        for n in [1, 2, 7, 40, 200] {
            let mean = |of: fn(&Evidence, f64) -> f64, rate: f64| {
                let term = |successes: u64| {
                    let seen = units(successes, n - successes);
                    (ln_binomial_pmf(successes, n, rate).unwrap() + of(&seen, threshold)).exp()
                };
                (0..=n).map(term).sum::<f64>()
            };
            for of in [below, above] {
                let found = mean(of, threshold);
                assert!((found - 1.0).abs() < 1e-9, "{found} after {n} at {threshold}");
            }
            let (higher, lower) = (threshold + (1.0 - threshold) / 10.0, threshold * 0.9);
            assert!(mean(below, higher) < 1.0 && mean(above, lower) < 1.0);
        }
    }
}

/// The exact probability of ever being wrong, with a look after every unit.
#[test]
fn errors_with_a_look_after_every_unit_stay_within_alpha() {
    for (threshold, most) in [
        (0.01, 900),
        (0.05, 500),
        (0.1, 400),
        (0.3, 300),
        (0.5, 300),
        (0.9, 400),
    ] {
        let looks: Vec<u64> = (1..=most).collect();
        for alpha in [0.2, 0.05, 0.005] {
            let rule = rule(threshold, alpha);
            let at = |rate| operating_characteristics(&rule, rate, &looks).unwrap();
            let exact = at(threshold);
            assert!(
                exact.below <= alpha && exact.above <= alpha,
                "{exact:?} at {threshold} with {alpha}"
            );
            // The bound is used, not only kept: the test would notice a rule that never decides.
            assert!(
                exact.below > 0.2 * alpha || exact.above > 0.2 * alpha,
                "{exact:?}"
            );
            let sum = exact.below + exact.above + exact.inconclusive;
            assert!((sum - 1.0).abs() < 1e-10, "{sum}");
            assert!(at(threshold + (1.0 - threshold) / 5.0).below <= exact.below);
            assert!(at(threshold * 0.8).above <= exact.above);
        }
    }
}

#[test]
fn both_sides_are_never_shown_at_once_even_at_large_errors() {
    let errors = CheckpointErrors::alone(level(0.999), level(0.999))
        .among(1)
        .unwrap();
    for n in 0..80 {
        for successes in 0..=n {
            let seen = units(successes, n - successes);
            let needed = -0.999_f64.ln();
            let (low, high) = (below(&seen, 0.3), above(&seen, 0.3));
            assert!(low < needed || high < needed, "{successes} of {n}");
            let threshold = level(0.3);
            decide(&Rule { threshold, errors }, &seen).unwrap();
        }
    }
}

#[test]
fn the_bound_is_where_the_decision_turns() {
    for (successes, failures) in [
        (0, 20),
        (0, 1_000_000_000),
        (1, 59),
        (9, 51),
        (20, 20),
        (60, 0),
        (3, 999_999_997),
        (0, 0),
        (1, 0),
        (0, 1),
    ] {
        for alpha in [0.2, 0.05, 1e-4, 1e-12] {
            let seen = units(successes, failures);
            let upper = upper_bound(&seen.for_below().unwrap(), level(alpha)).unwrap();
            let lower = lower_bound(&seen.for_above().unwrap(), level(alpha)).unwrap();
            let (at_most, at_least) = (upper.interval().upper, lower.interval().lower);
            assert!(at_least <= at_most && (0.0..=1.0).contains(&at_least) && at_most <= 1.0);
            // Beyond a ten-millionth of the bound the decision is the one that the bound says.
            for factor in [0.5, 0.999, 1.0 - 1e-7, 1.0 + 1e-7, 1.001, 2.0] {
                for threshold in [
                    at_most * factor,
                    1.0 - (1.0 - at_most) * factor,
                    at_least * factor,
                ] {
                    if threshold <= 0.0 || threshold >= 1.0 {
                        continue;
                    }
                    let decision = decide(&rule(threshold, alpha), &seen).unwrap();
                    let expected = if upper.lies_below(level(threshold)) {
                        Verdict::ShownBelow
                    } else if lower.lies_above(level(threshold)) {
                        Verdict::ShownAbove
                    } else {
                        Verdict::Inconclusive
                    };
                    assert_eq!(
                        decision.verdict, expected,
                        "{successes} and {failures}, {alpha}, {threshold}: {at_least} to {at_most}"
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_seen_shows_nothing() {
    let decision = decide(&rule(0.1, 0.05), &units(0, 0)).unwrap();
    assert_eq!(decision.verdict, Verdict::Inconclusive);
    assert_eq!((decision.below.log_e.ln(), decision.above.log_e.ln()), (0.0, 0.0));
    assert_eq!((decision.below.more, decision.units), (Some(36), 0));
    let data = units(0, 0);
    let upper = upper_bound(&data.for_below().unwrap(), Level::P05).unwrap();
    let lower = lower_bound(&data.for_above().unwrap(), Level::P05).unwrap();
    assert_eq!((upper.interval().upper, lower.interval().lower), (1.0, 0.0));
}

#[test]
fn what_settles_it_does_and_one_less_does_not() {
    for threshold in [1e-6, 0.01, 0.1, 0.5, 0.97] {
        for (successes, failures) in [
            (0, 0),
            (0, 60),
            (3, 60),
            (40, 60),
            (500, 10),
            (0, 100_000),
            (9_000, 91_000),
        ] {
            let rule = rule(threshold, 0.05 / 12.0);
            let decision = decide(&rule, &units(successes, failures)).unwrap();
            let needed = decision.below.needed.ln();
            if let Some(more) = decision.below.more {
                assert!(below(&units(successes, failures + more), threshold) >= needed);
                assert!(more == 0 || below(&units(successes, failures + more - 1), threshold) < needed);
            }
            if let Some(more) = decision.above.more {
                assert!(above(&units(successes + more, failures), threshold) >= needed);
                assert!(more == 0 || above(&units(successes + more - 1, failures), threshold) < needed);
            }
        }
    }
}

#[test]
fn sixty_failures_at_the_third_checkpoint_want_three_more() {
    let series = SeriesErrors {
        below: Level::P05,
        above: Level::P05,
        schedule: crate::stats::sequential::Schedule::Telescoping,
    };
    let third = crate::stats::sequential::Checkpoint::new(3).unwrap();
    let errors = series.at(third).unwrap().among(1).unwrap();
    let rule = Rule {
        threshold: level(0.1),
        errors,
    };
    let decision = decide(&rule, &units(0, 60)).unwrap();
    assert!((decision.below.needed.ln() - 240.0_f64.ln()).abs() < 1e-12);
    assert_eq!(
        (decision.verdict, decision.below.more),
        (Verdict::Inconclusive, Some(3))
    );
    assert_eq!(decide(&rule, &units(0, 63)).unwrap().verdict, Verdict::ShownBelow);
}

#[test]
fn what_can_not_be_settled_is_said() {
    // A threshold of 10⁻¹³ takes some 10¹³ failures.
    let decision = decide(&rule(1e-13, 0.05), &units(0, 10)).unwrap();
    assert_eq!(decision.below.more, None);
    assert_eq!(attempts_needed(0, level(1e-13), Level::P05).unwrap(), None);
    assert!(
        attempts_needed(0, level(1e-9), Level::P05)
            .unwrap()
            .unwrap()
            .units
            > 3_000_000_000
    );
}

#[test]
fn more_units_than_can_be_held_are_refused() {
    let too_many = StatsError::Count {
        what: "units of a gate",
        found: 1_000_000_000_001,
        most: 1_000_000_000_000,
    };
    assert_eq!(
        decide(&rule(0.1, 0.05), &units(1_000_000_000_000, 1)),
        Err(too_many)
    );
    assert!(decide(&rule(0.1, 0.05), &units(u64::MAX, u64::MAX)).is_err());
    assert!(decide(&rule(0.1, 0.05), &units(0, 1_000_000_000_000)).is_ok());
    assert!(operating_characteristics(&rule(0.1, 0.05), 0.1, &[30_000]).is_err());
    assert!(operating_characteristics(&rule(0.1, 0.05), f64::NAN, &[30]).is_err());
}

/// An order by difficulty breaks the guarantee: half the units can't succeed, half do at twice the threshold.
#[test]
fn an_order_by_difficulty_is_wrong_almost_surely_and_a_random_one_is_not() {
    let rule = rule(0.1, 0.05);
    let critical: Vec<Option<u64>> = (1..=400)
        .map(|n| critical_counts(&rule, n).unwrap().below_at_most)
        .collect();
    // Exact: the distribution of successes without a decision, with a rate that may change from unit to unit.
    let wrong = |rate: &dyn Fn(usize) -> f64| {
        let mut undecided = vec![1.0];
        let mut wrong = 0.0;
        for (index, most) in critical.iter().enumerate() {
            let p = rate(index);
            undecided.push(0.0);
            for successes in (0..undecided.len()).rev() {
                let from = if successes > 0 {
                    undecided[successes - 1]
                } else {
                    0.0
                };
                undecided[successes] = (1.0 - p) * undecided[successes] + p * from;
                if most.is_some_and(|most| successes as u64 <= most) {
                    wrong += std::mem::take(&mut undecided[successes]);
                }
            }
        }
        wrong
    };
    let by_difficulty = wrong(&|index| if index < 200 { 0.0 } else { 0.2 });
    let interleaved = wrong(&|index| if index % 2 == 0 { 0.0 } else { 0.2 });
    assert!(by_difficulty > 0.999_999, "{by_difficulty}");
    assert!(interleaved < 0.05, "{interleaved}");
}

#[test]
#[ignore = "a measurement, for release builds: cargo test --release -p harness-core -- --ignored --nocapture decision"]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a measurement on the developer's machine"
)]
fn a_decision_takes_less_than_100_microseconds() {
    let clustered = |families: usize| {
        let mut all = Families::default();
        for index in 0..families {
            all.push(Tally::clear(u64::from(index % 9 == 0), 4)).unwrap();
        }
        Evidence::Families(all)
    };
    let mut unclear = Tally::clear(3, 190);
    unclear.unclear.refused = 7;
    let cases = [
        ("0 of 60", units(0, 60)),
        ("19 of 200", units(19, 181)),
        ("193 clear, 7 unclear", Evidence::Units(unclear)),
        ("990 of 10,000", units(990, 9_010)),
        ("99,950,000 of 10⁹", units(99_950_000, 900_050_000)),
        ("40 families", clustered(40)),
        ("200 families", clustered(200)),
    ];
    for (name, evidence) in cases {
        let rule = rule(0.1, 0.05 / 12.0);
        // The quickest of ten batches: others use the machine too.
        let batch = || {
            let start = Instant::now();
            for _ in 0..100 {
                std::hint::black_box(decide(&rule, std::hint::black_box(&evidence)).unwrap());
            }
            start.elapsed() / 100
        };
        let quickest = (0..10).map(|_| batch()).min().unwrap();
        eprintln!("{name}: {quickest:?} a decision");
        assert!(quickest.as_micros() < 100);
    }
    let domains: Vec<Domain> = (0..50)
        .map(|index| Domain {
            threshold: level(0.1),
            evidence: units(index % 20, 200 - index % 20),
        })
        .collect();
    let start = Instant::now();
    let errors = CheckpointErrors::alone(Level::P05, Level::P05);
    for _ in 0..20 {
        std::hint::black_box(decide_domains(&domains, errors, Correction::EBh).unwrap());
    }
    eprintln!("50 domains of 200 units: {:?}", start.elapsed() / 20);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(25), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mirrored_evidence_is_the_same(s in 0u64..2_000, f in 0u64..2_000, tau in 0.0005_f64..0.9995) {
        let (left, right) = (below(&units(s, f), tau), above(&units(f, s), 1.0 - tau));
        prop_assert!((left - right).abs() < 1e-8 * left.abs().max(1.0), "{left} and {right}");
    }

    #[test]
    fn a_success_instead_of_a_failure_speaks_against_below(s in 0u64..500, f in 1u64..500, tau in 0.001_f64..0.999) {
        let (before, after) = (units(s, f), units(s + 1, f - 1));
        prop_assert!(below(&after, tau) < below(&before, tau));
        prop_assert!(above(&after, tau) > above(&before, tau));
    }

    #[test]
    fn another_failure_speaks_for_below_and_ever_more(s in 0u64..300, f in 0u64..300, tau in 0.001_f64..0.999) {
        let at = |more| below(&units(s, f + more), tau);
        let (first, second) = (at(1) - at(0), at(2) - at(1));
        prop_assert!(first > 0.0 && second > first - 1e-9);
        prop_assert!(above(&units(s + 1, f), tau) > above(&units(s, f), tau));
    }

    #[test]
    fn evidence_for_below_grows_with_the_threshold(s in 0u64..300, f in 0u64..300, tau in 0.001_f64..0.99, up in 1e-4_f64..0.009) {
        // Without a failure there is no evidence for below, however high the threshold.
        prop_assume!(s + f > 0);
        prop_assert!(below(&units(s, f), tau + up) > below(&units(s, f), tau));
        prop_assert!(above(&units(s, f), tau + up) < above(&units(s, f), tau));
    }

    #[test]
    fn no_number_is_lost_whatever_the_counts(s in 0u64..2_000_000_000, f in 0u64..2_000_000_000, ln_tau in -40.0_f64..-1e-6, ln_alpha in -200.0_f64..-0.001) {
        let rule = rule(ln_tau.exp(), ln_alpha.exp());
        let decision = decide(&rule, &units(s, f)).unwrap();
        prop_assert!(decision.below.log_e.ln().is_finite() && decision.above.log_e.ln().is_finite());
        let settled = |verdict: Verdict| decision.verdict == verdict;
        prop_assert_eq!(settled(Verdict::ShownBelow), decision.below.more == Some(0));
        prop_assert_eq!(settled(Verdict::ShownAbove), decision.above.more == Some(0));
    }

    #[test]
    fn critical_counts_are_where_decisions_turn(n in 1u64..400, tau in 0.01_f64..0.99, alpha in 0.001_f64..0.3) {
        let rule = rule(tau, alpha);
        let found = critical_counts(&rule, n).unwrap();
        let verdict = |successes: u64| decide(&rule, &units(successes, n - successes)).unwrap().verdict;
        let near = [found.below_at_most, found.above_at_least].into_iter().flatten();
        for successes in near.flat_map(|at| [at.saturating_sub(1), at, at + 1]).chain([0, n / 2, n]).filter(|&at| at <= n) {
            let expected = if found.below_at_most.is_some_and(|most| successes <= most) {
                Verdict::ShownBelow
            } else if found.above_at_least.is_some_and(|least| successes >= least) {
                Verdict::ShownAbove
            } else {
                Verdict::Inconclusive
            };
            prop_assert_eq!(verdict(successes), expected);
        }
    }
}

#[test]
fn a_binomial_is_what_the_recursion_ends_in() {
    // One look that decides nothing leaves the whole distribution; one that decides at 3 takes its tail.
    let look = crate::stats::sequential::CriticalCounts {
        units: 50,
        below_at_most: Some(3),
        above_at_least: None,
    };
    let found = crate::stats::sequential::characteristics(0.1, &[look]).unwrap();
    let tail: f64 = (0..=3).map(|k| binomial_pmf(k, 50, 0.1).unwrap()).sum();
    assert!((found.below - tail).abs() < 1e-14);
}
