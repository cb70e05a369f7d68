//! What earlier processes left behind.
//!
//! Owns: finding by label and removing containers, networks and volumes. Must not: touch anything without our
//! labels.

use std::collections::HashMap;

use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveVolumeOptionsBuilder,
};
use harness_core::ports::{SandboxError, SweepScope, Swept};
use harness_core::units::Timestamp;

use crate::config::{LABEL_ATTEMPT, LABEL_BOOT, LABEL_EXPIRES, LABEL_HELPER, LABEL_NETWORK, LABEL_RUN};
use crate::errors::About;
use crate::provider::DockerProvider;

/// Something that carries our labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub kind: LeftoverKind,
    /// The daemon's id or name.
    pub id: String,
    /// The run that it belongs to.
    pub run: String,
    /// The attempt that it belongs to.
    pub attempt: String,
    /// After this instant anybody may remove it.
    pub expires: Option<Timestamp>,
    /// The boot of the host that made it.
    pub boot: String,
}

/// What a leftover is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftoverKind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
}

impl DockerProvider {
    /// Returns what a sweep of this scope would remove, containers first.
    pub async fn leftovers(&self, scope: &SweepScope) -> Result<Vec<Leftover>, SandboxError> {
        let docker = &self.shared.docker;
        let failed = |error| {
            self.shared
                .error(&error, "list what was left behind", About::Daemon)
        };
        let filters = HashMap::from([("label", vec![LABEL_RUN])]);
        let mut all = Vec::new();
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        for found in docker.list_containers(Some(options)).await.map_err(failed)? {
            if self.shared.why_kept(&found).is_some() {
                continue;
            }
            all.push(leftover(LeftoverKind::Container, found.id, found.labels));
        }
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        for found in docker.list_networks(Some(options)).await.map_err(failed)? {
            all.push(leftover(LeftoverKind::Network, found.id, found.labels));
        }
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = docker.list_volumes(Some(options)).await.map_err(failed)?;
        for found in volumes.volumes.unwrap_or_default() {
            all.push(leftover(
                LeftoverKind::Volume,
                Some(found.name),
                Some(found.labels),
            ));
        }
        all.retain(|found| found.is_in(scope));
        if matches!(scope, SweepScope::AllBut(_)) {
            all.extend(self.shared_leftovers().await?);
        }
        Ok(all)
    }

    /// Returns what belongs to no run: helpers of other versions, and the network of open sandboxes. What is in use
    /// is not removed: the daemon refuses.
    async fn shared_leftovers(&self) -> Result<Vec<Leftover>, SandboxError> {
        let docker = &self.shared.docker;
        let failed = |error| {
            self.shared
                .error(&error, "list what was left behind", About::Daemon)
        };
        let mut all = Vec::new();
        let filters = HashMap::from([("label", vec![LABEL_NETWORK])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        for found in docker.list_networks(Some(options)).await.map_err(failed)? {
            all.push(leftover(LeftoverKind::Network, found.id, found.labels));
        }
        let filters = HashMap::from([("label", vec![LABEL_HELPER])]);
        let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
        let volumes = docker.list_volumes(Some(options)).await.map_err(failed)?;
        let ours = self.shared.helper_volume();
        for found in volumes.volumes.unwrap_or_default() {
            if Some(&found.name) != ours.as_ref() {
                all.push(leftover(
                    LeftoverKind::Volume,
                    Some(found.name),
                    Some(found.labels),
                ));
            }
        }
        Ok(all)
    }

    pub(crate) async fn sweep_scope(&self, scope: &SweepScope) -> Result<Swept, SandboxError> {
        let docker = &self.shared.docker;
        let mut swept = Swept::default();
        for found in self.leftovers(scope).await? {
            match found.kind {
                LeftoverKind::Container => {
                    self.shared.remove_in_turn(&found.id).await?;
                    swept.containers += 1;
                }
                LeftoverKind::Network => {
                    let removed = docker.remove_network(&found.id).await;
                    swept.networks += u32::from(self.was_removed(removed)?);
                }
                LeftoverKind::Volume => {
                    let options = RemoveVolumeOptionsBuilder::new().force(true).build();
                    let removed = docker.remove_volume(&found.id, Some(options)).await;
                    swept.volumes += u32::from(self.was_removed(removed)?);
                }
            }
        }
        Ok(swept)
    }

    fn was_removed(&self, removed: Result<(), bollard::errors::Error>) -> Result<bool, SandboxError> {
        match removed {
            Ok(()) => Ok(true),
            // Gone already, or in use by somebody else.
            Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 403 | 404 | 409,
                ..
            }) => Ok(false),
            Err(error) => Err(self
                .shared
                .error(&error, "remove what was left behind", About::Daemon)),
        }
    }
}

fn leftover(kind: LeftoverKind, id: Option<String>, labels: Option<HashMap<String, String>>) -> Leftover {
    let mut labels = labels.unwrap_or_default();
    let mut take = |name: &str| labels.remove(name).unwrap_or_default();
    Leftover {
        kind,
        id: id.unwrap_or_default(),
        run: take(LABEL_RUN),
        attempt: take(LABEL_ATTEMPT),
        expires: Timestamp::parse(&take(LABEL_EXPIRES)),
        boot: take(LABEL_BOOT),
    }
}

impl Leftover {
    /// Says whether a sweep of this scope removes it. What says no expiry never expires.
    fn is_in(&self, scope: &SweepScope) -> bool {
        match scope {
            SweepScope::Run(run) => self.run == run.as_str(),
            SweepScope::Expired(now) => self.expires.is_some_and(|expires| expires < *now),
            SweepScope::AllBut(runs) => !runs.iter().any(|run| run.as_str() == self.run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::ids::RunId;

    #[test]
    fn scopes_compare_whole_labels() {
        let found = |run: &str, expires: &str| {
            let labels = [(LABEL_RUN, run), (LABEL_EXPIRES, expires)];
            let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
            leftover(LeftoverKind::Container, Some("x".into()), Some(labels.into()))
        };
        let one = found("run-1", &Timestamp(5).to_string());
        let run = |name: &str| SweepScope::Run(RunId::new(name));
        assert!(one.is_in(&run("run-1")));
        assert!(!one.is_in(&run("run-10")) && !one.is_in(&run("run-")));
        assert!(one.is_in(&SweepScope::Expired(Timestamp(6))));
        assert!(!one.is_in(&SweepScope::Expired(Timestamp(5))));
        assert!(!found("run-1", "soon").is_in(&SweepScope::Expired(Timestamp(i64::MAX))));
        assert!(!one.is_in(&SweepScope::AllBut(vec![RunId::new("run-1")])));
        assert!(one.is_in(&SweepScope::AllBut(vec![RunId::new("run-10")])));
    }
}
