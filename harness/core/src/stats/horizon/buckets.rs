//! Success by length.
//!
//! Owns: METR's edges. Must not: interpolate: a bucket says what was seen.

use serde::Serialize;

/// A range of lengths; the upper end is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// Minutes from which.
    pub from: f64,
    /// Minutes up to which.
    pub to: f64,
}

impl Bucket {
    /// Returns whether a task of a length is in it.
    pub fn holds(&self, minutes: f64) -> bool {
        (self.from..self.to).contains(&minutes)
    }
}

/// METR's buckets: edges at 1, 4, 16, 64, 256, 960 and 2,880 minutes. Shorter and longer tasks are in none.
pub const BUCKETS: [Bucket; 6] = [
    Bucket { from: 1.0, to: 4.0 },
    Bucket { from: 4.0, to: 16.0 },
    Bucket { from: 16.0, to: 64.0 },
    Bucket {
        from: 64.0,
        to: 256.0,
    },
    Bucket {
        from: 256.0,
        to: 960.0,
    },
    Bucket {
        from: 960.0,
        to: 2880.0,
    },
];

/// Sums of weights and of weighted outcomes, by bucket and over all lengths.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    weight: [f64; BUCKETS.len()],
    success: [f64; BUCKETS.len()],
    all_weight: f64,
    all_success: f64,
}

/// Weighted mean outcomes; `None` where there is no run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Means {
    pub(super) buckets: [Option<f64>; BUCKETS.len()],
    pub(super) average: Option<f64>,
}

impl Sums {
    pub(super) fn add(&mut self, minutes: f64, weight: f64, success: f64) {
        self.all_weight += weight;
        self.all_success += success;
        if let Some(at) = BUCKETS.iter().position(|bucket| bucket.holds(minutes)) {
            self.weight[at] += weight;
            self.success[at] += success;
        }
    }

    pub(super) fn means(&self) -> Means {
        // Rounding must not make more than all of something.
        let mean = |success: f64, weight: f64| (weight > 0.0).then(|| (success / weight).min(1.0));
        Means {
            buckets: std::array::from_fn(|at| mean(self.success[at], self.weight[at])),
            average: mean(self.all_success, self.all_weight),
        }
    }
}
