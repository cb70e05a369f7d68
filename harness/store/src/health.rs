//! Whether anything may still be written.
//!
//! Owns: that the first failure is told once and that nothing is written after it. Must not: write.

use std::sync::{Mutex, MutexGuard, PoisonError};

use harness_core::ports::StoreError;

/// Shared by everything that writes into one run.
#[derive(Debug, Default)]
pub(crate) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first: Option<StoreError>,
    told: bool,
}

impl Health {
    /// Returns an error if an earlier write failed: the failure itself if nobody was told of it, or
    /// [`StoreError::Broken`].
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        match &state.first {
            None => Ok(()),
            Some(_) if state.told => Err(StoreError::Broken),
            Some(first) => {
                let first = first.clone();
                state.told = true;
                Err(first)
            }
        }
    }

    /// Returns the first failure.
    pub(crate) fn first(&self) -> Option<StoreError> {
        locked(&self.state).first.clone()
    }

    /// Records a failure that the caller returns to whoever asked.
    pub(crate) fn fail_told(&self, error: StoreError) -> StoreError {
        self.fail(&error, true);
        error
    }

    /// Records a failure that nobody is told of yet.
    pub(crate) fn fail_untold(&self, error: &StoreError) {
        self.fail(error, false);
    }

    fn fail(&self, error: &StoreError, told: bool) {
        let mut state = locked(&self.state);
        if state.first.is_none() {
            state.first = Some(error.clone());
            state.told = told;
        }
    }
}

/// Locks; a panic of another holder left nothing half done, since every critical section here is a few moves.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
