//! The runner over fakes: whole runs under paused time.

mod failing;
mod laws;
mod models;
mod rescoring;
mod sandbox;
mod scoring;
mod solving;
mod stopping;
mod tooling;
mod world;
