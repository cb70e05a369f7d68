//! The group `sandbox`: what trials in containers cost over the daemon's own cost.
//!
//! Owns: its workloads and figures. Must not: leave containers behind.

use anyhow::{Result, bail};

use super::Bench;
use super::calls;
use super::floor;
use super::measure::Usage;
use super::row::{Better, Row, median};
use super::waits;
use super::workload::{Shape, Workload};
use crate::engine::Engine;
use crate::images;

const IMAGE: &str = "harness/busybox:1";
/// Trials of one measurement of the rate: enough to take about a minute with the daemon's share.
const TRIALS: usize = 200;
const QUICK_TRIALS: usize = 48;
const ROUNDS: usize = 2;
/// Trials of a measurement that only looks for the best number at once.
const PROBES: usize = 16;
/// Sandboxes at once where attempts wait for theirs.
const WAITING: usize = 4;
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

/// Returns a model that runs one command so many times and submits, and thinks so long each time.
fn shell_model(command: &str, times: usize, delay: &str) -> String {
    format!(
        "\
harness: 1
delay: {delay}
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
    calls::run(bench)?;
    sandbox_wait(bench)?;
    trial_rate(bench)?;
    big_output(bench)?;
    check_nothing_is_left(&mut engine)
}

/// Our rate over that of raw calls, each with as many containers at once as suits it best. Raw calls come before and
/// after ours, so that a busy minute hits both.
fn trial_rate(bench: &mut Bench) -> Result<()> {
    let (trials, rounds) = if bench.quick {
        (QUICK_TRIALS, 1)
    } else {
        (TRIALS, ROUNDS)
    };
    let (best_ours, best_raw) = best_at_once(bench)?;
    let mut measured = Vec::new();
    for round in 0..rounds {
        let before = floor::rate(trials / 2, best_raw, IMAGE)?;
        let ours = our_rate(bench, &format!("rate-{round}"), trials, best_ours)?;
        let after = floor::rate(trials / 2, best_raw, IMAGE)?;
        let raw = 2.0 / (1.0 / before + 1.0 / after);
        eprintln!(
            "trials a second: {ours:.2} ({best_ours} at once), raw Engine API {raw:.2} ({best_raw} at once)"
        );
        measured.push((ours, raw));
    }
    let of = |value: fn(&(f64, f64)) -> f64| median(measured.iter().map(value));
    let higher = |name, value, unit| Row {
        better: Better::Higher,
        ..Row::lower("sandbox", name, value, unit)
    };
    let rate = higher("trials_per_s", of(|(ours, _)| *ours), "1/s");
    bench.printer.print(&rate.with_floor(of(|(_, raw)| *raw)));
    let ratio = higher("trial_rate_ratio", of(|(ours, raw)| ours / raw), "ratio");
    bench.printer.print(&ratio);
    Ok(())
}

/// Returns how many at once suit us and raw calls best.
fn best_at_once(bench: &Bench) -> Result<(usize, usize)> {
    let (mut ours, mut raw) = ((0.0, 0), (0.0, 0));
    for at_once in AT_ONCE {
        let rate = floor::rate(PROBES, at_once, IMAGE)?;
        if rate > raw.0 {
            raw = (rate, at_once);
        }
        let rate = our_rate(bench, &format!("probe-{at_once}"), PROBES, at_once)?;
        if rate > ours.0 {
            ours = (rate, at_once);
        }
    }
    Ok((ours.1, raw.1))
}

fn our_rate(bench: &Bench, name: &str, trials: usize, at_once: usize) -> Result<f64> {
    let shape = Shape {
        trials,
        scaffold: "react",
        at_once,
        task: TRIAL_TASK,
        model: &shell_model("echo step", 1, "0s"),
    };
    let used = bench.several(1, name, shape)?;
    Ok(trials as f64 / median(used.iter().map(|usage| usage.wall)))
}

/// How long attempts wait for their sandboxes while the models of those before them think.
fn sandbox_wait(bench: &mut Bench) -> Result<()> {
    let shape = Shape {
        trials: if bench.quick { 2 * WAITING } else { 6 * WAITING },
        scaffold: "react",
        at_once: WAITING,
        task: TRIAL_TASK,
        model: &shell_model("echo step", 2, "1s"),
    };
    let mut workload = Workload::write(&bench.scratch.join("waits"), shape)?;
    workload.run(&bench.harness)?;
    let waits = waits::of_results(&workload.results())?;
    let wait = Row::lower("sandbox", "sandbox_wait_ms", 1e3 * median(waits), "ms");
    bench.printer.print(&wait);
    Ok(())
}

/// A trial whose tools print 1 GB, beside one whose tools print nearly nothing.
fn big_output(bench: &mut Bench) -> Result<()> {
    let used = |name: &str, bytes: usize| -> Result<Vec<Usage>> {
        let command = format!("head -c {bytes} /dev/zero | tr '\\\\0' x");
        let model = shell_model(&command, 4, "0s");
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
