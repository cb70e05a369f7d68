//! The functions against arithmetic with 40 digits, and laws that no table holds.

use proptest::prelude::*;

use super::*;
use crate::stats::StatsError;

/// Function, arguments and value, computed with `mpmath` at 40 digits (series, or quadrature of the density).
const TABLE: &str = include_str!("../../../tests/stats/special.csv");

fn call(function: &str, arguments: &[f64], counts: &[u64]) -> Result<f64, StatsError> {
    match (function, arguments, counts) {
        ("ln_gamma", [x], _) => ln_gamma(*x),
        ("ln_beta", [a, b], _) => ln_beta(*a, *b),
        ("ln_beta_kernel", [a, b, x], _) => ln_beta_kernel(*a, *b, *x),
        ("ln_beta_cdf", [a, b, x], _) => ln_beta_cdf(*a, *b, *x),
        ("ln_beta_sf", [a, b, x], _) => ln_beta_sf(*a, *b, *x),
        ("normal_cdf", [x], _) => normal_cdf(*x),
        ("normal_quantile", [p], _) => normal_quantile(*p),
        ("student_t_cdf", [t, freedom], _) => student_t_cdf(*t, *freedom),
        ("student_t_quantile", [p, freedom], _) => student_t_quantile(*p, *freedom),
        ("chi_squared_sf", [x, freedom], _) => chi_squared_sf(*x, *freedom),
        ("ln_binomial", _, [n, k]) => Ok(ln_binomial(*n, *k)),
        ("ln_binomial_pmf", [_, _, p], [k, n, ..]) => ln_binomial_pmf(*k, *n, *p),
        ("ln_binomial_cdf", [_, _, p], [k, n, ..]) => ln_binomial_cdf(*k, *n, *p),
        ("ln_binomial_sf", [_, _, p], [k, n, ..]) => ln_binomial_sf(*k, *n, *p),
        ("hypergeometric_pmf", _, [k, all, marked, drawn]) => hypergeometric_pmf(*k, *all, *marked, *drawn),
        ("hypergeometric_cdf", _, [k, all, marked, drawn]) => hypergeometric_cdf(*k, *all, *marked, *drawn),
        ("hypergeometric_sf", _, [k, all, marked, drawn]) => hypergeometric_sf(*k, *all, *marked, *drawn),
        other => panic!("no function {other:?}"),
    }
}

