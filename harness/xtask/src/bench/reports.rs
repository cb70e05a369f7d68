//! The group `reports`: what the statistics cost that reports and gates compute.
//!
//! Owns: its workload and figures. Must not: need Docker.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use serde_json::Value;

use super::Bench;
use super::calls::medians;
use super::measure::{measure, measure_warm};
use super::peer::python_with;
use super::row::{Row, median};
use crate::workshop;

const RUNS: usize = 5;
const DRAWS: u64 = 1000;
const SCIKIT_LEARN: &str = "1.9.1";

/// Measures the group.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    horizon(bench)?;
    methods(bench)
}

/// `harness horizon` on a file of METR's size, all of the program: reading, fits, draws, intervals, writing.
fn horizon(bench: &mut Bench) -> Result<()> {
    let path = bench.scratch.join("runs.csv");
    fs::write(&path, runs_csv())?;
    let runs = measure_warm(RUNS, &bench.scratch, || {
        let mut command = Command::new(&bench.harness);
        command.arg("horizon").arg(&path);
        command.args(["--json", "--draws", &DRAWS.to_string()]);
        Ok(command)
    })?;
    check(&fs::read_to_string(bench.scratch.join("stdout"))?)?;
    let time = median(runs.iter().map(|usage| usage.wall));
    let peer = peer(bench, &path)?;
    let row = Row::lower("reports", "horizon_bootstrap_s", time, "s").with_peer(peer);
    bench.printer.print(&row);
    Ok(())
}

/// Fails unless every model was fitted in every draw: a fast run that did nothing is no figure.
fn check(output: &str) -> Result<()> {
    let value: Value = serde_json::from_str(output)?;
    let models = value["treatments"][0]["models"].as_array();
    let models = models.map(Vec::as_slice).unwrap_or_default();
    let drawn = |model: &&Value| model["draws"]["falling"].as_u64() > Some(DRAWS * 9 / 10);
    if models.len() != MODELS.len() || !models.iter().all(|model| drawn(&model)) {
        bail!("the draws were not made");
    }
    Ok(())
}

/// Measures some draws of the peer, whose time grows with their number: what it takes to load the file, to start the
/// workers and to make the first draws is taken off, and the rest is multiplied.
fn peer(bench: &Bench, path: &Path) -> Result<Option<(String, f64)>> {
    const FIRST: u32 = 20;
    let draws: u32 = if bench.quick { 40 } else { 100 };
    let requirement = format!("scikit-learn=={SCIKIT_LEARN}");
    let Some(python) = python_with("scikit-learn", SCIKIT_LEARN, &requirement)? else {
        return Ok(None);
    };
    let script = bench.root.join("harness/xtask/bench/horizon_peer.py");
    let wall = |draws: u32| -> Result<f64> {
        let mut command = Command::new(&python);
        command.arg(&script).arg(path).arg(draws.to_string());
        Ok(measure(&mut command, &bench.scratch)?.wall)
    };
    let several = |draws| (0..3).map(|_| wall(draws)).collect::<Result<Vec<f64>>>();
    // One that is not counted warms caches.
    wall(FIRST)?;
    let (first, more) = (median(several(FIRST)?), median(several(FIRST + draws)?));
    let whole = (more - first) * DRAWS as f64 / f64::from(draws);
    let name = format!("METR's method with scikit-learn {SCIKIT_LEARN}, from {draws} draws");
    Ok(Some((name, whole)))
}

/// The methods themselves, which a program of core calls.
fn methods(bench: &mut Bench) -> Result<()> {
    let program = workshop::build_example(&bench.root, "harness-core", "bench_stats")?;
    measure(&mut Command::new(program), &bench.scratch)?;
    let output = fs::read_to_string(bench.scratch.join("stdout"))?;
    for row in rows(&output)? {
        bench.printer.print(&row);
    }
    Ok(())
}

fn rows(output: &str) -> Result<Vec<Row>> {
    let medians = medians(output)?;
    let of = |name: &'static str, unit| match medians.get(name) {
        Some(value) => Ok(Row::lower("reports", name, *value, unit)),
        None => bail!("`{name}` was not measured"),
    };
    Ok(vec![
        of("cluster_bootstrap_s", "s")?,
        of("sign_flip_exact_s", "s")?,
        of("sign_flip_s", "s")?,
        of("gate_decision_us", "us")?,
        of("gate_families_us", "us")?,
    ])
}

/// METR's number of tasks, families and runs (HCAST and RE-Bench, February 2025).
const TASKS: usize = 83;
const FAMILIES: usize = 36;
const ROWS: usize = 7063;
/// The models, with the logarithm to base 2 of their horizons.
const MODELS: [(&str, f64); 11] = [
    ("human", 9.8),
    ("m0", 2.0),
    ("m1", 2.1),
    ("m2", 2.3),
    ("m3", 3.0),
    ("m4", 4.5),
    ("m5", 5.3),
    ("m6", 5.4),
    ("m7", 5.9),
    ("m8", 6.5),
    ("m9", 7.0),
];

/// Returns a file like METR's: tasks of one minute to a day, families of one to several tasks, as many runs.
fn runs_csv() -> String {
    let mut dice = Dice(7);
    let mut out = String::from("run_id,task_id,task_family,alias,human_minutes,score_binarized\n");
    let mut run = 0;
    for task in 0..TASKS {
        let family = if task < FAMILIES {
            task
        } else {
            (task * task) % FAMILIES
        };
        let log2_minutes = 10.4 * task as f64 / (TASKS - 1) as f64;
        for (model, horizon) in MODELS {
            let cell = task * MODELS.len() + MODELS.iter().position(|(name, _)| *name == model).unwrap_or(0);
            // 7 or 8 runs each, so that they add up.
            let spare = ROWS - 7 * TASKS * MODELS.len();
            let runs = 7 + usize::from(cell < spare);
            let p = 1.0 / (1.0 + (0.4 * (log2_minutes - horizon)).exp());
            for _ in 0..runs {
                let success = u8::from(dice.share() < p);
                let minutes = log2_minutes.exp2();
                let _ = writeln!(
                    out,
                    "r{run},f{family}/t{task},f{family},{model},{minutes:.3},{success}"
                );
                run += 1;
            }
        }
    }
    out
}

/// Random numbers that are the same every time (xorshift64*, Vigna 2016).
struct Dice(u64);

impl Dice {
    /// Returns a number from 0 up to 1.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{ROWS, check, rows, runs_csv};

    #[test]
    fn the_file_has_the_size_of_metrs() {
        let text = runs_csv();
        let column = |at: usize| {
            let cells = text
                .lines()
                .skip(1)
                .map(move |line| line.split(',').nth(at).unwrap());
            cells.collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(text.lines().count() - 1, ROWS);
        assert_eq!([column(0), column(1), column(2), column(3)], [ROWS, 83, 36, 11]);
        assert_eq!(text, runs_csv());
    }

    #[test]
    fn what_was_not_computed_is_no_figure() {
        assert!(check("{}").is_err());
        assert!(check(r#"{"treatments": [{"models": []}]}"#).is_err());
        let error = rows("{\"name\":\"cluster_bootstrap_s\",\"values\":[1.0]}\n").unwrap_err();
        assert_eq!(error.to_string(), "`sign_flip_exact_s` was not measured");
    }
}
