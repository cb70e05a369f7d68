//! Starting commands, their streams and their ends.

use crate::driver::{Driver, Seen, exec, is_root, nobody, sh};
use harness_guest::{Ending, FromGuest, PIECE, Problem, ProblemKind, ToGuest, WINDOW};
use pretty_assertions::assert_eq;
use std::io::Write;

fn seen(stdout: &str, stderr: &str, code: i32) -> Seen {
    Seen {
        stdout: stdout.to_owned(),
        stderr: stderr.to_owned(),
        ending: Some(Ending::Exited(code)),
        ..Seen::default()
    }
}

fn failed(kind: ProblemKind, text: &str) -> Seen {
    let text = text.to_owned();
    Seen {
        failed: Some(Problem { kind, text }),
        ..Seen::default()
    }
}

#[test]
fn output_and_exit_codes_come_back() {
    let mut driver = Driver::start();
    assert_eq!(driver.run(exec(1, &["echo", "a b"])), seen("a b\n", "", 0));
    assert_eq!(
        driver.run(sh(2, "echo out; echo err >&2; exit 3")),
        seen("out\n", "err\n", 3)
    );
    assert_eq!(driver.run(sh(3, "kill -TERM $$")), seen("", "", 143));
    assert_eq!(
        driver.run(sh(4, "cat; ls /proc/self/fd | wc -l")),
        seen("4\n", "", 0)
    );
    let mut with_env = sh(5, "echo $A $HARNESS_EXEC; pwd");
    with_env.env = vec![("A".to_owned(), "1".to_owned())];
    with_env.cwd = "/tmp".to_owned();
    with_env.marker = "mark".to_owned();
    assert_eq!(driver.run(with_env), seen("1 mark\n/tmp\n", "", 0));
}

#[test]
fn what_cannot_be_started_is_said() {
    let mut driver = Driver::start();
    let missing = failed(ProblemKind::Missing, "no-such-program: not found");
    assert_eq!(driver.run(exec(1, &["no-such-program"])), missing);
    let denied = failed(ProblemKind::Denied, "/etc/passwd: permission denied");
    assert_eq!(driver.run(exec(2, &["/etc/passwd"])), denied);
    let mut nowhere = exec(3, &["true"]);
    nowhere.cwd = "/no/such/folder".to_owned();
    let missing = failed(ProblemKind::Missing, "/no/such/folder: not found");
    assert_eq!(driver.run(nowhere), missing);
    let nothing = failed(ProblemKind::Missing, "no program is named");
    assert_eq!(driver.run(exec(4, &[])), nothing);
    let mut elsewhere = exec(5, &["no-such-program"]);
    elsewhere.env = vec![("PATH".to_owned(), "/nowhere".to_owned())];
    let missing = failed(ProblemKind::Missing, "no-such-program: not found");
    assert_eq!(driver.run(elsewhere), missing);
    assert_eq!(driver.run(exec(6, &["true"])), seen("", "", 0));
}

#[test]
fn another_user_has_its_own_rights() {
    if !is_root() {
        return;
    }
    let mut driver = Driver::start();
    let mut exec = sh(
        1,
        "id -u; id -g; id -G; grep -h Cap[PEIA] /proc/self/status | sort -u | tr -d '\\n'",
    );
    exec.user = nobody();
    exec.env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    let none = "CapAmb:\t0000000000000000CapEff:\t0000000000000000CapInh:\t0000000000000000CapPrm:\t0000000000000000";
    let expected = format!("65534\n65534\n65534\n{none}");
    assert_eq!(driver.run(exec.clone()), seen(&expected, "", 0));
    exec.id = 2;
    exec.user.groups = vec![7, 8];
    let expected = format!("65534\n65534\n65534 7 8\n{none}");
    assert_eq!(driver.run(exec.clone()), seen(&expected, "", 0));
    for (id, groups) in [(3, vec![]), (4, vec![7])] {
        exec.id = id;
        exec.user.groups = groups;
        exec.cwd = "/root".to_owned();
        let denied = failed(ProblemKind::Denied, "/root: permission denied");
        assert_eq!(driver.run(exec.clone()), denied);
        exec.id = id + 10;
        exec.cwd = "/".to_owned();
        let argv = std::mem::replace(&mut exec.argv, vec!["no-such-program".to_owned()]);
        let missing = failed(ProblemKind::Missing, "no-such-program: not found");
        assert_eq!(driver.run(exec.clone()), missing);
        exec.argv = argv;
    }
}

#[test]
fn input_goes_to_the_command() {
    let mut driver = Driver::start();
    let mut cat = exec(1, &["wc", "-c"]);
    cat.stdin = true;
    driver.say(&ToGuest::Exec(Box::new(cat)));
    driver.feed(1, &vec![7; 100 * PIECE]);
    let expected = format!("{}\n", 100 * PIECE);
    assert_eq!(driver.seen(&[1]).remove(&1), Some(seen(&expected, "", 0)));
}

#[test]
fn a_command_that_does_not_read_its_input_stops_nobody() {
    let mut driver = Driver::start();
    let mut sleeper = sh(1, "sleep 1000");
    sleeper.stdin = true;
    driver.say(&ToGuest::Exec(Box::new(sleeper)));
    for _ in 0..WINDOW as usize / PIECE {
        let bytes = vec![7; PIECE];
        driver.say(&ToGuest::Stdin { id: 1, bytes });
    }
    assert_eq!(driver.run(exec(2, &["echo", "a"])), seen("a\n", "", 0));
    // More than fits into the pipe is not asked for.
    driver.say(&ToGuest::Ping { id: 3 });
    let mut taken = 0;
    loop {
        match driver.next() {
            FromGuest::StdinTaken { bytes, .. } => taken += bytes,
            FromGuest::Pong { .. } => break,
            _ => {}
        }
    }
    assert!(taken < WINDOW, "{taken} bytes");
    driver.say(&ToGuest::Kill { id: 1 });
    let killed = Seen {
        ending: Some(Ending::Killed),
        ..Seen::default()
    };
    assert_eq!(driver.seen(&[1]).remove(&1), Some(killed));
}

