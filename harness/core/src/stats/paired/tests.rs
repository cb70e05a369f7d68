//! Laws of paired comparisons, tests by complete enumeration, extremes.

use proptest::prelude::*;

use super::*;
use crate::stats::bootstrap::Draws;

type OfCounts = fn(&PairedCounts, Level) -> Result<Estimate, StatsError>;

const METHODS: [OfCounts; 4] = [newcombe, tango, agresti_min, wald];
const DRAWS: Draws = Draws {
    count: 2_000,
    seed: 5,
};

fn counts(both: u64, only_a: u64, only_b: u64, neither: u64) -> PairedCounts {
    PairedCounts {
        both,
        only_a,
        only_b,
        neither,
    }
}

#[test]
fn no_pair_has_no_difference() {
    for method in METHODS {
        assert!(method(&counts(0, 0, 0, 0), Level::P95).is_err());
    }
    assert!(differences(&[1.0], &[]).is_err() && paired_difference(&[1.0], &[0.0]).is_err());
    assert_eq!(
        differences(&[0.0, 1.0], &[0.0, f64::NAN])
            .unwrap_err()
            .to_string(),
        "B's scores at position 1 is not a finite number"
    );
    for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
        assert!(sign_flip(&[], alternative, DRAWS).is_err());
        assert!(sign_flip(&[f64::NAN], alternative, DRAWS).is_err());
    }
    assert!(wilcoxon(&[]).is_err() && wilcoxon(&[f64::INFINITY]).is_err());
}

#[test]
fn the_largest_difference_ends_at_the_edge() {
    for n in [1, 7, 1_000_000_000] {
        let found = tango(&counts(0, n, 0, 0), Level::P95).unwrap();
        assert!((found.value - 1.0).abs() < 1e-15 && (found.interval.upper - 1.0).abs() < 1e-15);
        assert!(found.interval.lower < 1.0);
        let none = tango(&counts(n, 0, 0, n), Level::P95).unwrap();
        assert!(none.interval.lower < 0.0 && none.interval.upper > 0.0, "{none:?}");
    }
}

#[test]
fn methods_agree_on_many_pairs() {
    let many = counts(400_000_000, 150_000_000, 150_100_000, 299_900_000);
    let expected = wald(&many, Level::P95).unwrap();
    for method in METHODS {
        let found = method(&many, Level::P95).unwrap();
        assert!(
            (found.interval.lower - expected.interval.lower).abs() < 2e-8,
            "{found:?}"
        );
        assert!(
            (found.interval.upper - expected.interval.upper).abs() < 2e-8,
            "{found:?}"
        );
    }
    let test = mcnemar(&many).unwrap();
    assert!((test.exact.value - test.corrected.unwrap().p.value).abs() < 1e-6);
    assert!((test.mid.value - test.asymptotic.unwrap().p.value).abs() < 1e-6);
}

#[test]
fn samples_without_a_difference_reject_nothing() {
    let test = mcnemar(&counts(5, 0, 0, 7)).unwrap();
    assert_eq!(
        (test.exact.value, test.asymptotic, test.corrected),
        (1.0, None, None)
    );
    let even = mcnemar(&counts(0, 1, 1, 0)).unwrap();
    assert_eq!((even.exact.value, even.mid.value), (1.0, 0.75));
    assert_eq!(even.asymptotic.unwrap().p.value.to_bits(), 1.0_f64.to_bits());
    for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
        let found = sign_flip(&[0.0, 0.0], alternative, DRAWS).unwrap();
        assert_eq!((found.p.value, found.flips), (1.0, Flips::All { flips: 1 }));
    }
    let ranks = wilcoxon(&[0.0, 0.0]).unwrap();
    assert_eq!((ranks.p.value, ranks.units, ranks.zeros), (1.0, 0, 2));
}

/// The share of all flips whose sum is at least as extreme, one by one.
fn by_enumeration(differences: &[f64], extreme: impl Fn(f64, f64) -> bool) -> f64 {
    let total: f64 = differences.iter().sum();
    let all = 1_u32 << differences.len();
    let hits = (0..all).filter(|flips| {
        let sign = |i: usize| if flips >> i & 1 == 1 { 1.0 } else { -1.0 };
        let sum: f64 = differences
            .iter()
            .enumerate()
            .map(|(i, d)| sign(i) * d.abs())
            .sum();
        extreme(sum, total)
    });
    hits.count() as f64 / f64::from(all)
}

#[test]
fn twenty_differences_are_flipped_exactly() {
    let differences: Vec<f64> = (0..20).map(|i| f64::from(i % 7) / 10.0 - 0.2).collect();
    let found = sign_flip(&differences, Alternative::TwoSided, DRAWS).unwrap();
    let expected = by_enumeration(&differences, |sum, total| sum.abs() >= total.abs() - 1e-9);
    assert!(
        (found.p.value - expected).abs() < 1e-15,
        "{} instead of {expected}",
        found.p.value
    );
    let not_zero = differences.iter().filter(|d| d.abs() > 1e-12).count();
    // 0.2 - 0.2 is no difference; 2 * 0.1 - 0.2 is none either.
    assert_eq!(not_zero, 17);
    assert!(matches!(found.flips, Flips::All { .. }));
}

