//! Time horizons: how long the tasks are that a model completes.
