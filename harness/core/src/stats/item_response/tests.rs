use proptest::prelude::*;

use super::*;

fn answers(difficulties: &[f64], passed: &[bool]) -> Vec<Answer> {
    difficulties
        .iter()
        .zip(passed)
        .map(|(difficulty, passed)| Answer {
            difficulty: *difficulty,
            passed: *passed,
        })
        .collect()
}

const HARD: [f64; 7] = [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0];

#[test]
fn failing_easy_and_passing_hard_items_alarms() {
    let fits = [true, true, true, false, true, false, false];
    let reversed = fits.map(|passed| !passed);
    let (good, odd) = (
        person_fit(&answers(&HARD, &fits), Level::P95).unwrap(),
        person_fit(&answers(&HARD, &reversed), Level::P95).unwrap(),
    );
    assert!(!good.alarm && odd.alarm && good.items == 7);
    assert!((good.outfit - 0.583_505_298_9).abs() < 1e-9 && (odd.outfit - 3.528_057_001).abs() < 1e-9);
    // Answering the other way round turns the scale round.
    assert!((good.ability.value + odd.ability.value).abs() < 1e-12);
}

#[test]
fn an_ability_beyond_all_items_has_no_number() {
    assert_eq!(
        rasch_ability(&answers(&HARD, &[true; 7]), Level::P95)
            .unwrap_err()
            .to_string(),
        "the ability is undefined: all items were passed, so it is above them all"
    );
    assert_eq!(
        rasch_ability(&answers(&HARD, &[false; 7]), Level::P95)
            .unwrap_err()
            .to_string(),
        "the ability is undefined: no item was passed, so it is below them all"
    );
    assert!(person_fit(&answers(&HARD, &[true; 7]), Level::P95).is_err());
    // The prior gives a number all the same, and the same one with the opposite sign.
    let most = rasch_ability_with_prior(&answers(&HARD, &[true; 7]), Level::P95).unwrap();
    let least = rasch_ability_with_prior(&answers(&HARD, &[false; 7]), Level::P95).unwrap();
    assert!(most.value > 1.0 && (most.value + least.value).abs() < 1e-12);
}

#[test]
fn bad_items_are_named() {
    assert_eq!(
        rasch_ability(&[], Level::P95).unwrap_err().to_string(),
        "an ability needs at least 1 items, found 0"
    );
    for bad in [f64::NAN, f64::INFINITY] {
        assert_eq!(
            rasch_ability(&answers(&[0.0, bad], &[true, false]), Level::P95)
                .unwrap_err()
                .to_string(),
            "the difficulty at position 1 is not a finite number"
        );
    }
}

#[test]
fn far_items_end_in_a_number_or_an_error() {
    let far = answers(&[-1e300, 1e300], &[true, false]);
    assert!(rasch_ability(&far, Level::P95).is_err());
    let odd = answers(&[-1e300, 1e300], &[false, true]);
    assert!(person_fit(&odd, Level::P95).is_err());
    let wide = answers(&[-50.0, 0.0, 50.0], &[true, true, false]);
    assert!(rasch_ability(&wide, Level::P95).is_err() || person_fit(&wide, Level::P95).is_ok());
}

#[test]
fn equal_items_give_the_logit_of_the_share() {
    let same = answers(&[1.5; 100], &std::array::from_fn::<bool, 100, _>(|at| at < 80));
    let found = rasch_ability(&same, Level::P95).unwrap();
    assert!((found.value - (1.5 + 4.0_f64.ln())).abs() < 1e-12);
    let half = 1.959_963_984_540_054 / (100.0 * 0.16_f64).sqrt();
    assert!((found.interval.upper - found.value - half).abs() < 1e-12);
    assert_eq!(found.units, 100);
}

proptest! {
    #[test]
    fn the_ability_solves_its_equation(
        items in prop::collection::vec((-6.0_f64..6.0, any::<bool>()), 2..40),
        shift in -5.0_f64..5.0,
    ) {
        let of = |by: f64| -> Vec<Answer> {
            items.iter().map(|(difficulty, passed)| Answer { difficulty: difficulty + by, passed: *passed }).collect()
        };
        let passed = items.iter().filter(|item| item.1).count();
        let found = rasch_ability(&of(0.0), Level::P95);
        prop_assert_eq!(found.is_err(), passed == 0 || passed == items.len());
        let score = |theta: f64| {
            items.iter().map(|(b, y)| f64::from(u8::from(*y)) - logistic(theta - b)).sum::<f64>()
        };
        let drawn = rasch_ability_with_prior(&of(0.0), Level::P95).unwrap();
        prop_assert!((score(drawn.value) - drawn.value).abs() < 1e-10);
        if let Ok(found) = found {
            prop_assert!(score(found.value).abs() < 1e-10);
            // Moving all items moves the ability along; the prior draws towards 0.
            let moved = rasch_ability(&of(shift), Level::P95).unwrap();
            prop_assert!((moved.value - found.value - shift).abs() < 1e-9);
            prop_assert!(drawn.value.abs() <= found.value.abs() + 1e-12);
            let mut turned = of(0.0);
            turned.reverse();
            let fit = person_fit(&turned, Level::P95).unwrap();
            prop_assert!((fit.outfit - person_fit(&of(0.0), Level::P95).unwrap().outfit).abs() < 1e-9 * fit.outfit);
        }
    }
}
