//! `cargo xtask runtimes`: runtimes that are installed become known to the machine's Docker daemon.
//!
//! Owns: which runtimes those are, and the order of the steps. Must not: install anything, or restart the daemon: a
//! reload leaves running containers alone.

mod daemon;
mod daemon_json;
mod wrapper;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::engine::Engine;
use crate::workshop;
use daemon::Daemon;
use wrapper::Wrapper;

/// What is done about runtimes that the daemon does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Those that are installed are made known.
    Register,
    /// They are named, and that is a failure.
    Check,
}

/// What is so of a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The daemon knows it, by this program.
    Known(PathBuf),
    /// Its program is there, and the daemon does not know it.
    Installed(PathBuf),
    NotInstalled,
}

impl State {
    fn describe(&self, name: &str) -> String {
        match self {
            Self::Known(path) => format!("{name}: the daemon knows it ({})", path.display()),
            Self::Installed(program) => {
                format!(
                    "{name}: installed ({}), the daemon does not know it",
                    program.display()
                )
            }
            Self::NotInstalled => format!("{name}: not installed (on Debian: apt-get install {name})"),
        }
    }
}

/// Registers runtimes, or says what is missing.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let mut engine = Engine::connect()?;
    let states = states(&daemon::runtimes(&mut engine)?);
    for (wrapper, state) in &states {
        println!("{}", state.describe(wrapper.name()));
    }
    match mode {
        Mode::Check => check(&states),
        Mode::Register => register(&mut engine, &states),
    }
}

fn states(known: &BTreeMap<String, PathBuf>) -> Vec<(Wrapper, State)> {
    let state = |wrapper: Wrapper| {
        let name = wrapper.name();
        match (known.get(name), workshop::find_program(name)) {
            (Some(path), _) => State::Known(path.clone()),
            (None, Some(program)) => State::Installed(program),
            (None, None) => State::NotInstalled,
        }
    };
    Wrapper::ALL.map(|wrapper| (wrapper, state(wrapper))).into()
}

fn check(states: &[(Wrapper, State)]) -> Result<()> {
    let known = |state: &State| matches!(state, State::Known(_));
    let unknown = states.iter().filter(|(_, state)| !known(state));
    let names: Vec<&str> = unknown.map(|(wrapper, _)| wrapper.name()).collect();
    if names.is_empty() {
        return Ok(());
    }
    bail!(
        "the Docker daemon does not know {}; install what is missing and run `cargo xtask runtimes` as root",
        names.join(" and ")
    );
}

fn register(engine: &mut Engine, states: &[(Wrapper, State)]) -> Result<()> {
    let old = outdated(states);
    let new: Vec<(Wrapper, PathBuf)> = states.iter().filter_map(new_one).collect();
    if old.is_empty() && new.is_empty() {
        println!("nothing to do");
        return Ok(());
    }
    if !workshop::is_root() {
        bail!(
            "registering runtimes writes below {} and to the daemon's settings, and reloads the daemon: \
             run `cargo xtask runtimes` as root",
            wrapper::FOLDER
        );
    }
    for (wrapper, program) in old.iter().chain(&new) {
        wrapper.write(program)?;
        println!("wrote {}", wrapper.path().display());
    }
    if new.is_empty() {
        return Ok(());
    }
    let wrappers: Vec<Wrapper> = new.iter().map(|(wrapper, _)| *wrapper).collect();
    make_known(engine, &wrappers)
}

fn new_one((wrapper, state): &(Wrapper, State)) -> Option<(Wrapper, PathBuf)> {
    match state {
        State::Installed(program) => Some((*wrapper, program.clone())),
        State::Known(_) | State::NotInstalled => None,
    }
}

/// Returns the wrappers of ours that the daemon uses and that an earlier version wrote differently.
fn outdated(states: &[(Wrapper, State)]) -> Vec<(Wrapper, PathBuf)> {
    let old = states.iter().filter_map(|(wrapper, state)| {
        let State::Known(path) = state else { return None };
        let program = workshop::find_program(wrapper.name())?;
        let differs = *path == wrapper.path()
            && fs::read_to_string(path).ok().as_deref() != Some(&wrapper.text(&program));
        differs.then_some((*wrapper, program))
    });
    old.collect()
}

fn make_known(engine: &mut Engine, wrappers: &[Wrapper]) -> Result<()> {
    let daemon = Daemon::find()?;
    let wanted: Vec<(&str, PathBuf)> = wrappers
        .iter()
        .map(|wrapper| (wrapper.name(), wrapper.path()))
        .collect();
    let edit = daemon_json::add(&daemon.settings, &wanted)?;
    let names: Vec<&str> = wrappers.iter().map(|wrapper| wrapper.name()).collect();
    let reloaded = daemon.reload(engine, &names);
    if reloaded.is_err()
        && let Some(edit) = edit
    {
        // Settings that the daemon does not take could keep it from its next start.
        edit.undo()?;
        println!("put {} back as it was", daemon.settings.display());
    }
    reloaded?;
    println!("the daemon knows {} now", names.join(" and "));
    Ok(())
}
