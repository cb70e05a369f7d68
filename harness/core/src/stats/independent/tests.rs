//! Laws of comparisons of independent groups, and figures from elsewhere.

use proptest::prelude::*;

use super::*;

type OfGroups = fn(&Rate, &Rate, Level) -> Result<Estimate, StatsError>;

const METHODS: [OfGroups; 3] = [newcombe, agresti_caffo, miettinen_nurminen];

fn rate(successes: u64, units: u64) -> Rate {
    Rate::of(successes, units).unwrap()
}

#[test]
fn empty_groups_have_no_difference() {
    for method in METHODS {
        assert!(method(&rate(0, 0), &rate(1, 2), Level::P95).is_err());
        assert!(method(&rate(1, 2), &rate(0, 0), Level::P95).is_err());
    }
    // No table but the one seen is possible.
    assert_eq!(
        fisher(&rate(0, 0), &rate(1, 2)).unwrap().value.to_bits(),
        1.0_f64.to_bits()
    );
}

#[test]
fn the_largest_difference_ends_at_the_edge() {
    for n in [1, 5, 1_000_000_000] {
        let found = miettinen_nurminen(&rate(n, n), &rate(0, n), Level::P95).unwrap();
        assert!(
            (found.interval.upper - 1.0).abs() < 1e-12 && found.interval.lower < 1.0,
            "{found:?}"
        );
    }
}

#[test]
fn score_intervals_agree_with_the_closed_form_of_miettinen_and_nurminen() {
    // Their cubic with the trigonometric root, evaluated with mpmath at 40 digits.
    for (k1, n1, k2, n2, lower, upper) in MIETTINEN_NURMINEN {
        let found = miettinen_nurminen(&rate(k1, n1), &rate(k2, n2), Level::P95)
            .unwrap()
            .interval;
        let off = (found.lower - lower).abs().max((found.upper - upper).abs());
        assert!(off < 1e-10, "{k1} of {n1}, {k2} of {n2}: {found:?}");
    }
}

#[test]
fn fisher_agrees_with_scipy() {
    for (k1, n1, k2, n2, expected) in FISHER {
        let found = fisher(&rate(k1, n1), &rate(k2, n2)).unwrap().value;
        assert!(
            (found / expected - 1.0).abs() < 1e-8,
            "{k1} of {n1}, {k2} of {n2}: {found:e}"
        );
    }
}

#[test]
fn fisher_is_the_sum_of_tables_at_most_as_likely() {
    for (n1, n2) in [(1, 1), (3, 8), (12, 9), (20, 20)] {
        for k1 in 0..=n1 {
            for k2 in 0..=n2 {
                let (all, marked) = (n1 + n2, k1 + k2);
                let table = |k| hypergeometric_pmf(k, all, marked, n1).unwrap();
                let limit = table(k1) * (1.0 + 1e-7);
                let sum: f64 = (0..=n1).map(table).filter(|p| *p <= limit).sum();
                let found = fisher(&rate(k1, n1), &rate(k2, n2)).unwrap().value;
                assert!(
                    (found - sum).abs() < 1e-12,
                    "{k1} of {n1}, {k2} of {n2}: {found}, {sum}"
                );
            }
        }
    }
}

#[test]
fn higher_rates_agree_with_the_finite_sum() {
    // For whole shapes: sum over i < k₁ + 1 of B(a₂ + i, b₁ + b₂) / ((b₁ + i) B(1 + i, b₁) B(a₂, b₂)).
    use crate::stats::special::ln_beta;
    for (k1, n1, k2, n2) in [
        (17, 50, 9, 50),
        (0, 3, 3, 3),
        (200, 1_000, 2, 7),
        (0, 0, 5, 8),
        (40, 80, 41, 80),
    ] {
        let (b1, a2) = ((n1 - k1) as f64 + 1.0, k2 as f64 + 1.0);
        let b2 = (n2 - k2) as f64 + 1.0;
        let sum: f64 = (0..=k1)
            .map(|i| {
                let i = i as f64;
                let ln = ln_beta(a2 + i, b1 + b2).unwrap()
                    - ln_beta(1.0 + i, b1).unwrap()
                    - ln_beta(a2, b2).unwrap();
                ln.exp() / (b1 + i)
            })
            .sum();
        let found = probability_higher(&rate(k1, n1), &rate(k2, n2))
            .unwrap()
            .probability;
        assert!(
            (found - sum).abs() < 1e-12,
            "{k1} of {n1}, {k2} of {n2}: {found}, {sum}"
        );
    }
}

#[test]
fn a_billion_units_compare() {
    let n = 1_000_000_000;
    let (first, second) = (rate(500_000_000, n), rate(500_050_000, n));
    let sigma = (0.5 / n as f64).sqrt();
    for method in METHODS {
        let found = method(&first, &second, Level::P95).unwrap();
        let half = 1.959_963_984_540_054 * sigma;
        assert!((found.interval.lower + 5e-5 + half).abs() < 1e-9, "{found:?}");
        assert_eq!(found.units, 2 * n);
    }
    // 50 000 more of 10⁹: 2.236 standard errors.
    let z = 5e-5 / sigma;
    let two_sided = 2.0 * crate::stats::special::normal_sf(z).unwrap();
    assert!((fisher(&first, &second).unwrap().value - two_sided).abs() < 1e-4);
    let higher = probability_higher(&first, &second).unwrap().probability;
    assert!((higher - two_sided / 2.0).abs() < 1e-6, "{higher}");
}

