//! Starts the program and speaks with it.

use harness_guest::{
    Ending, Exec, FrameReader, FromGuest, Identity, LONGEST_FROM_GUEST, LONGEST_TO_GUEST, PIECE, Problem,
    Stream, ToGuest, VERSION, WINDOW, encode,
};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Long enough for a loaded machine; a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Driver {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    pub(crate) child: std::sync::Arc<std::sync::Mutex<Child>>,
    reader: FrameReader,
    held: VecDeque<FromGuest>,
    /// Whether the program can still be asked to kill everything.
    pub(crate) listens: bool,
    _alive: mpsc::Sender<()>,
}

/// What a command did until its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) ending: Option<Ending>,
    pub(crate) survivors: u32,
    pub(crate) failed: Option<Problem>,
}

impl Driver {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_harness-guest"))
            .arg("init")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = child.stdout.take().unwrap();
        let child = std::sync::Arc::new(std::sync::Mutex::new(child));
        let (alive, over) = mpsc::channel::<()>();
        let watched = child.clone();
        std::thread::spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = watched.lock().unwrap().kill();
            }
        });
        let mut driver = Self {
            stdin,
            stdout,
            child,
            reader: FrameReader::new(LONGEST_FROM_GUEST),
            held: VecDeque::new(),
            listens: true,
            _alive: alive,
        };
        assert_eq!(driver.next(), FromGuest::Hello { version: VERSION });
        driver
    }

    pub(crate) fn say(&mut self, message: &ToGuest) {
        let mut bytes = Vec::new();
        encode(message, LONGEST_TO_GUEST, &mut bytes).unwrap();
        self.stdin.write_all(&bytes).unwrap();
    }

    /// Reads the next message of all.
    fn receive(&mut self) -> FromGuest {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(message) = self.reader.next().unwrap() {
                return message;
            }
            let count = self.stdout.read(&mut buffer).unwrap();
            assert!(count > 0, "the program has ended");
            self.reader.push(&buffer[..count]);
        }
    }

    pub(crate) fn next(&mut self) -> FromGuest {
        match self.held.pop_front() {
            Some(message) => message,
            None => self.receive(),
        }
    }

    /// Waits for a message; others stay for later.
    pub(crate) fn wait_for<T>(&mut self, mut wanted: impl FnMut(&FromGuest) -> Option<T>) -> T {
        let mut at = 0;
        loop {
            if at == self.held.len() {
                let message = self.receive();
                self.held.push_back(message);
            }
            if let Some(found) = wanted(&self.held[at]) {
                self.held.remove(at);
                return found;
            }
            at += 1;
        }
    }

    /// Waits until a command runs; returns its process.
    pub(crate) fn started(&mut self, wanted: u32) -> u32 {
        self.wait_for(|message| match message {
            FromGuest::Started { id, pid } if *id == wanted => Some(*pid),
            _ => None,
        })
    }

    /// Waits until a command has written a text to its output.
    pub(crate) fn wrote(&mut self, wanted: u32, text: &str) -> String {
        let mut all = String::new();
        loop {
            all += &self.wait_for(|message| match message {
                FromGuest::Output { id, bytes, .. } if *id == wanted => {
                    Some(String::from_utf8_lossy(bytes).into_owned())
                }
                _ => None,
            });
            if all.contains(text) {
                return all;
            }
        }
    }

    /// Waits until a command has written so many lines that are numbers, whatever pieces they come in.
    pub(crate) fn wrote_numbers(&mut self, wanted: u32, count: usize) -> Vec<String> {
        let mut all = String::new();
        loop {
            let whole = all.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let numbers = whole.lines().filter(|line| line.parse::<u32>().is_ok());
            let numbers: Vec<String> = numbers.map(str::to_owned).collect();
            if numbers.len() >= count {
                return numbers;
            }
            all += &self.wrote(wanted, "");
        }
    }

    /// Sends input to a command as fast as it is taken.
    pub(crate) fn feed(&mut self, wanted: u32, bytes: &[u8]) {
        let mut room = WINDOW as usize;
        for piece in bytes.chunks(PIECE) {
            while room < piece.len() {
                room += self.wait_for(|message| match message {
                    FromGuest::StdinTaken { id, bytes } if *id == wanted => usize::try_from(*bytes).ok(),
                    _ => None,
                });
            }
            room -= piece.len();
            let bytes = piece.to_vec();
            self.say(&ToGuest::Stdin { id: wanted, bytes });
        }
        self.say(&ToGuest::StdinEnd { id: wanted });
    }

    /// Waits until a request has an answer.
    pub(crate) fn answer(&mut self, wanted: u32) -> Result<(), Problem> {
        self.wait_for(|message| match message {
            FromGuest::Done { id } if *id == wanted => Some(Ok(())),
            FromGuest::Failed { id, problem } if *id == wanted => Some(Err(problem.clone())),
            _ => None,
        })
    }

    /// Waits until commands have ended and all their output too.
    pub(crate) fn seen(&mut self, wanted: &[u32]) -> BTreeMap<u32, Seen> {
        let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
        let mut open: BTreeMap<u32, u32> = wanted.iter().map(|id| (*id, 2)).collect();
        while !open.is_empty() {
            let known = open.clone();
            let message = self.wait_for(|message| {
                id_of(message)
                    .filter(|id| known.contains_key(id))
                    .map(|_| message.clone())
            });
            let id = id_of(&message).unwrap();
            let ended = seen.entry(id).or_default().take(message);
            let left = open.entry(id).or_default();
            *left = left.saturating_sub(ended);
            open.retain(|_, left| *left > 0);
        }
        seen
    }

    /// Runs a command to its end.
    pub(crate) fn run(&mut self, exec: Exec) -> Seen {
        let id = exec.id;
        self.say(&ToGuest::Exec(Box::new(exec)));
        self.seen(&[id]).remove(&id).unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.listens && !std::thread::panicking() {
            self.say(&ToGuest::KillAll { id: u32::MAX });
            assert_eq!(self.answer(u32::MAX), Ok(()));
        } else if self.listens {
            let mut bytes = Vec::new();
            encode(&ToGuest::KillAll { id: u32::MAX }, LONGEST_TO_GUEST, &mut bytes).unwrap();
            let _ = self.stdin.write_all(&bytes);
            std::thread::sleep(Duration::from_millis(500));
        }
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Seen {
    fn take(&mut self, message: FromGuest) -> u32 {
        match message {
            FromGuest::Output { stream, bytes, .. } => {
                let text = String::from_utf8_lossy(&bytes);
                match stream {
                    Stream::Stdout => self.stdout += &text,
                    Stream::Stderr => self.stderr += &text,
                }
                0
            }
            FromGuest::OutputEnd { .. } => 1,
            FromGuest::Exited {
                ending, survivors, ..
            } => {
                self.ending = Some(ending);
                self.survivors = survivors;
                1
            }
            FromGuest::Failed { problem, .. } => {
                self.failed = Some(problem);
                2
            }
            _ => 0,
        }
    }
}

fn id_of(message: &FromGuest) -> Option<u32> {
    match message {
        FromGuest::Started { id, .. }
        | FromGuest::Output { id, .. }
        | FromGuest::OutputEnd { id }
        | FromGuest::Exited { id, .. }
        | FromGuest::Failed { id, .. } => Some(*id),
        _ => None,
    }
}

pub(crate) fn me() -> Identity {
    Identity {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: vec![],
    }
}

/// Returns whether tests that need another user can run.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIPPED: not root, so nobody else can be acted as");
    }
    root
}

pub(crate) fn nobody() -> Identity {
    Identity {
        uid: 65534,
        gid: 65534,
        groups: vec![],
    }
}

pub(crate) fn exec(id: u32, argv: &[&str]) -> Exec {
    Exec {
        id,
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        env: vec![],
        cwd: "/".to_owned(),
        user: me(),
        stdin: false,
        terminal: None,
        timeout: None,
        output_limit: 1 << 30,
        kill_all_first: false,
        marker: format!("test-{}-{id}", std::process::id()),
    }
}

pub(crate) fn sh(id: u32, script: &str) -> Exec {
    exec(id, &["sh", "-c", script])
}
