//! A helper that was taken over: what it says is checked, a lie is a containment event, and the sandbox is kept for
//! whoever looks into it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use harness_core::ports::{KeepReason, KeptSandbox, SandboxError, SandboxProvider, SweepScope, Swept};
use harness_core::sandbox::{Runtime, SandboxSpec};
use harness_core::units::Bytes;
use harness_docker::{DockerSettings, Helper};
use harness_guest::{Ending, FromGuest, LONGEST_FROM_GUEST, PIECE, Stream, VERSION, encode};
use pretty_assertions::assert_eq;

use super::{busybox_on, under_each_runtime};
use crate::support::{Bench, daemon_knows, futures_catch, inspect, sh_for};

under_each_runtime!(quarantine, lies, late_lies, silence);

/// How long a lie may take to be noticed on a loaded machine; much less than the command that is answered with it may
/// take.
const NOTICED: Duration = Duration::from_secs(20);

/// Returns bytes as `printf` takes them.
pub(super) fn octal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:03o}")).collect()
}

fn frame(message: &FromGuest) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, LONGEST_FROM_GUEST, &mut bytes).unwrap();
    bytes
}

pub(super) fn hello() -> Vec<u8> {
    frame(&FromGuest::Hello { version: VERSION })
}

fn started(id: u32) -> Vec<u8> {
    frame(&FromGuest::Started { id, pid: 7 })
}

fn output(id: u32, count: usize) -> Vec<u8> {
    let bytes = vec![b'x'; count];
    frame(&FromGuest::Output {
        id,
        stream: Stream::Stdout,
        bytes,
    })
}

pub(super) fn exited(id: u32) -> Vec<u8> {
    let ending = Ending::Exited(0);
    frame(&FromGuest::Exited {
        id,
        ending,
        oom_kills: None,
        took: 1,
        survivors: 0,
    })
}

/// Returns what no helper may say right after its greeting. The first command has number 1.
pub(super) fn every_forgery() -> Vec<Vec<u8>> {
    let messages = [
        FromGuest::Hello { version: VERSION },
        FromGuest::Done { id: 1 },
        FromGuest::Pong { id: 1 },
        FromGuest::Forgotten { id: 1 },
        FromGuest::File { id: 1, size: 1 },
        FromGuest::FileData {
            id: 1,
            bytes: vec![1],
        },
        FromGuest::FileEnd { id: 1 },
        FromGuest::Entries {
            id: 1,
            entries: Vec::new(),
            last: true,
        },
        FromGuest::Processes {
            id: 1,
            processes: Vec::new(),
        },
        FromGuest::Accepted {
            conn: 1 << 31,
            listener: 1,
        },
        FromGuest::Dialled { conn: 1 },
        FromGuest::Ports { ports: vec![80] },
        FromGuest::NetData {
            conn: 1,
            bytes: vec![1],
        },
        FromGuest::NetReset { conn: 1 },
    ];
    let raw = [
        b"GARBAGE GARBAGE".to_vec(),
        vec![0, 0, 0, 0],
        vec![0xff, 0xff, 0xff, 0x7f],
        vec![3, 0, 0, 0, 0xff, 0xff, 0xff],
        [&[200, 0, 0, 0][..], &[2; 200]].concat(),
        exited(77),
        exited(1),
        output(1, 3),
        [started(1), started(1)].concat(),
        [started(1), exited(1), exited(1)].concat(),
    ];
    messages.iter().map(frame).chain(raw).collect()
}

/// A program that says and does what variables of its sandbox ask for, so that one volume serves all tests.
const LIAR: &[u8] = b"#!/bin/sh\nprintf \"$GREETS\"\n[ -z \"$SAYS$THEN\" ] || head -c 1 >/dev/null\nprintf \"$SAYS\"\neval \"$THEN\"\nsleep 1000\n";

/// A sandbox whose helper greets so, then waits for the first request, says something, and does something.
pub(super) fn lying(runtime: Runtime, greets: &[u8], says: &[u8], then: &str) -> SandboxSpec {
    let variables = [
        ("GREETS", octal(greets)),
        ("SAYS", octal(says)),
        ("THEN", then.to_owned()),
    ];
    let mut spec = busybox_on(runtime);
    spec.env = variables.map(|(name, value)| (name.to_owned(), value)).into();
    spec
}

/// Runs something with a provider that has this helper.
pub(super) async fn with_liar<F>(runtime: Runtime, body: F)
where
    F: AsyncFnOnce(&Bench) + Send,
{
    let settings = DockerSettings {
        helper: Helper::Program(Arc::from(LIAR)),
        output_limit: Bytes(1 << 20),
        ..DockerSettings::default()
    };
    let Some(bench) = Bench::open_with(settings).await else {
        return;
    };
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

async fn quarantine(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let sandbox = bench.start(lying(runtime, &hello(), &exited(77), "")).await;
        let error = sandbox.exec(&sh_for("true", 5000)).await.unwrap_err();
        assert!(error.is_breach(), "{error}");
        let id = sandbox.info().id;
        let name = format!("harness-quarantine-{}", &id[..12]);
        let expected = KeptSandbox {
            id: id.clone(),
            name: name.clone(),
            reason: KeepReason::Quarantine,
            paused: true,
        };
        assert_eq!(sandbox.keep(KeepReason::Quarantine).await, Ok(expected));
        sandbox.stop().await.unwrap();
        let provider = &bench.provider;
        assert_eq!(provider.settle().await, super::NOTHING);
        let own = SweepScope::Run(bench.run.clone());
        assert_eq!(provider.sweep(&own).await, Ok(Swept::default()));
        // Only looked at: what others have made now must stay.
        for scope in [own, SweepScope::AllBut(Vec::new())] {
            let found = provider.leftovers(&scope).await.unwrap();
            assert!(found.iter().all(|leftover| leftover.id != id), "{scope:?}");
        }
        let state = inspect(&id).await.state.unwrap();
        assert_eq!(state.paused, Some(true));
        let kept = provider.kept().await.unwrap();
        let kept = kept.into_iter().find(|kept| kept.id == id).unwrap();
        assert_eq!(
            (&kept.name, kept.run.as_str(), kept.paused, kept.reason),
            (&name, bench.run.as_str(), true, KeepReason::Quarantine)
        );
        provider.remove_kept(&kept).await.unwrap();
        assert!(provider.kept().await.unwrap().iter().all(|kept| kept.id != id));
        super::no_process_is_left(&id).await;
    })
    .await;
}

