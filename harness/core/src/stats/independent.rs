//! Comparisons of independent groups: differences of proportions, Fisher, Welch, Bayesian comparison.
