//! Files that are kept of a sandbox at its end.
//!
//! Owns: finding them, by the helper's listings or in an archive that the task's user could make. Must not: decide which are kept
//! (`core::capture` does), or follow anything.

use std::collections::VecDeque;
use std::io::Read;
use std::time::Duration;

use harness_core::capture::{Collector, Kind, Offer, Take};
use harness_core::ports::{
    CollectRequest, Collected, ExecEnding, ExecRequest, ExecUser, FileProblem, SandboxError,
};
use harness_core::scoring::describe_ending;
use harness_core::text::{Capped, printable};
use harness_core::units::Bytes;
use harness_guest::{Entry, EntryKind, Identity};
use tar::{Archive, EntryType};

use crate::link::Link;
use crate::sandbox::DockerSandbox;

/// How many folders are looked into.
const MOST_FOLDERS: usize = 5_000;
/// How many entries are looked at.
const MOST_ENTRIES: usize = 200_000;
/// How much of an archive is read beyond the files that are kept: headers, and files that don't match.
const ARCHIVE_SLACK: u64 = 256 << 20;
/// What a command may say besides, before its output is too much.
const OUTPUT_SLACK: u64 = 1 << 20;
/// How long packing may take.
const PACKING_TIME: Duration = Duration::from_mins(5);
/// How many complaints of the packing program are told.
const MOST_COMPLAINTS: usize = 20;
/// Packs `$2` in `$1`.
const PACK: &str = r#"cd -- "$1" && tar -cf - -- "$2" | head -c "$3""#;

impl DockerSandbox {
    /// Collects what matches.
    pub(crate) async fn collect_files(&self, request: &CollectRequest) -> Result<Collected, SandboxError> {
        match self.helper().await? {
            Some(link) => match self.collect_helped(link, request).await {
                Ok(collected) => Ok(collected),
                Err(error) => Err(self.explain_loss(error).await),
            },
            None => self.collect_from_archives(request).await,
        }
    }

    async fn collect_helped(&self, link: &Link, request: &CollectRequest) -> Result<Collected, SandboxError> {
        let user = self.identity(ExecUser::Task);
        let mut collector = Collector::new(request);
        let mut walk = Walk {
            link,
            user: &user,
            folders: VecDeque::new(),
            looked_at: 0,
        };
        for root in collector.roots() {
            match link.stat(&root, &user).await? {
                Some(entry) if entry.kind == EntryKind::Folder => walk.folders.push_back(root),
                Some(entry) => walk.take(&mut collector, root.as_bytes(), &entry).await?,
                None => collector.leave(&root, "no such file, or the task's user may not see it"),
            }
        }
        let mut folders = 0;
        while let Some(folder) = walk.folders.pop_front() {
            folders += 1;
            if folders > MOST_FOLDERS || walk.looked_at > MOST_ENTRIES {
                collector.leave(
                    &folder,
                    "too many folders or entries; this one and others are left",
                );
                break;
            }
            walk.look_into(&mut collector, &folder).await?;
        }
        Ok(collector.finish())
    }

    /// Collects from archives that a program of the image makes as the task's user. The daemon would make them as root
    /// and follow links on the way to a folder, so that it packs what that user could not even see.
    async fn collect_from_archives(&self, request: &CollectRequest) -> Result<Collected, SandboxError> {
        let mut collector = Collector::new(request);
        for root in collector.roots() {
            if root == "/" {
                collector.leave("/", "without the helper a pattern must begin with a folder");
                continue;
            }
            let (parent, name) = root.rsplit_once('/').unwrap_or(("", &root));
            let packed = self.exec_request(&self.packing(parent, name, request)).await?;
            for line in packed
                .stderr
                .head
                .split(|byte| *byte == b'\n')
                .take(MOST_COMPLAINTS)
            {
                let line = String::from_utf8_lossy(line);
                if !line.trim().is_empty() {
                    collector.leave(&root, &printable(&Capped::new(line.trim(), 300).text));
                }
            }
            if packed.ending != (ExecEnding::Exited { code: 0 }) {
                collector.leave(
                    &root,
                    &format!("packing it ended with {}", describe_ending(packed.ending)),
                );
            }
            collect_from(&packed.stdout.head, parent, &mut collector);
        }
        Ok(collector.finish())
    }

