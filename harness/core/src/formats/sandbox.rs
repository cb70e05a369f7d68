//! `sandbox`: the container of an attempt.
//!
//! Owns: its shape, images, networks and resources (services have a module of their own). Must not: know Docker.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Folder;
use super::paths::{FileMapWire, Want, container_path, file_map, folder_path};
use super::reader::Reader;
use super::services::{Service, services};
use super::source::Span;
use super::suggest;
use super::tree::{Kind, Node, quoted};
use super::wire::{At, Definitions, Keyed, Text, Wire, expected, record, words};
use crate::egress::Pattern;
use crate::sandbox::{ImageSource, NetworkPolicy, Resources, Runtime, SandboxSpec};
use crate::task::FileMap;
use crate::units::Bytes;

/// The images that the harness builds itself.
const OWN_IMAGES: [&str; 2] = ["harness/busybox:1", "harness/python:1"];
/// Docker refuses less.
const LEAST_MEMORY: Bytes = Bytes(6 << 20);

words!(Runtime { "runc" => Runtime::Runc, "crun" => Runtime::Crun, "runsc" => Runtime::Runsc });

record! {
    /// An image that is built from the task's folder.
    Build {
        /// The folder in the task's folder.
        context: required String,
        /// The Dockerfile in that folder.
        dockerfile: optional String,
    }
}

record! {
    /// What a container may use.
    ResourcesWire {
        /// Processor cores.
        cpus: optional f64,
        /// Memory, swap included.
        memory: optional Bytes,
        /// Processes and threads.
        pids: optional u32,
        /// Growth of its file system.
        disk: optional Bytes,
    }
}

record! {
    /// Hosts that can be reached through the proxy.
    AllowList {
        /// Patterns such as `example.org:443` or `*.example.org:*`.
        allow: required Vec<At<String>>,
    }
}

record! {
    /// The container of an attempt.
    Sandbox {
        /// An image with a tag, such as `harness/python:1`.
        image: optional Text,
        /// An image that is built from the task's folder.
        build: optional Build,
        /// none, internal (where there are services, the default), open or a list of hosts.
        network: optional Network,
        /// Further containers on the task's own network.
        services: optional Keyed<Service>,
        /// Files of every sample: container path to path in the task's folder.
        files: optional FileMapWire,
        /// Shell commands, run as root before the agent; a failure voids the attempt.
        setup: optional Vec<Text>,
        /// Variables of every command.
        env: optional Keyed<String>,
        /// The user of the agent's commands.
        user: optional Text,
        /// The folder of the agent's commands.
        workdir: optional String,
        /// What it may use.
        resources: optional ResourcesWire,
        /// The container runtime.
        runtime: optional Runtime,
    }
}

/// What a sandbox can reach, as written.
#[derive(Clone, Debug)]
pub(super) enum Network {
    None,
    Internal,
    Open,
    Allow(Box<AllowList>),
}

words!(NetworkWord { "none" => NetworkWord::None, "internal" => NetworkWord::Internal, "open" => NetworkWord::Open });

#[derive(Clone, Copy)]
enum NetworkWord {
    None,
    Internal,
    Open,
}

impl Wire for Network {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => AllowList::read(node, reader).map(|list| Self::Allow(Box::new(list))),
            Kind::Scalar(_) => NetworkWord::read(node, reader).map(|word| match word {
                NetworkWord::None => Self::None,
                NetworkWord::Internal => Self::Internal,
                NetworkWord::Open => Self::Open,
            }),
            Kind::Null | Kind::List(_) => {
                expected(
                    "`none`, `internal`, `open` or `{allow: [host:port]}`",
                    node,
                    reader,
                );
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({"anyOf": [NetworkWord::schema(definitions), AllowList::schema(definitions)]})
    }
}

