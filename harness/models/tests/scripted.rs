//! Models scripted in YAML: what they answer, and what is said of wrong scripts.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use harness_core::ids::{AttemptId, TrialId};
use harness_core::model::{
    CallOrigin, Message, ModelError, ModelRequest, ModelResponse, Reply, Sampling, StopReason, ToolCall,
    Usage,
};
use harness_core::ports::ModelClient;
use harness_core::units::Tokens;
use harness_models::scripted::ScriptedModel;
use pretty_assertions::assert_eq;

const SCRIPT: &str = r#"
harness: 1
usage: {input: 100, output: 20}
scripts:
  - when: {task: "auth-*", sample: a, scaffold: "re?ct", epoch: 0, attempt: 1}
    turns:
      - text: "Let me look."
        reasoning: "hm"
        tools:
          - {name: bash, arguments: {command: "ls ${HOME}", n: [1, 2.5, true, null]}}
          - {name: bash, arguments_text: "not json"}
          - {name: submit}
      - text: "again"
        repeat: 2
        usage: {input: 7, output: 3, cached_input: 2, reasoning: 1}
      - first:
          - seen: 'password is (\S+)'
            tools: [{name: submit, arguments: {answer: "${1}"}}]
          - seen: 'root (?P<secret>\w+)'
            anywhere: true
            text: "old ${secret} $${secret}"
          - text: "I could not find it."
            stop: refusal
      - text: "third"
        fault: {kind: rate_limited, times: 2, retry_after: 1s}
      - fault: {kind: overloaded, status: 529}
      - first: [{seen: x, text: y}]
      - hang: true
    then: {text: "bye", stop: max_tokens}
  - when: {attempt: 2}
    turns:
      - {text: slow, delay: 90s}
"#;

fn model(text: &str) -> ScriptedModel {
    ScriptedModel::parse(text, "demo.yaml").unwrap()
}

fn request(turn: u32, tries: u32, messages: &[Message]) -> ModelRequest {
    ModelRequest {
        messages: Arc::new(messages.iter().cloned().map(Arc::new).collect()),
        tools: Arc::default(),
        sampling: Sampling::default(),
        origin: CallOrigin {
            attempt: AttemptId {
                trial: TrialId::new("auth-log/a/react/m/0"),
                number: 1,
            },
            task: "auth-log".into(),
            sample: "a".into(),
            scaffold: "react".into(),
            epoch: 0,
            turn,
            tries,
        },
        timeout: Duration::from_mins(2),
    }
}

fn usage(input: u64, output: u64) -> Usage {
    Usage {
        input: Tokens(input),
        output: Tokens(output),
        ..Usage::default()
    }
}

fn says(text: &str, stop: StopReason) -> ModelResponse {
    ModelResponse {
        reply: Reply {
            text: text.into(),
            ..Reply::default()
        },
        stop,
        usage: Some(usage(100, 20)),
        served_by: Some("scripted".into()),
    }
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        id: id.into(),
        name: name.into(),
        arguments: arguments.into(),
    }
}

fn user(text: &str) -> Message {
    Message::User { text: text.into() }
}

fn tool(text: &str) -> Message {
    Message::Tool {
        call_id: "call_0_0".into(),
        name: "bash".into(),
        text: text.into(),
    }
}

#[tokio::test]
async fn turns_are_answered_in_order() {
    let model = model(SCRIPT);
    let mut first = says("Let me look.", StopReason::ToolCalls);
    first.reply.reasoning = Some("hm".into());
    first.reply.tool_calls = vec![
        call(
            "call_0_0",
            "bash",
            r#"{"command":"ls ${HOME}","n":[1,2.5,true,null]}"#,
        ),
        call("call_0_1", "bash", "not json"),
        call("call_0_2", "submit", "{}"),
    ];
    let mut again = says("again", StopReason::EndTurn);
    again.usage = Some(Usage {
        cached_input: Tokens(2),
        reasoning: Tokens(1),
        ..usage(7, 3)
    });
    let third = says("third", StopReason::EndTurn);
    let bye = says("bye", StopReason::MaxTokens);
    let cases = [
        (0, first),
        (1, again.clone()),
        (2, again),
        (8, bye.clone()),
        (99, bye),
    ];
    for (turn, expected) in cases {
        assert_eq!(
            model.complete(&request(turn, 0, &[])).await,
            Ok(expected),
            "turn {turn}"
        );
    }
    assert_eq!(model.complete(&request(4, 2, &[])).await, Ok(third));
}

