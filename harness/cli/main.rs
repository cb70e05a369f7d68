//! The command line of `harness`: arguments in, printing and exit codes out.
//!
//! Owns: wiring of adapters to the core, and everything that is printed. Must not: decide what a run decides.

mod args;
mod check;
mod clients;
mod clock;
mod exit;
mod gc;
mod horizon;
mod images;
mod load;
mod plan_view;
mod power;
mod power_view;
mod progress;
mod report;
mod rescore;
mod run;
mod run_dir;
mod schema;
mod shell;
mod status;
mod terminal;
mod transcript;
mod walk;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use exit::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match dispatch(cli.command) {
        Ok(exit) => exit,
        Err(failure) => {
            complain(&failure);
            failure.exit
        }
    };
    ExitCode::from(exit.code())
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => with_runtime(run::run(args)),
        Command::Check(args) => check::check(&args),
        Command::Power(args) => power::power(&args),
        Command::Status(args) => status::status(&args),
        Command::List(args) => status::list(&args),
        Command::Report(args) => report::report(&args),
        Command::Transcript(args) => transcript::transcript(&args),
        Command::Rescore(args) => with_runtime(rescore::rescore(args)),
        Command::Horizon(args) => horizon::horizon(&args),
        Command::Shell(args) => shell::shell(&args),
        Command::Images(args) => with_runtime(images::images(args)),
        Command::Gc(args) => with_runtime(gc::gc(args)),
        Command::Schema(args) => schema::schema(&args),
        Command::Completions(args) => schema::completions(&args),
    }
}

/// Runs a future on all cores. Commands that need no runtime don't pay for one.
pub(crate) fn with_runtime<T>(
    future: impl std::future::Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::ours("failed to start the async runtime", error))?;
    let result = runtime.block_on(future);
    // A blocking call that hangs (a dead daemon) must not keep a finished command from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

fn complain(failure: &Failure) {
    let mut text = harness_core::text::printable(&format!("error: {}\n", failure.message));
    if let Some(hint) = &failure.hint {
        text.push_str(&harness_core::text::printable(&format!("  hint: {hint}\n")));
    }
    warn(&text);
}

/// Writes to standard error; nobody is left to tell if that fails.
pub(crate) fn warn(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes data to standard output. A reader that went away (`| head`) is not an error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::ours("failed to write to standard output", error))
        }
        _ => Ok(()),
    }
}
