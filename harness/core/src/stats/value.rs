//! What statistics are made of and come out as: rates with their denominators, intervals with their methods.
//!
//! Owns: types that can't hold nonsense and can't lose their denominator. Must not: compute anything but checks.

use std::fmt;

use serde::Serialize;

/// A probability strictly between 0 and 1: a confidence, an error rate, a threshold.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Level(f64);

impl Level {
    /// 95 %, the confidence of intervals that people see.
    pub const P95: Self = Self(0.95);
    /// 50 %: as likely as not.
    pub const HALF: Self = Self(0.5);
    /// 5 %, the usual error rate.
    pub const P05: Self = Self(0.05);

    /// Checks a probability.
    ///
    /// # Errors
    /// It does not lie strictly between 0 and 1, or is no number. `what` names it in the message.
    pub fn new(what: &'static str, value: f64) -> Result<Self, StatsError> {
        if value > 0.0 && value < 1.0 {
            Ok(Self(value))
        } else {
            Err(StatsError::NotALevel { what, value })
        }
    }

    /// Returns the probability.
    pub fn get(self) -> f64 {
        self.0
    }

    /// Returns one minus the probability.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(1.0 - self.0)
    }
}

/// Which ends of an interval say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Both, each with half the error.
    Two,
    /// The lower: "at least". The upper end is the edge of the range.
    Lower,
    /// The upper: "at most". The lower end is the edge of the range.
    Upper,
}

/// How an interval was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Wilson's score interval.
    Wilson,
    /// Wilson's with a continuity correction.
    WilsonContinuity,
    /// Exact, by Clopper and Pearson.
    ClopperPearson,
    /// Equal-tailed, with Jeffreys' prior.
    Jeffreys,
    /// Equal-tailed, with a uniform prior.
    Uniform,
    /// By Agresti and Coull.
    AgrestiCoull,
    /// Normal approximation.
    Wald,
    /// The shortest part of a posterior, with a uniform prior.
    HighestDensity,
    /// Three divided by the number of units, for no successes.
    RuleOfThree,
    /// Of a difference of rates, by Newcombe, from two Wilson intervals.
    Newcombe,
    /// Of a difference of rates, by Agresti and Caffo.
    AgrestiCaffo,
    /// Of a difference of rates, by Miettinen and Nurminen.
    MiettinenNurminen,
    /// Of a difference of means, by Welch.
    Welch,
    /// Of a difference of paired rates, by Newcombe (his method 10).
    NewcombePaired,
    /// Of a difference of paired rates, by Tango.
    Tango,
    /// Of a difference of paired rates, by Agresti and Min.
    AgrestiMin,
    /// Standard error over clusters, Student's t with clusters minus one degrees of freedom.
    Clustered,
    /// Percentiles of resampled clusters.
    ClusterBootstrap,
    /// Bias-corrected and accelerated percentiles of resampled clusters.
    Bca,
    /// Central part of the posterior of the mean rate of tasks whose rates differ.
    ClusterModel,
    /// Central part of one task's posterior, with a prior that was fitted to all tasks.
    EmpiricalBayes,
    /// Student's t over independent units, with units minus one degrees of freedom.
    StudentT,
    /// Clopper-Pearson's of the rate of one attempt, carried over to several attempts.
    RepeatedClopperPearson,
    /// Corrected for a labeller's errors, normal approximation.
    RoganGladen,
    /// Corrected for a labeller's errors, with the adjustment by Lang and Reiczigel.
    LangReiczigel,
    /// Prediction-powered inference.
    PredictionPowered,
    /// Central part of a posterior, by quadrature.
    Posterior,
    /// Exact for a sample from a finite population.
    Hypergeometric,
    /// From the lower end for the worst case to the upper end for the best, both by Clopper and Pearson.
    WorstCase,
    /// For a rate of which only bounds are known, by Imbens and Manski.
    ImbensManski,
    /// A finite-population audit and Clopper-Pearson, each with half the error.
    AuditedClopperPearson,
    /// Large-sample variance of kappa, by Fleiss, Cohen and Everitt.
    FleissCohenEveritt,
    /// Large-sample variance of AC1, by Gwet.
    Gwet,
    /// Jackknife over units, with Student's t.
    Jackknife,
    /// First-order propagation of variances.
    DeltaMethod,
    /// Fisher information, normal approximation.
    FisherInformation,
    /// Percentiles of draws of families, of tasks within them, and of runs within these.
    HierarchicalBootstrap,
    /// A confidence sequence: two-sided mixture of binomial likelihood ratios over a Beta prior.
    BetaBinomialMixture,
    /// A confidence sequence: one-sided mixture over a Beta prior that ends at the threshold.
    TruncatedBetaMixture,
    /// A confidence sequence for the mean of families: one-sided mixture of bets on their means.
    FamilyBets,
    /// A confidence sequence for bounded scores: normal mixture over sub-Gaussian deviations.
    NormalMixture,
    /// A confidence sequence for bounded scores: predictable plug-in empirical Bernstein.
    EmpiricalBernstein,
}

