//! What is not the model's doing: void endings, retries, the breaker.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness_core::event::{AttemptEvent, CallThen, RunEnd, RunEvent, Then};
use harness_core::fold::TrialStatus;
use harness_core::model::ModelError;
use harness_core::outcome::{Fault, Outcome, Stage};
use harness_core::ports::{ExecEnding, SandboxError};
use harness_core::schedule::Finish;
use harness_runner::RunEnding;
use pretty_assertions::assert_eq;
use tokio::time::Instant;

use crate::models::{bash, model, now, shown, submits, turns};
use crate::sandbox::{Did, Provider, exits, gone, prints, unreachable};
use crate::world::{BOXED, PLAIN, World, task};

const COMPLETE: RunEnding = RunEnding::Finished(Finish::Ended(RunEnd::Complete));

/// The stage, fault, error and what follows of each void ending.
fn voids(world: &World) -> Vec<(Stage, Fault, String, &'static str)> {
    let then = |then: Then| match then {
        Then::Settled => "settled",
        Then::Retry { .. } => "retry",
        Then::GivenUp => "given up",
        Then::Open => "open",
    };
    let void = |ended: harness_core::event::AttemptEnded| match ended.outcome {
        Outcome::Void {
            stage, fault, error, ..
        } => Some((stage, fault, error, then(ended.then))),
        _ => None,
    };
    world.endings().into_iter().filter_map(void).collect()
}

fn void(stage: Stage, fault: Fault, error: &str, then: &'static str) -> (Stage, Fault, String, &'static str) {
    (stage, fault, error.to_owned(), then)
}

