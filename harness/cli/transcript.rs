//! `harness transcript`: one transcript, readable, paged.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use harness_core::event::{AttemptEvent, Line};
use harness_core::fold::AttemptView;
use harness_core::model::Message;
use harness_core::ports::SandboxFact;
use harness_core::score::ScoreResult;
use harness_core::scoring::describe_ending;
use harness_core::text::{Capped, printable};
use harness_core::units::format_duration;

use crate::args::TranscriptArgs;
use crate::exit::{Exit, Failure};
use crate::run_dir::{StoredRun, open};

/// How much of a text is shown unless `--full` is given, in bytes.
const SHOWN: usize = 2000;

/// `harness transcript`
pub(crate) fn transcript(args: &TranscriptArgs) -> Result<Exit, Failure> {
    let run = open(&args.results.results, &args.run)?;
    let (trial, number) = run.find_attempt(&args.trial)?;
    let attempts = run
        .view
        .trials()
        .get(trial)
        .map(|known| known.attempts.as_slice())
        .unwrap_or_default();
    let chosen = match number {
        Some(number) => attempts.iter().find(|attempt| attempt.attempt.number == number),
        None => attempts.last(),
    };
    let Some(chosen) = chosen else {
        return Err(Failure::input(format!(
            "{trial} has {} attempt(s)",
            attempts.len()
        )));
    };
    let mut out = open_pager(args.no_pager || args.json);
    let result = show(&run, chosen, args, &mut out);
    out.finish();
    result.map(|()| Exit::Clear)
}

fn show(run: &StoredRun, attempt: &AttemptView, args: &TranscriptArgs, out: &mut Out) -> Result<(), Failure> {
    let seal = attempt.ended.as_ref().and_then(|ended| ended.facts.log.as_ref());
    let lines = if let Some(seal) = seal {
        run.dir.read_attempt(seal)?
    } else {
        let index = run
            .plan
            .trials
            .iter()
            .position(|trial| trial.id == attempt.attempt.trial)
            .unwrap_or(0);
        run.dir
            .read_unsealed(&attempt.attempt, u32::try_from(index).unwrap_or(u32::MAX))?
    };
    let cap = if args.full { usize::MAX } else { SHOWN };
    for line in lines {
        let line = line?;
        let text = if args.json {
            let text = serde_json::to_string(&line);
            text.map_err(|error| Failure::ours("failed to print an event", error))? + "\n"
        } else {
            describe(&line, cap)
        };
        if !out.write(&text) {
            break;
        }
    }
    Ok(())
}

fn describe(line: &Line<AttemptEvent>, cap: usize) -> String {
    let (title, mut body) = title_and_body(&line.event);
    // Only the first line stands at the margin: what a model or a program wrote must not look like an event.
    let title = match title.split_once('\n') {
        None => title.as_str(),
        Some((first, rest)) => {
            body = format!("{rest}\n{body}");
            first
        }
    };
    let mut text = format!(
        "#{:<4} {:>8.2}s  {}\n",
        line.seq,
        line.working.as_secs_f64(),
        printable(title)
    );
    for line in printable(&Capped::new(&body, cap).text).lines() {
        let _ = writeln!(text, "      | {line}");
    }
    text
}

