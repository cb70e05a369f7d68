//! The group `sandbox`: what trials in containers cost over the daemon's own cost.
//!
//! Owns: its workloads and figures. Must not: leave containers behind.

use anyhow::{Result, bail};

use super::Bench;
use super::floor;
use super::measure::Usage;
use super::row::{Better, Row, median};
use super::workload::Shape;
use crate::engine::Engine;
use crate::images;

const IMAGE: &str = "harness/busybox:1";
const ROUNDS: usize = 3;
const TRIALS: usize = 48;
/// Nobody knows beforehand which number of containers at once suits a machine best.
const AT_ONCE: [usize; 3] = [2, 4, 8];

const TRIAL_TASK: &str = "\
sandbox:
  image: harness/busybox:1
  network: none
  resources: {cpus: 1, memory: 128MiB, pids: 64}
tools: [bash, submit]
limits: {turns: 10, working: 10m, wall: 20m, tool_time: 2m, tool_output: 16KiB}
score:
  command: {run: \"test -d /tmp\", where: same, read: exit}
";

/// Returns a model that runs one command so many times and submits.
fn shell_model(command: &str, times: usize) -> String {
    format!(
        "\
harness: 1
scripts:
  - turns:
      - {{tools: [{{name: bash, arguments: {{command: \"{command}\"}}}}], repeat: {times}}}
      - {{tools: [{{name: submit, arguments: {{answer: done}}}}]}}
"
    )
}

/// Measures the group.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let mut engine = Engine::connect()?;
    images::provide(&bench.harness, &mut engine)?;
    trial_rate(bench)?;
    big_output(bench)?;
    check_nothing_is_left(&mut engine)
}

/// Our best rate over the best of raw calls, round by round so that a busy minute hits both.
fn trial_rate(bench: &mut Bench) -> Result<()> {
    let model = shell_model("echo step", 1);
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let (mut ours, mut raw) = (0.0_f64, 0.0_f64);
        for at_once in AT_ONCE {
            let shape = Shape {
                trials: TRIALS,
                scaffold: "react",
                at_once,
                task: TRIAL_TASK,
                model: &model,
            };
            raw = raw.max(floor::rate(TRIALS, at_once, IMAGE)?);
            let used = bench.several(1, &format!("rate-{round}-{at_once}"), shape)?;
            ours = ours.max(TRIALS as f64 / median(used.iter().map(|usage| usage.wall)));
        }
        eprintln!("trials a second: {ours:.2}, raw Engine API {raw:.2}");
        rounds.push((ours, raw));
    }
    let rate = Row {
        better: Better::Higher,
        ..Row::lower(
            "sandbox",
            "trials_per_s",
            median(rounds.iter().map(|(ours, _)| *ours)),
            "1/s",
        )
    };
    let floor = median(rounds.iter().map(|(_, raw)| *raw));
    let ratio = Row {
        better: Better::Higher,
        ..Row::lower(
            "sandbox",
            "trial_rate_ratio",
            median(rounds.iter().map(|(ours, raw)| ours / raw)),
            "ratio",
        )
    };
    bench.printer.print(&rate.with_floor(floor));
    bench.printer.print(&ratio);
    Ok(())
}

/// A trial whose tools print 1 GB, beside one whose tools print nearly nothing.
fn big_output(bench: &mut Bench) -> Result<()> {
    let used = |name: &str, bytes: usize| -> Result<Vec<Usage>> {
        let command = format!("head -c {bytes} /dev/zero | tr '\\\\0' x");
        let model = shell_model(&command, 4);
        let shape = Shape {
            trials: 1,
            scaffold: "react",
            at_once: 1,
            task: TRIAL_TASK,
            model: &model,
        };
        bench.several(3, name, shape)
    };
    let (small, big) = (used("output-small", 1000)?, used("output-big", 250_000_000)?);
    let rss = |runs: &[Usage]| median(runs.iter().map(|usage| usage.rss_mb));
    let seconds = median(big.iter().map(|usage| usage.wall));
    bench.printer.print(&Row::lower(
        "sandbox",
        "big_output_rss_mb",
        rss(&big) - rss(&small),
        "MB",
    ));
    bench
        .printer
        .print(&Row::lower("sandbox", "big_output_s", seconds, "s"));
    Ok(())
}

/// Fails if a container of the floor is still there.
fn check_nothing_is_left(engine: &mut Engine) -> Result<()> {
    let filters = "%7B%22label%22%3A%5B%22harness.bench%3Dfloor%22%5D%7D";
    let left = engine.call(
        "GET",
        &format!("/containers/json?all=true&filters={filters}"),
        None,
    )?;
    match left.as_array().map(Vec::len) {
        Some(0) => Ok(()),
        _ => bail!("containers with the label harness.bench=floor are left; remove them with `docker rm -f`"),
    }
}
