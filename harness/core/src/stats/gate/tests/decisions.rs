//! Decisions: what unclear trials do, domains, tasks, carry-over, division of errors.

use proptest::prelude::*;

use super::Verdict::{Inconclusive, ShownAbove, ShownBelow};
use super::*;
use crate::stats::e_values::LogE;
use crate::stats::sequential::{Checkpoint, Schedule};

fn tally(successes: u64, failures: u64, refused: u64, void: u64) -> Tally {
    Tally {
        successes,
        failures,
        unclear: Unclear {
            refused,
            void,
            ..Unclear::default()
        },
    }
}

#[test]
fn unclear_trials_that_could_change_the_verdict_leave_it_open() {
    let rule = rule(0.1, 0.05);
    let verdicts = |seen: Tally| {
        let decision = decide(&rule, &Evidence::Units(seen)).unwrap();
        (
            decision.verdict,
            decision.if_successes,
            decision.if_failures,
            decision.is_ambiguous(),
        )
    };
    // (0, 40) is shown below, but not if four of the forty refused.
    assert_eq!(
        verdicts(tally(0, 40, 0, 0)),
        (ShownBelow, ShownBelow, ShownBelow, false)
    );
    assert_eq!(
        verdicts(tally(0, 36, 3, 1)),
        (Inconclusive, Inconclusive, ShownBelow, true)
    );
    // A hundred failures bear two refusals.
    assert_eq!(
        verdicts(tally(0, 98, 2, 0)),
        (ShownBelow, ShownBelow, ShownBelow, false)
    );
    // Seven of twenty are above; five and two void ones are not.
    assert_eq!(
        verdicts(tally(7, 13, 0, 0)),
        (ShownAbove, ShownAbove, ShownAbove, false)
    );
    assert_eq!(
        verdicts(tally(5, 13, 0, 2)),
        (Inconclusive, ShownAbove, Inconclusive, true)
    );
    // Everything is possible.
    assert_eq!(
        verdicts(tally(0, 0, 60, 0)),
        (Inconclusive, ShownAbove, ShownBelow, true)
    );
}

#[test]
fn every_kind_of_unclear_trial_counts() {
    let kinds: [fn(&mut Unclear) -> &mut u64; 5] = [
        |unclear| &mut unclear.refused,
        |unclear| &mut unclear.spurious,
        |unclear| &mut unclear.unverified,
        |unclear| &mut unclear.unscored,
        |unclear| &mut unclear.void,
    ];
    for kind in kinds {
        let mut seen = Tally::clear(1, 50);
        *kind(&mut seen.unclear) = 4;
        let seen = Evidence::Units(seen);
        assert_eq!(seen.units().unwrap(), 55);
        assert_eq!(below(&seen, 0.1).to_bits(), below(&units(5, 50), 0.1).to_bits());
        assert_eq!(above(&seen, 0.1).to_bits(), above(&units(1, 54), 0.1).to_bits());
    }
}

#[test]
fn a_gate_of_several_domains_divides_its_error() {
    let errors = CheckpointErrors::alone(Level::P05, Level::P05);
    let domain = |successes, failures| Domain {
        threshold: level(0.1),
        evidence: units(successes, failures),
    };
    let verdicts = |domains: &[Domain], correction| {
        let decisions = decide_domains(domains, errors, correction).unwrap();
        let all: Vec<Verdict> = decisions.iter().map(|decision| decision.verdict).collect();
        (all, overall(&decisions))
    };
    // Ten domains: 0 of 36 is not enough any more, 0 of 61 is (alpha 0.005).
    let mut domains = vec![domain(0, 61); 10];
    assert_eq!(
        verdicts(&domains, Correction::Bonferroni),
        (vec![ShownBelow; 10], ShownBelow)
    );
    domains[3] = domain(0, 60);
    let (all, together) = verdicts(&domains, Correction::Bonferroni);
    assert_eq!((all[3], together), (Inconclusive, Inconclusive));
    domains[4] = domain(30, 31);
    let (all, together) = verdicts(&domains, Correction::EBh);
    assert_eq!((all[4], together), (ShownAbove, ShownAbove));
    assert!(decide_domains(&[], errors, Correction::EBh).is_err());
    assert_eq!(overall(&[]), Inconclusive);
}

