//! Rasch ability and person fit.
