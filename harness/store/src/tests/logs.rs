//! What is written is what is read.

use std::fs;
use std::sync::Arc;

use harness_core::event::Line;
use harness_core::fold::fold;
use pretty_assertions::assert_eq;

use super::*;
use crate::{MemoryStore, Torn};

#[test]
fn a_run_is_read_as_it_was_written() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    let memory = MemoryStore::default();
    for store in [&store as &dyn EventStore, &memory] {
        store.append(now(), &run_started()).unwrap();
        store.append(now(), &started("task/sample-3")).unwrap();
        let (attempt, seal) = write_attempt(store, 3, 5);
        assert_eq!(seal.file, "000003.1.jsonl");
        wait(store.commit(now(), ended(attempt, Some(seal)))).unwrap();
    }
    store.close().unwrap();
    let log = dir.read_run().unwrap();
    assert_eq!((log.lines.len(), log.torn), (3, None));
    assert_eq!(log.lines, memory.lines());
    let RunEvent::AttemptEnded(ended) = &log.lines[2].event else {
        panic!("{:?}", log.lines[2]);
    };
    let lines: Vec<_> = dir
        .read_attempt(ended.log.as_ref().unwrap())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(lines, memory.attempt_lines(&ended.attempt));
    assert_eq!(lines.len(), 5);
}

#[test]
fn a_log_cut_anywhere_gives_its_good_prefix() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    store.append(now(), &run_started()).unwrap();
    store.append(now(), &started("täsk")).unwrap();
    wait(store.commit(now(), ended(attempt("täsk", 1), None))).unwrap();
    store.close().unwrap();
    let path = dir.path().join("run.jsonl");
    let whole = fs::read(&path).unwrap();
    let lines = dir.read_run().unwrap().lines;
    for at in 0..=whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        let good = newlines(&whole[..at]);
        let rest = at
            - whole[..at]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
        let torn = (rest > 0).then_some(Torn {
            line: good as u64 + 1,
            bytes: rest as u64,
        });
        let log = dir.read_run().unwrap();
        assert_eq!((&log.lines[..], log.torn), (&lines[..good], torn), "cut at {at}");

        // A continued log goes on where the good prefix ends. Not tried at every cut: it syncs.
        if at % 16 != 0 && rest > 1 {
            continue;
        }
        let (store, log) = DiskStore::resume(&dir, Scrubber::none()).unwrap();
        assert_eq!(log.torn, torn);
        store.append(now(), &RunEvent::Interrupted).unwrap();
        store.close().unwrap();
        let log = dir.read_run().unwrap();
        assert_eq!((&log.lines[..good], log.torn), (&lines[..good], None));
        assert_eq!((log.lines.len(), log.lines[good].seq), (good + 1, good as u64));
    }
}

#[test]
fn only_what_a_crash_leaves_is_a_torn_tail() {
    let (_results, dir) = folder();
    let path = dir.path().join("run.jsonl");
    let line = |seq| {
        let (at, working, event) = (now().wall, now().elapsed, run_started());
        serde_json::to_string(&Line {
            seq,
            at,
            working,
            event,
        })
        .unwrap()
    };
    let read = |content: String| {
        fs::write(&path, content).unwrap();
        dir.read_run()
            .map(|log| (log.lines.len(), log.torn.map(|torn| torn.bytes)))
            .map_err(|error| {
                error
                    .to_string()
                    .replace(&path.display().to_string(), "run.jsonl")
            })
    };
    assert_eq!(read(format!("{}\n\0\0\0\0", line(0))), Ok((1, Some(4))));
    assert_eq!(read(format!("{}\n{{\"seq\n", line(0))), Ok((1, Some(6))));
    let error = |text: &str| Err(format!("failed to read run.jsonl: {text}"));
    assert_eq!(
        read(format!("{}\n{{\"seq\n{}\n", line(0), line(1))),
        error("line 2 is torn: EOF while parsing a string at line 1 column 5")
    );
    let unknown = line(0).replace("run_started", "teleported");
    let named = "line 1 is not an event that this version knows: unknown variant `teleported`";
    assert_eq!(read(format!("{unknown}\n")).map_err(first_clause), error(named));
    let newer = line(0).replace("\"format\":1", "\"format\":2,\"colour\":\"red\"");
    assert_eq!(
        read(format!("{newer}\n")),
        error("line 1 says format 2, this program reads 1: use the version that wrote it")
    );
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

fn first_clause(text: impl AsRef<str>) -> String {
    text.as_ref().split(", expected").next().unwrap().to_owned()
}

#[test]
fn a_changed_attempt_is_noticed() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    let (_, seal) = write_attempt(&store, 0, 3);
    store.close().unwrap();
    let path = dir.path().join("attempts/000000.1.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let read = |content: &str| {
        fs::write(&path, content).unwrap();
        let read: Result<Vec<_>, _> = dir.read_attempt(&seal).unwrap().collect();
        read.map(|lines| lines.len()).map_err(|error| {
            error
                .to_string()
                .split_once("jsonl: ")
                .unwrap()
                .1
                .chars()
                .take(36)
                .collect::<String>()
        })
    };
    assert_eq!(read(&whole), Ok(3));
    let changed = || Err("it was changed after it was sealed: ".to_owned());
    assert_eq!(read(&whole.replace("note 1", "note 9")), changed());
    assert_eq!(
        read(&format!(
            "{whole}{}",
            whole.lines().next().unwrap().replace("\"seq\":0", "\"seq\":3") + "\n"
        )),
        changed()
    );
    let end_of_second = whole.match_indices('\n').nth(1).unwrap().0 + 1;
    assert_eq!(read(&whole[..end_of_second]), changed());
    assert_eq!(read(&whole[..end_of_second - 1]), Err("line 2 has no end".into()));
    assert_eq!(
        read(&whole[end_of_second..]),
        Err("line 1 has the number 2 where 0 foll".into())
    );
}

