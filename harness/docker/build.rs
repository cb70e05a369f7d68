//! Builds the helper that runs inside sandboxes, statically, so that the library can carry it.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let guest = here.join("../guest");
    for path in ["src", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", guest.join(path).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let target = env::var("TARGET")?;
    let folder = shared_target(&out);
    build(&guest, &folder, &target)?;
    let built = folder.join(&target).join("guest/harness-guest");
    fs::copy(&built, out.join("harness-guest")).map_err(|error| format!("{}: {error}", built.display()))?;
    println!(
        "cargo:rustc-env=HARNESS_GUEST={}",
        out.join("harness-guest").display()
    );
    Ok(())
}

/// Returns a target folder that all profiles of one workspace share: the helper is the same in each.
fn shared_target(out: &Path) -> PathBuf {
    // target/PROFILE/build/PACKAGE/out
    let target = out.ancestors().nth(4).unwrap_or(out);
    target.join("helper")
}

fn build(guest: &Path, folder: &Path, target: &str) -> Result<(), Box<dyn Error>> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args([
            "build",
            "--quiet",
            "--bin",
            "harness-guest",
            "--features",
            "program",
            "--profile",
            "guest",
        ])
        .args(["--target", target])
        .arg("--manifest-path")
        .arg(guest.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(folder)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    for inherited in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        cargo.env_remove(inherited);
    }
    let status = cargo.status()?;
    if status.success() {
        return Ok(());
    }
    Err("the helper of sandboxes could not be built statically; it needs the C library as an archive (Debian: libc6-dev, Fedora: glibc-static)".into())
}