/// Decodes the sandbox. Unreadable parts take their defaults; they were reported.
pub(super) fn sandbox(wire: &At<Sandbox>, folder: &Folder<'_>, reader: &mut Reader<'_>) -> SandboxSpec {
    let services = services(wire.services.as_ref(), folder, reader);
    SandboxSpec {
        image: image(wire.image.as_ref(), wire.build.as_ref(), wire.key, folder, reader),
        network: network(wire.network.as_ref(), wire.services.as_ref(), reader),
        services,
        files: file_map(wire.files.as_ref(), folder.files, reader),
        setup: wire
            .setup
            .iter()
            .flat_map(|at| at.iter().map(|text| text.0.clone()))
            .collect(),
        env: env(wire.env.as_ref(), reader),
        user: user(wire.user.as_ref(), reader),
        workdir: wire
            .workdir
            .as_ref()
            .and_then(|at| container_path(&at.value, at.span, reader))
            .unwrap_or_else(|| "/home/agent".to_owned()),
        resources: resources(wire.resources.as_ref(), reader),
        runtime: wire.runtime.as_ref().map(|at| at.value).unwrap_or_default(),
    }
}

/// Reports container paths that both the sandbox and a sample fill.
pub(super) fn check_overlap(
    common: &FileMap,
    own: &FileMap,
    sample: &str,
    at: Span,
    reader: &mut Reader<'_>,
) {
    for path in own.keys().filter(|path| common.contains_key(*path)) {
        let message = format!(
            "sample {} and `sandbox.files` both fill {}",
            quoted(sample),
            quoted(path)
        );
        reader.error(at, message, Some("remove one of them"));
    }
}

pub(super) fn image(
    named: Option<&At<Text>>,
    build: Option<&At<Build>>,
    at: Span,
    folder: &Folder<'_>,
    reader: &mut Reader<'_>,
) -> ImageSource {
    if let (Some(_), Some(build)) = (named, build) {
        reader.error(build.key, "both `image` and `build`", Some("keep one of them"));
    }
    if let Some(image) = named {
        check_image(image, reader);
        return ImageSource::Named(image.value.0.clone());
    }
    if let Some(build) = build {
        return build_source(build, folder, reader);
    }
    if !reader.has_problem_in(at) {
        let hint = "write `image: harness/python:1` or `build: {context: env}`";
        reader.error(at, "there is neither `image` nor `build`", Some(hint));
    }
    ImageSource::Named(String::new())
}

fn build_source(build: &At<Build>, folder: &Folder<'_>, reader: &mut Reader<'_>) -> ImageSource {
    let dockerfile = build
        .dockerfile
        .as_ref()
        .map_or("Dockerfile", |at| at.value.as_str())
        .to_owned();
    let context = build
        .context
        .as_ref()
        .and_then(|at| folder_path(at, Want::Folder, folder.files, reader))
        .unwrap_or_default();
    let whole = format!("{context}/{dockerfile}");
    if !context.is_empty() && !folder.files.contains_key(&whole) {
        let span = build.dockerfile.as_ref().map_or(build.key, |at| at.span);
        reader.error(
            span,
            format!("{} does not exist in the folder", quoted(&whole)),
            None,
        );
    }
    ImageSource::Build { context, dockerfile }
}

fn check_image(image: &At<Text>, reader: &mut Reader<'_>) {
    let name = image.value.0.as_str();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
    if !name.chars().all(allowed) || name.starts_with(['-', '/', ':', '@']) || name.len() > 255 {
        reader.error(
            image.span,
            format!("{} is not an image's name", quoted(name)),
            None,
        );
    } else if name.starts_with("harness/") && !OWN_IMAGES.contains(&name) {
        let hint = suggest::hint(name, OWN_IMAGES);
        reader.error(image.span, format!("unknown image {}", quoted(name)), Some(&hint));
    } else if !name
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains([':', '@']))
    {
        let hint = "add a tag, such as `debian:bookworm-20240812`; without one it changes under you";
        reader.warn(
            image.span,
            format!("image {} has no tag", quoted(name)),
            Some(hint),
        );
    }
}

