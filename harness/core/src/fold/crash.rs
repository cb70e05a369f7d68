//! The endings of attempts whose process died.
//!
//! Owns: what is known of them. Must not: guess.

use std::time::Duration;

use crate::egress::EgressAttempt;
use crate::event::{AttemptEnded, AttemptEvent, Line, Then};
use crate::ids::AttemptId;
use crate::model::Usage;
use crate::outcome::{CancelledBy, Outcome};
use crate::ports::SandboxFact;

/// Returns the ending of an attempt whose process died and whose log can't be read: nothing is known of what it
/// used.
pub fn crashed(attempt: AttemptId) -> AttemptEnded {
    AttemptEnded {
        attempt,
        outcome: Outcome::Cancelled {
            by: CancelledBy::Crash,
        },
        turns: 0,
        usage: Usage::default(),
        judge_usage: Usage::default(),
        cost: None,
        working: Duration::ZERO,
        wall: Duration::ZERO,
        malformed_calls: 0,
        egress: crate::egress::EgressCounts::default(),
        log: None,
        then: Then::Open,
    }
}

/// Returns the ending of an attempt whose process died, from what its log still says. The last lines and a call
/// that was under way are lost, so the numbers are the least that was used, and the cost is not known.
pub fn crashed_after<'a>(
    attempt: AttemptId,
    lines: impl IntoIterator<Item = &'a Line<AttemptEvent>>,
) -> AttemptEnded {
    let mut ended = crashed(attempt);
    let mut began = None;
    // Connections that were open when the process died never came to be counted.
    let mut open: Vec<&EgressAttempt> = Vec::new();
    for line in lines {
        let began = *began.get_or_insert(line.at);
        let micros = u64::try_from(line.at.0.saturating_sub(began.0)).unwrap_or(0);
        ended.wall = ended.wall.max(Duration::from_micros(micros));
        ended.working = ended.working.max(line.working);
        match &line.event {
            AttemptEvent::ModelReplied { usage, .. } => {
                ended.turns += 1;
                ended.usage += *usage;
            }
            AttemptEvent::CallMalformed { .. } => ended.malformed_calls += 1,
            AttemptEvent::SandboxReported {
                fact: SandboxFact::Egress(egress),
            } => {
                ended.egress.count(egress.verdict);
                if let Some(at) = open.iter().position(|opened| is_same(opened, egress)) {
                    open.swap_remove(at);
                }
            }
            AttemptEvent::SandboxReported {
                fact: SandboxFact::EgressOpened(egress),
            } => open.push(egress),
            AttemptEvent::SandboxReported {
                fact: SandboxFact::Dropped { egress, .. },
            } => ended.egress.add(*egress),
            _ => {}
        }
    }
    for opened in open {
        ended.egress.count(opened.verdict);
    }
    ended
}

/// Whether an opening and an end are those of one connection.
fn is_same(opened: &EgressAttempt, ended: &EgressAttempt) -> bool {
    let of = |attempt: &EgressAttempt| (attempt.began, attempt.port);
    of(opened) == of(ended) && opened.host == ended.host && opened.method == ended.method
}
