//! The decisions behind [`Pace`](super::Pace), without time or waiting of its own.

use std::collections::VecDeque;
use std::time::Duration;

use harness_core::ports::SandboxError;

use super::Health;

/// How many times the calls at once of the beginning there are at most.
const WIDER: usize = 4;
/// How many starts the usual pace is judged by.
const STARTS: usize = 9;
/// Starts are slow when their median is this many times the best one that was seen.
const SLOW: u32 = 3;
/// Starts faster than this are never slow: so small a time is mostly noise.
const QUICK: Duration = Duration::from_millis(150);
/// How many of the last calls say whether the daemon struggles.
const RECENT: usize = 10;
/// Fewer calls than this say nothing.
const ENOUGH: usize = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// Whether a call may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Now {
        /// Whether it finds out if the daemon works again.
        probe: bool,
    },
    /// Not before another call ends.
    Full,
    /// Not before the pause is over; if that is past, not before the probe ends.
    Paused { until: Duration, error: SandboxError },
}

#[derive(Debug)]
pub(super) struct State {
    width: usize,
    widest: usize,
    running: usize,
    /// Calls at the usual pace since the width changed, and whether any call had to wait since.
    smooth: usize,
    pressed: bool,
    starts: VecDeque<Duration>,
    best: Option<Duration>,
    /// Whether each of the last calls failed.
    recent: VecDeque<bool>,
    pause: Option<Pause>,
    /// Time in pauses that are over.
    paused: Duration,
}

#[derive(Debug)]
struct Pause {
    since: Duration,
    until: Duration,
    length: Duration,
    probing: bool,
    error: SandboxError,
}

impl State {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            width: slots.max(1),
            widest: slots.max(1).saturating_mul(WIDER),
            running: 0,
            smooth: 0,
            pressed: false,
            starts: VecDeque::new(),
            best: None,
            recent: VecDeque::new(),
            pause: None,
            paused: Duration::ZERO,
        }
    }

    /// Returns how much time was spent in pauses until now.
    pub(super) fn paused(&self, now: Duration) -> Duration {
        let present = self.pause.as_ref().map(|pause| now.saturating_sub(pause.since));
        self.paused + present.unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn admit(&mut self, now: Duration) -> Admission {
        if let Some(pause) = &mut self.pause {
            if now < pause.until || pause.probing {
                let (until, error) = (pause.until, pause.error.clone());
                return Admission::Paused { until, error };
            }
            pause.probing = true;
            self.running += 1;
            return Admission::Now { probe: true };
        }
        if self.running >= self.width {
            self.pressed = true;
            return Admission::Full;
        }
        self.running += 1;
        Admission::Now { probe: false }
    }

    /// Takes the ending of a call. Returns the length of a pause that begins and why, if it is to be told.
    pub(super) fn ended(
        &mut self,
        now: Duration,
        probe: bool,
        health: Health,
        took: Option<Duration>,
    ) -> Option<(Duration, SandboxError)> {
        self.running = self.running.saturating_sub(1);
        match health {
            Health::Unknown => {
                // A probe that nobody answered leaves the question open for the next call.
                if let Some(pause) = self.pause.as_mut().filter(|_| probe) {
                    pause.probing = false;
                }
                None
            }
            Health::Works => {
                if probe {
                    self.paused = self.paused(now);
                    self.pause = None;
                    self.recent.clear();
                }
                self.works(took);
                None
            }
            Health::Struggles(error) => self.struggles(now, probe, error),
        }
    }

    fn works(&mut self, took: Option<Duration>) {
        push(&mut self.recent, false, RECENT);
        if let Some(took) = took {
            push(&mut self.starts, took, STARTS);
            let best = self.best.map_or(took, |best| best.min(took));
            self.best = Some(best);
            if let Some(median) = self.median().filter(|median| slow(*median, best)) {
                if self.width == 1 {
                    // Alone it takes as long: this is the usual pace now.
                    self.best = Some(median);
                }
                return self.shrink();
            }
            if slow(took, best) {
                return;
            }
        }
        self.smooth += 1;
        // Only a width that made calls wait can be too small.
        if self.smooth >= self.width && self.pressed {
            self.smooth = 0;
            self.pressed = false;
            self.width = (self.width + 1).min(self.widest);
        }
    }

    fn struggles(
        &mut self,
        now: Duration,
        probe: bool,
        error: SandboxError,
    ) -> Option<(Duration, SandboxError)> {
        push(&mut self.recent, true, RECENT);
        self.shrink();
        if let Some(pause) = &mut self.pause {
            if probe {
                pause.length = (pause.length * 2).min(LONGEST_PAUSE);
                pause.until = now + pause.length;
                pause.probing = false;
                pause.error = error;
            }
            return None;
        }
        let failed = self.recent.iter().filter(|failed| **failed).count();
        if self.recent.len() < ENOUGH || 2 * failed <= self.recent.len() {
            return None;
        }
        self.pause = Some(Pause {
            since: now,
            until: now + FIRST_PAUSE,
            length: FIRST_PAUSE,
            probing: false,
            error: error.clone(),
        });
        Some((FIRST_PAUSE, error))
    }

    /// Returns the median of the last starts, if there are enough.
    fn median(&self) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.starts.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(STARTS / 2).copied().filter(|_| sorted.len() == STARTS)
    }

    fn shrink(&mut self) {
        self.width = (self.width * 2 / 3).max(1);
        self.smooth = 0;
        self.pressed = false;
        // The next verdict needs starts that were made at the new width.
        self.starts.clear();
    }
}

fn slow(took: Duration, best: Duration) -> bool {
    took > QUICK && took > best.saturating_mul(SLOW)
}

fn push<T>(queue: &mut VecDeque<T>, value: T, most: usize) {
    queue.push_back(value);
    while queue.len() > most {
        queue.pop_front();
    }
}