#[tokio::test]
async fn replies_depend_on_what_was_seen() {
    let model = model(SCRIPT);
    let mut submit = says("", StopReason::ToolCalls);
    submit.reply.tool_calls = vec![call("call_3_0", "submit", r#"{"answer":"a\"b\\"}"#)];
    let cases: [(&[Message], ModelResponse); 4] = [
        (&[user("go"), tool("the password is a\"b\\ here")], submit),
        (
            &[user("password is old"), user("root toor"), tool("nothing")],
            says("old toor ${secret}", StopReason::EndTurn),
        ),
        (&[user("go")], says("I could not find it.", StopReason::Refusal)),
        (&[], says("I could not find it.", StopReason::Refusal)),
    ];
    for (messages, expected) in cases {
        assert_eq!(model.complete(&request(3, 0, messages)).await, Ok(expected));
    }
}

#[tokio::test]
async fn faults_fail_as_often_as_they_say() {
    let model = model(SCRIPT);
    let limited = ModelError::RateLimited {
        retry_after: Some(Duration::from_secs(1)),
    };
    let overloaded = ModelError::Overloaded {
        status: 529,
        retry_after: None,
    };
    let cases = [
        (4, 0, limited.clone()),
        (4, 1, limited),
        (5, 0, overloaded.clone()),
        (5, 999, overloaded),
    ];
    for (turn, tries, expected) in cases {
        assert_eq!(model.complete(&request(turn, tries, &[])).await, Err(expected));
    }
}

#[tokio::test]
async fn every_kind_of_fault_is_its_error() {
    let kinds = [
        "rate_limited",
        "overloaded",
        "stalled",
        "malformed",
        "connection",
        "quota_spent",
        "authentication",
        "unknown_model",
        "bad_request",
        "context_too_long",
        "content_policy",
    ];
    for kind in kinds {
        let text = format!("{{harness: 1, scripts: [{{then: {{fault: {{kind: {kind}}}}}}}]}}");
        let error = model(&text).complete(&request(0, 0, &[])).await.unwrap_err();
        assert_eq!(error.name(), kind);
    }
}

#[tokio::test]
async fn what_no_entry_answers_is_said() {
    let model = model(SCRIPT);
    let no_reply = |detail: &str| {
        Err(ModelError::NoReply {
            detail: detail.to_owned(),
        })
    };
    let found = model.complete(&request(6, 0, &[])).await;
    assert_eq!(
        found,
        no_reply("demo.yaml: no alternative at line 27 fits what was seen in turn 6")
    );
    let mut other = request(1, 0, &[]);
    other.origin.attempt.number = 2;
    assert_eq!(
        model.complete(&other).await,
        no_reply("demo.yaml: the script at line 30 answers turns 0 to 0 and has no `then`, asked for turn 1")
    );
    other.origin.attempt.number = 3;
    assert_eq!(
        model.complete(&other).await,
        no_reply(
            "demo.yaml: no script fits task `auth-log`, sample `a`, scaffold `react`, epoch 0, attempt 3"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn delays_wait_and_end_at_the_timeout() {
    let model = model(SCRIPT);
    let mut slow = request(0, 0, &[]);
    slow.origin.attempt.number = 2;
    let begin = tokio::time::Instant::now();
    assert_eq!(model.complete(&slow).await, Ok(says("slow", StopReason::EndTurn)));
    assert_eq!(begin.elapsed().as_secs(), 90);
    slow.timeout = Duration::from_secs(30);
    let waited = slow.timeout;
    assert_eq!(model.complete(&slow).await, Err(ModelError::Stalled { waited }));
    assert_eq!(begin.elapsed().as_secs(), 120);
    let request = request(7, 0, &[]);
    let hangs = tokio::time::timeout(Duration::from_hours(1), model.complete(&request)).await;
    assert!(hangs.is_err());
}

#[test]
fn usage_is_not_made_up() {
    let model = model("{harness: 1, scripts: [{then: {text: a}}]}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let response = runtime.block_on(model.complete(&request(0, 0, &[]))).unwrap();
    assert_eq!(response.usage, None);
}

fn problems(text: &str) -> Vec<String> {
    let problems = ScriptedModel::parse(text, "m.yaml").unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn all_problems_are_reported_with_their_place() {
    let text = r#"harness: 2
delay: 5
scripts:
  - when: {task: 7, epoch: -1, tusk: x}
    turns:
      - txt: "a"
      - {text: a, repeat: 0, stop: never, tools: [{arguments: {}}, {name: x, arguments: 1}, bash]}
      - {text: a, fault: {kind: stalled, status: 503, times: 1, retry_after: 5}}
      - {text: a, first: []}
      - first:
          - {seen: "(", text: a}
          - {seen: "(a)", text: "${2}", usage: {input: 1, cached_input: 2}}
          - {anywhere: maybe, text: b}
          - text: c
  - {then: {text: a, repeat: 2}}
  - when: {}
"#;
    let expected = [
        "m.yaml:1:10: expected `harness: 1`, the version of the format, found the number 2",
        "m.yaml:2:8: expected a duration such as `500ms`, found the number 5",
        "m.yaml:4:18: expected text (in quotes, if it looks like a number), found the number 7",
        "m.yaml:4:28: expected a whole number from 0 to 4294967295, found the number -1",
        "m.yaml:4:32: unknown key `tusk` in `when`, expected one of `task`, `sample`, `scaffold`, `epoch`, `attempt`",
        "m.yaml:6:9: unknown key `txt` in a turn, expected one of `text`, `reasoning`, `tools`, `delay`, `stop`, `usage`, `repeat`, `fault`, `hang`, `first`",
        "m.yaml:6:9: a turn needs `text`, `tools`, `first`, `hang`, or a `fault` without `times`",
        "m.yaml:7:27: expected a whole number from 1 to 4294967295, found the number 0",
        "m.yaml:7:36: unknown word \"never\", expected one of `end_turn`, `tool_calls`, `max_tokens`, `refusal`, `content_filter`, `stop_text`",
        "m.yaml:7:51: a tool call needs a `name`",
        "m.yaml:7:89: expected a map of arguments; use `arguments_text` for anything else",
        "m.yaml:7:93: expected a map (a tool call), found \"bash\"",
        "m.yaml:8:50: `status` belongs to `overloaded` only",
        "m.yaml:8:78: expected a duration such as `500ms`, found the number 5",
        "m.yaml:8:78: `retry_after` belongs to `rate_limited` and `overloaded` only",
        "m.yaml:9:9: `text` can't stand beside `first`, write it into the alternatives",
        "m.yaml:9:26: `first` must not be empty",
        "m.yaml:11:20: not a regular expression: unclosed group",
        "m.yaml:12:33: `seen` has no group 2 (write `$${2}` if `${2}` is meant literally)",
        "m.yaml:12:48: `cached_input` is a part of `input`, and `reasoning` of `output`; neither can be larger",
        "m.yaml:13:24: expected `true` or `false`, found \"maybe\"",
        "m.yaml:14:13: this alternative is never used, since the one before it has no `seen` and always fits",
        "m.yaml:15:22: `repeat` has no meaning in `then`",
        "m.yaml:16:5: a script needs `turns` or `then`",
    ];
    assert_eq!(problems(text), expected);
}

#[test]
fn hostile_yaml_is_refused() {
    let bomb: String = std::iter::once("a: &a [x, x, x, x, x, x, x, x]\n".to_owned())
        .chain("abcdefgh".chars().zip("bcdefghi".chars()).map(|(from, to)| {
            format!("{to}: &{to} [*{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}]\n")
        }))
        .collect();
    let bomb = problems(&bomb);
    assert!(
        bomb.len() == 1 && bomb[0].starts_with("m.yaml:") && bomb[0].contains("alias"),
        "{bomb:?}"
    );
    let cases = [
        (
            "harness: 1\nharness: 1\n",
            "m.yaml:2:1: duplicate mapping key: harness",
        ),
        ("harness: [1\n", "m.yaml:"),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "m.yaml:3:3: "),
        ("", "m.yaml:1:1: expected a map (a scripted model), found nothing"),
        ("harness: 1\n---\nharness: 1\n", "m.yaml:3:1: "),
        (
            "[]",
            "m.yaml:1:1: expected a map (a scripted model), found a list",
        ),
        (&"[".repeat(10_000), "m.yaml:1:"),
        ("harness: 1\nscripts: .nan", "m.yaml:2:10: "),
    ];
    for (text, expected) in cases {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn every_text_is_survived() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let lines: Vec<_> = SCRIPT.lines().map(str::to_owned).collect();
    let strategy = (
        proptest::collection::vec(0..lines.len(), 0..40),
        ".{0,20}",
        0..40_usize,
    );
    runner
        .run(&strategy, |(picks, junk, at)| {
            let mut text: Vec<_> = picks.iter().map(|pick| lines[*pick].clone()).collect();
            text.insert(at.min(text.len()), junk);
            // Whether it is a script does not matter, only that an answer comes.
            let _ = ScriptedModel::parse(&text.join("\n"), "m.yaml");
            Ok(())
        })
        .unwrap();
}
