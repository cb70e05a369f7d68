//! Images: whether they are there, how they come to be there, and what is known of them.
//!
//! Owns: the choice between present, made, built and pulled, and the facts that starting needs.
//! Must not: know how an image is made (`base`, `debian`, `build`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{CreateContainerOptions, CreateImageOptionsBuilder};
use futures_util::StreamExt;
use harness_core::ports::{ImageOrigin, PreparedImage, SandboxError};
use harness_core::sandbox::{ImageSource, Runtime, SandboxSpec};
use harness_core::task::FileData;
use tar::EntryType;

use crate::base::{self, BASE_IMAGES, BaseImage};
use crate::config::{self, DiskQuota};
use crate::errors::About;
use crate::files::{Hosts, Workdir};
use crate::provider::{DockerProvider, Shared};
use crate::settings::PullPolicy;
use crate::tarball::{self, Owner};

/// Receives a line whenever making an image gets on.
pub type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Images whose names begin so never come from a registry.
const OWN_NAMES: [&str; 2] = ["harness/", "harness-task/"];

/// A shipped base image and whether it is on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageStatus {
    /// Which.
    pub image: &'static BaseImage,
    /// The daemon's content id, if it is there.
    pub id: Option<String>,
    /// How many bytes it takes.
    pub size: u64,
    /// Whether it was made by the present recipe.
    pub current: bool,
}

/// What a user and folder mean in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageFacts {
    /// The user's numbers.
    pub(crate) owner: Owner,
    /// Whether the workdir is there and theirs.
    pub(crate) workdir: Workdir,
    /// Whether `localhost` can be looked up.
    pub(crate) hosts: Hosts,
}

/// What facts are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FactsKey {
    image: String,
    user: String,
    workdir: String,
}

impl DockerProvider {
    /// Returns the shipped base images and whether they are there.
    pub async fn list_images(&self) -> Result<Vec<ImageStatus>, SandboxError> {
        let mut all = Vec::new();
        for image in &BASE_IMAGES {
            let found = self.shared.find_image(image.name).await?;
            let digest = self.recipe_digest(image).ok();
            let current = found.as_ref().is_some_and(|found| {
                found.recipe.is_some() && found.recipe == digest.as_ref().map(ToString::to_string)
            });
            all.push(ImageStatus {
                image,
                size: found.as_ref().map_or(0, |found| found.size),
                id: found.map(|found| found.id),
                current,
            });
        }
        Ok(all)
    }

    /// Makes a shipped base image anew, replacing one that is there.
    ///
    /// # Errors
    /// `ImageMissing` if a tool or file is missing on this machine; it says how to get it.
    pub async fn build_image(
        &self,
        image: &BaseImage,
        progress: Progress<'_>,
    ) -> Result<PreparedImage, SandboxError> {
        self.make_base(image, progress).await?;
        self.found(image.name, ImageOrigin::Made).await
    }

    pub(crate) async fn prepare_image(
        &self,
        spec: &SandboxSpec,
        files: &BTreeMap<String, Arc<FileData>>,
    ) -> Result<PreparedImage, SandboxError> {
        config::check_supported(spec)?;
        let runtime = spec.runtime.name();
        if spec.runtime != Runtime::Runc && !self.shared.runtimes.iter().any(|known| known == runtime) {
            return Err(SandboxError::RuntimeUnknown {
                runtime: runtime.to_owned(),
            });
        }
        let image = match &spec.image {
            ImageSource::Named(name) => self.prepare_named(name).await?,
            ImageSource::Build { context, dockerfile } => {
                self.build_task_image(context, dockerfile, files).await?
            }
        };
        self.facts(&image, spec).await?;
        Ok(image)
    }

