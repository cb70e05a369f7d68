//! Time horizons as a table, as JSON and as CSV.
//!
//! Owns: what stands beside each number: ridge, weights, draws, what is excluded. Must not: estimate.

mod csv;
mod json;
mod table;
mod trials;

use harness_core::stats::horizon::{Cheats, ModelEstimate, Release, Ridge, Trend, Weighting};
use harness_core::stats::{Excluded, Level};

pub use csv::{HORIZON_COLUMNS, horizon_csv};
pub use json::horizon_json;
pub use table::horizon_table;
pub use trials::{TrialOutcome, observations};

/// Horizons and everything that it takes to read them.
#[derive(Clone, Debug, PartialEq)]
pub struct HorizonReport {
    /// Where the runs come from.
    pub source: String,
    /// What an outcome is: success, or a score.
    pub outcome: &'static str,
    /// Runs that count.
    pub runs: u64,
    /// Their tasks.
    pub tasks: usize,
    /// The families of these.
    pub families: usize,
    /// Runs that don't count.
    pub excluded: Vec<Excluded>,
    /// What a task counts for.
    pub weighting: Weighting,
    /// The penalty on the slope.
    pub ridge: Ridge,
    /// The levels of success that were asked for.
    pub levels: Vec<Level>,
    /// The confidence of intervals.
    pub confidence: Level,
    /// How many draws they rest on; 0 for no intervals.
    pub draws: u64,
    /// The seed of the draws.
    pub seed: u64,
    /// Once if no success is a cheat; otherwise with cheats as failures, then as successes.
    pub treatments: Vec<Treatment>,
}

/// Everything under one treatment of cheats.
#[derive(Clone, Debug, PartialEq)]
pub struct Treatment {
    /// What a cheat counts as; `None` if there is none.
    pub cheats: Option<Cheats>,
    /// Each model.
    pub models: Vec<ModelEstimate>,
    /// The trend, if days of release are known.
    pub trend: Option<TrendReport>,
}

/// The trend of the state of the art, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub struct TrendReport {
    /// The days that were asked for, as they are printed.
    pub window: String,
    /// The trend, or why there is none.
    pub trend: Result<Trend, String>,
    /// Models that are no part of it, and why.
    pub left_out: Vec<(String, &'static str)>,
    /// All models that could be part of it.
    pub releases: Vec<Release>,
}

impl Treatment {
    /// Returns what a cheat counts as, in words.
    fn name(&self) -> &'static str {
        match self.cheats {
            None => "",
            Some(Cheats::Fail) => "cheats fail",
            Some(Cheats::Count) => "cheats count",
        }
    }
}

/// Returns the level in percent, such as `50` or `99.9`.
fn percent(level: Level) -> String {
    let text = format!("{:.6}", level.get() * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
