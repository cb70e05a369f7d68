//! What lives on after a command, and what does not.

use std::time::{Duration, Instant};

use harness_core::ports::{BeforeExec, ExecRequest, Sandbox};
use harness_core::sandbox::{ImageSource, SandboxSpec};
use harness_core::units::Bytes;
use harness_docker::DockerSettings;
use pretty_assertions::assert_eq;

use crate::support::{
    ask, busybox, exited, in_sandbox, in_sandbox_with, living, living_in_the_end, living_seen_by, root,
    root_killing, sh, sh_for, text, timed_out, with_and_without_the_helper,
};

with_and_without_the_helper!(
    at_its_timeout_a_command_dies_with_all_that_it_started,
    what_an_earlier_command_left_running_outlives_the_timeout_of_a_later_one,
    of_two_commands_at_once_only_the_late_one_dies,
    a_late_scorer_dies_with_all_that_it_started,
    killing_all_and_running_is_one_step,
    orphans_are_reaped_and_nothing_inside_can_kill_the_keeper,
    a_fork_bomb_is_ended,
    a_process_without_its_first_thread_dies_too,
    removing_does_not_wait_for_processes,
);

const NOBODY: Vec<String> = Vec::new();

async fn at_its_timeout_a_command_dies_with_all_that_it_started(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let notes = sandbox.info().notes;
        let tricks = [
            "sleep 1000",
            "trap '' TERM INT HUP; sleep 1000; sleep 1001",
            "setsid sleep 1000 & sleep 1001",
            "(setsid sh -c 'sleep 1000 & exec sleep 1001' &) ; (env -i setsid sleep 1002 &); sleep 1003",
            "env -i sh -c '(setsid sh -c \"while :; do (sleep 0.05 &); sleep 0.02; done\" &)'; exec env -i sleep 1004",
            "nohup sh -c 'while :; do sleep 1; done' >/dev/null 2>&1 & sleep 1000 | sleep 1001",
        ];
        for trick in tricks {
            let result = sandbox.exec(&sh_for(&format!("echo begun; {trick}"), 1500)).await.unwrap();
            assert_eq!((result.ending, text(&result)), (timed_out(1500), "begun\n".to_owned()), "{trick}");
            assert_eq!(living(&*sandbox).await, NOBODY, "{trick}");
        }
        assert_eq!(sandbox.info().notes, notes);
    })
    .await;
}

async fn what_an_earlier_command_left_running_outlives_the_timeout_of_a_later_one(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let server =
            "setsid sh -c 'while :; do sleep 0.2; done' >/dev/null 2>&1 & sleep 2000 >/dev/null 2>&1 &";
        assert_eq!(sandbox.exec(&sh(server)).await.unwrap().ending, exited(0));
        let result = sandbox
            .exec(&sh_for("setsid sleep 1000 & sleep 1001", 400))
            .await
            .unwrap();
        assert_eq!(result.ending, timed_out(400));
        let mut left = living(&*sandbox).await;
        left.retain(|line| line != "sleep 0.2");
        left.sort();
        assert_eq!(left, ["sh -c while :; do sleep 0.2; done", "sleep 2000"]);
        sandbox.kill_all().await.unwrap();
        assert_eq!(living(&*sandbox).await, NOBODY);
    })
    .await;
}

async fn of_two_commands_at_once_only_the_late_one_dies(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let (good, late) = tokio::join!(
            async {
                sandbox
                    .exec(&sh("(sleep 1.2; echo child) & sleep 1; echo good; wait"))
                    .await
                    .unwrap()
            },
            async {
                sandbox
                    .exec(&sh_for("setsid sleep 1000 & sleep 1001", 400))
                    .await
                    .unwrap()
            },
        );
        assert_eq!(
            (good.ending, text(&good)),
            (exited(0), "good\nchild\n".to_owned())
        );
        assert_eq!(late.ending, timed_out(400));
        assert_eq!(living(&*sandbox).await, NOBODY);
    })
    .await;
}

async fn a_late_scorer_dies_with_all_that_it_started(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let notes = sandbox.info().notes;
        sandbox
            .exec(&sh("setsid sleep 1000 >/dev/null 2>&1 &"))
            .await
            .unwrap();
        let scorer = ExecRequest {
            timeout: Duration::from_millis(2000),
            ..root_killing("echo begun; (setsid sleep 1001 &); sleep 1002")
        };
        let result = sandbox.exec(&scorer).await.unwrap();
        assert_eq!(
            (result.ending, text(&result)),
            (timed_out(2000), "begun\n".to_owned())
        );
        assert_eq!(living(&*sandbox).await, NOBODY);
        assert_eq!(sandbox.info().notes, notes);
    })
    .await;
}

async fn killing_all_and_running_is_one_step(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let notes = sandbox.info().notes;
        let mess =
            "setsid sleep 1000 >/dev/null 2>&1 & (env -i setsid sleep 1001 >/dev/null 2>&1 &) ; echo done";
        assert_eq!(ask(&*sandbox, sh(mess)).await, "done");
        sandbox
            .exec(&root("setsid sleep 1002 >/dev/null 2>&1 &"))
            .await
            .unwrap();
        assert_eq!(living_seen_by(&*sandbox, BeforeExec::KillAll).await, NOBODY);
        assert_eq!(ask(&*sandbox, root_killing("id -u; exit 0")).await, "0");
        let as_agent = ExecRequest {
            before: BeforeExec::KillAll,
            ..sh("id -un")
        };
        assert_eq!(ask(&*sandbox, as_agent).await, "agent");
        assert_eq!(living(&*sandbox).await, NOBODY);
        assert_eq!(sandbox.info().notes, notes);
    })
    .await;
}

