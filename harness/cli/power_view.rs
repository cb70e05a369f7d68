//! Shows what a plan can find: tables, and under them what was assumed.

use std::fmt::Write as _;

use harness_core::stats::power::{
    Answer, Bounds, Chances, FixedNeed, GateChance, GateNeed, MOST_GATE_UNITS, Question, Reach, RuleOutNeed,
    Shows, TasksNeeded, Written,
};
use harness_core::stats::sequential::MOST_FIXED_SUCCESSES;

use crate::plan_view::aligned;

/// What the independent groups of samples are.
#[derive(Clone, Copy)]
pub(crate) enum Clusters {
    /// Families of tasks.
    Families,
    /// Tasks, of which nothing but their number is known.
    Tasks,
}

impl Clusters {
    fn name(self) -> &'static str {
        match self {
            Self::Families => "families",
            Self::Tasks => "tasks",
        }
    }

    fn one(self) -> &'static str {
        match self {
            Self::Families => "family",
            Self::Tasks => "task",
        }
    }
}

/// Returns an answer as text.
pub(crate) fn describe(answer: &Answer, clusters: Clusters) -> String {
    let question = &answer.question;
    let mut parts = Vec::new();
    if let (Some(needed), Some(difference)) = (&answer.detect, question.detect) {
        parts.push(detect(needed, difference, question, clusters));
    }
    if let (Some(needed), Some(rate)) = (&answer.rule_out, question.rule_out) {
        parts.push(rule_out(needed, rate.get(), question));
    }
    if let (Some(needed), Some(threshold)) = (&answer.gate, question.gate) {
        parts.push(gate(needed, threshold.get(), question));
    }
    if !answer.written.is_empty() {
        parts.push(as_written(answer, clusters));
    }
    parts.push(assumptions(answer, clusters));
    parts.join("\n")
}

fn detect(needed: &[TasksNeeded], difference: f64, question: &Question, clusters: Clusters) -> String {
    let mut text = format!(
        "find a difference of {difference} between two settings over the same samples (alpha {}, power {})\n{}, and in brackets the trials of each setting:\n",
        question.demand.alpha.get(),
        question.demand.power.get(),
        clusters.name()
    );
    let mut rows: Vec<Vec<String>> = vec![vec!["epochs".to_owned()]];
    for need in needed {
        if rows.len() == 1 || rows.last().is_some_and(|row| row[0] != need.epochs.to_string()) {
            rows.push(vec![need.epochs.to_string()]);
        }
        if rows.len() == 2 {
            let plural = if need.samples == 1 { "" } else { "s" };
            rows[0].push(format!("{} sample{plural} a {}", need.samples, clusters.one()));
        }
        let trials = need.tasks * need.samples * u64::from(need.epochs);
        if let Some(row) = rows.last_mut() {
            row.push(format!("{} ({trials})", need.tasks));
        }
    }
    text.push_str(&aligned(&rows));
    text
}

fn rule_out(needed: &[RuleOutNeed], rate: f64, question: &Question) -> String {
    let mut text = format!(
        "rule out a rate of {rate} or more (alpha {}, one-sided)\nindependent trials:\n",
        question.demand.alpha.get()
    );
    let mut rows = vec![["successes", "one look at the end", "looks at any time"].map(str::to_owned)];
    rows.extend(needed.iter().map(|need| {
        [
            need.fixed.successes.to_string(),
            need.fixed.units.to_string(),
            need.any_time.units.to_string(),
        ]
    }));
    text.push_str(&aligned(&rows));
    text
}