#[test]
fn draws_agree_with_all_flips_and_are_never_zero() {
    let differences: Vec<f64> = (0..30).map(|i| f64::from(i * i % 11) / 10.0 - 0.4).collect();
    for alternative in [Alternative::TwoSided, Alternative::Greater, Alternative::Less] {
        let flips = SignFlips::new(&differences, alternative).unwrap();
        let exact = flips.exact().unwrap().p.value;
        let draws = Draws {
            count: 20_000,
            seed: 11,
        };
        let extreme = (0..draws.count)
            .filter(|index| flips.is_extreme(draws.seed, *index))
            .count();
        let drawn = flips.drawn(draws, extreme as u64).unwrap();
        let error = (exact * (1.0 - exact) / 20_000.0).sqrt();
        assert!(
            (drawn.p.value - exact).abs() < 4.0 * error + 1e-4,
            "{} {exact}",
            drawn.p.value
        );
        assert_eq!(drawn.flips, Flips::Drawn(draws));
    }
    let large = vec![1.0; 1_000];
    let found = sign_flip(&large, Alternative::TwoSided, DRAWS).unwrap();
    assert!((found.p.value - 1.0 / 2_001.0).abs() < 1e-15);
    assert!(sign_flip(&large, Alternative::Less, DRAWS).unwrap().p.value > 0.999);
    assert!(sign_flip(&large, Alternative::Less, Draws { count: 0, seed: 0 }).is_err());
}

#[test]
fn draws_are_pinned() {
    let size = |i: i32| f64::from(i) * 0.7_f64.powi(i % 5);
    let differences: Vec<f64> = (1..=40)
        .map(|i| if i % 2 == 0 { size(i) } else { -size(i) })
        .collect();
    let flips = SignFlips::new(&differences, Alternative::Greater).unwrap();
    let pinned: String = (0..16)
        .map(|index| if flips.is_extreme(1, index) { '+' } else { '-' })
        .collect();
    assert_eq!(pinned, "-+-----+++-----+");
}

#[test]
fn many_ranks_are_near_the_exact_distribution() {
    let differences: Vec<f64> = (1..=200)
        .map(|i| f64::from(i) * if i % 9 < 5 { 1.0 } else { -1.0 })
        .collect();
    let exact = wilcoxon(&differences).unwrap();
    assert_eq!(exact.p.test, "Wilcoxon's signed ranks, exact, two-sided");
    let more: Vec<f64> = differences.iter().copied().chain([1e-3]).collect();
    let normal = wilcoxon(&more).unwrap();
    assert_eq!(
        normal.p.test,
        "Wilcoxon's signed ranks, normal approximation, two-sided"
    );
    assert!(
        (exact.p.value / normal.p.value - 1.0).abs() < 0.05,
        "{exact:?} {normal:?}"
    );
}

#[test]
fn constant_scores_have_no_correlation() {
    let found = paired_difference(&[1.0, 1.0, 1.0], &[0.0, 1.0, 0.0]).unwrap();
    assert_eq!(found.correlation, None);
    // Var(a - b) = Var a + Var b - 2 Cov.
    let (a, b) = ([0.1, 0.9, 0.4, 0.6], [0.3, 0.8, 0.2, 0.9]);
    let found = paired_difference(&a, &b).unwrap();
    let (of_a, of_b) = (plain(&a).unwrap(), plain(&b).unwrap());
    let covariance = found.correlation.unwrap() * of_a.standard_error * of_b.standard_error;
    let expected = found.unpaired_standard_error.powi(2) - 2.0 * covariance;
    assert!((found.difference.standard_error.powi(2) - expected).abs() < 1e-15);
}

/// The probability that an interval holds the true difference, over all tables of `n` pairs.
fn coverage(method: OfCounts, n: u64, [p_a, p_b, p_both]: [f64; 3]) -> f64 {
    use crate::stats::special::ln_binomial;
    let mut sum = 0.0;
    for only_a in 0..=n {
        for only_b in 0..=n - only_a {
            for both in 0..=n - only_a - only_b {
                let table = counts(both, only_a, only_b, n - only_a - only_b - both);
                let found = method(&table, Level::P95).unwrap().interval;
                if (found.lower..=found.upper).contains(&(p_a - p_b)) {
                    let rest = n - only_a - only_b;
                    let ln = ln_binomial(n, only_a)
                        + ln_binomial(n - only_a, only_b)
                        + ln_binomial(rest, both)
                        + only_a as f64 * p_a.ln()
                        + only_b as f64 * p_b.ln()
                        + both as f64 * p_both.ln()
                        + (rest - both) as f64 * (1.0 - p_a - p_b - p_both).ln();
                    sum += ln.exp();
                }
            }
        }
    }
    sum
}

