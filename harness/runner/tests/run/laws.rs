//! What holds for every run, however it is stopped and continued.

use std::sync::Arc;
use std::time::Duration;

use harness_core::event::RunEnd;
use harness_core::fold::{Life, TrialStatus};
use harness_core::ids::Digest;
use harness_core::model::ModelError;
use harness_core::schedule::Finish;
use harness_runner::{RunEnding, run};
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::models::{bash, model, says, submits};
use crate::sandbox::{Did, Provider, gone, takes, unreachable};
use crate::world::{BOXED, PLAIN, World, task, within};

const COMPLETE: RunEnding = RunEnding::Finished(Finish::Ended(RunEnd::Complete));

#[tokio::test(start_paused = true)]
async fn a_thousand_trials_at_once() {
    let suite = "concurrency: {trials: 1000, sandboxes: 300, per_model: {m: {requests: 200}}}\n";
    let client = model(|request| {
        let answer = if request.origin.turn < 2 {
            bash("x")
        } else {
            submits("right")
        };
        (Some(Duration::from_secs(3)), answer)
    });
    let tasks = vec![task("boxed", 500, BOXED), task("plain", 500, PLAIN)];
    let world = World::new(suite, tasks, client, Provider::new(|_, _| takes(2, "")));
    let (input, _interrupt, progress) = world.input();
    assert_eq!(within(run(input)).await, Ok(COMPLETE));
    world.check();
    assert_eq!(world.statuses(), [(TrialStatus::Success, 1000)].into());
    assert_eq!(world.provider.seen().most, 308, "eight are made ahead");
    let shown = progress.borrow().clone();
    assert_eq!((shown.done_of_total(), shown.running), ((1000, 1000), 0));
    assert_eq!(Some(shown.usage), Some(world.view().totals().usage));
}

/// Twenty thousand trials that wait for a small budget must not make each call of a model slow.
#[tokio::test(start_paused = true)]
async fn many_trials_that_wait_cost_little() {
    let suite = "budget: {tokens: 10M}\nconcurrency: {trials: 500}\n";
    let client = model(|request| {
        let answer = if request.origin.turn < 2 {
            says("hm")
        } else {
            submits("right")
        };
        (Some(Duration::from_secs(1)), answer)
    });
    let body = format!("{PLAIN}limits: {{tokens: 100k}}\n");
    let world = World::new(
        suite,
        vec![task("a", 4_000, &body)],
        client,
        Provider::new(|_, _| takes(0, "")),
    );
    assert!(matches!(
        world.run().await,
        Ok(RunEnding::Finished(Finish::Ended(_)))
    ));
}

/// Behaves by the digest of what is asked: slow, broken, refusing, or fine.
fn capricious(seed: u64, horizon: u32) -> (Arc<dyn harness_core::ports::ModelClient>, Provider) {
    let roll = move |parts: &[&[u8]], sides: u64| {
        let seed = seed.to_le_bytes();
        Digest::of_parts(parts.iter().copied().chain([&seed[..]])).seed() % sides
    };
    let client = model(move |request| {
        let origin = &request.origin;
        let name = origin.attempt.to_string();
        let turn = [origin.turn.to_le_bytes(), origin.tries.to_le_bytes()].concat();
        let after = Some(Duration::from_millis(roll(
            &[b"after", name.as_bytes(), &turn],
            5000,
        )));
        let answer = match roll(&[b"what", name.as_bytes(), &turn], 12) {
            0 => Err(ModelError::RateLimited { retry_after: None }),
            1 => Err(ModelError::Malformed { detail: "cut".into() }),
            2 => Err(ModelError::BadRequest { detail: "no".into() }),
            3 => return (None, says("never")),
            4 => panic!("a bug"),
            5 | 6 => submits("right"),
            7 => submits("wrong"),
            _ => bash(&name),
        };
        (after, answer)
    });
    let count = std::sync::atomic::AtomicU32::new(0);
    let starts = std::sync::atomic::AtomicU32::new(0);
    let provider = Provider::new(move |_, _| {
        let at = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match roll(&[b"exec", &at.to_le_bytes()], 20) {
            0 => Did::Fails(gone(at.is_multiple_of(2))),
            1 => Did::Hangs,
            2 => Did::Panics,
            more => takes(more, "out"),
        }
    })
    .starting(move |_, _| {
        let at = starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let fails = roll(&[b"start", &at.to_le_bytes()], 6) == 0 && at < horizon;
        (Duration::from_millis(300), fails.then(unreachable))
    });
    (client, provider)
}

