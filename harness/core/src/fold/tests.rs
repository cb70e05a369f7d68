//! Laws over generated runs, and one case for every illegal event.

mod generate;

use std::time::Duration;

use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::*;
use crate::event::{AttemptEvent, LOG_FORMAT, SkipReason};
use crate::model::{Reply, StopReason, Usage};
use crate::outcome::{CancelledBy, Outcome};
use crate::outcome::{Fault, Stage};
use crate::score::{Score, Unscored};
use crate::text::Capped;
use crate::units::{Tokens, Usd};
use generate::{Plan, Script};

pub(super) fn attempt(trial: &str, number: u32) -> AttemptId {
    AttemptId {
        trial: trial.into(),
        number,
    }
}

pub(super) fn number(value: f64) -> ScoreResult {
    ScoreResult::Scored(Score {
        value,
        threshold: 1.0,
        evidence: Capped::default(),
        metrics: BTreeMap::new(),
    })
}

pub(super) fn scored(value: f64) -> Outcome {
    Outcome::Scored { score: number(value) }
}

pub(super) fn void() -> Outcome {
    Outcome::Void {
        stage: Stage::Solve,
        fault: Fault::Provider,
        error: "overloaded".into(),
        evidence: Capped::new("529", 100),
    }
}

fn cancelled(by: CancelledBy) -> Outcome {
    Outcome::Cancelled { by }
}

pub(super) fn ending(attempt: AttemptId, outcome: Outcome, then: Then) -> RunEvent {
    RunEvent::AttemptEnded(Box::new(AttemptEnded {
        judge_usage: Usage::default(),
        attempt,
        outcome,
        turns: 2,
        usage: Usage {
            input: Tokens(100),
            output: Tokens(10),
            ..Usage::default()
        },
        cost: Some(Usd(5)),
        working: Duration::from_secs(3),
        wall: Duration::from_secs(4),
        malformed_calls: 1,
        egress: crate::egress::EgressCounts::default(),
        log: None,
        then,
    }))
}

fn run_started() -> RunEvent {
    RunEvent::RunStarted {
        format: LOG_FORMAT,
        run: "run-1".into(),
        plan: Digest::of(b"plan"),
        version: "0.1.0".into(),
        pid: 7,
    }
}

fn run_continued() -> RunEvent {
    RunEvent::RunContinued {
        version: "0.1.0".into(),
        pid: 8,
        torn_bytes: 0,
    }
}

fn phase_started(phase: &str, trials: u32) -> RunEvent {
    RunEvent::PhaseStarted {
        phase: phase.into(),
        trials,
    }
}

fn phase_ended(phase: &str) -> RunEvent {
    RunEvent::PhaseEnded { phase: phase.into() }
}

fn start(trial: &str, number: u32) -> RunEvent {
    RunEvent::AttemptStarted {
        attempt: attempt(trial, number),
    }
}

fn skip(trial: &str) -> RunEvent {
    RunEvent::TrialSkipped {
        trial: trial.into(),
        why: SkipReason::Budget,
    }
}

fn rescored(trial: &str, n: u32, value: f64) -> RunEvent {
    RunEvent::Rescored {
        attempt: attempt(trial, n),
        score: number(value),
        task_version: 2,
        version: "0.2.0".into(),
    }
}

fn lines(events: &[RunEvent]) -> Vec<Line<RunEvent>> {
    let numbered = events.iter().enumerate();
    let line = |(seq, event): (usize, &RunEvent)| Line {
        seq: seq as u64,
        at: Timestamp(i64::try_from(seq).unwrap() * 1_000_000),
        working: Duration::from_millis(seq as u64),
        event: event.clone(),
    };
    numbered.map(line).collect()
}

fn folded(events: &[RunEvent]) -> RunView {
    fold(&lines(events)).unwrap()
}

const RETRY: Then = Then::Retry {
    after: Duration::from_secs(5),
};

