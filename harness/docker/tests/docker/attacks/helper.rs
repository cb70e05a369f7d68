//! Getting at the helper, which is the first process of a sandbox: killing it, tracing it, its streams, its program.

use std::sync::Arc;

use harness_core::ports::{ExecRequest, ExecUser, Sandbox};
use harness_core::sandbox::{Runtime, SandboxSpec};
use pretty_assertions::assert_eq;

use super::forging::{every_forgery, octal};
use super::{attack, busybox_on, only_lost_under_runsc, probe, python_on, under_each_runtime};
use crate::support::{ask, exited, root, sh, sh_for};

under_each_runtime!(
    signals,
    tracing,
    tracing_as_root,
    replacing_its_program,
    frames_from_inside
);

const SIGNALS: [&str; 9] = [
    "kill -9 1",
    "kill -STOP 1",
    "kill -TERM 1",
    "kill -CHLD 1",
    "kill -XFSZ 1",
    "kill -PIPE 1",
    "kill -1 -1",
    "kill -STOP -1",
    "kill -9 -1",
];

/// The agent may signal nothing of root's; root's signals don't reach a first process that has not asked for them.
/// gVisor (as of 2022) lets root kill its first process: then the sandbox is reported as gone.
async fn signals(runtime: Runtime) {
    for user in ["agent", "root"] {
        let spec = SandboxSpec {
            user: user.to_owned(),
            ..busybox_on(runtime)
        };
        attack(spec, async move |sandbox| {
            for signal in SIGNALS {
                let request = ExecRequest {
                    timeout: std::time::Duration::from_secs(3),
                    ..sh(&format!("{signal}; echo sent"))
                };
                if let Err(error) = sandbox.exec(&request).await {
                    assert_eq!(user, "root", "{signal}: {error}");
                    only_lost_under_runsc(runtime, &error);
                    let later = sandbox.exec(&sh("true")).await.unwrap_err();
                    only_lost_under_runsc(runtime, &later);
                    return;
                }
                sandbox.kill_all().await.unwrap();
                frames_are_whole(&sandbox).await;
            }
        })
        .await;
    }
}

async fn frames_are_whole(sandbox: &Arc<dyn Sandbox>) {
    let expected: Vec<String> = (1..=20_000).map(|number| number.to_string()).collect();
    let long = sandbox.exec(&sh("seq 1 20000")).await.unwrap();
    assert!(
        long.stdout.head == format!("{}\n", expected.join("\n")).as_bytes(),
        "output was changed"
    );
    assert_eq!(ask(&**sandbox, root("id -u")).await, "0");
}

const TRACING: &str = r#"
for name, number, args in [
    ("ptrace attach", 101, (16, 1, 0, 0)), ("ptrace seize", 101, (0x4206, 1, 0, 0)),
    ("prlimit", 302, (1, 7, 0, ctypes.addressof(ctypes.create_string_buffer(16)))), ("kcmp", 312, (1, os.getpid(), 0, 0, 0)), ("migrate_pages", 256, (1, 0, 0, 0)),
]:
    syscall(name, number, *args)
buffer = ctypes.create_string_buffer(8)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
own, far = Vector(ctypes.addressof(buffer), 8), Vector(0x400000, 8)
for name, number in [("process_vm_readv", 310), ("process_vm_writev", 311)]:
    syscall(name, number, 1, ctypes.byref(own), 1, ctypes.byref(far), 1, 0)
handle = libc.syscall(434, 1, 0)
syscall("pidfd_getfd 0", 438, handle, 0, 0)
syscall("pidfd_getfd 1", 438, handle, 1, 0)
for path in ["mem", "fd/0", "fd/1", "fd/2", "environ", "maps", "auxv", "stack", "syscall", "exe", "root/etc/passwd",
             "cwd/etc/passwd", "map_files", "io", "personality", "pagemap"]:
    attempt("read /proc/1/" + path, lambda: open_as("/proc/1/" + path, os.O_RDONLY | os.O_NONBLOCK))
for path in ["mem", "fd/0", "fd/1", "fd/2", "oom_score_adj", "clear_refs", "comm", "coredump_filter", "timerslack_ns",
             "uid_map", "setgroups", "task/1/comm"]:
    attempt("write /proc/1/" + path, lambda: write_to("/proc/1/" + path, b"1"))
"#;

async fn tracing(runtime: Runtime) {
    trace_as(runtime, "agent").await;
}

async fn tracing_as_root(runtime: Runtime) {
    trace_as(runtime, "root").await;
}

