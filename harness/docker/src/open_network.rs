//! The network of sandboxes that may reach everything.
//!
//! Owns: that there is one, for all of them: each network takes an address pool of the daemon's, of which there are
//! about thirty. Must not: be used by a task that nobody allowed to.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::ListNetworksOptionsBuilder;
use harness_core::ports::SandboxError;

use crate::config::{LABEL_NETWORK, OPEN_NETWORK};
use crate::errors::About;
use crate::pace::Lifecycle;
use crate::provider::Shared;

impl Shared {
    /// Makes sure that the network is there and returns its id. Sandboxes on it don't reach each other.
    pub(crate) async fn provide_open_network(&self) -> Result<String, SandboxError> {
        let maker = self.maker(OPEN_NETWORK);
        let _only_one = maker.lock().await;
        let permit = self.pace.admit().await?;
        let provided = self.find_or_make_open_network().await;
        permit.done(Lifecycle::Other, &provided);
        provided
    }

    /// A name is no lock: older daemons make a second network of the same name, which nobody can ask for by name any
    /// more. If several processes make one at the same time, all of them take the oldest.
    async fn find_or_make_open_network(&self) -> Result<String, SandboxError> {
        let mut found = self.open_networks().await?;
        if found.is_empty() {
            match self.docker.create_network(open_network()).await {
                Ok(_) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => {}
                Err(error) => {
                    return Err(self.error(&error, "make the network of open sandboxes", About::Daemon));
                }
            }
            found = self.open_networks().await?;
        }
        let mut found = found.into_iter();
        let oldest = found.next().ok_or_else(|| SandboxError::Protocol {
            detail: "the network of open sandboxes was made, but the daemon does not know it".to_owned(),
        })?;
        for other in found {
            if let Err(error) = self.docker.remove_network(&other).await {
                tracing::debug!(%other, %error, "a second network of open sandboxes is still in use");
            }
        }
        Ok(oldest)
    }

    /// Returns whether a sandbox did not start since a network of ours is there no more, or is not the only one of its
    /// name: older daemons start no container then, even if the network is given by its id. The other one may be gone
    /// again by now.
    pub(crate) async fn is_unfit(&self, network: &String, error: &SandboxError) -> bool {
        if error.to_string().contains("is ambiguous") {
            return true;
        }
        let found = self.open_networks().await;
        found.is_ok_and(|found| found.len() > 1 || !found.contains(network))
    }

    /// Returns the ids of our networks of this name, the oldest first.
    async fn open_networks(&self) -> Result<Vec<String>, SandboxError> {
        let label = format!("{LABEL_NETWORK}=open");
        let filters = HashMap::from([
            ("label", vec![label.as_str()]),
            // The daemon finds names that contain this one too.
            ("name", vec![OPEN_NETWORK]),
        ]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let listed = self.docker.list_networks(Some(options)).await;
        let listed = listed
            .map_err(|error| self.error(&error, "look for the network of open sandboxes", About::Daemon))?;
        let mut found: Vec<_> = listed
            .into_iter()
            .filter(|network| network.name.as_deref() == Some(OPEN_NETWORK))
            .filter_map(|network| Some((network.created, network.id?)))
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }
}

fn open_network() -> NetworkCreateRequest {
    let options = [
        ("com.docker.network.bridge.enable_icc", "false"),
        ("com.docker.network.bridge.enable_ip_masquerade", "true"),
    ];
    NetworkCreateRequest {
        name: OPEN_NETWORK.to_owned(),
        driver: Some("bridge".to_owned()),
        options: Some(
            options
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        ),
        labels: Some(HashMap::from([(LABEL_NETWORK.to_owned(), "open".to_owned())])),
        ..NetworkCreateRequest::default()
    }
}
