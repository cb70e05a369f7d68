//! The clock of the machine.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use harness_core::ports::Clock;
use harness_core::units::{Moment, Timestamp};

/// Counts from its making, on a clock that never jumps; the wall clock is only for people.
pub(crate) struct SystemClock {
    began: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment {
            elapsed: self.began.elapsed(),
            wall: wall(),
        }
    }
}

/// Returns what the wall clock says.
pub(crate) fn wall() -> Timestamp {
    let micros = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_micros())
        .unwrap_or_default();
    Timestamp(i64::try_from(micros).unwrap_or(i64::MAX))
}
