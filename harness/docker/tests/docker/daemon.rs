//! The daemon going away and coming back, and what processes leave behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness_core::ids::RunId;
use harness_core::ports::{SandboxError, SandboxProvider, SweepScope, Swept};
use harness_core::sandbox::{NetworkPolicy, SandboxSpec};
use harness_docker::{DockerProvider, DockerSettings};
use pretty_assertions::assert_eq;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::support::{Bench, ask, busybox, in_sandbox, labels, sh, unique_run};

/// Stands between a provider and the daemon, so that a test can cut the connection.
struct Relay {
    path: PathBuf,
    tasks: Option<JoinSet<()>>,
}

impl Relay {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("{}.sock", unique_run()));
        let mut relay = Self { path, tasks: None };
        relay.up();
        relay
    }

    fn up(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut daemon = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut daemon).await;
                });
            }
        });
        self.tasks = Some(tasks);
    }

    async fn down(&mut self) {
        if let Some(mut tasks) = self.tasks.take() {
            tasks.shutdown().await;
        }
        std::fs::remove_file(&self.path).unwrap();
    }

    fn settings(&self) -> DockerSettings {
        DockerSettings {
            host: Some(format!("unix://{}", self.path.display())),
            ..DockerSettings::default()
        }
    }
}

#[tokio::test]
async fn an_absent_daemon_is_named_with_its_address() {
    let path = "/no/such/docker.sock";
    assert!(!Path::new(path).exists());
    let settings = DockerSettings {
        host: Some(format!("unix://{path}")),
        ..DockerSettings::default()
    };
    let error = DockerProvider::connect(settings).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "no Docker daemon answers at /no/such/docker.sock: no socket at /no/such/docker.sock (while trying to connect)"
    );
}

#[tokio::test]
async fn after_the_daemon_came_back_everything_works_again() {
    if crate::support::provider_with(DockerSettings::default())
        .await
        .is_none()
    {
        return;
    }
    let mut relay = Relay::new();
    let bench = Bench::open_with(relay.settings()).await.unwrap();
    let sandbox = bench.start(busybox()).await;
    let (result, ()) = tokio::join!(async { sandbox.exec(&sh("sleep 30")).await }, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        relay.down().await;
    });
    let first = result.unwrap_err();
    assert!(matches!(first, SandboxError::DaemonUnreachable { .. }), "{first}");
    let second = sandbox.exec(&sh("true")).await.unwrap_err();
    assert_eq!(second.name(), "daemon_unreachable", "{second}");
    relay.up();
    sandbox.kill_all().await.unwrap();
    assert_eq!(ask(&*sandbox, sh("echo back")).await, "back");
    let eaten = sandbox.exec(&sh("tail /dev/zero")).await.unwrap();
    assert!(
        matches!(eaten.ending, harness_core::ports::ExecEnding::OutOfMemory { .. }),
        "{eaten:?}"
    );
    sandbox.stop().await.unwrap();
    bench.close().await;
    relay.down().await;
}

