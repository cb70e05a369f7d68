//! Content kept under its digest.
//!
//! Owns: that a blob's file is whole. Must not: make it durable (the writer does, before a line that names it).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use harness_core::ids::Digest;

use crate::dir::RunDir;
use crate::files::{self, Sync};

/// Blobs that were written and are not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The files.
    pub(crate) files: Vec<PathBuf>,
    /// Their folders.
    pub(crate) folders: BTreeSet<PathBuf>,
}

/// The blobs of a run.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    known: BTreeSet<Digest>,
    pub(crate) pending: Pending,
}

impl Blobs {
    /// Writes a blob, unless it is there. One that an earlier process left is trusted only after its content was
    /// compared: after a power cut a file may have its name and not its bytes.
    pub(crate) fn put(&mut self, dir: &RunDir, bytes: &[u8]) -> Result<Digest, (PathBuf, io::Error)> {
        let digest = Digest::of(bytes);
        if self.known.contains(&digest) {
            return Ok(digest);
        }
        let path = dir.blob_path(digest);
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        let there = fs::read(&path).is_ok_and(|found| found == bytes);
        if !there {
            let written =
                fs::create_dir_all(&folder).and_then(|()| files::write_atomically(&path, bytes, Sync::Later));
            if let Err(error) = written {
                return Err((path, error));
            }
        }
        self.known.insert(digest);
        self.pending.files.push(path);
        self.pending.folders.insert(folder);
        Ok(digest)
    }
}
