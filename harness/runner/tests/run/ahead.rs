//! Sandboxes that are started before their attempts, and what is left of sandboxes at the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness_core::event::{AttemptEvent, RunEnd, RunEvent, WaitReason};
use harness_core::fold::TrialStatus;
use harness_core::outcome::Outcome;
use harness_core::ports::{SandboxError, SandboxRequest};
use harness_core::sandbox::{ImageSource, ServiceSpec};
use harness_core::schedule::Finish;
use harness_core::task::FileMap;
use harness_runner::{RunEnding, RunStop, run};
use pretty_assertions::assert_eq;
use tokio::time::{Instant, sleep};

use crate::models::{model, now, submits};
use crate::sandbox::{Did, Provider, prints, unreachable};
use crate::stopping::interrupted;
use crate::world::{BOXED, World, task, task_with, within};

const COMPLETE: RunEnding = RunEnding::Finished(Finish::Ended(RunEnd::Complete));
const INTERRUPTED: RunEnding = RunEnding::Finished(Finish::Interrupted);

/// Trials of a second each, one at a time.
fn one_by_one(trials: usize, look_ahead: u32, provider: Provider) -> World {
    let client = model(|_| (Some(Duration::from_secs(1)), submits("right")));
    let suite = format!("concurrency: {{sandboxes: 1, look_ahead: {look_ahead}}}\n");
    World::new(&suite, vec![task("a", trials, BOXED)], client, provider)
}

fn starting(
    on_start: impl Fn(u32, &SandboxRequest) -> (u64, Option<SandboxError>) + Send + Sync + 'static,
) -> Provider {
    Provider::new(|_, _| prints("")).starting(move |nth, request| {
        let (millis, error) = on_start(nth, request);
        (Duration::from_millis(millis), error)
    })
}

fn is_second(request: &SandboxRequest) -> bool {
    request.labels.attempt.trial.as_str().starts_with("a/s1/")
}

