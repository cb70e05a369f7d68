//! How what was reached becomes a score.

use std::sync::Arc;
use std::time::Duration;

use harness_core::event::{AttemptEvent, RunEnd};
use harness_core::model::ModelError;
use harness_core::outcome::Outcome;
use harness_core::ports::{BeforeExec, ExecEnding, ExecRequest, ExecUser};
use harness_core::schedule::Finish;
use harness_core::score::{ScoreResult, Unscored};
use harness_core::units::Usd;
use harness_runner::RunEnding;
use pretty_assertions::assert_eq;

use crate::models::{bash, model, now, says, shown, submits, turns};
use crate::sandbox::{Did, Provider, exits, prints, takes};
use crate::world::{PLAIN, World, task, task_with};

const COMPLETE: RunEnding = RunEnding::Finished(Finish::Ended(RunEnd::Complete));

type Doing = Box<dyn Fn() -> Did + Send + Sync>;

/// The value of a score, or why there is none.
pub(crate) fn result(score: &ScoreResult) -> Result<f64, Unscored> {
    match score {
        ScoreResult::Scored(score) => Ok(score.value),
        ScoreResult::Unscored { why, .. } => Err(*why),
    }
}

fn outcome(world: &World) -> Result<f64, Unscored> {
    result(world.ending().outcome.score().unwrap())
}

