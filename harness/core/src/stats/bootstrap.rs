//! The cluster bootstrap and bias-corrected accelerated (BCa) intervals.
