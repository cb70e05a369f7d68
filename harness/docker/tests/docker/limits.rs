//! Memory, output, disk and processes.

use std::time::{Duration, Instant};

use harness_core::ports::ExecEnding;
use harness_core::sandbox::SandboxSpec;
use harness_core::units::Bytes;
use harness_docker::DockerSettings;
use pretty_assertions::assert_eq;

use crate::support::{
    ask, busybox, disk_is_watched, exited, in_sandbox_with, living, root, sh, sh_for, text, timed_out,
    until_runs_in, with_and_without_the_helper,
};

with_and_without_the_helper!(
    lack_of_memory_is_told_apart_from_other_kills,
    endless_output_is_counted_until_the_timeout,
    too_much_output_ends_a_command,
    filling_the_disk_ends_a_command,
    many_short_commands_do_not_escape_the_disk_limit,
    what_fills_the_disk_between_two_commands_is_killed_and_told,
    a_terminal_that_fills_the_disk_is_ended,
    a_sandbox_that_dies_is_noticed_at_once,
    a_full_process_table_is_the_commands_problem,
    a_death_is_blamed_on_memory_only_if_no_command_explained_it,
);

async fn lack_of_memory_is_told_apart_from_other_kills(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let eaten = sandbox.exec(&sh("tail /dev/zero")).await.unwrap();
        assert!(
            matches!(eaten.ending, ExecEnding::OutOfMemory { .. }),
            "{eaten:?}"
        );
        let inner = sandbox
            .exec(&sh("sh -c 'tail /dev/zero' || exit 3"))
            .await
            .unwrap();
        assert_eq!(inner.ending, ExecEnding::OutOfMemory { code: 3 });
        let killed = sandbox.exec(&sh("kill -9 $$")).await.unwrap();
        assert_eq!(killed.ending, exited(137));
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}

async fn endless_output_is_counted_until_the_timeout(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let notes = sandbox.info().notes;
        let result = sandbox.exec(&sh_for("yes", 1500)).await.unwrap();
        assert_eq!(result.ending, timed_out(1500));
        // Only the note on the disk: the command could be ended alone.
        assert_eq!(sandbox.info().notes, notes);
        assert!(result.stdout.total > 1 << 20, "{}", result.stdout.total);
        assert_eq!(result.stdout.head.len() + result.stdout.tail.len(), 1 << 20);
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
    })
    .await;
}

async fn too_much_output_ends_a_command(settings: DockerSettings) {
    let settings = DockerSettings {
        output_limit: Bytes(8 << 20),
        ..settings
    };
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let result = sandbox.exec(&sh("setsid sleep 1000 & yes")).await.unwrap();
        assert_eq!(
            result.ending,
            ExecEnding::OutputLimit {
                limit: Bytes(8 << 20)
            }
        );
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}

async fn filling_the_disk_ends_a_command(settings: DockerSettings) {
    let mut spec = busybox();
    spec.resources.disk = Bytes(8 << 20);
    in_sandbox_with(settings, spec, async |sandbox| {
        let one_file = sandbox.exec(&sh("dd if=/dev/zero of=/tmp/big bs=1M count=100 2>/dev/null; ls -l /tmp/big")).await.unwrap();
        assert!(text(&one_file).contains(&(8 << 20).to_string()), "{}", text(&one_file));
        let filler = "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=/tmp/f$i bs=1M count=2 2>/dev/null; sleep 0.2; done";
        let many = sandbox.exec(&sh(filler)).await.unwrap();
        assert_eq!(many.ending, ExecEnding::DiskLimit { limit: Bytes(8 << 20) });
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
    })
    .await;
}

fn small_disk() -> SandboxSpec {
    let mut spec = busybox();
    spec.resources.disk = Bytes(8 << 20);
    spec
}

const FULL: ExecEnding = ExecEnding::DiskLimit {
    limit: Bytes(8 << 20),
};

/// Each call is shorter than the time between two looks.
async fn many_short_commands_do_not_escape_the_disk_limit(settings: DockerSettings) {
    in_sandbox_with(settings, small_disk(), async |sandbox| {
        if !disk_is_watched(&*sandbox) {
            return;
        }
        let mut told = 0;
        for at in 0..24 {
            let fill = format!("dd if=/dev/zero of=/tmp/f{at} bs=1M count=2 2>/dev/null; sleep 0.5");
            if sandbox.exec(&sh(&fill)).await.unwrap().ending == FULL {
                told += 1;
            }
        }
        assert!(told > 2, "told {told} times");
        // What is above the limit and does not grow may go on, so that room can be made.
        while sandbox.exec(&sh("rm -f /tmp/f*")).await.unwrap().ending != exited(0) {}
        assert_eq!(ask(&*sandbox, sh("sleep 5; echo below")).await, "below");
    })
    .await;
}

