//! The formats against their fixtures: `tests/fixtures/formats/KIND/{good,bad}/NAME`, a folder or one file.
//!
//! A new case is a new file. A single `task.yaml` stands in a folder named `case` with `files/a.txt` and
//! `solution.sh`. What a bad case says, and what a good one means, is a snapshot.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the library is pure, its tests read fixtures, and a missing one fails the test"
)]

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness_core::formats::{
    Folder, FormatKind, OutcomeColumn, Parsed, parse_models, parse_prices, parse_replies, parse_runs,
    parse_scaffold, parse_suite, parse_task, parse_yaml, schema,
};
use harness_core::task::{FileData, TaskFiles};
use pretty_assertions::assert_eq;
use proptest::prelude::*;

fn fixtures(kind: &str, which: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/formats")
        .join(kind)
        .join(which);
    let mut found: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no fixtures in {}", folder.display());
    found
}

fn file(bytes: impl Into<Vec<u8>>) -> Arc<FileData> {
    Arc::new(FileData {
        bytes: bytes.into(),
        executable: false,
    })
}

fn read_folder(path: &Path, prefix: &str, files: &mut TaskFiles) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read_folder(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, file(fs::read(&path).unwrap()));
        }
    }
}

/// Returns the name and the files of a case: a folder, or one file in a folder of its own.
fn case(path: &Path, single: &str) -> (String, TaskFiles) {
    if path.is_dir() {
        let mut files = TaskFiles::new();
        read_folder(path, "", &mut files);
        return (path.file_name().unwrap().to_str().unwrap().to_owned(), files);
    }
    ("case".to_owned(), case_files(single, fs::read(path).unwrap()))
}

fn case_files(name: &str, bytes: Vec<u8>) -> TaskFiles {
    TaskFiles::from([
        (name.to_owned(), file(bytes)),
        ("files/a.txt".to_owned(), file("mallory\n")),
        ("solution.sh".to_owned(), file("cat /data/a.txt\n")),
    ])
}

fn task_of(name: &str, files: &TaskFiles) -> Parsed<harness_core::task::TaskSpec> {
    let path = format!("tasks/{name}");
    parse_task(&Folder {
        path: &path,
        name,
        files,
    })
}

fn parse(kind: &str, path: &Path) -> Parsed<String> {
    fn shown<T: Debug>(parsed: Parsed<T>) -> Parsed<String> {
        parsed.map(|checked| harness_core::formats::Checked {
            value: format!("{:#?}", checked.value),
            warnings: checked.warnings,
        })
    }
    let bytes = || fs::read(path).unwrap();
    match kind {
        "task" => {
            let (name, files) = case(path, "task.yaml");
            shown(task_of(&name, &files).map(|mut checked| {
                // The files are the fixture itself.
                checked.value.files.clear();
                checked
            }))
        }
        "scaffold" => {
            let (name, files) = case(path, "scaffold.yaml");
            let path = format!("scaffolds/{name}");
            shown(parse_scaffold(&Folder {
                path: &path,
                name: &name,
                files: &files,
            }))
        }
        "suite" => shown(parse_suite("suites/case.yaml", &bytes())),
        "models" => shown(parse_models("models.yaml", &bytes())),
        "prices" => shown(parse_prices("prices.yaml", &bytes())),
        "runs" => {
            let name = path.file_name().unwrap().to_str().unwrap();
            shown(parse_runs(name, &bytes(), OutcomeColumn::Binarized))
        }
        _ => unreachable!("no such kind"),
    }
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({snapshot_path => "fixtures/formats/snapshots", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, text);
    });
}

const KINDS: [&str; 6] = ["task", "scaffold", "suite", "models", "prices", "runs"];

#[test]
fn bad_inputs_say_what_is_wrong_and_where() {
    let mut count = 0;
    for kind in KINDS {
        for (name, path) in fixtures(kind, "bad") {
            let text = match parse(kind, &path) {
                Ok(_) => panic!("{kind} {name} was taken"),
                Err(problems) => problems.to_string(),
            };
            let control = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(control, None, "{kind} {name} would reach the terminal");
            snapshot(&format!("{kind}-bad-{name}"), &text);
            count += 1;
        }
    }
    assert!(count >= 120, "only {count} bad inputs were found");
}

