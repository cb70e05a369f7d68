//! Images: whether they are there, how they come to be there, and what is known of them.
//!
//! Owns: the choice between present, made, built and pulled.
//! Must not: know how an image is made (`base`, `debian`, `build`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use harness_core::ports::{ImageOrigin, PreparedImage, SandboxError};
use harness_core::sandbox::{ImageSource, SandboxSpec};
use harness_core::task::FileData;

use crate::base::{self, BASE_IMAGES, BaseImage};
use crate::errors::About;
use crate::provider::{DockerProvider, Shared};
use crate::settings::PullPolicy;

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
        let runtime = spec.runtime.name();
        if !self.shared.runtimes.iter().any(|known| known == runtime) {
            return Err(SandboxError::RuntimeUnknown {
                runtime: runtime.to_owned(),
            });
        }
        let mut image = self.prepare_source(&spec.image, files).await?;
        self.facts(&image, spec).await?;
        self.prepare_helper(&image.id).await?;
        for (name, service) in &spec.services {
            let prepared = self.prepare_source(&service.image, files).await?;
            image.services.insert(name.clone(), prepared);
        }
        Ok(image)
    }

    async fn prepare_source(
        &self,
        source: &ImageSource,
        files: &BTreeMap<String, Arc<FileData>>,
    ) -> Result<PreparedImage, SandboxError> {
        match source {
            ImageSource::Named(name) => self.prepare_named(name).await,
            ImageSource::Build { context, dockerfile } => {
                self.build_task_image(context, dockerfile, files).await
            }
        }
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
            services: BTreeMap::new(),
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
}

fn has_tag(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.contains([':', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_a_tag() {
        assert!(has_tag("127.0.0.1:5000/x:1") && has_tag("x@sha256:00") && has_tag("a/b:2"));
        assert!(!has_tag("127.0.0.1:5000/x") && !has_tag("x"));
    }
}
