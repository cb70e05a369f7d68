//! Laws of the fit, the draws and what is shown, on small data sets.

use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::estimate::percentile;
use super::*;
use crate::stats::{Excluded, Level, Method};

fn level(p: f64) -> Level {
    Level::new("level", p).unwrap()
}

fn seen(model: &str, task: &str, minutes: f64, successes: u64, runs: u64) -> Vec<Observation> {
    let family = task.split('/').next().unwrap_or(task);
    let one = |outcome, runs| Observation {
        model: model.to_owned(),
        task: task.to_owned(),
        family: family.to_owned(),
        minutes,
        outcome,
        cheated: false,
        runs,
    };
    vec![one(1.0, successes), one(0.0, runs - successes)]
}

fn data(cells: &[(&str, &str, f64, u64, u64)]) -> Dataset {
    let observations: Vec<Observation> = cells
        .iter()
        .flat_map(|(model, task, minutes, successes, runs)| seen(model, task, *minutes, *successes, *runs))
        .collect();
    Dataset::new(&observations, Vec::new()).unwrap()
}

fn settings(ridge: f64) -> Settings {
    Settings {
        weighting: Weighting::InverseSquareRoot,
        ridge: Ridge::new(ridge).unwrap(),
        cheats: Cheats::Fail,
    }
}

/// Returns the only model's estimate with so many draws.
fn estimated(data: &Dataset, draws: u32) -> ModelEstimate {
    let analysis = Analysis::new(data, settings(1e-5));
    let draws: Vec<Draw> = (0..draws).map(|number| analysis.draw(42, number)).collect();
    let mut models = estimate(&analysis, &draws, &[level(0.5), level(0.8)], Level::P95);
    assert_eq!(models.len(), 1);
    models.remove(0)
}

fn shown(model: &ModelEstimate) -> String {
    let end = |reading: Reading| reading.to_string();
    let horizons = model.horizons.iter().map(|horizon| {
        let interval = horizon
            .interval
            .map(|interval| format!(" [{}; {}]", end(interval.lower), end(interval.upper)));
        format!("{}{}", horizon.point, interval.unwrap_or_default())
    });
    horizons.collect::<Vec<_>>().join(" | ")
}

#[test]
fn a_horizon_is_a_number_only_between_tasks() {
    let few = |success: [u64; 3]| {
        let [a, b, c] = success;
        data(&[
            ("m", "a", 2.0, a, 4),
            ("m", "b", 16.0, b, 4),
            ("m", "c", 128.0, c, 4),
        ])
    };
    let cases = [
        ([4, 2, 1], "28.1 min | 6.93 min"),
        (
            [0, 0, 0],
            "shorter than the shortest task (2 min) | shorter than the shortest task (2 min)",
        ),
        (
            [4, 4, 4],
            "longer than the longest task (128 min) | longer than the longest task (128 min)",
        ),
        (
            [1, 1, 0],
            "shorter than the shortest task (2 min) | shorter than the shortest task (2 min)",
        ),
        (
            [4, 4, 0],
            "between 16 and 128 min, where success ends | between 16 and 128 min, where success ends",
        ),
        (
            [4, 3, 0],
            "between 16 and 128 min, where success ends | between 2 and 16 min, where success ends",
        ),
        (
            [4, 4, 3],
            "longer than the longest task (128 min) | between 16 and 128 min, where success ends",
        ),
        (
            [1, 0, 0],
            "shorter than the shortest task (2 min) | shorter than the shortest task (2 min)",
        ),
        (
            [0, 2, 4],
            "none: success does not fall with length | none: success does not fall with length",
        ),
        (
            [1, 1, 2],
            "none: success does not fall with length | none: success does not fall with length",
        ),
        (
            [2, 2, 2],
            "none: success does not fall with length | none: success does not fall with length",
        ),
    ];
    for (successes, expected) in cases {
        assert_eq!(shown(&estimated(&few(successes), 0)), expected, "{successes:?}");
    }
    // What is no matter of the curve has no interval, whatever draws say.
    for successes in [[0, 0, 0], [4, 4, 4], [4, 4, 0], [0, 2, 4]] {
        let model = estimated(&few(successes), 50);
        assert!(
            model.horizons.iter().all(|horizon| horizon.interval.is_none()),
            "{successes:?}"
        );
    }
}