#[test]
fn welch_refuses_what_has_no_spread_and_names_what_is_no_number() {
    assert_eq!(
        welch(&[1.0, 2.0, f64::NAN], &[1.0, 2.0], Level::P95)
            .unwrap_err()
            .to_string(),
        "the first group at position 2 is not a finite number"
    );
    assert!(welch(&[1.0], &[1.0, 2.0], Level::P95).is_err());
    assert!(welch(&[1.0, 1.0], &[2.0, 2.0], Level::P95).is_err());
    // One group without spread is no obstacle: the other's degrees of freedom remain.
    let found = welch(&[1.0, 1.0], &[2.0, 3.0, 4.0], Level::P95).unwrap();
    assert!((found.freedom - 2.0).abs() < 1e-12);
}

/// `k1, n1, k2, n2, lower, upper` at 95 %.
const MIETTINEN_NURMINEN: [(u64, u64, u64, u64, f64, f64); 6] = [
    (17, 50, 9, 50, -0.013_089_165_537_506, 0.327_075_215_249_19),
    (0, 10, 3, 12, -0.538_685_745_417_9, 0.071_088_021_169_754),
    (1, 7, 2, 90, -0.005_978_268_422_599_7, 0.493_945_186_826_78),
    (30, 31, 400, 1000, 0.436_086_707_688_55, 0.611_951_595_424_01),
    (5, 1000, 1, 1000, -0.001_115_370_984_156_6, 0.010_766_100_604_018),
    (2, 20, 17, 20, -0.891_812_309_864_74, -0.474_813_908_357_92),
];
/// `k1, n1, k2, n2, p` from scipy's `fisher_exact`.
const FISHER: [(u64, u64, u64, u64, f64); 8] = [
    (17, 50, 9, 50, 0.109_540_446_132_899_07),
    (0, 10, 3, 12, 0.220_779_220_779_220_77),
    (1, 7, 2, 90, 0.203_201_302_224_633_76),
    (30, 31, 400, 1000, 4.174_276_636_765_26e-11),
    (5, 1000, 1, 1000, 0.218_046_171_289_152_8),
    (2, 20, 17, 20, 3.357_951_803_084_076_5e-06),
    (10, 10, 0, 10, 1.082_508_822_446_903e-05),
    (300, 5000, 200, 5000, 5.212_629_694_743_848e-06),
];

proptest! {
    #[test]
    fn exchanging_groups_turns_the_sign(
        n1 in 1_u64..80, n2 in 1_u64..80, share1 in 0.0..=1.0_f64, share2 in 0.0..=1.0_f64,
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let of = |share: f64, n: u64| rate((share * n as f64) as u64, n);
        let (first, second) = (of(share1, n1), of(share2, n2));
        for method in METHODS {
            let found = method(&first, &second, Level::P95).unwrap();
            let turned = method(&second, &first, Level::P95).unwrap();
            let ends = found.interval;
            prop_assert!((ends.lower + turned.interval.upper).abs() < 1e-9);
            prop_assert!((ends.upper + turned.interval.lower).abs() < 1e-9);
            prop_assert!(ends.lower <= ends.upper && ends.lower >= -1.0 && ends.upper <= 1.0);
        }
        let (p, turned) = (fisher(&first, &second).unwrap(), fisher(&second, &first).unwrap());
        prop_assert!((p.value - turned.value).abs() < 1e-10 && p.value > 0.0 && p.value <= 1.0);
        let higher = probability_higher(&first, &second).unwrap().probability;
        let lower = probability_higher(&second, &first).unwrap().probability;
        prop_assert!((higher + lower - 1.0).abs() < 1e-11);
    }

    #[test]
    fn welch_does_not_look_at_order_and_turns_with_the_sign(
        mut first in prop::collection::vec(-1.0..1.0_f64, 2..20),
        second in prop::collection::vec(-1.0..1.0_f64, 2..20),
    ) {
        let found = welch(&first, &second, Level::P95).unwrap();
        let turned = welch(&second, &first, Level::P95).unwrap();
        prop_assert!((found.t + turned.t).abs() < 1e-12 && (found.p.value - turned.p.value).abs() < 1e-12);
        first.reverse();
        let again = welch(&first, &second, Level::P95).unwrap();
        prop_assert!((found.t - again.t).abs() < 1e-9 * found.t.abs().max(1.0));
        // The interval leaves out 0 just when the test rejects.
        let ends = found.difference.interval;
        prop_assert_eq!(ends.lower > 0.0 || ends.upper < 0.0, found.p.value < 0.05);
    }
}
