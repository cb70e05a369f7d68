//! Sandboxes in containers through the Docker Engine API.
//!
//! Owns: images, containers, commands and files in them, and what is left behind. Must not: run the docker
//! command line, open a network to anything but the daemon's socket, or decide what a failure means.

mod base;
mod build;
mod config;
mod debian;
mod errors;
mod events;
mod exec;
mod facts;
mod files;
mod gc;
mod images;
mod kill;
mod output;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the provider still limits its calls by a fixed number")
)]
mod pace;
mod provider;
mod sandbox;
mod scripts;
mod settings;
mod tarball;

pub use base::{BASE_IMAGES, BaseImage, BaseRecipe, is_base_name};
pub use gc::{Leftover, LeftoverKind};
pub use images::{ImageStatus, Progress};
pub use provider::DockerProvider;
pub use settings::{DockerSettings, PullPolicy};