#[tokio::test(start_paused = true)]
async fn a_failing_setup_is_void_with_evidence_and_tried_again() {
    let body = BOXED.replace("network: none", "network: none, setup: [make]");
    let tries = AtomicU32::new(0);
    let provider = Provider::new(move |_, request| {
        assert_eq!(
            (request.argv.last().unwrap().as_str(), request.cwd.as_deref()),
            ("make", Some("/"))
        );
        match tries.fetch_add(1, Ordering::Relaxed) {
            0 => exits(2, "no rule"),
            _ => prints("ok"),
        }
    });
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        turns(vec![submits("right")]),
        provider,
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(
        voids(&world),
        [void(Stage::Setup, Fault::Task, "setup_failed", "retry")]
    );
    let Outcome::Void { evidence, .. } = &world.endings()[0].outcome else {
        panic!()
    };
    assert_eq!(
        evidence.text,
        "the setup command `make` ended with exit code 2: no rule"
    );
    assert_eq!(world.statuses(), [(TrialStatus::Success, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_setup_that_always_fails_is_given_up() {
    let body = BOXED.replace("network: none", "network: none, setup: [make]");
    let provider = Provider::new(|_, _| exits(1, ""));
    let world = World::new("", vec![task("a", 2, &body)], turns(Vec::new()), provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(world.statuses(), [(TrialStatus::Void, 2)].into());
    assert_eq!(world.endings().len(), 6, "three attempts each");
}

#[tokio::test(start_paused = true)]
async fn a_lost_sandbox_is_void_and_the_model_never_reads_of_it() {
    for (out_of_memory, name) in [(true, "out_of_memory"), (false, "sandbox_gone")] {
        let tries = AtomicU32::new(0);
        let provider = Provider::new(move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Did::Fails(gone(out_of_memory)),
            _ => prints("fine"),
        });
        let client = model(|request| {
            let seen = shown(request);
            assert!(seen.iter().all(|text| !text.contains("gone")), "{seen:?}");
            now(match request.origin.turn {
                0 => bash("ls"),
                _ => submits("right"),
            })
        });
        let world = World::new("", vec![task("a", 1, BOXED)], client, provider);
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert_eq!(voids(&world), [void(Stage::Solve, Fault::Sandbox, name, "retry")]);
        assert_eq!(world.statuses(), [(TrialStatus::Success, 1)].into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_runs_out_of_memory_is_told_to_the_model() {
    let client = model(|request| {
        now(match request.origin.turn {
            0 => bash("ls"),
            _ => {
                assert_eq!(
                    shown(request).last().unwrap(),
                    "some\n[stopped: out of memory; exit code 137]"
                );
                submits("right")
            }
        })
    });
    let provider = Provider::new(|_, _| {
        Did::Ends(
            Duration::ZERO,
            ExecEnding::OutOfMemory { code: 137 },
            "some".into(),
        )
    });
    let world = World::new("", vec![task("a", 1, BOXED)], client, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(world.statuses(), [(TrialStatus::Success, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_lost_while_scoring_is_void() {
    let body = "sandbox: {image: img, network: none}\ntools: [submit]\n\
                score: {command: {run: check, where: same, read: exit}}\n";
    let provider = Provider::new(|_, _| Did::Fails(gone(false)));
    let world = World::new("", vec![task("a", 1, body)], turns(vec![submits("")]), provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let expected =
        ["retry", "retry", "given up"].map(|then| void(Stage::Score, Fault::Sandbox, "sandbox_gone", then));
    assert_eq!(voids(&world), expected);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_ends_is_the_daemons_fault() {
    let tries = AtomicU32::new(0);
    let provider = Provider::new(move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Did::Hangs,
        _ => prints(""),
    });
    let client = turns(vec![bash("x"), submits("right")]);
    let world = World::new("", vec![task("a", 1, BOXED)], client, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(
        voids(&world),
        [void(Stage::Solve, Fault::Sandbox, "daemon", "retry")]
    );
}

#[tokio::test(start_paused = true)]
async fn every_error_of_a_start_is_void_and_has_its_fault() {
    let text = || "x".to_owned();
    let errors = [
        (
            SandboxError::Daemon {
                operation: text(),
                detail: text(),
            },
            Fault::Sandbox,
        ),
        (SandboxError::HostDisk { detail: text() }, Fault::Sandbox),
        (gone(true), Fault::Sandbox),
        (SandboxError::NoShell { detail: text() }, Fault::Task),
        (SandboxError::UnknownUser { user: text() }, Fault::Task),
        (SandboxError::Protocol { detail: text() }, Fault::Harness),
    ];
    for (error, fault) in errors {
        let name = error.name();
        let provider = Provider::new(|_, _| prints(""))
            .starting(move |nth, _| (Duration::from_secs(1), (nth == 0).then(|| error.clone())));
        let world = World::new(
            "",
            vec![task("a", 1, BOXED)],
            turns(vec![submits("right")]),
            provider,
        );
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert_eq!(voids(&world), [void(Stage::Setup, fault, name, "retry")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_a_person_can_repair_halts_the_run_and_leaves_trials_open() {
    let errors = [
        ModelError::Authentication {
            detail: "bad key".into(),
        },
        ModelError::QuotaSpent {
            detail: "no credit".into(),
        },
        ModelError::UnknownModel {
            detail: "gpt-9".into(),
        },
    ];
    for error in errors {
        let name = error.name().to_owned();
        let client = model(move |_| now(Err(error.clone())));
        let world = World::new(
            "concurrency: {trials: 4}\n",
            vec![task("a", 20, PLAIN)],
            client,
            Provider::new(|_, _| prints("")),
        );
        assert_eq!(
            world.run().await,
            Ok(RunEnding::Finished(Finish::Halted { error: name }))
        );
        let counts = world.statuses();
        let open = |status| counts.get(&status).copied().unwrap_or_default();
        // Those that were under way when the run halted were stopped.
        assert_eq!(open(TrialStatus::Open) + open(TrialStatus::Cancelled), 20);
        assert!(world.endings().len() <= 8, "{}", world.endings().len());
        assert_eq!(world.store.events().last(), Some(&RunEvent::Interrupted));
        let mut world = world;
        world.models = vec![model(|_| now(submits("right")))];
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert_eq!(world.statuses(), [(TrialStatus::Success, 20)].into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_tried_again_and_the_wait_is_not_working_time() {
    let asked = Some(Duration::from_secs(100));
    let client = model(move |request| {
        let after = Some(Duration::from_secs(1));
        match request.origin.tries {
            0 => (after, Err(ModelError::RateLimited { retry_after: asked })),
            1 => (
                after,
                Err(ModelError::Connection {
                    detail: "reset".into(),
                }),
            ),
            _ => (after, submits("right")),
        }
    });
    let body = format!("{PLAIN}limits: {{working: 5s}}\n");
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ended = world.ending();
    assert_eq!(ended.working, Duration::from_secs(1));
    assert!(ended.wall >= Duration::from_secs(103), "{:?}", ended.wall);
    let expected = [
        "started",
        "stage_started solve",
        "prompted",
        "model_called",
        "waited backoff",
        "model_failed",
        "waited backoff",
        "model_called",
        "waited backoff",
        "model_failed",
        "waited backoff",
        "model_called",
        "model_replied",
        "submitted",
        "stage_started score",
        "scorer_ran",
        "ended",
    ];
    assert_eq!(world.names(0, 1), expected);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_stays_makes_the_attempt_void() {
    let cases = [
        (ModelError::BadRequest { detail: "x".into() }, Fault::Harness, 1),
        (
            ModelError::ContentPolicy { detail: "x".into() },
            Fault::Provider,
            1,
        ),
        (ModelError::Malformed { detail: "x".into() }, Fault::Provider, 3),
    ];
    for (error, fault, tries) in cases {
        let (name, failing) = (error.name(), error.clone());
        let client = model(move |request| match request.origin.attempt.number {
            1 => now(Err(failing.clone())),
            _ => now(submits("right")),
        });
        let world = World::new(
            "",
            vec![task("a", 1, PLAIN)],
            client,
            Provider::new(|_, _| prints("")),
        );
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert_eq!(voids(&world), [void(Stage::Solve, fault, name, "retry")]);
        let then = |event: AttemptEvent| match event {
            AttemptEvent::ModelFailed { then, .. } => Some(then == CallThen::GiveUp),
            _ => None,
        };
        let thens: Vec<bool> = world.transcript(0, 1).into_iter().filter_map(then).collect();
        assert_eq!((thens.len(), thens.last()), (tries, Some(&true)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_backoff_longer_than_the_wall_limit_ends_at_it() {
    let client = model(|_| {
        now(Err(ModelError::RateLimited {
            retry_after: Some(Duration::from_mins(10)),
        }))
    });
    let body = format!("{PLAIN}limits: {{working: 1m, wall: 1m}}\n");
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ended = world.ending();
    assert_eq!(
        (ended.outcome.name(), ended.wall),
        ("limit_reached", Duration::from_mins(1))
    );
}

/// A provider whose daemon answers only outside of an outage.
fn with_outage(until: Duration) -> Provider {
    let began: Mutex<Option<Instant>> = Mutex::new(None);
    Provider::new(|_, _| prints("")).starting(move |_, _| {
        let began = *began.lock().unwrap().get_or_insert_with(Instant::now);
        let out = began.elapsed() < until;
        (Duration::from_millis(10), out.then(unreachable))
    })
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_daemon_is_waited_for_and_no_trial_is_given_up() {
    let suite = "concurrency: {trials: 8, sandboxes: 4}\n";
    let client = model(|_| now(submits("right")));
    let world = World::new(
        suite,
        vec![task("a", 30, BOXED)],
        client,
        with_outage(Duration::from_secs(100)),
    );
    let before = Instant::now();
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert!(
        before.elapsed() < Duration::from_mins(4),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(world.statuses(), [(TrialStatus::Success, 30)].into());
    let tried = world.provider.seen().tried;
    assert!(tried < 50, "{tried} starts: a few probes, not a storm");
}

#[tokio::test(start_paused = true)]
async fn trials_that_need_no_sandbox_do_not_hide_an_unreachable_daemon() {
    let suite = "concurrency: {trials: 8, sandboxes: 4}\n";
    let client = model(|request| {
        let plain = request.origin.task.as_str() == "plain";
        (
            Some(Duration::from_millis(if plain { 900 } else { 1 })),
            submits("right"),
        )
    });
    let tasks = vec![task("boxed", 10, BOXED), task("plain", 200, PLAIN)];
    let world = World::new(suite, tasks, client, with_outage(Duration::from_secs(100)));
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(world.statuses(), [(TrialStatus::Success, 210)].into());
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stays_away_halts_the_run() {
    let client = model(|_| now(submits("right")));
    let world = World::new(
        "",
        vec![task("a", 10, BOXED)],
        client,
        with_outage(Duration::from_hours(99)),
    );
    let error = "daemon_unreachable".to_owned();
    assert_eq!(
        world.run().await,
        Ok(RunEnding::Finished(Finish::Halted { error }))
    );
    assert_eq!(world.statuses(), [(TrialStatus::Open, 10)].into());
    let mut world = world;
    world.provider = Arc::new(Provider::new(|_, _| prints("")));
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(world.statuses(), [(TrialStatus::Success, 10)].into());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_void_and_the_sandbox_is_removed() {
    let client = model(|request| {
        assert!(request.origin.attempt.number > 1, "a bug");
        now(submits("right"))
    });
    let world = World::new(
        "",
        vec![task("a", 1, BOXED)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(
        voids(&world),
        [void(Stage::Solve, Fault::Harness, "panic", "retry")]
    );
    assert_eq!(world.provider.seen().stopped, 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_scoring_is_of_that_stage() {
    let body = "sandbox: {image: img, network: none}\ntools: [submit]\n\
                score: {command: {run: check, where: same, read: exit}}\n";
    let tries = AtomicU32::new(0);
    let provider = Provider::new(move |_, _| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => Did::Panics,
        _ => exits(0, ""),
    });
    let world = World::new("", vec![task("a", 1, body)], turns(vec![submits("")]), provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(
        voids(&world),
        [void(Stage::Score, Fault::Harness, "panic", "retry")]
    );
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_cannot_be_removed_is_noted_and_changes_no_outcome() {
    for on_stop in [(None, false), (Some(Duration::ZERO), true)] {
        let mut provider = Provider::new(|_, _| prints(""));
        provider.on_stop = Some(on_stop);
        let world = World::new(
            "",
            vec![task("a", 1, BOXED)],
            turns(vec![submits("right")]),
            provider,
        );
        let (input, _interrupt, _) = world.input();
        assert_eq!(
            crate::world::within(harness_runner::run(input)).await,
            Ok(COMPLETE)
        );
        assert_eq!(world.statuses(), [(TrialStatus::Success, 1)].into());
        let names = world.names(0, 1);
        assert_eq!(
            names[names.len() - 3..],
            ["stage_started teardown", "noted", "ended"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_without_a_reply_is_the_operators_fault() {
    let client = model(|_| {
        now(Err(ModelError::NoReply {
            detail: "turn 0".into(),
        }))
    });
    let world = World::new(
        "",
        vec![task("a", 5, PLAIN)],
        client,
        Provider::new(|_, _| prints("")),
    );
    let error = "no_reply".to_owned();
    assert_eq!(
        world.run().await,
        Ok(RunEnding::Finished(Finish::Halted { error }))
    );
}
