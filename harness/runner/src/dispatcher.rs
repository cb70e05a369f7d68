//! The one loop around the scheduler: inputs in, commands out.
//!
//! Owns: the tasks of running attempts, timers, the order of the run's log. Must not: decide; every decision is the
//! scheduler's.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use harness_core::event::{AttemptEnded, CallThen, RunEvent, Then};
use harness_core::ids::{AttemptId, RunId};
use harness_core::model::ToolSpec;
use harness_core::plan::Plan;
use harness_core::ports::{
    Clock, EventStore, Later, ModelClient, PreparedImage, SandboxError, SandboxProvider, StoreError,
};
use harness_core::prompt::system_variables;
use harness_core::scaffold::{Prompts, ToolFormat};
use harness_core::schedule::{
    Command, Finish, Input, ModelLimits, Schedule, Scheduler, Spend, TrialIndex, TrialNeeds, TrialPast,
};
use harness_core::template::{Template, TemplateError};
use harness_core::tools;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::attempt::{Attempt, AttemptReport, drive};
use crate::journal::Journal;
use crate::link::{Cancel, Link, Told};
use crate::progress::{PhaseProgress, Progress};

/// How often the view of a running run is made anew.
const VIEW: Duration = Duration::from_millis(100);

/// What a run is executed with.
pub struct RunInput {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The run's name.
    pub run: RunId,
    /// What earlier processes knew, one for each trial, or empty.
    pub past: Vec<TrialPast>,
    /// What earlier processes spent.
    pub spent: Spend,
    /// The phase that an earlier process began and did not end.
    pub open_phase: Option<usize>,
    /// How long earlier processes ran.
    pub used_wall: Duration,
    /// Clients, one for each model of the suite.
    pub models: Vec<Arc<dyn ModelClient>>,
    /// Where sandboxes come from; `None` if no task needs one.
    pub sandboxes: Option<Arc<dyn SandboxProvider>>,
    /// Where events go.
    pub store: Arc<dyn EventStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Each message is one request of a person to stop.
    pub interrupts: mpsc::UnboundedReceiver<()>,
    /// Gets a view of the run several times a second; its first value has what earlier processes did.
    pub progress: watch::Sender<Progress>,
    /// The longest wait for one answer of a model that says nothing else.
    pub call_timeout: Duration,
}

/// How a process ended its run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnding {
    /// As the scheduler says.
    Finished(Finish),
    /// A person asked twice; nothing was waited for.
    Aborted,
}

/// Why a run could not go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunStop {
    /// Results can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An image can't be had, so no trial was started.
    #[error("failed to prepare the image of task `{task}`")]
    Image {
        /// The task.
        task: String,
        /// Why.
        #[source]
        source: SandboxError,
    },
}

/// What all attempts of a run share.
pub(crate) struct RunContext {
    pub(crate) plan: Arc<Plan>,
    pub(crate) run: RunId,
    pub(crate) models: Vec<Arc<dyn ModelClient>>,
    pub(crate) sandboxes: Option<Arc<dyn SandboxProvider>>,
    pub(crate) images: BTreeMap<usize, PreparedImage>,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) clock: Arc<dyn Clock>,
    call_timeout: Duration,
    /// Whether any model has limits, so that the size of a call matters before it is made.
    pub(crate) gated: bool,
    shared: Vec<Vec<OnceLock<Shared>>>,
}

/// What all trials of one task and scaffold share.
pub(crate) struct Shared {
    pub(crate) specs: Arc<Vec<ToolSpec>>,
    pub(crate) prompts: Arc<Prompts>,
    pub(crate) system: Result<Option<String>, TemplateError>,
    pub(crate) instructions: Result<Template, TemplateError>,
}

impl RunContext {
    pub(crate) fn new(input: &RunInput, images: BTreeMap<usize, PreparedImage>) -> Self {
        let plan = Arc::clone(&input.plan);
        let cells = |_| plan.scaffolds.iter().map(|_| OnceLock::new()).collect();
        Self {
            run: input.run.clone(),
            models: input.models.clone(),
            sandboxes: input.sandboxes.clone(),
            images,
            store: Arc::clone(&input.store),
            clock: Arc::clone(&input.clock),
            call_timeout: input.call_timeout,
            gated: model_limits(&plan)
                .iter()
                .any(|limits| limits.tokens_per_minute.is_some()),
            shared: plan.tasks.iter().map(cells).collect(),
            plan: Arc::clone(&plan),
        }
    }

