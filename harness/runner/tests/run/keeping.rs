//! Sandboxes that stay after their attempts, and what sandboxes report.

use std::sync::Arc;
use std::time::Duration;

use harness_core::egress::{EgressAttempt, EgressCounts, EgressVerdict};
use harness_core::event::{AttemptEvent, RunEnd, Then};
use harness_core::outcome::Outcome;
use harness_core::ports::{KeepReason, KeptSandbox, SandboxError, SandboxFact};
use harness_core::schedule::Finish;
use harness_runner::{KeepSandboxes, RunEnding, run};
use pretty_assertions::assert_eq;
use tokio::time::sleep;

use crate::models::{bash, model, now, says, submits, turns};
use crate::sandbox::{Did, Keeps, Provider, exits, gone, prints};
use crate::world::{BOXED, World, task, within};

const COMPLETE: RunEnding = RunEnding::Finished(Finish::Ended(RunEnd::Complete));

fn egress(verdict: EgressVerdict) -> SandboxFact {
    egress_to("example.org", verdict)
}

fn egress_to(host: &str, verdict: EgressVerdict) -> SandboxFact {
    SandboxFact::Egress(EgressAttempt {
        host: host.to_owned(),
        port: 443,
        method: "connect".to_owned(),
        verdict,
        address: None,
        sent: 0,
        received: 0,
        began: None,
        took: Duration::ZERO,
    })
}

fn breached() -> SandboxError {
    SandboxError::Breached {
        breach: "frames".to_owned(),
        evidence: "nonsense".to_owned(),
    }
}

fn kept(nth: u32, reason: KeepReason) -> KeptSandbox {
    let id = format!("box-{nth}");
    KeptSandbox {
        name: id.clone(),
        id,
        reason,
        paused: reason == KeepReason::Quarantine,
    }
}

fn noted(text: &str) -> AttemptEvent {
    AttemptEvent::Noted {
        text: text.to_owned(),
    }
}

/// What the transcript says at the end about the sandbox.
fn told(world: &World) -> Vec<AttemptEvent> {
    let told = |event: &AttemptEvent| {
        matches!(
            event,
            AttemptEvent::SandboxReported { .. } | AttemptEvent::SandboxKept(_) | AttemptEvent::Noted { .. }
        )
    };
    world.transcript(0, 1).into_iter().filter(told).collect()
}

