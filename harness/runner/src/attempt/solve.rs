//! The solve stage: the thin loop around the agent.

use std::sync::Arc;

use harness_core::agent::{Advance, Agent, AgentSetup, Finished, Seen, Step};
use harness_core::event::AttemptEvent;
use harness_core::model::{CallOrigin, ModelRequest};
use harness_core::outcome::Stage;
use harness_core::prompt::{Target, sample_variables};
use harness_core::scaffold::ToolFormat;
use harness_core::task::Oracle;

use super::model::Called;
use super::{Attempt, Break};
use crate::tools::Ran;

impl Attempt {
    /// Lets the agent work until it is done.
    pub(super) async fn solve(&mut self) -> Result<Finished, Break> {
        let setup = self.agent_setup()?;
        self.agent = Some(Agent::new(setup));
        let mut seen = Seen::Begin;
        loop {
            let Some(agent) = self.agent.as_mut() else {
                return Err(Break::harness(
                    Stage::Solve,
                    "no_agent",
                    "the agent is missing".to_owned(),
                ));
            };
            let mut advance = agent.advance(seen);
            self.keep_submission(&mut advance)?;
            self.journal.append_all(&advance.events)?;
            let (left, limit) = self.time_left();
            seen = match advance.step {
                Step::Done(finished) => return Ok(finished),
                // What was seen counts; only what would come next does not happen any more.
                _ if left.is_zero() => Seen::Stopped(limit),
                Step::AskModel(request) => self.ask(request).await?,
                Step::RunTools { calls, score_due } => self.run_tools(calls, score_due).await?,
                Step::RunScript => {
                    let ran = self.run_script().await?;
                    self.drain_facts().await?;
                    ran
                }
            };
        }
    }

    /// Keeps a submission that is too long for an event in a blob, so that it can be scored again.
    fn keep_submission(&self, advance: &mut Advance) -> Result<(), Break> {
        let Step::Done(Finished {
            submission: Some(whole),
            ..
        }) = &advance.step
        else {
            return Ok(());
        };
        for event in &mut advance.events {
            if let AttemptEvent::Submitted { submission } = event
                && submission.cut > 0
            {
                submission.blob = Some(self.journal.put_blob(whole.as_bytes())?);
            }
        }
        Ok(())
    }

    async fn ask(&mut self, request: Box<ModelRequest>) -> Result<Seen, Break> {
        let turn = request.origin.turn;
        let (response, took) = match self.call_subject(request).await? {
            Called::Stopped(limit) => return Ok(Seen::Stopped(limit)),
            Called::Answered(response, took) => (response, took),
        };
        let agent = self.agent.as_ref();
        let estimate = || {
            agent
                .map(|agent| agent.estimate(&response.reply))
                .unwrap_or_default()
        };
        self.journal.append(&AttemptEvent::ModelReplied {
            turn,
            reply: self.journal.cap_reply(&response.reply)?,
            stop: response.stop,
            usage: response.usage.unwrap_or_else(estimate),
            usage_estimated: response.usage.is_none(),
            took,
            served_by: response.served_by.clone(),
        })?;
        self.journal.flush()?;
        Ok(Seen::Replied(response))
    }

    async fn run_tools(
        &mut self,
        calls: Vec<harness_core::agent::PlannedCall>,
        score_due: bool,
    ) -> Result<Seen, Break> {
        let mut outputs = Vec::with_capacity(calls.len());
        for call in calls {
            let ran = self.run_tool(call).await?;
            self.drain_facts().await?;
            match ran {
                Ran::Output(text) => outputs.push(text),
                Ran::Stopped(limit) => return Ok(Seen::Stopped(limit)),
            }
        }
        if score_due {
            self.take_intermediate(false).await?;
        }
        Ok(Seen::ToolsRan(outputs))
    }

    fn agent_setup(&mut self) -> Result<AgentSetup, Break> {
        let context = Arc::clone(&self.context);
        let (plan, trial) = (&context.plan, &context.plan.trials[self.index.at()]);
        let (task, scaffold) = (&plan.tasks[trial.task], &plan.scaffolds[trial.scaffold]);
        let limits = Arc::clone(&plan.limits[trial.task][trial.scaffold]);
        let shared = context.shared(trial.task, trial.scaffold);
        let names: Vec<&str> = shared.specs.iter().map(|spec| spec.name.as_str()).collect();
        let failed = |error: harness_core::template::TemplateError| {
            Break::harness(Stage::Solve, "template", error.to_string())
        };
        let variables = sample_variables(&trial.sample, &limits, &names, Target::Hidden);
        let template = shared
            .instructions
            .as_ref()
            .map_err(|error| failed(error.clone()))?;
        let instructions = template.render("instructions", &variables).map_err(failed)?;
        let system = shared.system.clone().map_err(failed)?;
        let oracle = task.oracle.clone().unwrap_or(Oracle::default());
        let oracle_submit = match &oracle.submit {
            None => None,
            Some(source) => {
                let variables = sample_variables(&trial.sample, &limits, &names, Target::Shown);
                Some(harness_core::template::render("oracle.submit", source, &variables).map_err(failed)?)
            }
        };
        Ok(AgentSetup {
            kind: scaffold.kind,
            origin: CallOrigin {
                attempt: self.id.clone(),
                task: task.id.clone(),
                sample: trial.sample.id.clone(),
                scaffold: scaffold.id.clone(),
                epoch: trial.epoch,
                turn: 0,
                tries: 0,
            },
            tools: task.tools.clone(),
            specs: Arc::clone(&shared.specs),
            text_format: scaffold.tool_format == ToolFormat::Text,
            limits,
            price: trial.model.and_then(|model| plan.suite.models[model].price),
            sampling: scaffold.sampling.clone(),
            context: scaffold.context.clone(),
            seed: trial.seed,
            system,
            instructions,
            prompts: Arc::clone(&shared.prompts),
            score_every: task
                .intermediate
                .as_ref()
                .filter(|spec| !spec.visible)
                .map(|spec| spec.every),
            oracle_submit,
            oracle_script: oracle.run.is_some(),
            call_timeout: context.call_timeout(trial.model),
        })
    }
}
