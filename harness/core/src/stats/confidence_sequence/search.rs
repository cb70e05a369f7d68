//! The root search behind inversions.
//!
//! Owns: where an increasing function passes zero. Must not: know what the function is.

use crate::stats::StatsError;

/// The logit at which the search for a rate ends: odds of 10³⁰⁰.
pub(in crate::stats) const FAR: f64 = 690.0;

/// Returns `1 / (1 + e^{-x})`.
pub(in crate::stats) fn logistic(x: f64) -> f64 {
    if x < 0.0 {
        let odds = x.exp();
        odds / (1.0 + odds)
    } else {
        1.0 / (1.0 + (-x).exp())
    }
}

/// Where an increasing function is searched for its root.
pub(in crate::stats) struct Search {
    /// Where it is negative.
    pub(in crate::stats) from: f64,
    /// The end of the range.
    pub(in crate::stats) to: f64,
    /// How far the first step goes; the next ones double.
    pub(in crate::stats) first_stride: f64,
    /// How far beyond the root the place may be; a few last digits are always allowed.
    pub(in crate::stats) width: f64,
}

impl Search {
    /// The search for a logit, from a place before it to the end of the range.
    pub(in crate::stats) fn logit(from: f64) -> Self {
        Self {
            from,
            to: FAR,
            first_stride: 0.25,
            width: 0.0,
        }
    }
}

/// Returns a place from which on an increasing `excess` is not negative; `None` if there is none up to the end.
///
/// The place is on the far side of the root, never on the near side. The bracket shrinks by the secant rule of Illinois,
/// and by bisection where that is slow.
///
/// # Errors
/// `excess` fails, or the bracket does not close.
pub(in crate::stats) fn crossing(
    search: &Search,
    mut excess: impl FnMut(f64) -> Result<f64, StatsError>,
) -> Result<Option<f64>, StatsError> {
    const ROUNDS: u32 = 500;
    // From a near guess outward in growing strides, so that the far end's huge values don't slow the search.
    let (mut low, mut stride) = (search.from, search.first_stride);
    let mut low_value = excess(low)?;
    if low_value >= 0.0 {
        return Ok(Some(low));
    }
    let (mut high, mut high_value);
    loop {
        high = (low + stride).min(search.to);
        high_value = excess(high)?;
        if high_value >= 0.0 {
            break;
        }
        if high >= search.to {
            return Ok(None);
        }
        (low, low_value) = (high, high_value);
        stride *= 2.0;
    }
    let mut bisect = false;
    for _ in 0..ROUNDS {
        let width = high - low;
        let digits = 4.0 * f64::EPSILON * low.abs().max(high.abs()).max(f64::MIN_POSITIVE);
        if width <= digits.max(search.width) {
            return Ok(Some(high));
        }
        let secant = low + width * (low_value / (low_value - high_value));
        let middle = f64::midpoint(low, high);
        let inside = secant > low && secant < high;
        let at = if bisect || !inside { middle } else { secant };
        if at <= low || at >= high {
            return Ok(Some(high));
        }
        let value = excess(at)?;
        if value >= 0.0 {
            (high, high_value) = (at, value);
            low_value *= 0.5;
        } else {
            (low, low_value) = (at, value);
            high_value *= 0.5;
        }
        bisect = high - low > 0.5 * width;
    }
    Err(StatsError::NoConvergence {
        what: "the end of a confidence sequence",
        rounds: ROUNDS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_on_the_far_side_and_close() {
        for root in [-300.0, -2.5, 1e-9, 0.3, 17.0, 650.0] {
            let mut calls = 0;
            let found = crossing(&Search::logit(-FAR), |x| {
                calls += 1;
                Ok((x - root).powi(3) + (x - root) * 1e-3)
            })
            .unwrap()
            .unwrap();
            assert!(
                found >= root && found - root < 1e-12 * root.abs().max(1.0),
                "{found} for {root}"
            );
            assert!(calls < 120, "{calls} calls for {root}");
        }
        assert_eq!(crossing(&Search::logit(0.0), |_| Ok(-1.0)), Ok(None));
        assert_eq!(crossing(&Search::logit(0.0), |_| Ok(1.0)), Ok(Some(0.0)));
    }
}
