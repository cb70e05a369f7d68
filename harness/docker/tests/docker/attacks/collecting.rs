//! Tricks against the files that are kept of a sandbox.

use std::sync::Arc;
use std::time::Duration;

use harness_core::ports::{CollectRequest, Collected, Sandbox};
use harness_core::sandbox::Runtime;
use harness_core::units::Bytes;
use pretty_assertions::assert_eq;

use super::{attack, busybox_on, under_each_runtime};
use crate::support::{ask, root, sh, sh_for};

under_each_runtime!(
    links_and_devices,
    hostile_names,
    huge_files,
    crowded_folders,
    moving_targets,
    folders_that_become_links,
    deep_folders,
);

const SECRET: &str = "root-only-secret";
/// Much longer than any of it takes, much shorter than for ever.
const PATIENCE: Duration = Duration::from_mins(3);

fn request(pattern: &str) -> CollectRequest {
    CollectRequest {
        patterns: vec![pattern.to_owned()],
        per_file: Bytes(64 << 10),
        total: Bytes(1 << 20),
        files: 50,
    }
}

async fn collected(sandbox: &Arc<dyn Sandbox>, pattern: &str) -> Collected {
    let wanted = request(pattern);
    let collecting = tokio::time::timeout(PATIENCE, sandbox.collect(&wanted));
    let found = collecting.await.unwrap().unwrap();
    for file in &found.files {
        assert!(
            !String::from_utf8_lossy(&file.bytes).contains(SECRET),
            "{} was read",
            file.path
        );
    }
    let bytes: usize = found.files.iter().map(|file| file.bytes.len()).sum();
    assert!(bytes <= 1 << 20 && found.files.len() <= 50);
    found
}

fn names(found: &Collected) -> Vec<&str> {
    found.files.iter().map(|file| file.path.as_str()).collect()
}

async fn links_and_devices(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        let prepare = format!(
            "mkdir -m 777 /drop && echo {SECRET} >/drop/keys && chmod 600 /drop/keys && \
             echo {SECRET} >/etc/shadow && chmod 600 /etc/shadow && \
             mkdir out && ln /drop/keys out/hard && chown agent out"
        );
        // The hard link is root's: hosts with fs.protected_hardlinks let the agent make none to what is not its own.
        ask(&*sandbox, root(&prepare)).await;
        let mess = "cd out; echo good >good; ln good second; ln -s /etc/shadow link; ln -s good near; \
                    ln -s . loop; mkfifo pipe; ln -s /dev/zero zero; \
                    mkdir dark; echo x >dark/x; chmod 0 dark; echo y >unreadable; chmod 0 unreadable";
        ask(&*sandbox, sh(mess)).await;
        let found = collected(&sandbox, "/home/agent/out/**").await;
        assert_eq!(names(&found), ["/home/agent/out/good", "/home/agent/out/second"]);
        let expected = [
            "/home/agent/out/dark: the task's user may not look into it",
            "/home/agent/out/hard: the task's user may not read it",
            "/home/agent/out/link: a symbolic link",
            "/home/agent/out/loop: a symbolic link",
            "/home/agent/out/near: a symbolic link",
            "/home/agent/out/pipe: not a regular file",
            "/home/agent/out/unreadable: the task's user may not read it",
            "/home/agent/out/zero: a symbolic link",
        ];
        let mut left = found.left.clone();
        left.sort();
        assert_eq!(left, expected);
        for pattern in [
            "/etc/shadow",
            "/dev/**",
            "/drop/*",
            "/home/agent/out/link",
            "/home/agent/out/pipe",
        ] {
            assert_eq!(
                names(&collected(&sandbox, pattern).await),
                Vec::<&str>::new(),
                "{pattern}"
            );
        }
        let through = collected(&sandbox, "/home/agent/../../etc/shadow").await;
        assert_eq!(names(&through), Vec::<&str>::new());
    })
    .await;
}

async fn hostile_names(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        let mess = r#"mkdir out; cd out; echo 1 >"$(printf 'new\nline')"; echo 2 >"$(printf '\033[2Jclear')";
            echo 3 >"$(printf '\377\376')"; echo 4 >'<b>$(id)`id`'; echo 5 >' .. '; echo 6 >-rf;
            mkdir "$(printf 'fold\ner')"; echo 7 >"$(printf 'fold\ner')/x"; mkdir "$(printf 'f\376')"; echo 9 >"$(printf 'f\376')/x"; echo 8 >"$(printf '\342\200\256txt.exe')""#;
        ask(&*sandbox, sh(mess)).await;
        let found = collected(&sandbox, "/home/agent/out/**").await;
        let good = ["/home/agent/out/ .. ", "/home/agent/out/-rf", "/home/agent/out/<b>$(id)`id`"];
        assert_eq!(names(&found), good);
        assert!(found.left.len() >= 5, "{:?}", found.left);
        let folder = "/home/agent/out/f\u{fffd}: its name is not UTF-8, so it is not looked into";
        assert!(found.left.iter().any(|left| left == folder), "{:?}", found.left);
        for line in &found.left {
            assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
        }
    })
    .await;
}

