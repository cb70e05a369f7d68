//! Keeps what happened: append-only logs, blobs and the plan of a run in its folder.
//!
//! Owns: the layout of `results/<run>/`, durability, and the one place where secrets are taken out. Must not:
//! know what events mean (see `fold` in core), or decide anything.
//!
//! ```text
//! results/
//!   .lock                     who uses this folder
//!   <run>/
//!     plan.json               what was asked; written once
//!     run.jsonl               facts of the scheduler
//!     attempts/000012.1.jsonl facts of the first attempt of trial 12
//!     blobs/ab/abcdef...      content by digest
//! ```

mod attempt;
mod blob;
mod dir;
mod disk;
mod encode;
mod files;
mod health;
mod lock;
mod memory;
mod read;
mod scrub;
#[cfg(test)]
mod tests;
mod writer;

pub use dir::RunDir;
pub use disk::DiskStore;
pub use lock::{Holder, LockError, ResultsLock};
pub use memory::MemoryStore;
pub use read::{AttemptReader, RunLog, Torn, read_run};
pub use scrub::{Scrubber, WeakSecret};