#[expect(clippy::too_many_lines, reason = "one arm for each event, without a wildcard")]
fn title_and_body(event: &AttemptEvent) -> (String, String) {
    let none = String::new();
    match event {
        AttemptEvent::Started {
            attempt,
            task_version,
            model,
            ..
        } => (
            format!("attempt {attempt} (task version {task_version}, model {model})"),
            none,
        ),
        AttemptEvent::StageStarted { stage } => (format!("== {} ==", stage.name()), none),
        AttemptEvent::SandboxStarted(info) => {
            let id = info.id.get(..12).unwrap_or(&info.id);
            (
                format!("sandbox {id} from {} ({})", info.image, info.runtime),
                info.notes.join("\n"),
            )
        }
        AttemptEvent::SetupRan {
            command,
            ending,
            output,
        } => (
            format!("setup: {} [{}]", command.text, describe_ending(*ending)),
            output.text.clone(),
        ),
        AttemptEvent::Prompted { message } => prompted(message),
        AttemptEvent::ContextTrimmed {
            messages,
            tokens,
            summary,
        } => {
            let summary = summary
                .as_ref()
                .map(|summary| summary.text.clone())
                .unwrap_or_default();
            (
                format!("context: {messages} messages (about {tokens} tokens) taken out"),
                summary,
            )
        }
        AttemptEvent::Waited { reason, took } => {
            (format!("waited {} ({reason:?})", format_duration(*took)), none)
        }
        AttemptEvent::ModelCalled { turn, messages, .. } => (
            format!("turn {turn}: model called with {messages} messages"),
            none,
        ),
        AttemptEvent::ModelReplied {
            reply,
            stop,
            usage,
            took,
            ..
        } => {
            let mut body = reply
                .reasoning
                .as_ref()
                .map(|text| format!("(reasoning) {text}\n"))
                .unwrap_or_default();
            body.push_str(&reply.text);
            for call in &reply.tool_calls {
                let _ = write!(body, "\n-> {} {}", call.name, call.arguments);
            }
            let title = format!(
                "model ({stop:?}, {} in, {} out, {})",
                usage.input,
                usage.output,
                format_duration(*took)
            );
            (title, body.trim_start().to_owned())
        }
        AttemptEvent::ModelFailed { error, then, .. } => {
            (format!("model failed: {error}; then {then:?}"), none)
        }
        AttemptEvent::CallMalformed { tool, error } => {
            (format!("malformed call of {tool}"), error.text.clone())
        }
        AttemptEvent::ToolCalled { tool, arguments, .. } => {
            let only = arguments
                .as_object()
                .filter(|map| map.len() == 1)
                .and_then(|map| map.values().next());
            let body = only
                .and_then(serde_json::Value::as_str)
                .map_or_else(|| arguments.to_string(), str::to_owned);
            (format!("tool {tool}"), body)
        }
        AttemptEvent::ToolReturned {
            tool,
            output,
            ending,
            took,
            ..
        } => {
            let how = ending
                .map(describe_ending)
                .map(|how| format!(", {how}"))
                .unwrap_or_default();
            let cut = if output.cut > 0 {
                format!(", {} bytes cut", output.cut)
            } else {
                String::new()
            };
            (
                format!("{tool} returned ({}{how}{cut})", format_duration(*took)),
                output.text.clone(),
            )
        }
        AttemptEvent::IntermediateScored { score, visible } => {
            let who = if *visible { "asked for" } else { "hidden" };
            (
                format!("intermediate score ({who}): {}", score_words(score)),
                none,
            )
        }
        AttemptEvent::Submitted { submission } => ("submitted".to_owned(), submission.text.clone()),
        AttemptEvent::LimitReached { limit, detail } => {
            (format!("limit reached: {}: {detail}", limit.name()), none)
        }
        AttemptEvent::ArtifactKept { path, bytes, .. } => {
            (format!("artifact {path} kept ({bytes} bytes)"), none)
        }
        AttemptEvent::StateKept { path, bytes, .. } => (format!("{path} kept ({bytes} bytes)"), none),
        AttemptEvent::ScorerRan {
            part, score, output, ..
        } => {
            let body = output
                .as_ref()
                .map(|output| output.text.clone())
                .unwrap_or_default();
            (format!("scorer {part}: {}", score_words(score)), body)
        }
        AttemptEvent::SandboxReported { fact } => (fact_words(fact), none),
        AttemptEvent::SandboxKept(kept) => {
            let state = if kept.paused { "paused" } else { "running" };
            (format!("sandbox kept as {} ({state})", kept.name), none)
        }
        AttemptEvent::Noted { text } => (format!("note: {text}"), none),
        AttemptEvent::Ended { outcome } => (format!("ended: {}", outcome_words(outcome)), none),
    }
}

