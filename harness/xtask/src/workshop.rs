//! Where things lie, and which programs are there.
//!
//! Owns: the folders of this checkout, and looking for programs. Must not: change anything.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Returns the root folder of the checkout.
pub(crate) fn root() -> Result<PathBuf> {
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = package.ancestors().nth(2).map(Path::to_path_buf);
    root.filter(|root| root.join("Cargo.toml").is_file())
        .context("no checkout found; start this as `cargo xtask`")
}

/// Returns the folder that cargo builds into.
pub(crate) fn target() -> Result<PathBuf> {
    let program = env::current_exe().context("where is this program?")?;
    let target = program.ancestors().nth(2).map(Path::to_path_buf);
    target.context("no build folder found; start this as `cargo xtask`")
}

/// Returns a command that cargo executes at the root of the checkout.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root);
    command
}

/// How `harness` is built.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Build {
    /// Quickly.
    Dev,
    /// For measurements.
    Release,
}

/// Builds `harness` and returns where it lies.
pub(crate) fn build_harness(root: &Path, build: Build) -> Result<PathBuf> {
    let mut arguments = vec!["build", "--quiet", "--package", "harness", "--bin", "harness"];
    let folder = match build {
        Build::Dev => "debug",
        Build::Release => {
            arguments.push("--release");
            "release"
        }
    };
    succeed(&mut cargo(root, &arguments))?;
    let program = target()?.join(folder).join("harness");
    if !program.is_file() {
        bail!("`harness` was built, but is not at {}", program.display());
    }
    Ok(program)
}

/// Builds the release of a package's example and returns where it lies.
pub(crate) fn build_example(root: &Path, package: &str, name: &str) -> Result<PathBuf> {
    let arguments = [
        "build",
        "--quiet",
        "--release",
        "--package",
        package,
        "--example",
        name,
    ];
    succeed(&mut cargo(root, &arguments))?;
    Ok(target()?.join("release/examples").join(name))
}

/// Runs a command with this terminal, and fails if it does.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("failed to start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Returns a command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Tells whether a program is on the path.
pub(crate) fn has_program(name: &str) -> bool {
    find_program(name).is_some()
}

/// Returns where a program lies, if it is on the path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut places = env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|program| program.is_file())
}

/// Tells whether this program runs as root: its effective user owns its folder in /proc.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Tells whether this is a CI machine.
pub(crate) fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| !["", "0", "false"].contains(&value.as_str()))
}
