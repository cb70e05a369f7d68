//! Horizons as tables for terminals.
//!
//! Owns: that a horizon stands beside its interval, its runs, and what the fit assumed. Must not: use colour as a sign.

use std::fmt::Write as _;

use harness_core::stats::horizon::{
    BUCKETS, BucketEstimate, Cheats, HorizonEstimate, MeanEstimate, ModelEstimate, Reading, Trend, figures,
};

use harness_core::stats::Excluded;
use harness_core::text::printable;

use super::{HorizonReport, Treatment, TrendReport, percent};
use crate::show;
use crate::table::{Align, Column, lines};

/// Below this many families percentile intervals are too narrow to be taken at their word.
const FEW_FAMILIES: u64 = 20;

/// Writes the report as tables: horizons, success by length, the trend, and what must be said beside them.
pub fn horizon_table(report: &HorizonReport) -> String {
    let mut out = head(report);
    let rows: Vec<(&Treatment, &ModelEstimate)> = report
        .treatments
        .iter()
        .flat_map(|treatment| treatment.models.iter().map(move |model| (treatment, model)))
        .collect();
    // Both treatments of a model stand side by side.
    let mut rows = rows;
    rows.sort_by(|a, b| a.1.model.cmp(&b.1.model));
    out.push('\n');
    out.push_str(&lines(&horizons(report, &rows), None));
    out.push('\n');
    out.push_str(&lines(&lengths(&rows), None));
    for treatment in &report.treatments {
        if let Some(trend) = &treatment.trend {
            out.push('\n');
            out.push_str(&trend_lines(report, treatment, trend));
        }
    }
    out.push('\n');
    for note in notes(report, &rows) {
        out.push_str(&note);
        out.push('\n');
    }
    out
}

fn head(report: &HorizonReport) -> String {
    let models = report
        .treatments
        .first()
        .map_or(0, |treatment| treatment.models.len());
    let runs = show::grouped(report.runs);
    let source = printable(&report.source).replace('\n', "\\n");
    let (tasks, families, outcome) = (report.tasks, report.families, report.outcome);
    let mut out = format!(
        "{source}: {runs} runs; models: {models}, tasks: {tasks}, families: {families}; outcome: {outcome}\n"
    );
    let (weights, ridge) = (report.weighting.name(), report.ridge.get());
    let _ = writeln!(
        out,
        "fit: logistic curve over log2(minutes), weights {weights}, ridge (lambda) {ridge:e}"
    );
    if report.draws == 0 {
        out.push_str("intervals: none, since no draws were asked for\n");
    } else {
        let (confidence, draws) = (percent(report.confidence), show::grouped(report.draws));
        let seed = report.seed;
        let _ = writeln!(
            out,
            "intervals: {confidence}%, from {draws} draws of families, of tasks in them, and of runs (seed {seed})"
        );
    }
    out
}

fn horizons(report: &HorizonReport, rows: &[(&Treatment, &ModelEstimate)]) -> Vec<Column> {
    let text = |title: String, of: &dyn Fn(&ModelEstimate) -> String| Column {
        title: title.into(),
        align: Align::Left,
        cells: rows.iter().map(|(_, model)| of(model)).collect(),
    };
    let number = |title: &'static str, of: &dyn Fn(&ModelEstimate) -> String| Column {
        title: title.into(),
        align: Align::Right,
        cells: rows.iter().map(|(_, model)| of(model)).collect(),
    };
    let mut columns = names(rows);
    columns.push(number("runs", &|model| show::grouped(model.runs)));
    columns.push(number("tasks", &|model| show::grouped(model.tasks)));
    columns.push(number("families", &|model| show::grouped(model.families)));
    columns.push(text("success; weighted [interval]".to_owned(), &|model| {
        rate(model.successes, model.runs, &model.average)
    }));
    for (at, level) in report.levels.iter().enumerate() {
        columns.push(text(
            format!("{}% horizon [interval]", percent(*level)),
            &|model| model.horizons.get(at).map_or(String::new(), horizon),
        ));
    }
    let curve = |of: fn(harness_core::stats::horizon::Curve) -> f64| {
        move |model: &ModelEstimate| {
            model
                .curve
                .map_or("-".to_owned(), |curve| format!("{:.4}", of(curve)))
        }
    };
    columns.push(number("slope", &curve(|curve| curve.slope)));
    columns.push(number("intercept", &curve(|curve| curve.intercept)));
    columns
}

fn names(rows: &[(&Treatment, &ModelEstimate)]) -> Vec<Column> {
    let text = |title: &'static str, cells: Vec<String>| Column {
        title: title.into(),
        align: Align::Left,
        cells,
    };
    let mut columns = vec![text(
        "model",
        rows.iter().map(|(_, model)| show::cell(&model.model)).collect(),
    )];
    if rows.iter().any(|(treatment, _)| treatment.cheats.is_some()) {
        let names = rows.iter().map(|(treatment, _)| treatment.name().to_owned());
        columns.push(text("cheats", names.collect()));
    }
    columns
}

/// Returns `12/40; 30.1% [10.2%, 60.3%]`.
fn rate(successes: f64, runs: u64, mean: &MeanEstimate) -> String {
    let successes = if successes.fract() == 0.0 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of runs"
        )]
        show::grouped(successes as u64)
    } else {
        format!("{successes:.1}")
    };
    let interval = mean.interval.map_or(String::new(), |interval| {
        format!(
            " [{}, {}]",
            show::percent(interval.lower),
            show::percent(interval.upper)
        )
    });
    let runs = show::grouped(runs);
    format!("{successes}/{runs}; {}{interval}", show::percent(mean.value))
}

