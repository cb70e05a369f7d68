//! The shipped base images, made on this machine instead of pulled.
//!
//! Owns: which there are, their recipes' digests, and the import. Must not: be reachable from a sandbox.

use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use harness_core::ids::Digest;
use harness_core::ports::SandboxError;

use crate::debian;
use crate::errors::About;
use crate::images::Progress;
use crate::provider::DockerProvider;
use crate::tarball::{Owner, Tarball};

/// Label of base images: the digest of the recipe.
pub(crate) const LABEL_RECIPE: &str = "harness.image";
/// Making a Debian image takes minutes, and the daemon answers when it is done.
const IMPORT_TIMEOUT: std::time::Duration = std::time::Duration::from_hours(1);

/// A base image that is made on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseImage {
    /// Its name with its tag.
    pub name: &'static str,
    /// What is in it, for people.
    pub about: &'static str,
    /// How it is made.
    pub recipe: BaseRecipe,
}

/// How a base image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseRecipe {
    /// From a static busybox of this machine.
    Busybox,
    /// From Debian packages, by mmdebstrap.
    Debian,
}

/// All shipped base images.
pub const BASE_IMAGES: [BaseImage; 2] = [
    BaseImage {
        name: "harness/busybox:1",
        about: "a static busybox and nothing else; 2 MB",
        recipe: BaseRecipe::Busybox,
    },
    BaseImage {
        name: "harness/python:1",
        about: "Debian 12 with bash, coreutils, python3, gcc, make, git, sqlite3 and jq; about 400 MB",
        recipe: BaseRecipe::Debian,
    },
];

/// Says whether a name belongs to a shipped base image.
pub fn is_base_name(name: &str) -> bool {
    BASE_IMAGES.iter().any(|image| image.name == name)
}

const BUSYBOX_RECIPE: &str = "busybox 1";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n";
const GROUP: &str = "root:x:0:\nagent:x:1000:\n";
const AGENT: Owner = Owner { uid: 1000, gid: 1000 };
/// Applets that make no sense as commands of their own.
const NO_APPLETS: [&str; 1] = ["busybox"];

impl DockerProvider {
    /// Returns the digest of everything that determines an image.
    pub(crate) fn recipe_digest(&self, image: &BaseImage) -> Result<Digest, SandboxError> {
        match image.recipe {
            BaseRecipe::Busybox => {
                let binary = self.read_busybox(image)?;
                Ok(Digest::of_parts([
                    BUSYBOX_RECIPE.as_bytes(),
                    &binary,
                    PASSWD.as_bytes(),
                ]))
            }
            BaseRecipe::Debian => Ok(debian::recipe_digest()),
        }
    }

    /// Makes a base image, replacing one of its name.
    pub(crate) async fn make_base(
        &self,
        image: &BaseImage,
        progress: Progress<'_>,
    ) -> Result<(), SandboxError> {
        let digest = self.recipe_digest(image)?;
        match image.recipe {
            BaseRecipe::Busybox => {
                progress("packing busybox");
                let binary = self.read_busybox(image)?;
                let applets = list_applets(&self.shared.settings.busybox, image).await?;
                let archive = pack_busybox(&binary, &applets).map_err(|error| SandboxError::ImageBuild {
                    image: image.name.to_owned(),
                    detail: error.to_string(),
                })?;
                let pieces = futures_util::stream::iter([Ok(Bytes::from(archive))]);
                self.import(image.name, digest, pieces).await?;
            }
            BaseRecipe::Debian => self.make_debian(image.name, digest, progress).await?,
        }
        progress("imported");
        Ok(())
    }