#[test]
fn draws_of_failures_alone_pull_the_lower_end_below_every_task() {
    let data = data(&[
        ("m", "a", 2.0, 2, 4),
        ("m", "b", 16.0, 1, 4),
        ("m", "c", 128.0, 0, 4),
    ]);
    let model = estimated(&data, 400);
    assert!(model.draws.all_failed > 10, "{:?}", model.draws);
    assert_eq!(model.draws.draws, 400);
    let interval = model.horizons[0].interval.unwrap();
    assert_eq!(interval.lower, Reading::ShorterThanShortest { shortest: 2.0 });
    // METR leaves such draws out.
    let formula = model.horizons[0].formula.unwrap().interval.unwrap();
    assert_eq!(formula.method, Method::HierarchicalBootstrap);
    assert!(formula.lower < formula.upper);
}

#[test]
fn without_a_ridge_separated_data_have_no_curve() {
    let data = data(&[("m", "a", 2.0, 4, 4), ("m", "b", 16.0, 0, 4)]);
    let fitted = |ridge| Analysis::new(&data, settings(ridge)).curves().next().unwrap().1;
    assert_eq!(
        fitted(0.0),
        Err(NoCurve::Separated {
            longest_success: 2.0,
            shortest_failure: 16.0
        })
    );
    let slopes = [1e-12, 1e-5, 0.1, 1e6].map(|ridge| fitted(ridge).unwrap().slope);
    assert!(slopes.is_sorted() && slopes[3] < 0.0, "{slopes:?}");
}

