//! Plans from small suites.

use std::time::Duration;

use pretty_assertions::assert_eq;

use super::*;
use crate::formats::{Folder, parse_scaffold, parse_suite, parse_task};
use crate::task::{FileData, TaskFiles};

fn files(file: &str, text: &str) -> TaskFiles {
    let data = FileData {
        bytes: text.as_bytes().to_vec(),
        executable: false,
    };
    TaskFiles::from([(file.to_owned(), Arc::new(data))])
}

fn task(id: &str, samples: usize, extra: &str) -> Arc<TaskSpec> {
    let samples: String = (0..samples)
        .map(|at| format!("  - {{id: s{at}, target: \"{at}\"}}\n"))
        .collect();
    let text = format!(
        "harness: 1\nid: {id}\nversion: 1\ntitle: T\ndomain: general\nfamily: f\ninstructions: Say it.\n\
         samples:\n{samples}tools: []\nscore: {{answer: {{match: exact}}}}\noracle: {{submit: \"{{{{ sample.target }}}}\"}}\n{extra}"
    );
    let files = files("task.yaml", &text);
    let path = format!("tasks/{id}");
    let parsed = parse_task(&Folder {
        path: &path,
        name: id,
        files: &files,
    });
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{problems}")).value)
}

fn scaffold(id: &str, kind: &str) -> Arc<ScaffoldSpec> {
    let files = files("scaffold.yaml", &format!("harness: 1\nid: {id}\nkind: {kind}\n"));
    let parsed = parse_scaffold(&Folder {
        path: id,
        name: id,
        files: &files,
    });
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{problems}")).value)
}

fn input(extra: &str) -> PlanInput {
    let text = format!(
        "harness: 1\nid: s\nmodels: [{{id: m, use: scripted/x.yaml}}]\nscaffolds: [react]\ntasks: [\"*\"]\nepochs: 2\nseed: 7\n{extra}"
    );
    let suite = parse_suite("s.yaml", text.as_bytes())
        .unwrap_or_else(|problems| panic!("{problems}"))
        .value;
    PlanInput {
        suite,
        tasks: vec![task("a", 2, ""), task("b", 1, "")],
        scaffolds: vec![scaffold("react", "react")],
        limit: None,
        open_network: OpenNetwork::Refused,
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.trials.iter().map(|trial| trial.id.as_str()).collect()
}

#[test]
fn trials_take_turns_over_the_tasks() {
    let plan = plan(input("")).unwrap();
    assert_eq!(
        names(&plan),
        [
            "a/s0/react/m/0",
            "b/s0/react/m/0",
            "a/s1/react/m/0",
            "b/s0/react/m/1",
            "a/s0/react/m/1",
            "a/s1/react/m/1",
        ]
    );
}

#[test]
fn the_same_inputs_give_the_same_plan_and_other_inputs_another() {
    let first = plan(input("")).unwrap();
    for other in [
        "{trials: 3}",
        "{sandboxes: 2}",
        "{look_ahead: 0}",
        "{look_ahead: 7}",
    ] {
        let again = plan(input(&format!("concurrency: {other}"))).unwrap();
        assert_eq!(
            first.id, again.id,
            "how much runs at once changes no result: {other}"
        );
    }
    let mut changed = input("");
    changed.tasks[0] = task("a", 2, "on_limit: fail\n");
    assert_ne!(first.id, plan(changed).unwrap().id);
    let mut limited = input("");
    limited.limit = Some(1);
    let limited = plan(limited).unwrap();
    assert_eq!(limited.trials.len(), 4);
    assert_ne!(first.id, limited.id);
}

#[test]
fn a_trial_belongs_to_the_first_phase_that_selects_it() {
    let phases =
        "phases:\n  - {id: first, tasks: [a], ceiling: SL3}\n  - {id: rest, tasks: [\"*\"], ceiling: SL3}\n";
    let plan = plan(input(phases)).unwrap();
    let phases: Vec<(usize, &str)> = plan
        .trials
        .iter()
        .map(|trial| (trial.phase, plan.tasks[trial.task].id.as_str()))
        .collect();
    assert_eq!(
        phases,
        [(0, "a"), (0, "a"), (0, "a"), (0, "a"), (1, "b"), (1, "b")]
    );
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let mut wrong = input(
        "budget: {cost: 5.00, tokens: 1000}\nphases:\n  - {id: p, tasks: [zzz], ceiling: SL3, gate: {kind: x}}\n",
    );
    wrong.suite.models[0].price = None;
    let mut found: Vec<String> = plan(wrong).unwrap_err().iter().map(ToString::to_string).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "phase `p`: `zzz` selects no task of the suite",
            "phase `p`: gates are not decided by this version",
        ]
    );
    let budget = plan(input("budget: {tokens: 1000}\n")).unwrap_err();
    assert_eq!(
        budget[0].message,
        "one trial may take 6400000 tokens, more than the run's whole budget"
    );
}

