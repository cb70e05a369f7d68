//! What the daemon is asked for, from what a task asks for.
//!
//! Owns: the hardening of containers. Must not: talk to the daemon.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, ResourcesUlimits};
use harness_core::ports::SandboxLabels;
use harness_core::sandbox::{NetworkPolicy, Resources, SandboxSpec};

use crate::helper::{self, HelperProgram};
use crate::scripts;

/// Label: the run.
pub(crate) const LABEL_RUN: &str = "harness.run";
/// Label: the attempt.
pub(crate) const LABEL_ATTEMPT: &str = "harness.attempt";
/// Label: when anybody may remove it.
pub(crate) const LABEL_EXPIRES: &str = "harness.expires";
/// Label: the boot of the host that made it.
pub(crate) const LABEL_BOOT: &str = "harness.boot";
/// Label: the user of the agent's commands, as the daemon takes it.
pub(crate) const LABEL_USER: &str = "harness.user";
/// Label: the folder of the agent's commands.
pub(crate) const LABEL_WORKDIR: &str = "harness.workdir";
/// Label of containers that are services beside a sandbox.
pub(crate) const LABEL_SERVICE: &str = "harness.service";
/// Label of networks: what they are for.
pub(crate) const LABEL_NETWORK: &str = "harness.network";
/// Label of volumes: the digest of the helper in it.
pub(crate) const LABEL_HELPER: &str = "harness.helper";
/// Label: the provider that made it, so that it hears only of its own.
pub(crate) const LABEL_OWNER: &str = "harness.owner";

/// Capabilities of root processes (setup, scorers) in a sandbox whose agent is not root. The agent's own
/// processes have none: the kernel drops them when the user changes.
const ROOT_CAPABILITIES: [&str; 4] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL"];
/// What the helper needs besides, to start commands as the task's user.
const HELPER_CAPABILITIES: [&str; 2] = ["SETGID", "SETUID"];
/// The one network of all sandboxes that may reach everything.
pub(crate) const OPEN_NETWORK: &str = "harness-open";
/// Below what daemons without resource rights may set.
const OPEN_FILES: i64 = 4096;

/// The name of every sandbox's host: the same each time, so that what an agent sees is too.
pub(crate) const HOST_NAME: &str = "sandbox";

/// Whether the daemon can bound the growth of a container's file system itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskQuota {
    /// By `storage-opt size`.
    Supported,
    /// Not with this storage driver.
    Unsupported,
}

/// What runs first in a container.
#[derive(Clone, Copy, Debug)]
pub(crate) enum First<'a> {
    /// A shell that waits for ever.
    Keeper,
    /// The helper, with the text of `/etc/hosts`.
    Helper(&'a HelperProgram, &'a str),
}

/// What root's processes in a container may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootPowers {
    /// A few capabilities: setup, scorers and services, where the agent is not root.
    Few,
    /// None at all, where the agent is root itself.
    None,
}

/// What a container is made from.
pub(crate) struct ContainerPlan<'a> {
    /// What the task asks for.
    pub(crate) spec: &'a SandboxSpec,
    /// The image.
    pub(crate) image: &'a str,
    /// What root's processes may.
    pub(crate) root: RootPowers,
    /// Its labels.
    pub(crate) labels: HashMap<String, String>,
    /// What runs first.
    pub(crate) first: First<'a>,
    /// The id of the daemon's network that it is on, if it is on any.
    pub(crate) network: Option<&'a str>,
    /// What the daemon can do about the disk.
    pub(crate) quota: DiskQuota,
    /// How many processors it gets: no more than there are.
    pub(crate) cpus: f64,
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
    let helped = matches!(plan.first, First::Helper(..));
    let env = plan
        .spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        image: Some(plan.image.to_owned()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        entrypoint: Some(match plan.first {
            First::Keeper => scripts::keeper(),
            First::Helper(_, hosts) => [helper::PROGRAM, "init", hosts].map(str::to_owned).to_vec(),
        }),
        open_stdin: Some(helped),
        attach_stdin: Some(helped),
        attach_stdout: Some(helped),
        attach_stderr: Some(helped),
        cmd: Some(Vec::new()),
        env: Some(env.collect()),
        stop_signal: Some("SIGKILL".to_owned()),
        hostname: Some(HOST_NAME.to_owned()),
        // Besides loopback there is nothing; the daemon then neither tells the host's name servers nor spends
        // a third of the starting time on a network of nothing. Services and the allow-list go over the helper.
        network_disabled: Some(plan.network.is_none()),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        host_config: Some(host_config(&plan)),
        labels: Some(plan.labels),
        ..ContainerCreateBody::default()
    }
}