    /// Returns the longest wait for one answer of a model of the suite.
    pub(crate) fn call_timeout(&self, model: Option<usize>) -> Duration {
        let own = model.and_then(|model| self.plan.suite.models[model].call_timeout);
        own.unwrap_or(self.call_timeout)
    }

    pub(crate) fn shared(&self, task: usize, scaffold: usize) -> &Shared {
        self.shared[task][scaffold].get_or_init(|| {
            let (spec, scaffold_spec) = (&self.plan.tasks[task], &self.plan.scaffolds[scaffold]);
            let limits = &self.plan.limits[task][scaffold];
            let visible = spec
                .intermediate
                .as_ref()
                .is_some_and(|intermediate| intermediate.visible);
            let specs = tools::specs(&spec.tools, limits, visible);
            let text = scaffold_spec.tool_format == ToolFormat::Text;
            let grammar = if text {
                tools::grammar_text(&specs)
            } else {
                String::new()
            };
            let values = system_variables(&specs, limits, scaffold_spec.tool_format, &grammar);
            let render = |source: &String| harness_core::template::render("system", source, &values);
            Shared {
                system: scaffold_spec.prompts.system.as_ref().map(render).transpose(),
                instructions: Template::compile("instructions", &spec.instructions),
                prompts: Arc::new(scaffold_spec.prompts.clone()),
                specs: Arc::new(specs),
            }
        })
    }
}

/// Executes a plan until nothing is left to do, somebody stops it, or it can't go on.
///
/// # Errors
/// [`RunStop`] if results can't be written or an image can't be had. What was logged before stays valid.
pub async fn run(mut input: RunInput) -> Result<RunEnding, RunStop> {
    let images = prepare_images(&input).await?;
    let context = Arc::new(RunContext::new(&input, images));
    let scheduler = Scheduler::new(schedule_of(&mut input));
    let (to_dispatcher, from_attempts) = mpsc::unbounded_channel();
    let progress = input.progress.borrow().clone();
    let mut dispatcher = Dispatcher {
        progress,
        view: input.progress,
        context,
        scheduler,
        told: to_dispatcher,
        attempts: JoinSet::new(),
        cancels: HashMap::new(),
        grants: HashMap::new(),
        answers: HashMap::new(),
        reports: HashMap::new(),
        commits: FuturesUnordered::new(),
        wake: None,
        ending: None,
        viewed: None,
        last_settled: Duration::ZERO,
        open_phase: input.open_phase,
    };
    let ended = dispatcher.run(from_attempts, input.interrupts).await;
    dispatcher.show(true);
    ended
}

async fn prepare_images(input: &RunInput) -> Result<BTreeMap<usize, PreparedImage>, RunStop> {
    let mut images = BTreeMap::new();
    let mut known: BTreeMap<_, PreparedImage> = BTreeMap::new();
    let Some(provider) = &input.sandboxes else {
        return Ok(images);
    };
    let open = |at: &usize| {
        let trials = input.plan.trials.iter().enumerate();
        let closed = |index: usize| input.past.get(index).is_some_and(|past| past.closed);
        trials
            .into_iter()
            .any(|(index, trial)| trial.task == *at && !closed(index))
    };
    let needed: Vec<usize> = (0..input.plan.tasks.len()).filter(open).collect();
    for at in needed {
        let task = &input.plan.tasks[at];
        let Some(spec) = &task.sandbox else { continue };
        let built = matches!(spec.image, harness_core::sandbox::ImageSource::Build { .. });
        let key = (
            spec.image.clone(),
            spec.runtime,
            spec.user.clone(),
            built.then_some(task.digest),
        );
        let image = if let Some(image) = known.get(&key) {
            image.clone()
        } else {
            input.progress.send_modify(|progress| {
                progress.preparing = Some(format!("image of task `{}`", task.id));
            });
            let image = provider
                .prepare(spec, &task.files)
                .await
                .map_err(|source| RunStop::Image {
                    task: task.id.to_string(),
                    source,
                })?;
            let asked = match &spec.image {
                harness_core::sandbox::ImageSource::Named(name) => name.clone(),
                harness_core::sandbox::ImageSource::Build { context, .. } => format!("{}/{context}", task.id),
            };
            input.store.append(
                input.clock.now(),
                &RunEvent::ImageReady {
                    asked,
                    image: image.clone(),
                },
            )?;
            known.insert(key, image.clone());
            image
        };
        images.insert(at, image);
    }
    input.progress.send_modify(|progress| progress.preparing = None);
    Ok(images)
}

