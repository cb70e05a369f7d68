//! Executes a plan over the ports of `harness_core`.
//!
//! Owns: the one loop around the scheduler, the driver of an attempt, how tools and scorers are carried out.
//! Must not: know Docker, HTTP or files, or decide what the scheduler and the agent decide.

mod ahead;
mod attempt;
mod context;
mod dispatcher;
mod journal;
mod link;
mod prepare;
mod progress;
mod rescore;
mod shell;
mod starting;
mod tools;

pub use context::{KeepSandboxes, RunInput};
pub use dispatcher::{RunEnding, RunStop, run};
pub use progress::{PhaseProgress, Progress, phases_at_start};
pub use rescore::{RescoreInput, rescore_attempt};
