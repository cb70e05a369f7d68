//! Reads folders and finds tasks, scaffolds and suites in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness_core::task::{FileData, TaskFiles};

use crate::exit::Failure;

/// The largest file of a task, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// The largest folder of a task, in bytes.
const MAX_FOLDER: u64 = 256 << 20;
/// The most files of a task.
const MAX_FILES: usize = 10_000;

/// Reads every file below a folder. Hidden files and Python's caches are left out; links are refused, so that no
/// file from elsewhere can get into a task.
pub(crate) fn read_folder(folder: &Path) -> Result<TaskFiles, Failure> {
    let mut files = TaskFiles::new();
    let mut total = 0;
    let mut open = vec![(folder.to_path_buf(), String::new())];
    while let Some((path, prefix)) = open.pop() {
        for entry in entries(&path)? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "__pycache__" {
                continue;
            }
            let (path, inside) = (entry.path(), format!("{prefix}{name}"));
            let meta = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
            if meta.is_dir() {
                open.push((path, format!("{inside}/")));
                continue;
            }
            if !meta.is_file() {
                return Err(
                    Failure::input(format!("{} is a link or a special file", path.display()))
                        .hint("put a copy of the file into the folder"),
                );
            }
            total += meta.len();
            if meta.len() > MAX_FILE || total > MAX_FOLDER || files.len() >= MAX_FILES {
                let message = format!(
                    "{} is too large: a file may have {} MiB, a folder {} MiB and {MAX_FILES} files",
                    folder.display(),
                    MAX_FILE >> 20,
                    MAX_FOLDER >> 20
                );
                return Err(Failure::input(message).hint("put large data into an image"));
            }
            let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            files.insert(
                inside,
                Arc::new(FileData {
                    bytes,
                    executable: executable(&meta),
                }),
            );
        }
    }
    Ok(files)
}

fn executable(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o100 != 0
}

fn entries(path: &Path) -> Result<Vec<fs::DirEntry>, Failure> {
    let read = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = read.map_err(|error| unreadable(path, &error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::input(format!("failed to read {}: {error}", path.display()))
}

/// Something that people write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Found {
    /// A task's folder.
    Task(PathBuf),
    /// A scaffold's folder.
    Scaffold(PathBuf),
    /// A suite.
    Suite(PathBuf),
    /// A scripted model.
    Script(PathBuf),
    /// `models.yaml`.
    Models(PathBuf),
    /// `prices.yaml`.
    Prices(PathBuf),
}

/// Finds what people wrote at and below a path, in order.
pub(crate) fn find(path: &Path) -> Result<Vec<Found>, Failure> {
    let meta = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let mut found = Vec::new();
    if meta.is_file() {
        let parent = || {
            path.parent()
                .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
        };
        match path.file_name().and_then(|name| name.to_str()) {
            Some("task.yaml") => found.push(Found::Task(parent())),
            Some("scaffold.yaml") => found.push(Found::Scaffold(parent())),
            _ if is_yaml(path) => found.push(kind_of(path)?),
            _ => {
                let failure = Failure::input(format!("{} is not a YAML file", path.display()));
                return Err(failure.hint("name a suite, or a folder: every task below it is found"));
            }
        }
        return Ok(found);
    }
    search(path, &mut found)?;
    if found.is_empty() {
        let message = format!("{} holds no task.yaml, scaffold.yaml or suite", path.display());
        return Err(Failure::input(message));
    }
    found.sort();
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<Found>) -> Result<(), Failure> {
    for (file, kind) in [
        ("task.yaml", Found::Task as fn(PathBuf) -> Found),
        ("scaffold.yaml", Found::Scaffold),
    ] {
        if folder.join(file).is_file() {
            found.push(kind(folder.to_path_buf()));
            return Ok(());
        }
    }
    for entry in entries(folder)? {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let meta = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
        if hidden || meta.is_symlink() {
            continue;
        }
        if meta.is_dir() {
            search(&path, found)?;
        } else if is_yaml(&path) {
            found.push(kind_of(&path)?);
        }
    }
    Ok(())
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Tells suites from scripted models and lists by name and top-level keys.
fn kind_of(path: &Path) -> Result<Found, Failure> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("models.yaml") => return Ok(Found::Models(path.to_path_buf())),
        Some("prices.yaml") => return Ok(Found::Prices(path.to_path_buf())),
        _ => {}
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 20)]);
    let scripted = text.lines().any(|line| line.starts_with("scripts:"));
    Ok(if scripted {
        Found::Script(path.to_path_buf())
    } else {
        Found::Suite(path.to_path_buf())
    })
}
