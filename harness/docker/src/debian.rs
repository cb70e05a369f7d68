//! The Debian base image: mmdebstrap's output, streamed into the daemon.
//!
//! Owns: the list of packages and what is left out. Must not: need root rights beyond mmdebstrap's own.

use std::process::Stdio;

use bytes::Bytes;
use harness_core::ids::Digest;
use harness_core::ports::SandboxError;
use harness_core::text::Capture;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::images::Progress;
use crate::provider::DockerProvider;

const SUITE: &str = "bookworm";
const PACKAGES: [&str; 17] = [
    "bash",
    "coreutils",
    "grep",
    "sed",
    "gawk",
    "findutils",
    "procps",
    "python3",
    "gcc",
    "libc6-dev",
    "make",
    "git",
    "less",
    "file",
    "sqlite3",
    "jq",
    "passwd",
];
/// Leaves documentation and translations out, and nothing of the package manager's downloads behind.
const OPTIONS: [&str; 10] = [
    "--variant=minbase",
    "--format=tar",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--customize-hook=chroot \"$1\" useradd --create-home --uid 1000 --user-group --shell /bin/bash agent",
    // Nothing about the machine that made it.
    "--customize-hook=rm -f \"$1/etc/resolv.conf\" \"$1/etc/hostname\"",
    "--customize-hook=chmod 0755 \"$1/home/agent\"",
    "--customize-hook=rm -rf \"$1/var/lib/apt/lists\" \"$1/var/cache/apt\" \"$1/var/log\" \"$1/var/cache/debconf\" && mkdir -p \"$1/var/lib/apt/lists/partial\" \"$1/var/cache/apt/archives/partial\" \"$1/var/log\"",
];
/// Makes times independent of the hour of making.
const SOURCE_DATE_EPOCH: &str = "1700000000";
const PIECE: usize = 256 << 10;

/// Returns the digest of everything written above.
pub(crate) fn recipe_digest() -> Digest {
    let parts = [SUITE, SOURCE_DATE_EPOCH]
        .into_iter()
        .chain(PACKAGES)
        .chain(OPTIONS);
    Digest::of_parts(parts.map(str::as_bytes))
}

impl DockerProvider {
    /// Makes the Debian image.
    pub(crate) async fn make_debian(
        &self,
        name: &str,
        digest: Digest,
        progress: Progress<'_>,
    ) -> Result<(), SandboxError> {
        let mut child = spawn(name, self.shared.settings.debian_mirror.as_deref())?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(name, "mmdebstrap has no output"));
        };
        progress("installing packages with mmdebstrap; this takes a few minutes");
        let imported = self.import(name, digest, pieces(stdout));
        let (imported, complaints) = tokio::join!(imported, follow(stderr, progress));
        let status = child
            .wait()
            .await
            .map_err(|error| failed(name, &error.to_string()))?;
        if !status.success() {
            // What was imported is not whole.
            let _ = self
                .shared
                .docker
                .remove_image(name, None::<bollard::query_parameters::RemoveImageOptions>, None)
                .await;
            return Err(failed(
                name,
                &format!("mmdebstrap ended with {status}: {complaints}"),
            ));
        }
        imported
    }
}

fn spawn(name: &str, mirror: Option<&str>) -> Result<Child, SandboxError> {
    let mut command = Command::new("mmdebstrap");
    command
        .args(OPTIONS)
        .arg(format!("--include={}", PACKAGES.join(",")))
        .args([SUITE, "-"])
        .args(mirror)
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().map_err(|error| SandboxError::ImageMissing {
        image: name.to_owned(),
        detail: if error.kind() == std::io::ErrorKind::NotFound {
            "making it needs mmdebstrap; install it with `apt-get install mmdebstrap`".to_owned()
        } else {
            format!("mmdebstrap can't be run: {error}")
        },
    })
}

fn failed(name: &str, detail: &str) -> SandboxError {
    SandboxError::ImageBuild {
        image: name.to_owned(),
        detail: detail.to_owned(),
    }
}

fn pieces(
    reader: impl AsyncRead + Send + Unpin + 'static,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    futures_util::stream::try_unfold(reader, |mut reader| async move {
        let mut buffer = vec![0; PIECE];
        let length = reader.read(&mut buffer).await?;
        buffer.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(buffer), reader)))
    })
}

/// Passes the tool's messages on and returns the end of them.
async fn follow(stderr: impl AsyncRead + Unpin, progress: Progress<'_>) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut capture = Capture::new(4096);
    while let Ok(Some(line)) = lines.next_line().await {
        progress(&line);
        capture.push(line.as_bytes());
        capture.push(b"\n");
    }
    let captured = capture.finish();
    let end = if captured.tail.is_empty() {
        captured.head
    } else {
        captured.tail
    };
    String::from_utf8_lossy(&end).trim().to_owned()
}
