use super::*;
use pretty_assertions::assert_eq;

fn table() -> Table {
    let mut table = Table::default();
    let sink = Sink::Capture(Capture::new(100), Capture::new(100));
    table.insert(1, Asked::Command(Box::new(CommandState::new(sink, 1000))));
    table
}

fn started() -> FromGuest {
    FromGuest::Started { id: 1, pid: 7 }
}

fn output(bytes: &[u8]) -> FromGuest {
    FromGuest::Output {
        id: 1,
        stream: Stream::Stdout,
        bytes: bytes.to_vec(),
    }
}

fn exited() -> FromGuest {
    FromGuest::Exited {
        id: 1,
        ending: Ending::Exited(0),
        oom_kills: None,
        took: 1,
        survivors: 0,
    }
}

fn all(messages: Vec<FromGuest>) -> Result<(), Wrong> {
    let mut table = table();
    messages.into_iter().try_for_each(|message| table.take(message))
}

#[test]
fn a_command_runs_through_its_messages() {
    let mut table = table();
    let end = FromGuest::OutputEnd { id: 1 };
    for message in [started(), output(b"out"), exited(), output(b"put"), end] {
        table.take(message).unwrap();
    }
    let state = table.command(1).unwrap();
    assert_eq!(state.take_output().0, Captured::whole("output"));
    assert!(state.output_ended && state.exit.is_some());
    assert!(table.forget(1));
    table.take(output(b"late")).unwrap();
    table.take(FromGuest::Forgotten { id: 1 }).unwrap();
    let late = table.take(output(b"forged")).unwrap_err();
    assert_eq!(late, "a message about command 1, which does not run");
}

#[test]
fn what_makes_no_sense_is_wrong() {
    let problem = Problem {
        kind: harness_guest::ProblemKind::Other,
        text: "x".to_owned(),
    };
    let failed = FromGuest::Failed { id: 1, problem };
    let cases = [
        (vec![output(b"x")], "output of a command that has none"),
        (vec![exited()], "a command ended twice"),
        (vec![started(), exited(), exited()], "a command ended twice"),
        (vec![started(), started()], "a command started twice"),
        (
            vec![started(), failed.clone()],
            "a command failed after its start",
        ),
        (vec![failed.clone(), started()], "a command started twice"),
        (
            vec![started(), FromGuest::OutputEnd { id: 1 }, output(b"x")],
            "output of a command that has none",
        ),
        (
            vec![started(), output(&vec![0; PIECE + 1])],
            "a piece of 32769 bytes",
        ),
        (
            vec![FromGuest::Forgotten { id: 1 }],
            "a command forgotten that was not to be",
        ),
        (vec![FromGuest::Done { id: 1 }], "an answer that nobody waits for"),
        (vec![FromGuest::Done { id: 9 }], "an answer that nobody waits for"),
        (vec![FromGuest::Pong { id: 9 }], "an unasked sign of life"),
        (
            vec![FromGuest::FileEnd { id: 9 }],
            "the end of a file that nobody reads",
        ),
        (vec![FromGuest::Hello { version: 1 }], "a second greeting"),
        (
            vec![started(), FromGuest::StdinTaken { id: 1, bytes: 1 }],
            "more input was taken than was sent",
        ),
        (
            vec![FromGuest::Dialled { conn: 1 }],
            "a connection where there is none",
        ),
    ];
    for (messages, expected) in cases {
        assert_eq!(all(messages.clone()), Err(expected.to_owned()), "{messages:?}");
    }
}

#[test]
fn a_liar_cannot_send_more_than_was_allowed() {
    let mut table = table();
    table.take(started()).unwrap();
    let piece = vec![0; PIECE];
    let wrong = (0..100).find_map(|_| table.take(output(&piece)).err());
    assert_eq!(wrong.unwrap(), "more output than was allowed");
    let (answer, _) = oneshot::channel();
    let so_far = FileBeginning {
        cap: 3,
        ..FileBeginning::default()
    };
    table.insert(2, Asked::File(Reading { so_far, answer }));
    table.take(FromGuest::File { id: 2, size: 9 }).unwrap();
    let bytes = b"four".to_vec();
    let wrong = table.take(FromGuest::FileData { id: 2, bytes }).unwrap_err();
    assert_eq!(wrong, "more of a file than was asked for");
}

#[test]
fn no_more_input_is_under_way_than_the_helper_has_room_for() {
    let mut table = table();
    table.take(started()).unwrap();
    let state = table.command(1).unwrap();
    assert_eq!(state.input_room(), WINDOW as usize);
    state.input_sent(WINDOW as usize);
    assert_eq!(state.input_room(), 0);
    table.take(FromGuest::StdinTaken { id: 1, bytes: 7 }).unwrap();
    assert_eq!(table.command(1).unwrap().input_room(), 7);
}

/// Requests of every kind, under the numbers 1 to 6, and what their answers go to.
pub(super) struct Waiting {
    pub(super) deed: oneshot::Receiver<Result<(), Problem>>,
    pub(super) file: oneshot::Receiver<Result<FileBeginning, Problem>>,
    pub(super) folder: oneshot::Receiver<Result<Listing, Problem>>,
    pub(super) path: oneshot::Receiver<Result<Listing, Problem>>,
    pub(super) ping: oneshot::Receiver<()>,
}

