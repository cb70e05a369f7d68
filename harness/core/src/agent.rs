//! The agent loop: a pure state machine from what was seen to what to do next.
//!
//! Owns: the conversation, turns, the limits of tokens, money and context, malformed calls, the end of the work.
//! Must not: call a model, run a tool or look at a clock; limits of time are the driver's and come in as
//! [`Seen::Stopped`].

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::event::AttemptEvent;
use crate::ids::Digest;
use crate::model::{
    CallOrigin, Message, ModelRequest, ModelResponse, Price, Reply, Sampling, StopReason, ToolSpec, Usage,
};
use crate::outcome::RefusedBy;
use crate::prompt;
use crate::scaffold::{ContextSpec, Prompts, SamplingSpec, ScaffoldKind, SeedSpec};
use crate::task::{LimitKind, Limits, ToolSet};
use crate::template;
use crate::text::Capped;
use crate::tools::{self, Invocation, calls_of, read_call};
use crate::units::{Tokens, Usd};

mod context;
#[cfg(test)]
mod tests;

/// The longest text of a single event, in bytes; longer text is cut in the log and kept whole in a blob.
pub const EVENT_TEXT: usize = 256 << 10;

const CONTINUE: &str = "There was no tool call in your answer. Go on with the task by calling a tool; when you are done, \
call `submit` with your answer. You have {{ turns_left }} turns left.";
const TOOL_ERROR: &str = "The call was not carried out: {{ error }}";

/// What an agent starts from.
#[derive(Clone, Debug)]
pub struct AgentSetup {
    /// The loop.
    pub kind: ScaffoldKind,
    /// Who calls; `turn` and `tries` are filled in per call.
    pub origin: CallOrigin,
    /// The task's tools.
    pub tools: ToolSet,
    /// The tools as the model sees them.
    pub specs: Arc<Vec<ToolSpec>>,
    /// Whether calls are written as text.
    pub text_format: bool,
    /// What may be spent.
    pub limits: Arc<Limits>,
    /// The model's price; `None` is unknown.
    pub price: Option<Price>,
    /// How tokens are chosen.
    pub sampling: SamplingSpec,
    /// What happens when the conversation grows.
    pub context: ContextSpec,
    /// The seed of the trial.
    pub seed: u64,
    /// Standing instructions, rendered.
    pub system: Option<String>,
    /// The task's instructions, rendered.
    pub instructions: String,
    /// Templates of what is said in between.
    pub prompts: Arc<Prompts>,
    /// Turns between two intermediate scores that the model does not see.
    pub score_every: Option<u32>,
    /// The oracle's submission, rendered.
    pub oracle_submit: Option<String>,
    /// Whether the oracle has a script.
    pub oracle_script: bool,
    /// The longest wait for one answer.
    pub call_timeout: Duration,
}

/// Something that the driver saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// The attempt begins.
    Begin,
    /// The model answered.
    Replied(Box<ModelResponse>),
    /// The tools of the last step ran; one output for each call, in order.
    ToolsRan(Vec<String>),
    /// The oracle's script ran; what it wrote to standard output.
    ScriptRan(String),
    /// The driver stops the work at a limit.
    Stopped(LimitKind),
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Call the model.
    AskModel(Box<ModelRequest>),
    /// Run tools, in order.
    RunTools {
        /// The calls.
        calls: Vec<PlannedCall>,
        /// Whether an intermediate score is due afterwards.
        score_due: bool,
    },
    /// Run the oracle's script.
    RunScript,
    /// The work is over.
    Done(Finished),
}

/// A call that is to be executed.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedCall {
    /// The call's id.
    pub call_id: String,
    /// The tool.
    pub tool: String,
    /// What to do.
    pub invocation: Invocation,
    /// The arguments as JSON, for the log.
    pub arguments: serde_json::Value,
}

/// How the work ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// What was handed in, if anything.
    pub submission: Option<String>,
    /// Why.
    pub why: Why,
}

/// Why the work ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// The agent was done.
    Submitted,
    /// A limit.
    Limit {
        /// Which.
        limit: LimitKind,
        /// What was used and allowed.
        detail: String,
    },
    /// The model or its provider refused.
    Refused(RefusedBy),
}

/// What to log and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Advance {
    /// Events for the transcript, in order.
    pub events: Vec<AttemptEvent>,
    /// What to do next.
    pub step: Step,
}

