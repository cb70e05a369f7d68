//! The one loop around the scheduler: inputs in, commands out.
//!
//! Owns: the tasks of running attempts, timers, the order of the run's log. Must not: decide; every decision is the
//! scheduler's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use harness_core::event::{AttemptEnded, CallThen, RunEvent, Then};
use harness_core::ids::AttemptId;
use harness_core::outcome::CancelledBy;
use harness_core::ports::{Later, SandboxError, StoreError};
use harness_core::schedule::{Command, Finish, Input, Scheduler, TrialIndex};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::ahead::Ahead;
use crate::attempt::{Attempt, AttemptReport, TEARDOWN, drive};
use crate::context::{RunContext, RunInput};
use crate::journal::Journal;
use crate::link::{Cancel, Link, Told};
use crate::prepare::{prepare_images, schedule_of};
use crate::progress::{PhaseProgress, Progress, trials_of};

/// How often the view of a running run is made anew.
const VIEW: Duration = Duration::from_millis(100);

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

/// Executes a plan until nothing is left to do, somebody stops it, or it can't go on.
///
/// # Errors
/// [`RunStop`] if results can't be written or an image can't be had. What was logged before stays valid.
pub async fn run(mut input: RunInput) -> Result<RunEnding, RunStop> {
    let (_, nobody) = mpsc::unbounded_channel();
    let mut interrupts = std::mem::replace(&mut input.interrupts, nobody);
    let prepared = tokio::select! {
        biased;
        () = interrupted(&mut interrupts) => None,
        images = prepare_images(&input) => Some(images?),
    };
    let Some(images) = prepared else {
        input.store.append(input.clock.now(), &RunEvent::Interrupted)?;
        return Ok(RunEnding::Finished(Finish::Interrupted));
    };
    let context = Arc::new(RunContext::new(&input, images));
    let open_phase = end_of_earlier_phase(&input)?;
    let scheduler = Scheduler::new(schedule_of(&mut input));
    let (tell, mut from_attempts) = mpsc::unbounded_channel();
    let progress = input.progress.borrow().clone();
    let mut dispatcher = Dispatcher {
        progress,
        view: input.progress,
        context,
        scheduler,
        tell,
        attempts: JoinSet::new(),
        ahead: Ahead::default(),
        names: HashMap::new(),
        cancels: BTreeMap::new(),
        grants: HashMap::new(),
        answers: HashMap::new(),
        reports: HashMap::new(),
        commits: FuturesUnordered::new(),
        wake: None,
        ending: None,
        viewed: None,
        last_settled: Duration::ZERO,
        open_phase,
    };
    let mut ended = dispatcher.run(&mut from_attempts, &mut interrupts).await;
    match &ended {
        Ok(RunEnding::Finished(finish)) => {
            let finish = finish.clone();
            ended = dispatcher.finish(finish, &mut interrupts).await;
        }
        Ok(RunEnding::Aborted) | Err(_) => {}
    }
    if ended.is_err() {
        dispatcher.abandon(&mut interrupts).await;
    }
    dispatcher.show(true);
    ended
}