#[test]
fn paired_intervals_cover_about_as_often_as_they_say() {
    for truth in [
        [0.1, 0.1, 0.4],
        [0.3, 0.1, 0.3],
        [0.05, 0.02, 0.5],
        [0.25, 0.25, 0.25],
    ] {
        for method in [newcombe, tango, agresti_min] {
            let found = coverage(method, 20, truth);
            assert!((0.93..0.999).contains(&found), "{truth:?}: {found}");
        }
        assert!(coverage(wald, 20, truth) < coverage(newcombe, 20, truth));
    }
}

proptest! {
    #[test]
    fn exchanging_a_and_b_turns_the_sign(both in 0_u64..40, a in 0_u64..40, b in 0_u64..40, neither in 0_u64..40) {
        prop_assume!(both + a + b + neither > 0);
        let (one, two) = (counts(both, a, b, neither), counts(both, b, a, neither));
        for method in METHODS {
            let (found, turned) = (method(&one, Level::P95).unwrap(), method(&two, Level::P95).unwrap());
            prop_assert!((found.value + turned.value).abs() < 1e-12);
            prop_assert!((found.interval.lower + turned.interval.upper).abs() < 1e-9);
            prop_assert!(found.interval.lower <= found.interval.upper && found.units == one.pairs());
        }
        let (test, turned) = (mcnemar(&one).unwrap(), mcnemar(&two).unwrap());
        prop_assert_eq!(test, turned);
        prop_assert!(test.mid.value <= test.exact.value && test.exact.value <= 1.0);
        let (higher, lower) = (probability_higher(&one).unwrap(), probability_higher(&two).unwrap());
        prop_assert!((higher.probability + lower.probability - 1.0).abs() < 1e-12);
    }

    #[test]
    fn flips_agree_with_enumeration(differences in prop::collection::vec(-4_i8..5, 1..11)) {
        let differences: Vec<f64> = differences.into_iter().map(|d| f64::from(d) / 10.0).collect();
        let of = |alternative| sign_flip(&differences, alternative, DRAWS).unwrap().p.value;
        let two = by_enumeration(&differences, |sum, total| sum.abs() >= total.abs() - 1e-9);
        let more = by_enumeration(&differences, |sum, total| sum >= total - 1e-9);
        let less = by_enumeration(&differences, |sum, total| sum <= total + 1e-9);
        prop_assert!((of(Alternative::TwoSided) - two).abs() < 1e-14);
        prop_assert!((of(Alternative::Greater) - more).abs() < 1e-14);
        prop_assert!((of(Alternative::Less) - less).abs() < 1e-14);
        // Neither order nor unit matters.
        let turned: Vec<f64> = differences.iter().rev().map(|d| d * 1e6).collect();
        prop_assert!((sign_flip(&turned, Alternative::TwoSided, DRAWS).unwrap().p.value - two).abs() < 1e-14);
    }

    #[test]
    fn binary_flips_are_the_exact_test_of_mcnemar(a in 0_usize..15, b in 0_usize..15, same in 1_usize..5) {
        let signs = [vec![1.0; a], vec![-1.0; b], vec![0.0; same]].concat();
        let flips = sign_flip(&signs, Alternative::TwoSided, DRAWS).unwrap().p.value;
        let exact = mcnemar(&counts(0, a as u64, b as u64, same as u64)).unwrap().exact.value;
        prop_assert!((flips - exact).abs() < 1e-12);
        // All sizes tie, so that ranks say the same.
        prop_assert!((wilcoxon(&signs).unwrap().p.value - exact).abs() < 1e-12);
    }

    #[test]
    fn ranks_agree_with_enumeration(differences in prop::collection::vec(-6_i8..7, 1..11)) {
        let differences: Vec<f64> = differences.into_iter().map(f64::from).collect();
        let mut sizes: Vec<f64> = differences.iter().map(|d| d.abs()).filter(|d| *d > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        let rank = |size: f64| {
            let places = (1_u32..).zip(&sizes).filter(|(_, other)| (*other - size).abs() < 0.5);
            let places: Vec<f64> = places.map(|(place, _)| f64::from(place)).collect();
            places.iter().sum::<f64>() / places.len() as f64
        };
        let signed: Vec<f64> = differences.iter().filter(|d| d.abs() > 0.0).map(|d| d.signum() * rank(d.abs())).collect();
        let expected = by_enumeration(&signed, |sum, total| sum.abs() >= total.abs() - 1e-9);
        prop_assert!((wilcoxon(&differences).unwrap().p.value - expected).abs() < 1e-12);
    }
}
