//! The helper: process 1 of a sandbox.

fn main() {}
