//! `cargo xtask bench`: how fast and how small the release build is, beside a floor and a peer.
//!
//! Owns: the groups, and how figures are printed. Must not: judge a figure; it says what was measured.

mod calls;
mod core;
mod floor;
mod measure;
mod peer;
mod reports;
mod row;
mod sandbox;
mod waits;
mod workload;

use std::fs;

use anyhow::{Result, bail};

use crate::workshop::{self, Build};
use row::{Printer, Style};

/// Where a group finds what it needs.
#[derive(Debug)]
struct Bench {
    /// The checkout.
    root: std::path::PathBuf,
    /// The release build.
    harness: std::path::PathBuf,
    /// An empty folder for workloads and results, on a disk that results would lie on.
    scratch: std::path::PathBuf,
    /// Whether the figures of slow groups may be rougher.
    quick: bool,
    printer: Printer,
}

/// What measures a group.
type Group = fn(&mut Bench) -> Result<()>;

const GROUPS: [(&str, Group); 3] = [
    ("core", core::run),
    ("sandbox", sandbox::run),
    ("reports", reports::run),
];

/// Measures the groups that are named, all without a name.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (options, names): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
    if let Some(option) = options
        .iter()
        .find(|option| !["--json", "--quick"].contains(option))
    {
        bail!("unknown option `{option}`; there are --json and --quick");
    }
    let style = if options.contains(&"--json") {
        Style::Json
    } else {
        Style::Table
    };
    let known: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no group `{name}`; the groups are: {}", known.join(", "));
    }
    let root = workshop::root()?;
    eprintln!("building the release; figures are medians, MB is 1,000,000 bytes");
    let harness = workshop::build_harness(&root, Build::Release)?;
    let scratch = workshop::target()?.join(format!("bench-{}", std::process::id()));
    fs::create_dir_all(&scratch)?;
    warn_of_load();
    let mut bench = Bench {
        root,
        harness,
        scratch,
        quick: options.contains(&"--quick"),
        printer: Printer::new(style),
    };
    let result = GROUPS
        .iter()
        .filter(|(name, _)| names.is_empty() || names.contains(name))
        .try_for_each(|(_, group)| group(&mut bench));
    fs::remove_dir_all(&bench.scratch)?;
    result
}

fn warn_of_load() {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    if let Some(load) = load.filter(|load| *load > 0.5) {
        eprintln!("warning: the machine has a load of {load} already; wall times will be too long");
    }
}
