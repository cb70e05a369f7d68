//! Files into and out of a sandbox, through the daemon's archive calls.
//!
//! Owns: whose files are, and what may be read. Must not: follow what the sandbox says about sizes or names.

use std::collections::BTreeSet;

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes as Body;
use futures_util::StreamExt;
use harness_core::ports::{FileContent, FileProblem, PutFile, SandboxError};
use harness_core::units::Bytes;

use crate::errors::About;
use crate::provider::Shared;
use crate::sandbox::DockerSandbox;
use crate::tarball::{self, Owner, Tarball};

impl DockerSandbox {
    /// Reads a file.
    pub(crate) async fn read_file(&self, path: &str, cap: Bytes) -> Result<FileContent, SandboxError> {
        check_path(path)?;
        let cap = usize::try_from(cap.0).unwrap_or(usize::MAX);
        let beginning = self
            .shared
            .beginning_of(&self.id, path, tarball::needed(cap))
            .await?;
        tarball::first_file(&beginning, cap).map_err(|problem| SandboxError::File {
            path: path.to_owned(),
            problem,
        })
    }

    /// Puts files in.
    pub(crate) async fn write_files(&self, files: &[PutFile]) -> Result<(), SandboxError> {
        let Some(archive) = pack(files, &self.workdir, self.facts.owner, Target::Running)? else {
            return Ok(());
        };
        self.shared.upload(&self.id, archive).await
    }
}

impl DockerSandbox {
    /// Packs a folder into an archive for keeping.
    pub(crate) async fn export_folder(&self, path: &str, cap: Bytes) -> Result<Vec<u8>, SandboxError> {
        check_path(path)?;
        let cap = usize::try_from(cap.0).unwrap_or(usize::MAX);
        let archive = self
            .shared
            .beginning_of(&self.id, path, cap.saturating_add(1))
            .await?;
        if archive.len() > cap {
            let detail = format!("{path} is larger than {}", Bytes(cap as u64));
            return Err(SandboxError::Unsupported { what: detail });
        }
        Ok(archive)
    }

    /// Unpacks a kept archive beside where it was packed. The daemon unpacks it confined to the container.
    pub(crate) async fn import_folder(&self, path: &str, archive: Vec<u8>) -> Result<(), SandboxError> {
        check_path(path)?;
        let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
        let parent = if parent.is_empty() { "/" } else { parent };
        self.shared.upload_to(&self.id, parent, archive).await
    }
}

impl Shared {
    /// Unpacks an archive at the root of a container, which need not run.
    pub(crate) async fn upload(&self, container: &str, archive: Vec<u8>) -> Result<(), SandboxError> {
        self.upload_to(container, "/", archive).await
    }

    async fn upload_to(&self, container: &str, folder: &str, archive: Vec<u8>) -> Result<(), SandboxError> {
        let options = UploadToContainerOptionsBuilder::new().path(folder).build();
        let body = bollard::body_full(Body::from(archive));
        let sent = self
            .docker
            .upload_to_container(container, Some(options), body)
            .await;
        sent.map_err(|error| self.error(&error, "put files into a sandbox", About::Container))
    }

    /// Returns the first bytes of the archive of a path; the rest is not read.
    pub(crate) async fn beginning_of(
        &self,
        container: &str,
        path: &str,
        length: usize,
    ) -> Result<Vec<u8>, SandboxError> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut stream = self.docker.download_from_container(container, Some(options));
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece =
                piece.map_err(|error| self.error(&error, "read from a sandbox", About::File(path)))?;
            bytes.extend_from_slice(&piece[..piece.len().min(length - bytes.len())]);
            if bytes.len() >= length {
                break;
            }
        }
        Ok(bytes)
    }
}

/// Whether the workdir itself is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workdir {
    /// It is there.
    Leave,
    /// It is missing or belongs to somebody else.
    Make,
}

/// What an archive is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A container that was just created.
    Fresh(Workdir),
    /// One that runs.
    Running,
}

