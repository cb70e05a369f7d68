//! Time horizons against METR's figures, and against fits by scikit-learn.
//!
//! `horizon.json` has the figures that the tests need. Tests of METR's larger files look for them beside the
//! checkout, or where `HARNESS_METR_RUNS` says, and are left out loudly where they are not.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "the library is pure, its tests read files, say what they leave out, and fail on what is missing"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use harness_core::formats::{OutcomeColumn, RunsFile, parse_runs};
use harness_core::stats::Level;
use harness_core::stats::horizon::{
    Analysis, Cheats, Curve, Dataset, Day, Observation, Point, Release, Ridge, Settings, Weighting, fit,
    percentile_interval, state_of_the_art, trend,
};
use serde_json::{Value, json};

const P50: f64 = 0.5;
const P80: f64 = 0.8;

/// Returns what this crate computes for an entry, in the shape of the entry's outputs; `None` if it is not of this family.
pub(crate) fn compute(id: &str, inputs: &Value) -> Option<Value> {
    if id != "metr_time_horizon" {
        return None;
    }
    let numbers = |key: &str| -> Vec<f64> { inputs[key].as_array().unwrap().iter().map(number).collect() };
    let (minutes, success, weights) = (numbers("minutes"), numbers("success"), numbers("weights"));
    let fitted = |weight: &dyn Fn(usize) -> f64, lambda: f64| {
        let point = |at: usize| Point {
            log2_minutes: minutes[at].log2(),
            successes: weight(at) * success[at],
            failures: weight(at) * (1.0 - success[at]),
        };
        let points: Vec<Point> = (0..minutes.len()).map(point).collect();
        let curve = fit(&points, ridge(lambda)).unwrap();
        json!({"intercept": curve.intercept, "slope": curve.slope,
            "p50_min": minutes_at(curve, P50), "p80_min": minutes_at(curve, P80)})
    };
    let weighted = |at: usize| weights[at];
    Some(json!({
        "metr_w_sum1_lam0.1": fitted(&weighted, 0.1),
        "unpenalised_weighted": fitted(&weighted, 0.0),
        "unweighted_mle": fitted(&|_| 1.0, 0.0),
        "sklearn_C10": fitted(&weighted, 0.1),
    }))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn ridge(lambda: f64) -> Ridge {
    Ridge::new(lambda).unwrap()
}

fn minutes_at(curve: Curve, level: f64) -> f64 {
    curve.minutes_at(Level::new("level", level).unwrap())
}

fn close(what: &str, found: f64, expected: f64, relative: f64) {
    let off = (found / expected - 1.0).abs();
    assert!(
        off <= relative,
        "{what}: {found} instead of {expected}, off by {off:e}, allowed {relative:e}"
    );
}

fn figures() -> Value {
    serde_json::from_str(include_str!("horizon.json")).unwrap()
}

/// The two models of the fixture; `split` makes an observation for each run, as files with a row for each do.
fn two_models(split: bool) -> Dataset {
    let mut observations = Vec::new();
    for (at, row) in figures()["tasks"].as_array().unwrap().iter().enumerate() {
        let cell = |column: usize| row[column].as_u64().unwrap();
        for (model, column) in [("GPT-5.4", 2), ("Claude Mythos Preview", 4)] {
            let (successes, runs) = (cell(column), cell(column + 1));
            let observation = |outcome: f64, runs: u64| Observation {
                model: model.to_owned(),
                task: format!("t{at}"),
                family: format!("f{}", cell(1)),
                minutes: number(&row[0]),
                outcome,
                cheated: false,
                runs,
            };
            for (outcome, runs) in [(1.0, successes), (0.0, runs - successes)] {
                let times = if split { runs } else { u64::from(runs > 0) };
                let each = if split { 1 } else { runs };
                observations.extend((0..times).map(|_| observation(outcome, each)));
            }
        }
    }
    Dataset::new(&observations, Vec::new()).unwrap()
}

fn curves(data: &Dataset, weighting: Weighting, lambda: f64) -> BTreeMap<String, Curve> {
    let settings = Settings {
        weighting,
        ridge: ridge(lambda),
        cheats: Cheats::Fail,
    };
    let analysis = Analysis::new(data, settings);
    let found = analysis.curves();
    found
        .filter_map(|(model, curve)| Some((model.to_owned(), curve.ok()?)))
        .collect()
}

/// Two models of Time Horizon 1.1 under both ridges: METR's printed figures, and those of an independent Newton's
/// method. The intercept of Claude Mythos Preview is printed as 5.582; interval arithmetic gives 5.582691.
#[test]
fn fits_of_two_models_are_matched() {
    let expected = [
        ("GPT-5.4", 1e-5, -0.520_155_2, 4.378_021_3, 341.741_03, 53.877_255),
        ("GPT-5.4", 0.1, -0.453_657_75, 3.888_396_7, 380.357_42, 45.740_382),
        (
            "Claude Mythos Preview",
            1e-5,
            -0.556_666_05,
            5.582_691,
            1_044.645_3,
            185.908_06,
        ),
        (
            "Claude Mythos Preview",
            0.1,
            -0.441_981_88,
            4.668_049_4,
            1_511.359,
            171.859_94,
        ),
    ];
    let data = two_models(false);
    for (model, lambda, slope, intercept, p50, p80) in expected {
        let curve = curves(&data, Weighting::InverseSquareRoot, lambda)[model];
        let what = format!("{model} at ridge {lambda}");
        close(&what, curve.slope, slope, 1e-7);
        close(&what, curve.intercept, intercept, 1e-7);
        close(&what, minutes_at(curve, P50), p50, 1e-6);
        close(&what, minutes_at(curve, P80), p80, 1e-6);
    }
    for (model, slope, intercept, p50, p80) in [
        ("GPT-5.4", -0.520, 4.378, 342.0, 54.0),
        ("Claude Mythos Preview", -0.557, 5.582, 1045.0, 186.0),
    ] {
        let curve = curves(&data, Weighting::InverseSquareRoot, 1e-5)[model];
        assert!((curve.slope - slope).abs() < 5e-4, "{model} {curve:?}");
        assert!((curve.intercept - intercept).abs() < 1e-3, "{model} {curve:?}");
        let horizons = [minutes_at(curve, P50), minutes_at(curve, P80)].map(f64::round);
        assert_eq!(
            horizons.map(f64::to_bits),
            [p50, p80].map(f64::to_bits),
            "{model}"
        );
    }
}

#[test]
fn rows_by_task_and_rows_by_run_give_the_same_fits() {
    let (by_task, by_run) = (two_models(false), two_models(true));
    assert_eq!(by_task, by_run);
    // A fraction stands for its successes and failures.
    let mut fractions = Vec::new();
    let mut runs = Vec::new();
    for (at, (minutes, successes)) in [(2.0, 4), (10.0, 3), (30.0, 1), (45.0, 2), (300.0, 0)]
        .iter()
        .enumerate()
    {
        let observation = |outcome: f64, runs: u64| Observation {
            model: "m".to_owned(),
            task: format!("t{at}"),
            family: format!("f{}", at / 2),
            minutes: *minutes,
            outcome,
            cheated: false,
            runs,
        };
        fractions.push(observation(f64::from(*successes) / 4.0, 4));
        runs.push(observation(1.0, u64::try_from(*successes).unwrap()));
        runs.push(observation(0.0, u64::try_from(4 - successes).unwrap()));
    }
    let [fractions, runs] = [fractions, runs].map(|seen| {
        let data = Dataset::new(&seen, Vec::new()).unwrap();
        curves(&data, Weighting::InverseSquareRoot, 1e-5)["m"]
    });
    close("slope", fractions.slope, runs.slope, 1e-9);
    close("intercept", fractions.intercept, runs.intercept, 1e-9);
}

/// METR's fits of April 2025: 17 models.
#[test]
fn horizons_follow_from_slopes_and_intercepts() {
    let figures = figures();
    let fits = figures["fits"].as_array().unwrap();
    assert_eq!(fits.len(), 17);
    for row in fits {
        let curve = Curve {
            slope: number(&row[1]),
            intercept: number(&row[2]),
        };
        // Slope and intercept are printed with six decimals.
        let name = row[0].as_str().unwrap();
        close(name, minutes_at(curve, P50), number(&row[3]), 5e-5);
        close(name, minutes_at(curve, P80), number(&row[4]), 1e-4);
    }
}

#[test]
fn doubling_times_are_matched() {
    for case in figures()["trends"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let releases: Vec<Release> = case["models"].as_array().unwrap().iter().map(release).collect();
        let every_day = Day::parse("1970-01-01").unwrap()..Day::parse("2100-01-01").unwrap();
        let trend = trend(&releases, every_day, &[], Level::P95).unwrap();
        assert_eq!(trend.models.len(), releases.len(), "{name}");
        let off = (trend.doubling_days().unwrap() - number(&case["doubling_days"])).abs();
        assert!(off < 1e-3, "{name}: {trend:?}");
    }
}

fn release(row: &Value) -> Release {
    let day = row[0].as_str().unwrap();
    Release {
        model: day.to_owned(),
        day: Day::parse(day).unwrap(),
        minutes: number(&row[1]),
    }
}

/// Returns a file of METR's, or nothing, said loudly.
fn metr(name: &str) -> Option<Vec<u8>> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/metr-runs");
    let folder = std::env::var_os("HARNESS_METR_RUNS").map_or(beside, PathBuf::from);
    let found = fs::read(folder.join(name)).ok();
    if found.is_none() {
        eprintln!("SKIPPED: there is no {name} of METR's in {}", folder.display());
    }
    found
}

