//! The connection to the daemon, and the [`SandboxProvider`] port.
//!
//! Owns: connecting, starting sandboxes, and what all sandboxes share. Must not: know recipes of images.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bollard::errors::Error;
use bollard::models::ImageConfig;
use bollard::{API_DEFAULT_VERSION, Docker};
use harness_core::ports::{
    Later, PreparedImage, Sandbox, SandboxError, SandboxProvider, SandboxRequest, SweepScope, Swept,
};
use harness_core::sandbox::{NetworkPolicy, Runtime, SandboxSpec};
use harness_core::task::FileData;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use crate::clock::now;
use crate::config::{self, ContainerPlan, DiskQuota, First, RootPowers};
use crate::disk::Disk;
use crate::errors::{self, About, Failure, meaning};
use crate::events::{self, Ear, Switchboard};
use crate::facts::{FactsKey, ImageFacts};
use crate::files::{self, Target, Workdir};
use crate::helper::{self, HelperProgram};
use crate::link::{Attached, Link, NoGreeting};
use crate::pace::{Lifecycle, Pace};
use crate::removal::{Removals, Unclaimed};
use crate::sandbox::DockerSandbox;
use crate::scripts;
use crate::settings::DockerSettings;

/// How long one call may take until the daemon begins to answer.
const CALL_TIMEOUT_SECONDS: u64 = 120;

/// How long a helper may take to greet after its container was started.
const GREETING: Duration = Duration::from_secs(30);

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
    pub(crate) pace: Pace,
    counter: AtomicU64,
    events: JoinHandle<()>,
    helper: Result<HelperProgram, String>,
    helper_provided: OnceCell<()>,
    /// Images in which the helper does not run, and why.
    helper_refused: Mutex<HashMap<String, String>>,
    pub(crate) removals: Removals,
    /// What images say about how they are run, by their ids.
    pub(crate) image_configs: Mutex<HashMap<String, ImageConfig>>,
    /// Containers in quarantine, which no sweep of this process takes even if they could not be marked.
    pub(crate) spared: Mutex<BTreeSet<String>>,
}

