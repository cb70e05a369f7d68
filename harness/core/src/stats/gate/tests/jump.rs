//! Jumps: figures by hand, noise that is none, degenerate series.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::stats::Rate;

fn observed(compute: f64, successes: u64, n: u64) -> Observed {
    Observed::new(compute, &Rate::of(successes, n).unwrap(), 1.0).unwrap()
}

/// Figures by numpy.polyfit and the formula.
#[test]
fn a_forecast_agrees_with_least_squares() {
    let earlier = [
        observed(1e20, 4, 100),
        observed(2e20, 7, 100),
        observed(4e20, 9, 100),
        observed(8e20, 16, 100),
    ];
    let found = jump(&earlier, &observed(16e20, 60, 100)).unwrap();
    assert!(
        (found.forecast - 0.225_624_998_040_797_44).abs() < 1e-10,
        "{found:?}"
    );
    assert!(
        (found.standard_error - 0.503_177_413_984_116_4).abs() < 1e-10,
        "{found:?}"
    );
    assert!((found.excess - 3.248_403_604_788_290_3).abs() < 1e-9, "{found:?}");
    assert!(found.jumped && found.checkpoints == 4);
    // The trend itself is none.
    assert!(!jump(&earlier, &observed(16e20, 22, 100)).unwrap().jumped);
}

#[test]
fn a_perfect_line_is_not_more_certain_than_its_samples() {
    let earlier = [observed(1.0, 5, 50), observed(2.0, 5, 50), observed(4.0, 5, 50)];
    let found = jump(&earlier, &observed(8.0, 9, 50)).unwrap();
    assert!((found.forecast - 5.5 / 51.0).abs() < 1e-12, "{found:?}");
    assert!(!found.jumped && found.standard_error > 0.5, "{found:?}");
    assert!(jump(&earlier, &observed(8.0, 50, 50)).unwrap().jumped);
}

#[test]
fn clustered_scores_are_less_certain() {
    let at = |design_effect| {
        let of = |compute, successes| {
            Observed::new(compute, &Rate::of(successes, 100).unwrap(), design_effect).unwrap()
        };
        jump(&[of(1.0, 5), of(2.0, 6), of(4.0, 7)], &of(8.0, 30))
            .unwrap()
            .excess
    };
    assert!((at(1.0) / at(4.0) - 2.0).abs() < 0.05, "{} {}", at(1.0), at(4.0));
}

#[test]
fn too_little_to_forecast_from_is_said() {
    let of = |compute| observed(compute, 5, 50);
    assert_eq!(
        jump(&[of(1.0), of(2.0)], &of(4.0)).unwrap_err().to_string(),
        "the forecast of a checkpoint needs at least 3 earlier checkpoints, found 2"
    );
    assert!(jump(&[of(3e21), of(3e21), of(3e21)], &of(4e21)).is_err());
    assert!(jump(&[of(3e21), of(3.001e21), of(3e21)], &of(4e21)).is_ok());
    let rate = Rate::of(1, 2).unwrap();
    for compute in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Observed::new(compute, &rate, 1.0).is_err());
    }
    assert!(Observed::new(1.0, &Rate::of(0, 0).unwrap(), 1.0).is_err());
    assert!(
        [0.5, f64::NAN]
            .into_iter()
            .all(|effect| Observed::new(1.0, &rate, effect).is_err())
    );
}

/// Four thousand series whose scores follow a line on the logit scale: what is called a jump is sampling noise.
#[test]
fn noise_about_a_line_is_rarely_a_jump() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut jumps = 0;
    for _ in 0..4_000 {
        let mut score = |step: u32| {
            let p = 1.0 / (1.0 + (2.5 - 0.4 * f64::from(step)).exp());
            let hits = (0..60).filter(|_| rng.random::<f64>() < p).count();
            observed(2.0_f64.powi(i32::try_from(step).unwrap()), hits as u64, 60)
        };
        let earlier: Vec<Observed> = (0..4).map(&mut score).collect();
        jumps += u32::from(jump(&earlier, &score(4)).unwrap().jumped);
    }
    // Three standard errors of a normal variable are passed by 0.00135; counts this small are a little skewed.
    assert!(jumps <= 20, "{jumps} of 4,000");
}
