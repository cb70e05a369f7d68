//! A process that dies at any moment of a run in containers loses no ending, doubles none, and leaves nothing behind.

use std::time::{Duration, Instant};

use pretty_assertions::assert_eq;
use rustix::process::Signal;

use crate::util::{Context, Daemon, Dice, Suite, busybox_task, daemon, log_of, name_of, signal, until};

const KILLS: u64 = 50;
const TRIALS: u64 = 200;

/// A run of 200 trials, each with a container, a command in it and a submission.
fn two_hundred(daemon: &Daemon) -> Context {
    prepared(daemon, TRIALS)
}

fn prepared(daemon: &Daemon, trials: u64) -> Context {
    let context = Context::with(daemon);
    let task = busybox_task(
        "boxed",
        "",
        "score: {answer: {match: exact}}\noracle: {submit: done}\n",
    );
    context.write("tasks/boxed/task.yaml", &task);
    Suite {
        id: "killed",
        more: &format!("epochs: {trials}\nconcurrency: {{trials: 4, sandboxes: 4}}\n"),
        scripts: "  - turns:\n      - tools: [{name: bash, arguments: {command: echo all is well}}]\n      - first:\n          - {seen: all is well, tools: [{name: submit, arguments: {answer: done}}]}\n          - {tools: [{name: submit, arguments: {answer: broken}}]}\n",
        ..Suite::default()
    }
    .write(&context);
    context
}

/// Returns how many endings the newest run has.
fn endings(context: &Context) -> u64 {
    let log = context.runs().pop().map(|run| run.join("run.jsonl"));
    let text = log.and_then(|log| std::fs::read(log).ok()).unwrap_or_default();
    let settled = b"\"then\":{\"kind\":\"settled\"}";
    text.windows(settled.len()).filter(|part| part == settled).count() as u64
}

#[test]
fn killed_fifty_times_a_run_comes_to_its_end() {
    let Some(daemon) = daemon() else { return };
    let context = two_hundred(&daemon);
    let mut dice = Dice(50);
    let began = Instant::now();
    for kill in 0..KILLS {
        // Every fifth kill comes while the process begins; the others are spread over the trials of the run.
        let quota = if kill % 5 == 4 {
            0
        } else {
            kill * (TRIALS - 12) / KILLS
        };
        let mut child = context
            .command(["run", "suite.yaml"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("enough trials ended", || {
            (endings(&context) >= quota).then_some(())
        });
        std::thread::sleep(Duration::from_millis(dice.below(500)));
        assert_eq!(
            child.try_wait().unwrap(),
            None,
            "the run ended before kill {kill}"
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let settled = endings(&context);
    context.run("run suite.yaml").expect(0);
    eprintln!(
        "{KILLS} kills, {settled} of {TRIALS} trials before the last process, {:?}",
        began.elapsed()
    );
    let runs = context.runs();
    let log = log_of(runs.last().unwrap());
    log.assert_sound();
    let counts = log.view.counts(log.plan.trials.iter().map(|trial| &trial.id));
    assert_eq!((counts.trials, counts.success), (TRIALS, TRIALS));
    for run in runs {
        assert_eq!(daemon.leftovers(&name_of(&run)), (0, 0, 0));
    }
}

#[test]
fn an_interrupted_run_leaves_no_sandbox() {
    let Some(daemon) = daemon() else { return };
    let context = prepared(&daemon, 40);
    let child = context.start("run suite.yaml");
    let run = until("a run began", || context.runs().pop());
    let run = name_of(&run);
    until("sandboxes run", || (daemon.leftovers(&run).0 >= 2).then_some(()));
    signal(&child, Signal::INT);
    context.end(child).expect(130);
    assert_eq!(daemon.leftovers(&run), (0, 0, 0));
    // Twice: at once, and what is left is removed when the run is continued.
    let child = context.start("run suite.yaml");
    until("sandboxes run", || (daemon.leftovers(&run).0 >= 2).then_some(()));
    signal(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(20));
    signal(&child, Signal::INT);
    context.end(child).expect(130);
    context.run("run suite.yaml").expect(0);
    log_of(&context.only_run()).assert_sound();
    assert_eq!(daemon.leftovers(&run), (0, 0, 0));
}

#[test]
fn gc_removes_what_a_killed_run_left() {
    let Some(daemon) = daemon() else { return };
    let context = two_hundred(&daemon);
    let mut child = context.start("run suite.yaml");
    let run = until("a run began", || context.runs().pop());
    let run = name_of(&run);
    until("sandboxes run", || (daemon.leftovers(&run).0 >= 2).then_some(()));
    // A run that goes on keeps its sandboxes.
    context.run("gc").expect(0);
    let before = endings(&context);
    until("four more trials ended", || {
        (endings(&context) >= before + 4).then_some(())
    });
    let log = std::fs::read_to_string(context.only_run().join("run.jsonl")).unwrap();
    assert!(!log.contains("\"kind\":\"void\""), "{log}");
    child.kill().unwrap();
    child.wait().unwrap();
    let listed = context.good("gc --dry-run");
    assert!(listed.lines().any(|line| line.contains(&run)), "{listed}");
    // The daemon may still be making what the dead process asked for.
    until("everything is removed", || {
        context.run("gc").expect(0);
        (daemon.leftovers(&run) == (0, 0, 0)).then_some(())
    });
}
