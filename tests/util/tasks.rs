//! Small tasks, suites and scripted models.

use super::Context;

/// A task without a sandbox: two samples, of which the model of [`Suite`] solves the first.
pub(crate) const EASY: &str = r#"harness: 1
id: easy
version: 3
title: Name a colour
domain: general
family: colours
canary: 00000000-0000-4000-8000-000000000001
human: {minutes: 1, source: estimate}
instructions: Which colour has {{ sample.vars.thing }}? Submit its name.
samples:
  - {id: a, vars: {thing: the sky}, target: blue}
  - {id: b, vars: {thing: grass}, target: green}
tools: [submit]
limits: {turns: 5}
score: {answer: {match: exact}}
oracle: {submit: "{{ sample.target }}"}
"#;

/// A suite with a scripted model.
pub(crate) struct Suite<'a> {
    pub(crate) id: &'a str,
    pub(crate) tasks: &'a str,
    pub(crate) scaffold: &'a str,
    /// More lines of the suite.
    pub(crate) more: &'a str,
    /// The lists of turns of the model, YAML; the model needs none if this is empty.
    pub(crate) scripts: &'a str,
}

impl Default for Suite<'_> {
    fn default() -> Self {
        Self {
            id: "small",
            tasks: "[tasks/*]",
            scaffold: "react",
            more: "",
            scripts: "  - turns:\n      - text: Let me think.\n      - tools: [{name: submit, arguments: {answer: blue}}]\n",
        }
    }
}

impl Suite<'_> {
    /// Writes `suite.yaml` and `model.yaml`.
    pub(crate) fn write(&self, context: &Context) {
        let Self {
            id,
            tasks,
            scaffold,
            more,
            scripts,
        } = self;
        context.write(
            "suite.yaml",
            &format!(
                "harness: 1\nid: {id}\nmodels: [{{id: subject, use: scripted/model.yaml}}]\nscaffolds: [{scaffold}]\ntasks: {tasks}\nseed: 7\n{more}"
            ),
        );
        context.write(
            "model.yaml",
            &format!("harness: 1\nusage: {{input: 100, output: 20}}\nscripts:\n{scripts}"),
        );
    }
}

/// Returns a task in a busybox sandbox. `more` has further keys.
pub(crate) fn busybox_task(id: &str, sandbox: &str, more: &str) -> String {
    format!(
        "harness: 1
id: {id}
version: 1
title: A task for a test
domain: general
family: tests
canary: 00000000-0000-4000-8000-000000000002
human: {{minutes: 1, source: estimate}}
instructions: Do what the test wants and submit done.
samples: [{{id: a, target: done}}]
sandbox:
  image: harness/busybox:1
  resources: {{cpus: 1, memory: 64MiB, pids: 32, disk: 16MiB}}
{sandbox}tools: [bash, submit]
{more}"
    )
}
