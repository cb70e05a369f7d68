//! x
mod attempt;
mod connection;
mod flow;
mod http;
mod mux;
mod outside;
mod proxy;
mod services;
pub(crate) use mux::{Listener, Net};
pub(crate) use outside::RealOutside;
pub(crate) use proxy::{PROXY_ADDRESS, PROXY_PORT, Proxy};
pub(crate) use services::{Member, addresses, hosts, relay};
