//! Killing commands with what they started, and everything.

use crate::driver::{Driver, Seen, exec, is_root, nobody, sh};
use harness_guest::{Ending, FromGuest, LONGEST_TO_GUEST, ProblemKind, ToGuest, encode};
use pretty_assertions::assert_eq;
use std::io::Write;
use std::time::Duration;

/// Children that try to get away; each writes its process number. The last clears its environment too.
const FUGITIVES: &str = "
    sleep 1001 & echo $!
    nohup sleep 1001 >/dev/null 2>&1 & echo $!
    setsid sh -c 'echo $$; exec sleep 1001' &
    (setsid sh -c 'echo $$; exec sleep 1001' &) &
    (env -i setsid sh -c 'echo $$; exec sleep 1001 >/dev/null 2>&1' &) &
    (env -i sh -c '(setsid sh -c \"echo \\$\\$; exec sleep 1001\" &)' &)
    wait; sleep 1001";

fn lives(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !stat.rsplit(") ").next().unwrap().starts_with('Z')
}

/// Waits until a process runs `sleep`: what was just forked still is its parent's program.
fn sleeps(pid: &str) -> bool {
    (0..2000).any(|_| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        std::thread::sleep(Duration::from_millis(5));
        name == "sleep\n"
    })
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
        let mine = driver.wrote_numbers(1, 6);
        assert!(mine.iter().all(|pid| sleeps(pid)));
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
    assert!(sleeps(&marked[0]));
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
    assert!(sleeps(&left[0]));
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

/// Anybody can write the marker of a command that is over, but it saves nothing that was started since.
#[test]
fn the_marker_of_an_earlier_command_saves_nobody() {
    let mut driver = Driver::start();
    let first = exec(1, &["true"]);
    let marker = first.marker.clone();
    driver.run(first);
    // Ends and births are known to a hundredth of a second.
    std::thread::sleep(Duration::from_millis(50));
    let script = format!("(HARNESS_EXEC={marker} setsid sh -c 'echo $$; exec sleep 1010' &); sleep 1010");
    driver.say(&ToGuest::Exec(Box::new(sh(2, &script))));
    let forged = driver.wrote_numbers(2, 1);
    assert!(sleeps(&forged[0]));
    driver.say(&ToGuest::Kill { id: 2 });
    let seen = driver.seen(&[2]).remove(&2).unwrap();
    assert_eq!((seen.ending, seen.survivors), killed_as(Ending::Killed));
    assert!(!lives(&forged[0]));
}

/// What an earlier command left running may start more, although its own process is gone.
#[test]
fn the_children_of_what_was_left_are_spared() {
    let mut driver = Driver::start();
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go").display().to_string();
    let server = format!(
        "setsid sh -c 'while ! test -e {go}; do sleep 0.01; done; (sleep 1011 & echo $! >{go}.pid); sleep 1011' >/dev/null 2>&1 &"
    );
    driver.run(sh(1, &server));
    std::thread::sleep(Duration::from_millis(50));
    driver.say(&ToGuest::Exec(Box::new(sh(2, "sleep 1011"))));
    driver.started(2);
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(&go, "").unwrap();
    let written = || std::fs::read_to_string(format!("{go}.pid")).unwrap_or_default();
    while !written().ends_with('\n') {
        std::thread::sleep(Duration::from_millis(5));
    }
    let child = pids(&written()).remove(0);
    assert!(sleeps(&child));
    driver.say(&ToGuest::Kill { id: 2 });
    driver.seen(&[2]);
    assert!(lives(&child));
}

/// The host says both at once when it gives a command up; the sweep must still go to its end.
#[test]
fn a_command_that_is_killed_and_forgotten_at_once_dies_with_all_that_it_started() {
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(1, FUGITIVES))));
    let mine = driver.wrote_numbers(1, 6);
    let mut both = Vec::new();
    for message in [ToGuest::Kill { id: 1 }, ToGuest::Forget { id: 1 }] {
        encode(&message, LONGEST_TO_GUEST, &mut both).unwrap();
    }
    driver.stdin.write_all(&both).unwrap();
    driver.wait_for(|message| (*message == FromGuest::Forgotten { id: 1 }).then_some(()));
    let left: Vec<&String> = mine.iter().filter(|pid| lives(pid)).collect();
    assert_eq!(left, Vec::<&String>::new());
}

/// A process of the helper's user can take its descriptors away. What it can't see any more must not count as dead.
#[test]
fn a_helper_that_sees_nothing_does_not_say_that_all_are_dead() {
    let mut driver = Driver::start();
    driver.say(&ToGuest::Exec(Box::new(sh(1, "sleep 1012"))));
    let pid = driver.started(1);
    let helper = driver.child.lock().unwrap().id();
    let helper = rustix::process::Pid::from_raw(i32::try_from(helper).unwrap());
    let none = rustix::process::Rlimit {
        current: Some(3),
        maximum: Some(3),
    };
    rustix::process::prlimit(helper, rustix::process::Resource::Nofile, none).unwrap();
    driver.say(&ToGuest::KillAll { id: 2 });
    let problem = driver.answer(2).unwrap_err();
    assert_eq!(problem.kind, ProblemKind::Survivors, "{}", problem.text);
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    driver.listens = false;
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
