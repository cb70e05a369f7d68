//! Sandboxes that outlive their attempt: in quarantine, or since a person asked for it.
//!
//! Owns: how they are marked and found. The daemon fixes labels when a container is made, so the mark is its name.

use std::collections::{BTreeSet, HashMap};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{ListContainersOptionsBuilder, RenameContainerOptionsBuilder};
use futures_util::future::join_all;
use harness_core::ids::{AttemptId, RunId};
use harness_core::ports::{KeepReason, KeptSandbox, Sandbox, SandboxError, SweepScope};
use harness_core::sandbox::Runtime;
use harness_core::units::Timestamp;
use tokio::time::sleep;

use crate::config::{LABEL_ATTEMPT, LABEL_EXPIRES, LABEL_RUN, LABEL_SERVICE, LABEL_USER, LABEL_WORKDIR};
use crate::errors::About;
use crate::gc::LeftoverKind;
use crate::helper;
use crate::link::Broken;
use crate::pace::Lifecycle;
use crate::provider::{DockerProvider, Shared};
use crate::sandbox::DockerSandbox;
use crate::scripts;

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

/// How often a container is renamed before that is given up, and the pause between. A daemon that restarts is back
/// within that time.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_secs(2);
/// How long a command that was asked for may take to reach the daemon, and to be started there.
const ASKED_BEFORE: Duration = Duration::from_millis(300);
const STARTED_WITHIN: Duration = Duration::from_secs(30);

impl DockerSandbox {
    /// Keeps the container and its services. All are marked before any is stopped, and one that can't be kept costs the
    /// others nothing: what is in quarantine is evidence, so nothing here removes it.
    pub(crate) async fn keep_container(&self, reason: KeepReason) -> Result<KeptSandbox, SandboxError> {
        let containers = self.containers();
        match reason {
            KeepReason::Quarantine => {
                self.stopped.store(true, Ordering::Release);
                self.shared.spare(&containers);
            }
            KeepReason::Asked => {}
        }
        let named = join_all(containers.iter().map(|id| self.shared.mark(id, reason))).await;
        self.end_connections().await;
        let mut own = None;
        for (id, named) in containers.iter().zip(named) {
            let kept = self.shared.end_keeping(id, named, reason).await;
            match kept {
                Ok((kept, trouble)) => {
                    if let Some(trouble) = trouble {
                        self.note(&trouble);
                    }
                    own = own.or((*id == self.id).then_some(Ok(kept)));
                }
                Err(error) if *id == self.id => own = Some(Err(error)),
                Err(error) => self.note(&format!("the service {id} could not be kept: {error}")),
            }
        }
        let gone = || Broken::Ended("it has no container".to_owned()).into();
        let kept = own.unwrap_or_else(|| Err(gone()))?;
        self.stopped.store(true, Ordering::Release);
        Ok(kept)
    }

    /// Ends a sandbox that failed before anybody had it: it is removed, or kept if it tried to get at the host.
    pub(crate) async fn end_after(&self, error: SandboxError) -> SandboxError {
        if error.is_breach() {
            return told(error, self.keep_container(KeepReason::Quarantine).await);
        }
        self.remove().await;
        error
    }
}

/// Adds to the evidence of a containment event where its sandbox is.
fn told(error: SandboxError, kept: Result<KeptSandbox, SandboxError>) -> SandboxError {
    let SandboxError::Breached { breach, evidence } = error else {
        return error;
    };
    let place = match kept {
        Ok(kept) => format!("the sandbox is kept as {}", kept.name),
        Err(why) => format!("the sandbox could not be kept: {why}"),
    };
    SandboxError::Breached {
        breach,
        evidence: format!("{evidence}; {place}"),
    }
}

fn name_for(id: &str, reason: KeepReason) -> String {
    let prefix = match reason {
        KeepReason::Quarantine => QUARANTINE,
        KeepReason::Asked => ASKED,
    };
    let short: String = id.chars().take(12).collect();
    format!("{prefix}{short}")
}

impl Shared {
    /// Puts a container that deceived before it became a sandbox into quarantine.
    pub(crate) async fn keep_after(&self, id: &str, breach: SandboxError) -> SandboxError {
        told(breach, self.quarantine_one(id).await)
    }

