//! The runner over fakes: whole runs under paused time.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::unnecessary_wraps,
    clippy::single_match_else,
    reason = "these are tests; answers of models are results wherever they are written down"
)]

mod ahead;
mod failing;
mod keeping;
mod laws;
mod models;
mod rescoring;
mod sandbox;
mod scoring;
mod solving;
mod stopping;
mod terminal;
mod tooling;
mod world;
