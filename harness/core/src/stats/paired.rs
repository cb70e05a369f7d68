//! Comparisons over the same samples: McNemar, sign flips, differences of paired proportions.
