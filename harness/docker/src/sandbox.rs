//! The container of one attempt.
//!
//! Owns: the [`Sandbox`] port and what is shared by its parts. Must not: know how commands end (`exec`) or
//! how processes are killed (`kill`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use futures_util::future::join_all;
use harness_core::ports::{
    BeforeExec, CollectRequest, Collected, ExecEnding, ExecRequest, ExecResult, FileContent, KeepReason,
    KeptSandbox, Later, PutFile, Sandbox, SandboxError, SandboxFact, SandboxInfo, Terminal, TerminalRequest,
};
use harness_core::text::Captured;
use harness_core::units::Bytes;
use harness_guest::Identity;
use tokio::time::timeout;

use crate::disk::{Disk, WatchedTerminal};
use crate::errors::About;
use crate::events::Ear;
use crate::facts::ImageFacts;
use crate::facts_log::FactLog;
use crate::files::check_path;
use crate::link::{Broken, Link};
use crate::provider::Shared;
use crate::services::{Attached, Service};

/// How long the helper may take for its last answer; without one, what it has said counts.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// A running container.
pub(crate) struct DockerSandbox {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: String,
    pub(crate) image: String,
    pub(crate) runtime: &'static str,
    pub(crate) user: String,
    pub(crate) workdir: String,
    pub(crate) disk: Bytes,
    /// What watches the disk, where the daemon does not.
    pub(crate) watched: Option<Disk>,
    pub(crate) facts: ImageFacts,
    pub(crate) ear: Ear,
    /// Markers of the commands that run now.
    pub(crate) running: Mutex<BTreeSet<String>>,
    /// How many kills for lack of memory were told as the ending of a command.
    pub(crate) explained_ooms: AtomicU64,
    pub(crate) notes: Mutex<Vec<String>>,
    /// Whether nobody has to remove it any more.
    pub(crate) stopped: AtomicBool,
    pub(crate) removed: AtomicBool,
    /// The stream to the helper; without one every command is a call of the daemon.
    pub(crate) link: Option<Arc<Link>>,
    /// Variables of every command besides what the container has.
    pub(crate) extra_env: Vec<(String, String)>,
    /// Containers of its services.
    pub(crate) services: Vec<String>,
    /// What happened without being asked for.
    pub(crate) log: Arc<FactLog>,
    /// What runs on the host for it.
    pub(crate) attached: Attached,
}

impl DockerSandbox {
    /// Returns a container of which no more is known than what its labels say.
    pub(crate) fn known(shared: &Arc<Shared>, (id, ear): (String, Ear), user: &str, workdir: &str) -> Self {
        Self {
            shared: Arc::clone(shared),
            id,
            image: String::new(),
            runtime: "",
            user: user.to_owned(),
            workdir: workdir.to_owned(),
            disk: Bytes(u64::MAX),
            watched: None,
            facts: ImageFacts::unknown(workdir),
            ear,
            running: Mutex::default(),
            explained_ooms: AtomicU64::new(0),
            notes: Mutex::default(),
            stopped: true.into(),
            removed: false.into(),
            link: None,
            extra_env: Vec::new(),
            services: Vec::new(),
            log: Arc::default(),
            attached: Attached::default(),
        }
    }

    /// Returns all containers, that of the sandbox first.
    pub(crate) fn containers(&self) -> Vec<String> {
        let own = std::iter::once(self.id.clone());
        own.chain(self.services.iter().cloned()).collect()
    }

    /// Returns the stream to the helper; without one, commands are calls of the daemon. A stream that was lost while
    /// the sandbox lives on (the daemon's connection broke) is done without.
    pub(crate) async fn helper(&self) -> Result<Option<&Arc<Link>>, SandboxError> {
        if self.removed.load(Ordering::Acquire) {
            return Err(Broken::Ended("it was removed".to_owned()).into());
        }
        self.check_services()?;
        let Some(link) = &self.link else {
            return Ok(None);
        };
        match link.broken() {
            None => Ok(Some(link)),
            Some(breach @ Broken::Breach(_)) => Err(breach.into()),
            Some(Broken::Ended(why)) => {
                self.check_alive().await?;
                if self.attached.any() {
                    return Err(Broken::Ended(why).into());
                }
                self.note(&format!(
                    "the stream to the helper was lost, so every command is a call of the daemon from here on: {why}"
                ));
                Ok(None)
            }
        }
    }