    /// Sends a root file system to the daemon as an image.
    pub(crate) async fn import(
        &self,
        name: &str,
        digest: Digest,
        archive: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    ) -> Result<(), SandboxError> {
        let (repo, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(repo)
            .tag(tag)
            .changes(vec![format!("LABEL {LABEL_RECIPE}={digest}")])
            .build();
        let docker = self.shared.docker.clone().with_timeout(IMPORT_TIMEOUT);
        let body = bollard::body_try_stream(archive);
        let mut steps = docker.create_image(Some(options), Some(body), None);
        while let Some(step) = steps.next().await {
            step.map_err(
                |error| match self.shared.error(&error, "import an image", About::Daemon) {
                    SandboxError::Daemon { detail, .. } => SandboxError::ImageBuild {
                        image: name.to_owned(),
                        detail,
                    },
                    other => other,
                },
            )?;
        }
        Ok(())
    }

    fn read_busybox(&self, image: &BaseImage) -> Result<Vec<u8>, SandboxError> {
        let path = &self.shared.settings.busybox;
        let missing = |what: String| SandboxError::ImageMissing {
            image: image.name.to_owned(),
            detail: format!("{what}; install a static busybox with `apt-get install busybox-static`"),
        };
        let binary = std::fs::read(path).map_err(|error| missing(format!("{}: {error}", path.display())))?;
        if !is_static_elf(&binary) {
            return Err(missing(format!("{} is not a static program", path.display())));
        }
        Ok(binary)
    }
}

async fn list_applets(busybox: &std::path::Path, image: &BaseImage) -> Result<Vec<String>, SandboxError> {
    let listed = tokio::process::Command::new(busybox).arg("--list").output().await;
    let listed = listed.map_err(|error| SandboxError::ImageBuild {
        image: image.name.to_owned(),
        detail: format!("{} --list: {error}", busybox.display()),
    })?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let plain = |name: &&str| !name.is_empty() && !name.contains('/') && !NO_APPLETS.contains(name);
    Ok(text
        .lines()
        .map(str::trim)
        .filter(plain)
        .map(str::to_owned)
        .collect())
}

fn pack_busybox(binary: &[u8], applets: &[String]) -> std::io::Result<Vec<u8>> {
    let mut tarball = Tarball::new();
    for folder in [
        "bin", "dev", "etc", "home", "proc", "root", "sbin", "sys", "usr", "usr/bin", "usr/sbin", "var",
    ] {
        tarball.folder(folder, 0o755, Owner::ROOT)?;
    }
    tarball.folder("tmp", 0o1777, Owner::ROOT)?;
    tarball.folder("home/agent", 0o755, AGENT)?;
    tarball.file("etc/passwd", 0o644, Owner::ROOT, PASSWD.as_bytes())?;
    tarball.file("etc/group", 0o644, Owner::ROOT, GROUP.as_bytes())?;
    tarball.file("bin/busybox", 0o755, Owner::ROOT, binary)?;
    for applet in applets {
        tarball.link(&format!("bin/{applet}"), "/bin/busybox")?;
    }
    // Scripts with `#!/usr/bin/env` expect it there.
    tarball.link("usr/bin/env", "/bin/busybox")?;
    tarball.finish()
}

/// Says whether bytes are a 64-bit ELF program without an interpreter (`PT_INTERP`).
fn is_static_elf(bytes: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    if bytes.get(..5) != Some(b"\x7fELF\x02") {
        return false;
    }
    let number = |at: usize, length: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(length)?)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    let table = number(32, 8).and_then(|at| usize::try_from(at).ok());
    let (Some(table), Some(size), Some(count)) = (table, number(54, 2), number(56, 2)) else {
        return false;
    };
    (0..count).all(|index| {
        let at = usize::try_from(index * size)
            .ok()
            .and_then(|offset| table.checked_add(offset));
        let kind = at.and_then(|at| number(at, 4));
        kind.is_some_and(|kind| kind != u64::from(INTERPRETER))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(kinds: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..5].copy_from_slice(b"\x7fELF\x02");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            let mut header = [0; 56];
            header[0] = *kind;
            bytes.extend(header);
        }
        bytes
    }

    #[test]
    fn programs_with_an_interpreter_are_not_static() {
        assert!(is_static_elf(&elf(&[1, 1, 4])));
        assert!(!is_static_elf(&elf(&[1, 3, 1])));
        assert!(!is_static_elf(&elf(&[1, 1])[..100]));
        assert!(!is_static_elf(b"#!/bin/sh\n"));
        assert!(!is_static_elf(b""));
    }

    #[test]
    fn the_busybox_image_is_packed_the_same_each_time() {
        let pack = || pack_busybox(b"binary", &["sh".to_owned(), "ls".to_owned()]).unwrap();
        assert_eq!(pack(), pack());
    }
}