fn fact_words(fact: &SandboxFact) -> String {
    match fact {
        SandboxFact::Egress(attempt) => {
            let verdict = if attempt.verdict.blocked() {
                "blocked"
            } else {
                "allowed"
            };
            format!(
                "egress {verdict}: {} {}:{} ({:?}), {} bytes out, {} in, {}",
                attempt.method,
                attempt.host,
                attempt.port,
                attempt.verdict,
                attempt.sent,
                attempt.received,
                format_duration(attempt.took)
            )
        }
        SandboxFact::ServiceEnded { service, code, .. } => {
            format!("service {service} ended with code {code}")
        }
        SandboxFact::EgressOpened(attempt) => {
            format!(
                "egress opened: {} {}:{}",
                attempt.method, attempt.host, attempt.port
            )
        }
        SandboxFact::ServiceBroken { service, detail } => {
            format!("the helper of service {service} is lost: {detail}")
        }
        SandboxFact::Dropped { count, egress } => format!(
            "{count} more reports of the sandbox were not kept, {} of them of blocked egress",
            egress.blocked
        ),
    }
}

fn prompted(message: &Message) -> (String, String) {
    match message {
        Message::System { text } => ("system".to_owned(), text.clone()),
        Message::User { text } => ("user".to_owned(), text.clone()),
        Message::Tool { name, text, .. } => (format!("to the model, about {name}"), text.clone()),
        Message::Assistant(reply) => ("assistant".to_owned(), reply.text.clone()),
    }
}

fn score_words(score: &ScoreResult) -> String {
    match score {
        ScoreResult::Scored(score) => {
            let word = if score.success() { "success" } else { "failure" };
            format!(
                "{:.4} ({word}, threshold {}): {}",
                score.value, score.threshold, score.evidence.text
            )
        }
        ScoreResult::Unscored { why, detail } => format!("no score ({}): {}", why.name(), detail.text),
    }
}

fn outcome_words(outcome: &harness_core::outcome::Outcome) -> String {
    use harness_core::outcome::Outcome;
    let name = outcome.name();
    match outcome {
        Outcome::Void {
            stage,
            fault,
            error,
            evidence,
        } => {
            format!(
                "{name} in {} ({}, {error}): {}",
                stage.name(),
                fault.name(),
                evidence.text
            )
        }
        Outcome::LimitReached { limit, score } => {
            format!("{name} ({}): {}", limit.name(), score_words(score))
        }
        Outcome::Scored { score } | Outcome::Refused { score, .. } => {
            format!("{name}: {}", score_words(score))
        }
        Outcome::Breached { breach, evidence } => format!("{name}: {breach}: {}", evidence.text),
        Outcome::Cancelled { by } => format!("{name} ({by:?})"),
    }
}

/// Where the text goes: a pager on a terminal, else standard output.
enum Out {
    Pager(std::process::Child),
    Stdout(std::io::StdoutLock<'static>),
}

impl Out {
    /// Writes, and returns whether anybody still reads.
    fn write(&mut self, text: &str) -> bool {
        let written = match self {
            Self::Pager(child) => child.stdin.as_mut().map(|stdin| stdin.write_all(text.as_bytes())),
            Self::Stdout(stdout) => Some(stdout.write_all(text.as_bytes())),
        };
        written.is_some_and(|written| written.is_ok())
    }

    fn finish(self) {
        if let Self::Pager(mut child) = self {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

fn open_pager(plain: bool) -> Out {
    let stdout = || Out::Stdout(std::io::stdout().lock());
    if plain || !std::io::stdout().is_terminal() {
        return stdout();
    }
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else {
        return stdout();
    };
    let child = Command::new(program)
        .args(words)
        .env("LESS", "FRX")
        .stdin(Stdio::piped())
        .spawn();
    child.map_or_else(|_| stdout(), Out::Pager)
}
