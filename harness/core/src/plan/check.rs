//! Everything that keeps a plan from being run.

use std::collections::BTreeSet;

use super::{OpenNetwork, Plan, PlanProblem, is_subject, judge_calls, phase_of};
use crate::egress::Pattern;
use crate::model::{ModelSpec, ProviderKind};
use crate::sandbox::{NetworkPolicy, Runtime};
use crate::scaffold::ScaffoldKind;
use crate::scoring::{Part, parts};
use crate::surface;
use crate::task::TaskSpec;
use crate::text::glob_fits;

pub(super) fn problems(plan: &Plan, open_network: OpenNetwork) -> Vec<PlanProblem> {
    let mut found = Vec::new();
    check_models(plan, &mut found);
    check_phases(plan, &mut found);
    for task in &plan.tasks {
        check_task(plan, task, &mut found);
        check_network(task, open_network, &mut found);
    }
    if plan.trials.is_empty() && found.is_empty() {
        found.push(problem(
            &format!("suite `{}`", plan.suite.id),
            "there is nothing to run",
            None,
        ));
    }
    check_budget(plan, &mut found);
    found.sort();
    found.dedup();
    found
}

fn problem(place: &str, message: &str, hint: Option<&str>) -> PlanProblem {
    PlanProblem {
        place: place.to_owned(),
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    }
}

fn check_models(plan: &Plan, found: &mut Vec<PlanProblem>) {
    let needed = plan
        .scaffolds
        .iter()
        .any(|scaffold| scaffold.kind.calls_a_model());
    if needed && !plan.suite.models.iter().any(is_subject) {
        found.push(problem(
            "models",
            "there is no model to evaluate",
            Some("give one with --model or in the suite"),
        ));
    }
    for model in &plan.suite.models {
        check_model(model, found);
    }
}

fn check_model(model: &ModelSpec, found: &mut Vec<PlanProblem>) {
    let place = format!("model `{}`", model.id);
    match model.reference.provider {
        ProviderKind::Compat if model.base_url.is_none() => {
            let hint = "add `base_url: http://127.0.0.1:8000/v1` to the model in the suite or in models.yaml";
            found.push(problem(
                &place,
                "a `compat/...` model needs a base_url",
                Some(hint),
            ));
        }
        ProviderKind::Compat | ProviderKind::Scripted => {}
        ProviderKind::Openai
        | ProviderKind::Anthropic
        | ProviderKind::Google
        | ProviderKind::Torch
        | ProviderKind::Replay => {
            let message = format!(
                "the provider `{}` is not available in this version",
                model.reference.provider.name()
            );
            let hint = "use compat/NAME with a base_url for an OpenAI-compatible server, or scripted/FILE";
            found.push(problem(&place, &message, Some(hint)));
        }
    }
}

fn check_phases(plan: &Plan, found: &mut Vec<PlanProblem>) {
    for (at, phase) in plan.phases.iter().enumerate() {
        let place = format!("phase `{}`", phase.id);
        for pattern in &phase.tasks {
            if !plan.tasks.iter().any(|task| glob_fits(pattern, task.id.as_str())) {
                found.push(problem(
                    &place,
                    &format!("`{pattern}` selects no task of the suite"),
                    None,
                ));
            }
        }
        if phase.gate.is_some() {
            // A gate that is silently not applied would let through what it was written to stop.
            let hint = "take the gate out, or run the phases as suites of their own and decide between them";
            found.push(problem(
                &place,
                "gates are not decided by this version",
                Some(hint),
            ));
        }
        if !phase.levels.is_empty() {
            let hint = "take `levels` out, or write a phase for each level";
            found.push(problem(
                &place,
                "`levels` is not available in this version",
                Some(hint),
            ));
        }
        for (task_at, task) in plan.tasks.iter().enumerate() {
            if phase_of(&plan.phases, &task.id) == Some(at) {
                check_ceiling(plan, (at, task_at), found);
            }
        }
    }
}

fn check_ceiling(plan: &Plan, (phase_at, task_at): (usize, usize), found: &mut Vec<PlanProblem>) {
    let (phase, task) = (&plan.phases[phase_at], &plan.tasks[task_at]);
    for (scaffold, limits) in plan.scaffolds.iter().zip(&plan.limits[task_at]) {
        let derived = surface::derive(task, scaffold, limits);
        if derived.level <= phase.ceiling {
            continue;
        }
        for axis in derived
            .axes
            .iter()
            .filter(|axis| surface::Level::of(axis.value) > phase.ceiling)
        {
            let message = format!(
                "task `{}` with scaffold `{}` has level {}, above the ceiling {}: axis `{}` is {} because of {}",
                task.id,
                scaffold.id,
                derived.level,
                phase.ceiling,
                axis.axis.name(),
                axis.value,
                axis.field
            );
            found.push(problem(&format!("phase `{}`", phase.id), &message, None));
        }
    }
}

