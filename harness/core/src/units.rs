//! Quantities with their units: tokens, dollars, bytes, durations, moments; and how people write them.
//!
//! Owns: parsing and printing of units. Must not: read a clock.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// Subtracts, stopping at zero.
            #[must_use]
            pub fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, Add::add)
            }
        }
    )+};
}

counts! {
    /// A number of model tokens.
    Tokens,
    /// A number of bytes.
    Bytes,
    /// An amount of money in billionths of a US dollar: exact sums, no rounding drift over many calls.
    Usd,
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Usd {
    /// Converts dollars as people write them; `None` for a negative, non-finite or far too large amount.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let nano = dollars * 1e9;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked"
        )]
        (nano.is_finite() && (0.0..1e18).contains(&nano)).then(|| Self(nano.round() as u64))
    }

    /// Returns the amount in dollars, for display only.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is spent must never look like nothing.
        let cent = Self(10_000_000);
        if *self > Self::ZERO && *self < cent {
            return f.write_str("<$0.01");
        }
        write!(f, "${:.2}", self.dollars())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match UNITS.iter().find(|(_, size)| self.0 >= *size) {
            None => write!(f, "{}B", self.0),
            Some((unit, size)) if self.0.is_multiple_of(*size) => write!(f, "{}{unit}", self.0 / size),
            Some((unit, size)) => write!(f, "{:.1}{unit}", self.0 as f64 / *size as f64),
        }
    }
}

/// Why a quantity could not be read, with what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no number at the start.
    #[error("expected {expected}, found {found:?}")]
    NotANumber {
        /// What is written there.
        found: String,
        /// An example of what is right.
        expected: &'static str,
    },
    /// A number with a unit that is not known.
    #[error("unknown unit {unit:?}, expected one of {known}")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The units that are known.
        known: &'static str,
    },
    /// A number without a unit.
    #[error("{found:?} has no unit, expected one of {known} after the number")]
    NoUnit {
        /// What is written there.
        found: String,
        /// The units that are known.
        known: &'static str,
    },
    /// A number that does not fit.
    #[error("{found:?} is too large")]
    TooLarge {
        /// What is written there.
        found: String,
    },
}

const SIZES: [(&str, f64); 8] = [
    ("B", 1.0),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];
const TIMES: [(&str, f64); 5] = [
    ("ms", 1e-3),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];
const COUNTS: [(&str, f64); 4] = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];

/// Reads a size such as `512MiB`.
pub fn parse_bytes(text: &str) -> Result<Bytes, UnitError> {
    let known = "B, KB, MB, GB, KiB, MiB, GiB, TiB";
    let (value, rest) = one_term(text, &SIZES, "a size such as `512MiB`", known)?;
    whole(text, rest, value, known).map(Bytes)
}

/// Reads a duration such as `20m` or `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let known = "ms, s, m, h, d";
    let mut total = 0.0;
    let mut rest = text.trim();
    loop {
        let (value, after) = one_term(rest, &TIMES, "a duration such as `20m`", known)?;
        total += value;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    if total > 1e10 {
        return Err(UnitError::TooLarge {
            found: text.to_owned(),
        });
    }
    Ok(Duration::from_secs_f64(total))
}

/// Reads a count such as `200k`.
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    let known = "k, M, G (or none)";
    let (value, rest) = one_term(text, &COUNTS, "a count such as `200k`", known)?;
    whole(text, rest, value, known)
}

/// Writes a duration the way people write it: `1h30m`, `20m`, `2.5s`, `150ms`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if duration.is_zero() {
        return "0s".to_owned();
    }
    if seconds < 1.0 {
        return format!("{}ms", duration.as_millis().max(1));
    }
    if seconds < 60.0 {
        let text = format!("{seconds:.1}");
        return format!("{}s", text.strip_suffix(".0").unwrap_or(&text));
    }
    let whole = duration.as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    [(hours, "h"), (minutes, "m"), (seconds, "s")]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect()
}

fn one_term<'a>(
    text: &'a str,
    units: &[(&str, f64)],
    expected: &'static str,
    known: &'static str,
) -> Result<(f64, &'a str), UnitError> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let Ok(value) = number.replace('_', "").parse::<f64>() else {
        return Err(UnitError::NotANumber {
            found: text.chars().take(40).collect(),
            expected,
        });
    };
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    match units.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => Ok((value * factor, after)),
        None if unit.is_empty() => Err(UnitError::NoUnit {
            found: text.chars().take(40).collect(),
            known,
        }),
        None => Err(UnitError::UnknownUnit {
            unit: unit.chars().take(40).collect(),
            known,
        }),
    }
}

fn whole(text: &str, rest: &str, value: f64, known: &'static str) -> Result<u64, UnitError> {
    if !rest.is_empty() {
        return Err(UnitError::UnknownUnit {
            unit: rest.chars().take(40).collect(),
            known,
        });
    }
    if value > 9e15 {
        return Err(UnitError::TooLarge {
            found: text.chars().take(40).collect(),
        });
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked"
    )]
    Ok(value.round() as u64)
}

