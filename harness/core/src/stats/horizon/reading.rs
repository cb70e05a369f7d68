//! What may be said of a horizon.
//!
//! Owns: that a number is shown only where tasks lie on both sides of it. Must not: estimate.

use std::fmt;

use serde::Serialize;

use super::curve::{Curve, Order, Pivot};
use crate::stats::Level;

/// A horizon, or what can be said without a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reading {
    /// A number, with shorter and longer tasks in the data.
    Within {
        /// Minutes.
        minutes: f64,
    },
    /// Below every task.
    ShorterThanShortest {
        /// Minutes of the shortest task.
        shortest: f64,
    },
    /// Above every task.
    LongerThanLongest {
        /// Minutes of the longest task.
        longest: f64,
    },
    /// Between two lengths with none between them: success falls from all to none at once, and every curve that is
    /// steep enough fits the same.
    Between {
        /// Minutes of the longest task on which success is above the level.
        from: f64,
        /// Minutes of the shortest on which it is below.
        to: f64,
    },
    /// Success does not fall with length.
    NotFalling,
    /// The fit did not end.
    Unknown,
}

/// The lengths of a model's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lengths {
    /// Minutes of the shortest.
    pub shortest: f64,
    /// Minutes of the longest.
    pub longest: f64,
}

impl Lengths {
    /// Reads minutes that may be zero or infinite.
    pub fn read(self, minutes: f64) -> Reading {
        let Self { shortest, longest } = self;
        if minutes.is_nan() {
            Reading::Unknown
        } else if minutes <= shortest {
            Reading::ShorterThanShortest { shortest }
        } else if minutes >= longest {
            Reading::LongerThanLongest { longest }
        } else {
            Reading::Within { minutes }
        }
    }

    /// Reads the horizon at a level of a model's curve.
    pub(super) fn horizon(self, order: Order, curve: Option<Curve>, level: Level) -> Reading {
        let Self { shortest, longest } = self;
        match (order, curve) {
            (Order::AllFailed, _) => Reading::ShorterThanShortest { shortest },
            (Order::AllSucceeded, _) => Reading::LongerThanLongest { longest },
            (
                Order::Separated {
                    longest_success,
                    shortest_failure,
                },
                _,
            ) => between(longest_success, shortest_failure),
            (Order::Pivot(pivot), _) => self.beside(pivot, level),
            (Order::Mixed, Some(curve)) if curve.slope < 0.0 => self.read(curve.minutes_at(level)),
            (Order::Mixed, Some(_)) | (Order::Reversed, _) => Reading::NotFalling,
            (Order::Mixed, None) | (Order::Empty, _) => Reading::Unknown,
        }
    }

    /// Success falls from all to none at one length: it is above the level on this side of it or on that.
    fn beside(self, pivot: Pivot, level: Level) -> Reading {
        let Self { shortest, longest } = self;
        if pivot.rate >= level.get() {
            pivot
                .after
                .map_or(Reading::LongerThanLongest { longest }, |after| {
                    between(pivot.at, after)
                })
        } else {
            pivot
                .before
                .map_or(Reading::ShorterThanShortest { shortest }, |before| {
                    between(before, pivot.at)
                })
        }
    }
}

/// Makes a reading of two lengths that are logarithms.
fn between(from: f64, to: f64) -> Reading {
    Reading::Between {
        from: from.exp2(),
        to: to.exp2(),
    }
}

impl Reading {
    /// Returns the minutes, where there is a number.
    pub fn minutes(&self) -> Option<f64> {
        match self {
            Self::Within { minutes } => Some(*minutes),
            Self::ShorterThanShortest { .. }
            | Self::LongerThanLongest { .. }
            | Self::Between { .. }
            | Self::NotFalling
            | Self::Unknown => None,
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within { minutes } => write!(f, "{} min", figures(*minutes)),
            Self::ShorterThanShortest { shortest } => {
                write!(f, "shorter than the shortest task ({} min)", figures(*shortest))
            }
            Self::LongerThanLongest { longest } => {
                write!(f, "longer than the longest task ({} min)", figures(*longest))
            }
            Self::Between { from, to } => {
                write!(
                    f,
                    "between {} and {} min, where success ends",
                    figures(*from),
                    figures(*to)
                )
            }
            Self::NotFalling => f.write_str("none: success does not fall with length"),
            Self::Unknown => f.write_str("unknown: no fit was found"),
        }
    }
}

/// Returns a positive number with three digits or all digits before the point, such as `0.0174`, `43.3`, `1,045`.
pub fn figures(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value >= 99.95 {
        let digits = format!("{value:.0}");
        let mut out = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        return out;
    }
    if value >= 1e-4 {
        #[expect(clippy::cast_possible_truncation, reason = "between -4 and 1")]
        let magnitude = value.log10().floor() as i32;
        let decimals = usize::try_from((2 - magnitude).max(0)).unwrap_or(0);
        let text = format!("{value:.decimals$}");
        return if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        };
    }
    format!("{value:.2e}")
}

#[cfg(test)]
mod tests {
    use super::figures;

    #[test]
    fn figures_are_short_and_keep_their_digits() {
        let shown = [
            0.0,
            1e-5,
            0.000_321_4,
            0.017_48,
            1.0,
            1.016_8,
            43.316,
            99.96,
            341.741,
            1044.65,
            1e9,
        ]
        .map(figures);
        let expected = [
            "0.00e0",
            "1.00e-5",
            "0.000321",
            "0.0175",
            "1",
            "1.02",
            "43.3",
            "100",
            "342",
            "1,045",
            "1,000,000,000",
        ];
        assert_eq!(shown, expected);
    }
}
