//! Reads logs back.
//!
//! Owns: what a torn tail is. Must not: judge events (see `fold` in core).
//!
//! A crash may leave a torn last line: one without its newline, or one that is not JSON. It was never
//! acknowledged, so readers leave it out and say so. Whatever is wrong before the last line is an error, and so
//! is a last line that is whole but not known: another version wrote it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use harness_core::event::{AttemptEvent, LOG_FORMAT, Line, RunEvent};
use harness_core::ids::Digest;
use harness_core::ports::{LogSeal, StoreError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::files::read_error;

/// What `run.jsonl` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLog {
    /// The whole lines.
    pub lines: Vec<Line<RunEvent>>,
    /// Their size.
    pub bytes: u64,
    /// The torn last line, if there is one.
    pub torn: Option<Torn>,
}

/// A torn last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its number, from 1.
    pub line: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// Reads `run.jsonl` of a run's folder; a missing file has no lines (the process died before the first).
///
/// # Errors
/// If a line before the last can't be read; the text names it.
pub fn read_run(folder: &Path) -> Result<RunLog, StoreError> {
    let path = folder.join("run.jsonl");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RunLog::default()),
        Err(error) => return Err(read_error(&path, error)),
    };
    let mut log = RunLog::default();
    let mut pieces = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(piece) = pieces.next() {
        let number = log.lines.len() as u64 + 1;
        let last = pieces.peek().is_none();
        match parse(piece) {
            Ok(line) => {
                log.lines.push(line);
                log.bytes += piece.len() as u64;
            }
            Err(Unreadable::Torn(_)) if last => {
                log.torn = Some(Torn {
                    line: number,
                    bytes: piece.len() as u64,
                });
            }
            Err(Unreadable::Torn(detail) | Unreadable::Unknown(detail)) => {
                return Err(read_error(&path, format!("line {number} {detail}")));
            }
        }
    }
    Ok(log)
}

enum Unreadable {
    /// It may be what a crash left.
    Torn(String),
    /// It is whole, and not ours.
    Unknown(String),
}

fn parse<E: DeserializeOwned>(piece: &[u8]) -> Result<Line<E>, Unreadable> {
    let Some(text) = piece.strip_suffix(b"\n") else {
        return Err(Unreadable::Torn("has no end".to_owned()));
    };
    let error = match serde_json::from_slice(text) {
        Ok(line) => return Ok(line),
        Err(error) => error,
    };
    let Ok(value) = serde_json::from_slice::<Value>(text) else {
        return Err(Unreadable::Torn(format!("is torn: {error}")));
    };
    let format = value.pointer("/event/format").and_then(Value::as_u64);
    Err(Unreadable::Unknown(match format {
        Some(format) if format != u64::from(LOG_FORMAT) => {
            format!("says format {format}, this program reads {LOG_FORMAT}: use the version that wrote it")
        }
        Some(_) | None => format!("is not an event that this version knows: {error}"),
    }))
}

/// Reads the log of an attempt, line by line.
#[derive(Debug)]
pub struct AttemptReader {
    path: PathBuf,
    source: Option<BufReader<File>>,
    seal: Option<LogSeal>,
    lines: u64,
    bytes: u64,
    hasher: blake3::Hasher,
    torn: Option<Torn>,
}

impl AttemptReader {
    pub(crate) fn open(path: PathBuf, seal: Option<LogSeal>) -> Result<Self, StoreError> {
        let file = File::open(&path).map_err(|error| read_error(&path, error))?;
        Ok(Self {
            path,
            source: Some(BufReader::with_capacity(64 << 10, file)),
            seal,
            lines: 0,
            bytes: 0,
            hasher: blake3::Hasher::new(),
            torn: None,
        })
    }

    /// Returns the torn last line of an unsealed log, known once the lines were read.
    pub fn torn(&self) -> Option<Torn> {
        self.torn
    }

    fn read_line(&mut self) -> Result<Option<Line<AttemptEvent>>, String> {
        let Some(source) = &mut self.source else {
            return Ok(None);
        };
        let mut piece = Vec::new();
        source
            .read_until(b'\n', &mut piece)
            .map_err(|error| error.to_string())?;
        if piece.is_empty() {
            self.source = None;
            return self.check_seal().map(|()| None);
        }
        self.hasher.update(&piece);
        self.bytes += piece.len() as u64;
        let number = self.lines + 1;
        match parse::<AttemptEvent>(&piece) {
            Ok(line) if line.seq == self.lines => {
                self.lines = number;
                Ok(Some(line))
            }
            Ok(line) => Err(format!(
                "line {number} has the number {} where {} follows",
                line.seq, self.lines
            )),
            Err(Unreadable::Torn(_)) if self.seal.is_none() && self.at_end()? => {
                self.source = None;
                self.torn = Some(Torn {
                    line: number,
                    bytes: piece.len() as u64,
                });
                Ok(None)
            }
            Err(Unreadable::Torn(detail) | Unreadable::Unknown(detail)) => {
                Err(format!("line {number} {detail}"))
            }
        }
    }

    fn at_end(&mut self) -> Result<bool, String> {
        let Some(source) = &mut self.source else {
            return Ok(true);
        };
        source
            .fill_buf()
            .map(<[u8]>::is_empty)
            .map_err(|error| error.to_string())
    }

    fn check_seal(&self) -> Result<(), String> {
        let Some(seal) = &self.seal else {
            return Ok(());
        };
        let digest = Digest::from_bytes(*self.hasher.finalize().as_bytes());
        if (seal.lines, seal.bytes, seal.digest) == (self.lines, self.bytes, digest) {
            return Ok(());
        }
        Err(format!(
            "it was changed after it was sealed: {} lines, {} bytes, digest {} instead of {} lines, {} bytes, digest {}",
            self.lines,
            self.bytes,
            digest.short(),
            seal.lines,
            seal.bytes,
            seal.digest.short()
        ))
    }
}

impl Iterator for AttemptReader {
    type Item = Result<Line<AttemptEvent>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read_line();
        if read.is_err() {
            self.source = None;
        }
        read.map_err(|detail| read_error(&self.path, detail)).transpose()
    }
}
