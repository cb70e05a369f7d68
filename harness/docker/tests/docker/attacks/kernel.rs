//! Probing the kernel: its files, calls that are for the host's administrator, devices, raw sockets.

use harness_core::ports::ExecUser;
use harness_core::sandbox::{Runtime, SandboxSpec};
use pretty_assertions::assert_eq;

use super::{attack, busybox_on, probe, python_on, under_each_runtime};
use crate::support::{ask, root, sh};

under_each_runtime!(
    nothing_of_the_host,
    as_agent,
    as_root_without_capabilities,
    as_root_of_setup
);

/// No socket of the daemon, no device of the host, no interface but loopback, no file system of the host.
async fn nothing_of_the_host(runtime: Runtime) {
    attack(busybox_on(runtime), async move |sandbox| {
        let sockets = "find / -xdev \\( -name 'docker*.sock' -o -name 'containerd*.sock' \\) 2>/dev/null; \
                       find /run /var/run -type s 2>/dev/null; find / -xdev -type b 2>/dev/null; true";
        assert_eq!(ask(&*sandbox, sh(sockets)).await, "");
        assert_eq!(ask(&*sandbox, root(sockets)).await, "");
        let usual = "console core fd full fuse mqueue net null ptmx pts random shm stderr stdin stdout tty tun urandom zero";
        for device in ask(&*sandbox, root("ls /dev")).await.lines() {
            assert!(usual.split(' ').any(|name| name == device), "{device}");
        }
        let opened = "for d in /dev/fuse /dev/net/tun; do (: <$d) 2>/dev/null && echo $d; done; true";
        // Those of gVisor are its own.
        let opened = ask(&*sandbox, root(opened)).await;
        assert!(runtime == Runtime::Runsc || opened.is_empty(), "{opened}");
        let interfaces = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
        assert_eq!(ask(&*sandbox, sh(interfaces)).await, "lo");
        let mounts = ask(&*sandbox, sh("cat /proc/mounts")).await;
        let kinds: Vec<_> = mounts.lines().map(|line| line.split(' ').nth(1).unwrap_or_default()).collect();
        let expected = |path: &str| {
            path == "/" || ["/dev", "/proc", "/sys", "/etc/", "/.harness", "/tmp"].iter().any(|start| path.starts_with(start))
        };
        assert!(kinds.iter().all(|path| expected(path)), "{mounts}");
    })
    .await;
}

const PROBE: &str = r#"
WRITES = """/proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/kernel/hostname
/proc/sys/vm/drop_caches /proc/sys/vm/overcommit_memory /proc/sys/kernel/panic /proc/sys/kernel/randomize_va_space
/proc/sys/net/ipv4/ip_forward /proc/sys/fs/binfmt_misc/register /proc/irq/default_smp_affinity /proc/bus/pci
/proc/acpi /proc/scsi/scsi /proc/mtrr /proc/kcore /proc/kmem /proc/kallsyms
/sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled /sys/kernel/kexec_crash_size
/sys/kernel/debug/tracing/trace /sys/kernel/security /sys/power/state /sys/firmware /sys/module/printk/parameters/time
/sys/class/net/lo/mtu /sys/fs/cgroup/release_agent /sys/fs/cgroup/memory/release_agent /sys/fs/cgroup/rdma/release_agent
/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/cgroup.procs
/sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/memory.max /sys/fs/cgroup/devices/devices.allow
/sys/fs/cgroup/memory/notify_on_release /dev/mem /dev/kmem /dev/port /dev/kmsg /dev/sda /dev/vda /dev/nvme0n1""".split()
READS = """/proc/kcore /proc/kmsg /dev/mem /dev/kmsg /dev/sda /dev/vda /proc/sched_debug /sys/kernel/debug
/sys/firmware/dmi/tables/DMI /root/.ssh /var/run/docker.sock /proc/1/root/etc/shadow /sys/kernel/security""".split()

