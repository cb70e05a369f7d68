//! How long to wait before something is tried again.

use std::time::Duration;

use crate::ids::Digest;
use crate::model::ModelError;

/// The longest wait that we choose ourselves.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait that a provider may ask for and get.
const LONGEST_ASKED: Duration = Duration::from_secs(15 * 60);

/// Returns how often a call may fail in the same way before it is given up. Being rate limited is a provider's
/// ordinary answer to load, so it is allowed ten times as often as other errors.
pub(super) fn allowed_tries(error: &ModelError, same_error: u32) -> u32 {
    match error {
        ModelError::RateLimited { .. } => same_error.saturating_mul(10).max(1),
        _ => same_error.max(1),
    }
}

/// Returns the wait before try number `tries` + 1: what the provider asked for plus up to a tenth, or else a second
/// doubled with every try up to a minute, of which a random half to whole is taken ("equal jitter", Brooker,
/// *Exponential Backoff and Jitter*, AWS Architecture Blog 2015). The randomness comes from the seed alone.
pub(super) fn wait(seed: u64, trial: u32, tries: u32, asked: Option<Duration>) -> Duration {
    let parts: [&[u8]; 3] = [&seed.to_le_bytes(), &trial.to_le_bytes(), &tries.to_le_bytes()];
    let unit = (Digest::of_parts(parts).seed() >> 11) as f64 / (1_u64 << 53) as f64;
    if let Some(asked) = asked {
        asked.min(LONGEST_ASKED).mul_f64(1.0 + 0.1 * unit)
    } else {
        let doubled = Duration::from_secs(1 << tries.saturating_sub(1).min(10)).min(LONGEST);
        doubled.mul_f64(0.5 + 0.5 * unit)
    }
}
