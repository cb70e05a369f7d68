//! Carries out the calls of an agent in its sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness_core::agent::{PlannedCall, Seen};
use harness_core::event::AttemptEvent;
use harness_core::outcome::Stage;
use harness_core::ports::{ExecEnding, ExecRequest, ExecResult, ExecUser};
use harness_core::scoring::describe_ending;
use harness_core::task::LimitKind;
use harness_core::text::{Capped, Captured, clean};
use harness_core::tools::{EditCommand, Invocation, MAX_EDIT_FILE, apply, slice_lines};
use harness_core::units::Bytes;

use crate::attempt::setup::within;
use crate::attempt::{Attempt, Break};

/// How much of each stream of a tool call is kept at all; the rest is counted.
const KEEP: Bytes = Bytes(1 << 20);
/// How much longer than its time a command may take to be stopped.
const EXEC_GRACE: Duration = Duration::from_mins(3);
/// Uses bash where the image has it.
const SHELL: &str = "if [ -x /bin/bash ]; then exec /bin/bash -c \"$0\"; else exec /bin/sh -c \"$0\"; fi";

/// What came of a call.
pub(crate) enum Ran {
    /// What the model sees.
    Output(String),
    /// A limit of the attempt.
    Stopped(LimitKind),
}

/// What the model sees, before it is capped.
pub(crate) struct Seeing {
    pub(crate) shown: Capped,
    pub(crate) ending: Option<ExecEnding>,
    pub(crate) took: Duration,
    pub(crate) stopped: Option<LimitKind>,
}

impl Seeing {
    fn text(text: impl Into<String>) -> Self {
        let shown = Capped {
            text: text.into(),
            ..Capped::default()
        };
        Self {
            shown,
            ending: None,
            took: Duration::ZERO,
            stopped: None,
        }
    }
}

impl Attempt {
    /// Carries out one call and logs it.
    pub(crate) async fn run_tool(&mut self, call: PlannedCall) -> Result<Ran, Break> {
        let (left, limit) = self.time_left();
        if left.is_zero() {
            return Ok(Ran::Stopped(limit));
        }
        let PlannedCall {
            call_id,
            tool,
            invocation,
            arguments,
        } = call;
        self.journal.append(&AttemptEvent::ToolCalled {
            call_id: Capped::new(&call_id, 200).text,
            tool: tool.clone(),
            arguments: self.cap_arguments(arguments)?,
        })?;
        let seeing = match invocation {
            Invocation::Bash { command } => {
                self.shell(vec!["/bin/sh".into(), "-c".into(), SHELL.into(), command])
                    .await?
            }
            Invocation::Shell(call) => self.use_shell(call).await?,
            Invocation::Python { code } => self.python(code).await?,
            Invocation::ReadFile { path, offset, limit } => self.read_file(&path, offset, limit).await?,
            Invocation::Edit { path, command } => self.edit(&path, &command).await?,
            Invocation::Canned { reply } => self.cap_text(&reply),
            Invocation::Score => Seeing::text(self.take_intermediate(true).await?),
            Invocation::Submit { .. } => Seeing::text(""),
        };
        self.journal.append(&AttemptEvent::ToolReturned {
            call_id: Capped::new(&call_id, 200).text,
            tool,
            output: seeing.shown.clone(),
            ending: seeing.ending,
            took: seeing.took,
        })?;
        Ok(seeing
            .stopped
            .map_or(Ran::Output(seeing.shown.text), Ran::Stopped))
    }

    /// Large arguments (a whole program) go to a blob; the log keeps their beginning and end.
    fn cap_arguments(&self, arguments: serde_json::Value) -> Result<serde_json::Value, Break> {
        let text = arguments.to_string();
        if text.len() <= harness_core::agent::EVENT_TEXT {
            return Ok(arguments);
        }
        let blob = self.journal.put_blob(text.as_bytes())?;
        let cut = Capped::new(&text, harness_core::agent::EVENT_TEXT);
        Ok(serde_json::json!({"cut": cut.cut, "text": cut.text, "blob": blob}))
    }

    fn cap_text(&self, text: &str) -> Seeing {
        let cap = usize::try_from(self.limits().tool_output.0).unwrap_or(usize::MAX);
        Seeing {
            shown: Capped::new(text, cap),
            ..Seeing::text("")
        }
    }

    async fn shell(&mut self, argv: Vec<String>) -> Result<Seeing, Break> {
        let request = self.request(argv, None);
        self.run_and_show(request).await
    }

    async fn python(&mut self, code: String) -> Result<Seeing, Break> {
        let argv = vec!["/bin/sh".into(), "-c".into(), "exec python3 -u -".into()];
        let request = self.request(argv, Some(code.into_bytes()));
        self.run_and_show(request).await
    }

    fn request(&self, argv: Vec<String>, stdin: Option<Vec<u8>>) -> ExecRequest {
        let (left, _) = self.time_left();
        ExecRequest {
            argv,
            stdin: stdin.map(Arc::from),
            timeout: self.limits().tool_time.min(left),
            keep: KEEP,
            ..ExecRequest::shell("", Duration::ZERO)
        }
    }

    /// Runs a command in the attempt's sandbox. An error is the sandbox's, never something for the model to read.
    pub(crate) async fn exec(&mut self, stage: Stage, request: &ExecRequest) -> Result<ExecResult, Break> {
        let held = Arc::clone(&self.held);
        let guard = held.lock().await;
        let Some(sandbox) = guard.as_deref() else {
            return Err(Break::harness(
                stage,
                "no_sandbox",
                "the task has no sandbox".to_owned(),
            ));
        };
        within(
            request.timeout + EXEC_GRACE,
            "run a command",
            sandbox.exec(request),
        )
        .await
        .map_err(|error| Break::sandbox(stage, &error))
    }