fn model_limits(plan: &Plan) -> Vec<ModelLimits> {
    let concurrency = &plan.suite.concurrency;
    let of = |model: &harness_core::model::ModelSpec| {
        let own = concurrency.per_model.get(&model.id).cloned().unwrap_or_default();
        ModelLimits {
            requests: own.requests,
            tokens_per_minute: own.tokens_per_minute,
        }
    };
    plan.suite.models.iter().map(of).collect()
}

fn schedule_of(input: &mut RunInput) -> Schedule {
    let (plan, suite) = (&input.plan, &input.plan.suite);
    let needs = |trial: &harness_core::plan::Trial| TrialNeeds {
        phase: trial.phase,
        sandbox: plan.tasks[trial.task].sandbox.is_some(),
        reserve: plan.greatest(trial),
        model: trial.model,
    };
    Schedule {
        trials: plan.trials.iter().map(needs).collect(),
        past: std::mem::take(&mut input.past),
        phases: plan.phases.len(),
        max_trials: suite.concurrency.trials.max(1),
        max_sandboxes: suite.concurrency.sandboxes.max(1),
        models: model_limits(plan),
        retry: suite.retry.clone(),
        budget_tokens: suite.budget.tokens,
        budget_cost: suite.budget.cost,
        deadline: suite
            .budget
            .wall
            .map(|wall| wall.saturating_sub(input.used_wall) + input.clock.now().elapsed),
        on_spent: suite.budget.on_spent,
        spent: input.spent,
        seed: suite.seed,
    }
}

struct Dispatcher {
    context: Arc<RunContext>,
    scheduler: Scheduler,
    told: mpsc::UnboundedSender<Told>,
    attempts: JoinSet<()>,
    cancels: HashMap<TrialIndex, Cancel>,
    grants: HashMap<TrialIndex, oneshot::Sender<()>>,
    answers: HashMap<TrialIndex, oneshot::Sender<CallThen>>,
    reports: HashMap<TrialIndex, AttemptReport>,
    commits: FuturesUnordered<Later<'static, Result<(), StoreError>>>,
    wake: Option<Instant>,
    ending: Option<RunEnding>,
    progress: Progress,
    view: watch::Sender<Progress>,
    viewed: Option<Duration>,
    last_settled: Duration,
    open_phase: Option<usize>,
}

impl Dispatcher {
    async fn run(
        &mut self,
        mut from_attempts: mpsc::UnboundedReceiver<Told>,
        mut interrupts: mpsc::UnboundedReceiver<()>,
    ) -> Result<RunEnding, RunStop> {
        self.take(Input::Begin)?;
        let mut ticker = tokio::time::interval(VIEW);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut listening = true;
        while self.ending.is_none() {
            let wake = self.wake;
            tokio::select! {
                Some(told) = from_attempts.recv() => self.told(told)?,
                interrupt = interrupts.recv(), if listening => match interrupt {
                    Some(()) => self.take(Input::Interrupt)?,
                    None => listening = false,
                },
                Some(committed) = self.commits.next(), if !self.commits.is_empty() => committed?,
                () = sleep_until(wake), if wake.is_some() => {
                    self.wake = None;
                    self.take(Input::Tick)?;
                }
                _ = ticker.tick() => self.show(false),
                Some(joined) = self.attempts.join_next(), if !self.attempts.is_empty() => {
                    if let Err(error) = joined {
                        tracing::error!("the driver of an attempt ended in an unforeseen way: {error}");
                    }
                }
            }
        }
        let ending = self.ending.take().unwrap_or(RunEnding::Aborted);
        if ending == RunEnding::Aborted {
            return Ok(ending);
        }
        while let Some(committed) = self.commits.next().await {
            committed?;
        }
        let now = self.context.clock.now();
        match &ending {
            RunEnding::Finished(Finish::Ended(why)) => self.commit(RunEvent::RunEnded { why: *why }),
            RunEnding::Finished(Finish::Interrupted | Finish::Halted { .. }) => {
                self.context.store.append(now, &RunEvent::Interrupted)?;
            }
            RunEnding::Aborted => {}
        }
        while let Some(committed) = self.commits.next().await {
            committed?;
        }
        while self.attempts.join_next().await.is_some() {}
        Ok(ending)
    }