#[test]
fn e_bh_finds_more_where_many_are_above() {
    let errors = CheckpointErrors::alone(Level::P05, Level::P05);
    // 8 of 20: e = 59, more than 20 but less than 200.
    let e = above(&units(8, 12), 0.1).exp();
    assert!((20.0..200.0).contains(&e), "{e}");
    let domains = vec![
        Domain {
            threshold: level(0.1),
            evidence: units(8, 12),
        };
        10
    ];
    let count = |correction| {
        let decisions = decide_domains(&domains, errors, correction).unwrap();
        decisions
            .iter()
            .filter(|decision| decision.verdict == Verdict::ShownAbove)
            .count()
    };
    assert_eq!([count(Correction::Bonferroni), count(Correction::EBh)], [0, 10]);
    // What is stated to be needed is what decides.
    let decisions = decide_domains(&domains, errors, Correction::EBh).unwrap();
    assert!(
        decisions
            .iter()
            .all(|decision| decision.above.log_e >= decision.above.needed)
    );
    assert!((decisions[0].above.needed.ln() - 20.0_f64.ln()).abs() < 1e-12);
}

#[test]
fn one_domain_is_decided_as_without_domains() {
    let errors = CheckpointErrors::alone(level(0.03), level(0.01));
    for (successes, failures) in [(0, 50), (12, 20), (3, 60)] {
        let evidence = units(successes, failures);
        let rule = Rule {
            threshold: level(0.1),
            errors: errors.among(1).unwrap(),
        };
        let alone = decide(&rule, &evidence).unwrap();
        let domain = Domain {
            threshold: level(0.1),
            evidence,
        };
        for correction in [Correction::Bonferroni, Correction::EBh] {
            let found = decide_domains(std::slice::from_ref(&domain), errors, correction).unwrap();
            assert_eq!(found, [alone]);
        }
    }
}

#[test]
fn the_worst_task_is_found_behind_a_low_mean() {
    let tasks: Vec<(Tally, Level)> = (0..10)
        .map(|index| {
            (
                if index == 7 {
                    Tally::clear(9, 1)
                } else {
                    Tally::clear(0, 10)
                },
                level(0.2),
            )
        })
        .collect();
    assert_eq!(tasks_above(&tasks, Level::P05).unwrap(), [7]);
    // All tasks together look harmless: 9 of 100.
    assert!(above(&units(9, 91), 0.2) < 0.0);
    // A refusal is no success.
    let mut refused = tasks.clone();
    refused[7].0 = tally(1, 1, 8, 0);
    assert!(tasks_above(&refused, Level::P05).unwrap().is_empty());
    assert!(tasks_above(&[], Level::P05).unwrap().is_empty());
}

#[test]
fn above_carries_over_and_below_never_does() {
    let table = [ShownBelow, ShownAbove, Inconclusive]
        .map(|earlier| [ShownBelow, ShownAbove, Inconclusive].map(|now| carried(earlier, now)));
    assert_eq!(
        table,
        [
            [ShownBelow, ShownAbove, Inconclusive],
            [ShownAbove, ShownAbove, ShownAbove],
            [ShownBelow, ShownAbove, Inconclusive],
        ]
    );
}

#[test]
fn shares_of_a_series_sum_to_no_more_than_the_whole() {
    for schedule in [Schedule::Telescoping, Schedule::Zeta] {
        let series = SeriesErrors {
            below: Level::P05,
            above: level(0.01),
            schedule,
        };
        let share = |number| {
            series
                .at(Checkpoint::new(number).unwrap())
                .unwrap()
                .among(4)
                .unwrap()
        };
        let below: f64 = (1..=20_000).map(|number| 4.0 * share(number).below().get()).sum();
        let above: f64 = (1..=20_000).map(|number| 4.0 * share(number).above().get()).sum();
        assert!((0.0499..=0.05).contains(&below), "{below}");
        assert!((0.00998..=0.01).contains(&above), "{above}");
        assert!(series.at(Checkpoint::new(u64::MAX).unwrap()).is_ok());
    }
    assert!(Checkpoint::new(0).is_err());
    assert!(CheckpointErrors::alone(Level::P05, Level::P05).among(0).is_err());
}

