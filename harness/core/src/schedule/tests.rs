//! Scenarios of the scheduler, and its laws over simulated worlds.

use std::collections::BTreeMap;

use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::*;
use crate::event::Then;
use crate::outcome::Fault;
use crate::suite::RetryPolicy;
use crate::units::Usd;

mod ahead;

fn schedule(trials: Vec<TrialNeeds>) -> Schedule {
    let phases = trials.iter().map(|trial| trial.phase + 1).max().unwrap_or(0);
    Schedule {
        trials,
        past: Vec::new(),
        phases,
        max_trials: 4,
        max_sandboxes: 2,
        look_ahead: 0,
        models: vec![ModelLimits::default()],
        retry: RetryPolicy::default(),
        budget_tokens: None,
        budget_cost: None,
        deadline: None,
        on_spent: OnSpent::Stop,
        spent: Spend::default(),
        seed: 7,
    }
}

fn plain(phase: usize) -> TrialNeeds {
    TrialNeeds {
        phase,
        sandbox: false,
        reserve: Spend::default(),
        model: Some(0),
    }
}

fn tokens(n: u64) -> Spend {
    Spend {
        tokens: Tokens(n),
        cost: Usd::ZERO,
    }
}

fn ended(trial: u32, ending: Ending) -> Input {
    Input::AttemptEnded {
        trial: TrialIndex(trial),
        ending,
        spent: Spend::default(),
    }
}

fn void(error: &str, fault: Fault, scope: Scope) -> Ending {
    Ending::Void {
        fault,
        error: error.to_owned(),
        scope,
    }
}

fn start(trial: u32, number: u32) -> Command {
    Command::StartAttempt {
        trial: TrialIndex(trial),
        number,
    }
}

fn close(trial: u32, then: Then) -> Command {
    Command::CloseAttempt {
        trial: TrialIndex(trial),
        then,
    }
}

const T0: Duration = Duration::ZERO;

#[test]
fn phases_run_one_after_another() {
    let mut scheduler = Scheduler::new(schedule(vec![plain(0), plain(1)]));
    assert_eq!(
        scheduler.handle(T0, Input::Begin),
        [Command::StartPhase(0), start(0, 1)]
    );
    assert_eq!(
        scheduler.handle(T0, ended(0, Ending::Settled)),
        [
            close(0, Then::Settled),
            Command::EndPhase(0),
            Command::StartPhase(1),
            start(1, 1),
        ]
    );
    assert_eq!(
        scheduler.handle(T0, ended(1, Ending::Settled)),
        [
            close(1, Then::Settled),
            Command::EndPhase(1),
            Command::Finish(Finish::Ended(RunEnd::Complete)),
        ]
    );
}

#[test]
fn an_empty_plan_ends_at_once() {
    let mut scheduler = Scheduler::new(schedule(Vec::new()));
    assert_eq!(
        scheduler.handle(T0, Input::Begin),
        [Command::Finish(Finish::Ended(RunEnd::Complete))]
    );
}

#[test]
fn void_attempts_are_tried_again_and_then_given_up() {
    let mut scheduler = Scheduler::new(schedule(vec![plain(0)]));
    scheduler.handle(T0, Input::Begin);
    let mut now = T0;
    let mut then = Vec::new();
    for _ in 0..3 {
        for command in scheduler.handle(now, ended(0, void("setup", Fault::Task, Scope::Attempt))) {
            if let Command::CloseAttempt { then: what, .. } = command {
                then.push(matches!(what, Then::Retry { .. }));
            }
        }
        now += Duration::from_secs(100);
        scheduler.handle(now, Input::Tick);
    }
    assert_eq!(then, [true, true, false]);
    assert_eq!(
        scheduler.census(),
        Census {
            closed: 1,
            ..Census::default()
        }
    );
}

