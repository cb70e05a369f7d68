//! Terminals: what a program on one may do to its reader, and what it may leave behind.

use std::collections::BTreeMap;
use std::time::Duration;

use harness_core::ports::{ExecUser, Terminal, TerminalRequest, WindowSize};
use harness_core::sandbox::Runtime;
use pretty_assertions::assert_eq;
use tokio::time::{Instant, sleep, timeout};

use super::resources::resident;
use super::{attack, busybox_on, under_each_runtime};
use crate::support::{ask, exited, living, sh};

under_each_runtime!(
    conversation,
    last_words,
    left_behind,
    floods,
    killed_with_the_rest
);

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn shell() -> TerminalRequest {
    TerminalRequest {
        argv: vec!["/bin/sh".to_owned()],
        user: ExecUser::Task,
        cwd: None,
        env: BTreeMap::from([("PS1".to_owned(), "ready$ ".to_owned())]),
        size: WindowSize { rows: 24, cols: 80 },
    }
}

/// Reads until something is there.
async fn until(terminal: &dyn Terminal, expected: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let output = terminal.read(Duration::from_millis(200)).await.unwrap();
        seen.extend(output.bytes);
        if seen.windows(expected.len()).any(|window| window == expected) {
            return seen;
        }
        assert_eq!(output.ended, None, "{}", String::from_utf8_lossy(&seen));
    }
    let last = &seen[seen.len().saturating_sub(500)..];
    panic!(
        "{} after {} bytes: {:?}",
        String::from_utf8_lossy(expected),
        seen.len(),
        String::from_utf8_lossy(last)
    );
}

async fn say(terminal: &dyn Terminal, line: &str, expected: &str) {
    terminal.send(line.as_bytes()).await.unwrap();
    until(terminal, expected.as_bytes()).await;
}

/// gVisor (as of 2022) makes no signal of a typed control-C; only closing ends what runs in a terminal there.
fn interrupts(runtime: Runtime) -> bool {
    runtime != Runtime::Runsc
}

async fn conversation(runtime: Runtime) {
    attack(busybox_on(runtime), async move |sandbox| {
        let terminal = sandbox.open_terminal(&shell()).await.unwrap();
        let terminal = &*terminal;
        until(terminal, b"ready$ ").await;
        say(terminal, "echo sum=$((6*7))\n", "sum=42").await;
        say(terminal, "stty size\n", "24 80").await;
        terminal.resize(WindowSize { rows: 50, cols: 132 }).await.unwrap();
        say(terminal, "stty size\n", "50 132").await;
        if interrupts(runtime) {
            say(terminal, "sleep 1000; echo not\"\"yet\n", "yet\r\n").await;
            sleep(Duration::from_millis(300)).await;
            say(terminal, "\x03", "ready$ ").await;
        }
        say(terminal, "echo back=$((1+1))\n", "back=2").await;
        let screen = b"\x1b[?1049h\x1b[2J\x1b[1;1H\xff\x00\xfe full\x1b[?1049l";
        let typed = format!("printf '{}'\n", super::forging::octal(screen));
        terminal.send(typed.as_bytes()).await.unwrap();
        until(terminal, screen).await;
        terminal.send(b"exit 7\n").await.unwrap();
        let mut ended = None;
        while ended.is_none() {
            ended = timeout(PATIENCE, terminal.read(Duration::from_secs(1)))
                .await
                .unwrap()
                .unwrap()
                .ended;
        }
        assert_eq!(ended, Some(exited(7)));
        terminal.close().await.unwrap();
        assert_eq!(living(&*sandbox).await, super::NOTHING);
    })
    .await;
}

/// What a program writes right before its end is read, whether or not something else still holds its terminal.
async fn last_words(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        for holder in ["", "trap '' HUP; sleep 1000 & "] {
            let script = format!("{holder}head -c 30000 /dev/zero | tr '\\0' x; printf END; exit 7");
            let request = TerminalRequest {
                argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
                ..shell()
            };
            let terminal = sandbox.open_terminal(&request).await.unwrap();
            let (mut seen, mut ended) = (Vec::new(), None);
            let deadline = Instant::now() + PATIENCE;
            while ended.is_none() && Instant::now() < deadline {
                let output = terminal.read(Duration::from_secs(1)).await.unwrap();
                seen.extend(output.bytes);
                ended = output.ended;
            }
            assert_eq!(ended, Some(exited(7)), "{holder}");
            assert_eq!(seen.len(), 30_003, "{holder}");
            assert!(seen.ends_with(b"END"), "{holder}");
            terminal.close().await.unwrap();
        }
    })
    .await;
}

/// Closing ends whatever was started there, however it hides; what other commands left running goes on.
async fn left_behind(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        ask(&*sandbox, sh("setsid sleep 2000 >/dev/null 2>&1 &")).await;
        let terminal = sandbox.open_terminal(&shell()).await.unwrap();
        let hidden = "trap '' HUP TERM; setsid sleep 1000 & (env -i setsid sleep 1001 &); nohup sleep 1002 & sleep 0.3; echo hid\"\"den\n";
        say(&*terminal, hidden, "hidden").await;
        terminal.close().await.unwrap();
        assert_eq!(living(&*sandbox).await, ["sleep 2000"]);
        terminal.close().await.unwrap();
    })
    .await;
}

/// What nobody reads is bounded, and the terminal can still be talked to and closed.
async fn floods(runtime: Runtime) {
    attack(busybox_on(runtime), async move |sandbox| {
        let terminal = sandbox.open_terminal(&shell()).await.unwrap();
        let before = resident();
        terminal
            .send(b"yes 0123456789abcdef0123456789abcdef\n")
            .await
            .unwrap();
        sleep(Duration::from_secs(3)).await;
        let grown = resident().saturating_sub(before);
        assert!(grown < 100 << 20, "grew by {grown} bytes");
        assert_eq!(ask(&*sandbox, sh("echo beside")).await, "beside");
        let deadline = Instant::now() + PATIENCE;
        let mut most = 0;
        while most < 256 << 10 && Instant::now() < deadline {
            let output = terminal.read(Duration::from_secs(1)).await.unwrap();
            most = most.max(output.bytes.len());
        }
        assert_eq!(most, 256 << 10);
        if interrupts(runtime) {
            terminal.send(b"\x03").await.unwrap();
            say(&*terminal, "echo sum=$((6*7))\n", "sum=42").await;
            terminal.send(b"yes\n").await.unwrap();
        }
        timeout(PATIENCE, terminal.close()).await.unwrap().unwrap();
        assert_eq!(living(&*sandbox).await, super::NOTHING);
    })
    .await;
}

async fn killed_with_the_rest(runtime: Runtime) {
    attack(busybox_on(runtime), async |sandbox| {
        let terminal = sandbox.open_terminal(&shell()).await.unwrap();
        say(&*terminal, "echo sum=$((6*7))\n", "sum=42").await;
        sandbox.kill_all().await.unwrap();
        let mut ended = None;
        for _ in 0..20 {
            ended = ended.or(terminal.read(Duration::from_secs(1)).await.unwrap().ended);
        }
        assert_eq!(ended, Some(exited(137)));
        drop(terminal);
        let forgotten = sandbox.open_terminal(&shell()).await.unwrap();
        drop(forgotten);
        assert_eq!(ask(&*sandbox, sh("echo alive")).await, "alive");
    })
    .await;
}