async fn what_fills_the_disk_between_two_commands_is_killed_and_told(settings: DockerSettings) {
    in_sandbox_with(settings, small_disk(), async |sandbox| {
        if !disk_is_watched(&*sandbox) {
            return;
        }
        let filler = "i=0; while :; do i=$((i+1)); dd if=/dev/zero of=/tmp/f$i bs=1M count=2 2>/dev/null; sleep 0.1; done";
        ask(&*sandbox, sh(&format!("setsid sh -c '{filler}' >/dev/null 2>&1 &"))).await;
        let used = async || {
            let size = crate::support::inspect_size(&sandbox.info().id).await;
            u64::try_from(size).unwrap()
        };
        let mut size = used().await;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            tokio::time::sleep(Duration::from_secs(4)).await;
            let now = used().await;
            if now == size && now > 8 << 20 {
                break;
            }
            let lives = Instant::now() < deadline;
            assert!(lives, "{now}: {:?}", living(&*sandbox).await);
            size = now;
        }
        assert_eq!(sandbox.exec(&sh("echo next")).await.unwrap().ending, FULL);
        assert_eq!(ask(&*sandbox, sh("rm /tmp/f*; echo again")).await, "again");
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
    })
    .await;
}

async fn a_terminal_that_fills_the_disk_is_ended(settings: DockerSettings) {
    in_sandbox_with(settings, small_disk(), async |sandbox| {
        if !disk_is_watched(&*sandbox) {
            return;
        }
        let terminal = sandbox.open_terminal(&crate::attacks::shell()).await.unwrap();
        let filler =
            b"i=0; while :; do i=$((i+1)); dd if=/dev/zero of=/tmp/f$i bs=1M count=2; sleep 0.1; done\n";
        terminal.send(filler).await.unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut ended = None;
        while ended.is_none() && Instant::now() < deadline {
            ended = terminal.read(Duration::from_secs(1)).await.unwrap().ended;
        }
        assert_eq!(ended, Some(FULL));
        assert_eq!(ask(&*sandbox, sh("echo told once")).await, "told once");
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
    })
    .await;
}

async fn a_sandbox_that_dies_is_noticed_at_once(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let id = sandbox.info().id;
        let began = Instant::now();
        let (result, ()) = tokio::join!(async { sandbox.exec(&sh("sleep 60")).await }, async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            crate::support::kill_container(&id).await;
        });
        assert_eq!(result.unwrap_err().name(), "sandbox_gone");
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "noticed only at the timeout"
        );
        for error in [
            sandbox.exec(&sh("true")).await.unwrap_err(),
            sandbox.exec(&root("true")).await.unwrap_err(),
            sandbox.kill_all().await.unwrap_err(),
        ] {
            assert_eq!(error.name(), "sandbox_gone", "{error}");
        }
    })
    .await;
}

async fn a_full_process_table_is_the_commands_problem(settings: DockerSettings) {
    in_sandbox_with(settings, busybox(), async |sandbox| {
        let hog = "i=0; while [ $i -lt 60 ]; do setsid sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done";
        let _ = sandbox.exec(&sh_for(hog, 5000)).await.unwrap();
        let result = sandbox.exec(&sh("echo fits; true | true")).await.unwrap();
        assert!(matches!(result.ending, ExecEnding::Exited { .. }), "{result:?}");
        sandbox.kill_all().await.unwrap();
        assert_eq!(living(&*sandbox).await, Vec::<String>::new());
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}

async fn a_death_is_blamed_on_memory_only_if_no_command_explained_it(settings: DockerSettings) {
    for (command, expected) in [
        ("tail /dev/zero; sleep 60", "out_of_memory"),
        ("sleep 60", "sandbox_gone"),
    ] {
        in_sandbox_with(settings.clone(), busybox(), async move |sandbox| {
            let earlier = sandbox.exec(&sh("tail /dev/zero")).await.unwrap();
            assert!(
                matches!(earlier.ending, ExecEnding::OutOfMemory { .. }),
                "{earlier:?}"
            );
            let id = sandbox.info().id;
            let (result, ()) = tokio::join!(async { sandbox.exec(&sh(command)).await }, async {
                until_runs_in(&id, "sleep 60").await;
                crate::support::kill_container(&id).await;
            });
            assert_eq!(result.unwrap_err().name(), expected, "{command}");
        })
        .await;
    }
}