impl Method {
    /// Returns the name that reports print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wilson => "Wilson",
            Self::WilsonContinuity => "Wilson, continuity-corrected",
            Self::ClopperPearson => "Clopper-Pearson",
            Self::Jeffreys => "Jeffreys",
            Self::Uniform => "Beta posterior, uniform prior",
            Self::AgrestiCoull => "Agresti-Coull",
            Self::Wald => "Wald",
            Self::HighestDensity => "highest posterior density, uniform prior",
            Self::RuleOfThree => "rule of three",
            Self::Newcombe => "Newcombe",
            Self::AgrestiCaffo => "Agresti-Caffo",
            Self::MiettinenNurminen => "Miettinen-Nurminen",
            Self::Welch => "Welch",
            Self::NewcombePaired => "Newcombe, paired",
            Self::Tango => "Tango",
            Self::AgrestiMin => "Agresti-Min",
            Self::Clustered => "clustered standard error, Student's t",
            Self::ClusterBootstrap => "cluster bootstrap, percentiles",
            Self::Bca => "cluster bootstrap, BCa",
            Self::ClusterModel => "Bayesian cluster model",
            Self::EmpiricalBayes => "empirical Bayes",
            Self::StudentT => "Student's t",
            Self::RepeatedClopperPearson => "Clopper-Pearson, for repeated attempts",
            Self::RoganGladen => "Rogan-Gladen",
            Self::LangReiczigel => "Lang-Reiczigel",
            Self::PredictionPowered => "prediction-powered",
            Self::Posterior => "posterior",
            Self::Hypergeometric => "hypergeometric",
            Self::WorstCase => "worst case, Clopper-Pearson ends",
            Self::ImbensManski => "Imbens-Manski",
            Self::AuditedClopperPearson => "audit and Clopper-Pearson",
            Self::FleissCohenEveritt => "Fleiss-Cohen-Everitt",
            Self::Gwet => "Gwet",
            Self::Jackknife => "jackknife",
            Self::DeltaMethod => "delta method",
            Self::FisherInformation => "Fisher information",
            Self::HierarchicalBootstrap => "hierarchical bootstrap, percentiles",
            Self::BetaBinomialMixture => "confidence sequence, beta-binomial mixture",
            Self::TruncatedBetaMixture => "confidence sequence, one-sided Beta mixture",
            Self::FamilyBets => "confidence sequence, bets on family means",
            Self::NormalMixture => "confidence sequence, normal mixture",
            Self::EmpiricalBernstein => "confidence sequence, empirical Bernstein",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An interval with what it takes to read it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end, in the unit of what is estimated.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// The share of such intervals that hold the true value.
    pub confidence: Level,
    /// Which ends say something.
    pub side: Side,
    /// How it was computed.
    pub method: Method,
}

/// A value with its interval: what a report may print.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The point.
    pub value: f64,
    /// Around it; not always with the point in its middle.
    pub interval: Interval,
    /// How many independent units it rests on (tasks, clusters, pairs): the denominator.
    pub units: u64,
}

/// What a posterior says about a value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Posterior {
    /// Its mean.
    pub mean: f64,
    /// Its median.
    pub median: f64,
    /// The quantiles that leave the same probability outside on both sides.
    pub interval: Interval,
    /// How many independent units the data are.
    pub units: u64,
}

/// A whole number that is known to lie between two others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CountInterval {
    /// The least.
    pub lower: u64,
    /// The most.
    pub upper: u64,
    /// Among how many.
    pub of: u64,
    /// The share of such intervals that hold the true number, at least.
    pub confidence: Level,
    /// Which ends say something.
    pub side: Side,
    /// How it was computed.
    pub method: Method,
}

/// What a posterior makes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Credence {
    /// The posterior probability that the claim holds.
    pub probability: f64,
    /// The claim, as reports print it.
    pub claim: &'static str,
    /// The prior.
    pub prior: &'static str,
}

/// A p-value with what was tested.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
pub struct PValue {
    /// The probability of data at least as extreme if the hypothesis holds; never 0.
    pub value: f64,
    /// The test's name, as reports print it.
    pub test: &'static str,
}

/// Why units are not in a denominator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Excluded {
    /// The reason, such as "void" or "unscored".
    pub why: String,
    /// How many.
    pub units: u64,
}

/// Successes among counted units, and what is in neither.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rate {
    successes: u64,
    units: u64,
    excluded: Vec<Excluded>,
}

impl Rate {
    /// Makes a rate; `units` is the denominator, `excluded` is in neither count.
    ///
    /// # Errors
    /// There are more successes than units.
    pub fn new(successes: u64, units: u64, excluded: Vec<Excluded>) -> Result<Self, StatsError> {
        if successes > units {
            return Err(StatsError::MoreSuccessesThanUnits { successes, units });
        }
        Ok(Self {
            successes,
            units,
            excluded,
        })
    }

