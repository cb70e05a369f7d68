//! Who may be reached.
//!
//! Owns: patterns, the list, and both steps of a decision. Must not: resolve names.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use super::EgressVerdict;
use super::address::{Reach, reach};
use super::endpoint::{Endpoint, EndpointProblem, Host, parse_port, split};

/// A pattern that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` {problem}")]
pub struct PatternError {
    /// The pattern, shortened and printable.
    pub text: String,
    /// What is wrong with it; its hint says what to write.
    pub problem: EndpointProblem,
}

/// One line of a list: `host:port`, where the host may begin with `*.` and the port may be `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    hosts: Hosts,
    ports: Ports,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hosts {
    /// This one.
    One(Host),
    /// Names below this one at any depth, not itself.
    Below(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ports {
    One(u16),
    All,
}

/// What a sandbox may reach. The empty list allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    patterns: Vec<Pattern>,
}

/// An endpoint that the list allows to be resolved. Only [`AllowList::asked`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    endpoint: Endpoint,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Says what is wrong; [`EndpointProblem::hint`] says what to write. Addresses that are never allowed are
    /// errors too, since a list must not promise them.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::read(text).map_err(|problem| PatternError {
            text: Endpoint::shown(text),
            problem,
        })
    }

    fn read(text: &str) -> Result<Self, EndpointProblem> {
        let (host, port) = split(text)?;
        let hosts = match host.strip_prefix("*.") {
            Some(domain) => match Host::parse(domain)? {
                Host::Name(name) => Hosts::Below(name),
                Host::Address(_) => return Err(EndpointProblem::BadHost),
            },
            None if host == "*" => return Err(EndpointProblem::AnyHost),
            None => Hosts::One(Host::parse(host)?),
        };
        if let Hosts::One(Host::Address(address)) = &hosts
            && reach(*address) == Reach::Never
        {
            return Err(EndpointProblem::Never);
        }
        let ports = match port.ok_or(EndpointProblem::NoPort)? {
            "*" => Ports::All,
            port => Ports::One(parse_port(port)?),
        };
        Ok(Self { hosts, ports })
    }

    /// Returns whether it is an address of this host, of a private network or of nowhere.
    pub fn reaches_inside(&self) -> bool {
        match &self.hosts {
            Hosts::One(Host::Address(address)) => reach(*address) != Reach::Public,
            Hosts::One(Host::Name(_)) | Hosts::Below(_) => false,
        }
    }

    /// Returns whether an endpoint fits.
    pub fn fits(&self, endpoint: &Endpoint) -> bool {
        let host = match (&self.hosts, endpoint.host()) {
            (Hosts::One(own), asked) => own == asked,
            (Hosts::Below(domain), Host::Name(name)) => name
                .strip_suffix(domain.as_str())
                .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
            (Hosts::Below(_), Host::Address(_)) => false,
        };
        let port = match self.ports {
            Ports::One(port) => port == endpoint.port(),
            Ports::All => true,
        };
        host && port
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::One(host) => write!(f, "{host}:")?,
            Hosts::Below(domain) => write!(f, "*.{domain}:")?,
        }
        match self.ports {
            Ports::One(port) => write!(f, "{port}"),
            Ports::All => f.write_str("*"),
        }
    }
}

impl AllowList {
    /// Makes a list of patterns.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self { patterns }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// The first pattern that can't be read.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        patterns
            .into_iter()
            .map(Pattern::parse)
            .collect::<Result<_, _>>()
            .map(Self::new)
    }

    /// Judges what was asked for, before anything is resolved.
    ///
    /// # Errors
    /// `Forbidden` for an address that is never allowed, or that is special and not itself on the list; `NotListed`
    /// for everything else that no pattern fits.
    pub fn asked(&self, endpoint: Endpoint) -> Result<Target, EgressVerdict> {
        let listed = self.patterns.iter().any(|pattern| pattern.fits(&endpoint));
        let reach = match endpoint.host() {
            Host::Name(_) => Reach::Public,
            Host::Address(address) => reach(*address),
        };
        match (reach, listed) {
            (Reach::Never, _) | (Reach::Inside, false) => Err(EgressVerdict::Forbidden),
            (Reach::Public, false) => Err(EgressVerdict::NotListed),
            (Reach::Public | Reach::Inside, true) => Ok(Target { endpoint }),
        }
    }
}

impl Target {
    /// Returns host and port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Judges an address of this target before anything is sent to it.
    ///
    /// # Errors
    /// `Forbidden` for an address that is not public, unless it is the very address that was asked for.
    pub fn address(&self, address: IpAddr) -> Result<(), EgressVerdict> {
        let allowed = match self.endpoint.host() {
            Host::Name(_) => reach(address) == Reach::Public,
            Host::Address(own) => *own == address && reach(address) != Reach::Never,
        };
        if allowed {
            Ok(())
        } else {
            Err(EgressVerdict::Forbidden)
        }
    }
}
