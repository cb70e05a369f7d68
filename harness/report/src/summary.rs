//! Trials counted by phase, model, scaffold and domain.
//!
//! Owns: the groups and their sums. Must not: print.

use std::collections::{BTreeMap, BTreeSet};

use harness_core::fold::{Counts, Rate};
use harness_core::ids::{ModelId, PhaseId, RunId, ScaffoldId, TaskId};
use harness_core::model::Usage;
use harness_core::units::Usd;
use serde::Serialize;

use crate::row::TrialRow;

/// What came of the trials of one run or several.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The runs, in the order of their rows.
    pub runs: Vec<RunId>,
    /// By phase (in the order of the rows), then model, scaffold and domain.
    pub groups: Vec<(GroupName, Group)>,
    /// All trials together.
    pub total: Group,
}

/// What the trials of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GroupName {
    /// The phase.
    pub phase: PhaseId,
    /// The model.
    pub model: ModelId,
    /// The scaffold.
    pub scaffold: ScaffoldId,
    /// What the tasks are about.
    pub domain: String,
}

/// Sums over the trials of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Trials by what became of them.
    pub counts: Counts,
    /// The tasks that they belong to. Trials of one task are not independent.
    pub tasks: BTreeSet<TaskId>,
    /// Trials that a limit ended, among the scored and unscored ones.
    pub limit_reached: u64,
    /// Trials that the model or its provider refused, among the scored and unscored ones.
    pub refused: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// Of these, those of which the log was not sealed: what they used may be missing from the sums.
    pub unsealed: u64,
    /// How often sandboxes reached the outside by right.
    pub egress_allowed: u64,
    /// How often they were kept from it.
    pub egress_blocked: u64,
    /// Trials in which that happened.
    pub blocked_trials: u64,
    /// Tokens of all attempts.
    pub usage: Usage,
    /// Money of all attempts; `None` if that of one is unknown.
    pub cost: Option<Usd>,
    /// Money of the attempts of which it is known.
    pub known_cost: Usd,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            tasks: BTreeSet::new(),
            limit_reached: 0,
            refused: 0,
            attempts: 0,
            unsealed: 0,
            egress_allowed: 0,
            egress_blocked: 0,
            blocked_trials: 0,
            usage: Usage::default(),
            cost: Some(Usd::ZERO),
            known_cost: Usd::ZERO,
        }
    }
}

impl Group {
    /// Counts one trial.
    pub fn add(&mut self, row: &TrialRow) {
        self.counts.add(row.status);
        self.tasks.insert(row.planned.task.clone());
        self.limit_reached += u64::from(row.outcome == Some("limit_reached"));
        self.refused += u64::from(row.outcome == Some("refused"));
        self.attempts += row.attempts;
        self.unsealed += row.unsealed;
        self.egress_allowed += row.egress_allowed;
        self.egress_blocked += row.egress_blocked;
        self.blocked_trials += u64::from(row.egress_blocked > 0);
        self.usage += row.usage;
        self.cost = self.cost.zip(row.cost).map(|(sum, cost)| sum + cost);
        self.known_cost += row.known_cost;
    }
}

impl Summary {
    /// Counts all rows. Give one for every planned trial, so that the columns add up to the plan.
    pub fn of(rows: &[TrialRow]) -> Self {
        let mut runs = Vec::new();
        let mut phases: Vec<&PhaseId> = Vec::new();
        let mut groups: BTreeMap<GroupName, Group> = BTreeMap::new();
        let mut total = Group::default();
        for row in rows {
            let planned = &row.planned;
            if !runs.contains(&planned.run) {
                runs.push(planned.run.clone());
            }
            if !phases.contains(&&planned.phase) {
                phases.push(&planned.phase);
            }
            let name = GroupName {
                phase: planned.phase.clone(),
                model: planned.model.clone(),
                scaffold: planned.scaffold.clone(),
                domain: planned.domain.clone(),
            };
            groups.entry(name).or_default().add(row);
            total.add(row);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(name, _)| phases.iter().position(|phase| **phase == name.phase));
        Self { runs, groups, total }
    }

    /// Returns what must be said beside the numbers.
    pub(crate) fn notes(&self) -> Vec<String> {
        let Group {
            counts,
            tasks,
            unsealed,
            egress_blocked,
            blocked_trials,
            cost,
            known_cost,
            ..
        } = &self.total;
        let mut notes = vec![format!(
            "rate: successes / scored trials with {}'s {}% interval; all other trials are in neither number",
            Rate::METHOD,
            100.0 * Rate::CONFIDENCE.get()
        )];
        if counts.trials > tasks.len() as u64 {
            notes.push(format!(
                "trials of one task are not independent (trials: {}, tasks: {}), so the intervals are too narrow",
                counts.trials,
                tasks.len()
            ));
        }
        if cost.is_none() {
            notes.push(format!(
                "cost: unknown for at least one attempt; the known part is {}",
                crate::show::cost(Some(*known_cost))
            ));
        }
        if *unsealed > 0 {
            notes.push(format!(
                "attempts that ended without a sealed log: {unsealed}; what they used may be missing from tokens and cost"
            ));
        }
        if *egress_blocked > 0 {
            notes.push(format!(
                "attempts of sandboxes to reach the outside that were blocked: {egress_blocked}, in {blocked_trials} of {} \
                 trials; the transcripts name them",
                counts.trials
            ));
        }
        notes
    }
}
