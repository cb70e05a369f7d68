//! The curve of success over task length, and its fit.
//!
//! Owns: the penalised logistic regression in two parameters. Must not: know runs, weights or how horizons are shown.

use serde::Serialize;

use crate::stats::{Level, StatsError};

/// How often Newton's method may step. A fit that exists takes about ten; a slope that only a tiny ridge holds back,
/// some hundreds.
const MAX_ROUNDS: u32 = 1_000;
/// How often a step is halved before it counts as too small to help.
const MAX_HALVINGS: u32 = 60;
/// How much of the objective rounding may change.
const ROUNDING: f64 = 1e-14;

/// The strength of the penalty on the slope: lambda. METR used 0.1 in 2025 and 1e-5 from March 2026.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Ridge(f64);

impl Ridge {
    /// 1e-5: METR's choice from March 2026.
    pub const DEFAULT: Self = Self(1e-5);

    /// Checks a strength; 0 is no penalty.
    ///
    /// # Errors
    /// It is negative, above a million, or no number.
    pub fn new(lambda: f64) -> Result<Self, StatsError> {
        if (0.0..=1e6).contains(&lambda) {
            Ok(Self(lambda))
        } else {
            Err(StatsError::OutOfRange {
                what: "the ridge",
                value: lambda,
                least: 0.0,
                most: 1e6,
            })
        }
    }

    /// Returns lambda.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Runs on tasks of one length: what a fit takes in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The logarithm to base 2 of the minutes that people need.
    pub log2_minutes: f64,
    /// The weight of the successes. An outcome of 0.3 is 0.3 of its weight here and 0.7 of it below.
    pub successes: f64,
    /// The weight of the failures.
    pub failures: f64,
}

impl Point {
    fn weight(&self) -> f64 {
        self.successes + self.failures
    }
}

/// The probability of success by length: `1 / (1 + exp(-(intercept + slope * log2(minutes))))`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// Log-odds per doubling of the minutes.
    pub slope: f64,
    /// Log-odds at one minute.
    pub intercept: f64,
}

impl Curve {
    /// Returns the probability of success on a task of a length.
    pub fn probability(&self, log2_minutes: f64) -> f64 {
        logistic(self.intercept + self.slope * log2_minutes)
    }

    /// Returns the minutes at which the curve passes a level: `2^((ln(p / (1 - p)) - intercept) / slope)`.
    ///
    /// This is what METR prints; it is a number wherever the tasks lie, infinite or zero where it does not fit into
    /// one, and means nothing if the slope is not negative. What may be shown is a [`Reading`](super::Reading).
    pub fn minutes_at(&self, level: Level) -> f64 {
        let p = level.get();
        (((p / (1.0 - p)).ln() - self.intercept) / self.slope).exp2()
    }

    /// Returns the mean cross-entropy in nats, weighted by the points' weights; probabilities are kept 1e-15 away
    /// from 0 and 1, as METR does. `None` without weight.
    pub fn cross_entropy(&self, points: &[Point]) -> Option<f64> {
        let total: f64 = points.iter().map(Point::weight).sum();
        let loss = |point: &Point| {
            let p = self.probability(point.log2_minutes).clamp(1e-15, 1.0 - 1e-15);
            -(point.successes * p.ln() + point.failures * (1.0 - p).ln())
        };
        (total > 0.0).then(|| points.iter().map(loss).sum::<f64>() / total)
    }
}

/// Why there is no curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum NoCurve {
    /// No runs at all.
    NoRuns,
    /// Only failures.
    AllFailed,
    /// Only successes.
    AllSucceeded,
    /// Every success is on a task at most as long as that of every failure, and nothing penalises the slope.
    Separated {
        /// Minutes of the longest task with a success.
        longest_success: f64,
        /// Minutes of the shortest task with a failure.
        shortest_failure: f64,
    },
    /// Every failure is on a task at most as long as that of every success, and nothing penalises the slope.
    Reversed,
    /// The search did not end.
    NoConvergence,
}

/// How successes and failures lie by length; lengths are logarithms here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    /// Only failures.
    AllFailed,
    /// Only successes.
    AllSucceeded,
    /// No runs.
    Empty,
    /// Successes, then failures.
    Separated {
        longest_success: f64,
        shortest_failure: f64,
    },
    /// Successes, then one length with both, then failures.
    Pivot(Pivot),
    /// Failures, then successes; at most one length has both.
    Reversed,
    /// They overlap: a curve without penalty exists.
    Mixed,
}

/// The only length with successes and failures, where all shorter tasks succeeded and all longer ones failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pivot {
    pub(super) at: f64,
    /// The share of success there.
    pub(super) rate: f64,
    /// The next shorter length.
    pub(super) before: Option<f64>,
    /// The next longer length.
    pub(super) after: Option<f64>,
}

