//! Which files of a sandbox are kept.
//!
//! Owns: patterns, and the decision about every entry of a listing that comes out of a sandbox. Must not: read
//! anything. A listing is hostile: its names, kinds and sizes are whatever a program in the sandbox made them.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::ports::{CollectRequest, Collected, CollectedFile};
use crate::text::{Capped, glob_fits, printable};
use crate::units::Bytes;

#[cfg(test)]
mod tests;

/// The longest path, as on Linux.
const LONGEST_PATH: usize = 4096;
/// The most reasons that are kept; of more, only their number.
const MOST_REASONS: usize = 24;
/// How much of a path a reason shows.
const SHOWN_PATH: usize = 200;

/// What an entry of a listing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A second name of a file, as archives have them.
    HardLink,
    /// A device.
    Device,
    /// A pipe.
    Pipe,
    /// A socket.
    Socket,
    /// Anything else.
    Other,
}

impl EntryKind {
    fn words(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Link => "a symbolic link",
            Self::HardLink => "a hard link",
            Self::Device => "a device",
            Self::Pipe => "a pipe",
            Self::Socket => "a socket",
            Self::Other => "no regular file",
        }
    }
}

/// An entry of a listing, as it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path.
    pub path: &'a [u8],
    /// What it is.
    pub kind: EntryKind,
    /// How long it is said to be.
    pub size: u64,
    /// How many names it has; 1 where that is not known.
    pub links: u64,
}

/// What is done with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is read, at most `cap` bytes of it, and handed to [`Capturing::keep`].
    Take {
        /// Its path.
        path: String,
        /// The most bytes that are read.
        cap: u64,
    },
    /// It was not asked for.
    Skip,
    /// It was asked for and is left; the reason is kept.
    Leave,
}

/// Decides entry by entry, and collects what is kept.
///
/// # Examples
/// ```
/// use harness_core::capture::{Capturing, Decision, Entry, EntryKind};
/// use harness_core::ports::CollectRequest;
/// use harness_core::units::Bytes;
///
/// let request = CollectRequest {
///     patterns: vec!["/out/**".into()],
///     per_file: Bytes(100),
///     total: Bytes(1000),
///     files: 10,
/// };
/// let mut capturing = Capturing::new(&request);
/// let entry = Entry { path: b"/out/a", kind: EntryKind::File, size: 3, links: 1 };
/// assert_eq!(capturing.offer(&entry), Decision::Take { path: "/out/a".into(), cap: 100 });
/// capturing.keep("/out/a", b"abc".to_vec(), 3);
/// assert_eq!(capturing.finish().files.len(), 1);
/// ```
#[derive(Debug)]
pub struct Capturing {
    patterns: Vec<String>,
    per_file: u64,
    most_files: usize,
    left_total: u64,
    /// What was taken; `None` until it was read.
    taken: BTreeMap<String, Option<CollectedFile>>,
    reasons: Vec<String>,
    more_reasons: u64,
}

impl Capturing {
    /// Begins with nothing.
    pub fn new(request: &CollectRequest) -> Self {
        Self {
            patterns: request.patterns.clone(),
            per_file: request.per_file.0,
            most_files: request.files,
            left_total: request.total.0,
            taken: BTreeMap::new(),
            reasons: Vec::new(),
            more_reasons: 0,
        }
    }

    /// Decides about an entry.
    pub fn offer(&mut self, entry: &Entry<'_>) -> Decision {
        let shown = String::from_utf8_lossy(entry.path);
        let Some(pattern) = self.patterns.iter().find(|pattern| fits(pattern, &shown)) else {
            return Decision::Skip;
        };
        let plain = pattern == &shown;
        match self.refusal(entry, plain) {
            Err(Some(reason)) => {
                self.leave(&shown, &reason);
                Decision::Leave
            }
            Err(None) => Decision::Skip,
            Ok(path) => {
                self.taken.insert(path.to_owned(), None);
                Decision::Take {
                    path: path.to_owned(),
                    cap: self.per_file.min(self.left_total),
                }
            }
        }
    }

    /// Keeps what was read of an entry that was to be taken; more bytes than allowed are dropped here.
    pub fn keep(&mut self, path: &str, mut bytes: Vec<u8>, size: u64) {
        let cap = self.per_file.min(self.left_total);
        bytes.truncate(usize::try_from(cap).unwrap_or(usize::MAX));
        let kept = bytes.len() as u64;
        let Some(place @ None) = self.taken.get_mut(path) else {
            return;
        };
        self.left_total -= kept;
        *place = Some(CollectedFile {
            path: path.to_owned(),
            bytes,
            size: size.max(kept),
        });
    }