/// What does no harm: it is the prober's own, or makes nothing but the sandbox itself likelier to end.
const HARMLESS: [&str; 3] = [
    "write /proc/1/oom_score_adj",
    "write /proc/1/clear_refs",
    "write /proc/1/coredump_filter",
];
/// Same user, same right over limits. What the helper can't see any more it never calls dead, and root agents are noted.
const BLINDING: &str = "prlimit";
/// gVisor (as of 2022) guards less of what it tells about other users' processes. Nothing of that is secret.
const TOLD_BY_GVISOR: [&str; 3] = ["read /proc/1/environ", "read /proc/1/maps", "read /proc/1/auxv"];

/// Under gVisor root reaches the first process's streams by /proc (as of 2022). Bytes that are put there or taken away
/// make the stream wrong, and the sandbox is reported as breached or gone.
async fn trace_as(runtime: Runtime, user: &'static str) {
    let spec = SandboxSpec {
        user: user.to_owned(),
        ..python_on(runtime)
    };
    attack(spec, async move |sandbox| {
        let done = match probe(&*sandbox, TRACING, ExecUser::Task).await {
            Ok(done) => done,
            Err(error) => {
                assert_eq!((runtime, user), (Runtime::Runsc, "root"), "{error}");
                assert!(matches!(error.name(), "breached" | "sandbox_gone"), "{error}");
                return;
            }
        };
        let exempt = |name: &str| {
            HARMLESS.contains(&name)
                || (user == "root" && name == BLINDING)
                || (runtime == Runtime::Runsc && TOLD_BY_GVISOR.contains(&name))
        };
        let allowed = done
            .iter()
            .filter(|(name, end)| end.starts_with("done") && !exempt(name));
        assert_eq!(allowed.collect::<Vec<_>>(), Vec::<&(String, String)>::new());
        frames_are_whole(&sandbox).await;
    })
    .await;
}

/// Whoever is root inside can't write to the volume with the helper's program either.
async fn replacing_its_program(runtime: Runtime) {
    let spec = SandboxSpec {
        user: "root".to_owned(),
        ..busybox_on(runtime)
    };
    for spec in [spec, busybox_on(runtime)] {
        attack(spec, async |sandbox| {
            let digest = ask(&*sandbox, sh("sha256sum /.harness/guest")).await;
            let tries = "cp /bin/busybox /tmp/other; for try in 'echo x >/.harness/guest' 'echo x >>/.harness/guest' \
                'rm -f /.harness/guest' 'mv /.harness/guest /tmp/guest' 'mv /tmp/other /.harness/guest' \
                'cp /tmp/other /.harness/guest' 'chmod 777 /.harness/guest' 'chown 1000 /.harness/guest' \
                'touch /.harness/new' 'mkdir /.harness/new' 'truncate -s 0 /.harness/guest' 'rmdir /.harness' \
                'mv /.harness /tmp/x' 'mount -o remount,rw /.harness' 'mount -o remount,rw,bind /.harness' \
                'umount /.harness' 'umount -l /.harness' 'mount -t tmpfs none /.harness' 'mount --bind /tmp /.harness'; \
                do (eval \"$try\") 2>/dev/null && echo \"$try\"; done; true";
            assert_eq!(ask(&*sandbox, sh(tries)).await, "");
            assert_eq!(ask(&*sandbox, root(tries)).await, "");
            assert_eq!(ask(&*sandbox, sh("sha256sum /.harness/guest")).await, digest);
        })
        .await;
    }
}

/// The agent knows how frames look, but nothing that it can write to leads to the host as one. Under gVisor (as of
/// 2022) root has a way to the helper's streams; then what it forges is noticed.
async fn frames_from_inside(runtime: Runtime) {
    for user in ["agent", "root"] {
        let spec = SandboxSpec {
            user: user.to_owned(),
            ..busybox_on(runtime)
        };
        attack(spec, async move |sandbox| {
            let frames = octal(&every_forgery().concat());
            let write = format!(
                "printf '{frames}'; printf '{frames}' >&2; \
                 for to in /proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2 /dev/console /dev/pts/* /dev/tty /dev/ptmx /dev/stdout \
                 /proc/self/fd/1; do (printf '{frames}' >$to) 2>/dev/null; done; exit 5"
            );
            for _ in 0..3 {
                match sandbox.exec(&sh_for(&write, 5000)).await {
                    Ok(ran) => assert_eq!(ran.ending, exited(5)),
                    Err(error) => {
                        assert_eq!((runtime, user), (Runtime::Runsc, "root"), "{error}");
                        assert!(error.is_breach(), "{error}");
                        return;
                    }
                }
                frames_are_whole(&sandbox).await;
            }
        })
        .await;
    }
}