async fn stopped_and_continued(seed: u64, stops: &[(u64, bool)]) {
    let suite = "phases: [{id: one, tasks: [a], ceiling: SL3}, {id: two, tasks: [\"*\"], ceiling: SL3}]\n\
                 concurrency: {trials: 5, sandboxes: 2, per_model: {m: {requests: 3}}}\n";
    let limits = "limits: {turns: 6, working: 1m, wall: 3m, tool_time: 10s}\n";
    let boxed = format!("{BOXED}{limits}");
    let plain = format!("{PLAIN}{limits}");
    let (client, provider) = capricious(seed, 40);
    let tasks = vec![task("a", 4, &boxed), task("b", 4, &plain), task("c", 3, &boxed)];
    let world = World::new(suite, tasks, client, provider);
    for (after, politely) in stops {
        if matches!(world.view().life(), Life::Ended(_)) {
            break;
        }
        let (input, interrupt, _) = world.input();
        let after = Duration::from_millis(*after);
        if *politely {
            let asked = async {
                sleep(after).await;
                interrupt.send(()).ok();
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = within(run(input)) => drop(ended.unwrap()),
                () = asked => unreachable!(),
            }
            let seen = world.provider.seen();
            assert!(seen.live == 0 || seen.stopped < seen.started);
        } else {
            // The process dies.
            let _ = tokio::time::timeout(after, run(input)).await;
            let mut seen = world.provider.seen();
            // What a sweep would do.
            seen.stopped += seen.live;
            seen.live = 0;
        }
        world.view();
    }
    for _ in 0..20 {
        if matches!(world.view().life(), Life::Ended(_)) {
            break;
        }
        let (input, _interrupt, _) = world.input();
        within(run(input)).await.unwrap();
    }
    world.check();
    let view = world.view();
    assert_eq!(view.life(), Life::Ended(RunEnd::Complete));
    let counts = view.counts(world.plan.trials.iter().map(|trial| &trial.id));
    assert_eq!(counts.trials, 11);
    assert_eq!(
        counts.success + counts.failure + counts.unscored + counts.void,
        11,
        "{counts:?}"
    );
    for trial in view.trials().values() {
        let ended = trial.attempts.iter().filter_map(|attempt| attempt.ended.as_ref());
        let last = ended.filter(|ended| {
            use harness_core::event::Then;
            matches!(ended.facts.then, Then::Settled | Then::GivenUp)
        });
        assert_eq!(last.count(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]
    #[test]
    fn every_trial_gets_one_ending_however_the_run_is_stopped(
        seed in any::<u64>(),
        stops in prop::collection::vec((0_u64..60_000, any::<bool>()), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(stopped_and_continued(seed, &stops));
    }
}

#[tokio::test(start_paused = true)]
async fn the_tokens_of_a_minute_are_kept() {
    let suite = "concurrency: {per_model: {m: {tokens_per_minute: 6k}}}\n";
    let client = model(|_| (Some(Duration::from_millis(10)), submits("right")));
    let world = World::new(
        suite,
        vec![task("a", 100, PLAIN)],
        client,
        Provider::new(|_, _| takes(0, "")),
    );
    let before = Instant::now();
    assert_eq!(world.run().await, Ok(COMPLETE));
    // 100 calls of 110 tokens are 11,000: a minute's worth at once, the rest at 100 a second.
    assert!(
        before.elapsed() >= Duration::from_secs(50),
        "{:?}",
        before.elapsed()
    );
    assert!(
        before.elapsed() < Duration::from_mins(10),
        "{:?}",
        before.elapsed()
    );
}
