//! How the best horizon grows with time.
//!
//! Owns: which models were the best when they came out, and the doubling time. Must not: fit horizons.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::{Serialize, Serializer};

use super::analysis::Analysis;
use super::bootstrap::Draw;
use super::estimate::percentile_interval;
use crate::stats::{Interval, Level, StatsError};
use crate::units::Timestamp;

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// Reads `2025-02-24`; `None` for anything else, a day that there is not included.
    pub fn parse(text: &str) -> Option<Self> {
        let Timestamp(micros) = Timestamp::parse(&format!("{text}T00:00:00Z"))?;
        let day = Self(micros.div_euclid(86_400_000_000));
        (day.to_string() == text).then_some(day)
    }

    /// Returns the days since 1970-01-01.
    pub fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = Timestamp(self.0.saturating_mul(86_400_000_000)).to_string();
        f.write_str(instant.split('T').next().unwrap_or_default())
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// When a model came out, and its 50 % horizon.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Release {
    /// The model.
    pub model: String,
    /// The day.
    pub day: Day,
    /// Minutes.
    pub minutes: f64,
}

/// What a trend can be made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    /// Models with a day of release and a horizon.
    pub releases: Vec<Release>,
    /// Each draw's 50 % horizons in the order of the releases; `None` where success does not fall with length.
    pub draws: Vec<Vec<Option<f64>>>,
    /// Models that can be no part of a trend, and why.
    pub left_out: Vec<(String, &'static str)>,
}

/// METR's name for people among the models.
const PEOPLE: &str = "human";

/// Puts together the models of which the day of release is known and the 50 % horizon is a number, with their draws.
pub fn candidates(analysis: &Analysis<'_>, draws: &[Draw], days: &BTreeMap<String, Day>) -> Candidates {
    let mut found = Candidates::default();
    let mut places = Vec::new();
    let models = analysis.data.models.iter().zip(&analysis.models).enumerate();
    for (at, (model, fitted)) in models.filter(|(_, (model, _))| model.name != PEOPLE) {
        let name = model.name.clone();
        match (days.get(&name), fitted.horizon(Level::HALF).minutes()) {
            (None, _) => found.left_out.push((name, "its day of release is not known")),
            (Some(_), None) => found.left_out.push((name, "its horizon is no number")),
            (Some(day), Some(minutes)) => {
                places.push(at);
                found.releases.push(Release {
                    model: name,
                    day: *day,
                    minutes,
                });
            }
        }
    }
    let minutes = |draw: &Draw, at: usize| {
        let curve = draw.models.get(at)?.curve.ok()?;
        (curve.slope < 0.0).then(|| curve.minutes_at(Level::HALF))
    };
    let of_draw = |draw| places.iter().map(|at| minutes(draw, *at)).collect();
    found.draws = draws.iter().map(of_draw).collect();
    found
}

/// How fast the best horizon doubles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// The models that the line goes through, by day.
    pub models: Vec<Release>,
    /// Doublings per day: the slope of `log2(minutes)` over days.
    pub doublings_per_day: f64,
    /// Its interval; `None` without draws.
    pub interval: Option<Interval>,
    /// Draws in which at least two of the models had a horizon.
    pub draws: u64,
}

impl Trend {
    /// Returns the days that a doubling takes; `None` if horizons don't grow.
    pub fn doubling_days(&self) -> Option<f64> {
        days(self.doublings_per_day)
    }

    /// Returns the ends of its interval: `None` for an end stands for no growth at all, which is no bound.
    pub fn doubling_interval(&self) -> Option<(Option<f64>, Option<f64>)> {
        let interval = self.interval?;
        Some((days(interval.upper), days(interval.lower)))
    }
}

fn days(doublings_per_day: f64) -> Option<f64> {
    (doublings_per_day > 0.0).then(|| 1.0 / doublings_per_day)
}

/// Draws with a horizon below this many minutes say nothing about a trend. METR's choice.
const LEAST_MINUTES: f64 = 1e-3;

/// Returns the positions of the releases that were the best, or as good, of all up to their day.
pub fn state_of_the_art(releases: &[Release]) -> Vec<usize> {
    let best = |one: &Release| {
        let earlier = releases.iter().filter(|other| other.day <= one.day);
        earlier.map(|other| other.minutes).fold(0.0, f64::max)
    };
    let mut found: Vec<usize> = (0..releases.len())
        .filter(|at| releases[*at].minutes >= best(&releases[*at]))
        .collect();
    found.sort_by_key(|at| (releases[*at].day, *at));
    found
}

/// Fits the trend of the state of the art: least squares of `log2(minutes)` on the day of release.
///
/// The models are those of [`state_of_the_art`] among all `releases` that came out within `days`. Each entry of `draws`
/// holds one draw's minutes in the order of `releases`, `None` for no horizon; the same models are used in every
/// draw, those below 0.001 minutes or infinite are left out, and the interval consists of the percentiles of
/// the slopes. Its doubling time is `1 / slope`. Uncertain in ways that draws don't show: which models were measured,
/// and whether growth is exponential. T. Kwa et al., arXiv 2503.14499 (2025).
///
/// # Errors
/// Fewer than two models on two days.
pub fn trend(
    releases: &[Release],
    days: Range<Day>,
    draws: &[Vec<Option<f64>>],
    confidence: Level,
) -> Result<Trend, StatsError> {
    let chosen: Vec<usize> = state_of_the_art(releases)
        .into_iter()
        .filter(|at| days.contains(&releases[*at].day))
        .collect();
    let points = chosen.iter().map(|at| (releases[*at].day, releases[*at].minutes));
    let slope = slope(points).ok_or(StatsError::TooFew {
        what: "a trend of horizons",
        unit: "models on different days",
        needed: 2,
        found: chosen.len() as u64,
    })?;
    let of_draw = |draw: &Vec<Option<f64>>| {
        let minutes = |at: &usize| {
            let minutes = draw.get(*at).copied().flatten()?;
            (minutes >= LEAST_MINUTES && minutes.is_finite()).then_some((releases[*at].day, minutes))
        };
        self::slope(chosen.iter().filter_map(minutes))
    };
    let mut slopes: Vec<f64> = draws.iter().filter_map(of_draw).collect();
    Ok(Trend {
        models: chosen.iter().map(|at| releases[*at].clone()).collect(),
        doublings_per_day: slope,
        interval: percentile_interval(&mut slopes, confidence),
        draws: slopes.len() as u64,
    })
}

/// Returns the slope of `log2(minutes)` over days; `None` for less than two days.
fn slope(points: impl Iterator<Item = (Day, f64)>) -> Option<f64> {
    let points: Vec<(f64, f64)> = points
        .map(|(Day(day), minutes)| (day as f64, minutes.log2()))
        .collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let together: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    (spread > 0.0)
        .then(|| together / spread)
        .filter(|slope| slope.is_finite())
}
