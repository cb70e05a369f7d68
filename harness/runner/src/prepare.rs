//! What happens before the first trial starts: images, and what the scheduler is told.
//!
//! Owns: the step from a plan to images and a schedule. Must not: start a trial.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::event::RunEvent;
use harness_core::plan::Plan;
use harness_core::ports::PreparedImage;
use harness_core::sandbox::ImageSource;
use harness_core::schedule::{ModelLimits, Schedule, TrialNeeds};

use crate::context::RunInput;
use crate::dispatcher::RunStop;

/// Makes sure that the images of all open trials are there.
pub(crate) async fn prepare_images(input: &RunInput) -> Result<BTreeMap<usize, PreparedImage>, RunStop> {
    let mut images = BTreeMap::new();
    let mut known: BTreeMap<_, PreparedImage> = BTreeMap::new();
    let Some(provider) = &input.sandboxes else {
        return Ok(images);
    };
    let closed = |index: usize| input.past.get(index).is_some_and(|past| past.closed);
    let trials = input.plan.trials.iter().enumerate();
    let needed: BTreeSet<usize> = trials
        .filter(|(index, _)| !closed(*index))
        .map(|(_, trial)| trial.task)
        .collect();
    for at in needed {
        let task = &input.plan.tasks[at];
        let Some(spec) = &task.sandbox else { continue };
        let services = spec.services.iter();
        let sources: Vec<_> = services
            .map(|(name, service)| (name.clone(), service.image.clone()))
            .collect();
        let built = std::iter::once(&spec.image)
            .chain(sources.iter().map(|(_, source)| source))
            .any(|source| matches!(source, ImageSource::Build { .. }));
        let key = (
            (spec.image.clone(), sources),
            spec.runtime,
            spec.user.clone(),
            built.then_some(task.digest),
        );
        let image = if let Some(image) = known.get(&key) {
            image.clone()
        } else {
            input.progress.send_modify(|progress| {
                progress.preparing = Some(format!("image of task `{}`", task.id));
            });
            let image = provider
                .prepare(spec, &task.files)
                .await
                .map_err(|source| RunStop::Image {
                    task: task.id.to_string(),
                    source,
                })?;
            let asked = match &spec.image {
                ImageSource::Named(name) => name.clone(),
                ImageSource::Build { context, .. } => format!("{}/{context}", task.id),
            };
            input.store.append(
                input.clock.now(),
                &RunEvent::ImageReady {
                    asked,
                    image: image.clone(),
                },
            )?;
            known.insert(key, image.clone());
            image
        };
        images.insert(at, image);
    }
    input.progress.send_modify(|progress| progress.preparing = None);
    Ok(images)
}

pub(crate) fn model_limits(plan: &Plan) -> Vec<ModelLimits> {
    let concurrency = &plan.suite.concurrency;
    let of = |model: &harness_core::model::ModelSpec| {
        let own = concurrency.per_model.get(&model.id).cloned().unwrap_or_default();
        ModelLimits {
            requests: own.requests,
            tokens_per_minute: own.tokens_per_minute,
        }
    };
    plan.suite.models.iter().map(of).collect()
}

pub(crate) fn schedule_of(input: &mut RunInput) -> Schedule {
    let (plan, suite) = (&input.plan, &input.plan.suite);
    let needs = |trial: &harness_core::plan::Trial| TrialNeeds {
        phase: trial.phase,
        sandbox: plan.tasks[trial.task].sandbox.is_some(),
        reserve: plan.greatest(trial),
        model: trial.model,
    };
    Schedule {
        trials: plan.trials.iter().map(needs).collect(),
        past: std::mem::take(&mut input.past),
        phases: plan.phases.len(),
        max_trials: suite.concurrency.trials.max(1),
        max_sandboxes: suite.concurrency.sandboxes.max(1),
        look_ahead: suite.concurrency.look_ahead,
        models: model_limits(plan),
        retry: suite.retry.clone(),
        budget_tokens: suite.budget.tokens,
        budget_cost: suite.budget.cost,
        deadline: suite
            .budget
            .wall
            .map(|wall| wall.saturating_sub(input.used_wall) + input.clock.now().elapsed),
        on_spent: suite.budget.on_spent,
        spent: input.spent,
        seed: suite.seed,
    }
}