#[test]
fn a_run_in_full() {
    let events = [
        run_started(),
        phase_started("main", 6),
        start("a", 1),
        start("b", 1),
        ending(attempt("a", 1), void(), RETRY),
        ending(attempt("b", 1), scored(0.5), Then::Settled),
        start("c", 1),
        start("a", 2),
        RunEvent::Interrupted,
        ending(attempt("a", 2), cancelled(CancelledBy::Operator), Then::Open),
        run_continued(),
        ending(attempt("c", 1), cancelled(CancelledBy::Crash), Then::Open),
        start("a", 3),
        ending(attempt("a", 3), scored(1.0), Then::Settled),
        start("c", 2),
        ending(attempt("c", 2), void(), Then::GivenUp),
        skip("d"),
    ];
    let view = folded(&events);
    let planned: Vec<TrialId> = ["a", "b", "c", "d", "e"].map(TrialId::from).into();
    let counts = Counts {
        trials: 5,
        success: 1,
        failure: 1,
        void: 1,
        skipped: 1,
        open: 1,
        ..Counts::default()
    };
    assert_eq!(view.counts(&planned), counts);
    assert_eq!((counts.scored(), counts.excluded()), (2, 3));
    let totals = Totals {
        attempts: 6,
        unsealed: 6,
        turns: 12,
        malformed_calls: 6,
        egress: crate::egress::EgressCounts::default(),
        usage: Usage {
            input: Tokens(600),
            output: Tokens(60),
            ..Usage::default()
        },
        cost: Some(Usd(30)),
        known_cost: Usd(30),
        working: Duration::from_secs(18),
        wall: Duration::from_secs(24),
    };
    assert_eq!(view.totals(), &totals);
    assert_eq!(
        (view.continued(), view.interrupted(), view.life()),
        (1, 1, Life::Going)
    );
    assert_eq!(view.unfinished(), []);
    let known = planned[..3].iter().cloned().collect();
    assert_eq!(view.unplanned(&known), [&TrialId::from("d")]);
}

#[test]
fn one_unknown_price_makes_the_sum_unknown() {
    let mut unknown = crashed(attempt("a", 1));
    unknown.then = Then::Open;
    let mut totals = Totals::default();
    assert_eq!(totals.cost, Some(Usd::ZERO));
    for event in [
        ending(attempt("a", 1), scored(1.0), Then::Settled),
        RunEvent::AttemptEnded(Box::new(unknown)),
    ] {
        if let RunEvent::AttemptEnded(ended) = event {
            totals.add(&ended);
        }
    }
    assert_eq!((totals.cost, totals.known_cost), (None, Usd(5)));
}

#[test]
fn scoring_again_keeps_the_old_score() {
    let mut events = vec![
        run_started(),
        phase_started("main", 1),
        start("a", 1),
        ending(attempt("a", 1), scored(0.0), Then::Settled),
        phase_ended("main"),
        RunEvent::RunEnded {
            why: RunEnd::Complete,
        },
        rescored("a", 1, 1.0),
    ];
    assert_eq!(folded(&events).status(&"a".into()), TrialStatus::Success);
    events.push(RunEvent::Rescored {
        attempt: attempt("a", 1),
        score: ScoreResult::Unscored {
            why: Unscored::Crashed,
            detail: Capped::default(),
        },
        task_version: 3,
        version: "0.3.0".into(),
    });
    let view = folded(&events);
    assert_eq!(view.status(&"a".into()), TrialStatus::Unscored);
    let past = |value, at: i64, by_task_version, by_version: &str| PastScore {
        score: number(value),
        replaced: Timestamp(at * 1_000_000),
        by_task_version,
        by_version: by_version.into(),
    };
    let ended = view.attempt(&attempt("a", 1)).unwrap().ended.as_ref().unwrap();
    assert_eq!(
        ended.past_scores,
        [past(0.0, 6, 2, "0.2.0"), past(1.0, 7, 3, "0.3.0")]
    );
}

