//! Executes a plan over the ports of `harness_core`.
//!
//! Owns: the one loop around the scheduler, the driver of an attempt, how tools and scorers are carried out.
//! Must not: know Docker, HTTP or files, or decide what the scheduler and the agent decide.

mod attempt;
mod dispatcher;
mod journal;
mod link;
mod progress;
mod rescore;
mod tools;

pub use dispatcher::{RunEnding, RunInput, RunStop, phases_at_start, run};
pub use progress::{PhaseProgress, Progress};
pub use rescore::{RescoreInput, rescore_attempt};