#[test]
fn an_unsealed_attempt_gives_its_good_prefix() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    let (attempt, _) = write_attempt(&store, 0, 3);
    store.close().unwrap();
    let path = dir.path().join("attempts/000000.1.jsonl");
    let whole = fs::read(&path).unwrap();
    for at in 0..=whole.len() {
        fs::write(&path, &whole[..at]).unwrap();
        let mut reader = dir.read_unsealed(&attempt, 0).unwrap();
        let lines = reader.by_ref().map(Result::unwrap).count();
        let good = newlines(&whole[..at]);
        assert_eq!(lines, good, "cut at {at}");
        assert_eq!(reader.torn().is_some(), at > 0 && whole[at - 1] != b'\n');
    }
}

#[test]
fn names_from_logs_do_not_leave_the_folder() {
    let (results, dir) = folder();
    for file in ["../plan.json", "/etc/passwd", "", ".", "..", "a/b", "a/"] {
        let seal = LogSeal {
            file: file.into(),
            lines: 0,
            bytes: 0,
            digest: Digest::of(b""),
        };
        assert!(
            text(dir.read_attempt(&seal)).contains("is not the name of a log"),
            "{file}"
        );
        let named = RunDir::create(results.path(), &file.into());
        assert!(
            text(named).contains("the run's name is not a file name"),
            "{file}"
        );
    }
    assert!(dir.write_derived("plan.json", b"").is_err());
    assert!(dir.write_derived("report.html", b"page").is_ok());
}

#[test]
fn lines_keep_the_order_of_the_calls() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    store.append(now(), &run_started()).unwrap();
    let mut waiting = Vec::new();
    for n in 0..500 {
        store.append(now(), &started(&format!("t{n}"))).unwrap();
        waiting.push(store.commit(now(), ended(attempt(&format!("t{n}"), 1), None)));
    }
    // The last answer comes after all that was sent before.
    wait(waiting.pop().unwrap()).unwrap();
    let log = dir.read_run().unwrap();
    let trials: Vec<_> = log.lines[1..].iter().map(|line| trial(&line.event)).collect();
    let expected: Vec<_> = (0..500)
        .flat_map(|n| [format!("t{n}"), format!("t{n}")])
        .collect();
    assert_eq!(trials, expected);
    assert!(log.lines.iter().zip(0..).all(|(line, seq)| line.seq == seq));
    for answer in waiting {
        wait(answer).unwrap();
    }
}

