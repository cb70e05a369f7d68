//! Who may call a model now: requests in flight and tokens per minute, first come, first served.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Command, ModelLimits, TrialIndex};
use crate::units::Tokens;

#[derive(Debug)]
pub(super) struct ModelGate {
    limits: ModelLimits,
    in_flight: BTreeMap<TrialIndex, u64>,
    queue: VecDeque<(TrialIndex, u64)>,
    /// Tokens that may be used now; refilled with time up to a minute's worth.
    bucket: f64,
    filled_at: Duration,
}

impl ModelGate {
    pub(super) fn new(limits: ModelLimits) -> Self {
        let bucket = limits.tokens_per_minute.map_or(0.0, |rate| rate.0 as f64);
        Self {
            limits,
            in_flight: BTreeMap::new(),
            queue: VecDeque::new(),
            bucket,
            filled_at: Duration::ZERO,
        }
    }

    pub(super) fn want(&mut self, trial: TrialIndex, tokens: Tokens) {
        self.queue.push_back((trial, tokens.0));
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A call ended, or nobody waits for it any more: what it did not use is given back.
    pub(super) fn release(&mut self, trial: TrialIndex, used: Tokens) {
        match self.in_flight.remove(&trial) {
            Some(taken) => self.bucket += taken as f64 - used.0 as f64,
            None => self.queue.retain(|(waiting, _)| *waiting != trial),
        }
    }

    pub(super) fn grant(&mut self, now: Duration, commands: &mut Vec<Command>) {
        if self.queue.is_empty() {
            return;
        }
        self.refill(now);
        while let Some((trial, tokens)) = self.queue.front().copied() {
            if self
                .limits
                .requests
                .is_some_and(|max| self.in_flight.len() >= max as usize)
            {
                break;
            }
            if self.missing(tokens) > 0.0 {
                break;
            }
            self.queue.pop_front();
            if self.limits.tokens_per_minute.is_some() {
                self.bucket -= tokens as f64;
            }
            self.in_flight.insert(trial, tokens);
            commands.push(Command::GrantCall(trial));
        }
    }

    /// Returns when the first waiting call will fit, if it waits for tokens.
    pub(super) fn wakes_at(&self, now: Duration) -> Option<Duration> {
        let (_, tokens) = self.queue.front()?;
        let rate = self.limits.tokens_per_minute?.0 as f64 / 60.0;
        let missing = self.missing(*tokens);
        (missing > 0.0).then(|| now + Duration::from_secs_f64((missing / rate.max(1e-3)).min(3600.0) + 1e-3))
    }

    /// Returns how many tokens are missing for a call. One larger than a minute's worth waits for a full bucket.
    fn missing(&self, tokens: u64) -> f64 {
        let Some(rate) = self.limits.tokens_per_minute else {
            return 0.0;
        };
        (tokens as f64).min(rate.0 as f64) - self.bucket
    }

    fn refill(&mut self, now: Duration) {
        let Some(rate) = self.limits.tokens_per_minute else {
            return;
        };
        let rate = rate.0 as f64;
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.bucket = (self.bucket + passed * rate / 60.0).min(rate);
        self.filled_at = now;
    }
}
