//! One process at a time writes into a results folder.
//!
//! Owns: the lock and who holds it. Must not: wait for a holder.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness_core::ids::RunId;
use harness_core::units::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// Somebody who only looks who holds the lock has it for some microseconds; so often is tried again before that
/// counts as held.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Who holds a results folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it does.
    pub command: String,
    /// The run that it works on, if any.
    pub run: Option<RunId>,
    /// Since when.
    pub since: Timestamp,
}

/// A results folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses it.
    #[error("{path} is in use by {}, wait for it or use another results folder", described(.holder.as_ref()))]
    Held {
        /// The lock file.
        path: String,
        /// Who; `None` if that process has not written it yet.
        holder: Option<Holder>,
    },
    /// The lock file can't be used.
    #[error("failed to lock {path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

fn described(holder: Option<&Holder>) -> String {
    let Some(holder) = holder else {
        return "another process".to_owned();
    };
    let run = holder
        .run
        .as_ref()
        .map_or(String::new(), |run| format!(" on run {run}"));
    let Holder {
        pid, command, since, ..
    } = holder;
    format!("process {pid} (`{command}`{run}, since {since})")
}

/// The lock of a results folder; released when dropped, and by the system if the process dies in any way.
#[derive(Debug)]
pub struct ResultsLock {
    file: File,
    path: PathBuf,
}

impl ResultsLock {
    /// Takes the lock of a results folder, which is created if it is missing.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process (or another lock of this one) has it; it is not waited for.
    pub fn acquire(results: &Path, holder: &Holder) -> Result<Self, LockError> {
        let path = results.join(".lock");
        let failed = |source: io::Error| LockError::Io {
            path: path.display().to_string(),
            source,
        };
        fs::create_dir_all(results).map_err(failed)?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        let mut tries = 0;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(BETWEEN_TRIES);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Held {
                        path: path.display().to_string(),
                        holder: read_holder(&mut file),
                    });
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
        let text = serde_json::to_string(holder).map_err(|error| failed(error.into()))?;
        write_whole(&mut file, &text).map_err(failed)?;
        Ok(Self { file, path })
    }

    /// Returns who holds the lock of a results folder, as far as that can be seen. Changes nothing.
    pub fn holder(results: &Path) -> Option<Holder> {
        let mut file = File::open(results.join(".lock")).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => read_holder(&mut file),
            Ok(()) | Err(_) => None,
        }
    }

    /// Writes anew who holds the lock, for instance once the run is known.
    pub fn update(&mut self, holder: &Holder) -> Result<(), LockError> {
        let text = serde_json::to_string(holder).map_err(io::Error::from);
        text.and_then(|text| write_whole(&mut self.file, &text))
            .map_err(|source| LockError::Io {
                path: self.path.display().to_string(),
                source,
            })
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_whole(file: &mut File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

impl Drop for ResultsLock {
    fn drop(&mut self) {
        // Only courtesy: the lock itself goes with the file handle.
        drop(self.file.set_len(0));
    }
}
