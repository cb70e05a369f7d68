//! The host's side of the stream to a sandbox's helper.
//!
//! Owns: the stream, what was asked over it, and the check that every answer makes sense. Must not: believe the helper:
//! a frame that is wrong at this point is a containment event.

mod command;
mod files;
mod stream;
mod table;
mod terminal;

pub(crate) use command::{CommandAsked, LinkRan, Over};
pub(crate) use stream::{Attached, Broken, Link, NoGreeting};
pub(crate) use table::Exit;
pub(crate) use terminal::LinkTerminal;
