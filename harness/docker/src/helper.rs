//! The helper program that runs as the first process of every sandbox, and the volume that brings it there.
//!
//! Owns: that the daemon has a volume with the program in it. Must not: speak with the helper (see `link`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions, VolumeCreateRequest,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use harness_core::ports::SandboxError;
use tokio::time::{Instant, sleep};

use crate::config::LABEL_HELPER;
use crate::errors::About;
use crate::provider::Shared;
use crate::settings::Helper;
use crate::tarball::{self, Owner, Tarball};

/// Where the volume is mounted in containers, read-only.
const FOLDER: &str = "/.harness";
/// The program there.
pub(crate) const PROGRAM: &str = "/.harness/guest";
/// The program, built for the machine that this program is built for.
static EMBEDDED: &[u8] = include_bytes!(env!("HARNESS_GUEST"));
/// How long another process may take to fill the volume.
const FILLED_BY_OTHERS: Duration = Duration::from_secs(30);

/// The helper as sandboxes of one provider get it.
#[derive(Clone, Debug)]
pub(crate) struct HelperProgram {
    bytes: Arc<[u8]>,
    digest: String,
}

impl HelperProgram {
    /// Returns the program that the settings ask for; an error says why there is none.
    pub(crate) fn of(settings: &Helper, architecture: Option<&str>) -> Result<Self, String> {
        let bytes: Arc<[u8]> = match settings {
            Helper::Never => return Err("the helper is switched off".to_owned()),
            Helper::Program(bytes) => Arc::clone(bytes),
            Helper::Embedded => {
                let ours = std::env::consts::ARCH;
                if let Some(theirs) = architecture
                    && common_name(theirs) != ours
                {
                    return Err(format!(
                        "the helper is built for {ours}, and the daemon runs {theirs}"
                    ));
                }
                Arc::from(EMBEDDED)
            }
        };
        let digest = blake3::hash(&bytes).to_hex()[..16].to_owned();
        Ok(Self { bytes, digest })
    }

    /// Returns the name of the volume; programs that differ have different ones.
    pub(crate) fn volume(&self) -> String {
        format!("harness-helper-{}", self.digest)
    }

    /// Returns how sandboxes get the program.
    pub(crate) fn mount(&self) -> Mount {
        Mount {
            typ: Some(MountType::VOLUME),
            source: Some(self.volume()),
            target: Some(FOLDER.to_owned()),
            read_only: Some(true),
            volume_options: Some(MountVolumeOptions {
                no_copy: Some(true),
                labels: Some(HashMap::from([(LABEL_HELPER.to_owned(), self.digest.clone())])),
                ..MountVolumeOptions::default()
            }),
            ..Mount::default()
        }
    }
}

/// The daemon speaks of processors as the kernel or as Go does.
fn common_name(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

impl Shared {
    /// Makes sure that the volume with the helper is there and filled. `image` is any image of the daemon.
    pub(crate) async fn provide_helper(
        &self,
        program: &HelperProgram,
        image: &str,
    ) -> Result<(), SandboxError> {
        let request = VolumeCreateRequest {
            name: Some(program.volume()),
            labels: Some(HashMap::from([(LABEL_HELPER.to_owned(), program.digest.clone())])),
            ..VolumeCreateRequest::default()
        };
        let made = self.docker.create_volume(request).await;
        made.map_err(|error| self.error(&error, "make the volume of the helper", About::Daemon))?;
        let container = self.create_filler(program, image).await?;
        let filled = self.fill(&container, program).await;
        self.remove_container(&container).await?;
        filled
    }

    /// Makes a container that never runs. Its name is a lock: whoever has it may write to the volume.
    async fn create_filler(&self, program: &HelperProgram, image: &str) -> Result<String, SandboxError> {
        let name = format!("{}-filler", program.volume());
        let until = Instant::now() + FILLED_BY_OTHERS;
        loop {
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            let created = self
                .docker
                .create_container(Some(options), self.filler_body(program, image))
                .await;
            match created {
                Ok(created) => return Ok(created.id),
                Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                    // Its process was killed in between.
                    if Instant::now() > until {
                        self.remove_container(&name).await?;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(self.error(&error, "create a container", About::Image(image))),
            }
        }
    }

    fn filler_body(&self, program: &HelperProgram, image: &str) -> ContainerCreateBody {
        let mount = Mount {
            read_only: Some(false),
            ..program.mount()
        };
        ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec![PROGRAM.to_owned()]),
            labels: Some(self.probe_labels()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                mounts: Some(vec![mount]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    async fn fill(&self, container: &str, program: &HelperProgram) -> Result<(), SandboxError> {
        let enough = tarball::needed(program.bytes.len());
        match self.beginning_of(container, PROGRAM, enough).await {
            Ok(found) => {
                let there = tarball::first_file(&found, program.bytes.len().saturating_add(1));
                if there.is_ok_and(|file| *file.bytes == *program.bytes) {
                    return Ok(());
                }
            }
            Err(SandboxError::File { .. }) => {}
            Err(error) => return Err(error),
        }
        let unpackable = |error: std::io::Error| SandboxError::Protocol {
            detail: format!("the helper can't be packed: {error}"),
        };
        let mut tarball = Tarball::new();
        tarball
            .file(PROGRAM, 0o755, Owner::ROOT, &program.bytes)
            .map_err(unpackable)?;
        self.upload(container, tarball.finish().map_err(unpackable)?)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_for_another_processor_is_refused() {
        let refused = HelperProgram::of(&Helper::Embedded, Some("riscv64")).unwrap_err();
        assert!(refused.ends_with("and the daemon runs riscv64"), "{refused}");
        assert!(HelperProgram::of(&Helper::Embedded, Some(std::env::consts::ARCH)).is_ok());
        assert!(HelperProgram::of(&Helper::Never, None).is_err());
    }
}