    async fn quarantine_one(&self, id: &str) -> Result<KeptSandbox, SandboxError> {
        self.spare(&[id.to_owned()]);
        let reason = KeepReason::Quarantine;
        let named = self.mark(id, reason).await;
        let (kept, trouble) = self.end_keeping(id, named, reason).await?;
        if let Some(trouble) = trouble {
            tracing::warn!("{trouble}");
        }
        Ok(kept)
    }

    /// Gives a container the name that says why it is kept. A quarantine is worth waiting for a daemon.
    async fn mark(&self, id: &str, reason: KeepReason) -> Result<String, SandboxError> {
        let name = name_for(id, reason);
        let mut left = match reason {
            KeepReason::Quarantine => TRIES,
            KeepReason::Asked => 1,
        };
        loop {
            let options = RenameContainerOptionsBuilder::new().name(&name).build();
            let Err(error) = self.docker.rename_container(id, options).await else {
                return Ok(name);
            };
            left -= 1;
            let found = self.docker.inspect_container(id, None).await;
            match found {
                // Done before, by somebody who did not hear of it.
                Ok(found)
                    if found
                        .name
                        .as_deref()
                        .is_some_and(|found| found.trim_start_matches('/') == name) =>
                {
                    return Ok(name);
                }
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => left = 0,
                _ => {}
            }
            if left == 0 {
                return Err(self.error(&error, "keep a sandbox", About::Container));
            }
            sleep(BETWEEN_TRIES).await;
        }
    }

    /// Stops the processes of what is in quarantine, whether or not it could be marked. Returns what is worth a note.
    async fn end_keeping(
        &self,
        id: &str,
        named: Result<String, SandboxError>,
        reason: KeepReason,
    ) -> Result<(KeptSandbox, Option<String>), SandboxError> {
        let paused = match reason {
            KeepReason::Quarantine => self.pause(id).await,
            KeepReason::Asked => Ok(false),
        };
        let name = named?;
        let (paused, trouble) = match paused {
            Ok(paused) => (paused, None),
            Err(error) => {
                let trouble = format!("the processes of {name} could not be stopped: {error}");
                (false, Some(trouble))
            }
        };
        let id = id.to_owned();
        let kept = KeptSandbox {
            id,
            name,
            reason,
            paused,
        };
        Ok((kept, trouble))
    }

    /// Stops the processes of a container; false if it has none.
    async fn pause(&self, id: &str) -> Result<bool, SandboxError> {
        let Err(error) = self.docker.pause_container(id).await else {
            return Ok(true);
        };
        let found = self.docker.inspect_container(id, None).await;
        let state = found.ok().and_then(|found| found.state).unwrap_or_default();
        if state.paused == Some(true) {
            return Ok(true);
        }
        if state.running == Some(false) {
            return Ok(false);
        }
        Err(self.error(&error, "stop the processes of a sandbox", About::Container))
    }

    /// Has this process's sweeps leave containers alone, whatever becomes of their mark.
    fn spare(&self, containers: &[String]) {
        let mut spared = self.spared.lock().unwrap_or_else(PoisonError::into_inner);
        spared.extend(containers.iter().cloned());
    }

    /// Says whether a sweep must leave a container alone, and why: its name, that its processes are stopped (which
    /// happens in quarantine only), or that it was to be kept and could not be marked.
    pub(crate) fn why_kept(&self, container: &ContainerSummary) -> Option<KeepReason> {
        let mut names = container.names.iter().flatten();
        if let Some(reason) = names.find_map(|name| reason_of(name)) {
            return Some(reason);
        }
        let spared = self.spared.lock().unwrap_or_else(PoisonError::into_inner);
        let id = container.id.as_deref().unwrap_or_default();
        (is_paused(container) || spared.contains(id)).then_some(KeepReason::Quarantine)
    }
}

