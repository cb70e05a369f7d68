//! Laws of the bootstrap, and Monte Carlo against all resamples.

use proptest::prelude::*;

use super::*;

fn seeded(count: u32) -> Draws {
    Draws { count, seed: 7 }
}

const SCORES: [f64; 12] = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
const CLUSTERS: [u8; 12] = [0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 3];

fn drawn(bootstrap: &ClusterBootstrap, draws: Draws) -> Resamples {
    let values = (0..draws.count)
        .map(|index| bootstrap.draw(draws.seed, index))
        .collect();
    Resamples::drawn(values, draws).unwrap()
}

#[test]
fn draws_agree_with_all_resamples() {
    let bootstrap = ClusterBootstrap::new(&SCORES, &CLUSTERS).unwrap();
    let exact = bootstrap.percentile(&bootstrap.all().unwrap(), Level::P95);
    let found = bootstrap.percentile(&drawn(&bootstrap, seeded(10_000)), Level::P95);
    for (found, exact) in [
        (found.mean, exact.mean),
        (found.standard_error, exact.standard_error),
        (found.estimate.interval.lower, exact.estimate.interval.lower),
        (found.estimate.interval.upper, exact.estimate.interval.upper),
    ] {
        assert!((found - exact).abs() < 0.02, "{found} instead of {exact}");
    }
    assert_eq!(exact.resamples, Origin::All { resamples: 256 });
    assert_eq!(found.resamples, Origin::Drawn(seeded(10_000)));
}

#[test]
fn drawn_bca_agrees_with_all_resamples() {
    let x = [0.1, 0.3, 0.35, 0.5, 0.8, 0.95, 2.5];
    let bootstrap = ClusterBootstrap::new(&x, &[0, 1, 2, 3, 4, 5, 6]).unwrap();
    let exact = bootstrap
        .bca(&bootstrap.all().unwrap(), Level::P95, Ties::Exact)
        .unwrap();
    let found = bootstrap
        .bca(&drawn(&bootstrap, seeded(20_000)), Level::P95, Ties::Exact)
        .unwrap();
    let off = |found: f64, exact: f64| (found - exact).abs();
    let (found, exact) = (found.estimate.interval, exact.estimate.interval);
    assert!(
        off(found.lower, exact.lower) < 0.03,
        "{found:?} instead of {exact:?}"
    );
    assert!(
        off(found.upper, exact.upper) < 0.03,
        "{found:?} instead of {exact:?}"
    );
}

#[test]
fn resamples_with_the_mean_itself_count_by_half() {
    // In hundredths 439,499 of the 7⁷ sums lie below 550 and 10,318 on it.
    let x = [0.1, 0.3, 0.35, 0.5, 0.8, 0.95, 2.5];
    let bootstrap = ClusterBootstrap::new(&x, &[0, 1, 2, 3, 4, 5, 6]).unwrap();
    let found = bootstrap
        .bca(&bootstrap.all().unwrap(), Level::P95, Ties::Exact)
        .unwrap();
    let share = (439_499.0 + 10_318.0 / 2.0) / 823_543.0;
    assert!((found.bias - normal_quantile(share).unwrap()).abs() < 1e-12);
    assert_eq!(found.resamples, Origin::All { resamples: 823_543 });
}

#[test]
fn a_draw_depends_on_seed_and_number_alone() {
    let bootstrap = ClusterBootstrap::new(&SCORES, &CLUSTERS).unwrap();
    let forwards: Vec<f64> = (0..100).map(|index| bootstrap.draw(3, index)).collect();
    let mut backwards: Vec<f64> = (0..100).rev().map(|index| bootstrap.draw(3, index)).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards);
    let other: Vec<f64> = (0..100).map(|index| bootstrap.draw(4, index)).collect();
    assert_ne!(forwards, other);
    // Pinned: results of earlier versions can be drawn again.
    let pinned: Vec<String> = forwards[..4].iter().map(|value| format!("{value:.6}")).collect();
    assert_eq!(pinned, PINNED);
}

const PINNED: [&str; 4] = ["0.800000", "0.800000", "0.461538", "0.545455"];

