//! The base images of the shipped tasks.
//!
//! Owns: seeing what is missing, and having it made. Must not: know how an image is made; `harness images` does.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::engine::Engine;
use crate::workshop;

/// The images that the shipped tasks name.
pub(crate) const BASE_IMAGES: [&str; 2] = ["harness/busybox:1", "harness/python:1"];
/// What making them needs: a program, and the Debian package it is in.
const TOOLS: [(&str, &str); 2] = [("busybox", "busybox-static"), ("mmdebstrap", "mmdebstrap")];

/// Makes the base images that are missing.
pub(crate) fn provide(harness: &Path, engine: &mut Engine) -> Result<()> {
    let mut missing = Vec::new();
    for image in BASE_IMAGES {
        if !engine.has_image(image)? {
            missing.push(image);
        }
    }
    if missing.is_empty() {
        eprintln!("base images are there: {}", BASE_IMAGES.join(", "));
        return Ok(());
    }
    eprintln!("base images are missing: {}", missing.join(", "));
    provide_tools()?;
    let mut build = Command::new(harness);
    workshop::succeed(build.args(["images", "build"]))
}

/// Installs the programs that images are made with, where that is possible and after saying so.
fn provide_tools() -> Result<()> {
    let missing = TOOLS
        .iter()
        .filter(|(program, _)| !workshop::has_program(program));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    if !(workshop::is_root() && workshop::has_program("apt-get")) {
        bail!(
            "base images are made with {wanted}: install that (on Debian as root: apt-get install {wanted})"
        );
    }
    for arguments in [
        vec!["update"],
        [vec!["install", "--yes", "--no-install-recommends"], packages].concat(),
    ] {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        eprintln!("running `{}`", workshop::show(&command));
        workshop::succeed(&mut command)?;
    }
    Ok(())
}
