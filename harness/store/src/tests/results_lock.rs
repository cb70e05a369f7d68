//! One process at a time.

use harness_core::units::Timestamp;
use pretty_assertions::assert_eq;

use crate::{Holder, LockError, ResultsLock};

fn holder(command: &str, run: Option<&str>) -> Holder {
    Holder {
        pid: 42,
        command: command.into(),
        run: run.map(Into::into),
        since: Timestamp(1_767_268_800_000_000),
    }
}

#[test]
fn the_second_learns_who_is_first() {
    let results = tempfile::tempdir().unwrap();
    let folder = results.path().join("results");
    let mut first = ResultsLock::acquire(&folder, &holder("harness run", None)).unwrap();
    let refused = || {
        let error = ResultsLock::acquire(&folder, &holder("harness gc", None)).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error}");
        error
            .to_string()
            .replace(&folder.display().to_string(), "results")
    };
    assert_eq!(
        refused(),
        "results/.lock is in use by process 42 (`harness run`, since 2026-01-01T12:00:00.000000Z), \
        wait for it or use another results folder"
    );
    let second = holder("harness run", Some("run-7"));
    first.update(&second).unwrap();
    assert_eq!(ResultsLock::holder(&folder), Some(second));
    assert_eq!(
        refused(),
        "results/.lock is in use by process 42 (`harness run` on run run-7, since 2026-01-01T12:00:00.000000Z), \
        wait for it or use another results folder"
    );
    std::fs::write(folder.join(".lock"), "{").unwrap();
    assert_eq!(
        refused(),
        "results/.lock is in use by another process, wait for it or use another results folder"
    );
    drop(first);
    assert_eq!(ResultsLock::holder(&folder), None);
    ResultsLock::acquire(&folder, &holder("harness gc", None)).unwrap();
}

#[test]
fn a_folder_that_cannot_be_locked_is_named() {
    let results = tempfile::tempdir().unwrap();
    let file = results.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = ResultsLock::acquire(&file, &holder("harness run", None)).unwrap_err();
    assert!(matches!(error, LockError::Io { .. }));
    assert!(error.to_string().contains("file/.lock: "), "{error}");
}

#[test]
fn looking_creates_nothing() {
    let results = tempfile::tempdir().unwrap();
    let folder = results.path().join("results");
    assert_eq!(ResultsLock::holder(&folder), None);
    assert!(!folder.exists());
}
