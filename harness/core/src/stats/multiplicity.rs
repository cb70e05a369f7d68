//! Corrections for several comparisons.
