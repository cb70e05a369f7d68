//! Sequential tests with planned ends: SPRT, alpha spending, group-sequential designs, fixed rule-out designs.