#[test]
fn what_shows_no_spread_is_refused() {
    assert!(ClusterBootstrap::new(&[1.0, 0.0], &[0, 0]).is_err());
    assert!(ClusterBootstrap::new::<u8>(&[], &[]).is_err());
    assert!(ClusterBootstrap::new(&[1.0, 1.0, 1.0], &[0, 1, 2]).is_err());
    assert!(ClusterBootstrap::new(&[1.0, 0.0, 0.0, 1.0], &[0, 0, 1, 1]).is_err());
    assert!(ClusterBootstrap::new(&[0.1, 0.1, 0.3], &[0, 1, 1]).is_ok());
    let error = ClusterBootstrap::new(&[1.0, f64::INFINITY], &[0, 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the scores at position 1 is not a finite number"
    );
    let bootstrap = ClusterBootstrap::new(&SCORES, &CLUSTERS).unwrap();
    assert!(bootstrap.resample(seeded(0)).is_err() && bootstrap.resample(seeded(u32::MAX)).is_err());
    assert!(Resamples::drawn(vec![1.0], seeded(2)).is_err());
    assert!(Resamples::drawn(vec![1.0, f64::NAN], seeded(2)).is_err());
}

#[test]
fn quantiles_are_those_of_numpy() {
    let resamples = Resamples::drawn(vec![4.0, 1.0, 3.0, 2.0], seeded(4)).unwrap();
    // numpy.quantile([1, 2, 3, 4], [0, .025, .5, .9, 1])
    for (p, expected) in [(0.0, 1.0), (0.025, 1.075), (0.5, 2.5), (0.9, 3.7), (1.0, 4.0)] {
        assert!((resamples.quantile(p) - expected).abs() < 1e-12);
    }
}

proptest! {
    #[test]
    fn order_and_names_of_clusters_do_not_matter(
        pairs in prop::collection::vec((0.0..1.0_f64, 0_u8..5), 8..30),
    ) {
        let of = |pairs: &[(f64, u8)]| {
            let scores: Vec<f64> = pairs.iter().map(|(score, _)| *score).collect();
            let clusters: Vec<u8> = pairs.iter().map(|(_, cluster)| *cluster).collect();
            ClusterBootstrap::new(&scores, &clusters)
        };
        let Ok(bootstrap) = of(&pairs) else { return Ok(()) };
        let turned: Vec<(f64, u8)> = pairs.iter().rev().map(|(score, cluster)| (*score, 9 - cluster)).collect();
        let turned = of(&turned).unwrap();
        let ends = |bootstrap: &ClusterBootstrap| {
            bootstrap.percentile(&bootstrap.all().unwrap(), Level::P95)
        };
        let (found, turned) = (ends(&bootstrap), ends(&turned));
        prop_assert!((found.standard_error - turned.standard_error).abs() < 1e-12);
        prop_assert!((found.estimate.interval.lower - turned.estimate.interval.lower).abs() < 1e-12);
        prop_assert!(found.estimate.interval.lower <= found.estimate.value);
        prop_assert!(found.estimate.interval.upper >= found.estimate.value);
    }

    #[test]
    fn equal_clusters_have_the_standard_error_of_theory(means in prop::collection::vec(0.0..1.0_f64, 2..8)) {
        // Resampled means of n values have the variance Σ(x - mean)²/n².
        let labels: Vec<usize> = (0..means.len()).collect();
        let Ok(bootstrap) = ClusterBootstrap::new(&means, &labels) else { return Ok(()) };
        let found = bootstrap.percentile(&bootstrap.all().unwrap(), Level::P95);
        let plain = super::super::standard_error::plain(&means).unwrap();
        let n = means.len() as f64;
        let theory = plain.standard_error * ((n - 1.0) / n).sqrt();
        prop_assert!((found.standard_error - theory).abs() < 1e-12);
        prop_assert!((found.mean - plain.value).abs() < 1e-12);
    }
}

/// Two means of three scores each that are 0, and that rounding leaves on either side of it.
#[test]
fn ties_are_found_where_sums_cancel() {
    let (one, other) = ((0.1_f64 + 0.2) - 0.3, (0.2_f64 - 0.3) + 0.1);
    assert!(one.total_cmp(&other).is_ne());
    let draws = seeded(4);
    let resamples = Resamples::drawn(vec![-0.4, one, one, 0.4], draws).unwrap();
    assert!((resamples.share_below(other, Ties::Exact) - 0.5).abs() < 1e-12);
}