/// Returns whether a sandbox may reach everything.
pub(crate) fn is_open(spec: &SandboxSpec) -> bool {
    match spec.network {
        NetworkPolicy::Open => true,
        NetworkPolicy::None | NetworkPolicy::Internal | NetworkPolicy::Allow(_) => false,
    }
}

fn host_config(plan: &ContainerPlan<'_>) -> HostConfig {
    let Resources {
        memory, pids, disk, ..
    } = &plan.spec.resources;
    let memory = as_i64(memory.0);
    HostConfig {
        network_mode: Some(plan.network.unwrap_or("none").to_owned()),
        ipc_mode: Some("private".to_owned()),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: capabilities(plan),
        mounts: match plan.first {
            First::Keeper => None,
            First::Helper(program, _) => Some(vec![program.mount()]),
        },
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        pids_limit: Some(i64::from(*pids)),
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some(nano_cpus(plan.cpus)),
        ulimits: Some(vec![
            ulimit("nofile", OPEN_FILES),
            ulimit("core", 0),
            ulimit("fsize", as_i64(disk.0)),
        ]),
        storage_opt: storage_opt(plan.quota, disk.0),
        runtime: Some(plan.spec.runtime.name().to_owned()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..HostConfig::default()
    }
}

fn capabilities(plan: &ContainerPlan<'_>) -> Option<Vec<String>> {
    let helpers: &[&str] = match plan.first {
        First::Keeper => &[],
        First::Helper(..) => &HELPER_CAPABILITIES,
    };
    let all = ROOT_CAPABILITIES.iter().chain(helpers);
    (plan.root == RootPowers::Few).then(|| all.map(|name| (*name).to_owned()).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use harness_core::sandbox::{ImageSource, Runtime};
    use harness_core::units::Bytes;
    use pretty_assertions::assert_eq;
    use std::collections::BTreeMap;

    fn spec() -> SandboxSpec {
        SandboxSpec {
            image: ImageSource::Named("x:1".to_owned()),
            network: NetworkPolicy::None,
            services: BTreeMap::new(),
            files: BTreeMap::new(),
            setup: Vec::new(),
            env: BTreeMap::new(),
            user: "agent".to_owned(),
            workdir: "/home/agent".to_owned(),
            resources: Resources {
                cpus: 1.5,
                memory: Bytes(100),
                pids: 7,
                disk: Bytes(200),
            },
            runtime: Runtime::Crun,
        }
    }

    fn hardened(root: RootPowers, quota: DiskQuota) -> HostConfig {
        hardened_on(Runtime::Crun, root, quota)
    }

    fn hardened_on(runtime: Runtime, root: RootPowers, quota: DiskQuota) -> HostConfig {
        let spec = SandboxSpec { runtime, ..spec() };
        let plan = ContainerPlan {
            spec: &spec,
            image: "sha256:0",
            root,
            labels: HashMap::new(),
            quota,
            cpus: 1.5,
            first: First::Keeper,
            network: None,
        };
        container(plan).host_config.unwrap()
    }

    #[test]
    fn a_container_gets_what_was_asked_and_nothing_else() {
        let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>());
        let expected = HostConfig {
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            privileged: Some(false),
            cap_drop: list(&["ALL"]),
            cap_add: list(&["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL"]),
            security_opt: list(&["no-new-privileges:true"]),
            pids_limit: Some(7),
            memory: Some(100),
            memory_swap: Some(100),
            nano_cpus: Some(1_500_000_000),
            ulimits: Some(vec![
                ulimit("nofile", 4096),
                ulimit("core", 0),
                ulimit("fsize", 200),
            ]),
            storage_opt: Some([("size".to_owned(), "200".to_owned())].into()),
            runtime: Some("crun".to_owned()),
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_owned()),
                config: None,
            }),
            ..HostConfig::default()
        };
        assert_eq!(hardened(RootPowers::Few, DiskQuota::Supported), expected);
        let of_root = HostConfig {
            cap_add: None,
            storage_opt: None,
            ..expected
        };
        assert_eq!(hardened(RootPowers::None, DiskQuota::Unsupported), of_root);
        for runtime in [Runtime::Runc, Runtime::Runsc] {
            let named = HostConfig {
                runtime: Some(runtime.name().to_owned()),
                ..of_root.clone()
            };
            let found = hardened_on(runtime, RootPowers::None, DiskQuota::Unsupported);
            assert_eq!(found, named, "never the daemon's default, which may be another");
        }
    }
}
