//! The first failure is told, and nothing is written after it. Root ignores permissions, so these use a full
//! device and files where folders should be.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use pretty_assertions::assert_eq;

use super::*;
use crate::MemoryStore;

const FULL: &str = "No space left on device (os error 28)";

fn full(dir: &RunDir) -> DiskStore {
    let file = File::options().append(true).open("/dev/full").unwrap();
    DiskStore::over(dir.clone(), file, 0, Scrubber::none()).unwrap()
}

fn failure(path: &str, detail: &str) -> StoreError {
    StoreError::Write {
        path: path.into(),
        detail: detail.into(),
    }
}

#[test]
fn a_full_disk_ends_everything() {
    let (_results, dir) = folder();
    let store = full(&dir);
    let mut log = store.attempt(&attempt("t", 1), 0).unwrap();
    let run = dir.path().join("run.jsonl").display().to_string();
    assert_eq!(wait(store.commit(now(), run_started())), Err(failure(&run, FULL)));
    let after = [
        store.append(now(), &run_started()),
        wait(store.commit(now(), run_started())),
        store.put_blob(b"x").map(drop),
        store.attempt(&attempt("t", 2), 0).map(drop),
        log.append(now(), Duration::ZERO, &note("x")),
        log.flush(),
        log.finish().map(drop),
    ];
    assert_eq!(after, [const { Err(StoreError::Broken) }; 7]);
    assert_eq!(store.failure(), Some(failure(&run, FULL)));
    assert_eq!(store.close(), Err(failure(&run, FULL)));
}

#[test]
fn a_failure_that_nobody_waited_for_is_told_to_the_next() {
    let (_results, dir) = folder();
    let store = full(&dir);
    let run = dir.path().join("run.jsonl").display().to_string();
    store.append(now(), &run_started()).unwrap();
    // Which later call learns of it depends on the writer; the first that fails says why, all others `Broken`.
    let told = (0..1_000_000).find_map(|_| store.append(now(), &run_started()).err());
    assert_eq!(told, Some(failure(&run, FULL)));
    assert_eq!(store.append(now(), &run_started()), Err(StoreError::Broken));
    assert_eq!(store.close(), Err(failure(&run, FULL)));
}

#[test]
fn a_failed_attempt_log_ends_everything() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    let path = dir.path().join("attempts/000000.1.jsonl");
    symlink("/dev/full", &path).unwrap();
    let mut log = store.attempt(&attempt("t", 1), 0).unwrap();
    log.append(now(), Duration::ZERO, &note("buffered")).unwrap();
    let failed = failure(&path.display().to_string(), FULL);
    assert_eq!(log.flush(), Err(failed.clone()));
    assert_eq!(wait(store.commit(now(), run_started())), Err(StoreError::Broken));
    assert_eq!(store.close(), Err(failed));
    assert_eq!(fs::read(dir.path().join("run.jsonl")).unwrap(), b"");
}

#[test]
fn a_dropped_log_that_cannot_be_written_is_a_failure_too() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    let path = dir.path().join("attempts/000000.1.jsonl");
    symlink("/dev/full", &path).unwrap();
    let mut log = store.attempt(&attempt("t", 1), 0).unwrap();
    log.append(now(), Duration::ZERO, &note("buffered")).unwrap();
    drop(log);
    let failed = failure(&path.display().to_string(), FULL);
    assert_eq!(store.append(now(), &run_started()), Err(failed));
}

#[test]
fn missing_folders_are_named() {
    let (_results, dir) = folder();
    for (folder, detail) in [
        ("attempts", "Not a directory (os error 20)"),
        ("blobs", "Not a directory (os error 20)"),
    ] {
        let path = dir.path().join(folder);
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, b"").unwrap();
        let store = DiskStore::resume(&dir, Scrubber::none()).unwrap().0;
        let (failed, target) = if folder == "attempts" {
            let opened = store.attempt(&attempt("t", 1), 0);
            (opened.map(drop), path.join("000000.1.jsonl"))
        } else {
            let name = Digest::of(b"x").to_string();
            (store.put_blob(b"x").map(drop), path.join(&name[..2]).join(&name))
        };
        assert_eq!(failed, Err(failure(&target.display().to_string(), detail)));
        assert_eq!(store.append(now(), &run_started()), Err(StoreError::Broken));
    }
}

#[test]
fn evidence_is_not_overwritten() {
    let (_results, dir) = folder();
    let store = begin(&dir);
    let (first, seal) = write_attempt(&store, 0, 1);
    let path = dir.path().join("attempts/000000.1.jsonl").display().to_string();
    let failed = failure(&path, "the log of attempt task/sample-0:1 was written before");
    wait(store.commit(now(), ended(first.clone(), Some(seal.clone())))).unwrap();
    assert_eq!(store.attempt(&first, 0).map(drop), Err(failed.clone()));
    drop(store);
    let (store, _) = DiskStore::resume(&dir, Scrubber::none()).unwrap();
    assert_eq!(store.attempt(&first, 0).map(drop), Err(failed));
    assert_eq!(dir.read_attempt(&seal).unwrap().flatten().count(), 1);
    assert!(text(DiskStore::begin(&dir, Scrubber::none())).ends_with("File exists (os error 17)"));
}

#[test]
fn a_secret_that_is_a_word_of_the_format_is_refused() {
    let (_results, dir) = folder();
    let store = DiskStore::begin(&dir, Scrubber::new(["run_started"]).unwrap()).unwrap();
    let failed = store.append(now(), &run_started());
    assert!(text(failed).ends_with("a secret is also a word of the log's format, use another one"));
}

#[test]
fn the_store_in_memory_fails_alike() {
    let store = MemoryStore::failing_after(1);
    let full = failure("memory", "no space left on device");
    assert_eq!(store.append(now(), &run_started()), Ok(()));
    assert_eq!(wait(store.commit(now(), run_started())), Err(full));
    assert_eq!(store.put_blob(b"x"), Err(StoreError::Broken));
    assert_eq!(store.lines().len(), 1);
}
