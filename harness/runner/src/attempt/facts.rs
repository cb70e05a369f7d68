//! What a sandbox reports without being asked.
//!
//! Owns: how much of it is logged; all of it is counted. Must not: judge it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use harness_core::event::AttemptEvent;
use harness_core::ports::{FactBounds, FactRoom, Sandbox, SandboxFact, StoreError};

use super::{Attempt, Held};

/// How much of one attempt is logged.
const LOGGED: FactBounds = FactBounds {
    of_verdict: 500,
    of_endpoint: 50,
    others: 500,
};

/// How much there is room for, and what was not logged.
#[derive(Debug)]
pub(super) struct FactBook(FactRoom);

impl Default for FactBook {
    fn default() -> Self {
        Self(FactRoom::new(LOGGED))
    }
}

impl Attempt {
    /// Logs and counts what the sandbox has reported since the last time.
    pub(crate) async fn drain_facts(&mut self) -> Result<(), StoreError> {
        let held = Arc::clone(&self.held);
        self.drain_facts_of(&held).await
    }

    pub(super) async fn drain_facts_of(&mut self, held: &Held) -> Result<(), StoreError> {
        let facts = held.lock().await.as_deref().map(facts_of);
        self.log_facts(facts.unwrap_or_default())
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
            if !self.facts.0.takes(&fact) {
                continue;
            }
            let logged = self.journal.append(&AttemptEvent::SandboxReported { fact });
            failed = failed.or(logged.err());
        }
        failed.map_or(Ok(()), Err)
    }

    /// Logs how many facts were not logged, once.
    pub(super) fn close_facts(&mut self) -> Result<(), StoreError> {
        let Some(fact) = self.facts.0.take_dropped() else {
            return Ok(());
        };
        self.journal.append(&AttemptEvent::SandboxReported { fact })
    }
}

/// Takes a sandbox's facts; a bug of ours there must not cost the removal of the sandbox.
pub(super) fn facts_of(sandbox: &dyn Sandbox) -> Vec<SandboxFact> {
    catch_unwind(AssertUnwindSafe(|| sandbox.take_facts())).unwrap_or_else(|_| {
        tracing::error!("our program panicked while a sandbox was asked what it reports");
        Vec::new()
    })
}