fn horizon(horizon: &HorizonEstimate) -> String {
    let interval = horizon.interval.map_or(String::new(), |interval| {
        format!(" [{}, {}]", end(interval.lower), end(interval.upper))
    });
    format!("{}{interval}", horizon.point)
}

/// Returns the end of an interval; where it lies beyond all tasks, only that it does.
fn end(reading: Reading) -> String {
    match reading {
        Reading::Within { minutes } => figures(minutes),
        Reading::ShorterThanShortest { shortest } => format!("<{}", figures(shortest)),
        Reading::LongerThanLongest { longest } => format!(">{}", figures(longest)),
        Reading::Between { .. } | Reading::NotFalling | Reading::Unknown => "?".to_owned(),
    }
}

/// Success by length, without buckets in which nobody has a run.
fn lengths(rows: &[(&Treatment, &ModelEstimate)]) -> Vec<Column> {
    let mut columns = names(rows);
    for bucket in BUCKETS {
        let found = |model: &ModelEstimate| -> Option<BucketEstimate> {
            model.buckets.iter().find(|one| one.bucket == bucket).copied()
        };
        if rows.iter().any(|(_, model)| found(model).is_some()) {
            let cell =
                |model| found(model).map_or("-".to_owned(), |one| rate(one.successes, one.runs, &one.mean));
            columns.push(Column {
                title: format!("{}-{} min", figures(bucket.from), figures(bucket.to)).into(),
                align: Align::Left,
                cells: rows.iter().map(|(_, model)| cell(model)).collect(),
            });
        }
    }
    columns
}

fn trend_lines(report: &HorizonReport, treatment: &Treatment, of: &TrendReport) -> String {
    let cheats = match treatment.name() {
        "" => String::new(),
        name => format!(" ({name})"),
    };
    let mut out = format!(
        "trend of the best 50% horizon at release, {}{cheats}\n",
        of.window
    );
    match &of.trend {
        Err(why) => {
            let _ = writeln!(out, "  none: {why}");
        }
        Ok(trend) => {
            for release in &trend.models {
                let name = show::cell(&release.model);
                let _ = writeln!(out, "  {}  {name}: {} min", release.day, figures(release.minutes));
            }
            let _ = writeln!(out, "  doubling time: {}", doubling(report, trend));
        }
    }
    for (model, why) in &of.left_out {
        let _ = writeln!(out, "  without {}: {why}", show::cell(model));
    }
    out
}

fn doubling(report: &HorizonReport, trend: &Trend) -> String {
    let models = trend.models.len();
    let days = |days: Option<f64>| days.map(|days| format!("{days:.0}"));
    let point = days(trend.doubling_days())
        .map_or("none, it does not grow".to_owned(), |days| format!("{days} days"));
    let Some((lower, upper)) = trend.doubling_interval() else {
        return format!("{point} ({models} models)");
    };
    let lower = days(lower).unwrap_or_else(|| "no growth".to_owned());
    let upper = days(upper).unwrap_or_else(|| "no growth".to_owned());
    let draws = format!(
        "{} of {} draws",
        show::grouped(trend.draws),
        show::grouped(report.draws)
    );
    format!("{point} [{lower}, {upper}] ({models} models, {draws})")
}

fn notes(report: &HorizonReport, rows: &[(&Treatment, &ModelEstimate)]) -> Vec<String> {
    let mut notes = vec![
        "success: sum of outcomes / runs; then the weighted mean, which the fit sees".to_owned(),
        "horizon: the length at which the curve passes the level, in minutes that people need; no number where no task lies".to_owned(),
    ];
    match report.excluded.as_slice() {
        [] => notes.push("excluded: nothing".to_owned()),
        excluded => {
            let part = |one: &Excluded| format!("{} ({})", show::cell(&one.why), show::grouped(one.units));
            let parts = excluded.iter().map(part);
            notes.push(format!(
                "excluded, in no number: {}",
                parts.collect::<Vec<_>>().join(", ")
            ));
        }
    }
    if report
        .treatments
        .iter()
        .all(|treatment| treatment.cheats.is_none())
    {
        notes.push("no success is marked as a cheat".to_owned());
    }
    for (treatment, model) in rows {
        if treatment.cheats != Some(Cheats::Count) {
            notes.extend(draw_note(model));
        }
    }
    let drawn = rows.iter().filter(|(_, model)| model.curve.is_some());
    let fewest = drawn
        .map(|(_, model)| model.families)
        .min()
        .unwrap_or(FEW_FAMILIES);
    if report.draws > 0 && fewest < FEW_FAMILIES {
        notes.push(format!(
            "few families (down to {fewest}): intervals from draws are too narrow below about {FEW_FAMILIES}"
        ));
    }
    notes
}

/// Says which draws of a model have no horizon.
fn draw_note(model: &ModelEstimate) -> Option<String> {
    let draws = model.draws;
    model.curve?;
    let parts: Vec<String> = [
        (draws.all_failed, "failures only", "count as a horizon of 0"),
        (
            draws.all_succeeded,
            "successes only",
            "count as an endless horizon",
        ),
        (draws.not_falling, "no fall with length", "bound nothing"),
        (draws.separated, "successes and failures apart", "bound a range"),
        (draws.absent, "no run of it", "are left out"),
        (draws.no_convergence, "no fit found", "bound nothing"),
    ]
    .into_iter()
    .filter(|(count, ..)| *count > 0)
    .map(|(count, what, then)| format!("{what} in {} ({then})", show::grouped(count)))
    .collect();
    let name = show::cell(&model.model);
    let of = show::grouped(draws.draws);
    (!parts.is_empty()).then(|| format!("{name}, {of} draws: {}", parts.join(", ")))
}
