//! One attempt to reach the outside, reported exactly once when it ends, however that is, and when a tunnel opens.
//!
//! Owns: the record while it grows. Must not: decide anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use harness_core::egress::{EgressAttempt, EgressVerdict, Endpoint};
use harness_core::ports::SandboxFact;
use harness_core::units::Timestamp;
use tokio::time::Instant;

use crate::clock;

/// Takes what is reported.
pub(crate) type Report = Arc<dyn Fn(SandboxFact) + Send + Sync>;

/// An attempt that goes on. It is reported when it is dropped, unless nothing was ever asked for.
pub(super) struct Attempt {
    report: Report,
    asked: bool,
    host: String,
    port: u16,
    method: String,
    verdict: EgressVerdict,
    address: Option<String>,
    sent: AtomicU64,
    received: AtomicU64,
    began: Instant,
    began_at: Timestamp,
}

impl Attempt {
    /// Begins one; as long as nobody says otherwise, it is none that can be understood.
    pub(super) fn new(report: Report) -> Self {
        Self {
            report,
            asked: false,
            host: String::new(),
            port: 0,
            method: String::new(),
            verdict: EgressVerdict::Malformed,
            address: None,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            began: Instant::now(),
            began_at: clock::now(),
        }
    }

    /// Something came: from now on there is something to report.
    pub(super) fn begin(&mut self) {
        if !self.asked {
            self.asked = true;
            self.began = Instant::now();
            self.began_at = clock::now();
        }
    }

    /// It turned out to stay within the task: there is nothing to report.
    pub(super) fn stays_inside(&mut self) {
        self.asked = false;
    }

    /// It is known what is asked for, as far as it can be understood.
    pub(super) fn asks(&mut self, method: &str, asked: &str) {
        method.clone_into(&mut self.method);
        self.host = Endpoint::shown(asked);
    }

    /// It is known what is asked for.
    pub(super) fn asks_for(&mut self, method: &str, endpoint: &Endpoint) {
        self.asks(method, &endpoint.host().to_string());
        self.port = endpoint.port();
    }

    /// What would become of it if it ended now.
    pub(super) fn is(&mut self, verdict: EgressVerdict) {
        self.verdict = verdict;
    }

    /// There is a connection.
    pub(super) fn reached(&mut self, address: SocketAddr) {
        self.verdict = EgressVerdict::Allowed;
        self.address = Some(address.to_string());
    }

    /// Reports that it goes on: a tunnel may be open until nobody is left to report its end.
    pub(super) fn opened(&self) {
        if self.asked {
            (self.report)(SandboxFact::EgressOpened(self.record()));
        }
    }

    /// Counts what has left the sandbox.
    pub(super) fn sent(&self) -> &AtomicU64 {
        &self.sent
    }

    /// Counts what has come in.
    pub(super) fn received(&self) -> &AtomicU64 {
        &self.received
    }

    /// Returns how many bytes went either way.
    pub(super) fn bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed) + self.received.load(Ordering::Relaxed)
    }

    fn record(&self) -> EgressAttempt {
        EgressAttempt {
            host: self.host.clone(),
            port: self.port,
            method: self.method.clone(),
            verdict: self.verdict,
            address: self.address.clone(),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            began: Some(self.began_at),
            took: self.began.elapsed(),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.asked {
            (self.report)(SandboxFact::Egress(self.record()));
        }
    }
}