    /// Leaves something that was to be taken, or of which only a part of the name is known.
    pub fn leave(&mut self, path: &str, reason: &str) {
        if matches!(self.taken.get(path), Some(None)) {
            self.taken.remove(path);
        }
        if self.reasons.len() < MOST_REASONS {
            let path = Capped::new(&printable(path).replace(['\n', '\t'], " "), SHOWN_PATH).text;
            self.reasons
                .push(format!("{}: {reason}", path.replace('\n', " ")));
        } else {
            self.more_reasons += 1;
        }
    }

    /// Returns what was kept and what was left.
    pub fn finish(self) -> Collected {
        let mut left = self.reasons;
        if self.more_reasons > 0 {
            left.push(format!("and {} more", self.more_reasons));
        }
        Collected {
            files: self.taken.into_values().flatten().collect(),
            left,
        }
    }

    /// Returns the path of an entry that is taken, or why it is not; `None` if that is no news.
    fn refusal<'e>(&self, entry: &Entry<'e>, plain: bool) -> Result<&'e str, Option<String>> {
        let path = checked_path(entry.path).map_err(|why| Some(why.to_owned()))?;
        match entry.kind {
            EntryKind::File if entry.links > 1 => return Err(Some("a file with several names".to_owned())),
            EntryKind::File => {}
            EntryKind::Folder if plain => {
                return Err(Some("a folder; write it with `/**` for what is in it".to_owned()));
            }
            EntryKind::Folder => return Err(None),
            EntryKind::Link
            | EntryKind::HardLink
            | EntryKind::Device
            | EntryKind::Pipe
            | EntryKind::Socket
            | EntryKind::Other => return Err(Some(entry.kind.words().to_owned())),
        }
        if self.taken.contains_key(path) {
            return Err(Some("a second entry of this name".to_owned()));
        }
        if self.is_entangled(path) {
            return Err(Some("a file and a folder of one name".to_owned()));
        }
        if self.taken.len() >= self.most_files {
            return Err(Some(format!("more than {} files", self.most_files)));
        }
        let needed = entry.size.min(self.per_file);
        if needed > self.left_total {
            let left = Bytes(self.left_total);
            return Err(Some(format!(
                "{} do not fit into the {left} that are left",
                Bytes(needed)
            )));
        }
        Ok(path)
    }

    /// Returns whether a file that was taken would have to be a folder for this one, or the other way round.
    fn is_entangled(&self, path: &str) -> bool {
        let above = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
        let below = format!("{path}/");
        let range = (Bound::Excluded(below.as_str()), Bound::Unbounded);
        let next = self.taken.range::<str, _>(range).next();
        above.into_iter().any(|folder| self.taken.contains_key(folder))
            || next.is_some_and(|(taken, _)| taken.starts_with(&below))
    }
}

/// Puts what an adapter collected through the same decisions once more.
pub fn checked(request: &CollectRequest, collected: Collected) -> Collected {
    let mut capturing = Capturing::new(request);
    for file in collected.files {
        let entry = Entry {
            path: file.path.as_bytes(),
            kind: EntryKind::File,
            size: file.bytes.len() as u64,
            links: 1,
        };
        if let Decision::Take { path, .. } = capturing.offer(&entry) {
            capturing.keep(&path, file.bytes, file.size);
        }
    }
    let mut checked = capturing.finish();
    checked
        .left
        .extend(collected.left.into_iter().take(MOST_REASONS + 1));
    checked
}

/// Returns whether two files can't both be there: they have one path, or one is a folder for the other.
pub fn collide(left: &str, right: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(left, right) || within(right, left)
}

/// Returns whether a path fits a pattern: `*` and `?` stay within a part of the path, `**` is any number of parts.
pub fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < path.len() {
        match pattern.get(p) {
            Some(&"**") => {
                star = Some((p, t));
                p += 1;
            }
            Some(part) if glob_fits(part, path[t]) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|part| *part == "**")
}

fn checked_path(path: &[u8]) -> Result<&str, &'static str> {
    if path.len() > LONGEST_PATH {
        return Err("a path that is too long");
    }
    let Ok(path) = std::str::from_utf8(path) else {
        return Err("a path that is not UTF-8");
    };
    if path.chars().any(is_hidden) {
        return Err("a path with characters that can't be seen");
    }
    let mut parts = path.split('/');
    if parts.next() != Some("") || parts.any(|part| matches!(part, "" | "." | "..")) {
        return Err("a path that is not plain and absolute");
    }
    Ok(path)
}

/// Returns whether a character is not to be seen, or changes how others are seen.
fn is_hidden(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || invisible
}
