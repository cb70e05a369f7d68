//! What both sides say to each other.

use serde::{Deserialize, Serialize};

/// A message to the helper. Numbers (`id`) are the host's and are never used twice in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToGuest {
    /// Start a command. Answer: `Started`, then `Output`, `OutputEnd` and `Exited` in any order; or `Failed`.
    Exec(Box<Exec>),
    /// Bytes for a command's input. Of those for a pipe no more than [`WINDOW`](crate::WINDOW) may be under way that the
    /// helper has not said to be taken; what a terminal has no room for is dropped.
    Stdin {
        /// The command.
        id: u32,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A command's input has ended.
    StdinEnd {
        /// The command.
        id: u32,
    },
    /// The window of a command with a terminal has another size.
    Resize {
        /// The command.
        id: u32,
        /// The new size.
        size: WindowSize,
    },
    /// Answer with `Terminal`.
    AskTerminal {
        /// The command.
        id: u32,
    },
    /// Kill a command and everything that it started, however it hides. `Exited` follows, unless it came before.
    Kill {
        /// The command.
        id: u32,
    },
    /// Close what is open of a command; what it left running goes on. Answer: `Forgotten`, the last of this command.
    Forget {
        /// The command.
        id: u32,
    },
    /// Kill everything but the helper. Answer: `Done` when nothing is left, or `Failed`. Running commands exit as killed.
    KillAll {
        /// This request.
        id: u32,
    },
    /// Read a regular file. Answer: `File`, `FileData`..., `FileEnd`; or `Failed`.
    Read(FileRead),
    /// Put a file; `WriteData`... and `WriteEnd` follow. Answer: `Done` or `Failed` after the end.
    Write(FileWrite),
    /// Content of a file that is put.
    WriteData {
        /// The request.
        id: u32,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The file is whole.
    WriteEnd {
        /// The request.
        id: u32,
    },
    /// Look at a path without following a link at its end. Answer: `Entries` with one entry; or `Failed`.
    Stat {
        /// This request.
        id: u32,
        /// The path.
        path: String,
        /// As whom.
        user: Identity,
    },
    /// List a folder. Answer: `Entries`..., the last with `last`; or `Failed`.
    List {
        /// This request.
        id: u32,
        /// The path.
        path: String,
        /// As whom.
        user: Identity,
    },
    /// List processes. Answer: `Processes`.
    AskProcesses {
        /// This request.
        id: u32,
    },
    /// Answer with `Pong`.
    Ping {
        /// This request.
        id: u32,
    },
    /// Accept connections at a loopback address. Answer: `Done` or `Failed`; then `Accepted` for each connection.
    Listen {
        /// This request, and the listener's number from then on.
        id: u32,
        /// The address; only 127.0.0.0/8 is accepted.
        address: [u8; 4],
        /// The port.
        port: u16,
    },
    /// Accept no more.
    Unlisten {
        /// The listener.
        id: u32,
    },
    /// Connect to a port of this sandbox's loopback address. Answer: `Dialled` or `NetReset`.
    Dial {
        /// The connection's number, without the `ACCEPTED` bit.
        conn: u32,
        /// The port.
        port: u16,
    },
    /// Say now, and whenever they change, which TCP ports are listened to at other than loopback addresses: `Ports`.
    WatchPorts,
    /// Bytes of a connection; never more than the credit allows.
    NetData {
        /// The connection.
        conn: u32,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The host has taken so many bytes of a connection.
    NetCredit {
        /// The connection.
        conn: u32,
        /// How many.
        bytes: u32,
    },
    /// The host sends no more on a connection.
    NetEnd {
        /// The connection.
        conn: u32,
    },
    /// The connection is over in both directions. The helper answers `NetReset` once, unless it has sent it already.
    NetReset {
        /// The connection.
        conn: u32,
    },
}

/// A message from the helper. Everything in it may be a lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromGuest {
    /// The first message.
    Hello {
        /// [`VERSION`](crate::VERSION).
        version: u16,
    },
    /// A command runs.
    Started {
        /// The command.
        id: u32,
        /// Its process in the sandbox.
        pid: u32,
    },
    /// Output of a command.
    Output {
        /// The command.
        id: u32,
        /// Which stream.
        stream: Stream,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// All output of a command has ended: nothing holds its streams open any more.
    OutputEnd {
        /// The command.
        id: u32,
    },
    /// A command's own process has ended. If it was killed, everything that it started is dead too.
    Exited {
        /// The command.
        id: u32,
        /// How.
        ending: Ending,
        /// How often the kernel has killed something in this sandbox for lack of memory since the command started;
        /// `None` if that can't be seen.
        oom_kills: Option<u64>,
        /// How long it ran, in microseconds.
        took: u64,
        /// How many of its processes could not be killed.
        survivors: u32,
    },
    /// So much of a command's input went to its pipe, or nowhere since the command reads no more.
    StdinTaken {
        /// The command.
        id: u32,
        /// How many bytes.
        bytes: u32,
    },
    /// The state of a command's terminal.
    Terminal {
        /// The command.
        id: u32,
        /// The state.
        state: TerminalState,
    },
    /// Nothing more comes of a command.
    Forgotten {
        /// The command.
        id: u32,
    },
    /// A request is done.
    Done {
        /// The request.
        id: u32,
    },
    /// A request could not be done.
    Failed {
        /// The request.
        id: u32,
        /// Why.
        problem: Problem,
    },
    /// A file that is read.
    File {
        /// The request.
        id: u32,
        /// Its size.
        size: u64,
    },
    /// Content of a file that is read.
    FileData {
        /// The request.
        id: u32,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The end of what is read.
    FileEnd {
        /// The request.
        id: u32,
    },
    /// What is in a folder.
    Entries {
        /// The request.
        id: u32,
        /// Some of it.
        entries: Vec<Entry>,
        /// Whether that is all.
        last: bool,
    },
    /// What runs; at most a few hundred processes are named.
    Processes {
        /// The request.
        id: u32,
        /// The processes.
        processes: Vec<Process>,
    },
    /// The helper lives.
    Pong {
        /// The request.
        id: u32,
    },
    /// Somebody connected to a listener.
    Accepted {
        /// The connection's number, with the `ACCEPTED` bit.
        conn: u32,
        /// The listener.
        listener: u32,
    },
    /// A connection that was dialled is there.
    Dialled {
        /// The connection.
        conn: u32,
    },
    /// TCP ports that are listened to at other than loopback addresses, in order.
    Ports {
        /// The ports.
        ports: Vec<u16>,
    },
    /// Bytes of a connection; never more than the credit allows.
    NetData {
        /// The connection.
        conn: u32,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The helper has passed on so many bytes of a connection.
    NetCredit {
        /// The connection.
        conn: u32,
        /// How many.
        bytes: u32,
    },
    /// The sandbox's side sends no more on a connection.
    NetEnd {
        /// The connection.
        conn: u32,
    },
    /// The connection is over in both directions; the last message of it.
    NetReset {
        /// The connection.
        conn: u32,
    },
}

/// A command to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Its number.
    pub id: u32,
    /// Program and arguments; the program is looked for in PATH.
    pub argv: Vec<String>,
    /// Variables on top of the helper's own.
    pub env: Vec<(String, String)>,
    /// The folder.
    pub cwd: String,
    /// As whom.
    pub user: Identity,
    /// Whether it reads something; else its input is empty.
    pub stdin: bool,
    /// The size of its terminal, if it has one. Then there is one stream of output, and input goes to the terminal.
    pub terminal: Option<WindowSize>,
    /// How long it may take, in milliseconds; then it is killed with everything that it started.
    pub timeout: Option<u64>,
    /// How many bytes both streams may have together; then it is killed with everything that it started.
    pub output_limit: u64,
    /// Whether everything but the helper is killed first.
    pub kill_all_first: bool,
    /// The value of [`MARKER`](crate::MARKER), unique in the sandbox.
    pub marker: String,
}

/// As whom something is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRead {
    /// This request.
    pub id: u32,
    /// The path; a link at its end is not followed.
    pub path: String,
    /// As whom.
    pub user: Identity,
    /// How many bytes at most, from the beginning.
    pub cap: u64,
}

/// A file to put. It replaces whatever but a folder is at its path; it is never half there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWrite {
    /// This request.
    pub id: u32,
    /// The path. Missing folders are made. On the way a link is followed if it is root's, else replaced by a folder.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Below this folder files and new folders belong to `user`; elsewhere to root.
    pub home: String,
    /// Whose files below `home` are.
    pub user: Identity,
}

/// A size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// One of a command's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// By itself; 128 + n for signal n.
    Exited(i32),
    /// At its timeout.
    TimedOut,
    /// It wrote too much.
    OutputLimit,
    /// On request.
    Killed,
}

/// The state of a terminal, as far as it can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalState {
    /// Whether the command itself (a shell, not something that it started) is in the foreground.
    pub idle: Option<bool>,
    /// Whether input is taken by lines (as while an ordinary program runs), not by keys.
    pub by_lines: Option<bool>,
}

/// Why a request could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// In words.
    pub text: String,
}

/// What kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProblemKind {
    /// There is no such file, folder or program.
    Missing,
    /// It is not of the kind that is needed (a link, a device, a folder).
    WrongKind,
    /// The user may not.
    Denied,
    /// The disk is full.
    DiskFull,
    /// Something survived being killed.
    Survivors,
    /// Anything else.
    Other,
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the folder, as bytes; for `Stat` the path.
    #[serde(with = "serde_bytes")]
    pub name: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Its size.
    pub size: u64,
    /// How many names the file has.
    pub links: u64,
    /// Its owner.
    pub uid: u32,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Special,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number in the sandbox.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its user.
    pub uid: u32,
    /// Its state, as in ps: R, S, D, T, Z.
    pub state: u8,
    /// The command that it belongs to, if its marker says so.
    pub marker: Option<String>,
    /// Its name, shortened and printable.
    pub name: String,
}
