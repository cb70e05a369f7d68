//! Sandboxes in real containers. Needs a Docker daemon; nothing leaves the machine.
#![expect(clippy::print_stderr, reason = "a skipped test must be seen")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod attacks;
mod commands;
mod daemon;
mod fallback;
mod files;
mod images;
mod limits;
mod processes;
mod support;
