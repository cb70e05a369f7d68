//! Tasks in real containers, well and badly behaved.

use harness_core::event::AttemptEvent;
use pretty_assertions::assert_eq;

use crate::util::{Context, Suite, busybox_task, daemon, log_of};

/// A task that is solved by a file in the container.
const FILE_SCORE: &str =
    "score: {command: {run: '[ \"$(cat result)\" = done ]'}}\noracle: {run: solution.sh}\n";

#[test]
fn the_oracle_succeeds_and_doing_nothing_fails() {
    let Some(daemon) = daemon() else { return };
    let context = Context::with(&daemon);
    let sandbox = "  setup: [\"echo secret > /etc/note\", \"chmod 644 /etc/note\"]\n  files: {/home/agent/in.txt: in.txt}\n";
    context
        .write(
            "tasks/boxed/task.yaml",
            &busybox_task("boxed", sandbox, FILE_SCORE),
        )
        .write("tasks/boxed/in.txt", "done\n")
        .write(
            "tasks/boxed/solution.sh",
            "grep -qx secret /etc/note && cat in.txt > result\n",
        );
    insta::assert_snapshot!(context.run("check --sandbox tasks/boxed").text, @r"
    exit code: 0
    --- stdout
    phase  model  scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  attempts  tokens   cost
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    main   none   noop      general        1       1        0  0/1 = 0.0% [0.0%, 79.3%]             0     0         1       0  $0.00
    main   none   oracle    general        1       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     0         1       0  $0.00
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    all                                    2       2        1  1/2 = 50.0% [9.5%, 90.5%]            0     0         2       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    1 file(s) checked, 0 warning(s)
    run boxed-[RUN]
    results: [DIR]/harness-check-[ID]/boxed-[RUN]
      [DIR]/harness-check-[ID]/boxed-[RUN]/trials.csv
      [DIR]/harness-check-[ID]/boxed-[RUN]/report.json
      [DIR]/harness-check-[ID]/boxed-[RUN]/summary.md
    2 of 2 checks passed
    ");
    insta::assert_snapshot!(context.run("run tasks/boxed --scaffold oracle --scaffold noop").text, @r"
    exit code: 0
    --- stdout
    phase  model  scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  attempts  tokens   cost
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    main   none   noop      general        1       1        0  0/1 = 0.0% [0.0%, 79.3%]             0     0         1       0  $0.00
    main   none   oracle    general        1       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     0         1       0  $0.00
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    all                                    2       2        1  1/2 = 50.0% [9.5%, 90.5%]            0     0         2       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    run boxed-[RUN]
    results: results/boxed-[RUN]
      results/boxed-[RUN]/trials.csv
      results/boxed-[RUN]/report.json
      results/boxed-[RUN]/summary.md
    ");
    let log = log_of(&context.only_run());
    log.assert_sound();
    insta::assert_snapshot!(log.endings(), @r"
    boxed/a/oracle/none/0: scored 1
    boxed/a/noop/none/0: scored 0
    ");
    assert_eq!(daemon.leftovers(&context.run_name()), (0, 0, 0));
}

#[test]
fn an_oracle_that_fails_is_found() {
    let Some(daemon) = daemon() else { return };
    let context = Context::with(&daemon);
    context
        .write("tasks/boxed/task.yaml", &busybox_task("boxed", "", FILE_SCORE))
        .write("tasks/boxed/solution.sh", "echo dun > result\n");
    insta::assert_snapshot!(context.run("check --sandbox tasks/boxed").text, @r"
    exit code: 1
    --- stdout
    phase  model  scaffold  domain   planned  scored  success  rate [95% interval]       unscored  void  attempts  tokens   cost
    -----  -----  --------  -------  -------  ------  -------  ------------------------  --------  ----  --------  ------  -----
    main   none   noop      general        1       1        0  0/1 = 0.0% [0.0%, 79.3%]         0     0         1       0  $0.00
    main   none   oracle    general        1       1        0  0/1 = 0.0% [0.0%, 79.3%]         0     0         1       0  $0.00
    -----  -----  --------  -------  -------  ------  -------  ------------------------  --------  ----  --------  ------  -----
    all                                    2       2        0  0/2 = 0.0% [0.0%, 65.8%]         0     0         2       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    1 file(s) checked, 0 warning(s)
    run boxed-[RUN]
    results: [DIR]/harness-check-[ID]/boxed-[RUN]
      [DIR]/harness-check-[ID]/boxed-[RUN]/trials.csv
      [DIR]/harness-check-[ID]/boxed-[RUN]/report.json
      [DIR]/harness-check-[ID]/boxed-[RUN]/summary.md
    error: task `boxed`, sample `a`: the oracle does not succeed (failure: score 0)
    1 of 2 checks passed
    the transcripts are kept in [DIR]/harness-check-[ID]
    ");
}

#[test]
fn a_setup_that_fails_voids_its_trials() {
    let Some(daemon) = daemon() else { return };
    let context = Context::with(&daemon);
    let sandbox = "  setup: [\"echo fine\", \"echo half; echo no such thing >&2; exit 3\"]\n";
    context
        .write(
            "tasks/boxed/task.yaml",
            &busybox_task("boxed", sandbox, FILE_SCORE),
        )
        .write("tasks/boxed/solution.sh", "echo done > result\n");
    insta::assert_snapshot!(context.run("run tasks/boxed --scaffold oracle").text, @r"
    exit code: 50
    --- stdout
    phase  model  scaffold  domain   planned  scored  success  rate [95% interval]  unscored  void  attempts  tokens   cost
    -----  -----  --------  -------  -------  ------  -------  -------------------  --------  ----  --------  ------  -----
    main   none   oracle    general        1       0        0  n/a (0 scored)              0     1         3       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    --- stderr
    run boxed-[RUN]
    results: results/boxed-[RUN]
      results/boxed-[RUN]/trials.csv
      results/boxed-[RUN]/report.json
      results/boxed-[RUN]/summary.md
    1 of 1 trials are void: too many for the result to be trusted (from 0.2 on)
    ");
    let log = log_of(&context.only_run());
    log.assert_sound();
    insta::assert_snapshot!(log.endings(), @r"boxed/a/oracle/none/0: void in setup, setup_failed of the task; void in setup, setup_failed of the task; void in setup, setup_failed of the task");
    let args = format!("transcript {} boxed", context.run_name());
    insta::assert_snapshot!(context.run(&args).text, @r"
    exit code: 0
    --- stdout
    #[N] [TIME]  attempt boxed/a/oracle/none/0:3 (task version 1, model none)
    #[N] [TIME]  == setup ==
    #[N] [TIME]  sandbox [ID] from [ID] (runc)
          | the daemon's storage driver has no quota: the disk limit is checked every two seconds and bounds each file
    #[N] [TIME]  setup: echo fine [exit code 0]
          | fine
    #[N] [TIME]  setup: echo half; echo no such thing >&2; exit 3 [exit code 3]
          | half
          | no such thing
    #[N] [TIME]  == teardown ==
    #[N] [TIME]  ended: void in setup (task, setup_failed): the setup command `echo half; echo no such thing >&2; exit 3` ended with exit code 3: half
          | no such thing
          |
    ");
    assert_eq!(daemon.leftovers(&context.run_name()), (0, 0, 0));
}

#[test]
fn an_image_that_is_missing_is_told_before_any_trial() {
    let Some(daemon) = daemon() else { return };
    let context = Context::with(&daemon);
    let task = busybox_task("boxed", "", FILE_SCORE).replace("harness/busybox:1", "127.0.0.1:1/none:1");
    context
        .write("tasks/boxed/task.yaml", &task)
        .write("tasks/boxed/solution.sh", "echo done > result\n");
    insta::assert_snapshot!(context.run("run tasks/boxed --scaffold oracle").text, @r#"
    exit code: 1
    --- stderr
    run boxed-[RUN]
    error: failed to prepare the image of task `boxed`: image `127.0.0.1:1/none:1` is missing: it is not on this machine and pulling it failed (Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused); check the name, or bring it here with `docker load` or `docker pull`
      hint: nothing is lost: the same command continues the run
    "#);
    insta::assert_snapshot!(log_of(&context.only_run()).endings(), @r"boxed/a/oracle/none/0: not tried");
}

/// Runs one command as the model's first tool call, then a second that tells whether the sandbox still works, and
/// returns what the model was shown of both, and the endings.
fn commands(task: &str, first: &str) -> Option<(Vec<String>, String)> {
    let daemon = daemon()?;
    let context = Context::with(&daemon);
    context.write("tasks/boxed/task.yaml", task);
    let quoted = serde_json::to_string(first).unwrap();
    let scripts = format!(
        "  - turns:\n      - tools: [{{name: bash, arguments: {{command: {quoted}}}}}]\n      - tools: [{{name: bash, arguments: {{command: echo still here}}}}]\n      - tools: [{{name: submit, arguments: {{answer: done}}}}]\n"
    );
    Suite {
        scripts: &scripts,
        ..Suite::default()
    }
    .write(&context);
    let shot = context.run("run suite.yaml");
    let log = log_of(&context.only_run());
    log.assert_sound();
    assert_eq!(daemon.leftovers(&context.run_name()), (0, 0, 0));
    let shown = log.events(0).into_iter().filter_map(|event| match event {
        AttemptEvent::ToolReturned { output, .. } => Some(output.text),
        _ => None,
    });
    let shown: Vec<String> = shown.collect();
    eprintln!("{}{shown:#?}", shot.text);
    Some((shown, log.endings()))
}

fn answered(limits: &str) -> String {
    busybox_task(
        "boxed",
        "",
        &format!("limits: {{{limits}}}\nscore: {{answer: {{match: exact}}}}\noracle: {{submit: done}}\n"),
    )
}

#[test]
fn a_flood_of_output_is_cut() {
    let Some((shown, endings)) = commands(
        &answered("tool_time: 2s, tool_output: 1KiB"),
        "yes all work and no play",
    ) else {
        return;
    };
    assert!(shown[0].len() < 2048, "{}", shown[0].len());
    assert!(shown[0].contains("cut"), "{}", shown[0]);
    insta::assert_snapshot!(shown[1..].concat(), @r"still here");
    insta::assert_snapshot!(endings, @r"boxed/a/react/subject/0: scored 1");
}

#[test]
fn a_fork_bomb_is_contained() {
    let Some((shown, endings)) = commands(
        &answered("tool_time: 3s"),
        "bomb() { bomb | bomb & }; bomb; sleep 60",
    ) else {
        return;
    };
    insta::assert_snapshot!(shown[1..].concat(), @r"still here");
    insta::assert_snapshot!(endings, @r"boxed/a/react/subject/0: scored 1");
}

#[test]
fn a_filled_disk_is_contained() {
    let Some((shown, endings)) = commands(
        &answered("tool_time: 20s"),
        "dd if=/dev/zero of=big bs=1M count=200 2>&1 | tail -n 1; ls -l big | wc -l",
    ) else {
        return;
    };
    assert!(!shown.is_empty());
    insta::assert_snapshot!(endings, @r"boxed/a/react/subject/0: scored 1");
}

#[test]
fn output_that_is_no_text_is_shown_as_text() {
    let Some((shown, endings)) = commands(
        &answered("tool_time: 3s"),
        "printf 'a\\000b\\377\\376c\\033[31m\\303('",
    ) else {
        return;
    };
    insta::assert_debug_snapshot!(shown, @r#"
    [
        "a�b��c\u{1b}[31m�(",
        "still here\n",
    ]
    "#);
    insta::assert_snapshot!(endings, @r"boxed/a/react/subject/0: scored 1");
}

#[test]
fn a_command_that_ignores_signals_is_ended() {
    let Some((shown, endings)) = commands(
        &answered("tool_time: 3s"),
        "trap '' TERM INT HUP; echo begun; while :; do sleep 1; done",
    ) else {
        return;
    };
    insta::assert_debug_snapshot!(shown, @r#"
    [
        "begun\n[stopped after 3s, the longest time of a call]",
        "still here\n",
    ]
    "#);
    insta::assert_snapshot!(endings, @r"boxed/a/react/subject/0: scored 1");
}

#[test]
fn memory_that_runs_out_is_told_apart() {
    let Some((shown, endings)) = commands(&answered("tool_time: 20s"), "tail /dev/zero") else {
        return;
    };
    insta::assert_debug_snapshot!(shown, @r#"
    [
        "[stopped: out of memory; exit code 137]",
        "still here\n",
    ]
    "#);
    insta::assert_snapshot!(endings, @r"boxed/a/react/subject/0: scored 1");
}

/// A scorer that crashes leaves its trials unscored; repaired, it scores what was kept.
#[test]
fn a_repaired_scorer_scores_again() {
    let Some(daemon) = daemon() else { return };
    let context = Context::with(&daemon);
    let score = |run: &str| format!("score: {{command: {{run: '{run}'}}}}\noracle: {{run: solution.sh}}\n");
    context
        .write(
            "tasks/boxed/task.yaml",
            &busybox_task("boxed", "", &score("[ \"$(cat result)\" = done ] || exit 7")),
        )
        .write("tasks/boxed/solution.sh", "echo done > result\n");
    insta::assert_snapshot!(context.run("run tasks/boxed --scaffold oracle --scaffold noop").text, @r"
    exit code: 0
    --- stdout
    phase  model  scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  attempts  tokens   cost
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    main   none   noop      general        1       0        0  n/a (0 scored)                       1     0         1       0  $0.00
    main   none   oracle    general        1       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     0         1       0  $0.00
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    all                                    2       1        1  1/1 = 100.0% [20.7%, 100.0%]         1     0         2       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    run boxed-[RUN]
    results: results/boxed-[RUN]
      results/boxed-[RUN]/trials.csv
      results/boxed-[RUN]/report.json
      results/boxed-[RUN]/summary.md
    ");
    insta::assert_snapshot!(log_of(&context.only_run()).endings(), @r"
    boxed/a/oracle/none/0: scored 1
    boxed/a/noop/none/0: scored unscored (crashed)
    ");
    let before = std::fs::read_to_string(context.only_run().join("trials.csv")).unwrap();
    let repaired = busybox_task("boxed", "", &score("[ \"$(cat result)\" = done ]"))
        .replace("version: 1\ntitle", "version: 2\ntitle");
    context.write("tasks/boxed/task.yaml", &repaired);
    let run = context.run_name();
    insta::assert_snapshot!(context.run(&format!("rescore {run}")).text, @r"
    exit code: 0
    --- stdout
    phase  model  scaffold  domain   planned  scored  success  rate [95% interval]           unscored  void  attempts  tokens   cost
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    main   none   noop      general        1       1        0  0/1 = 0.0% [0.0%, 79.3%]             0     0         1       0  $0.00
    main   none   oracle    general        1       1        1  1/1 = 100.0% [20.7%, 100.0%]         0     0         1       0  $0.00
    -----  -----  --------  -------  -------  ------  -------  ----------------------------  --------  ----  --------  ------  -----
    all                                    2       2        1  1/2 = 50.0% [9.5%, 90.5%]            0     0         2       0  $0.00
    rate: successes / scored trials with Wilson's 95% interval; all other trials are in neither number
    trials of one task are not independent (trials: 2, tasks: 1), so the intervals are too narrow
    --- stderr
    boxed/a/noop/none/0:1: unscored (crashed) -> 0.0000
    1 score(s) changed
    ");
    let log = log_of(&context.only_run());
    log.assert_sound();
    insta::assert_snapshot!(log.endings(), @r"
    boxed/a/oracle/none/0: scored 1
    boxed/a/noop/none/0: scored 0
    ");
    let after = std::fs::read_to_string(context.only_run().join("trials.csv")).unwrap();
    assert!(before != after, "{after}");
    assert_eq!(
        context
            .run(&format!("rescore {run}"))
            .expect(0)
            .stderr
            .lines()
            .next()
            .unwrap_or_default(),
        "nothing to score again: every scored trial has a score (`--all` scores them all again)"
    );
    assert_eq!(daemon.leftovers(&run), (0, 0, 0));
}

#[test]
fn kept_sandboxes_are_looked_into_and_removed_on_request() {
    let Some(daemon) = daemon() else { return };
    let context = Context::with(&daemon);
    let sandbox = "  setup: [\"echo secret > /etc/note\"]\n  files: {/home/agent/in.txt: in.txt}\n";
    context
        .write(
            "tasks/boxed/task.yaml",
            &busybox_task("boxed", sandbox, FILE_SCORE),
        )
        .write("tasks/boxed/in.txt", "done\n")
        .write("tasks/boxed/solution.sh", "echo wrong > result\n");
    let tasks = "run tasks/boxed --scaffold oracle --keep-sandbox failed";
    context.run(tasks).expect(0);
    let run = context.run_name();
    let look = |args: &[&str]| {
        let args = ["shell", &run, "boxed/a"].into_iter().chain(args.iter().copied());
        context.shot(context.command(args).output().unwrap())
    };
    let kept = look(&["--command", "id -un; cat result; exit 7"]).expect(7);
    assert_eq!(kept.stdout, "agent\nwrong\n");
    assert_eq!(
        look(&["--root", "--command", "id -un"]).expect(0).stdout,
        "root\n"
    );
    let fresh = look(&[
        "--fresh",
        "--command",
        "cat in.txt /etc/note; ls result; echo gone >&2",
    ])
    .expect(0);
    assert_eq!(fresh.stdout, "done\nsecret\n");
    assert!(fresh.stderr.contains("gone"), "{}", fresh.stderr);
    let listed = context.run("gc").expect(0);
    assert!(
        listed.stdout.contains("removed 0 containers") && listed.stderr.contains("is kept on request"),
        "{}",
        listed.text
    );
    assert!(context.good("gc --kept").contains("removed 1 containers"));
    let again = look(&["--command", "ls"]).expect(0);
    assert!(
        again.stderr.contains("no sandbox of this trial was kept"),
        "{}",
        again.stderr
    );
    assert_eq!(daemon.leftovers(&run), (0, 0, 0));
}

#[test]
fn the_shell_of_an_agent_stays_between_calls() {
    let Some(daemon) = daemon() else { return };
    let context = Context::with(&daemon);
    let task = busybox_task("boxed", "", "score: {answer: {match: exact}}\n");
    context.write(
        "tasks/boxed/task.yaml",
        &task.replace("tools: [bash,", "tools: [shell,"),
    );
    let suite = Suite {
        scripts: r#"
  - turns:
      - tools: [{name: shell, arguments: {input: "cd /tmp; word=stays"}}]
      - tools: [{name: shell, arguments: {input: "pwd; echo $word; false"}}]
      - tools: [{name: shell, arguments: {input: "printf 'name? '; read -r name; echo hello $name"}}]
      - tools: [{name: shell, arguments: {input: "nobody"}}]
      - tools: [{name: shell, arguments: {input: "sleep 1000", wait: 1}}]
      - tools: [{name: shell, arguments: {keys: [ctrl-c]}}]
      - tools: [{name: shell, arguments: {input: "vi /tmp/new"}}]
      - tools: [{name: shell, arguments: {keys: [i, d, o, n, e, escape]}}]
      - tools: [{name: shell, arguments: {input: ":wq"}}]
      - tools: [{name: shell, arguments: {input: "cat /tmp/new; exit 4"}}]
      - tools: [{name: submit, arguments: {answer: done}}]
"#,
        ..Suite::default()
    };
    suite.write(&context);
    context.run("run suite.yaml").expect(0);
    let log = log_of(&context.only_run());
    let returned: Vec<String> = log
        .events(0)
        .into_iter()
        .filter_map(|event| match event {
            AttemptEvent::ToolReturned { output, .. } => Some(output.text),
            _ => None,
        })
        .collect();
    let expected = [
        "",
        "/tmp\nstays\n[exit code 1]",
        "name? \n[no prompt was seen, but the shell runs nothing]",
        "hello nobody\n",
        "[still running after 1s]",
        "^C\n[exit code 130]",
    ];
    assert_eq!(returned[..6], expected);
    assert!(returned[6].contains("[screen of 30 lines"), "{}", returned[6]);
    assert!(returned[7].contains("done"), "{}", returned[7]);
    assert_eq!(
        returned[9],
        "done\n[the shell ended with exit code 4; the next call starts a new one]"
    );
}