#[derive(Clone, Debug)]
struct Slot {
    call_id: String,
    tool: String,
    output: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Asking {
    Work,
    Summary,
}

/// The agent loop. See the module's page.
#[derive(Debug)]
pub struct Agent {
    setup: AgentSetup,
    messages: Arc<Vec<Arc<Message>>>,
    rough: u64,
    turn: u32,
    usage: Usage,
    cost: Option<Usd>,
    malformed: u32,
    slots: Vec<Slot>,
    submission: Option<String>,
    asking: Asking,
    events: Vec<AttemptEvent>,
}

impl Agent {
    /// Starts an agent; the first input is [`Seen::Begin`].
    pub fn new(setup: AgentSetup) -> Self {
        let cost = setup.price.map(|_| Usd::ZERO);
        let cost = if setup.kind.calls_a_model() {
            cost
        } else {
            Some(Usd::ZERO)
        };
        Self {
            setup,
            messages: Arc::default(),
            rough: 0,
            turn: 0,
            usage: Usage::default(),
            cost,
            malformed: 0,
            slots: Vec::new(),
            submission: None,
            asking: Asking::Work,
            events: Vec::new(),
        }
    }

    /// Takes what was seen and returns what to log and what to do next.
    pub fn advance(&mut self, seen: Seen) -> Advance {
        let step = match (seen, self.setup.kind) {
            (Seen::Stopped(limit), _) => Step::Done(Finished {
                // What was handed in together with the call that met the limit still counts.
                submission: self.submission.take(),
                why: Why::Limit {
                    limit,
                    detail: stopped_by(limit).to_owned(),
                },
            }),
            (Seen::Begin, ScaffoldKind::Noop) => done(None),
            (Seen::Begin, ScaffoldKind::Oracle) if self.setup.oracle_script => Step::RunScript,
            (Seen::Begin, ScaffoldKind::Oracle) => done(self.setup.oracle_submit.clone()),
            (Seen::Begin, ScaffoldKind::Single | ScaffoldKind::React) => self.begin(),
            (Seen::ScriptRan(stdout), _) => {
                let submit = self.setup.oracle_submit.clone();
                done(Some(submit.unwrap_or_else(|| stdout.trim().to_owned())))
            }
            (Seen::Replied(response), _) => self.replied(*response),
            (Seen::ToolsRan(outputs), _) => self.tools_ran(outputs),
        };
        if let Step::Done(finished) = &step {
            self.note_end(finished);
        }
        Advance {
            events: std::mem::take(&mut self.events),
            step,
        }
    }

    /// Returns the calls that were answered.
    pub fn turns(&self) -> u32 {
        self.turn
    }

    /// Returns the tokens used.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Returns the money spent; `None` if the price is unknown.
    pub fn cost(&self) -> Option<Usd> {
        self.cost
    }

    /// Returns how many calls could not be understood.
    pub fn malformed_calls(&self) -> u32 {
        self.malformed
    }

    fn begin(&mut self) -> Step {
        if let Some(text) = self.setup.system.clone().filter(|text| !text.trim().is_empty()) {
            self.say(Message::System { text });
        }
        let text = self.setup.instructions.clone();
        self.say(Message::User { text });
        self.ask()
    }

    /// Adds a message of ours to the conversation and to the log.
    fn say(&mut self, message: Message) {
        self.events.push(AttemptEvent::Prompted {
            message: message.clone(),
        });
        self.push(message);
    }

    fn push(&mut self, message: Message) {
        self.rough += message.rough_tokens().0;
        Arc::make_mut(&mut self.messages).push(Arc::new(message));
    }

    fn ask(&mut self) -> Step {
        let limits = Arc::clone(&self.setup.limits);
        if self.turn >= limits.turns {
            return stopped(
                LimitKind::Turns,
                format!("{} of {} turns", self.turn, limits.turns),
            );
        }
        match self.fit_window() {
            context::Fit::Fits => {}
            context::Fit::Full => {
                let window = self.setup.context.window;
                let detail = format!("about {} of {window} tokens of the context window", self.rough);
                return stopped(LimitKind::Context, detail);
            }
            context::Fit::Summarize => self.asking = Asking::Summary,
        }
        let max_tokens = match self.affordable_tokens() {
            Ok(max_tokens) => max_tokens,
            Err((limit, detail)) => return stopped(limit, detail),
        };
        Step::AskModel(Box::new(self.request(max_tokens)))
    }

