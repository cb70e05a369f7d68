//! Bad input and places that can't be written: what the program says, and its exit code.

use std::fs;

use pretty_assertions::assert_eq;

use crate::util::{Context, EASY, Suite, log_of};

#[test]
fn problems_of_several_files_are_told_at_once() {
    let context = Context::new();
    let bad = EASY.replace("limits: {turns: 5}", "limits: {turns: 5, working: 20 minuts}");
    context.write("tasks/easy/task.yaml", &bad.replace("score:", "scores:"));
    context.write(
        "tasks/other/task.yaml",
        &EASY
            .replace("id: easy", "id: other")
            .replace("{{ sample.vars.thing }}", "{{ sample.vars.thong }}"),
    );
    context.write(
        "scaffolds/mine/scaffold.yaml",
        "harness: 1\nid: mine\nkind: raect\n",
    );
    Suite {
        scaffold: "mine",
        ..Suite::default()
    }
    .write(&context);
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r#"
    exit code: 2
    --- stderr
    error: missing key `score`
      --> tasks/easy/task.yaml:1:1
       |
     1 | harness: 1
       | ^^^^^^^

    error: unknown unit "minuts", expected one of ms, s, m, h, d
      --> tasks/easy/task.yaml:14:29
        |
     14 | limits: {turns: 5, working: 20 minuts}
        |                             ^^^^^^^^^

    error: unknown key `scores`
      --> tasks/easy/task.yaml:15:1
        |
     15 | scores: {answer: {match: exact}}
        | ^^^^^^
      hint: did you mean `score`?

    error: instructions: `sample.vars.thong` is undefined
      --> tasks/other/task.yaml:9:35
       |
     9 | instructions: Which colour has {{ sample.vars.thong }}? Submit its name.
       |                                   ^^^^^^^^^^^^^^^^^
      hint: did you mean `sample.vars.thing`?

    error: unknown value `raect`
      --> [DIR]/scaffolds/mine/scaffold.yaml:3:7
       |
     3 | kind: raect
       |       ^^^^^
      hint: did you mean `react`?
    error: 5 problems in the input; nothing was run
    "#);
    Suite {
        more: "epochs: many\nbudgt: {}\n",
        ..Suite::default()
    }
    .write(&context);
    insta::assert_snapshot!(context.run("check suite.yaml tasks scaffolds").text, @r#"
    exit code: 2
    --- stderr
    error: expected a whole number, found `many`
      --> suite.yaml:7:9
       |
     7 | epochs: many
       |         ^^^^

    error: unknown key `budgt`
      --> suite.yaml:8:1
       |
     8 | budgt: {}
       | ^^^^^
      hint: did you mean `budget`?

    error: missing key `score`
      --> tasks/easy/task.yaml:1:1
       |
     1 | harness: 1
       | ^^^^^^^

    error: unknown unit "minuts", expected one of ms, s, m, h, d
      --> tasks/easy/task.yaml:14:29
        |
     14 | limits: {turns: 5, working: 20 minuts}
        |                             ^^^^^^^^^

    error: unknown key `scores`
      --> tasks/easy/task.yaml:15:1
        |
     15 | scores: {answer: {match: exact}}
        | ^^^^^^
      hint: did you mean `score`?

    error: instructions: `sample.vars.thong` is undefined
      --> tasks/other/task.yaml:9:35
       |
     9 | instructions: Which colour has {{ sample.vars.thong }}? Submit its name.
       |                                   ^^^^^^^^^^^^^^^^^
      hint: did you mean `sample.vars.thing`?

    error: unknown value `raect`
      --> scaffolds/mine/scaffold.yaml:3:7
       |
     3 | kind: raect
       |       ^^^^^
      hint: did you mean `react`?
    "#);
    assert!(!context.path("results").exists());
}

#[test]
fn check_tells_problems_as_json() {
    let context = Context::new();
    context.write(
        "tasks/easy/task.yaml",
        &EASY.replace("version: 3", "version: three"),
    );
    let shot = context.run("check tasks --json").expect(2);
    let told: serde_json::Value = serde_json::from_str(&shot.stdout).unwrap();
    insta::assert_snapshot!(context.filtered(&format!("{told:#}")), @r#"
    {
      "severity": "error",
      "file": "tasks/easy/task.yaml",
      "line": 3,
      "column": 10,
      "message": "expected a whole number, found `three`",
      "hint": null
    }
    "#);
}

#[test]
fn things_that_are_not_there_are_named() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    insta::assert_snapshot!(context.run("run nothing.yaml").text, @r"
    exit code: 2
    --- stderr
    error: failed to read nothing.yaml: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(context.run("run tasks/easy --scaffold raect").text, @r"
    exit code: 2
    --- stderr
    error: there is no scaffold `raect`
      hint: did you mean `react`?
    ");
    insta::assert_snapshot!(context.run("run tasks/easy --model scripted/none.yaml").text, @r"
    exit code: 2
    --- stderr
    error: failed to read the scripted model none.yaml: No such file or directory (os error 2)
      hint: a scripted model is named scripted/FILE, relative to the suite's folder
    ");
    insta::assert_snapshot!(context.run("run tasks/easy --model gpt").text, @r"
    exit code: 2
    --- stderr
    error: --model gpt: `gpt` is not `provider/name`
      hint: write `PROVIDER/NAME`, with a provider of openai, anthropic, google, compat, torch, scripted, replay
    ");
    insta::assert_snapshot!(context.run("run tasks/easy").text, @r"
    exit code: 2
    --- stderr
    error: models: there is no model to evaluate
      hint: give one with --model or in the suite
    error: 1 problem in the plan; nothing was run
    ");
    insta::assert_snapshot!(context.run("check nothing").text, @r"
    exit code: 2
    --- stderr
    error: failed to read nothing: No such file or directory (os error 2)
    ");
    assert_eq!(context.runs(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_scripted_model_with_problems_is_bad_input() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    Suite {
        scripts: "  - turns: [{txt: hello}]\n",
        ..Suite::default()
    }
    .write(&context);
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r"
    exit code: 2
    --- stderr
    error: the scripted model has 2 problem(s)
    ./model.yaml:4:13: a turn needs `text`, `tools`, `first`, `hang`, or a `fault` without `times`
    ./model.yaml:4:14: unknown key `txt` in a turn, expected one of `text`, `reasoning`, `tools`, `delay`, `stop`, `usage`, `repeat`, `fault`, `hang`, `first`
    ");
}

#[test]
fn a_key_that_is_not_there_is_told_before_anything_runs() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    context.write(
        "suite.yaml",
        "harness: 1\nid: small\nmodels: [{id: subject, use: compat/m, base_url: \"http://127.0.0.1:9/v1\", key_env: NO_SUCH_KEY}]\nscaffolds: [react]\ntasks: [tasks/*]\n",
    );
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r"
    exit code: 2
    --- stderr
    error: model `subject`: the environment variable NO_SUCH_KEY is not set
      hint: export NO_SUCH_KEY=..., or use key_file
    ");
    assert_eq!(context.runs(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_file_where_the_results_folder_should_be() {
    let context = Context::new();
    context
        .write("tasks/easy/task.yaml", EASY)
        .write("results", "not a folder");
    Suite::default().write(&context);
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r"
    exit code: 3
    --- stderr
    error: failed to lock results/.lock: File exists (os error 17)
    ");
    assert_eq!(context.read("results"), "not a folder");
}

/// A full disk, as a limit on the size of files: writes fail in the middle of a run. What was logged before stays,
/// and the same command continues once there is room.
#[test]
fn a_full_disk_loses_nothing() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    Suite {
        more: "epochs: 50\nconcurrency: {trials: 4}\n",
        ..Suite::default()
    }
    .write(&context);
    // Writes beyond the limit fail with "file too large" instead of a signal, as they fail with "no space left".
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$harness\" run suite.yaml";
    let full = context.shot(context.shell(script).output().unwrap());
    insta::assert_snapshot!(full.text, @r"
    exit code: 3
    --- stderr
    run small-[RUN]
    error: failed to write results/small-[RUN]/run.jsonl: File too large (os error 27)
      hint: free some space or choose another folder with --results; the same command then continues the run
    ");
    let folder = context.only_run();
    let before = fs::read_to_string(folder.join("run.jsonl")).unwrap();
    let ended = before.matches("attempt_ended").count();
    assert!(ended > 0, "{before}");
    context.run("run suite.yaml").expect(0);
    let log = log_of(&folder);
    log.assert_sound();
    assert_eq!((context.runs().len(), log.plan.trials.len()), (1, 100));
    let whole: String = before
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .collect();
    assert!(
        fs::read_to_string(folder.join("run.jsonl"))
            .unwrap()
            .starts_with(&whole)
    );
}

#[test]
fn too_many_void_trials() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    Suite {
        more: "retry: {void: 1, same_error: 1}\n",
        scripts: "  - when: {sample: a}\n    turns: [{text: no, fault: {kind: content_policy}}]\n  - turns: [{tools: [{name: submit, arguments: {answer: green}}]}]\n",
        ..Suite::default()
    }
    .write(&context);
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r"
    exit code: 50
    --- stdout
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    main   subject  react     general        2       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     1         2     120  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    run small-[RUN]
    results: results/small-[RUN]
      results/small-[RUN]/trials.csv
      results/small-[RUN]/report.json
      results/small-[RUN]/summary.md
    1 of 2 trials are void: too many for the result to be trusted (from 0.2 on)
    ");
    insta::assert_snapshot!(log_of(&context.only_run()).endings(), @r"
    easy/a/react/subject/0: void in solve, content_policy of the provider
    easy/b/react/subject/0: scored 1
    ");
}

#[test]
fn a_wrong_key_halts_the_run_and_the_same_command_continues_it() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", EASY);
    let broken = "  - turns: [{text: no, fault: {kind: authentication}}]\n";
    Suite {
        scripts: broken,
        ..Suite::default()
    }
    .write(&context);
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r"
    exit code: 1
    --- stdout
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]  unscored  void  open  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  -------------------  --------  ----  ----  --------  ------  -----
    main   subject  react     general        2       0        0  n/a (0 scored)              0     0     2         2       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    run small-[RUN]
    results: results/small-[RUN]
      results/small-[RUN]/trials.csv
      results/small-[RUN]/report.json
      results/small-[RUN]/summary.md
    error: the run was halted, since trial after trial met the same error: authentication failed: scripted fault
      hint: repair the cause; the same command then continues the run
    ");
    Suite::default().write(&context);
    insta::assert_snapshot!(context.run("run suite.yaml").text, @r"
    exit code: 0
    --- stdout
    phase  model    scaffold  domain   planned  scored  success  rate [95% interval]        unscored  void  attempts  tokens   cost
    -----  -------  --------  -------  -------  ------  -------  -------------------------  --------  ----  --------  ------  -----
    main   subject  react     general        2       2        1  1/2 = 50.0% [9.5%, 90.5%]         0     0         4     480  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    continuing run small-[RUN]: 0 of 2 trials are done
    results: results/small-[RUN]
      results/small-[RUN]/trials.csv
      results/small-[RUN]/report.json
      results/small-[RUN]/summary.md
    ");
    log_of(&context.only_run()).assert_sound();
}

#[test]
fn no_docker_daemon() {
    let context = Context::new().env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let task = crate::util::busybox_task(
        "boxed",
        "",
        "score: {answer: {match: exact}}\noracle: {submit: done}\n",
    );
    context.write("tasks/boxed/task.yaml", &task);
    insta::assert_snapshot!(context.run("run tasks/boxed --scaffold oracle").text, @r"
    exit code: 1
    --- stderr
    run boxed-[RUN]
    error: no sandbox can be started: no Docker daemon answers at /nonexistent/docker.sock: no socket at /nonexistent/docker.sock (while trying to connect)
      hint: start the Docker daemon (on Debian: `systemctl start docker`), or set DOCKER_HOST to its socket
    ");
    insta::assert_snapshot!(context.run("gc").text, @r"
    exit code: 1
    --- stderr
    error: no sandbox can be started: no Docker daemon answers at /nonexistent/docker.sock: no socket at /nonexistent/docker.sock (while trying to connect)
      hint: start the Docker daemon (on Debian: `systemctl start docker`), or set DOCKER_HOST to its socket
    ");
    insta::assert_snapshot!(context.run("images").text, @r"
    exit code: 1
    --- stderr
    error: no sandbox can be started: no Docker daemon answers at /nonexistent/docker.sock: no socket at /nonexistent/docker.sock (while trying to connect)
      hint: start the Docker daemon (on Debian: `systemctl start docker`), or set DOCKER_HOST to its socket
    ");
    insta::assert_snapshot!(context.run("check tasks --sandbox").text, @r"
    exit code: 1
    --- stderr
    1 file(s) checked, 0 warning(s)
    run boxed-[RUN]
    error: no sandbox can be started: no Docker daemon answers at /nonexistent/docker.sock: no socket at /nonexistent/docker.sock (while trying to connect)
      hint: start the Docker daemon (on Debian: `systemctl start docker`), or set DOCKER_HOST to its socket
    ");
}

#[test]
fn an_open_network_needs_a_flag() {
    let context = Context::new();
    let score = "score: {answer: {match: exact}}\noracle: {submit: done}\n";
    let open = crate::util::busybox_task("open", "  network: open\n", score);
    context.write("tasks/open/task.yaml", &open);
    let refused = context
        .run("run tasks/open --scaffold oracle --dry-run")
        .expect(2);
    insta::assert_snapshot!(refused.text, @r"
    exit code: 2
    --- stderr
    error: task `open`: `network: open` lets the sandbox reach everything, and `--allow-open-network` was not given
      hint: list what it needs with `network: {allow: [host:port]}`, or give --allow-open-network
    error: 1 problem in the plan; nothing was run
    ");
    assert_eq!(
        context.run("check --sandbox tasks/open").text.lines().last(),
        refused.text.lines().last()
    );
    let planned = context.good("run tasks/open --scaffold oracle --dry-run --allow-open-network");
    assert!(planned.contains("network (sandbox.network)"), "{planned}");
}

#[test]
fn a_runtime_for_all_changes_the_plan() {
    let context = Context::new();
    let score = "score: {answer: {match: exact}}\noracle: {submit: done}\n";
    context.write(
        "tasks/boxed/task.yaml",
        &crate::util::busybox_task("boxed", "", score),
    );
    let planned =
        |runtime: &str| context.good(&format!("run tasks/boxed --scaffold oracle --dry-run {runtime}"));
    let id = |text: &str| text.split_once(':').unwrap().0.to_owned();
    let ids = ["", "--runtime runc", "--runtime runsc"].map(|runtime| id(&planned(runtime)));
    assert!(
        ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2],
        "{ids:?}"
    );
    assert!(planned("").contains("SL2 (3)") && planned("--runtime runsc").contains("SL1 (2)"));
    context
        .run("run tasks/boxed --scaffold oracle --runtime kata")
        .expect(2);
}

#[test]
fn a_shell_needs_a_terminal_a_run_and_a_trial() {
    let context = Context::new();
    context.write("tasks/easy/task.yaml", crate::util::EASY);
    context.run("run tasks/easy --scaffold oracle").expect(0);
    let run = context.run_name();
    insta::assert_snapshot!(context.run(&format!("shell {run} easy/a")).text, @r"
    exit code: 2
    --- stderr
    error: `harness shell` needs a terminal
      hint: give a command with --command 'ls -l' to run without one
    ");
    insta::assert_snapshot!(context.run(&format!("shell {run} easy --fresh --command true")).text, @r"
    exit code: 2
    --- stderr
    error: 2 trials fit `easy`: easy/a/oracle/none/0, easy/b/oracle/none/0, ...
      hint: write more of the name
    ");
    insta::assert_snapshot!(context.run(&format!("shell {run} easy/a --fresh --command true")).text, @r"
    exit code: 2
    --- stderr
    error: the task of easy/a/oracle/none/0 has no sandbox
    ");
}
