//! A process that is killed loses nothing that it was told is durable.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "HARNESS_STORE_TEST_FOLDER";
const ACKNOWLEDGED: u32 = 20;

/// Not a test by itself: what the child process of the test below does.
#[test]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(FOLDER) else {
        return;
    };
    let dir = RunDir::open(Path::new(&path)).unwrap();
    let store = begin(&dir);
    store.append(now(), &run_started()).unwrap();
    for index in 0.. {
        store
            .append(now(), &started(&format!("task/sample-{index}")))
            .unwrap();
        let (attempt, seal) = write_attempt(&store, index, 20);
        wait(store.commit(now(), ended(attempt, Some(seal)))).unwrap();
        // On a line of its own, whatever the test runner printed before.
        writeln!(std::io::stderr(), "\nacknowledged {index}").unwrap();
    }
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let (_results, dir) = folder();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "tests::crash::writes_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    let last = format!("acknowledged {ACKNOWLEDGED}");
    assert!(
        said.lines().map_while(Result::ok).any(|line| line == last),
        "the child has not written"
    );
    child.kill().unwrap();
    child.wait().unwrap();

    let log = dir.read_run().unwrap();
    let seals = log.lines.iter().filter_map(|line| match &line.event {
        RunEvent::AttemptEnded(ended) => ended.log.clone(),
        _ => None,
    });
    let seals: Vec<_> = seals.collect();
    assert!(seals.len() > ACKNOWLEDGED as usize, "{} endings", seals.len());
    for seal in &seals {
        assert_eq!(dir.read_attempt(seal).unwrap().map(Result::unwrap).count(), 20);
    }
    assert!(log.lines.iter().zip(0..).all(|(line, seq)| line.seq == seq));

    // The attempt that was running can be read, and the log goes on.
    let (store, log) = DiskStore::resume(&dir, Scrubber::none()).unwrap();
    let seq = log.lines.len();
    wait(store.commit(now(), RunEvent::Interrupted)).unwrap();
    assert_eq!(dir.read_run().unwrap().lines[seq].seq, seq as u64);
}
