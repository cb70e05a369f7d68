//! Which files of a sandbox are kept, decided on listings that are hostile.
//!
//! Owns: patterns, caps, and why something is left. Must not: read anything. Whatever an adapter finds (a listing of
//! the helper, an entry of an archive) is offered here first; only regular files under plain names are ever taken.

use std::collections::BTreeSet;

use crate::ports::{CollectRequest, Collected, CollectedFile};
use crate::text::{Capped, glob_fits, printable};

/// The longest path.
const LONGEST_PATH: usize = 4096;
/// How many reasons are kept in words; the rest is counted.
const MOST_REASONS: usize = 40;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A further name of another entry of an archive.
    HardLink,
    /// A device, pipe, socket, sparse file of an archive or anything else.
    Special,
}

/// An entry that an adapter found.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its absolute path, as the sandbox spells it.
    pub path: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// How large it claims to be.
    pub size: u64,
    /// Whether the task's user may read it.
    pub readable: bool,
}

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Take {
    /// Its path.
    pub path: String,
    /// How many bytes of it.
    pub cap: u64,
}

/// Decides entry by entry.
#[derive(Clone, Debug)]
pub struct Collector {
    patterns: Vec<Vec<String>>,
    request: CollectRequest,
    seen: BTreeSet<String>,
    bytes: u64,
    files: Vec<CollectedFile>,
    left: Vec<String>,
    more_left: u64,
}

impl Collector {
    /// Starts to collect.
    pub fn new(request: &CollectRequest) -> Self {
        Self {
            patterns: request.patterns.iter().map(|pattern| segments(pattern)).collect(),
            request: request.clone(),
            seen: BTreeSet::new(),
            bytes: 0,
            files: Vec::new(),
            left: Vec::new(),
            more_left: 0,
        }
    }

    /// Returns where to look: for each pattern the path before its first wildcard, none below another.
    pub fn roots(&self) -> Vec<String> {
        let mut roots: BTreeSet<String> = BTreeSet::new();
        for pattern in &self.patterns {
            let plain = pattern.iter().take_while(|segment| !is_wild(segment));
            let path: String = plain.flat_map(|segment| ["/", segment]).collect();
            roots.insert(if path.is_empty() { "/".to_owned() } else { path });
        }
        let all: Vec<String> = roots.into_iter().collect();
        let below = |path: &str, other: &str| {
            path != other
                && (other == "/" || path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/')))
        };
        let top = all
            .iter()
            .filter(|path| !all.iter().any(|other| below(path, other)));
        top.cloned().collect()
    }

    /// Returns whether something below a folder could match.
    pub fn wants_folder(&self, path: &str) -> bool {
        let path = segments(path);
        self.patterns.iter().any(|pattern| could_hold(pattern, &path))
    }

    /// Decides about an entry. What matches no pattern is not worth a word.
    pub fn offer(&mut self, offer: &Offer<'_>) -> Option<Take> {
        let path = match plain_path(offer.path) {
            Ok(path) => path,
            Err(why) => {
                // It can't be said whether it matches, so it is told.
                self.leave(&String::from_utf8_lossy(offer.path), why);
                return None;
            }
        };
        let split = segments(path);
        if !self.patterns.iter().any(|pattern| fits(pattern, &split)) {
            return None;
        }
        let why = match offer.kind {
            Kind::Folder => return None,
            Kind::Link => Some("a symbolic link"),
            Kind::HardLink => Some("a hard link"),
            Kind::Special => Some("not a regular file"),
            Kind::File if !offer.readable => Some("the task's user may not read it"),
            Kind::File if self.seen.contains(path) => Some("named twice"),
            Kind::File if self.is_entangled(path) => Some("named both as a file and as a folder"),
            Kind::File if self.files.len() >= self.request.files => Some("too many files"),
            Kind::File if self.bytes >= self.request.total.0 && offer.size > 0 => Some("too much in all"),
            Kind::File => None,
        };
        if let Some(why) = why {
            self.leave(path, why);
            return None;
        }
        self.seen.insert(path.to_owned());
        let room = self.request.total.0.saturating_sub(self.bytes);
        Some(Take {
            path: path.to_owned(),
            cap: self.request.per_file.0.min(room),
        })
    }

    /// Returns whether a file that was taken would have to be a folder for this one, or the other way round.
    fn is_entangled(&self, path: &str) -> bool {
        let mut above = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
        let below = format!("{path}/");
        let next = self.seen.range(below.clone()..).next();
        above.any(|folder| self.seen.contains(folder)) || next.is_some_and(|seen| seen.starts_with(&below))
    }

    /// Keeps what was read of a file that was to be taken.
    pub fn took(&mut self, take: &Take, mut bytes: Vec<u8>, size: u64) {
        bytes.truncate(usize::try_from(take.cap).unwrap_or(usize::MAX));
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.files.push(CollectedFile {
            path: take.path.clone(),
            size: size.max(bytes.len() as u64),
            bytes,
        });
    }

    /// Says why something is left.
    pub fn leave(&mut self, path: &str, why: &str) {
        if self.left.len() < MOST_REASONS {
            let path = printable(&Capped::new(path, 300).text).replace(['\n', '\t'], " ");
            self.left.push(format!("{path}: {why}"));
        } else {
            self.more_left += 1;
        }
    }

    /// Returns what was collected, files by path.
    pub fn finish(mut self) -> Collected {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        if self.more_left > 0 {
            self.left.push(format!("and {} more", self.more_left));
        }
        Collected {
            files: self.files,
            left: self.left,
        }
    }
}

/// Returns a path as text if it has but one reading: absolute, without detours, every character printable.
fn plain_path(path: &[u8]) -> Result<&str, &'static str> {
    let path = std::str::from_utf8(path).map_err(|_| "its name is not UTF-8")?;
    if path.len() > LONGEST_PATH {
        return Err("its name is too long");
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err("its path is not absolute");
    };
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("its path takes a detour");
    }
    if printable(path) != path || path.contains(is_hidden) {
        return Err("its name has characters that can't be shown");
    }
    Ok(path)
}