/// Packs files with their owners; `None` if there is nothing to put. Folders below the workdir are named, so that
/// they belong to the user and so that a link that the agent put there is replaced, not followed.
pub(crate) fn pack(
    files: &[PutFile],
    workdir: &str,
    owner: Owner,
    target: Target,
) -> Result<Option<Vec<u8>>, SandboxError> {
    if files.is_empty() && target != Target::Fresh(Workdir::Make) {
        return Ok(None);
    }
    let mut tarball = Tarball::new();
    let mut folders = BTreeSet::new();
    if target == Target::Fresh(Workdir::Make) {
        folders.insert(workdir.trim_end_matches('/').to_owned());
    }
    for file in files {
        check_path(&file.path)?;
        folders.extend(parents_below(&file.path, workdir));
    }
    let unpackable = |error: std::io::Error| SandboxError::Protocol {
        detail: format!("files can't be packed: {error}"),
    };
    for folder in &folders {
        tarball.folder(folder, 0o755, owner).map_err(unpackable)?;
    }
    for file in files {
        let owner = if is_below(&file.path, workdir) {
            owner
        } else {
            Owner::ROOT
        };
        let mode = if file.data.executable { 0o755 } else { 0o644 };
        tarball
            .file(&file.path, mode, owner, &file.data.bytes)
            .map_err(unpackable)?;
    }
    tarball.finish().map(Some).map_err(unpackable)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/'))
        .is_some_and(|rest| rest.starts_with('/'))
}

fn parents_below(path: &str, folder: &str) -> Vec<String> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    ends.map(|at| &path[..at])
        .filter(|parent| is_below(parent, folder))
        .map(str::to_owned)
        .collect()
}

/// Refuses paths that are not absolute, or that go up.
pub(crate) fn check_path(path: &str) -> Result<(), SandboxError> {
    let plain = path.starts_with('/')
        && path.len() > 1
        && path.len() <= 4096
        && !path.contains(['\0', '\n'])
        && !path.ends_with('/')
        && path[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
    if plain {
        return Ok(());
    }
    Err(SandboxError::File {
        path: path.to_owned(),
        problem: FileProblem::BadPath,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::task::FileData;
    use pretty_assertions::assert_eq;
    use std::sync::Arc;

    fn listing(paths: &[&str], workdir: &str, target: Target) -> Vec<String> {
        let files: Vec<_> = paths.iter().map(|path| file(path)).collect();
        let Some(bytes) = pack(&files, workdir, Owner { uid: 7, gid: 8 }, target).unwrap() else {
            return Vec::new();
        };
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            format!(
                "{path} {:o} {}:{}",
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap()
            )
        });
        entries.collect()
    }

    fn file(path: &str) -> PutFile {
        let data = FileData {
            bytes: b"x".to_vec(),
            executable: path == "/score/run.sh",
        };
        PutFile {
            path: path.to_owned(),
            data: Arc::new(data),
        }
    }

    #[test]
    fn files_below_the_workdir_belong_to_the_user() {
        let found = listing(
            &["/home/agent/a/b/c", "/home/agentx/d", "/score/run.sh"],
            "/home/agent",
            Target::Fresh(Workdir::Leave),
        );
        let expected = [
            "home/agent/a/ 755 7:8",
            "home/agent/a/b/ 755 7:8",
            "home/agent/a/b/c 644 7:8",
            "home/agentx/d 644 0:0",
            "score/run.sh 755 0:0",
        ];
        assert_eq!(found, expected);
        assert_eq!(
            listing(&[], "/work", Target::Fresh(Workdir::Make)),
            ["work/ 755 7:8"]
        );
        assert_eq!(listing(&[], "/work", Target::Running), Vec::<String>::new());
    }

    #[test]
    fn paths_that_go_astray_are_refused() {
        for path in ["", "a", "/", "/a/../b", "/a//b", "/a/.", "/a/", "/a\0b", "/a\nb"] {
            let found = check_path(path).unwrap_err();
            assert!(
                matches!(
                    found,
                    SandboxError::File {
                        problem: FileProblem::BadPath,
                        ..
                    }
                ),
                "{path:?}"
            );
        }
        assert!(check_path("/a/..b/c d").is_ok());
    }
}
