//! Peers beside us: the same work on the same machine. Inspect AI, and whatever else has a Python package.
//!
//! Owns: their installation below the build folder, once, and Inspect's runs. Must not: install anything elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use super::Bench;
use super::measure::{Usage, measure};
use super::row::median;
use crate::workshop;

const VERSION: &str = "0.3.285";
const RUNS: usize = 3;

/// An installed Inspect AI.
#[derive(Debug)]
pub(super) struct Inspect {
    python: PathBuf,
    script: PathBuf,
    home: PathBuf,
}

/// Medians of the peer's runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerUsage {
    pub(super) wall: f64,
    pub(super) rss_mb: f64,
}

impl Inspect {
    /// Returns the peer's name and a value, for a row.
    pub(super) fn named(value: f64) -> (String, f64) {
        (format!("Inspect AI {VERSION}"), value)
    }

    /// Returns the installed peer, installs it if it is not there; `None`, said loudly, if that is not possible.
    pub(super) fn provide(bench: &Bench) -> Result<Option<Self>> {
        let requirement = format!("inspect-ai=={VERSION}");
        let Some(python) = python_with("inspect", VERSION, &requirement)? else {
            return Ok(None);
        };
        let home = bench.scratch.join("peer-home");
        fs::create_dir_all(&home)?;
        let script = bench.root.join("harness/xtask/bench/inspect_peer.py");
        Ok(Some(Self { python, script, home }))
    }

    /// Measures a start that does nothing.
    pub(super) fn start(&self, outputs: &Path) -> Result<PeerUsage> {
        self.several(outputs, || {
            let mut command = Command::new(self.python.with_file_name("inspect"));
            command.arg("--version");
            command
        })
    }

    /// Measures a workload of the script; the folder for logs comes third in its arguments.
    pub(super) fn work(
        &self,
        kind: &str,
        samples: usize,
        more: &[&str],
        outputs: &Path,
    ) -> Result<PeerUsage> {
        self.several(outputs, || {
            let mut command = Command::new(&self.python);
            command.arg(&self.script).arg(kind).arg(samples.to_string());
            command.arg(self.home.join("logs")).args(more);
            command
        })
    }

    fn several(&self, outputs: &Path, command: impl Fn() -> Command) -> Result<PeerUsage> {
        let mut runs: Vec<Usage> = Vec::new();
        for _ in 0..RUNS {
            let _ = fs::remove_dir_all(self.home.join("logs"));
            let mut command = command();
            // The user's profile and settings are no part of the comparison.
            command.env("HOME", &self.home).current_dir(&self.home);
            runs.push(measure(&mut command, outputs)?);
        }
        Ok(PeerUsage {
            wall: median(runs.iter().map(|usage| usage.wall)),
            rss_mb: median(runs.iter().map(|usage| usage.rss_mb)),
        })
    }
}

/// Returns a Python with a package, in an environment of its own below the build folder, which is made if it is not
/// there; `None`, said loudly, if that is not possible.
pub(super) fn python_with(name: &str, version: &str, requirement: &str) -> Result<Option<PathBuf>> {
    let folder = workshop::target()?.join(format!("peers/{name}-{version}"));
    let python = folder.join("bin/python3");
    if !folder.join("installed").is_file() {
        eprintln!("installing {requirement} into {}", folder.display());
        if let Err(error) = install(&folder, &python, requirement) {
            eprintln!("SKIPPED: no peer to compare with, {requirement} can't be installed: {error:#}");
            return Ok(None);
        }
        fs::write(folder.join("installed"), version)?;
    }
    Ok(Some(python))
}

fn install(folder: &Path, python: &Path, requirement: &str) -> Result<()> {
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(folder);
    let mut fill = Command::new(python);
    fill.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        requirement,
    ]);
    // Standard output belongs to the figures.
    workshop::succeed(make.stdout(Stdio::null()))?;
    workshop::succeed(fill.stdout(Stdio::null()))
}
