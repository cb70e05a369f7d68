//! All connections of one helper's stream.
//!
//! Owns: which numbers are in use, listeners, ports, and the check that every message makes sense. Must not: read
//! or write the stream (it is handed messages and hands messages out), or ever wait while it takes a message.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness_guest::{ACCEPTED, FromGuest, MOST_CONNECTIONS, ToGuest};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::flow::{Flow, Stage, Wrong};

/// How long a dial may take.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// How long the sandbox may keep a connection that the host has finished with, if others want its place.
const LINGER_TIME: Duration = Duration::from_secs(60);
/// How many accepted connections may wait at one listener.
const BACKLOG: usize = 64;
/// How many listeners one helper may ever have.
const MOST_LISTENERS: usize = 4096;

/// A helper said something that makes no sense at this point: a containment event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}")]
pub(crate) struct Breach {
    /// What it said.
    pub(crate) what: String,
}

/// The connections of one helper. A cheap handle.
#[derive(Clone)]
pub(crate) struct Net {
    shared: Arc<Shared>,
}

/// What a [`Net`] and its connections share.
pub(super) struct Shared {
    state: Mutex<State>,
    outbox: mpsc::UnboundedSender<ToGuest>,
    /// The last number that was given to a request or connection; the stream's other requests use it too.
    numbers: Arc<AtomicU32>,
    /// What [`Net::ports`] hands out.
    ports: watch::Receiver<Vec<u16>>,
}

pub(super) struct State {
    pub(super) flows: BTreeMap<u32, Flow>,
    /// Listeners, and those that were (`None`): connections to them may be under way.
    listeners: BTreeMap<u32, Option<Queue>>,
    /// The number that was accepted last; the helper counts upwards.
    last_accepted: u32,
    /// Gone when the stream is.
    ports: Option<watch::Sender<Vec<u16>>>,
    watching: bool,
}

/// The host's end of a listener.
#[derive(Clone)]
struct Queue {
    connections: mpsc::Sender<Connection>,
    turned_away: Arc<AtomicU64>,
}

/// Takes connections to an address inside the sandbox. Dropped, it ends.
pub(crate) struct Listener {
    number: u32,
    shared: Arc<Shared>,
    connections: mpsc::Receiver<Connection>,
    turned_away: Arc<AtomicU64>,
}

impl Net {
    /// Makes the connections of a stream. `numbers` holds the last number that was used on it.
    pub(crate) fn new(outbox: mpsc::UnboundedSender<ToGuest>, numbers: Arc<AtomicU32>) -> Self {
        let (sender, ports) = watch::channel(Vec::new());
        let state = State {
            flows: BTreeMap::new(),
            listeners: BTreeMap::new(),
            last_accepted: 0,
            ports: Some(sender),
            watching: false,
        };
        let state = Mutex::new(state);
        Self {
            shared: Arc::new(Shared {
                state,
                outbox,
                numbers,
                ports,
            }),
        }
    }

    /// Takes one of the helper's messages about connections and ports. Never waits.
    ///
    /// # Errors
    /// A [`Breach`] if the message makes no sense; the stream is not to be trusted any more.
    pub(crate) fn take(&self, message: FromGuest) -> Result<(), Breach> {
        match self.apply(message) {
            Err(_) if self.is_closed() => Ok(()),
            taken => taken,
        }
    }

    fn apply(&self, message: FromGuest) -> Result<(), Breach> {
        match message {
            FromGuest::Accepted { conn, listener } => self.accepted(conn, listener),
            FromGuest::Dialled { conn } => self.shared.told(conn, |flow| flow.arrive().map(|()| None)),
            FromGuest::NetData { conn, bytes } => self.shared.told(conn, |flow| {
                let credit = flow.data(&bytes)?;
                Ok(credit.map(|bytes| ToGuest::NetCredit { conn, bytes }))
            }),
            FromGuest::NetCredit { conn, bytes } => {
                self.shared.told(conn, |flow| flow.credit(bytes).map(|()| None))
            }
            FromGuest::NetEnd { conn } => self.shared.told(conn, |flow| flow.end().map(|()| None)),
            FromGuest::NetReset { conn } => self.reset(conn),
            FromGuest::Ports { ports } => self.take_ports(ports),
            FromGuest::Hello { .. }
            | FromGuest::Started { .. }
            | FromGuest::Output { .. }
            | FromGuest::OutputEnd { .. }
            | FromGuest::Exited { .. }
            | FromGuest::StdinTaken { .. }
            | FromGuest::Terminal { .. }
            | FromGuest::Forgotten { .. }
            | FromGuest::Done { .. }
            | FromGuest::Failed { .. }
            | FromGuest::File { .. }
            | FromGuest::FileData { .. }
            | FromGuest::FileEnd { .. }
            | FromGuest::Entries { .. }
            | FromGuest::Processes { .. }
            | FromGuest::Pong { .. } => {
                tracing::error!("a helper's message was routed to its connections by mistake");
                Ok(())
            }
        }
    }

