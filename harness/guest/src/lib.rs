//! The frames between `harness` and its helper inside a sandbox.
//!
//! The helper is the first process of a sandbox. Both sides speak over the one attached stream of the container, in
//! frames of a length and a message. What comes out of a sandbox is hostile: every frame is bounded, and whoever reads
//! it checks that it makes sense at this point.
//!
//! Owns: framing and messages. Must not: do anything (the program beside it does).

mod frame;
mod message;

pub use frame::{FrameError, FrameReader, encode};
pub use message::{
    Ending, Entry, EntryKind, Exec, FileRead, FileWrite, FromGuest, Identity, Problem, ProblemKind, Process,
    Stream, TerminalState, ToGuest, WindowSize,
};

/// The version of the messages; both sides must have the same.
pub const VERSION: u16 = 2;
/// The longest message to the helper, in bytes.
pub const LONGEST_TO_GUEST: usize = 1 << 20;
/// The longest message from the helper, in bytes.
pub const LONGEST_FROM_GUEST: usize = 128 << 10;
/// How many bytes of a stream, file or connection travel in one message at most.
pub const PIECE: usize = 32 << 10;
/// How many bytes of a connection, in one direction, or of a command's input may be under way before the other side has
/// taken them.
pub const WINDOW: u32 = 256 << 10;
/// The most connections of one sandbox at a time.
pub const MOST_CONNECTIONS: usize = 256;
/// Connections that the helper numbers (accepted ones) have this bit; those that the host numbers (dialled) don't.
pub const ACCEPTED: u32 = 1 << 31;
/// The variable that marks the processes of one command.
pub const MARKER: &str = "HARNESS_EXEC";
