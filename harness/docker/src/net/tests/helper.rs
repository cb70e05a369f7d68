//! A helper for tests: it speaks its half of the messages over channels, and its sandbox is a set of pipes in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use harness_guest::{ACCEPTED, FromGuest, PIECE, ToGuest, WINDOW};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::net::Net;
use crate::net::services::Listen;

/// The helper of one sandbox.
#[derive(Clone)]
pub(super) struct Helper {
    pub(super) net: Net,
    sandbox: Arc<Sandbox>,
}

struct Sandbox {
    state: Mutex<State>,
    listening: watch::Sender<BTreeMap<u32, ([u8; 4], u16)>>,
    numbers: AtomicU32,
}

#[derive(Default)]
struct State {
    servers: BTreeMap<u16, mpsc::UnboundedSender<DuplexStream>>,
    pipes: BTreeMap<u32, Pipe>,
    breaches: Vec<String>,
    refused: Vec<u16>,
}

/// One connection inside the sandbox.
struct Pipe {
    input: mpsc::UnboundedSender<Option<Vec<u8>>>,
    credit: Arc<Semaphore>,
    task: Option<JoinHandle<()>>,
}

impl Helper {
    pub(super) fn start() -> Self {
        let (outbox, mut messages) = mpsc::unbounded_channel();
        let helper = Self {
            net: Net::new(outbox, Arc::new(AtomicU32::new(0))),
            sandbox: Arc::new(Sandbox {
                state: Mutex::default(),
                listening: watch::Sender::default(),
                numbers: AtomicU32::new(ACCEPTED),
            }),
        };
        let own = helper.clone();
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                own.obey(message);
            }
        });
        helper
    }

    /// Says something to the host.
    pub(super) fn tell(&self, message: FromGuest) {
        if let Err(breach) = self.net.take(message) {
            self.state(|state| state.breaches.push(breach.what));
        }
    }

    pub(super) fn breaches(&self) -> Vec<String> {
        self.state(|state| state.breaches.clone())
    }

    /// A server inside the sandbox.
    pub(super) fn serve(&self, port: u16) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state(|state| state.servers.insert(port, sender));
        receiver
    }

    /// Something inside the sandbox connects; `None` if nobody listens there.
    pub(super) fn connect(&self, address: [u8; 4], port: u16) -> Option<DuplexStream> {
        let listening = self.sandbox.listening.borrow().clone();
        let (listener, _) = listening.into_iter().find(|(_, at)| *at == (address, port))?;
        let conn = self.sandbox.numbers.fetch_add(1, Ordering::SeqCst) + 1;
        self.tell(FromGuest::Accepted { conn, listener });
        Some(self.open(conn))
    }

    /// How this helper is asked to listen; the given ports are refused.
    pub(super) fn listen(&self, refused: &[u16]) -> Listen {
        self.state(|state| state.refused = refused.to_vec());
        let helper = self.clone();
        Arc::new(move |number, address, port| {
            let helper = helper.clone();
            Box::pin(async move {
                if helper.state(|state| state.refused.contains(&port)) {
                    return Err("address in use".to_owned());
                }
                helper.sandbox.listening.send_modify(|all| {
                    all.insert(number, (address, port));
                });
                Ok(())
            })
        })
    }

    /// From now on all ports can be listened to.
    pub(super) fn refuse_nothing(&self) {
        self.state(|state| state.refused.clear());
    }

    /// Waits until the helper listens exactly there.
    pub(super) async fn listens_to(&self, expected: &[([u8; 4], u16)]) {
        let mut watch = self.sandbox.listening.subscribe();
        let same = |all: &BTreeMap<u32, ([u8; 4], u16)>| {
            let mut all: Vec<_> = all.values().copied().collect();
            all.sort_unstable();
            all == expected
        };
        watch.wait_for(same).await.unwrap();
    }

    /// Checks that the helper listens exactly there already.
    pub(super) fn listens_to_now(&self, expected: &[([u8; 4], u16)]) {
        let mut all: Vec<_> = self.sandbox.listening.borrow().values().copied().collect();
        all.sort_unstable();
        assert_eq!(all, expected);
    }

    /// How many connections it has.
    pub(super) fn connections(&self) -> usize {
        self.state(|state| state.pipes.len())
    }

    fn obey(&self, message: ToGuest) {
        match message {
            ToGuest::Dial { conn, port } => self.dialled(conn, port),
            ToGuest::NetData { conn, bytes } => self.input(conn, Some(bytes)),
            ToGuest::NetEnd { conn } => self.input(conn, None),
            ToGuest::NetCredit { conn, bytes } => self.state(|state| {
                if let Some(pipe) = state.pipes.get(&conn) {
                    pipe.credit.add_permits(bytes as usize);
                }
            }),
            ToGuest::NetReset { conn } => self.finish(conn),
            ToGuest::Unlisten { id } => self.sandbox.listening.send_modify(|all| {
                all.remove(&id);
            }),
            ToGuest::WatchPorts => {}
            other => panic!("{other:?} has nothing to do with connections"),
        }
    }

    fn dialled(&self, conn: u32, port: u16) {
        let server = self.state(|state| state.servers.get(&port).cloned());
        match server {
            Some(server) => {
                self.tell(FromGuest::Dialled { conn });
                server.send(self.open(conn)).unwrap();
            }
            None => self.tell(FromGuest::NetReset { conn }),
        }
    }

    fn input(&self, conn: u32, bytes: Option<Vec<u8>>) {
        self.state(|state| {
            if let Some(pipe) = state.pipes.get(&conn) {
                let _ = pipe.input.send(bytes);
            }
        });
    }

    /// The last word about a connection, said once.
    fn finish(&self, conn: u32) {
        let pipe = self.state(|state| state.pipes.remove(&conn));
        if let Some(pipe) = pipe {
            if let Some(task) = pipe.task {
                task.abort();
            }
            self.tell(FromGuest::NetReset { conn });
        }
    }

    fn open(&self, conn: u32) -> DuplexStream {
        let (outer, inner) = duplex(PIECE);
        let (input, inputs) = mpsc::unbounded_channel();
        let credit = Arc::new(Semaphore::new(WINDOW as usize));
        let pipe = Pipe {
            input,
            credit: Arc::clone(&credit),
            task: None,
        };
        self.state(|state| state.pipes.insert(conn, pipe));
        let task = tokio::spawn(self.clone().pump(conn, inner, (inputs, credit)));
        self.state(|state| state.pipes.get_mut(&conn).unwrap().task = Some(task));
        outer
    }

    /// Moves bytes until both directions have ended.
    async fn pump(
        self,
        conn: u32,
        inner: DuplexStream,
        (mut inputs, credit): (mpsc::UnboundedReceiver<Option<Vec<u8>>>, Arc<Semaphore>),
    ) {
        let (mut reader, mut writer) = tokio::io::split(inner);
        let output = async {
            let mut buffer = vec![0; PIECE];
            loop {
                credit.acquire().await.unwrap().forget();
                let more = credit.available_permits().min(PIECE - 1);
                let more = credit.try_acquire_many(u32::try_from(more).unwrap()).unwrap();
                let room = 1 + more.num_permits();
                more.forget();
                let read = reader.read(&mut buffer[..room]).await.unwrap();
                credit.add_permits(room - read);
                if read == 0 {
                    return self.tell(FromGuest::NetEnd { conn });
                }
                let bytes = buffer[..read].to_vec();
                self.tell(FromGuest::NetData { conn, bytes });
            }
        };
        let input = async {
            while let Some(Some(bytes)) = inputs.recv().await {
                if writer.write_all(&bytes).await.is_err() {
                    return Err(());
                }
                let bytes = u32::try_from(bytes.len()).unwrap();
                self.tell(FromGuest::NetCredit { conn, bytes });
            }
            writer.shutdown().await.map_err(drop)
        };
        let output = async {
            output.await;
            Ok(())
        };
        let _ = tokio::try_join!(output, input);
        self.state(|state| state.pipes.get_mut(&conn).and_then(|pipe| pipe.task.take()));
        self.finish(conn);
    }

    fn state<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        with(&mut self.sandbox.state.lock().unwrap())
    }
}
