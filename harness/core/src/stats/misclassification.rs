//! Rates that an imperfect labeller measured: Rogan-Gladen, its Bayesian form, prediction-powered inference.
