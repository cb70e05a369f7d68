//! Host and port as somebody wrote them.
//!
//! Owns: the one spelling that is accepted of each host. Must not: decide who may reach it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::text::printable;

/// The longest name of a host.
const LONGEST_NAME: usize = 253;
/// The longest part of a name.
const LONGEST_LABEL: usize = 63;
/// How much of a hostile text is shown.
const SHOWN: usize = 100;

/// A host and a port that somebody wants to reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    host: Host,
    port: u16,
}

/// A host, in its one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name in lower case, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// What is wrong with `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndpointProblem {
    /// A scheme, a path or a user stands there too.
    #[error("is more than a host and a port")]
    More,
    /// There is no port.
    #[error("has no port")]
    NoPort,
    /// The port is no port.
    #[error("has a port that is not between 1 and 65535")]
    BadPort,
    /// There is no host.
    #[error("has no host")]
    NoHost,
    /// The host stands for all hosts.
    #[error("allows every host")]
    AnyHost,
    /// The host is not written in ASCII.
    #[error("has a host that is not ASCII")]
    NotAscii,
    /// The host is neither a name nor an address.
    #[error("has a host that is neither a name nor an address")]
    BadHost,
    /// The host is an address in a spelling that programs read differently.
    #[error("has an address in an unusual spelling")]
    OddAddress,
    /// The host is an address that is never allowed.
    #[error("has an address that nothing may reach: the local link or a cloud's metadata")]
    Never,
}

impl EndpointProblem {
    /// Says what to write instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::More => "write host and port only, without scheme, user or path: `example.org:443`",
            Self::NoPort => "add the port: `example.org:443`, or `*` for all ports",
            Self::BadPort => "write a number from 1 to 65535 without leading zeros, or `*`",
            Self::NoHost | Self::BadHost => {
                "write `example.org:443`, `*.example.org:443`, `10.0.0.5:80` or `[::1]:80`"
            }
            Self::AnyHost => "name a domain, as in `*.example.org:443`",
            Self::NotAscii => "write an international name in its ASCII form, which begins with `xn--`",
            Self::OddAddress => "write four decimal numbers, or an IPv6 address in brackets",
            Self::Never => "remove it; no list can allow it",
        }
    }
}

impl Endpoint {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Result<Self, EndpointProblem> {
        let (host, port) = split(text)?;
        Ok(Self {
            host: Host::parse(host)?,
            port: parse_port(port.ok_or(EndpointProblem::NoPort)?)?,
        })
    }

    /// Reads `host` or `host:port`.
    pub fn parse_or(text: &str, default_port: u16) -> Result<Self, EndpointProblem> {
        let (host, port) = split(text)?;
        Ok(Self {
            host: Host::parse(host)?,
            port: port.map_or(Ok(default_port), parse_port)?,
        })
    }

    /// Returns the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes what somebody asked for fit to be shown and logged: one short line.
    pub fn shown(text: &str) -> String {
        let line = printable(text).replace(['\n', '\t'], " ");
        let mut shown: String = line.chars().take(SHOWN).collect();
        if shown.len() < line.len() {
            shown.push_str("...");
        }
        shown
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Host {
    /// Reads a name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// Names whose last part is a number are addresses to many programs (`127.1`, `2130706433`, `0x7f.1`); they are
    /// refused, so that no two programs can read a host differently.
    pub fn parse(text: &str) -> Result<Self, EndpointProblem> {
        if text.is_empty() {
            return Err(EndpointProblem::NoHost);
        }
        if !text.is_ascii() {
            return Err(EndpointProblem::NotAscii);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner
                .strip_suffix(']')
                .and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address
                .map(|address| Self::Address(IpAddr::V6(address)))
                .ok_or(EndpointProblem::BadHost);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() || name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
            return Err(EndpointProblem::BadHost);
        }
        if name.rsplit('.').next().is_some_and(is_number) {
            return Err(EndpointProblem::OddAddress);
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Splits host and port; the port is whatever follows the colon.
pub(super) fn split(text: &str) -> Result<(&str, Option<&str>), EndpointProblem> {
    if text.contains(['/', '@', '?', '#', '\\', '%']) {
        return Err(EndpointProblem::More);
    }
    let end = if text.starts_with('[') {
        text.find(']').map(|at| at + 1).ok_or(EndpointProblem::BadHost)?
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(end);
    match rest.strip_prefix(':') {
        Some(port) if port.contains(':') => Err(EndpointProblem::BadHost),
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(EndpointProblem::BadHost),
    }
}

/// Reads a port. Signs, spaces and leading zeros are refused.
pub(super) fn parse_port(text: &str) -> Result<u16, EndpointProblem> {
    let port = text.parse::<u16>().map_err(|_| EndpointProblem::BadPort)?;
    if port == 0 || port.to_string() != text {
        return Err(EndpointProblem::BadPort);
    }
    Ok(port)
}

fn is_label(label: &str) -> bool {
    (1..=LONGEST_LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Whether programs take this last part of a name for a number: digits, or hexadecimal.
fn is_number(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
        || label
            .strip_prefix("0x")
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}
