//! Effects of elicitation: recovered fraction, gap, improvement ratio, StrongREJECT.