async fn orphans_are_reaped_and_nothing_inside_can_kill_the_keeper(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        sandbox
            .exec(&sh("for i in 1 2 3 4 5; do (setsid sleep 0.05 &); done"))
            .await
            .unwrap();
        assert_eq!(living_in_the_end(&*sandbox).await, NOBODY);
        for signal in ["TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "CHLD"] {
            ask(&*sandbox, root(&format!("kill -{signal} 1; kill -9 -1; true"))).await;
        }
        assert_eq!(living(&*sandbox).await, NOBODY);
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}

async fn a_fork_bomb_is_ended(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let bomb = "b() { b | b & }; while :; do b; done";
        let result = sandbox
            .exec(&sh_for(&format!("({bomb}) 2>/dev/null"), 1500))
            .await
            .unwrap();
        assert!(
            result.ending == timed_out(1500)
                || matches!(result.ending, harness_core::ports::ExecEnding::Exited { .. })
        );
        sandbox.kill_all().await.unwrap();
        assert_eq!(living(&*sandbox).await, NOBODY);
        let left_behind = "setsid sh -c 'while :; do (sleep 100 &) ; done' >/dev/null 2>&1 & sleep 1";
        let _ = sandbox.exec(&sh_for(left_behind, 3000)).await.unwrap();
        assert_eq!(ask(&*sandbox, root_killing("echo scored")).await, "scored");
        assert_eq!(living(&*sandbox).await, NOBODY);
    })
    .await;
}

/// The first thread ends, another goes on: the process is shown as a zombie, and lives.
const WITHOUT_FIRST: &str = "import ctypes, os, threading, time\n\
    libc = ctypes.CDLL(None)\n\
    def work():\n while True: time.sleep(0.05); open('/tmp/alive', 'w').write(str(time.time()))\n\
    threading.Thread(target=work).start()\n\
    libc.syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n";

fn with_python() -> SandboxSpec {
    let mut spec = SandboxSpec {
        image: ImageSource::Named("harness/python:1".to_owned()),
        ..busybox()
    };
    spec.resources.memory = Bytes(256 << 20);
    spec
}

/// Waits until a process shows that it works, or that it does no more.
async fn works(sandbox: &dyn Sandbox) -> bool {
    let look = "rm -f /tmp/alive; sleep 1; cat /tmp/alive 2>/dev/null; true";
    !ask(sandbox, sh(look)).await.is_empty()
}

async fn a_process_without_its_first_thread_dies_too(settings: DockerSettings) {
    in_sandbox_with(settings, with_python(), async |sandbox| {
        let program = format!("printf '%s' \"{WITHOUT_FIRST}\" >/tmp/program.py");
        ask(&*sandbox, sh(&program)).await;
        // As the command itself, as an orphan, and as something left behind for a scorer to meet.
        let late = sandbox
            .exec(&sh_for("exec python3 /tmp/program.py", 2500))
            .await
            .unwrap();
        assert_eq!(late.ending, timed_out(2500));
        assert!(!works(&*sandbox).await, "the command");
        let orphan = "(setsid python3 /tmp/program.py >/dev/null 2>&1 &); exec sleep 1000";
        let late = sandbox.exec(&sh_for(orphan, 2500)).await.unwrap();
        assert_eq!(late.ending, timed_out(2500));
        assert!(!works(&*sandbox).await, "an orphan");
        ask(&*sandbox, sh("setsid python3 /tmp/program.py >/dev/null 2>&1 &")).await;
        while !works(&*sandbox).await {}
        ask(&*sandbox, root_killing("rm -f /tmp/alive")).await;
        assert!(!works(&*sandbox).await, "left behind");
    })
    .await;
}

/// A process of the helper's own user can take its descriptors away. Then nobody must be told that all is dead, and a
/// scorer's exit code must not be made up.
#[tokio::test]
async fn a_helper_that_root_has_blinded_does_not_say_that_all_are_dead() {
    in_sandbox(with_python(), async |sandbox| {
        let blind = "python3 -c 'import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (3, 3))'";
        ask(&*sandbox, root(blind)).await;
        for error in [
            sandbox.exec(&root_killing("exit 0")).await.map(drop).unwrap_err(),
            sandbox.kill_all().await.unwrap_err(),
        ] {
            assert_eq!(error.name(), "daemon", "{error}");
        }
    })
    .await;
}

async fn removing_does_not_wait_for_processes(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        sandbox
            .exec(&sh("trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 &"))
            .await
            .unwrap();
        let began = Instant::now();
        sandbox.stop().await.unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "waited for a polite stop"
        );
        sandbox.stop().await.unwrap();
        let error = sandbox.exec(&sh("true")).await.unwrap_err();
        assert_eq!(error.name(), "sandbox_gone");
    })
    .await;
}
