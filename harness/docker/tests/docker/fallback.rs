//! Sandboxes in which no helper runs: every command is a call of the daemon, and the sandbox says so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harness_core::ports::{
    BeforeExec, CollectRequest, Collected, ExecRequest, ExecUser, Sandbox, SandboxProvider, TerminalRequest,
    WindowSize,
};
use harness_core::sandbox::{ImageSource, SandboxSpec};
use harness_core::units::Bytes;
use pretty_assertions::assert_eq;

use crate::support::{
    Bench, ask, busybox, in_sandbox_with, inspect, living, plain, put, root, root_killing, sh,
};

const NOTE: &str = "every command is a call of the daemon: the helper is switched off";
const SECRET: &str = "root-only-secret";

fn python() -> SandboxSpec {
    let mut spec = SandboxSpec {
        image: ImageSource::Named("harness/python:1".to_owned()),
        ..busybox()
    };
    spec.resources.memory = Bytes(256 << 20);
    spec.resources.disk = Bytes(256 << 20);
    spec
}

#[tokio::test]
async fn a_sandbox_says_that_it_has_no_helper() {
    in_sandbox_with(plain(), busybox(), async |sandbox| {
        let notes = sandbox.info().notes;
        assert!(notes.iter().any(|note| note == NOTE), "{notes:?}");
        let mounts = inspect(&sandbox.info().id).await.mounts.unwrap_or_default();
        assert_eq!(mounts, []);
        assert_eq!(ask(&*sandbox, sh("cat /proc/1/comm; id -un")).await, "sh\nagent");
        assert_eq!(
            ask(&*sandbox, sh("grep CapEff /proc/self/status")).await,
            "CapEff:\t0000000000000000"
        );
    })
    .await;
}

#[tokio::test]
async fn files_go_in_and_out() {
    let Some(bench) = Bench::open_with(plain()).await else {
        return;
    };
    let files = vec![put("/home/agent/first", "one")];
    let request = bench.request(busybox(), files).await;
    let sandbox = bench.provider.start(&request).await.unwrap();
    sandbox
        .write(&[put("/home/agent/later.sh", "echo two")])
        .await
        .unwrap();
    let said = ask(
        &*sandbox,
        sh("cat first; ls -ln . | cut -d' ' -f1 | sort -u; ./later.sh"),
    )
    .await;
    let read = sandbox.read("/home/agent/first", Bytes(2)).await.unwrap();
    sandbox.stop().await.unwrap();
    bench.close().await;
    assert_eq!((read.bytes.as_slice(), read.size), (&b"on"[..], 3));
    assert_eq!(said, "one-rw-r--r--\n-rwxr-xr-x\ntotal\ntwo");
}

