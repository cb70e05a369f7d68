//! What starting a sandbox needs to know of an image: the user's numbers, and whether the workdir is theirs.
//!
//! Owns: looking into images without running them, once per image. Must not: keep containers.

use std::sync::PoisonError;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptions;
use harness_core::ports::{PreparedImage, SandboxError};
use harness_core::sandbox::{DEFAULT_USER, SandboxSpec};
use tar::EntryType;

use crate::config::{self, DiskQuota};
use crate::errors::About;
use crate::files::Workdir;
use crate::pace::Lifecycle;
use crate::provider::{DockerProvider, Shared};
use crate::tarball::{self, Owner};

/// What a user and folder mean in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageFacts {
    /// The user's numbers.
    pub(crate) owner: Owner,
    /// Whether the workdir is there and theirs.
    pub(crate) workdir: Workdir,
    /// Whether the image lists the user, so that the daemon knows the name.
    pub(crate) listed: bool,
    /// The user's home; the workdir if the image names none.
    pub(crate) home: String,
    /// Further groups of the user.
    pub(crate) groups: Vec<u32>,
}

impl ImageFacts {
    /// Facts of a container whose image nobody looked into.
    pub(crate) fn unknown(workdir: &str) -> Self {
        Self {
            owner: Owner::ROOT,
            workdir: Workdir::Leave,
            listed: true,
            home: workdir.to_owned(),
            groups: Vec::new(),
        }
    }

    /// Returns the user as the daemon takes it.
    pub(crate) fn name(&self, user: &str) -> String {
        if self.listed {
            user.to_owned()
        } else {
            format!("{}:{}", self.owner.uid, self.owner.gid)
        }
    }
}

/// The numbers of the default user in an image that does not list it.
const UNLISTED: Owner = Owner { uid: 1000, gid: 1000 };

/// What facts are about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FactsKey {
    image: String,
    user: String,
    workdir: String,
}

impl DockerProvider {
    /// Returns what the spec's user and workdir mean in an image; looked up once.
    pub(crate) async fn facts(
        &self,
        image: &PreparedImage,
        spec: &SandboxSpec,
    ) -> Result<ImageFacts, SandboxError> {
        let key = FactsKey {
            image: image.id.clone(),
            user: spec.user.clone(),
            workdir: spec.workdir.clone(),
        };
        let known = {
            let facts = self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner);
            facts.get(&key).cloned()
        };
        if let Some(facts) = known
            && self.shared.known_quota().is_some()
        {
            return Ok(facts);
        }
        let maker = self.shared.maker(&format!("facts of {}", image.id));
        let _only_one = maker.lock().await;
        let facts = self.shared.look_into(image, spec).await?;
        let mut known = self.shared.facts.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, facts.clone());
        Ok(facts)
    }
}

impl Shared {
    /// Makes a container that never runs and looks at what the image holds. Another process may sweep it away
    /// meanwhile, since it belongs to no run; then it is made again.
    async fn look_into(&self, image: &PreparedImage, spec: &SandboxSpec) -> Result<ImageFacts, SandboxError> {
        let permit = self.pace.admit().await?;
        let looked = self.look_into_now(image, spec).await;
        permit.done(Lifecycle::Other, &looked);
        looked
    }

    async fn look_into_now(
        &self,
        image: &PreparedImage,
        spec: &SandboxSpec,
    ) -> Result<ImageFacts, SandboxError> {
        let mut tries = 3;
        loop {
            tries -= 1;
            let id = self.create_probe(&image.id).await?;
            let looked = self.look_at_user_and_workdir(&id, spec).await;
            self.remove_container(&id).await?;
            if tries == 0 || !matches!(looked, Err(SandboxError::Gone { .. })) {
                return looked;
            }
        }
    }

    async fn create_probe(&self, image: &str) -> Result<String, SandboxError> {
        if self.known_quota().is_none() {
            let body = self.probe_body(image, DiskQuota::Supported);
            if let Ok(created) = self
                .docker
                .create_container(None::<CreateContainerOptions>, body)
                .await
            {
                self.set_quota(DiskQuota::Supported);
                return Ok(created.id);
            }
        }
        let quota = self.known_quota().unwrap_or(DiskQuota::Unsupported);
        let body = self.probe_body(image, quota);
        let created = self
            .docker
            .create_container(None::<CreateContainerOptions>, body)
            .await;
        let id = created
            .map_err(|error| self.error(&error, "create a container", About::Image(image)))?
            .id;
        self.set_quota(quota);
        Ok(id)
    }

    fn set_quota(&self, quota: DiskQuota) {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
    }