fn is_paused(container: &ContainerSummary) -> bool {
    container
        .status
        .as_ref()
        .is_some_and(|status| status.contains("(Paused)"))
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
                let reason = self.shared.why_kept(&container)?;
                let paused = is_paused(&container);
                let name = container.names?.into_iter().next()?;
                let mut labels = container.labels.unwrap_or_default();
                let mut take = |name: &str| labels.remove(name).unwrap_or_default();
                Some(KeptContainer {
                    reason,
                    name: name.trim_start_matches('/').to_owned(),
                    id: container.id?,
                    run: take(LABEL_RUN),
                    attempt: take(LABEL_ATTEMPT),
                    user: take(LABEL_USER),
                    expires: Timestamp::parse(&take(LABEL_EXPIRES)),
                    service: !take(LABEL_SERVICE).is_empty(),
                    workdir: take(LABEL_WORKDIR),
                    paused,
                })
            })
            .collect();
        kept.sort_by(|a, b| (&a.run, &a.attempt, &a.name).cmp(&(&b.run, &b.attempt, &b.name)));
        Ok(kept)
    }

    /// Puts into quarantine what is left of attempts that ended by a containment event and could not be kept then.
    pub async fn quarantine(&self, run: &RunId, attempts: &[AttemptId]) -> Result<(), SandboxError> {
        if attempts.is_empty() {
            return Ok(());
        }
        let attempts: BTreeSet<String> = attempts.iter().map(ToString::to_string).collect();
        for left in self.leftovers(&SweepScope::Run(run.clone())).await? {
            if left.kind == LeftoverKind::Container && attempts.contains(&left.attempt) {
                self.shared.quarantine_one(&left.id).await?;
            }
        }
        Ok(())
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

    /// Stops the processes of a kept sandbox once no command is being started in it; false if none runs.
    pub async fn pause(&self, kept: &KeptContainer) -> Result<bool, SandboxError> {
        let settled = tokio::time::timeout(STARTED_WITHIN, self.until_nothing_starts(&kept.id)).await;
        let busy = |_| SandboxError::Daemon {
            operation: "stop the processes of a sandbox".to_owned(),
            detail: "a command is still being started in it".to_owned(),
        };
        settled.map_err(busy)??;
        self.shared.pause(&kept.id).await
    }

    /// Waits until the daemon has started every command that it was asked for. Paused before, the command would never
    /// be there, and the daemon would wait for it and answer nothing more about the container (Docker 20.10, cgroup v1).
    async fn until_nothing_starts(&self, id: &str) -> Result<(), SandboxError> {
        let failed = |error: Error| {
            self.shared
                .error(&error, "look at a kept sandbox", About::Container)
        };
        let docker = &self.shared.docker;
        loop {
            sleep(ASKED_BEFORE).await;
            let found = docker.inspect_container(id, None).await.map_err(failed)?;
            let mut starts = false;
            for exec in found.exec_ids.unwrap_or_default() {
                // One that is unknown has ended.
                let exec = docker.inspect_exec(&exec).await.unwrap_or_default();
                starts |= exec.running == Some(true) && exec.pid.unwrap_or_default() == 0;
            }
            if !starts {
                return Ok(());
            }
        }
    }

    /// Returns whether a kept sandbox had services or an allow-list. Their connections ended with the attempt.
    pub async fn had_connections(&self, kept: &KeptContainer) -> Result<bool, SandboxError> {
        let found = self.look_at_kept(kept).await?;
        let first = found
            .config
            .and_then(|config| config.entrypoint)
            .unwrap_or_default();
        // What the helper writes into `/etc/hosts`.
        let hosts = first
            .get(2)
            .filter(|_| first.first().is_some_and(|first| first == helper::PROGRAM));
        Ok(hosts.is_some_and(|hosts| hosts != scripts::HOSTS))
    }

    /// Removes a kept sandbox.
    pub async fn remove_kept(&self, kept: &KeptContainer) -> Result<(), SandboxError> {
        let permit = self.shared.pace.admit().await?;
        let removed = self.remove_kept_now(kept).await;
        permit.done(Lifecycle::Other, &removed);
        removed
    }

    /// Under gVisor a container that dies while it is paused leaves a process of the daemon behind for ever, so it is let
    /// run again just before. With other runtimes nothing of what was stopped runs once more.
    async fn remove_kept_now(&self, kept: &KeptContainer) -> Result<(), SandboxError> {
        let runtime = match self.look_at_kept(kept).await {
            Ok(found) => found.host_config.and_then(|config| config.runtime),
            Err(SandboxError::Gone { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if kept.paused
            && runtime.as_deref() == Some(Runtime::Runsc.name())
            && let Err(error) = self.unpause(kept).await
        {
            tracing::debug!(container = %kept.id, %error, "a kept sandbox is removed while it is paused");
        }
        self.shared.remove_container(&kept.id).await
    }

    async fn look_at_kept(&self, kept: &KeptContainer) -> Result<ContainerInspectResponse, SandboxError> {
        let found = self.shared.docker.inspect_container(&kept.id, None).await;
        found.map_err(|error| {
            self.shared
                .error(&error, "look at a kept sandbox", About::Container)
        })
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
