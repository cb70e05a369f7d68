//! What the adapter is told from outside.
//!
//! Owns: settings and their defaults. Must not: read the environment.

use std::path::PathBuf;
use std::sync::Arc;

use harness_core::ports::SandboxError;
use harness_core::units::Bytes;

/// Where the daemon listens if nothing else is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// How the daemon is reached and used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// The value of `DOCKER_HOST`, if set; only `unix://` addresses and plain paths are supported.
    pub host: Option<String>,
    /// How many containers are created, started or removed at the same time.
    pub lifecycle_slots: usize,
    /// How much one command may write to both streams before it is killed.
    pub output_limit: Bytes,
    /// What runs as the first process of sandboxes.
    pub helper: Helper,
    /// Whether images are taken from registries.
    pub pull: PullPolicy,
    /// The statically linked busybox that `harness/busybox` is made from.
    pub busybox: PathBuf,
    /// The package archive that `harness/python` is made from; `None` is mmdebstrap's default.
    pub debian_mirror: Option<String>,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            host: None,
            lifecycle_slots: 4,
            output_limit: Bytes(1 << 30),
            helper: Helper::Embedded,
            pull: PullPolicy::IfMissing,
            busybox: PathBuf::from("/bin/busybox"),
            debian_mirror: None,
        }
    }
}

/// What runs as the first process of sandboxes and carries out what is asked of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helper {
    /// The helper that this library carries.
    Embedded,
    /// None: every command is a call of the daemon, which is slower.
    Never,
    /// Another program that speaks the same frames; for tests of what a hostile one can do.
    Program(Arc<[u8]>),
}

/// Whether images are taken from registries. The shipped base images never are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// When they are not on this machine.
    IfMissing,
    /// Never.
    Never,
}

impl DockerSettings {
    /// Returns the path of the daemon's socket.
    pub fn socket(&self) -> Result<String, SandboxError> {
        let host = self.host.as_deref().map_or("", str::trim);
        if host.is_empty() {
            return Ok(DEFAULT_SOCKET.to_owned());
        }
        if let Some(path) = host.strip_prefix("unix://") {
            return Ok(path.to_owned());
        }
        if host.starts_with('/') {
            return Ok(host.to_owned());
        }
        Err(SandboxError::Unsupported {
            what: format!(
                "the Docker address `{host}`; set DOCKER_HOST to a socket of this machine such as unix://{DEFAULT_SOCKET}"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(host: Option<&str>) -> Result<String, String> {
        let settings = DockerSettings {
            host: host.map(str::to_owned),
            ..DockerSettings::default()
        };
        settings.socket().map_err(|error| error.to_string())
    }

    #[test]
    fn only_sockets_of_this_machine_are_addresses() {
        assert_eq!(socket(None), Ok("/var/run/docker.sock".to_owned()));
        assert_eq!(socket(Some(" ")), Ok("/var/run/docker.sock".to_owned()));
        assert_eq!(socket(Some("unix:///tmp/d.sock")), Ok("/tmp/d.sock".to_owned()));
        assert_eq!(socket(Some("/tmp/d.sock")), Ok("/tmp/d.sock".to_owned()));
        let refused = socket(Some("tcp://127.0.0.1:2375")).unwrap_err();
        assert_eq!(
            refused,
            "not supported here: the Docker address `tcp://127.0.0.1:2375`; \
             set DOCKER_HOST to a socket of this machine such as unix:///var/run/docker.sock"
        );
    }
}