    fn probe_body(&self, image: &str, quota: DiskQuota) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["/bin/sh".to_owned()]),
            labels: Some(self.probe_labels()),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                storage_opt: config::storage_opt(quota, 1 << 30),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    /// Reads a small text file of a container; `None` if there is none.
    async fn first_file(&self, container: &str, path: &str) -> Result<Option<String>, SandboxError> {
        const LONGEST: usize = 1 << 20;
        let beginning = match self.beginning_of(container, path, tarball::needed(LONGEST)).await {
            Ok(bytes) => bytes,
            Err(SandboxError::File { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let file = tarball::first_file(&beginning, LONGEST).ok();
        Ok(file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()))
    }

    async fn look_at_user_and_workdir(
        &self,
        container: &str,
        spec: &SandboxSpec,
    ) -> Result<ImageFacts, SandboxError> {
        let passwd = self
            .first_file(container, "/etc/passwd")
            .await?
            .unwrap_or_default();
        let found = owner_of(&spec.user, &passwd);
        // Images from elsewhere know nothing of our default user; its number serves as well.
        let unlisted = (spec.user == DEFAULT_USER).then_some(UNLISTED);
        let owner = found.or(unlisted).ok_or_else(|| SandboxError::UnknownUser {
            user: spec.user.clone(),
        })?;
        let workdir = match self.beginning_of(container, &spec.workdir, 1024).await {
            Ok(bytes) if tarball::first_owner(&bytes) == Some((EntryType::Directory, owner)) => {
                Workdir::Leave
            }
            Ok(_) | Err(SandboxError::File { .. }) if spec.workdir != "/" => Workdir::Make,
            Ok(_) | Err(SandboxError::File { .. }) => Workdir::Leave,
            Err(error) => return Err(error),
        };
        let groups = self
            .first_file(container, "/etc/group")
            .await?
            .unwrap_or_default();
        Ok(ImageFacts {
            owner,
            workdir,
            listed: found.is_some(),
            home: home_of(&spec.user, &passwd).unwrap_or_else(|| spec.workdir.clone()),
            groups: groups_of(&spec.user, &groups),
        })
    }
}

/// Returns a user's numbers: `name`, `uid` or `uid:gid`, as the daemon reads them.
fn owner_of(user: &str, passwd: &str) -> Option<Owner> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group.parse().ok()?)),
        None => (user, None),
    };
    let number: Option<u64> = name.parse().ok();
    let listed = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (listed_name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let owner = Owner {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        };
        (listed_name == name || number == Some(owner.uid)).then_some(owner)
    });
    let unlisted = number
        .or((name == "root").then_some(0))
        .map(|uid| Owner { uid, gid: 0 });
    let owner = listed.or(unlisted)?;
    Some(Owner {
        gid: group.unwrap_or(owner.gid),
        ..owner
    })
}

/// Returns a user's home as the list of users says.
fn home_of(user: &str, passwd: &str) -> Option<String> {
    let name = user.split_once(':').map_or(user, |(name, _)| name);
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [listed, _, uid, _, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let fits = (*listed == name || *uid == name) && home.starts_with('/');
        fits.then(|| (*home).to_owned())
    })
}

/// Returns the further groups of a user that is given by name alone.
fn groups_of(user: &str, groups: &str) -> Vec<u32> {
    const MOST: usize = 32;
    let of_line = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        let [_, _, gid, members, ..] = fields.as_slice() else {
            return None;
        };
        let member = members.split(',').any(|member| member == user);
        gid.parse().ok().filter(|_| member)
    };
    groups.lines().filter_map(of_line).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn homes_and_groups_are_read_from_the_lists() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nagent:x:1000:1001::/home/agent:/bin/sh\nodd:x:7:7::none:\n";
        let homes = ["agent", "1000:5", "root", "odd", "nobody"].map(|user| home_of(user, passwd));
        let expected = [
            Some("/home/agent"),
            Some("/home/agent"),
            Some("/root"),
            None,
            None,
        ];
        assert_eq!(homes, expected.map(|home| home.map(str::to_owned)));
        let groups = "root:x:0:\ndata:x:50:agent\nbroken\nmore:x:60:other,agent\nnot:x:70:agents\n";
        assert_eq!(groups_of("agent", groups), [50, 60]);
    }

    #[test]
    fn users_are_found_as_the_daemon_finds_them() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nagent:x:1000:1001::/home/agent:/bin/sh\n";
        let cases = [
            ("agent", Some((1000, 1001))),
            ("1000", Some((1000, 1001))),
            ("1000:5", Some((1000, 5))),
            ("7", Some((7, 0))),
            ("root", Some((0, 0))),
            ("nobody", None),
            ("agent:staff", None),
        ];
        for (user, expected) in cases {
            let expected = expected.map(|(uid, gid)| Owner { uid, gid });
            assert_eq!(owner_of(user, passwd), expected, "{user}");
        }
        assert_eq!(owner_of("root", ""), Some(Owner::ROOT));
    }
}