def dangers(where):
    for path in WRITES:
        attempt(where + "write " + path, lambda: write_to(path, b"1"))
    for path in READS:
        attempt(where + "read " + path, lambda: open_as(path, os.O_RDONLY | os.O_NONBLOCK))
    for name, mode, device in [("sda", 0o60600, 8 << 8), ("mem", 0o20600, 1 << 8 | 1), ("kmsg", 0o20600, 1 << 8 | 11)]:
        def made():
            os.mknod("/tmp/" + where.strip() + name, mode, device)
            return open_as("/tmp/" + where.strip() + name, os.O_RDWR | os.O_NONBLOCK)
        attempt(where + "mknod " + name, made)
    for kind in [b"proc", b"sysfs", b"cgroup", b"cgroup2", b"devtmpfs", b"ext4", b"overlay", b"debugfs", b"bpf", b"nfs"]:
        syscall(where + "mount " + kind.decode(), 165, b"/dev/vda", b"/tmp", kind, 0, 0)
    syscall(where + "remount /", 165, b"none", b"/", 0, 0x20, 0)
    syscall(where + "remount /proc/sys", 165, b"none", b"/proc/sys", 0, 0x1020, 0)
    syscall(where + "umount /proc/sys", 166, b"/proc/sys", 0)
    for name, number, args in [
        ("pivot_root", 155, (b"/tmp", b"/tmp")), ("swapon", 167, (b"/tmp", 0)),
        ("init_module", 175, (b"x", 1, b"")), ("finit_module", 313, (0, b"", 0)), ("delete_module", 176, (b"x", 0)),
        ("kexec_load", 246, (0, 0, 0, 0)), ("iopl", 172, (3,)), ("ioperm", 173, (0, 1, 1)), ("acct", 163, (0,)),
        ("settimeofday", 164, (ctypes.create_string_buffer(16), 0)),
        ("clock_settime", 227, (0, ctypes.create_string_buffer(16))),
        ("bpf", 321, (0, ctypes.create_string_buffer(128), 128)),
        ("perf_event_open", 298, (ctypes.create_string_buffer(b"\0\0\0\0\x70", 128), -1, 0, -1, 0)),
        ("open_by_handle_at", 304, (-100, ctypes.create_string_buffer(64), 0)),
        ("userfaultfd", 323, (0,)), ("syslog", 103, (3, ctypes.create_string_buffer(64), 64)),
        ("lookup_dcookie", 212, (0, ctypes.create_string_buffer(64), 64)), ("quotactl", 179, (0x800002 << 8, 0, 0, 0)),
        ("fanotify_init", 300, (0, 0)), ("move_mount", 429, (-100, b"/tmp", -100, b"/mnt", 0)),
        ("fsopen", 430, (b"proc", 0)), ("open_tree", 428, (-100, b"/", 1)), ("mount_setattr", 442, (-100, b"/", 0, 0, 0)),
    ]:
        syscall(where + name, number, *args)
    for name in ["mnt", "net", "pid", "uts", "ipc", "user", "cgroup"]:
        def entered():
            fd = os.open("/proc/1/ns/" + name, os.O_RDONLY)
            if libc.setns(fd, 0) == -1:
                raise OSError(ctypes.get_errno(), "setns")
        attempt(where + "setns " + name, entered)
    for name, arguments in [("raw", (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)),
                            ("raw6", (socket.AF_INET6, socket.SOCK_RAW, 58)),
                            ("packet", (socket.AF_PACKET, socket.SOCK_RAW, 3 << 8)),
                            ("vsock", (40, socket.SOCK_STREAM, 0)), ("alg", (38, 5, 0)), ("bluetooth", (31, 3, 1))]:
        def connected():
            made = socket.socket(*arguments)
            if name == "vsock":
                made.settimeout(2)
                made.connect((2, 1024))
        attempt(where + "socket " + name, connected)

def escapes():
    def out():
        os.mkdir("/tmp/jail")
        os.chroot("/tmp/jail")
    attempt("chroot", out)
    for name, number, args in [("keyctl", 250, (0, -3, 1)), ("add_key", 248, (b"user", b"k", b"v", 1, -3)),
                               ("request_key", 249, (b"user", b"k", 0, -3)), ("reboot", 169, (0xfee1dead, 672274793, 0, 0)),
                               ("sethostname", 170, (b"x", 1)), ("setdomainname", 171, (b"x", 1)),
                               ("setuid 0" if os.getuid() else "setuid 1", 105, (0 if os.getuid() else 1,)),
                               ("capset", 126, (b"\x22\x05\x08\x20" + b"\0" * 4, b"\xff" * 24))]:
        syscall(name, number, *args)

flags = {"user": 0x10000000, "mnt": 0x20000, "net": 0x40000000, "pid": 0x20000000, "user+mnt+net": 0x50020000}
dangers("")
escapes()
for name, flag in flags.items():
    child = os.fork()
    if child == 0:
        if libc.unshare(flag) == 0:
            print("unshared " + name + "\tran", flush=True)
            dangers("in " + name + ": ")
        os._exit(0)
    os.waitpid(child, 0)
"#;

/// What gVisor (as of 2022) allows in its own kernel: its log is made up, and its networks have no way out. Root's
/// setting is of that network too.
const OF_GVISOR: [&str; 5] = [
    "syslog",
    "socket raw",
    "socket raw6",
    "socket packet",
    "write /proc/sys/net/ipv4/ip_forward",
];

fn is_gvisors_own(name: &str) -> bool {
    let (unshared, plain) = name
        .split_once(": ")
        .map_or((false, name), |(_, plain)| (true, plain));
    // Raw sockets only in a name space of its own making.
    OF_GVISOR.contains(&plain) && (unshared || !plain.starts_with("socket"))
}

async fn as_agent(runtime: Runtime) {
    probe_as(runtime, "agent", ExecUser::Task).await;
}

async fn as_root_without_capabilities(runtime: Runtime) {
    probe_as(runtime, "root", ExecUser::Task).await;
}

async fn as_root_of_setup(runtime: Runtime) {
    probe_as(runtime, "agent", ExecUser::Root).await;
}

async fn probe_as(runtime: Runtime, user: &'static str, who: ExecUser) {
    let spec = SandboxSpec {
        user: user.to_owned(),
        ..python_on(runtime)
    };
    let before = kernel_settings();
    attack(spec, async move |sandbox| {
        let done = probe(&*sandbox, PROBE, who).await.unwrap();
        assert!(done.len() > 100, "{done:?}");
        let allowed = done.iter().filter(|(name, end)| {
            let may = (name == "setuid 1" && who == ExecUser::Root)
                || (runtime == Runtime::Runsc && is_gvisors_own(name));
            end.starts_with("done") && !may
        });
        let allowed: Vec<_> = allowed.map(|(name, _)| name.as_str()).collect();
        assert_eq!(allowed, Vec::<&str>::new(), "{runtime:?} {user} {who:?}");
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
    assert_eq!(kernel_settings(), before);
}

/// Returns settings of the host that the probe tries to change.
fn kernel_settings() -> Vec<String> {
    let names = [
        "kernel/core_pattern",
        "kernel/hostname",
        "kernel/modprobe",
        "vm/overcommit_memory",
        "net/ipv4/ip_forward",
    ];
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    names.map(read).to_vec()
}
