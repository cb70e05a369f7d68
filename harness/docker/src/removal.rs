//! Removing sandboxes in the background.
//!
//! Owns: what is being removed, that somebody can wait for it, and that containers which nobody holds any more go too.
//! Must not: let more than a few wait at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptions;
use harness_core::ports::SandboxError;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::errors::About;
use crate::pace::Lifecycle;
use crate::provider::Shared;

/// The first wait before a removal that failed is tried again; then twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often a removal is tried again once somebody waits for the end.
const LAST_TRIES: u32 = 3;

/// What is being removed.
pub(crate) struct Removals {
    tracker: TaskTracker,
    waiting: Arc<Semaphore>,
    /// Whether somebody waits for the end.
    settling: watch::Sender<bool>,
    failed: Mutex<Vec<String>>,
}

impl Removals {
    /// Allows so many removals at once; whoever wants another one waits.
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            tracker: TaskTracker::new(),
            waiting: Arc::new(Semaphore::new(at_once.max(1))),
            settling: watch::Sender::new(false),
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
            let left = shared.remove_each(containers).await;
            drop(place);
            shared.remove_in_the_end(left).await;
        });
    }

    /// Removes containers that nobody holds any more, as far as the program goes on.
    pub(crate) fn remove_dropped(self: &Arc<Self>, containers: Vec<String>) {
        let Ok(runtime) = Handle::try_current() else {
            tracing::warn!(?containers, "containers are left to the next sweep");
            return;
        };
        let shared = Arc::clone(self);
        let removal = async move {
            let left = shared.remove_each(containers).await;
            shared.remove_in_the_end(left).await;
        };
        self.removals.tracker.spawn_on(removal, &runtime);
    }

    /// Tries once. Returns what is left, and why.
    async fn remove_each(&self, containers: Vec<String>) -> Vec<(String, SandboxError)> {
        let mut left = Vec::new();
        for container in containers {
            if let Err(error) = self.remove_in_turn(&container).await {
                left.push((container, error));
            }
        }
        left
    }

    /// Tries again until it works, or until somebody waits for the end.
    async fn remove_in_the_end(&self, mut left: Vec<(String, SandboxError)>) {
        let mut settling = self.removals.settling.subscribe();
        let (mut wait, mut tries) = (FIRST_WAIT, LAST_TRIES);
        while !left.is_empty() && tries > 0 {
            if *settling.borrow_and_update() {
                tries -= 1;
                sleep(FIRST_WAIT).await;
            } else {
                let _ = timeout(wait, settling.changed()).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            let again = left.into_iter().map(|(container, _)| container).collect();
            left = self.remove_each(again).await;
        }
        for (container, error) in left {
            self.removals.fail(format!("{container}: {error}"));
        }
    }

    /// Waits until everything that was to be removed is gone. Returns what could not be.
    pub(crate) async fn settle_removals(&self) -> Vec<String> {
        let removals = &self.removals;
        removals.settling.send_replace(true);
        removals.tracker.close();
        removals.tracker.wait().await;
        removals.tracker.reopen();
        removals.settling.send_replace(false);
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

/// A container that was made and that nobody holds yet. Dropped, it is removed.
pub(crate) struct Unclaimed {
    shared: Arc<Shared>,
    container: Option<String>,
}

impl Unclaimed {
    pub(crate) fn id(&self) -> &str {
        self.container.as_deref().unwrap_or_default()
    }

    /// Hands the container over to somebody who will remove it.
    pub(crate) fn claim(mut self) -> String {
        self.container.take().unwrap_or_default()
    }

    /// Removes it now; what does not work at once is tried again in the background.
    pub(crate) async fn remove(mut self) -> Result<(), SandboxError> {
        self.shared.remove_container(self.id()).await?;
        self.container = None;
        Ok(())
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(container) = self.container.take() {
            self.shared.remove_dropped(vec![container]);
        }
    }
}

impl Shared {
    /// Makes a container. If whoever wants it goes away meanwhile, it is removed once it is there.
    pub(crate) async fn create_unclaimed(
        self: &Arc<Self>,
        body: ContainerCreateBody,
    ) -> Result<Unclaimed, SandboxError> {
        let (tell, created) = oneshot::channel();
        let shared = Arc::clone(self);
        self.removals.tracker.spawn(async move {
            let options = None::<CreateContainerOptions>;
            let made = shared.docker.create_container(options, body).await;
            let made = match made {
                Ok(made) => Ok(Unclaimed {
                    container: Some(made.id),
                    shared,
                }),
                Err(error) => Err(shared.error(&error, "create a sandbox", About::Container)),
            };
            // What nobody takes is dropped here.
            let _ = tell.send(made);
        });
        created.await.unwrap_or_else(|_| {
            Err(SandboxError::Protocol {
                detail: "our program failed while it made a container".to_owned(),
            })
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::DockerProvider;
    use crate::settings::DockerSettings;
    use pretty_assertions::assert_eq;
    use std::collections::VecDeque;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};
    use tokio_util::task::AbortOnDropHandle;

    /// A daemon that answers removals as it is told, then with success, and takes its time to make containers.
    struct Fake {
        path: std::path::PathBuf,
        removals: Arc<Mutex<VecDeque<u16>>>,
        removed: Arc<Mutex<Vec<String>>>,
        _task: AbortOnDropHandle<()>,
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn fake(name: &str, removals: &[u16]) -> Fake {
        let path = std::env::temp_dir().join(format!("harness-{name}-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let removals = Arc::new(Mutex::new(removals.iter().copied().collect()));
        let removed = Arc::new(Mutex::new(Vec::new()));
        let (answers, seen) = (Arc::clone(&removals), Arc::clone(&removed));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&answers), Arc::clone(&seen)));
            }
        });
        Fake {
            path,
            removals,
            removed,
            _task: AbortOnDropHandle::new(task),
        }
    }

    async fn answer(
        mut stream: UnixStream,
        removals: Arc<Mutex<VecDeque<u16>>>,
        removed: Arc<Mutex<Vec<String>>>,
    ) {
        let mut head = Vec::new();
        while !head.windows(4).any(|four| four == b"\r\n\r\n") {
            if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let head = String::from_utf8(head).unwrap();
        let asked = head.split(' ').nth(1).unwrap();
        let (status, body) = if asked.contains("/events") {
            std::future::pending().await
        } else if asked.contains("/version") {
            (200, r#"{"ApiVersion": "1.41"}"#)
        } else if asked.contains("/info") {
            (200, r#"{"NCPU": 2}"#)
        } else if asked.contains("/containers/create") {
            sleep(Duration::from_millis(200)).await;
            (201, r#"{"Id": "made", "Warnings": []}"#)
        } else {
            let status = removals.lock().unwrap().pop_front().unwrap_or(204);
            if status == 204 {
                removed.lock().unwrap().push(asked.to_owned());
            }
            (
                status,
                if status == 204 {
                    ""
                } else {
                    r#"{"message": "busy"}"#
                },
            )
        };
        let length = match status {
            204 => String::new(),
            _ => format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ),
        };
        let answer = format!("HTTP/1.1 {status} X\r\n{length}Connection: close\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    async fn connected(fake: &Fake) -> Arc<Shared> {
        let settings = DockerSettings {
            host: Some(format!("unix://{}", fake.path.display())),
            ..DockerSettings::default()
        };
        DockerProvider::connect(settings).await.unwrap().shared
    }

    #[tokio::test]
    async fn a_removal_that_fails_is_tried_again() {
        let fake = fake("again", &[500, 500]);
        let shared = connected(&fake).await;
        shared.remove_later(vec!["x".to_owned()]).await;
        for _ in 0..100 {
            if !fake.removed.lock().unwrap().is_empty() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(
            *fake.removed.lock().unwrap(),
            ["/containers/x?v=true&force=true&link=false"]
        );
        assert_eq!(shared.settle_removals().await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_cannot_be_removed_is_told_in_the_end() {
        let fake = fake("never", &[500; 100]);
        let shared = connected(&fake).await;
        shared.remove_later(vec!["x".to_owned()]).await;
        let left = shared.settle_removals().await;
        assert_eq!(left, ["x: the Docker daemon failed to remove a sandbox: busy"]);
        let tries = 100 - fake.removals.lock().unwrap().len();
        assert!((4..=5).contains(&tries), "{tries}");
    }

    /// Nobody is left to take the container when the daemon has made it.
    #[tokio::test]
    async fn a_container_that_is_made_for_nobody_is_removed() {
        let fake = fake("nobody", &[]);
        let shared = connected(&fake).await;
        let making = shared.create_unclaimed(ContainerCreateBody::default());
        assert!(timeout(Duration::from_millis(50), making).await.is_err());
        assert_eq!(shared.settle_removals().await, Vec::<String>::new());
        assert_eq!(
            *fake.removed.lock().unwrap(),
            ["/containers/made?v=true&force=true&link=false"]
        );
        let made = shared
            .create_unclaimed(ContainerCreateBody::default())
            .await
            .unwrap();
        assert_eq!(made.claim(), "made");
        shared.settle_removals().await;
        assert_eq!(fake.removed.lock().unwrap().len(), 1, "it has an owner");
    }
}
