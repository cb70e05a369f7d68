//! Schemas of the file formats and completions of shells.

use clap::CommandFactory as _;
use harness_core::formats::FormatKind;

use crate::args::{Cli, CompletionsArgs, SchemaArgs};
use crate::exit::{Exit, Failure};

/// `harness schema`
pub(crate) fn schema(args: &SchemaArgs) -> Result<Exit, Failure> {
    let kind = FormatKind::ALL
        .into_iter()
        .find(|kind| kind.name() == args.format);
    let kind = kind.ok_or_else(|| Failure::input(format!("there is no format `{}`", args.format)))?;
    let text = serde_json::to_string_pretty(&harness_core::formats::schema(kind))
        .map_err(|error| Failure::ours("failed to print the schema", error))?;
    crate::print(&format!("{text}\n"))?;
    Ok(Exit::Clear)
}

/// `harness completions`
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "harness", &mut text);
    crate::print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Clear)
}
