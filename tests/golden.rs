//! Runs that earlier versions wrote are read today: the same rows, the same numbers, the same transcripts.
//!
//! `fixtures/logs/vN` holds a run in version N of the logs, with an ending of every kind, an interruption, and a score
//! that was made again. A new version of the logs gets a folder of its own; the old ones stay as they are.

use std::fs;
use std::path::Path;

use pretty_assertions::assert_eq;

use crate::util::{Context, log_of};

const DERIVED: [&str; 3] = ["trials.csv", "report.json", "summary.md"];

fn fixture() -> &'static Path {
    Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/logs/v1/golden"
    ))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// A results folder with the run, less what is derived.
fn context() -> Context {
    let context = Context::new();
    let run = context.path("results/golden");
    copy(fixture(), &run);
    for name in DERIVED {
        fs::remove_file(run.join(name)).unwrap();
    }
    context
}

#[test]
fn a_log_of_version_1_is_read() {
    let log = log_of(fixture());
    log.assert_sound();
    insta::assert_snapshot!(log.endings(), @r"
    easy/right/react/subject/0: scored 1
    hard/judged/react/subject/0: scored 0.7
    easy/wrong/react/subject/0: scored 0
    hard/unscored/react/subject/0: scored 0.3
    easy/retried/react/subject/0: void in solve, malformed of the provider; scored 1
    easy/void/react/subject/0: void in solve, content_policy of the provider
    easy/refused/react/subject/0: refused 0
    easy/limit/react/subject/0: limit_reached 0 (Turns)
    easy/stopped/react/subject/0: cancelled by Operator; scored 1
    ");
}

#[test]
fn reports_of_a_run_of_version_1_are_the_same() {
    let context = context();
    insta::assert_snapshot!(context.run("list").text, @r"
    exit code: 0
    --- stdout
    run                            suite   trials  success/scored  void  unscored  state
    golden-[RUN]  golden  9       4/8             1     0         ended (complete)
    ");
    insta::assert_snapshot!(context.run("status golden").text, @r"
    exit code: 0
    --- stdout
    run golden-[RUN] of suite `golden`: ended (complete)
      9 of 9 trials are done, 0 run now
      1670 tokens, cost <$0.01
      began [TIME] ([TIME] ago); no event for [TIME]
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]         unscored  void  at limit  refused  attempts  tokens    cost
    -----  -------  --------  -------  -------  ------  -------  --------------------------  --------  ----  --------  -------  --------  ------  ------
    main   subject  react     cyber          2       2        1  1/2 = 50.0% [9.5%, 90.5%]          0     0         0        0         2     350  <$0.01
    main   subject  react     general        7       6        3  3/6 = 50.0% [18.8%, 81.2%]         0     1         1        1         9   1,320  <$0.01
    -----  -------  --------  -------  -------  ------  -------  --------------------------  --------  ----  --------  -------  --------  ------  ------
    all                                      9       8        4  4/8 = 50.0% [21.5%, 78.5%]         0     1         1        1        11   1,670  <$0.01
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 9, tasks: 2), so the intervals are too narrow
    ");
    context.good("report golden");
    for name in DERIVED {
        let expected = fs::read_to_string(fixture().join(name)).unwrap();
        assert_eq!(
            context.read(&format!("results/golden/{name}")),
            expected,
            "{name}"
        );
    }
}

#[test]
fn transcripts_of_a_run_of_version_1_are_shown() {
    let context = context();
    insta::assert_snapshot!(context.run("transcript golden easy/wrong").text, @r#"
    exit code: 0
    --- stdout
    #[N] [TIME]  attempt easy/wrong/react/subject/0:1 (task version 3, model scripted/model.yaml)
    #[N] [TIME]  == solve ==
    #[N] [TIME]  system
          | You work on one task, alone and from start to finish. The next message states the task.
          | 
          | How this works
          | - You act by calling tools. Call a tool, read what it returns, decide what to do next, and go on until the task is done.
          | - You can't ask a person: nobody will answer during the task, so don't put questions or wait for permission. Where the task leaves something open, choose the most sensible reading and carry on.
          | - What counts is what you submit and, where the task asks for it, what you leave in the files it names.
          | - When you have finished, call the tool `submit` with your answer, in exactly the form the task asks for and with nothing added. You can submit once; that ends the task.
          | 
          | Your tools
          | - submit: Hand in your answer and end the task. This can be done once.
          | 
          | What you can and can't rely on
          | - Any machine you are given is an isolated sandbox made for this task. You may change anything in it that the task doesn't forbid. Unless the task says otherwise, there is no internet and noth
          | [... 42 bytes cut ...]
          | mand runs without a person at the keyboard: don't start editors or anything else that waits for input, and put long-running programs in the background.
          | - One tool call may take 2m; after that it is stopped.
          | - At most 16KiB of a tool's output is shown to you; the rest is cut. Ask for the part you need.
          | 
          | Your limits for the whole task
          | - 3 turns; each of your messages is one turn.
          | - 30m of working time.
          | - If a limit is reached before you submit, what you have done up to then may be all that is judged. Submit in time; a considered guess is better than nothing.
          | 
          | Good practice
          | - Look before you act: read the files and messages that are there rather than guess what they hold.
          | - When something fails, read the error, find its cause, and try another way. Don't repeat a step that has just failed unchanged.
          | - Before you submit, check your result against every requirement of the task. Don't claim that you checked something if you did not.
          | - Don't give up while there are turns left and ways untried.
    #[N] [TIME]  user
          | Which colour has grass? Submit its name.
    #[N] [TIME]  turn 0: model called with 2 messages
    #[N] [TIME]  model (EndTurn, 100 in, 20 out, [TIME])
          | (reasoning) Plants are plants.
          | Grass is a plant. \u{1b}[31m
    #[N] [TIME]  user
          | Your message had no tool call, so nothing happened. Nobody will answer it. Go on with the task by calling a tool; if you have finished, call `submit` with your answer. This was turn 1; you have 2 left.
    #[N] [TIME]  turn 1: model called with 4 messages
    #[N] [TIME]  model (ToolCalls, 100 in, 20 out, [TIME])
          | -> paint {"colour":"blue"}
    #[N] [TIME]  malformed call of paint
          | there is no tool `paint`; the tools are: submit
    #[N] [TIME]  to the model, about paint
          | The call of the tool `paint` did not work: there is no tool `paint`; the tools are: submit
          | Correct the call, or do it another way.
    #[N] [TIME]  turn 2: model called with 6 messages
    #[N] [TIME]  model (ToolCalls, 100 in, 20 out, [TIME])
          | -> submit {"answer":"purple"}
    #[N] [TIME]  submitted
          | purple
    #[N] [TIME]  == score ==
    #[N] [TIME]  scorer answer: 0.0000 (failure, threshold 1): wrong: "purple"
    #[N] [TIME]  ended: scored: 0.0000 (failure, threshold 1): wrong: "purple"
    "#);
}

#[test]
fn transcripts_of_failed_and_judged_attempts_of_version_1_are_shown() {
    let context = context();
    insta::assert_snapshot!(context.run("transcript golden easy/retried/react/subject/0:1").text, @r"
    exit code: 0
    --- stdout
    #[N] [TIME]  attempt easy/retried/react/subject/0:1 (task version 3, model scripted/model.yaml)
    #[N] [TIME]  == solve ==
    #[N] [TIME]  system
          | You work on one task, alone and from start to finish. The next message states the task.
          | 
          | How this works
          | - You act by calling tools. Call a tool, read what it returns, decide what to do next, and go on until the task is done.
          | - You can't ask a person: nobody will answer during the task, so don't put questions or wait for permission. Where the task leaves something open, choose the most sensible reading and carry on.
          | - What counts is what you submit and, where the task asks for it, what you leave in the files it names.
          | - When you have finished, call the tool `submit` with your answer, in exactly the form the task asks for and with nothing added. You can submit once; that ends the task.
          | 
          | Your tools
          | - submit: Hand in your answer and end the task. This can be done once.
          | 
          | What you can and can't rely on
          | - Any machine you are given is an isolated sandbox made for this task. You may change anything in it that the task doesn't forbid. Unless the task says otherwise, there is no internet and noth
          | [... 42 bytes cut ...]
          | mand runs without a person at the keyboard: don't start editors or anything else that waits for input, and put long-running programs in the background.
          | - One tool call may take 2m; after that it is stopped.
          | - At most 16KiB of a tool's output is shown to you; the rest is cut. Ask for the part you need.
          | 
          | Your limits for the whole task
          | - 3 turns; each of your messages is one turn.
          | - 30m of working time.
          | - If a limit is reached before you submit, what you have done up to then may be all that is judged. Submit in time; a considered guess is better than nothing.
          | 
          | Good practice
          | - Look before you act: read the files and messages that are there rather than guess what they hold.
          | - When something fails, read the error, find its cause, and try another way. Don't repeat a step that has just failed unchanged.
          | - Before you submit, check your result against every requirement of the task. Don't claim that you checked something if you did not.
          | - Don't give up while there are turns left and ways untried.
    #[N] [TIME]  user
          | Which colour has the sea? Submit its name.
    #[N] [TIME]  turn 0: model called with 2 messages
    #[N] [TIME]  model failed: malformed answer: scripted fault; then GiveUp
    #[N] [TIME]  ended: void in solve (provider, malformed): malformed answer: scripted fault
    ");
    insta::assert_snapshot!(context.run("transcript golden hard/unscored").text, @r#"
    exit code: 0
    --- stdout
    #[N] [TIME]  attempt hard/unscored/react/subject/0:1 (task version 1, model scripted/model.yaml)
    #[N] [TIME]  == solve ==
    #[N] [TIME]  system
          | You work on one task, alone and from start to finish. The next message states the task.
          | 
          | How this works
          | - You act by calling tools. Call a tool, read what it returns, decide what to do next, and go on until the task is done.
          | - You can't ask a person: nobody will answer during the task, so don't put questions or wait for permission. Where the task leaves something open, choose the most sensible reading and carry on.
          | - What counts is what you submit and, where the task asks for it, what you leave in the files it names.
          | - When you have finished, call the tool `submit` with your answer, in exactly the form the task asks for and with nothing added. You can submit once; that ends the task.
          | 
          | Your tools
          | - submit: Hand in your answer and end the task. This can be done once.
          | 
          | What you can and can't rely on
          | - Any machine you are given is an isolated sandbox made for this task. You may change anything in it that the task doesn't forbid. Unless the task says otherwise, there is no internet and noth
          | [... 42 bytes cut ...]
          | mand runs without a person at the keyboard: don't start editors or anything else that waits for input, and put long-running programs in the background.
          | - One tool call may take 2m; after that it is stopped.
          | - At most 16KiB of a tool's output is shown to you; the rest is cut. Ask for the part you need.
          | 
          | Your limits for the whole task
          | - 3 turns; each of your messages is one turn.
          | - 30m of working time.
          | - If a limit is reached before you submit, what you have done up to then may be all that is judged. Submit in time; a considered guess is better than nothing.
          | 
          | Good practice
          | - Look before you act: read the files and messages that are there rather than guess what they hold.
          | - When something fails, read the error, find its cause, and try another way. Don't repeat a step that has just failed unchanged.
          | - Before you submit, check your result against every requirement of the task. Don't claim that you checked something if you did not.
          | - Don't give up while there are turns left and ways untried.
    #[N] [TIME]  user
          | Which colour is best? Submit its name.
    #[N] [TIME]  turn 0: model called with 2 messages
    #[N] [TIME]  model (ToolCalls, 100 in, 20 out, [TIME])
          | -> submit {"answer":"blue"}
    #[N] [TIME]  submitted
          | blue
    #[N] [TIME]  == score ==
    #[N] [TIME]  scorer judge: no score (no_verdict): there is no JSON object; the judge answered "I can not say."
    #[N] [TIME]  ended: scored: no score (no_verdict): there is no JSON object; the judge answered "I can not say."
    "#);
}
