//! The store in memory, for tests of what uses a store.
//!
//! Owns: the same answers as the store on disk. Must not: be used where results matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness_core::event::{AttemptEvent, Line, RunEvent};
use harness_core::ids::{AttemptId, Digest};
use harness_core::ports::{AttemptLog, EventStore, Later, LogSeal, StoreError};
use harness_core::units::Moment;

use crate::dir::attempt_file;
use crate::encode;
use crate::health::locked;
use crate::scrub::Scrubber;

/// Keeps everything in memory. Clones share their content.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    scrubber: Scrubber,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line<RunEvent>>,
    attempts: BTreeMap<AttemptId, Vec<Line<AttemptEvent>>>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    calls_left: Option<u64>,
    broken: bool,
}

impl State {
    /// Counts a call that writes.
    fn write(&mut self) -> Result<(), StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        match &mut self.calls_left {
            None => Ok(()),
            Some(0) => {
                self.broken = true;
                Err(StoreError::Write {
                    path: "memory".to_owned(),
                    detail: "no space left on device".to_owned(),
                })
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl MemoryStore {
    /// Makes a store that takes secrets out.
    pub fn scrubbing(scrubber: Scrubber) -> Self {
        Self {
            scrubber,
            ..Self::default()
        }
    }

    /// Makes a store whose disk is full after this many calls that write.
    pub fn failing_after(calls: u64) -> Self {
        let store = Self::default();
        locked(&store.state).calls_left = Some(calls);
        store
    }

    /// Returns the facts of the scheduler.
    pub fn lines(&self) -> Vec<Line<RunEvent>> {
        locked(&self.state).lines.clone()
    }

    /// Returns the events of the scheduler without their lines.
    pub fn events(&self) -> Vec<RunEvent> {
        self.lines().into_iter().map(|line| line.event).collect()
    }

    /// Returns the facts of an attempt.
    pub fn attempt_lines(&self, attempt: &AttemptId) -> Vec<Line<AttemptEvent>> {
        locked(&self.state)
            .attempts
            .get(attempt)
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the attempts that have a log.
    pub fn attempts(&self) -> Vec<AttemptId> {
        locked(&self.state).attempts.keys().cloned().collect()
    }

    /// Returns a blob.
    pub fn blob(&self, digest: Digest) -> Option<Vec<u8>> {
        locked(&self.state).blobs.get(&digest).cloned()
    }
}

impl EventStore for MemoryStore {
    fn append(&self, now: Moment, event: &RunEvent) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        state.write()?;
        let seq = state.lines.len() as u64;
        let bytes = encode::line(&self.scrubber, seq, (now.wall, now.elapsed), event).map_err(unreadable)?;
        let line = serde_json::from_slice(&bytes).map_err(unreadable)?;
        state.lines.push(line);
        Ok(())
    }

    fn attempt(&self, attempt: &AttemptId, index: u32) -> Result<Box<dyn AttemptLog>, StoreError> {
        let mut state = locked(&self.state);
        state.write()?;
        state.attempts.insert(attempt.clone(), Vec::new());
        Ok(Box::new(MemoryLog {
            state: Arc::clone(&self.state),
            scrubber: self.scrubber.clone(),
            attempt: attempt.clone(),
            file: attempt_file(attempt, index),
            bytes: Vec::new(),
            lines: 0,
        }))
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut state = locked(&self.state);
        state.write()?;
        let clean = self.scrubber.bytes(bytes).into_owned();
        let digest = Digest::of(&clean);
        state.blobs.insert(digest, clean);
        Ok(digest)
    }

    fn commit(&self, now: Moment, event: RunEvent) -> Later<'_, Result<(), StoreError>> {
        let appended = self.append(now, &event);
        Box::pin(std::future::ready(appended))
    }
}

struct MemoryLog {
    state: Arc<Mutex<State>>,
    scrubber: Scrubber,
    attempt: AttemptId,
    file: String,
    bytes: Vec<u8>,
    lines: u64,
}

impl AttemptLog for MemoryLog {
    fn append(&mut self, now: Moment, working: Duration, event: &AttemptEvent) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        state.write()?;
        let bytes =
            encode::line(&self.scrubber, self.lines, (now.wall, working), event).map_err(unreadable)?;
        let line = serde_json::from_slice(&bytes).map_err(unreadable)?;
        state.attempts.entry(self.attempt.clone()).or_default().push(line);
        self.bytes.extend(bytes);
        self.lines += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        locked(&self.state).write()
    }

    fn finish(self: Box<Self>) -> Result<LogSeal, StoreError> {
        locked(&self.state).write()?;
        Ok(LogSeal {
            file: self.file.clone(),
            lines: self.lines,
            bytes: self.bytes.len() as u64,
            digest: Digest::of(&self.bytes),
        })
    }
}

fn unreadable(detail: impl std::fmt::Display) -> StoreError {
    StoreError::Write {
        path: "memory".to_owned(),
        detail: detail.to_string(),
    }
}
