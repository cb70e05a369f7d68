//! What lives on after a command, and what does not.

use std::time::{Duration, Instant};

use harness_core::ports::{BeforeExec, ExecRequest};
use harness_docker::DockerSettings;
use pretty_assertions::assert_eq;

use crate::support::{
    ask, busybox, exited, in_sandbox_with, living, living_seen_by, root, root_killing, sh, sh_for, text,
    timed_out, with_and_without_the_helper,
};

with_and_without_the_helper!(
    at_its_timeout_a_command_dies_with_all_that_it_started,
    what_an_earlier_command_left_running_outlives_the_timeout_of_a_later_one,
    of_two_commands_at_once_only_the_late_one_dies,
    a_late_scorer_dies_with_all_that_it_started,
    killing_all_and_running_is_one_step,
    orphans_are_reaped_and_nothing_inside_can_kill_the_keeper,
    a_fork_bomb_is_ended,
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
            let result = sandbox.exec(&sh_for(&format!("echo begun; {trick}"), 500)).await.unwrap();
            assert_eq!((result.ending, text(&result)), (timed_out(500), "begun\n".to_owned()), "{trick}");
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
            timeout: Duration::from_millis(600),
            ..root_killing("echo begun; (setsid sleep 1001 &); sleep 1002")
        };
        let result = sandbox.exec(&scorer).await.unwrap();
        assert_eq!(
            (result.ending, text(&result)),
            (timed_out(600), "begun\n".to_owned())
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
            .exec(&sh(
                "for i in 1 2 3 4 5; do (setsid sleep 0.05 &); done; sleep 0.3",
            ))
            .await
            .unwrap();
        assert_eq!(living(&*sandbox).await, NOBODY);
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