#[test]
fn a_ceiling_names_the_axis_that_is_above_it() {
    let problems = plan(input("phases: [{id: p, tasks: [\"*\"], ceiling: SL0}]\n")).unwrap_err();
    let text = problems[0].to_string();
    assert!(text.contains("above the ceiling SL0: axis `"), "{text}");
}

#[test]
fn limits_are_overridden_by_the_suite() {
    let mut given = input("");
    given.suite.limits = LimitOverrides {
        turns: Some(3),
        wall: Some(Duration::from_secs(9)),
        ..LimitOverrides::default()
    };
    let plan = plan(given).unwrap();
    assert_eq!(
        (plan.limits[0][0].turns, plan.limits[0][0].wall),
        (3, Duration::from_secs(9))
    );
    let greatest = plan.greatest(&plan.trials[0]);
    assert_eq!(greatest.tokens, Tokens(3 * 128_000));
}

const BOXED: &str = "sandbox: {image: 'harness/python:1', network: NET}\n";

fn boxed(network: &str) -> Arc<TaskSpec> {
    task("a", 1, &BOXED.replace("NET", network))
}

#[test]
fn an_open_network_is_refused_unless_a_person_allows_it() {
    for network in ["none", "internal", "{allow: ['example.org:443']}", "open"] {
        let with = |open_network| PlanInput {
            tasks: vec![boxed(network), task("b", 1, "")],
            open_network,
            ..input("")
        };
        assert!(plan(with(OpenNetwork::Allowed)).is_ok(), "{network}");
        let refused = plan(with(OpenNetwork::Refused)).err().unwrap_or_default();
        let expected = PlanProblem {
            place: "task `a`".to_owned(),
            message:
                "`network: open` lets the sandbox reach everything, and `--allow-open-network` was not given"
                    .to_owned(),
            hint: Some(
                "list what it needs with `network: {allow: [host:port]}`, or give --allow-open-network"
                    .to_owned(),
            ),
        };
        let expected = if network == "open" {
            vec![expected]
        } else {
            Vec::new()
        };
        assert_eq!(refused, expected, "{network}");
    }
}

#[test]
fn a_suite_chooses_the_runtime_of_every_task() {
    let with = |suite: &str| {
        let tasks = vec![boxed("none"), task("b", 1, "")];
        let input = input(suite);
        plan(PlanInput { tasks, ..input }).unwrap()
    };
    let runtimes = |plan: &Plan| -> Vec<Option<Runtime>> {
        let runtime = |task: &Arc<TaskSpec>| task.sandbox.as_ref().map(|sandbox| sandbox.runtime);
        plan.tasks.iter().map(runtime).collect()
    };
    let hosts = |plan: &Plan| -> Vec<u8> {
        let surface = surface::derive(&plan.tasks[0], &plan.scaffolds[0], &plan.limits[0][0]);
        let host = |axis: &&surface::AxisValue| axis.axis == surface::Axis::Host;
        surface.axes.iter().filter(host).map(|axis| axis.value).collect()
    };
    let (own, other) = (with(""), with("runtime: runsc\n"));
    assert_eq!(runtimes(&own), [Some(Runtime::Runc), None]);
    assert_eq!(runtimes(&other), [Some(Runtime::Runsc), None]);
    assert_eq!((hosts(&own), hosts(&other)), (vec![2], vec![1]));
    assert_ne!(own.id, other.id);
    let record = other.record("", "", &BTreeMap::new());
    assert_eq!(record.runtime, Some(Runtime::Runsc));
}

#[test]
fn tasks_lie_in_the_phases_that_run_them() {
    let phases = "phases:\n  - {id: first, tasks: [b], ceiling: SL3}\n  - {id: second, tasks: [b], ceiling: SL3}\n  - {id: rest, tasks: ['*'], ceiling: SL3}\n";
    for extra in ["", phases] {
        let input = input(extra);
        let found = tasks_by_phase(&input.suite, &input.tasks);
        let plan = plan(input).unwrap();
        let ids: Vec<&PhaseId> = found.iter().map(|(phase, _)| phase).collect();
        assert_eq!(ids, plan.phases.iter().map(|phase| &phase.id).collect::<Vec<_>>());
        for trial in &plan.trials {
            let task = &plan.tasks[trial.task].id;
            assert!(
                found[trial.phase].1.iter().any(|of_phase| of_phase.id == *task),
                "{task}"
            );
        }
        let tasks: usize = found.iter().map(|(_, tasks)| tasks.len()).sum();
        assert_eq!(tasks, plan.tasks.len());
    }
}
