//! Exit codes, in one table that scripts may rely on.

use std::fmt::Display;

use harness_core::ports::StoreError;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All clear.
    Clear,
    /// Our failure, or something that only a person can repair.
    Failed,
    /// Bad usage or input.
    BadInput,
    /// Results can't be written.
    NoResults,
    /// Too many void trials for the result to be trusted.
    TooManyVoid,
    /// A person stopped it.
    Interrupted,
    /// As the command ended that was run in a sandbox.
    Command(u8),
}

impl Exit {
    /// Returns the number. The codes between are taken by the decisions of gates.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Clear => 0,
            Self::Failed => 1,
            Self::BadInput => 2,
            Self::NoResults => 3,
            Self::TooManyVoid => 50,
            Self::Interrupted => 130,
            Self::Command(code) => code,
        }
    }
}

/// A command that could not do its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// Bad usage or input.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::BadInput,
            message: message.into(),
            hint: None,
        }
    }

    /// Our failure.
    pub(crate) fn ours(what: &str, source: impl Display) -> Self {
        Self {
            exit: Exit::Failed,
            message: format!("{what}: {source}"),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Write { .. } | StoreError::Broken => Exit::NoResults,
            StoreError::Read { .. } => Exit::Failed,
        };
        let hint = match exit {
            Exit::NoResults => Some("free some space or choose another folder with --results; the same command then continues the run".to_owned()),
            _ => None,
        };
        Self {
            exit,
            message: error.to_string(),
            hint,
        }
    }
}