/// Reads a small CSV file without quotes into maps.
fn table(bytes: &[u8]) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_reader(bytes);
    reader.deserialize().map(Result::unwrap).collect()
}

fn cell(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].parse().unwrap()
}

fn runs_of_2025() -> Option<(Vec<u8>, RunsFile)> {
    let bytes = metr("runs_2025-02_hcast_rebench.csv")?;
    let parsed = parse_runs("runs.csv", &bytes, OutcomeColumn::Binarized);
    let checked = parsed.unwrap_or_else(|problems| panic!("{problems}"));
    // And no warning about weights.
    let warnings: Vec<&str> = checked
        .warnings
        .0
        .iter()
        .map(|warning| warning.message.as_str())
        .collect();
    let one_class = "`davinci-002` failed in all 68 runs: there is no curve to fit, its horizon is shorter than the shortest task (2 min)";
    assert_eq!(warnings, [one_class]);
    Some((bytes, checked.value))
}

#[test]
fn weights_are_those_of_the_file() {
    let Some((bytes, file)) = runs_of_2025() else {
        return;
    };
    assert_eq!(
        (file.data.runs(), file.data.tasks(), file.data.families()),
        (7063, 83, 36)
    );
    let weights = [Weighting::EqualTask, Weighting::InverseSquareRoot].map(|weighting| {
        let weights = file.data.weights(weighting).into_iter();
        weights
            .map(|weight| ((weight.model, weight.task), weight.weight))
            .collect::<BTreeMap<_, _>>()
    });
    let mut sums: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    let rows = table(&bytes);
    for row in &rows {
        let sums = sums.entry(&row["alias"]).or_default();
        for (at, column) in ["equal_task_weight", "invsqrt_task_weight"]
            .into_iter()
            .enumerate()
        {
            let ours = weights[at][&(row["alias"].as_str(), row["task_id"].as_str())];
            assert!((ours - cell(row, column)).abs() < 1e-6, "{row:?}");
            sums[at] += ours;
        }
    }
    assert_eq!(sums.len(), 11);
    assert!(
        sums.values().flatten().all(|sum| (sum - 1.0).abs() < 1e-9),
        "{sums:?}"
    );
}

