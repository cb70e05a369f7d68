//! Suites that are made to be measured.
//!
//! Owns: the files of a workload, and checking that a run did the whole of it. Must not: judge the time.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::measure::{Usage, measure};

/// What a workload's suite says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    /// One task, with one sample for each trial.
    pub(super) trials: usize,
    /// The scaffold: `single` or `react`.
    pub(super) scaffold: &'a str,
    /// How many trials run at once.
    pub(super) at_once: usize,
    /// The keys of task.yaml that differ between workloads.
    pub(super) task: &'a str,
    /// The scripts of the model.
    pub(super) model: &'a str,
}

/// A suite on disk.
#[derive(Debug)]
pub(super) struct Workload {
    folder: PathBuf,
    trials: usize,
    runs: usize,
}

impl Workload {
    /// Writes the files of a workload into a new folder.
    pub(super) fn write(folder: &Path, shape: Shape<'_>) -> Result<Self> {
        let task = folder.join("tasks/bench");
        fs::create_dir_all(&task)?;
        fs::create_dir_all(folder.join("suites"))?;
        fs::write(task.join("task.yaml"), format!("{TASK_HEAD}{}", shape.task))?;
        fs::write(task.join("replies.yaml"), REPLIES)?;
        let mut samples = String::from("id,target,vars.number\n");
        for number in 1..=shape.trials {
            writeln!(samples, "s{number},42,{number}")?;
        }
        fs::write(task.join("samples.csv"), samples)?;
        fs::write(folder.join("suites/model.yaml"), shape.model)?;
        fs::write(folder.join("suites/bench.yaml"), suite(shape))?;
        Ok(Self {
            folder: folder.to_owned(),
            trials: shape.trials,
            runs: 0,
        })
    }

    /// Measures one run with a results folder of its own, which is kept: a file system that has just freed many files
    /// makes new ones more slowly (ext4 without a journal looks for those that were freed long enough ago).
    pub(super) fn run(&mut self, harness: &Path) -> Result<Usage> {
        self.runs += 1;
        let mut command = Command::new(harness);
        command.args(["run", "suites/bench.yaml", "--json", "--results"]);
        command.arg(self.results()).current_dir(&self.folder);
        let used = measure(&mut command, &self.folder)?;
        self.check()?;
        Ok(used)
    }

    /// Returns the results folder of the last run.
    pub(super) fn results(&self) -> PathBuf {
        self.folder.join(format!("results-{}", self.runs))
    }

    /// Fails unless every trial of the last run succeeded: a fast run that did nothing is no figure.
    fn check(&self) -> Result<()> {
        let results = self.results();
        let mut runs = fs::read_dir(&results)?.flatten().map(|entry| entry.path());
        let table = runs.find_map(|run| fs::read_to_string(run.join("trials.csv")).ok());
        let table = table.with_context(|| format!("a run left no trials.csv below {}", results.display()))?;
        let found = successes(&table).context("trials.csv has no column `success`")?;
        if found != self.trials {
            bail!(
                "{found} of {} trials succeeded; see {}",
                self.trials,
                results.display()
            );
        }
        Ok(())
    }
}

const TASK_HEAD: &str = "\
harness: 1
id: bench
version: 1
title: A question that is answered by a script
domain: general
family: bench
human: {minutes: 1, source: estimate}
instructions: |
  Question {{ sample.vars.number }}: what is 6 x 7?
samples: {csv: samples.csv}
oracle: {submit: \"42\"}
";

const REPLIES: &str = "\
harness: 1
tools:
  - name: noop
    description: Does nothing.
    parameters:
      text: {type: string, description: Is ignored., required: true}
    replies: []
    otherwise: done
";

fn suite(shape: Shape<'_>) -> String {
    let Shape {
        scaffold, at_once, ..
    } = shape;
    format!(
        "\
harness: 1
id: bench
models: [{{id: subject, use: scripted/model.yaml}}]
scaffolds: [{scaffold}]
tasks: [../tasks/bench]
epochs: 1
seed: 1
concurrency: {{trials: {at_once}, sandboxes: {at_once}, per_model: {{subject: {{requests: {at_once}}}}}}}
report: {{formats: [csv]}}
"
    )
}

/// Returns how many rows of a trials.csv say that they succeeded. No field before that one holds a line break.
fn successes(table: &str) -> Option<usize> {
    let mut lines = table.lines();
    let column = lines.next()?.split(',').position(|name| name == "success")?;
    let good = lines.filter(|line| matches!(line.split(',').nth(column), Some("true" | "1")));
    Some(good.count())
}

/// Writes a folder of tasks such as people have them, each with data and an oracle.
pub(super) fn write_tasks(folder: &Path, count: usize) -> Result<()> {
    for number in 0..count {
        let id = format!("bench-{number:04}");
        let task = folder.join(&id);
        fs::create_dir_all(task.join("files"))?;
        fs::write(task.join("files/a.log"), "one\ntwo\n")?;
        fs::write(task.join("solution.sh"), "wc -l < /data/a.log\n")?;
        fs::write(task.join("task.yaml"), ORDINARY_TASK.replace("{{id}}", &id))?;
    }
    Ok(())
}

const ORDINARY_TASK: &str = "\
harness: 1
id: {{id}}
version: 1
title: Count the lines of a file
domain: general
family: counting
tags: [files, shell]
canary: 5d1f4c6e-3b0a-4f6e-9a51-0c9f3a7d2b18
human: {minutes: 2, source: estimate}
instructions: |
  The file {{ sample.vars.path }} is the log of {{ sample.vars.what }}. Count its lines.
  {% if limits.turns %}You have {{ limits.turns }} turns and these tools: {{ tools | join(\", \") }}.{% endif %}

  Submit the number alone, in digits, for example: 12
samples:
  - id: a
    vars: {path: /data/a.log, what: a printer}
    files: {/data/a.log: files/a.log}
    target: \"2\"
  - id: b
    vars: {path: /data/b.log, what: a door}
    files: {/data/b.log: files/a.log}
    target: [\"2\", two]
sandbox:
  image: harness/python:1
  network: none
  setup: [\"chmod 640 /data/*.log\"]
  resources: {cpus: 1, memory: 512MiB, pids: 128}
tools: [bash, python, submit]
limits: {turns: 20, tokens: 150k, working: 10m, wall: 20m, tool_time: 1m, tool_output: 16KiB}
score:
  answer: {match: exact, ignore_case: true}
oracle: {run: solution.sh}
";

#[cfg(test)]
mod tests {
    use super::successes;

    #[test]
    fn successes_are_counted() {
        let table = "task,success,why\na,true,x\nb,false,true\nc,,\nd,true,\"two\nlines\"\n";
        assert_eq!(successes(table), Some(2));
        assert_eq!(successes("task,why\na,true\n"), None);
        assert_eq!(successes(""), None);
    }
}
