//! What is put into quarantine stays there, whatever goes wrong meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use harness_core::ports::{KeepReason, KeptSandbox, SandboxError, SandboxProvider, SweepScope, Swept};
use harness_core::sandbox::{ImageSource, NetworkPolicy, Runtime, SandboxSpec, ServiceSpec};
use pretty_assertions::assert_eq;

use super::forging::{exited, hello, lying, with_liar};
use super::{busybox_on, under_each_runtime};
use crate::support::{
    Bench, daemon_knows, futures_catch, inspect, pause_container, put, remove_container, rename_container,
    sh_for,
};

under_each_runtime!(
    of_a_sandbox_that_has_ended,
    asked_for_twice,
    of_services_of_which_one_is_gone,
    cut_short,
    caught_up_with,
    of_a_forged_greeting,
    of_a_forgery_while_files_are_written,
    of_a_service_that_forges,
);

/// Runs a test with a provider of its own; what it keeps is removed whatever happens.
async fn with_bench<F>(runtime: Runtime, body: F)
where
    F: AsyncFnOnce(&Bench) + Send,
{
    let Some(bench) = Bench::open().await else { return };
    if !daemon_knows(runtime).await {
        return;
    }
    let caught = futures_catch(body(&bench)).await;
    bench.provider.settle().await;
    bench.close().await;
    if let Err(panic) = caught {
        std::panic::resume_unwind(panic);
    }
}

fn name_of(id: &str) -> String {
    format!("harness-quarantine-{}", &id[..12])
}

fn quarantined(id: &str, paused: bool) -> KeptSandbox {
    KeptSandbox {
        id: id.to_owned(),
        name: name_of(id),
        reason: KeepReason::Quarantine,
        paused,
    }
}

/// No sweep takes what is kept: not that of this process, and not that of the next one.
async fn no_sweep_takes(bench: &Bench, ids: &[&str]) {
    let next = Bench::open().await.unwrap().provider;
    for provider in [&bench.provider, &next] {
        let own = SweepScope::Run(bench.run.clone());
        assert_eq!(provider.sweep(&own).await, Ok(Swept::default()));
        let kept = provider.kept().await.unwrap();
        for id in ids {
            let found = kept.iter().find(|kept| kept.id == *id);
            assert_eq!(
                found.map(|found| found.reason),
                Some(KeepReason::Quarantine),
                "{id}"
            );
        }
    }
}

/// Its processes end while the host finds out what they did.
async fn of_a_sandbox_that_has_ended(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let sandbox = bench.start(lying(runtime, &hello(), &exited(77), "exit 3")).await;
        let error = sandbox.exec(&sh_for("true", 5000)).await.unwrap_err();
        assert!(error.is_breach(), "{error}");
        let id = sandbox.info().id;
        while inspect(&id).await.state.unwrap().running == Some(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(
            sandbox.keep(KeepReason::Quarantine).await,
            Ok(quarantined(&id, false))
        );
        sandbox.stop().await.unwrap();
        assert_eq!(bench.provider.settle().await, super::NOTHING);
        no_sweep_takes(bench, &[&id]).await;
    })
    .await;
}

async fn asked_for_twice(runtime: Runtime) {
    with_bench(runtime, async move |bench| {
        let sandbox = bench.start(busybox_on(runtime)).await;
        let id = sandbox.info().id;
        for _ in 0..2 {
            let kept = sandbox.keep(KeepReason::Quarantine).await;
            assert_eq!(kept, Ok(quarantined(&id, true)));
        }
    })
    .await;
}

fn service(env: BTreeMap<String, String>) -> ServiceSpec {
    ServiceSpec {
        image: ImageSource::Named("harness/busybox:1".to_owned()),
        command: ["/bin/sh", "-c", "httpd -f -p 8080"].map(str::to_owned).to_vec(),
        files: BTreeMap::new(),
        env,
        healthcheck: None,
    }
}

fn with_services(spec: SandboxSpec, services: &[(&str, ServiceSpec)]) -> SandboxSpec {
    SandboxSpec {
        network: NetworkPolicy::Internal,
        services: services
            .iter()
            .map(|(name, service)| ((*name).to_owned(), service.clone()))
            .collect(),
        ..spec
    }
}