    fn told(&mut self, told: Told) -> Result<(), RunStop> {
        match told {
            Told::CallWanted {
                trial,
                tokens,
                granted,
            } => {
                self.grants.insert(trial, granted);
                self.take(Input::CallWanted { trial, tokens })
            }
            Told::CallDone { trial, tokens } => self.take(Input::CallDone { trial, tokens }),
            Told::CallFailed { trial, error, then } => {
                self.answers.insert(trial, then);
                self.take(Input::CallFailed { trial, error })
            }
            Told::Ended(report) => self.ended(*report),
        }
    }

    fn ended(&mut self, report: AttemptReport) -> Result<(), RunStop> {
        let trial = report.trial;
        if let Err(error) = &report.log {
            return Err(RunStop::Store(error.clone()));
        }
        let (ending, spent) = (report.ending.clone(), report.spent());
        self.cancels.remove(&trial);
        self.grants.remove(&trial);
        self.answers.remove(&trial);
        self.reports.insert(trial, report);
        self.take(Input::AttemptEnded { trial, ending, spent })
    }

    fn take(&mut self, input: Input) -> Result<(), RunStop> {
        let now = self.context.clock.now().elapsed;
        for command in self.scheduler.handle(now, input) {
            self.obey(command)?;
        }
        Ok(())
    }

    fn obey(&mut self, command: Command) -> Result<(), RunStop> {
        match command {
            // The log of an earlier process has the start of the phase that it did not end.
            Command::StartPhase(at) if self.open_phase.take() == Some(at) => {}
            Command::StartPhase(at) => {
                let phase = self.context.plan.phases[at].id.clone();
                let trials = self
                    .context
                    .plan
                    .trials
                    .iter()
                    .filter(|trial| trial.phase == at)
                    .count();
                let trials = u32::try_from(trials).unwrap_or(u32::MAX);
                self.append(&RunEvent::PhaseStarted { phase, trials })?;
            }
            Command::EndPhase(at) => {
                let phase = self.context.plan.phases[at].id.clone();
                self.append(&RunEvent::PhaseEnded { phase })?;
            }
            Command::StartAttempt { trial, number } => self.start(trial, number)?,
            Command::GrantCall(trial) => {
                if let Some(granted) = self.grants.remove(&trial) {
                    let _ = granted.send(());
                }
            }
            Command::AnswerCall { trial, then } => {
                if let Some(answer) = self.answers.remove(&trial) {
                    let _ = answer.send(then);
                }
            }
            Command::CloseAttempt { trial, then } => self.close(trial, then),
            Command::CancelAttempt { trial, by } => {
                if let Some(cancel) = self.cancels.get(&trial) {
                    cancel.cancel(by);
                }
            }
            Command::SkipTrial { trial, why } => {
                let planned = &self.context.plan.trials[trial.at()];
                let (id, phase) = (planned.id.clone(), planned.phase);
                self.append(&RunEvent::TrialSkipped { trial: id, why })?;
                self.count(phase, |phase| phase.done += 1);
            }
            Command::Wake(at) => {
                let now = self.context.clock.now().elapsed;
                self.wake = Some(Instant::now() + at.saturating_sub(now));
            }
            Command::Finish(finish) => self.ending = Some(RunEnding::Finished(finish)),
            Command::Abort => self.ending = Some(RunEnding::Aborted),
        }
        Ok(())
    }

    fn append(&self, event: &RunEvent) -> Result<(), RunStop> {
        Ok(self.context.store.append(self.context.clock.now(), event)?)
    }