    /// Returns how long the next answer may be, or which limit leaves no room for one.
    fn affordable_tokens(&self) -> Result<u32, (LimitKind, String)> {
        let mut max_tokens = u64::from(self.setup.sampling.max_tokens);
        if let Some(limit) = self.setup.limits.tokens {
            let used = self.usage.total();
            let left = limit.saturating_sub(used).0.saturating_sub(self.rough);
            if left == 0 {
                let detail = format!(
                    "{used} of {limit} tokens used, the next call needs about {} more",
                    self.rough
                );
                return Err((LimitKind::Tokens, detail));
            }
            max_tokens = max_tokens.min(left);
        }
        if let (Some(limit), Some(price), Some(cost)) = (self.setup.limits.cost, self.setup.price, self.cost)
        {
            let input = price.cost(&Usage {
                input: Tokens(self.rough),
                ..Usage::default()
            });
            let left = limit.saturating_sub(cost).saturating_sub(input);
            let affordable = match price.output {
                Usd(0) if left > Usd::ZERO || price.input == Usd::ZERO => u64::MAX,
                Usd(0) => 0,
                Usd(output) => {
                    u64::try_from(u128::from(left.0) * 1_000_000 / u128::from(output)).unwrap_or(u64::MAX)
                }
            };
            if affordable == 0 {
                return Err((
                    LimitKind::Cost,
                    format!("{cost} of {limit} spent, the next call costs about {input}"),
                ));
            }
            max_tokens = max_tokens.min(affordable);
        }
        Ok(u32::try_from(max_tokens).unwrap_or(u32::MAX))
    }

    fn request(&self, max_tokens: u32) -> ModelRequest {
        let spec = &self.setup.sampling;
        let seed = match spec.seed {
            SeedSpec::None => None,
            SeedSpec::Fixed(seed) => Some(seed),
            SeedSpec::FromTrial => {
                let parts: [&[u8]; 2] = [&self.setup.seed.to_le_bytes(), &self.turn.to_le_bytes()];
                Some(Digest::of_parts(parts).seed() & 0x7fff_ffff)
            }
        };
        let native = !self.setup.text_format && self.setup.kind == ScaffoldKind::React;
        ModelRequest {
            messages: Arc::clone(&self.messages),
            tools: if native {
                Arc::clone(&self.setup.specs)
            } else {
                Arc::default()
            },
            sampling: Sampling {
                temperature: spec.temperature,
                top_p: spec.top_p,
                max_tokens,
                seed,
                stop: Vec::new(),
            },
            origin: CallOrigin {
                turn: self.turn,
                ..self.setup.origin.clone()
            },
            timeout: self.setup.call_timeout,
        }
    }

    fn replied(&mut self, response: ModelResponse) -> Step {
        let usage = response.usage.unwrap_or_else(|| self.estimate(&response.reply));
        self.usage += usage;
        if let (Some(cost), Some(price)) = (&mut self.cost, &self.setup.price) {
            *cost += price.cost(&usage);
        }
        self.turn += 1;
        if self.asking == Asking::Summary {
            self.asking = Asking::Work;
            return self.summarized(&response.reply);
        }
        match response.stop {
            StopReason::Refusal => return self.refused(RefusedBy::Model, response.reply),
            StopReason::ContentFilter => return self.refused(RefusedBy::Provider, response.reply),
            StopReason::EndTurn | StopReason::ToolCalls | StopReason::MaxTokens | StopReason::StopText => {}
        }
        let mut reply = response.reply;
        if self.setup.kind == ScaffoldKind::Single {
            let text = reply.text.trim().to_owned();
            self.push(Message::Assistant(reply));
            return done(Some(text));
        }
        self.name_calls(&mut reply);
        let calls = calls_of(&reply, &self.setup.specs, self.setup.text_format);
        self.push(Message::Assistant(reply));
        if calls.is_empty() {
            return self.urge();
        }
        self.plan_calls(&calls)
    }

    /// Estimates the usage of a call whose server reported none.
    pub fn estimate(&self, reply: &Reply) -> Usage {
        let output = Message::Assistant(reply.clone()).rough_tokens();
        Usage {
            input: Tokens(self.rough),
            output,
            ..Usage::default()
        }
    }

    /// Gives calls without an id of their own one, so that each result can name its call.
    fn name_calls(&self, reply: &mut Reply) {
        let turn = self.turn;
        for index in 0..reply.tool_calls.len() {
            let id = &reply.tool_calls[index].id;
            if id.is_empty() || reply.tool_calls[..index].iter().any(|earlier| earlier.id == *id) {
                reply.tool_calls[index].id = format!("call_{turn}_{index}");
            }
        }
    }

    fn refused(&mut self, by: RefusedBy, reply: Reply) -> Step {
        let submission = (self.setup.kind == ScaffoldKind::Single).then(|| reply.text.trim().to_owned());
        self.push(Message::Assistant(reply));
        Step::Done(Finished {
            submission,
            why: Why::Refused(by),
        })
    }

