//! Sandboxes in containers through the Docker Engine API.
//!
//! Owns: images, containers, commands and files in them, and what is left behind. Must not: run the docker
//! command line, open a network to anything but the daemon's socket, or decide what a failure means.

mod base;
mod build;
mod clock;
mod collect;
mod config;
mod daemon_terminal;
mod debian;
mod disk;
mod errors;
mod events;
mod exec;
mod facts;
mod facts_log;
mod files;
mod gc;
mod helped;
mod helper;
mod images;
mod kept;
mod kill;
mod link;
mod net;
mod open_network;
mod output;
mod pace;
mod provider;
mod removal;
mod sandbox;
mod scripts;
mod services;
mod settings;
mod tarball;

pub use base::{BASE_IMAGES, BaseImage, BaseRecipe, is_base_name};
pub use gc::{Leftover, LeftoverKind};
pub use images::{ImageStatus, Progress};
pub use kept::KeptContainer;
pub use provider::DockerProvider;
pub use settings::{DockerSettings, Helper, PullPolicy};
