//! `cargo xtask demo`: the shipped tasks in real containers, with a scripted model.
//!
//! Owns: the way from a fresh checkout to a table of results. Must not: measure or test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::engine::Engine;
use crate::images;
use crate::steps::Steps;
use crate::workshop::{self, Build};

const SUITE: &str = "tasks/suites/demo.yaml";
/// The files that a reader wants first.
const WANTED: [&str; 3] = ["report.html", "summary.md", "trials.csv"];

/// Runs the demonstration.
pub(crate) fn run() -> Result<()> {
    let root = workshop::root()?;
    let mut steps = Steps::default();
    let mut engine = steps.run("a Docker daemon answers", Engine::connect)?;
    let harness = steps.run("build harness", || workshop::build_harness(&root, Build::Dev))?;
    steps.run("base images", || images::provide(&harness, &mut engine))?;
    let results = root.join("results");
    let before = newest_run(&results);
    steps.run("run the demo suite", || run_suite(&root, &harness, &results))?;
    let folder = newest_run(&results).context("the run left no folder in results/")?;
    if Some(&folder) == before.as_ref() {
        println!("\nnothing was left to run; these are the results of the run before");
    }
    println!("\nresults:");
    for name in WANTED {
        let path = folder.join(name);
        if path.is_file() {
            println!("  {}", path.strip_prefix(&root).unwrap_or(&path).display());
        }
    }
    let run = folder.file_name().unwrap_or_default().to_string_lossy();
    println!("next: cargo run --quiet -- transcript {run} TRIAL, with the name of a trial");
    Ok(())
}

fn run_suite(root: &Path, harness: &Path, results: &Path) -> Result<()> {
    let mut command = Command::new(harness);
    command.arg("run").arg(SUITE).arg("--results").arg(results);
    let shown = workshop::show(&command);
    println!("running `{shown}`");
    let status = command
        .current_dir(root)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("failed to start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}; what happened is in results/");
    }
    Ok(())
}

/// Returns the folder of the run that was changed last.
fn newest_run(results: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(results).ok()?.flatten();
    let runs = entries.filter(|entry| entry.path().join("plan.json").is_file());
    let dated = runs.filter_map(|entry| {
        let changed = entry.path().join("run.jsonl").metadata().ok()?.modified().ok()?;
        Some((changed, entry.path()))
    });
    dated.max().map(|(_, path)| path)
}
