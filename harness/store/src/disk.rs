//! The store on disk.
//!
//! Owns: the order of lines, and what is shared between logs, blobs and the writer. Must not: fsync on a
//! caller's thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use harness_core::event::RunEvent;
use harness_core::ids::{AttemptId, Digest};
use harness_core::ports::{AttemptLog, EventStore, Later, LogSeal, StoreError};
use harness_core::units::Moment;
use tokio::sync::oneshot;

use crate::attempt::DiskAttemptLog;
use crate::blob::{Blobs, Pending};
use crate::dir::{RunDir, attempt_file};
use crate::encode;
use crate::files::{sync_dir, write_error};
use crate::health::{Health, locked};
use crate::read::RunLog;
use crate::scrub::Scrubber;
use crate::writer::{Message, Writer};

/// Lines that may wait for the writer; a caller that is faster waits for it.
const WAITING_LINES: usize = 4096;

/// Writes the logs and blobs of one run.
pub struct DiskStore {
    shared: Arc<Shared>,
    path: PathBuf,
    sequence: Mutex<Option<Sequence>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    names: Mutex<BTreeSet<String>>,
}

/// Numbers lines in the order in which they are sent.
struct Sequence {
    next: u64,
    sender: SyncSender<Message>,
}

/// What all parts of one store share.
pub(crate) struct Shared {
    pub(crate) dir: RunDir,
    pub(crate) scrubber: Scrubber,
    pub(crate) health: Health,
    blobs: Mutex<Blobs>,
    finished: Mutex<BTreeMap<String, (PathBuf, File)>>,
}

impl Shared {
    /// Keeps a finished log until the ending that names it is committed.
    pub(crate) fn finished(&self, name: String, path: PathBuf, file: File) {
        locked(&self.finished).insert(name, (path, file));
    }

    pub(crate) fn take_finished(&self) -> Vec<(PathBuf, File)> {
        std::mem::take(&mut *locked(&self.finished))
            .into_values()
            .collect()
    }

    pub(crate) fn take_pending(&self) -> Pending {
        std::mem::take(&mut locked(&self.blobs).pending)
    }
}

impl DiskStore {
    /// Begins the log of a new run.
    ///
    /// # Errors
    /// If the run has a log already.
    pub fn begin(dir: &RunDir, scrubber: Scrubber) -> Result<Self, StoreError> {
        let path = dir.run_path();
        let opened = File::options().append(true).create_new(true).open(&path);
        let file = opened.and_then(|file| sync_dir(dir.path()).map(|()| file));
        let file = file.map_err(|error| write_error(&path, &error))?;
        Self::over(dir.clone(), file, 0, scrubber)
    }

    /// Takes up the log of an unfinished run: reads it and cuts off a torn last line. Line numbers go on. Finished
    /// logs of attempts are not written again.
    ///
    /// # Errors
    /// If a line before the last can't be read, or the file can't be written.
    pub fn resume(dir: &RunDir, scrubber: Scrubber) -> Result<(Self, RunLog), StoreError> {
        let log = dir.read_run()?;
        let path = dir.run_path();
        let open = || {
            let file = File::options().append(true).create(true).open(&path)?;
            if log.torn.is_some() {
                file.set_len(log.bytes)?;
            }
            file.sync_all()?;
            sync_dir(dir.path())?;
            Ok(file)
        };
        let file = open().map_err(|error| write_error(&path, &error))?;
        let store = Self::over(dir.clone(), file, log.lines.len() as u64, scrubber)?;
        let seals = log.lines.iter().filter_map(|line| seal(&line.event));
        locked(&store.names).extend(seals.map(|seal| seal.file.clone()));
        Ok((store, log))
    }

    pub(crate) fn over(dir: RunDir, file: File, next: u64, scrubber: Scrubber) -> Result<Self, StoreError> {
        let path = dir.run_path();
        let shared = Arc::new(Shared {
            dir,
            scrubber,
            health: Health::default(),
            blobs: Mutex::default(),
            finished: Mutex::default(),
        });
        let (sender, receiver): (_, Receiver<Message>) = sync_channel(WAITING_LINES);
        let writer = Writer {
            file,
            path: path.clone(),
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| write_error(&path, &error))?;
        Ok(Self {
            shared,
            path,
            sequence: Mutex::new(Some(Sequence { next, sender })),
            thread: Mutex::new(Some(thread)),
            names: Mutex::default(),
        })
    }