/// The others are kept, and what happened is told.
async fn of_services_of_which_one_is_gone(runtime: Runtime) {
    with_bench(runtime, async move |bench| {
        let services = ["one", "two"].map(|name| (name, service(BTreeMap::new())));
        let sandbox = bench.start(with_services(busybox_on(runtime), &services)).await;
        let id = sandbox.info().id;
        let own = SweepScope::Run(bench.run.clone());
        let all = bench.provider.leftovers(&own).await.unwrap();
        let services: Vec<&str> = all
            .iter()
            .map(|found| found.id.as_str())
            .filter(|found| *found != id)
            .collect();
        let [gone, there] = services[..] else {
            panic!("{all:?}");
        };
        remove_container(gone).await;
        let before = sandbox.info().notes;
        let kept = sandbox.keep(KeepReason::Quarantine).await;
        assert_eq!(kept, Ok(quarantined(&id, true)));
        let mut notes = sandbox.info().notes;
        notes.retain(|note| !before.contains(note));
        assert_eq!(notes.len(), 1, "{notes:?}");
        let expected = format!("the service {gone} could not be kept: ");
        assert!(notes[0].starts_with(&expected), "{notes:?}");
        no_sweep_takes(bench, &[&id, there]).await;
        assert!(bench.kept().await.iter().all(|kept| kept.paused));
    })
    .await;
}

/// The process is killed between the two steps of a quarantine.
async fn cut_short(runtime: Runtime) {
    with_bench(runtime, async move |bench| {
        // Held until the end: one that is dropped is removed.
        let (one, other) = (
            bench.start(busybox_on(runtime)).await,
            bench.start(busybox_on(runtime)).await,
        );
        let (named, paused) = (one.info().id, other.info().id);
        rename_container(&named, &name_of(&named)).await;
        pause_container(&paused).await;
        no_sweep_takes(bench, &[&named, &paused]).await;
    })
    .await;
}

/// A process that could not keep a sandbox is followed by one that knows how its attempt ended.
async fn caught_up_with(runtime: Runtime) {
    with_bench(runtime, async move |bench| {
        let mut request = bench.request(busybox_on(runtime), Vec::new()).await;
        let breached = bench.provider.start(&request).await.unwrap();
        let attempt = request.labels.attempt.clone();
        request.labels.attempt.number = 12;
        let other = bench.provider.start(&request).await.unwrap();
        let quarantine = bench.provider.quarantine(&bench.run, &[attempt]).await;
        assert_eq!(quarantine, Ok(()));
        let own = SweepScope::Run(bench.run.clone());
        let swept = bench.provider.sweep(&own).await.unwrap();
        assert_eq!(swept.containers, 1);
        no_sweep_takes(bench, &[&breached.info().id]).await;
        assert!(
            bench
                .kept()
                .await
                .iter()
                .all(|kept| kept.paused && kept.id != other.info().id)
        );
    })
    .await;
}

/// A sandbox that deceives before anybody has it is kept as well, and the evidence says where.
async fn kept_at_start(bench: &Bench, error: &SandboxError, count: usize) {
    let SandboxError::Breached { breach, evidence } = error else {
        panic!("{error}");
    };
    assert_eq!(breach, "forged_frame");
    assert_eq!(bench.provider.settle().await, super::NOTHING);
    let kept = bench.kept().await;
    assert_eq!(kept.len(), count, "{kept:?}");
    for kept in &kept {
        assert_eq!(kept.reason, KeepReason::Quarantine);
        assert_eq!(kept.name, name_of(&kept.id));
        assert!(
            evidence.contains(&format!("the sandbox is kept as {}", kept.name)),
            "{evidence}"
        );
    }
    let ids: Vec<&str> = kept.iter().map(|kept| kept.id.as_str()).collect();
    no_sweep_takes(bench, &ids).await;
}

async fn of_a_forged_greeting(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let request = bench
            .request(lying(runtime, b"GARBAGE GARBAGE", b"", ""), Vec::new())
            .await;
        let error = bench.provider.start(&request).await.err().unwrap();
        kept_at_start(bench, &error, 1).await;
    })
    .await;
}

async fn of_a_forgery_while_files_are_written(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let files = vec![put("/tmp/a", "text")];
        let lie = lying(runtime, &hello(), b"GARBAGE GARBAGE", "");
        let request = bench.request(lie, files).await;
        let error = bench.provider.start(&request).await.err().unwrap();
        kept_at_start(bench, &error, 1).await;
    })
    .await;
}

async fn of_a_service_that_forges(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let good = lying(runtime, &hello(), b"", "");
        let bad = service(lying(runtime, b"GARBAGE GARBAGE", b"", "").env);
        let request = bench
            .request(with_services(good, &[("bad", bad)]), Vec::new())
            .await;
        let error = bench.provider.start(&request).await.err().unwrap();
        kept_at_start(bench, &error, 2).await;
    })
    .await;
}
