//! The first things that process 1 of a sandbox does.

use super::guest::Guest;
use super::identity::hide_from_tracers;
use harness_guest::{FromGuest, VERSION};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::ffi::OsStr;
use std::process::ExitCode;

/// Serves frames at the standard streams for ever.
pub(crate) fn serve(hosts: Option<&OsStr>) -> ExitCode {
    hide_from_tracers();
    close_inherited();
    let first = std::process::id() == 1;
    if let Some(hosts) = hosts.filter(|_| first) {
        // Some runtimes have a file there that can't be written; names are then missing, nothing else.
        let _ = std::fs::write("/etc/hosts", hosts.as_encoded_bytes());
    }
    if !first {
        // Orphans come here, as they do to a process 1.
        let own = rustix::process::getpid();
        let _ = rustix::process::set_child_subreaper(Some(own));
    }
    drop_inheritable_capabilities();
    let Some(signals) = signals() else {
        return ExitCode::from(71);
    };
    for stream in [rustix::stdio::stdin(), rustix::stdio::stdout()] {
        if rustix::io::ioctl_fionbio(stream, true).is_err() {
            return ExitCode::from(71);
        }
    }
    let mut guest = Guest::new(signals);
    guest.outbox.say(&FromGuest::Hello { version: VERSION });
    guest.serve()
}

/// Whatever the runtime has left open is nobody's business here, least of all the commands'.
fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let open: Vec<i32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        let _ = nix::unistd::close(fd);
    }
}

/// Some versions of Docker hand capabilities on to whoever is executed.
fn drop_inheritable_capabilities() {
    if let Ok(mut sets) = rustix::thread::capabilities(None) {
        sets.inheritable = rustix::thread::CapabilitySet::empty();
        let _ = rustix::thread::set_capabilities(None, sets);
    }
}

/// Children's ends are read from a descriptor. The signal of a file that has become too large must not end the helper.
/// Children are started with nothing blocked.
fn signals() -> Option<SignalFd> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGCHLD);
    let mut blocked = ends;
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block().ok()?;
    SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()
}
