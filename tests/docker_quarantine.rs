//! Sandboxes in quarantine, from what put them there to their removal.

use harness_core::event::AttemptEvent;
use harness_core::outcome::Outcome;
use harness_core::ports::KeepReason;
use pretty_assertions::assert_eq;
use rustix::process::Signal;

use crate::util::{Context, Daemon, Shot, Suite, busybox_task, daemon, knows_runtime, log_of, signal, until};

const SCORE: &str = "score: {answer: {match: exact}}\noracle: {submit: done}\n";

/// A task whose sandbox has this runtime and user, and a model that runs one command.
fn prepared(daemon: &Daemon, sandbox: &str, command: &str) -> Context {
    let context = Context::with(daemon);
    let task =
        busybox_task("boxed", sandbox, SCORE).replace("memory: 64MiB, pids: 32", "memory: 256MiB, pids: 256");
    context.write("tasks/boxed/task.yaml", &task);
    let quoted = serde_json::to_string(command).unwrap();
    let scripts = format!(
        "  - turns:\n      - tools: [{{name: bash, arguments: {{command: {quoted}}}}}]\n      - tools: [{{name: submit, arguments: {{answer: wrong}}}}]\n"
    );
    Suite {
        scripts: &scripts,
        ..Suite::default()
    }
    .write(&context);
    context
}

fn shell(context: &Context, args: &[&str]) -> Shot {
    let run = context.run_name();
    let args = ["shell", &run, "boxed/a"].into_iter().chain(args.iter().copied());
    context.shot(context.command(args).output().unwrap())
}

/// Nothing takes a sandbox out of quarantine but the flag for it, and whoever looks into it leaves it as it was.
fn stays_until_asked_for(daemon: &Daemon, context: &Context, name: &str) {
    let run = context.run_name();
    let states = || {
        let found = daemon.containers(&run);
        let states = found.into_iter().map(|[_, name, state]| (name, state));
        states.collect::<Vec<_>>()
    };
    let as_it_was = vec![(name.to_owned(), "paused".to_owned())];
    assert_eq!(states(), as_it_was);
    for args in ["gc", "gc --kept"] {
        let swept = context.run(args).expect(0);
        assert!(
            swept.stdout.contains("removed 0 containers")
                && swept
                    .stderr
                    .contains("is in quarantine; --quarantined removes it"),
            "{}",
            swept.text
        );
    }
    let refused = shell(context, &["--command", "id -un"]).expect(2);
    assert!(
        refused
            .stderr
            .contains("is in quarantine after a containment event"),
        "{}",
        refused.text
    );
    assert_eq!(states(), as_it_was);
    let looked = shell(context, &["--unpause", "--command", "cat /tmp/mark; exit 7"]).expect(7);
    assert_eq!(looked.stdout, "here\n");
    assert!(looked.stderr.contains("are stopped again"), "{}", looked.text);
    assert_eq!(states(), as_it_was);
    for told in [Signal::INT, Signal::TERM] {
        let args = ["shell", &run, "boxed/a", "--unpause", "--command", "sleep 1000"];
        let child = context
            .command(args)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        until("its processes run", || (states() != as_it_was).then_some(()));
        signal(&child, told);
        context.end(child).expect(130);
        assert_eq!(states(), as_it_was, "{told:?}");
    }
    let elsewhere = context.run("gc --results elsewhere --quarantined").expect(0);
    let told = format!("sandbox {name} of {run}");
    let line = elsewhere
        .stderr
        .lines()
        .find(|line| line.starts_with(&told))
        .unwrap();
    assert!(
        line.ends_with("its results are not here; --all --quarantined removes it"),
        "{line}"
    );
    assert_eq!(states(), as_it_was);
    let dry = context.run("gc --quarantined --dry-run").expect(0);
    assert!(dry.stdout.contains(name), "{}", dry.text);
    assert_eq!(states(), as_it_was);
    assert!(context.good("gc --quarantined").contains("removed 1 containers"));
    assert_eq!(daemon.leftovers(&run), (0, 0, 0));
}

/// Under gVisor (as of 2022) a root agent can write to the stream of the helper. The same command comes to nothing under
/// the other runtimes.
#[test]
fn a_forged_frame_ends_the_attempt_and_its_sandbox_is_kept() {
    let Some(daemon) = daemon() else { return };
    if !knows_runtime(&daemon, "runsc") {
        return;
    }
    let forge = "echo here >/tmp/mark; for fd in 0 1 2; do echo GARBAGE GARBAGE GARBAGE >/proc/1/fd/$fd; done; sleep 1";
    let context = prepared(&daemon, "  runtime: runsc\n  user: root\n", forge);
    context.run("run suite.yaml").expect(0);
    let log = log_of(&context.only_run());
    insta::assert_snapshot!(log.endings(), @r"boxed/a/react/subject/0: breached");
    let events = log.events(0);
    let kept = events.iter().find_map(|event| match event {
        AttemptEvent::SandboxKept(kept) => Some(kept),
        _ => None,
    });
    let kept = kept.unwrap();
    assert_eq!((kept.reason, kept.paused), (KeepReason::Quarantine, true));
    let Some(AttemptEvent::Ended {
        outcome: Outcome::Breached { breach, evidence },
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert_eq!(breach, "forged_frame");
    assert!(!evidence.text.is_empty());
    stays_until_asked_for(&daemon, &context, &kept.name);
}

/// The same command where it reaches nothing, and the same quarantine, made by hand.
fn quarantined_by_hand(runtime: &str) {
    let Some(daemon) = daemon() else { return };
    if !knows_runtime(&daemon, runtime) {
        return;
    }
    let forge = "echo here >/tmp/mark; for fd in 0 1 2; do echo GARBAGE GARBAGE GARBAGE >/proc/1/fd/$fd; done; sleep 1";
    let context = prepared(&daemon, &format!("  runtime: {runtime}\n  user: root\n"), forge);
    context.run("run suite.yaml --keep-sandbox failed").expect(0);
    let log = log_of(&context.only_run());
    log.assert_sound();
    assert_eq!(log.endings(), "boxed/a/react/subject/0: scored 0\n");
    let [[id, name, state]] = &daemon.containers(&context.run_name())[..] else {
        panic!("{:?}", daemon.containers(&context.run_name()));
    };
    assert!(
        name.starts_with("harness-kept-") && state == "running",
        "{name} {state}"
    );
    let name = format!("harness-quarantine-{}", &id[..12]);
    daemon.act(id, &format!("rename?name={name}"));
    daemon.act(id, "pause");
    stays_until_asked_for(&daemon, &context, &name);
}

#[test]
fn a_quarantine_under_runc_lasts_until_it_is_asked_for() {
    quarantined_by_hand("runc");
}

#[test]
fn a_quarantine_under_crun_lasts_until_it_is_asked_for() {
    quarantined_by_hand("crun");
}