#[test]
fn the_price_of_a_long_series_grows_with_its_logarithm() {
    let errors = SeriesErrors {
        below: Level::P05,
        above: Level::P05,
        schedule: Schedule::Telescoping,
    };
    let units = |number| {
        let cost = checkpoint_cost(&errors, Checkpoint::new(number).unwrap(), level(0.1)).unwrap();
        cost.anytime_units.unwrap()
    };
    // Each factor of ten costs about 2 ln 10 / -ln 0.9 = 44 units.
    let steps: Vec<u64> = [10, 100, 1_000, 10_000]
        .windows(2)
        .map(|pair| units(pair[1]) - units(pair[0]))
        .collect();
    assert!(steps.iter().all(|step| (43..=47).contains(step)), "{steps:?}");
}

#[test]
fn a_posterior_is_the_beta_tail() {
    // Beta(1/2, 1/2) above 1/2 by symmetry; Beta(1/2, n + 1/2) falls with n.
    let at = |successes, n| {
        let rate = crate::stats::Rate::of(successes, n).unwrap();
        probability_above(&rate, level(0.5)).unwrap().probability
    };
    assert!((at(0, 0) - 0.5).abs() < 1e-14 && (at(5, 10) - 0.5).abs() < 1e-14);
    assert!(at(0, 10) < at(0, 5) && at(10, 10) > at(5, 5));
}

#[test]
fn a_decision_is_written_with_all_its_numbers() {
    let decision = decide(&rule(0.1, 0.05), &units(0, 30)).unwrap();
    let written = serde_json::to_value(decision).unwrap();
    let of = |pointer: &str| written.pointer(pointer).cloned().unwrap();
    assert_eq!(of("/verdict"), "inconclusive");
    assert_eq!(of("/below/more"), 6);
    assert_eq!(of("/rule/threshold"), 0.1);
    assert_eq!(of("/method"), "truncated_beta_mixture");
    assert_eq!(of("/below/needed"), LogE::needed(Level::P05).ln());
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(23), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn unclear_trials_never_say_more_than_their_truth(successes in 0u64..30, failures in 0u64..120, unclear in 0u64..30, true_ones in 0u64..30, tau in 0.02_f64..0.6) {
        let true_ones = true_ones.min(unclear);
        let seen = Evidence::Units(tally(successes, failures, unclear / 2, unclear - unclear / 2));
        let truth = units(successes + true_ones, failures + unclear - true_ones);
        prop_assert!(below(&seen, tau) <= below(&truth, tau) + 1e-12);
        prop_assert!(above(&seen, tau) <= above(&truth, tau) + 1e-12);
        let rule = rule(tau, 0.05);
        let (found, known) = (decide(&rule, &seen).unwrap(), decide(&rule, &truth).unwrap());
        prop_assert!(found.verdict == Verdict::Inconclusive || found.verdict == known.verdict);
    }

    #[test]
    fn fillings_agree_with_one_sided_evidence(successes in 0u64..30, failures in 0u64..120, unclear in 0u64..10, tau in 0.02_f64..0.6) {
        let seen = Evidence::Units(tally(successes, failures, unclear, 0));
        let found = decide(&rule(tau, 0.05), &seen).unwrap();
        prop_assert_eq!(found.verdict == Verdict::ShownBelow, found.below.log_e >= found.below.needed);
        prop_assert_eq!(found.verdict == Verdict::ShownAbove, found.above.log_e >= found.above.needed);
    }

    #[test]
    fn a_smaller_error_never_decides_more(successes in 0u64..60, failures in 0u64..200, tau in 0.02_f64..0.9, ratio in 0.01_f64..1.0) {
        let seen = units(successes, failures);
        let strict = decide(&rule(tau, 0.1 * ratio), &seen).unwrap().verdict;
        let lax = decide(&rule(tau, 0.1), &seen).unwrap().verdict;
        prop_assert!(strict == Verdict::Inconclusive || strict == lax);
    }
}
