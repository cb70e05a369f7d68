//! Arbitrary bytes for the reader of frames, in both directions. Inputs that mattered stay in `__fuzz__`; how long new
//! ones are tried is set by `BOLERO_RANDOM_TEST_TIME_MS`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use bolero::check;
use harness_guest::{
    Ending, Exec, FrameError, FrameReader, FromGuest, Identity, LONGEST_FROM_GUEST, LONGEST_TO_GUEST,
    Problem, ProblemKind, Stream, ToGuest, WindowSize, encode,
};
use pretty_assertions::assert_eq;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Short enough for random lengths to meet it.
const SHORT: usize = 200;

/// Reads all messages of a stream that comes in pieces; checks what is held on the way.
fn read_all<T: DeserializeOwned>(bytes: &[u8], step: usize, longest: usize) -> (Vec<T>, Option<FrameError>) {
    let mut reader = FrameReader::new(longest);
    let mut found = Vec::new();
    for piece in bytes.chunks(step) {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        assert!(reader.held() <= longest + 4, "{} bytes are held", reader.held());
    }
    (found, None)
}

/// The first byte says how the rest is cut; neither that nor anything else may break the reader.
fn check_stream<T>(input: &[u8], longest: usize)
where
    T: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let Some((step, bytes)) = input.split_first() else {
        return;
    };
    let whole = read_all::<T>(bytes, bytes.len().max(1), longest);
    assert_eq!(read_all::<T>(bytes, usize::from(*step).max(1), longest), whole);
    check_again(&whole.0);
}

/// What was read can be written and read again.
fn check_again<T>(messages: &[T])
where
    T: Serialize + DeserializeOwned + Debug + PartialEq,
{
    let longest = LONGEST_TO_GUEST.max(LONGEST_FROM_GUEST);
    let mut bytes = Vec::new();
    for message in messages {
        encode(message, longest, &mut bytes).unwrap();
    }
    let (again, error) = read_all::<T>(&bytes, 7, longest);
    assert_eq!((again.as_slice(), error), (messages, None));
}

/// Puts a right length before every piece, so that contents are reached, not only lengths.
fn framed(input: &[u8]) -> Vec<u8> {
    let Some((step, bytes)) = input.split_first() else {
        return Vec::new();
    };
    let mut out = vec![*step];
    for piece in bytes.chunks(usize::from(*step % 40) + 1) {
        out.extend(u32::try_from(piece.len()).unwrap().to_le_bytes());
        out.extend(piece);
    }
    out
}

#[test]
fn streams_from_a_sandbox() {
    check!().for_each(|input: &[u8]| {
        check_stream::<FromGuest>(input, LONGEST_FROM_GUEST);
        check_stream::<FromGuest>(input, SHORT);
        check_stream::<FromGuest>(&framed(input), SHORT);
    });
}

#[test]
fn streams_to_a_sandbox() {
    check!().for_each(|input: &[u8]| {
        check_stream::<ToGuest>(input, LONGEST_TO_GUEST);
        check_stream::<ToGuest>(input, SHORT);
        check_stream::<ToGuest>(&framed(input), SHORT);
    });
}

#[test]
fn messages_survive() {
    type Parts = (u32, u64, Vec<u8>, Vec<String>, bool);
    check!()
        .with_type::<Parts>()
        .for_each(|(id, number, bytes, words, flag)| {
            let (id, number, flag) = (*id, *number, *flag);
            let user = Identity {
                uid: id,
                gid: id,
                groups: vec![id; bytes.len() % 5],
            };
            let exec = Exec {
                id,
                argv: words.clone(),
                env: words.iter().map(|word| (word.clone(), word.clone())).collect(),
                cwd: words.concat(),
                user,
                stdin: flag,
                terminal: flag.then_some(WindowSize { rows: 1, cols: 2 }),
                timeout: flag.then_some(number),
                output_limit: number,
                kill_all_first: flag,
                marker: words.concat(),
            };
            let bytes = bytes.clone();
            let input = ToGuest::Stdin {
                id,
                bytes: bytes.clone(),
            };
            check_again(&[ToGuest::Exec(Box::new(exec)), input, ToGuest::Kill { id }]);
            let stream = if flag { Stream::Stdout } else { Stream::Stderr };
            let problem = Problem {
                kind: ProblemKind::Other,
                text: words.concat(),
            };
            let exited = FromGuest::Exited {
                id,
                ending: Ending::Exited(id.cast_signed()),
                oom_kills: flag.then_some(number),
                took: number,
                survivors: id,
            };
            check_again(&[
                FromGuest::Output { id, stream, bytes },
                FromGuest::Failed { id, problem },
                exited,
            ]);
        });
}
