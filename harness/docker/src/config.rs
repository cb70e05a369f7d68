//! What the daemon is asked for, from what a task asks for.
//!
//! Owns: the hardening of containers. Must not: talk to the daemon.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, ResourcesUlimits};
use harness_core::ports::{SandboxError, SandboxLabels};
use harness_core::sandbox::{NetworkPolicy, Resources, Runtime, SandboxSpec};

use crate::scripts;

/// Label: the run.
pub(crate) const LABEL_RUN: &str = "harness.run";
/// Label: the attempt.
pub(crate) const LABEL_ATTEMPT: &str = "harness.attempt";
/// Label: when anybody may remove it.
pub(crate) const LABEL_EXPIRES: &str = "harness.expires";
/// Label: the boot of the host that made it.
pub(crate) const LABEL_BOOT: &str = "harness.boot";
/// Label: the provider that made it, so that it hears only of its own.
pub(crate) const LABEL_OWNER: &str = "harness.owner";

/// Capabilities of root processes (setup, scorers) in a sandbox whose agent is not root. The agent's own
/// processes have none: the kernel drops them when the user changes.
const ROOT_CAPABILITIES: [&str; 4] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL"];
/// Below what daemons without resource rights may set.
const OPEN_FILES: i64 = 4096;

/// Whether the daemon can bound the growth of a container's file system itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskQuota {
    /// By `storage-opt size`.
    Supported,
    /// Not with this storage driver.
    Unsupported,
}

/// What a container is made from.
pub(crate) struct ContainerPlan<'a> {
    /// What the task asks for.
    pub(crate) spec: &'a SandboxSpec,
    /// The image.
    pub(crate) image: &'a str,
    /// The user's number; root gets no capabilities at all.
    pub(crate) uid: u64,
    /// Its labels.
    pub(crate) labels: HashMap<String, String>,
    /// What the daemon can do about the disk.
    pub(crate) quota: DiskQuota,
}

/// Refuses what this provider cannot do.
pub(crate) fn check_supported(spec: &SandboxSpec) -> Result<(), SandboxError> {
    let refuse = |what: &str| {
        Err(SandboxError::Unsupported {
            what: what.to_owned(),
        })
    };
    match &spec.network {
        NetworkPolicy::None => {}
        NetworkPolicy::Internal => return refuse("network `internal`; use `none`"),
        NetworkPolicy::Allow(_) => return refuse("network `allow`; use `none`"),
        NetworkPolicy::Open => return refuse("network `open`; use `none`"),
    }
    if !spec.services.is_empty() {
        return refuse("services beside the sandbox; start them from `setup` instead");
    }
    Ok(())
}

/// Returns the labels of a sandbox.
pub(crate) fn labels(labels: &SandboxLabels, boot: &str, owner: &str) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_RUN.to_owned(), labels.run.to_string()),
        (LABEL_ATTEMPT.to_owned(), labels.attempt.to_string()),
        (LABEL_EXPIRES.to_owned(), labels.expires.to_string()),
        (LABEL_BOOT.to_owned(), boot.to_owned()),
        (LABEL_OWNER.to_owned(), owner.to_owned()),
    ])
}

/// Returns the request for a hardened container.
pub(crate) fn container(plan: ContainerPlan<'_>) -> ContainerCreateBody {
    let env = plan
        .spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(plan.image.to_owned()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        entrypoint: Some(scripts::keeper()),
        cmd: Some(Vec::new()),
        env: Some(env.collect()),
        stop_signal: Some("SIGKILL".to_owned()),
        network_disabled: Some(true),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(
            &plan.spec.resources,
            plan.spec.runtime,
            plan.uid,
            plan.quota,
        )),
        labels: Some(plan.labels),
        ..ContainerCreateBody::default()
    }
}

fn host_config(resources: &Resources, runtime: Runtime, uid: u64, quota: DiskQuota) -> HostConfig {
    let memory = as_i64(resources.memory.0);
    let disk = as_i64(resources.disk.0);
    HostConfig {
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("private".to_owned()),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: (uid != 0).then(|| ROOT_CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        pids_limit: Some(i64::from(resources.pids)),
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some(nano_cpus(resources.cpus)),
        ulimits: Some(vec![
            ulimit("nofile", OPEN_FILES),
            ulimit("core", 0),
            ulimit("fsize", disk),
        ]),
        storage_opt: storage_opt(quota, resources.disk.0),
        runtime: match runtime {
            Runtime::Runc => None,
            Runtime::Crun | Runtime::Runsc => Some(runtime.name().to_owned()),
        },
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..HostConfig::default()
    }
}

/// Returns the storage option that bounds a container's file system.
pub(crate) fn storage_opt(quota: DiskQuota, bytes: u64) -> Option<HashMap<String, String>> {
    match quota {
        DiskQuota::Supported => Some(HashMap::from([("size".to_owned(), bytes.to_string())])),
        DiskQuota::Unsupported => None,
    }
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(value),
        hard: Some(value),
    }
}

fn as_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nano_cpus(cpus: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "float to integer casts saturate")]
    let nanos = (cpus * 1e9).round() as i64;
    nanos.max(0)
}