    async fn run_and_show(&mut self, request: ExecRequest) -> Result<Seeing, Break> {
        let (_, limit) = self.time_left();
        let whole = self.limits().tool_time;
        let result = self.exec(Stage::Solve, &request).await?;
        let cap = usize::try_from(self.limits().tool_output.0).unwrap_or(usize::MAX);
        let mut shown = self.journal.cap_output(&[&result.stdout, &result.stderr], cap)?;
        if let Some(note) = ending_note(result.ending) {
            if !shown.text.is_empty() && !shown.text.ends_with('\n') {
                shown.text.push('\n');
            }
            shown.text.push_str(&note);
        }
        let timed_out = matches!(result.ending, ExecEnding::TimedOut { .. });
        let stopped = (timed_out && request.timeout < whole).then_some(limit);
        Ok(Seeing {
            shown,
            ending: Some(result.ending),
            took: result.took,
            stopped,
        })
    }

    async fn load(&mut self, path: &str) -> Result<Result<String, Seeing>, Break> {
        let argv = vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            "if [ -d \"$0\" ]; then echo \"$0 is a folder\" >&2; exit 1; fi; exec head -c \"$1\" -- \"$0\""
                .to_owned(),
            path.to_owned(),
            (MAX_EDIT_FILE + 1).to_string(),
        ];
        let mut request = self.request(argv, None);
        request.keep = Bytes(2 * (MAX_EDIT_FILE + 1));
        let result = self.exec(Stage::Solve, &request).await?;
        if result.ending != (ExecEnding::Exited { code: 0 }) {
            return Ok(Err(failed(&result)));
        }
        if result.stdout.total > MAX_EDIT_FILE {
            return Ok(Err(Seeing::text(format!(
                "{path} is larger than {}",
                Bytes(MAX_EDIT_FILE)
            ))));
        }
        Ok(Ok(whole(&result.stdout)))
    }

    async fn read_file(&mut self, path: &str, offset: usize, limit: usize) -> Result<Seeing, Break> {
        Ok(match self.load(path).await? {
            Err(problem) => problem,
            Ok(text) => self.cap_text(&slice_lines(&text, offset, limit)),
        })
    }

    async fn edit(&mut self, path: &str, command: &EditCommand) -> Result<Seeing, Break> {
        if let EditCommand::View { line, limit } = command {
            return self.read_file(path, *line, *limit).await;
        }
        let old = match command {
            EditCommand::Create { .. } => String::new(),
            _ => match self.load(path).await? {
                Err(problem) => return Ok(problem),
                Ok(text) => text,
            },
        };
        let new = match apply(&old, command) {
            Err(error) => return Ok(Seeing::text(error.to_string())),
            Ok(new) => new,
        };
        let script = "case \"$0\" in */*) mkdir -p -- \"${0%/*}\" ;; esac && cat > \"$0\"";
        let argv = vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            script.to_owned(),
            path.to_owned(),
        ];
        let lines = new.lines().count();
        let request = self.request(argv, Some(new.into_bytes()));
        let result = self.exec(Stage::Solve, &request).await?;
        if result.ending != (ExecEnding::Exited { code: 0 }) {
            return Ok(failed(&result));
        }
        let done = Seeing::text(format!("{path} is written; it has {lines} lines now"));
        Ok(Seeing {
            ending: Some(result.ending),
            took: result.took,
            ..done
        })
    }

    /// Runs the oracle's script as the task's user.
    pub(crate) async fn run_script(&mut self) -> Result<Seen, Break> {
        let task = Arc::clone(self.task());
        let script = task
            .oracle
            .as_ref()
            .and_then(|oracle| oracle.run.as_ref())
            .and_then(|path| task.files.get(path));
        let Some(script) = script else {
            return Err(Break::harness(
                Stage::Solve,
                "no_oracle",
                "the oracle's script is missing".to_owned(),
            ));
        };
        let mut request = self.request(vec!["/bin/sh".into(), "-s".into()], Some(script.bytes.clone()));
        request.timeout = self.time_left().0;
        request.env = self.sample_env();
        request.user = ExecUser::Task;
        let result = self.exec(Stage::Solve, &request).await?;
        let output = self
            .journal
            .cap_output(&[&result.stdout, &result.stderr], 64 << 10)?;
        self.journal.append(&AttemptEvent::ToolReturned {
            call_id: "oracle".to_owned(),
            tool: "oracle".to_owned(),
            output,
            ending: Some(result.ending),
            took: result.took,
        })?;
        Ok(Seen::ScriptRan(whole(&result.stdout)))
    }

    /// Returns the variables that tell programs of the task which sample it is.
    pub(crate) fn sample_env(&self) -> BTreeMap<String, String> {
        let sample = &self.trial().sample;
        let mut env = BTreeMap::from([("HARNESS_SAMPLE".to_owned(), sample.id.to_string())]);
        if let Some(target) = sample.target.first() {
            env.insert("HARNESS_TARGET".to_owned(), target.clone());
        }
        env
    }
}

/// Returns everything that was kept of a stream, as text.
fn whole(stream: &Captured) -> String {
    clean(&[stream.head.as_slice(), stream.tail.as_slice()].concat())
}

fn failed(result: &ExecResult) -> Seeing {
    let text = result.stderr.readable(2000).text;
    let note = ending_note(result.ending).unwrap_or_default();
    Seeing {
        ending: Some(result.ending),
        took: result.took,
        ..Seeing::text(format!("{}\n{note}", text.trim_end()))
    }
}

/// Returns the line that tells the model how its command ended, unless it ended well.
fn ending_note(ending: ExecEnding) -> Option<String> {
    (ending != ExecEnding::Exited { code: 0 }).then(|| format!("[{}]", describe_ending(ending)))
}