    /// Makes a rate from which nothing is excluded.
    ///
    /// # Errors
    /// There are more successes than units.
    pub fn of(successes: u64, units: u64) -> Result<Self, StatsError> {
        Self::new(successes, units, Vec::new())
    }

    /// Returns the successes: the numerator.
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// Returns the failures: units without success.
    pub fn failures(&self) -> u64 {
        self.units - self.successes
    }

    /// Returns the counted units: the denominator.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Returns what was left out, by reason.
    pub fn excluded(&self) -> &[Excluded] {
        &self.excluded
    }
}

/// Why a statistic can't be computed. A report says this instead of a number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// A probability that is none, or is 0 or 1 where neither makes sense.
    #[error("{what} must lie strictly between 0 and 1, found {value}")]
    NotALevel {
        /// Which.
        what: &'static str,
        /// What was given.
        value: f64,
    },
    /// A count over its total.
    #[error("{successes} successes among {units} units")]
    MoreSuccessesThanUnits {
        /// The numerator.
        successes: u64,
        /// The denominator.
        units: u64,
    },
    /// Too little data.
    #[error("{what} needs at least {needed} {unit}, found {found}")]
    TooFew {
        /// The method.
        what: &'static str,
        /// Of what.
        unit: &'static str,
        /// How many it takes.
        needed: u64,
        /// How many there are.
        found: u64,
    },
    /// Lists that belong together differ in length.
    #[error("{what}: {left} values beside {right}")]
    Lengths {
        /// Which lists.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// A value that is no number or infinite.
    #[error("{what} at position {at} is not a finite number")]
    NotFinite {
        /// Which list.
        what: &'static str,
        /// The place, from 0.
        at: usize,
    },
    /// A value outside its range.
    #[error("{what} must lie from {least} to {most}, found {value}")]
    OutOfRange {
        /// Which.
        what: &'static str,
        /// The value.
        value: f64,
        /// The least that is allowed.
        least: f64,
        /// The most that is allowed.
        most: f64,
    },
    /// A value in a list that is outside its range.
    #[error("{what} at position {at} must lie from {least} to {most}, found {value}")]
    OutOfRangeAt {
        /// Which list.
        what: &'static str,
        /// The place, from 0.
        at: usize,
        /// The value.
        value: f64,
        /// The least that is allowed.
        least: f64,
        /// The most that is allowed.
        most: f64,
    },
    /// A value that must be another kind of number.
    #[error("{what} must be {must}, found {value}")]
    Unfit {
        /// Which.
        what: &'static str,
        /// What it must be, such as "a positive number".
        must: &'static str,
        /// The value.
        value: f64,
    },
    /// The data leave the value undefined.
    #[error("{what} is undefined: {why}")]
    Undefined {
        /// Which statistic.
        what: &'static str,
        /// What in the data makes it so.
        why: &'static str,
    },
    /// More than there can be.
    #[error("{what}: {found} of {most}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many were given.
        found: u64,
        /// How many there are.
        most: u64,
    },
    /// A labeller so poor that a correction for its errors would be noise.
    #[error(
        "the labeller is too poor to correct for: sensitivity + specificity - 1 is {informedness:.3}, at least {lower:.3} with confidence; it takes 0.3 and a lower end above 0"
    )]
    PoorLabeller {
        /// Sensitivity + specificity - 1.
        informedness: f64,
        /// The lower end of its interval.
        lower: f64,
    },
    /// A labeller that was calibrated on other failures than those it labelled.
    #[error(
        "the labeller was calibrated on {calibrated}, not on {applied}; no correction is valid, give bounds"
    )]
    OtherPopulation {
        /// Where its errors were measured.
        calibrated: String,
        /// What it labelled.
        applied: String,
    },
    /// A search for a root or a maximum did not end.
    #[error("{what} did not converge after {rounds} rounds")]
    NoConvergence {
        /// Which.
        what: &'static str,
        /// How many rounds were tried.
        rounds: u32,
    },
}

impl StatsError {
    /// Checks that there is enough of something.
    ///
    /// # Errors
    /// There is not.
    pub fn check_enough(what: &'static str, unit: &'static str, needed: u64, found: u64) -> Result<(), Self> {
        if found >= needed {
            return Ok(());
        }
        Err(Self::TooFew {
            what,
            unit,
            needed,
            found,
        })
    }

    /// Checks that a value lies within a closed range.
    ///
    /// # Errors
    /// It does not, or is no number.
    pub fn check_range(what: &'static str, value: f64, [least, most]: [f64; 2]) -> Result<(), Self> {
        if (least..=most).contains(&value) {
            return Ok(());
        }
        Err(Self::OutOfRange {
            what,
            value,
            least,
            most,
        })
    }

    /// Checks that every value is finite.
    ///
    /// # Errors
    /// One is not; the first is named.
    pub fn check_finite(what: &'static str, values: &[f64]) -> Result<(), Self> {
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Self::NotFinite { what, at }),
            None => Ok(()),
        }
    }
}
