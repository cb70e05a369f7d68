//! A process that dies at any moment loses no ending and doubles none.

use std::time::Duration;

use pretty_assertions::assert_eq;

use crate::util::{Context, Dice, EASY, Suite, log_of};

const KILLS: u32 = 30;

#[test]
fn killed_thirty_times_a_run_comes_to_its_end() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    Suite {
        more: "epochs: 100\nconcurrency: {trials: 4}\n",
        scripts: "  - turns:\n      - {text: Let me think., delay: 50ms}\n      - {tools: [{name: submit, arguments: {answer: blue}}], delay: 50ms}\n",
        ..Suite::default()
    }
    .write(&context);
    let mut dice = Dice(20);
    let mut kills = 0;
    for _ in 0..KILLS {
        let mut child = context.start("run suite.yaml");
        std::thread::sleep(Duration::from_millis(dice.below(200)));
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(kills, KILLS, "the run was over too soon");
    context.run("run suite.yaml").expect(0);
    // A kill may have come before a run had its folder or its plan; the trials are in one run nevertheless.
    let log = log_of(context.runs().last().unwrap());
    log.assert_sound();
    let counts = log.view.counts(log.plan.trials.iter().map(|trial| &trial.id));
    assert_eq!((counts.trials, counts.success, counts.failure), (200, 100, 100));
    let rows = std::fs::read_to_string(log.dir.path().join("trials.csv")).unwrap();
    assert_eq!(rows.lines().count(), 201);
}
