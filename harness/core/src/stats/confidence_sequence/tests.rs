//! Laws of confidence sequences: exact coverage at every look, nesting, extremes, refusals.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::stats::sequential::characteristics;

fn level(value: f64) -> Level {
    Level::new("level", value).unwrap()
}

fn between(successes: u64, n: u64, alpha: f64) -> (f64, f64) {
    let rate = Rate::of(successes, n).unwrap();
    let found = beta_binomial(&rate, level(alpha), MixturePrior::JEFFREYS)
        .unwrap()
        .interval();
    (found.lower, found.upper)
}

/// The exact probability that the sequence ever leaves the true rate out, with a look after every unit.
#[test]
fn the_true_rate_is_left_out_at_any_look_with_at_most_alpha() {
    for p in [0.01, 0.1, 0.37, 0.5, 0.9] {
        for alpha in [0.2, 0.05] {
            for prior in [MixturePrior::JEFFREYS, MixturePrior::UNIFORM] {
                let looks: Result<Vec<CriticalCounts>, StatsError> = (1..=300)
                    .map(|n| two_sided_critical_counts(n, level(p), level(alpha), prior))
                    .collect();
                let found = characteristics(p, &looks.unwrap()).unwrap();
                let missed = found.below + found.above;
                assert!(missed <= alpha && missed > 0.05 * alpha, "{missed} at {p}");
            }
        }
    }
}

#[test]
fn the_ends_are_where_the_martingale_reaches_its_bound() {
    for (successes, n) in [
        (0, 20),
        (1, 2),
        (3, 50),
        (50, 50),
        (5, 1_000_000_000),
        (400_000_000, 1_000_000_000),
    ] {
        for alpha in [0.3, 0.05, 1e-9] {
            let (lower, upper) = between(successes, n, alpha);
            let rate = Rate::of(successes, n).unwrap();
            let at = |p: f64| {
                beta_binomial_log_e(&rate, level(p), MixturePrior::JEFFREYS)
                    .unwrap()
                    .rejects(level(alpha))
            };
            let share = successes as f64 / n as f64;
            assert!(lower <= share && share <= upper);
            if successes > 0 {
                assert!(
                    at(lower * (1.0 - 1e-9)) && !at(lower + (share - lower) * 1e-3),
                    "{successes} of {n}"
                );
            }
            // A last digit below 1 is too coarse for what follows.
            if upper < 1.0 - 1e-6 {
                let beyond = 1.0 - (1.0 - upper) * (1.0 - 1e-9);
                assert!(
                    at(beyond) && !at(upper - (upper - share) * 1e-3),
                    "{successes} of {n}"
                );
            }
        }
    }
}

#[test]
fn nothing_seen_leaves_all_open() {
    assert_eq!(between(0, 0, 0.05), (0.0, 1.0));
    assert_eq!(between(0, 5, 0.05).0.to_bits(), 0.0_f64.to_bits());
    assert_eq!(between(5, 5, 0.05).1.to_bits(), 1.0_f64.to_bits());
}

#[test]
fn an_anytime_interval_says_only_what_its_side_says() {
    let of = |side| AnytimeInterval::new(0.2, 0.3, Level::P05, side, Method::TruncatedBetaMixture);
    let says = |side| {
        let interval = of(side);
        [
            interval.lies_below(level(0.3)),
            interval.lies_above(level(0.2)),
            interval.lies_below(level(0.29)),
        ]
    };
    assert_eq!(says(Side::Two), [true, true, false]);
    assert_eq!(says(Side::Upper), [true, false, false]);
    assert_eq!(says(Side::Lower), [false, true, false]);
}

#[test]
fn looks_intersect_only_with_their_own_kind() {
    let of =
        |lower, upper, alpha| AnytimeInterval::new(lower, upper, alpha, Side::Two, Method::NormalMixture);
    let both = of(0.1, 0.4, Level::P05)
        .intersect(of(0.2, 0.5, Level::P05))
        .unwrap();
    assert_eq!(both, of(0.2, 0.4, Level::P05));
    assert!(
        of(0.1, 0.2, Level::P05)
            .intersect(of(0.3, 0.5, Level::P05))
            .is_err()
    );
    assert!(
        of(0.1, 0.4, Level::P05)
            .intersect(of(0.2, 0.5, level(0.1)))
            .is_err()
    );
}

