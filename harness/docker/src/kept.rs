//! Sandboxes that outlive their attempt: in quarantine, or since a person asked for it.
//!
//! Owns: how they are marked and found. The daemon fixes labels when a container is made, so the mark is its name.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use bollard::query_parameters::{ListContainersOptionsBuilder, RenameContainerOptionsBuilder};
use harness_core::ports::{KeepReason, KeptSandbox, Sandbox, SandboxError};
use harness_core::units::Timestamp;

use crate::config::{LABEL_ATTEMPT, LABEL_EXPIRES, LABEL_RUN, LABEL_SERVICE, LABEL_USER, LABEL_WORKDIR};
use crate::errors::About;
use crate::provider::DockerProvider;
use crate::sandbox::DockerSandbox;

const QUARANTINE: &str = "harness-quarantine-";
const ASKED: &str = "harness-kept-";

/// A sandbox that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptContainer {
    /// The daemon's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The run that it belongs to.
    pub run: String,
    /// The attempt that it belongs to.
    pub attempt: String,
    /// Whether its processes are stopped.
    pub paused: bool,
    /// Why it is kept.
    pub reason: KeepReason,
    /// After this instant anybody may remove it, unless it is in quarantine.
    pub expires: Option<Timestamp>,
    /// Whether it is a service beside the sandbox itself.
    pub service: bool,
    user: String,
    workdir: String,
}

/// Returns why a container of this name is kept; `None` if it is not.
pub(crate) fn reason_of(name: &str) -> Option<KeepReason> {
    let name = name.trim_start_matches('/');
    if name.starts_with(QUARANTINE) {
        Some(KeepReason::Quarantine)
    } else if name.starts_with(ASKED) {
        Some(KeepReason::Asked)
    } else {
        None
    }
}

impl DockerSandbox {
    /// Keeps the container and its services.
    pub(crate) async fn keep_container(&self, reason: KeepReason) -> Result<KeptSandbox, SandboxError> {
        let prefix = match reason {
            KeepReason::Quarantine => QUARANTINE,
            KeepReason::Asked => ASKED,
        };
        let docker = &self.shared.docker;
        let short = |id: &str| id.chars().take(12).collect::<String>();
        let failed =
            |error: bollard::errors::Error| self.shared.error(&error, "keep a sandbox", About::Container);
        let paused = reason == KeepReason::Quarantine;
        self.end_connections().await;
        for id in self.containers() {
            if paused {
                docker.pause_container(&id).await.map_err(failed)?;
            }
            let name = format!("{prefix}{}", short(&id));
            let options = RenameContainerOptionsBuilder::new().name(&name).build();
            docker.rename_container(&id, options).await.map_err(failed)?;
        }
        self.stopped.store(true, Ordering::Release);
        Ok(KeptSandbox {
            id: self.id.clone(),
            name: format!("{prefix}{}", short(&self.id)),
            reason,
            paused,
        })
    }
}

impl DockerProvider {
    /// Lists the sandboxes that were kept, services included.
    pub async fn kept(&self) -> Result<Vec<KeptContainer>, SandboxError> {
        let filters = HashMap::from([("label", vec![LABEL_RUN])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self.shared.docker.list_containers(Some(options)).await;
        let found = found.map_err(|error| self.shared.error(&error, "list containers", About::Daemon))?;
        let mut kept: Vec<_> = found
            .into_iter()
            .filter_map(|container| {
                let name = container.names?.into_iter().next()?;
                let mut labels = container.labels.unwrap_or_default();
                let mut take = |name: &str| labels.remove(name).unwrap_or_default();
                Some(KeptContainer {
                    reason: reason_of(&name)?,
                    name: name.trim_start_matches('/').to_owned(),
                    id: container.id?,
                    run: take(LABEL_RUN),
                    attempt: take(LABEL_ATTEMPT),
                    user: take(LABEL_USER),
                    expires: Timestamp::parse(&take(LABEL_EXPIRES)),
                    service: !take(LABEL_SERVICE).is_empty(),
                    workdir: take(LABEL_WORKDIR),
                    paused: container.status.is_some_and(|status| status.contains("(Paused)")),
                })
            })
            .collect();
        kept.sort_by(|a, b| (&a.run, &a.attempt, &a.name).cmp(&(&b.run, &b.attempt, &b.name)));
        Ok(kept)
    }

    /// Opens a kept sandbox; commands in it are calls of the daemon. It must not be paused.
    pub async fn open_kept(&self, kept: &KeptContainer) -> Result<Box<dyn Sandbox>, SandboxError> {
        let ear = self.shared.switchboard.listen(&kept.id);
        let container = (kept.id.clone(), ear);
        let sandbox = DockerSandbox::known(&self.shared, container, &kept.user, &kept.workdir);
        sandbox.check_alive().await?;
        Ok(Box::new(sandbox))
    }

    /// Lets the processes of a kept sandbox run again.
    pub async fn unpause(&self, kept: &KeptContainer) -> Result<(), SandboxError> {
        let done = self.shared.docker.unpause_container(&kept.id).await;
        done.map_err(|error| self.shared.error(&error, "unpause a sandbox", About::Container))
    }

    /// Removes a kept sandbox. It is let run again just before: under gVisor a container that dies while it is paused
    /// leaves a process of the daemon behind for ever.
    pub async fn remove_kept(&self, kept: &KeptContainer) -> Result<(), SandboxError> {
        if kept.paused
            && let Err(error) = self.unpause(kept).await
        {
            tracing::debug!(container = %kept.id, %error, "a kept sandbox is removed while it is paused");
        }
        self.shared.remove_in_turn(&kept.id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn the_name_tells_why_a_container_is_kept() {
        let names = [
            "/harness-quarantine-12ab",
            "harness-kept-1",
            "/upbeat_bell",
            "/x-harness-kept-1",
        ];
        let expected = [Some(KeepReason::Quarantine), Some(KeepReason::Asked), None, None];
        assert_eq!(names.map(reason_of), expected);
    }
}
