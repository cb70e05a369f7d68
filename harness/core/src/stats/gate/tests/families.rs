//! The e-process of family means: expectation, laws, clustered simulations.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::families::Bets;
use super::super::process::{Direction, Threshold};
use super::*;
use crate::stats::Method;

fn families(tallies: &[(u64, u64)]) -> Evidence {
    let mut families = Families::default();
    for &(successes, failures) in tallies {
        families.push(Tally::clear(successes, failures)).unwrap();
    }
    Evidence::Families(families)
}

/// Every sequence of four families with means 0, 1/2, 1, weighted so that the mean is the threshold, or on its wrong side.
#[test]
fn at_the_threshold_evidence_is_one_in_expectation() {
    for threshold in [0.05, 0.1, 0.4, 0.5, 0.7, 0.95] {
        for half in [0.0, 0.3, 0.9] {
            let expectation = |of: fn(&Evidence, f64) -> f64, mean: f64| {
                // A share `half` of the mass that is needed for the mean sits at one half.
                let at_half = 2.0 * half * mean.min(1.0 - mean);
                let at_one = mean - at_half / 2.0;
                let weights = [1.0 - at_half - at_one, at_half, at_one];
                let mut sum = 0.0;
                for code in 0..81_u32 {
                    let picks = [code % 3, code / 3 % 3, code / 9 % 3, code / 27];
                    let tallies = picks.map(|pick| (u64::from(pick), u64::from(2 - pick)));
                    let weight: f64 = picks.iter().map(|&pick| weights[pick as usize]).product();
                    sum += weight * of(&families(&tallies), threshold).exp();
                }
                sum
            };
            for of in [below, above] {
                let found = expectation(of, threshold);
                assert!((found - 1.0).abs() < 1e-9, "{found} at {threshold}, {half}");
            }
            assert!(expectation(below, threshold * 1.02) < 1.0);
            assert!(expectation(above, threshold * 0.98) < 1.0);
        }
    }
}

#[test]
fn families_of_one_trial_weigh_as_counts_do() {
    for (successes, failures) in [(0, 36), (2, 80), (9, 51), (20, 40), (1, 3), (5, 500)] {
        let ones = [vec![(1, 0); successes], vec![(0, 1); failures]].concat();
        let counts = units(successes as u64, failures as u64);
        for threshold in [0.05, 0.1, 0.5, 0.9] {
            for of in [below, above] {
                let (left, right) = (of(&families(&ones), threshold), of(&counts, threshold));
                // 64 rates stand for all between the threshold and the end. Where evidence is against the process only
                // the nearest matter, and how little there is of it is beside the point.
                if right > 0.5 {
                    assert!((left - right).abs() < 0.01 * right, "{left} and {right}");
                } else {
                    assert!(left < 0.55, "{left} and {right}");
                }
            }
        }
    }
}

#[test]
fn adding_one_by_one_is_adding_all() {
    let means: Vec<f64> = (0..300).map(|index| f64::from(index % 6) / 10.0).collect();
    for threshold in [1e-200, 1e-9, 0.1, 0.5, 0.99] {
        for direction in [Direction::Below, Direction::Above] {
            let mut at_once = Bets::new(direction, Threshold::at(level(threshold)));
            let mut one_by_one = Bets::new(direction, Threshold::at(level(threshold)));
            at_once.add(&means);
            for mean in &means {
                one_by_one.add(&[*mean]);
            }
            let (left, right) = (at_once.log_e_after(0.0), one_by_one.log_e_after(0.0));
            assert!(
                (left - right).abs() < 1e-10 * right.abs().max(1.0),
                "{left} and {right}"
            );
        }
    }
}

#[test]
fn what_settles_it_does_and_one_less_does_not() {
    let seen = [(1, 4), (0, 5), (0, 5), (2, 3), (0, 5), (0, 5), (0, 5)];
    let decision = decide(&rule(0.1, 0.05), &families(&seen)).unwrap();
    assert_eq!((decision.method, decision.units), (Method::FamilyBets, 7));
    let more = usize::try_from(decision.below.more.unwrap()).unwrap();
    let with = |more: usize| {
        let seen = [seen.to_vec(), vec![(0, 5); more]].concat();
        decide(&rule(0.1, 0.05), &families(&seen)).unwrap().verdict
    };
    assert_eq!(
        [with(more - 1), with(more)],
        [Verdict::Inconclusive, Verdict::ShownBelow]
    );
}

#[test]
fn the_bound_is_where_the_decision_turns() {
    let seen = families(&[(1, 4), (0, 5), (0, 5), (2, 3), (0, 5), (1, 1), (0, 5), (0, 2)]);
    let upper = upper_bound(&seen.for_below().unwrap(), Level::P05).unwrap();
    let lower = lower_bound(&seen.for_above().unwrap(), Level::P05).unwrap();
    let (at_least, at_most) = (lower.interval().lower, upper.interval().upper);
    assert!(
        0.0 < at_least && at_least < at_most && at_most < 1.0,
        "{at_least} {at_most}"
    );
    let verdict = |threshold: f64| decide(&rule(threshold, 0.05), &seen).unwrap().verdict;
    assert_eq!(verdict(at_most * (1.0 + 1e-9)), Verdict::ShownBelow);
    assert_eq!(verdict(at_most * (1.0 - 1e-9)), Verdict::Inconclusive);
    assert_eq!(verdict(at_least * (1.0 + 1e-9)), Verdict::Inconclusive);
    assert_eq!(verdict(at_least * (1.0 - 1e-9)), Verdict::ShownAbove);
}

