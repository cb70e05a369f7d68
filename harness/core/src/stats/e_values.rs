//! E-values and how they combine.
