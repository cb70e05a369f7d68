//! Sandboxes in real containers. Needs a Docker daemon; nothing leaves the machine.
#![expect(clippy::print_stderr, reason = "a skipped test must be seen")]

mod commands;
mod daemon;
mod files;
mod images;
mod limits;
mod processes;
mod support;
