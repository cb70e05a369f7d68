use proptest::prelude::*;

use super::super::special::{binomial_pmf, hypergeometric_pmf};
use super::*;
use crate::stats::CountInterval;

fn rate(successes: u64, units: u64) -> Rate {
    Rate::of(successes, units).unwrap()
}

fn audit(failures: u64, audited: u64, spurious: u64) -> Audit {
    Audit::new(failures, audited, spurious).unwrap()
}

#[test]
fn the_headline_follows_the_labels() {
    let sources = [
        (LabelSource::PeopleAll, Correction::Bounds),
        (LabelSource::PeopleAudit, Correction::Audited),
        (LabelSource::JudgeAndPeople, Correction::PredictionPowered),
        (LabelSource::JudgeCalibratedHere, Correction::RoganGladen),
        (LabelSource::JudgeCalibratedElsewhere, Correction::BoundsOnly),
    ];
    for (source, headline) in sources {
        assert_eq!(correction(source, 10), headline);
        assert_eq!(correction(source, 9), Correction::List);
    }
}

#[test]
fn counts_that_can_not_be_are_refused() {
    let text = |error: StatsError| error.to_string();
    assert_eq!(
        text(spurious_bounds(&rate(3, 5), 3, Level::P95).unwrap_err()),
        "spurious failures: 3 of 2"
    );
    assert_eq!(
        text(spurious_bounds(&rate(0, 0), 0, Level::P95).unwrap_err()),
        "a success rate beside spurious failures needs at least 1 trials, found 0"
    );
    assert_eq!(
        text(Audit::new(10, 11, 0).unwrap_err()),
        "audited failures: 11 of 10"
    );
    assert_eq!(
        text(Audit::new(10, 5, 6).unwrap_err()),
        "spurious failures in the audit: 6 of 5"
    );
    assert_eq!(
        text(Audit::new(10, 0, 0).unwrap_err()),
        "an audit needs at least 1 audited failures, found 0"
    );
    let elsewhere = audited_rate(&rate(9, 60), &audit(50, 20, 6), Conversion::ALL, Level::P95).unwrap_err();
    assert_eq!(
        text(elsewhere),
        "failures of a rate and of its audit: 51 values beside 50"
    );
    assert!(spurious_posterior(&rate(9, 60), &audit(50, 20, 6), &rate(0, 0), Level::P95).is_err());
    for bad in [-0.1, 1.1, f64::NAN] {
        assert!(Conversion::new(bad).is_err());
    }
    assert!((Conversion::default().get() - 1.0).abs() < 1e-15);
}

#[test]
fn no_success_is_never_an_upper_bound_of_zero() {
    let bounds = spurious_bounds(&rate(0, 20), 0, Level::P95).unwrap();
    assert!((bounds.at_most.upper - (1.0 - 0.05_f64.powf(0.05))).abs() < 1e-12);
    assert!(bounds.envelope.upper > 0.1 && bounds.as_failures == bounds.all_converted);
    let all = spurious_bounds(&rate(0, 20), 20, Level::P95).unwrap();
    assert_eq!(all.excluded, None);
    assert!((all.envelope.upper - 1.0).abs() < 1e-15 && all.envelope.lower < 1e-15);
    assert_eq!(
        imbens_manski(&rate(0, 20), 0, Level::P95)
            .unwrap_err()
            .to_string(),
        "the interval by Imbens and Manski is undefined: at no or all successes its ends have no spread; take the worst-case bounds"
    );
    assert!(imbens_manski(&rate(20, 20), 0, Level::P95).is_err());
    // All failures spurious: the upper end is 1, and that is what is known.
    let open = imbens_manski(&rate(5, 20), 15, Level::P95).unwrap();
    assert!((open.interval.upper - 1.0).abs() < 1e-15);
}