/// Returns whether a character of a name can't be seen, or changes how others are seen; beside what
/// [`printable`] knows.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\n' | '\t' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{2028}' | '\u{2029}' | '\u{206a}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Puts what an adapter collected through the same decisions once more: it alone stands between a sandbox and the
/// results.
pub fn checked(request: &CollectRequest, collected: Collected) -> Collected {
    let mut collector = Collector::new(request);
    for CollectedFile { path, bytes, size } in collected.files {
        let offer = Offer {
            path: path.as_bytes(),
            kind: Kind::File,
            size: bytes.len() as u64,
            readable: true,
        };
        if let Some(take) = collector.offer(&offer) {
            collector.took(&take, bytes, size);
        }
    }
    let mut checked = collector.finish();
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

/// Returns whether a path fits a pattern: `*` and `?` stay within a part, `**` stands for any number of parts.
pub fn path_fits(pattern: &str, path: &str) -> bool {
    fits(&segments(pattern), &segments(path))
}

fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_wild(segment: &str) -> bool {
    segment.contains(['*', '?'])
}

/// Returns whether a path fits: `*` and `?` stay within a part, `**` stands for any number of parts.
fn fits(pattern: &[String], path: &[String]) -> bool {
    reachable(pattern, path).last().copied().unwrap_or(false)
}

/// Returns whether something below a folder could fit.
fn could_hold(pattern: &[String], folder: &[String]) -> bool {
    let reached = reachable(pattern, folder);
    // A pattern that is used up by the folder itself has nothing left for what is below.
    reached.iter().take(pattern.len()).any(|reached| *reached)
}

/// Returns for each number of leading parts of the pattern whether they can stand for the whole path.
fn reachable(pattern: &[String], path: &[String]) -> Vec<bool> {
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    skip_empty(pattern, &mut reached);
    for part in path {
        let mut next = vec![false; pattern.len() + 1];
        for (at, segment) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            if segment == "**" {
                next[at] = true;
            } else if glob_fits(segment, part) {
                next[at + 1] = true;
            }
        }
        skip_empty(pattern, &mut next);
        reached = next;
    }
    reached
}