/// Input for a command that has closed its own goes nowhere, and is taken: the host can end.
#[test]
fn input_that_nobody_reads_any_more_is_taken() {
    let mut driver = Driver::start();
    let mut deaf = sh(1, "exec <&-; sleep 1000");
    deaf.stdin = true;
    driver.say(&ToGuest::Exec(Box::new(deaf)));
    driver.feed(1, &vec![7; 100 * PIECE]);
    driver.say(&ToGuest::Kill { id: 1 });
    driver.seen(&[1]);
}

/// What a command wrote is told before its end, as far as others do not write on.
#[test]
fn all_output_comes_before_the_end() {
    let mut driver = Driver::start();
    for id in 1..=20 {
        driver.say(&ToGuest::Exec(Box::new(sh(
            id,
            "sleep 1000 & head -c 60000 /dev/zero; head -c 5000 /dev/zero >&2",
        ))));
        let mut count = 0;
        loop {
            match driver.next() {
                FromGuest::Output { id: of, bytes, .. } if of == id => count += bytes.len(),
                FromGuest::Exited { id: of, .. } if of == id => break,
                _ => {}
            }
        }
        assert_eq!(count, 65_000, "command {id}");
        driver.say(&ToGuest::Kill { id });
    }
}

#[test]
fn an_endless_writer_does_not_hide_an_end() {
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(1, "yes & exit 3"))));
    let ending = driver.wait_for(|message| match message {
        FromGuest::Exited { ending, .. } => Some(*ending),
        _ => None,
    });
    assert_eq!(ending, Ending::Exited(3));
}

#[test]
fn a_slow_reader_loses_nothing() {
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(1, "head -c 50000000 /dev/zero"))));
    driver.started(1);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", driver.child.lock().unwrap().id())).unwrap();
    let memory = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = memory.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 8000, "{kilobytes} kB while nobody reads");
    let seen = driver.seen(&[1]).remove(&1).unwrap();
    assert_eq!(
        (seen.stdout.len(), seen.ending),
        (50_000_000, Some(Ending::Exited(0)))
    );
}

#[test]
fn many_commands_run_at_once() {
    let mut driver = Driver::start();
    let ids: Vec<u32> = (1..=50).collect();
    for id in &ids {
        driver.say(&ToGuest::Exec(Box::new(sh(
            *id,
            &format!("sleep 0.1; echo {id}; exit {id}"),
        ))));
    }
    let all = driver.seen(&ids);
    let expected = ids
        .iter()
        .map(|id| (*id, seen(&format!("{id}\n"), "", i32::try_from(*id).unwrap())));
    assert_eq!(all, expected.collect());
}

#[test]
fn a_forgotten_command_goes_on_in_silence() {
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(
        1,
        "trap '' PIPE; echo a; sleep 1000",
    ))));
    let pid = driver.started(1);
    driver.wrote(1, "a\n");
    driver.say(&ToGuest::Forget { id: 1 });
    driver.wait_for(|message| (*message == FromGuest::Forgotten { id: 1 }).then_some(()));
    driver.say(&ToGuest::Exec(Box::new(sh(2, "sleep 1000"))));
    driver.started(2);
    driver.say(&ToGuest::Kill { id: 2 });
    driver.seen(&[2]);
    assert!(std::fs::exists(format!("/proc/{pid}")).unwrap());
    driver.say(&ToGuest::KillAll { id: 9 });
    assert_eq!(driver.answer(9), Ok(()));
    assert!(!std::fs::exists(format!("/proc/{pid}")).unwrap());
}

#[test]
fn output_ends_when_nothing_holds_it_any_more() {
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(
        1,
        "(sleep 0.5; echo late) & echo early",
    ))));
    let mut text = String::new();
    loop {
        match driver.next() {
            FromGuest::Output { bytes, .. } => text += &String::from_utf8(bytes).unwrap(),
            FromGuest::OutputEnd { .. } => break,
            _ => {}
        }
    }
    assert_eq!(text, "early\nlate\n");
}

#[test]
fn a_broken_frame_ends_the_program() {
    let mut driver = Driver::start();
    driver.stdin.write_all(&[1, 0, 0, 0, 255]).unwrap();
    driver.listens = false;
    let mut child = driver.child.lock().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(70));
}

#[test]
fn the_program_stays_when_the_host_says_no_more() {
    use std::os::fd::OwnedFd;
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(1, "sleep 0.5; echo a"))));
    let null = std::fs::File::create("/dev/null").unwrap();
    let stdin = std::mem::replace(&mut driver.stdin, OwnedFd::from(null).into());
    drop(stdin);
    assert_eq!(driver.seen(&[1]).remove(&1), Some(seen("a\n", "", 0)));
    let pid = driver.child.lock().unwrap().id();
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<String> = stat.split(' ').map(str::to_owned).collect();
        fields[13].parse::<u64>().unwrap() + fields[14].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(ticks() - before < 10, "it spins");
    driver.listens = false;
}

/// Some shells wait for their children by a signal, for ever if that is blocked where they start.
#[test]
fn nothing_is_blocked_for_a_command() {
    let mut driver = Driver::start();
    let blocked = driver.run(sh(1, "grep SigBlk /proc/self/status | tr -d '\\t\\n'"));
    assert_eq!(blocked, seen("SigBlk:0000000000000000", "", 0));
}
