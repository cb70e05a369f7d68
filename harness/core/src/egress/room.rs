//! Which attempts are worth keeping one by one, when there are very many.
//!
//! Owns: the bounds. Must not: count (all attempts are counted, kept or not).

use std::collections::BTreeMap;

use super::{EgressAttempt, EgressVerdict};

/// Room for attempts, apart for each verdict and bounded for each host and port: neither many refused attempts nor the
/// same one again and again can push another one out.
#[derive(Clone, Debug)]
pub struct EgressRoom {
    of_verdict: u32,
    of_endpoint: u32,
    kept: BTreeMap<EgressVerdict, Kept>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    all: u32,
    endpoints: BTreeMap<(String, u16), u32>,
}

impl EgressRoom {
    /// Makes room for so many attempts of each verdict, and so many of those for the same host and port.
    pub fn new(of_verdict: u32, of_endpoint: u32) -> Self {
        Self {
            of_verdict,
            of_endpoint,
            kept: BTreeMap::new(),
        }
    }

    /// Returns whether there is room for an attempt, which then takes it.
    pub fn takes(&mut self, attempt: &EgressAttempt) -> bool {
        let kept = self.kept.entry(attempt.verdict).or_default();
        if kept.all >= self.of_verdict {
            return false;
        }
        let endpoint = (attempt.host.clone(), attempt.port);
        let of_endpoint = kept.endpoints.entry(endpoint).or_default();
        if *of_endpoint >= self.of_endpoint {
            return false;
        }
        *of_endpoint += 1;
        kept.all += 1;
        true
    }
}