    /// Returns the first failure, if anything could not be written.
    pub fn failure(&self) -> Option<StoreError> {
        self.shared.health.first()
    }

    /// Writes out and makes durable what was appended, and ends the store; later calls fail.
    ///
    /// # Errors
    /// With the first failure of this store, whoever was told of it before.
    pub fn close(&self) -> Result<(), StoreError> {
        drop(locked(&self.sequence).take());
        let joined = locked(&self.thread).take().map(JoinHandle::join);
        match (self.failure(), joined) {
            (Some(failure), _) => Err(failure),
            (None, Some(Err(_))) => Err(StoreError::Broken),
            (None, Some(Ok(())) | None) => Ok(()),
        }
    }

    fn send(
        &self,
        now: Moment,
        event: &RunEvent,
        message: impl FnOnce(Vec<u8>) -> Message,
    ) -> Result<(), StoreError> {
        self.shared.health.check()?;
        let mut guard = locked(&self.sequence);
        let sequence = guard.as_mut().ok_or(StoreError::Broken)?;
        let line = encode::line(
            &self.shared.scrubber,
            sequence.next,
            (now.wall, now.elapsed),
            event,
        );
        let line = line.map_err(|detail| self.failed(detail))?;
        let sent = sequence.sender.send(message(line));
        sent.map_err(|_| self.failed("the writer has ended".to_owned()))?;
        sequence.next += 1;
        Ok(())
    }

    fn failed(&self, detail: String) -> StoreError {
        let path = self.path.display().to_string();
        self.shared.health.fail_told(StoreError::Write { path, detail })
    }

    fn send_commit(
        &self,
        now: Moment,
        event: &RunEvent,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let log = seal(event).and_then(|seal| locked(&self.shared.finished).remove(&seal.file));
        let (reply, answer) = oneshot::channel();
        self.send(now, event, |line| Message::Commit { line, log, reply })?;
        Ok(answer)
    }
}

fn seal(event: &RunEvent) -> Option<&LogSeal> {
    let RunEvent::AttemptEnded(ended) = event else {
        return None;
    };
    ended.log.as_ref()
}

/// Lines are numbered in the order of the calls; the future of `commit` need not be polled for its line to be
/// written. `working` of a line is the time since this process began.
impl EventStore for DiskStore {
    fn append(&self, now: Moment, event: &RunEvent) -> Result<(), StoreError> {
        self.send(now, event, Message::Line)
    }

    fn attempt(&self, attempt: &AttemptId, index: u32) -> Result<Box<dyn AttemptLog>, StoreError> {
        self.shared.health.check()?;
        let name = attempt_file(attempt, index);
        let path = self.shared.dir.attempt_path(&name)?;
        if !locked(&self.names).insert(name.clone()) {
            let detail = format!("the log of attempt {attempt} was written before");
            let path = path.display().to_string();
            return Err(self.shared.health.fail_told(StoreError::Write { path, detail }));
        }
        match DiskAttemptLog::create(Arc::clone(&self.shared), path.clone(), name) {
            Ok(log) => Ok(Box::new(log)),
            Err(error) => Err(self.shared.health.fail_told(write_error(&path, &error))),
        }
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.shared.health.check()?;
        let clean = self.shared.scrubber.bytes(bytes);
        let put = locked(&self.shared.blobs).put(&self.shared.dir, &clean);
        put.map_err(|(path, error)| self.shared.health.fail_told(write_error(&path, &error)))
    }

    fn commit(&self, now: Moment, event: RunEvent) -> Later<'_, Result<(), StoreError>> {
        let sent = self.send_commit(now, &event);
        Box::pin(async move {
            match sent {
                // The writer answers everything that it takes; it is gone only after a panic.
                Ok(answer) => answer.await.unwrap_or(Err(StoreError::Broken)),
                Err(error) => Err(error),
            }
        })
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Waits for the writer, so that nothing that was appended is lost. Failures are told by [`DiskStore::close`].
impl Drop for DiskStore {
    fn drop(&mut self) {
        drop(self.close());
    }
}