fn network(
    wire: Option<&At<Network>>,
    services: Option<&At<Keyed<Service>>>,
    reader: &mut Reader<'_>,
) -> NetworkPolicy {
    let names: Vec<&str> = services
        .iter()
        .flat_map(|at| at.value.0.iter().map(|(key, _)| key.text.as_str()))
        .collect();
    let policy = match wire.map(|at| &at.value) {
        Some(Network::None) => NetworkPolicy::None,
        None if names.is_empty() => NetworkPolicy::None,
        // Services that nothing can reach are no use.
        None | Some(Network::Internal) => NetworkPolicy::Internal,
        Some(Network::Open) => NetworkPolicy::Open,
        Some(Network::Allow(list)) => {
            let patterns = list
                .allow
                .as_ref()
                .map(|at| at.value.as_slice())
                .unwrap_or_default();
            for pattern in patterns {
                check_pattern(pattern, &names, reader);
            }
            NetworkPolicy::Allow(patterns.iter().map(|at| at.value.clone()).collect())
        }
    };
    if let (Some(services), NetworkPolicy::None) = (services, &policy)
        && !names.is_empty()
    {
        let hint = "write `network: internal`, or leave `network` out";
        reader.error(
            services.key,
            "services cannot be reached with `network: none`",
            Some(hint),
        );
    }
    policy
}

/// Checks a pattern of the allow-list. A host without a dot is a service.
fn check_pattern(pattern: &At<String>, services: &[&str], reader: &mut Reader<'_>) {
    let text = pattern.value.as_str();
    if let Err(error) = Pattern::parse(text) {
        reader.error(pattern.span, error.to_string(), Some(error.problem.hint()));
        return;
    }
    let (host, _) = text.rsplit_once(':').unwrap_or((text, ""));
    if !host.contains(['.', '[']) && !services.contains(&host) {
        let hint = if services.is_empty() {
            "the task has no services; write a host's whole name".to_owned()
        } else {
            suggest::hint(host, services.iter().copied())
        };
        reader.error(
            pattern.span,
            format!("there is no service {}", quoted(host)),
            Some(&hint),
        );
    }
}

pub(super) fn env(wire: Option<&At<Keyed<String>>>, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (key, value) in wire.iter().flat_map(|at| &at.value.0) {
        let name = key.text.as_str();
        let plain = !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !plain {
            let hint = "letters, digits and `_`, not beginning with a digit";
            reader.error(
                key.span,
                format!("{} cannot name a variable", quoted(name)),
                Some(hint),
            );
        } else if name.starts_with("HARNESS_") {
            reader.error(
                key.span,
                format!("{} belongs to the harness", quoted(name)),
                Some("choose another name"),
            );
        } else if value.value.contains('\0') {
            reader.error(value.span, "a variable cannot hold NUL", None);
        }
        env.insert(name.to_owned(), value.value.clone());
    }
    env
}

fn user(wire: Option<&At<Text>>, reader: &mut Reader<'_>) -> String {
    let Some(user) = wire else {
        return crate::sandbox::DEFAULT_USER.to_owned();
    };
    let name = user.value.0.as_str();
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        || name.starts_with('-')
    {
        reader.error(user.span, format!("{} is not a user's name", quoted(name)), None);
    } else if matches!(name, "root" | "0") {
        let hint = "leave `user` out for an unprivileged one";
        reader.warn(user.span, "the agent works as root of its container", Some(hint));
    }
    name.to_owned()
}

fn resources(wire: Option<&At<ResourcesWire>>, reader: &mut Reader<'_>) -> Resources {
    let mut resources = Resources::default();
    let Some(wire) = wire else { return resources };
    if let Some(cpus) = &wire.cpus {
        if cpus.value < 0.01 || cpus.value > 1024.0 {
            reader.error(cpus.span, "`cpus` is not between 0.01 and 1024", None);
        }
        resources.cpus = cpus.value;
    }
    if let Some(memory) = &wire.memory {
        if memory.value < LEAST_MEMORY {
            reader.error(
                memory.span,
                "`memory` is below 6MiB",
                Some("containers do not start with less"),
            );
        }
        resources.memory = memory.value;
    }
    if let Some(pids) = &wire.pids {
        if pids.value == 0 {
            reader.error(pids.span, "`pids` is zero", None);
        }
        resources.pids = pids.value;
    }
    if let Some(disk) = &wire.disk {
        if disk.value == Bytes::ZERO {
            reader.error(disk.span, "`disk` is zero", None);
        }
        resources.disk = disk.value;
    }
    resources
}
