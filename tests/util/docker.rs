//! The daemon of the tests, asked without any code of ours.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Once;
use std::time::Duration;

use super::Context;

static IMAGE: Once = Once::new();

/// A daemon that answers, with the smallest base image.
pub(crate) struct Daemon {
    pub(crate) socket: String,
}

/// Returns the daemon, or `None` after saying so where there is none.
pub(crate) fn daemon() -> Option<Daemon> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket = host
        .strip_prefix("unix://")
        .unwrap_or("/var/run/docker.sock")
        .to_owned();
    let daemon = Daemon { socket };
    if daemon.ask("GET", "/_ping").is_none() {
        let required = std::env::var("HARNESS_REQUIRE_DOCKER").is_ok_and(|value| value == "1");
        assert!(!required, "no docker daemon answers at {}", daemon.socket);
        eprintln!("SKIPPED: no docker daemon");
        return None;
    }
    IMAGE.call_once(|| {
        Context::with(&daemon).good("images build harness/busybox:1");
    });
    Some(daemon)
}

/// Returns whether the daemon knows a runtime, after saying so where it does not.
pub(crate) fn knows_runtime(daemon: &Daemon, runtime: &str) -> bool {
    let info = daemon.ask("GET", "/info").unwrap();
    let (_, body) = info.split_once("\r\n\r\n").unwrap();
    let info: serde_json::Value = serde_json::from_str(body).unwrap();
    let knows = info["Runtimes"].get(runtime).is_some();
    let required = std::env::var("HARNESS_REQUIRE_RUNTIMES").is_ok_and(|value| value == "1");
    assert!(knows || !required, "the daemon does not know {runtime}");
    if !knows {
        eprintln!("SKIPPED: the daemon does not know the runtime {runtime}");
    }
    knows
}

impl Daemon {
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket)
    }

    /// Sends a request and returns the whole answer if its status says that it was done.
    fn ask(&self, method: &str, target: &str) -> Option<String> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.set_read_timeout(Some(Duration::from_mins(1))).ok()?;
        write!(stream, "{method} {target} HTTP/1.0\r\nHost: docker\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split_whitespace().nth(1)?;
        status.starts_with('2').then_some(answer)
    }

    /// Returns id, name and state of the containers that carry the label of a run.
    pub(crate) fn containers(&self, run: &str) -> Vec<[String; 3]> {
        let filter = format!("%7B%22label%22%3A%5B%22harness.run%3D{run}%22%5D%7D");
        let answer = self
            .ask("GET", &format!("/containers/json?all=1&filters={filter}"))
            .unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let found: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let of = |found: &serde_json::Value| {
            [
                text(&found["Id"]),
                text(&found["Names"][0]).trim_start_matches('/').to_owned(),
                text(&found["State"]),
            ]
        };
        found.iter().map(of).collect()
    }

    /// Has something done to a container: `pause`, or `rename?name=...`.
    pub(crate) fn act(&self, container: &str, what: &str) {
        self.ask("POST", &format!("/containers/{container}/{what}"))
            .unwrap();
    }

    /// Returns how many containers, networks and volumes carry the label of a run.
    pub(crate) fn leftovers(&self, run: &str) -> (usize, usize, usize) {
        let filter = format!("%7B%22label%22%3A%5B%22harness.run%3D{run}%22%5D%7D");
        let count = |target: String, key: &str| {
            let answer = self.ask("GET", &target).unwrap();
            answer.matches(key).count()
        };
        (
            count(format!("/containers/json?all=1&filters={filter}"), "\"ImageID\""),
            count(format!("/networks?filters={filter}"), "\"EnableIPv6\""),
            count(format!("/volumes?filters={filter}"), "\"Mountpoint\""),
        )
    }
}
