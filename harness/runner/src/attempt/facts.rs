//! What a sandbox reports without being asked, and what is noted about it after its start.
//!
//! Owns: how much of it is logged; all of it is counted. Must not: judge it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use harness_core::event::AttemptEvent;
use harness_core::outcome::Stage;
use harness_core::ports::{FactBounds, FactRoom, Sandbox, SandboxFact, SandboxInfo, StoreError};

use super::setup::within;
use super::{Attempt, Break, Held};

/// How long looking for a containment event may take.
const LOOK: Duration = Duration::from_secs(10);
/// How much of one attempt is logged.
const LOGGED: FactBounds = FactBounds {
    of_verdict: 500,
    of_endpoint: 50,
    others: 500,
};

/// How much there is room for, and what was not logged.
#[derive(Debug)]
pub(super) struct FactBook {
    room: FactRoom,
    /// How many notes of each sandbox are in the log.
    noted: BTreeMap<String, usize>,
}

impl Default for FactBook {
    fn default() -> Self {
        Self {
            room: FactRoom::new(LOGGED),
            noted: BTreeMap::new(),
        }
    }
}

impl FactBook {
    /// Returns the notes about a sandbox that are not in the log yet; they are taken to be from now on.
    pub(super) fn new_notes(&mut self, info: &SandboxInfo) -> Vec<String> {
        let noted = self.noted.entry(info.id.clone()).or_default();
        let new = info.notes.get(*noted..).unwrap_or_default().to_vec();
        *noted = info.notes.len();
        new
    }
}

impl Attempt {
    /// Logs and counts what the sandbox has reported since the last time.
    pub(crate) async fn drain_facts(&mut self) -> Result<(), StoreError> {
        let held = Arc::clone(&self.held);
        self.drain_facts_of(&held).await
    }

    pub(super) async fn drain_facts_of(&mut self, held: &Held) -> Result<(), StoreError> {
        let seen = held
            .lock()
            .await
            .as_deref()
            .map(|sandbox| (facts_of(sandbox), sandbox.info()));
        let Some((facts, info)) = seen else { return Ok(()) };
        let failed = self.log_notes(&info).err();
        failed.or(self.log_facts(facts).err()).map_or(Ok(()), Err)
    }

    /// Logs what was noted about a sandbox since the last time.
    pub(super) fn log_notes(&mut self, info: &SandboxInfo) -> Result<(), StoreError> {
        let new = self.facts.new_notes(info).into_iter();
        let events: Vec<_> = new.map(|text| AttemptEvent::Noted { text }).collect();
        self.journal.append_all(&events)
    }

    /// Logs facts as long as there is room; counts all of them, whether or not they can be logged.
    pub(super) fn log_facts(&mut self, facts: Vec<SandboxFact>) -> Result<(), StoreError> {
        let mut failed = None;
        for fact in facts {
            match &fact {
                SandboxFact::Egress(attempt) => self.egress.count(attempt.verdict),
                SandboxFact::Dropped { egress, .. } => self.egress.add(*egress),
                SandboxFact::EgressOpened(_)
                | SandboxFact::ServiceEnded { .. }
                | SandboxFact::ServiceBroken { .. } => {}
            }
            if !self.facts.room.takes(&fact) {
                continue;
            }
            let logged = self.journal.append(&AttemptEvent::SandboxReported { fact });
            failed = failed.or(logged.err());
        }
        failed.map_or(Ok(()), Err)
    }

    /// Logs how many facts were not logged, once.
    pub(super) fn close_facts(&mut self) -> Result<(), StoreError> {
        let Some(fact) = self.facts.room.take_dropped() else {
            return Ok(());
        };
        self.journal.append(&AttemptEvent::SandboxReported { fact })
    }
}

/// Looks for a containment event in a sandbox that nobody was told of yet.
pub(super) async fn breach_in(held: &Held) -> Option<Break> {
    let guard = held.lock().await;
    let sandbox = guard.as_deref()?;
    let checked = AssertUnwindSafe(within(LOOK, "look for breaches", sandbox.check_containment()));
    match checked.catch_unwind().await {
        Ok(Err(error)) if error.is_breach() => Some(Break::sandbox(Stage::Score, &error)),
        Ok(Ok(()) | Err(_)) => None,
        Err(_) => {
            tracing::error!("our program panicked while it looked for a containment event");
            None
        }
    }
}

/// Takes a sandbox's facts; a bug of ours there must not cost the removal of the sandbox.
pub(super) fn facts_of(sandbox: &dyn Sandbox) -> Vec<SandboxFact> {
    catch_unwind(AssertUnwindSafe(|| sandbox.take_facts())).unwrap_or_else(|_| {
        tracing::error!("our program panicked while a sandbox was asked what it reports");
        Vec::new()
    })
}
