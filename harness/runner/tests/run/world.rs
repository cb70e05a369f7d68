//! A small world to run plans in: plans from YAML, a store in memory, a clock that follows paused time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use harness_core::event::{AttemptEnded, AttemptEvent, LOG_FORMAT, RunEvent};
use harness_core::fold::{RunView, TrialStatus, fold};
use harness_core::formats::{Folder, parse_scaffold, parse_suite, parse_task};
use harness_core::ids::{AttemptId, RunId, TrialId};
use harness_core::outcome::Outcome;
use harness_core::plan::{OpenNetwork, Plan, PlanInput, plan};
use harness_core::ports::{Clock, EventStore, ModelClient, SandboxProvider};
use harness_core::schedule::{Spend, TrialPast};
use harness_core::task::{FileData, TaskFiles, TaskSpec};
use harness_core::units::{Moment, Usd};
use harness_runner::{KeepSandboxes, Progress, RunEnding, RunInput, RunStop, phases_at_start, run};
use harness_store::MemoryStore;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::sandbox::Provider;

struct PausedClock(Instant);

impl Clock for PausedClock {
    fn now(&self) -> Moment {
        Moment::at(self.0.elapsed())
    }
}

fn files(list: &[(&str, &str)]) -> TaskFiles {
    let file = |(path, text): &(&str, &str)| {
        let data = FileData {
            bytes: text.as_bytes().to_vec(),
            executable: false,
        };
        ((*path).to_owned(), Arc::new(data))
    };
    list.iter().map(file).collect()
}

/// A task: its samples have the target `right`. `body` must hold at least `score`.
pub(crate) fn task(id: &str, samples: usize, body: &str) -> Arc<TaskSpec> {
    task_with(id, samples, body, &[])
}

/// A task with files.
pub(crate) fn task_with(id: &str, samples: usize, body: &str, more: &[(&str, &str)]) -> Arc<TaskSpec> {
    let samples: String = (0..samples)
        .map(|at| format!("  - {{id: s{at}, target: right}}\n"))
        .collect();
    let text = format!(
        "harness: 1\nid: {id}\nversion: 1\ntitle: T\ndomain: general\nfamily: f\ninstructions: Do it.\n\
         samples:\n{samples}{body}"
    );
    let mut all = files(more);
    all.extend(files(&[("task.yaml", &text)]));
    let path = format!("tasks/{id}");
    let parsed = parse_task(&Folder {
        path: &path,
        name: id,
        files: &all,
    });
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{problems}")).value)
}

/// The body of a task with a sandbox and bash whose answer is compared.
pub(crate) const BOXED: &str =
    "sandbox: {image: img, network: none}\ntools: [bash, submit]\nscore: {answer: {match: exact}}\n";
/// The body of a task without a sandbox.
pub(crate) const PLAIN: &str = "tools: []\nscore: {answer: {match: exact}}\n";

/// Everything that a run needs.
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) store: MemoryStore,
    pub(crate) provider: Arc<Provider>,
    pub(crate) models: Vec<Arc<dyn ModelClient>>,
    pub(crate) call_timeout: Duration,
    pub(crate) keep: KeepSandboxes,
}

impl World {
    /// One scaffold `react`; `suite` may add to the suite, such as `concurrency`.
    pub(crate) fn new(
        suite: &str,
        tasks: Vec<Arc<TaskSpec>>,
        model: Arc<dyn ModelClient>,
        provider: Provider,
    ) -> Self {
        let models = "models: [{id: m, use: scripted/x.yaml, price: {input: 1, output: 10}}]\n";
        Self::with(
            "react",
            "",
            &format!("{models}{suite}"),
            tasks,
            vec![model],
            provider,
        )
    }

    /// All of it.
    pub(crate) fn with(
        kind: &str,
        scaffold: &str,
        suite: &str,
        tasks: Vec<Arc<TaskSpec>>,
        models: Vec<Arc<dyn ModelClient>>,
        provider: Provider,
    ) -> Self {
        let text = format!("harness: 1\nid: s\nscaffolds: [{kind}]\ntasks: [\"*\"]\nseed: 7\n{suite}");
        let suite = parse_suite("s.yaml", text.as_bytes());
        let own = files(&[(
            "scaffold.yaml",
            &format!("harness: 1\nid: {kind}\nkind: {kind}\n{scaffold}"),
        )]);
        let scaffold = parse_scaffold(&Folder {
            path: kind,
            name: kind,
            files: &own,
        });
        let planned = plan(PlanInput {
            suite: suite.unwrap_or_else(|problems| panic!("{problems}")).value,
            tasks,
            scaffolds: vec![Arc::new(
                scaffold.unwrap_or_else(|problems| panic!("{problems}")).value,
            )],
            limit: None,
            open_network: OpenNetwork::Refused,
        });
        Self {
            plan: Arc::new(planned.unwrap_or_else(|problems| panic!("{problems:?}"))),
            store: MemoryStore::default(),
            provider: Arc::new(provider),
            models,
            call_timeout: Duration::from_mins(2),
            keep: KeepSandboxes::Never,
        }
    }

    /// What is known of the run from its log; panics if the log is not legal.
    pub(crate) fn view(&self) -> RunView {
        fold(&self.store.lines()).unwrap_or_else(|error| panic!("{error}\n{:#?}", self.store.events()))
    }

