//! Eating up processes, memory, disk and the host's own memory.

use std::sync::Arc;

use harness_core::ports::{ExecEnding, Sandbox, SandboxError};
use harness_core::sandbox::Runtime;
use harness_core::units::Bytes;
use harness_docker::DockerSettings;
use pretty_assertions::assert_eq;

use super::{attack, attack_with, busybox_on, only_lost_under_runsc, under_each_runtime};
use crate::support::{ask, living, sh, sh_for};

under_each_runtime!(fork_bombs, memory_hogs, disk_fillers, endless_output);

const BOMBS: [&str; 3] = [
    "b() { b | b & b; }; b",
    "b() { b | b & }; while :; do b; done",
    "while :; do (setsid sh -c 'while :; do (setsid env -i sleep 100 &); done' &); done",
];

/// Either the bomb is ended and the sandbox goes on, or (under gVisor, whose threads count too) the sandbox is reported
/// as gone; nothing ever waits for ever.
async fn fork_bombs(runtime: Runtime) {
    for bomb in BOMBS {
        let mut spec = busybox_on(runtime);
        spec.resources.pids = 64;
        attack(spec, async move |sandbox| {
            if let Err(error) = outlive_bomb(&sandbox, bomb).await {
                only_lost_under_runsc(runtime, &error);
            }
        })
        .await;
    }
}

async fn outlive_bomb(sandbox: &Arc<dyn Sandbox>, bomb: &str) -> Result<(), SandboxError> {
    let ran = sandbox
        .exec(&sh_for(&format!("({bomb}) 2>/dev/null"), 1500))
        .await?;
    assert!(
        matches!(
            ran.ending,
            ExecEnding::TimedOut { .. } | ExecEnding::Exited { .. }
        ),
        "{bomb}: {ran:?}"
    );
    sandbox.kill_all().await?;
    let after = sandbox.exec(&sh("echo alive")).await?;
    assert_eq!(after.stdout.head, b"alive\n", "{bomb}: {after:?}");
    assert_eq!(living(&**sandbox).await, super::NOTHING, "{bomb}");
    Ok(())
}

async fn memory_hogs(runtime: Runtime) {
    for hog in [
        "tail /dev/zero",
        "for i in 1 2 3; do tail /dev/zero & done; wait; exit 9",
    ] {
        attack(busybox_on(runtime), async move |sandbox| {
            match sandbox.exec(&sh(hog)).await {
                Ok(ran) => {
                    assert!(
                        matches!(ran.ending, ExecEnding::OutOfMemory { .. }),
                        "{hog}: {ran:?}"
                    );
                    assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
                }
                Err(error) => {
                    assert_eq!(
                        (runtime, error.name()),
                        (Runtime::Runsc, "out_of_memory"),
                        "{hog}: {error}"
                    );
                    let later = sandbox.exec(&sh("echo alive")).await.unwrap_err();
                    assert_eq!(later.name(), "out_of_memory", "{later}");
                }
            }
        })
        .await;
    }
}

/// One file can't become larger than the limit. More files are noticed by the daemon; under gVisor, which may keep what is
/// written in the sandbox's own memory, by its limit of memory.
async fn disk_fillers(runtime: Runtime) {
    let mut spec = busybox_on(runtime);
    spec.resources.disk = Bytes(8 << 20);
    attack(spec, async move |sandbox| {
        let one = "dd if=/dev/zero of=/tmp/big bs=1M count=100 2>/dev/null; wc -c </tmp/big";
        assert_eq!(ask(&*sandbox, sh(one)).await, (8 << 20).to_string());
        let pause = if runtime == Runtime::Runsc { "" } else { "sleep 0.2" };
        let many = format!(
            "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=/tmp/f$i bs=1M count=2 2>/dev/null || exit 1\n{pause}\ndone"
        );
        match sandbox.exec(&sh_for(&many, 60_000)).await {
            Ok(ran) if runtime == Runtime::Runsc => assert!(
                matches!(ran.ending, ExecEnding::DiskLimit { .. } | ExecEnding::OutOfMemory { .. }),
                "{ran:?}"
            ),
            Ok(ran) => {
                assert_eq!(ran.ending, ExecEnding::DiskLimit { limit: Bytes(8 << 20) });
                assert_eq!(living(&*sandbox).await, super::NOTHING);
            }
            Err(error) => assert_eq!((runtime, error.name()), (Runtime::Runsc, "out_of_memory"), "{error}"),
        }
    })
    .await;
}

/// Ten gigabytes are asked for; what is not kept is not held either.
async fn endless_output(runtime: Runtime) {
    let limit = Bytes(256 << 20);
    let settings = DockerSettings {
        output_limit: limit,
        ..DockerSettings::default()
    };
    attack_with(settings, busybox_on(runtime), async move |sandbox| {
        let before = resident();
        let ran = sandbox
            .exec(&sh_for("yes 0123456789abcdef | head -c 10000000000", 120_000))
            .await
            .unwrap();
        assert_eq!(ran.ending, ExecEnding::OutputLimit { limit });
        assert_eq!(ran.stdout.head.len() + ran.stdout.tail.len(), 1 << 20);
        let grown = resident().saturating_sub(before);
        assert!(grown < limit.0 / 4, "grew by {grown} bytes");
        assert_eq!(living(&*sandbox).await, super::NOTHING);
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}

/// Returns how much memory this process has.
pub(super) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
