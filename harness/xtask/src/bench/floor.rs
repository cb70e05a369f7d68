//! The floor of the sandbox benchmark: calls of the Engine API and nothing else.
//!
//! Owns: create, start, remove, and if wanted one exec for a tool call and one for the scorer; over several connections
//! at once. Must not: use `harness`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::engine::Engine;

/// What is done with a container between its creation and its removal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Between {
    /// It is started, no more: nothing that has a container can be faster.
    Start,
    /// Its tool call and its scorer are execs of the daemon, as without a helper.
    StartAndExecs,
}

/// Returns how many raw trials a second the daemon does, so many at once.
pub(super) fn rate(between: Between, trials: usize, at_once: usize, image: &str) -> Result<f64> {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let work = || -> Result<()> {
        let mut engine = Engine::connect()?;
        while next.fetch_add(1, Ordering::Relaxed) < trials {
            trial(&mut engine, between, image)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            let ended = worker.join();
            ended.unwrap_or_else(|_| bail!("a worker of the floor panicked"))
        })
    })?;
    Ok(trials as f64 / start.elapsed().as_secs_f64())
}

fn trial(engine: &mut Engine, between: Between, image: &str) -> Result<()> {
    let created = engine.call("POST", "/containers/create", Some(&container(image)))?;
    let id = text(&created, "Id")?;
    let result = work(engine, between, id);
    let removed = engine.call("DELETE", &format!("/containers/{id}?force=true&v=true"), None);
    result.and(removed.map(|_| ()))
}

fn work(engine: &mut Engine, between: Between, id: &str) -> Result<()> {
    engine.call("POST", &format!("/containers/{id}/start"), None)?;
    match between {
        Between::Start => Ok(()),
        Between::StartAndExecs => {
            exec(engine, id, "echo step")?;
            exec(engine, id, "test -d /tmp")
        }
    }
}

fn exec(engine: &mut Engine, id: &str, shell: &str) -> Result<()> {
    let request = json!({"AttachStdout": true, "AttachStderr": true, "Cmd": ["sh", "-c", shell]});
    let made = engine.call("POST", &format!("/containers/{id}/exec"), Some(&request))?;
    let exec = text(&made, "Id")?;
    engine.exec_output(exec)?;
    let ended = engine.call("GET", &format!("/exec/{exec}/json"), None)?;
    match ended["ExitCode"].as_i64() {
        Some(0) => Ok(()),
        other => bail!("an exec of the floor ended with {other:?}"),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let found = value[key].as_str();
    found.with_context(|| format!("the daemon's answer has no `{key}`: {value}"))
}

/// The same hardening that a sandbox of ours gets, since it costs time.
fn container(image: &str) -> Value {
    json!({
        "Image": image,
        "Entrypoint": ["sleep"],
        "Cmd": ["86400"],
        "NetworkDisabled": true,
        "StopSignal": "SIGKILL",
        "Labels": {"harness.bench": "floor"},
        "HostConfig": {
            "NetworkMode": "none",
            "IpcMode": "private",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "PidsLimit": 64,
            "Memory": 134_217_728,
            "MemorySwap": 134_217_728,
            "NanoCpus": 1_000_000_000,
            "LogConfig": {"Type": "none"},
        },
    })
}