    /// The input of a process that begins or continues the run, and what asks it to stop.
    pub(crate) fn input(&self) -> (RunInput, mpsc::UnboundedSender<()>, watch::Receiver<Progress>) {
        let clock = Arc::new(PausedClock(Instant::now()));
        let view = self.view();
        for event in self.first_events(&view) {
            // A store that fails is found out by the run.
            let _ = self.store.append(clock.now(), &event);
        }
        let view = if self.store.lines().is_empty() {
            view
        } else {
            self.view()
        };
        let (interrupt, interrupts) = mpsc::unbounded_channel();
        let (progress, seen) = watch::channel(Progress {
            phases: phases_at_start(&self.plan),
            cost: Some(Usd::ZERO),
            ..Progress::default()
        });
        let open = view.open_phase().map(|open| open.phase.clone());
        let input = RunInput {
            plan: Arc::clone(&self.plan),
            run: RunId::new("r"),
            past: self
                .plan
                .trials
                .iter()
                .map(|trial| past(&view, &trial.id))
                .collect(),
            spent: Spend {
                tokens: view.totals().usage.total(),
                cost: view.totals().known_cost,
            },
            open_phase: open.and_then(|id| self.plan.phases.iter().position(|phase| phase.id == id)),
            used_wall: Duration::ZERO,
            models: self.models.clone(),
            sandboxes: Some(Arc::clone(&self.provider) as Arc<dyn SandboxProvider>),
            store: Arc::new(self.store.clone()),
            clock,
            interrupts,
            progress,
            call_timeout: self.call_timeout,
            keep: self.keep,
        };
        (input, interrupt, seen)
    }

    fn first_events(&self, view: &RunView) -> Vec<RunEvent> {
        if view.lines() > 0 {
            return view.continuation("test", 1, 0);
        }
        vec![RunEvent::RunStarted {
            format: LOG_FORMAT,
            run: RunId::new("r"),
            plan: self.plan.id,
            version: "test".to_owned(),
            pid: 1,
        }]
    }

    /// Runs to the end and checks what holds for every run.
    pub(crate) async fn run(&self) -> Result<RunEnding, RunStop> {
        let (input, _interrupt, _) = self.input();
        let ended = within(run(input)).await;
        self.check();
        ended
    }

    /// Checks that the log is legal, that no sandbox is left, and that seals fit transcripts.
    pub(crate) fn check(&self) {
        let view = self.view();
        let seen = self.provider.seen();
        let kept = u32::try_from(seen.kept.len()).unwrap();
        assert_eq!(
            (seen.live, seen.stopped + kept),
            (0, seen.started),
            "sandboxes are left"
        );
        let concurrency = &self.plan.suite.concurrency;
        assert!(seen.most <= concurrency.sandboxes + concurrency.look_ahead);
        for attempt in self.store.attempts() {
            let Some(ended) = view.attempt(&attempt).and_then(|attempt| attempt.ended.as_ref()) else {
                continue;
            };
            let lines = self.store.attempt_lines(&attempt);
            let Some(seal) = &ended.facts.log else { continue };
            assert_eq!(seal.lines, lines.len() as u64);
            let outcome = ended.facts.outcome.clone();
            let last = lines.last().map(|line| line.event.clone());
            assert_eq!(last, Some(AttemptEvent::Ended { outcome }));
            assert!(
                lines.iter().map(|line| line.working).is_sorted(),
                "working time goes back"
            );
        }
    }

    /// The endings of all attempts, in the order of the log.
    pub(crate) fn endings(&self) -> Vec<AttemptEnded> {
        let ended = |event| match event {
            RunEvent::AttemptEnded(ended) => Some(*ended),
            _ => None,
        };
        self.store.events().into_iter().filter_map(ended).collect()
    }

    /// The only ending.
    pub(crate) fn ending(&self) -> AttemptEnded {
        let mut endings = self.endings();
        assert_eq!(endings.len(), 1, "{endings:#?}");
        endings.remove(0)
    }

    /// The events of an attempt of the trial with this number.
    pub(crate) fn transcript(&self, trial: usize, number: u32) -> Vec<AttemptEvent> {
        let attempt = AttemptId {
            trial: self.plan.trials[trial].id.clone(),
            number,
        };
        let lines = self.store.attempt_lines(&attempt);
        lines.into_iter().map(|line| line.event).collect()
    }

    /// The names of the events of an attempt.
    pub(crate) fn names(&self, trial: usize, number: u32) -> Vec<String> {
        let name = |event: &AttemptEvent| {
            let value = serde_json::to_value(event).unwrap();
            let stage = value.get("stage").and_then(|stage| stage.as_str());
            let reason = value.get("reason").and_then(|reason| reason.as_str());
            let kind = value["type"].as_str().unwrap();
            stage
                .or(reason)
                .map_or_else(|| kind.to_owned(), |more| format!("{kind} {more}"))
        };
        self.transcript(trial, number).iter().map(name).collect()
    }

    /// How many trials ended how.
    pub(crate) fn statuses(&self) -> BTreeMap<TrialStatus, usize> {
        let view = self.view();
        let mut counts = BTreeMap::new();
        for trial in &self.plan.trials {
            *counts.entry(view.status(&trial.id)).or_default() += 1;
        }
        counts
    }
}

fn past(view: &RunView, trial: &TrialId) -> TrialPast {
    let Some(trial) = view.trials().get(trial) else {
        return TrialPast::default();
    };
    let ended = trial.attempts.iter().filter_map(|attempt| attempt.ended.as_ref());
    let voids = ended.filter(|ended| matches!(ended.facts.outcome, Outcome::Void { .. }));
    TrialPast {
        attempts: u32::try_from(trial.attempts.len()).unwrap(),
        voids: u32::try_from(voids.count()).unwrap(),
        closed: trial.is_final(),
    }
}

/// Fails a test that hangs: a day of paused time passes in no time.
pub(crate) async fn within<T>(doing: impl Future<Output = T>) -> T {
    let day = Duration::from_hours(24);
    tokio::time::timeout(day, doing).await.expect("it does not hang")
}
