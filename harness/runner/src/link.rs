//! What an attempt and the dispatcher say to each other.

use std::sync::{Arc, OnceLock};

use harness_core::event::CallThen;
use harness_core::model::ModelError;
use harness_core::outcome::CancelledBy;
use harness_core::schedule::TrialIndex;
use harness_core::units::Tokens;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::attempt::AttemptReport;

/// Something that an attempt tells the dispatcher.
pub(crate) enum Told {
    /// It wants to call its model.
    CallWanted {
        trial: TrialIndex,
        tokens: Tokens,
        granted: oneshot::Sender<()>,
    },
    /// A call brought an answer.
    CallDone { trial: TrialIndex, tokens: Tokens },
    /// A call failed; what now?
    CallFailed {
        trial: TrialIndex,
        error: ModelError,
        then: oneshot::Sender<CallThen>,
    },
    /// A sandbox could not be started ahead of its attempt.
    PreparationFailed { trial: TrialIndex, number: u32 },
    /// It is over.
    Ended(Box<AttemptReport>),
}

/// An attempt's end of the line.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) trial: TrialIndex,
    pub(crate) to_dispatcher: mpsc::UnboundedSender<Told>,
    pub(crate) cancel: Cancel,
}

impl Link {
    /// Asks for permission to call the model and waits for it.
    pub(crate) async fn want_call(&self, tokens: Tokens) -> Result<(), CancelledBy> {
        let (granted, wait) = oneshot::channel();
        self.tell(Told::CallWanted {
            trial: self.trial,
            tokens,
            granted,
        });
        tokio::select! {
            answer = wait => answer.map_err(|_| CancelledBy::Operator),
            by = self.cancel.cancelled() => Err(by),
        }
    }

    /// Reports an answered call.
    pub(crate) fn call_done(&self, tokens: Tokens) {
        self.tell(Told::CallDone {
            trial: self.trial,
            tokens,
        });
    }

    /// Reports a failed call and waits for the decision.
    pub(crate) async fn call_failed(&self, error: ModelError) -> CallThen {
        let (then, wait) = oneshot::channel();
        self.tell(Told::CallFailed {
            trial: self.trial,
            error,
            then,
        });
        wait.await.unwrap_or(CallThen::GiveUp)
    }

    fn tell(&self, told: Told) {
        // A dispatcher that is gone has cancelled every attempt; there is nobody left to tell.
        let _ = self.to_dispatcher.send(told);
    }
}

/// Stops an attempt, and says by whose order.
#[derive(Clone, Default)]
pub(crate) struct Cancel {
    token: CancellationToken,
    by: Arc<OnceLock<CancelledBy>>,
}

impl Cancel {
    pub(crate) fn cancel(&self, by: CancelledBy) {
        let _ = self.by.set(by);
        self.token.cancel();
    }

    pub(crate) async fn cancelled(&self) -> CancelledBy {
        self.token.cancelled().await;
        self.by.get().copied().unwrap_or(CancelledBy::Operator)
    }
}
