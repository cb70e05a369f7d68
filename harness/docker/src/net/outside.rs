//! The way to the outside.
//!
//! Owns: the seam between the proxy's decisions and real names, addresses and connections. Must not: decide anything.

use std::io;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::BoxFuture;
use tokio::net::{TcpStream, lookup_host};

/// Resolves names and opens connections.
pub(crate) trait Outside: Send + Sync {
    /// Returns the addresses of a name.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
    /// Returns this host's own addresses, public ones among them.
    fn own_addresses(&self) -> io::Result<Vec<IpAddr>>;
    /// Connects.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
    /// Returns whether a connection ends at this host.
    fn ends_here(&self, stream: &TcpStream) -> bool;
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

    fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        let addresses = nix::ifaddrs::getifaddrs()?.filter_map(|interface| {
            let address = interface.address?;
            let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
            four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
        });
        Ok(addresses.collect())
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }

    /// A connection to an address of this host begins at that address too, whatever interface has it.
    fn ends_here(&self, stream: &TcpStream) -> bool {
        match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) => local.ip().to_canonical() == peer.ip().to_canonical(),
            _ => true,
        }
    }
}