#[test]
fn a_broken_environment_halts_the_run_without_spending_trials() {
    let mut scheduler = Scheduler::new(schedule((0..20).map(|_| plain(0)).collect()));
    let mut now = T0;
    let mut queue = scheduler.handle(now, Input::Begin);
    let mut halted = false;
    for _ in 0..500 {
        let started: Vec<u32> = queue
            .iter()
            .filter_map(|c| {
                if let Command::StartAttempt { trial, .. } = c {
                    Some(trial.0)
                } else {
                    None
                }
            })
            .collect();
        queue.clear();
        for trial in started {
            queue.extend(scheduler.handle(
                now,
                ended(
                    trial,
                    void("daemon_unreachable", Fault::Sandbox, Scope::Environment),
                ),
            ));
        }
        halted |= queue.contains(&Command::Finish(Finish::Halted {
            error: "daemon_unreachable".into(),
        }));
        now += Duration::from_secs(1);
        queue.extend(scheduler.handle(now, Input::Tick));
    }
    let census = scheduler.census();
    assert!(halted);
    assert_eq!(census.closed, 0, "no trial was given up: {census:?}");
}

#[test]
fn a_wrong_key_halts_after_a_few_trials() {
    let mut scheduler = Scheduler::new(schedule((0..9).map(|_| plain(0)).collect()));
    scheduler.handle(T0, Input::Begin);
    for trial in 0..3 {
        scheduler.handle(
            T0,
            ended(trial, void("authentication", Fault::Operator, Scope::Environment)),
        );
    }
    let mut last = Vec::new();
    for trial in 3..6 {
        last = scheduler.handle(T0, ended(trial, Ending::Cancelled));
        if last.iter().any(|command| matches!(command, Command::Finish(_))) {
            break;
        }
    }
    assert_eq!(
        last.last(),
        Some(&Command::Finish(Finish::Halted {
            error: "authentication".into()
        }))
    );
}

#[test]
fn a_budget_that_fits_no_further_trial_skips_the_rest() {
    let trial = |n| TrialNeeds {
        reserve: tokens(n),
        ..plain(0)
    };
    let mut plan = schedule(vec![trial(60), trial(60), trial(10)]);
    plan.budget_tokens = Some(Tokens(100));
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(
        scheduler.handle(T0, Input::Begin),
        [Command::StartPhase(0), start(0, 1), start(2, 1)]
    );
    let spent = |trial, n| Input::AttemptEnded {
        trial: TrialIndex(trial),
        ending: Ending::Settled,
        spent: tokens(n),
    };
    assert_eq!(scheduler.handle(T0, spent(0, 50)), [close(0, Then::Settled)]);
    assert_eq!(
        scheduler.handle(T0, spent(2, 10)),
        [
            close(2, Then::Settled),
            Command::SkipTrial {
                trial: TrialIndex(1),
                why: SkipReason::Budget
            },
            Command::EndPhase(0),
            Command::Finish(Finish::Ended(RunEnd::BudgetSpent)),
        ]
    );
}

#[test]
fn the_first_interrupt_ends_in_order_and_the_second_at_once() {
    let mut scheduler = Scheduler::new(schedule(vec![plain(0), plain(0)]));
    scheduler.handle(T0, Input::Begin);
    let cancel = |trial| Command::CancelAttempt {
        trial: TrialIndex(trial),
        by: CancelledBy::Operator,
    };
    assert_eq!(scheduler.handle(T0, Input::Interrupt), [cancel(0), cancel(1)]);
    assert_eq!(
        scheduler.handle(T0, ended(0, Ending::Cancelled)),
        [close(0, Then::Open)]
    );
    let mut other = Scheduler::new(schedule(vec![plain(0)]));
    other.handle(T0, Input::Begin);
    other.handle(T0, Input::Interrupt);
    assert_eq!(other.handle(T0, Input::Interrupt), [Command::Abort]);
    assert_eq!(
        scheduler.handle(T0, ended(1, Ending::Settled)),
        [close(1, Then::Settled), Command::Finish(Finish::Interrupted),]
    );
}

