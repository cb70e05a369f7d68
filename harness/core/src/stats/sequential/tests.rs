//! Laws of planned tests: exact errors, least designs, order of looks, extremes.

use proptest::prelude::*;

use super::*;
use crate::stats::special::binomial_cdf;
use crate::stats::{Level, Rate};

fn level(value: f64) -> Level {
    Level::new("level", value).unwrap()
}

fn look(units: u64, below_at_most: Option<u64>, above_at_least: Option<u64>) -> CriticalCounts {
    CriticalCounts {
        units,
        below_at_most,
        above_at_least,
    }
}

fn goal(threshold: f64, rate: f64) -> DesignGoal {
    DesignGoal {
        threshold: level(threshold),
        rate: level(rate),
        alpha: Level::P05,
        power: level(0.8),
    }
}

/// Two looks, worked by hand: stop below at 0 of 1, above at 2 of 2.
#[test]
fn the_recursion_agrees_with_a_sum_by_hand() {
    let looks = [look(1, Some(0), None), look(2, None, Some(2))];
    let found = characteristics(0.25, &looks).unwrap();
    assert_eq!(
        found,
        Characteristics {
            rate: 0.25,
            below: 0.75,
            above: 0.0625,
            inconclusive: 0.1875,
            mean_units: 0.75 + 2.0 * 0.25,
            looks: vec![
                LookShare {
                    units: 1,
                    below: 0.75,
                    above: 0.0,
                },
                LookShare {
                    units: 2,
                    below: 0.75,
                    above: 0.0625,
                },
            ],
        }
    );
}

#[test]
fn looks_that_make_no_sense_are_refused() {
    assert!(characteristics(0.1, &[]).is_err());
    assert!(characteristics(0.1, &[look(5, None, None), look(5, None, None)]).is_err());
    assert!(characteristics(0.1, &[look(20_001, None, None)]).is_err());
    for rate in [-0.1, 1.1, f64::NAN] {
        assert!(characteristics(rate, &[look(5, None, None)]).is_err());
    }
    let (threshold, alpha) = (level(0.1), Level::P05);
    assert!(group_design(threshold, alpha, &[], Spending::Pocock).is_err());
    assert!(group_design(threshold, alpha, &[60, 30], Spending::Pocock).is_err());
    assert!(group_design(threshold, alpha, &[30, 30_000], Spending::Pocock).is_err());
    assert!(repeated_fixed_test(threshold, alpha, 0).is_err());
    assert!(repeated_fixed_test(threshold, alpha, u64::MAX).is_err());
}

#[test]
fn at_certain_rates_nothing_is_random() {
    let looks = [look(20, Some(0), Some(15)), look(40, Some(1), Some(25))];
    let of = |rate| characteristics(rate, &looks).unwrap();
    assert_eq!((of(0.0).below, of(0.0).mean_units), (1.0, 20.0));
    assert_eq!((of(1.0).above, of(1.0).mean_units), (1.0, 20.0));
}

#[test]
fn a_fixed_design_is_the_smallest() {
    for (threshold, rate) in [
        (0.1, 0.02),
        (0.1, 0.05),
        (0.05, 0.01),
        (0.5, 0.25),
        (0.02, 0.001),
        (0.9, 0.7),
    ] {
        let goal = goal(threshold, rate);
        let design = fixed_design(&goal).unwrap();
        // By search over every smaller number and every critical count.
        for units in 1..design.units {
            let enough = (0..=units).any(|most| {
                binomial_cdf(most, units, threshold).unwrap() <= 0.05
                    && binomial_cdf(most, units, rate).unwrap() >= 0.8
            });
            assert!(!enough, "{units} are enough, not {}", design.units);
        }
        assert!(design.error <= 0.05 && design.power >= 0.8);
        let exact = characteristics(threshold, &[look(design.units, Some(design.at_most), None)]).unwrap();
        assert!((exact.below - design.error).abs() < 1e-12);
    }
}

#[test]
fn a_fixed_design_that_can_not_be_is_refused() {
    assert!(fixed_design(&goal(0.1, 0.1)).is_err());
    assert!(fixed_design(&goal(0.1, 0.2)).is_err());
    assert!(fixed_design(&goal(0.1, 0.099_9)).is_err());
}