fn body(command: &str) -> String {
    format!(
        "sandbox: {{image: img, network: none}}\ntools: [submit]\nartifacts: [/out/a, /out/missing]\n\
         score: {{command: {{run: check, timeout: 30s, {command}}}}}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn programs_are_scored_by_what_they_say() {
    let ends = |ending| move || Did::Ends(Duration::ZERO, ending, String::new());
    let cases: Vec<(&str, Doing, Result<f64, Unscored>)> = vec![
        ("exit", Box::new(|| exits(0, "")), Ok(1.0)),
        ("exit", Box::new(|| exits(1, "")), Ok(0.0)),
        ("exit", Box::new(|| exits(2, "")), Err(Unscored::Crashed)),
        ("exit", Box::new(|| takes(31, "")), Err(Unscored::TimedOut)),
        (
            "exit",
            Box::new(ends(ExecEnding::OutOfMemory { code: 137 })),
            Err(Unscored::Crashed),
        ),
        ("reward", Box::new(|| prints("log\n0.25\n")), Ok(0.25)),
        ("reward", Box::new(|| prints("NaN\n")), Err(Unscored::BadOutput)),
        ("json", Box::new(|| prints("{\"score\": 0.5}\n")), Ok(0.5)),
        (
            "json",
            Box::new(|| prints("{\"score\": 2}\n")),
            Err(Unscored::BadOutput),
        ),
        (
            "json",
            Box::new(|| exits(1, "{\"score\": 1}\n")),
            Err(Unscored::Crashed),
        ),
    ];
    for (read, did, expected) in cases {
        for place in ["same", "fresh"] {
            let did = did();
            let did = std::sync::Mutex::new(Some(did));
            let provider = Provider::new(move |_, _| did.lock().unwrap().take().unwrap());
            let body = body(&format!("where: {place}, read: {read}"));
            let world = World::new("", vec![task("a", 1, &body)], turns(vec![submits("x")]), provider);
            assert_eq!(world.run().await, Ok(COMPLETE));
            assert_eq!(outcome(&world), expected, "{read} {place}");
            let kept = world.names(0, 1).contains(&"state_kept".to_owned());
            assert_eq!(kept, expected.is_err() && place == "same", "{read} {place}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn score_files_come_in_after_everything_else_is_dead() {
    let large = "x".repeat(300 << 10);
    let cases = [
        ("small", "user: root", "tiny"),
        ("large", "user: root", large.as_str()),
        ("user", "user: agent", "tiny"),
    ];
    for (name, user, content) in cases {
        let seen: Arc<std::sync::Mutex<Vec<ExecRequest>>> = Arc::default();
        let requests = Arc::clone(&seen);
        let provider = Provider::new(move |_, request| {
            requests.lock().unwrap().push(request.clone());
            exits(0, "")
        });
        let body = body(&format!(
            "where: same, read: exit, {user}, files: {{/score/key: key}}"
        ));
        let spec = task_with("a", 1, &body, &[("key", content)]);
        let world = World::new("", vec![spec], turns(vec![submits("it")]), provider);
        assert_eq!(world.run().await, Ok(COMPLETE));
        let request = seen.lock().unwrap().remove(0);
        assert_eq!(request.env["HARNESS_SAMPLE"], "s0");
        let calls = world.provider.seen().calls.clone();
        if name == "small" {
            let script = String::from_utf8(request.stdin.unwrap().to_vec()).unwrap();
            assert!(
                script.contains("/score/key") && script.contains("/score/submission.txt"),
                "{script}"
            );
            assert_eq!(
                (request.before, request.user),
                (BeforeExec::KillAll, ExecUser::Root)
            );
            assert_eq!(calls, ["kill_all", "collect"], "for the artifacts");
        } else {
            assert_eq!(request.argv.last().unwrap(), "check");
            assert_eq!(
                calls,
                [
                    "kill_all",
                    "collect",
                    "kill_all",
                    "write /score/key",
                    "write /score/submission.txt"
                ]
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_sandbox_gets_the_artifacts_and_nothing_else_of_the_agent() {
    let body = body("where: fresh, read: exit").replace("tools: [submit]", "tools: [bash, submit]");
    let provider = Provider::new(|files, request| {
        if request.argv.last().unwrap() == "work" {
            files.insert("/out/a".to_owned(), b"artifact".to_vec());
            files.insert("/out/b".to_owned(), b"left behind".to_vec());
            return prints("");
        }
        let names: Vec<_> = files.keys().cloned().collect();
        assert_eq!(names, ["/out/a", "/score/submission.txt"]);
        exits(i32::from(files["/out/a"] != b"artifact"), "")
    });
    let suite = "concurrency: {sandboxes: 1}\n";
    let world = World::new(
        suite,
        vec![task("a", 1, &body)],
        turns(vec![bash("work"), submits("")]),
        provider,
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(outcome(&world), Ok(1.0));
    assert_eq!(world.provider.seen().started, 2);
    let kept = world.transcript(0, 1).into_iter().find_map(|event| match event {
        AttemptEvent::ArtifactKept { path, blob, bytes } => {
            Some((path, world.store.blob(blob).unwrap(), bytes))
        }
        _ => None,
    });
    assert_eq!(kept, Some(("/out/a".to_owned(), b"artifact".to_vec(), 8)));
}

#[tokio::test(start_paused = true)]
async fn scores_in_between_are_shown_only_where_the_task_says_so() {
    for visible in [true, false] {
        let body = format!(
            "sandbox: {{image: img, network: none}}\ntools: [bash, submit]\nscore: {{answer: {{match: exact}}}}\n\
             intermediate: {{run: check, visible: {visible}, every: 1}}\n"
        );
        let provider = Provider::new(|_, request| match &request.stdin {
            Some(_) => prints("0.5\n"),
            None => prints("done"),
        });
        let client = model(move |request| {
            let has = request.tools.iter().any(|tool| tool.name == "score");
            assert_eq!(has, visible);
            now(match request.origin.turn {
                0 if visible => crate::models::calls([("score", serde_json::json!({}))]),
                0 => bash("x"),
                _ => {
                    let last = shown(request).pop().unwrap();
                    assert_eq!(last.contains("0.5"), visible, "{last}");
                    submits("right")
                }
            })
        });
        let world = World::new("", vec![task("a", 1, &body)], client, provider);
        assert_eq!(world.run().await, Ok(COMPLETE));
        let scores: Vec<_> = world
            .transcript(0, 1)
            .into_iter()
            .filter_map(|event| match event {
                AttemptEvent::IntermediateScored { score, visible } => Some((result(&score), visible)),
                _ => None,
            })
            .collect();
        assert_eq!(scores, [(Ok(0.5), visible)]);
        assert_eq!(outcome(&world), Ok(1.0));
    }
}

const JUDGED: &str = "models: [{id: m, use: scripted/x.yaml, price: {input: 1, output: 1}}, \
                      {id: j, use: scripted/y.yaml, role: judge, price: {input: 10, output: 10}}]\n";

/// A world whose submissions are judged by this model.
pub(crate) fn judged(judge: Arc<dyn harness_core::ports::ModelClient>) -> World {
    let body = "tools: []\nscore: {judge: {model: judge, rubric: rubric.j2, scale: [0, 10]}}\n";
    let spec = task_with("a", 1, body, &[("rubric.j2", "Is it {{ sample.target }}?")]);
    let models = vec![turns(vec![submits("my work")]), judge];
    World::with(
        "react",
        "",
        JUDGED,
        vec![spec],
        models,
        Provider::new(|_, _| prints("")),
    )
}

#[tokio::test(start_paused = true)]
async fn a_judge_sees_the_work_and_its_verdict_and_cost_count() {
    let world = judged(model(|request| {
        let seen = shown(request).join("\n");
        assert!(
            seen.contains("Is it right?") && seen.contains("my work"),
            "{seen}"
        );
        now(says("{\"score\": 7, \"reason\": \"fine\"}"))
    }));
    assert_eq!(world.run().await, Ok(COMPLETE));
    let ended = world.ending();
    assert_eq!(outcome(&world), Ok(0.7));
    assert_eq!((ended.usage.total().0, ended.judge_usage.total().0), (110, 110));
    assert_eq!(ended.cost, Some(Usd(1_210_000)));
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_fails_leaves_the_trial_unscored() {
    let busy = || ModelError::Overloaded {
        status: 503,
        retry_after: None,
    };
    let judges = [
        model(|_| now(says("no idea"))),
        model(move |_| now(Err(busy()))),
        model(|_| now(Err(ModelError::BadRequest { detail: "x".into() }))),
        model(|_| (None, says("never"))),
    ];
    for judge in judges {
        let world = judged(judge);
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert_eq!(outcome(&world), Err(Unscored::NoVerdict));
        assert!(matches!(world.ending().outcome, Outcome::Scored { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_judge_is_asked_again_and_the_wait_is_not_working_time() {
    let world = judged(model(|request| match request.origin.tries {
        0 => now(Err(ModelError::RateLimited {
            retry_after: Some(Duration::from_secs(50)),
        })),
        _ => now(says("{\"score\": 10}")),
    }));
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(outcome(&world), Ok(1.0));
    let ended = world.ending();
    assert_eq!(ended.working, Duration::from_secs(1));
    assert!(ended.wall >= Duration::from_secs(51));
}

#[tokio::test(start_paused = true)]
async fn parts_are_put_together() {
    let body = "sandbox: {image: img, network: none}\ntools: [submit]\nartifacts: [/out]\n\
                score: {threshold: 0.5, mean: [{command: {run: new, where: fresh, read: reward}}, \
                {answer: {match: exact}}, {command: {run: old, where: same, read: reward}}]}\n";
    let provider = Provider::new(|_, request| {
        let new = request.argv.last().unwrap() == "new";
        prints(if new { "0.5" } else { "0.0" })
    });
    let world = World::new(
        "",
        vec![task("a", 1, body)],
        turns(vec![submits("right")]),
        provider,
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    let score = world.ending().outcome.score().unwrap().score().unwrap().clone();
    assert_eq!((score.value, score.success()), (0.5, true));
    let parts: Vec<_> = world
        .transcript(0, 1)
        .into_iter()
        .filter_map(|event| match event {
            AttemptEvent::ScorerRan { part, .. } => Some(part),
            _ => None,
        })
        .collect();
    // The agent's container is scored before it makes room for a fresh one.
    assert_eq!(parts, ["mean/2/command", "mean/1/answer", "mean/0/command"]);
}

#[tokio::test(start_paused = true)]
async fn a_scaffold_that_does_nothing_is_scored_too() {
    let models = "models: [{id: m, use: scripted/x.yaml}]\n";
    let world = World::with(
        "noop",
        "",
        models,
        vec![task("a", 1, PLAIN)],
        Vec::new(),
        Provider::new(|_, _| prints("")),
    );
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(outcome(&world), Ok(0.0));
}

/// What was noted or kept of an attempt's artifacts, in order.
fn of_artifacts(world: &World) -> Vec<String> {
    let words = |event| match event {
        AttemptEvent::ArtifactKept { path, bytes, blob } => {
            let kept = world.store.blob(blob).unwrap().len();
            Some(format!("kept {path} {kept} of {bytes}"))
        }
        AttemptEvent::Noted { text } => Some(text),
        _ => None,
    };
    world.transcript(0, 1).into_iter().filter_map(words).collect()
}

/// A world in which the agent's one command leaves these files.
fn leaving(body: &str, left: &'static [(&'static str, &'static [u8])], scorer: &'static str) -> World {
    let provider = Provider::new(move |files, request| {
        if request.argv.last().unwrap() == "work" {
            files.extend(
                left.iter()
                    .map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())),
            );
            return prints("");
        }
        let names: Vec<_> = files.keys().cloned().collect();
        assert_eq!(names.join(" "), scorer);
        exits(0, "")
    });
    let body = format!("sandbox: {{image: img, network: none}}\ntools: [bash, submit]\n{body}");
    let spec = task_with("a", 1, &body, &[("key", "key")]);
    World::new(
        "",
        vec![spec],
        turns(vec![bash("work"), submits("right")]),
        provider,
    )
}

#[tokio::test(start_paused = true)]
async fn artifacts_are_kept_by_pattern_and_within_limits() {
    let body = "artifacts: {paths: [/out/, /none], max_file: 4B, max_total: 10B, max_files: 3}\n\
                score: {command: {run: check, where: fresh, read: exit}}\n";
    let left: &[(&str, &[u8])] = &[
        ("/out/a", b"aaaaaa"),
        ("/out/b/c", b"cc"),
        ("/out/link", b"-> /etc/passwd"),
        ("/out/z", b"zz"),
        ("/out/zz", b"z"),
        ("/other", b"x"),
    ];
    let world = leaving(body, left, "/out/a /out/b/c /out/z /score/submission.txt");
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(outcome(&world), Ok(1.0));
    let expected = [
        "no artifact: nothing was kept for /none",
        "an artifact was left: /out/link: a symbolic link",
        "an artifact was left: /out/zz: too many files",
        "the artifact /out/a has 6 bytes and was cut to 4",
        "kept /out/a 4 of 6",
        "kept /out/b/c 2 of 2",
        "kept /out/z 2 of 2",
    ];
    assert_eq!(of_artifacts(&world), expected);
    assert_eq!(world.provider.seen().calls, ["kill_all", "collect"]);
}

#[tokio::test(start_paused = true)]
async fn an_artifact_is_never_in_the_way_of_the_scorer() {
    let body = "artifacts: [/score, /score/**]\n\
                score: {command: {run: check, files: {/score/key: key}, where: fresh, read: exit}}\n";
    let left: &[(&str, &[u8])] = &[("/score/key", b"mine"), ("/score/other", b"x")];
    let world = leaving(body, left, "/score/key /score/other /score/submission.txt");
    assert_eq!(world.run().await, Ok(COMPLETE));
    assert_eq!(outcome(&world), Ok(1.0));
    let expected = [
        "no artifact: nothing was kept for /score",
        "kept /score/key 4 of 4",
        "kept /score/other 1 of 1",
        "the artifact /score/key is in the way of the scorer's files",
    ];
    assert_eq!(of_artifacts(&world), expected);
}

#[tokio::test(start_paused = true)]
async fn artifacts_are_kept_after_a_limit_whatever_it_counts() {
    for on_limit in ["score", "fail"] {
        let body = format!(
            "artifacts: [/out/*]\nlimits: {{turns: 1}}\non_limit: {on_limit}\nscore: {{answer: {{match: exact}}}}\n"
        );
        let world = leaving(&body, &[("/out/a", b"a")], "");
        assert_eq!(world.run().await, Ok(COMPLETE));
        assert!(matches!(world.ending().outcome, Outcome::LimitReached { .. }));
        assert_eq!(of_artifacts(&world), ["kept /out/a 1 of 1"], "{on_limit}");
    }
}
