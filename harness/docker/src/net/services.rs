//! The network between a task's containers, each of which has none.
//!
//! Owns: names, addresses, and which port of which service is listened for where. Must not: know the daemon.
//!
//! Each service has a loopback address, the same in every container. A container's helper listens there for the
//! ports that the service's helper reports, and every connection is dialled anew inside the service's container.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::copy_bidirectional;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::Connection;
use super::mux::Net;
use super::proxy::PROXY_ADDRESS;

/// The most ports of one service that are carried.
const MOST_PORTS: usize = 64;
/// After how long a listener that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The first lines of `/etc/hosts`.
const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Sends `Listen` with this number, address and port, and waits for the helper's answer.
pub(crate) type Listen =
    Arc<dyn Fn(u32, [u8; 4], u16) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// A container of the task.
#[derive(Clone)]
pub(crate) struct Member {
    /// The service's name; empty for the sandbox itself, to which nobody connects.
    pub(crate) name: String,
    /// Its helper's connections.
    pub(crate) net: Net,
    /// How its helper is asked to listen.
    pub(crate) listen: Listen,
    /// Ports that its own program is going to listen to at all addresses. No other service's port with the same
    /// number is listened for here, since the kernel would then refuse it to the program.
    pub(crate) own_ports: BTreeSet<u16>,
}

/// Returns the address of each service, by name.
pub(crate) fn addresses<'a>(services: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, [u8; 4]> {
    let names: BTreeSet<&str> = services.into_iter().filter(|name| !name.is_empty()).collect();
    let numbered = names.into_iter().zip(1..=u16::from_be_bytes([254, 255]));
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        [127, 1, high, low]
    };
    numbered
        .map(|(name, number)| (name.to_owned(), address(number)))
        .collect()
}

/// Returns the text of `/etc/hosts` of a container with this host name. Names that could be more than a name are
/// left out.
pub(crate) fn hosts(hostname: &str, services: &BTreeMap<String, [u8; 4]>, proxy: bool) -> String {
    let own = (hostname, [127, 0, 1, 1]);
    let services = services.iter().map(|(name, address)| (name.as_str(), *address));
    let own = Some(own).filter(|(name, _)| !services.clone().any(|(service, _)| service == *name));
    let proxy = proxy.then_some(("proxy", PROXY_ADDRESS));
    own.into_iter()
        .chain(services)
        .chain(proxy)
        .filter(|(name, _)| is_name(name))
        .fold(LOCALHOST.to_owned(), |text, (name, [a, b, c, d])| {
            format!("{text}{a}.{b}.{c}.{d}\t{name}\n")
        })
}

/// Told nothing, but dropped by everybody who has it once the listeners of the first round are there.
pub(crate) type FirstRound = mpsc::Sender<std::convert::Infallible>;

/// Carries connections between the members until the streams of all services are gone. Dropped, it ends. `first` is
/// dropped when every port that is known now is listened for, or can't be.
pub(crate) async fn relay(members: Vec<Member>, first: FirstRound) {
    let addresses = addresses(members.iter().map(|member| member.name.as_str()));
    let mut tasks = JoinSet::new();
    for service in &members {
        let Some(address) = addresses.get(&service.name) else {
            continue;
        };
        let others = members
            .iter()
            .filter(|member| member.name != service.name)
            .cloned()
            .collect();
        tasks.spawn(carry_service(service.clone(), *address, others, first.clone()));
    }
    drop(first);
    while tasks.join_next().await.is_some() {}
}

/// Keeps listeners for the ports of one service in all other containers. A connection outlives its listener: many a
/// program stops listening once it has one.
async fn carry_service(service: Member, address: [u8; 4], others: Vec<Member>, first: FirstRound) {
    let mut first = Some(first);
    let mut watch = service.net.ports();
    let (sender, mut accepted) = mpsc::channel(1);
    let mut connections = JoinSet::new();
    let mut carried: BTreeMap<u16, JoinSet<()>> = BTreeMap::new();
    loop {
        let ports = first_ports(&service.name, &watch.borrow_and_update());
        carried.retain(|port, _| ports.contains(port));
        for port in ports {
            carried.entry(port).or_insert_with(|| {
                let others = others.iter().filter(|other| !other.own_ports.contains(&port));
                others
                    .map(|other| {
                        carry_port(
                            service.name.clone(),
                            other.clone(),
                            (address, port),
                            (sender.clone(), first.clone()),
                        )
                    })
                    .collect()
            });
        }
        first = None;
        loop {
            tokio::select! {
                changed = watch.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                Some((near, port)) = accepted.recv() => {
                    connections.spawn(carry(near, service.net.clone(), port));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

fn first_ports(service: &str, ports: &[u16]) -> BTreeSet<u16> {
    if ports.len() > MOST_PORTS {
        let count = ports.len();
        tracing::warn!(%service, count, "only the first {MOST_PORTS} ports of a service can be reached");
    }
    ports.iter().copied().take(MOST_PORTS).collect()
}

/// Listens in one container for one port of a service. Where something else has the port it tries again, since that
/// may end.
async fn carry_port(
    service: String,
    other: Member,
    (address, port): ([u8; 4], u16),
    (accepted, mut first): (mpsc::Sender<(Connection, u16)>, Option<FirstRound>),
) {
    let mut told = false;
    loop {
        let listening = other
            .net
            .listen(|number| (other.listen)(number, address, port))
            .await;
        drop(first.take());
        match listening {
            Ok(mut listener) => {
                while let Some(near) = listener.accept().await {
                    if accepted.send((near, port)).await.is_err() {
                        return;
                    }
                }
            }
            Err(problem) if !told => {
                told = true;
                let container = &other.name;
                tracing::warn!(%service, port, %container, %problem, "a service's port cannot be reached from a container");
            }
            Err(_) => {}
        }
        if other.net.is_closed() {
            return;
        }
        sleep(RETRY).await;
    }
}

async fn carry(mut near: Connection, service: Net, port: u16) {
    let Ok(mut far) = service.dial(port).await else {
        return;
    };
    let copied = copy_bidirectional(&mut near, &mut far).await;
    tracing::trace!(port, ?copied, "a connection to a service is over");
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}
