//! Standard errors of a mean: plain, clustered, paired, and with repeated samples.
