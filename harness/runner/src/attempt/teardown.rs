//! The end of an attempt's sandboxes: removed, or kept for a person or in quarantine.
//!
//! Owns: that nothing is left behind without a note. Must not: change how the attempt ended.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use harness_core::event::AttemptEvent;
use harness_core::outcome::{Outcome, Stage};
use harness_core::ports::{
    KeepReason, KeptSandbox, Later, SandboxError, SandboxFact, SandboxInfo, StoreError,
};

use super::facts::facts_of;
use super::{Attempt, Break, Held, TEARDOWN};
use crate::context::KeepSandboxes;
use crate::starting::came_up;

impl Attempt {
    /// Ends the sandboxes, whatever can or can't be logged.
    pub(super) async fn tear_down(&mut self, outcome: &Outcome) -> Result<(), StoreError> {
        let note = self.take_late_sandbox().await;
        let (held, aside) = (Arc::clone(&self.held), Arc::clone(&self.aside));
        let fresh = aside.lock().await.is_some();
        if !fresh && note.is_none() && held.lock().await.is_none() {
            return self.close_facts();
        }
        let mut failed = self.stage(Stage::Teardown).err();
        if let Some(text) = note {
            failed = failed.or(self.journal.append(&AttemptEvent::Noted { text }).err());
        }
        let breached = matches!(outcome, Outcome::Breached { .. });
        let asked = self.context.keep.keeps(outcome).then_some(KeepReason::Asked);
        let reason = if breached {
            Some(KeepReason::Quarantine)
        } else {
            asked
        };
        // What a person wants to look into is the agent's sandbox, not the one for scoring.
        let of_held = reason.filter(|_| breached || !fresh);
        failed = failed.or(self.end_sandbox(&held, of_held).await.err());
        failed = failed.or(self.end_sandbox(&aside, reason).await.err());
        failed = failed.or(self.close_facts().err());
        failed.map_or(Ok(()), Err)
    }

    /// Waits for a sandbox that is still being started. Returns what is worth a note.
    async fn take_late_sandbox(&mut self) -> Option<String> {
        match came_up(self.starting.take()?).await {
            Ok(Some(sandbox)) => *self.held.lock().await = Some(sandbox),
            Ok(None) => {}
            Err(note) => return Some(note),
        }
        None
    }

    /// Removes or keeps a sandbox and logs what is worth it.
    async fn end_sandbox(&mut self, held: &Held, reason: Option<KeepReason>) -> Result<(), StoreError> {
        let mut failed = self.drain_facts_of(held).await.err();
        let Released {
            kept,
            notes,
            facts,
            info,
        } = release(held, reason).await;
        failed = failed.or(info.and_then(|info| self.log_notes(&info).err()));
        failed = failed.or(self.log_facts(facts).err());
        let notes = notes.into_iter().map(|text| AttemptEvent::Noted { text });
        let events: Vec<_> = kept
            .map(AttemptEvent::SandboxKept)
            .into_iter()
            .chain(notes)
            .collect();
        failed = failed.or(self.journal.append_all(&events).err());
        failed.map_or(Ok(()), Err)
    }

    /// Makes room for a fresh sandbox to score in: the agent's is removed, or put aside if it may have to be kept.
    /// Nothing of the agent's runs any more since its artifacts were kept.
    pub(super) async fn make_room(&mut self) -> Result<(), StoreError> {
        let (held, aside) = (Arc::clone(&self.held), Arc::clone(&self.aside));
        let mut aside = aside.lock().await;
        if self.context.keep == KeepSandboxes::Never || aside.is_some() {
            return self.end_sandbox(&held, None).await;
        }
        self.drain_facts().await?;
        // The place is locked before the sandbox moves, so that it is never lost on the way.
        *aside = held.lock().await.take();
        Ok(())
    }
}

/// What came of ending a sandbox.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) kept: Option<KeptSandbox>,
    pub(crate) notes: Vec<String>,
    pub(crate) facts: Vec<SandboxFact>,
    /// What is recorded about it in the end.
    pub(crate) info: Option<SandboxInfo>,
}

/// Keeps or removes a sandbox. One that can't be kept on request is removed; one that belongs in quarantine is evidence
/// and never is. It stays held until that is done: if this is dropped in between, teardown does it again.
pub(crate) async fn release(held: &Held, reason: Option<KeepReason>) -> Released {
    let mut guard = held.lock().await;
    let mut released = Released::default();
    let Some(sandbox) = guard.as_deref() else {
        return released;
    };
    let id = sandbox.info().id;
    let removed = match reason {
        None => true,
        Some(reason) => match answer(sandbox.keep(reason)).await {
            Ok(kept) => {
                released.kept = Some(kept);
                false
            }
            Err(why) => released.not_kept(&id, reason, &why),
        },
    };
    if removed && let Err(why) = answer(sandbox.stop()).await {
        released.note(format!(
            "sandbox {id} was not removed and is left to the next sweep: {why}"
        ));
    }
    released.facts = facts_of(sandbox);
    released.info = Some(sandbox.info());
    *guard = None;
    released
}

impl Released {
    /// Notes that a sandbox could not be kept; returns whether it is removed instead.
    fn not_kept(&mut self, id: &str, reason: KeepReason, why: &str) -> bool {
        let (removed, instead) = match reason {
            KeepReason::Asked => (true, ""),
            KeepReason::Quarantine => (
                false,
                "; it is evidence, so it is left as it is and may have to be removed by hand",
            ),
        };
        self.note(format!("sandbox {id} could not be kept: {why}{instead}"));
        removed
    }

    fn note(&mut self, note: String) {
        tracing::warn!("{note}");
        self.notes.push(note);
    }
}

/// Removes a sandbox of which nothing is logged; returns what is worth a note.
pub(crate) async fn remove(held: &Held) -> Option<String> {
    release(held, None).await.notes.pop()
}

/// Ends the sandbox of an attempt of which nothing is logged and that was stopped; returns why, in words. A containment
/// event's sandbox is kept.
pub(crate) async fn end_stopped(held: &Held, stopped: Break) -> String {
    let breached = matches!(stopped, Break::Breached { .. });
    let released = release(held, breached.then_some(KeepReason::Quarantine)).await;
    match stopped {
        Break::Void { evidence, .. } => evidence,
        Break::Store(error) => error.to_string(),
        Break::Cancelled(_) => "it was stopped".to_owned(),
        Break::Breached { breach, evidence } => {
            let kept = released.kept;
            let place = kept.map(|kept| format!("; the sandbox is kept as `{}`", kept.name));
            let place = place.unwrap_or_default();
            format!("containment event `{breach}`: {evidence}{place}")
        }
    }
}

/// Waits for an answer, but not for ever, and survives a bug of ours; an error is in words.
async fn answer<T>(asked: Later<'_, Result<T, SandboxError>>) -> Result<T, String> {
    let answered = AssertUnwindSafe(tokio::time::timeout(TEARDOWN, asked)).catch_unwind();
    match answered.await {
        Ok(Ok(Ok(value))) => Ok(value),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Err(_)) => Err("no answer within a minute".to_owned()),
        Err(_) => Err("our program panicked".to_owned()),
    }
}
