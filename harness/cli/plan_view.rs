//! Shows a plan before it is run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use harness_core::plan::{Plan, PlanProblem, unselected};
use harness_core::schedule::Spend;
use harness_core::surface;
use harness_core::units::format_duration;

use crate::exit::Failure;
use crate::load::Loaded;

/// Turns the problems of a plan into a failure that lists them all.
pub(crate) fn refused(problems: &[PlanProblem]) -> Failure {
    let mut text = String::new();
    for problem in problems {
        let _ = writeln!(text, "error: {problem}");
        if let Some(hint) = &problem.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    crate::warn(&harness_core::text::printable(&text));
    let plural = if problems.len() == 1 { "" } else { "s" };
    Failure::input(format!(
        "{} problem{plural} in the plan; nothing was run",
        problems.len()
    ))
}

/// Returns the plan as text.
pub(crate) fn describe(plan: &Plan, loaded: &Loaded) -> String {
    let mut text = String::new();
    let suite = &plan.suite;
    let _ = writeln!(
        text,
        "plan {}: suite `{}`, {} trials, seed {}",
        plan.id.short(),
        suite.id,
        plan.trials.len(),
        suite.seed
    );
    for model in &suite.models {
        let role = model.role.as_deref().unwrap_or("subject");
        let price = model.price.map_or_else(
            || "price unknown".to_owned(),
            |price| format!("{} in, {} out per million tokens", price.input, price.output),
        );
        let _ = writeln!(
            text,
            "  model {} = {} ({role}; {price})",
            model.id, model.reference
        );
    }
    for (at, phase) in plan.phases.iter().enumerate() {
        let trials = plan.trials.iter().filter(|trial| trial.phase == at).count();
        let _ = writeln!(
            text,
            "  phase {}: ceiling {}, {trials} trials",
            phase.id, phase.ceiling
        );
    }
    text.push('\n');
    text.push_str(&task_table(plan));
    let total = plan
        .trials
        .iter()
        .fold(Spend::default(), |sum, trial| sum + plan.greatest(trial));
    let known = plan.trials.iter().all(|trial| plan.cost_known(trial));
    let cost = if known {
        total.cost.to_string()
    } else {
        format!("unknown (at least {})", total.cost)
    };
    let _ = writeln!(
        text,
        "\ngreatest possible use: {} tokens; greatest possible cost: {cost}",
        total.tokens
    );
    let budget = &suite.budget;
    let limit = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let limits: Vec<String> = [
        limit("cost", budget.cost.map(|cost| cost.to_string())),
        limit("tokens", budget.tokens.map(|tokens| tokens.to_string())),
        limit("wall", budget.wall.map(format_duration)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let shown = if limits.is_empty() {
        "none".to_owned()
    } else {
        limits.join(", ")
    };
    let _ = writeln!(text, "budget of the run: {shown}");
    for task in unselected(plan) {
        let _ = writeln!(text, "note: no phase selects task `{task}`; it is not run");
    }
    if !loaded.warnings.0.is_empty() {
        let _ = writeln!(
            text,
            "{} warning(s); `harness check` shows them",
            loaded.warnings.0.len()
        );
    }
    text
}

fn task_table(plan: &Plan) -> String {
    let mut trials: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for trial in &plan.trials {
        *trials.entry((trial.task, trial.scaffold)).or_default() += 1;
    }
    let mut rows = vec![
        [
            "task",
            "scaffold",
            "trials",
            "level",
            "because",
            "limits of one trial",
        ]
        .map(str::to_owned),
    ];
    for ((task_at, scaffold_at), count) in trials {
        let (task, scaffold) = (&plan.tasks[task_at], &plan.scaffolds[scaffold_at]);
        let limits = &plan.limits[task_at][scaffold_at];
        let derived = surface::derive(task, scaffold, limits);
        let highest = derived.axes.iter().max_by_key(|axis| axis.value);
        let because = highest.map_or_else(String::new, |axis| {
            format!("{} ({})", axis.axis.name(), axis.field)
        });
        let tokens = limits
            .tokens
            .map_or_else(|| "any".to_owned(), |tokens| tokens.to_string());
        let cost = limits.cost.map_or_else(String::new, |cost| format!(", {cost}"));
        let limits = format!(
            "{} turns, {tokens} tokens, {} working, {} wall{cost}",
            limits.turns,
            format_duration(limits.working),
            format_duration(limits.wall)
        );
        rows.push([
            format!("{} v{}", task.id, task.version),
            scaffold.id.to_string(),
            count.to_string(),
            format!("{} ({})", derived.level, derived.sum),
            because,
            limits,
        ]);
    }
    aligned(&rows)
}

/// Lays rows out in columns. All rows have as many cells as the first.
pub(crate) fn aligned<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        for (column, cell) in row.as_ref().iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(column) {
                Some(widest) => *widest = (*widest).max(width),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .as_ref()
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let _ = writeln!(
            text,
            "{}",
            harness_core::text::printable(cells.join("  ").trim_end())
        );
    }
    text
}
