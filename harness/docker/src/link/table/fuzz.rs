//! Arbitrary messages to the table of requests. Whatever is said: nothing panics, what is held stays bounded, and nobody
//! who waits is left out when the table is closed.

use super::tests::full_table;
use super::*;
use bolero::check;
use harness_guest::{EntryKind, ProblemKind};
use tokio::sync::oneshot::error::TryRecvError;

/// One message: its kind, its number, a flag and some bytes.
type Said = (u8, u8, bool, Vec<u8>);

fn message((kind, id, flag, bytes): &Said) -> FromGuest {
    let (id, flag, bytes) = (u32::from(id % 8), *flag, bytes.clone());
    match kind % 15 {
        0 => FromGuest::Started { id, pid: 7 },
        1 => FromGuest::Output {
            id,
            stream: if flag { Stream::Stdout } else { Stream::Stderr },
            bytes,
        },
        2 => FromGuest::OutputEnd { id },
        3 => FromGuest::Exited {
            id,
            ending: if flag { Ending::Exited(0) } else { Ending::Killed },
            oom_kills: flag.then_some(1),
            took: 1,
            survivors: u32::from(flag),
        },
        4 => FromGuest::Forgotten { id },
        5 => FromGuest::Done { id },
        6 => FromGuest::Failed {
            id,
            problem: Problem {
                kind: ProblemKind::Other,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            },
        },
        7 => FromGuest::File {
            id,
            size: bytes.len() as u64,
        },
        8 => FromGuest::FileData { id, bytes },
        9 => FromGuest::FileEnd { id },
        10 => FromGuest::Entries {
            id,
            entries: bytes.split(|byte| *byte == 0).map(entry).collect(),
            last: flag,
        },
        11 => FromGuest::Pong { id },
        12 => FromGuest::Terminal {
            id,
            state: TerminalState {
                idle: None,
                by_lines: None,
            },
        },
        13 => FromGuest::StdinTaken {
            id,
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        },
        _ => FromGuest::Hello { version: 1 },
    }
}

fn entry(name: &[u8]) -> FolderEntry {
    FolderEntry {
        name: name.to_vec(),
        kind: EntryKind::File,
        size: 1,
        links: 1,
        uid: 0,
    }
}

/// Returns whether a request was answered, or dropped. Asked for again and again it would be waited for for ever.
fn is_over<T>(answer: &mut oneshot::Receiver<T>) -> bool {
    !matches!(answer.try_recv(), Err(TryRecvError::Empty))
}

#[test]
fn messages_of_a_helper() {
    check!()
        .with_type::<(bool, Vec<Said>)>()
        .for_each(|(forget, said)| {
            let (mut table, mut waiting) = full_table();
            if *forget {
                table.forget(1);
            }
            let asked = table.asked.len();
            let wrong = said.iter().find_map(|said| table.take(message(said)).err());
            assert!(table.asked.len() <= asked);
            if let Some(wrong) = wrong {
                assert!(wrong.len() < 200, "{wrong}");
            }
            if let Some(Asked::File(reading)) = table.asked.get(&3) {
                assert!(reading.so_far.bytes.len() <= 1000 + PIECE);
            }
            if let Some(state) = table.command(1) {
                assert!(state.received <= 1000 + OUTPUT_SLACK + PIECE as u64);
            }
            table.close();
            assert!(table.asked.is_empty());
            assert!(is_over(&mut waiting.deed));
            assert!(is_over(&mut waiting.file));
            assert!(is_over(&mut waiting.folder));
            assert!(is_over(&mut waiting.path));
            assert!(is_over(&mut waiting.ping));
        });
}