#[test]
fn fits_of_runs_are_matched() {
    let (Some((_, file)), Some(bytes)) = (runs_of_2025(), metr("reference_fits.csv")) else {
        return;
    };
    let rows = table(&bytes);
    let rows = rows.iter().filter(|row| row["source"] == "runs_2025-02");
    let mut compared = 0;
    for row in rows {
        let weighting = match row["weighting"].as_str() {
            "equal_task_weight" => Weighting::EqualTask,
            _ => Weighting::InverseSquareRoot,
        };
        let curve = curves(&file.data, weighting, cell(row, "regularization"))[&row["alias"]];
        let what = format!("{row:?}");
        close(&what, curve.slope, cell(row, "coefficient"), 1e-6);
        close(&what, curve.intercept, cell(row, "intercept"), 1e-6);
        // A shallow slope multiplies what the eighth digit leaves out.
        close(&what, minutes_at(curve, P50), cell(row, "p50"), 1e-5);
        close(&what, minutes_at(curve, P80), cell(row, "p80"), 1e-5);
        compared += 1;
    }
    assert_eq!(compared, 40);
}

#[test]
fn intervals_of_draws_are_matched() {
    let draws = metr("bootstrap_p50_p80_2025-04.csv");
    let (Some(draws), Some(fits)) = (draws, metr("published_fits_2025-04.csv")) else {
        return;
    };
    let draws = table(&draws);
    let mut compared = 0;
    for row in table(&fits) {
        for level in ["p50", "p80"] {
            let column = format!("{}_{level}", row["agent"]);
            let mut values: Vec<f64> = draws
                .iter()
                .filter_map(|draw| draw[&column].parse().ok())
                .collect();
            let found = percentile_interval(&mut values, Level::P95).unwrap();
            for (end, quantile) in [(found.lower, "q0.025"), (found.upper, "q0.975")] {
                let expected = cell(&row, &format!("{level}{quantile}"));
                assert!(
                    (end - expected).abs() < 1e-5,
                    "{column}{quantile}: {end} instead of {expected}"
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 68);
}

#[test]
fn the_state_of_the_art_is_what_metr_says() {
    let Some(bytes) = metr("published_horizons.csv") else {
        return;
    };
    let rows = table(&bytes);
    let mut tables: BTreeMap<&str, Vec<&BTreeMap<String, String>>> = BTreeMap::new();
    for row in &rows {
        tables.entry(&row["table"]).or_default().push(row);
    }
    assert_eq!(tables.len(), 4);
    for (name, rows) in tables {
        let releases: Vec<Release> = rows
            .iter()
            .map(|row| Release {
                model: row["key"].clone(),
                day: Day::parse(&row["release_date"]).unwrap(),
                minutes: cell(row, "p50"),
            })
            .collect();
        let mut found = state_of_the_art(&releases);
        found.sort_unstable();
        let flagged: Vec<usize> = (0..rows.len())
            .filter(|at| rows[*at]["is_sota"] == "True")
            .collect();
        assert_eq!(found, flagged, "{name}");
    }
}

/// METR's bounds are those of 1,000 draws, ours of other draws: each of METR's must lie where 1,000 draws would have it,
/// that is between our percentiles three standard errors (of METR's rank and ours together) below and above. Medians
/// and the ends that many draws fix must agree within 15 %.
#[test]
fn intervals_of_the_bootstrap_are_matched() {
    const DRAWS: u32 = 4000;
    let expected = metr("reference_bootstrap_ci_runs_2025-02.csv");
    let (Some((_, file)), Some(expected)) = (runs_of_2025(), expected) else {
        return;
    };
    let settings = Settings {
        weighting: Weighting::InverseSquareRoot,
        ridge: Ridge::DEFAULT,
        cheats: Cheats::Fail,
    };
    let analysis = Analysis::new(&file.data, settings);
    let draws: Vec<_> = (0..DRAWS).map(|number| analysis.draw(42, number)).collect();
    let models: Vec<&str> = file.data.models().collect();
    let (mut compared, mut close) = (0, 0);
    for row in table(&expected) {
        let at = models.iter().position(|model| *model == row["alias"]).unwrap();
        let level = cell(&row, "success_percent") / 100.0;
        let mut minutes: Vec<f64> = draws
            .iter()
            .filter_map(|draw| draw.curves().nth(at).unwrap().ok())
            .map(|curve| minutes_at(curve, level))
            .collect();
        minutes.sort_by(f64::total_cmp);
        let ours = |share: f64| {
            let below = minutes.iter().enumerate();
            let found = below.take_while(|(at, _)| *at as f64 <= share * (minutes.len() - 1) as f64);
            found.last().map_or(0.0, |(_, minutes)| *minutes)
        };
        for (share, column) in [(0.025, "q025"), (0.5, "q500"), (0.975, "q975")] {
            let theirs = cell(&row, column);
            let rank_error = 3.0 * (share * (1.0 - share) * (1.0 / 1000.0 + 1.0 / f64::from(DRAWS))).sqrt();
            let (low, high) = (ours(share - rank_error), ours(share + rank_error));
            assert!(
                low <= theirs && theirs <= high,
                "{row:?}: {column} is not within {low} to {high}"
            );
            compared += 1;
            // Where the range is narrow, draws fix the value well.
            if high / low < 1.5 {
                self::close(&format!("{row:?} {column}"), ours(share), theirs, 0.15);
                close += 1;
            }
        }
    }
    assert_eq!(compared, 60);
    assert!(close >= 20, "{close}");
}