#[test]
fn a_group_design_spends_all_it_may_and_no_more() {
    for (threshold, looks) in [
        (0.1, vec![30, 60, 90, 120]),
        (0.3, vec![10, 11, 12, 50]),
        (0.02, vec![100, 400, 900]),
        (0.5, vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (0.1, vec![44]),
    ] {
        for spending in [Spending::Pocock, Spending::OBrienFleming] {
            let design = group_design(level(threshold), Level::P05, &looks, spending).unwrap();
            let exact = design.characteristics(threshold).unwrap();
            assert!((exact.below - design.error).abs() < 1e-14);
            let last = *looks.last().unwrap() as f64;
            for (index, share) in exact.looks.iter().enumerate() {
                let allowed = spending
                    .spent(Level::P05, share.units as f64 / last)
                    .unwrap()
                    .cumulative;
                assert!(share.below <= allowed);
                // One success more at this look would spend too much.
                let mut more = design.looks.clone();
                more[index].below_at_most = Some(more[index].below_at_most.map_or(0, |most| most + 1));
                let too_much = characteristics(threshold, &more[..=index]).unwrap().below;
                assert!(too_much > allowed, "look {index} of {looks:?}");
            }
        }
    }
}

#[test]
fn one_look_is_the_fixed_test() {
    let design = group_design(level(0.1), Level::P05, &[61], Spending::Pocock).unwrap();
    let fixed = fixed_design(&goal(0.1, 0.02)).unwrap();
    assert_eq!(design.looks[0].below_at_most, Some(fixed.at_most));
    assert!((design.error - fixed.error).abs() < 1e-14);
}

#[test]
fn spending_begins_at_nothing_and_ends_at_all() {
    for spending in [Spending::Pocock, Spending::OBrienFleming] {
        for alpha in [1e-12, 0.01, 0.05, 0.5] {
            let at = |information| spending.spent(level(alpha), information).unwrap().cumulative;
            assert!(at(0.0).abs() < 1e-300 && (at(1.0) - alpha).abs() < 1e-12 * alpha.max(1e-3));
            let grid: Vec<f64> = (0..=100).map(|step| at(f64::from(step) / 100.0)).collect();
            assert!(grid.windows(2).all(|pair| pair[0] <= pair[1]));
        }
        for information in [-0.1, 1.1, f64::NAN] {
            assert!(spending.spent(Level::P05, information).is_err());
        }
    }
}

#[test]
fn an_sprt_keeps_its_errors_and_its_mean_is_near_walds() {
    for (p0, p1) in [(0.05, 0.15), (0.1, 0.3), (0.4, 0.6), (0.8, 0.95)] {
        for (alpha, beta) in [(0.05, 0.1), (0.01, 0.01), (0.2, 0.05)] {
            let test = Sprt::new([level(p0), level(p1)], [level(alpha), level(beta)]).unwrap();
            let (null, alternative) = (test.exact(p0, 1_500).unwrap(), test.exact(p1, 1_500).unwrap());
            // Wald's bounds: each error at most alpha / (1 - beta), and their sum at most alpha + beta.
            assert!(null.above <= alpha / (1.0 - beta) && alternative.below <= beta / (1.0 - alpha));
            assert!(null.above + alternative.below <= alpha + beta);
            let [wald_null, wald_alternative] = test.wald_mean_units();
            for (exact, wald) in [
                (null.mean_units, wald_null),
                (alternative.mean_units, wald_alternative),
            ] {
                assert!(
                    exact > 0.95 * wald && exact < 1.5 * wald + 4.0,
                    "{exact} and {wald}"
                );
            }
        }
    }
}

#[test]
fn an_sprt_steps_as_it_is_counted() {
    let test = Sprt::new([level(0.05), level(0.15)], [Level::P05, level(0.1)]).unwrap();
    let step = |successes, n| test.step(&Rate::of(successes, n).unwrap());
    assert_eq!(
        [step(0, 20), step(0, 21)],
        [SprtStep::Continue, SprtStep::AcceptNull]
    );
    assert_eq!(
        [step(2, 2), step(3, 3)],
        [SprtStep::Continue, SprtStep::AcceptAlternative]
    );
    assert_eq!(test.failures_to_accept_null().unwrap(), 21);
    assert!(Sprt::new([level(0.15), level(0.05)], [Level::P05, Level::P05]).is_err());
    assert!(Sprt::new([level(0.05), level(0.05)], [Level::P05, Level::P05]).is_err());
    assert!(Sprt::new([level(0.05), level(0.15)], [level(0.5), level(0.5)]).is_err());
    let slow = Sprt::new([level(1e-13), level(1.000_1e-13)], [Level::P05, Level::P05]).unwrap();
    assert!(slow.failures_to_accept_null().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(22), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn probabilities_sum_to_one(rate in 0.0_f64..=1.0, n in 1u64..80, below in 0u64..10, gap in 1u64..40) {
        let looks: Vec<CriticalCounts> = (1..=n).map(|n| look(n, (n > 5).then_some(below), Some(below + gap))).collect();
        let found = characteristics(rate, &looks).unwrap();
        prop_assert!((found.below + found.above + found.inconclusive - 1.0).abs() < 1e-12);
        prop_assert!(found.mean_units >= 1.0 - 1e-12 && found.mean_units <= n as f64 + 1e-9);
    }

    #[test]
    fn looking_more_often_errs_more_often(tau in 0.02_f64..0.9, n in 2u64..120) {
        let few = repeated_fixed_test(level(tau), Level::P05, n).unwrap();
        let more = repeated_fixed_test(level(tau), Level::P05, n + 20).unwrap();
        prop_assert!(few.below <= more.below + 1e-15);
    }

    #[test]
    fn a_higher_rate_is_shown_below_less_often(low in 0.0_f64..0.5, up in 0.0_f64..0.5) {
        let design = group_design(level(0.3), Level::P05, &[20, 40, 60], Spending::Pocock).unwrap();
        let of = |rate| design.characteristics(rate).unwrap().below;
        prop_assert!(of(low + up) <= of(low) + 1e-12);
    }
}
