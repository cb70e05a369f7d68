//! The connection to the daemon, and the [`SandboxProvider`] port.
//!
//! Owns: connecting, starting sandboxes, and what all sandboxes share. Must not: know recipes of images.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::query_parameters::CreateContainerOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use harness_core::ports::{
    Later, PreparedImage, Sandbox, SandboxError, SandboxProvider, SandboxRequest, SweepScope, Swept,
};
use harness_core::sandbox::SandboxSpec;
use harness_core::task::FileData;
use harness_core::units::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use crate::config::{self, ContainerPlan, DiskQuota};
use crate::errors::{About, Failure, meaning};
use crate::events::{self, Switchboard};
use crate::facts::{FactsKey, ImageFacts};
use crate::files::{self, Target};
use crate::sandbox::DockerSandbox;
use crate::settings::DockerSettings;

/// How long one call may take until the daemon begins to answer.
const CALL_TIMEOUT_SECONDS: u64 = 120;

/// Makes sandboxes in containers of one daemon.
pub struct DockerProvider {
    pub(crate) shared: Arc<Shared>,
}

/// What a provider shares with its sandboxes.
pub(crate) struct Shared {
    pub(crate) docker: Docker,
    pub(crate) address: String,
    pub(crate) settings: DockerSettings,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) facts: Mutex<HashMap<FactsKey, ImageFacts>>,
    pub(crate) quota: Mutex<Option<DiskQuota>>,
    pub(crate) makers: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    pub(crate) runtimes: Vec<String>,
    cpus: f64,
    boot: String,
    owner: String,
    slots: Semaphore,
    counter: AtomicU64,
    events: JoinHandle<()>,
}

impl DockerProvider {
    /// Connects to the daemon and agrees on a version of its interface.
    ///
    /// # Errors
    /// `DaemonUnreachable` if nobody answers at the address.
    pub async fn connect(settings: DockerSettings) -> Result<Self, SandboxError> {
        let address = settings.socket()?;
        let failed = |error: &Error| meaning(&Failure::from(error), "connect", About::Daemon, &address);
        let docker = Docker::connect_with_unix(&address, CALL_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|error| failed(&error))?;
        let docker = docker.negotiate_version().await.map_err(|error| failed(&error))?;
        let info = docker.info().await.map_err(|error| failed(&error))?;
        let boot = boot_id();
        let owner = format!("{:016x}", RandomState::new().hash_one(SystemTime::now()));
        let switchboard = Arc::new(Switchboard::default());
        let listener = events::listen_forever(docker.clone(), owner.clone(), Arc::clone(&switchboard));
        let slots = Semaphore::new(settings.lifecycle_slots.max(1));
        Ok(Self {
            shared: Arc::new(Shared {
                docker,
                address,
                settings,
                switchboard,
                facts: Mutex::default(),
                quota: Mutex::default(),
                makers: Mutex::default(),
                runtimes: info.runtimes.unwrap_or_default().into_keys().collect(),
                cpus: info.ncpu.map_or(f64::INFINITY, |count| count as f64),
                boot,
                owner,
                slots,
                counter: AtomicU64::new(0),
                events: tokio::spawn(listener),
            }),
        })
    }

    async fn start_sandbox(&self, request: &SandboxRequest) -> Result<Box<dyn Sandbox>, SandboxError> {
        let SandboxRequest { spec, image, .. } = request;
        config::check_supported(spec)?;
        let facts = self.facts(image, spec).await?;
        let archive = files::pack(
            &request.files,
            &spec.workdir,
            facts.owner,
            Target::Fresh(facts.workdir),
        )?;
        let shared = &self.shared;
        let quota = shared.known_quota().unwrap_or(DiskQuota::Unsupported);
        let body = config::container(ContainerPlan {
            spec,
            image: &image.id,
            uid: facts.owner.uid,
            labels: config::labels(&request.labels, &shared.boot, &shared.owner),
            quota,
            cpus: spec.resources.cpus.min(shared.cpus),
        });
        let slot = shared.slot().await;
        let created = shared
            .docker
            .create_container(None::<CreateContainerOptions>, body)
            .await;
        let id = created
            .map_err(|error| shared.error(&error, "create a sandbox", About::Container))?
            .id;
        let ear = shared.switchboard.listen(&id);
        if let Err(error) = self.fill_and_start(&id, archive).await {
            shared.remove_container(&id).await?;
            return Err(error);
        }
        drop(slot);
        let sandbox = DockerSandbox {
            shared: Arc::clone(shared),
            id,
            image: image.id.clone(),
            runtime: spec.runtime.name(),
            user: if facts.listed {
                spec.user.clone()
            } else {
                format!("{}:{}", facts.owner.uid, facts.owner.gid)
            },
            workdir: spec.workdir.clone(),
            disk: spec.resources.disk,
            quota,
            facts,
            ear,
            running: Mutex::default(),
            explained_ooms: AtomicU64::new(0),
            notes: Mutex::default(),
            stopped: false.into(),
        };
        if quota == DiskQuota::Unsupported {
            sandbox.note(
                "the daemon's storage driver has no quota: the disk limit is checked every two seconds \
                 and bounds each file",
            );
        }
        if spec.resources.cpus > shared.cpus {
            sandbox.note(&format!("the daemon has only {} processors", shared.cpus));
        }
        Ok(Box::new(sandbox))
    }

    async fn fill_and_start(&self, id: &str, archive: Option<Vec<u8>>) -> Result<(), SandboxError> {
        let shared = &self.shared;
        if let Some(archive) = archive {
            shared.upload(id, archive).await?;
        }
        let started = shared.docker.start_container(id, None).await;
        started.map_err(|error| shared.error(&error, "start a sandbox", About::Container))
    }
}

impl Shared {
    /// Waits until another container may be created, started or removed.
    pub(crate) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.acquire().await.ok()
    }

    /// Returns what a failed call means.
    pub(crate) fn error(&self, error: &Error, operation: &str, about: About<'_>) -> SandboxError {
        meaning(&Failure::from(error), operation, about, &self.address)
    }

    /// Returns a name that no other provider uses.
    pub(crate) fn unique(&self, what: &str) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{what}-{}-{number}", self.owner)
    }

    /// Returns the labels of a container that is only made to look into an image.
    pub(crate) fn probe_labels(&self) -> HashMap<String, String> {
        let expires = now().plus(std::time::Duration::from_mins(10));
        HashMap::from([
            (config::LABEL_RUN.to_owned(), "prepare".to_owned()),
            (config::LABEL_EXPIRES.to_owned(), expires.to_string()),
            (config::LABEL_BOOT.to_owned(), self.boot.clone()),
            (config::LABEL_OWNER.to_owned(), self.owner.clone()),
        ])
    }

    pub(crate) fn known_quota(&self) -> Option<DiskQuota> {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.events.abort();
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

impl SandboxProvider for DockerProvider {
    fn prepare<'a>(
        &'a self,
        spec: &'a SandboxSpec,
        files: &'a BTreeMap<String, Arc<FileData>>,
    ) -> Later<'a, Result<PreparedImage, SandboxError>> {
        Box::pin(self.prepare_image(spec, files))
    }

    fn start<'a>(&'a self, request: &'a SandboxRequest) -> Later<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(self.start_sandbox(request))
    }

    fn sweep<'a>(&'a self, scope: &'a SweepScope) -> Later<'a, Result<Swept, SandboxError>> {
        Box::pin(self.sweep_scope(scope))
    }

    fn settle(&self) -> Later<'_, Vec<String>> {
        Box::pin(async { Vec::new() })
    }
}
