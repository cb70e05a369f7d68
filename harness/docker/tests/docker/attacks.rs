//! What an agent that wants out could try, in real containers under each runtime.
//!
//! Every attack ends in an outcome that is named, and leaves nothing behind: no container, process, network or volume.

mod collecting;
mod egress;
mod forging;
mod helper;
mod kernel;
mod quarantine;
mod resources;
mod scoring;
mod services;
mod terminals;

use std::sync::Arc;
use std::time::Duration;

use harness_core::ports::{ExecRequest, ExecUser, Sandbox, SandboxError, SandboxProvider, SweepScope};
use harness_core::sandbox::{ImageSource, Runtime, SandboxSpec};
use harness_core::units::Bytes;
use harness_docker::DockerSettings;
use pretty_assertions::assert_eq;

use crate::support::{Bench, busybox, daemon_knows, exited, futures_catch, sh};

/// Makes a test for each runtime of an attack that takes one.
macro_rules! under_each_runtime {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            use harness_core::sandbox::Runtime;

            #[tokio::test]
            async fn runc() {
                super::$name(Runtime::Runc).await;
            }

            #[tokio::test]
            async fn runsc() {
                super::$name(Runtime::Runsc).await;
            }
        }
    )+};
}
use under_each_runtime;

/// A shell on a terminal, for other tests too.
pub(crate) fn shell() -> harness_core::ports::TerminalRequest {
    terminals::shell()
}

const NOTHING: Vec<String> = Vec::new();

fn busybox_on(runtime: Runtime) -> SandboxSpec {
    let mut spec = SandboxSpec { runtime, ..busybox() };
    spec.resources.pids = 64;
    if runtime == Runtime::Runsc {
        // gVisor's own memory and threads are in the same groups as the agent's.
        spec.resources.memory = Bytes(256 << 20);
        spec.resources.pids = 256;
    }
    spec
}

fn python_on(runtime: Runtime) -> SandboxSpec {
    let mut spec = SandboxSpec {
        image: ImageSource::Named("harness/python:1".to_owned()),
        ..busybox_on(runtime)
    };
    spec.resources.memory = Bytes(512 << 20);
    spec.resources.disk = Bytes(256 << 20);
    spec
}

/// Runs an attack in a sandbox of its own, then looks whether anything of it is left on the host.
async fn attack<F>(spec: SandboxSpec, body: F)
where
    F: AsyncFnOnce(Arc<dyn Sandbox>) + Send + 'static,
{
    attack_with(DockerSettings::default(), spec, body).await;
}

async fn attack_with<F>(settings: DockerSettings, spec: SandboxSpec, body: F)
where
    F: AsyncFnOnce(Arc<dyn Sandbox>) + Send + 'static,
{
    let Some(bench) = Bench::open_with(settings).await else {
        return;
    };
    if !daemon_knows(spec.runtime).await {
        return;
    }
    let sandbox: Arc<dyn Sandbox> = bench.start(spec).await.into();
    let caught = futures_catch(body(Arc::clone(&sandbox))).await;
    sandbox.stop().await.unwrap();
    assert_eq!(bench.provider.settle().await, NOTHING);
    let left = bench
        .provider
        .leftovers(&SweepScope::Run(bench.run.clone()))
        .await
        .unwrap();
    bench.close().await;
    if let Err(panic) = caught {
        std::panic::resume_unwind(panic);
    }
    assert_eq!(left, Vec::new());
    no_process_is_left(&sandbox.info().id).await;
}

/// Looks for processes of a container on the host: in its control group, or with its id in their command.
async fn no_process_is_left(container: &str) {
    let mut left = Vec::new();
    // Under gVisor on a busy machine the last of them takes its time.
    for _ in 0..600 {
        left = processes_of(container);
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("processes of a removed sandbox live: {left:?}");
}

fn processes_of(container: &str) -> Vec<String> {
    let folders = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let read = |folder: &std::fs::DirEntry, file: &str| {
        let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    };
    folders
        .filter(|folder| {
            folder
                .file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit)
        })
        .filter(|folder| {
            read(folder, "cgroup").contains(container) || read(folder, "cmdline").contains(container)
        })
        .map(|folder| read(&folder, "cmdline"))
        .collect()
}

/// Runs a probe in Python and returns what it tried and how that ended.
async fn probe(
    sandbox: &dyn Sandbox,
    text: &str,
    user: ExecUser,
) -> Result<Vec<(String, String)>, SandboxError> {
    let text = format!("{}{text}", include_str!("attacks/probe.py"));
    let request = ExecRequest {
        argv: ["python3", "-u", "-"].map(str::to_owned).to_vec(),
        stdin: Some(Arc::from(text.as_bytes())),
        user,
        timeout: Duration::from_secs(60),
        ..sh("")
    };
    let ran = sandbox.exec(&request).await?;
    let told = String::from_utf8_lossy(&ran.stdout.head).into_owned();
    assert_eq!(ran.ending, exited(0), "{told}{}", ran.stderr.readable(2000).text);
    let lines = told.lines().map(|line| line.split_once('\t').unwrap());
    Ok(lines
        .map(|(name, end)| (name.to_owned(), end.to_owned()))
        .collect())
}

/// A loss of the whole sandbox is how some attacks end under gVisor, whose kernel lives in the sandbox's own limits.
fn only_lost_under_runsc(runtime: Runtime, error: &SandboxError) {
    assert_eq!(runtime, Runtime::Runsc, "{error}");
    assert!(matches!(error, SandboxError::Gone { .. }), "{error}");
}
