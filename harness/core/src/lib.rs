//! Nouns and decisions of `harness`.
//!
//! Pure: text, time, seeds and observations come in as arguments; values go out. No file system, environment,
//! network, clock, random generator or async runtime (`clippy.toml` beside this crate bans them).

pub mod ids;
pub mod text;
pub mod units;

pub mod model;
pub mod sandbox;
pub mod scaffold;
pub mod suite;
pub mod surface;
pub mod task;

pub mod egress;
pub mod event;
pub mod outcome;
pub mod score;

pub mod ports;

pub mod capture;
pub mod files;
pub mod prompt;
pub mod template;
pub mod terminal;
pub mod tools;

pub mod agent;
pub mod plan;
pub mod schedule;
pub mod scoring;

pub mod fold;
pub mod formats;
pub mod stats;