/// How long processes that made a network at the same time get to take all but one away.
const NETWORK_SETTLES: Duration = Duration::from_millis(500);

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
        let pace = Pace::new(settings.lifecycle_slots);
        let removals = Removals::new(settings.lifecycle_slots);
        let helper = HelperProgram::of(&settings.helper, info.architecture.as_deref());
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
                pace,
                counter: AtomicU64::new(0),
                events: tokio::spawn(listener),
                helper,
                helper_provided: OnceCell::new(),
                helper_refused: Mutex::default(),
                removals,
                image_configs: Mutex::default(),
                spared: Mutex::default(),
            }),
        })
    }

    async fn start_sandbox(&self, request: &SandboxRequest) -> Result<Box<dyn Sandbox>, SandboxError> {
        if !config::is_open(&request.spec) {
            return self.start_whole(request, None).await;
        }
        let mut tries = 5;
        loop {
            tries -= 1;
            let network = self.shared.provide_open_network().await?;
            let started = self.start_whole(request, Some(&network)).await;
            let Err(error) = &started else {
                return started;
            };
            if tries == 0 || error.is_breach() || !self.shared.is_unfit(&network, error).await {
                return started;
            }
            tokio::time::sleep(NETWORK_SETTLES).await;
        }
    }

    /// Starts a sandbox with all that it has. An open one is on a network of the daemon's, given by its id.
    async fn start_whole(
        &self,
        request: &SandboxRequest,
        network: Option<&str>,
    ) -> Result<Box<dyn Sandbox>, SandboxError> {
        let listed = matches!(request.spec.network, NetworkPolicy::Allow(_));
        if listed || !request.spec.services.is_empty() {
            return Ok(Box::new(self.start_attached(request, network).await?));
        }
        let container = Wanted {
            request,
            part: Part::Sandbox,
            hosts: scripts::HOSTS,
            root: None,
            network,
        };
        Ok(Box::new(self.start_one(container).await?))
    }

    /// Starts one container, with the helper if that can run there.
    pub(crate) async fn start_one(&self, wanted: Wanted<'_>) -> Result<DockerSandbox, SandboxError> {
        let request = wanted.request;
        let facts = self.facts(&request.image, &request.spec).await?;
        let wanted = Wanted {
            root: wanted.root.or(Some(root_powers(&facts))),
            ..wanted
        };
        let why = match self.shared.helper_for(&request.image.id) {
            Ok(program) => match self.start_helped(&wanted, &facts, &program).await {
                Err(Refused::Helper(why)) => {
                    self.shared.refuse_helper(&request.image.id, &why);
                    why
                }
                Err(Refused::Sandbox(error)) => return Err(error),
                Ok(sandbox) => return Ok(sandbox),
            },
            Err(why) => why,
        };
        let sandbox = self.start_plain(&wanted, &facts).await?;
        sandbox.note(&format!("every command is a call of the daemon: {why}"));
        Ok(sandbox)
    }

    async fn start_helped(
        &self,
        wanted: &Wanted<'_>,
        facts: &ImageFacts,
        program: &HelperProgram,
    ) -> Result<DockerSandbox, Refused> {
        let (shared, request) = (&self.shared, wanted.request);
        shared.helper_provided(program, &request.image.id).await?;
        let first = First::Helper(program, wanted.hosts);
        let permit = shared.pace.admit().await?;
        let begun = self.create_and_greet(wanted, facts, first).await;
        permit.done(Lifecycle::Start, &about_the_daemon(&begun));
        let (made, ear, link) = begun?;
        let link = Arc::new(link);
        let mut sandbox = self.sandbox(request, facts.clone(), made.claim(), ear);
        sandbox.link = Some(link);
        if let Some(link) = &sandbox.link
            && let Err(error) = sandbox.write_helped(link, &request.files).await
        {
            return Err(sandbox.end_after(error).await.into());
        }
        Ok(sandbox)
    }

    async fn create_and_greet(
        &self,
        wanted: &Wanted<'_>,
        facts: &ImageFacts,
        first: First<'_>,
    ) -> Result<(Unclaimed, Ear, Link), Refused> {
        let shared = &self.shared;
        let made = self.create(wanted, facts, first).await?;
        let ear = shared.switchboard.listen(made.id());
        match self.greet(made.id(), facts, wanted.request).await {
            Ok(link) => Ok((made, ear, link)),
            Err(Refused::Sandbox(error)) if error.is_breach() => {
                // What is evidence is not to be removed, whatever becomes of this start.
                let id = made.claim();
                Err(shared.keep_after(&id, error).await.into())
            }
            Err(refused) => {
                made.remove().await?;
                Err(refused)
            }
        }
    }

    /// Starts a created container and waits for its helper.
    async fn greet(&self, id: &str, facts: &ImageFacts, request: &SandboxRequest) -> Result<Link, Refused> {
        let shared = &self.shared;
        if facts.workdir == Workdir::Make {
            let fresh = Target::Fresh(facts.workdir);
            if let Some(archive) = files::pack(&[], &request.spec.workdir, facts.owner, fresh)? {
                shared.upload(id, archive).await?;
            }
        }
        let attached = Attached::to(&shared.docker, id).await;
        let attached =
            attached.map_err(|error| shared.error(&error, "attach to a sandbox", About::Container))?;
        if let Err(error) = shared.docker.start_container(id, None).await {
            if let Some(why) = errors::cannot_run(&error.to_string(), helper::PROGRAM) {
                return Err(Refused::Helper(why));
            }
            return Err(shared.error(&error, "start a sandbox", About::Container).into());
        }
        match attached.greeted(GREETING).await {
            Ok(link) => Ok(link),
            Err(NoGreeting::Version(version)) => {
                Err(Refused::Helper(format!("the helper speaks version {version}")))
            }
            // That it was slow or was killed this time says nothing about the next.
            Err(NoGreeting::Broken(broken)) => Err(SandboxError::from(broken).into()),
        }
    }

    /// Brings the helper to the daemon before the first sandbox needs it.
    pub(crate) async fn prepare_helper(&self, image: &str) -> Result<(), SandboxError> {
        match self.shared.helper_for(image) {
            Ok(program) => self.shared.helper_provided(&program, image).await,
            Err(_) => Ok(()),
        }
    }

    async fn start_plain(
        &self,
        wanted: &Wanted<'_>,
        facts: &ImageFacts,
    ) -> Result<DockerSandbox, SandboxError> {
        let (shared, request) = (&self.shared, wanted.request);
        let fresh = Target::Fresh(facts.workdir);
        let archive = files::pack(&request.files, &request.spec.workdir, facts.owner, fresh)?;
        let permit = shared.pace.admit().await?;
        let begun = self.create_and_fill(wanted, facts, archive).await;
        permit.done(Lifecycle::Start, &begun);
        let (made, ear) = begun?;
        Ok(self.sandbox(request, facts.clone(), made.claim(), ear))
    }

    async fn create_and_fill(
        &self,
        wanted: &Wanted<'_>,
        facts: &ImageFacts,
        archive: Option<Vec<u8>>,
    ) -> Result<(Unclaimed, Ear), SandboxError> {
        let made = self.create(wanted, facts, First::Keeper).await?;
        let ear = self.shared.switchboard.listen(made.id());
        if let Err(error) = self.fill_and_start(made.id(), archive).await {
            made.remove().await?;
            return Err(error);
        }
        Ok((made, ear))
    }

    async fn create(
        &self,
        wanted: &Wanted<'_>,
        facts: &ImageFacts,
        first: First<'_>,
    ) -> Result<Unclaimed, SandboxError> {
        let (shared, request) = (&self.shared, wanted.request);
        let spec = &request.spec;
        let mut labels = config::labels(&request.labels, &shared.boot, &shared.owner);
        labels.insert(config::LABEL_USER.to_owned(), facts.name(&spec.user));
        labels.insert(config::LABEL_WORKDIR.to_owned(), spec.workdir.clone());
        if wanted.part == Part::Service {
            labels.insert(config::LABEL_SERVICE.to_owned(), "yes".to_owned());
        }
        let body = config::container(ContainerPlan {
            spec,
            image: &request.image.id,
            root: wanted.root.unwrap_or(RootPowers::None),
            labels,
            first,
            network: wanted.network,
            quota: shared.known_quota().unwrap_or(DiskQuota::Unsupported),
            cpus: spec.resources.cpus.min(shared.cpus),
        });
        shared.create_unclaimed(body).await
    }

    /// Puts together what is known of a container that runs.
    fn sandbox(&self, request: &SandboxRequest, facts: ImageFacts, id: String, ear: Ear) -> DockerSandbox {
        let shared = &self.shared;
        let spec = &request.spec;
        let quota = shared.known_quota().unwrap_or(DiskQuota::Unsupported);
        let mut sandbox = DockerSandbox::known(shared, (id, ear), &facts.name(&spec.user), &spec.workdir);
        sandbox.image.clone_from(&request.image.id);
        sandbox.runtime = spec.runtime.name();
        sandbox.disk = spec.resources.disk;
        if quota == DiskQuota::Unsupported {
            sandbox.watched = Some(Disk::new(&shared.docker, &sandbox.id, sandbox.disk));
        }
        sandbox.facts = facts;
        sandbox.stopped = false.into();
        if quota == DiskQuota::Unsupported {
            sandbox.note(
                "the daemon's storage driver has no quota: the disk limit is checked every two seconds \
                 and bounds each file",
            );
        }
        if quota == DiskQuota::Unsupported && spec.runtime == Runtime::Runsc {
            sandbox.note(
                "gVisor may keep what is written in the sandbox's memory, where the disk limit is not seen: the memory \
                 limit bounds it then",
            );
        }
        if sandbox.facts.owner.uid == 0 {
            sandbox.note(if spec.runtime == Runtime::Runsc {
                "under runsc a root agent can disturb or end the helper: prefer another user"
            } else {
                "a root agent can lower the helper's own limits, which may end the sandbox: prefer another user"
            });
        }
        if spec.resources.cpus > shared.cpus {
            sandbox.note(&format!("the daemon has only {} processors", shared.cpus));
        }
        sandbox
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

/// A container that is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) request: &'a SandboxRequest,
    pub(crate) part: Part,
    /// The text of its `/etc/hosts`.
    pub(crate) hosts: &'a str,
    /// What root's processes may; by default what the task's user leaves them.
    pub(crate) root: Option<RootPowers>,
    /// The id of the daemon's network that it is on, if it is on any.
    pub(crate) network: Option<&'a str>,
}

