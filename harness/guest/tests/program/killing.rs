//! Killing commands with what they started, and everything.

use crate::driver::{Driver, Seen, exec, is_root, nobody, sh};
use harness_guest::{Ending, FromGuest, ToGuest};
use pretty_assertions::assert_eq;
use std::time::Duration;

/// Children that try to get away; each writes its process number. The last clears its environment too.
const FUGITIVES: &str = "
    sleep 1001 & echo $!
    nohup sleep 1001 >/dev/null 2>&1 & echo $!
    setsid sh -c 'echo $$; exec sleep 1001' &
    (setsid sh -c 'echo $$; exec sleep 1001' &) &
    (env -i setsid sh -c 'echo $$; exec sleep 1001 >/dev/null 2>&1' &) &
    (env -i sh -c '(setsid sh -c \"echo \\$\\$; exec sleep 1001\" &)' &)
    sleep 0.3; echo all; wait; sleep 1001";

fn lives(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !stat.rsplit(") ").next().unwrap().starts_with('Z')
}

fn pids(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.parse::<u32>().is_ok())
        .map(str::to_owned)
        .collect()
}

fn killed_as(ending: Ending) -> (Option<Ending>, u32) {
    (Some(ending), 0)
}

#[test]
fn a_command_dies_with_all_that_it_started() {
    for as_nobody in [false, true] {
        if as_nobody && !is_root() {
            return;
        }
        let mut driver = Driver::start();
        driver.say(&ToGuest::Exec(Box::new(sh(
            7,
            "sleep 1002 & echo $!; sleep 1002",
        ))));
        let other = pids(&driver.wrote(7, "\n"));
        let mut fugitives = sh(1, FUGITIVES);
        if as_nobody {
            fugitives.user = nobody();
        }
        driver.say(&ToGuest::Exec(Box::new(fugitives)));
        let mine = pids(&driver.wrote(1, "all\n"));
        assert_eq!(mine.len(), 6);
        assert!(mine.iter().all(|pid| lives(pid)));
        driver.say(&ToGuest::Kill { id: 1 });
        let seen = driver.seen(&[1]).remove(&1).unwrap();
        assert_eq!((seen.ending, seen.survivors), killed_as(Ending::Killed));
        let left: Vec<&String> = mine.iter().filter(|pid| lives(pid)).collect();
        assert_eq!(left, Vec::<&String>::new());
        assert!(other.iter().all(|pid| lives(pid)), "another command's child");
    }
}

#[test]
fn what_an_earlier_command_left_is_spared() {
    let mut driver = Driver::start();
    driver.run(sh(1, "setsid sleep 1003 >/dev/null 2>&1 & echo $!"));
    driver.say(&ToGuest::Exec(Box::new(sh(
        2,
        "setsid sleep 1003 >/dev/null 2>&1 & echo $!; sleep 1003",
    ))));
    let own = pids(&driver.wrote(2, "\n"));
    let seen = driver.run(sh(3, "sh -c 'setsid sleep 1003 >/dev/null 2>&1 & echo $!'"));
    let marked = pids(&seen.stdout);
    driver.say(&ToGuest::Kill { id: 2 });
    driver.seen(&[2]);
    assert_eq!((own.len(), marked.len()), (1, 1));
    assert!(!lives(&own[0]));
    assert!(lives(&marked[0]), "the marker of another command");
}

#[test]
fn a_kill_after_the_end_finds_what_was_left() {
    let mut driver = Driver::start();
    let seen = driver.run(sh(1, "setsid sleep 1004 >/dev/null 2>&1 & echo $!"));
    let left = pids(&seen.stdout);
    assert!(lives(&left[0]));
    driver.say(&ToGuest::Kill { id: 1 });
    driver.say(&ToGuest::Ping { id: 2 });
    driver.wait_for(|message| (*message == FromGuest::Pong { id: 2 }).then_some(()));
    // The sweep goes on beside other requests.
    let dead = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        !lives(&left[0])
    });
    assert!(dead);
}

