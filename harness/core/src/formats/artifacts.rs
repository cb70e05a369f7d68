//! `artifacts`: what is kept of a sandbox.
//!
//! Owns: both ways to write it, and its limits. Must not: know how files are read.

use serde_json::{Value, json};

use super::paths::container_path;
use super::reader::Reader;
use super::tree::{Kind, Node, quoted};
use super::wire::{At, Definitions, Wire, expected, record};
use crate::task::ArtifactSpec;
use crate::units::Bytes;

/// The most patterns.
const MOST_PATHS: usize = 64;
/// The most that a task can keep: artifacts pass through memory.
const MOST_TOTAL: Bytes = Bytes(1 << 30);
const MOST_FILES: u32 = 10_000;

record! {
    /// Artifacts with limits of their own.
    Artifacts {
        /// Absolute container paths; `*` and `?` stay within a part of a path, `**` is any number of parts.
        paths: required Vec<At<String>>,
        /// How much of one file is kept.
        max_file: optional Bytes,
        /// How much of all files is kept.
        max_total: optional Bytes,
        /// How many files are kept.
        max_files: optional u32,
    }
}

/// Artifacts as people write them.
#[derive(Clone, Debug)]
pub(super) enum ArtifactsWire {
    Paths(Vec<At<String>>),
    Limited(Box<Artifacts>),
}

impl Wire for ArtifactsWire {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => Vec::read(node, reader).map(Self::Paths),
            Kind::Map(_) => Artifacts::read(node, reader).map(|wire| Self::Limited(Box::new(wire))),
            Kind::Null | Kind::Scalar(_) => {
                expected("a list of container paths or `{paths: [...]}`", node, reader);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [Vec::<At<String>>::schema(definitions), Artifacts::schema(definitions)]})
    }
}

impl ArtifactsWire {
    fn paths(&self) -> &[At<String>] {
        match self {
            Self::Paths(paths) => paths,
            Self::Limited(wire) => wire.paths.as_ref().map_or(&[], |at| at.value.as_slice()),
        }
    }
}

/// Returns whether anything is kept.
pub(super) fn is_there(wire: Option<&At<ArtifactsWire>>) -> bool {
    wire.is_some_and(|wire| !wire.paths().is_empty())
}

/// Decodes the artifacts. Unreadable parts take their defaults; they were reported.
pub(super) fn artifacts(wire: Option<&At<ArtifactsWire>>, reader: &mut Reader<'_>) -> ArtifactSpec {
    let mut spec = ArtifactSpec::default();
    let Some(wire) = wire else { return spec };
    if wire.paths().len() > MOST_PATHS {
        let message = format!("there are more than {MOST_PATHS} paths");
        reader.error(
            wire.key,
            message,
            Some("use patterns such as `/home/agent/out/**`"),
        );
    }
    spec.paths = wire.paths().iter().filter_map(|at| pattern(at, reader)).collect();
    let ArtifactsWire::Limited(limits) = &wire.value else {
        return spec;
    };
    if let Some(at) = &limits.max_file {
        spec.max_file = at.value;
        spec.max_total = spec.max_total.max(at.value);
    }
    if let Some(at) = &limits.max_total {
        spec.max_total = at.value;
        spec.max_file = limits
            .max_file
            .as_ref()
            .map_or(spec.max_file.min(at.value), |own| own.value);
    }
    if let Some(at) = &limits.max_files {
        spec.max_files = usize::try_from(at.value).unwrap_or(usize::MAX);
        if at.value == 0 || at.value > MOST_FILES {
            reader.error(
                at.span,
                format!("`max_files` is not between 1 and {MOST_FILES}"),
                None,
            );
        }
    }
    for (name, at) in [("max_file", &limits.max_file), ("max_total", &limits.max_total)] {
        if let Some(at) = at
            .as_ref()
            .filter(|at| at.value == Bytes::ZERO || at.value > MOST_TOTAL)
        {
            reader.error(
                at.span,
                format!("`{name}` is not between 1B and {MOST_TOTAL}"),
                None,
            );
        }
    }
    if let (Some(file), true) = (&limits.max_file, spec.max_file > spec.max_total) {
        reader.error(file.span, "`max_file` is above `max_total`", None);
    }
    spec
}

/// Checks a path or pattern. One that ends with a slash means everything in that folder.
fn pattern(at: &At<String>, reader: &mut Reader<'_>) -> Option<String> {
    let folder = at.value.len() > 1 && at.value.ends_with('/');
    let path = container_path(&at.value, at.span, reader)?;
    if path.split('/').any(|part| part.contains("**") && part != "**") {
        let message = format!("`**` must stand between slashes in {}", quoted(&at.value));
        reader.error(at.span, message, Some("write it like `/home/agent/**/*.txt`"));
        return None;
    }
    Some(if folder { format!("{path}/**") } else { path })
}
