//! The helper: process 1 of a sandbox.
//!
//! `harness-guest init [HOSTS]` serves frames at its standard streams. `harness-guest run ...` is how it starts
//! commands that need more than a fork can set up; nobody else calls that.

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::run(std::env::args_os().skip(1).collect())
}
