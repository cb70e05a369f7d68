//! The loop against scripted sights.

use pretty_assertions::assert_eq;

use super::*;
use crate::ids::{AttemptId, ModelId, SampleId, ScaffoldId, TaskId, TrialId};
use crate::model::ToolCall;
use crate::scaffold::OnFull;
use crate::task::BuiltinTool;

fn setup(kind: ScaffoldKind) -> AgentSetup {
    let tools = ToolSet::Builtin(vec![BuiltinTool::Bash]);
    let limits = Arc::new(Limits {
        turns: 3,
        ..Limits::default()
    });
    let (task, sample, scaffold) = (TaskId::new("t"), SampleId::new("a"), ScaffoldId::new("s"));
    let trial = TrialId::of(&task, &sample, &scaffold, &ModelId::new("m"), 0);
    AgentSetup {
        kind,
        origin: CallOrigin {
            attempt: AttemptId { trial, number: 1 },
            task,
            sample,
            scaffold,
            epoch: 0,
            turn: 0,
            tries: 0,
        },
        specs: Arc::new(tools::specs(&tools, &limits, false)),
        tools,
        text_format: false,
        limits,
        price: None,
        sampling: SamplingSpec::default(),
        context: ContextSpec::default(),
        seed: 1,
        system: None,
        instructions: "do it".to_owned(),
        prompts: Arc::default(),
        score_every: None,
        oracle_submit: None,
        oracle_script: false,
        call_timeout: Duration::from_secs(1),
    }
}

fn reply(text: &str, calls: &[(&str, &str)]) -> Seen {
    let call = |(name, arguments): &(&str, &str)| ToolCall {
        id: String::new(),
        name: (*name).to_owned(),
        arguments: (*arguments).to_owned(),
    };
    let usage = Usage {
        input: Tokens(10),
        output: Tokens(5),
        ..Usage::default()
    };
    Seen::Replied(Box::new(ModelResponse {
        reply: Reply {
            text: text.to_owned(),
            reasoning: None,
            tool_calls: calls.iter().map(call).collect(),
        },
        stop: StopReason::EndTurn,
        usage: Some(usage),
        served_by: None,
    }))
}

fn finished(step: Step) -> (Option<String>, Option<LimitKind>) {
    let Step::Done(finished) = step else {
        panic!("not done: {step:?}")
    };
    let limit = if let Why::Limit { limit, .. } = finished.why {
        Some(limit)
    } else {
        None
    };
    (finished.submission, limit)
}

fn conversation(step: &Step) -> Vec<Message> {
    let Step::AskModel(request) = step else {
        panic!("no call: {step:?}")
    };
    request
        .messages
        .iter()
        .map(|message| Message::clone(message))
        .collect()
}

