//! Which of a sandbox's facts are kept, when there are very many.
//!
//! Owns: the bounds, and the count of what does not fit. Must not: let noise push out what matters.

use super::SandboxFact;
use crate::egress::{EgressCounts, EgressRoom};

/// How many facts there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactBounds {
    /// Attempts to reach the outside of each verdict, and connections that were opened.
    pub of_verdict: u32,
    /// Of those, the ones for the same host and port.
    pub of_endpoint: u32,
    /// Everything else.
    pub others: u32,
}

/// Room for a sandbox's facts; what does not fit is added up.
#[derive(Clone, Debug)]
pub struct FactRoom {
    attempts: EgressRoom,
    openings: EgressRoom,
    others: u32,
    dropped: u64,
    egress: EgressCounts,
}

impl FactRoom {
    /// Makes room.
    pub fn new(bounds: FactBounds) -> Self {
        let room = EgressRoom::new(bounds.of_verdict, bounds.of_endpoint);
        Self {
            attempts: room.clone(),
            openings: room,
            others: bounds.others,
            dropped: 0,
            egress: EgressCounts::default(),
        }
    }

    /// Returns whether a fact is to be kept. One that is not is counted, and so is what a [`SandboxFact::Dropped`]
    /// says, which is never kept by itself.
    pub fn takes(&mut self, fact: &SandboxFact) -> bool {
        let taken = match fact {
            SandboxFact::Egress(attempt) => {
                let taken = self.attempts.takes(attempt);
                if !taken {
                    self.egress.count(attempt.verdict);
                }
                taken
            }
            SandboxFact::EgressOpened(attempt) => self.openings.takes(attempt),
            SandboxFact::ServiceEnded { .. } | SandboxFact::ServiceBroken { .. } => {
                let taken = self.others > 0;
                self.others = self.others.saturating_sub(1);
                taken
            }
            SandboxFact::Dropped { count, egress } => {
                self.dropped = self.dropped.saturating_add(*count);
                self.egress.add(*egress);
                return false;
            }
        };
        self.dropped = self.dropped.saturating_add(u64::from(!taken));
        taken
    }

    /// Returns what was not kept since the last time.
    pub fn take_dropped(&mut self) -> Option<SandboxFact> {
        let count = std::mem::take(&mut self.dropped);
        let egress = std::mem::take(&mut self.egress);
        (count > 0).then_some(SandboxFact::Dropped { count, egress })
    }
}
