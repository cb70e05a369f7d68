//! Sandboxes that are started before their attempts.
//!
//! Owns: each from the scheduler's word until an attempt takes it or it is removed. Must not: decide for which trials;
//! run anything in them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness_core::ids::AttemptId;
use harness_core::ports::{Sandbox, SandboxError, SandboxProvider};
use harness_core::schedule::TrialIndex;
use harness_core::text::Capped;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::attempt::TEARDOWN;
use crate::context::RunContext;
use crate::link::Told;
use crate::starting::{Starting, discard, first_files, provider, request, start};

/// How long a sandbox may wait for its attempt: its expiry counts that in. An older one is not used.
const SLACK: Duration = Duration::from_hours(24);

/// How many sandboxes that could not be removed are named.
const LEFT: usize = 50;

/// The sandboxes whose attempts have not started, and those that are being removed since theirs do not come.
#[derive(Default)]
pub(crate) struct Ahead {
    waiting: BTreeMap<TrialIndex, Waiting>,
    dropped: JoinSet<Option<String>>,
}

struct Waiting {
    number: u32,
    since: Duration,
    starting: Starting,
}

impl Ahead {
    /// Starts the sandbox of a coming attempt. If that fails, the dispatcher is told.
    pub(crate) fn prepare(
        &mut self,
        context: &Arc<RunContext>,
        (trial, number): (TrialIndex, u32),
        tell: mpsc::UnboundedSender<Told>,
    ) {
        let shared = Arc::clone(context);
        let starting = tokio::spawn(async move {
            let started = started(&shared, trial, number).await;
            // A containment event is kept for the attempt, which ends by it.
            if started.as_ref().is_err_and(|error| !error.is_breach()) {
                let _ = tell.send(Told::PreparationFailed { trial, number });
            }
            started
        });
        let waiting = Waiting {
            number,
            since: context.clock.now().elapsed,
            starting: AbortOnDropHandle::new(starting),
        };
        if let Some(replaced) = self.waiting.insert(trial, waiting) {
            self.dropped.spawn(discard(replaced.starting));
        }
    }

    /// Returns the sandbox of an attempt that starts now, ready or not.
    pub(crate) fn take(&mut self, trial: TrialIndex, now: Duration) -> Option<Starting> {
        let waiting = self.waiting.remove(&trial)?;
        if now.saturating_sub(waiting.since) <= SLACK {
            return Some(waiting.starting);
        }
        self.dropped.spawn(discard(waiting.starting));
        None
    }

    /// Removes the sandbox of an attempt that does not come, in the background.
    pub(crate) fn discard(&mut self, trial: TrialIndex) {
        if let Some(waiting) = self.waiting.remove(&trial) {
            self.dropped.spawn(discard(waiting.starting));
        }
    }

    /// Forgets a sandbox that could not be started; returns false if its attempt has taken over the matter.
    pub(crate) fn failed(&mut self, trial: TrialIndex, number: u32) -> bool {
        let known = self
            .waiting
            .get(&trial)
            .is_some_and(|waiting| waiting.number == number);
        known && self.waiting.remove(&trial).is_some()
    }

    /// Waits until every sandbox of the run is really gone, but not for ever, and not after a person asked once more.
    /// Returns what is left, in words.
    pub(crate) async fn settle(
        &mut self,
        provider: Option<Arc<dyn SandboxProvider>>,
        stop: impl Future<Output = ()>,
    ) -> Vec<String> {
        let mut left = Vec::new();
        let settled = async {
            self.discard_all(&mut left).await;
            if let Some(provider) = provider {
                left.extend(provider.settle().await);
            }
        };
        let cut = tokio::select! {
            settled = tokio::time::timeout(TEARDOWN, settled) => settled.err().map(|_| "within a minute"),
            () = stop => Some("before a person asked once more to stop"),
        };
        left.extend(cut.map(|when| format!("it is not sure that every sandbox was removed {when}")));
        for note in &left {
            tracing::warn!("{note}");
        }
        shortened(left)
    }

    /// Removes every sandbox that is left, and waits for those that are being removed.
    async fn discard_all(&mut self, left: &mut Vec<String>) {
        while let Some((_, waiting)) = self.waiting.pop_first() {
            self.dropped.spawn(discard(waiting.starting));
        }
        while let Some(dropped) = self.dropped.join_next().await {
            match dropped {
                Ok(note) => left.extend(note),
                Err(error) => left.push(format!("a sandbox was not removed: {error}")),
            }
        }
    }
}

/// Cuts what is logged of sandboxes that are left to what people read.
fn shortened(mut left: Vec<String>) -> Vec<String> {
    let more = left.len().saturating_sub(LEFT);
    left.truncate(LEFT);
    for note in &mut left {
        *note = Capped::new(note, 500).text;
    }
    if more > 0 {
        left.push(format!("and {more} more"));
    }
    left
}

async fn started(
    context: &RunContext,
    trial: TrialIndex,
    number: u32,
) -> Result<Box<dyn Sandbox>, SandboxError> {
    let attempt = AttemptId {
        trial: context.plan.trials[trial.at()].id.clone(),
        number,
    };
    let cannot = |(_, why): (_, &str)| SandboxError::Unsupported { what: why.to_owned() };
    let provider = provider(context).map_err(cannot)?;
    let files = first_files(context, trial);
    let request = request(context, (trial, &attempt), files, SLACK).map_err(cannot)?;
    start(provider, request).await
}
