//! The files that people write: text in, checked nouns or problems with their places out.
//!
//! Owns: `task.yaml`, `scaffold.yaml`, `suite.yaml`, `models.yaml`, `prices.yaml`, `replies.yaml`, `samples.csv`,
//! their JSON Schemas, and files of runs. Must not: open files (folders come in as maps of bytes), or run anything.

mod artifacts;
mod file;
mod models;
mod paths;
mod prices;
mod problem;
mod reader;
mod replies;
mod runs;
mod samples;
mod sandbox;
mod scaffold;
mod schema;
mod score;
mod services;
mod source;
mod suggest;
mod suite;
mod task;
mod task_wire;
mod templates;
mod tree;
mod wire;

pub use models::{complete_models, parse_models};
pub use prices::{PriceList, parse_prices};
pub use problem::{Checked, Parsed, Problem, Problems, Severity};
pub use replies::parse_replies;
pub use runs::{MAX_RUNS_TEXT, OutcomeColumn, RunsFile, parse_releases, parse_runs};
pub use scaffold::parse_scaffold;
pub use schema::{FormatKind, schema};
pub use source::{Excerpt, MAX_TEXT};
pub use suggest::nearest;
pub use suite::parse_suite;
pub use task::parse_task;
pub use tree::parse_yaml;

use crate::task::TaskFiles;

/// A folder that was read: a task's or a scaffold's.
#[derive(Clone, Copy, Debug)]
pub struct Folder<'a> {
    /// Its path for messages, without a slash at the end.
    pub path: &'a str,
    /// Its own name.
    pub name: &'a str,
    /// Its files by their path in it.
    pub files: &'a TaskFiles,
}
