//! The sandbox's network: loopback addresses whose connections the host carries on.
//!
//! Must not: listen or dial anywhere but at loopback addresses.

use super::connection::{Connection, Dialling, Goes};
use super::guest::Guest;
use super::ports::PortWatch;
use super::problem::{of_errno, problem};
use harness_guest::{ACCEPTED, FromGuest, MOST_CONNECTIONS, Problem, ProblemKind};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;
/// How many are accepted in one go.
const IN_ONE_GO: usize = 16;
/// How long nothing is accepted after the system could not.
const REST: Duration = Duration::from_millis(100);
/// How much may wait for all connections of the sandbox together: what does not take its data must not fill the memory.
const MOST_WAITING: usize = 16 << 20;
const NEW_SOCKET: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// Listeners and connections.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) listeners: BTreeMap<u32, OwnedFd>,
    pub(crate) connections: BTreeMap<u32, Connection>,
    pub(crate) ports: PortWatch,
    accept_after: Option<Instant>,
    accepted: u32,
}

impl Net {
    /// Returns whether connections are accepted now.
    pub(crate) fn accepts(&self, now: Instant) -> bool {
        self.accept_after.is_none_or(|after| after <= now)
    }

    /// Returns when something has to be done unasked.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let accept = self
            .accept_after
            .filter(|after| *after > now && !self.listeners.is_empty());
        [accept, self.ports.next()].into_iter().flatten().min()
    }

    /// Returns a number that no connection has.
    fn new_number(&mut self) -> u32 {
        loop {
            self.accepted = self.accepted.wrapping_add(1) & !ACCEPTED;
            let number = self.accepted | ACCEPTED;
            if !self.connections.contains_key(&number) {
                return number;
            }
        }
    }
}

impl Guest {
    /// Starts to accept connections at an address.
    pub(crate) fn listen(&mut self, id: u32, address: Ipv4Addr, port: u16) {
        match open_listener(address, port) {
            Ok(listener) => {
                self.net.listeners.insert(id, listener);
                self.outbox.say(&FromGuest::Done { id });
            }
            Err(problem) => self.fail(id, problem),
        }
    }

    /// Accepts what waits at a listener.
    pub(crate) fn accept(&mut self, listener: u32) {
        for _ in 0..IN_ONE_GO {
            let Some(socket) = self.net.listeners.get(&listener) else {
                return;
            };
            if self.net.connections.len() >= MOST_CONNECTIONS {
                // It waits for a place; accepted and dropped, nobody would ever know of it.
                self.net.accept_after = Instant::now().checked_add(REST);
                return;
            }
            let socket = match rustix::net::accept_with(socket, NEW_SOCKET) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.net.accept_after = Instant::now().checked_add(REST);
                    return;
                }
            };
            let conn = self.net.new_number();
            self.net
                .connections
                .insert(conn, Connection::new(conn, socket, None));
            self.outbox.say(&FromGuest::Accepted { conn, listener });
        }
    }

    /// Starts to connect to a port of this sandbox.
    pub(crate) fn dial(&mut self, conn: u32, port: u16) {
        let free = !self.net.connections.contains_key(&conn) && conn & ACCEPTED == 0;
        if !free || self.net.connections.len() >= MOST_CONNECTIONS {
            self.outbox.say(&FromGuest::NetReset { conn });
            return;
        }
        self.dial_next(conn, Dialling { port, second: false });
    }

    /// Tries the first address, then the second.
    fn dial_next(&mut self, conn: u32, dialling: Dialling) {
        let mut dialling = dialling;
        loop {
            match open_dialled(dialling) {
                Ok(socket) => {
                    let connection = Connection::new(conn, socket, Some(dialling));
                    self.net.connections.insert(conn, connection);
                    return;
                }
                Err(_) if !dialling.second => dialling.second = true,
                Err(_) => {
                    self.net.connections.remove(&conn);
                    self.outbox.say(&FromGuest::NetReset { conn });
                    return;
                }
            }
        }
    }

    /// A connection can be read or written, or has been made, or has failed.
    pub(crate) fn attend_connection(&mut self, conn: u32) {
        let Some(connection) = self.net.connections.get_mut(&conn) else {
            return;
        };
        if let Some(dialling) = connection.dialling {
            match connection.dial_error() {
                None => {
                    connection.dialling = None;
                    self.outbox.say(&FromGuest::Dialled { conn });
                }
                Some(_) if !dialling.second => {
                    let second = Dialling {
                        second: true,
                        ..dialling
                    };
                    self.dial_next(conn, second);
                    return;
                }
                Some(_) => return self.reset(conn),
            }
        }
        let room = self.outbox.has_room();
        let (scratch, outbox) = (&mut self.scratch, &mut self.outbox);
        let mut goes = connection.write(|message| outbox.say(&message));
        if goes == Goes::On && room {
            goes = connection.read(scratch, |message| outbox.say(&message));
        }
        self.settle(conn, goes);
    }

    /// Takes bytes of the host's for a connection.
    pub(crate) fn net_data(&mut self, conn: u32, bytes: &[u8]) {
        let waiting: usize = self.net.connections.values().map(Connection::waiting).sum();
        let Some(connection) = self.net.connections.get_mut(&conn) else {
            return;
        };
        let outbox = &mut self.outbox;
        let goes = if waiting.saturating_add(bytes.len()) > MOST_WAITING {
            Goes::Over
        } else {
            connection.push(bytes, |message| outbox.say(&message))
        };
        self.settle(conn, goes);
    }

    /// The host sends no more on a connection.
    pub(crate) fn net_end(&mut self, conn: u32) {
        if let Some(connection) = self.net.connections.get_mut(&conn) {
            let outbox = &mut self.outbox;
            let goes = connection.end(|message| outbox.say(&message));
            self.settle(conn, goes);
        }
    }

    /// The host has taken bytes of a connection.
    pub(crate) fn net_credit(&mut self, conn: u32, bytes: u32) {
        if let Some(connection) = self.net.connections.get_mut(&conn) {
            connection.add_credit(bytes);
        }
    }

    /// Ends a connection in both directions.
    pub(crate) fn reset(&mut self, conn: u32) {
        if let Some(connection) = self.net.connections.remove(&conn) {
            connection.cut();
            self.outbox.say(&FromGuest::NetReset { conn });
        }
    }

    /// Looks for ports if somebody asked for them.
    pub(crate) fn look_for_ports(&mut self, now: Instant) {
        if let Some(ports) = self.net.ports.look(now) {
            self.outbox.say(&FromGuest::Ports { ports });
        }
    }

    fn settle(&mut self, conn: u32, goes: Goes) {
        match goes {
            Goes::On => {}
            Goes::Over => self.reset(conn),
        }
    }
}

fn open_listener(address: Ipv4Addr, port: u16) -> Result<OwnedFd, Problem> {
    let name = format!("{address}:{port}");
    if !address.is_loopback() {
        let text = format!("{name}: not a loopback address");
        return Err(problem(ProblemKind::Denied, text));
    }
    let open = || {
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, NEW_SOCKET, None)?;
        rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(address, port))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    open().map_err(|error| of_errno(error, &name))
}

fn open_dialled(dialling: Dialling) -> Result<OwnedFd, Errno> {
    let (family, address) = if dialling.second {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, dialling.port));
        (AddressFamily::INET6, address)
    } else {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dialling.port));
        (AddressFamily::INET, address)
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, NEW_SOCKET, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