#[test]
fn a_continuing_process_closes_what_the_dead_one_left() {
    let mut events = vec![
        run_started(),
        phase_started("main", 2),
        start("b", 1),
        start("a", 1),
    ];
    let continuation = folded(&events).continuation("0.1.0", 8, 0);
    let crash = |trial| ending_of(crashed(attempt(trial, 1)));
    assert_eq!(continuation, [run_continued(), crash("a"), crash("b")]);
    events.extend(continuation);
    // It may die again at once.
    let again = folded(&events[..6]).continuation("0.1.0", 8, 0);
    assert_eq!(again, [run_continued(), crash("b")]);
    events.push(start("a", 2));
    assert_eq!(folded(&events).unfinished(), [attempt("a", 2)]);
}

#[test]
fn what_a_dead_process_logged_is_counted() {
    let usage = Usage {
        input: Tokens(70),
        output: Tokens(7),
        ..Usage::default()
    };
    let replied = AttemptEvent::ModelReplied {
        turn: 0,
        reply: Reply::default(),
        stop: StopReason::EndTurn,
        usage,
        usage_estimated: false,
        took: Duration::ZERO,
        served_by: None,
    };
    let malformed = AttemptEvent::CallMalformed {
        tool: "bash".into(),
        error: Capped::default(),
    };
    let events = [replied.clone(), malformed, replied];
    let lines: Vec<_> = events
        .into_iter()
        .zip(0..)
        .map(|(event, seq)| Line {
            seq,
            at: Timestamp(5_000_000 + i64::try_from(seq).unwrap()),
            working: Duration::from_secs(seq),
            event,
        })
        .collect();
    let mut expected = crashed(attempt("a", 1));
    (expected.turns, expected.malformed_calls) = (2, 1);
    expected.usage += usage;
    expected.usage += usage;
    (expected.working, expected.wall) = (Duration::from_secs(2), Duration::from_micros(2));
    assert_eq!(crashed_after(attempt("a", 1), &lines), expected);
}

fn ending_of(ended: AttemptEnded) -> RunEvent {
    RunEvent::AttemptEnded(Box::new(ended))
}

