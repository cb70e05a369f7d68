//! The wall clock, for people.

use std::time::{SystemTime, UNIX_EPOCH};

use harness_core::units::Timestamp;

/// Returns what the clock says.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
