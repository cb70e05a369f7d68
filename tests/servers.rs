//! Model servers that misbehave and then work: the outcome, the waits, the spend, and the key.

use std::path::Path;
use std::time::Duration;

use harness_core::event::AttemptEvent;
use harness_core::units::{Tokens, Usd};
use harness_models::testing::{Answer, Behaviour, FakeServer};
use pretty_assertions::assert_eq;
use serde_json::json;

use crate::util::{Context, EASY, Log, Shot, log_of};

/// Planted; must never be written anywhere. The quote is written differently within JSON, and once more within the
/// arguments of a tool call.
const KEY: &str = "sk-planted/$ecret\"7f3a91";

/// What the server counts for each answer, and its prices.
const TOKENS: u64 = 15;
const PRICE: &str = "{input: 1.00, output: 10.00}";
const MICRODOLLARS: f64 = 60.0;

/// Runs the first sample of the task against a server.
fn against(server: &FakeServer) -> (Context, Shot) {
    let context = Context::new().env("TEST_KEY", KEY);
    context.write("tasks/easy/task.yaml", EASY).write(
        "suite.yaml",
        &format!(
            "harness: 1\nid: served\nmodels:\n  - {{id: subject, use: compat/m, base_url: \"{}\", key_env: TEST_KEY, call_timeout: 2s, price: {PRICE}}}\nscaffolds: [react]\ntasks: [tasks/*]\n",
            server.base_url()
        ),
    );
    let shot = context.run("run suite.yaml --limit 1");
    assert_no_key(&context.path(""));
    for said in [&shot.stdout, &shot.stderr] {
        assert!(!leaks(said.as_bytes()), "{said}");
    }
    assert!(server.seen().iter().all(|seen| seen.key.as_deref() == Some(KEY)));
    assert_eq!(server.problems(), Vec::<String>::new());
    (context, shot)
}

fn leaks(bytes: &[u8]) -> bool {
    ["sk-planted", "7f3a91"]
        .iter()
        .any(|part| bytes.windows(part.len()).any(|window| window == part.as_bytes()))
}

/// Asserts that no file of a folder holds a part of the key.
fn assert_no_key(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_key(&path);
        } else {
            assert!(!leaks(&std::fs::read(&path).unwrap()), "{}", path.display());
        }
    }
}

fn submit() -> Behaviour {
    Behaviour::Answer(Answer::tool("c1", "submit", &json!({"answer": "blue"})))
}

/// Asserts that what the log says was spent is what the server counted.
fn assert_spent(log: &Log, answers: u32) {
    let totals = log.view.totals();
    let micro = totals.cost.map(Usd::dollars).unwrap() * 1e6;
    assert_eq!(totals.usage.total(), Tokens(TOKENS * u64::from(answers)));
    assert!(
        (micro - MICRODOLLARS * f64::from(answers)).abs() < 1e-6,
        "{micro}"
    );
}

