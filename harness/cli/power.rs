//! `harness power`: what a suite can show, and how many samples and epochs it takes to show more.

use std::collections::BTreeMap;

use harness_core::plan::tasks_by_phase;
use harness_core::stats::power::{Assumed, Demand, Layout, Planned, Question, answer};
use harness_core::stats::{Level, StatsError};

use crate::args::PowerArgs;
use crate::exit::{Exit, Failure};
use crate::load::load_tasks;
use crate::power_view::{Clusters, describe};

/// `harness power`
pub(crate) fn power(args: &PowerArgs) -> Result<Exit, Failure> {
    let layouts = layouts(args)?;
    let question = question(args).map_err(|error| unanswered(&error))?;
    let answer = answer(&question, &layouts).map_err(|error| unanswered(&error))?;
    if args.json {
        let text = serde_json::to_string(&answer)
            .map_err(|error| Failure::ours("failed to write the answer as JSON", error))?;
        crate::print(&format!("{text}\n"))?;
    } else {
        let clusters = if args.what.is_empty() {
            Clusters::Tasks
        } else {
            Clusters::Families
        };
        crate::print(&describe(&answer, clusters))?;
    }
    Ok(Exit::Clear)
}

fn unanswered(error: &StatsError) -> Failure {
    Failure::input(format!("no plan can be made: {error}"))
}

fn question(args: &PowerArgs) -> Result<Question, StatsError> {
    let usual = Assumed::default();
    let all = args.detect.is_none() && args.rule_out.is_none() && args.gate.is_none();
    let or = |given: Option<f64>, usual: f64| given.or(all.then_some(usual));
    let level =
        |what: &'static str, value: Option<f64>| value.map(|value| Level::new(what, value)).transpose();
    Ok(Question {
        detect: or(args.detect, 0.1),
        rule_out: level("--rule-out", or(args.rule_out, 0.05))?,
        gate: level("--gate", or(args.gate, 0.1))?,
        rates: args.rates.clone(),
        demand: Demand {
            alpha: Level::new("--alpha", args.alpha)?,
            power: Level::new("--power", args.power)?,
        },
        assumed: Assumed {
            between: args.between.unwrap_or(usual.between),
            within: args.within.unwrap_or(usual.within),
            correlation: args.correlation.unwrap_or(usual.correlation),
            icc: args.icc.unwrap_or(usual.icc),
        },
    })
}

/// Returns the layouts to judge: the phases of a suite, or the one given by hand.
fn layouts(args: &PowerArgs) -> Result<Vec<Planned>, Failure> {
    let planned = |name: String, layout: Result<Layout, StatsError>| -> Result<Planned, Failure> {
        let layout = layout.map_err(|error| unanswered(&error))?;
        Ok(Planned { name, layout })
    };
    if let Some(tasks) = args.tasks {
        let layout = Layout::even(tasks, args.samples.unwrap_or(1), args.epochs.unwrap_or(1));
        return Ok(vec![planned("by hand".to_owned(), layout)?]);
    }
    if args.what.is_empty() {
        return Ok(Vec::new());
    }
    let (suite, tasks) = load_tasks(&args.what)?;
    let epochs = args.epochs.unwrap_or(suite.epochs);
    let mut layouts = Vec::new();
    for (phase, tasks) in tasks_by_phase(&suite, &tasks) {
        // Tasks of a family are alike, so families are the clusters.
        let mut families: BTreeMap<&str, u64> = BTreeMap::new();
        for task in &tasks {
            *families.entry(&task.family).or_default() += task.samples.len() as u64;
        }
        if families.is_empty() {
            crate::warn(&format!("note: no task belongs to phase `{phase}`\n"));
            continue;
        }
        let samples: Vec<u64> = families.into_values().collect();
        layouts.push(planned(phase.to_string(), Layout::new(&samples, epochs))?);
    }
    Ok(layouts)
}
