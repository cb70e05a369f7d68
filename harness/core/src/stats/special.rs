//! Special functions: the incomplete beta and its inverse, log binomials, tails of distributions, quantiles.
//!
//! Owns: numerics that several methods share, over `statrs` where it is accurate. Must not: know what is estimated.
//!
//! `statrs` has the normal distribution, the gamma function and the chi-squared tail to about 14 digits. Its
//! incomplete beta stops after 140 terms and takes differences of log gammas, which loses all digits at shapes of
//! 10⁹, and its inverse does not reach probabilities of 10⁻¹² at shapes below 1; [`beta_cdf`], [`beta_quantile`] and
//! what rests on them are therefore here.

mod beta;
mod continuous;
mod counts;
#[cfg(test)]
mod tests;

pub use beta::{
    beta_cdf, beta_quantile, beta_sf, beta_upper_quantile, ln_beta, ln_beta_cdf, ln_beta_kernel, ln_beta_sf,
    ln_gamma,
};
pub use continuous::{
    chi_squared_sf, normal_cdf, normal_quantile, normal_sf, student_t_cdf, student_t_quantile, student_t_sf,
};
pub use counts::{
    binomial_cdf, binomial_pmf, binomial_sf, hypergeometric_cdf, hypergeometric_pmf, hypergeometric_sf,
    ln_binomial, ln_binomial_cdf, ln_binomial_pmf, ln_binomial_sf,
};
