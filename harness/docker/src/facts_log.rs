//! What happened in or around a sandbox without being asked for, until somebody takes it.
//!
//! Owns: its bound. Must not: lose the count of what it drops.

use std::sync::{Mutex, PoisonError};

use harness_core::ports::{FactBounds, FactRoom, SandboxFact};

/// How much waits to be taken.
const WAITING: FactBounds = FactBounds {
    of_verdict: 2_000,
    of_endpoint: 200,
    others: 1_000,
};

/// Facts that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct FactLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    facts: Vec<SandboxFact>,
    room: FactRoom,
    ended: Vec<(String, i32, String)>,
    /// From now on services end by our doing.
    services_over: bool,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            facts: Vec::new(),
            room: FactRoom::new(WAITING),
            ended: Vec::new(),
            services_over: false,
        }
    }
}

impl FactLog {
    /// Adds a fact.
    pub(crate) fn push(&self, fact: SandboxFact) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let of_service = matches!(
            fact,
            SandboxFact::ServiceEnded { .. } | SandboxFact::ServiceBroken { .. }
        );
        if of_service && inner.services_over {
            return;
        }
        if let SandboxFact::ServiceEnded {
            service,
            code,
            output,
        } = &fact
        {
            inner.ended.push((service.clone(), *code, output.text.clone()));
        }
        if inner.room.takes(&fact) {
            inner.facts.push(fact);
        }
    }

    /// From now on the services are being removed; that they end is nothing to tell.
    pub(crate) fn end_of_services(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.services_over = true;
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> Vec<SandboxFact> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut facts = std::mem::take(&mut inner.facts);
        facts.extend(inner.room.take_dropped());
        inner.room = FactRoom::new(WAITING);
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
    use harness_core::egress::{EgressAttempt, EgressCounts, EgressVerdict};
    use pretty_assertions::assert_eq;
    use std::time::Duration;

    fn attempt(host: &str, verdict: EgressVerdict) -> SandboxFact {
        SandboxFact::Egress(EgressAttempt {
            host: host.to_owned(),
            port: 80,
            method: "connect".to_owned(),
            verdict,
            address: None,
            sent: 0,
            received: 0,
            began: None,
            took: Duration::ZERO,
        })
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let log = FactLog::default();
        for code in 0..1_005 {
            log.push(SandboxFact::ServiceEnded {
                service: format!("s{code}"),
                code,
                output: harness_core::text::Capped::default(),
            });
        }
        let taken = log.take();
        assert_eq!(taken.len(), 1_001);
        let dropped = SandboxFact::Dropped {
            count: 5,
            egress: EgressCounts::default(),
        };
        assert_eq!(taken[1_000], dropped);
        assert_eq!(log.end_of("s1004"), Some((1_004, String::new())));
        assert!(log.take().is_empty());
    }

    #[test]
    fn noise_does_not_hide_an_attempt_and_all_are_counted() {
        let log = FactLog::default();
        for n in 0..20_000 {
            log.push(attempt(&format!("noise{n}.test"), EgressVerdict::NotListed));
        }
        for _ in 0..300 {
            log.push(attempt("loud.test", EgressVerdict::Allowed));
        }
        log.push(attempt("169.254.169.254", EgressVerdict::Forbidden));
        let taken = log.take();
        assert_eq!(taken.len(), 2_000 + 200 + 1 + 1);
        assert_eq!(taken[2_200], attempt("169.254.169.254", EgressVerdict::Forbidden));
        let dropped = SandboxFact::Dropped {
            count: 18_100,
            egress: EgressCounts {
                allowed: 100,
                blocked: 18_000,
            },
        };
        assert_eq!(taken.last(), Some(&dropped));
        log.push(attempt("loud.test", EgressVerdict::Allowed));
        assert_eq!(log.take().len(), 1, "there is room again");
    }
}
