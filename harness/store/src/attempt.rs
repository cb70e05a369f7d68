//! The log of one attempt on disk.
//!
//! Owns: buffering, counting and hashing of its lines. Must not: make it durable (the writer does, at commit).

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harness_core::event::AttemptEvent;
use harness_core::ids::Digest;
use harness_core::ports::{AttemptLog, LogSeal, StoreError};
use harness_core::units::Moment;

use crate::disk::Shared;
use crate::encode;
use crate::files::write_error;

/// Lines are written out once this many bytes wait.
const BUFFER: usize = 64 << 10;

pub(crate) struct DiskAttemptLog {
    shared: Arc<Shared>,
    file: Option<File>,
    path: PathBuf,
    name: String,
    buffer: Vec<u8>,
    lines: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl DiskAttemptLog {
    pub(crate) fn create(shared: Arc<Shared>, path: PathBuf, name: String) -> std::io::Result<Self> {
        Ok(Self {
            file: Some(File::create(&path)?),
            shared,
            path,
            name,
            buffer: Vec::new(),
            lines: 0,
            bytes: 0,
            hasher: blake3::Hasher::new(),
        })
    }

    fn write_out(&mut self) -> Result<(), StoreError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if let Err(error) = file.write_all(&self.buffer) {
            return Err(self.shared.health.fail_told(write_error(&self.path, &error)));
        }
        self.hasher.update(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl AttemptLog for DiskAttemptLog {
    fn append(&mut self, now: Moment, working: Duration, event: &AttemptEvent) -> Result<(), StoreError> {
        self.shared.health.check()?;
        let line = encode::line(&self.shared.scrubber, self.lines, (now.wall, working), event);
        let line = line.map_err(|detail| {
            let path = self.path.display().to_string();
            self.shared.health.fail_told(StoreError::Write { path, detail })
        })?;
        self.lines += 1;
        self.buffer.extend_from_slice(&line);
        if self.buffer.len() >= BUFFER {
            self.write_out()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.shared.health.check()?;
        self.write_out()
    }

    fn finish(mut self: Box<Self>) -> Result<LogSeal, StoreError> {
        self.flush()?;
        if let Some(file) = self.file.take() {
            self.shared.finished(self.name.clone(), self.path.clone(), file);
        }
        Ok(LogSeal {
            file: self.name.clone(),
            lines: self.lines,
            bytes: self.bytes,
            digest: Digest::from_bytes(*self.hasher.finalize().as_bytes()),
        })
    }
}

/// A log that is dropped unfinished (its driver panicked) still shows what was logged.
impl Drop for DiskAttemptLog {
    fn drop(&mut self) {
        if self.shared.health.first().is_none()
            && let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.buffer)
        {
            self.shared.health.fail_untold(&write_error(&self.path, &error));
        }
    }
}