async fn breach_of(bench: &Bench, spec: SandboxSpec) -> String {
    let shown = format!("{:.300?}", spec.env);
    let sandbox = bench.start(spec).await;
    let asked = sh_for("true", 60_000);
    let answer = tokio::time::timeout(NOTICED, sandbox.exec(&asked)).await;
    sandbox.stop().await.unwrap();
    match answer.unwrap_or_else(|_| panic!("nothing was noticed after {shown}")) {
        Err(SandboxError::Breached { breach, evidence }) => {
            assert!(!evidence.is_empty() && evidence.len() < 2000);
            breach
        }
        other => panic!("{other:?} after {shown}"),
    }
}

async fn lies(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let mut lies: Vec<_> = every_forgery()
            .iter()
            .map(|forgery| lying(runtime, &hello(), forgery, ""))
            .collect();
        let flood = format!(
            "cd /tmp; printf '{}' >x; for i in 1 2 3 4 5 6 7; do cat x x >y; mv y x; done; while cat x; do :; done",
            octal(&output(1, 1000))
        );
        lies.push(lying(runtime, &hello(), &started(1), &flood));
        // What is too large for a variable of the sandbox.
        let piece = output(1, PIECE + 1);
        let start = [started(1), piece[..piece.len() - PIECE - 1].to_vec()].concat();
        let rest = format!("head -c {} /dev/zero", PIECE + 1);
        lies.push(lying(runtime, &hello(), &start, &rest));
        if runtime == Runtime::Runsc {
            // The host's side is the same.
            lies.drain(..lies.len() - 3);
        }
        let breaches = lies.into_iter().map(|lie| breach_of(bench, lie));
        let breaches: Vec<_> = futures_util::stream::iter(breaches)
            .buffer_unordered(4)
            .collect()
            .await;
        assert!(
            breaches.iter().all(|breach| breach == "forged_frame"),
            "{breaches:?}"
        );
        for greeting in [&b"GARBAGE GARBAGE"[..], &exited(1), &[0, 0, 0, 0]] {
            let request = bench.request(lying(runtime, greeting, b"", ""), Vec::new()).await;
            let Err(error) = bench.provider.start(&request).await else {
                panic!("started with {greeting:?}");
            };
            assert!(error.is_breach(), "{error}");
        }
    })
    .await;
}

/// A lie where nobody waits for an answer, and one while a terminal is opened, closed or asked.
async fn late_lies(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let good = [started(1), exited(1), frame(&FromGuest::OutputEnd { id: 1 })].concat();
        let later = format!("sleep 1; printf '{}'", octal(&exited(77)));
        let sandbox = bench.start(lying(runtime, &hello(), &good, &later)).await;
        let ran = sandbox.exec(&sh_for("true", 5000)).await.unwrap();
        assert_eq!(ran.ending, crate::support::exited(0));
        let noticed = async {
            while sandbox.check_containment().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            sandbox.check_containment().await.unwrap_err()
        };
        let error = tokio::time::timeout(NOTICED, noticed).await.unwrap();
        assert!(error.is_breach(), "{error}");
        sandbox.stop().await.unwrap();

        let shell = super::terminals::shell();
        let twice = [started(1), started(1)].concat();
        let lies = [
            (frame(&FromGuest::Pong { id: 1 }), ""),
            (frame(&FromGuest::Done { id: 1 }), ""),
            (twice, ""),
            (started(1), later.as_str()),
        ];
        for (says, later) in lies {
            let sandbox = bench.start(lying(runtime, &hello(), &says, later)).await;
            let told = async {
                let terminal = sandbox.open_terminal(&shell).await?;
                terminal.close().await
            };
            let told = tokio::time::timeout(NOTICED, told).await.unwrap();
            sandbox.stop().await.unwrap();
            assert!(
                told.clone().is_err_and(|error| error.is_breach()),
                "{told:?} after {says:?}"
            );
        }
    })
    .await;
}

/// A helper that says nothing more, or ends, is a sandbox that is gone; nobody waits for ever.
async fn silence(runtime: Runtime) {
    with_liar(runtime, async move |bench| {
        let silent = ["sleep 1000", "exit 0", "yes >&2"].map(|then| async move {
            let sandbox = bench.start(lying(runtime, &hello(), b"", then)).await;
            let asked = sh_for("true", 1000);
            let answer = tokio::time::timeout(Duration::from_secs(60), sandbox.exec(&asked)).await;
            sandbox.stop().await.unwrap();
            let error = answer.unwrap().unwrap_err();
            assert_eq!(error.name(), "sandbox_gone", "{then}: {error}");
        });
        futures_util::future::join_all(silent).await;
    })
    .await;
}
