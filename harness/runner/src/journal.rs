//! The transcript of one attempt while it is written, and its clocks.

use std::sync::Arc;
use std::time::Duration;

use harness_core::agent::EVENT_TEXT;
use harness_core::event::{AttemptEvent, WaitReason};
use harness_core::ids::Digest;
use harness_core::model::Reply;
use harness_core::ports::{AttemptLog, Clock, EventStore, LogSeal, StoreError};
use harness_core::text::{Capped, Captured};

/// Waits shorter than this are counted but not worth a line.
const WORTH_A_LINE: Duration = Duration::from_millis(20);

/// Writes the events of an attempt and keeps account of its time.
pub(crate) struct Journal {
    log: Box<dyn AttemptLog>,
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    started: Duration,
    waited: Duration,
}

impl Journal {
    pub(crate) fn new(log: Box<dyn AttemptLog>, store: Arc<dyn EventStore>, clock: Arc<dyn Clock>) -> Self {
        let started = clock.now().elapsed;
        Self {
            log,
            store,
            clock,
            started,
            waited: Duration::ZERO,
        }
    }

    pub(crate) fn append(&mut self, event: &AttemptEvent) -> Result<(), StoreError> {
        let now = self.clock.now();
        let working = now
            .elapsed
            .saturating_sub(self.started)
            .saturating_sub(self.waited);
        self.log.append(now, working, event)
    }

    /// Appends several events.
    pub(crate) fn append_all(&mut self, events: &[AttemptEvent]) -> Result<(), StoreError> {
        events.iter().try_for_each(|event| self.append(event))
    }

    /// Counts time as waiting. How long a sandbox was waited for is always logged: it is what look-ahead is for.
    pub(crate) fn waited(&mut self, reason: WaitReason, took: Duration) -> Result<(), StoreError> {
        self.waited += took;
        if took < WORTH_A_LINE && reason != WaitReason::SandboxStart {
            return Ok(());
        }
        self.append(&AttemptEvent::Waited { reason, took })
    }

    /// Returns the present time on the run's clock.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now().elapsed
    }

    /// Returns the time by the clock.
    pub(crate) fn wall(&self) -> Duration {
        self.now().saturating_sub(self.started)
    }

    /// Returns the time that was not spent waiting.
    pub(crate) fn working(&self) -> Duration {
        self.wall().saturating_sub(self.waited)
    }

    /// Writes out what is buffered, so that readers of a live run see it.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        self.log.flush()
    }

    /// Caps what a tool printed; what was cut is kept in a blob, as far as it was captured.
    pub(crate) fn cap_output(&self, streams: &[&Captured], cap: usize) -> Result<Capped, StoreError> {
        let full: u64 = streams.iter().map(|stream| stream.total).sum();
        let share = if streams.iter().filter(|stream| stream.total > 0).count() > 1 {
            cap / 2
        } else {
            cap
        };
        let mut capped = Capped::default();
        for stream in streams.iter().filter(|stream| stream.total > 0) {
            let part = stream.readable(share);
            if !capped.text.is_empty() && !capped.text.ends_with('\n') {
                capped.text.push('\n');
            }
            capped.text.push_str(&part.text);
            capped.cut += part.cut;
        }
        if capped.cut > 0 && full > 0 {
            let mut bytes = Vec::new();
            for stream in streams {
                bytes.extend_from_slice(&stream.head);
                if stream.cut() > 0 {
                    bytes.extend_from_slice(harness_core::text::cut_notice(stream.cut()).as_bytes());
                }
                bytes.extend_from_slice(&stream.tail);
            }
            capped.blob = Some(self.store.put_blob(&bytes)?);
        }
        Ok(capped)
    }

    /// Cuts the texts of a reply to what an event may hold; the whole goes to a blob that the cut text names.
    pub(crate) fn cap_reply(&self, reply: &Reply) -> Result<Reply, StoreError> {
        let mut capped = reply.clone();
        for text in [Some(&mut capped.text), capped.reasoning.as_mut()]
            .into_iter()
            .flatten()
        {
            self.cap_in_place(text)?;
        }
        for call in &mut capped.tool_calls {
            self.cap_in_place(&mut call.arguments)?;
            if call.name.len() > 200 {
                call.name = Capped::new(&call.name, 200).text;
            }
        }
        Ok(capped)
    }

    fn cap_in_place(&self, text: &mut String) -> Result<(), StoreError> {
        if text.len() <= EVENT_TEXT {
            return Ok(());
        }
        let blob = self.store.put_blob(text.as_bytes())?;
        let cut = Capped::new(text, EVENT_TEXT).text;
        *text = format!("{cut}\n[whole text in blob {blob}]");
        Ok(())
    }

    /// Keeps bytes under their digest.
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.store.put_blob(bytes)
    }

    /// Ends the log.
    pub(crate) fn finish(self) -> Result<LogSeal, StoreError> {
        self.log.finish()
    }
}
