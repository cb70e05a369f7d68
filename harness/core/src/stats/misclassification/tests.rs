use proptest::prelude::*;

use super::*;

fn population(phase: &str) -> Population {
    Population {
        model_family: "m".to_owned(),
        phase: phase.to_owned(),
    }
}

fn share(value: f64, units: u64) -> Share {
    Share::new("a share", value, units).unwrap()
}

fn counts(successes: u64, units: u64) -> Share {
    Share::of("a share", &Rate::of(successes, units).unwrap()).unwrap()
}

fn calibration(sensitivity: Share, specificity: Share) -> Calibration {
    Calibration {
        population: population("main"),
        sensitivity,
        specificity,
    }
}

fn labeller(sensitivity: Share, specificity: Share) -> Labeller {
    calibration(sensitivity, specificity).accept(Level::P95).unwrap()
}

fn labelled(positive: Share) -> Labelled {
    Labelled {
        population: population("main"),
        positive,
    }
}

#[test]
fn a_poor_labeller_is_not_corrected_for() {
    let error = |se, sp| calibration(se, sp).accept(Level::P95).unwrap_err().to_string();
    assert_eq!(
        error(share(0.6, 1_000), share(0.65, 1_000)),
        "the labeller is too poor to correct for: sensitivity + specificity - 1 is 0.250, at least 0.207 with confidence; it takes 0.3 and a lower end above 0"
    );
    // Good as it looks, five units of each kind prove nothing.
    assert_eq!(
        error(counts(4, 5), counts(3, 5)),
        "the labeller is too poor to correct for: sensitivity + specificity - 1 is 0.400, at least -0.163 with confidence; it takes 0.3 and a lower end above 0"
    );
    let just = labeller(share(0.65, 1_000), share(0.65, 1_000));
    assert!((just.informedness().value - 0.3).abs() < 1e-12);
}

#[test]
fn errors_measured_elsewhere_correct_nothing() {
    let labeller = labeller(counts(36, 40), counts(51, 60));
    let other = Labelled {
        population: population("thorough"),
        positive: counts(60, 200),
    };
    let text = "the labeller was calibrated on model family `m`, phase `main`, not on model family `m`, phase `thorough`; no correction is valid, give bounds";
    assert_eq!(
        rogan_gladen(&other, &labeller, Level::P95)
            .unwrap_err()
            .to_string(),
        text
    );
    assert_eq!(
        rogan_gladen_posterior(&other, &labeller, Level::P95)
            .unwrap_err()
            .to_string(),
        text
    );
}

#[test]
fn shares_that_are_none_are_refused() {
    for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        assert!(Share::new("a share", bad, 10).is_err());
    }
    assert!(Share::new("a share", 0.5, 0).is_err());
    assert!(Share::of("a share", &Rate::of(0, 0).unwrap()).is_err());
}

#[test]
fn a_perfect_labeller_changes_nothing() {
    let perfect = labeller(share(1.0, 1 << 40), share(1.0, 1 << 40));
    let found = rogan_gladen(&labelled(counts(30, 100)), &perfect, Level::P95).unwrap();
    assert!((found.unclipped - 0.3).abs() < 1e-12 && !found.contradiction);
    assert!((found.standard_error - (0.3 * 0.7 / 100.0_f64).sqrt()).abs() < 1e-12);
    // Agresti and Coull's interval is what is left of the adjustment; the posterior is that of a uniform prior.
    let posterior = rogan_gladen_posterior(&labelled(counts(30, 100)), &perfect, Level::P95).unwrap();
    assert!((posterior.mean - 31.0 / 102.0).abs() < 1e-6, "{posterior:?}");
}

#[test]
fn a_contradiction_is_said() {
    let labeller = labeller(share(0.85, 25), share(0.9, 25));
    let found = rogan_gladen(&labelled(share(0.05, 100)), &labeller, Level::P95).unwrap();
    assert!(found.contradiction && found.unclipped < 0.0);
    assert_eq!(found.estimate.value.to_bits(), 0.0_f64.to_bits());
    // No rate that this labeller can produce: far below its false alarms.
    let impossible = labelled(share(0.0, 1_000_000_000));
    let labeller = self::labeller(share(0.9, 1_000_000), share(0.6, 1_000_000));
    assert!(rogan_gladen_posterior(&impossible, &labeller, Level::P95).is_err());
}

