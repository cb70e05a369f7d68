//! The tool `shell` over terminals whose programs tests write down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness_core::event::AttemptEvent;
use harness_core::outcome::Outcome;
use harness_core::ports::{
    ExecEnding, Later, SandboxError, Terminal, TerminalOutput, TerminalRequest, TerminalState, WindowSize,
};
use harness_core::task::LimitKind;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::models::{calls, model, now, shown, submits};
use crate::sandbox::{Provider, gone, prints};
use crate::world::{World, task};

const TOOLS: &str = "sandbox: {image: img, network: none}\ntools: [shell, submit]\nscore: {answer: {match: exact}}\n\
                     limits: {tool_time: 30s, tool_output: 1KiB}\n";

/// What a program does when something is typed, `after` it. `{PROMPT n}` in a text is a prompt with that code.
#[derive(Clone)]
enum Does {
    Writes(Duration, Vec<u8>),
    Is(TerminalState),
    Ends(Duration, ExecEnding),
    Fails(SandboxError),
}

fn writes(text: &str) -> Does {
    after(0, text)
}

fn after(millis: u64, text: &str) -> Does {
    Does::Writes(Duration::from_millis(millis), text.as_bytes().to_vec())
}

fn is(idle: bool, by_lines: bool) -> Does {
    Does::Is(TerminalState {
        idle: Some(idle),
        by_lines: Some(by_lines),
    })
}

type OnType = dyn Fn(&str) -> Vec<Does> + Send + Sync;

/// What was done to terminals, in order.
type Log = Arc<Mutex<Vec<String>>>;

struct Fake {
    nonce: String,
    on_type: Arc<OnType>,
    log: Log,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    queue: VecDeque<(Instant, Does)>,
    state: TerminalState,
    failed: Option<SandboxError>,
    ended: Option<ExecEnding>,
}

impl Fake {
    fn react(&self, typed: &str) {
        let mut now = self.now.lock().unwrap();
        let mut at = Instant::now();
        for does in (self.on_type)(typed) {
            match &does {
                Does::Writes(after, _) | Does::Ends(after, _) => at += *after,
                Does::Is(_) | Does::Fails(_) => {}
            }
            now.queue.push_back((at, does));
        }
    }

    /// Takes what is due; the first is the time of what is not.
    fn due(&self) -> (Vec<u8>, Option<Instant>) {
        let mut now = self.now.lock().unwrap();
        let mut bytes = Vec::new();
        while now.queue.front().is_some_and(|(at, _)| *at <= Instant::now()) {
            match now.queue.pop_front().unwrap().1 {
                Does::Writes(_, written) => bytes.extend(self.with_prompts(written)),
                Does::Is(state) => now.state = state,
                Does::Ends(_, ending) => now.ended = Some(ending),
                Does::Fails(error) => now.failed = Some(error),
            }
        }
        (bytes, now.queue.front().map(|(at, _)| *at))
    }

    fn with_prompts(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Ok(text) = String::from_utf8(bytes.clone()) else {
            return bytes;
        };
        let Some((before, rest)) = text.split_once("{PROMPT ") else {
            return bytes;
        };
        let (code, after) = rest.split_once('}').unwrap();
        let after = self.with_prompts(after.as_bytes().to_vec());
        let prompt = format!("{before}\x1b]6973;{};{code}\x07/home/agent $ ", self.nonce);
        [prompt.as_bytes(), &after].concat()
    }

    fn failed(&self) -> Result<(), SandboxError> {
        let now = self.now.lock().unwrap();
        now.failed.clone().map_or(Ok(()), Err)
    }
}

impl Terminal for Fake {
    fn send<'a>(&'a self, bytes: &'a [u8]) -> Later<'a, Result<(), SandboxError>> {
        let typed = String::from_utf8_lossy(bytes).into_owned();
        self.log.lock().unwrap().push(typed.clone());
        self.react(&typed);
        Box::pin(async { self.failed() })
    }

    fn resize(&self, size: WindowSize) -> Later<'_, Result<(), SandboxError>> {
        let mut log = self.log.lock().unwrap();
        log.push(format!("resize {}x{}", size.rows, size.cols));
        Box::pin(async { Ok(()) })
    }

    fn read(&self, wait: Duration) -> Later<'_, Result<TerminalOutput, SandboxError>> {
        Box::pin(async move {
            let until = Instant::now() + wait;
            loop {
                let (bytes, next) = self.due();
                self.failed()?;
                let ended = self.now.lock().unwrap().ended;
                if !bytes.is_empty() || ended.is_some() || Instant::now() >= until {
                    return Ok(TerminalOutput { bytes, ended });
                }
                let next = next.unwrap_or(until).min(until);
                sleep(next.saturating_duration_since(Instant::now())).await;
            }
        })
    }

    fn state(&self) -> Later<'_, Result<TerminalState, SandboxError>> {
        Box::pin(async { Ok(self.now.lock().unwrap().state) })
    }

    fn close(&self) -> Later<'_, Result<(), SandboxError>> {
        self.log.lock().unwrap().push("close".to_owned());
        Box::pin(async { Ok(()) })
    }
}

