//! When to stop waiting for a program on a terminal.
//!
//! Owns: the decision. Must not: wait.

use std::time::Duration;

use super::Prompt;
use crate::ports::TerminalState;

/// Silence of this length is a reason to look what the program does.
pub const QUIET: Duration = Duration::from_millis(400);
/// Silence after which a line without an end is taken for a question.
const QUESTION: Duration = Duration::from_secs(2);
/// Silence after which a shell that runs nothing is taken to be done, although no prompt was seen; and after which a program
/// that has not reacted at all is taken to wait for keys. A loaded machine takes longer than [`QUIET`] to begin.
const NO_PROMPT: Duration = Duration::from_secs(2);
/// So much is read by one call; a program that writes without end is shown as one that still runs.
const MOST_OUTPUT: u64 = 8 << 20;

/// What is known when something was read, or when nothing came for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The shell's prompt, if it is the last thing that came.
    pub prompt: Option<Prompt>,
    /// Whether more prompts may follow: several lines were typed, or a program was running before.
    pub more_prompts: bool,
    /// How long nothing came.
    pub quiet: Duration,
    /// What the terminal does, as it was seen after [`QUIET`].
    pub state: TerminalState,
    /// Whether the last line has text and no end.
    pub line_is_open: bool,
    /// How much was read by this call.
    pub read: u64,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More is waited for.
    Wait,
    /// The shell shows its prompt.
    Prompt(Prompt),
    /// The shell is in the foreground without a prompt of ours.
    Idle,
    /// A program waits for keys.
    Keys,
    /// A program seems to have asked for a line.
    Question,
    /// There is too much output to go on.
    Flood,
}

/// Decides whether to wait on.
pub fn judge(look: &Look) -> Verdict {
    if let Some(prompt) = look.prompt
        && (!look.more_prompts || look.quiet >= QUIET)
    {
        return Verdict::Prompt(prompt);
    }
    if look.read >= MOST_OUTPUT {
        return Verdict::Flood;
    }
    if look.quiet < QUIET || look.prompt.is_some() {
        return Verdict::Wait;
    }
    let reacted = look.read > 0 || look.quiet >= NO_PROMPT;
    match (look.state.idle, look.state.by_lines) {
        (Some(true), Some(false)) if reacted => Verdict::Idle,
        (Some(true), _) if look.quiet >= NO_PROMPT => Verdict::Idle,
        (Some(false), Some(false)) if reacted => Verdict::Keys,
        (Some(false), _) if look.line_is_open && look.quiet >= QUESTION => Verdict::Question,
        (Some(true | false) | None, _) => Verdict::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn waiting_ends_when_something_is_waited_for() {
        let ready = Prompt::Ready { code: 1 };
        let state = |idle, by_lines| TerminalState { idle, by_lines };
        let (busy, raw) = (state(Some(false), Some(true)), state(Some(false), Some(false)));
        let own = state(Some(true), Some(true));
        let none = Look::default();
        let quiet = |quiet, state| Look {
            quiet,
            state,
            read: 1,
            ..none
        };
        let silent = |quiet, state| Look { quiet, state, ..none };
        let (short, long) = (Duration::from_millis(399), Duration::from_secs(2));
        let prompt = Look {
            prompt: Some(ready),
            ..none
        };
        let cases = [
            ("nothing came yet", none, Verdict::Wait),
            ("the prompt", prompt, Verdict::Prompt(ready)),
            (
                "one of several prompts",
                Look {
                    more_prompts: true,
                    ..prompt
                },
                Verdict::Wait,
            ),
            (
                "the last of several prompts",
                Look {
                    more_prompts: true,
                    quiet: QUIET,
                    ..prompt
                },
                Verdict::Prompt(ready),
            ),
            ("a program works", quiet(long, busy), Verdict::Wait),
            (
                "a program wrote half a line",
                Look {
                    line_is_open: true,
                    ..quiet(QUIET, busy)
                },
                Verdict::Wait,
            ),
            (
                "a program asks",
                Look {
                    line_is_open: true,
                    ..quiet(long, busy)
                },
                Verdict::Question,
            ),
            ("a pager, not quiet yet", quiet(short, raw), Verdict::Wait),
            ("a pager", quiet(QUIET, raw), Verdict::Keys),
            (
                "a pager that has not reacted yet",
                silent(QUIET, raw),
                Verdict::Wait,
            ),
            ("a pager that does not react", silent(long, raw), Verdict::Keys),
            (
                "a shell that has not reacted yet",
                silent(QUIET, state(Some(true), Some(false))),
                Verdict::Wait,
            ),
            (
                "a shell with a prompt of its own",
                quiet(QUIET, state(Some(true), Some(false))),
                Verdict::Idle,
            ),
            ("a shell that works itself", quiet(QUIET, own), Verdict::Wait),
            (
                "a shell of which nothing is heard",
                quiet(long, own),
                Verdict::Idle,
            ),
            (
                "nothing can be seen",
                Look {
                    line_is_open: true,
                    ..quiet(long, state(None, None))
                },
                Verdict::Wait,
            ),
            (
                "endless output",
                Look {
                    read: 8 << 20,
                    ..none
                },
                Verdict::Flood,
            ),
        ];
        for (name, look, expected) in cases {
            assert_eq!(judge(&look), expected, "{name}");
        }
    }
}
