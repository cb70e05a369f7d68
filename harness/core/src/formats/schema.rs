//! JSON Schemas of the files, for editors.
//!
//! Owns: which formats there are. Must not: repeat what the types say.

use serde_json::{Value, json};

use super::models::ModelsWire;
use super::prices::Prices;
use super::replies::Replies;
use super::scaffold::ScaffoldWire;
use super::suite::SuiteWire;
use super::task_wire::TaskWire;
use super::wire::{Definitions, Wire};

/// A file that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatKind {
    /// `task.yaml`.
    Task,
    /// `scaffold.yaml`.
    Scaffold,
    /// `suite.yaml`.
    Suite,
    /// `models.yaml`.
    Models,
    /// `prices.yaml`.
    Prices,
    /// `replies.yaml`.
    Replies,
}

impl FormatKind {
    /// Every format, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Task,
        Self::Scaffold,
        Self::Suite,
        Self::Models,
        Self::Prices,
        Self::Replies,
    ];

    /// Returns the name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Scaffold => "scaffold",
            Self::Suite => "suite",
            Self::Models => "models",
            Self::Prices => "prices",
            Self::Replies => "replies",
        }
    }
}

/// Returns the JSON Schema (2020-12) of a format.
pub fn schema(kind: FormatKind) -> Value {
    let mut definitions = Definitions::new();
    let (root, title) = match kind {
        FormatKind::Task => (TaskWire::schema(&mut definitions), "task.yaml"),
        FormatKind::Scaffold => (ScaffoldWire::schema(&mut definitions), "scaffold.yaml"),
        FormatKind::Suite => (SuiteWire::schema(&mut definitions), "suite.yaml"),
        FormatKind::Models => (ModelsWire::schema(&mut definitions), "models.yaml"),
        FormatKind::Prices => (Prices::schema(&mut definitions), "prices.yaml"),
        FormatKind::Replies => (Replies::schema(&mut definitions), "replies.yaml"),
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$ref": root["$ref"],
        "$defs": definitions,
    })
}
