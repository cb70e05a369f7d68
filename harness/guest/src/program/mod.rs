//! The program: an event loop over the host's frames and everything that it started.

mod command;
mod connection;
mod files;
mod guest;
mod identity;
mod kill;
mod memory;
mod net;
mod outbox;
mod ports;
mod problem;
mod process_table;
mod processes;
mod requests;
mod start;
mod startup;
mod store;
mod sweep;
mod trampoline;
mod tree;
mod walk;

use std::ffi::OsString;
use std::process::ExitCode;

/// Does what the arguments say; nothing but the two known words is understood.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut rest = arguments.into_iter();
    let word = rest.next().unwrap_or_default();
    match word.to_str() {
        Some("init") => startup::serve(rest.next().as_deref()),
        Some("run") => trampoline::run(rest.collect()),
        Some(_) | None => ExitCode::from(64),
    }
}
