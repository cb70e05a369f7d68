//! Tar archives: what is put into containers and images, and what comes out.
//!
//! Owns: packing with fixed times and owners, and reading an untrusted answer. Must not: touch the file system.

use std::io::Read;

use harness_core::ports::{FileContent, FileProblem};
use tar::{Archive, Builder, EntryType, Header};

/// Who owns an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) uid: u64,
    /// The group.
    pub(crate) gid: u64,
}

impl Owner {
    /// Root.
    pub(crate) const ROOT: Self = Self { uid: 0, gid: 0 };
}

/// An archive in the making; the same entries give the same bytes.
pub(crate) struct Tarball {
    builder: Builder<Vec<u8>>,
}

impl Tarball {
    /// Starts an archive.
    pub(crate) fn new() -> Self {
        Self {
            builder: Builder::new(Vec::new()),
        }
    }

    /// Adds a folder.
    pub(crate) fn folder(&mut self, path: &str, mode: u32, owner: Owner) -> std::io::Result<()> {
        let mut header = header(EntryType::Directory, mode, owner, 0);
        let path = format!("{}/", path.trim_matches('/'));
        self.builder.append_data(&mut header, path, std::io::empty())
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, owner: Owner, bytes: &[u8]) -> std::io::Result<()> {
        let mut header = header(EntryType::Regular, mode, owner, bytes.len() as u64);
        self.builder
            .append_data(&mut header, path.trim_start_matches('/'), bytes)
    }

    /// Adds a symbolic link owned by root.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> std::io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, Owner::ROOT, 0);
        self.builder
            .append_link(&mut header, path.trim_start_matches('/'), target)
    }

    /// Ends the archive.
    pub(crate) fn finish(self) -> std::io::Result<Vec<u8>> {
        self.builder.into_inner()
    }
}

fn header(kind: EntryType, mode: u32, owner: Owner, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.uid);
    header.set_gid(owner.gid);
    header.set_mtime(0);
    header.set_size(size);
    header
}

/// How much of an answer is needed to see `cap` bytes of its first file: long names come in extra headers.
pub(crate) fn needed(cap: usize) -> usize {
    cap.saturating_add(64 << 10)
}

/// Reads the first entry out of the beginning of an archive.
pub(crate) fn first_file(beginning: &[u8], cap: usize) -> Result<FileContent, FileProblem> {
    let mut archive = Archive::new(beginning);
    let mut entries = archive.entries().map_err(|_| FileProblem::Missing)?;
    let Some(Ok(entry)) = entries.next() else {
        return Err(FileProblem::Missing);
    };
    if !matches!(
        entry.header().entry_type(),
        EntryType::Regular | EntryType::Continuous
    ) {
        return Err(FileProblem::NotRegular);
    }
    let size = entry.size();
    let mut bytes = Vec::new();
    let read = entry.take(cap as u64).read_to_end(&mut bytes);
    if read.is_err() || (bytes.len() as u64) < size.min(cap as u64) {
        return Err(FileProblem::Missing);
    }
    Ok(FileContent { bytes, size })
}

/// Returns kind and owner of the first entry out of the beginning of an archive.
pub(crate) fn first_owner(beginning: &[u8]) -> Option<(EntryType, Owner)> {
    let mut archive = Archive::new(beginning);
    let entry = archive.entries().ok()?.next()?.ok()?;
    let owner = Owner {
        uid: entry.header().uid().ok()?,
        gid: entry.header().gid().ok()?,
    };
    Some((entry.header().entry_type(), owner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn packed(build: impl Fn(&mut Tarball)) -> Vec<u8> {
        let mut tarball = Tarball::new();
        build(&mut tarball);
        tarball.finish().unwrap()
    }

    #[test]
    fn a_file_is_read_up_to_the_cap() {
        let bytes = packed(|tar| tar.file("/a/b", 0o644, Owner::ROOT, b"hello world").unwrap());
        let whole = FileContent {
            bytes: b"hello world".to_vec(),
            size: 11,
        };
        assert_eq!(first_file(&bytes, 100), Ok(whole));
        let beginning = FileContent {
            bytes: b"hello".to_vec(),
            size: 11,
        };
        assert_eq!(first_file(&bytes[..600], 5), Ok(beginning));
        assert_eq!(first_file(&bytes[..520], 11), Err(FileProblem::Missing));
    }

    #[test]
    fn names_longer_than_a_header_are_read() {
        let name = "n".repeat(240);
        let bytes = packed(|tar| tar.file(&name, 0o644, Owner::ROOT, b"x").unwrap());
        assert_eq!(first_file(&bytes, 9).unwrap().bytes, b"x");
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let link = packed(|tar| tar.link("/a", "/etc/shadow").unwrap());
        let folder = packed(|tar| {
            tar.folder("/a", 0o755, Owner::ROOT).unwrap();
            tar.file("/a/b", 0o644, Owner::ROOT, b"x").unwrap();
        });
        assert_eq!(first_file(&link, 9), Err(FileProblem::NotRegular));
        assert_eq!(first_file(&folder, 9), Err(FileProblem::NotRegular));
        for garbage in [&b""[..], &[0; 1024], &[b'x'; 1024], b"short"] {
            assert_eq!(first_file(garbage, 9), Err(FileProblem::Missing));
        }
    }

    #[test]
    fn the_same_entries_give_the_same_bytes() {
        let once = || packed(|tar| tar.file("/a", 0o755, Owner { uid: 7, gid: 8 }, b"x").unwrap());
        assert_eq!(once(), once());
        assert_eq!(
            first_owner(&once()),
            Some((EntryType::Regular, Owner { uid: 7, gid: 8 }))
        );
    }
}