/// Events that are legal, then one that is not, and the reason.
#[expect(clippy::too_many_lines, reason = "a table")]
fn illegal() -> Vec<(Vec<RunEvent>, RunEvent, &'static str)> {
    let going = || vec![run_started(), phase_started("main", 2)];
    let with = |more: Vec<RunEvent>| going().into_iter().chain(more).collect::<Vec<_>>();
    let running = || with(vec![start("a", 1)]);
    let settled = || {
        with(vec![
            start("a", 1),
            ending(attempt("a", 1), scored(1.0), Then::Settled),
        ])
    };
    let then = |outcome, then| (running(), ending(attempt("a", 1), outcome, then));
    let died = || with(vec![start("a", 1), run_continued()]);
    let over = || {
        vec![
            run_started(),
            RunEvent::RunEnded {
                why: RunEnd::Complete,
            },
        ]
    };
    let skipped = || with(vec![skip("a")]);
    let retrying = || {
        with(vec![
            start("a", 1),
            ending(attempt("a", 1), void(), RETRY),
            skip("b"),
        ])
    };
    let pair = |(events, event): (Vec<RunEvent>, RunEvent), text| (events, event, text);
    let other_format = RunEvent::RunStarted {
        format: 99,
        run: "r".into(),
        plan: Digest::of(b""),
        version: String::new(),
        pid: 1,
    };
    let mut too_high = number(1.0);
    if let ScoreResult::Scored(score) = &mut too_high {
        score.threshold = 1.5;
    }
    vec![
        (vec![], start("a", 1), "the first event must be `run_started`"),
        (
            vec![],
            other_format,
            "the log has format 99, this program reads 1: use the version that wrote it",
        ),
        (going(), run_started(), "the run has started already"),
        (
            over(),
            run_continued(),
            "the run has ended: only `rescored` may follow",
        ),
        (
            over(),
            RunEvent::Interrupted,
            "the run has ended: only `rescored` may follow",
        ),
        (
            over(),
            rescored("a", 1, 1.0),
            "attempt a:1 was scored again, which did not settle its trial by going to the scorer",
        ),
        (
            vec![run_started()],
            start("a", 1),
            "attempt a:1 started outside of any phase",
        ),
        (
            going(),
            phase_started("main", 1),
            "phase main started a second time",
        ),
        (
            going(),
            phase_started("next", 1),
            "phase next started while phase main is going on",
        ),
        (
            going(),
            phase_ended("next"),
            "phase next ended, which is not going on",
        ),
        (
            running(),
            phase_ended("main"),
            "phase main ended while attempt a:1 is running",
        ),
        (
            retrying(),
            phase_ended("main"),
            "phase main ended while 1 trials wait for another attempt",
        ),
        (
            settled(),
            phase_ended("main"),
            "phase main ended with 1 settled trials in the run where at least 2 are due",
        ),
        (
            going(),
            RunEvent::RunEnded {
                why: RunEnd::Complete,
            },
            "the run ended as complete while phase main is going on",
        ),
        (
            running(),
            RunEvent::RunEnded {
                why: RunEnd::BudgetSpent,
            },
            "the run ended while attempt a:1 is running",
        ),
        (
            going(),
            start("a", 2),
            "attempt a:2 started where number 1 follows",
        ),
        (
            going(),
            start("a", 0),
            "attempt a:0 started where number 1 follows",
        ),
        (
            retrying(),
            start("a", 1),
            "attempt a:1 started where number 2 follows",
        ),
        (
            retrying(),
            start("a", 3),
            "attempt a:3 started where number 2 follows",
        ),
        (
            running(),
            start("a", 2),
            "attempt a:2 started while attempt a:1 of the trial is running",
        ),
        (
            settled(),
            start("a", 2),
            "attempt a:2 started although the trial is settled or skipped",
        ),
        (
            skipped(),
            start("a", 1),
            "attempt a:1 started although the trial is settled or skipped",
        ),
        (
            skipped(),
            skip("a"),
            "trial a was skipped although it is settled or was skipped before",
        ),
        (
            settled(),
            skip("a"),
            "trial a was skipped although it is settled or was skipped before",
        ),
        (
            running(),
            skip("a"),
            "trial a was skipped while attempt a:1 is running",
        ),
        (
            with(vec![RunEvent::Interrupted]),
            start("a", 1),
            "attempt a:1 started although a person had stopped the run",
        ),
        (
            vec![run_started(), RunEvent::Interrupted],
            phase_started("main", 1),
            "phase main started although a person had stopped the run",
        ),
        (
            going(),
            ending(attempt("a", 1), scored(1.0), Then::Settled),
            "attempt a:1 ended, which is not running",
        ),
        (
            settled(),
            ending(attempt("a", 1), scored(1.0), Then::Settled),
            "attempt a:1 ended, which is not running",
        ),
        (
            running(),
            ending(attempt("a", 2), scored(1.0), Then::Settled),
            "attempt a:2 ended, which is not running",
        ),
        (
            running(),
            ending_of(crashed(attempt("a", 1))),
            "attempt a:1 ended as cancelled by a crash, but no process died while it ran",
        ),
        (
            died(),
            ending(attempt("a", 1), scored(1.0), Then::Settled),
            "attempt a:1 of an earlier process can only end as cancelled by the crash, open to be tried again",
        ),
        (
            died(),
            start("b", 1),
            "attempt b:1 started before attempt a:1 of the earlier process was ended",
        ),
        pair(
            then(scored(1.0), Then::Open),
            "attempt a:1 ended as `scored`, which cannot be followed by `open`",
        ),
        pair(
            then(scored(1.0), RETRY),
            "attempt a:1 ended as `scored`, which cannot be followed by `retry`",
        ),
        pair(
            then(void(), Then::Settled),
            "attempt a:1 ended as `void`, which cannot be followed by `settled`",
        ),
        pair(
            then(cancelled(CancelledBy::Budget), Then::GivenUp),
            "attempt a:1 ended as `cancelled`, which cannot be followed by `given_up`",
        ),
        pair(
            then(scored(1.1), Then::Settled),
            "attempt a:1 has the score 1.1 of threshold 1: both must lie between 0 and 1",
        ),
        pair(
            then(scored(f64::NAN), Then::Settled),
            "attempt a:1 has the score NaN of threshold 1: both must lie between 0 and 1",
        ),
        pair(
            then(Outcome::Scored { score: too_high }, Then::Settled),
            "attempt a:1 has the score 1 of threshold 1.5: both must lie between 0 and 1",
        ),
        (
            settled(),
            rescored("a", 1, -0.1),
            "attempt a:1 has the score -0.1 of threshold 1: both must lie between 0 and 1",
        ),
        (
            retrying(),
            rescored("a", 1, 1.0),
            "attempt a:1 was scored again, which did not settle its trial by going to the scorer",
        ),
        (
            settled(),
            rescored("a", 2, 1.0),
            "attempt a:2 was scored again, which did not settle its trial by going to the scorer",
        ),
    ]
}

