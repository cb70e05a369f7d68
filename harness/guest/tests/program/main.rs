//! The program, driven by frames over pipes like any child process.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod commands;
mod driver;
mod files;
mod killing;
mod network;
mod terminal;