#[test]
fn calls_wait_for_their_models_tokens() {
    let mut plan = schedule(vec![plain(0), plain(0)]);
    plan.models = vec![ModelLimits {
        requests: None,
        tokens_per_minute: Some(Tokens(600)),
    }];
    let mut scheduler = Scheduler::new(plan);
    scheduler.handle(T0, Input::Begin);
    let want = |trial| Input::CallWanted {
        trial: TrialIndex(trial),
        tokens: Tokens(600),
    };
    assert_eq!(scheduler.handle(T0, want(0)), [Command::GrantCall(TrialIndex(0))]);
    let [Command::Wake(at)] = scheduler.handle(T0, want(1))[..] else {
        panic!("no wake")
    };
    assert_eq!(at.as_secs(), 60);
    assert_eq!(
        scheduler.handle(at, Input::Tick),
        [Command::GrantCall(TrialIndex(1))]
    );
}

#[test]
fn an_alarm_that_comes_early_is_set_again() {
    let mut scheduler = Scheduler::new(schedule(vec![plain(0)]));
    scheduler.handle(T0, Input::Begin);
    let broken = void("x", Fault::Harness, Scope::Attempt);
    let commands = scheduler.handle(T0, ended(0, broken));
    let Some(Command::Wake(at)) = commands.last() else {
        panic!("{commands:?}")
    };
    let early = at.saturating_sub(Duration::from_nanos(1));
    assert_eq!(scheduler.handle(early, Input::Tick), [Command::Wake(*at)]);
    assert_eq!(scheduler.handle(*at, Input::Tick), [start(0, 2)]);
}

#[test]
fn a_call_that_nobody_waits_for_takes_no_slot() {
    let mut plan = schedule((0..3).map(|_| plain(0)).collect());
    plan.models = vec![ModelLimits {
        requests: Some(1),
        tokens_per_minute: None,
    }];
    for trial in &mut plan.trials {
        trial.model = Some(0);
    }
    let mut scheduler = Scheduler::new(plan);
    scheduler.handle(T0, Input::Begin);
    let want = |trial| Input::CallWanted {
        trial: TrialIndex(trial),
        tokens: Tokens::ZERO,
    };
    let done = |trial| Input::CallDone {
        trial: TrialIndex(trial),
        tokens: Tokens::ZERO,
    };
    assert_eq!(scheduler.handle(T0, want(0)), [Command::GrantCall(TrialIndex(0))]);
    assert_eq!(scheduler.handle(T0, want(1)), []);
    assert_eq!(scheduler.handle(T0, want(2)), []);
    assert_eq!(scheduler.handle(T0, done(1)), [], "it gave up while it waited");
    assert_eq!(scheduler.handle(T0, done(0)), [Command::GrantCall(TrialIndex(2))]);
}

#[test]
fn what_works_for_others_does_not_hide_that_sandboxes_are_broken() {
    let mut plan = schedule(
        (0..12)
            .map(|at| if at < 6 { boxed(0) } else { plain(0) })
            .collect(),
    );
    plan.max_trials = 4;
    plan.max_sandboxes = 2;
    let mut scheduler = Scheduler::new(plan);
    let mut started: Vec<Command> = scheduler.handle(T0, Input::Begin);
    let unreachable = || void("daemon_unreachable", Fault::Sandbox, Scope::Environment);
    let (mut counted, mut settled) = (0, 0);
    while let Some(command) = started.pop() {
        let Command::StartAttempt { trial, .. } = command else {
            continue;
        };
        let ending = if trial.0 < 6 {
            unreachable()
        } else {
            Ending::Settled
        };
        settled += u32::from(ending == Ending::Settled);
        let commands = scheduler.handle(T0, ended(trial.0, ending));
        let given_up = |command: &Command| *command == close(trial.0, Then::GivenUp);
        counted += u32::from(commands.iter().any(given_up));
        started.extend(commands);
    }
    let census = scheduler.census();
    assert_eq!((settled, counted, census.closed), (6, 0, 6), "the others went on");
    assert_eq!(census.ready + census.backoff, 6);
}