#[test]
fn a_normal_mixture_is_valid_but_loose_for_rare_events() {
    let total = BoundedSum::new(0.0, 60).unwrap();
    let loose = normal_mixture(total, 10.0, Level::P05).unwrap().interval();
    assert!(loose.upper > 2.0 * between(0, 60, 0.05).1);
    for (sum, units) in [(-0.1, 5), (5.1, 5), (f64::NAN, 5), (0.0, 0), (0.0, u64::MAX)] {
        assert!(BoundedSum::new(sum, units).is_err());
    }
    for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(normal_mixture(total, rho, Level::P05).is_err());
    }
    let wide = BoundedSum::new(5e11, 1_000_000_000_000).unwrap();
    let found = normal_mixture(wide, 1.0, Level::P05).unwrap().interval();
    assert!(found.lower > 0.499_99 && found.upper < 0.500_01);
}

/// 2,000 runs of 300 scores with mean 0.3; the Monte Carlo standard error at 5 % is below 0.005.
#[test]
fn sequences_of_scores_miss_the_mean_with_at_most_alpha() {
    const RUNS: u32 = 2_000;
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut missed, mut missed_normal, mut rejected) = (0, 0, [0; 2]);
    for _ in 0..RUNS {
        let mut sequence = EmpiricalBernstein::new(Level::P05);
        let (mut wrong, mut wrong_normal, mut wrong_e) = (false, false, [false; 2]);
        let mut sum = 0.0;
        for n in 1..=300 {
            // Partial credit: 0, 1/2 or 1.
            let score =
                f64::from(u32::from(rng.random::<f64>() < 0.4) + u32::from(rng.random::<f64>() < 0.2)) / 2.0;
            sequence.push(score).unwrap();
            sum += score;
            let found = sequence.interval().interval();
            wrong |= found.lower > 0.3 || found.upper < 0.3;
            wrong_e[0] |= sequence.log_e_below(level(0.3)).unwrap().rejects(Level::P05);
            wrong_e[1] |= sequence.log_e_above(level(0.3)).unwrap().rejects(Level::P05);
            let total = BoundedSum::new(sum, n).unwrap();
            let normal = normal_mixture(total, 10.0, Level::P05).unwrap().interval();
            wrong_normal |= normal.lower > 0.3 || normal.upper < 0.3;
        }
        missed += u32::from(wrong);
        missed_normal += u32::from(wrong_normal);
        for (count, wrong) in rejected.iter_mut().zip(wrong_e) {
            *count += u32::from(wrong);
        }
    }
    let most = 0.05 + 0.005;
    for count in [missed, missed_normal, rejected[0], rejected[1]] {
        let share = f64::from(count) / f64::from(RUNS);
        assert!(share <= most, "{share}");
    }
    assert!(missed + rejected[0] + rejected[1] > 0, "no sequence ever decides");
}

#[test]
fn a_sequence_of_scores_without_a_score_says_nothing() {
    let mut sequence = EmpiricalBernstein::new(Level::P05);
    assert_eq!(sequence.interval().interval().lower.to_bits(), 0.0_f64.to_bits());
    assert_eq!(sequence.interval().interval().upper.to_bits(), 1.0_f64.to_bits());
    assert!(
        [-0.1, 1.1, f64::NAN]
            .into_iter()
            .all(|score| sequence.push(score).is_err())
    );
    assert_eq!(sequence, EmpiricalBernstein::new(Level::P05));
}

#[test]
fn a_prior_that_is_none_is_refused() {
    for (a, b) in [(0.0, 1.0), (1.0, -1.0), (f64::NAN, 1.0), (1.0, 1e9)] {
        assert!(MixturePrior::new(a, b).is_err());
    }
    assert_eq!(MixturePrior::new(1.0, 1.0).unwrap(), MixturePrior::UNIFORM);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(21), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mirrored_intervals_are_the_same(s in 0u64..500, f in 0u64..500, alpha in 1e-6_f64..0.5) {
        let ((low, high), (mirrored_low, mirrored_high)) = (between(s, s + f, alpha), between(f, s + f, alpha));
        prop_assert!((low - (1.0 - mirrored_high)).abs() < 1e-10 && (high - (1.0 - mirrored_low)).abs() < 1e-10);
    }

    #[test]
    fn more_successes_move_it_up_and_a_smaller_error_makes_it_wider(s in 0u64..200, f in 1u64..200, alpha in 1e-6_f64..0.5) {
        let ((low, high), (next_low, next_high)) = (between(s, s + f, alpha), between(s + 1, s + f, alpha));
        prop_assert!(next_low > low && next_high > high - 1e-15 || s + 1 == s + f);
        let (wide_low, wide_high) = between(s, s + f, alpha / 2.0);
        prop_assert!(wide_low <= low && wide_high >= high);
    }
}
