//! Keeps the conversation within the model's window.

use std::sync::Arc;

use super::Agent;
use crate::agent::Step;
use crate::event::AttemptEvent;
use crate::model::{Message, Reply};
use crate::scaffold::OnFull;
use crate::text::Capped;
use crate::units::Tokens;

const ASK_SUMMARY: &str = "Your earlier messages will soon be taken out of this conversation, since it has grown too long. \
Write a summary now, without calling any tool: what you have found, what you have changed and where, and what is left \
to do. You will go on from it.";
const SUMMARY: &str = "The earlier part of this conversation was taken out. Your summary of it:\n\n";

/// Whether the conversation fits the window.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It does (now).
    Fits,
    /// It doesn't, and the scaffold says that this ends the attempt, or nothing can be dropped.
    Full,
    /// The next call asks for a summary.
    Summarize,
}

impl Agent {
    /// Makes the conversation fit: sizes are rough (see [`Message::rough_tokens`]), and room for the answer is kept.
    pub(super) fn fit_window(&mut self) -> Fit {
        let window = self.setup.context.window.0;
        let answer = u64::from(self.setup.sampling.max_tokens).min(window / 2);
        let room = window - answer;
        if self.rough <= room {
            let summary_due = self.setup.context.on_full == OnFull::Summarize && self.rough + answer > room;
            if summary_due && self.messages.len() > self.preamble() + 4 {
                self.say(Message::User {
                    text: ASK_SUMMARY.to_owned(),
                });
                return Fit::Summarize;
            }
            return Fit::Fits;
        }
        if self.setup.context.on_full == OnFull::Fail {
            return Fit::Full;
        }
        // Down to three quarters, so that not every turn trims (and provider-side prompt caches keep working).
        self.drop_oldest(room / 4 * 3, None);
        if self.rough <= room { Fit::Fits } else { Fit::Full }
    }

    /// The system message and the instructions always stay.
    fn preamble(&self) -> usize {
        let system = matches!(
            self.messages.first().map(Arc::as_ref),
            Some(Message::System { .. })
        );
        usize::from(system) + 1
    }

    /// Drops whole turns (an answer with its tool results) from the oldest on; the last turn stays.
    fn drop_oldest(&mut self, target: u64, summary: Option<Capped>) {
        let start = self.preamble();
        let starts_turn = |message: &Arc<Message>| matches!(**message, Message::Assistant(_));
        let last = self.messages.iter().rposition(starts_turn).unwrap_or(start);
        let (mut end, mut freed) = (start, 0);
        while end < last && self.rough - freed > target {
            freed += self.messages[end].rough_tokens().0;
            end += 1;
            while end < last && !starts_turn(&self.messages[end]) {
                freed += self.messages[end].rough_tokens().0;
                end += 1;
            }
        }
        if end == start {
            return;
        }
        Arc::make_mut(&mut self.messages).drain(start..end);
        self.rough -= freed;
        let messages = u32::try_from(end - start).unwrap_or(u32::MAX);
        self.events.push(AttemptEvent::ContextTrimmed {
            messages,
            tokens: Tokens(freed),
            summary,
        });
    }

    /// Puts a summary in the place of everything after the instructions.
    pub(super) fn summarized(&mut self, reply: &Reply) -> Step {
        let start = self.preamble();
        let text = reply.text.trim().to_owned();
        if text.is_empty() {
            // No summary came; the request for it goes, and the oldest turns with it.
            let request = Arc::make_mut(&mut self.messages).pop();
            self.rough -= request.map_or(0, |message| message.rough_tokens().0);
            self.drop_oldest(self.rough / 2, None);
            return self.ask();
        }
        let dropped: u64 = self.messages[start..]
            .iter()
            .map(|message| message.rough_tokens().0)
            .sum();
        let messages = u32::try_from(self.messages.len() - start).unwrap_or(u32::MAX);
        Arc::make_mut(&mut self.messages).truncate(start);
        self.rough -= dropped;
        let summary = Some(Capped::new(&text, super::EVENT_TEXT));
        self.events.push(AttemptEvent::ContextTrimmed {
            messages,
            tokens: Tokens(dropped),
            summary,
        });
        self.say(Message::User {
            text: format!("{SUMMARY}{text}"),
        });
        self.ask()
    }
}
