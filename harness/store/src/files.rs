//! Small operations on files, with errors that name the path.
//!
//! Owns: how a file is made durable. Must not: know which files there are.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use harness_core::ports::StoreError;

/// Names a failed write.
pub(crate) fn write_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Write {
        path: path.display().to_string(),
        detail: error.to_string(),
    }
}

/// Names a failed read.
pub(crate) fn read_error(path: &Path, detail: impl std::fmt::Display) -> StoreError {
    StoreError::Read {
        path: path.display().to_string(),
        detail: detail.to_string(),
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Returns a name in the folder of `target` that nobody else uses.
pub(crate) fn temporary(target: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    target.with_file_name(format!(".tmp-{}-{number}", std::process::id()))
}

/// Writes a file so that it is whole or not there under its name. It is durable once its content and its
/// folder were synced; `sync` says whether that is done here.
pub(crate) fn write_atomically(target: &Path, bytes: &[u8], sync: Sync) -> io::Result<()> {
    let temporary = temporary(target);
    let written = (|| {
        let mut file = File::create_new(&temporary)?;
        file.write_all(bytes)?;
        if sync == Sync::Now {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, target)
    })();
    if written.is_err() {
        // The first error counts; a leftover has a name that nobody reads.
        drop(std::fs::remove_file(&temporary));
        return written;
    }
    match (sync, target.parent()) {
        (Sync::Now, Some(folder)) => sync_dir(folder),
        (Sync::Now, None) | (Sync::Later, _) => Ok(()),
    }
}

/// When a file is made durable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before the function returns.
    Now,
    /// By the caller.
    Later,
}