/// Tells how successes and failures lie. Without a penalty the likelihood has a maximum only if they overlap
/// (A. Albert and J. A. Anderson, Biometrika 71 (1984), 1-10).
pub(super) fn order(points: &[Point]) -> Order {
    let ends = |weight: fn(&Point) -> f64| {
        let lengths = points.iter().filter(|point| weight(point) > 0.0);
        lengths.fold(None, |ends: Option<(f64, f64)>, point| {
            let x = point.log2_minutes;
            Some(ends.map_or((x, x), |(least, most)| (least.min(x), most.max(x))))
        })
    };
    match (ends(|point| point.successes), ends(|point| point.failures)) {
        (None, None) => Order::Empty,
        (None, Some(_)) => Order::AllFailed,
        (Some(_), None) => Order::AllSucceeded,
        (Some((_, success)), Some((failure, _))) if success < failure => Order::Separated {
            longest_success: success,
            shortest_failure: failure,
        },
        (Some((_, success)), Some((failure, _))) if success <= failure => {
            Order::Pivot(pivot(points, success))
        }
        (Some((success, _)), Some((_, failure))) if failure <= success => Order::Reversed,
        (Some(_), Some(_)) => Order::Mixed,
    }
}

fn pivot(points: &[Point], at: f64) -> Pivot {
    let here = points
        .iter()
        .filter(|point| point.log2_minutes.total_cmp(&at).is_eq());
    let (successes, weight) = here.fold((0.0, 0.0), |(successes, weight), point| {
        (successes + point.successes, weight + point.weight())
    });
    let lengths = || points.iter().map(|point| point.log2_minutes);
    Pivot {
        at,
        rate: successes / weight,
        before: lengths().filter(|x| *x < at).max_by(f64::total_cmp),
        after: lengths().filter(|x| *x > at).min_by(f64::total_cmp),
    }
}

/// Fits the curve: the slope and intercept that minimise `lambda / 2 * slope^2 + sum of w * (logloss)`.
///
/// `lambda` is the ridge; each point brings `successes * ln(1 + exp(-z)) + failures * ln(1 + exp(z))` with
/// `z = intercept + slope * log2_minutes`. The intercept is not penalised. Since METR's weights add up to 1 per
/// model, a ridge of 0.1 is a strong one. The minimum is unique wherever there are successes and failures and the
/// ridge is positive; found by Newton's method with step halving, to about 1e-12. The same as scikit-learn's
/// `LogisticRegression(C = 1 / lambda)`, whose default stops earlier. Method: T. Kwa et al., "Measuring AI ability
/// to complete long tasks", arXiv 2503.14499 (2025), and METR's eval-analysis-public.
///
/// # Errors
/// There is no minimum, or it was not found.
///
/// # Examples
/// ```
/// use harness_core::stats::{Level, horizon::{Point, Ridge, fit}};
/// let point = |minutes: f64, successes, failures| Point { log2_minutes: minutes.log2(), successes, failures };
/// let points = [point(1.0, 9.0, 1.0), point(8.0, 5.0, 5.0), point(64.0, 1.0, 9.0)];
/// let curve = fit(&points, Ridge::new(0.0)?).expect("successes and failures overlap");
/// assert_eq!(format!("{:.3}", curve.minutes_at(Level::new("level", 0.5)?)), "8.000");
/// # Ok::<(), harness_core::stats::StatsError>(())
/// ```
pub fn fit(points: &[Point], ridge: Ridge) -> Result<Curve, NoCurve> {
    fit_from(points, ridge, None)
}

/// Fits like [`fit`], beginning at a curve that is near: a bootstrap draws data much like the original.
pub(super) fn fit_from(points: &[Point], ridge: Ridge, near: Option<Curve>) -> Result<Curve, NoCurve> {
    let (successes, failures) = points.iter().fold((0.0, 0.0), |(s, f), point| {
        (s + point.successes, f + point.failures)
    });
    match (successes > 0.0, failures > 0.0) {
        (false, false) => return Err(NoCurve::NoRuns),
        (false, true) => return Err(NoCurve::AllFailed),
        (true, false) => return Err(NoCurve::AllSucceeded),
        (true, true) => {}
    }
    if ridge.0 == 0.0 {
        let separated = |success: f64, failure: f64| NoCurve::Separated {
            longest_success: success.exp2(),
            shortest_failure: failure.exp2(),
        };
        match order(points) {
            Order::Separated {
                longest_success,
                shortest_failure,
            } => return Err(separated(longest_success, shortest_failure)),
            Order::Pivot(pivot) => return Err(separated(pivot.at, pivot.at)),
            Order::Reversed => return Err(NoCurve::Reversed),
            Order::AllFailed | Order::AllSucceeded | Order::Empty | Order::Mixed => {}
        }
    }
    let total = successes + failures;
    // Lengths are taken from their mean: slope and intercept then hardly depend on each other.
    let centre = points
        .iter()
        .map(|point| point.weight() / total * point.log2_minutes)
        .sum::<f64>();
    let problem = Problem {
        points,
        ridge,
        centre,
    };
    let start = near.map_or(
        Parameters {
            middle: (successes / failures).ln(),
            slope: 0.0,
        },
        |near| Parameters {
            middle: near.intercept + near.slope * centre,
            slope: near.slope,
        },
    );
    let found = problem.minimise(start)?;
    Ok(Curve {
        slope: found.slope,
        intercept: found.middle - found.slope * centre,
    })
}

