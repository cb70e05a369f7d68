//! The same rows in all forms.

use std::collections::BTreeMap;
use std::time::Duration;

use harness_core::event::{AttemptEnded, SkipReason, Then};
use harness_core::fold::{AttemptView, EndedView, TrialView, crashed};
use harness_core::ids::AttemptId;
use harness_core::model::Usage;
use harness_core::outcome::{Fault, Outcome, RefusedBy, Stage};
use harness_core::score::{Score, ScoreResult, Unscored};
use harness_core::task::LimitKind;
use harness_core::text::Capped;
use harness_core::units::{Timestamp, Tokens, Usd};
use pretty_assertions::assert_eq;

use super::*;

fn planned(phase: &str, task: &str, model: &str, domain: &str) -> Planned {
    Planned {
        run: "run-1".into(),
        phase: phase.into(),
        task: task.into(),
        task_version: 3,
        domain: domain.into(),
        family: "logs".into(),
        sample: "s1".into(),
        scaffold: "react".into(),
        model: model.into(),
        epoch: 1,
        human_minutes: Some(7.5),
    }
}

fn number(value: f64) -> ScoreResult {
    ScoreResult::Scored(Score {
        value,
        threshold: 0.9,
        evidence: Capped::default(),
        metrics: BTreeMap::new(),
    })
}

fn ended(outcome: Outcome, then: Then, cost: Option<Usd>) -> AttemptEnded {
    AttemptEnded {
        outcome,
        turns: 4,
        usage: Usage {
            input: Tokens(12_000),
            output: Tokens(345),
            ..Usage::default()
        },
        cost,
        working: Duration::from_millis(1_250),
        wall: Duration::from_secs(2),
        malformed_calls: 1,
        egress: harness_core::egress::EgressCounts::default(),
        log: Some(harness_core::ports::LogSeal {
            file: "000000.1.jsonl".into(),
            lines: 1,
            bytes: 1,
            digest: harness_core::ids::Digest::of(b""),
        }),
        then,
        ..crashed(attempt())
    }
}

fn attempt() -> AttemptId {
    AttemptId {
        trial: "t".into(),
        number: 1,
    }
}

fn trial(endings: Vec<AttemptEnded>) -> TrialView {
    let view = |facts| AttemptView {
        attempt: attempt(),
        started: Timestamp(0),
        ended: Some(EndedView {
            at: Timestamp(0),
            facts,
            past_scores: Vec::new(),
        }),
    };
    TrialView {
        attempts: endings.into_iter().map(view).collect(),
        skipped: None,
    }
}

fn rows() -> Vec<TrialRow> {
    let cent = Some(Usd(12_500_000));
    let settled = |outcome| trial(vec![ended(outcome, Then::Settled, cent)]);
    let scored = |value| settled(Outcome::Scored { score: number(value) });
    let void = |error: &str| Outcome::Void {
        stage: Stage::Solve,
        fault: Fault::Provider,
        error: error.into(),
        evidence: Capped::default(),
    };
    let retry = Then::Retry {
        after: Duration::ZERO,
    };
    let main = |task: &str, trial: Option<TrialView>| {
        TrialRow::new(planned("safety", task, "m1", "cyber"), trial.as_ref())
    };
    let other = |task: &str, trial: Option<TrialView>| {
        TrialRow::new(
            planned("qualification", task, "modèle-二", "=cmd|' /C calc'!A0\x1b[31m"),
            trial.as_ref(),
        )
    };
    vec![
        main("a", Some(scored(1.0))),
        main("a", Some(scored(0.25))),
        main(
            "b",
            Some(trial(vec![
                ended(void("overloaded"), retry, cent),
                ended(Outcome::Scored { score: number(0.9) }, Then::Settled, cent),
            ])),
        ),
        main(
            "b",
            Some(settled(Outcome::LimitReached {
                limit: LimitKind::Tokens,
                score: number(0.0),
            })),
        ),
        main(
            "c",
            Some(settled(Outcome::Refused {
                by: RefusedBy::Model,
                score: ScoreResult::Unscored {
                    why: Unscored::TimedOut,
                    detail: Capped::default(),
                },
            })),
        ),
        main(
            "c",
            Some(trial(vec![ended(void("overloaded"), Then::GivenUp, cent)])),
        ),
        main("c", None),
        other(
            "d",
            Some(trial(vec![ended(void("-2+3\r\n=x"), Then::GivenUp, None)])),
        ),
        other("d", Some(trial(vec![crashed(attempt())]))),
        other(
            "e",
            Some(settled(Outcome::Breached {
                breach: "@socket".into(),
                evidence: Capped::default(),
            })),
        ),
        other(
            "e",
            Some(TrialView {
                skipped: Some(SkipReason::Budget),
                ..TrialView::default()
            }),
        ),
    ]
}

#[test]
fn trials_as_csv() {
    insta::assert_snapshot!(trials_csv(&rows()).unwrap());
}

#[test]
fn csv_reads_back_and_has_no_formulas() {
    let rows = rows();
    let text = trials_csv(&rows).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap(), &TRIAL_COLUMNS[..]);
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), rows.len());
    for cell in records.iter().flatten() {
        assert!(
            !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']),
            "{cell:?}"
        );
    }
    assert_eq!(&records[7][16], "'-2+3\\u{d}\n=x");
}