/// A wall-clock instant: microseconds since 1970-01-01 UTC. For people; never for limits, since clocks jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A point of a run in both clocks. Limits, waits and orders use `elapsed`, which never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Monotonic time since the process began its run.
    pub elapsed: Duration,
    /// What the wall clock says, for the log.
    pub wall: Timestamp,
}

impl Moment {
    /// Returns a moment with only the monotonic part, for tests and simulations.
    pub fn at(elapsed: Duration) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "292,000 years of microseconds")]
        Self {
            elapsed,
            wall: Timestamp(elapsed.as_micros() as i64),
        }
    }
}

impl Timestamp {
    /// Returns this instant moved by a duration into the future.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

/// Writes RFC 3339 with microseconds (`2026-03-01T12:00:00.000000Z`). Days to date by Howard Hinnant's
/// `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
        )
    }
}

impl Timestamp {
    /// Reads what [`Display`](fmt::Display) writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z')?;
        let (date, time) = text.split_once('T')?;
        let mut parts = date.splitn(3, '-').map(str::parse::<i64>);
        let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let mut parts = clock.splitn(3, ':').map(str::parse::<i64>);
        let (hour, minute, second) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || fraction.len() > 6 || year.abs() > 9999 {
            return None;
        }
        let micros: i64 = format!("{fraction:0<6}").parse().ok()?;
        let shifted_year = if month <= 2 { year - 1 } else { year };
        let era = shifted_year.div_euclid(400);
        let year_of_era = shifted_year.rem_euclid(400);
        let shifted_month = (month + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        Some(Self(
            ((days * 86_400) + hour * 3600 + minute * 60 + second) * 1_000_000 + micros,
        ))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a timestamp"))
    }
}

/// Serializes a duration as seconds with microseconds.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes seconds, rounded to a microsecond.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_micros() as f64 / 1e6)
    }

    /// Reads seconds; negative, non-finite or absurd values are errors.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        let nanos = (seconds * 1e6).round() * 1e-6;
        Duration::try_from_secs_f64(nanos).map_err(serde::de::Error::custom)
    }
}

/// Serializes an optional duration as seconds.
pub mod seconds_opt {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Seconds(#[serde(with = "super::seconds")] Duration);

    /// Writes seconds or null.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(Seconds).serialize(serializer)
    }

    /// Reads seconds or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Seconds>::deserialize(deserializer)?.map(|seconds| seconds.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(parse_bytes("512MiB"), Ok(Bytes(512 << 20)));
        assert_eq!(parse_bytes("16 KiB"), Ok(Bytes(16384)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("150ms"), Ok(Duration::from_millis(150)));
        assert_eq!(parse_count("200k"), Ok(200_000));
        assert_eq!(parse_count("3_000"), Ok(3000));
    }

    #[test]
    fn wrong_quantities_say_what_is_right() {
        let cases = [
            (
                parse_bytes("512").unwrap_err().to_string(),
                "\"512\" has no unit, expected one of B, KB, MB, GB, KiB, MiB, GiB, TiB after the number",
            ),
            (
                parse_bytes("512mb").unwrap_err().to_string(),
                "unknown unit \"mb\", expected one of B, KB, MB, GB, KiB, MiB, GiB, TiB",
            ),
            (
                parse_duration("soon").unwrap_err().to_string(),
                "expected a duration such as `20m`, found \"soon\"",
            ),
            (
                parse_duration("-3s").unwrap_err().to_string(),
                "expected a duration such as `20m`, found \"-3s\"",
            ),
            (
                parse_count("99999999999G").unwrap_err().to_string(),
                "\"99999999999G\" is too large",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn durations_print_as_people_write_them() {
        let shown = [0, 150, 2500, 20_000, 1_200_000, 5_400_000, 90_061_000]
            .map(|ms| format_duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["0s", "150ms", "2.5s", "20s", "20m", "1h30m", "25h1m1s"]);
    }

    #[test]
    fn timestamps_round_trip() {
        for micros in [
            0,
            -1,
            951_782_400_000_000,
            1_795_176_000_123_456,
            253_402_300_799_999_999,
        ] {
            assert_eq!(
                Timestamp::parse(&Timestamp(micros).to_string()),
                Some(Timestamp(micros))
            );
        }
        assert_eq!(
            Timestamp(951_782_400_000_000).to_string(),
            "2000-02-29T00:00:00.000000Z"
        );
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn money_adds_exactly() {
        let cent = Usd::from_dollars(0.01).unwrap();
        assert_eq!(
            (0..100).map(|_| cent).sum::<Usd>(),
            Usd::from_dollars(1.0).unwrap()
        );
        assert_eq!(Usd::from_dollars(-1.0), None);
        assert_eq!(Usd::from_dollars(f64::NAN), None);
    }
}