#[tokio::test(start_paused = true)]
async fn a_containment_event_quarantines_the_sandbox_and_its_facts_are_logged() {
    let mut provider = Provider::new(|_, _| Did::Fails(breached()));
    provider.reports = Arc::new(|_| vec![egress(EgressVerdict::Forbidden)]);
    let world = World::new("", vec![task("a", 1, BOXED)], model(|_| now(bash("x"))), provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ending = world.ending();
    assert!(
        matches!(ending.outcome, Outcome::Breached { .. }),
        "{:?}",
        ending.outcome
    );
    assert_eq!(
        (ending.then, ending.egress),
        (
            Then::Settled,
            EgressCounts {
                allowed: 0,
                blocked: 1
            }
        )
    );
    let fact = egress(EgressVerdict::Forbidden);
    assert_eq!(
        told(&world),
        [
            AttemptEvent::SandboxReported { fact },
            AttemptEvent::SandboxKept(kept(0, KeepReason::Quarantine)),
        ]
    );
    assert_eq!(world.provider.seen().stopped, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_follows_from_what_was_asked_and_how_it_ended() {
    use KeepSandboxes::{All, Failed, Never};
    let limited = format!("{BOXED}limits: {{turns: 1}}\n");
    let no_retry = "retry: {void: 0}\n";
    let cases = [
        ("success", BOXED, vec![submits("right")], [false, false, true]),
        ("failure", BOXED, vec![submits("wrong")], [false, true, true]),
        ("limit", &limited, vec![bash("x"), bash("x")], [false, true, true]),
        ("void", BOXED, vec![bash("die")], [false, true, true]),
    ];
    for (case, body, answers, expected) in cases {
        for (keep, expected) in [Never, Failed, All].into_iter().zip(expected) {
            let provider = Provider::new(|_, request| match request.argv.last().unwrap().as_str() {
                "die" => Did::Fails(gone(false)),
                _ => prints(""),
            });
            let mut world = World::new(
                no_retry,
                vec![task("a", 1, body)],
                turns(answers.clone()),
                provider,
            );
            world.keep = keep;
            assert_eq!(world.run().await, Ok(COMPLETE), "{case} {keep:?}");
            let event = AttemptEvent::SandboxKept(kept(0, KeepReason::Asked));
            let logged: &[AttemptEvent] = if expected { &[event] } else { &[] };
            assert_eq!(told(&world), logged, "{case} {keep:?}");
            assert_eq!(
                world.provider.seen().stopped,
                u32::from(!expected),
                "{case} {keep:?}"
            );
        }
    }
}

/// A sandbox that may be kept expires a day later than one that is not.
#[tokio::test(start_paused = true)]
async fn what_may_be_kept_expires_a_day_later() {
    let mut expiries = Vec::new();
    for keep in [KeepSandboxes::Never, KeepSandboxes::Failed, KeepSandboxes::All] {
        let mut world = World::new(
            "",
            vec![task("a", 1, BOXED)],
            turns(vec![submits("wrong")]),
            Provider::new(|_, _| prints("")),
        );
        world.keep = keep;
        assert_eq!(world.run().await, Ok(COMPLETE));
        expiries.push(world.provider.seen().requests[0].labels.expires);
    }
    let day = Duration::from_hours(24);
    assert_eq!(expiries[1..], [expiries[0].plus(day); 2]);
}

#[tokio::test(start_paused = true)]
async fn what_was_cancelled_is_never_kept() {
    let client = model(|_| (None, says("")));
    let mut world = World::new(
        "",
        vec![task("a", 1, BOXED)],
        client,
        Provider::new(|_, _| prints("")),
    );
    world.keep = KeepSandboxes::All;
    let (input, interrupt, _) = world.input();
    let ask = async {
        sleep(Duration::from_secs(2)).await;
        interrupt.send(()).unwrap();
    };
    let (ended, ()) = tokio::join!(within(run(input)), ask);
    assert_eq!(ended, Ok(RunEnding::Finished(Finish::Interrupted)));
    world.check();
    assert_eq!(world.provider.seen().stopped, 1);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_cannot_be_kept_on_request_is_removed_with_a_note() {
    let mut provider = Provider::new(|_, _| prints(""));
    provider.keeps = Keeps::Never;
    let mut world = World::new(
        "",
        vec![task("a", 1, BOXED)],
        turns(vec![submits("wrong")]),
        provider,
    );
    world.keep = KeepSandboxes::Failed;
    assert_eq!(world.run().await, Ok(COMPLETE));
    let text = "sandbox box-0 could not be kept: no Docker daemon answers at /nowhere: connection refused";
    assert_eq!(told(&world), [noted(text)]);
    assert_eq!(world.provider.seen().stopped, 1);
}

/// A sandbox of a containment event is evidence: whatever goes wrong while it is put into quarantine, it stays.
#[tokio::test(start_paused = true)]
async fn a_quarantine_that_fails_removes_nothing() {
    let left = "it is evidence, so it is left as it is and may have to be removed by hand";
    let cases = [
        (
            Keeps::Never,
            format!(
                "sandbox box-0 could not be kept: no Docker daemon answers at /nowhere: connection refused; {left}"
            ),
        ),
        (
            Keeps::WithoutAnAnswer,
            format!("sandbox box-0 could not be kept: no answer within a minute; {left}"),
        ),
    ];
    for (keeps, text) in cases {
        let mut provider = Provider::new(|_, _| Did::Fails(breached()));
        provider.keeps = keeps;
        let world = World::new("", vec![task("a", 1, BOXED)], model(|_| now(bash("x"))), provider);
        let (input, _interrupt, _) = world.input();
        assert_eq!(within(run(input)).await, Ok(COMPLETE));
        assert_eq!(told(&world), [noted(&text)]);
        let seen = world.provider.seen();
        assert_eq!((seen.live, seen.stopped), (1, 0), "{keeps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_up_while_a_sandbox_was_kept_is_noted() {
    let mut provider = Provider::new(|_, _| Did::Fails(breached()));
    provider.keeps = Keeps::WithTrouble;
    let world = World::new("", vec![task("a", 1, BOXED)], model(|_| now(bash("x"))), provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let kept = AttemptEvent::SandboxKept(kept(0, KeepReason::Quarantine));
    assert_eq!(told(&world), [noted("a service is gone"), kept]);
}

fn fresh(keep: KeepSandboxes, on_check: fn() -> Did) -> World {
    let body = "sandbox: {image: img, network: none}\ntools: [bash, submit]\nartifacts: [/a]\n\
                score: {command: {run: check, where: fresh, read: exit}}\n";
    let provider = Provider::new(move |files, request| {
        if request.argv.last().unwrap() == "check" {
            return on_check();
        }
        files.insert("/a".to_owned(), Vec::new());
        prints("")
    });
    let answers = turns(vec![bash("x"), submits("")]);
    let mut world = World::new("", vec![task("a", 1, body)], answers, provider);
    world.keep = keep;
    world
}

#[tokio::test(start_paused = true)]
async fn with_a_fresh_scoring_sandbox_the_agents_is_the_one_that_is_kept() {
    let asked = |nth| vec![AttemptEvent::SandboxKept(kept(nth, KeepReason::Asked))];
    let cases = [
        (KeepSandboxes::Failed, 1, asked(0), 1),
        (KeepSandboxes::Failed, 0, Vec::new(), 2),
        (KeepSandboxes::Never, 1, Vec::new(), 2),
    ];
    for (keep, code, expected, stopped) in cases {
        let on_check: fn() -> Did = if code == 0 {
            || exits(0, "")
        } else {
            || exits(1, "")
        };
        let world = fresh(keep, on_check);
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert_eq!(told(&world), expected, "{keep:?} {code}");
        let seen = world.provider.seen();
        assert_eq!((seen.started, seen.stopped), (2, stopped), "{keep:?} {code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_containment_event_while_scoring_quarantines_all_there_is() {
    let world = fresh(KeepSandboxes::All, || Did::Fails(breached()));
    assert_eq!(world.run().await, Ok(COMPLETE));
    let quarantined = |nth| AttemptEvent::SandboxKept(kept(nth, KeepReason::Quarantine));
    assert_eq!(told(&world), [quarantined(1), quarantined(0)]);
}

/// A lie of the sandbox after its last command, of which only a last look tells.
#[tokio::test(start_paused = true)]
async fn a_containment_event_after_the_last_command_is_one() {
    let limited = format!("{BOXED}limits: {{turns: 1}}\n");
    let scored_by_command = "sandbox: {image: img, network: none}\ntools: [bash, submit]\nartifacts: [/a]\n\
                             score: {command: {run: check, where: fresh, read: exit}}\n";
    for (body, answers) in [
        (BOXED, vec![bash("x"), submits("right")]),
        (BOXED, vec![submits("wrong")]),
        (&limited, vec![bash("x"), bash("x")]),
        (scored_by_command, vec![submits("")]),
    ] {
        let mut provider = Provider::new(|_, _| prints(""));
        provider.on_check = Err(breached());
        let world = World::new("", vec![task("a", 1, body)], turns(answers), provider);
        assert_eq!(world.run().await, Ok(COMPLETE), "{body}");
        let outcome = world.ending().outcome;
        assert!(matches!(outcome, Outcome::Breached { .. }), "{body}: {outcome:?}");
        let event = AttemptEvent::SandboxKept(kept(0, KeepReason::Quarantine));
        assert_eq!(told(&world).last(), Some(&event), "{body}");
        assert_eq!(world.provider.seen().started, 1, "{body}");
    }
}

/// Anything but a containment event is no reason to throw away what was reached.
#[tokio::test(start_paused = true)]
async fn a_sandbox_that_is_gone_in_the_end_is_no_containment_event() {
    let mut provider = Provider::new(|_, _| prints(""));
    provider.on_check = Err(gone(false));
    let answers = turns(vec![submits("right")]);
    let world = World::new("", vec![task("a", 1, BOXED)], answers, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let outcome = world.ending().outcome;
    assert!(matches!(outcome, Outcome::Scored { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_noted_after_the_start_is_logged_once() {
    let mut provider = Provider::new(|_, _| prints(""));
    provider.notes = Arc::new(|request| vec![format!("about {}", request.argv.last().unwrap())]);
    let answers = turns(vec![bash("x"), bash("y"), submits("right")]);
    let world = World::new("", vec![task("a", 1, BOXED)], answers, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let noted = |text: &str| AttemptEvent::Noted {
        text: text.to_owned(),
    };
    assert_eq!(told(&world), [noted("about x"), noted("about y")]);
    let started = world.transcript(0, 1).into_iter().find_map(|event| match event {
        AttemptEvent::SandboxStarted(info) => Some(info.notes),
        _ => None,
    });
    assert_eq!(started, Some(vec!["from the start".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn facts_are_logged_where_they_happened_up_to_a_bound_and_counted_beyond() {
    let mut provider = Provider::new(|_, _| prints(""));
    provider.reports = Arc::new(|request| match request.argv.last().unwrap().as_str() {
        "few" => vec![egress(EgressVerdict::Allowed), egress(EgressVerdict::NotListed)],
        "many" => (0..700)
            .map(|n| egress_to(&format!("noise{n}.test"), EgressVerdict::NotListed))
            .collect(),
        "same" => vec![egress_to("192.0.2.1", EgressVerdict::Malformed); 70],
        "probe" => vec![egress_to("169.254.169.254", EgressVerdict::Forbidden)],
        _ => vec![SandboxFact::Dropped {
            count: 5,
            egress: EgressCounts {
                allowed: 1,
                blocked: 3,
            },
        }],
    });
    let answers = vec![
        bash("few"),
        bash("many"),
        bash("same"),
        bash("probe"),
        bash("other"),
        submits("right"),
    ];
    let world = World::new("", vec![task("a", 1, BOXED)], turns(answers), provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let names = world.names(0, 1);
    let first = names.iter().position(|name| name == "tool_returned").unwrap();
    assert_eq!(
        names[first + 1..first + 4],
        ["sandbox_reported", "sandbox_reported", "model_called"]
    );
    let facts = told(&world);
    // One that was allowed, 500 that were not listed, 50 that made no sense, the probe, and what was left out.
    assert_eq!(facts.len(), 553);
    let probe = AttemptEvent::SandboxReported {
        fact: egress_to("169.254.169.254", EgressVerdict::Forbidden),
    };
    assert_eq!(facts[551], probe, "noise does not hide it");
    let fact = SandboxFact::Dropped {
        count: 201 + 20 + 5,
        egress: EgressCounts {
            allowed: 1,
            blocked: 201 + 20 + 3,
        },
    };
    assert_eq!(facts.last(), Some(&AttemptEvent::SandboxReported { fact }));
    assert_eq!(names.last().map(String::as_str), Some("ended"));
    let counts = EgressCounts {
        allowed: 2,
        blocked: 1 + 700 + 70 + 1 + 3,
    };
    assert_eq!(world.ending().egress, counts);
}
