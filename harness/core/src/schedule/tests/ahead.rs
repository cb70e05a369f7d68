//! Scenarios of the look-ahead.

use pretty_assertions::assert_eq;

use super::*;

fn prepare(trial: u32, number: u32) -> Command {
    Command::PrepareSandbox {
        trial: TrialIndex(trial),
        number,
    }
}

fn dropped(trial: u32) -> Command {
    Command::DropSandbox {
        trial: TrialIndex(trial),
    }
}

/// Two sandboxes at once, and so many ahead.
fn ahead(trials: Vec<TrialNeeds>, look_ahead: u32) -> Scheduler {
    let mut plan = schedule(trials);
    plan.look_ahead = look_ahead;
    Scheduler::new(plan)
}

#[test]
fn the_next_sandboxes_are_made_while_all_others_are_in_use() {
    let trials = vec![
        boxed(0),
        boxed(0),
        boxed(0),
        plain(0),
        boxed(0),
        boxed(0),
        boxed(1),
    ];
    let mut scheduler = ahead(trials, 2);
    assert_eq!(
        scheduler.handle(T0, Input::Begin),
        [
            Command::StartPhase(0),
            start(0, 1),
            start(1, 1),
            start(3, 1),
            prepare(2, 1),
            prepare(4, 1),
        ]
    );
    let settled = |trial| ended(trial, Ending::Settled);
    assert_eq!(
        scheduler.handle(T0, settled(0)),
        [close(0, Then::Settled), start(2, 1), prepare(5, 1)]
    );
    assert_eq!(
        scheduler.handle(T0, settled(1)),
        [close(1, Then::Settled), start(4, 1)],
        "a later phase is not looked at"
    );
    assert_eq!(
        scheduler.handle(T0, settled(2)),
        [close(2, Then::Settled), start(5, 1)]
    );
    let off = ahead(vec![boxed(0), boxed(0), boxed(0)], 0).handle(T0, Input::Begin);
    assert_eq!(off, [Command::StartPhase(0), start(0, 1), start(1, 1)]);
}

#[test]
fn a_full_house_of_trials_looks_ahead_too_and_a_retry_is_prepared_with_its_number() {
    let mut plan = schedule(vec![plain(0), boxed(0), boxed(0)]);
    plan.max_trials = 1;
    plan.look_ahead = 1;
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(
        scheduler.handle(T0, Input::Begin),
        [Command::StartPhase(0), start(0, 1), prepare(1, 1)]
    );
    assert_eq!(
        scheduler.handle(T0, ended(0, Ending::Settled)),
        [close(0, Then::Settled), start(1, 1), prepare(2, 1)]
    );
    let broken = scheduler.handle(T0, ended(1, void("x", Fault::Sandbox, Scope::Attempt)));
    let Some(Command::Wake(at)) = broken.last() else {
        panic!("{broken:?}")
    };
    assert_eq!(scheduler.handle(*at, Input::Tick), [prepare(1, 2)]);
}

#[test]
fn what_was_made_ahead_is_dropped_when_its_trial_does_not_come() {
    let four = || (0..4).map(|_| boxed(0)).collect::<Vec<_>>();
    let cancel = |trial| Command::CancelAttempt {
        trial: TrialIndex(trial),
        by: CancelledBy::Operator,
    };
    let mut scheduler = ahead(four(), 2);
    scheduler.handle(T0, Input::Begin);
    assert_eq!(
        scheduler.handle(T0, Input::Interrupt),
        [cancel(0), cancel(1), dropped(2), dropped(3)]
    );
    let mut plan = schedule(four());
    plan.look_ahead = 1;
    plan.deadline = Some(Duration::from_secs(9));
    let mut scheduler = Scheduler::new(plan);
    scheduler.handle(T0, Input::Begin);
    let skip = |trial| Command::SkipTrial {
        trial: TrialIndex(trial),
        why: SkipReason::Budget,
    };
    assert_eq!(
        scheduler.handle(Duration::from_secs(9), Input::Tick),
        [skip(2), skip(3), dropped(2)]
    );
}

#[test]
fn only_what_the_budget_allows_is_made_ahead() {
    let trials = (0..6).map(|_| TrialNeeds {
        reserve: tokens(10),
        ..boxed(0)
    });
    let mut plan = schedule(trials.collect());
    plan.look_ahead = 3;
    plan.budget_tokens = Some(Tokens(35));
    let mut scheduler = Scheduler::new(plan);
    assert_eq!(
        scheduler.handle(T0, Input::Begin),
        [Command::StartPhase(0), start(0, 1), start(1, 1), prepare(2, 1)]
    );
}

#[test]
fn a_failure_ahead_spends_no_attempt_and_pauses_the_look_ahead() {
    let mut scheduler = ahead((0..6).map(|_| boxed(0)).collect(), 1);
    scheduler.handle(T0, Input::Begin);
    assert_eq!(scheduler.handle(T0, failed_ahead(2)), []);
    assert_eq!(scheduler.handle(T0, failed_ahead(2)), [], "it is told once");
    assert_eq!(
        scheduler.handle(T0, ended(0, Ending::Cancelled)),
        [close(0, Then::Open), start(2, 1)]
    );
    assert_eq!(
        scheduler.handle(T0, ended(1, Ending::Settled)),
        [close(1, Then::Settled), start(3, 1), prepare(4, 1)],
        "sandboxes work again"
    );
    assert_eq!(scheduler.handle(T0, failed_ahead(4)), []);
    assert_eq!(
        scheduler.handle(T0, ended(2, Ending::Settled)),
        [close(2, Then::Settled), start(4, 1), prepare(5, 1)],
        "the trial that failed starts one itself"
    );
}

#[test]
fn nothing_is_made_ahead_while_sandboxes_are_broken() {
    let trials = (0..8).map(|at| if at < 3 { boxed(0) } else { plain(0) });
    let mut plan = schedule(trials.collect());
    plan.max_sandboxes = 3;
    plan.look_ahead = 2;
    let mut scheduler = Scheduler::new(plan);
    scheduler.handle(T0, Input::Begin);
    for trial in 0..3 {
        let error = void("daemon_unreachable", Fault::Sandbox, Scope::Environment);
        scheduler.handle(T0, ended(trial, error));
    }
    let later = Duration::from_secs(5);
    assert_eq!(
        scheduler.handle(later, Input::Tick),
        [],
        "all three are ready again"
    );
    assert_eq!(
        scheduler.handle(later, ended(3, Ending::Settled)),
        [close(3, Then::Settled), start(0, 2)],
        "a probe, and nothing beside it"
    );
    assert_eq!(
        scheduler.handle(later, ended(0, Ending::Settled)),
        [close(0, Then::Settled), start(1, 2), prepare(2, 2)]
    );
}
