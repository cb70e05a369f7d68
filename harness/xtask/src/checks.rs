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
/// The same for the runtimes beside Docker's usual one.
const REQUIRE_RUNTIMES: &str = "HARNESS_REQUIRE_RUNTIMES";
/// What a test prints that cannot run here, and what is in it if a daemon or a runtime is missing.
const SKIPPED: &str = "SKIPPED:";
const NO_DOCKER: &str = "no docker daemon";
const NO_RUNTIME: &str = "does not know the runtime";
/// What is linted.
const SHIPPED: [&str; 2] = ["tasks", "scaffolds"];
/// Everything in the workspace, and the program of the helper, which only the library that carries it builds otherwise.
const ALL: [&str; 4] = ["--workspace", "--features", "harness-guest/program", "--locked"];
/// How long the helper is given nonsense.
const FUZZ_SECONDS: u64 = 20;

/// Runs all checks, in order; the first that fails is the last.
pub(crate) fn run() -> Result<()> {
    let root = workshop::root()?;
    let mut steps = Steps::default();
    steps.run("format", || {
        succeed(&mut cargo(&root, &["fmt", "--all", "--check"]))
    })?;
    steps.run("lint", || {
        succeed(on_all(&root, &["clippy"]).args(["--all-targets", "--quiet", "--", "-D", "warnings"]))
    })?;
    let harness = steps.run("build", || workshop::build_harness(&root, Build::Dev))?;
    let docker = provide_docker(&mut steps, &harness)?;
    steps.run("tests", || run_tests(&root, docker))?;
    steps.run(&format!("fuzzing the helper for {FUZZ_SECONDS} s"), || {
        fuzz(&root)
    })?;
    steps.run("examples in the documentation", || {
        succeed(on_all(&root, &["test"]).args(["--doc", "--quiet"]))
    })?;
    steps.run("documentation", || {
        let mut command = on_all(&root, &["doc"]);
        succeed(
            command
                .args(["--no-deps", "--quiet"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
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

/// Returns a command that cargo executes on everything.
fn on_all(root: &Path, words: &[&str]) -> Command {
    let mut command = cargo(root, words);
    command.args(ALL);
    command
}

/// Whether this machine has a Docker daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Docker {
    Present,
    Absent,
}

/// What must be there, so that a test that leaves itself out fails the run.
#[derive(Clone, Copy, Debug)]
struct Required {
    /// Docker, and whatever else tests need but runtimes.
    everything: bool,
    /// The runtimes.
    runtimes: bool,
}

impl Required {
    fn here() -> Self {
        let is_set = |name| std::env::var(name).is_ok_and(|value| value == "1");
        Self {
            everything: workshop::is_ci() || is_set(REQUIRE_DOCKER),
            runtimes: is_set(REQUIRE_RUNTIMES),
        }
    }

    /// Says whether a test must not have left itself out for such a reason.
    fn forbids(self, skip: &str, docker: Docker) -> bool {
        if skip.contains(NO_RUNTIME) {
            self.runtimes
        } else if skip.contains(NO_DOCKER) {
            self.everything || docker == Docker::Present
        } else {
            self.everything
        }
    }
}

fn provide_docker(steps: &mut Steps, harness: &Path) -> Result<Docker> {
    let required = Required::here().everything;
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
        let mut command = on_all(root, &["nextest", "run"]);
        command.args(["--profile", "ci"]);
        command
    } else {
        println!("cargo-nextest is not installed; using `cargo test`, which can't count skipped tests");
        let mut command = on_all(root, &["test"]);
        command.args(["--all-targets", "--quiet"]);
        command
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

/// Runs the fuzz tests of the helper for a fixed time. That there are none is a failure.
fn fuzz(root: &Path) -> Result<()> {
    let mut command = if workshop::has_program("cargo-nextest") {
        let mut command = on_all(root, &["nextest", "run"]);
        command.args(["--profile", "ci", "--no-tests", "fail"]);
        let host = "package(harness-docker) & test(::fuzz::)";
        let tests = format!("(package(harness-guest) & binary(frames_fuzz)) | ({host})");
        command.args(["-E", &tests]);
        command
    } else {
        let program = [
            "--package",
            "harness-guest",
            "--package",
            "harness-docker",
            "--features",
            "harness-guest/program",
        ];
        let mut command = cargo(root, &["test", "--locked", "--quiet"]);
        command.args(program).args(["--tests", "--", "fuzz"]);
        command
    };
    for (name, value) in fuzz_settings() {
        command.env(name, value);
    }
    succeed(&mut command)
}

/// What bolero takes how long it runs from: the time ends a test, not the number of inputs.
fn fuzz_settings() -> [(&'static str, String); 2] {
    [
        ("BOLERO_RANDOM_TEST_TIME_MS", (1000 * FUZZ_SECONDS).to_string()),
        ("BOLERO_RANDOM_ITERATIONS", u32::MAX.to_string()),
    ]
}

/// Prints what tests said about not being run, and fails if what they miss is required.
fn check_skips(report: &Path, docker: Docker) -> Result<()> {
    let text = fs::read_to_string(report).with_context(|| format!("failed to read {}", report.display()))?;
    let skips = skips(&text);
    for line in &skips {
        println!("    {line}");
    }
    let required = Required::here();
    let forbidden = skips.iter().filter(|skip| required.forbids(skip, docker)).count();
    if forbidden > 0 {
        bail!("{forbidden} tests left themselves out although what they need is required here");
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
    use super::{Docker, Required, skips};

    #[test]
    fn a_skip_is_fatal_where_what_is_missing_is_required() {
        let docker = "SKIPPED: no docker daemon (no socket)";
        let runtime = "SKIPPED: the daemon does not know the runtime runsc";
        let root = "SKIPPED: not root, so nobody else can be acted as";
        let forbidden = |everything, runtimes, there| {
            let required = Required { everything, runtimes };
            [docker, runtime, root].map(|skip| required.forbids(skip, there))
        };
        assert_eq!(forbidden(false, false, Docker::Absent), [false, false, false]);
        assert_eq!(forbidden(false, false, Docker::Present), [true, false, false]);
        assert_eq!(forbidden(true, false, Docker::Present), [true, false, true]);
        assert_eq!(forbidden(false, true, Docker::Present), [true, true, false]);
        assert_eq!(forbidden(true, true, Docker::Present), [true, true, true]);
    }

    #[test]
    fn skips_are_found() {
        let report = "<system-out>running 1 test\nSKIPPED: no docker daemon\nok\n</system-out>";
        assert_eq!(skips(report), ["SKIPPED: no docker daemon"]);
        assert_eq!(skips("<system-out>0 skipped</system-out>"), [""; 0]);
    }
}