    /// Hands an ending to the store. The first poll happens here, so that the log keeps the order of commands;
    /// what remains is the wait until it is durable.
    fn commit(&mut self, event: RunEvent) {
        let (store, now) = (Arc::clone(&self.context.store), self.context.clock.now());
        let mut commit: Later<'static, _> = Box::pin(async move { store.commit(now, event).await });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match commit.as_mut().poll(&mut context) {
            std::task::Poll::Ready(done) => self.commits.push(Box::pin(std::future::ready(done))),
            std::task::Poll::Pending => self.commits.push(commit),
        }
    }

    fn start(&mut self, trial: TrialIndex, number: u32) -> Result<(), RunStop> {
        let context = Arc::clone(&self.context);
        let id = AttemptId {
            trial: context.plan.trials[trial.at()].id.clone(),
            number,
        };
        self.append(&RunEvent::AttemptStarted { attempt: id.clone() })?;
        let log = context.store.attempt(&id, trial.0)?;
        let journal = Journal::new(log, Arc::clone(&context.store), Arc::clone(&context.clock));
        let cancel = Cancel::default();
        self.cancels.insert(trial, cancel.clone());
        let link = Link {
            trial,
            to_dispatcher: self.told.clone(),
            cancel,
        };
        let attempt = Attempt::new(context, id, link, journal);
        let to_dispatcher = self.told.clone();
        self.attempts.spawn(async move {
            let report = drive(attempt).await;
            let _ = to_dispatcher.send(Told::Ended(Box::new(report)));
        });
        Ok(())
    }

    fn close(&mut self, trial: TrialIndex, then: Then) {
        let Some(report) = self.reports.remove(&trial) else {
            return;
        };
        let phase = self.context.plan.trials[trial.at()].phase;
        let score = report.outcome.score().and_then(|score| score.score());
        let (scored, success) = (
            score.is_some(),
            score.is_some_and(harness_core::score::Score::success),
        );
        if matches!(then, Then::Settled | Then::GivenUp) {
            self.last_settled = self.context.clock.now().elapsed;
            self.progress.settled_here += 1;
            self.count(phase, |phase| {
                phase.done += 1;
                phase.scored += u32::from(scored);
                phase.successes += u32::from(success);
                phase.void += u32::from(then == Then::GivenUp);
            });
        }
        self.progress.usage += report.usage;
        self.progress.usage += report.judge_usage;
        self.progress.cost = self.progress.cost.zip(report.cost).map(|(sum, cost)| sum + cost);
        self.commit(RunEvent::AttemptEnded(Box::new(AttemptEnded {
            attempt: report.attempt,
            outcome: report.outcome,
            turns: report.turns,
            usage: report.usage,
            cost: report.cost,
            judge_usage: report.judge_usage,
            working: report.working,
            wall: report.wall,
            malformed_calls: report.malformed_calls,
            log: report.log.ok(),
            then,
        })));
    }

    fn count(&mut self, phase: usize, change: impl FnOnce(&mut PhaseProgress)) {
        if let Some(phase) = self.progress.phases.get_mut(phase) {
            change(phase);
        }
    }

    fn show(&mut self, last: bool) {
        let now = self.context.clock.now().elapsed;
        let fresh = self
            .viewed
            .is_some_and(|viewed| now.saturating_sub(viewed) < VIEW);
        if fresh && !last {
            return;
        }
        self.viewed = Some(now);
        self.progress.running = u32::try_from(self.cancels.len()).unwrap_or(u32::MAX);
        self.progress.backing_off = self.scheduler.backing_off();
        self.progress.waiting_for = self.scheduler.waiting_for(now);
        self.progress.elapsed = now;
        self.progress.since_last = now.saturating_sub(self.last_settled);
        self.progress.preparing = None;
        let _ = self.view.send(self.progress.clone());
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Returns the views of the phases before anything ran.
pub fn phases_at_start(plan: &Plan) -> Vec<PhaseProgress> {
    let count =
        |at| u32::try_from(plan.trials.iter().filter(|trial| trial.phase == at).count()).unwrap_or(u32::MAX);
    let view = |(at, phase): (usize, &harness_core::suite::PhaseSpec)| PhaseProgress {
        id: phase.id.clone(),
        done: 0,
        total: count(at),
        successes: 0,
        scored: 0,
        void: 0,
    };
    plan.phases.iter().enumerate().map(view).collect()
}
