//! How often the kernel has killed something in this sandbox for lack of memory.

use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;

/// Version 2 of control groups, then version 1.
const PLACES: [&str; 2] = [
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.oom_control",
];

/// The kernel's counter, kept open: it is read twice per command.
#[derive(Debug)]
pub(crate) struct OomCounter {
    file: Option<OwnedFd>,
}

impl OomCounter {
    /// Opens the counter that this machine has, if any.
    pub(crate) fn open() -> Self {
        let open = |place| rustix::fs::open(place, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        Self {
            file: PLACES.into_iter().find_map(open),
        }
    }

    /// Reads the counter.
    pub(crate) fn read(&self) -> Option<u64> {
        let mut buffer = [0; 1024];
        let count = rustix::io::pread(self.file.as_ref()?, &mut buffer, 0).ok()?;
        oom_kills(buffer.get(..count)?)
    }
}

fn oom_kills(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn both_versions_are_read() {
        let cases: [(&[u8], Option<u64>); 5] = [
            (b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", Some(3)),
            (
                b"low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n",
                Some(1),
            ),
            (b"oom_kill_disable 0\nunder_oom 0\n", None),
            (b"oom_kill x\n", None),
            (b"\xff", None),
        ];
        for (text, expected) in cases {
            assert_eq!(oom_kills(text), expected);
        }
    }
}
