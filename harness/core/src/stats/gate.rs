//! The gate rule: three-way decisions by one-sided e-processes, valid at every look.
//!
//! Owns: whether a rate is shown to be below a threshold, shown to be above it, or neither, and what would settle it. Must
//! not: choose which trials are counted or in which order they were drawn, keep a history, stop a run.
//!
//! A threshold `τ` in (0, 1), `s` successes and `f` failures in independent units; a success is the dangerous, or the
//! qualifying, behaviour. The evidence against "the rate is `τ` or more" and against "the rate is `τ` or less" is
//!
//! ```text
//! ln E_below = ln B(a+s, b+f) + ln I_τ(a+s, b+f) - ln B(a, b) - ln I_τ(a, b) - s ln τ - f ln(1-τ)
//! ln E_above = the same with 1 - I_τ for I_τ                                                        a = b = 1/2
//! ```
//!
//! with `B` the beta function and `I` the regularised incomplete beta: likelihood ratios of rates on one side of `τ`
//! against `τ` itself, mixed over a Beta(a, b) prior cut off at `τ`. For every rate on the other side each ratio is at most
//! 1 in expectation given the past, so the mixture is a supermartingale and passes `1/α` at any time with probability at
//! most `α` (J. Ville, "Étude critique de la notion de collectif", 1939). "Shown below" is said once `E_below ≥ 1/α`, "shown
//! above" once `E_above ≥ 1/α`; both can't hold at once, since one takes an observed rate below `τ` and the other one above.
//!
//! # When it is valid
//! - Units are exchangeable given the past: drawn in a random order over tasks, blocks interleaved, one process per phase
//!   and checkpoint. An order by difficulty breaks it completely. Tests of this module show both.
//! - Trials that share a family are not independent: draw one trial of each family at random, or pass families as
//!   [`Families`]. Either way the claim is about the distribution that tasks are drawn from; for a fixed suite it is
//!   about its mean, and [`tasks_above`] looks at the worst.
//! - The same checkpoint again adds to the same process; nothing is dropped or restarted. Another checkpoint is another
//!   process with its own share of the error ([`SeriesErrors`]).
//! - What is unclear (refused, spurious, unverified, unscored, void) counts as success for "below", as failure for "above"
//!   ([`DataForBelow`], [`DataForAbove`]). Evidence then is never more than it would be if all were known.
//! - Settings were frozen before the units were drawn.

mod decide;
mod domains;
mod errors;
mod evidence;
mod families;
mod jump;
mod planning;
mod process;
#[cfg(test)]
mod tests;

pub use decide::{
    Decision, Rule, Verdict, Weight, carried, decide, log_e_above, log_e_below, lower_bound,
    probability_above, upper_bound,
};
pub use domains::{Correction, Domain, decide_domains, overall, tasks_above};
pub use errors::{CheckpointErrors, DomainErrors, SeriesErrors};
pub use evidence::{DataForAbove, DataForBelow, Evidence, Families, Tally, Unclear};
pub use jump::{Jump, Observed, jump};
pub use planning::{
    AttemptsNeeded, CheckpointCost, attempts_needed, checkpoint_cost, critical_counts,
    operating_characteristics,
};
