//! The folder of a run.
//!
//! Owns: the names in it, and the plan. Must not: write logs.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use harness_core::ids::{AttemptId, Digest, RunId};
use harness_core::ports::{LogSeal, StoreError};

use crate::files::{self, Sync, read_error, sync_dir, write_error};
use crate::read::{self, AttemptReader, RunLog};

/// The folder of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Creates the folder of a new run below a results folder, which is created if it is missing.
    ///
    /// # Errors
    /// If the run's folder exists already, or its name is not a plain file name.
    pub fn create(results: &Path, run: &RunId) -> Result<Self, StoreError> {
        let path = results.join(run.as_str());
        if !is_plain(run.as_str()) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "the run's name is not a file name");
            return Err(write_error(&path, &error));
        }
        let make = || {
            fs::create_dir_all(results)?;
            fs::create_dir(&path)?;
            fs::create_dir(path.join("attempts"))?;
            fs::create_dir(path.join("blobs"))?;
            sync_dir(&path)?;
            sync_dir(results)
        };
        make().map_err(|error| write_error(&path, &error))?;
        Ok(Self { path })
    }

    /// Opens the folder of a run that was created before.
    ///
    /// # Errors
    /// If it is not a folder, or holds no plan.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let path = path.into();
        let plan = path.join("plan.json");
        match fs::metadata(&plan) {
            Ok(_) => Ok(Self { path }),
            Err(error) => Err(read_error(&plan, error)),
        }
    }

    /// Returns the runs below a results folder, by name; a folder that is missing holds none.
    pub fn all(results: &Path) -> Result<Vec<Self>, StoreError> {
        let entries = match fs::read_dir(results) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(read_error(results, error)),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| read_error(results, error))?.path();
            if path.join("plan.json").is_file() {
                runs.push(Self { path });
            }
        }
        runs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(runs)
    }

    /// Returns where the folder lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the plan, durably and once.
    ///
    /// # Errors
    /// If there is a plan already.
    pub fn write_plan(&self, plan: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join("plan.json");
        let written = if path.exists() {
            Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the run has a plan already",
            ))
        } else {
            files::write_atomically(&path, plan, Sync::Now)
        };
        written.map_err(|error| write_error(&path, &error))
    }

    /// Writes a derived file such as a report; an older one is replaced at once or not at all.
    pub fn write_derived(&self, name: &str, content: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.path.join(name);
        let written = if is_plain(name) && name != "plan.json" && name != "run.jsonl" {
            files::write_atomically(&path, content, Sync::Later)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not the name of a derived file",
            ))
        };
        written.map_err(|error| write_error(&path, &error))?;
        Ok(path)
    }

    /// Reads the plan.
    pub fn read_plan(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.path.join("plan.json");
        fs::read(&path).map_err(|error| read_error(&path, error))
    }

    /// Reads the facts of the scheduler.
    pub fn read_run(&self) -> Result<RunLog, StoreError> {
        read::read_run(&self.path)
    }

    /// Opens a finished log of an attempt; the last item is an error if its content is not what the seal names.
    pub fn read_attempt(&self, seal: &LogSeal) -> Result<AttemptReader, StoreError> {
        let path = self.attempt_path(&seal.file)?;
        AttemptReader::open(path, Some(seal.clone()))
    }

    /// Opens the log of an attempt that was not sealed (its process died); a torn last line is left out.
    pub fn read_unsealed(&self, attempt: &AttemptId, index: u32) -> Result<AttemptReader, StoreError> {
        let path = self.attempt_path(&attempt_file(attempt, index))?;
        AttemptReader::open(path, None)
    }

    /// Reads a blob and checks its digest.
    pub fn read_blob(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).map_err(|error| read_error(&path, error))?;
        if Digest::of(&bytes) == digest {
            Ok(bytes)
        } else {
            Err(read_error(&path, "its content is not what its name says"))
        }
    }

    pub(crate) fn run_path(&self) -> PathBuf {
        self.path.join("run.jsonl")
    }

    pub(crate) fn attempt_path(&self, file: &str) -> Result<PathBuf, StoreError> {
        let folder = self.path.join("attempts");
        if is_plain(file) {
            Ok(folder.join(file))
        } else {
            Err(read_error(&folder, format!("{file:?} is not the name of a log")))
        }
    }

    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.path.join("blobs").join(&name[..2]).join(name)
    }
}

/// Returns the name of an attempt's log.
pub(crate) fn attempt_file(attempt: &AttemptId, index: u32) -> String {
    format!("{index:06}.{}.jsonl", attempt.number)
}

/// Returns whether a name is one component of a path.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(components.next(), Some(Component::Normal(part)) if part == name) && components.next().is_none()
}
