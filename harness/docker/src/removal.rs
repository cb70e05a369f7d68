//! Removing sandboxes in the background.
//!
//! Owns: what is being removed, and that somebody can wait for it. Must not: let more than a few wait at once.

use std::sync::{Arc, Mutex, PoisonError};

use harness_core::ports::SandboxError;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::pace::Lifecycle;
use crate::provider::Shared;

/// What is being removed.
pub(crate) struct Removals {
    tracker: TaskTracker,
    waiting: Arc<Semaphore>,
    failed: Mutex<Vec<String>>,
}

impl Removals {
    /// Allows so many removals at once; whoever wants another one waits.
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            tracker: TaskTracker::new(),
            waiting: Arc::new(Semaphore::new(at_once.max(1))),
            failed: Mutex::default(),
        }
    }
}

impl Shared {
    /// Begins to remove containers; returns when that is under way.
    pub(crate) async fn remove_later(self: &Arc<Self>, containers: Vec<String>) {
        let removals = &self.removals;
        let Ok(place) = Arc::clone(&removals.waiting).acquire_owned().await else {
            return;
        };
        let shared = Arc::clone(self);
        removals.tracker.spawn(async move {
            for container in containers {
                if let Err(error) = shared.remove_in_turn(&container).await {
                    shared.removals.fail(format!("{container}: {error}"));
                }
            }
            drop(place);
        });
    }

    /// Waits until everything that was to be removed is gone. Returns what could not be.
    pub(crate) async fn settle_removals(&self) -> Vec<String> {
        let removals = &self.removals;
        removals.tracker.close();
        removals.tracker.wait().await;
        removals.tracker.reopen();
        std::mem::take(&mut removals.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Removes a container when its turn has come.
    pub(crate) async fn remove_in_turn(&self, container: &str) -> Result<(), SandboxError> {
        let permit = self.pace.admit().await?;
        let removed = self.remove_container(container).await;
        permit.done(Lifecycle::Other, &removed);
        removed
    }
}

impl Removals {
    fn fail(&self, what: String) {
        tracing::warn!("a sandbox could not be removed and is left to the next sweep: {what}");
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }
}
