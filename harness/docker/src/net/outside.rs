//! The way to the outside.
//!
//! Owns: the seam between the proxy's decisions and real names and connections. Must not: decide anything.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::BoxFuture;
use tokio::net::{TcpStream, lookup_host};

/// Resolves names and opens connections.
pub(crate) trait Outside: Send + Sync {
    /// Returns the addresses of a name.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
    /// Connects.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// This host's resolver and network.
pub(crate) struct RealOutside;

impl Outside for RealOutside {
    /// The name is made absolute, so that the host's own search domains are left out.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let addresses = lookup_host((format!("{name}."), 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}
