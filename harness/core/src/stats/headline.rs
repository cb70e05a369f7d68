//! Which interval stands in the headline of a report, given how many tasks there are and how often each was tried.
//!
//! Owns: the house rules, in one place, with their reasons. Must not: compute intervals itself.

use serde::Serialize;

use super::interval::wilson;
use super::overdispersion::{cluster_model, pooled};
use super::standard_error::clustered_counts;
use super::{Estimate, Interval, Level, Rate, Side, StatsError};

/// Below this number of tasks no pooled interval is shown.
pub const TASKS_TO_POOL: usize = 5;
/// From this number of tasks on standard errors over tasks are good enough.
pub const TASKS_FOR_STANDARD_ERRORS: usize = 20;

/// What a report may put in front.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Headline {
    /// The interval or intervals.
    pub shown: Shown,
    /// Why these and no others, as reports print it.
    pub why: &'static str,
    /// All attempts of all tasks; what was excluded is added up by reason.
    pub pooled: Rate,
    /// How many tasks there are.
    pub tasks: u64,
}

/// The intervals of a headline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// One for each task, in the order given; none for all of them.
    PerTask(Vec<Interval>),
    /// One for the mean over tasks.
    Pooled(Estimate),
}

/// Chooses what a report puts in front, from each task's rate.
///
/// - Fewer than 5 tasks: Wilson's interval of each task, no pooled one.
/// - Fewer than 20 tasks: the Bayesian cluster model.
/// - From 20 on, one attempt each: Wilson's interval over tasks.
/// - From 20 on, several attempts: the standard error over tasks with Student's t; but the cluster model where the tasks show no
///   spread or that interval would reach beyond 0 or 1.
///
/// # Errors
/// There is no task, or one has no attempt.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, Rate, headline::headline};
/// let found = headline(&[Rate::of(3, 10)?, Rate::of(9, 10)?], Level::P95)?;
/// assert_eq!(found.why, "fewer than 5 tasks: no interval for all of them");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn headline(tasks: &[Rate], confidence: Level) -> Result<Headline, StatsError> {
    let pooled = pooled("a headline", tasks, 1)?;
    let (shown, why) = if tasks.len() < TASKS_TO_POOL {
        let each: Result<Vec<Interval>, StatsError> = tasks
            .iter()
            .map(|task| wilson(task, confidence, Side::Two))
            .collect();
        (
            Shown::PerTask(each?),
            "fewer than 5 tasks: no interval for all of them",
        )
    } else if tasks.len() < TASKS_FOR_STANDARD_ERRORS {
        let why = "fewer than 20 tasks: the Bayesian cluster model, since standard errors are too small";
        (modelled(tasks, confidence)?, why)
    } else if pooled.units() == tasks.len() as u64 {
        let estimate = Estimate {
            value: pooled.successes() as f64 / pooled.units() as f64,
            interval: wilson(&pooled, confidence, Side::Two)?,
            units: pooled.units(),
        };
        (
            Shown::Pooled(estimate),
            "one attempt per task: they are independent",
        )
    } else {
        match clustered_counts(tasks)?.mean.interval(confidence) {
            Ok(found) if found.interval.lower >= 0.0 && found.interval.upper <= 1.0 => (
                Shown::Pooled(found),
                "20 tasks or more: standard error over tasks",
            ),
            Ok(_) => (
                modelled(tasks, confidence)?,
                "the Bayesian cluster model, since the interval from the standard error would leave [0, 1]",
            ),
            Err(StatsError::Undefined { .. }) => (
                modelled(tasks, confidence)?,
                "the Bayesian cluster model, since all tasks have the same rate and show no spread",
            ),
            Err(error) => return Err(error),
        }
    };
    Ok(Headline {
        shown,
        why,
        pooled,
        tasks: tasks.len() as u64,
    })
}

fn modelled(tasks: &[Rate], confidence: Level) -> Result<Shown, StatsError> {
    let posterior = cluster_model(tasks, confidence)?;
    Ok(Shown::Pooled(Estimate {
        value: posterior.mean,
        interval: posterior.interval,
        units: posterior.units,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Method;

    fn of(tasks: &[(u64, u64)]) -> Headline {
        let tasks: Vec<Rate> = tasks.iter().map(|(k, n)| Rate::of(*k, *n).unwrap()).collect();
        headline(&tasks, Level::P95).unwrap()
    }

    fn method(found: &Headline) -> Option<Method> {
        match &found.shown {
            Shown::PerTask(_) => None,
            Shown::Pooled(estimate) => Some(estimate.interval.method),
        }
    }

    #[test]
    fn the_number_of_tasks_chooses() {
        let spread: Vec<(u64, u64)> = (0..40).map(|i| (i % 11, 10)).collect();
        let expected = [
            (1, None),
            (4, None),
            (5, Some(Method::ClusterModel)),
            (19, Some(Method::ClusterModel)),
            (20, Some(Method::Clustered)),
            (40, Some(Method::Clustered)),
        ];
        for (tasks, expected) in expected {
            let found = of(&spread[..tasks]);
            assert_eq!(method(&found), expected, "{tasks} tasks: {}", found.why);
            assert_eq!(found.tasks, tasks as u64);
        }
        let single: Vec<(u64, u64)> = (0..30).map(|i| (i % 2, 1)).collect();
        assert_eq!(method(&of(&single)), Some(Method::Wilson));
    }

    #[test]
    fn standard_errors_that_claim_too_much_are_not_shown() {
        let none = of(&[(0, 10); 25]);
        assert_eq!(method(&none), Some(Method::ClusterModel));
        let Shown::Pooled(estimate) = &none.shown else {
            panic!()
        };
        assert!(estimate.interval.upper > 0.02, "{estimate:?}");
        let mut rare = [(0, 10); 25];
        rare[3] = (1, 10);
        let found = of(&rare);
        assert_eq!(method(&found), Some(Method::ClusterModel));
        assert!(found.why.contains("leave [0, 1]"), "{}", found.why);
    }

    #[test]
    fn what_has_no_attempt_is_refused() {
        assert!(headline(&[], Level::P95).is_err());
        let tasks = [Rate::of(1, 2).unwrap(), Rate::of(0, 0).unwrap()];
        assert!(headline(&tasks, Level::P95).is_err());
    }
}
