//! Chat completions as OpenAI defined them and most servers speak them, streamed or whole.
//!
//! Owns: requests, answers and failures of such a server. Must not: try again, follow redirects, use proxies of
//! the environment, or let the key into an error text.
//!
//! Waiting: `request.timeout` bounds the whole call. Once the body has begun, no pause in it may be longer than
//! [`CompatSettings::stall_timeout`]; before that a server may think as long as the whole call may take, since
//! reasoning models stay silent for minutes.

mod answer;
mod client;
mod failure;
mod redact;
mod settings;
mod sse;
mod wire;

pub use client::{CompatClient, HttpClient};
pub use settings::{CompatSettings, DEFAULT_STALL_TIMEOUT, Dialect, SettingsError};

/// The longest body that is read.
pub const MAX_BODY: usize = 16 << 20;
/// The longest reply that is taken: text, reasoning and arguments together.
pub const MAX_REPLY: usize = 1 << 20;