/// Waits for a person's request to stop; for ever if nobody can ask.
async fn interrupted(interrupts: &mut mpsc::UnboundedReceiver<()>) {
    if interrupts.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Returns the phase that goes on. If the earlier process settled its last trial and died before it logged the end
/// of the phase, that is logged now.
fn end_of_earlier_phase(input: &RunInput) -> Result<Option<usize>, StoreError> {
    let Some(at) = input.open_phase else {
        return Ok(None);
    };
    let closed = |index: usize| input.past.get(index).is_some_and(|past| past.closed);
    let mut trials = input.plan.trials.iter().enumerate();
    if trials.any(|(index, trial)| trial.phase == at && !closed(index)) {
        return Ok(Some(at));
    }
    let phase = input.plan.phases[at].id.clone();
    input
        .store
        .append(input.clock.now(), &RunEvent::PhaseEnded { phase })?;
    Ok(None)
}

struct Dispatcher {
    context: Arc<RunContext>,
    scheduler: Scheduler,
    tell: mpsc::UnboundedSender<Told>,
    attempts: JoinSet<()>,
    ahead: Ahead,
    names: HashMap<Id, (TrialIndex, AttemptId)>,
    cancels: BTreeMap<TrialIndex, Cancel>,
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
        from_attempts: &mut mpsc::UnboundedReceiver<Told>,
        interrupts: &mut mpsc::UnboundedReceiver<()>,
    ) -> Result<RunEnding, RunStop> {
        self.take(Input::Begin)?;
        let mut ticker = tokio::time::interval(VIEW);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if let Some(ending) = self.ending.take() {
                return Ok(ending);
            }
            let wake = self.wake;
            tokio::select! {
                Some(told) = from_attempts.recv() => self.told(told)?,
                () = interrupted(interrupts) => self.take(Input::Interrupt)?,
                Some(committed) = self.commits.next(), if !self.commits.is_empty() => committed?,
                () = sleep_until(wake), if wake.is_some() => {
                    self.wake = None;
                    self.take(Input::Tick)?;
                }
                _ = ticker.tick() => self.show(false),
                Some(joined) = self.attempts.join_next_with_id(), if !self.attempts.is_empty() => match joined {
                    Ok((id, ())) => drop(self.names.remove(&id)),
                    Err(error) => self.lost(&error)?,
                }
            }
        }
    }

    /// Logs the end of this process's part of the run, after everything before it is safe.
    async fn finish(
        &mut self,
        finish: Finish,
        interrupts: &mut mpsc::UnboundedReceiver<()>,
    ) -> Result<RunEnding, RunStop> {
        self.settle_commits().await?;
        let left = self.settle_sandboxes(interrupts).await;
        if !left.is_empty() {
            self.append(&RunEvent::SandboxesLeft { left })?;
        }
        match &finish {
            Finish::Ended(why) => self.commit(RunEvent::RunEnded { why: *why })?,
            Finish::Interrupted | Finish::Halted { .. } => self.append(&RunEvent::Interrupted)?,
        }
        self.settle_commits().await?;
        while self.attempts.join_next().await.is_some() {}
        Ok(RunEnding::Finished(finish))
    }

    async fn settle_commits(&mut self) -> Result<(), RunStop> {
        while let Some(committed) = self.commits.next().await {
            committed?;
        }
        Ok(())
    }

    /// Stops everything when results can't be written, and waits until the sandboxes are removed, but not for ever.
    async fn abandon(&mut self, interrupts: &mut mpsc::UnboundedReceiver<()>) {
        for cancel in self.cancels.values() {
            cancel.cancel(CancelledBy::Operator);
        }
        let ended = async { while self.attempts.join_next().await.is_some() {} };
        tokio::select! {
            () = ended => {}
            () = tokio::time::sleep(TEARDOWN) => {}
            () = interrupted(interrupts) => return,
        }
        self.settle_sandboxes(interrupts).await;
    }

    async fn settle_sandboxes(&mut self, interrupts: &mut mpsc::UnboundedReceiver<()>) -> Vec<String> {
        let provider = self.context.sandboxes.clone();
        self.ahead.settle(provider, interrupted(interrupts)).await
    }

    /// The driver of an attempt died without a report. It is void, like one whose driver says so itself.
    fn lost(&mut self, error: &JoinError) -> Result<(), RunStop> {
        tracing::error!("the driver of an attempt ended in an unforeseen way: {error}");
        let Some((trial, attempt)) = self.names.remove(&error.id()) else {
            return Ok(());
        };
        self.ended(AttemptReport::lost(trial, attempt, &error.to_string()))
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
            Told::PreparationFailed { trial, number } => {
                if self.ahead.failed(trial, number) {
                    self.take(Input::PreparationFailed { trial })?;
                }
                Ok(())
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
                let trials = trials_of(&self.context.plan, at);
                self.append(&RunEvent::PhaseStarted { phase, trials })?;
            }
            Command::EndPhase(at) => {
                let phase = self.context.plan.phases[at].id.clone();
                self.append(&RunEvent::PhaseEnded { phase })?;
            }
            Command::PrepareSandbox { trial, number } => {
                let tell = self.tell.clone();
                self.ahead.prepare(&self.context, (trial, number), tell);
            }
            Command::DropSandbox { trial } => self.ahead.discard(trial),
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
            Command::CloseAttempt { trial, then } => self.close(trial, then)?,
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

    /// Commits an event. Its line must come before that of whatever follows, so the store is called at once;
    /// what is waited for later is only that the line is safe.
    fn commit(&mut self, event: RunEvent) -> Result<(), RunStop> {
        let (store, now) = (Arc::clone(&self.context.store), self.context.clock.now());
        let mut commit: Later<'static, _> = Box::pin(async move { store.commit(now, event).await });
        match (&mut commit).now_or_never() {
            Some(committed) => committed?,
            None => self.commits.push(commit),
        }
        Ok(())
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
            to_dispatcher: self.tell.clone(),
            cancel,
        };
        let mut attempt = Attempt::new(context, id.clone(), link, journal);
        attempt.starting = self.ahead.take(trial, self.context.clock.now().elapsed);
        let tell = self.tell.clone();
        let task = self.attempts.spawn(async move {
            let report = drive(attempt).await;
            let _ = tell.send(Told::Ended(Box::new(report)));
        });
        self.names.insert(task.id(), (trial, id));
        Ok(())
    }

    fn close(&mut self, trial: TrialIndex, then: Then) -> Result<(), RunStop> {
        let Some(report) = self.reports.remove(&trial) else {
            return Ok(());
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
            egress: report.egress,
            log: report.log.ok().flatten(),
            then,
        })))
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
