//! `harness check`: lints what people wrote; with `--sandbox` also proves that tasks can be won and are not free.

use std::fs;
use std::path::{Path, PathBuf};

use harness_core::formats::{parse_models, parse_prices, parse_suite};
use serde_json::json;

use crate::args::{CheckArgs, ResultsArg, RunArgs};
use crate::exit::{Exit, Failure};
use crate::load::{Collector, read_scaffold_folder, read_task};
use crate::run_dir;
use crate::walk::{Found, find, unreadable};

/// `harness check`
pub(crate) fn check(args: &CheckArgs) -> Result<Exit, Failure> {
    let mut collector = Collector::default();
    let mut other = Vec::new();
    let mut tasks = Vec::new();
    let mut files = 0;
    for path in &args.paths {
        for found in find(path)? {
            files += 1;
            check_one(&found, &mut collector, &mut other)?;
            if let Found::Task(path) = found {
                tasks.push(path);
            }
        }
    }
    let (errors, warnings) = show(&collector, &other, args.json)?;
    if errors > 0 {
        return Ok(Exit::BadInput);
    }
    if !args.json {
        crate::warn(&format!("{files} file(s) checked, {warnings} warning(s)\n"));
    }
    if args.sandbox && !tasks.is_empty() {
        return prove(tasks, args);
    }
    Ok(Exit::Clear)
}

fn check_one(found: &Found, collector: &mut Collector, other: &mut Vec<String>) -> Result<(), Failure> {
    let read = |path: &Path| fs::read(path).map_err(|error| unreadable(path, &error));
    match found {
        Found::Task(path) => {
            read_task(path, collector)?;
        }
        Found::Scaffold(path) => {
            read_scaffold_folder(path, collector)?;
        }
        Found::Suite(path) => {
            collector.take(parse_suite(&path.display().to_string(), &read(path)?));
        }
        Found::Models(path) => {
            collector.take(parse_models(&path.display().to_string(), &read(path)?));
        }
        Found::Prices(path) => {
            collector.take(parse_prices(&path.display().to_string(), &read(path)?));
        }
        Found::Script(path) => {
            let bytes = read(path)?;
            let text = String::from_utf8_lossy(&bytes);
            if let Err(problems) =
                harness_models::scripted::ScriptedModel::parse(&text, &path.display().to_string())
            {
                other.extend(problems.iter().map(ToString::to_string));
            }
        }
    }
    Ok(())
}

fn show(collector: &Collector, other: &[String], as_json: bool) -> Result<(usize, usize), Failure> {
    let problems = collector.problems.0.iter().chain(&collector.warnings.0);
    if as_json {
        for problem in problems.clone() {
            let line = json!({
                "severity": problem.severity.name(), "file": problem.file, "line": problem.line,
                "column": problem.column, "message": problem.message, "hint": problem.hint,
            });
            crate::print(&format!("{line}\n"))?;
        }
        for message in other {
            crate::print(&format!("{}\n", json!({"severity": "error", "message": message})))?;
        }
    } else {
        for problem in problems.clone() {
            crate::warn(&format!("{problem}\n"));
        }
        for message in other {
            crate::warn(&harness_core::text::printable(&format!("error: {message}\n\n")));
        }
    }
    let (errors, warnings) = collector.problems.counts();
    Ok((errors + other.len(), warnings + collector.warnings.0.len()))
}

/// Runs the oracle and nothing on every sample. The oracle must succeed and nothing must fail.
fn prove(tasks: Vec<PathBuf>, checked: &CheckArgs) -> Result<Exit, Failure> {
    let folder = Scratch::new()?;
    let args = RunArgs {
        what: tasks,
        model: Vec::new(),
        scaffold: vec!["oracle".to_owned(), "noop".to_owned()],
        epochs: Some(1),
        limit: None,
        runtime: checked.runtime,
        allow_open_network: checked.allow_open_network,
        results: ResultsArg {
            results: folder.path.clone(),
        },
        json: false,
        keep_sandbox: None,
        dry_run: false,
        new: true,
    };
    let ran = crate::with_runtime(crate::run::run(args))?;
    if ran == Exit::Interrupted {
        return Ok(ran);
    }
    let mut wrong = Vec::new();
    let mut right = 0;
    for run in run_dir::all(&folder.path)? {
        for row in run.rows() {
            let oracle = row.planned.scaffold.as_str() == "oracle";
            if row.success() == Some(oracle) {
                right += 1;
                continue;
            }
            let what = if oracle {
                "the oracle does not succeed"
            } else {
                "doing nothing does not fail"
            };
            let why = row.error.clone().unwrap_or_else(|| {
                row.score
                    .map_or_else(|| "no score".to_owned(), |score| format!("score {score}"))
            });
            wrong.push(format!(
                "task `{}`, sample `{}`: {what} ({}: {why})",
                row.planned.task,
                row.planned.sample,
                row.status.name()
            ));
        }
    }
    for line in &wrong {
        crate::warn(&harness_core::text::printable(&format!("error: {line}\n")));
    }
    crate::warn(&format!("{right} of {} checks passed\n", right + wrong.len()));
    if wrong.is_empty() {
        return Ok(Exit::Clear);
    }
    folder.keep();
    Ok(Exit::Failed)
}

/// A results folder for proofs, removed at the end unless something failed.
struct Scratch {
    path: PathBuf,
    kept: std::cell::Cell<bool>,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let name = format!("harness-check-{}-{}", std::process::id(), crate::clock::wall().0);
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).map_err(|error| unreadable(&path, &error))?;
        Ok(Self {
            path,
            kept: std::cell::Cell::new(false),
        })
    }

    fn keep(&self) {
        self.kept.set(true);
        crate::warn(&format!("the transcripts are kept in {}\n", self.path.display()));
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept.get() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
