//! What all the files have in common: text, version, digest, and the answer in the end.
//!
//! Owns: from bytes to text, and from problems to a result. Must not: know any file's shape.

use super::problem::{Checked, Parsed, Problem, Problems};
use super::reader::{Reader, file_problem};
use super::wire::At;
use crate::ids::Digest;
use crate::task::TaskFiles;

/// The version of the formats that this program reads.
const VERSION: u32 = 1;

/// Returns the value if nothing is wrong with it.
pub(super) fn conclude<T>(value: Option<T>, problems: Vec<Problem>) -> Parsed<T> {
    let mut problems = Problems(problems);
    match value {
        Some(value) if !problems.has_errors() => Ok(Checked {
            value,
            warnings: problems,
        }),
        _ => {
            if !problems.has_errors() {
                let hint = Some("this is a mistake of the program; please report it");
                problems
                    .0
                    .push(file_problem("", "the file could not be read", hint));
            }
            Err(problems)
        }
    }
}

/// Returns the text of a folder's file.
pub(super) fn file_text<'f>(path: &str, name: &str, files: &'f TaskFiles) -> Result<&'f str, Problems> {
    let Some(file) = files.get(name) else {
        let message = format!("there is no {name} in this folder");
        return Err(Problems(vec![file_problem(path, &message, None)]));
    };
    utf8(path, &file.bytes)
}

/// Returns bytes as text, or where they stop being text.
pub(super) fn utf8<'b>(path: &str, bytes: &'b [u8]) -> Result<&'b str, Problems> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        let problem = Problem {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            length: 1,
            ..file_problem(
                path,
                &format!("the file is not UTF-8 text (byte 0x{byte:02x})"),
                Some("save it as UTF-8"),
            )
        };
        Problems(vec![problem])
    })
}

/// Reports a version of the format that is not ours.
pub(super) fn check_version(version: Option<&At<u32>>, reader: &mut Reader<'_>) {
    if let Some(version) = version.filter(|version| version.value != VERSION) {
        let message = format!("format version {} is not known", version.value);
        reader.error(version.span, message, Some("this program reads `harness: 1`"));
    }
}

/// Hashes what of a folder counts: everything but hidden files and Python's caches.
pub(super) fn digest(files: &TaskFiles) -> Digest {
    let counts = |path: &str| {
        path.split('/')
            .all(|part| !part.starts_with('.') && part != "__pycache__")
    };
    Digest::of_parts(
        files
            .iter()
            .filter(|(path, _)| counts(path))
            .flat_map(|(path, file)| {
                let flag: &[u8] = if file.executable { b"x" } else { b"-" };
                [path.as_bytes(), flag, file.bytes.as_slice()]
            }),
    )
}