/// Trials that began before it broke may go on for hours: they are no reason not to look whether it works again.
#[test]
fn a_probe_does_not_wait_for_trials_from_before() {
    let mut plan = schedule((0..12).map(|_| boxed(0)).collect());
    (plan.max_trials, plan.max_sandboxes) = (5, 5);
    let mut scheduler = Scheduler::new(plan);
    let unreachable = || void("daemon_unreachable", Fault::Sandbox, Scope::Environment);
    let starts = |commands: Vec<Command>| -> Vec<u32> {
        let started = commands.into_iter().filter_map(|command| match command {
            Command::StartAttempt { trial, .. } => Some(trial.0),
            _ => None,
        });
        started.collect()
    };
    assert_eq!(starts(scheduler.handle(T0, Input::Begin)), [0, 1, 2, 3, 4]);
    let (mut broken, mut next) = (vec![0, 1, 2], 5);
    while let Some(trial) = broken.pop() {
        for started in starts(scheduler.handle(T0, ended(trial, unreachable()))) {
            assert_eq!(started, next);
            next += 1;
            broken.push(started);
        }
    }
    let later = T0 + Duration::from_secs(2);
    let probe = starts(scheduler.handle(later, Input::Tick));
    assert_eq!(probe.len(), 1, "while trials 3 and 4 run");
    let old = starts(scheduler.handle(later, ended(3, unreachable())));
    assert_eq!(
        old,
        Vec::<u32>::new(),
        "the end of an old one is no failed probe, and lets no second one start"
    );
    let works = starts(scheduler.handle(later, ended(probe[0], Ending::Settled)));
    assert_eq!(works.len(), 4, "it works again, and 4 still runs");
}

#[test]
fn identical_call_errors_are_given_up_and_others_start_the_count_again() {
    let mut scheduler = Scheduler::new(schedule(vec![plain(0)]));
    scheduler.handle(T0, Input::Begin);
    let stalled = ModelError::Stalled {
        waited: Duration::from_secs(1),
    };
    let broken = ModelError::Connection {
        detail: "reset".into(),
    };
    let key = ModelError::Authentication { detail: "no".into() };
    let mut fail = |error: &ModelError| {
        let commands = scheduler.handle(
            T0,
            Input::CallFailed {
                trial: TrialIndex(0),
                error: error.clone(),
            },
        );
        matches!(
            commands[0],
            Command::AnswerCall {
                then: CallThen::GiveUp,
                ..
            }
        )
    };
    let given_up: Vec<bool> = [&stalled, &stalled, &broken, &stalled, &stalled, &stalled, &key]
        .map(&mut fail)
        .to_vec();
    assert_eq!(given_up, [false, false, false, false, false, true, true]);
}

fn boxed(phase: usize) -> TrialNeeds {
    TrialNeeds {
        sandbox: true,
        ..plain(phase)
    }
}

fn failed_ahead(trial: u32) -> Input {
    Input::PreparationFailed {
        trial: TrialIndex(trial),
    }
}

/// A world that answers the scheduler at random and checks its laws all the while.
struct World {
    scheduler: Scheduler,
    schedule: Schedule,
    now: Duration,
    phase: usize,
    prepared: BTreeMap<u32, u32>,
    looked_ahead: u32,
    running: BTreeMap<u32, u32>,
    calling: BTreeMap<u32, bool>,
    spent: Spend,
    settled: BTreeMap<u32, u32>,
    skipped: u32,
    given_up: u32,
    finish: Option<Finish>,
    wakes: BTreeSet<Duration>,
    model_caused: BTreeSet<u32>,
}

impl World {
    fn new(schedule: Schedule) -> Self {
        Self {
            scheduler: Scheduler::new(schedule.clone()),
            schedule,
            now: T0,
            phase: 0,
            prepared: BTreeMap::new(),
            looked_ahead: 0,
            running: BTreeMap::new(),
            calling: BTreeMap::new(),
            spent: Spend::default(),
            settled: BTreeMap::new(),
            skipped: 0,
            given_up: 0,
            finish: None,
            wakes: BTreeSet::new(),
            model_caused: BTreeSet::new(),
        }
    }