fn trial(event: &RunEvent) -> String {
    match event {
        RunEvent::AttemptStarted { attempt } => attempt.trial.to_string(),
        RunEvent::AttemptEnded(ended) => ended.attempt.trial.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_attempts_at_once() {
    let (_results, dir) = folder();
    let store = Arc::new(begin(&dir));
    store.append(now(), &run_started()).unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let waiting: Vec<_> = (0..25)
                    .map(|n| {
                        let (attempt, seal) = write_attempt(&*store, writer * 25 + n, 40);
                        store.commit(now(), ended(attempt, Some(seal)))
                    })
                    .collect();
                for answer in waiting {
                    wait(answer).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let log = dir.read_run().unwrap();
    assert_eq!(log.lines.len(), 201);
    for line in &log.lines[1..] {
        let RunEvent::AttemptEnded(ended) = &line.event else {
            panic!("{line:?}");
        };
        assert_eq!(
            dir.read_attempt(ended.log.as_ref().unwrap())
                .unwrap()
                .flatten()
                .count(),
            40
        );
    }
}

#[test]
fn blobs_are_kept_once_and_checked() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    let digest = store.put_blob(b"content").unwrap();
    assert_eq!(store.put_blob(b"content"), Ok(digest));
    assert_eq!(dir.read_blob(digest), Ok(b"content".to_vec()));
    wait(store.commit(now(), run_started())).unwrap();
    store.close().unwrap();
    let name = digest.to_string();
    let path = dir.path().join("blobs").join(&name[..2]).join(&name);
    let beside = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(beside, 1);
    // What a power cut may leave: the name without the bytes. Putting it again repairs it.
    fs::write(&path, b"\0\0\0\0\0\0\0").unwrap();
    assert!(text(dir.read_blob(digest)).ends_with("its content is not what its name says"));
    let (store, _) = DiskStore::resume(&dir, Scrubber::none()).unwrap();
    store.put_blob(b"content").unwrap();
    assert_eq!(dir.read_blob(digest), Ok(b"content".to_vec()));
}

#[test]
fn no_secret_reaches_the_disk() {
    let secret = "sk-live-\"12345\"";
    let (_results, dir) = folder();
    let store = DiskStore::begin(&dir, Scrubber::new([secret]).unwrap()).unwrap();
    let started = RunEvent::ImageReady {
        asked: format!("image-{secret}"),
        image: harness_core::ports::PreparedImage {
            name: "image".into(),
            id: "sha256:0".into(),
            origin: harness_core::ports::ImageOrigin::Present,
            services: std::collections::BTreeMap::new(),
        },
    };
    wait(store.commit(now(), started)).unwrap();
    let mut log = store.attempt(&attempt("t", 1), 0).unwrap();
    log.append(
        now(),
        Duration::ZERO,
        &note(&format!("Authorization: {secret}\n")),
    )
    .unwrap();
    let body = serde_json::json!({ "key": secret }).to_string();
    log.append(now(), Duration::ZERO, &note(&body)).unwrap();
    let seal = log.finish().unwrap();
    let blob = store.put_blob(body.as_bytes()).unwrap();
    store.close().unwrap();
    assert_eq!(dir.read_blob(blob), Ok(br#"{"key":"[secret]"}"#.to_vec()));
    let notes: Vec<_> = dir
        .read_attempt(&seal)
        .unwrap()
        .map(|line| line.unwrap().event)
        .collect();
    assert_eq!(
        notes,
        [note("Authorization: [secret]\n"), note(r#"{"key":"[secret]"}"#)]
    );
    for path in ["run.jsonl", "attempts/000000.1.jsonl"] {
        let content = fs::read_to_string(dir.path().join(path)).unwrap();
        assert!(
            content.contains("[secret]") && !content.contains("12345"),
            "{path}: {content}"
        );
    }
}

#[test]
fn a_plan_is_written_once() {
    let (results, dir) = folder();
    assert!(text(dir.write_plan(b"other")).ends_with("the run has a plan already"));
    assert_eq!(dir.read_plan(), Ok(b"{}".to_vec()));
    assert!(text(RunDir::create(results.path(), &"run-1".into())).contains("File exists"));
    RunDir::create(results.path(), &"run-0".into()).unwrap();
    assert_eq!(
        RunDir::all(results.path()),
        Ok(vec![dir.clone()]),
        "a folder without a plan is no run"
    );
    assert_eq!(RunDir::all(&results.path().join("none")), Ok(vec![]));
    assert!(RunDir::open(dir.path()).is_ok() && RunDir::open(results.path().join("run-0")).is_err());
}

#[test]
fn an_empty_log_is_a_run_that_did_not_start() {
    let (_results, dir) = folder();
    assert_eq!(dir.read_run(), Ok(crate::RunLog::default()));
    let (store, log) = DiskStore::resume(&dir, Scrubber::none()).unwrap();
    assert_eq!(log.lines, []);
    wait(store.commit(now(), run_started())).unwrap();
    assert_eq!(fold(&dir.read_run().unwrap().lines).unwrap().lines(), 1);
}