#[test]
fn good_inputs_mean_what_they_say() {
    for kind in KINDS {
        for (name, path) in fixtures(kind, "good") {
            match parse(kind, &path) {
                Ok(checked) => {
                    snapshot(
                        &format!("{kind}-good-{name}"),
                        &format!("{}\n{}", checked.value, checked.warnings),
                    );
                }
                Err(problems) => panic!("{kind} {name} was refused:\n{problems}"),
            }
        }
    }
}

#[test]
fn editors_take_what_the_program_takes() {
    for (kind, name) in [
        (FormatKind::Task, "task"),
        (FormatKind::Scaffold, "scaffold"),
        (FormatKind::Suite, "suite"),
        (FormatKind::Models, "models"),
        (FormatKind::Prices, "prices"),
    ] {
        let validator = jsonschema::validator_for(&schema(kind)).unwrap();
        for (case_name, path) in fixtures(name, "good") {
            let path = if path.is_dir() {
                path.join(format!("{name}.yaml"))
            } else {
                path
            };
            let value = parse_yaml("x", &fs::read(path).unwrap()).unwrap().value;
            let errors: Vec<_> = validator
                .iter_errors(&value)
                .map(|e| format!("{}: {e}", e.instance_path()))
                .collect();
            assert_eq!(errors, Vec::<String>::new(), "{name} {case_name}");
        }
        let unknown = serde_json::json!({"harness": 1, "nonsense": true});
        assert!(!validator.is_valid(&unknown), "{name}");
    }
}

#[test]
fn schemas_are_published() {
    for kind in FormatKind::ALL {
        let text = serde_json::to_string_pretty(&schema(kind)).unwrap();
        snapshot(&format!("schema-{}", kind.name()), &text);
    }
}

/// Inputs too large for a fixture.
#[test]
fn huge_inputs_are_refused_at_once() {
    let bomb = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        format!(
            "{text}a{n}: &a{n} [{}]\n",
            vec![format!("*a{}", n - 1); 10].join(", ")
        )
    });
    let cases = [
        ("scalar of 10 MB", format!("title: {}\n", "x".repeat(10 << 20))),
        ("alias bomb", bomb),
        ("deep flow", "[".repeat(100_000)),
        ("deep maps", "{a: ".repeat(1000)),
        (
            "deep blocks",
            (0..300).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
        ),
        ("many keys", (0..70_000).map(|n| format!("k{n}: 1\n")).collect()),
        ("many values", format!("samples: [{}]\n", "1,".repeat(300_000))),
        ("long key", format!("{}: 1\n", "k".repeat(5000))),
        ("unclosed text", format!("title: \"{}", "x\n ".repeat(100_000))),
    ];
    let shown: Vec<_> = cases
        .into_iter()
        .map(|(name, text)| {
            let files = case_files("task.yaml", text.into_bytes());
            let problems = task_of("case", &files).unwrap_err();
            let first = problems.0[0].to_string();
            assert!(first.len() < 1000, "{name}: {first}");
            format!("== {name}: {} problems\n{first}", problems.0.len())
        })
        .collect();
    snapshot("huge", &shown.join("\n"));
}

