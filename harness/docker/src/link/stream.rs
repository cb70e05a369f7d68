//! The attached stream: frames out, frames in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::StreamExt;
use harness_guest::{
    FrameError, FrameReader, FromGuest, LONGEST_FROM_GUEST, LONGEST_TO_GUEST, ToGuest, VERSION, encode,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::table::{Asked, Table};
use crate::net::{Listener, Net};
use crate::output::OutputStream;

/// How much is gathered before it is written to the stream.
const BATCH: usize = 256 << 10;
/// How much of what the helper says on its standard error is kept as evidence.
const LAST_WORDS: usize = 4 << 10;
/// How long a helper may take for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// How long a request may go without an answer before a sign of life is asked for; killing everything takes up to eight
/// seconds in which the helper reads nothing. And how often that is done before the request itself counts as ignored.
const SILENCE: Duration = Duration::from_secs(20);
const SILENCES: u32 = 15;

type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Why nothing more comes over a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It ended, or the helper is silent.
    Ended(String),
    /// A frame was wrong.
    Breach(String),
}

/// Why a helper that was started can't be spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoGreeting {
    /// It speaks another version, as it always will.
    Version(u16),
    /// This time the stream broke, or nothing came.
    Broken(Broken),
}

/// A stream that is attached to a container that does not run yet.
pub(crate) struct Attached {
    output: OutputStream,
    input: Input,
}

/// The stream to the helper of one container. Dropping it closes the stream; the helper lives on.
pub(crate) struct Link {
    inner: Arc<Inner>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

struct Inner {
    outbox: mpsc::UnboundedSender<ToGuest>,
    table: Mutex<Table>,
    /// The last number that was given to a request.
    last: Arc<AtomicU32>,
    net: Net,
    broken: watch::Sender<Option<Broken>>,
}

impl Attached {
    /// Attaches to a container before it is started, so that nothing is missed.
    pub(crate) async fn to(docker: &Docker, container: &str) -> Result<Self, bollard::errors::Error> {
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let AttachContainerResults { output, input } =
            docker.attach_container(container, Some(options)).await?;
        Ok(Self { output, input })
    }

    /// Waits for the helper's greeting.
    pub(crate) async fn greeted(mut self, wait: Duration) -> Result<Link, NoGreeting> {
        let mut frames = FrameReader::new(LONGEST_FROM_GUEST);
        let mut words = VecDeque::new();
        let greeting = tokio::time::timeout(wait, greeting(&mut self.output, &mut frames, &mut words)).await;
        match greeting {
            Ok(Ok(VERSION)) => {}
            Ok(Ok(other)) => return Err(NoGreeting::Version(other)),
            Ok(Err(broken)) => return Err(NoGreeting::Broken(broken)),
            Err(_) => {
                return Err(NoGreeting::Broken(Broken::Ended(
                    "the helper did not greet".to_owned(),
                )));
            }
        }
        let (outbox, messages) = mpsc::unbounded_channel();
        let last = Arc::new(AtomicU32::new(0));
        let inner = Arc::new(Inner {
            net: Net::new(outbox.clone(), Arc::clone(&last)),
            outbox,
            table: Mutex::default(),
            last,
            broken: watch::Sender::new(None),
        });
        let reader = read_on(Arc::clone(&inner), self.output, frames, words);
        let writer = write_on(messages, self.input);
        Ok(Link {
            inner,
            _tasks: [
                AbortOnDropHandle::new(tokio::spawn(reader)),
                AbortOnDropHandle::new(tokio::spawn(writer)),
            ],
        })
    }
}

impl Link {
    /// Returns a number for a request.
    pub(crate) fn number(&self) -> u32 {
        self.inner.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Sends a message. A broken stream is noticed by whoever waits for an answer.
    pub(crate) fn send(&self, message: ToGuest) {
        let _ = self.inner.outbox.send(message);
    }

    /// Returns the connections of this stream.
    pub(crate) fn net(&self) -> &Net {
        &self.inner.net
    }

    /// Has the helper accept connections at a loopback address of the sandbox.
    pub(crate) async fn listen(&self, address: [u8; 4], port: u16) -> Result<Listener, String> {
        let ask = |number| self.ask_to_listen(number, address, port);
        self.net().listen(ask).await
    }

    /// Sends the request to listen under a number and waits for the answer.
    pub(crate) async fn ask_to_listen(&self, id: u32, address: [u8; 4], port: u16) -> Result<(), String> {
        let (answer, done) = oneshot::channel();
        self.enter(id, Asked::Deed(answer));
        self.send(ToGuest::Listen { id, address, port });
        match self.answer(done).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problem)) => Err(problem.text),
            Err(Broken::Ended(why) | Broken::Breach(why)) => Err(why),
        }
    }

    /// Enters a request before it is sent.
    pub(super) fn enter(&self, id: u32, asked: Asked) {
        self.table().insert(id, asked);
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why nothing more comes, if that is so.
    pub(crate) fn broken(&self) -> Option<Broken> {
        self.inner.broken.borrow().clone()
    }

    /// Resolves when nothing more comes.
    pub(crate) async fn until_broken(&self) -> Broken {
        let mut broken = self.inner.broken.subscribe();
        match broken.wait_for(Option::is_some).await {
            Ok(found) => found.clone().unwrap_or(Broken::Ended(String::new())),
            Err(_) => Broken::Ended("the stream was given up".to_owned()),
        }
    }

    /// Waits for the answer to a request. A helper that lets it wait must still give signs of life.
    pub(super) async fn answer<T>(&self, mut answer: oneshot::Receiver<T>) -> Result<T, Broken> {
        for _ in 0..SILENCES {
            match tokio::time::timeout(SILENCE, &mut answer).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(_)) => return Err(self.until_broken().await),
                Err(_) => self.check().await?,
            }
        }
        Err(Broken::Ended("the helper leaves a request unanswered".to_owned()))
    }

    /// Checks that the helper still answers.
    pub(crate) async fn check(&self) -> Result<(), Broken> {
        let (tell, answer) = oneshot::channel();
        let id = self.number();
        self.enter(id, Asked::Ping(tell));
        self.send(ToGuest::Ping { id });
        match tokio::time::timeout(SIGN_OF_LIFE, answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.until_broken().await),
            Err(_) => Err(Broken::Ended("the helper gives no sign of life".to_owned())),
        }
    }
}