fn gate(needed: &[GateNeed], threshold: f64, question: &Question) -> String {
    let mut text = format!(
        "decide a gate at {threshold} (alpha {} for each decision)\nindependent trials with power {}:\n",
        question.demand.alpha.get(),
        question.demand.power.get()
    );
    let header = [
        "true rate",
        "to be shown",
        "looks at any time",
        "one look at the end",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(needed.iter().map(|need| {
        [
            need.rate.to_string(),
            shows(need.shows).to_owned(),
            need.units
                .map_or_else(|| format!("above {MOST_GATE_UNITS}"), |units| units.to_string()),
            need.fixed.map_or_else(
                || format!("above {MOST_FIXED_SUCCESSES}"),
                |fixed| at_end(fixed, need.shows),
            ),
        ]
    }));
    text.push_str(&aligned(&rows));
    text
}

fn at_end(fixed: FixedNeed, shows: Shows) -> String {
    let side = match shows {
        Shows::Below => "at most",
        Shows::Above => "at least",
    };
    let plural = if fixed.successes == 1 {
        "success"
    } else {
        "successes"
    };
    format!("{} ({side} {} {plural})", fixed.units, fixed.successes)
}

fn shows(shows: Shows) -> &'static str {
    match shows {
        Shows::Below => "below",
        Shows::Above => "above",
    }
}

fn as_written(answer: &Answer, clusters: Clusters) -> String {
    let question = &answer.question;
    let mut header = vec![
        "as written",
        clusters.name(),
        "samples",
        "epochs",
        "trials",
        "worth",
    ];
    let wanted = question.detect.unwrap_or_default();
    let epochs = format!("epochs for {wanted}");
    if question.detect.is_some() {
        header.extend(["finds from", &epochs]);
    }
    let mut rows: Vec<Vec<String>> = vec![header.into_iter().map(str::to_owned).collect()];
    rows.extend(answer.written.iter().map(|written| layout_row(written, clusters)));
    let mut text = aligned(&rows);
    let bounds: Vec<(&Written, &Bounds)> = answer
        .written
        .iter()
        .filter_map(|written| Some((written, written.bounds.as_ref()?)))
        .collect();
    if let (false, Some(rate)) = (bounds.is_empty(), question.rule_out) {
        text.push_str("\nif nothing succeeds, the rate is at most\n");
        text.push_str(&bounds_table(&bounds, rate.get()));
    }
    let chances: Vec<(&Written, &Chances)> = answer
        .written
        .iter()
        .filter_map(|written| Some((written, written.gate.as_ref()?)))
        .collect();
    if let (false, Some(threshold)) = (chances.is_empty(), question.gate) {
        let _ = writeln!(
            text,
            "\nhow likely the gate at {} has shown what is so by the end, by true rate",
            threshold.get()
        );
        text.push_str(&chances_table(&chances, threshold.get()));
    }
    text
}

fn layout_row(written: &Written, clusters: Clusters) -> Vec<String> {
    let layout = &written.planned.layout;
    let mut row = vec![
        written.planned.name.clone(),
        layout.tasks().to_string(),
        layout.samples().to_string(),
        layout.epochs().to_string(),
        layout.trials().to_string(),
        written.effective.units.to_string(),
    ];
    match written.detect {
        None => {}
        Some(Reach::TooFewTasks { needed }) => {
            row.push("nothing".to_owned());
            row.push(format!("none: it takes {needed} {}", clusters.name()));
        }
        Some(Reach::From { smallest, epochs }) => {
            row.push(up(smallest.difference));
            row.push(epochs.map_or_else(
                || format!("none: it takes more {}", clusters.name()),
                |epochs| epochs.to_string(),
            ));
        }
    }
    row
}

fn bounds_table(bounds: &[(&Written, &Bounds)], rate: f64) -> String {
    let header = ["as written", "about", "one look at the end", "looks at any time"];
    let mut rows = vec![
        header
            .map(str::to_owned)
            .into_iter()
            .chain([format!("rules out {rate}")])
            .collect::<Vec<String>>(),
    ];
    for (written, bounds) in bounds {
        for (about, fixed, any_time) in [
            (THESE, bounds.these_fixed.upper, bounds.these_any_time.upper),
            (LIKE, bounds.like_fixed.upper, bounds.like_any_time.upper),
        ] {
            let rules_out = if any_time <= rate {
                "yes"
            } else if fixed <= rate {
                "with one look"
            } else {
                "no"
            };
            let (name, about) = (written.planned.name.clone(), about.to_owned());
            rows.push(vec![name, about, up(fixed), up(any_time), rules_out.to_owned()]);
        }
    }
    aligned(&rows)
}