/// Mean and quantiles from adaptive root search over a 400 x 400 (last case 800 x 800) quadrature with scipy's
/// incomplete beta function.
#[test]
fn posteriors_agree_with_finer_quadrature() {
    let cases = [
        (
            (60, 200),
            (36, 40),
            (51, 60),
            [0.193_130_425_2, 0.048_127_700_4, 0.195_887_040_9, 0.323_771_877_3],
        ),
        (
            (5, 100),
            (22, 25),
            (22, 25),
            [0.027_866_529_9, 0.000_882_424_0, 0.021_680_502_1, 0.088_610_412_6],
        ),
        (
            (0, 50),
            (9, 10),
            (10, 10),
            [0.024_171_351_7, 0.000_609_306_9, 0.016_683_499_8, 0.089_636_081_6],
        ),
        (
            (300_000, 1_000_000),
            (90, 100),
            (85, 100),
            [0.191_447_502_9, 0.098_276_706_2, 0.195_418_226_0, 0.261_871_492_1],
        ),
    ];
    for ((y, n), (tp, m1), (tn, m0), expected) in cases {
        let labeller = labeller(counts(tp, m1), counts(tn, m0));
        let found = rogan_gladen_posterior(&labelled(counts(y, n)), &labeller, Level::P95).unwrap();
        let found_values = [
            found.mean,
            found.interval.lower,
            found.median,
            found.interval.upper,
        ];
        // Beyond thousands of labels the integrand is a step between the nodes.
        let allowed = if n > 1_000 { 2e-4 } else { 1e-7 };
        for (value, expected) in found_values.into_iter().zip(expected) {
            assert!(
                (value - expected).abs() < allowed,
                "{y} of {n}: {found:?} {expected}"
            );
        }
    }
}

#[test]
fn huge_counts_are_no_trouble() {
    let labeller = labeller(share(0.9, 1_000_000_000), share(0.85, 1_000_000_000));
    let many = labelled(share(0.3, 1_000_000_000));
    let posterior = rogan_gladen_posterior(&many, &labeller, Level::P95).unwrap();
    assert!((posterior.mean - 0.2).abs() < 1e-4, "{posterior:?}");
    let found = rogan_gladen(&many, &labeller, Level::P95).unwrap();
    assert!((found.estimate.value - 0.2).abs() < 1e-12);
    assert!(found.estimate.interval.upper - found.estimate.interval.lower < 2e-4);
}

fn both(pairs: &[(f64, f64)]) -> Vec<Judged> {
    pairs
        .iter()
        .map(|(truth, judged)| Judged {
            truth: *truth,
            judged: *judged,
        })
        .collect()
}

#[test]
fn a_judge_that_knows_nothing_is_ignored() {
    let pairs = both(&[(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)]);
    let judged = [1.0, 1.0, 0.0, 1.0, 1.0];
    let found = ppi_mean(&pairs, &judged, Reliance::Tuned, Level::P95).unwrap();
    let people = found.people_only.unwrap();
    assert_eq!(found.lambda.to_bits(), 0.0_f64.to_bits());
    assert_eq!(
        (found.estimate.value, found.estimate.interval.upper),
        (people.value, people.interval.upper)
    );
    assert_eq!((found.estimate.units, found.judged_only), (4, 5));
    // Relied on fully it only adds noise.
    let full = ppi_mean(&pairs, &judged, Reliance::Full, Level::P95).unwrap();
    assert!(full.standard_error > found.standard_error);
}

#[test]
fn labels_without_spread_or_sense_are_refused() {
    let of =
        |pairs: &[(f64, f64)], judged: &[f64]| ppi_mean(&both(pairs), judged, Reliance::Full, Level::P95);
    let text = |pairs: &[(f64, f64)], judged: &[f64]| of(pairs, judged).unwrap_err().to_string();
    assert_eq!(
        text(&[(0.0, 0.0), (0.0, 0.0)], &[0.0, 0.0]),
        "prediction-powered inference is undefined: the labels do not vary; give Clopper-Pearson's interval of the people's labels"
    );
    assert_eq!(
        text(&[(0.0, 0.0)], &[0.0, 1.0]),
        "the people's labels needs at least 2 units, found 1"
    );
    assert_eq!(
        text(&[(0.0, 0.0), (1.0, 1.0)], &[]),
        "the judge's further labels needs at least 2 units, found 0"
    );
    assert_eq!(
        text(&[(0.0, 0.0), (1.0, f64::NAN)], &[0.0, 1.0]),
        "the judge's labels at position 1 is not a finite number"
    );
    assert_eq!(
        text(&[(0.0, 0.0), (1.0, 1.0)], &[0.0, 1.5]),
        "the judge's further labels must lie from 0 to 1, found 1.5"
    );
    // Where only the people's labels lack spread, the people's own interval is left out.
    let found = of(&[(0.0, 0.0), (0.0, 1.0)], &[0.0, 1.0, 0.0]).unwrap();
    assert_eq!(found.people_only, None);
}