    /// Makes sure that a named image is there.
    pub(crate) async fn prepare_named(&self, name: &str) -> Result<PreparedImage, SandboxError> {
        let maker = self.shared.maker(name);
        let _only_one = maker.lock().await;
        if let Some(found) = self.shared.find_image(name).await? {
            return Ok(found.prepared(name, ImageOrigin::Present));
        }
        if let Some(image) = BASE_IMAGES.iter().find(|image| image.name == name) {
            self.make_base(image, &|line| tracing::info!(image = name, "{line}"))
                .await?;
            return self.found(name, ImageOrigin::Made).await;
        }
        let missing = |detail: String| SandboxError::ImageMissing {
            image: name.to_owned(),
            detail,
        };
        if OWN_NAMES.iter().any(|own| name.starts_with(own)) {
            let known = BASE_IMAGES.map(|image| image.name).join(", ");
            return Err(missing(format!(
                "it is not one of the shipped base images ({known}), and names under harness/ are never pulled"
            )));
        }
        if self.shared.settings.pull == PullPolicy::Never {
            return Err(missing(
                "it is not on this machine and pulling is switched off; bring it here with `docker load`"
                    .to_owned(),
            ));
        }
        if let Err(error) = self.pull(name).await {
            if matches!(
                error,
                SandboxError::HostDisk { .. } | SandboxError::DaemonUnreachable { .. }
            ) {
                return Err(error);
            }
            let said = match error {
                SandboxError::Daemon { detail, .. } | SandboxError::ImageMissing { detail, .. } => detail,
                other => other.to_string(),
            };
            return Err(missing(format!(
                "it is not on this machine and pulling it failed ({said}); check the name, or bring it here \
                 with `docker load` or `docker pull`"
            )));
        }
        self.found(name, ImageOrigin::Pulled).await
    }

    async fn pull(&self, name: &str) -> Result<(), SandboxError> {
        let mut options = CreateImageOptionsBuilder::new().from_image(name);
        if !has_tag(name) {
            options = options.tag("latest");
        }
        let mut stream = self.shared.docker.create_image(Some(options.build()), None, None);
        while let Some(step) = stream.next().await {
            step.map_err(|error| self.shared.error(&error, "pull an image", About::Image(name)))?;
        }
        Ok(())
    }

    pub(crate) async fn found(&self, name: &str, origin: ImageOrigin) -> Result<PreparedImage, SandboxError> {
        match self.shared.find_image(name).await? {
            Some(found) => Ok(found.prepared(name, origin)),
            None => Err(SandboxError::Protocol {
                detail: format!("image `{name}` was made, but the daemon does not know it"),
            }),
        }
    }

    /// Returns what the spec's user and workdir mean in an image; looked up once.
    pub(crate) async fn facts(
        &self,
        image: &PreparedImage,
        spec: &SandboxSpec,
    ) -> Result<ImageFacts, SandboxError> {
        let key = FactsKey {
            image: image.id.clone(),
            user: spec.user.clone(),
            workdir: spec.workdir.clone(),
        };
        let known = {
            let facts = self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner);
            facts.get(&key).copied()
        };
        if let Some(facts) = known
            && self.shared.known_quota().is_some()
        {
            return Ok(facts);
        }
        let maker = self.shared.maker(&format!("facts of {}", image.id));
        let _only_one = maker.lock().await;
        let facts = self.shared.look_into(image, spec).await?;
        let mut known = self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, facts);
        Ok(facts)
    }
}

/// An image that the daemon has.
pub(crate) struct Found {
    pub(crate) id: String,
    size: u64,
    recipe: Option<String>,
}

impl Found {
    fn prepared(self, name: &str, origin: ImageOrigin) -> PreparedImage {
        PreparedImage {
            name: name.to_owned(),
            id: self.id,
            origin,
        }
    }
}

impl Shared {
    /// Returns the lock under which something is made.
    pub(crate) fn maker(&self, what: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(makers.entry(what.to_owned()).or_default())
    }

    /// Looks an image up.
    pub(crate) async fn find_image(&self, name: &str) -> Result<Option<Found>, SandboxError> {
        let found = match self.docker.inspect_image(name).await {
            Ok(found) => found,
            Err(error) => {
                return match self.error(&error, "look up an image", About::Image(name)) {
                    SandboxError::ImageMissing { .. } => Ok(None),
                    other => Err(other),
                };
            }
        };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(Some(Found {
            id: found.id.unwrap_or_default(),
            size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
            recipe: labels.get(base::LABEL_RECIPE).cloned(),
        }))
    }

    /// Makes a container that never runs and looks at what the image holds. Another process may sweep it away
    /// meanwhile, since it belongs to no run; then it is made again.
    async fn look_into(&self, image: &PreparedImage, spec: &SandboxSpec) -> Result<ImageFacts, SandboxError> {
        let _slot = self.slot().await;
        let mut tries = 3;
        loop {
            tries -= 1;
            let id = self.create_probe(&image.id).await?;
            let looked = self.look_at_user_and_workdir(&id, spec).await;
            self.remove_container(&id).await?;
            if tries == 0 || !matches!(looked, Err(SandboxError::Gone { .. })) {
                return looked;
            }
        }
    }

