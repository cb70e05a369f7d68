//! Signals, and two processes on one results folder.

use std::process::Child;

use pretty_assertions::assert_eq;
use rustix::process::Signal;

use crate::util::{Context, EASY, Suite, log_of, signal, until};

/// A run whose first sample is fast and whose second hangs.
fn hanging() -> Context {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    Suite {
        scripts: "  - when: {sample: b}\n    turns: [{hang: true}]\n  - turns: [{tools: [{name: submit, arguments: {answer: blue}}]}]\n",
        ..Suite::default()
    }
    .write(&context);
    context
}

/// Starts the run and waits until its fast trial has ended.
fn begin(context: &Context) -> Child {
    let child = context.start("run suite.yaml");
    until("a trial ended", || {
        let run = context.runs().pop()?;
        let log = std::fs::read_to_string(run.join("run.jsonl")).ok()?;
        log.contains("attempt_ended").then_some(())
    });
    child
}

#[test]
fn one_interrupt_stops_in_order_and_the_run_continues() {
    let context = hanging();
    let child = begin(&context);
    signal(&child, Signal::INT);
    insta::assert_snapshot!(context.end(child).text, @r"
    exit code: 130
    --- stdout
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  cancelled  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  ----------------------------  --------  ----  ---------  --------  ------  -----
    main   subject  react     general        2       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     0          1         2     120  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    run small-[RUN]

    stopping: sandboxes are removed; the same command continues the run. Once more to stop at once.
    results: results/small-[RUN]
      results/small-[RUN]/trials.csv
      results/small-[RUN]/report.json
      results/small-[RUN]/summary.md
    interrupted: the same command continues the run
    ");
    insta::assert_snapshot!(log_of(&context.only_run()).endings(), @r"
    easy/a/react/subject/0: scored 1
    easy/b/react/subject/0: cancelled by Operator
    ");
    insta::assert_snapshot!(context.run("status").text, @r"
    exit code: 0
    --- stdout
    run small-[RUN] of suite `small`: interrupted; the same command continues it
      1 of 2 trials are done, 0 run now
      120 tokens, cost $0.00
      began [TIME] ([TIME] ago); no event for [TIME]
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  cancelled  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  ----------------------------  --------  ----  ---------  --------  ------  -----
    main   subject  react     general        2       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     0          1         2     120  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    ");
    Suite::default().write(&context);
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r"
    exit code: 0
    --- stdout
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]        unscored  void  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  -------------------------  --------  ----  --------  ------  -----
    main   subject  react     general        2       2        1  1/2 = 50.0% [9.5%, 90.5%]         0     0         3     360  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    continuing run small-[RUN]: 1 of 2 trials are done
    results: results/small-[RUN]
      results/small-[RUN]/trials.csv
      results/small-[RUN]/report.json
      results/small-[RUN]/summary.md
    ");
    let log = log_of(&context.only_run());
    log.assert_sound();
    insta::assert_snapshot!(log.endings(), @r"
    easy/a/react/subject/0: scored 1
    easy/b/react/subject/0: cancelled by Operator; scored 0
    ");
}

#[test]
fn a_terminate_signal_is_an_interrupt() {
    let context = hanging();
    let child = begin(&context);
    signal(&child, Signal::TERM);
    context.end(child).expect(130);
}

/// The second interrupt does not wait for the teardown of sandboxes. Without one, teardown takes no time: the second
/// signal may come too late, and the exit code is the same.
#[test]
fn two_interrupts_stop_at_once() {
    let context = hanging();
    let child = begin(&context);
    signal(&child, Signal::INT);
    signal(&child, Signal::INT);
    context.end(child).expect(130);
    Suite::default().write(&context);
    context.run("run suite.yaml").expect(0);
    log_of(&context.only_run()).assert_sound();
}

#[test]
fn a_second_run_on_the_folder_is_refused_and_told_by_whom() {
    let context = hanging();
    let child = begin(&context);
    let second = context.run("run suite.yaml").expect(1);
    let (pid, run) = (child.id(), context.run_name());
    assert!(
        second.stderr.contains(&format!("process {pid} ")),
        "{}",
        second.stderr
    );
    assert!(
        second.stderr.contains(&format!("on run {run},")),
        "{}",
        second.stderr
    );
    insta::assert_snapshot!(second.text, @r"
    exit code: 1
    --- stderr
    error: results/.lock is in use by process [PID] (`harness run` on run small-[RUN], since [TIME]), wait for it or use another results folder
    ");
    let rescored = context.run(&format!("rescore {run}")).expect(1);
    assert!(
        rescored.stderr.contains(&format!("process {pid} ")),
        "{}",
        rescored.stderr
    );
    // Looking is allowed, also often.
    insta::assert_snapshot!(context.run("status").text, @r"
    exit code: 0
    --- stdout
    run small-[RUN] of suite `small`: going on in process [PID]
      1 of 2 trials are done, 1 run now
      120 tokens, cost $0.00
      began [TIME] ([TIME] ago); no event for [TIME]
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  open  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  ----------------------------  --------  ----  ----  --------  ------  -----
    main   subject  react     general        2       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     0     1         1     120  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    ");
    insta::assert_snapshot!(context.run("list").text, @r"
    exit code: 0
    --- stdout
    run                           suite  trials  success/scored  void  unscored  state
    small-[RUN]  small  2       1/1             0     0         going on in process [PID]
    ");
    context.good(&format!("report {run}"));
    context.good(&format!("transcript {run} easy/a"));
    insta::assert_snapshot!(context.run(&format!("transcript {run} easy/b")).text, @r"exit code: 0");
    signal(&child, Signal::INT);
    context.end(child).expect(130);
}

/// Watching a folder must never make a run there fail, however often.
#[test]
fn a_run_starts_while_others_look() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    Suite::default().write(&context);
    context.run("run suite.yaml").expect(0);
    let lookers: Vec<Child> = (0..2)
        .map(|_| {
            let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do \"$harness\" status > /dev/null || exit 1; done";
            context.shell(script).spawn().unwrap()
        })
        .collect();
    for _ in 0..10 {
        context.run("run suite.yaml --new").expect(0);
    }
    for mut looker in lookers {
        assert_eq!(looker.wait().unwrap().code(), Some(0));
    }
}