#[test]
fn summary_for_terminals() {
    let text = summary_table(&Summary::of(&rows()));
    assert!(!text.contains('\x1b'));
    insta::assert_snapshot!(text);
}

#[test]
fn one_group_needs_no_total() {
    insta::assert_snapshot!(summary_table(&Summary::of(&rows()[..2])));
    insta::assert_snapshot!("nothing_planned", summary_table(&Summary::of(&[])));
}

#[test]
fn summary_as_markdown() {
    insta::assert_snapshot!(markdown_summary(&Summary::of(&rows())));
}

#[test]
fn summary_as_json() {
    let rows = rows();
    insta::assert_json_snapshot!(report_json(&Summary::of(&rows), &rows[2..3]));
}

#[test]
fn every_percentage_has_its_denominator() {
    let summary = Summary::of(&rows());
    let lines = [summary_table(&summary), markdown_summary(&summary)].concat();
    for line in lines
        .lines()
        .filter(|line| line.contains('%') && !line.contains("interval"))
    {
        let before = line.split('%').next().unwrap();
        let denominator = before.rsplit(" = ").nth(1).unwrap().rsplit(' ').next().unwrap();
        assert!(
            denominator
                .split_once('/')
                .is_some_and(|(k, n)| k.parse::<u64>().is_ok() && n.parse::<u64>().is_ok()),
            "{line}"
        );
    }
}

#[test]
fn groups_add_up_to_the_total() {
    let summary = Summary::of(&rows());
    let sum = |of: fn(&Group) -> u64| summary.groups.iter().map(|(_, group)| of(group)).sum::<u64>();
    for of in [
        (|group| group.counts.trials) as fn(&Group) -> u64,
        |group| group.counts.scored(),
        |group| group.attempts,
        |group| group.usage.total().0,
        |group| group.known_cost.0,
        |group| group.counts.scored() + group.counts.excluded(),
    ] {
        assert_eq!(sum(of), of(&summary.total));
    }
    assert_eq!(summary.total.counts.trials, 11);
}

#[test]
fn numbers_are_shown_without_lies() {
    let counts = |success, failure| harness_core::fold::Counts {
        trials: success + failure,
        success,
        failure,
        ..Default::default()
    };
    let shown = [(0, 0), (0, 3), (3, 0), (1, 9_999), (9_999, 1)]
        .map(|(success, failure)| show::rate(&counts(success, failure)));
    assert_eq!(
        shown,
        [
            "n/a (0 scored)",
            "0/3 = 0.0% [0.0%, 56.1%]",
            "3/3 = 100.0% [43.9%, 100.0%]",
            "1/10000 = <0.1% [<0.1%, 0.1%]",
            "9999/10000 = >99.9% [99.9%, >99.9%]",
        ]
    );
    assert_eq!(
        [0, 999, 1_000, 1_234_567].map(show::grouped),
        ["0", "999", "1,000", "1,234,567"]
    );
    assert_eq!(
        [None, Some(Usd(0)), Some(Usd(1)), Some(Usd(1_235_000_000))].map(show::cost),
        ["unknown", "$0.00", "<$0.01", "$1.24"]
    );
    assert_eq!(
        [0, 1, 12_500_000, 3_000_000_000].map(|nano| show::dollars(Usd(nano))),
        ["0", "0.000000001", "0.0125", "3"]
    );
    assert_eq!(show::cell(&"二".repeat(30)), format!("{}…", "二".repeat(19)));
}

#[test]
fn blocked_egress_is_told_beside_the_numbers() {
    let mut reached = ended(Outcome::Scored { score: number(1.0) }, Then::Settled, None);
    reached.egress = harness_core::egress::EgressCounts {
        allowed: 2,
        blocked: 3,
    };
    let again = ended(Outcome::Scored { score: number(1.0) }, Then::Settled, None);
    let rows: Vec<TrialRow> = [reached, again]
        .map(|facts| TrialRow::new(planned("safety", "a", "m1", "cyber"), Some(&trial(vec![facts]))))
        .into();
    let expected = "attempts of sandboxes to reach the outside that were blocked: 3, in 1 of 2 trials; the transcripts \
                    name them";
    let summary = Summary::of(&rows);
    for text in [summary_table(&summary), markdown_summary(&summary)] {
        assert!(text.contains(expected), "{text}");
    }
    let json = report_json(&summary, &rows);
    let counts =
        |value: &serde_json::Value| (value["egress_allowed"].clone(), value["egress_blocked"].clone());
    assert_eq!(counts(&json["total"]), (2.into(), 3.into()));
    assert_eq!(counts(&json["trials"][0]), (2.into(), 3.into()));
    let last: Vec<String> = trials_csv(&rows)
        .unwrap()
        .lines()
        .map(|line| line.rsplitn(3, ',').take(2).collect::<Vec<_>>().join(","))
        .collect();
    assert_eq!(last, ["egress_blocked,egress_allowed", "3,2", "0,0"]);
}