    /// Checks that no service has tried to deceive the host: it is as hostile as the sandbox.
    fn check_services(&self) -> Result<(), SandboxError> {
        let mut broken = self.attached.services.iter().filter_map(Service::breach);
        broken.next().map_or(Ok(()), Err)
    }

    /// Checks that the sandbox and its services can be used.
    async fn check_intact(&self) -> Result<(), SandboxError> {
        self.check_services()?;
        for service in &self.attached.services {
            service.check().await?;
        }
        let Some(link) = &self.link else {
            return self.check_alive().await;
        };
        match link.check().await {
            Ok(()) => Ok(()),
            Err(broken) => Err(self.explain_loss(broken.into()).await),
        }
    }

    /// Records how this sandbox differs from what was asked, once.
    pub(crate) fn note(&self, text: &str) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if !notes.iter().any(|note| note == text) {
            notes.push(text.to_owned());
        }
    }

    /// Checks that the container runs.
    pub(crate) async fn check_alive(&self) -> Result<(), SandboxError> {
        self.ear.send_modify(|heard| heard.suspect = false);
        let found = self.shared.docker.inspect_container(&self.id, None).await;
        let found = found.map_err(|error| self.shared.error(&error, "look at the sandbox", About::Container));
        let state = match found {
            Ok(found) => found.state.unwrap_or_default(),
            Err(error) => return Err(error),
        };
        if state.running == Some(true) {
            return Ok(());
        }
        // The daemon says so of every container in which anything was ever killed for lack of memory.
        let ooms = self.ear.borrow().ooms;
        let unexplained = ooms == 0 || ooms > self.explained_ooms.load(Ordering::Acquire);
        let out_of_memory = state.oom_killed == Some(true) && unexplained;
        let code = state.exit_code.unwrap_or_default();
        let detail = format!("its first process ended with code {code}");
        Err(SandboxError::Gone {
            out_of_memory,
            detail,
        })
    }

    /// A command or terminal begins: from the first on the disk is watched.
    pub(crate) fn watch_disk(&self) -> Option<crate::disk::Running> {
        let disk = self.watched.as_ref()?;
        disk.watch(self.link.as_ref());
        Some(disk.begin())
    }

    /// Returns the answer to a command that is not run, since what ran before was killed for its use of the disk and nobody
    /// was told. What scores is always run.
    fn untold_disk_limit(&self, request: &ExecRequest) -> Option<ExecResult> {
        let disk = self.watched.as_ref()?;
        let told = request.before == BeforeExec::Nothing && disk.take_untold();
        told.then(|| ExecResult {
            ending: ExecEnding::DiskLimit { limit: self.disk },
            stdout: Captured::default(),
            stderr: Captured::whole(
                "everything was killed since the disk limit was exceeded; this was not run\n",
            ),
            took: Duration::ZERO,
        })
    }

    /// Turns a failed call into its meaning; whatever happened, a dead container explains it.
    pub(crate) async fn explain(&self, error: &Error, operation: &str) -> SandboxError {
        match self.check_alive().await {
            Err(gone @ SandboxError::Gone { .. }) => gone,
            _ => self.shared.error(error, operation, About::Container),
        }
    }

    /// Looks at what the helper has said without being asked.
    async fn look_for_breach(&self) -> Result<(), SandboxError> {
        // What came before the answers has been looked at when those are there.
        let services = self.attached.services.iter();
        join_all(services.map(|service| timeout(LAST_LOOK, service.check()))).await;
        self.check_services()?;
        let Some(link) = &self.link else { return Ok(()) };
        let _ = timeout(LAST_LOOK, link.check()).await;
        match link.broken() {
            Some(breach @ Broken::Breach(_)) => Err(breach.into()),
            Some(Broken::Ended(_)) | None => Ok(()),
        }
    }

    /// Begins to remove the containers, unless they are kept.
    pub(crate) async fn remove(&self) {
        if !self.stopped.load(Ordering::Acquire) && !self.removed.swap(true, Ordering::AcqRel) {
            self.log.end_of_services();
            self.end_connections().await;
            self.shared.remove_later(self.containers()).await;
            // Only now: if this is cut off before, they go when the sandbox is dropped.
            self.stopped.store(true, Ordering::Release);
        }
    }
}

