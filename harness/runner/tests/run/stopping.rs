//! Ways in which a run stops before its end.

use std::time::Duration;

use harness_core::event::{RunEnd, RunEvent, Then};
use harness_core::fold::{Life, TrialStatus};
use harness_core::outcome::{CancelledBy, Outcome};
use harness_core::ports::ExecEnding;
use harness_core::schedule::Finish;
use harness_runner::{RunEnding, RunStop, run};
use harness_store::MemoryStore;
use pretty_assertions::assert_eq;
use tokio::time::{Instant, sleep};

use crate::models::{bash, model, now, says, submits};
use crate::sandbox::{Did, Provider, prints};
use crate::world::{BOXED, PLAIN, World, task, within};

const COMPLETE: RunEnding = RunEnding::Finished(Finish::Ended(RunEnd::Complete));
const INTERRUPTED: RunEnding = RunEnding::Finished(Finish::Interrupted);

/// Runs and interrupts after a while, once or twice.
pub(crate) async fn interrupted(world: &World, after: &[Duration]) -> Result<RunEnding, RunStop> {
    let (input, interrupt, _) = world.input();
    let asking = async {
        for after in after {
            sleep(*after).await;
            let _ = interrupt.send(());
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = within(run(input)) => ended,
        () = asking => unreachable!(),
    }
}

fn hanging() -> World {
    let client = model(|_| now(bash("x")));
    let suite = "concurrency: {sandboxes: 3}\n";
    World::new(
        suite,
        vec![task("a", 10, BOXED)],
        client,
        Provider::new(|_, _| Did::Hangs),
    )
}

#[tokio::test(start_paused = true)]
async fn one_interrupt_ends_the_run_in_order() {
    let world = hanging();
    let before = Instant::now();
    assert_eq!(
        interrupted(&world, &[Duration::from_secs(5)]).await,
        Ok(INTERRUPTED)
    );
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    world.check();
    let endings: Vec<_> = world
        .endings()
        .into_iter()
        .map(|ended| (ended.outcome, ended.then))
        .collect();
    let cancelled = Outcome::Cancelled {
        by: CancelledBy::Operator,
    };
    assert_eq!(endings, vec![(cancelled, Then::Open); 3]);
    assert_eq!(world.view().life(), Life::Interrupted);
    assert_eq!(world.provider.seen().stopped, 6, "three were made ahead");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_is_heard_at_every_moment() {
    // Image 2 s, start 0.7 s, setup 1 s, model 1 s, tool 1 s, model 1 s, scorer 1 s, removal 0.5 s.
    for tenths in 0..90 {
        let body = "sandbox: {image: img, network: none, setup: [x]}\ntools: [bash, submit]\n\
                    score: {command: {run: check, where: fresh, read: exit}}\nartifacts: [/a]\n";
        let client = model(|request| {
            let answer = if request.origin.turn == 0 {
                bash("y")
            } else {
                submits("")
            };
            (Some(Duration::from_secs(1)), answer)
        });
        let mut provider = Provider::new(|_, _| {
            Did::Ends(
                Duration::from_secs(1),
                ExecEnding::Exited { code: 0 },
                String::new(),
            )
        });
        provider.image_takes = Duration::from_secs(2);
        provider.on_stop = Some((Some(Duration::from_millis(500)), false));
        let world = World::new("", vec![task("a", 1, body)], client, provider);
        let at = Duration::from_millis(tenths * 100 + 50);
        let before = Instant::now();
        let ended = interrupted(&world, &[at]).await;
        world.check();
        if ended == Ok(COMPLETE) {
            continue;
        }
        assert_eq!(ended, Ok(INTERRUPTED));
        // At most the rest of a start, which is waited for so that nothing is left behind, and a removal.
        assert!(before.elapsed() <= at + Duration::from_millis(1200), "{at:?}");
        assert_eq!(interrupted(&world, &[]).await, Ok(COMPLETE));
        world.check();
        assert_eq!(world.statuses(), [(TrialStatus::Success, 1)].into());
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_a_slot_or_a_retry_hear_an_interrupt() {
    let suite = "concurrency: {per_model: {m: {requests: 1}}}\n";
    let client = model(|_| (None, says("")));
    let world = World::new(
        suite,
        vec![task("a", 3, PLAIN)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(
        interrupted(&world, &[Duration::from_secs(1)]).await,
        Ok(INTERRUPTED)
    );
    let retry_after = Some(Duration::from_mins(10));
    let error = harness_core::model::ModelError::RateLimited { retry_after };
    let client = model(move |_| now(Err(error.clone())));
    let world = World::new(
        "",
        vec![task("a", 3, PLAIN)],
        client,
        Provider::new(|_, _| prints("")),
    );
    let before = Instant::now();
    assert_eq!(
        interrupted(&world, &[Duration::from_secs(1)]).await,
        Ok(INTERRUPTED)
    );
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    world.check();
}

#[tokio::test(start_paused = true)]
async fn two_interrupts_wait_for_nothing() {
    let mut world = hanging();
    let mut provider = Provider::new(|_, _| Did::Hangs);
    provider.on_stop = Some((None, false));
    world.provider = std::sync::Arc::new(provider);
    let second = Duration::from_secs(1);
    let before = Instant::now();
    assert_eq!(
        interrupted(&world, &[second, second]).await,
        Ok(RunEnding::Aborted)
    );
    assert_eq!(before.elapsed(), 2 * second);
    // The attempts are left as after a crash; the next process ends them and goes on.
    assert_eq!(world.view().unfinished().len(), 3);
    world.provider = std::sync::Arc::new(Provider::new(|_, _| prints("")));
    world.models = vec![model(|_| now(submits("right")))];
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(world.statuses(), [(TrialStatus::Success, 10)].into());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_at_any_call_stops_the_run_and_leaves_no_sandbox() {
    let world = || {
        let client = model(|request| {
            let answer = if request.origin.turn == 0 {
                bash("y")
            } else {
                submits("right")
            };
            (Some(Duration::from_secs(1)), answer)
        });
        let provider = Provider::new(|_, _| prints(&"x".repeat(100_000)));
        let suite = "concurrency: {sandboxes: 2}\n";
        World::new(suite, vec![task("a", 3, BOXED)], client, provider)
    };
    let mut failures = 0;
    for calls in 1..1000 {
        let mut world = world();
        world.store = MemoryStore::failing_after(calls);
        let (input, _interrupt, _) = world.input();
        let ended = within(run(input)).await;
        let (live, most) = {
            let seen = world.provider.seen();
            (seen.live, seen.most)
        };
        assert_eq!((live, most <= 3), (0, true), "after {calls} calls");
        world.view();
        if ended == Ok(COMPLETE) {
            break;
        }
        assert!(
            matches!(ended, Err(RunStop::Store(_))),
            "{ended:?} after {calls} calls"
        );
        failures += 1;
    }
    assert!((50..900).contains(&failures), "{failures}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_does_not_wait_for_ever_for_a_sandbox() {
    let mut world = hanging();
    world.store = MemoryStore::failing_after(40);
    let mut provider = Provider::new(|_, _| prints(""));
    provider.on_stop = Some((None, false));
    world.provider = std::sync::Arc::new(provider);
    let (input, _interrupt, _) = world.input();
    let before = Instant::now();
    assert!(matches!(within(run(input)).await, Err(RunStop::Store(_))));
    assert!(before.elapsed() < Duration::from_mins(3));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_died_before_it_logged_the_end_of_a_phase_is_continued() {
    let suite = "phases: [{id: one, tasks: [a], ceiling: SL3}, {id: two, tasks: [b], ceiling: SL3}]\n";
    let whole = || {
        let client = model(|_| now(submits("right")));
        let tasks = vec![task("a", 2, PLAIN), task("b", 1, PLAIN)];
        World::new(suite, tasks, client, Provider::new(|_, _| prints("")))
    };
    let first = whole();
    assert_eq!(first.run().await, Ok(COMPLETE));
    let lines = first.store.lines();
    for kept in 1..lines.len() {
        let world = whole();
        for line in &lines[..kept] {
            let store: &dyn harness_core::ports::EventStore = &world.store;
            store
                .append(harness_core::units::Moment::default(), &line.event)
                .unwrap();
        }
        assert_eq!(world.run().await, Ok(COMPLETE), "continued after {kept} lines");
        assert_eq!(world.statuses(), [(TrialStatus::Success, 3)].into());
        let phases = world
            .store
            .events()
            .into_iter()
            .filter(|event| matches!(event, RunEvent::PhaseEnded { .. }));
        assert_eq!(phases.count(), 2);
    }
}