#[test]
fn weights_are_shared_by_runs_and_by_families() {
    let data = data(&[
        ("m", "a/1", 2.0, 1, 4),
        ("m", "a/2", 16.0, 1, 2),
        ("m", "b/1", 3.0, 1, 1),
        ("n", "a/1", 2.0, 1, 1),
    ]);
    let weights = |weighting| {
        let weights = data.weights(weighting);
        let shown = weights
            .iter()
            .map(|weight| (weight.model, weight.task, format!("{:.4}", weight.weight)));
        shown
            .map(|(model, task, weight)| format!("{model} {task} {weight}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        weights(Weighting::EqualTask),
        ["m a/1 0.0833", "m a/2 0.1667", "m b/1 0.3333", "n a/1 1.0000"]
    );
    // Twice 1/sqrt(2) against 1.
    assert_eq!(
        weights(Weighting::InverseSquareRoot),
        ["m a/1 0.0732", "m a/2 0.1464", "m b/1 0.4142", "n a/1 1.0000"]
    );
}

#[test]
fn cheats_fail_or_count() {
    let cheat = |runs| Observation {
        cheated: true,
        runs,
        ..seen("m", "a", 2.0, 1, 1).remove(0)
    };
    let mut observations = seen("m", "a", 2.0, 2, 6);
    observations.push(cheat(2));
    observations.extend(seen("m", "b", 100.0, 1, 6));
    let data = Dataset::new(
        &observations,
        vec![Excluded {
            why: "void".to_owned(),
            units: 3,
        }],
    )
    .unwrap();
    assert!(data.has_cheats());
    let of = |cheats| {
        let analysis = Analysis::new(
            &data,
            Settings {
                cheats,
                ..settings(1e-5)
            },
        );
        let draws: Vec<Draw> = (0..20).map(|number| analysis.draw(1, number)).collect();
        let model = estimate(&analysis, &draws, &[level(0.5)], Level::P95).remove(0);
        (model.successes, model.runs, draws)
    };
    let ((fail, runs, _), (count, same, _)) = (of(Cheats::Fail), of(Cheats::Count));
    assert_eq!(
        (fail.to_bits(), count.to_bits(), runs, same),
        (3.0_f64.to_bits(), 5.0_f64.to_bits(), 14, 14)
    );
    assert_eq!(
        data.excluded(),
        [Excluded {
            why: "void".to_owned(),
            units: 3
        }]
    );
}

#[test]
fn buckets_say_what_was_seen() {
    let data = data(&[
        ("m", "a/1", 0.5, 4, 4),
        ("m", "a/2", 1.0, 3, 4),
        ("m", "b/1", 3.99, 1, 2),
        ("m", "c/1", 4.0, 0, 5),
        ("m", "d/1", 15.0, 0, 5),
        ("m", "e/1", 2880.0, 0, 1),
    ]);
    let model = estimated(&data, 200);
    let shown: Vec<String> = model
        .buckets
        .iter()
        .map(|bucket| {
            let interval = bucket.mean.interval.unwrap();
            format!(
                "{}-{} min: {}/{} runs, {} tasks, {} families, {:.3}, {}",
                bucket.bucket.from,
                bucket.bucket.to,
                bucket.successes,
                bucket.runs,
                bucket.tasks,
                bucket.families,
                bucket.mean.value,
                interval.method
            )
        })
        .collect();
    // (0.75 / sqrt(2) + 0.5) / (1 / sqrt(2) + 1)
    assert_eq!(
        shown,
        [
            "1-4 min: 4/6 runs, 2 tasks, 2 families, 0.604, hierarchical bootstrap, percentiles",
            "4-16 min: 0/10 runs, 2 tasks, 2 families, 0.000, Clopper-Pearson",
        ]
    );
    // Two families without a success rule out little: 1 - 0.025^(1/2).
    let upper = model.buckets[1].mean.interval.unwrap().upper;
    assert!((upper - 0.841_886_1).abs() < 1e-6, "{upper}");
    assert_eq!((model.runs, model.tasks, model.families), (21, 6, 5));
}

#[test]
fn all_models_are_drawn_in_the_same_world() {
    // Runs that are all alike don't depend on the draw of runs, so equal models must stay equal in every draw.
    let cells = |model| {
        [(2.0, 4), (5.0, 0), (9.0, 4), (30.0, 0), (80.0, 4), (200.0, 0)]
            .into_iter()
            .zip(["a/1", "a/2", "b/1", "b/2", "c/1", "d/1"])
            .flat_map(move |((minutes, successes), task)| seen(model, task, minutes, successes, 4))
    };
    let observations: Vec<Observation> = cells("m").chain(cells("n")).collect();
    let data = Dataset::new(&observations, Vec::new()).unwrap();
    let analysis = Analysis::new(&data, settings(0.1));
    let mut different = 0;
    for number in 0..50 {
        let draw = analysis.draw(3, number);
        assert_eq!(draw.models[0], draw.models[1]);
        different += usize::from(draw != analysis.draw(3, number + 1));
    }
    assert!(different > 45, "{different}");
    assert_ne!(analysis.draw(3, 0), analysis.draw(4, 0));
}

#[test]
fn contradictions_are_refused() {
    let [mut a, _] = <[Observation; 2]>::try_from(seen("m", "a/1", 2.0, 1, 2)).unwrap();
    a.runs = 1;
    let with = |change: &dyn Fn(&mut Observation)| {
        let mut other = a.clone();
        change(&mut other);
        Dataset::new(&[a.clone(), other], Vec::new())
            .unwrap_err()
            .to_string()
    };
    let found = [
        with(&|other| other.minutes = 120.0),
        with(&|other| other.family = "b".to_owned()),
        with(&|other| other.minutes = f64::NAN),
        with(&|other| other.minutes = -1.0),
        with(&|other| other.outcome = 1.5),
        with(&|other| other.runs = u64::MAX),
    ];
    assert_eq!(
        found,
        [
            "task `a/1` takes 2 minutes in one place and 120 in another",
            "task `a/1` is in the families `a` and `b`",
            "task `a/1` takes NaN minutes, expected a positive number",
            "task `a/1` takes -1 minutes, expected a positive number",
            "an outcome of model `m` on task `a/1` is 1.5, expected 0 to 1",
            "18446744073709551615 runs are more than the 10000000 that can be handled",
        ]
    );
    for ridge in [-1e-9, f64::NAN, f64::INFINITY, 1e7] {
        assert!(Ridge::new(ridge).is_err());
    }
}

#[test]
fn percentiles_interpolate_and_bear_infinity() {
    let mut values = [4.0, 1.0, 3.0, 2.0];
    let found = [0.0, 0.025, 0.5, 1.0].map(|share| percentile(&mut values, share).unwrap());
    assert_eq!(found.map(f64::to_bits), [1.0, 1.075, 2.5, 4.0].map(f64::to_bits));
    let mut ends = [0.0, f64::INFINITY, f64::INFINITY];
    let found = [0.0, 0.4, 0.5, 0.9].map(|share| percentile(&mut ends, share).unwrap());
    assert_eq!(
        found.map(f64::to_bits),
        [0.0, f64::INFINITY, f64::INFINITY, f64::INFINITY].map(f64::to_bits)
    );
    assert_eq!(percentile(&mut [], 0.5), None);
}

fn release(model: &str, day: &str, minutes: f64) -> Release {
    Release {
        model: model.to_owned(),
        day: Day::parse(day).unwrap(),
        minutes,
    }
}

#[test]
fn the_trend_goes_through_the_best_of_their_day() {
    let releases = [
        release("late but poor", "2024-03-01", 3.0),
        release("first", "2023-01-01", 2.0),
        release("better", "2024-01-01", 8.0),
        release("as good", "2024-06-01", 8.0),
        release("twin", "2024-01-01", 7.0),
        release("best", "2025-01-01", 32.0),
    ];
    let days = |from, to| Day::parse(from).unwrap()..Day::parse(to).unwrap();
    let draws = vec![
        vec![None, Some(2.0), Some(4.0), Some(4.0), None, Some(8.0)],
        vec![None, Some(2.0), Some(16.0), None, None, Some(1e-4)],
        vec![None, None, Some(f64::INFINITY), None, None, Some(1.0)],
    ];
    let found = trend(&releases, days("2000-01-01", "2100-01-01"), &draws, Level::P95).unwrap();
    let models: Vec<&str> = found
        .models
        .iter()
        .map(|release| release.model.as_str())
        .collect();
    assert_eq!(models, ["first", "better", "as good", "best"]);
    assert_eq!(found.draws, 2);
    assert!((found.doubling_days().unwrap() - 190.0).abs() < 10.0, "{found:?}");
    let later = trend(&releases, days("2024-01-01", "2100-01-01"), &[], Level::P95).unwrap();
    assert_eq!((later.models.len(), later.interval), (3, None));
    let error = trend(&releases, days("2025-01-01", "2100-01-01"), &[], Level::P95).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a trend of horizons needs at least 2 models on different days, found 1"
    );
}

#[test]
fn what_does_not_grow_has_no_doubling_time() {
    let releases = [release("a", "2023-01-01", 8.0), release("b", "2024-01-01", 8.0)];
    let days = Day::parse("2000-01-01").unwrap()..Day::parse("2100-01-01").unwrap();
    let draws = vec![vec![Some(8.0), Some(2.0)], vec![Some(2.0), Some(8.0)]];
    let trend = trend(&releases, days, &draws, Level::P95).unwrap();
    assert_eq!(trend.doubling_days(), None);
    let (lower, upper) = trend.doubling_interval().unwrap();
    assert!(lower.unwrap() > 182.0 && upper.is_none(), "{lower:?}");
}

#[test]
fn days_are_read_and_written() {
    for text in ["1970-01-01", "2024-02-29", "1969-12-31", "2025-04-16"] {
        assert_eq!(Day::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Day::parse("2024-02-29").unwrap().number(), 19_782);
    for text in [
        "2023-02-29",
        "2024-2-9",
        "2024-13-01",
        "24-02-01",
        "",
        "2024-02-29T",
        "+2024-02-01",
        "x",
    ] {
        assert_eq!(Day::parse(text), None, "{text}");
    }
}

/// Cells of one model: minutes, successes, runs, family.
fn cells() -> impl Strategy<Value = Vec<(f64, u64, u64, u8)>> {
    let cell = (-6.0..12.0_f64, 0..6_u64, 1..6_u64, 0..4_u8);
    proptest::collection::vec(cell, 1..24).prop_map(|cells| {
        let runs = |(exponent, successes, runs, family): (f64, u64, u64, u8)| {
            (exponent.exp2(), successes.min(runs), runs, family)
        };
        cells.into_iter().map(runs).collect()
    })
}

fn observations(cells: &[(f64, u64, u64, u8)]) -> Vec<Observation> {
    let of = |(at, (minutes, successes, runs, family)): (usize, &(f64, u64, u64, u8))| {
        seen("m", &format!("{family}/{at}"), *minutes, *successes, *runs)
    };
    cells.iter().enumerate().flat_map(of).collect()
}

proptest! {
    #[test]
    fn the_order_of_rows_changes_nothing((cells, order) in cells().prop_flat_map(|cells| {
        let all = observations(&cells);
        (Just(cells), Just(all).prop_shuffle())
    })) {
        let (one, other) = (observations(&cells), order);
        let [one, other] = [one, other].map(|rows| Dataset::new(&rows, Vec::new()).unwrap());
        prop_assert_eq!(&one, &other);
        let [one, other] = [&one, &other].map(|data| Analysis::new(data, settings(1e-5)).draw(5, 7));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_fit_is_at_the_minimum(cells in cells(), ridge in prop::sample::select(vec![0.0, 1e-9, 1e-5, 0.1, 10.0])) {
        let data = Dataset::new(&observations(&cells), Vec::new()).unwrap();
        let analysis = Analysis::new(&data, settings(ridge));
        let fitted = &analysis.models[0];
        if let Ok(curve) = fitted.curve {
            let (mut by_intercept, mut by_slope) = (0.0, ridge * curve.slope);
            for point in &fitted.points {
                let p = curve.probability(point.log2_minutes);
                let residual = point.failures * p - point.successes * (1.0 - p);
                by_intercept += residual;
                by_slope += residual * point.log2_minutes;
            }
            prop_assert!(by_intercept.abs() < 1e-11 && by_slope.abs() < 1e-10, "{by_intercept:e} {by_slope:e}");
        } else {
            // With a ridge only one class has no curve.
            let successes: u64 = cells.iter().map(|cell| cell.1).sum();
            let runs: u64 = cells.iter().map(|cell| cell.2).sum();
            prop_assert!(ridge == 0.0 || successes == 0 || successes == runs, "{:?}", fitted.curve);
            prop_assert!(fitted.curve != Err(NoCurve::NoConvergence));
        }
    }

    #[test]
    fn horizons_fall_with_the_level(cells in cells(), levels in proptest::collection::vec(0.01..0.99_f64, 2..5)) {
        let data = Dataset::new(&observations(&cells), Vec::new()).unwrap();
        let (_, curve) = Analysis::new(&data, settings(1e-5)).curves().next().unwrap();
        if let Ok(curve) = curve && curve.slope < -1e-3 {
            let mut levels = levels;
            levels.sort_by(f64::total_cmp);
            let minutes: Vec<f64> = levels.iter().map(|p| curve.minutes_at(level(*p))).collect();
            prop_assert!(minutes.is_sorted_by(|more, less| more >= less), "{minutes:?}");
        }
    }

    #[test]
    fn fractions_are_their_runs(cells in cells()) {
        let by_run = Dataset::new(&observations(&cells), Vec::new()).unwrap();
        let fraction = |(at, (minutes, successes, runs, family)): (usize, &(f64, u64, u64, u8))| Observation {
            outcome: *successes as f64 / *runs as f64,
            runs: *runs,
            ..seen("m", &format!("{family}/{at}"), *minutes, 0, *runs).remove(1)
        };
        let fractions: Vec<Observation> = cells.iter().enumerate().map(fraction).collect();
        let by_mean = Dataset::new(&fractions, Vec::new()).unwrap();
        let [one, other] = [&by_run, &by_mean].map(|data| Analysis::new(data, settings(1e-5)).curves().next().unwrap().1);
        match (one, other) {
            (Ok(one), Ok(other)) => {
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs());
                prop_assert!(near(one.slope, other.slope) && near(one.intercept, other.intercept), "{one:?} {other:?}");
            }
            (one, other) => prop_assert_eq!(one.is_ok(), other.is_ok()),
        }
    }

    #[test]
    fn nothing_panics_and_counts_add_up(cells in cells(), seed: u64, draws in 0..12_u32) {
        let data = Dataset::new(&observations(&cells), Vec::new()).unwrap();
        let analysis = Analysis::new(&data, settings(1e-5));
        let made: Vec<Draw> = (0..draws).map(|number| analysis.draw(seed, number)).collect();
        let models = estimate(&analysis, &made, &[level(0.5), level(0.999)], Level::P95);
        let counts = models[0].draws;
        let sum = counts.falling + counts.not_falling + counts.all_failed + counts.all_succeeded
            + counts.separated + counts.absent + counts.no_convergence;
        prop_assert_eq!((counts.draws, sum), (u64::from(draws), u64::from(draws)));
        for horizon in &models[0].horizons {
            if let Some(minutes) = horizon.point.minutes() {
                let lengths = models[0].lengths;
                prop_assert!(lengths.shortest < minutes && minutes < lengths.longest);
            }
        }
    }
}
