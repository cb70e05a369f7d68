//! The process of the Docker daemon on this machine.
//!
//! Owns: finding it, and having it read its settings again. Must not: signal a process that is not a Docker daemon.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::engine::Engine;

const PID_FILE: &str = "/var/run/docker.pid";
const USUAL_SETTINGS: &str = "/etc/docker/daemon.json";
/// How long a reload may take until the daemon shows it.
const RELOAD: Duration = Duration::from_secs(20);

/// A daemon that runs.
#[derive(Debug)]
pub(super) struct Daemon {
    pid: Pid,
    /// The file that it takes its settings from.
    pub(super) settings: PathBuf,
}

impl Daemon {
    /// Finds the daemon of this machine.
    pub(super) fn find() -> Result<Self> {
        let text = fs::read_to_string(PID_FILE).with_context(|| {
            format!("no Docker daemon of this machine has left its number in {PID_FILE}; is it remote or rootless?")
        })?;
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{PID_FILE} holds no process number"))?;
        let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        if name.trim() != "dockerd" {
            bail!("{PID_FILE} names process {text}, which is no Docker daemon");
        }
        let command = fs::read(process.join("cmdline")).context("failed to look at the Docker daemon")?;
        let settings = settings_of(&String::from_utf8_lossy(&command));
        Ok(Self { pid, settings })
    }

    /// Has the daemon read its settings again, and waits until it knows these runtimes. Containers go on.
    pub(super) fn reload(&self, engine: &mut Engine, names: &[&str]) -> Result<()> {
        kill_process(self.pid, Signal::HUP).context("failed to signal the Docker daemon")?;
        let start = Instant::now();
        loop {
            let known = runtimes(engine)?;
            if names.iter().all(|name| known.contains_key(*name)) {
                return Ok(());
            }
            if start.elapsed() > RELOAD {
                bail!(
                    "the Docker daemon does not know {} after a reload; its log says why",
                    names.join(" and ")
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Returns the runtimes that the daemon knows, with their programs.
pub(super) fn runtimes(engine: &mut Engine) -> Result<BTreeMap<String, PathBuf>> {
    let info = engine.call("GET", "/info", None)?;
    let found = info["Runtimes"].as_object();
    let found = found.context("the daemon does not say which runtimes it knows")?;
    let path = |runtime: &Value| PathBuf::from(runtime["path"].as_str().unwrap_or_default());
    Ok(found
        .iter()
        .map(|(name, runtime)| (name.clone(), path(runtime)))
        .collect())
}

/// Returns where a daemon with this command line (arguments end with a null byte) has its settings.
fn settings_of(command: &str) -> PathBuf {
    let mut words = command.split('\0');
    while let Some(word) = words.next() {
        let value = match word {
            "--config-file" | "-config-file" => words.next(),
            word => word.trim_start_matches('-').strip_prefix("config-file="),
        };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            return PathBuf::from(value);
        }
    }
    PathBuf::from(USUAL_SETTINGS)
}

#[cfg(test)]
mod tests {
    use super::settings_of;

    #[test]
    fn the_daemon_says_where_its_settings_are() {
        let cases = [
            ("/usr/sbin/dockerd\0", "/etc/docker/daemon.json"),
            ("dockerd\0--config-file\0/a b.json\0-H\0fd://\0", "/a b.json"),
            ("dockerd\0-H\0fd://\0--config-file=/c.json\0", "/c.json"),
            ("dockerd\0--config-file\0", "/etc/docker/daemon.json"),
            ("", "/etc/docker/daemon.json"),
        ];
        for (command, expected) in cases {
            assert_eq!(settings_of(command).to_string_lossy(), expected, "{command:?}");
        }
    }
}
