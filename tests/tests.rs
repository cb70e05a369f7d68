//! The integration tests of the repository, in one program so that they are linked once.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, in which a failure should panic"
)]
#![expect(clippy::print_stderr, reason = "what a test did is shown if it fails")]

mod layers;
mod util;

mod basics;
mod golden;
mod horizon;
mod interrupts;
mod kills;
mod power;
mod problems;
mod servers;

mod docker_faults;
mod docker_kills;
mod docker_tasks;