#[test]
fn values_agree_with_arithmetic_of_40_digits() {
    let mut problems = Vec::new();
    for line in TABLE.lines().skip(1) {
        let fields: Vec<&str> = line.split([',', '/']).filter(|f| !f.is_empty()).collect();
        let (expected, arguments) = fields[1..].split_last().unwrap();
        let expected: f64 = expected.parse().unwrap();
        let numbers: Vec<f64> = arguments.iter().map(|a| a.parse().unwrap()).collect();
        let counts: Vec<u64> = arguments.iter().map_while(|a| a.parse().ok()).collect();
        let found = call(fields[0], &numbers, &counts).unwrap();
        let absolute = (found - expected).abs();
        let relative = absolute / expected.abs();
        // At shapes of 10⁸ the last digit of an argument alone moves the result by this much.
        let large = fields[0].starts_with("ln_beta_") && numbers[0].max(numbers[1]) > 1e8;
        let allowed = if large { 1.1e-11 } else { 2e-13 };
        if absolute > 1e-40 && (relative > 3e-11 || (relative > allowed && absolute > allowed)) {
            problems.push(format!("{line}: {found}, off by {absolute:e}"));
        }
    }
    assert!(TABLE.lines().count() > 900);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

const SHAPES: [f64; 14] = [
    1e-2,
    0.1,
    0.5,
    1.0,
    1.5,
    3.0,
    10.5,
    59.5,
    501.0,
    1e4,
    1e6,
    1e8,
    1e9,
    1e9 + 0.5,
];

#[test]
fn quantiles_of_the_beta_are_inverse_to_its_tails() {
    let probabilities = [1e-300, 1e-12, 1e-6, 0.025, 0.3, 0.5, 0.7, 0.975, 1.0 - 1e-9];
    for a in SHAPES {
        for b in SHAPES {
            let mut last = 0.0;
            for p in probabilities {
                let x = beta_quantile(a, b, p).unwrap();
                assert!((0.0..=1.0).contains(&x) && x >= last, "{a} {b} {p}: {x}");
                last = x;
                if !(1e-290..=0.5).contains(&x) {
                    continue;
                }
                // One unit in the last place of x moves ln p by the slope times it.
                let ln_p = ln_beta_cdf(a, b, x).unwrap();
                let slope = (ln_beta_kernel(a, b, x).unwrap() - ln_p).exp();
                let off = (ln_p - p.ln()).abs();
                let allowed = 4e-12 + 20.0 * f64::EPSILON * slope;
                assert!(off <= allowed, "{a} {b} {p}: {x}, off by {off:e}");
            }
        }
    }
}

#[test]
fn small_shapes_and_tiny_probabilities_have_quantiles() {
    // I_x(1/2, 1/2) = 2/π asin √x; I_x(a, 1) = x^a; 1 - I_x(1, b) = (1 - x)^b.
    let arcsine = beta_quantile(0.5, 0.5, 1e-12).unwrap();
    let expected = (std::f64::consts::FRAC_PI_2 * 1e-12).sin().powi(2);
    assert!((arcsine / expected - 1.0).abs() < 1e-12, "{arcsine:e}");
    for shape in [0.01, 0.04, 0.3, 0.5, 0.9, 2.0, 1e9] {
        let power = beta_quantile(shape, 1.0, 1e-12).unwrap();
        let expected = 1e-12_f64.powf(1.0 / shape);
        assert!((power - expected).abs() <= 1e-11 * expected, "{shape}");
        let mirrored = beta_quantile(1.0, shape, 1e-12).unwrap();
        let expected = -((-1e-12_f64).ln_1p() / shape).exp_m1();
        assert!((mirrored / expected - 1.0).abs() < 1e-11, "{shape}");
    }
    // Below the smallest number: nothing but 0, and no failure.
    assert_eq!(beta_quantile(1e-3, 5.0, 1e-12).unwrap().to_bits(), 0);
}

#[test]
fn what_has_no_value_is_refused() {
    for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        assert!(ln_gamma(bad).is_err() && ln_beta(1.0, bad).is_err() && ln_beta(bad, 1.0).is_err());
        assert!(beta_cdf(bad, 1.0, 0.5).is_err() && beta_quantile(1.0, bad, 0.5).is_err());
        assert!(student_t_cdf(0.0, bad).is_err() && chi_squared_sf(1.0, bad).is_err());
    }
    for bad in [f64::NAN, -0.1, 1.1] {
        assert!(beta_cdf(1.0, 1.0, bad).is_err() && beta_quantile(1.0, 1.0, bad).is_err());
        assert!(binomial_pmf(1, 2, bad).is_err() && binomial_cdf(1, 2, bad).is_err());
        assert!(normal_quantile(bad).is_err() && student_t_quantile(bad, 3.0).is_err());
    }
    assert!(normal_cdf(f64::NAN).is_err() && student_t_cdf(f64::NAN, 1.0).is_err());
    assert!(chi_squared_sf(-1.0, 1.0).is_err() && chi_squared_sf(f64::NAN, 1.0).is_err());
    assert!(hypergeometric_cdf(0, 5, 6, 1).is_err() && hypergeometric_pmf(0, 5, 1, 6).is_err());
    assert!(hypergeometric_cdf(0, u64::MAX, 6, 1).is_err());
    assert!(normal_quantile(0.0).is_err() && normal_quantile(1.0).is_err());
}