#[tokio::test]
async fn nothing_lives_on_into_the_scoring() {
    in_sandbox_with(plain(), busybox(), async |sandbox| {
        ask(&*sandbox, root("mkdir -m 777 /score")).await;
        let writer = "while :; do echo 1.0 >/score/x; done";
        let hide = format!(
            "(setsid env -i /bin/sh -c '(setsid env -i sh -c \"{writer}\" >/dev/null 2>&1 &)' >/dev/null 2>&1 &); \
             (trap '' TERM INT HUP QUIT; setsid sh -c '{writer}' >/dev/null 2>&1 &); sleep 0.3"
        );
        ask(&*sandbox, sh(&hide)).await;
        let score = "rm -f /score/x; echo 0.0 >/score/x; sleep 0.5; cat /score/x; id -u";
        assert_eq!(ask(&*sandbox, root_killing(score)).await, "0.0\n0");
        let by_the_agent = ExecRequest {
            before: BeforeExec::KillAll,
            ..sh("cat /score/x; id -un")
        };
        assert_eq!(ask(&*sandbox, by_the_agent).await, "0.0\nagent");
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_terminal_is_one_of_the_daemons() {
    in_sandbox_with(plain(), busybox(), async |sandbox| {
        let request = TerminalRequest {
            argv: vec!["/bin/sh".to_owned()],
            user: ExecUser::Task,
            cwd: Some("/tmp".to_owned()),
            env: BTreeMap::from([("PS1".to_owned(), "ready$ ".to_owned())]),
            size: WindowSize { rows: 24, cols: 80 },
        };
        let terminal = sandbox.open_terminal(&request).await.unwrap();
        let until = async |expected: &str| {
            let (mut seen, deadline) = (String::new(), Instant::now() + Duration::from_secs(20));
            while Instant::now() < deadline && !seen.contains(expected) {
                let output = terminal.read(Duration::from_millis(200)).await.unwrap();
                seen.push_str(&String::from_utf8_lossy(&output.bytes));
            }
            assert!(seen.contains(expected), "{expected:?} in {seen:?}");
        };
        until("ready$ ").await;
        terminal.resize(WindowSize { rows: 30, cols: 100 }).await.unwrap();
        terminal.send(b"stty size; id -un; pwd\n").await.unwrap();
        until("30 100\r\nagent\r\n/tmp\r\n").await;
        terminal.send(b"setsid sleep 1000 & sleep 1001\n").await.unwrap();
        until("sleep 1001\r\n").await;
        terminal.close().await.unwrap();
        for _ in 0..100 {
            if living(&*sandbox).await.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
    })
    .await;
}

async fn collected(sandbox: &Arc<dyn Sandbox>, pattern: &str) -> Collected {
    let wanted = CollectRequest {
        patterns: vec![pattern.to_owned()],
        per_file: Bytes(64 << 10),
        total: Bytes(1 << 20),
        files: 50,
    };
    let collecting = tokio::time::timeout(Duration::from_secs(60), sandbox.collect(&wanted));
    let found = collecting.await.unwrap().unwrap();
    for file in &found.files {
        let text = String::from_utf8_lossy(&file.bytes);
        assert!(!text.contains(SECRET), "{} was read: {pattern}", file.path);
    }
    found
}

fn names(found: &Collected) -> Vec<&str> {
    found.files.iter().map(|file| file.path.as_str()).collect()
}

/// What is collected is what the task's user could have read, in both base images, whose tools differ.
#[tokio::test]
async fn collecting_reads_no_more_than_the_user_may() {
    for spec in [busybox(), python()] {
        in_sandbox_with(plain(), spec, async |sandbox| {
            let prepare = format!(
                "chmod 700 /root; mkdir -p /root/data /root/out; echo {SECRET} >/root/data/flag; chmod 755 /root/data; \
                 chmod 644 /root/data/flag; mkdir -m 777 /drop; echo {SECRET} >/drop/keys; chmod 600 /drop/keys; \
                 chown agent /drop/keys; ln /drop/keys /drop/hard; chown root /drop/keys"
            );
            ask(&*sandbox, root(&prepare)).await;
            let mess = "mkdir -p out/sub; cd out; echo good >good; echo deep >sub/deep; ln -s /root link; ln -s good near; \
                        ln -s . loop; mkfifo pipe; mkdir dark; echo x >dark/x; chmod 0 dark; \
                        echo y >unreadable; chmod 0 unreadable; echo odd >\"$(printf 'a\\nb')\"; \
                        mkdir \"$(printf 'f\\377')\"; echo odd >\"$(printf 'f\\377')/x\"; \
                        ln -s /root/data ../data; ln -s /root ../home";
            ask(&*sandbox, sh(mess)).await;
            let found = collected(&sandbox, "/home/agent/out/**").await;
            assert_eq!(names(&found), ["/home/agent/out/good", "/home/agent/out/sub/deep"]);
            for reason in ["link: a symbolic link", "pipe: not a regular file", "dark", "unreadable", "shown", "UTF-8"] {
                assert!(found.left.iter().any(|left| left.contains(reason)), "{reason}: {:?}", found.left);
            }
            let hidden = [
                ("/root/data/*", "/root"),
                ("/home/agent/home/data/*", "/home/agent/home"),
                ("/home/agent/home/data/flag", "/home/agent/home"),
                ("/home/agent/out/link/data/flag", "/home/agent/out/link"),
                ("/home/agent/out/link/data/**", "/home/agent/out/link"),
                ("/drop/*", "/drop"),
                ("/nowhere/*", "/nowhere"),
            ];
            for (pattern, folder) in hidden {
                let found = collected(&sandbox, pattern).await;
                assert_eq!(names(&found), [""; 0], "{pattern}");
                assert!(
                    found.left.iter().any(|left| left.starts_with(folder)),
                    "{pattern}: {:?}",
                    found.left
                );
            }
            assert_eq!(names(&collected(&sandbox, "/home/agent/data/*").await), [""; 0]);
        })
        .await;
    }
}

/// A folder is exchanged for a link to what only root may read, again and again.
#[tokio::test]
async fn an_exchange_while_it_is_collected_wins_nothing() {
    in_sandbox_with(plain(), busybox(), async |sandbox| {
        let prepare = format!(
            "chmod 700 /root; mkdir -p /root/data; echo {SECRET} >/root/data/flag; chmod 755 /root/data; chmod 644 /root/data/flag"
        );
        ask(&*sandbox, root(&prepare)).await;
        let swap = "mkdir -p d/data; echo mine >d/data/flag; \
            (while :; do mv d e; ln -s /root d; rm d; mv e d; done) >/dev/null 2>&1 & sleep 0.3";
        ask(&*sandbox, sh(swap)).await;
        for _ in 0..30 {
            let found = collected(&sandbox, "/home/agent/d/data/*").await;
            assert!(found.files.iter().all(|file| file.bytes == b"mine\n"), "{found:?}");
        }
        sandbox.kill_all().await.unwrap();
    })
    .await;
}

/// What is huge or sparse costs its own place, and is told.
#[tokio::test]
async fn huge_files_are_cut() {
    in_sandbox_with(plain(), busybox(), async |sandbox| {
        let mess =
            "mkdir out; truncate -s 60M out/sparse; dd if=/dev/zero of=out/full bs=1M count=4 2>/dev/null";
        ask(&*sandbox, sh(mess)).await;
        let found = collected(&sandbox, "/home/agent/out/*").await;
        let sizes = found
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.bytes.len(), file.size));
        let expected = [
            ("/home/agent/out/full", 64 << 10, 4 << 20),
            ("/home/agent/out/sparse", 64 << 10, 60 << 20),
        ];
        assert_eq!(sizes.collect::<Vec<_>>(), expected);
    })
    .await;
}