#[test]
fn timeouts_and_output_limits_kill() {
    let mut driver = Driver::start();
    let mut slow = sh(1, "echo $$; (setsid sleep 1005 &); sleep 1005");
    slow.timeout = Some(300);
    let seen = driver.run(slow);
    assert_eq!((seen.ending, seen.survivors), killed_as(Ending::TimedOut));
    let mut loud = sh(2, "yes & yes >&2");
    loud.output_limit = 100_000;
    let seen = driver.run(loud);
    assert_eq!((seen.ending, seen.survivors), killed_as(Ending::OutputLimit));
    assert_eq!(seen.stdout.len() + seen.stderr.len(), 100_000);
    let mut exact = sh(3, "printf 12345");
    exact.output_limit = 5;
    let seen = driver.run(exact);
    assert_eq!(
        (seen.stdout.as_str(), seen.ending),
        ("12345", Some(Ending::Exited(0)))
    );
}

#[test]
fn forks_in_a_row_do_not_escape() {
    let mut driver = Driver::start();
    // Each process starts the next one and ends. In one group that is killed at once; what changes its group each time
    // can be caught by process 1 only.
    let script = "echo go; f='sh -c \"$1\" _ \"$1\" &'; sh -c \"$f\" _ \"$f\"; sleep 1006";
    driver.say(&ToGuest::Exec(Box::new(sh(1, script))));
    driver.wrote(1, "go\n");
    std::thread::sleep(std::time::Duration::from_millis(200));
    driver.say(&ToGuest::Kill { id: 1 });
    let seen = driver.seen(&[1]).remove(&1).unwrap();
    assert_eq!((seen.ending, seen.survivors), killed_as(Ending::Killed));
}

#[test]
fn everything_dies_on_request_and_before_a_command_that_wants_it() {
    let mut driver = Driver::start();
    for id in 1..=2 {
        driver.say(&ToGuest::Exec(Box::new(sh(
            id,
            "(setsid sleep 1007 &); sleep 1007",
        ))));
        driver.started(id);
    }
    driver.say(&ToGuest::KillAll { id: 3 });
    driver.say(&ToGuest::Exec(Box::new(exec(4, &["echo", "after"]))));
    let killed = driver.seen(&[1, 2]);
    let endings: Vec<_> = killed
        .values()
        .map(|seen| (seen.ending, seen.survivors))
        .collect();
    assert_eq!(endings, [killed_as(Ending::Killed), killed_as(Ending::Killed)]);
    assert_eq!(driver.answer(3), Ok(()));
    assert_eq!(driver.seen(&[4])[&4].stdout, "after\n");
    driver.say(&ToGuest::Exec(Box::new(sh(5, "sleep 1007"))));
    driver.started(5);
    let mut alone = exec(6, &["echo", "alone"]);
    alone.kill_all_first = true;
    driver.say(&ToGuest::Exec(Box::new(alone)));
    let seen = driver.seen(&[5, 6]);
    let expected = Seen {
        stdout: "alone\n".to_owned(),
        ending: Some(Ending::Exited(0)),
        ..Seen::default()
    };
    assert_eq!(seen[&5].ending, Some(Ending::Killed));
    assert_eq!(seen[&6], expected);
}

#[test]
fn processes_are_listed_with_their_commands() {
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(1, "exec sleep 1008"))));
    let pid = driver.started(1);
    let listed = |driver: &mut Driver, id| {
        driver.say(&ToGuest::AskProcesses { id });
        let processes = driver.wait_for(|message| match message {
            FromGuest::Processes { id: of, processes } if *of == id => Some(processes.clone()),
            _ => None,
        });
        processes.into_iter().find(|process| process.pid == pid).unwrap()
    };
    // It has started, but may still be on its way to its program, and to sleep.
    let mut mine = listed(&mut driver, 2);
    for id in 3..1_000 {
        if mine.name == "sleep" && mine.state == b'S' {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        mine = listed(&mut driver, id);
    }
    let marker = exec(1, &[]).marker;
    assert_eq!(
        (mine.name.as_str(), mine.marker, mine.state),
        ("sleep", Some(marker), b'S')
    );
}