#[test]
fn edges_are_exact() {
    assert_eq!(beta_cdf(0.5, 3.0, 0.0), Ok(0.0));
    assert_eq!(beta_cdf(0.5, 3.0, 1.0), Ok(1.0));
    assert_eq!(beta_quantile(0.5, 3.0, 0.0), Ok(0.0));
    assert_eq!(beta_quantile(0.5, 3.0, 1.0), Ok(1.0));
    assert_eq!(binomial_pmf(0, 0, 0.3), Ok(1.0));
    assert_eq!(binomial_pmf(0, 7, 0.0), Ok(1.0));
    assert_eq!(binomial_pmf(7, 7, 1.0), Ok(1.0));
    assert_eq!(binomial_pmf(8, 7, 0.5), Ok(0.0));
    assert_eq!(binomial_cdf(7, 7, 0.2), Ok(1.0));
    assert_eq!(binomial_cdf(3, 7, 1.0), Ok(0.0));
    assert_eq!(binomial_sf(3, 7, 0.0), Ok(0.0));
    assert_eq!(hypergeometric_pmf(0, 0, 0, 0), Ok(1.0));
    assert_eq!(hypergeometric_cdf(0, 10, 10, 4), Ok(0.0));
    assert_eq!(hypergeometric_cdf(4, 10, 10, 4), Ok(1.0));
    assert_eq!(normal_cdf(f64::INFINITY), Ok(1.0));
    assert_eq!(student_t_cdf(f64::NEG_INFINITY, 3.0), Ok(0.0));
    assert_eq!(student_t_quantile(0.5, 3.0), Ok(0.0));
    assert_eq!(chi_squared_sf(0.0, 1.0), Ok(1.0));
    assert_eq!(chi_squared_sf(f64::INFINITY, 1.0), Ok(0.0));
}

proptest! {
    #[test]
    fn tails_add_to_one_and_mirror(a in 1e-3..1e4_f64, b in 1e-3..1e4_f64, x in 0.0..=1.0_f64) {
        let (below, above) = (beta_cdf(a, b, x).unwrap(), beta_sf(a, b, x).unwrap());
        prop_assert!((below + above - 1.0).abs() < 1e-13);
        prop_assert!((beta_cdf(b, a, 1.0 - x).unwrap() - above).abs() < 1e-10);
    }

    #[test]
    fn binomial_tails_are_sums(n in 0_u64..60, p in 0.0..=1.0_f64) {
        let mut sum = 0.0;
        for k in 0..=n {
            sum += binomial_pmf(k, n, p).unwrap();
            prop_assert!((binomial_cdf(k, n, p).unwrap() - sum).abs() < 1e-13);
        }
        prop_assert!((sum - 1.0).abs() < 1e-13);
    }

    #[test]
    fn hypergeometric_tails_are_sums(all in 0_u64..300, marked in 0.0..=1.0_f64, drawn in 0.0..=1.0_f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
        let of = |share: f64| (share * all as f64) as u64;
        let (marked, drawn) = (of(marked), of(drawn));
        let mut sum = 0.0;
        for k in 0..=drawn {
            sum += hypergeometric_pmf(k, all, marked, drawn).unwrap();
            let below = hypergeometric_cdf(k, all, marked, drawn).unwrap();
            let above = hypergeometric_sf(k, all, marked, drawn).unwrap();
            prop_assert!((below - sum).abs() < 1e-12 && (above + below - 1.0).abs() < 1e-12);
        }
        prop_assert!((sum - 1.0).abs() < 1e-12);
    }

    #[test]
    fn quantiles_of_t_are_inverse_to_its_tail(p in 1e-9..=0.999_999_f64, freedom in 0.5..1e4_f64) {
        let t = student_t_quantile(p, freedom).unwrap();
        prop_assert!((student_t_cdf(t, freedom).unwrap() - p).abs() < 1e-12);
        prop_assert!((student_t_sf(-t, freedom).unwrap() - p).abs() < 1e-12);
    }
}
