//! Scripts after reading: everything compiled, nothing to fail.
//!
//! Owns: which entry answers a request. Must not: wait.

use std::sync::Arc;
use std::time::Duration;

use harness_core::model::{CallOrigin, Message, ModelError, ModelRequest, Reply, StopReason, Usage};
use harness_core::text::glob_fits;
use regex::{Captures, Regex};

use super::template::Template;

/// One entry of `scripts`.
#[derive(Debug)]
pub(super) struct Script {
    /// Where it begins.
    pub(super) line: u64,
    pub(super) when: When,
    pub(super) turns: Vec<Turn>,
    /// For each turn, the number of the conversation's turn after its last.
    pub(super) ends: Vec<u32>,
    pub(super) then: Option<Turn>,
}

/// Which requests a script answers.
#[derive(Debug, Default)]
pub(super) struct When {
    pub(super) task: Option<String>,
    pub(super) sample: Option<String>,
    pub(super) scaffold: Option<String>,
    pub(super) epoch: Option<u32>,
    pub(super) attempt: Option<u32>,
}

impl When {
    pub(super) fn fits(&self, origin: &CallOrigin) -> bool {
        let text = |pattern: &Option<String>, name: &str| {
            pattern.as_ref().is_none_or(|pattern| glob_fits(pattern, name))
        };
        let number = |wanted: Option<u32>, number: u32| wanted.is_none_or(|wanted| wanted == number);
        text(&self.task, origin.task.as_str())
            && text(&self.sample, origin.sample.as_str())
            && text(&self.scaffold, origin.scaffold.as_str())
            && number(self.epoch, origin.epoch)
            && number(self.attempt, origin.attempt.number)
    }
}

impl Script {
    /// Returns what answers a turn.
    pub(super) fn turn(&self, turn: u32) -> Option<&Turn> {
        let at = self.ends.partition_point(|end| *end <= turn);
        self.turns.get(at).or(self.then.as_ref())
    }
}

/// What happens in one turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) line: u64,
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
    pub(super) alternatives: Vec<Alternative>,
}

/// Tries that fail.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// How many tries fail; all if `None`.
    pub(super) times: Option<u32>,
    pub(super) retry_after: Option<Duration>,
    pub(super) status: u16,
}

/// The error of a fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum FaultKind {
    RateLimited,
    Overloaded,
    Stalled,
    Malformed,
    Connection,
    QuotaSpent,
    Authentication,
    UnknownModel,
    BadRequest,
    ContextTooLong,
    ContentPolicy,
}

impl FaultKind {
    /// Every kind with its word.
    pub(super) const ALL: [(&'static str, Self); 11] = [
        ("rate_limited", Self::RateLimited),
        ("overloaded", Self::Overloaded),
        ("stalled", Self::Stalled),
        ("malformed", Self::Malformed),
        ("connection", Self::Connection),
        ("quota_spent", Self::QuotaSpent),
        ("authentication", Self::Authentication),
        ("unknown_model", Self::UnknownModel),
        ("bad_request", Self::BadRequest),
        ("context_too_long", Self::ContextTooLong),
        ("content_policy", Self::ContentPolicy),
    ];
}

impl Fault {
    /// Returns the error of a try, if it fails.
    pub(super) fn error(&self, request: &ModelRequest) -> Option<ModelError> {
        if self.times.is_some_and(|times| request.origin.tries >= times) {
            return None;
        }
        let detail = "scripted fault".to_owned();
        Some(match self.kind {
            FaultKind::RateLimited => ModelError::RateLimited {
                retry_after: self.retry_after,
            },
            FaultKind::Overloaded => ModelError::Overloaded {
                status: self.status,
                retry_after: self.retry_after,
            },
            FaultKind::Stalled => ModelError::Stalled {
                waited: request.timeout,
            },
            FaultKind::Malformed => ModelError::Malformed { detail },
            FaultKind::Connection => ModelError::Connection { detail },
            FaultKind::QuotaSpent => ModelError::QuotaSpent { detail },
            FaultKind::Authentication => ModelError::Authentication { detail },
            FaultKind::UnknownModel => ModelError::UnknownModel { detail },
            FaultKind::BadRequest => ModelError::BadRequest { detail },
            FaultKind::ContextTooLong => ModelError::ContextTooLong { detail },
            FaultKind::ContentPolicy => ModelError::ContentPolicy { detail },
        })
    }
}

/// A reply and when it is given.
#[derive(Debug)]
pub(super) struct Alternative {
    pub(super) seen: Option<Seen>,
    /// `None` leaves it to the turn.
    pub(super) delay: Option<Duration>,
    pub(super) action: Action,
}

/// Why an alternative fits.
#[derive(Debug)]
pub(super) enum Fit<'m> {
    /// It always does.
    Always,
    /// Its pattern was found.
    Found(Captures<'m>),
}

impl<'m> Fit<'m> {
    /// Returns what was captured.
    pub(super) fn captures(&self) -> Option<&Captures<'m>> {
        match self {
            Self::Always => None,
            Self::Found(captures) => Some(captures),
        }
    }
}

impl Alternative {
    /// Tells whether this alternative fits.
    pub(super) fn fit<'m>(&self, messages: &'m [Arc<Message>]) -> Option<Fit<'m>> {
        match &self.seen {
            None => Some(Fit::Always),
            Some(seen) => seen.find(messages).map(Fit::Found),
        }
    }
}

/// A pattern on what was said before.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) pattern: Regex,
    pub(super) scope: Scope,
}

/// Where a pattern is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    /// In the latest message of the user or a tool.
    Latest,
    /// In all messages, latest first.
    Anywhere,
}

impl Seen {
    fn find<'m>(&self, messages: &'m [Arc<Message>]) -> Option<Captures<'m>> {
        let mut texts = messages.iter().rev().map(|message| match &**message {
            Message::System { text } | Message::Assistant(Reply { text, .. }) => (text, false),
            Message::User { text } | Message::Tool { text, .. } => (text, true),
        });
        match self.scope {
            Scope::Latest => {
                let (text, _) = texts.find(|(_, heard)| *heard)?;
                self.pattern.captures(text)
            }
            Scope::Anywhere => texts.find_map(|(text, _)| self.pattern.captures(text)),
        }
    }
}

/// What an alternative does.
#[derive(Debug)]
pub(super) enum Action {
    Hang,
    Reply(ReplyTemplate),
}

/// A reply with places for captures.
#[derive(Debug)]
pub(super) struct ReplyTemplate {
    pub(super) text: Template,
    pub(super) reasoning: Option<Template>,
    pub(super) tools: Vec<ToolTemplate>,
    pub(super) stop: StopReason,
    pub(super) usage: Option<Usage>,
}

/// A tool call with places for captures.
#[derive(Debug)]
pub(super) struct ToolTemplate {
    pub(super) name: Template,
    pub(super) arguments: Template,
}
