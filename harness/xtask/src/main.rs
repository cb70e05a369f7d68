//! Developer commands: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`, `cargo xtask runtimes`.
//!
//! Owns: what is run, in which order, and what a developer sees of it. Must not: be used by the other crates, or
//! know more of `harness` than its command line.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer command prints"
)]

mod bench;
mod checks;
mod demo;
mod engine;
mod images;
mod runtimes;
mod steps;
mod workshop;

use std::process::ExitCode;

use anyhow::bail;

const USAGE: &str = "\
cargo xtask demo                       runs the demo suite in real containers
cargo xtask test                       runs everything that CI checks
cargo xtask bench [GROUP...] [--json] [--quick]
                                       measures release builds; groups: core, sandbox, reports
cargo xtask runtimes [--check]         makes crun and runsc known to the Docker daemon, as root; or says what is missing";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["demo"] => demo::run(),
        ["test"] => checks::run(),
        ["bench", rest @ ..] => bench::run(rest),
        ["runtimes"] => runtimes::run(runtimes::Mode::Register),
        ["runtimes", "--check"] => runtimes::run(runtimes::Mode::Check),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        [name, ..] => bail!("unknown or wrongly used command `{name}`; the commands are:\n{USAGE}"),
    }
}