/// A curve by its log-odds at the mean length.
#[derive(Clone, Copy, Debug)]
struct Parameters {
    middle: f64,
    slope: f64,
}

/// The objective at some parameters with its first and second derivatives.
struct Local {
    value: f64,
    gradient: [f64; 2],
    hessian: [f64; 3],
}

struct Problem<'a> {
    points: &'a [Point],
    ridge: Ridge,
    centre: f64,
}

impl Problem<'_> {
    fn minimise(&self, start: Parameters) -> Result<Parameters, NoCurve> {
        let mut at = start;
        let mut here = self.local(at);
        for _ in 0..MAX_ROUNDS {
            let step = here.newton().ok_or(NoCurve::NoConvergence)?;
            let mut size = 1.0;
            let mut next = at.moved(step, size);
            let mut there = self.local(next);
            let mut halvings = 0;
            // Near the minimum rounding hides what a step gains; there Newton's step is right as it is.
            while there.value.is_nan() || there.value > here.value + ROUNDING * here.value.abs() {
                halvings += 1;
                if halvings > MAX_HALVINGS {
                    return Err(NoCurve::NoConvergence);
                }
                size /= 2.0;
                next = at.moved(step, size);
                there = self.local(next);
            }
            // Newton's error is squared with each step: after one of 1e-8 nothing is left of it.
            let done = size >= 1.0 && at.is_small(step);
            (at, here) = (next, there);
            if done {
                return Ok(at);
            }
        }
        Err(NoCurve::NoConvergence)
    }

    fn local(&self, at: Parameters) -> Local {
        let lambda = self.ridge.0;
        let mut value = lambda / 2.0 * at.slope * at.slope;
        let mut gradient = [0.0, lambda * at.slope];
        let mut hessian = [0.0, 0.0, lambda];
        for point in self.points {
            let x = point.log2_minutes - self.centre;
            let z = at.middle + at.slope * x;
            let tail = (-z.abs()).exp();
            let rest = tail.ln_1p();
            let p = if z >= 0.0 {
                1.0 / (1.0 + tail)
            } else {
                tail / (1.0 + tail)
            };
            let q = if z >= 0.0 {
                tail / (1.0 + tail)
            } else {
                1.0 / (1.0 + tail)
            };
            value += point.weight() * rest
                + if z >= 0.0 {
                    point.failures * z
                } else {
                    -point.successes * z
                };
            let residual = point.failures * p - point.successes * q;
            let curvature = point.weight() * p * q;
            gradient[0] += residual;
            gradient[1] += residual * x;
            hessian[0] += curvature;
            hessian[1] += curvature * x;
            hessian[2] += curvature * x * x;
        }
        Local {
            value,
            gradient,
            hessian,
        }
    }
}

impl Local {
    /// Returns Newton's step; `None` where the curvature is lost to rounding.
    fn newton(&self) -> Option<[f64; 2]> {
        let ([g0, g1], [h00, h01, h11]) = (self.gradient, self.hessian);
        let determinant = h00 * h11 - h01 * h01;
        let step = [
            (h01 * g1 - h11 * g0) / determinant,
            (h01 * g0 - h00 * g1) / determinant,
        ];
        (determinant > 0.0 && step.iter().all(|part| part.is_finite())).then_some(step)
    }
}

impl Parameters {
    fn moved(self, step: [f64; 2], size: f64) -> Self {
        Self {
            middle: self.middle + size * step[0],
            slope: self.slope + size * step[1],
        }
    }

    fn is_small(self, step: [f64; 2]) -> bool {
        step[0].abs() <= 1e-8 * (1.0 + self.middle.abs()) && step[1].abs() <= 1e-8 * (1.0 + self.slope.abs())
    }
}

fn logistic(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}
