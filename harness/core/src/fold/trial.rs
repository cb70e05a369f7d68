//! What became of a trial and its attempts.
//!
//! Owns: the values and which column a trial is counted in. Must not: decide what is legal (see `check`).

use std::time::Duration;

use serde::Serialize;

use crate::egress::EgressCounts;
use crate::event::{AttemptEnded, SkipReason, Then};
use crate::ids::AttemptId;
use crate::model::Usage;
use crate::outcome::Outcome;
use crate::score::ScoreResult;
use crate::units::{Timestamp, Usd};

/// A trial that was started or skipped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrialView {
    /// Its attempts; number 1 first.
    pub attempts: Vec<AttemptView>,
    /// Why it gets no (further) attempt, if it was skipped.
    pub skipped: Option<SkipReason>,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptView {
    /// Which.
    pub attempt: AttemptId,
    /// When it began.
    pub started: Timestamp,
    /// How it ended; `None` while it runs, or if its process died.
    pub ended: Option<EndedView>,
}

/// The ending of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedView {
    /// When.
    pub at: Timestamp,
    /// What was logged; the score in it is the newest.
    pub facts: AttemptEnded,
    /// Scores that were replaced, oldest first.
    pub past_scores: Vec<PastScore>,
}

/// A score that was replaced by scoring again.
#[derive(Clone, Debug, PartialEq)]
pub struct PastScore {
    /// The score.
    pub score: ScoreResult,
    /// When it was replaced.
    pub replaced: Timestamp,
    /// The version of the task that made the next score.
    pub by_task_version: u32,
    /// The version of this program that made the next score.
    pub by_version: String,
}

/// The column in which a trial is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialStatus {
    /// Its score reaches the threshold.
    Success,
    /// Its score does not.
    Failure,
    /// It ended, and the scorer came to no number.
    Unscored,
    /// A containment event ended it.
    Breached,
    /// Given up after void attempts.
    Void,
    /// Its last attempt was stopped from outside; a continued run tries it again.
    Cancelled,
    /// It gets no (further) attempt in this run, whatever its earlier attempts were.
    Skipped,
    /// Not tried yet, running, or waiting for another attempt.
    Open,
}

impl TrialStatus {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Unscored => "unscored",
            Self::Breached => "breached",
            Self::Void => "void",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Open => "open",
        }
    }
}

impl TrialView {
    /// Returns the ending that counts: the one that settled the trial, or the void one it was given up with.
    pub fn counted(&self) -> Option<&EndedView> {
        let ended = self.attempts.last()?.ended.as_ref()?;
        match ended.facts.then {
            Then::Settled | Then::GivenUp => Some(ended),
            Then::Retry { .. } | Then::Open => None,
        }
    }

    /// Returns whether no attempt may follow.
    pub fn is_final(&self) -> bool {
        self.skipped.is_some() || self.counted().is_some()
    }

    /// Returns the column in which the trial is counted.
    pub fn status(&self) -> TrialStatus {
        if self.skipped.is_some() {
            return TrialStatus::Skipped;
        }
        let Some(ended) = self.attempts.last().and_then(|attempt| attempt.ended.as_ref()) else {
            return TrialStatus::Open;
        };
        match &ended.facts.outcome {
            Outcome::Scored { score }
            | Outcome::LimitReached { score, .. }
            | Outcome::Refused { score, .. } => match score {
                ScoreResult::Scored(score) if score.success() => TrialStatus::Success,
                ScoreResult::Scored(_) => TrialStatus::Failure,
                ScoreResult::Unscored { .. } => TrialStatus::Unscored,
            },
            Outcome::Breached { .. } => TrialStatus::Breached,
            Outcome::Void { .. } if ended.facts.then == Then::GivenUp => TrialStatus::Void,
            Outcome::Void { .. } => TrialStatus::Open,
            Outcome::Cancelled { .. } => TrialStatus::Cancelled,
        }
    }

    /// Returns what all ended attempts of the trial used together.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for ended in self.attempts.iter().filter_map(|attempt| attempt.ended.as_ref()) {
            totals.add(&ended.facts);
        }
        totals
    }
}

/// What ended attempts used together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Attempts that ended.
    pub attempts: u64,
    /// Attempts whose log was not sealed since their process died. What they used is not in these sums unless
    /// it was read from their logs.
    pub unsealed: u64,
    /// Model calls that brought an answer.
    pub turns: u64,
    /// Malformed tool calls.
    pub malformed_calls: u64,
    /// How often sandboxes reached for the outside.
    pub egress: EgressCounts,
    /// Tokens.
    pub usage: Usage,
    /// Money; `None` as soon as that of one attempt is unknown.
    pub cost: Option<Usd>,
    /// Money of the attempts of which it is known.
    pub known_cost: Usd,
    /// Time not spent waiting.
    pub working: Duration,
    /// Time by the clock.
    pub wall: Duration,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            attempts: 0,
            unsealed: 0,
            turns: 0,
            malformed_calls: 0,
            egress: EgressCounts::default(),
            usage: Usage::default(),
            cost: Some(Usd::ZERO),
            known_cost: Usd::ZERO,
            working: Duration::ZERO,
            wall: Duration::ZERO,
        }
    }
}

impl Totals {
    /// Adds what an attempt used.
    pub fn add(&mut self, ended: &AttemptEnded) {
        self.attempts += 1;
        self.unsealed += u64::from(ended.log.is_none());
        self.turns += u64::from(ended.turns);
        self.malformed_calls += u64::from(ended.malformed_calls);
        self.egress.allowed += ended.egress.allowed;
        self.egress.blocked += ended.egress.blocked;
        self.usage += ended.usage;
        self.usage += ended.judge_usage;
        self.cost = self.cost.zip(ended.cost).map(|(sum, cost)| sum + cost);
        self.known_cost += ended.cost.unwrap_or_default();
        self.working = self.working.saturating_add(ended.working);
        self.wall = self.wall.saturating_add(ended.wall);
    }
}
