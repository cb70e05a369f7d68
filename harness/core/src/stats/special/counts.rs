//! Binomial and hypergeometric probabilities, from single counts to 10⁹, in logarithms.
//!
//! Owns: probabilities of counts and their tails. Must not: test a hypothesis (see `interval`, `paired`, `independent`).

use super::beta::{Point, ln_beta_unchecked, ln_tails_at, shapes, unit};
use super::ln_beta_kernel;
use crate::stats::StatsError;

/// Returns the natural logarithm of the binomial coefficient, `ln C(n, k)`; negative infinity for `k > n`.
pub fn ln_binomial(n: u64, k: u64) -> f64 {
    if k > n {
        return f64::NEG_INFINITY;
    }
    if k == 0 || k == n {
        return 0.0;
    }
    let (k, rest) = (k as f64, (n - k) as f64);
    -(ln_beta_unchecked(k, rest) + (k / (n as f64) * rest).ln())
}

/// Returns `ln P(X = k)` for `X` binomial with `n` trials of probability `p`; negative infinity for `k > n`.
///
/// # Errors
/// `p` does not lie in [0, 1].
pub fn ln_binomial_pmf(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    unit("the probability of a binomial count", p)?;
    if k > n {
        return Ok(f64::NEG_INFINITY);
    }
    let (successes, failures, trials) = (k as f64, (n - k) as f64, n as f64);
    // Zero times the logarithm of zero is no successes in no trials: certain.
    let power = |count: f64, ln: f64| if count == 0.0 { 0.0 } else { count * ln };
    if k == 0 || k == n || p <= 0.0 || p >= 1.0 {
        let ln_coefficient = ln_binomial(n, k);
        return Ok(ln_coefficient + power(successes, p.ln()) + power(failures, (-p).ln_1p()));
    }
    Ok(ln_beta_kernel(successes, failures, p)? - (successes / trials * failures).ln())
}

/// Returns `P(X = k)` for `X` binomial with `n` trials of probability `p`.
///
/// # Errors
/// `p` does not lie in [0, 1].
pub fn binomial_pmf(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    Ok(ln_binomial_pmf(k, n, p)?.exp())
}

/// Returns `ln P(X <= k)` for `X` binomial with `n` trials of probability `p`, `I_{1-p}(n - k, k + 1)`.
///
/// # Errors
/// `p` does not lie in [0, 1].
pub fn ln_binomial_cdf(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    Ok(ln_tails(k, n, p)?.0)
}

/// Returns `ln P(X > k)` for `X` binomial with `n` trials of probability `p`, `I_p(k + 1, n - k)`.
///
/// # Errors
/// `p` does not lie in [0, 1].
pub fn ln_binomial_sf(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    Ok(ln_tails(k, n, p)?.1)
}

/// Returns `P(X <= k)` for `X` binomial with `n` trials of probability `p`.
///
/// # Errors
/// `p` does not lie in [0, 1].
pub fn binomial_cdf(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    Ok(ln_binomial_cdf(k, n, p)?.exp())
}

/// Returns `P(X > k)` for `X` binomial with `n` trials of probability `p`.
///
/// # Errors
/// `p` does not lie in [0, 1].
pub fn binomial_sf(k: u64, n: u64, p: f64) -> Result<f64, StatsError> {
    Ok(ln_binomial_sf(k, n, p)?.exp())
}

fn ln_tails(k: u64, n: u64, p: f64) -> Result<(f64, f64), StatsError> {
    unit("the probability of a binomial count", p)?;
    if k >= n || p <= 0.0 {
        return Ok((0.0, f64::NEG_INFINITY));
    }
    if p >= 1.0 {
        return Ok((f64::NEG_INFINITY, 0.0));
    }
    let (above, below) = ((k as f64) + 1.0, (n - k) as f64);
    shapes(above, below)?;
    let (sf, cdf) = ln_tails_at(above, below, &Point::at(p));
    Ok((cdf, sf))
}

/// A draw without replacement: `drawn` of a population in which `marked` of `population` carry a mark.
#[derive(Clone, Copy)]
struct Urn {
    population: u64,
    marked: u64,
    drawn: u64,
}