proptest! {
    #[test]
    fn the_other_label_has_the_other_rate(
        p in 0.0_f64..=1.0, se in 0.7_f64..=1.0, sp in 0.7_f64..=1.0, n in 1_u64..1_000, m in 20_u64..200,
    ) {
        let of = |p: f64, se: f64, sp: f64| {
            let labeller = labeller(share(se, m), share(sp, m + 3));
            rogan_gladen(&labelled(share(p, n)), &labeller, Level::P95).unwrap()
        };
        let plain = of(p, se, sp);
        let labeller = labeller(share(sp, m + 3), share(se, m));
        let turned = rogan_gladen(&labelled(share(1.0 - p, n)), &labeller, Level::P95).unwrap();
        prop_assert!((plain.unclipped + turned.unclipped - 1.0).abs() < 1e-9);
        prop_assert!((plain.standard_error - turned.standard_error).abs() < 1e-9);
        prop_assert!((plain.estimate.interval.lower + turned.estimate.interval.upper - 1.0).abs() < 1e-9);
        prop_assert!(plain.estimate.interval.lower >= 0.0 && plain.estimate.interval.upper <= 1.0);
        prop_assert!(plain.estimate.interval.lower <= plain.estimate.interval.upper);
        // A better labelled rate never lowers the corrected one.
        prop_assert!(of((p + 0.1).min(1.0), se, sp).unclipped >= plain.unclipped - 1e-12);
    }

    #[test]
    fn units_may_come_in_any_order(
        pairs in prop::collection::vec((0.0_f64..=1.0, 0.0_f64..=1.0), 2..20),
        judged in prop::collection::vec(0.0_f64..=1.0, 2..40),
        shift in 0_usize..40,
    ) {
        let of = |pairs: &[(f64, f64)], judged: &[f64], reliance| {
            ppi_mean(&both(pairs), judged, reliance, Level::P95).unwrap()
        };
        let (mut turned, mut further) = (pairs.clone(), judged.clone());
        turned.rotate_left(shift % pairs.len());
        further.rotate_left(shift % judged.len());
        let (full, tuned) = (of(&pairs, &judged, Reliance::Full), of(&pairs, &judged, Reliance::Tuned));
        let again = of(&turned, &further, Reliance::Tuned);
        prop_assert!((tuned.estimate.value - again.estimate.value).abs() < 1e-12);
        prop_assert!((0.0..=1.0).contains(&tuned.lambda) && tuned.standard_error > 0.0);
        prop_assert!(full.standard_error > 0.0);
    }
}

/// Two calibrations and three rates: the share of samples whose interval holds the true rate, by exact enumeration over
/// the labelled count and 5-step calibration counts.
#[test]
fn the_interval_covers_nearly_as_often_as_it_says() {
    let (n, m1, m0, se, sp) = (40_u64, 20_u64, 20_u64, 0.9, 0.9);
    let pmf = |k, n, p| super::super::special::binomial_pmf(k, n, p).unwrap();
    for theta in [0.05, 0.3, 0.7] {
        let p = theta * se + (1.0 - theta) * (1.0 - sp);
        let (mut covered, mut all) = (0.0, 0.0);
        for tp in 0..=m1 {
            for tn in 0..=m0 {
                let weight = pmf(tp, m1, se) * pmf(tn, m0, sp);
                let Ok(labeller) = calibration(counts(tp, m1), counts(tn, m0)).accept(Level::P95) else {
                    continue;
                };
                if weight < 1e-6 {
                    continue;
                }
                for y in 0..=n {
                    let weight = weight * pmf(y, n, p);
                    let found = rogan_gladen(&labelled(counts(y, n)), &labeller, Level::P95).unwrap();
                    let interval = found.estimate.interval;
                    all += weight;
                    if interval.lower <= theta && theta <= interval.upper {
                        covered += weight;
                    }
                }
            }
        }
        assert!(all > 0.99 && covered / all > 0.94, "{theta}: {}", covered / all);
    }
}