    fn send(&mut self, input: Input) {
        for command in self.scheduler.handle(self.now, input) {
            self.obey(command);
        }
        self.check();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::StartAttempt { trial, number } => {
                assert!(
                    !self.model_caused.contains(&trial.0),
                    "an ending of the model's was tried again"
                );
                assert!(self.running.insert(trial.0, number).is_none());
                let ahead = self.prepared.remove(&trial.0);
                assert!(
                    ahead.is_none_or(|ahead| ahead == number),
                    "another attempt's sandbox"
                );
                self.calling.remove(&trial.0);
            }
            Command::StartPhase(phase) => self.phase = phase,
            Command::PrepareSandbox { trial, number } => {
                let needs = &self.schedule.trials[trial.at()];
                assert!(needs.sandbox && needs.phase == self.phase);
                assert!(!self.running.contains_key(&trial.0), "it runs already");
                assert!(self.prepared.insert(trial.0, number).is_none(), "made twice");
                self.looked_ahead += 1;
            }
            Command::DropSandbox { trial } => {
                assert!(
                    self.prepared.remove(&trial.0).is_some(),
                    "dropped twice, or never made"
                );
            }
            Command::CloseAttempt {
                trial,
                then: Then::Settled,
            } => *self.settled.entry(trial.0).or_default() += 1,
            Command::CloseAttempt {
                then: Then::GivenUp, ..
            } => self.given_up += 1,
            Command::SkipTrial { .. } => self.skipped += 1,
            Command::GrantCall(trial) => {
                assert_eq!(
                    self.calling.insert(trial.0, true),
                    Some(false),
                    "a grant that nobody waits for"
                );
            }
            Command::Wake(at) => {
                self.wakes.insert(at);
            }
            Command::Finish(finish) => {
                assert!(self.prepared.is_empty(), "a sandbox is left: {:?}", self.prepared);
                self.finish = Some(finish);
            }
            _ => {}
        }
    }

    fn check(&self) {
        let sandboxes = self
            .running
            .keys()
            .filter(|trial| self.schedule.trials[**trial as usize].sandbox)
            .count();
        assert!(self.running.len() <= self.schedule.max_trials as usize);
        assert!(sandboxes <= self.schedule.max_sandboxes as usize);
        assert!(self.prepared.len() <= self.schedule.look_ahead as usize);
        if let Some(max) = self.schedule.models[0].requests {
            assert!(self.calling.values().filter(|granted| **granted).count() <= max as usize);
        }
        let reserved: u64 = self
            .running
            .keys()
            .map(|trial| self.schedule.trials[*trial as usize].reserve.tokens.0)
            .sum();
        if let Some(budget) = self.schedule.budget_tokens {
            assert!(self.spent.tokens.0 + reserved <= budget.0, "over the budget");
        }
        let census = self.scheduler.census();
        let total = census.ready + census.running + census.backoff + census.closed + census.open;
        assert_eq!(total as usize, self.schedule.trials.len(), "{census:?}");
        assert!(
            self.settled.values().all(|endings| *endings == 1),
            "two endings of one trial"
        );
    }

    fn step(&mut self, dice: u64) {
        let pick = (dice >> 8) as usize;
        if let Some(trial) = self.prepared.keys().next().copied()
            && dice % 11 == 10
        {
            self.prepared.remove(&trial);
            return self.send(failed_ahead(trial));
        }
        let Some(trial) = self.running.keys().copied().nth(pick % self.running.len().max(1)) else {
            let next = self
                .wakes
                .range((std::ops::Bound::Excluded(self.now), std::ops::Bound::Unbounded))
                .next();
            self.now = next.copied().unwrap_or(self.now + Duration::from_secs(1));
            return self.send(Input::Tick);
        };
        let index = TrialIndex(trial);
        match (self.calling.get(&trial), dice % 8) {
            (None, 0..=3) => {
                self.calling.insert(trial, false);
                self.send(Input::CallWanted {
                    trial: index,
                    tokens: Tokens(50),
                });
            }
            (Some(true), 0..=4) => {
                self.calling.remove(&trial);
                self.send(Input::CallDone {
                    trial: index,
                    tokens: Tokens(30),
                });
            }
            (Some(true), 5) => {
                self.calling.remove(&trial);
                let error = ModelError::RateLimited { retry_after: None };
                self.send(Input::CallFailed { trial: index, error });
            }
            (_, 6) => self.end(trial, dice),
            _ => {
                self.now += Duration::from_millis(dice % 3000);
                self.send(Input::Tick);
            }
        }
    }

    fn end(&mut self, trial: u32, dice: u64) {
        self.running.remove(&trial);
        self.calling.remove(&trial);
        let reserve = self.schedule.trials[trial as usize].reserve.tokens.0;
        let spent = tokens(reserve.min(dice % 100));
        self.spent = self.spent + spent;
        let ending = match (dice >> 16) % 10 {
            0 => void("sandbox_gone", Fault::Sandbox, Scope::Attempt),
            1 => void("connection", Fault::Provider, Scope::Environment),
            2 => void("scorer", Fault::Scorer, Scope::Attempt),
            _ => {
                self.model_caused.insert(trial);
                Ending::Settled
            }
        };
        self.send(Input::AttemptEnded {
            trial: TrialIndex(trial),
            ending,
            spent,
        });
    }
}

