//! One sandbox per test, removed whatever happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness_core::ids::{AttemptId, RunId, TrialId};
use harness_core::ports::{
    BeforeExec, ExecEnding, ExecRequest, ExecResult, ExecUser, PreparedImage, PutFile, Sandbox,
    SandboxLabels, SandboxProvider, SandboxRequest, SweepScope,
};
use harness_core::sandbox::{ImageSource, NetworkPolicy, Resources, Runtime, SandboxSpec};
use harness_core::task::FileData;
use harness_core::units::{Bytes, Timestamp};
use harness_docker::{DockerProvider, DockerSettings, Helper, KeptContainer};

/// Returns a provider, or `None` after saying so where there is no daemon.
pub(crate) async fn provider_with(settings: DockerSettings) -> Option<DockerProvider> {
    match DockerProvider::connect(settings).await {
        Ok(provider) => Some(provider),
        Err(error) => {
            let required = std::env::var("HARNESS_REQUIRE_DOCKER").is_ok_and(|value| value == "1");
            assert!(!required, "{error}");
            eprintln!("SKIPPED: no docker daemon ({error})");
            None
        }
    }
}

/// Returns whether the daemon knows a runtime, after saying so where it does not.
pub(crate) async fn daemon_knows(runtime: Runtime) -> bool {
    let known = agreed().await.info().await.unwrap().runtimes.unwrap_or_default();
    let knows = known.contains_key(runtime.name());
    let required = std::env::var("HARNESS_REQUIRE_RUNTIMES").is_ok_and(|value| value == "1");
    assert!(knows || !required, "the daemon does not know {}", runtime.name());
    if !knows {
        eprintln!("SKIPPED: the daemon does not know the runtime {}", runtime.name());
    }
    knows
}

/// Settings of a provider whose sandboxes have no helper: every command is a call of the daemon.
pub(crate) fn plain() -> DockerSettings {
    DockerSettings {
        helper: Helper::Never,
        ..DockerSettings::default()
    }
}

/// Makes two tests of a body that takes the provider's settings: what the helper promises holds for calls of the daemon
/// too.
macro_rules! with_and_without_the_helper {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test]
            async fn helped() {
                super::$name(harness_docker::DockerSettings::default()).await;
            }

            #[tokio::test]
            async fn by_the_daemon() {
                super::$name(crate::support::plain()).await;
            }
        }
    )+};
}
pub(crate) use with_and_without_the_helper;

pub(crate) fn busybox() -> SandboxSpec {
    SandboxSpec {
        image: ImageSource::Named("harness/busybox:1".to_owned()),
        network: NetworkPolicy::None,
        services: BTreeMap::new(),
        files: BTreeMap::new(),
        setup: Vec::new(),
        env: BTreeMap::from([("COLOR".to_owned(), "blue".to_owned())]),
        user: "agent".to_owned(),
        workdir: "/home/agent".to_owned(),
        resources: Resources {
            cpus: 1.0,
            memory: Bytes(64 << 20),
            pids: 48,
            disk: Bytes(64 << 20),
        },
        runtime: Runtime::Runc,
    }
}

pub(crate) fn unique_run() -> RunId {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    RunId::new(format!(
        "test-{}-{}-{number}",
        std::process::id(),
        since.as_nanos()
    ))
}

pub(crate) fn labels(run: &RunId) -> SandboxLabels {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let trial = TrialId::new("task/1/react/model/1");
    SandboxLabels {
        run: run.clone(),
        attempt: AttemptId { trial, number: 1 },
        expires: Timestamp(i64::try_from(since.as_micros()).unwrap()).plus(Duration::from_mins(10)),
    }
}

pub(crate) fn put(path: &str, text: &str) -> PutFile {
    let data = FileData {
        bytes: text.as_bytes().to_vec(),
        executable: path.contains(".sh"),
    };
    PutFile {
        path: path.to_owned(),
        data: Arc::new(data),
    }
}

/// A provider and what a test has started with it.
pub(crate) struct Bench {
    pub(crate) provider: DockerProvider,
    pub(crate) run: RunId,
}

impl Bench {
    pub(crate) async fn open() -> Option<Self> {
        Self::open_with(DockerSettings::default()).await
    }

    pub(crate) async fn open_with(settings: DockerSettings) -> Option<Self> {
        let provider = provider_with(settings).await?;
        Some(Self {
            provider,
            run: unique_run(),
        })
    }

    pub(crate) async fn image(&self, spec: &SandboxSpec) -> PreparedImage {
        self.provider.prepare(spec, &BTreeMap::new()).await.unwrap()
    }

    pub(crate) async fn request(&self, spec: SandboxSpec, files: Vec<PutFile>) -> SandboxRequest {
        SandboxRequest {
            image: self.image(&spec).await,
            spec: Arc::new(spec),
            files,
            service_files: BTreeMap::new(),
            labels: labels(&self.run),
        }
    }