impl Shared {
    /// Removes a container with its volumes, in one call; it may be gone already.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), SandboxError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Err(error) if !is_gone_or_going(&error) => {
                Err(self.error(&error, "remove a sandbox", About::Daemon))
            }
            _ => Ok(()),
        }
    }
}

fn is_gone_or_going(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }
    )
}

impl Sandbox for DockerSandbox {
    fn info(&self) -> SandboxInfo {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        SandboxInfo {
            id: self.id.clone(),
            image: self.image.clone(),
            runtime: self.runtime.to_owned(),
            notes: notes.clone(),
        }
    }

    fn exec<'a>(&'a self, request: &'a ExecRequest) -> Later<'a, Result<ExecResult, SandboxError>> {
        Box::pin(async move {
            let helper = self.helper().await?;
            if let Some(told) = self.untold_disk_limit(request) {
                return Ok(told);
            }
            match helper {
                Some(link) => self.exec_helped(link, request).await,
                None => self.exec_request(request).await,
            }
        })
    }

    fn read<'a>(&'a self, path: &'a str, cap: Bytes) -> Later<'a, Result<FileContent, SandboxError>> {
        Box::pin(async move {
            let Some(link) = self.helper().await? else {
                return self.read_file(path, cap).await;
            };
            check_path(path)?;
            match link.read_file(path, Identity::default(), cap.0).await {
                Ok(content) => Ok(content),
                Err(error) => Err(self.explain_loss(error).await),
            }
        })
    }

    fn write<'a>(&'a self, files: &'a [PutFile]) -> Later<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            match self.helper().await? {
                Some(link) => self.write_helped(link, files).await,
                None => self.write_files(files).await,
            }
        })
    }

    fn kill_all(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(async move {
            let Some(link) = self.helper().await? else {
                return self.kill_everything().await;
            };
            match link.kill_all().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.explain_loss(error).await),
            }
        })
    }

    fn export<'a>(&'a self, path: &'a str, cap: Bytes) -> Later<'a, Result<Vec<u8>, SandboxError>> {
        Box::pin(self.export_folder(path, cap))
    }

    fn import<'a>(&'a self, path: &'a str, archive: Vec<u8>) -> Later<'a, Result<(), SandboxError>> {
        Box::pin(self.import_folder(path, archive))
    }

    fn open_terminal<'a>(
        &'a self,
        request: &'a TerminalRequest,
    ) -> Later<'a, Result<Box<dyn Terminal>, SandboxError>> {
        Box::pin(async move {
            let helper = self.helper().await?;
            let running = self.watch_disk();
            let terminal = match helper {
                Some(link) => self.terminal_helped(link, request).await?,
                None => self.open_daemon_terminal(request).await?,
            };
            Ok(match running {
                Some(running) => Box::new(WatchedTerminal { terminal, running }),
                None => terminal,
            })
        })
    }

    fn collect<'a>(&'a self, request: &'a CollectRequest) -> Later<'a, Result<Collected, SandboxError>> {
        Box::pin(self.collect_files(request))
    }

    fn check(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(self.check_intact())
    }

    fn check_containment(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(self.look_for_breach())
    }

    fn take_facts(&self) -> Vec<SandboxFact> {
        self.log.take()
    }

    fn keep(&self, reason: KeepReason) -> Later<'_, Result<KeptSandbox, SandboxError>> {
        Box::pin(self.keep_container(reason))
    }

    fn stop(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(async {
            self.remove().await;
            Ok(())
        })
    }
}

impl Drop for DockerSandbox {
    fn drop(&mut self) {
        if !self.stopped.load(Ordering::Acquire) {
            tracing::warn!(container = %self.id, "a sandbox was dropped without being removed; it is removed in the background");
            self.shared.remove_dropped(self.containers());
        }
    }
}