/// `**` may stand for no part at all.
fn skip_empty(pattern: &[String], reached: &mut [bool]) {
    for (at, segment) in pattern.iter().enumerate() {
        if reached[at] && segment == "**" {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;
    use pretty_assertions::assert_eq;

    fn collector(patterns: &[&str]) -> Collector {
        Collector::new(&CollectRequest {
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            per_file: Bytes(10),
            total: Bytes(25),
            files: 4,
        })
    }

    fn offered(path: &[u8], kind: Kind) -> (Option<String>, Vec<String>) {
        let mut collector = collector(&["/home/agent/**"]);
        let offer = Offer {
            path,
            kind,
            size: 3,
            readable: true,
        };
        let take = collector.offer(&offer).map(|take| take.path);
        (take, collector.finish().left)
    }

    #[test]
    fn patterns_fit_paths() {
        let cases = [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/b/c", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/b/c", false),
            ("/a/*.txt", "/a/b.txt", true),
            ("/a/?.txt", "/a/bb.txt", false),
            ("/a/**", "/a/b/c/d", true),
            ("/a/**/d", "/a/d", true),
            ("/a/**/d", "/a/b/c/d", true),
            ("/a/**/d", "/a/b/c/e", false),
            ("/**", "/x", true),
            ("/a/**/b/**/c", "/a/b/b/x/c", true),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(
                fits(&segments(pattern), &segments(path)),
                expected,
                "{pattern} {path}"
            );
        }
        // Many wildcards take no longer than few.
        let pattern = segments(&"/**/a".repeat(200));
        assert!(!fits(&pattern, &segments(&"/a".repeat(199))));
    }

    #[test]
    fn only_folders_that_could_hold_something_are_looked_into() {
        let found = collector(&["/a/b/*/c", "/a/b/x", "/d/**"]);
        assert_eq!(found.roots(), ["/a/b", "/d"]);
        let folders = [
            "/", "/a", "/a/b", "/a/b/z", "/a/b/z/c", "/a/b/x", "/d", "/d/e/f", "/e",
        ];
        let wanted = [true, true, true, true, false, true, true, true, false];
        assert_eq!(folders.map(|folder| found.wants_folder(folder)), wanted);
        assert_eq!(collector(&["/**/x"]).roots(), ["/"]);
    }

    #[test]
    fn every_trick_is_left_with_its_reason() {
        let taken = (Some("/home/agent/a".to_owned()), Vec::new());
        assert_eq!(offered(b"/home/agent/a", Kind::File), taken);
        assert_eq!(offered(b"/etc/passwd", Kind::File), (None, Vec::new()));
        assert_eq!(offered(b"/home/agent/d", Kind::Folder), (None, Vec::new()));
        let long = format!("/home/agent/{}", "n".repeat(4096));
        let tricks: [(&[u8], Kind, &str); 14] = [
            (
                b"/home/agent/../../etc/shadow",
                Kind::File,
                "its path takes a detour",
            ),
            (b"/home/agent/./a", Kind::File, "its path takes a detour"),
            (b"/home/agent//a", Kind::File, "its path takes a detour"),
            (b"/home/agent/a/", Kind::File, "its path takes a detour"),
            (b"home/agent/a", Kind::File, "its path is not absolute"),
            (b"", Kind::File, "its path is not absolute"),
            (b"/home/agent/\xff", Kind::File, "its name is not UTF-8"),
            (
                b"/home/agent/a\nb",
                Kind::File,
                "its name has characters that can't be shown",
            ),
            (
                b"/home/agent/\x1b[2J",
                Kind::File,
                "its name has characters that can't be shown",
            ),
            (
                "/home/agent/a\u{202e}b".as_bytes(),
                Kind::File,
                "its name has characters that can't be shown",
            ),
            (long.as_bytes(), Kind::File, "its name is too long"),
            (b"/home/agent/l", Kind::Link, "a symbolic link"),
            (b"/home/agent/h", Kind::HardLink, "a hard link"),
            (b"/home/agent/p", Kind::Special, "not a regular file"),
        ];
        for (path, kind, why) in tricks {
            let (take, left) = offered(path, kind);
            assert_eq!(take, None, "{path:?}");
            assert!(left.len() == 1 && left[0].ends_with(why), "{path:?}: {left:?}");
            assert!(!left[0].contains(['\n', '\x1b', '\u{202e}']), "{left:?}");
        }
    }

    #[test]
    fn caps_hold_for_a_file_for_all_and_for_their_number() {
        let mut collector = collector(&["/x/*"]);
        let mut offer = |name: &str, size: u64, readable: bool| {
            let path = format!("/x/{name}");
            let take = collector.offer(&Offer {
                path: path.as_bytes(),
                kind: Kind::File,
                size,
                readable,
            });
            let Some(take) = take else { return };
            collector.took(&take, vec![b'x'; 1000], size);
        };
        offer("secret", 3, false);
        offer("sparse", 1 << 40, true);
        offer("sparse", 3, true);
        offer("b", 3, true);
        offer("c", 3, true);
        offer("d", 3, true);
        offer("empty", 0, true);
        offer("e", 0, true);
        for n in 0..50 {
            offer(&format!("f{n}"), 3, true);
        }
        let found = collector.finish();
        let sizes: Vec<_> = found
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.bytes.len(), file.size))
            .collect();
        let expected = [
            ("/x/b", 10, 10),
            ("/x/c", 5, 5),
            ("/x/empty", 0, 0),
            ("/x/sparse", 10, 1 << 40),
        ];
        assert_eq!(sizes, expected);
        assert_eq!(
            found.left[..4],
            [
                "/x/secret: the task's user may not read it",
                "/x/sparse: named twice",
                "/x/d: too much in all",
                "/x/e: too many files",
            ]
        );
        assert_eq!(found.left.len(), MOST_REASONS + 1);
        assert_eq!(found.left[MOST_REASONS], "and 14 more");
    }

    #[test]
    fn one_name_is_kept_once() {
        let cases: [(&[&str], &[&str], &[&str]); 4] = [
            (&["/x/a", "/x/a"], &["/x/a"], &["/x/a: named twice"]),
            (&["/x/a", "/x/A"], &["/x/A", "/x/a"], &[]),
            (
                &["/x/a", "/x/a/b"],
                &["/x/a"],
                &["/x/a/b: named both as a file and as a folder"],
            ),
            (
                &["/x/a/b/c", "/x/a", "/x/a-b"],
                &["/x/a-b", "/x/a/b/c"],
                &["/x/a: named both as a file and as a folder"],
            ),
        ];
        for (offered, expected, reasons) in cases {
            let mut collector = collector(&["/x/**"]);
            for path in offered {
                let offer = Offer {
                    path: path.as_bytes(),
                    kind: Kind::File,
                    size: 1,
                    readable: true,
                };
                if let Some(take) = collector.offer(&offer) {
                    collector.took(&take, vec![b'x'], 1);
                }
            }
            let found = collector.finish();
            let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(
                (paths.as_slice(), found.left),
                (expected, reasons.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn names_that_deceive_are_left() {
        for name in [
            "a\u{ad}b",
            "a\u{61c}b",
            "a\u{2028}b",
            "a\u{e0041}b",
            "a\u{feff}b",
            "a\u{200d}b",
            "a\0b",
        ] {
            let (take, left) = offered(format!("/home/agent/{name}").as_bytes(), Kind::File);
            assert_eq!((take, left.len()), (None, 1), "{name:?}");
        }
    }

    #[test]
    fn what_an_adapter_collected_is_checked_again() {
        let collected = |path: &str| CollectedFile {
            path: path.to_owned(),
            bytes: vec![b'x'; 12],
            size: 12,
        };
        let all = Collected {
            files: ["/x/a", "/x/../b", "/etc/c", "/x/a"].map(collected).into(),
            left: vec!["/x/l: a symbolic link".to_owned()],
        };
        let request = collector(&["/x/**"]).request;
        let expected = Collected {
            files: vec![CollectedFile {
                path: "/x/a".to_owned(),
                bytes: vec![b'x'; 10],
                size: 12,
            }],
            left: vec![
                "/x/../b: its path takes a detour".to_owned(),
                "/x/a: named twice".to_owned(),
                "/x/l: a symbolic link".to_owned(),
            ],
        };
        assert_eq!(checked(&request, all), expected);
    }

    #[test]
    fn files_collide_where_one_is_in_the_way_of_the_other() {
        for (left, right, expected) in [
            ("/score/key", "/score/key", true),
            ("/score", "/score/key", true),
            ("/score/key/x", "/score/key", true),
            ("/score/key2", "/score/key", false),
            ("/sco", "/score/key", false),
        ] {
            assert_eq!(collide(left, right), expected, "{left} {right}");
        }
    }
}
