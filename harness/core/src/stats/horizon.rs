//! Time horizons: how long the tasks are that a model completes.
//!
//! Owns: METR's method (T. Kwa et al., "Measuring AI ability to complete long tasks", arXiv 2503.14499, 2025): a
//! weighted logistic curve of success over the logarithm of the time that people need, the length at which it passes
//! a level, intervals by a hierarchical bootstrap, and the trend of the best. Must not: read files, start threads, or
//! give a number where no task lies.
//!
//! Valid where the lengths are good (they are estimates or means over few people), where tasks of many lengths and
//! families were tried, and for the kind of tasks that were tried. A horizon of an hour does not mean that half of
//! all work of an hour can be done.
//!
//! # Examples
//! ```
//! use harness_core::stats::{Level, horizon::{Analysis, Cheats, Dataset, Observation, Ridge, Settings, Weighting, estimate}};
//! let observe = |task: &str, minutes, outcome: f64, runs| Observation {
//!     model: "m".to_owned(), task: task.to_owned(), family: task.to_owned(), minutes, outcome, cheated: false, runs,
//! };
//! let seen = [
//!     observe("short", 2.0, 1.0, 9), observe("short", 2.0, 0.0, 1),
//!     observe("middle", 16.0, 1.0, 5), observe("middle", 16.0, 0.0, 5),
//!     observe("long", 128.0, 1.0, 1), observe("long", 128.0, 0.0, 9),
//! ];
//! let data = Dataset::new(&seen, Vec::new()).expect("sound data");
//! let settings = Settings { weighting: Weighting::InverseSquareRoot, ridge: Ridge::DEFAULT, cheats: Cheats::Fail };
//! let analysis = Analysis::new(&data, settings);
//! let draws: Vec<_> = (0..100).map(|number| analysis.draw(42, number)).collect();
//! let [half, high] = [Level::new("level", 0.5)?, Level::new("level", 0.8)?];
//! let models = estimate(&analysis, &draws, &[half, high], Level::P95);
//! let shown: Vec<String> = models[0].horizons.iter().map(|horizon| horizon.point.to_string()).collect();
//! assert_eq!(shown, ["16 min", "4.31 min"]);
//! # Ok::<(), harness_core::stats::StatsError>(())
//! ```

mod analysis;
mod bootstrap;
mod buckets;
mod curve;
mod data;
mod estimate;
mod reading;
#[cfg(test)]
mod tests;
mod trend;
mod weights;

pub use analysis::{Analysis, Settings};
pub use bootstrap::Draw;
pub use buckets::{BUCKETS, Bucket};
pub use curve::{Curve, NoCurve, Point, Ridge, fit};
pub use data::{Cheats, DataError, Dataset, MAX_RUNS, Observation};
pub use estimate::{
    BucketEstimate, DrawCounts, Formula, HorizonEstimate, MeanEstimate, ModelEstimate, ReadingInterval,
    estimate, percentile_interval,
};
pub use reading::{Lengths, Reading, figures};
pub use trend::{Candidates, Day, Release, Trend, candidates, state_of_the_art, trend};
pub use weights::{RunWeight, Weighting};
