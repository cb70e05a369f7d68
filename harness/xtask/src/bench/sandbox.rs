//! The group `sandbox`: what trials in containers cost over the daemon's own cost.
//!
//! Owns: its workloads and figures. Must not: leave containers behind.

use anyhow::{Result, bail};
use serde_json::Value;

use super::Bench;
use super::calls;
use super::floor::{self, Between};
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
const PROBES: usize = 48;
const QUICK_PROBES: usize = 16;
/// Sandboxes at once where attempts wait for theirs.
const WAITING: usize = 4;
/// Nobody knows beforehand which number of containers at once suits a machine best.
const AT_ONCE: [usize; 5] = [1, 2, 4, 8, 16];

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

/// Our rate over that of raw calls, each with as many containers at once as suits it best. Bare containers come before
/// and after ours, so that a busy minute hits both.
fn trial_rate(bench: &mut Bench) -> Result<()> {
    let (trials, rounds) = if bench.quick {
        (QUICK_TRIALS, 1)
    } else {
        (TRIALS, ROUNDS)
    };
    let best = best_at_once(bench)?;
    let mut measured = Vec::new();
    for round in 0..rounds {
        let before = floor::rate(Between::Start, trials / 2, best.raw, IMAGE)?;
        let ours = our_rate(bench, &format!("rate-{round}"), trials, best.ours)?;
        let after = floor::rate(Between::Start, trials / 2, best.raw, IMAGE)?;
        let bare = 2.0 / (1.0 / before + 1.0 / after);
        let with_execs = floor::rate(Between::StartAndExecs, trials / 2, best.raw, IMAGE)?;
        eprintln!(
            "trials a second: {ours:.2} ({} at once); raw Engine API ({} at once): containers alone {bare:.2}, with execs {with_execs:.2}",
            best.ours, best.raw
        );
        measured.push([ours, bare, with_execs]);
    }
    for row in rate_rows(&measured) {
        bench.printer.print(&row);
    }
    Ok(())
}

/// Returns the rows of measured rates: ours, that of bare containers, and that of containers with two execs.
fn rate_rows(measured: &[[f64; 3]]) -> [Row; 3] {
    let of = |value: fn(&[f64; 3]) -> f64| median(measured.iter().map(value));
    let higher = |name, value, unit| Row {
        better: Better::Higher,
        ..Row::lower("sandbox", name, value, unit)
    };
    [
        higher("trials_per_s", of(|[ours, ..]| *ours), "1/s").with_floor(of(|[_, bare, _]| *bare)),
        higher("trial_rate_ratio", of(|[ours, bare, _]| ours / bare), "ratio"),
        higher(
            "trial_rate_ratio_to_execs",
            of(|[ours, _, execs]| ours / execs),
            "ratio",
        ),
    ]
}

/// How many at once suit us and raw calls best.
#[derive(Clone, Copy, Debug)]
struct Best {
    ours: usize,
    raw: usize,
}

fn best_at_once(bench: &Bench) -> Result<Best> {
    let probes = if bench.quick { QUICK_PROBES } else { PROBES };
    let (mut ours, mut raw) = ((0.0, 0), (0.0, 0));
    for at_once in AT_ONCE {
        let rate = floor::rate(Between::Start, probes, at_once, IMAGE)?;
        if rate > raw.0 {
            raw = (rate, at_once);
        }
        let rate = our_rate(bench, &format!("probe-{at_once}"), probes, at_once)?;
        if rate > ours.0 {
            ours = (rate, at_once);
        }
    }
    Ok(Best {
        ours: ours.1,
        raw: raw.1,
    })
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

/// Fails if a container of this group is still there: of the floor, or of a run of ours.
fn check_nothing_is_left(engine: &mut Engine) -> Result<()> {
    let all = engine.call("GET", "/containers/json?all=true", None)?;
    match left_of(&all).as_slice() {
        [] => Ok(()),
        left => bail!(
            "containers are left; remove them with `docker rm -f {}`",
            left.join(" ")
        ),
    }
}

/// Returns the containers in a list of the daemon's that only this group makes.
fn left_of(all: &Value) -> Vec<String> {
    let is_ours = |container: &&Value| {
        let labels = &container["Labels"];
        let of_run = labels["harness.run"].as_str();
        labels["harness.bench"] == "floor" || of_run.is_some_and(|run| run.starts_with("bench-"))
    };
    let found = all.as_array().into_iter().flatten().filter(is_ours);
    found
        .filter_map(|container| container["Id"].as_str())
        .map(|id| id.chars().take(12).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{left_of, rate_rows};
    use serde_json::json;

    #[test]
    fn the_ratio_is_that_to_bare_containers() {
        let rows = rate_rows(&[[4.0, 5.0, 2.0], [4.5, 5.0, 3.0]]);
        let shown = rows.map(|row| format!("{} {:.3} {:?}", row.name, row.value, row.floor));
        assert_eq!(
            shown,
            [
                "trials_per_s 4.250 Some(5.0)",
                "trial_rate_ratio 0.850 None",
                "trial_rate_ratio_to_execs 1.750 None",
            ]
        );
    }

    #[test]
    fn what_is_left_is_found_by_its_labels() {
        let container = |id: &str, name: &str, value: &str| json!({"Id": id, "Labels": {name: value}});
        let all = json!([
            container("floor", "harness.bench", "floor"),
            container("ours", "harness.run", "bench-20260101-000000-abcdef"),
            container("somebodys", "harness.run", "demo-20260101-000000-abcdef"),
            {"Id": "without", "Labels": {}},
        ]);
        assert_eq!(left_of(&all), ["floor", "ours"]);
    }
}
