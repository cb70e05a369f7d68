//! Connections in and out of sandboxes that have no network: they travel over the helpers' streams.
//!
//! Owns: the connections of one stream, the proxy to the outside, and the network between a task's containers.
//! Must not: know the frames' bytes or the daemon, or trust anything that comes out of a sandbox.

mod attempt;
mod carry;
mod connection;
mod flow;
mod http;
mod mux;
mod outside;
mod proxy;
mod services;
#[cfg(test)]
mod tests;

pub(crate) use mux::{Listener, Net};
pub(crate) use outside::RealOutside;
pub(crate) use proxy::{PROXY_ADDRESS, PROXY_PORT, Proxy};
pub(crate) use services::{Member, addresses, hosts, relay};