    pub(crate) async fn start(&self, spec: SandboxSpec) -> Box<dyn Sandbox> {
        let request = self.request(spec, Vec::new()).await;
        self.provider.start(&request).await.unwrap()
    }

    /// Returns what is kept of this test.
    pub(crate) async fn kept(&self) -> Vec<KeptContainer> {
        let mut kept = self.provider.kept().await.unwrap();
        kept.retain(|kept| kept.run == self.run.as_str());
        kept
    }

    pub(crate) async fn close(self) {
        self.provider
            .sweep(&SweepScope::Run(self.run.clone()))
            .await
            .unwrap();
        for kept in self.kept().await {
            self.provider.remove_kept(&kept).await.unwrap();
        }
    }
}

/// Runs a test body in a sandbox of its own, which is removed even if the body panics.
pub(crate) async fn in_sandbox<F>(spec: SandboxSpec, body: F)
where
    F: AsyncFnOnce(Arc<dyn Sandbox>) + Send + 'static,
{
    in_sandbox_with(DockerSettings::default(), spec, body).await;
}

pub(crate) async fn in_sandbox_with<F>(settings: DockerSettings, spec: SandboxSpec, body: F)
where
    F: AsyncFnOnce(Arc<dyn Sandbox>) + Send + 'static,
{
    let Some(bench) = Bench::open_with(settings).await else {
        return;
    };
    let sandbox: Arc<dyn Sandbox> = bench.start(spec).await.into();
    let caught = futures_catch(body(Arc::clone(&sandbox))).await;
    sandbox.stop().await.unwrap();
    bench.close().await;
    if let Err(panic) = caught {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) async fn futures_catch(
    future: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::any::Any + Send>> {
    use futures_util::FutureExt;
    std::panic::AssertUnwindSafe(future).catch_unwind().await
}

pub(crate) fn sh(text: &str) -> ExecRequest {
    ExecRequest::shell(text, Duration::from_secs(20))
}

pub(crate) fn sh_for(text: &str, millis: u64) -> ExecRequest {
    ExecRequest::shell(text, Duration::from_millis(millis))
}

pub(crate) fn root(text: &str) -> ExecRequest {
    ExecRequest {
        user: ExecUser::Root,
        ..sh(text)
    }
}

pub(crate) fn root_killing(text: &str) -> ExecRequest {
    ExecRequest {
        before: BeforeExec::KillAll,
        ..root(text)
    }
}

pub(crate) fn exited(code: i32) -> ExecEnding {
    ExecEnding::Exited { code }
}

pub(crate) fn timed_out(millis: u64) -> ExecEnding {
    ExecEnding::TimedOut {
        after: Duration::from_millis(millis),
    }
}

pub(crate) fn text(result: &ExecResult) -> String {
    result.stdout.readable(100_000).text
}

/// Runs a command that must succeed and returns what it wrote.
pub(crate) async fn ask(sandbox: &dyn Sandbox, request: ExecRequest) -> String {
    let result = sandbox.exec(&request).await.unwrap();
    assert_eq!(result.ending, exited(0), "{request:?}: {result:?}");
    text(&result).trim().to_owned()
}

/// Returns the command lines of all living processes but those of this listing and the keeper.
pub(crate) async fn living(sandbox: &dyn Sandbox) -> Vec<String> {
    living_seen_by(sandbox, BeforeExec::Nothing).await
}

/// Waits until nothing but the keeper and this listing lives; returns what does not end.
pub(crate) async fn living_in_the_end(sandbox: &dyn Sandbox) -> Vec<String> {
    let mut left = Vec::new();
    for _ in 0..100 {
        left = living(sandbox).await;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    left
}

/// Waits until a command runs in a container, seen from outside: a command inside would have to do with what happens there.
pub(crate) async fn until_runs_in(id: &str, wanted: &str) {
    loop {
        let top = agreed()
            .await
            .top_processes(id, None::<bollard::query_parameters::TopOptions>)
            .await;
        let rows = top.ok().and_then(|top| top.processes).unwrap_or_default();
        if rows.iter().flatten().any(|cell| cell == wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Returns whether this daemon leaves the disk limit to us.
pub(crate) fn disk_is_watched(sandbox: &dyn Sandbox) -> bool {
    let about_it = |note: &String| note.starts_with("the daemon's storage driver has no quota");
    sandbox.info().notes.iter().any(about_it)
}

/// How the keeper's command begins, which a process that it has just forked shows too.
const KEEPER: &str = "/bin/sh -c trap ";

/// The same, with what happens before.
pub(crate) async fn living_seen_by(sandbox: &dyn Sandbox, before: BeforeExec) -> Vec<String> {
    let listing = "for d in /proc/[0-9]*; do p=${d#/proc/}; [ $p = 1 ] || [ $p = $$ ] && continue; \
                   read -r _ _ state _ <$d/stat 2>/dev/null || continue; \
                   line=$(tr '\\0' ' ' <$d/cmdline 2>/dev/null); [ -n \"$line\" ] && echo \"$line\"; done";
    let request = ExecRequest {
        before,
        ..root(listing)
    };
    // What others do in the sandbox meanwhile, such as running out of memory, is not the listing's doing.
    let result = sandbox.exec(&request).await.unwrap();
    let all = text(&result);
    let lines = all.lines().map(|line| line.trim().to_owned());
    lines
        .filter(|line| line != "sleep 86400" && !line.starts_with("tr ") && !line.starts_with(KEEPER))
        .collect()
}

fn daemon() -> bollard::Docker {
    bollard::Docker::connect_with_unix("/var/run/docker.sock", 60, bollard::API_DEFAULT_VERSION).unwrap()
}

async fn agreed() -> bollard::Docker {
    daemon().negotiate_version().await.unwrap()
}

/// Kills a container behind the provider's back.
pub(crate) async fn kill_container(id: &str) {
    agreed().await.kill_container(id, None).await.unwrap();
}

/// Returns the ids of all networks of open sandboxes.
pub(crate) async fn open_networks() -> Vec<String> {
    let filters = std::collections::HashMap::from([("label", vec!["harness.network=open"])]);
    let options = bollard::query_parameters::ListNetworksOptionsBuilder::new()
        .filters(&filters)
        .build();
    let found = agreed().await.list_networks(Some(options)).await.unwrap();
    found.into_iter().filter_map(|network| network.id).collect()
}

/// Removes them, but those that another test uses.
pub(crate) async fn remove_open_networks() {
    for id in open_networks().await {
        let _ = agreed().await.remove_network(&id).await;
    }
}

/// Returns the ids of the services beside a sandbox.
pub(crate) async fn service_containers(sandbox: &str) -> Vec<String> {
    let labels = inspect(sandbox).await.config.unwrap().labels.unwrap();
    let run = format!("harness.run={}", labels["harness.run"]);
    let filters = std::collections::HashMap::from([("label", vec![run.as_str(), "harness.service"])]);
    let options = bollard::query_parameters::ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    let found = agreed().await.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|container| container.id).collect()
}

/// Removes a container behind the provider's back.
pub(crate) async fn remove_container(id: &str) {
    let options = bollard::query_parameters::RemoveContainerOptionsBuilder::new()
        .force(true)
        .build();
    agreed().await.remove_container(id, Some(options)).await.unwrap();
}

/// Pauses a container behind the provider's back.
pub(crate) async fn pause_container(id: &str) {
    agreed().await.pause_container(id).await.unwrap();
}

/// Renames a container behind the provider's back.
pub(crate) async fn rename_container(id: &str, name: &str) {
    let options = bollard::query_parameters::RenameContainerOptionsBuilder::new()
        .name(name)
        .build();
    agreed().await.rename_container(id, options).await.unwrap();
}

pub(crate) async fn inspect(id: &str) -> bollard::models::ContainerInspectResponse {
    agreed().await.inspect_container(id, None).await.unwrap()
}

/// Returns how much a container's file system has grown.
pub(crate) async fn inspect_size(id: &str) -> i64 {
    let options = bollard::query_parameters::InspectContainerOptionsBuilder::new()
        .size(true)
        .build();
    let found = agreed().await.inspect_container(id, Some(options)).await;
    found.unwrap().size_rw.unwrap()
}

pub(crate) async fn remove_image(name: &str) {
    let options = bollard::query_parameters::RemoveImageOptionsBuilder::new()
        .force(true)
        .build();
    agreed()
        .await
        .remove_image(name, Some(options), None)
        .await
        .unwrap();
}

/// Imports an image with nothing in it but a folder.
pub(crate) async fn import_empty_image(run: &RunId) -> String {
    use futures_util::TryStreamExt;
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    builder
        .append_data(&mut header, "empty/", std::io::empty())
        .unwrap();
    let body = bollard::body_full(builder.into_inner().unwrap().into());
    let options = bollard::query_parameters::CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo("harness-test/empty")
        .tag(run.as_str())
        .build();
    let docker = agreed().await;
    let steps: Vec<_> = docker
        .create_image(Some(options), Some(body), None)
        .try_collect()
        .await
        .unwrap();
    assert!(!steps.is_empty());
    format!("harness-test/empty:{run}")
}

pub(crate) async fn make_volume(run: &RunId) -> String {
    let request = bollard::models::VolumeCreateRequest {
        name: Some(format!("volume-{run}")),
        labels: Some([("harness.run".to_owned(), run.to_string())].into()),
        ..Default::default()
    };
    agreed().await.create_volume(request).await.unwrap().name
}

pub(crate) async fn make_network(run: &RunId) -> String {
    let request = bollard::models::NetworkCreateRequest {
        name: format!("network-{run}"),
        internal: Some(true),
        labels: Some([("harness.run".to_owned(), run.to_string())].into()),
        ..Default::default()
    };
    agreed().await.create_network(request).await.unwrap().id
}
