//! Repeated attempts: pass@k, pass^k, best of k.
