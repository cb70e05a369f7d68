//! Commands with a terminal.

use crate::driver::{Driver, exec, is_root, nobody, sh};
use harness_guest::{Ending, Exec, FromGuest, TerminalState, ToGuest, WindowSize};
use pretty_assertions::assert_eq;

const SIZE: WindowSize = WindowSize { rows: 33, cols: 99 };

fn in_terminal(mut exec: Exec) -> Exec {
    exec.terminal = Some(SIZE);
    exec
}

fn state(driver: &mut Driver, wanted: u32) -> TerminalState {
    driver.say(&ToGuest::AskTerminal { id: wanted });
    driver.wait_for(|message| match message {
        FromGuest::Terminal { id, state } if *id == wanted => Some(*state),
        _ => None,
    })
}

fn type_in(driver: &mut Driver, id: u32, text: &str) {
    let bytes = text.into();
    driver.say(&ToGuest::Stdin { id, bytes });
}

#[test]
fn a_terminal_is_one_and_belongs_to_its_user() {
    let mut driver = Driver::start();
    let script = "stty size; test -t 0 && test -t 1 && test -t 2 && echo all; echo $TERM; \
                  test $(ps -o tpgid= -p $$) -gt 0 && echo controls; exec 3<>$(tty) && echo opens";
    let expected = "33 99\r\nall\r\nxterm-256color\r\ncontrols\r\nopens\r\n";
    let mut script = in_terminal(sh(1, script));
    script.env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    assert_eq!(driver.run(script.clone()).stdout, expected);
    if is_root() {
        script.id = 2;
        script.user = nobody();
        assert_eq!(driver.run(script.clone()).stdout, expected);
    }
    script.id = 3;
    script.argv = vec!["no-such-program".to_owned()];
    let failed = driver.run(script).failed.unwrap();
    assert_eq!(failed.kind, harness_guest::ProblemKind::Missing);
}

#[test]
fn input_size_and_state_are_seen() {
    let mut driver = Driver::start();
    let mut shell = in_terminal(exec(1, &["sh"]));
    shell.env = vec![
        ("PS1".to_owned(), "ready> ".to_owned()),
        ("TERM".to_owned(), "dumb".to_owned()),
    ];
    driver.say(&ToGuest::Exec(Box::new(shell)));
    driver.wrote(1, "ready> ");
    let idle = Some(true);
    assert_eq!(state(&mut driver, 1).idle, idle);
    type_in(
        &mut driver,
        1,
        "sh -c 'echo be''gun; read answer; echo got $answer'; echo $TERM\n",
    );
    driver.wrote(1, "begun");
    let busy = TerminalState {
        idle: Some(false),
        by_lines: Some(true),
    };
    assert_eq!(state(&mut driver, 1), busy);
    type_in(&mut driver, 1, "42\n");
    driver.wrote(1, "dumb\r\nready> ");
    assert_eq!(state(&mut driver, 1).idle, idle);
    let size = WindowSize { rows: 11, cols: 22 };
    driver.say(&ToGuest::Resize { id: 1, size });
    type_in(&mut driver, 1, "stty size\n");
    driver.wrote(1, "11 22\r\nready> ");
    driver.say(&ToGuest::StdinEnd { id: 1 });
    let seen = driver.seen(&[1]).remove(&1).unwrap();
    assert_eq!(seen.ending, Some(Ending::Exited(0)));
}

#[test]
fn what_runs_in_a_terminal_is_killed() {
    let mut driver = Driver::start();
    let script = in_terminal(sh(
        1,
        "trap '' HUP; (setsid sleep 1009 &); sleep 1009 & echo begun; wait",
    ));
    driver.say(&ToGuest::Exec(Box::new(script)));
    driver.wrote(1, "begun");
    driver.say(&ToGuest::Kill { id: 1 });
    let seen = driver.seen(&[1]).remove(&1).unwrap();
    assert_eq!((seen.ending, seen.survivors), (Some(Ending::Killed), 0));
}

/// A terminal echoes what is typed before its program runs; the host must hear of the start first, or it takes the
/// echo for a lie.
#[test]
fn nothing_is_written_before_the_start_is_told() {
    let mut driver = Driver::start();
    for id in 1..=30 {
        driver.say(&ToGuest::Exec(Box::new(in_terminal(exec(id, &["cat"])))));
        type_in(&mut driver, id, "typed early\n");
        let first = loop {
            match driver.next() {
                FromGuest::Started { id: of, .. } if of == id => break "started",
                FromGuest::Output { id: of, .. } if of == id => break "output",
                _ => {}
            }
        };
        assert_eq!(first, "started", "command {id}");
        driver.say(&ToGuest::Kill { id });
    }
}