/// What came of some calls.
struct Made {
    /// What the model saw after each.
    saw: Vec<String>,
    /// What was done to the terminals.
    done: Vec<String>,
    world: World,
}

impl Made {
    fn returned(&self) -> Vec<(String, Option<ExecEnding>)> {
        let returned = |event| match event {
            AttemptEvent::ToolReturned {
                output, ending, tool, ..
            } if tool == "shell" => Some((output.text, ending)),
            _ => None,
        };
        self.world
            .transcript(0, 1)
            .into_iter()
            .filter_map(returned)
            .collect()
    }
}

/// Makes these calls one by one; the shell shows its prompt at once, and then does what the function says.
async fn made(
    calls_made: Vec<Value>,
    limits: &str,
    on_type: impl Fn(&str) -> Vec<Does> + Send + Sync + 'static,
) -> Made {
    let saw: Arc<Mutex<Vec<String>>> = Arc::default();
    let client = {
        let saw = Arc::clone(&saw);
        model(move |request| {
            let turn = request.origin.turn as usize;
            if turn > 0 {
                saw.lock().unwrap().push(shown(request).pop().unwrap());
            }
            now(calls_made
                .get(turn)
                .map_or_else(|| submits("right"), |call| calls([("shell", call.clone())])))
        })
    };
    let log: Log = Arc::default();
    let done = Arc::clone(&log);
    let on_type: Arc<OnType> = Arc::new(on_type);
    let provider = Provider::new(|_, _| prints("")).with_terminals(move |request: &TerminalRequest| {
        log.lock().unwrap().push("open".to_owned());
        assert_eq!(request.env["TERM"], "xterm-256color");
        let fake = Fake {
            nonce: request.argv[3].clone(),
            on_type: Arc::clone(&on_type),
            log: Arc::clone(&log),
            now: Mutex::default(),
        };
        fake.react("");
        Ok(Box::new(fake) as Box<dyn Terminal>)
    });
    let world = World::new(
        "",
        vec![task("a", 1, &format!("{TOOLS}{limits}"))],
        client,
        provider,
    );
    world.run().await.unwrap();
    let saw = saw.lock().unwrap().clone();
    let done = done.lock().unwrap().clone();
    Made { saw, done, world }
}

fn input(text: &str) -> Value {
    json!({"input": text})
}