#[test]
fn react_runs_tools_until_it_submits() {
    let mut agent = Agent::new(setup(ScaffoldKind::React));
    assert!(matches!(agent.advance(Seen::Begin).step, Step::AskModel(_)));
    let step = agent.advance(reply("", &[("bash", r#"{"command": "ls"}"#)])).step;
    let Step::RunTools {
        calls,
        score_due: false,
    } = step
    else {
        panic!("{step:?}")
    };
    assert_eq!(calls[0].invocation, Invocation::Bash { command: "ls".into() });
    let step = agent.advance(Seen::ToolsRan(vec!["a b".into()])).step;
    let last = conversation(&step).pop();
    assert_eq!(
        last,
        Some(Message::Tool {
            call_id: "call_1_0".into(),
            name: "bash".into(),
            text: "a b".into()
        })
    );
    let step = agent
        .advance(reply("", &[("submit", r#"{"answer": "42"}"#)]))
        .step;
    assert_eq!(finished(step), (Some("42".into()), None));
    assert_eq!((agent.turns(), agent.usage().total()), (2, Tokens(30)));
}

#[test]
fn a_malformed_call_is_explained_and_counted() {
    let mut agent = Agent::new(setup(ScaffoldKind::React));
    agent.advance(Seen::Begin);
    let advance = agent.advance(reply("", &[("bash", "ls"), ("bash", r#"{"command": "id"}"#)]));
    assert!(
        matches!(advance.events[..], [AttemptEvent::CallMalformed { .. }]),
        "{:?}",
        advance.events
    );
    let step = agent.advance(Seen::ToolsRan(vec!["out".into()])).step;
    let texts: Vec<String> = conversation(&step)
        .into_iter()
        .filter_map(|message| {
            if let Message::Tool { text, .. } = message {
                Some(text)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(texts.len(), 2, "every call has its result");
    assert!(
        texts[0].starts_with("The call was not carried out: the arguments of `bash` are not a JSON object")
    );
    assert_eq!((texts[1].as_str(), agent.malformed_calls()), ("out", 1));
}

#[test]
fn an_answer_without_a_call_is_urged_on_until_the_turns_are_spent() {
    let mut agent = Agent::new(setup(ScaffoldKind::React));
    agent.advance(Seen::Begin);
    agent.advance(reply("hm", &[]));
    agent.advance(reply("hm", &[]));
    let step = agent.advance(reply("hm", &[])).step;
    assert_eq!(finished(step), (None, Some(LimitKind::Turns)));
}

#[test]
fn single_submits_its_only_answer() {
    let mut agent = Agent::new(setup(ScaffoldKind::Single));
    let step = agent.advance(Seen::Begin).step;
    let Step::AskModel(request) = step else { panic!() };
    assert!(request.tools.is_empty());
    assert_eq!(
        finished(agent.advance(reply(" B \n", &[])).step),
        (Some("B".into()), None)
    );
}

#[test]
fn oracle_and_noop_need_no_model() {
    let mut noop = Agent::new(setup(ScaffoldKind::Noop));
    assert_eq!(finished(noop.advance(Seen::Begin).step), (None, None));
    let mut told = Agent::new(AgentSetup {
        oracle_submit: Some("x".into()),
        ..setup(ScaffoldKind::Oracle)
    });
    assert_eq!(finished(told.advance(Seen::Begin).step), (Some("x".into()), None));
    let mut script = Agent::new(AgentSetup {
        oracle_script: true,
        ..setup(ScaffoldKind::Oracle)
    });
    assert_eq!(script.advance(Seen::Begin).step, Step::RunScript);
    assert_eq!(
        finished(script.advance(Seen::ScriptRan(" y\n".into())).step),
        (Some("y".into()), None)
    );
}

#[test]
fn a_refusal_is_an_ending_of_its_own() {
    let mut agent = Agent::new(setup(ScaffoldKind::React));
    agent.advance(Seen::Begin);
    let Seen::Replied(mut response) = reply("I can't help with that.", &[]) else {
        unreachable!()
    };
    response.stop = StopReason::Refusal;
    let Step::Done(finished) = agent.advance(Seen::Replied(response)).step else {
        panic!()
    };
    assert_eq!(finished.why, Why::Refused(RefusedBy::Model));
}

#[test]
fn tokens_and_money_end_the_work_before_they_are_overdrawn() {
    let mut limited = setup(ScaffoldKind::React);
    limited.limits = Arc::new(Limits {
        tokens: Some(Tokens(40)),
        ..Limits::default()
    });
    let mut agent = Agent::new(limited);
    let Step::AskModel(request) = agent.advance(Seen::Begin).step else {
        panic!()
    };
    assert_eq!(
        request.sampling.max_tokens,
        40 - 9,
        "the answer is cut to what is left"
    );
    let step = agent.advance(reply("hm", &[])).step;
    assert_eq!(finished(step), (None, Some(LimitKind::Tokens)));

    let mut priced = setup(ScaffoldKind::React);
    let dollar = Usd::from_dollars(1.0).unwrap();
    priced.price = Some(Price {
        input: dollar,
        cached_input: dollar,
        output: dollar,
    });
    priced.limits = Arc::new(Limits {
        cost: Usd::from_dollars(0.000_05),
        ..Limits::default()
    });
    let mut agent = Agent::new(priced);
    agent.advance(Seen::Begin);
    let step = agent.advance(reply("hm", &[])).step;
    assert_eq!(agent.cost(), Usd::from_dollars(0.000_015));
    assert_eq!(finished(step), (None, Some(LimitKind::Cost)));
}

#[test]
fn a_full_window_drops_whole_turns_and_never_the_instructions() {
    let mut small = setup(ScaffoldKind::React);
    small.context = ContextSpec {
        window: Tokens(600),
        on_full: OnFull::Trim,
    };
    small.sampling.max_tokens = 100;
    small.limits = Arc::new(Limits {
        turns: 1000,
        ..Limits::default()
    });
    let mut agent = Agent::new(small);
    agent.advance(Seen::Begin);
    let mut trims = 0;
    for _ in 0..50 {
        agent.advance(reply("", &[("bash", r#"{"command": "ls"}"#)]));
        let advance = agent.advance(Seen::ToolsRan(vec!["x".repeat(400)]));
        trims += advance
            .events
            .iter()
            .filter(|event| matches!(event, AttemptEvent::ContextTrimmed { .. }))
            .count();
        let messages = conversation(&advance.step);
        assert_eq!(messages[0], Message::User { text: "do it".into() });
        assert!(
            matches!(messages[1], Message::Assistant(_)),
            "no orphan tool result: {:?}",
            messages[1]
        );
        let rough: u64 = messages.iter().map(|message| message.rough_tokens().0).sum();
        assert!(rough <= 500, "{rough}");
    }
    assert!((5..25).contains(&trims), "{trims} trims");
}

#[test]
fn a_full_window_can_be_summarized_or_end_the_attempt() {
    let window = |on_full| {
        let mut small = setup(ScaffoldKind::React);
        small.context = ContextSpec {
            window: Tokens(1000),
            on_full,
        };
        small.sampling.max_tokens = 100;
        small.limits = Arc::new(Limits {
            turns: 1000,
            ..Limits::default()
        });
        small
    };
    let mut agent = Agent::new(window(OnFull::Fail));
    agent.advance(Seen::Begin);
    let mut last = None;
    for _ in 0..20 {
        agent.advance(reply("", &[("bash", r#"{"command": "ls"}"#)]));
        last = Some(agent.advance(Seen::ToolsRan(vec!["x".repeat(400)])).step);
        if matches!(last, Some(Step::Done(_))) {
            break;
        }
    }
    assert_eq!(finished(last.unwrap()), (None, Some(LimitKind::Context)));

    let mut agent = Agent::new(window(OnFull::Summarize));
    agent.advance(Seen::Begin);
    for _ in 0..20 {
        agent.advance(reply("", &[("bash", r#"{"command": "ls"}"#)]));
        let step = agent.advance(Seen::ToolsRan(vec!["x".repeat(400)])).step;
        let asked =
            matches!(conversation(&step).pop(), Some(Message::User { text }) if text.contains("summary"));
        if asked {
            drop(step);
            let step = agent.advance(reply("I did a lot.", &[])).step;
            let messages = conversation(&step);
            assert_eq!(messages.len(), 2);
            assert!(matches!(&messages[1], Message::User { text } if text.ends_with("I did a lot.")));
            return;
        }
    }
    panic!("no summary was asked for");
}

#[test]
fn the_text_format_sends_no_native_tools() {
    let mut agent = Agent::new(AgentSetup {
        text_format: true,
        ..setup(ScaffoldKind::React)
    });
    let Step::AskModel(request) = agent.advance(Seen::Begin).step else {
        panic!()
    };
    assert!(request.tools.is_empty());
    drop(request);
    let step = agent
        .advance(reply("<tool:bash>\n<command>\nls\n</command>\n</tool:bash>", &[]))
        .step;
    assert!(matches!(step, Step::RunTools { .. }));
    let step = agent.advance(Seen::ToolsRan(vec!["a".into()])).step;
    let last = conversation(&step).pop();
    assert_eq!(
        last,
        Some(Message::User {
            text: "<result:bash>\na\n</result:bash>".into()
        })
    );
}

#[test]
fn a_submission_beside_a_call_that_meets_a_limit_still_counts() {
    let mut agent = Agent::new(setup(ScaffoldKind::React));
    agent.advance(Seen::Begin);
    let both = [
        ("bash", r#"{"command": "sleep 9"}"#),
        ("submit", r#"{"answer": "42"}"#),
    ];
    agent.advance(reply("", &both));
    let step = agent.advance(Seen::Stopped(LimitKind::Wall)).step;
    assert_eq!(finished(step), (Some("42".into()), Some(LimitKind::Wall)));
}
