//! Generates legal runs by playing a small scheduler, and keeps its own books beside.

use std::collections::BTreeMap;

use crate::event::{RunEnd, RunEvent, SkipReason, Then};
use crate::fold::{TrialStatus, crashed};
use crate::ids::{AttemptId, PhaseId, TrialId};
use crate::outcome::{CancelledBy, Outcome, RefusedBy};
use crate::score::{ScoreResult, Unscored};
use crate::task::LimitKind;
use crate::text::Capped;
use crate::units::{Tokens, Usd};

/// Phases with their trials.
pub(super) struct Plan {
    phases: Vec<(PhaseId, Vec<TrialId>)>,
    /// All trials.
    pub(super) trials: Vec<TrialId>,
}

impl Plan {
    pub(super) fn new(sizes: &[u32]) -> Self {
        let phase = |(at, size): (usize, &u32)| {
            let trials = (0..*size).map(|n| TrialId::new(format!("p{at}/t{n}"))).collect();
            (PhaseId::new(format!("p{at}")), trials)
        };
        let phases: Vec<(PhaseId, Vec<TrialId>)> = sizes.iter().enumerate().map(phase).collect();
        let trials = phases.iter().flat_map(|(_, trials)| trials.clone()).collect();
        Self { phases, trials }
    }
}

#[derive(Clone, Default)]
struct Book {
    attempts: u32,
    running: bool,
    status: Option<TrialStatus>,
    is_final: bool,
    scored: bool,
}

/// A legal run and what must be true of it.
pub(super) struct Script {
    pub(super) events: Vec<RunEvent>,
    pub(super) input: Tokens,
    pub(super) cost: Option<Usd>,
    books: BTreeMap<TrialId, Book>,
    next_phase: usize,
    in_phase: bool,
    stopped: bool,
    over: bool,
}

impl Script {
    pub(super) fn new(plan: &Plan, choices: &[u16]) -> Self {
        let books = plan
            .trials
            .iter()
            .map(|trial| (trial.clone(), Book::default()))
            .collect();
        let mut script = Self {
            events: vec![super::run_started()],
            input: Tokens::ZERO,
            cost: Some(Usd::ZERO),
            books,
            next_phase: 0,
            in_phase: false,
            stopped: false,
            over: false,
        };
        for choice in choices {
            script.step(plan, *choice);
        }
        script
    }

    pub(super) fn status(&self, trial: &TrialId) -> TrialStatus {
        self.books[trial].status.unwrap_or(TrialStatus::Open)
    }

    pub(super) fn unfinished(&self) -> Vec<AttemptId> {
        let running = self.books.iter().filter(|(_, book)| book.running);
        running
            .map(|(trial, book)| super::attempt(trial.as_str(), book.attempts))
            .collect()
    }

    fn step(&mut self, plan: &Plan, choice: u16) {
        let (kind, detail) = (choice % 16, choice / 16);
        if self.over {
            return self.rescore(detail);
        }
        match kind {
            0 if self.unfinished().is_empty() && detail.is_multiple_of(8) => self.end_run(plan),
            1 if detail.is_multiple_of(4) => {
                self.stopped = true;
                self.events.push(RunEvent::Interrupted);
            }
            2 | 3 if self.stopped || detail.is_multiple_of(8) => self.go_on(),
            4 if detail.is_multiple_of(4) => self.skip(plan, detail),
            5 => self.rescore(detail),
            6..=9 => self.end_attempt(detail),
            _ if self.stopped => {}
            10 | 11 => self.turn_phase(plan),
            _ => self.start_attempt(plan, detail),
        }
    }

    fn end_run(&mut self, plan: &Plan) {
        let complete = !self.in_phase && self.next_phase == plan.phases.len();
        let why = if complete {
            RunEnd::Complete
        } else {
            RunEnd::BudgetSpent
        };
        self.events.push(RunEvent::RunEnded { why });
        self.over = true;
    }

    fn go_on(&mut self) {
        self.events.push(super::run_continued());
        self.stopped = false;
        for attempt in self.unfinished() {
            let book = self.books.get_mut(&attempt.trial).unwrap();
            book.running = false;
            book.status = Some(TrialStatus::Cancelled);
            self.cost = None;
            self.events.push(super::ending_of(crashed(attempt)));
        }
    }