#[test]
fn many_rows_are_checked() {
    let rows: String = (0..2000).map(|n| format!("s{n},{n},/data/{n}\n")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats/task/good/from-csv");
    let (name, mut files) = case(&path, "task.yaml");
    files.insert(
        "samples.csv".to_owned(),
        file(format!("id,target,vars.path\n{rows}")),
    );
    assert_eq!(task_of(&name, &files).unwrap().value.samples.len(), 2000);
}

#[test]
fn the_digest_follows_every_file_that_counts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats/task/good/canned");
    let (name, files) = case(&path, "task.yaml");
    let digest = |change: &dyn Fn(&mut TaskFiles)| {
        let mut files = files.clone();
        change(&mut files);
        task_of(&name, &files).unwrap().value.digest
    };
    let plain = digest(&|_| {});
    assert_eq!(
        plain,
        digest(&|files| drop(files.insert(".cache/x".into(), file("x"))))
    );
    assert_eq!(
        plain,
        digest(&|files| drop(files.insert("score/__pycache__/x.pyc".into(), file("x"))))
    );
    assert_ne!(
        plain,
        digest(&|files| drop(files.insert("notes.txt".into(), file("x"))))
    );
    assert_ne!(
        plain,
        digest(&|files| {
            let bytes = files["replies.yaml"].bytes.clone();
            files.insert(
                "replies.yaml".into(),
                Arc::new(FileData {
                    bytes,
                    executable: true,
                }),
            );
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, rng_seed: prop::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a file, reading it ends with an answer whose places lie in it.
    #[test]
    fn no_input_stops_the_program(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..12)) {
        let source = include_bytes!("fixtures/formats/task/good/everything/task.yaml");
        let mut bytes = source.to_vec();
        for (at, action, byte) in edits {
            let at = at.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => drop(bytes.splice(at..=at, [])),
                2 => bytes.insert(at, b"\t\n:[]{}&*!|>'\"%@`#-?, "[usize::from(byte) % 22]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let lines = bytes.split(|byte| *byte == b'\n').count() + 1;
        for result in [
            task_of("case", &case_files("task.yaml", bytes.clone())).err(),
            parse_suite("s", &bytes).err(),
            parse_replies("r", &bytes).err(),
        ] {
            for problem in result.into_iter().flat_map(|problems| problems.0) {
                prop_assert!(problem.line as usize <= lines);
                prop_assert!(!problem.to_string().chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }

    /// The same for files of runs.
    #[test]
    fn no_file_of_runs_stops_the_program(
        json: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..12),
    ) {
        let mut bytes = if json {
            include_bytes!("fixtures/formats/runs/good/json-lines.jsonl").to_vec()
        } else {
            include_bytes!("fixtures/formats/runs/good/one-row-a-run.csv").to_vec()
        };
        for (at, action, byte) in edits {
            if bytes.len() < 2 {
                break;
            }
            let at = at.index(bytes.len());
            match action {
                0 => bytes[at] = byte,
                1 => drop(bytes.splice(at..=at, [])),
                2 => bytes.insert(at, b"\t\n\r:[]{},\"\\-. 0123456789e"[usize::from(byte) % 24]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let lines = bytes.split(|byte| *byte == b'\n').count() + 1;
        for outcome in [OutcomeColumn::Binarized, OutcomeColumn::Continuous] {
            let problems = match parse_runs("runs", &bytes, outcome) {
                Ok(checked) => checked.warnings,
                Err(problems) => problems,
            };
            for problem in problems.0 {
                prop_assert!(problem.line as usize <= lines);
                prop_assert!(!problem.to_string().chars().any(|c| c.is_control() && c != '\n'));
            }
        }
    }
}

/// Files of runs too large for a fixture.
#[test]
fn huge_files_of_runs_are_refused_at_once() {
    let head = "alias,task_id,task_family,human_minutes,score_binarized\n";
    let cases = [
        (
            "one long line",
            format!("{head}m,a,a,2,{}\n", "1".repeat(2 << 20)),
        ),
        (
            "a quote that does not end",
            format!("{head}\"{}", "m,a,a,2,1\n".repeat(100_000)),
        ),
        (
            "many wrong rows",
            format!("{head}{}", "m,a,a,-2,1\n".repeat(200_000)),
        ),
        ("many columns", format!("{}\n1\n", "x,".repeat(100_000))),
        ("deep JSON", format!("{{\"alias\": {}\n", "[".repeat(100_000))),
        (
            "many keys",
            format!("{{{}\"x\": 1}}\n", "\"alias\": 1, ".repeat(50_000)),
        ),
        ("many objects that do not end", "{\n".repeat(200_000)),
    ];
    let shown: Vec<_> = cases
        .into_iter()
        .map(|(name, text)| {
            let problems = parse_runs("runs", text.as_bytes(), OutcomeColumn::Binarized).unwrap_err();
            let first = problems.0[0].to_string();
            assert!(first.len() < 2000, "{name}: {first}");
            format!("== {name}: {} problems\n{first}", problems.0.len())
        })
        .collect();
    snapshot("huge-runs", &shown.join("\n"));
}