    /// Connects to a port of the sandbox.
    ///
    /// # Errors
    /// `ConnectionRefused` if nothing listens there, `TimedOut` after ten seconds, `NotConnected` if the stream is
    /// gone, `QuotaExceeded` if there are too many connections.
    pub(crate) async fn dial(&self, port: u16) -> io::Result<Connection> {
        let connection = self.begin_dial(port)?;
        let answer = timeout(DIAL_TIME, poll_fn(|context| connection.poll_dialled(context))).await;
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(connection)
    }

    /// Makes a listener. `send` gets its number, sends the request and waits for the helper's answer.
    ///
    /// # Errors
    /// What `send` returns, or that there have been too many listeners.
    pub(crate) async fn listen<F>(&self, send: impl FnOnce(u32) -> F) -> Result<Listener, String>
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut listener = self.register()?;
        match send(listener.number).await {
            Ok(()) => Ok(listener),
            Err(problem) => {
                listener.connections.close();
                self.shared.lock().listeners.remove(&listener.number);
                Err(problem)
            }
        }
    }

    /// Returns the ports that are listened to in the sandbox, and whenever they change. Ends with the stream.
    pub(crate) fn ports(&self) -> watch::Receiver<Vec<u16>> {
        let mut state = self.shared.lock();
        if !std::mem::replace(&mut state.watching, true) {
            self.shared.send(ToGuest::WatchPorts);
        }
        self.shared.ports.clone()
    }

    /// Returns whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.lock().ports.is_none()
    }

    /// All connections break and all listeners end, since the stream is gone or the sandbox is done with. If the
    /// helper still lives, it is told; what it says from now on is thrown away.
    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        state.ports = None;
        for (conn, flow) in &mut state.flows {
            match flow.stage() {
                Stage::Dialling | Stage::Open | Stage::Lingering(_) => {
                    self.shared.send(ToGuest::NetReset { conn: *conn });
                }
                Stage::Closing | Stage::Over => {}
            }
        }
        state.flows.retain(|_, flow| flow.held());
        for flow in state.flows.values_mut() {
            flow.finish();
        }
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        for (number, _) in listeners.into_iter().filter(|(_, queue)| queue.is_some()) {
            self.shared.send(ToGuest::Unlisten { id: number });
        }
    }

    fn begin_dial(&self, port: u16) -> io::Result<Connection> {
        let number = self.shared.next_number().ok_or(io::ErrorKind::QuotaExceeded)?;
        let mut state = self.shared.lock();
        if state.ports.is_none() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.shared.end_lingering(&mut state);
        if state
            .flows
            .values()
            .filter(|flow| flow.stage() != Stage::Over)
            .count()
            >= MOST_CONNECTIONS
        {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        state.flows.insert(number, Flow::dialling());
        drop(state);
        self.shared.send(ToGuest::Dial { conn: number, port });
        Ok(Connection::new(number, Arc::clone(&self.shared)))
    }

    fn register(&self) -> Result<Listener, String> {
        let number = self
            .shared
            .next_number()
            .ok_or("there have been too many requests")?;
        let (sender, connections) = mpsc::channel(BACKLOG);
        let turned_away = Arc::new(AtomicU64::new(0));
        let queue = Queue {
            connections: sender,
            turned_away: Arc::clone(&turned_away),
        };
        let mut state = self.shared.lock();
        if state.ports.is_none() {
            return Err("the sandbox is gone".to_owned());
        }
        if state.listeners.len() >= MOST_LISTENERS {
            return Err("there have been too many listeners".to_owned());
        }
        state.listeners.insert(number, Some(queue));
        Ok(Listener {
            number,
            shared: Arc::clone(&self.shared),
            connections,
            turned_away,
        })
    }

    fn accepted(&self, conn: u32, listener: u32) -> Result<(), Breach> {
        let mut state = self.shared.lock();
        if conn & ACCEPTED == 0 || conn <= state.last_accepted {
            return Err(breach(
                conn,
                "it was accepted with a number that is not a new one",
            ));
        }
        let Some(queue) = state.listeners.get(&listener) else {
            return Err(breach(conn, "it was accepted where nobody listens"));
        };
        let queue = queue.clone();
        self.shared.end_lingering(&mut state);
        if state.flows.values().filter(|flow| flow.known_to_guest()).count() >= MOST_CONNECTIONS {
            return Err(breach(conn, "it is one connection too many"));
        }
        state.last_accepted = conn;
        let held = state.flows.values().filter(|flow| flow.held()).count();
        state.flows.insert(conn, Flow::accepted());
        drop(state);
        let connection = Connection::new(conn, Arc::clone(&self.shared));
        if let Some(queue) = queue
            && (held >= MOST_CONNECTIONS || queue.connections.try_send(connection).is_err())
        {
            queue.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn reset(&self, conn: u32) -> Result<(), Breach> {
        let mut state = self.shared.lock();
        let Some(flow) = state
            .flows
            .get_mut(&conn)
            .filter(|flow| flow.stage() != Stage::Over)
        else {
            return Err(breach(conn, "it was reset, but there is none with this number"));
        };
        if flow.held() {
            flow.finish();
        } else {
            state.flows.remove(&conn);
        }
        Ok(())
    }

    fn take_ports(&self, ports: Vec<u16>) -> Result<(), Breach> {
        let what = |what: &str| {
            Err(Breach {
                what: what.to_owned(),
            })
        };
        let state = self.shared.lock();
        if !state.watching {
            return what("the helper reported ports without being asked");
        }
        if ports.first() == Some(&0) || !ports.is_sorted_by(|one, next| one < next) {
            return what("the helper reported ports that are not in order");
        }
        if let Some(sender) = &state.ports {
            sender.send_replace(ports);
        }
        Ok(())
    }
}

impl Listener {
    /// Returns the next connection; `None` when the stream is gone.
    pub(crate) async fn accept(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }

    /// Returns how many connections were reset since the last time, because there were too many.
    pub(crate) fn take_turned_away(&self) -> u64 {
        self.turned_away.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let known = state.listeners.get_mut(&self.number);
        let sender = known.and_then(Option::take);
        drop(state);
        if sender.is_some() {
            self.shared.send(ToGuest::Unlisten { id: self.number });
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends; if the stream is gone, [`Net::close`] breaks the connections.
    pub(super) fn send(&self, message: ToGuest) {
        if self.outbox.send(message).is_err() {
            tracing::trace!("a helper's stream is gone");
        }
    }

    /// Somebody on the host has dropped a connection.
    pub(super) fn let_go(&self, conn: u32) {
        let mut state = self.lock();
        let Some(flow) = state.flows.get_mut(&conn) else {
            return;
        };
        if flow.stage() == Stage::Over {
            state.flows.remove(&conn);
        } else if flow.has_to_linger() {
            if let Some(bytes) = flow.linger(Instant::now() + LINGER_TIME) {
                self.send(ToGuest::NetCredit { conn, bytes });
            }
        } else {
            flow.close();
            self.send(ToGuest::NetReset { conn });
        }
    }

    /// Applies a message to its connection and sends what follows from it.
    fn told(
        &self,
        conn: u32,
        apply: impl FnOnce(&mut Flow) -> Result<Option<ToGuest>, Wrong>,
    ) -> Result<(), Breach> {
        let mut state = self.lock();
        let flow = state
            .flows
            .get_mut(&conn)
            .filter(|flow| flow.stage() != Stage::Over);
        let flow = flow.ok_or_else(|| breach(conn, "there is none with this number"))?;
        if let Some(answer) = apply(flow).map_err(|wrong| breach(conn, wrong))? {
            self.send(answer);
        }
        Ok(())
    }

    /// Resets connections that have lingered for too long.
    fn end_lingering(&self, state: &mut State) {
        let now = Instant::now();
        for (conn, flow) in &mut state.flows {
            if matches!(flow.stage(), Stage::Lingering(until) if until <= now) {
                flow.close();
                self.send(ToGuest::NetReset { conn: *conn });
            }
        }
    }

    /// Returns a number that was not used before; `None` if all were.
    fn next_number(&self) -> Option<u32> {
        let next = |last: u32| last.checked_add(1).filter(|next| next & ACCEPTED == 0);
        let last = self
            .numbers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .ok()?;
        Some(last + 1)
    }
}

fn breach(conn: u32, what: &str) -> Breach {
    Breach {
        what: format!("connection {conn:#x}: {what}"),
    }
}