#[test]
fn the_quantile_falls_from_two_sided_to_one_sided_with_the_width() {
    let critical = |spurious| {
        imbens_manski(&rate(300, 1_000), spurious, Level::P95)
            .unwrap()
            .critical
    };
    assert!((critical(0) - 1.959_963_984_540).abs() < 1e-9);
    assert!((critical(400) - 1.644_853_626_951).abs() < 1e-9);
    let all: Vec<f64> = (0..60).map(critical).collect();
    assert!(all.windows(2).all(|pair| pair[0] >= pair[1]));
}

/// Every audit of up to 24 failures: the interval holds the true number at least as often as it says, both-sided and
/// one-sided, by complete enumeration.
#[test]
fn audits_cover_by_exact_enumeration() {
    for failures in [1_u64, 2, 5, 13, 24] {
        for audited in 1..=failures {
            for (side, confidence) in [(Side::Two, 0.95), (Side::Upper, 0.9), (Side::Lower, 0.99)] {
                let level = Level::new("confidence", confidence).unwrap();
                let intervals: Vec<CountInterval> = (0..=audited)
                    .map(|found| audit_interval(&audit(failures, audited, found), level, side).unwrap())
                    .collect();
                for total in 0..=failures {
                    let covered: f64 = (0..=audited)
                        .zip(&intervals)
                        .filter(|(_, interval)| (interval.lower..=interval.upper).contains(&total))
                        .map(|(found, _)| hypergeometric_pmf(found, failures, total, audited).unwrap())
                        .sum();
                    assert!(
                        covered >= confidence - 1e-9,
                        "{total} of {failures}, {audited} audited, {side:?}: {covered}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_full_audit_leaves_a_point() {
    for found in [0, 17, 40] {
        let interval = audit_interval(&audit(40, 40, found), Level::P95, Side::Two).unwrap();
        assert_eq!((interval.lower, interval.upper, interval.of), (found, found, 40));
    }
    let one = audit_interval(&audit(1, 1, 1), Level::P95, Side::Two).unwrap();
    assert_eq!((one.lower, one.upper), (1, 1));
}

#[test]
fn a_small_audit_of_many_failures_is_a_binomial_one() {
    let failures = 1_000_000_000;
    let found = audit_interval(&audit(failures, 50, 5), Level::P95, Side::Two).unwrap();
    let exact = clopper_pearson(&rate(5, 50), Level::P95, Side::Two).unwrap();
    let share = |count: u64| count as f64 / failures as f64;
    assert!(
        (share(found.lower) - exact.lower).abs() < 1e-6,
        "{found:?} {exact:?}"
    );
    assert!(
        (share(found.upper) - exact.upper).abs() < 1e-6,
        "{found:?} {exact:?}"
    );
}

/// True rates with converted spurious failures, 16 trials and an audit of up to 6 failures: the interval holds the rate at
/// least as often as it says, by complete enumeration over successes, spurious failures and what the audit finds.
#[test]
fn audited_rates_cover_by_exact_enumeration() {
    let n = 16_u64;
    for (success, share) in [(0.1, 0.3), (0.3, 0.1), (0.05, 0.8), (0.5, 0.5)] {
        let truth = success + (1.0 - success) * share;
        let (mut covered, mut all) = (0.0, 0.0);
        for failures in 1..=n {
            let audited = failures.min(6);
            let weight = binomial_pmf(n - failures, n, success).unwrap();
            for found in 0..=audited {
                let audit = audit(failures, audited, found);
                let made = audited_rate(&rate(n - failures, n), &audit, Conversion::ALL, Level::P95).unwrap();
                let interval = made.estimate.interval;
                let seen: f64 = (0..=failures)
                    .map(|total| {
                        binomial_pmf(total, failures, share).unwrap()
                            * hypergeometric_pmf(found, failures, total, audited).unwrap()
                    })
                    .sum();
                all += weight * seen;
                if interval.lower <= truth && truth <= interval.upper {
                    covered += weight * seen;
                }
            }
        }
        assert!(covered / all >= 0.95, "{success} {share}: {}", covered / all);
    }
}

/// Quantiles from a 1500 x 1500 quadrature with scipy's incomplete beta function and root search.
#[test]
fn posteriors_agree_with_finer_quadrature() {
    let cases = [
        (
            rate(9, 60),
            audit(51, 20, 6),
            rate(3, 4),
            [0.184_138_605, 0.324_679_117, 0.505_082_639, 0.474_521_850],
        ),
        (
            rate(0, 60),
            audit(60, 20, 0),
            rate(0, 0),
            [0.000_384_381, 0.012_536_516, 0.082_692_811, 0.064_535_874],
        ),
        (
            rate(0, 10_000),
            audit(10_000, 100, 1),
            rate(5, 10),
            [0.000_528_364, 0.005_645_149, 0.024_813_031, 0.020_358_328],
        ),
    ];
    for (rate, audit, converted, expected) in cases {
        let found = spurious_posterior(&rate, &audit, &converted, Level::P95).unwrap();
        let interval = found.posterior.interval;
        let values = [
            interval.lower,
            found.posterior.median,
            interval.upper,
            found.at_most.upper,
        ];
        for (value, expected) in values.into_iter().zip(expected) {
            // The density of Jeffreys' prior is endless at 0, which leaves the last digits to the nodes.
            assert!((value - expected).abs() < 6e-5, "{found:?} {expected}");
        }
        assert!(interval.lower < found.posterior.mean && found.posterior.mean < interval.upper);
    }
}

proptest! {
    #[test]
    fn leaving_out_is_converting_at_the_observed_rate(
        successes in 0_u64..200, real in 1_u64..200, spurious in 0_u64..200,
    ) {
        let n = successes + real + spurious;
        let bounds = spurious_bounds(&rate(successes, n), spurious, Level::P95).unwrap();
        let excluded = bounds.excluded.unwrap();
        let converted = (successes as f64 + spurious as f64 * excluded.value) / n as f64;
        prop_assert!((excluded.value - converted).abs() < 1e-12);
        prop_assert!(bounds.as_failures.value <= excluded.value + 1e-15);
        prop_assert!(excluded.value <= bounds.all_converted.value + 1e-12);
        prop_assert!(bounds.envelope.lower <= bounds.as_failures.value);
        prop_assert!(bounds.at_most.upper <= bounds.envelope.upper + 1e-12);
        if let Ok(found) = imbens_manski(&rate(successes, n), spurious, Level::P95) {
            prop_assert!(found.interval.lower <= found.least && found.most <= found.interval.upper);
            prop_assert!((1.644..1.961).contains(&found.critical));
        }
    }

    #[test]
    fn more_spurious_failures_never_lower_a_rate(
        failures in 1_u64..200, audited in 1_u64..200, found in 0_u64..200, successes in 0_u64..50, q in 0.0_f64..=1.0,
    ) {
        let audited = audited.min(failures);
        let found = found.min(audited);
        let rate = rate(successes, successes + failures);
        let of = |found, q| {
            audited_rate(&rate, &audit(failures, audited, found), Conversion::new(q).unwrap(), Level::P95).unwrap()
        };
        let here = of(found, q);
        let interval = here.estimate.interval;
        prop_assert!(interval.lower <= here.estimate.value + 1e-12);
        prop_assert!(here.estimate.value <= interval.upper + 1e-12);
        // Converting all of them is the conservative choice.
        let safe = of(found, 1.0);
        prop_assert!(safe.estimate.interval.upper >= interval.upper && safe.upper_plugin >= here.upper_plugin);
        if found < audited {
            let more = of(found + 1, q);
            prop_assert!(more.estimate.value >= here.estimate.value);
            prop_assert!(more.estimate.interval.upper >= interval.upper);
            prop_assert!(more.spurious.lower >= here.spurious.lower && more.spurious.upper >= here.spurious.upper);
        }
    }
}