    fn skip(&mut self, plan: &Plan, detail: u16) {
        let Some(trial) = plan.trials.get(usize::from(detail) % plan.trials.len().max(1)) else {
            return;
        };
        let book = self.books.get_mut(trial).unwrap();
        if book.running || book.is_final {
            return;
        }
        book.is_final = true;
        book.status = Some(TrialStatus::Skipped);
        let (trial, why) = (trial.clone(), SkipReason::Budget);
        self.events.push(RunEvent::TrialSkipped { trial, why });
    }

    fn rescore(&mut self, detail: u16) {
        let scored: Vec<TrialId> = self
            .books
            .iter()
            .filter(|(_, book)| book.scored)
            .map(|(trial, _)| trial.clone())
            .collect();
        let Some(trial) = scored.get(usize::from(detail) % scored.len().max(1)) else {
            return;
        };
        let book = self.books.get_mut(trial).unwrap();
        let good = detail.is_multiple_of(2);
        book.status = Some(if good {
            TrialStatus::Success
        } else {
            TrialStatus::Failure
        });
        let value = if good { 1.0 } else { 0.25 };
        self.events
            .push(super::rescored(trial.as_str(), book.attempts, value));
    }

    fn turn_phase(&mut self, plan: &Plan) {
        if !self.in_phase {
            let Some((phase, trials)) = plan.phases.get(self.next_phase) else {
                return;
            };
            self.in_phase = true;
            return self.events.push(super::phase_started(
                phase.as_str(),
                u32::try_from(trials.len()).unwrap(),
            ));
        }
        let (phase, trials) = &plan.phases[self.next_phase];
        if trials.iter().all(|trial| self.books[trial].is_final) {
            self.in_phase = false;
            self.next_phase += 1;
            self.events.push(super::phase_ended(phase.as_str()));
        }
    }

    fn start_attempt(&mut self, plan: &Plan, detail: u16) {
        if !self.in_phase {
            return;
        }
        let trials = &plan.phases[self.next_phase].1;
        let Some(trial) = trials.get(usize::from(detail) % trials.len().max(1)) else {
            return;
        };
        let book = self.books.get_mut(trial).unwrap();
        if book.running || book.is_final {
            return;
        }
        book.attempts += 1;
        book.running = true;
        book.status = Some(TrialStatus::Open);
        self.events.push(super::start(trial.as_str(), book.attempts));
    }

    fn end_attempt(&mut self, detail: u16) {
        let running = self.unfinished();
        let Some(attempt) = running.get(usize::from(detail) % running.len().max(1)).cloned() else {
            return;
        };
        let (outcome, then, status) = endings(detail / 8);
        let book = self.books.get_mut(&attempt.trial).unwrap();
        book.running = false;
        book.status = Some(status);
        book.is_final = matches!(then, Then::Settled | Then::GivenUp);
        book.scored = outcome.score().is_some();
        self.input += Tokens(100);
        self.cost = self.cost.map(|cost| cost + Usd(5));
        self.events.push(super::ending(attempt, outcome, then));
    }
}

fn endings(detail: u16) -> (Outcome, Then, TrialStatus) {
    let (scored, void) = (super::scored, super::void);
    let unscored = ScoreResult::Unscored {
        why: Unscored::TimedOut,
        detail: Capped::default(),
    };
    match detail % 10 {
        0 => (scored(1.0), Then::Settled, TrialStatus::Success),
        1 => (scored(0.0), Then::Settled, TrialStatus::Failure),
        2 => (
            Outcome::Scored { score: unscored },
            Then::Settled,
            TrialStatus::Unscored,
        ),
        3 => {
            let (limit, score) = (LimitKind::Turns, super::number(0.5));
            (
                Outcome::LimitReached { limit, score },
                Then::Settled,
                TrialStatus::Failure,
            )
        }
        4 => {
            let (by, score) = (RefusedBy::Model, super::number(1.0));
            (
                Outcome::Refused { by, score },
                Then::Settled,
                TrialStatus::Success,
            )
        }
        5 => {
            let (breach, evidence) = ("socket".to_owned(), Capped::default());
            (
                Outcome::Breached { breach, evidence },
                Then::Settled,
                TrialStatus::Breached,
            )
        }
        6 => (void(), super::RETRY, TrialStatus::Open),
        7 => (void(), Then::GivenUp, TrialStatus::Void),
        8 => (void(), Then::Open, TrialStatus::Open),
        _ => {
            let by = CancelledBy::Operator;
            (Outcome::Cancelled { by }, Then::Open, TrialStatus::Cancelled)
        }
    }
}
