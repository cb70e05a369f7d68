//! What happened in or around a sandbox without being asked for, until somebody takes it.
//!
//! Owns: its bound. Must not: lose the count of what it drops.

use std::sync::{Mutex, PoisonError};

use harness_core::ports::SandboxFact;

/// The most that waits to be taken.
const MOST: usize = 10_000;

/// Facts that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct FactLog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    facts: Vec<SandboxFact>,
    dropped: u64,
    ended: Vec<(String, i32, String)>,
}

impl FactLog {
    /// Adds a fact.
    pub(crate) fn push(&self, fact: SandboxFact) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let SandboxFact::ServiceEnded {
            service,
            code,
            output,
        } = &fact
        {
            inner.ended.push((service.clone(), *code, output.text.clone()));
        }
        if inner.facts.len() < MOST {
            inner.facts.push(fact);
        } else {
            inner.dropped += 1;
        }
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> Vec<SandboxFact> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut facts = std::mem::take(&mut inner.facts);
        let count = std::mem::take(&mut inner.dropped);
        if count > 0 {
            facts.push(SandboxFact::Dropped { count });
        }
        facts
    }

    /// Returns how a service ended, if it did.
    pub(crate) fn end_of(&self, service: &str) -> Option<(i32, String)> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let found = inner.ended.iter().find(|(name, ..)| name == service);
        found.map(|(_, code, output)| (*code, output.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted() {
        let log = FactLog::default();
        for code in 0..10_005 {
            log.push(SandboxFact::ServiceEnded {
                service: format!("s{code}"),
                code,
                output: harness_core::text::Capped::default(),
            });
        }
        let taken = log.take();
        assert_eq!(taken.len(), 10_001);
        assert_eq!(taken[10_000], SandboxFact::Dropped { count: 5 });
        assert_eq!(log.end_of("s10004"), Some((10_004, String::new())));
        assert!(log.take().is_empty());
    }
}