fn worlds() -> impl Strategy<Value = (Schedule, Vec<u64>)> {
    let trial = (0..3_usize, any::<bool>(), 0..100_u64).prop_map(|(phase, sandbox, reserve)| TrialNeeds {
        phase,
        sandbox,
        reserve: tokens(reserve),
        model: Some(0),
    });
    let limits = (
        1..6_u32,
        (1..4_u32, 0..4_u32),
        proptest::option::of(1..3_u32),
        proptest::option::of(100..900_u64),
    );
    let rest = (
        proptest::option::of(50..600_u64),
        proptest::option::of(5..300_u64),
    );
    (
        proptest::collection::vec(trial, 1..25),
        limits,
        rest,
        proptest::collection::vec(any::<u64>(), 400),
    )
        .prop_map(
            |(
                trials,
                (max_trials, (max_sandboxes, look_ahead), requests, rate),
                (budget, deadline),
                dice,
            )| {
                let mut plan = schedule(trials);
                plan.max_trials = max_trials;
                plan.max_sandboxes = max_sandboxes;
                plan.look_ahead = look_ahead;
                plan.models = vec![ModelLimits {
                    requests,
                    tokens_per_minute: rate.map(Tokens),
                }];
                plan.budget_tokens = budget.map(Tokens);
                plan.deadline = deadline.map(Duration::from_secs);
                (plan, dice)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_in_every_world((plan, dice) in worlds(), interrupt_at in proptest::option::of(0..400_usize)) {
        let mut world = World::new(plan);
        world.send(Input::Begin);
        for (step, dice) in dice.iter().enumerate() {
            if world.finish.is_some() {
                break;
            }
            if interrupt_at == Some(step) {
                world.send(Input::Interrupt);
            }
            world.step(*dice);
        }
        // Whatever happened so far, a world in which everything now works comes to an end.
        for _ in 0..5000 {
            if world.finish.is_some() {
                break;
            }
            match world.running.keys().next().copied() {
                Some(trial) => {
                    world.running.remove(&trial);
                    world.calling.remove(&trial);
                    world.model_caused.insert(trial);
                    world.send(ended(trial, Ending::Settled));
                }
                None => world.step(0),
            }
        }
        prop_assert!(world.finish.is_some(), "the run never ends: {:?}", world.scheduler.census());
        if world.finish == Some(Finish::Ended(RunEnd::Complete)) {
            let total = world.settled.len() + world.given_up as usize + world.skipped as usize;
            prop_assert_eq!(total, world.schedule.trials.len());
        }
    }
}