async fn huge_files(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        // The limit of a file's size is 64 MiB here; in memory there is none for what is sparse, if the kernel says so.
        let mess = "mkdir out; truncate -s 1T out/sparse 2>/dev/null || truncate -s 60M out/sparse; \
                    dd if=/dev/zero of=out/full bs=1M count=4 2>/dev/null; wc -c <out/sparse";
        let size: u64 = ask(&*sandbox, sh(mess)).await.parse().unwrap();
        let found = collected(&sandbox, "/home/agent/out/*").await;
        let sizes: Vec<_> = found
            .files
            .iter()
            .map(|file| (file.bytes.len(), file.size))
            .collect();
        assert_eq!(sizes, [(64 << 10, 4 << 20), (64 << 10, size)]);
    })
    .await;
}

async fn crowded_folders(runtime: Runtime) {
    let mut spec = busybox_on(runtime);
    // So many empty files are 100 MiB of the kernel's memory.
    spec.resources.memory = Bytes(1 << 30);
    attack(spec, async |sandbox| {
        let mess = "mkdir /dev/shm/a /dev/shm/b; seq 1 2000 | (cd /dev/shm/a && xargs touch); \
                    seq 1 100100 | (cd /dev/shm/b && xargs touch); ls /dev/shm/b | wc -l";
        let count: u64 = ask(&*sandbox, sh_for(mess, 300_000)).await.parse().unwrap();
        assert_eq!(count, 100_100);
        let found = collected(&sandbox, "/dev/shm/**").await;
        assert_eq!(
            (found.files.len(), found.left.len()),
            (50, 41),
            "{:?}",
            found.left.last()
        );
        let found = collected(&sandbox, "/dev/shm/b/*").await;
        assert_eq!((found.files.len(), found.left.len()), (0, 1), "{:?}", found.left);
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}

/// Files that grow, shrink, vanish and change their kind while they are read.
async fn moving_targets(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        let mess = "mkdir out; cd out; echo still >still; \
            (while :; do echo more >>grows; done) >/dev/null 2>&1 & \
            (while :; do head -c 50000 /dev/zero >shrinks; : >shrinks; done) >/dev/null 2>&1 & \
            (while :; do rm -rf kind; mkfifo kind; rm -rf kind; mkdir kind; rmdir kind; ln -s /etc/passwd kind; rm kind; \
             echo file >kind; done) >/dev/null 2>&1 & sleep 0.3";
        ask(&*sandbox, sh(mess)).await;
        for _ in 0..20 {
            let found = collected(&sandbox, "/home/agent/out/**").await;
            let still = found.files.iter().find(|file| file.path.ends_with("/still")).unwrap();
            assert_eq!(still.bytes, b"still\n");
            if let Some(kind) = found.files.iter().find(|file| file.path.ends_with("/kind")) {
                assert!(matches!(&kind.bytes[..], b"file\n" | b""), "{kind:?}");
            }
        }
        sandbox.kill_all().await.unwrap();
    })
    .await;
}

/// A folder is exchanged for a link again and again. What is read is read as the task's user, so that the exchange wins
/// nothing that this user could not have copied.
async fn folders_that_become_links(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        let prepare = format!("mkdir -m 755 /vault && echo {SECRET} >/vault/keys && chmod 600 /vault/keys");
        ask(&*sandbox, root(&prepare)).await;
        let swap = "mkdir -p out/d; cd out; \
            (while :; do mkdir d; echo mine >d/keys; mv d e; ln -s /vault d; rm d; mv e d; rm -rf d; done) \
            >/dev/null 2>&1 & sleep 0.3";
        ask(&*sandbox, sh(swap)).await;
        for _ in 0..60 {
            let found = collected(&sandbox, "/home/agent/out/**").await;
            for file in &found.files {
                assert!(matches!(&file.bytes[..], b"mine\n" | b""), "{file:?}");
            }
        }
        sandbox.kill_all().await.unwrap();
        for path in ["/vault/keys", "/home/agent/out/d/keys"] {
            let read = collected(&sandbox, path).await;
            assert!(read.files.iter().all(|file| file.bytes == b"mine\n"), "{path}");
        }
    })
    .await;
}

/// Two chains of folders, each short enough to be made, one moved below the other: what is there has no path.
async fn deep_folders(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        let mess = "mkdir out; cd out; echo top >top; n=$(printf '%0200d' 0); p=; i=0; \
                    while [ $i -lt 15 ]; do p=$p/$n; i=$((i+1)); done; \
                    mkdir -p one$p two$p; echo low >two$p/low; mv two one$p/two && echo done";
        assert_eq!(ask(&*sandbox, sh(mess)).await, "done");
        let found = collected(&sandbox, "/home/agent/out/**").await;
        assert!(
            names(&found) == ["/home/agent/out/top"],
            "{} files",
            found.files.len()
        );
        assert!(!found.left.is_empty());
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}