/// The server misbehaves twice and then works: the trial is scored in its first attempt, and the failed calls are
/// logged, cost nothing and are no working time.
async fn recovers(behaviour: Behaviour, error: &str) -> Log {
    let server = FakeServer::start([behaviour.clone(), behaviour, submit()])
        .await
        .unwrap();
    let (context, shot) = against(&server);
    let shot = shot.expect(0);
    let log = log_of(&context.only_run());
    log.assert_sound();
    assert_eq!(
        log.endings(),
        "easy/a/react/subject/0: scored 1\n",
        "{}",
        shot.text
    );
    let failed = log.events(0).into_iter().filter_map(|event| match event {
        AttemptEvent::ModelFailed { error, .. } => Some(error.name()),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [error, error]);
    assert_eq!(server.seen().len(), 3);
    assert_spent(&log, 1);
    log
}

/// Returns how much of the time by the clock was not working time.
fn waited(log: &Log) -> Duration {
    let totals = log.view.totals();
    totals.wall.checked_sub(totals.working).unwrap()
}

fn body(status: u16, kind: &str, text: &str) -> Behaviour {
    Behaviour::Raw {
        status,
        headers: vec![("Content-Type".to_owned(), kind.to_owned())],
        body: text.as_bytes().to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_waited_out_as_long_as_the_server_asks() {
    let limited = Behaviour::error(429, "rate_limit_exceeded", "slow down").with_header("Retry-After", "1");
    let log = recovers(limited, "rate_limited").await;
    assert!(waited(&log) >= Duration::from_secs(2), "{:?}", waited(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_error_is_tried_again() {
    let log = recovers(Behaviour::Status(500), "overloaded").await;
    assert!(waited(&log) >= Duration::from_secs(1), "{:?}", waited(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_tried_again() {
    recovers(
        Behaviour::DropAfter(b"{\"choices\": [{\"mess".to_vec()),
        "connection",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_cut_is_tried_again() {
    recovers(
        body(200, "application/json", "{\"choices\": [{\"mess"),
        "malformed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_place_of_an_answer_is_tried_again() {
    recovers(
        body(200, "text/html", "<html><h1>Welcome to the proxy</h1>"),
        "malformed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_cut_off_and_tried_again() {
    let server = FakeServer::start([Behaviour::Endless, submit()]).await.unwrap();
    let (context, shot) = against(&server);
    shot.expect(0);
    let log = log_of(&context.only_run());
    log.assert_sound();
    assert_eq!(log.endings(), "easy/a/react/subject/0: scored 1\n");
    assert_spent(&log, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_not_waited_for_and_is_no_working_time() {
    let log = recovers(Behaviour::Silence, "stalled").await;
    assert!(waited(&log) >= Duration::from_secs(5), "{:?}", waited(&log));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_within_an_answer_is_not_waited_for() {
    recovers(Behaviour::SilenceAfter(b"data: {\"choices\"".to_vec()), "stalled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_is_tried_again() {
    recovers(Behaviour::Drop, "connection").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_repeats_the_key_in_an_error_does_not_get_it_logged() {
    recovers(Behaviour::EchoKey(503), "overloaded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_halts_the_run_and_is_not_shown() {
    let server = FakeServer::start([Behaviour::EchoKey(401)]).await.unwrap();
    let (_, shot) = against(&server);
    insta::assert_snapshot!(shot.text, @r"
    exit code: 1
    --- stdout
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]  unscored  void  open  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  -------------------  --------  ----  ----  --------  ------  -----
    main   subject  react     general        1       0        0  n/a (0 scored)              0     0     1         1       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    --- stderr
    run served-[RUN]
    results: results/served-[RUN]
      results/served-[RUN]/trials.csv
      results/served-[RUN]/report.json
      results/served-[RUN]/summary.md
    error: the run was halted, since trial after trial met the same error: authentication failed: status 401: bad headers: content-type=application/json&authorization=Bearer ***&accept=text/event-stream, application/json&user-agent=harness/0.1.0&host=127.0.0.1:[PORT]&content-length=[N]
      hint: repair the cause; the same command then continues the run
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_says_the_key_does_not_get_it_logged() {
    let said = [
        Behaviour::Answer(Answer::text(&format!("The key is {KEY}, is it not?"))),
        Behaviour::Answer(Answer::tool("c1", "no_such_tool", &json!({"key": KEY}))),
        Behaviour::Answer(Answer::tool("c2", "submit", &json!({"answer": KEY}))),
    ];
    let server = FakeServer::start(said).await.unwrap();
    let (context, shot) = against(&server);
    shot.expect(0);
    let log = log_of(&context.only_run());
    log.assert_sound();
    assert_spent(&log, 3);
    for more in ["", " --full", " --json"] {
        let shown = context.good(&format!("transcript {} easy/a{more}", context.run_name()));
        assert!(!leaks(shown.as_bytes()), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judge_that_says_the_key_when_it_scores_again_does_not_get_it_logged() {
    let said = [
        Behaviour::Answer(Answer::text("no verdict today")),
        Behaviour::Answer(Answer::text(
            &json!({"score": 1, "reason": format!("the key is {KEY}")}).to_string(),
        )),
    ];
    let server = FakeServer::start(said).await.unwrap();
    let context = Context::new().env("TEST_KEY", KEY);
    let judged = EASY.replace(
        "score: {answer: {match: exact}}",
        "score: {judge: {model: judge, rubric: rubric.j2, scale: [0, 1]}}",
    );
    context
        .write("tasks/easy/task.yaml", &judged)
        .write("tasks/easy/rubric.j2", "Is it a colour?\n")
        .write(
            "model.yaml",
            "harness: 1\nscripts:\n  - then: {tools: [{name: submit, arguments: {answer: blue}}]}\n",
        )
        .write(
            "suite.yaml",
            &format!(
                "harness: 1\nid: judged\nmodels:\n  - {{id: subject, use: scripted/model.yaml}}\n  - {{id: grader, use: compat/m, role: judge, base_url: \"{}\", key_env: TEST_KEY}}\nscaffolds: [react]\ntasks: [tasks/*]\n",
                server.base_url()
            ),
        );
    context.run("run suite.yaml --limit 1").expect(0);
    let name = context.run_name();
    let shot = context.run(&format!("rescore {name}"));
    assert!(
        shot.stderr.contains("unscored (no_verdict) -> 1.0000"),
        "{}",
        shot.stderr
    );
    assert!(!leaks(shot.stdout.as_bytes()) && !leaks(shot.stderr.as_bytes()));
    assert_no_key(&context.path(""));
    log_of(&context.only_run()).assert_sound();
}
