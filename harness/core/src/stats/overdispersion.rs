//! Spread between tasks: beta-binomial fit, intraclass correlation, design effect, shrinkage, the Bayesian cluster model.
