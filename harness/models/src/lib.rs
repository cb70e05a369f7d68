//! Model clients: OpenAI-compatible servers over HTTP, and models scripted in YAML.
//!
//! Owns: wire formats of providers, what their failures mean, the format of scripts. Must not: try a call again
//! (the scheduler does), read files or the environment (the caller does), know sandboxes or tasks.

pub mod compat;
pub mod scripted;
#[cfg(feature = "testing")]
pub mod testing;
