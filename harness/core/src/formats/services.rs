//! `sandbox.services`: further containers of a task.
//!
//! Owns: their shape, and which names they may have. Must not: know how they are reached.

use std::collections::BTreeMap;

use super::Folder;
use super::paths::{FileMapWire, file_map};
use super::reader::Reader;
use super::sandbox::{Build, env, image};
use super::tree::{Key, quoted};
use super::wire::{At, Keyed, Text, record};
use crate::sandbox::{Healthcheck, ServiceSpec};

/// The most services of one task.
const MOST_SERVICES: usize = 8;
/// A service that is not ready after ten minutes never will be.
const MOST_RETRIES: u32 = 600;
/// Names that mean something else inside a sandbox.
const TAKEN_NAMES: [&str; 3] = ["localhost", "proxy", "sandbox"];

record! {
    /// How one knows that a service is ready.
    HealthcheckWire {
        /// Shell text that succeeds when it is.
        run: required Text,
        /// How often it is tried, a second apart.
        retries: optional u32,
    }
}

record! {
    /// A further container on the task's own network.
    Service {
        /// An image with a tag.
        image: optional Text,
        /// An image that is built.
        build: optional Build,
        /// What it runs.
        command: optional Vec<String>,
        /// Its files: container path to path in the task's folder.
        files: optional FileMapWire,
        /// Variables of its command and its health check.
        env: optional Keyed<String>,
        /// How one knows that it is ready.
        healthcheck: optional HealthcheckWire,
    }
}

/// Decodes the services. Unreadable parts take their defaults; they were reported.
pub(super) fn services(
    wire: Option<&At<Keyed<Service>>>,
    folder: &Folder<'_>,
    reader: &mut Reader<'_>,
) -> BTreeMap<String, ServiceSpec> {
    let mut services = BTreeMap::new();
    for (index, (key, service)) in wire.iter().flat_map(|wire| &wire.value.0).enumerate() {
        if index == MOST_SERVICES {
            let message = format!("there are more than {MOST_SERVICES} services");
            reader.error(key.span, message, Some("let one container do several jobs"));
        }
        check_name(key, reader);
        let spec = ServiceSpec {
            image: image(
                service.image.as_ref(),
                service.build.as_ref(),
                key.span,
                folder,
                reader,
            ),
            command: service
                .command
                .as_ref()
                .map(|at| at.value.clone())
                .unwrap_or_default(),
            files: file_map(service.files.as_ref(), folder.files, reader),
            env: env(service.env.as_ref(), reader),
            healthcheck: healthcheck(service.healthcheck.as_ref(), reader),
        };
        check_command(service.command.as_ref(), reader);
        services.insert(key.text.clone(), spec);
    }
    services
}

/// A service's name is its host name, so it must not look like an address (`1`, `0x7f`) either.
fn check_name(key: &Key, reader: &mut Reader<'_>) {
    let name = key.text.as_str();
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.len() <= 63;
    let hint = if !plain {
        "its name is its host name: at most 63 lower-case letters, digits and `-`, beginning with a letter"
    } else if TAKEN_NAMES.contains(&name) {
        "this name means something else inside a sandbox; choose another"
    } else {
        return;
    };
    reader.error(
        key.span,
        format!("{} cannot name a service", quoted(name)),
        Some(hint),
    );
}

fn check_command(command: Option<&At<Vec<String>>>, reader: &mut Reader<'_>) {
    let Some(command) = command else { return };
    if command.value.iter().any(|word| word.contains('\0')) {
        reader.error(command.span, "a command cannot hold NUL", None);
    } else if command
        .value
        .first()
        .is_some_and(|program| program.trim().is_empty())
    {
        let hint = "leave `command` out for the image's own";
        reader.error(command.span, "the command has no program", Some(hint));
    }
}

fn healthcheck(wire: Option<&At<HealthcheckWire>>, reader: &mut Reader<'_>) -> Option<Healthcheck> {
    let check = wire?;
    let retries = check.retries.as_ref().map_or(20, |at| at.value);
    if retries == 0 {
        reader.error(check.key, "`retries` is zero", None);
    } else if retries > MOST_RETRIES {
        let message = format!("`retries` is above {MOST_RETRIES}");
        reader.error(check.key, message, Some("a retry takes a second at least"));
    }
    Some(Healthcheck {
        run: check.run.as_ref()?.value.0.clone(),
        retries,
    })
}
