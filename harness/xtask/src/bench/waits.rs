//! How long attempts of a run waited for their sandboxes, from the attempts' logs.
//!
//! Owns: reading that out of a results folder. Must not: count an attempt that had no sandbox.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Seconds that each attempt of each run below a results folder waited for the start of its sandbox.
pub(super) fn of_results(results: &Path) -> Result<Vec<f64>> {
    let mut waits = Vec::new();
    for run in fs::read_dir(results)?.flatten() {
        let attempts = run.path().join("attempts");
        if !attempts.is_dir() {
            continue;
        }
        for log in fs::read_dir(&attempts)? {
            let path = log?.path();
            let text = fs::read_to_string(&path)?;
            waits.push(of_log(&text).with_context(|| format!("{}", path.display()))?);
        }
    }
    if waits.is_empty() {
        bail!("no attempt has left a log below {}", results.display());
    }
    Ok(waits)
}

/// Returns the wait of one attempt. A wait that was too short for an event of its own lies between the start of the
/// setup and the event that the sandbox is there.
fn of_log(text: &str) -> Result<f64> {
    let mut setup = None;
    let mut waited = None;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        let event = &line["event"];
        match event["type"].as_str() {
            Some("stage_started") if event["stage"] == "setup" => setup = time_of_day(&line),
            Some("waited") if event["reason"] == "sandbox_start" => waited = event["took"].as_f64(),
            Some("sandbox_started") => {
                let between = setup
                    .zip(time_of_day(&line))
                    .map(|(from, to)| (to - from).rem_euclid(86_400.0));
                return waited.or(between).context("times are missing");
            }
            _ => {}
        }
    }
    bail!("the attempt had no sandbox")
}

/// Returns the seconds since midnight in `2026-11-21T12:08:49.005851Z`.
fn time_of_day(line: &Value) -> Option<f64> {
    let (_, time) = line["at"].as_str()?.strip_suffix('Z')?.split_once('T')?;
    let parts: Option<Vec<f64>> = time.split(':').map(|part| part.parse().ok()).collect();
    match parts?.as_slice() {
        [hours, minutes, seconds] => Some(hours * 3600.0 + minutes * 60.0 + seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::of_log;

    fn log(events: &[(&str, &str)]) -> String {
        let lines = events.iter().map(|(time, event)| {
            format!("{{\"seq\":0,\"at\":\"2026-11-21T{time}Z\",\"working\":0.1,\"event\":{event}}}\n")
        });
        lines.collect()
    }

    const SETUP: &str = r#"{"type":"stage_started","stage":"setup"}"#;
    const WAITED: &str = r#"{"type":"waited","reason":"sandbox_start","took":0.915155}"#;
    const SLOT: &str = r#"{"type":"waited","reason":"model_slot","took":7}"#;
    const STARTED: &str = r#"{"type":"sandbox_started","id":"0"}"#;

    #[test]
    fn waits_are_read_from_logs() {
        let long = log(&[
            ("12:00:00.5", SETUP),
            ("12:00:01.5", WAITED),
            ("12:00:01.5", STARTED),
            ("12:00:02.0", SLOT),
        ]);
        let short = log(&[("23:59:59.875", SETUP), ("00:00:00.125", STARTED)]);
        for (text, expected) in [(long, 0.915_155), (short, 0.25)] {
            assert_eq!(of_log(&text).unwrap().to_bits(), f64::to_bits(expected), "{text}");
        }
        assert!(of_log(&log(&[("12:00:00.5", SETUP), ("12:00:00.5", SLOT)])).is_err());
        assert!(of_log("{").is_err());
    }
}