#[test]
fn illegal_events_are_named_and_change_nothing() {
    for (legal, event, reason) in illegal() {
        let mut view = folded(&legal);
        let before = view.clone();
        let line = Line {
            seq: legal.len() as u64,
            at: Timestamp(0),
            working: Duration::ZERO,
            event,
        };
        let expected = format!("line {} of the run's log: {reason}", legal.len() + 1);
        assert_eq!(
            view.apply(&line).map_err(|error| error.to_string()),
            Err(expected)
        );
        assert!(view == before, "{reason}: the view has changed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, rng_seed: proptest::test_runner::RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_of_legal_runs(choices in prop::collection::vec(any::<u16>(), 0..250), sizes in prop::collection::vec(0u32..5, 1..4)) {
        let plan = Plan::new(&sizes);
        let script = Script::new(&plan, &choices);
        let lines = lines(&script.events);
        let whole = fold(&lines).unwrap();

        // Folding in two steps, with the log written and read in between, is the same.
        let text: Vec<String> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
        let read: Vec<Line<RunEvent>> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for middle in 0..=lines.len() {
            let mut view = fold(&read[..middle]).unwrap();
            for line in &read[middle..] {
                view.apply(line).unwrap();
            }
            prop_assert_eq!(&view, &whole);
        }

        // The columns add up to the plan and agree with a separate count; so do the sums.
        let counts = whole.counts(&plan.trials);
        prop_assert_eq!(counts.trials, plan.trials.len() as u64);
        prop_assert_eq!(counts.scored() + counts.excluded(), counts.trials);
        if let Some(rate) = counts.rate() {
            let excluded: u64 = rate.counted.excluded().iter().map(|reason| reason.units).sum();
            prop_assert_eq!(excluded, counts.excluded());
        }
        let columns = [counts.success, counts.failure, counts.unscored, counts.breached, counts.void, counts.cancelled, counts.skipped, counts.open];
        prop_assert_eq!(columns.iter().sum::<u64>(), counts.trials);
        prop_assert_eq!(counts, plan.trials.iter().map(|trial| script.status(trial)).collect::<Counts>());
        prop_assert_eq!(whole.totals().usage.input, script.input);
        prop_assert_eq!(whole.totals().cost, script.cost);
        prop_assert_eq!(whole.unfinished(), script.unfinished());

        // A lost or doubled line is noticed.
        for at in 0..lines.len().saturating_sub(1) {
            let mut lost = lines.clone();
            lost.remove(at);
            prop_assert!(fold(&lost).is_err());
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at].clone());
            prop_assert!(fold(&doubled).is_err());
        }
    }
}