const THESE: &str = "these tasks";
const LIKE: &str = "tasks like these";

fn chances_table(chances: &[(&Written, &Chances)], threshold: f64) -> String {
    let followed = chances.iter().flat_map(|(_, of)| [&of.these, &of.like]);
    let header = followed
        .flatten()
        .next()
        .map(|chances| chances_header(chances, threshold));
    let mut rows: Vec<Vec<String>> = header.into_iter().collect();
    for (written, chances) in chances {
        for (about, chances) in [(THESE, &chances.these), (LIKE, &chances.like)] {
            let name = written.planned.name.clone();
            let mut row = vec![name, about.to_owned()];
            match chances {
                None => row.push(format!("more than {MOST_GATE_UNITS} trials are not followed")),
                Some(chances) => {
                    row.extend(chances.iter().map(|chance| {
                        let right = if chance.rate < threshold {
                            chance.below
                        } else {
                            chance.above
                        };
                        percent(right)
                    }));
                }
            }
            rows.push(row);
        }
    }
    aligned(&rows)
}

fn chances_header(chances: &[GateChance], threshold: f64) -> Vec<String> {
    let side = |rate: f64| if rate < threshold { "below" } else { "above" };
    let rates = chances
        .iter()
        .map(|chance| format!("{} {}", chance.rate, side(chance.rate)));
    ["as written", "about"]
        .map(str::to_owned)
        .into_iter()
        .chain(rates)
        .collect()
}

fn assumptions(answer: &Answer, clusters: Clusters) -> String {
    let question = &answer.question;
    let assumed = &question.assumed;
    let (one, many) = (clusters.one(), clusters.name());
    let mut text = "assumed\n".to_owned();
    if question.detect.is_some() {
        let _ = writeln!(
            text,
            "  true scores differ between samples with variance {} (--between), a sample's score over its epochs with {} (--within)\n  \
             true scores of two settings correlate by {} (--correlation); {many} are independent; Student's t over {many}",
            rounded(assumed.between),
            rounded(assumed.within),
            rounded(assumed.correlation)
        );
    }
    if question.detect.is_some() || !answer.written.is_empty() {
        let _ = writeln!(
            text,
            "  samples of a {one} correlate by {}, and so do its trials (--icc)",
            rounded(assumed.icc)
        );
    }
    if question.rule_out.is_some() || question.gate.is_some() {
        text.push_str("  trials come in random order, void and unscored ones are replaced\n");
        if !answer.written.is_empty() {
            text.push_str(
                "  about these tasks every trial counts; about tasks like these as many as the trials are worth: trials over the design effect\n",
            );
        }
    }
    if question.gate.is_some() {
        let alpha = question.demand.alpha.get();
        let _ = writeln!(
            text,
            "  one gate; for the i-th checkpoint of a series give --alpha {alpha}/(i(i+1)), for each of d domains --alpha {alpha}/d"
        );
    }
    text
}

/// Rounds to four digits behind the point.
fn rounded(value: f64) -> String {
    ((value * 1e4).round() / 1e4).to_string()
}

/// Rounds up to three digits: a bound must not become smaller by printing it.
fn up(value: f64) -> String {
    if value <= 0.0 {
        return "0".to_owned();
    }
    let scale = 10_f64.powf(2.0 - value.log10().floor());
    // What is a round number but for the last bits stays it.
    ((value * scale * (1.0 - 1e-12)).ceil() / scale).to_string()
}

/// Rounds to whole percent; what is not certain is not printed as certain.
fn percent(chance: f64) -> String {
    let percent = chance * 100.0;
    if percent > 99.5 {
        ">99%".to_owned()
    } else if percent < 0.5 {
        "<1%".to_owned()
    } else {
        format!("{percent:.0}%")
    }
}
