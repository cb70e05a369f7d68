//! The gate rule: three-way decisions by one-sided e-processes, valid at every look.