#[test]
fn a_family_counts_once_and_its_clear_results_stay() {
    let mut families = Families::default();
    assert!(families.push(Tally::default()).is_err());
    let mut tally = Tally::clear(1, 3);
    tally.unclear.spurious = 2;
    families.push(tally).unwrap();
    let mut resolved = Tally::clear(2, 3);
    resolved.unclear.spurious = 1;
    families.resolve(0, resolved).unwrap();
    assert_eq!(families.tallies(), [resolved]);
    assert!(
        families.resolve(1, resolved).is_err(),
        "there is no second family"
    );
    assert!(
        families.resolve(0, Tally::clear(2, 5)).is_err(),
        "a trial was added"
    );
    assert!(
        families.resolve(0, Tally::clear(6, 0)).is_err(),
        "failures were taken back"
    );
    assert_eq!(families.tallies(), [resolved]);
}

/// The results of one family of five trials whose rates spread with an intraclass correlation of 0.2: Pólya's urn.
fn family(rng: &mut ChaCha8Rng, rate: f64) -> u32 {
    let weight = 1.0 / 0.2 - 1.0;
    let mut successes = 0;
    for trial in 0..5 {
        let chance = (rate * weight + f64::from(successes)) / (weight + f64::from(trial));
        successes += u32::from(rng.random::<f64>() < chance);
    }
    successes
}

/// The share of runs of `families` families of five trials, at the threshold 0.1, that are wrong at some look when each
/// error may be 5 %: below and above by families, and either by trials counted as if they were independent.
fn wrong_shares(runs: u32, families: u64) -> [f64; 3] {
    let (tau, needed) = (0.1, -0.05_f64.ln());
    let critical: Vec<_> = (1..=families)
        .map(|n| critical_counts(&rule(tau, 0.05), 5 * n).unwrap())
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    let mut wrong = [0_u32; 3];
    for _ in 0..runs {
        let threshold = Threshold::at(level(tau));
        let mut bets = [
            Bets::new(Direction::Below, threshold),
            Bets::new(Direction::Above, threshold),
        ];
        let (mut successes, mut now) = (0, [false; 3]);
        for look in &critical {
            let hits = family(&mut rng, tau);
            successes += u64::from(hits);
            for (now, bets) in now.iter_mut().zip(&mut bets) {
                bets.add(&[f64::from(hits) / 5.0]);
                *now = *now || bets.log_e_after(0.0) >= needed;
            }
            now[2] |= look.below_at_most.is_some_and(|most| successes <= most)
                || look.above_at_least.is_some_and(|least| successes >= least);
        }
        for (wrong, now) in wrong.iter_mut().zip(now) {
            *wrong += u32::from(now);
        }
    }
    wrong.map(|wrong| f64::from(wrong) / f64::from(runs))
}

/// The Monte Carlo standard error of a share of 5 % in 1,000 runs is 0.007.
#[test]
fn clustered_trials_err_within_alpha_as_families_and_beyond_it_as_trials() {
    let [low, high, pooled] = wrong_shares(1_000, 150);
    assert!((0.005..=0.05 + 0.007).contains(&low), "below: {low}");
    assert!((0.005..=0.05 + 0.007).contains(&high), "above: {high}");
    // Both errors together may be 10 %; trials counted as if they were independent go far beyond.
    assert!(pooled > 0.1 + 5.0 * 0.01, "pooled: {pooled}");
}

#[test]
#[ignore = "a measurement, for release builds: cargo test --release -p harness-core -- --ignored --nocapture clustered"]
#[expect(clippy::print_stderr, reason = "a measurement on the developer's machine")]
fn clustered_trials_in_twenty_thousand_runs() {
    let [low, high, pooled] = wrong_shares(20_000, 300);
    eprintln!("below {low}, above {high}, pooled {pooled}; Monte Carlo standard error of 5 %: 0.0015");
    assert!(low <= 0.05 && high <= 0.05);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(24), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_families_changes_nothing(mut seen in prop::collection::vec((0u64..5, 1u64..5), 1..40), by in 0usize..40, tau in 0.01_f64..0.99) {
        let before = [below(&families(&seen), tau), above(&families(&seen), tau)];
        let by = by % seen.len();
        seen.rotate_left(by);
        seen.reverse();
        let after = [below(&families(&seen), tau), above(&families(&seen), tau)];
        for (before, after) in before.into_iter().zip(after) {
            prop_assert!((before - after).abs() < 1e-9 * before.abs().max(1.0));
        }
    }

    #[test]
    fn a_success_instead_of_a_failure_speaks_against_below(seen in prop::collection::vec((0u64..5, 1u64..5), 1..40), at in 0usize..40, tau in 0.01_f64..0.99) {
        let mut more = seen.clone();
        let at = at % seen.len();
        more[at] = (seen[at].0 + 1, seen[at].1 - 1);
        prop_assert!(below(&families(&more), tau) < below(&families(&seen), tau));
        prop_assert!(above(&families(&more), tau) > above(&families(&seen), tau));
    }

    #[test]
    fn evidence_for_below_grows_with_the_threshold(seen in prop::collection::vec((0u64..5, 1u64..5), 1..40), tau in 0.01_f64..0.9, up in 1e-3_f64..0.09) {
        prop_assert!(below(&families(&seen), tau + up) > below(&families(&seen), tau));
        prop_assert!(above(&families(&seen), tau + up) < above(&families(&seen), tau));
    }

    #[test]
    fn mirrored_evidence_is_the_same(seen in prop::collection::vec((0u64..5, 1u64..5), 1..40), tau in 0.01_f64..0.99) {
        let mirrored: Vec<(u64, u64)> = seen.iter().map(|&(successes, failures)| (failures, successes)).collect();
        let (left, right) = (below(&families(&seen), tau), above(&families(&mirrored), 1.0 - tau));
        prop_assert!((left - right).abs() < 1e-8 * left.abs().max(1.0));
    }
}