/// How many milliseconds each trial's first attempt waited for its sandbox.
fn waits(world: &World) -> Vec<u128> {
    let waited = |event| match event {
        AttemptEvent::Waited {
            reason: WaitReason::SandboxStart,
            took,
        } => Some(took.as_millis()),
        _ => None,
    };
    let of = |at| world.transcript(at, 1).into_iter().filter_map(waited).sum();
    (0..world.plan.trials.len()).map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn a_trial_waits_only_for_what_is_left_of_its_sandboxs_start() {
    let cases = [
        (0, 700, vec![700, 700, 700, 700]),
        (1, 700, vec![700, 0, 0, 0]),
        // The third is asked for when the second takes its own at 4 s; the second ends at 5 s.
        (1, 3000, vec![3000, 0, 2000, 0]),
    ];
    for (look_ahead, takes, expected) in cases {
        let world = one_by_one(4, look_ahead, starting(move |_, _| (takes, None)));
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert_eq!(waits(&world), expected, "{look_ahead} ahead, {takes} ms each");
        let seen = world.provider.seen();
        assert_eq!((seen.tried, seen.most), (4, 1 + look_ahead));
        let whose: BTreeSet<String> = seen
            .requests
            .iter()
            .map(|request| request.labels.attempt.to_string())
            .collect();
        assert_eq!(whose.len(), 4, "each is labelled with its own attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_made_ahead_has_the_files_of_its_sample_and_time_to_wait() {
    let body = BOXED.replace("network: none", "network: none, files: {/data/x: x.txt}");
    let provider = starting(|_, _| (700, None));
    let client = model(|_| now(submits("right")));
    let suite = "concurrency: {sandboxes: 1, look_ahead: 1}\n";
    let spec = task_with("a", 2, &body, &[("x.txt", "x"), ("db/init.sql", "create")]);
    let mut world = World::new(suite, vec![spec], client, provider);
    let service = |files: FileMap| ServiceSpec {
        image: ImageSource::Named("img".to_owned()),
        command: Vec::new(),
        files,
        env: std::collections::BTreeMap::new(),
        healthcheck: None,
    };
    let own = Arc::make_mut(&mut Arc::make_mut(&mut world.plan).tasks[0]);
    let sandbox = own.sandbox.as_mut().unwrap();
    let files = FileMap::from([("/init".to_owned(), "db".to_owned())]);
    sandbox.services.insert("db".to_owned(), service(files));
    sandbox
        .services
        .insert("cache".to_owned(), service(FileMap::new()));
    assert_eq!(world.run().await, Ok(COMPLETE));
    let seen = world.provider.seen();
    let paths = |files: &[harness_core::ports::PutFile]| -> Vec<String> {
        files.iter().map(|file| file.path.clone()).collect()
    };
    for request in &seen.requests {
        assert_eq!(paths(&request.files), ["/data/x"]);
        let services: Vec<_> = request.service_files.iter().collect();
        assert_eq!(services.len(), 1, "a service without files is left out");
        assert_eq!(
            (services[0].0.as_str(), paths(services[0].1)),
            ("db", vec!["/init/init.sql".to_owned()])
        );
    }
    let mut expires: Vec<i64> = seen
        .requests
        .iter()
        .map(|request| request.labels.expires.0)
        .collect();
    expires.sort_unstable();
    assert!(expires[1] - expires[0] >= 24 * 3600 * 1_000_000, "{expires:?}");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_removes_what_was_made_ahead_ready_or_not() {
    for (at, ends_at) in [(300, 700), (900, 900)] {
        let client = model(|_| (None, submits("right")));
        let suite = "concurrency: {sandboxes: 2, look_ahead: 1}\n";
        let provider = starting(|_, _| (700, None));
        let world = World::new(suite, vec![task("a", 5, BOXED)], client, provider);
        let before = Instant::now();
        let ended = interrupted(&world, &[Duration::from_millis(at)]).await;
        assert_eq!(ended, Ok(INTERRUPTED));
        assert_eq!(before.elapsed(), Duration::from_millis(ends_at));
        world.check();
        assert_eq!(world.provider.seen().started, 3);
        assert_eq!(world.endings().len(), 2, "a sandbox made ahead is no attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_removes_what_was_made_ahead() {
    let world = World::new(
        "concurrency: {sandboxes: 1, look_ahead: 1}\nbudget: {wall: 3s}\n",
        vec![task("a", 9, BOXED)],
        model(|_| (Some(Duration::from_secs(2)), submits("right"))),
        starting(|_, _| (100, None)),
    );
    assert!(world.run().await.is_ok());
    assert_eq!(
        world.statuses(),
        [(TrialStatus::Success, 2), (TrialStatus::Skipped, 7)].into()
    );
    assert_eq!(world.provider.seen().started, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failure_ahead_spends_no_attempt() {
    // At once, so that the scheduler hears of it first; while the attempt waits for it; by a bug of ours.
    for (case, noted) in [("early", false), ("late", true), ("panic", true)] {
        let failed = AtomicBool::new(false);
        let provider = starting(move |_, request| {
            let fails = is_second(request) && !failed.swap(true, Ordering::Relaxed);
            assert!(!fails || case != "panic", "a bug");
            (
                if fails && case == "late" { 5000 } else { 100 },
                fails.then(unreachable),
            )
        });
        let world = one_by_one(3, 1, provider);
        assert_eq!(world.run().await, Ok(COMPLETE), "{case}");
        assert_eq!(world.statuses(), [(TrialStatus::Success, 3)].into(), "{case}");
        assert_eq!(world.endings().len(), 3, "{case}");
        let seen = world.provider.seen();
        assert_eq!((seen.tried, seen.started), (4, 3), "{case}");
        let notes = world.transcript(1, 1).into_iter().filter(|event| {
            matches!(event, AttemptEvent::Noted { text } if text.starts_with("the sandbox could not be started ahead"))
        });
        assert_eq!(notes.count() == 1, noted, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_broke_while_it_waited_is_replaced() {
    let mut provider = starting(|_, _| (100, None));
    let broke = AtomicBool::new(false);
    provider.breaks = Box::new(move |request| {
        let breaks = is_second(request) && !broke.swap(true, Ordering::Relaxed);
        breaks.then_some(Duration::from_millis(500))
    });
    let world = one_by_one(3, 1, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(world.statuses(), [(TrialStatus::Success, 3)].into());
    assert_eq!(world.endings().len(), 3, "no attempt is spent");
    let seen = world.provider.seen();
    assert_eq!((seen.tried, seen.stopped, seen.live), (4, 4, 0));
    drop(seen);
    let told: Vec<_> = world
        .transcript(1, 1)
        .into_iter()
        .filter_map(|event| match event {
            AttemptEvent::Noted { text } => Some(text),
            AttemptEvent::SandboxStarted(info) => Some(info.id),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("the sandbox could not be started ahead or did not last: the sandbox is gone"),
        "{told:?}"
    );
    assert_eq!(told[1], "box-3", "the fourth that was started");
}

#[tokio::test(start_paused = true)]
async fn a_containment_event_ahead_ends_the_attempt_that_it_was_made_for() {
    let breach = || SandboxError::Breached {
        breach: "frames".to_owned(),
        evidence: "nonsense".to_owned(),
    };
    let provider = starting(move |_, request| (100, is_second(request).then(breach)));
    let world = one_by_one(3, 1, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let breached = world.endings().into_iter().filter(|ended| {
        matches!(ended.outcome, Outcome::Breached { .. }) && ended.attempt.trial == world.plan.trials[1].id
    });
    assert_eq!(breached.count(), 1);
    assert_eq!(world.endings().len(), 3, "nothing is tried again");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_waited_for_more_than_a_day_is_not_used() {
    let body = format!("{BOXED}limits: {{working: 48h, wall: 48h}}\n");
    let client = model(|_| (Some(Duration::from_hours(25)), submits("right")));
    let suite = "concurrency: {sandboxes: 1, look_ahead: 1}\n";
    let mut world = World::new(
        suite,
        vec![task("a", 2, &body)],
        client,
        starting(|_, _| (100, None)),
    );
    world.call_timeout = Duration::from_hours(40);
    let (input, _interrupt, _) = world.input();
    let jumps = async {
        for _ in 0..2 {
            sleep(Duration::from_secs(1)).await;
            tokio::time::advance(Duration::from_hours(25)).await;
        }
    };
    assert_eq!(tokio::join!(run(input), jumps).0, Ok(COMPLETE));
    world.check();
    assert_eq!(waits(&world), [100, 100]);
    assert_eq!(world.provider.seen().started, 3);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_removed_is_logged_before_the_run_ends() {
    let mut provider = Provider::new(|_, _| prints(""));
    provider.on_settle = (
        Some(Duration::from_secs(2)),
        vec!["sandbox x: busy".to_owned(); 60],
    );
    let world = one_by_one(1, 1, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let events = world.store.events();
    let Some([RunEvent::SandboxesLeft { left }, RunEvent::RunEnded { .. }]) = events.last_chunk() else {
        panic!("{events:#?}")
    };
    assert_eq!(
        (left.len(), left[0].as_str(), left[50].as_str()),
        (51, "sandbox x: busy", "and 10 more")
    );
    assert_eq!(world.view().left(), left);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_never_settles_is_not_waited_for_for_ever() {
    for (interrupts, waited) in [(vec![], 60), (vec![10], 10)] {
        let mut provider = starting(|_, _| (0, None));
        provider.on_settle = (None, Vec::new());
        let mut world = one_by_one(1, 0, provider);
        world.models = vec![model(|_| now(submits("right")))];
        let before = Instant::now();
        let after: Vec<_> = interrupts.into_iter().map(Duration::from_secs).collect();
        assert_eq!(interrupted(&world, &after).await, Ok(COMPLETE));
        assert_eq!(before.elapsed().as_secs(), waited);
        assert_eq!(world.view().left().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_run_waits_for_removals_in_the_background() {
    let hanging = || one_by_one(3, 1, Provider::new(|_, _| Did::Hangs));
    let world = hanging();
    assert_eq!(
        interrupted(&world, &[Duration::from_millis(1200)]).await,
        Ok(INTERRUPTED)
    );
    assert_eq!(world.provider.seen().settled, 1);
    let mut world = hanging();
    world.store = harness_store::MemoryStore::failing_after(8);
    let (input, _interrupt, _) = world.input();
    assert!(matches!(within(run(input)).await, Err(RunStop::Store(_))));
    assert_eq!(world.provider.seen().settled, 1);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_one_image_have_the_images_of_their_own_services() {
    let body = |services: &str| {
        let score = "tools: [bash, submit]\nscore: {answer: {match: exact}}\n";
        format!("sandbox: {{image: img, services: {services}}}\n{score}")
    };
    let tasks = [
        ("a", "{web: {image: img}}"),
        ("b", "{db: {image: img}, mq: {image: mq}}"),
        ("c", "{}"),
    ];
    let tasks = tasks.map(|(id, services)| task(id, 1, &body(services)));
    let provider = starting(|_, request| {
        let asked: Vec<&String> = request.spec.services.keys().collect();
        let prepared: Vec<&String> = request.image.services.keys().collect();
        assert_eq!(asked, prepared);
        (700, None)
    });
    let world = World::new("", tasks.into(), model(|_| now(submits("right"))), provider);
    world.run().await.unwrap();
    assert_eq!(world.provider.seen().started, 3);
}