    /// Returns a command that packs one folder or file below another. What comes after so many bytes is cut.
    fn packing(&self, parent: &str, name: &str, request: &CollectRequest) -> ExecRequest {
        let limit = self.shared.settings.output_limit.0.saturating_sub(OUTPUT_SLACK);
        let most = request.total.0.saturating_add(ARCHIVE_SLACK).min(limit);
        let parent = if parent.is_empty() { "/" } else { parent };
        let argv = ["/bin/sh", "-c", PACK, "sh", parent, name, &most.to_string()];
        ExecRequest {
            argv: argv.map(str::to_owned).to_vec(),
            cwd: Some("/".to_owned()),
            // Half of what is kept is the beginning.
            keep: Bytes(most.saturating_mul(2)),
            ..ExecRequest::shell("", PACKING_TIME)
        }
    }
}

/// A walk through folders by the helper's listings.
struct Walk<'a> {
    link: &'a Link,
    user: &'a Identity,
    folders: VecDeque<String>,
    looked_at: usize,
}

impl Walk<'_> {
    async fn look_into(&mut self, collector: &mut Collector, folder: &str) -> Result<(), SandboxError> {
        let Some(mut entries) = self.link.list(folder, self.user).await? else {
            collector.leave(folder, "the task's user may not look into it");
            return Ok(());
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.looked_at += entries.len();
        for entry in entries {
            let path = [folder.trim_end_matches('/').as_bytes(), b"/", &entry.name].concat();
            // A name with a slash would be another path.
            let name = entry.name.as_slice();
            let plain = !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/');
            match entry.kind {
                EntryKind::Folder if plain => match String::from_utf8(path) {
                    Ok(path) if collector.wants_folder(&path) => self.folders.push_back(path),
                    Ok(_) => {}
                    Err(error) => {
                        let path = String::from_utf8_lossy(error.as_bytes()).into_owned();
                        collector.leave(&path, "its name is not UTF-8, so it is not looked into");
                    }
                },
                _ if plain => self.take(collector, &path, &entry).await?,
                _ => {
                    return Err(SandboxError::Breached {
                        breach: "forged_listing".to_owned(),
                        evidence: format!("an entry of {folder} has a name that no file can have"),
                    });
                }
            }
        }
        Ok(())
    }

    async fn take(&self, collector: &mut Collector, path: &[u8], entry: &Entry) -> Result<(), SandboxError> {
        let kind = match entry.kind {
            EntryKind::File => Kind::File,
            EntryKind::Folder => Kind::Folder,
            EntryKind::Link => Kind::Link,
            EntryKind::Special => Kind::Special,
        };
        let offer = Offer {
            path,
            kind,
            size: entry.size,
            readable: true,
        };
        let Some(take) = collector.offer(&offer) else {
            return Ok(());
        };
        match self.link.read_file(&take.path, self.user.clone(), take.cap).await {
            Ok(content) => collector.took(&take, content.bytes, content.size),
            Err(SandboxError::File { problem, .. }) => collector.leave(&take.path, why(problem)),
            // One file that can't be read, such as on a broken disk, does not cost the others.
            Err(SandboxError::Daemon { detail, .. }) => collector.leave(&take.path, &detail),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn why(problem: FileProblem) -> &'static str {
    match problem {
        FileProblem::Missing => "it is gone",
        FileProblem::NotRegular => "not a regular file",
        FileProblem::BadPath => "not a valid path",
        FileProblem::Denied => "the task's user may not read it",
        FileProblem::NoSpace => "no space left",
    }
}

/// Collects from an archive of a folder or file below `parent`. Who made it may have lied.
fn collect_from(archive: &[u8], parent: &str, collector: &mut Collector) {
    let mut archive = Archive::new(archive);
    let Ok(entries) = archive.entries() else {
        collector.leave(parent, "an archive that can't be read");
        return;
    };
    for entry in entries.take(MOST_ENTRIES) {
        let Ok(mut entry) = entry else {
            collector.leave(parent, "the rest of an archive that can't be read");
            return;
        };
        let header = entry.header();
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => continue,
            EntryType::Symlink => Kind::Link,
            EntryType::Link => Kind::HardLink,
            _ => Kind::Special,
        };
        let path = [parent.as_bytes(), b"/", &entry.path_bytes()].concat();
        let size = entry.size();
        let offer = Offer {
            path: &path,
            kind,
            size,
            readable: true,
        };
        let Some(take) = collector.offer(&offer) else {
            continue;
        };
        match read(&mut entry, &take) {
            Some(bytes) => collector.took(&take, bytes, size),
            None => collector.leave(&take.path, "its archive ends too early"),
        }
    }
}

fn read(entry: &mut impl Read, take: &Take) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(take.cap).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use tar::Header;

    fn collected(archive: &[u8]) -> (Vec<(String, usize)>, Vec<String>) {
        let mut collector = Collector::new(&CollectRequest {
            patterns: vec!["/home/agent/**".to_owned(), "/etc/**".to_owned()],
            per_file: Bytes(1000),
            total: Bytes(5000),
            files: 10,
        });
        collect_from(archive, "/home", &mut collector);
        let found = collector.finish();
        let files = found.files.into_iter().map(|file| (file.path, file.bytes.len()));
        (files.collect(), found.left)
    }

    /// Writes a header by hand, since the library refuses to write what hostile archives hold.
    fn entry(name: &[u8], kind: u8, size: &[u8; 12], body: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(1000);
        header.set_gid(1000);
        header.set_mtime(0);
        let raw = header.as_mut_bytes();
        raw[..name.len()].copy_from_slice(name);
        raw[124..136].copy_from_slice(size);
        raw[156] = kind;
        if matches!(kind, b'1' | b'2') {
            raw[157..168].copy_from_slice(b"/etc/shadow");
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }

    const THREE: &[u8; 12] = b"00000000003\0";
    const NONE: &[u8; 12] = b"00000000000\0";
    /// Eight gigabytes less one, the most that octal digits say.
    const HUGE: &[u8; 12] = b"77777777777\0";

    #[test]
    fn every_trick_of_an_archive_is_left() {
        let good = entry(b"agent/good", b'0', THREE, b"abc");
        let tricks: [(Vec<u8>, &str); 9] = [
            (
                entry(b"agent/../../etc/passwd", b'0', THREE, b"abc"),
                "its path takes a detour",
            ),
            (
                entry(b"/etc/passwd", b'0', THREE, b"abc"),
                "its path takes a detour",
            ),
            (entry(b"agent/link", b'2', NONE, b""), "a symbolic link"),
            (entry(b"agent/hard", b'1', NONE, b""), "a hard link"),
            (entry(b"agent/tty", b'3', NONE, b""), "not a regular file"),
            (entry(b"agent/disk", b'4', NONE, b""), "not a regular file"),
            (entry(b"agent/pipe", b'6', NONE, b""), "not a regular file"),
            (
                entry(b"agent/\x1b[2J", b'0', THREE, b"abc"),
                "its name has characters that can't be shown",
            ),
            (entry(b"agent/good", b'0', THREE, b"abd"), "named twice"),
        ];
        for (trick, why) in tricks {
            let archive = [good.clone(), trick].concat();
            let (files, left) = collected(&archive);
            assert_eq!(files, [("/home/agent/good".to_owned(), 3)], "{why}");
            assert!(left.len() == 1 && left[0].ends_with(why), "{left:?}");
        }
    }

    #[test]
    fn a_file_that_claims_more_than_there_is_costs_only_what_is_there() {
        let (files, left) = collected(&entry(b"agent/bomb", b'0', HUGE, b"abc"));
        assert_eq!(files, [("/home/agent/bomb".to_owned(), 512)]);
        assert_eq!(left, ["/home: the rest of an archive that can't be read"]);
        let (files, left) = collected(b"no archive at all");
        assert_eq!((files, left.len()), (Vec::new(), 1));
    }

    /// Extended headers: what they say counts for the entry after them.
    fn pax(key: &str, value: &str) -> Vec<u8> {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length += 1;
        }
        let record = format!("{length}{rest}");
        let size = format!("{:011o}\0", record.len());
        entry(
            b"pax",
            b'x',
            size.as_bytes().try_into().unwrap(),
            record.as_bytes(),
        )
    }

    fn long_name(name: &[u8]) -> Vec<u8> {
        let size = format!("{:011o}\0", name.len());
        entry(b"././@LongLink", b'L', size.as_bytes().try_into().unwrap(), name)
    }

    /// A sparse file of the old GNU format: one byte at the end of four gigabytes.
    fn sparse() -> Vec<u8> {
        let mut bytes = entry(b"agent/sparse", b'S', b"00000000001\0", b"x");
        bytes[386..398].copy_from_slice(b"37777777777\0");
        bytes[398..410].copy_from_slice(b"00000000001\0");
        bytes[483..495].copy_from_slice(b"40000000000\0");
        let mut header = Header::from_byte_slice(&bytes[..512]).clone();
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        bytes
    }

    /// Entries, the names that are taken, and why the rest is left.
    type Trick<'a> = (Vec<Vec<u8>>, &'a [&'a str], &'a str);

    #[test]
    fn what_extended_headers_say_is_judged_like_a_plain_entry() {
        let body = || entry(b"agent/harmless", b'0', THREE, b"abc");
        let long = "n".repeat(300);
        let tricks: [Trick<'_>; 9] = [
            (vec![sparse()], &[], "/home/agent/sparse: not a regular file"),
            (
                vec![pax("path", "agent/../../etc/passwd"), body()],
                &[],
                "/home/agent/../../etc/passwd: its path takes a detour",
            ),
            (
                vec![pax("path", "/etc/passwd"), body()],
                &[],
                "/home//etc/passwd: its path takes a detour",
            ),
            (
                vec![pax("linkpath", "/etc/shadow"), entry(b"agent/l", b'2', NONE, b"")],
                &[],
                "/home/agent/l: a symbolic link",
            ),
            (
                vec![pax("size", "1000000000000"), body()],
                &["/home/agent/harmless"],
                "/home: the rest of an archive that can't be read",
            ),
            (
                vec![long_name(b"agent/../../etc/passwd"), body()],
                &[],
                "/home/agent/../../etc/passwd: its path takes a detour",
            ),
            (
                vec![long_name(b"/etc/passwd"), body()],
                &[],
                "/home//etc/passwd: its path takes a detour",
            ),
            (
                vec![entry(b"././@LongLink", b'L', HUGE, b"agent/x"), body()],
                &[],
                "/home: the rest of an archive that can't be read",
            ),
            (
                vec![
                    long_name(format!("agent/{}", "n/".repeat(3000)).as_bytes()),
                    body(),
                ],
                &[],
                "its name is too long",
            ),
        ];
        for (trick, names, why) in tricks {
            let (files, left) = collected(&trick.concat());
            let found: Vec<_> = files.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(found, names, "{why}");
            assert!(
                files.iter().all(|(_, length)| *length <= 1000),
                "{why}: {files:?}"
            );
            assert!(left.len() == 1 && left[0].ends_with(why), "{why}: {left:?}");
        }
        // A long name that is harmless is a name like others.
        let good = [long_name(format!("agent/{long}").as_bytes()), body()].concat();
        assert_eq!(
            collected(&good),
            (vec![(format!("/home/agent/{long}"), 3)], Vec::new())
        );
    }
}
