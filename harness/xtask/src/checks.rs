//! `cargo xtask test`: everything that CI checks.
//!
//! Owns: which checks there are, and their order. Must not: repair what a check finds.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::engine::Engine;
use crate::images;
use crate::steps::Steps;
use crate::workshop::{self, Build, cargo, succeed};

/// Set for the tests: Docker must be there, a test that would leave itself out fails.
const REQUIRE_DOCKER: &str = "HARNESS_REQUIRE_DOCKER";
/// What a test prints that cannot run here.
const SKIPPED: &str = "SKIPPED:";
/// What is linted.
const SHIPPED: [&str; 2] = ["tasks", "scaffolds"];

/// Runs all checks, in order; the first that fails is the last.
pub(crate) fn run() -> Result<()> {
    let root = workshop::root()?;
    let mut steps = Steps::default();
    steps.run("format", || {
        succeed(&mut cargo(&root, &["fmt", "--all", "--check"]))
    })?;
    steps.run("lint", || succeed(&mut cargo(&root, &CLIPPY)))?;
    let harness = steps.run("build", || workshop::build_harness(&root, Build::Dev))?;
    let docker = provide_docker(&mut steps, &harness)?;
    steps.run("tests", || run_tests(&root, docker))?;
    steps.run("examples in the documentation", || {
        succeed(&mut cargo(
            &root,
            &["test", "--workspace", "--doc", "--quiet", "--locked"],
        ))
    })?;
    steps.run("documentation", || {
        let mut command = cargo(&root, &["doc", "--workspace", "--no-deps", "--quiet", "--locked"]);
        succeed(command.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    check_shipped(&mut steps, &root, &harness, docker)?;
    if workshop::has_program("cargo-deny") {
        steps.run("dependencies", || {
            succeed(&mut cargo(
                &root,
                &["deny", "check", "bans", "licenses", "sources"],
            ))
        })?;
    } else {
        steps.leave_out("dependencies", "cargo-deny is not installed");
    }
    steps.close();
    Ok(())
}

const CLIPPY: [&str; 8] = [
    "clippy",
    "--workspace",
    "--all-targets",
    "--quiet",
    "--locked",
    "--",
    "-D",
    "warnings",
];

/// Whether this machine has a Docker daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Docker {
    Present,
    Absent,
}

fn provide_docker(steps: &mut Steps, harness: &Path) -> Result<Docker> {
    let required = workshop::is_ci() || std::env::var(REQUIRE_DOCKER).is_ok_and(|value| value == "1");
    match Engine::connect() {
        Ok(mut engine) => {
            steps.run("base images", || images::provide(harness, &mut engine))?;
            Ok(Docker::Present)
        }
        Err(error) if required => Err(error.context("Docker is required here")),
        Err(error) => {
            steps.leave_out("everything in containers", &format!("{error:#}"));
            Ok(Docker::Absent)
        }
    }
}

fn check_shipped(steps: &mut Steps, root: &Path, harness: &Path, docker: Docker) -> Result<()> {
    let check = |arguments: &[&str]| {
        let mut command = Command::new(harness);
        succeed(command.arg("check").args(arguments).current_dir(root))
    };
    steps.run("shipped tasks, suites and scaffolds", || check(&SHIPPED))?;
    match docker {
        Docker::Present => steps.run("oracles of the shipped tasks", || check(&["--sandbox", "tasks"])),
        Docker::Absent => {
            steps.leave_out("oracles of the shipped tasks", "no Docker daemon");
            Ok(())
        }
    }
}

fn run_tests(root: &Path, docker: Docker) -> Result<()> {
    let nextest = workshop::has_program("cargo-nextest");
    let mut command = if nextest {
        cargo(
            root,
            &["nextest", "run", "--workspace", "--profile", "ci", "--locked"],
        )
    } else {
        println!("cargo-nextest is not installed; using `cargo test`, which can't count skipped tests");
        cargo(
            root,
            &["test", "--workspace", "--all-targets", "--quiet", "--locked"],
        )
    };
    if docker == Docker::Present {
        command.env(REQUIRE_DOCKER, "1");
    }
    // A test run must not leave proposals for snapshots behind; whoever wants them runs the test alone.
    command.env("INSTA_UPDATE", "no");
    let report = root.join("target/nextest/ci/junit.xml");
    if report.exists() {
        fs::remove_file(&report)?;
    }
    succeed(&mut command)?;
    if nextest {
        check_skips(&report, docker)
    } else {
        Ok(())
    }
}

/// Prints what tests said about not being run, and fails if Docker is there to run them.
fn check_skips(report: &Path, docker: Docker) -> Result<()> {
    let text = fs::read_to_string(report).with_context(|| format!("failed to read {}", report.display()))?;
    let skips = skips(&text);
    for line in &skips {
        println!("    {line}");
    }
    if docker == Docker::Present && !skips.is_empty() {
        bail!(
            "{} tests left themselves out although Docker is there",
            skips.len()
        );
    }
    Ok(())
}

/// Returns the lines by which tests say that they did nothing.
fn skips(report: &str) -> Vec<&str> {
    let found = report
        .lines()
        .filter_map(|line| line.find(SKIPPED).map(|at| &line[at..]));
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::skips;

    #[test]
    fn skips_are_found() {
        let report = "<system-out>running 1 test\nSKIPPED: no docker daemon\nok\n</system-out>";
        assert_eq!(skips(report), ["SKIPPED: no docker daemon"]);
        assert_eq!(skips("<system-out>0 skipped</system-out>"), [""; 0]);
    }
}
