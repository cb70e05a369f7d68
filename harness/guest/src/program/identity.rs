//! Acting as somebody else for a moment.
//!
//! Only the effective ids change, so that no process of that user can signal or trace the helper meanwhile.

use super::problem::problem;
use harness_guest::{Identity, Problem, ProblemKind};
use rustix::process::{DumpableBehavior, Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Who the helper is.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    uid: u32,
    gid: u32,
    groups: Vec<Gid>,
}

impl Own {
    /// Asks the system.
    pub(crate) fn ask() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: rustix::process::getgroups().unwrap_or_default(),
        }
    }

    /// Returns whether nothing has to change to be somebody.
    pub(crate) fn is(&self, user: &Identity) -> bool {
        self.uid == user.uid && self.gid == user.gid
    }

    /// Does something as somebody else.
    ///
    /// # Errors
    /// If the helper may not be that user; then nothing was done.
    pub(crate) fn acting_as<T>(&self, user: &Identity, work: impl FnOnce() -> T) -> Result<T, Problem> {
        if self.is(user) {
            return Ok(work());
        }
        let became = self.become_user(user);
        let result = became.map(|()| work());
        self.come_back();
        result
    }

    fn become_user(&self, user: &Identity) -> Result<(), Problem> {
        let denied = |_| {
            let text = format!("the helper may not act as user {}:{}", user.uid, user.gid);
            problem(ProblemKind::Denied, text)
        };
        if user.uid == u32::MAX || user.gid == u32::MAX || user.groups.contains(&u32::MAX) {
            return Err(denied(rustix::io::Errno::INVAL));
        }
        let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
        if groups != self.groups {
            set_thread_groups(&groups).map_err(denied)?;
        }
        set_thread_res_gid(None, Gid::from_raw(user.gid), None).map_err(denied)?;
        set_thread_res_uid(None, Uid::from_raw(user.uid), None).map_err(denied)
    }

    /// Becomes itself again. To go on as somebody else would be wrong everywhere, so a failure ends the helper.
    fn come_back(&self) {
        let uid = set_thread_res_uid(None, Uid::from_raw(self.uid), None);
        let gid = set_thread_res_gid(None, Gid::from_raw(self.gid), None);
        if uid.is_err() || gid.is_err() {
            std::process::abort();
        }
        // Without the right to change groups they were not changed.
        let _ = set_thread_groups(&self.groups);
        hide_from_tracers();
    }
}

/// Makes this process's memory and descriptors unreachable for others of its user. Every change of ids resets this to
/// a value that the machine's administrator may have chosen.
pub(crate) fn hide_from_tracers() {
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