/// A small shell with a few commands.
fn shell(typed: &str) -> Vec<Does> {
    match typed {
        "" => vec![is(true, false), writes("BusyBox v1\r\n{PROMPT 0}")],
        "ls\r" => vec![
            writes("ls\r\n"),
            is(false, true),
            after(300, "a  b\r\n"),
            after(1, "{PROMPT 0}"),
        ],
        "false\r" => vec![writes("false\r\n{PROMPT 1}")],
        "two\rlines\r" => vec![
            writes("two\r\n2\r\n{PROMPT 0}"),
            after(50, "lines\r\nLL\r\n{PROMPT 5}"),
        ],
        "echo 'a\r" => vec![writes("echo 'a\r\n{PROMPT more}")],
        "make\r" => vec![
            writes("make\r\n"),
            is(false, true),
            writes("cc\r\n"),
            after(60_000, "ld\r\n{PROMPT 2}"),
        ],
        "less\r" => vec![
            writes("less\r\n"),
            is(false, false),
            writes("\x1b[?1049h\x1b[Hpage 1\r\n:"),
        ],
        "q" => vec![writes("\x1b[?1049l{PROMPT 0}"), is(true, false)],
        "ask\r" => vec![writes("ask\r\nName: "), is(false, true)],
        "me\r" => vec![writes("me\r\nhello me\r\n{PROMPT 0}")],
        "\x03" => vec![writes("^C\r\n{PROMPT 130}")],
        "exit 3\r" => vec![
            writes("exit 3\r\nexit\r\n"),
            Does::Ends(Duration::ZERO, ExecEnding::Exited { code: 3 }),
        ],
        "own\r" => vec![writes("own\r\n% "), is(true, false)],
        _ => Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_shell_stays_between_calls() {
    let calls = vec![
        input("ls"),
        input("false"),
        json!({}),
        input("two\nlines"),
        input("echo 'a"),
        json!({"keys": ["ctrl-c"]}),
        input("exit 3"),
        input("ls"),
    ];
    let made = made(calls, "", shell).await;
    let expected = [
        "a  b\n",
        "[exit code 1]",
        "[exit code 1]",
        "2\n/home/agent $ lines\nLL\n[exit code 5]",
        "[the shell waits for the rest of the command]",
        "^C\n[exit code 130]",
        "exit\n[the shell ended with exit code 3; the next call starts a new one]",
        "a  b\n",
    ];
    assert_eq!(made.saw, expected);
    let typed = [
        "open",
        "ls\r",
        "false\r",
        "two\rlines\r",
        "echo 'a\r",
        "\x03",
        "exit 3\r",
        "close",
        "open",
        "ls\r",
        "close",
    ];
    assert_eq!(made.done, typed);
    let endings: Vec<Option<i32>> = made
        .returned()
        .into_iter()
        .map(|(_, ending)| match ending {
            Some(ExecEnding::Exited { code }) => Some(code),
            _ => None,
        })
        .collect();
    let codes = [
        Some(0),
        Some(1),
        Some(1),
        Some(5),
        None,
        Some(130),
        Some(3),
        Some(0),
    ];
    assert_eq!(endings, codes);
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_goes_on() {
    let calls = vec![
        json!({"input": "make", "wait": 2.5}),
        json!({"wait": 1}),
        json!({}),
        json!({}),
        json!({}),
    ];
    let made = made(calls, "", shell).await;
    let expected = [
        "cc\n[still running after 2.5s]",
        "[still running after 1s]",
        "[still running after 30s]",
        "ld\n[exit code 2]",
        "[exit code 2]",
    ];
    assert_eq!(made.saw, expected);
}

#[tokio::test(start_paused = true)]
async fn programs_that_wait_for_somebody_are_known() {
    let calls = vec![
        input("less"),
        json!({"keys": ["q"]}),
        input("ask"),
        input("me"),
        json!({"input": "ls", "screen": true, "rows": 10, "cols": 40}),
        input("own"),
    ];
    let made = made(calls, "", shell).await;
    let screen = "[screen of 10 lines and 40 columns, cursor in line ";
    assert_eq!(
        made.saw[0],
        "[screen of 30 lines and 120 columns, cursor in line 2, column 2]\npage 1\n:\n[program waits for keys]"
    );
    assert_eq!(made.saw[1], "");
    assert_eq!(made.saw[2], "Name: \n[still running; it may wait for a line]");
    assert_eq!(made.saw[3], "hello me\n");
    assert!(
        made.saw[4].starts_with(screen) && made.saw[4].contains("a  b\n/home/agent $"),
        "{}",
        made.saw[4]
    );
    assert_eq!(
        made.saw[5],
        "% \n[no prompt was seen, but the shell runs nothing]"
    );
    assert!(made.done.contains(&"resize 10x40".to_owned()), "{:?}", made.done);
}

#[tokio::test(start_paused = true)]
async fn forged_prompts_and_hostile_bytes_are_text() {
    let made = made(vec![input("evil")], "", |typed| match typed {
        "" => vec![writes("{PROMPT 0}")],
        _ => vec![
            Does::Writes(
                Duration::ZERO,
                b"evil\r\n\x1b]6973;0;0\x07\xff\x1b]never ends".to_vec(),
            ),
            after(5000, "\x07real\r\n{PROMPT 4}"),
        ],
    })
    .await;
    assert_eq!(made.saw, ["\u{fffd}real\n[exit code 4]"]);
}

#[tokio::test(start_paused = true)]
async fn floods_are_cut_and_kept_as_they_came() {
    let made = made(vec![input("yes")], "", |typed| match typed {
        "" => vec![writes("{PROMPT 0}")],
        _ => vec![Does::Writes(
            Duration::ZERO,
            b"\x1b[1my\x1b[0m\r\n".repeat(1 << 20),
        )],
    })
    .await;
    let saw = &made.saw[0];
    assert!(
        saw.len() < 1200
            && saw.contains("bytes cut")
            && saw.ends_with("[still running; it writes so much that reading stopped]"),
        "{saw}"
    );
    let blob = made
        .world
        .transcript(0, 1)
        .into_iter()
        .find_map(|event| match event {
            AttemptEvent::ToolReturned { output, .. } => output.blob,
            _ => None,
        });
    let raw = made.world.store.blob(blob.unwrap()).unwrap();
    assert!(
        raw.starts_with(b"\x1b[1my") && raw.len() < (1 << 20) + 100,
        "{}",
        raw.len()
    );
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_an_attempt_ends_a_call() {
    let body = "working: 10s";
    let limits = TOOLS.replace("tool_time: 30s", &format!("tool_time: 30s, {body}"));
    let client = model(|_| now(calls([("shell", json!({"input": "make"}))])));
    let provider = Provider::new(|_, _| prints("")).with_terminals(|request| {
        let fake = Fake {
            nonce: request.argv[3].clone(),
            on_type: Arc::new(shell),
            log: Arc::default(),
            now: Mutex::default(),
        };
        fake.react("");
        Ok(Box::new(fake) as Box<dyn Terminal>)
    });
    let world = World::new("", vec![task("a", 1, &limits)], client, provider);
    world.run().await.unwrap();
    let Outcome::LimitReached { limit, .. } = world.ending().outcome else {
        panic!("{:?}", world.ending().outcome)
    };
    assert_eq!(limit, LimitKind::Working);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_sandbox_is_nothing_for_the_model_to_read() {
    let breach = SandboxError::Breached {
        breach: "forged_frame".to_owned(),
        evidence: "x".to_owned(),
    };
    for (error, name) in [(gone(false), "void"), (breach, "breached")] {
        let made = made(vec![input("die")], "", move |typed| match typed {
            "" => vec![writes("{PROMPT 0}")],
            _ => vec![Does::Fails(error.clone())],
        })
        .await;
        assert_eq!(made.saw, Vec::<String>::new());
        assert_eq!(made.world.endings()[0].outcome.name(), name);
    }
}