    fn urge(&mut self) -> Step {
        let turns_left = self.setup.limits.turns.saturating_sub(self.turn);
        let values = prompt::continue_variables(self.turn, turns_left);
        let text = render(self.setup.prompts.continue_.as_deref(), CONTINUE, &values);
        self.say(Message::User { text });
        self.ask()
    }

    fn plan_calls(&mut self, calls: &[crate::model::ToolCall]) -> Step {
        let mut planned = Vec::new();
        self.slots.clear();
        for call in calls {
            match read_call(call, &self.setup.tools, &self.setup.specs) {
                Ok(Invocation::Submit { answer }) => {
                    self.submission = Some(answer);
                    break;
                }
                Ok(invocation) => {
                    self.slots.push(Slot {
                        call_id: call.id.clone(),
                        tool: call.name.clone(),
                        output: None,
                    });
                    planned.push(PlannedCall {
                        call_id: call.id.clone(),
                        tool: call.name.clone(),
                        invocation,
                        arguments: serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({})),
                    });
                }
                Err(problem) => {
                    self.malformed += 1;
                    let tool = Capped::new(&call.name, 80).text;
                    let error = problem.to_string();
                    let event = AttemptEvent::CallMalformed {
                        tool: tool.clone(),
                        error: Capped::new(&error, 2000),
                    };
                    self.events.push(event);
                    let values = prompt::tool_error_variables(&error, &tool);
                    let output = render(self.setup.prompts.tool_error.as_deref(), TOOL_ERROR, &values);
                    self.slots.push(Slot {
                        call_id: call.id.clone(),
                        tool,
                        output: Some(output),
                    });
                }
            }
        }
        if planned.is_empty() {
            return self.tools_ran(Vec::new());
        }
        let score_due = self
            .setup
            .score_every
            .is_some_and(|every| every > 0 && self.turn.is_multiple_of(every));
        Step::RunTools {
            calls: planned,
            score_due,
        }
    }

    fn tools_ran(&mut self, outputs: Vec<String>) -> Step {
        if let Some(submission) = self.submission.take() {
            return done(Some(submission));
        }
        let mut outputs = outputs.into_iter();
        let mut texts = Vec::new();
        for slot in std::mem::take(&mut self.slots) {
            let ours = slot.output.is_some();
            let text = slot.output.or_else(|| outputs.next()).unwrap_or_default();
            if self.setup.text_format {
                texts.push(tools::result_text(&slot.tool, &text));
                continue;
            }
            let message = Message::Tool {
                call_id: slot.call_id,
                name: slot.tool,
                text,
            };
            if ours {
                self.say(message);
            } else {
                self.push(message);
            }
        }
        if !texts.is_empty() {
            self.say(Message::User {
                text: texts.join("\n\n"),
            });
        }
        self.ask()
    }

    fn note_end(&mut self, finished: &Finished) {
        if let Some(submission) = &finished.submission {
            self.events.push(AttemptEvent::Submitted {
                submission: Capped::new(submission, EVENT_TEXT),
            });
        }
        if let Why::Limit { limit, detail } = &finished.why {
            self.events.push(AttemptEvent::LimitReached {
                limit: *limit,
                detail: detail.clone(),
            });
        }
    }
}

fn stopped(limit: LimitKind, detail: String) -> Step {
    Step::Done(Finished {
        submission: None,
        why: Why::Limit { limit, detail },
    })
}

/// Returns why the driver stopped the work, in words.
fn stopped_by(limit: LimitKind) -> &'static str {
    match limit {
        LimitKind::Context => "the provider says that the conversation is too long",
        LimitKind::Disk => "the disk of the sandbox is full",
        LimitKind::Working | LimitKind::Wall => "the time is over",
        LimitKind::Turns | LimitKind::Tokens | LimitKind::Cost => "nothing is left of it",
    }
}

fn done(submission: Option<String>) -> Step {
    Step::Done(Finished {
        submission,
        why: Why::Submitted,
    })
}

/// Renders a scaffold's text, or ours where it has none. Templates were tried when they were read; one that fails
/// on these values all the same is replaced by ours, which cannot fail.
fn render(template: Option<&str>, ours: &str, values: &serde_json::Value) -> String {
    let own = template.and_then(|source| template::render("prompt", source, values).ok());
    own.unwrap_or_else(|| template::render("prompt", ours, values).unwrap_or_else(|_| ours.to_owned()))
}
