//! The Bayesian form: success rate, share of spurious failures and their conversion, all with their spread.

use serde::Serialize;

use super::audit::{Audit, check_audit};
use crate::stats::quadrature::{BetaTable, beta_nodes, quantile};
use crate::stats::{Interval, Level, Method, Posterior, Rate, Side, StatsError};

/// Nodes for each of two of the three.
const NODES: usize = 96;

/// The posterior of a success rate with spurious failures converted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SpuriousPosterior {
    /// Mean, median and central interval.
    pub posterior: Posterior,
    /// The quantile below which the rate lies with the confidence.
    pub at_most: Interval,
}

/// Returns the posterior of a success rate with spurious failures converted at a measured rate.
///
/// `theta = p + (1 - p) r q`: success rate `p ~ Beta(S + 1/2, F + 1/2)` and share of spurious failures
/// `r ~ Beta(a + 1/2, m - a + 1/2)` with Jeffreys' priors, conversion `q ~ Beta(c + 1, t - c + 1)` with a uniform one,
/// after `c` of `t` spurious failures succeeded when they were run again, repaired. Exact in the one of the three that
/// contributes the most spread, Gauss-Legendre quadrature over the others; quantiles are good to about 1e-4. It takes the failures for a sample of endless ones, so it is wider than the audit where that was
/// nearly full. Derived for this crate.
///
/// # Errors
/// The audit is of another number of failures than the rate has.
pub fn spurious_posterior(
    rate: &Rate,
    audit: &Audit,
    converted: &Rate,
    confidence: Level,
) -> Result<SpuriousPosterior, StatsError> {
    check_audit(rate, audit)?;
    let beta = |rate: &Rate, prior: f64| Beta {
        a: rate.successes() as f64 + prior,
        b: rate.failures() as f64 + prior,
    };
    let success = beta(rate, 0.5);
    let share = beta(&audit.found()?, 0.5);
    let conversion = beta(converted, 1.0);
    let mixture = Mixture::new(success, share, conversion)?;
    let below = |theta: f64| mixture.below(theta);
    let tail = (1.0 - confidence.get()) / 2.0;
    let side = |side: Side, lower: f64, upper: f64| Interval {
        lower,
        upper,
        confidence,
        side,
        method: Method::Posterior,
    };
    Ok(SpuriousPosterior {
        posterior: Posterior {
            mean: success.mean() + (1.0 - success.mean()) * share.mean() * conversion.mean(),
            median: quantile(below, 0.5),
            interval: side(Side::Two, quantile(below, tail), quantile(below, 1.0 - tail)),
            units: rate.units(),
        },
        at_most: side(Side::Upper, 0.0, quantile(below, confidence.get())),
    })
}

/// The shapes of a Beta distribution.
#[derive(Clone, Copy)]
struct Beta {
    a: f64,
    b: f64,
}

impl Beta {
    fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }

    fn variance(self) -> f64 {
        let total = self.a + self.b;
        self.a / total * (self.b / total) / (total + 1.0)
    }

    fn nodes(self) -> Result<Vec<(f64, f64)>, StatsError> {
        beta_nodes(self.a, self.b, NODES)
    }
}

/// The distribution of `p + (1 - p) r q`: nodes for two of the three, a distribution function for the third.
struct Mixture {
    table: BetaTable,
    /// Given the nodes, the third is below `(theta - offset) / scale` where the rate is below `theta`.
    nodes: Vec<Node>,
}

struct Node {
    offset: f64,
    scale: f64,
    weight: f64,
}

impl Mixture {
    fn new(success: Beta, share: Beta, conversion: Beta) -> Result<Self, StatsError> {
        let (p, r, q) = (success.mean(), share.mean(), conversion.mean());
        let spreads = [
            (1.0 - r * q).powi(2) * success.variance(),
            ((1.0 - p) * q).powi(2) * share.variance(),
            ((1.0 - p) * r).powi(2) * conversion.variance(),
        ];
        // What is narrow beside the rest would be a step between nodes as the third; so the widest is the third.
        let widest = spreads.iter().copied().fold(0.0, f64::max);
        let pair = |left: Vec<(f64, f64)>, right: &[(f64, f64)], node: fn(f64, f64) -> (f64, f64)| {
            let each = left.into_iter().flat_map(|(x, x_weight)| {
                right.iter().map(move |(y, y_weight)| {
                    let (offset, scale) = node(x, *y);
                    let weight = x_weight * y_weight;
                    Node {
                        offset,
                        scale,
                        weight,
                    }
                })
            });
            each.filter(|node| node.scale > 0.0).collect()
        };
        let of_rate = |p: f64, factor: f64| (p, (1.0 - p) * factor);
        let (third, nodes) = if spreads[0] >= widest {
            let product = |r: f64, q: f64| (r * q, 1.0 - r * q);
            (success, pair(share.nodes()?, &conversion.nodes()?, product))
        } else if spreads[1] >= widest {
            (share, pair(success.nodes()?, &conversion.nodes()?, of_rate))
        } else {
            (conversion, pair(success.nodes()?, &share.nodes()?, of_rate))
        };
        Ok(Self {
            table: BetaTable::new(third.a, third.b)?,
            nodes,
        })
    }

    fn below(&self, theta: f64) -> f64 {
        let each = self.nodes.iter().map(|node| {
            if theta <= node.offset {
                return 0.0;
            }
            node.weight * self.table.below((theta - node.offset) / node.scale)
        });
        each.sum()
    }
}
