//! The loop of an agent, and each limit of it.

use std::time::Duration;

use harness_core::event::{AttemptEvent, RunEnd, RunEvent, Then};
use harness_core::model::{ModelError, StopReason, Usage};
use harness_core::outcome::{Outcome, RefusedBy};
use harness_core::schedule::Finish;
use harness_core::score::{Score, ScoreResult};
use harness_core::task::LimitKind;
use harness_core::text::Capped;
use harness_core::units::{Tokens, Usd};
use harness_runner::RunEnding;
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::models::{bash, calls, model, now, says, shown, stops, submits, turns};
use crate::sandbox::{Provider, prints, takes};
use crate::world::{BOXED, PLAIN, World, task};

const COMPLETE: RunEnding = RunEnding::Finished(Finish::Ended(RunEnd::Complete));

fn score(value: f64, evidence: &str) -> ScoreResult {
    ScoreResult::Scored(Score {
        value,
        threshold: 1.0,
        evidence: Capped::new(evidence, 4096),
        metrics: std::collections::BTreeMap::new(),
    })
}

fn value(outcome: &Outcome) -> Option<f64> {
    Some(outcome.score()?.score()?.value)
}

#[tokio::test(start_paused = true)]
async fn an_agent_works_and_submits() {
    let client = turns(vec![says("Let me think."), bash("ls"), submits("right")]);
    let provider = Provider::new(|_, request| {
        assert_eq!(request.argv.last().unwrap(), "ls");
        takes(3, "file\n")
    });
    let world = World::new("", vec![task("a", 1, BOXED)], client, provider);
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ended = world.ending();
    assert_eq!(value(&ended.outcome), Some(1.0));
    assert_eq!(
        (ended.turns, ended.then, ended.malformed_calls),
        (3, Then::Settled, 0)
    );
    assert_eq!(
        ended.usage,
        Usage {
            input: Tokens(300),
            output: Tokens(30),
            ..Usage::default()
        }
    );
    assert_eq!(ended.cost, Some(Usd(600_000)));
    // 3 calls of a second and 3 seconds of a tool; the start of the sandbox is not the agent's time.
    assert_eq!(ended.working, Duration::from_secs(6));
    assert_eq!(ended.wall, Duration::from_millis(6700));
    let expected = [
        "started",
        "stage_started setup",
        "waited sandbox_start",
        "sandbox_started",
        "stage_started solve",
        "prompted",
        "model_called",
        "model_replied",
        "prompted",
        "model_called",
        "model_replied",
        "tool_called",
        "tool_returned",
        "model_called",
        "model_replied",
        "submitted",
        "stage_started score",
        "scorer_ran",
        "stage_started teardown",
        "ended",
    ];
    assert_eq!(world.names(0, 1), expected);
    let names: Vec<String> = world
        .store
        .events()
        .iter()
        .map(|event| {
            serde_json::to_value(event).unwrap()["type"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected = [
        "run_started",
        "image_ready",
        "phase_started",
        "attempt_started",
        "attempt_ended",
        "phase_ended",
        "run_ended",
    ];
    assert_eq!(names, expected);
}

#[tokio::test(start_paused = true)]
async fn phases_end_after_the_endings_of_their_trials() {
    let suite = "phases: [{id: one, tasks: [a], ceiling: SL2}, {id: two, tasks: [b], ceiling: SL2}]\n";
    let tasks = vec![task("a", 3, PLAIN), task("b", 2, PLAIN)];
    let client = model(|_| now(submits("right")));
    let world = World::new(suite, tasks, client, Provider::new(|_, _| prints("")));
    assert_eq!(world.run().await, Ok(COMPLETE));
    let view = world.view();
    let phases: Vec<_> = view
        .phases()
        .iter()
        .map(|phase| (phase.phase.as_str(), phase.trials))
        .collect();
    assert_eq!(phases, [("one", 3), ("two", 2)]);
}

/// Runs one trial with these limits against a model that never submits; each turn calls bash, which takes 10 s.
async fn at_limit(limits: &str) -> (World, Outcome) {
    let body = format!("{BOXED}limits: {limits}\n");
    let client = model(|_| (Some(Duration::from_secs(1)), bash("true")));
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        client,
        Provider::new(|_, _| takes(10, "")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let outcome = world.ending().outcome;
    (world, outcome)
}

fn limit_of(world: &World) -> (LimitKind, String) {
    let limit = world.transcript(0, 1).into_iter().find_map(|event| match event {
        AttemptEvent::LimitReached { limit, detail } => Some((limit, detail)),
        _ => None,
    });
    limit.unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_limit_ends_the_work_and_is_scored() {
    let cases = [
        ("{turns: 2}", LimitKind::Turns, "2 of 2 turns", 2, 22),
        ("{tokens: 240}", LimitKind::Tokens, "", 2, 22),
        ("{cost: 0.00042}", LimitKind::Cost, "", 2, 22),
        ("{working: 15s}", LimitKind::Working, "the time is over", 2, 15),
        (
            "{working: 11500ms}",
            LimitKind::Working,
            "the time is over",
            1,
            11,
        ),
        (
            "{working: 2h, wall: 15s}",
            LimitKind::Wall,
            "the time is over",
            2,
            14,
        ),
    ];
    for (limits, limit, detail, turns, working) in cases {
        let (world, outcome) = at_limit(limits).await;
        let ended = world.ending();
        assert_eq!(limit_of(&world).0, limit, "{limits}");
        assert!(
            detail.is_empty() || limit_of(&world).1 == detail,
            "{:?}",
            limit_of(&world)
        );
        let score = score(0.0, "nothing was submitted");
        assert_eq!(outcome, Outcome::LimitReached { limit, score }, "{limits}");
        assert_eq!(
            (ended.turns, ended.working.as_secs()),
            (turns, working),
            "{limits}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_can_count_as_failure_without_scoring() {
    let body = format!("{BOXED}limits: {{turns: 1}}\non_limit: fail\n");
    let client = model(|_| now(bash("true")));
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(value(&world.ending().outcome), Some(0.0));
    assert!(!world.names(0, 1).contains(&"scorer_ran".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_tool_stopped_by_its_own_time_goes_on_and_by_the_attempts_ends_it() {
    for (limits, submitted) in [("{tool_time: 5s}", true), ("{tool_time: 5s, working: 4s}", false)] {
        let body = format!("{BOXED}limits: {limits}\n");
        let client = model(|request| {
            let last = shown(request).pop().unwrap();
            match request.origin.turn {
                0 => (Some(Duration::from_secs(1)), bash("sleep 100")),
                _ => {
                    assert!(last.contains("stopped after 5s"), "{last}");
                    now(submits("right"))
                }
            }
        });
        let provider = Provider::new(|_, _| takes(100, "partial"));
        let world = World::new("", vec![task("a", 1, &body)], client, provider);
        assert_eq!(world.run().await, Ok(COMPLETE));
        let ended = world.ending();
        assert_eq!(
            matches!(ended.outcome, Outcome::Scored { .. }),
            submitted,
            "{limits}"
        );
        let seconds = if submitted { 6 } else { 4 };
        assert_eq!(ended.working, Duration::from_secs(seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_the_last_moment_counts() {
    // The answer comes exactly when the time is over; what it used must not be lost.
    let body = format!("{PLAIN}limits: {{working: 2s}}\n");
    let client = turns(vec![says("hm"), submits("right")]);
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ended = world.ending();
    assert_eq!((value(&ended.outcome), ended.turns), (Some(1.0), 2));
    assert_eq!(ended.usage.total(), Tokens(220));
}

#[tokio::test(start_paused = true)]
async fn a_model_that_never_answers_meets_a_limit() {
    let body = format!("{PLAIN}limits: {{working: 5m}}\n");
    let client = model(|_| (None, says("")));
    let world = World::new(
        "",
        vec![task("a", 1, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(limit_of(&world).0, LimitKind::Working);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_apart_and_scored() {
    for (stop, by) in [
        (StopReason::Refusal, RefusedBy::Model),
        (StopReason::ContentFilter, RefusedBy::Provider),
    ] {
        let client = turns(vec![stops("I won't.", stop)]);
        let world = World::new(
            "",
            vec![task("a", 1, PLAIN)],
            client,
            Provider::new(|_, _| prints("")),
        );
        assert_eq!(world.run().await, Ok(COMPLETE));
        let score = score(0.0, "nothing was submitted");
        assert_eq!(world.ending().outcome, Outcome::Refused { by, score });
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_calls_are_explained_and_counted() {
    let client = model(|request| {
        let seen = shown(request);
        now(match request.origin.turn {
            0 => calls([("bash", json!({"cmd": "ls"})), ("bash", json!({"command": "ls"}))]),
            1 => {
                assert!(
                    seen[seen.len() - 2].contains("there is no argument")
                        || seen[seen.len() - 2].contains("missing")
                );
                assert_eq!(seen[seen.len() - 1], "out");
                calls([("nmap", json!({}))])
            }
            _ => {
                assert!(
                    seen.last().unwrap().contains("there is no tool `nmap`"),
                    "{seen:?}"
                );
                submits("right")
            }
        })
    });
    let world = World::new(
        "",
        vec![task("a", 1, BOXED)],
        client,
        Provider::new(|_, _| prints("out")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ended = world.ending();
    assert_eq!((ended.malformed_calls, value(&ended.outcome)), (2, Some(1.0)));
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_is_too_long_for_the_provider_is_a_limit() {
    let error = ModelError::ContextTooLong {
        detail: "9 > 8".to_owned(),
    };
    let client = turns(vec![Err(error)]);
    let world = World::new(
        "",
        vec![task("a", 1, PLAIN)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let expected = (
        LimitKind::Context,
        "the provider says that the conversation is too long".to_owned(),
    );
    assert_eq!(limit_of(&world), expected);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_slot_is_not_working() {
    let suite = "concurrency: {per_model: {m: {requests: 1}}}\n";
    let client = model(|_| (Some(Duration::from_secs(10)), submits("right")));
    let body = format!("{PLAIN}limits: {{working: 15s}}\n");
    let world = World::new(
        suite,
        vec![task("a", 5, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let times: Vec<_> = world
        .endings()
        .iter()
        .map(|ended| (ended.working.as_secs(), ended.wall.as_secs()))
        .collect();
    assert_eq!(times, [(10, 10), (10, 20), (10, 30), (10, 40), (10, 50)]);
}

#[tokio::test(start_paused = true)]
async fn the_wall_limit_holds_while_waiting_for_a_slot() {
    let suite = "concurrency: {per_model: {m: {requests: 1}}}\n";
    let client = model(|_| (Some(Duration::from_secs(100)), submits("right")));
    let body = format!("{PLAIN}limits: {{working: 150s, wall: 150s}}\n");
    let world = World::new(
        suite,
        vec![task("a", 3, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let kinds: Vec<_> = world.endings().iter().map(|ended| ended.outcome.name()).collect();
    assert_eq!(kinds, ["scored", "limit_reached", "limit_reached"]);
}

#[tokio::test(start_paused = true)]
async fn calls_as_text_work_too() {
    let client = model(|request| {
        assert!(request.tools.is_empty());
        now(match request.origin.turn {
            0 => says("<tool:bash>\n<command>\necho 'a\"b'\n</command>\n</tool:bash>"),
            _ => {
                assert_eq!(
                    shown(request).last().unwrap(),
                    "<result:bash>\nout\n</result:bash>"
                );
                says("<tool:submit>\n<answer>\nright\n</answer>\n</tool:submit>")
            }
        })
    });
    let provider = Provider::new(|_, request| {
        assert_eq!(request.argv.last().unwrap(), "echo 'a\"b'");
        prints("out")
    });
    let models = "models: [{id: m, use: scripted/x.yaml}]\n";
    let world = World::with(
        "react",
        "tool_format: text\n",
        models,
        vec![task("a", 1, BOXED)],
        vec![client],
        provider,
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(value(&world.ending().outcome), Some(1.0));
    let returned = world
        .transcript(0, 1)
        .into_iter()
        .any(|event| matches!(event, AttemptEvent::ToolReturned { .. }));
    assert!(returned);
}

#[tokio::test(start_paused = true)]
async fn an_oracle_runs_its_script_and_submits_what_it_prints() {
    let body = format!("{BOXED}oracle: {{run: solve.sh}}\n");
    let spec = crate::world::task_with("a", 1, &body, &[("solve.sh", "echo right")]);
    let provider = Provider::new(|_, request| {
        assert_eq!(request.stdin.as_deref(), Some("echo right".as_bytes()));
        assert_eq!(request.env["HARNESS_TARGET"], "right");
        takes(5, "right\n")
    });
    let world = World::with(
        "oracle",
        "",
        "models: [{id: m, use: scripted/x.yaml}]\n",
        vec![spec],
        Vec::new(),
        provider,
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ended = world.ending();
    assert_eq!(
        (value(&ended.outcome), ended.turns, ended.usage),
        (Some(1.0), 0, Usage::default())
    );
    assert_eq!(ended.cost, Some(Usd::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_skips_what_has_not_started() {
    let suite = "budget: {tokens: 1300}\nconcurrency: {trials: 1}\n";
    let body = format!("{PLAIN}limits: {{tokens: 1000, turns: 5}}\n");
    let client = model(|_| now(submits("right")));
    let world = World::new(
        suite,
        vec![task("a", 10, &body)],
        client,
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(
        world.run().await,
        Ok(RunEnding::Finished(Finish::Ended(RunEnd::BudgetSpent)))
    );
    let skipped = world
        .store
        .events()
        .into_iter()
        .filter(|event| matches!(event, RunEvent::TrialSkipped { .. }));
    // 110 tokens a trial: after the third, 1,000 more do not fit.
    assert_eq!((world.endings().len(), skipped.count()), (3, 7));
}