/// Returns `P(X = k)`, `X` the marked ones among `drawn` of a population of which `marked` carry the mark.
///
/// `C(marked, k) C(population - marked, drawn - k) / C(population, drawn)`, as a ratio of three binomial probabilities.
///
/// # Errors
/// More are marked or drawn than there are, or there are over 10¹².
pub fn hypergeometric_pmf(k: u64, population: u64, marked: u64, drawn: u64) -> Result<f64, StatsError> {
    Urn::new(population, marked, drawn)?.pmf(k)
}

/// Returns `P(X <= k)`, `X` as in [`hypergeometric_pmf`].
///
/// # Errors
/// More are marked or drawn than there are, or there are over 10¹².
pub fn hypergeometric_cdf(k: u64, population: u64, marked: u64, drawn: u64) -> Result<f64, StatsError> {
    Ok(Urn::new(population, marked, drawn)?.tails(k)?.0)
}

/// Returns `P(X > k)`, `X` as in [`hypergeometric_pmf`].
///
/// # Errors
/// More are marked or drawn than there are, or there are over 10¹².
pub fn hypergeometric_sf(k: u64, population: u64, marked: u64, drawn: u64) -> Result<f64, StatsError> {
    Ok(Urn::new(population, marked, drawn)?.tails(k)?.1)
}

impl Urn {
    fn new(population: u64, marked: u64, drawn: u64) -> Result<Self, StatsError> {
        // Tails are sums; what has more terms than this bounds is refused rather than waited for.
        let counts = [
            ("a population that is drawn from", population, 1_000_000_000_000),
            ("the marked ones of a population", marked, population),
            ("the drawn ones of a population", drawn, population),
        ];
        for (what, count, most) in counts {
            if count > most {
                return Err(StatsError::OutOfRange {
                    what,
                    value: count as f64,
                    least: 0.0,
                    most: most as f64,
                });
            }
        }
        Ok(Self {
            population,
            marked,
            drawn,
        })
    }

    fn least(self) -> u64 {
        self.drawn.saturating_sub(self.population - self.marked)
    }

    fn most(self) -> u64 {
        self.drawn.min(self.marked)
    }

    fn pmf(self, k: u64) -> Result<f64, StatsError> {
        if k < self.least() || k > self.most() {
            return Ok(0.0);
        }
        if self.drawn == 0 || self.drawn == self.population {
            return Ok(1.0);
        }
        // Any probability serves; with the share drawn all three terms are near their modes.
        let share = self.drawn as f64 / self.population as f64;
        let unmarked = self.population - self.marked;
        Ok(
            (ln_binomial_pmf(k, self.marked, share)? + ln_binomial_pmf(self.drawn - k, unmarked, share)?
                - ln_binomial_pmf(self.drawn, self.population, share)?)
            .exp(),
        )
    }

    /// Returns `P(X <= k)` and `P(X > k)`; the tail without the mode is summed from its largest term outwards.
    fn tails(self, k: u64) -> Result<(f64, f64), StatsError> {
        if k < self.least() {
            return Ok((0.0, 1.0));
        }
        if k >= self.most() {
            return Ok((1.0, 0.0));
        }
        let mode = (self.drawn as f64 + 1.0) * (self.marked as f64 + 1.0) / (self.population as f64 + 2.0);
        if (k as f64) < mode - 1.0 {
            let below = self.sum_down(k)?;
            Ok((below, 1.0 - below))
        } else {
            let above = self.sum_up(k + 1)?;
            Ok((1.0 - above, above))
        }
    }

    fn sum_down(self, from: u64) -> Result<f64, StatsError> {
        let (mut term, mut sum) = (self.pmf(from)?, 0.0);
        for k in (self.least()..=from).rev() {
            sum += term;
            let rest = self.population - self.marked + k - self.drawn;
            term *= k as f64 / (self.marked - k + 1) as f64 * rest as f64 / (self.drawn - k + 1) as f64;
            if term <= f64::EPSILON * 1e-3 * sum {
                break;
            }
        }
        Ok(sum.min(1.0))
    }

    fn sum_up(self, from: u64) -> Result<f64, StatsError> {
        let (mut term, mut sum) = (self.pmf(from)?, 0.0);
        for k in from..=self.most() {
            sum += term;
            let rest = self.population - self.marked + k + 1 - self.drawn;
            term *= (self.marked - k) as f64 / (k + 1) as f64 * (self.drawn - k) as f64 / rest as f64;
            if term <= f64::EPSILON * 1e-3 * sum {
                break;
            }
        }
        Ok(sum.min(1.0))
    }
}