async fn greeting(
    output: &mut OutputStream,
    frames: &mut FrameReader,
    words: &mut VecDeque<u8>,
) -> Result<u16, Broken> {
    loop {
        match frames.next::<FromGuest>() {
            Ok(Some(FromGuest::Hello { version })) => return Ok(version),
            Ok(Some(_)) => return Err(Broken::Breach("the helper did not greet first".to_owned())),
            Ok(None) => {}
            Err(error) => return Err(Broken::Breach(error.to_string())),
        }
        match output.next().await {
            Some(Ok(LogOutput::StdErr { message })) => keep_words(words, &message),
            Some(Ok(piece)) => frames.push(&piece.into_bytes()),
            Some(Err(error)) => return Err(Broken::Ended(error.to_string())),
            None => return Err(ended(words)),
        }
    }
}

fn keep_words(words: &mut VecDeque<u8>, bytes: &[u8]) {
    words.extend(bytes);
    let over = words.len().saturating_sub(LAST_WORDS);
    words.drain(..over);
}

fn ended(words: &VecDeque<u8>) -> Broken {
    let words: Vec<u8> = words.iter().copied().collect();
    let words = harness_core::text::printable(&String::from_utf8_lossy(&words));
    Broken::Ended(match words.trim() {
        "" => "the stream to the helper ended".to_owned(),
        words => format!("the helper ended: {words}"),
    })
}

async fn read_on(
    inner: Arc<Inner>,
    mut output: OutputStream,
    mut frames: FrameReader,
    mut words: VecDeque<u8>,
) {
    let broken = loop {
        if let Err(breach) = take_all(&inner, &mut frames) {
            break breach;
        }
        match output.next().await {
            Some(Ok(LogOutput::StdErr { message })) => keep_words(&mut words, &message),
            Some(Ok(piece)) => frames.push(&piece.into_bytes()),
            Some(Err(error)) => break Broken::Ended(error.to_string()),
            None => break ended(&words),
        }
    };
    tracing::debug!(?broken, "the stream to a helper is over");
    let mut table = inner.table.lock().unwrap_or_else(PoisonError::into_inner);
    inner.break_off(&mut table, broken);
    drop(table);
    inner.net.close();
}

impl Inner {
    /// Says why nothing more comes, and to all who wait that nothing does.
    fn break_off(&self, table: &mut Table, broken: Broken) {
        self.broken.send_replace(Some(broken));
        table.close();
    }
}

/// Takes all whole frames that were read. After a wrong one the table is closed before anybody else can look: what the
/// wrong one did to it must not be taken for an answer.
fn take_all(inner: &Inner, frames: &mut FrameReader) -> Result<(), Broken> {
    let mut table = inner.table.lock().unwrap_or_else(PoisonError::into_inner);
    take_frames(inner, &mut table, frames).map_err(|wrong| {
        let breach = Broken::Breach(wrong);
        inner.break_off(&mut table, breach.clone());
        breach
    })
}

fn take_frames(inner: &Inner, table: &mut Table, frames: &mut FrameReader) -> Result<(), String> {
    while let Some(message) = frames
        .next::<FromGuest>()
        .map_err(|error: FrameError| error.to_string())?
    {
        match message {
            FromGuest::Accepted { .. }
            | FromGuest::Dialled { .. }
            | FromGuest::Ports { .. }
            | FromGuest::NetData { .. }
            | FromGuest::NetCredit { .. }
            | FromGuest::NetEnd { .. }
            | FromGuest::NetReset { .. } => inner.net.take(message).map_err(|breach| breach.what)?,
            other => table.take(other)?,
        }
    }
    Ok(())
}

async fn write_on(mut messages: mpsc::UnboundedReceiver<ToGuest>, mut input: Input) {
    let mut batch = Vec::new();
    while let Some(message) = messages.recv().await {
        add(&message, &mut batch);
        while batch.len() < BATCH
            && let Ok(message) = messages.try_recv()
        {
            add(&message, &mut batch);
        }
        if input.write_all(&batch).await.is_err() || input.flush().await.is_err() {
            return;
        }
        batch.clear();
    }
}

fn add(message: &ToGuest, batch: &mut Vec<u8>) {
    if let Err(error) = encode(message, LONGEST_TO_GUEST, batch) {
        tracing::error!(%error, "a message to a helper could not be sent");
    }
}
