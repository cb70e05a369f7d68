//! Asks a judging model.

use harness_core::event::{CallThen, WaitReason};
use harness_core::ids::Digest;
use harness_core::model::{CallOrigin, Message, ModelError, ModelRequest, ModelResponse, Sampling, Usage};
use harness_core::plan::judge_of;
use harness_core::prompt::{Target, rubric_variables, sample_variables};
use harness_core::score::{ScoreResult, Unscored};
use harness_core::scoring::{judge_prompt, read_verdict, unscored};
use harness_core::task::JudgeSpec;
use harness_core::units::Tokens;
use std::sync::Arc;

use super::{Attempt, Break};

/// The most calls for one verdict, should the scheduler allow more.
const TRIES: u32 = 50;
/// The longest verdict, in tokens.
const VERDICT: u32 = 1024;

impl Attempt {
    /// Asks the judge. Whatever keeps it from a verdict makes the part unscored; the attempt itself stays.
    pub(super) async fn ask_judge(
        &mut self,
        spec: &JudgeSpec,
        submission: Option<&str>,
    ) -> Result<ScoreResult, Break> {
        let context = Arc::clone(&self.context);
        let Some(model) = judge_of(&context.plan.suite, &spec.model) else {
            return Ok(unscored(Unscored::NoVerdict, "the suite has no such judge"));
        };
        let request = match self.judge_request(spec, submission) {
            Ok(request) => request,
            Err(error) => return Ok(unscored(Unscored::NoVerdict, &error.to_string())),
        };
        let client = Arc::clone(&context.models[model]);
        for tries in 0..TRIES {
            let mut request = request.clone();
            request.origin.tries = tries;
            let answer = tokio::time::timeout(request.timeout, client.complete(&request)).await;
            let answer = answer.unwrap_or(Err(ModelError::Stalled {
                waited: request.timeout,
            }));
            match answer {
                Ok(response) => {
                    self.link.call_done(Tokens::ZERO);
                    self.count_judge(model, &request, &response);
                    return Ok(read_verdict(spec, &response.reply.text));
                }
                Err(error) => {
                    if let Some(score) = self.judge_failed(error).await? {
                        return Ok(score);
                    }
                }
            }
        }
        Ok(unscored(
            Unscored::NoVerdict,
            &format!("the judge failed {TRIES} times"),
        ))
    }

    /// Counts what a verdict used; where the server does not say, an estimate.
    fn count_judge(&mut self, model: usize, request: &ModelRequest, response: &ModelResponse) {
        let usage = response.usage.unwrap_or_else(|| Usage {
            input: request
                .messages
                .iter()
                .map(|message| message.rough_tokens())
                .sum(),
            output: Message::Assistant(response.reply.clone()).rough_tokens(),
            ..Usage::default()
        });
        self.judge_usage += usage;
        let price = self.context.plan.suite.models[model].price;
        self.judge_cost = self
            .judge_cost
            .zip(price)
            .map(|(cost, price)| cost + price.cost(&usage));
    }

    async fn judge_failed(&mut self, error: ModelError) -> Result<Option<ScoreResult>, Break> {
        let then = self.link.call_failed(error.clone()).await;
        let turn = self.agent.as_ref().map_or(0, harness_core::agent::Agent::turns);
        self.log_failure(turn, &error, then)?;
        match then {
            CallThen::GiveUp => Ok(Some(unscored(
                Unscored::NoVerdict,
                &format!("the judge failed: {error}"),
            ))),
            CallThen::Retry { after } => {
                let before = self.journal.now();
                tokio::time::sleep(after).await;
                let waited = self.journal.now().saturating_sub(before);
                self.journal.waited(WaitReason::Backoff, waited)?;
                Ok(None)
            }
        }
    }

    fn judge_request(
        &self,
        spec: &JudgeSpec,
        submission: Option<&str>,
    ) -> Result<ModelRequest, harness_core::template::TemplateError> {
        let (trial, task) = (self.trial(), self.task());
        let shared = self.context.shared(trial.task, trial.scaffold);
        let names: Vec<&str> = shared.specs.iter().map(|spec| spec.name.as_str()).collect();
        let variables = sample_variables(&trial.sample, self.limits(), &names, Target::Hidden);
        let instructions = match &shared.instructions {
            Ok(template) => template.render("instructions", &variables)?,
            Err(error) => return Err(error.clone()),
        };
        let submitted = submission.unwrap_or_default();
        let variables = rubric_variables(&trial.sample, &instructions, submitted, spec.scale);
        let rubric = harness_core::template::render("rubric", &spec.rubric, &variables)?;
        let messages = judge_prompt(spec, &rubric, &instructions, submission);
        Ok(ModelRequest {
            messages: Arc::new(messages.into_iter().map(Arc::new).collect()),
            tools: Arc::default(),
            sampling: Sampling {
                temperature: Some(0.0),
                max_tokens: VERDICT,
                seed: Some(Digest::of(rubric.as_bytes()).seed() & 0x7fff_ffff),
                ..Sampling::default()
            },
            origin: CallOrigin {
                attempt: self.id.clone(),
                task: task.id.clone(),
                sample: trial.sample.id.clone(),
                scaffold: "judge".into(),
                epoch: trial.epoch,
                turn: 0,
                tries: 0,
            },
            timeout: self
                .context
                .call_timeout(judge_of(&self.context.plan.suite, &spec.model)),
        })
    }
}