#[tokio::test]
async fn a_sweep_removes_what_is_in_its_scope_and_nothing_else() {
    let Some(bench) = Bench::open().await else { return };
    let other = RunId::new(format!("{}0", bench.run));
    let mut request = bench.request(busybox(), Vec::new()).await;
    let one = bench.provider.start(&request).await.unwrap();
    request.labels = labels(&other);
    // Not before the end of every other test: what has expired is anybody's to remove.
    let expires = request.labels.expires.plus(Duration::from_hours(24 * 365));
    request.labels.expires = expires;
    let two = bench.provider.start(&request).await.unwrap();
    let volume = crate::support::make_volume(&bench.run).await;
    let network = crate::support::make_network(&bench.run).await;
    let scope = SweepScope::Run(bench.run.clone());
    let found = bench.provider.leftovers(&scope).await.unwrap();
    let ids: Vec<_> = found.iter().map(|leftover| leftover.id.clone()).collect();
    assert_eq!(ids, [one.info().id, network, volume]);
    assert_eq!(found[0].attempt, "task/1/react/model/1:1");
    let swept = bench.provider.sweep(&scope).await.unwrap();
    assert_eq!(
        swept,
        Swept {
            containers: 1,
            networks: 1,
            volumes: 1
        }
    );
    assert_eq!(bench.provider.leftovers(&scope).await.unwrap(), []);
    assert_eq!(ask(&*two, sh("echo alive")).await, "alive");
    let expired = bench
        .provider
        .leftovers(&SweepScope::Expired(expires.plus(Duration::from_secs(1))))
        .await
        .unwrap();
    assert!(expired.iter().any(|leftover| leftover.id == two.info().id));
    let not_yet = bench
        .provider
        .leftovers(&SweepScope::Expired(expires))
        .await
        .unwrap();
    assert!(not_yet.iter().all(|leftover| leftover.id != two.info().id));
    assert_eq!(
        bench
            .provider
            .sweep(&SweepScope::Run(other))
            .await
            .unwrap()
            .containers,
        1
    );
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test]
async fn many_sandboxes_at_once_are_started_and_removed() {
    let Some(bench) = Bench::open().await else { return };
    let request = bench.request(busybox(), Vec::new()).await;
    let one = async |number: u32| {
        let sandbox = bench.provider.start(&request).await.unwrap();
        let said = ask(&*sandbox, sh(&format!("echo {number}"))).await;
        sandbox.stop().await.unwrap();
        said
    };
    let said = futures_util::future::join_all((0..6).map(one)).await;
    bench.close().await;
    assert_eq!(said, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_sandbox_says_what_differs_from_what_was_asked() {
    in_sandbox(busybox(), async |sandbox| {
        let info = sandbox.info();
        assert_eq!((info.id.len(), info.runtime.as_str()), (64, "runc"));
        assert!(info.image.starts_with("sha256:"));
        let inspected = crate::support::inspect(&info.id).await;
        let host = inspected.host_config.unwrap();
        assert_eq!(host.memory, host.memory_swap);
        assert_eq!(
            (host.network_mode.as_deref(), host.ipc_mode.as_deref()),
            (Some("none"), Some("private"))
        );
        assert_eq!(
            (host.privileged, host.binds, host.pids_limit),
            (Some(false), None, Some(48))
        );
        assert_eq!(host.storage_opt.is_some(), info.notes.is_empty());
    })
    .await;
}

/// Older daemons make a second network of the same name, and then answer to neither.
#[tokio::test]
async fn open_sandboxes_that_start_at_once_share_one_network() {
    let (Some(bench), Some(other)) = (Bench::open().await, Bench::open().await) else {
        return;
    };
    let spec = || SandboxSpec {
        network: NetworkPolicy::Open,
        ..busybox()
    };
    let (request, others) = (
        bench.request(spec(), Vec::new()).await,
        other.request(spec(), Vec::new()).await,
    );
    crate::support::remove_open_networks().await;
    let own = (0..3).map(|_| bench.provider.start(&request));
    let own = futures_util::future::join_all(own);
    let (own, others) = tokio::join!(own, other.provider.start(&others));
    let mut networks = Vec::new();
    for sandbox in &own {
        let info = sandbox.as_ref().unwrap().info();
        let found = crate::support::inspect(&info.id).await.network_settings.unwrap();
        let found = found.networks.unwrap().into_values();
        networks.extend(found.filter_map(|network| network.network_id));
    }
    assert!(others.is_ok(), "a process beside it");
    assert_eq!(networks.len(), 3);
    networks.dedup();
    assert_eq!(networks.len(), 1);
    for sandbox in own.into_iter().chain([others]) {
        sandbox.unwrap().stop().await.unwrap();
    }
    bench.provider.settle().await;
    other.provider.settle().await;
    // The next one takes away what there is too much.
    let last = bench.provider.start(&request).await.unwrap();
    assert_eq!(crate::support::open_networks().await.len(), 1);
    last.stop().await.unwrap();
    bench.provider.settle().await;
    bench.close().await;
    other.close().await;
}
