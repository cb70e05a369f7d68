//! Runs a program and measures it.
//!
//! Owns: wall time, processor time and peak memory of one process. Must not: know what is run.
//!
//! The kernel counts the parent's memory at the moment of the start into the child's peak, so this program keeps
//! itself small: outputs of children go to files, not through it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use wait4::Wait4;

use crate::workshop;

/// What a process used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Seconds by the clock.
    pub(super) wall: f64,
    /// Seconds of processor time, of the process and the children it waited for.
    pub(super) cpu: f64,
    /// Peak resident memory in MB.
    pub(super) rss_mb: f64,
}

/// Runs a command and measures it; it must succeed. Its output goes to files in a folder.
pub(super) fn measure(command: &mut Command, outputs: &Path) -> Result<Usage> {
    let shown = workshop::show(command);
    let (out, err) = (outputs.join("stdout"), outputs.join("stderr"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?);
    let start = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("failed to start `{shown}`"))?;
    let used = child
        .wait4()
        .with_context(|| format!("failed to wait for `{shown}`"))?;
    let wall = start.elapsed().as_secs_f64();
    if !used.status.success() {
        let told = fs::read_to_string(&err).unwrap_or_default();
        bail!("`{shown}` failed ({}):\n{}", used.status, last_lines(&told));
    }
    Ok(Usage {
        wall,
        cpu: used.rusage.utime.as_secs_f64() + used.rusage.stime.as_secs_f64(),
        rss_mb: used.rusage.maxrss as f64 / 1e6,
    })
}

/// Measures several runs, after one that warms caches and is not counted.
pub(super) fn measure_warm(
    runs: usize,
    outputs: &Path,
    mut command: impl FnMut() -> Result<Command>,
) -> Result<Vec<Usage>> {
    measure(&mut command()?, outputs)?;
    (0..runs).map(|_| measure(&mut command()?, outputs)).collect()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