/// What a container is to its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The sandbox itself.
    Sandbox,
    /// A service beside it.
    Service,
}

fn root_powers(facts: &ImageFacts) -> RootPowers {
    if facts.owner.uid == 0 {
        RootPowers::None
    } else {
        RootPowers::Few
    }
}

/// Why a sandbox could not be started with the helper.
enum Refused {
    /// The helper can't run there, now and whenever; without it the sandbox may well start.
    Helper(String),
    /// It would not start without the helper either.
    Sandbox(SandboxError),
}

/// Returns what a start says about the daemon; that the helper does not run is not its doing.
fn about_the_daemon<T>(begun: &Result<T, Refused>) -> Result<(), SandboxError> {
    match begun {
        Ok(_) | Err(Refused::Helper(_)) => Ok(()),
        Err(Refused::Sandbox(error)) => Err(error.clone()),
    }
}

impl From<SandboxError> for Refused {
    fn from(error: SandboxError) -> Self {
        Self::Sandbox(error)
    }
}

impl Shared {
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

    /// Returns the helper for sandboxes of an image, or why there is none.
    fn helper_for(&self, image: &str) -> Result<HelperProgram, String> {
        let refused = self.helper_refused.lock().unwrap_or_else(PoisonError::into_inner);
        match refused.get(image) {
            Some(why) => Err(why.clone()),
            None => self.helper.clone(),
        }
    }

    /// Returns the volume with the helper.
    pub(crate) fn helper_volume(&self) -> Option<String> {
        self.helper.as_ref().ok().map(HelperProgram::volume)
    }

    fn refuse_helper(&self, image: &str, why: &str) {
        tracing::warn!(image, why, "the helper does not run in this image");
        let mut refused = self.helper_refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(image.to_owned(), why.to_owned());
    }

    async fn helper_provided(&self, program: &HelperProgram, image: &str) -> Result<(), SandboxError> {
        let provide = || async {
            let permit = self.pace.admit().await?;
            let provided = self.provide_helper(program, image).await;
            permit.done(Lifecycle::Other, &provided);
            provided
        };
        self.helper_provided.get_or_try_init(provide).await.copied()
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
        Box::pin(self.shared.settle_removals())
    }
}
