//! Sequential tests with planned ends: SPRT, alpha spending, group-sequential designs, fixed rule-out designs.
//!
//! Owns: rules that are fixed before data come in, and their exact error rates. Must not: decide a gate that is looked at
//! without plan (see [`gate`](super::gate)).

mod design;
mod spending;
mod sprt;
#[cfg(test)]
mod tests;
mod walk;

pub use design::{
    DesignGoal, FixedDesign, GroupDesign, MOST_FIXED_SUCCESSES, fixed_design, group_design,
    repeated_fixed_test,
};
pub use spending::{Checkpoint, Schedule, Spending, Spent};
pub use sprt::{Sprt, SprtStep};
pub use walk::{Characteristics, CriticalCounts, LookShare, characteristics};

/// The most units that a process is computed for; beyond it counts would lose digits.
pub const MOST_UNITS: u64 = 1_000_000_000_000;

/// The most units that exact error rates are computed for: the work grows with their square.
pub const MOST_EXACT_UNITS: u64 = 20_000;
