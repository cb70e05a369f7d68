//! Scoring again from what is stored.

use std::sync::Arc;
use std::time::Duration;

use harness_core::event::AttemptEvent;
use harness_core::ids::AttemptId;
use harness_core::model::ModelError;
use harness_core::score::Unscored;
use harness_runner::{RescoreInput, rescore_attempt};
use pretty_assertions::assert_eq;

use crate::models::{bash, model, now, says, submits, turns};
use crate::sandbox::{Did, Provider, exits, prints, unreachable};
use crate::scoring::{judged, result};
use crate::world::{World, task, within};

async fn again(world: &World) -> Result<Result<f64, Unscored>, String> {
    let attempt = AttemptId {
        trial: world.plan.trials[0].id.clone(),
        number: 1,
    };
    let left = RescoreInput::from_events(world.transcript(0, 1), |digest| {
        world.store.blob(digest).ok_or("no blob")
    });
    let (input, _interrupt, _) = World {
        store: harness_store::MemoryStore::default(),
        plan: Arc::clone(&world.plan),
        provider: Arc::clone(&world.provider),
        models: world.models.clone(),
        call_timeout: world.call_timeout,
        keep: world.keep,
    }
    .input();
    let scored = within(rescore_attempt(&input, 0, attempt, left?)).await;
    let seen = world.provider.seen();
    assert_eq!((seen.live, seen.stopped), (0, seen.started));
    scored.map(|score| result(&score))
}

fn body(place: &str) -> String {
    format!(
        "sandbox: {{image: img, network: none}}\ntools: [bash, submit]\nartifacts: [/out]\n\
         score: {{command: {{run: check, where: {place}, read: exit}}}}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn a_broken_scorer_is_repaired_later() {
    for place in ["same", "fresh"] {
        let broken = Provider::new(|files, request| {
            if request.argv.last().unwrap() == "work" {
                files.insert("/out".into(), b"good".to_vec());
                return prints("");
            }
            exits(99, "")
        });
        let client = turns(vec![bash("work"), submits("x")]);
        let mut world = World::new("", vec![task("a", 1, &body(place))], client, broken);
        world.run().await.unwrap();
        assert_eq!(
            result(world.ending().outcome.score().unwrap()),
            Err(Unscored::Crashed)
        );
        let kept = world
            .transcript(0, 1)
            .into_iter()
            .any(|event| matches!(event, AttemptEvent::StateKept { .. }));
        assert_eq!(kept, place == "same");
        world.provider = Arc::new(Provider::new(move |files, request| {
            if place == "fresh" {
                assert_eq!(files["/out"], b"good");
            }
            assert!(request.argv.last().unwrap() != "work");
            exits(0, "")
        }));
        assert_eq!(again(&world).await, Ok(Ok(1.0)), "{place}");
        let calls = world.provider.seen().calls.clone();
        assert_eq!(
            calls.contains(&"import /home/agent archive".to_owned()),
            place == "same",
            "{calls:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_scored_again_says_so() {
    let client = || turns(vec![submits("x")]);
    let body = body("same").replace("artifacts: [/out]\n", "");
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        client(),
        Provider::new(|_, _| exits(0, "")),
    );
    world.run().await.unwrap();
    assert_eq!(again(&world).await, Ok(Err(Unscored::NothingStored)));
    let mut world = World::new(
        "",
        vec![task("a", 1, &body)],
        client(),
        Provider::new(|_, _| exits(7, "")),
    );
    world.run().await.unwrap();
    for broken in [
        Provider::new(|_, _| prints("")).starting(|_, _| (Duration::ZERO, Some(unreachable()))),
        Provider::new(|_, _| Did::Fails(unreachable())),
        Provider::new(|_, _| Did::Hangs),
    ] {
        world.provider = Arc::new(broken);
        let error = again(&world).await.unwrap_err();
        assert!(error.contains("daemon"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn judges_are_asked_again_without_a_scheduler() {
    let mut world = judged(model(|_| now(says("what?"))));
    world.run().await.unwrap();
    world.models[1] = model(|request| match request.origin.tries {
        0 => now(Err(ModelError::Connection {
            detail: "reset".into(),
        })),
        _ => now(says("{\"score\": 5}")),
    });
    assert_eq!(again(&world).await, Ok(Ok(0.5)));
    world.models[1] = model(|_| {
        now(Err(ModelError::Connection {
            detail: "reset".into(),
        }))
    });
    assert_eq!(again(&world).await, Ok(Err(Unscored::NoVerdict)));
    world.models[1] = model(|_| (None, says("")));
    assert_eq!(again(&world).await, Ok(Err(Unscored::NoVerdict)));
}

#[tokio::test(start_paused = true)]
async fn a_very_long_submission_is_scored_whole() {
    let long = format!("{}right", "x".repeat(600 << 10));
    let body = "tools: []\nscore: {answer: {match: includes}}\n";
    let world = World::new(
        "",
        vec![task("a", 1, body)],
        turns(vec![submits(&long)]),
        Provider::new(|_, _| prints("")),
    );
    world.run().await.unwrap();
    let left = RescoreInput::from_events(world.transcript(0, 1), |digest| {
        world.store.blob(digest).ok_or("no blob")
    });
    assert!(left.unwrap().submission == Some(long));
}
