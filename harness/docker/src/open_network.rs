//! The network of sandboxes that may reach everything.
//!
//! Owns: that there is one, for all of them: each network takes an address pool of the daemon's, of which there are
//! about thirty. Must not: be used by a task that nobody allowed to.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::NetworkCreateRequest;
use harness_core::ports::SandboxError;

use crate::config::{LABEL_NETWORK, OPEN_NETWORK};
use crate::errors::About;
use crate::provider::Shared;

impl Shared {
    /// Makes sure that the network is there. Sandboxes on it don't reach each other.
    pub(crate) async fn provide_open_network(&self) -> Result<(), SandboxError> {
        if self.docker.inspect_network(OPEN_NETWORK, None).await.is_ok() {
            return Ok(());
        }
        let options = [
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "true"),
        ];
        let request = NetworkCreateRequest {
            name: OPEN_NETWORK.to_owned(),
            driver: Some("bridge".to_owned()),
            options: Some(
                options
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into(),
            ),
            labels: Some(HashMap::from([(LABEL_NETWORK.to_owned(), "open".to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match self.docker.create_network(request).await {
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            Err(error) => Err(self.error(&error, "make the network of open sandboxes", About::Daemon)),
        }
    }
}