fn check_task(plan: &Plan, task: &TaskSpec, found: &mut Vec<PlanProblem>) {
    let place = format!("task `{}`", task.id);
    let oracle = plan
        .scaffolds
        .iter()
        .any(|scaffold| scaffold.kind == ScaffoldKind::Oracle);
    if oracle && task.oracle.is_none() {
        found.push(problem(
            &place,
            "the scaffold `oracle` needs an oracle in task.yaml",
            None,
        ));
    }
    for (_, part) in parts(&task.score) {
        let Part::Judge(judge) = part else { continue };
        let known: BTreeSet<&str> = plan
            .suite
            .models
            .iter()
            .flat_map(|model| [Some(model.id.as_str()), model.role.as_deref()])
            .flatten()
            .collect();
        if !known.contains(judge.model.as_str()) {
            let message = format!(
                "the judge `{}` is neither a role nor a model of the suite",
                judge.model
            );
            let hint = format!("add a model with `role: {}` to the suite", judge.model);
            found.push(problem(&place, &message, Some(&hint)));
        }
    }
}

/// A sandbox that reaches everything, or something of this host or its networks, must be a person's decision at the
/// time of the run, not a line in a file.
fn check_network(task: &TaskSpec, open_network: OpenNetwork, found: &mut Vec<PlanProblem>) {
    let Some(sandbox) = &task.sandbox else { return };
    let place = format!("task `{}`", task.id);
    match (&sandbox.network, open_network) {
        (NetworkPolicy::Open, OpenNetwork::Refused) => {
            let message =
                "`network: open` lets the sandbox reach everything, and `--allow-open-network` was not given";
            let hint =
                "list what it needs with `network: {allow: [host:port]}`, or give --allow-open-network";
            found.push(problem(&place, message, Some(hint)));
        }
        (NetworkPolicy::Allow(hosts), OpenNetwork::Refused) => {
            for host in hosts.iter().filter(|host| reaches_inside(host)) {
                let message = format!(
                    "`{host}` is an address of this host or of a private network, and `--allow-open-network` was not \
                     given"
                );
                let hint = "let the sandbox have a service instead, or give --allow-open-network";
                found.push(problem(&place, &message, Some(hint)));
            }
        }
        (NetworkPolicy::None | NetworkPolicy::Internal, OpenNetwork::Refused) | (_, OpenNetwork::Allowed) => {
        }
    }
    if sandbox.network == NetworkPolicy::Open && sandbox.runtime == Runtime::Runsc {
        // What makes it known to the daemon gives it no network, since it can't have one everywhere.
        let message = "`network: open` does nothing with the runtime `runsc`, which has no network";
        let hint = "use `runc` or `crun`, or list what it needs with `network: {allow: [host:port]}`";
        found.push(problem(&place, message, Some(hint)));
    }
}

/// Patterns that can't be read were reported where they are written.
fn reaches_inside(host: &str) -> bool {
    Pattern::parse(host).is_ok_and(|pattern| pattern.reaches_inside())
}

fn check_budget(plan: &Plan, found: &mut Vec<PlanProblem>) {
    let budget = &plan.suite.budget;
    for trial in &plan.trials {
        let limits = &plan.limits[trial.task][trial.scaffold];
        let place = format!("task `{}`", plan.tasks[trial.task].id);
        let greatest = plan.greatest(trial);
        if budget.tokens.is_some_and(|budget| greatest.tokens > budget) {
            let message = format!(
                "one trial may take {} tokens, more than the run's whole budget",
                greatest.tokens
            );
            found.push(problem(
                &place,
                &message,
                Some("set `limits.tokens`, fewer turns, or a larger budget"),
            ));
        }
        if budget.cost.is_some_and(|budget| greatest.cost > budget) {
            let message = format!(
                "one trial may cost {}, more than the run's whole budget",
                greatest.cost
            );
            found.push(problem(
                &place,
                &message,
                Some("set `limits.cost`, fewer turns, or a larger budget"),
            ));
        }
        if (budget.cost.is_some() || limits.cost.is_some()) && !plan.cost_known(trial) {
            let judged = judge_calls(&plan.tasks[trial.task]) > 0;
            let who = trial.model.map_or_else(
                || "the judge".to_owned(),
                |at| plan.suite.models[at].id.to_string(),
            );
            let or_judge = if judged { " (or of its judge)" } else { "" };
            let message =
                format!("a limit of money can't be kept: the price of `{who}`{or_judge} is unknown");
            let hint = "add `price: {input: ..., output: ...}` (dollars per million tokens) to the model";
            found.push(problem(&place, &message, Some(hint)));
        }
    }
}
