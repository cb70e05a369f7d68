//! The one writer of `run.jsonl`: group commit.
//!
//! Owns: the order "content first, then the line that names it, then the answer". Must not: serialize events.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use harness_core::ports::StoreError;
use tokio::sync::oneshot;

use crate::blob::Pending;
use crate::disk::Shared;
use crate::files::{sync_dir, write_error};

/// From this many files on, one `syncfs` is cheaper than an `fsync` for each.
const MANY_FILES: usize = 16;

/// The most bytes of one batch.
const BATCH_BYTES: usize = 4 << 20;

/// What the writer is asked to do.
pub(crate) enum Message {
    /// Append a line.
    Line(Vec<u8>),
    /// Append a line and answer once it and what it names are durable.
    Commit {
        /// The line.
        line: Vec<u8>,
        /// The attempt's log.
        log: Option<(PathBuf, File)>,
        /// Who waits.
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    logs: Vec<(PathBuf, File)>,
    replies: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Batch {
    fn add(&mut self, message: Message) {
        match message {
            Message::Line(line) => self.lines.extend(line),
            Message::Commit { line, log, reply } => {
                self.lines.extend(line);
                self.logs.extend(log);
                self.replies.push(reply);
            }
        }
    }
}

pub(crate) struct Writer {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    pub(crate) shared: Arc<Shared>,
}

impl Writer {
    /// Works until every sender is gone; then makes durable what is left.
    pub(crate) fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let mut batch = Batch::default();
            batch.add(first);
            while batch.lines.len() < BATCH_BYTES {
                match messages.try_recv() {
                    Ok(message) => batch.add(message),
                    Err(_) => break,
                }
            }
            self.write(batch);
        }
        let logs = self.shared.take_finished();
        if self.shared.health.first().is_none() {
            let pending = self.shared.take_pending();
            if let Err(error) = self.make_durable(&logs, &pending).and_then(|()| self.sync()) {
                self.shared.health.fail_untold(&error);
            }
        }
    }

    fn write(&mut self, batch: Batch) {
        let Batch { lines, logs, replies } = batch;
        let written = match self.shared.health.first() {
            Some(_) => Err(StoreError::Broken),
            None if replies.is_empty() => self.append(&lines),
            None => {
                // Blobs named by these lines were put before the lines were sent, so they are pending by now.
                let pending = self.shared.take_pending();
                self.make_durable(&logs, &pending)
                    .and_then(|()| self.append(&lines))
                    .and_then(|()| self.sync())
            }
        };
        match &written {
            Err(StoreError::Broken) | Ok(()) => {}
            Err(error) if replies.is_empty() => self.shared.health.fail_untold(error),
            Err(error) => drop(self.shared.health.fail_told(error.clone())),
        }
        for reply in replies {
            // Nobody waits any more if the future was dropped; the line is written all the same.
            drop(reply.send(written.clone()));
        }
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(lines)
            .map_err(|error| write_error(&self.path, &error))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file
            .sync_data()
            .map_err(|error| write_error(&self.path, &error))
    }

    fn make_durable(&self, logs: &[(PathBuf, File)], pending: &Pending) -> Result<(), StoreError> {
        if logs.is_empty() && pending.files.is_empty() {
            return Ok(());
        }
        let folder = self.shared.dir.path();
        if logs.len() + pending.files.len() > MANY_FILES {
            let synced =
                File::open(folder).and_then(|folder| rustix::fs::syncfs(folder).map_err(io::Error::from));
            return synced.map_err(|error| write_error(folder, &error));
        }
        for (path, file) in logs {
            file.sync_data().map_err(|error| write_error(path, &error))?;
        }
        for path in &pending.files {
            let synced = File::open(path).and_then(|file| file.sync_data());
            synced.map_err(|error| write_error(path, &error))?;
        }
        let attempts = folder.join("attempts");
        let blobs = folder.join("blobs");
        let folders = (!logs.is_empty()).then_some(&attempts).into_iter();
        let folders = folders.chain((!pending.folders.is_empty()).then_some(&blobs));
        for path in folders.chain(&pending.folders) {
            sync_dir(path).map_err(|error| write_error(path, &error))?;
        }
        Ok(())
    }
}
