//! Turns an event into a line of a log: the append seam.
//!
//! Owns: that no line is written with a secret in it, or that could not be read back. Must not: write.

use std::time::Duration;

use harness_core::event::Line;
use harness_core::units::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::scrub::Scrubber;

/// Serializes a line, with its newline.
///
/// # Errors
/// With a text if the event can't be serialized, or could not be read back without its secrets since one of
/// them is a word of the format.
pub(crate) fn line<E: Serialize + DeserializeOwned>(
    scrubber: &Scrubber,
    seq: u64,
    (at, working): (Timestamp, Duration),
    event: &E,
) -> Result<Vec<u8>, String> {
    let line = Line {
        seq,
        at,
        working,
        event,
    };
    let mut text = serde_json::to_string(&line).map_err(|error| error.to_string())?;
    if let Some(clean) = scrubber.json(&text) {
        text = clean.map_err(|error| error.to_string())?;
        if serde_json::from_str::<Line<E>>(&text).is_err() {
            return Err("a secret is also a word of the log's format, use another one".to_owned());
        }
    }
    text.push('\n');
    Ok(text.into_bytes())
}