pub(super) fn full_table() -> (Table, Waiting) {
    let mut table = table();
    let (tell_deed, deed) = oneshot::channel();
    let (tell_file, file) = oneshot::channel();
    let (tell_folder, folder) = oneshot::channel();
    let (tell_path, path) = oneshot::channel();
    let (tell_ping, ping) = oneshot::channel();
    table.insert(2, Asked::Deed(tell_deed));
    let so_far = FileBeginning {
        cap: 1000,
        ..FileBeginning::default()
    };
    let answer = tell_file;
    table.insert(3, Asked::File(Reading { so_far, answer }));
    let (so_far, answer) = (Listing::default(), tell_folder);
    table.insert(4, Asked::Entries(Reading { so_far, answer }));
    let so_far = Listing {
        only: Some("/tmp".to_owned()),
        ..Listing::default()
    };
    let answer = tell_path;
    table.insert(5, Asked::Entries(Reading { so_far, answer }));
    table.insert(6, Asked::Ping(tell_ping));
    let waiting = Waiting {
        deed,
        file,
        folder,
        path,
        ping,
    };
    (table, waiting)
}

/// Whoever waits for an answer learns of the end of all only by its request being dropped when the table is closed.
#[test]
fn a_wrong_answer_takes_no_request_away() {
    let wrong = |id| {
        [
            FromGuest::Forgotten { id },
            FromGuest::FileEnd { id },
            FromGuest::Pong { id },
            FromGuest::Done { id },
        ]
    };
    let wrong = (1..=6).flat_map(wrong).chain([FromGuest::Entries {
        id: 4,
        entries: Vec::new(),
        last: false,
    }]);
    for message in wrong {
        let (mut table, mut waiting) = full_table();
        let changed = Arc::clone(&table.command(1).unwrap().changed);
        if table.take(message.clone()).is_ok() {
            continue;
        }
        assert_eq!(table.asked.len(), 6, "{message:?}");
        assert!(waiting.ping.try_recv().is_err());
        table.close();
        let mut told = std::pin::pin!(changed.notified());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(told.as_mut().poll(&mut context).is_ready(), "{message:?}");
    }
}

/// A command that is given up while it is being started: the helper says that it failed, then that it is forgotten.
#[test]
fn a_command_that_is_given_up_may_still_fail() {
    let mut table = table();
    assert!(table.forget(1));
    let problem = Problem {
        kind: harness_guest::ProblemKind::Missing,
        text: "x".to_owned(),
    };
    table.take(FromGuest::Failed { id: 1, problem }).unwrap();
    table.take(FromGuest::Forgotten { id: 1 }).unwrap();
    assert!(table.asked.is_empty());
}

fn entry(name: &[u8]) -> FolderEntry {
    FolderEntry {
        name: name.to_vec(),
        kind: harness_guest::EntryKind::File,
        size: 1,
        links: 1,
        uid: 0,
    }
}

#[test]
fn what_no_folder_can_hold_is_wrong() {
    let list = |id, names: &[&[u8]], last| {
        let entries = names.iter().map(|name| entry(name)).collect();
        FromGuest::Entries { id, entries, last }
    };
    let long = [b'x'; 256];
    let name = "an entry with an impossible name";
    let cases = [
        (list(4, &[], false), "a piece of a list with nothing in it"),
        (list(4, &[b""], true), name),
        (list(4, &[b"a", &long], false), name),
        (list(4, &[b".."], true), name),
        (list(4, &[b"a/b"], true), name),
        (list(4, &[b"a\0"], true), name),
        (list(5, &[], true), "0 entries of one path"),
        (list(5, &[b"/tmp", b"/tmp"], true), "2 entries of one path"),
        (list(5, &[b"/tmp"], false), "an entry of another path"),
        (list(5, &[b"/etc"], true), "an entry of another path"),
    ];
    for (message, expected) in cases {
        let (mut table, _waiting) = full_table();
        assert_eq!(
            table.take(message.clone()),
            Err(expected.to_owned()),
            "{message:?}"
        );
    }
    let (mut table, mut waiting) = full_table();
    table.take(list(4, &[b"a", &long[..255]], false)).unwrap();
    table.take(list(4, &[], true)).unwrap();
    assert_eq!(waiting.folder.try_recv().unwrap().unwrap().entries.len(), 2);
    table.take(list(5, &[b"/tmp"], true)).unwrap();
    assert_eq!(
        waiting.path.try_recv().unwrap().unwrap().entries,
        [entry(b"/tmp")]
    );
}

#[test]
fn a_folder_without_end_is_wrong() {
    let (mut table, _waiting) = full_table();
    let entries = vec![entry(b"a"); 1000];
    let piece = FromGuest::Entries {
        id: 4,
        entries,
        last: false,
    };
    let wrong = (0..=100).find_map(|_| table.take(piece.clone()).err());
    assert_eq!(wrong.unwrap(), "a folder of more than 100000 entries");
}
