//! The group `core`: what the instrument itself costs, without sandboxes.
//!
//! Owns: its workloads and figures. Must not: need Docker.

use std::process::Command;

use anyhow::Result;

use super::Bench;
use super::measure::{Usage, measure_warm};
use super::peer::Inspect;
use super::row::{Row, median};
use super::workload::{Shape, Workload, write_tasks};

const RUNS: usize = 5;
/// Short runs vary more and cost less.
const SHORT_RUNS: usize = 11;

const ANSWER_TASK: &str = "\
limits: {turns: 1}
score:
  answer: {match: includes}
";
const ANSWER_MODEL: &str = "\
harness: 1
usage: {input: 100, output: 20}
scripts:
  - then: {text: The answer is 42.}
";
const NOOP_TASK: &str = "\
tools: {canned: replies.yaml}
limits: {turns: 10000, working: 2h, wall: 2h}
score:
  answer: {match: exact}
";

/// Returns a model that calls a tool in every turn but the last.
fn looping_model(turns: usize, delay: &str) -> String {
    let calls = turns - 1;
    format!(
        "\
harness: 1
usage: {{input: 100, output: 20}}
delay: {delay}
scripts:
  - turns:
      - {{tools: [{{name: noop, arguments: {{text: step}}}}], repeat: {calls}}}
      - {{tools: [{{name: submit, arguments: {{answer: \"42\"}}}}]}}
"
    )
}

/// Measures the group.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let peer = Inspect::provide(bench)?;
    let start = cold_start(bench, peer.as_ref())?;
    check_files(bench)?;
    scripted(bench, peer.as_ref())?;
    delayed(bench, peer.as_ref(), start)?;
    growth(bench)?;
    long_transcript(bench)
}

/// Measures a start that does nothing, and returns its processor time.
fn cold_start(bench: &mut Bench, peer: Option<&Inspect>) -> Result<f64> {
    let outputs = bench.scratch.clone();
    let ours = measure_warm(4 * SHORT_RUNS, &outputs, || {
        let mut command = Command::new(&bench.harness);
        command.arg("--version");
        Ok(command)
    })?;
    let floor = measure_warm(4 * SHORT_RUNS, &outputs, || Ok(Command::new("true")))?;
    let peer = peer.map(|peer| peer.start(&outputs)).transpose()?;
    let row = Row::lower("core", "cold_start_ms", 1e3 * wall(&ours), "ms")
        .with_floor(1e3 * wall(&floor))
        .with_peer(peer.map(|usage| Inspect::named(1e3 * usage.wall)));
    bench.printer.print(&row);
    Ok(median(ours.iter().map(|usage| usage.cpu)))
}

fn check_files(bench: &mut Bench) -> Result<()> {
    let folder = bench.scratch.join("check");
    write_tasks(&folder, 1000)?;
    let runs = measure_warm(RUNS, &bench.scratch, || {
        let mut command = Command::new(&bench.harness);
        command.arg("check").arg(&folder);
        Ok(command)
    })?;
    bench
        .printer
        .print(&Row::lower("core", "check_1000_files_s", wall(&runs), "s"));
    Ok(())
}

fn scripted(bench: &mut Bench, peer: Option<&Inspect>) -> Result<()> {
    let runs = bench.several(RUNS, "scripted", answers(2000))?;
    let peer = peer.map(|peer| peer.work("answer", 2000, &[], &bench.scratch));
    let peer = peer.transpose()?;
    let time = Row::lower("core", "scripted_2000_s", wall(&runs), "s");
    let memory = Row::lower("core", "scripted_2000_rss_mb", rss(&runs), "MB");
    let named = |value: Option<f64>| value.map(Inspect::named);
    bench
        .printer
        .print(&time.with_peer(named(peer.map(|usage| usage.wall))));
    bench
        .printer
        .print(&memory.with_peer(named(peer.map(|usage| usage.rss_mb))));
    Ok(())
}

fn answers(trials: usize) -> Shape<'static> {
    Shape {
        trials,
        scaffold: "single",
        at_once: 64,
        task: ANSWER_TASK,
        model: ANSWER_MODEL,
    }
}

/// 1,000 trials at once, 5 turns each, half a second at the model for each turn. The processor time of all but the
/// start of the program is laid on the turns, so it counts planning, scoring and the report too.
fn delayed(bench: &mut Bench, peer: Option<&Inspect>, start: f64) -> Result<()> {
    let model = looping_model(5, "500ms");
    let shape = Shape {
        trials: 1000,
        scaffold: "react",
        at_once: 1000,
        task: NOOP_TASK,
        model: &model,
    };
    let runs = bench.several(RUNS, "delayed", shape)?;
    let peer = peer.map(|peer| peer.work("delayed", 1000, &["5", "0.5"], &bench.scratch));
    let peer = peer.transpose()?;
    let time = Row::lower("core", "delayed_1000x5_s", wall(&runs), "s").with_floor(2.5);
    let memory = Row::lower("core", "delayed_1000x5_rss_mb", rss(&runs), "MB");
    let cpu = (median(runs.iter().map(|usage| usage.cpu)) - start) / 5000.0;
    let named = |value: Option<f64>| value.map(Inspect::named);
    bench
        .printer
        .print(&time.with_peer(named(peer.map(|usage| usage.wall))));
    bench
        .printer
        .print(&memory.with_peer(named(peer.map(|usage| usage.rss_mb))));
    bench
        .printer
        .print(&Row::lower("core", "turn_cpu_us", 1e6 * cpu, "us"));
    Ok(())
}

/// Processor time per trial in a large run over that in a small one. What a run with a single trial costs is taken
/// off both, since otherwise the share of the start in the small run would hide a growth.
fn growth(bench: &mut Bench) -> Result<()> {
    let one = bench.several(SHORT_RUNS, "growth-1", answers(1))?;
    let small = bench.several(SHORT_RUNS, "growth-100", answers(100))?;
    let large = bench.several(3, "growth-20000", answers(20_000))?;
    let per_trial = |runs: &[Usage], trials: f64, of: fn(&Usage) -> f64| {
        (median(runs.iter().map(of)) - median(one.iter().map(of))) / (trials - 1.0)
    };
    let ratio = |of: fn(&Usage) -> f64| per_trial(&large, 20_000.0, of) / per_trial(&small, 100.0, of);
    let cpu = Row::lower("core", "trial_cost_growth", ratio(|usage| usage.cpu), "ratio");
    let wall = Row::lower("core", "trial_wall_growth", ratio(|usage| usage.wall), "ratio");
    bench.printer.print(&cpu.with_floor(1.0));
    bench.printer.print(&wall.with_floor(1.0));
    Ok(())
}

/// Peak memory of a trial of 10,000 turns, less that of one of 10 turns.
fn long_transcript(bench: &mut Bench) -> Result<()> {
    let peak = |name: &str, turns: usize| -> Result<f64> {
        let model = looping_model(turns, "0s");
        let shape = Shape {
            trials: 1,
            scaffold: "react",
            at_once: 1,
            task: NOOP_TASK,
            model: &model,
        };
        Ok(rss(&bench.several(3, name, shape)?))
    };
    let grown = peak("turns-10000", 10_000)? - peak("turns-10", 10)?;
    bench
        .printer
        .print(&Row::lower("core", "long_transcript_rss_mb", grown, "MB"));
    Ok(())
}

impl Bench {
    /// Measures several runs of a workload, each with results of its own and checked to be whole.
    pub(super) fn several(&self, runs: usize, name: &str, shape: Shape<'_>) -> Result<Vec<Usage>> {
        let folder = self.scratch.join(name);
        let mut workload = Workload::write(&folder, shape)?;
        (0..runs).map(|_| workload.run(&self.harness)).collect()
    }
}

fn wall(runs: &[Usage]) -> f64 {
    median(runs.iter().map(|usage| usage.wall))
}

fn rss(runs: &[Usage]) -> f64 {
    median(runs.iter().map(|usage| usage.rss_mb))
}