    async fn create_probe(&self, image: &str) -> Result<String, SandboxError> {
        if self.known_quota().is_none() {
            let body = self.probe_body(image, DiskQuota::Supported);
            if let Ok(created) = self
                .docker
                .create_container(None::<CreateContainerOptions>, body)
                .await
            {
                self.set_quota(DiskQuota::Supported);
                return Ok(created.id);
            }
        }
        let quota = self.known_quota().unwrap_or(DiskQuota::Unsupported);
        let body = self.probe_body(image, quota);
        let created = self
            .docker
            .create_container(None::<CreateContainerOptions>, body)
            .await;
        let id = created
            .map_err(|error| self.error(&error, "create a container", About::Image(image)))?
            .id;
        self.set_quota(quota);
        Ok(id)
    }

    fn set_quota(&self, quota: DiskQuota) {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
    }

    fn probe_body(&self, image: &str, quota: DiskQuota) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["/bin/sh".to_owned()]),
            labels: Some(self.probe_labels()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                storage_opt: config::storage_opt(quota, 1 << 30),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// Reads a small text file of a container; `None` if there is none.
    async fn first_file(&self, container: &str, path: &str) -> Result<Option<String>, SandboxError> {
        const LONGEST: usize = 1 << 20;
        let beginning = match self.beginning_of(container, path, tarball::needed(LONGEST)).await {
            Ok(bytes) => bytes,
            Err(SandboxError::File { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let file = tarball::first_file(&beginning, LONGEST).ok();
        Ok(file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()))
    }

    async fn look_at_user_and_workdir(
        &self,
        container: &str,
        spec: &SandboxSpec,
    ) -> Result<ImageFacts, SandboxError> {
        let passwd = self
            .first_file(container, "/etc/passwd")
            .await?
            .unwrap_or_default();
        let owner = owner_of(&spec.user, &passwd).ok_or_else(|| SandboxError::UnknownUser {
            user: spec.user.clone(),
        })?;
        let workdir = match self.beginning_of(container, &spec.workdir, 1024).await {
            Ok(bytes) if tarball::first_owner(&bytes) == Some((EntryType::Directory, owner)) => {
                Workdir::Leave
            }
            Ok(_) | Err(SandboxError::File { .. }) if spec.workdir != "/" => Workdir::Make,
            Ok(_) | Err(SandboxError::File { .. }) => Workdir::Leave,
            Err(error) => return Err(error),
        };
        let hosts = match self.first_file(container, config::HOSTS_PATH).await? {
            Some(text) if text.contains("localhost") => Hosts::Leave,
            _ => Hosts::Make,
        };
        Ok(ImageFacts {
            owner,
            workdir,
            hosts,
        })
    }
}

/// Returns a user's numbers: `name`, `uid` or `uid:gid`, as the daemon reads them.
fn owner_of(user: &str, passwd: &str) -> Option<Owner> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group.parse().ok()?)),
        None => (user, None),
    };
    let number: Option<u64> = name.parse().ok();
    let listed = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (listed_name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let owner = Owner {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        };
        (listed_name == name || number == Some(owner.uid)).then_some(owner)
    });
    let unlisted = number
        .or((name == "root").then_some(0))
        .map(|uid| Owner { uid, gid: 0 });
    let owner = listed.or(unlisted)?;
    Some(Owner {
        gid: group.unwrap_or(owner.gid),
        ..owner
    })
}

fn has_tag(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn users_are_found_as_the_daemon_finds_them() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nagent:x:1000:1001::/home/agent:/bin/sh\n";
        let cases = [
            ("agent", Some((1000, 1001))),
            ("1000", Some((1000, 1001))),
            ("1000:5", Some((1000, 5))),
            ("7", Some((7, 0))),
            ("root", Some((0, 0))),
            ("nobody", None),
            ("agent:staff", None),
        ];
        for (user, expected) in cases {
            let expected = expected.map(|(uid, gid)| Owner { uid, gid });
            assert_eq!(owner_of(user, passwd), expected, "{user}");
        }
        assert_eq!(owner_of("root", ""), Some(Owner::ROOT));
    }

    #[test]
    fn a_port_is_not_a_tag() {
        assert!(has_tag("127.0.0.1:5000/x:1") && has_tag("x@sha256:00") && has_tag("a/b:2"));
        assert!(!has_tag("127.0.0.1:5000/x") && !has_tag("x"));
    }
}
