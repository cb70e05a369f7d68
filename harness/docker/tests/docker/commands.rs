//! What a command sees, and how it ends by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness_core::ports::{ExecRequest, ExecUser};
use harness_core::units::Bytes;
use pretty_assertions::assert_eq;

use crate::support::{ask, busybox, exited, in_sandbox, root, sh, text};

#[tokio::test]
async fn a_command_sees_its_user_folder_environment_and_input() {
    in_sandbox(busybox(), async |sandbox| {
        let request = ExecRequest {
            env: [("MOOD".to_owned(), "calm".to_owned())].into(),
            stdin: Some(Arc::from(&b"from outside"[..])),
            ..sh("id -un; pwd; echo $HOME $COLOR $MOOD; cat; echo err >&2; exit 7")
        };
        let result = sandbox.exec(&request).await.unwrap();
        assert_eq!(result.ending, exited(7));
        assert_eq!(
            text(&result),
            "agent\n/home/agent\n/home/agent blue calm\nfrom outside"
        );
        assert_eq!(result.stderr.readable(100).text, "err\n");
        let elsewhere = ExecRequest {
            cwd: Some("/tmp".to_owned()),
            ..root("pwd; id -u; cat")
        };
        assert_eq!(ask(&*sandbox, elsewhere).await, "/tmp\n0");
    })
    .await;
}

#[tokio::test]
async fn bytes_of_any_kind_arrive_and_are_counted() {
    in_sandbox(busybox(), async |sandbox| {
        let result = sandbox
            .exec(&sh("printf 'a\\000\\377b'; printf '\\001' >&2"))
            .await
            .unwrap();
        assert_eq!(
            (result.stdout.head, result.stderr.head),
            (b"a\0\xffb".to_vec(), vec![1])
        );
        let request = ExecRequest {
            keep: Bytes(100),
            ..sh("yes 0123456789 | head -c 5000000")
        };
        let result = sandbox.exec(&request).await.unwrap();
        assert_eq!(result.stdout.total, 5_000_000);
        assert_eq!((result.stdout.head.len(), result.stdout.tail.len()), (50, 50));
    })
    .await;
}

#[tokio::test]
async fn a_large_input_that_nobody_reads_blocks_nothing() {
    in_sandbox(busybox(), async |sandbox| {
        let input: Arc<[u8]> = vec![b'x'; 8 << 20].into();
        let unread = ExecRequest {
            stdin: Some(Arc::clone(&input)),
            ..sh("exit 3")
        };
        assert_eq!(sandbox.exec(&unread).await.unwrap().ending, exited(3));
        let read = ExecRequest {
            stdin: Some(input),
            ..sh("wc -c")
        };
        assert_eq!(ask(&*sandbox, read).await, (8 << 20).to_string());
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_started_is_an_exit_code_with_a_reason() {
    in_sandbox(busybox(), async |sandbox| {
        let missing = ExecRequest {
            argv: vec!["/no/such/program".to_owned()],
            ..sh("")
        };
        let result = sandbox.exec(&missing).await.unwrap();
        assert!(matches!(
            result.ending,
            harness_core::ports::ExecEnding::Exited { code: 126 | 127 }
        ));
        assert!(result.stderr.readable(1000).text.contains("/no/such/program"));
        assert_eq!(result.stdout.total, 0);
        let forged = sandbox
            .exec(&sh("echo OCI runtime exec failed; exit 126"))
            .await
            .unwrap();
        assert_eq!(
            (forged.ending, text(&forged)),
            (exited(126), "OCI runtime exec failed\n".to_owned())
        );
        let long = sandbox.exec(&sh(&"#".repeat(200_000))).await.unwrap();
        assert!(
            long.stderr.readable(300_000).text.contains("too long"),
            "{:?}",
            long.ending
        );
    })
    .await;
}

#[tokio::test]
async fn a_background_process_that_holds_the_output_does_not_delay_the_end() {
    in_sandbox(busybox(), async |sandbox| {
        let began = Instant::now();
        let result = sandbox
            .exec(&sh("echo ready; sleep 1000 & exit 4"))
            .await
            .unwrap();
        assert_eq!((result.ending, text(&result)), (exited(4), "ready\n".to_owned()));
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "waited for the background process"
        );
    })
    .await;
}

#[tokio::test]
async fn the_agents_processes_have_no_capabilities_and_no_network() {
    in_sandbox(busybox(), async |sandbox| {
        let status = "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status | tr -d '\\t\\n'; ls /sys/class/net";
        let none = "0000000000000000";
        let expected = format!("CapInh:{none}CapPrm:{none}CapEff:{none}CapAmb:{none}NoNewPrivs:1lo");
        assert_eq!(ask(&*sandbox, sh(status)).await, expected);
        let names = ask(&*sandbox, sh("hostname; grep -c localhost /etc/hosts; cat /etc/resolv.conf")).await;
        assert_eq!(names, "sandbox\n2");
        // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7.
        let bits = [0, 1, 3, 5, 6, 7].iter().fold(0, |bits, bit| bits | 1 << bit);
        let of_root = ask(&*sandbox, root("grep CapEff /proc/self/status")).await;
        assert_eq!(of_root, format!("CapEff:\t{bits:016x}"));
        let limits = ask(&*sandbox, sh("ulimit -c; ulimit -f; ls /var/run/docker.sock /run/docker.sock 2>/dev/null | wc -l")).await;
        assert_eq!(limits, format!("0\n{}\n0", (64 << 20) / 512));
    })
    .await;
}

#[tokio::test]
async fn a_root_task_has_no_capabilities_either() {
    let mut spec = busybox();
    spec.user = "root".to_owned();
    spec.workdir = "/root".to_owned();
    in_sandbox(spec, async |sandbox| {
        let request = ExecRequest {
            user: ExecUser::Task,
            ..sh("id -u; grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | grep -vc 0000000000000000")
        };
        let result = sandbox.exec(&request).await.unwrap();
        assert_eq!(text(&result), "0\n0\n");
        let killing = crate::support::root_killing("echo alive");
        sandbox
            .exec(&sh("sleep 1000 & setsid sleep 1001 &"))
            .await
            .unwrap();
        assert_eq!(ask(&*sandbox, killing).await, "alive");
        assert_eq!(crate::support::living(&*sandbox).await, Vec::<String>::new());
    })
    .await;
}
