//! Models whose replies are written in YAML: for tests, demonstrations and rehearsals without a network.
//!
//! Owns: the format below, and answering from it. Must not: keep state (a reply depends on the request alone),
//! read files, use a network.
//!
//! ```yaml
//! harness: 1                           # version of the format, required
//! usage: {input: 100, output: 20}      # usage of turns that say nothing else; without it none is reported
//! delay: 0s                            # delay of turns that say nothing else
//! scripts:                             # the first one whose `when` fits answers
//!   - when: {task: "auth-*", sample: a, scaffold: react, epoch: 0, attempt: 1}   # each optional; `*`, `?` in texts
//!     turns:                           # turn n of an attempt is answered by the n-th entry
//!       - text: "Let me look."
//!         reasoning: "There is a log."
//!         tools: [{name: bash, arguments: {command: "ls"}}]   # or `arguments_text`, sent as it is
//!         delay: 500ms
//!         stop: tool_calls             # end_turn, tool_calls, max_tokens, refusal, content_filter, stop_text;
//!                                      # without it: tool_calls if there are tools, else end_turn
//!         usage: {input: 1, output: 2, cached_input: 0, reasoning: 0}
//!         repeat: 10                   # answers so many turns
//!       - text: "Third time lucky."
//!         fault: {kind: rate_limited, times: 2, retry_after: 1s}   # the first `times` tries of this turn fail;
//!                                      # without `times` every try. `status` belongs to `overloaded` (503)
//!       - hang: true                   # never answers
//!       - first:                       # the first alternative that fits
//!           - seen: 'password is (\w+)'          # a regular expression on the latest user or tool message
//!             tools: [{name: submit, arguments: {answer: "${1}"}}]
//!           - seen: 'token=(?P<token>\w+)'
//!             anywhere: true                     # on all messages, latest first
//!             text: "It was ${token}."
//!           - text: "I could not find it."       # without `seen`: always
//!     then: {text: "Nothing more."}    # answers every turn after the list
//! ```
//!
//! Kinds of `fault`: `rate_limited`, `overloaded`, `stalled`, `malformed`, `connection`, `quota_spent`,
//! `authentication`, `unknown_model`, `bad_request`, `context_too_long`, `content_policy`.
//! Next to `seen`, `${1}` and `${name}` in texts and in strings of arguments are what the pattern captured; `$${`
//! stands for `${`, and `${...}` that names no group stays. A request that no entry answers gets
//! [`ModelError::NoReply`](harness_core::model::ModelError::NoReply). A delay that is longer than the request waits
//! ends as [`ModelError::Stalled`](harness_core::model::ModelError::Stalled) after that wait.

mod client;
mod read;
mod script;
mod template;
mod yaml;

use std::fmt;

pub use client::ScriptedModel;

/// Something that is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ScriptProblem {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 if unknown.
    pub line: u64,
    /// The column, from 1; 0 if unknown.
    pub column: u64,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ScriptProblem {
    fn new(file: &str, line: u64, column: u64, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            column,
            message: message.into(),
        }
    }
}

impl fmt::Display for ScriptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            message,
        } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}
