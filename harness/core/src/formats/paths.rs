//! Paths in folders and containers, and maps between them.
//!
//! Owns: which paths are allowed. Must not: touch a file system.

use super::reader::Reader;
use super::source::Span;
use super::suggest;
use super::tree::quoted;
use super::wire::{At, Keyed};
use crate::task::{FileMap, TaskFiles};

/// What a path must lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    File,
    Folder,
    Either,
}

/// Container path to path in the folder, as written.
pub(super) type FileMapWire = Keyed<String>;

/// Checks a map of files and returns it normalised.
pub(super) fn file_map(
    wire: Option<&At<FileMapWire>>,
    files: &TaskFiles,
    reader: &mut Reader<'_>,
) -> FileMap {
    let mut map = FileMap::new();
    for (key, value) in wire.iter().flat_map(|wire| &wire.value.0) {
        let target = container_path(&key.text, key.span, reader);
        let source = folder_path(value, Want::Either, files, reader);
        if let (Some(target), Some(source)) = (target, source)
            && let Some(first) = map.insert(target.clone(), source.clone())
        {
            let message = format!(
                "{} gets two files, {} and {}",
                quoted(&target),
                quoted(&first),
                quoted(&source)
            );
            reader.error(key.span, message, Some("remove one of them"));
        }
    }
    map
}

/// Checks an absolute path in a container and returns it without a slash at the end.
pub(super) fn container_path(path: &str, span: Span, reader: &mut Reader<'_>) -> Option<String> {
    if !path.starts_with('/') {
        let message = format!("container path {} is not absolute", quoted(path));
        reader.error(span, message, Some("begin it with `/`"));
        return None;
    }
    let trimmed = path.trim_end_matches('/');
    let bad_part = trimmed
        .split('/')
        .skip(1)
        .any(|part| matches!(part, "" | "." | ".."));
    if trimmed.is_empty() || bad_part || path.chars().any(char::is_control) || path.len() > 1024 {
        let message = format!("container path {} is not a plain path", quoted(path));
        reader.error(
            span,
            message,
            Some("write it without `.`, `..`, `//` or control characters"),
        );
        return None;
    }
    Some(trimmed.to_owned())
}

/// Checks a path in the folder, and that there is something at it.
pub(super) fn folder_path(
    path: &At<String>,
    want: Want,
    files: &TaskFiles,
    reader: &mut Reader<'_>,
) -> Option<String> {
    let text = path
        .value
        .strip_prefix("./")
        .unwrap_or(&path.value)
        .trim_end_matches('/');
    let outside = path.value.starts_with('/') || text.split('/').any(|part| part == "..");
    if outside {
        let message = format!("path {} leaves the folder", quoted(&path.value));
        reader.error(
            path.span,
            message,
            Some("copy the file into the folder and write its path from there"),
        );
        return None;
    }
    if text.is_empty() || text.split('/').any(|part| matches!(part, "" | ".")) {
        let message = format!("path {} is not a plain path in the folder", quoted(&path.value));
        reader.error(path.span, message, Some("write it like `files/a.log`"));
        return None;
    }
    let (is_file, is_folder) = (files.contains_key(text), is_folder(text, files));
    let fits = match want {
        Want::File => is_file,
        Want::Folder => is_folder,
        Want::Either => is_file || is_folder,
    };
    if fits {
        return Some(text.to_owned());
    }
    let what = match want {
        Want::File if is_folder => "is a folder, a file is needed",
        Want::Folder if is_file => "is a file, a folder is needed",
        Want::File | Want::Folder | Want::Either => "does not exist in the folder",
    };
    let hint = suggest::nearest(text, files.keys().map(String::as_str))
        .map(|near| format!("did you mean `{near}`?"));
    reader.error(path.span, format!("{} {what}", quoted(text)), hint.as_deref());
    None
}

fn is_folder(path: &str, files: &TaskFiles) -> bool {
    let prefix = format!("{path}/");
    files
        .range(prefix.clone()..)
        .next()
        .is_some_and(|(next, _)| next.starts_with(&prefix))
}

/// Returns the files of a map that an agent or scorer gets, folders opened.
pub(super) fn mapped<'f>(
    map: &'f FileMap,
    files: &'f TaskFiles,
) -> impl Iterator<Item = (&'f str, &'f [u8])> {
    map.values().flat_map(move |source| {
        let prefix = format!("{source}/");
        let below = files
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.starts_with(&prefix));
        files
            .get_key_value(source)
            .into_iter()
            .chain(below)
            .map(|(path, data)| (path.as_str(), data.bytes.as_slice()))
    })
}
