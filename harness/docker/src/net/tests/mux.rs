use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use harness_guest::{ACCEPTED, FromGuest, MOST_CONNECTIONS, PIECE, ToGuest, WINDOW};
use pretty_assertions::assert_eq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};

use super::helper::Helper;
use crate::net::connection::Connection;
use crate::net::{Listener, Net};

type Sent = mpsc::UnboundedReceiver<ToGuest>;

/// Connections whose helper is this test itself.
fn bare() -> (Net, Sent) {
    let (outbox, sent) = mpsc::unbounded_channel();
    (Net::new(outbox, Arc::new(AtomicU32::new(0))), sent)
}

fn all(sent: &mut Sent) -> Vec<ToGuest> {
    std::iter::from_fn(|| sent.try_recv().ok()).collect()
}

fn take(net: &Net, message: FromGuest) {
    net.take(message).unwrap();
}

fn data(conn: u32, length: usize) -> FromGuest {
    let bytes = vec![7; length];
    FromGuest::NetData { conn, bytes }
}

/// Dials; the first connection has number 1.
async fn dialled(net: &Net, conn: u32) -> Connection {
    let (connection, ()) = tokio::join!(net.dial(80), async {
        tokio::task::yield_now().await;
        take(net, FromGuest::Dialled { conn });
    });
    connection.unwrap()
}

async fn listener(net: &Net) -> Listener {
    net.listen(|_| async { Ok(()) }).await.unwrap()
}

#[tokio::test]
async fn much_goes_both_ways_at_once() {
    let helper = Helper::start();
    let mut servers = helper.serve(80);
    let mut connection = helper.net.dial(80).await.unwrap();
    let mut server = servers.recv().await.unwrap();
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(&mut server);
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (mut from, mut to) = tokio::io::split(&mut connection);
    let mut echo = Vec::new();
    let (read, ()) = tokio::join!(from.read_to_end(&mut echo), async {
        to.write_all(&bytes).await.unwrap();
        to.shutdown().await.unwrap();
    });
    assert_eq!(read.unwrap(), bytes.len());
    assert!(echo == bytes, "what came back is what was sent");
    drop(connection);
    while helper.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(helper.breaches(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_reads_the_end_and_still_answers() {
    let helper = Helper::start();
    let mut servers = helper.serve(80);
    let mut connection = helper.net.dial(80).await.unwrap();
    connection.write_all(b"question").await.unwrap();
    connection.shutdown().await.unwrap();
    let mut server = servers.recv().await.unwrap();
    let mut question = String::new();
    server.read_to_string(&mut question).await.unwrap();
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    assert_eq!(helper.breaches(), Vec::<String>::new());
}

#[tokio::test]
async fn a_writer_waits_for_credit() {
    let (net, mut sent) = bare();
    let mut connection = dialled(&net, 1).await;
    let window = WINDOW as usize;
    let bytes = vec![1; window + 1];
    let writing = connection.write_all(&bytes);
    tokio::pin!(writing);
    assert!(futures_util::poll!(&mut writing).is_pending());
    let lengths = |sent: &mut Sent| -> Vec<usize> {
        let length = |message| match message {
            ToGuest::NetData { conn: 1, bytes } => Some(bytes.len()),
            _ => None,
        };
        all(sent).into_iter().filter_map(length).collect()
    };
    assert_eq!(lengths(&mut sent), vec![PIECE; window / PIECE]);
    take(&net, FromGuest::NetCredit { conn: 1, bytes: 10 });
    writing.await.unwrap();
    assert_eq!(lengths(&mut sent), [1]);
}

#[tokio::test]
async fn credit_goes_back_as_it_is_read() {
    let (net, mut sent) = bare();
    let mut connection = dialled(&net, 1).await;
    for _ in 0..WINDOW as usize / PIECE {
        take(&net, data(1, PIECE));
    }
    all(&mut sent);
    let mut buffer = vec![0; PIECE - 1];
    connection.read_exact(&mut buffer).await.unwrap();
    assert_eq!(all(&mut sent), []);
    connection.read_exact(&mut buffer[..1]).await.unwrap();
    let bytes = u32::try_from(PIECE).unwrap();
    assert_eq!(all(&mut sent), [ToGuest::NetCredit { conn: 1, bytes }]);
    take(&net, data(1, PIECE));
    let breach = net.take(data(1, 1)).unwrap_err();
    assert_eq!(
        breach.what,
        "connection 0x1: more data came than it had credit for"
    );
}

/// What a helper says, after the host has dialled 1 and it has said that it is there; the last one is the breach.
#[tokio::test]
async fn what_makes_no_sense_is_a_breach() {
    let (conn, bytes) = (1, 1);
    let accepted = |number: u32, listener| FromGuest::Accepted {
        conn: ACCEPTED | number,
        listener,
    };
    let end = || FromGuest::NetEnd { conn };
    let table: Vec<(Vec<FromGuest>, &str)> = vec![
        (vec![data(9, 1)], "connection 0x9: there is none with this number"),
        (
            vec![FromGuest::NetEnd { conn: 9 }],
            "connection 0x9: there is none with this number",
        ),
        (
            vec![FromGuest::NetCredit { conn: 9, bytes }],
            "connection 0x9: there is none with this number",
        ),
        (
            vec![FromGuest::Dialled { conn: 9 }],
            "connection 0x9: there is none with this number",
        ),
        (
            vec![FromGuest::NetReset { conn: 9 }],
            "connection 0x9: it was reset, but there is none with this number",
        ),
        (
            vec![FromGuest::Dialled { conn }],
            "connection 0x1: it was there already",
        ),
        (vec![end(), end()], "connection 0x1: it ended twice"),
        (vec![end(), data(1, 1)], "connection 0x1: data came after its end"),
        (
            vec![data(1, PIECE + 1)],
            "connection 0x1: a piece of data is too long",
        ),
        (
            vec![FromGuest::NetCredit { conn, bytes }],
            "connection 0x1: it gave credit for more than was sent",
        ),
        (
            vec![FromGuest::NetCredit {
                conn,
                bytes: u32::MAX,
            }],
            "connection 0x1: it gave credit for more than was sent",
        ),
        (
            vec![FromGuest::NetReset { conn }, data(1, 1)],
            "connection 0x1: there is none with this number",
        ),
        (
            vec![FromGuest::NetReset { conn }, FromGuest::NetReset { conn }],
            "connection 0x1: it was reset, but there is none with this number",
        ),
        (
            vec![FromGuest::Accepted {
                conn: 77,
                listener: 2,
            }],
            "connection 0x4d: it was accepted with a number that is not a new one",
        ),
        (
            vec![accepted(1, 2), accepted(1, 2)],
            "connection 0x80000001: it was accepted with a number that is not a new one",
        ),
        (
            vec![
                accepted(1, 2),
                FromGuest::NetReset { conn: ACCEPTED | 1 },
                accepted(1, 2),
            ],
            "connection 0x80000001: it was accepted with a number that is not a new one",
        ),
        (
            vec![accepted(1, 2), FromGuest::Dialled { conn: ACCEPTED | 1 }],
            "connection 0x80000001: it was there already",
        ),
        (
            vec![accepted(1, 3)],
            "connection 0x80000001: it was accepted where nobody listens",
        ),
        (
            vec![FromGuest::Ports { ports: vec![] }],
            "the helper reported ports without being asked",
        ),
    ];
    for (messages, expected) in table {
        let (net, _sent) = bare();
        let _connection = dialled(&net, 1).await;
        let _listener = listener(&net).await;
        let mut said: Vec<_> = messages
            .into_iter()
            .map(|message| net.take(message).map_err(|b| b.what))
            .collect();
        assert_eq!(said.pop(), Some(Err(expected.to_owned())));
        assert_eq!(
            said.into_iter().collect::<Result<Vec<()>, _>>().err(),
            None,
            "before {expected}"
        );
    }
}

#[tokio::test]
async fn nothing_may_come_before_the_answer_to_a_dial() {
    let bytes = 1;
    for message in [
        data(1, 1),
        FromGuest::NetEnd { conn: 1 },
        FromGuest::NetCredit { conn: 1, bytes },
    ] {
        let (net, _sent) = bare();
        let dialling = net.dial(80);
        tokio::pin!(dialling);
        assert!(futures_util::poll!(&mut dialling).is_pending());
        assert_eq!(
            net.take(message).unwrap_err().what,
            "connection 0x1: it was not there yet"
        );
    }
}

#[tokio::test]
async fn late_messages_are_borne_until_the_helper_has_seen_the_reset() {
    let (net, mut sent) = bare();
    let mut connection = dialled(&net, 1).await;
    connection.write_all(b"abc").await.unwrap();
    drop(connection);
    assert_eq!(all(&mut sent).last(), Some(&ToGuest::NetReset { conn: 1 }));
    take(&net, data(1, 5));
    take(&net, FromGuest::NetCredit { conn: 1, bytes: 3 });
    take(&net, FromGuest::NetEnd { conn: 1 });
    take(&net, FromGuest::NetReset { conn: 1 });
    assert_eq!(all(&mut sent), []);
    assert!(
        net.take(FromGuest::NetReset { conn: 1 }).is_err(),
        "the last word is said once"
    );
}

#[tokio::test]
async fn what_was_written_arrives_after_a_proper_end() {
    let (net, mut sent) = bare();
    let mut connection = dialled(&net, 1).await;
    connection.write_all(b"abc").await.unwrap();
    connection.shutdown().await.unwrap();
    drop(connection);
    let (conn, bytes) = (1, b"abc".to_vec());
    let told = [
        ToGuest::Dial { conn, port: 80 },
        ToGuest::NetData { conn, bytes },
        ToGuest::NetEnd { conn },
    ];
    assert_eq!(all(&mut sent), told);
    take(&net, data(1, 5));
    assert_eq!(
        all(&mut sent),
        [ToGuest::NetCredit { conn, bytes: 5 }],
        "nobody reads it, so it is thrown away"
    );
    take(&net, FromGuest::NetCredit { conn, bytes: 3 });
    take(&net, FromGuest::NetEnd { conn });
    take(&net, FromGuest::NetReset { conn });
    assert_eq!(
        all(&mut sent),
        [],
        "a reset might cut off what the sandbox's sockets still hold"
    );
    assert!(
        net.take(FromGuest::NetReset { conn }).is_err(),
        "the last word is said once"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_does_not_read_is_not_waited_for_forever() {
    let (net, mut sent) = bare();
    let mut connection = dialled(&net, 1).await;
    connection.write_all(b"abc").await.unwrap();
    connection.shutdown().await.unwrap();
    drop(connection);
    all(&mut sent);
    advance(Duration::from_secs(61)).await;
    let _other = dialled(&net, 2).await;
    assert_eq!(
        all(&mut sent),
        [ToGuest::NetReset { conn: 1 }, ToGuest::Dial { conn: 2, port: 80 }]
    );
}

#[tokio::test]
async fn what_came_before_a_reset_can_still_be_read() {
    let (net, _sent) = bare();
    let mut connection = dialled(&net, 1).await;
    take(&net, data(1, 3));
    take(&net, FromGuest::NetReset { conn: 1 });
    let mut buffer = [0; 3];
    connection.read_exact(&mut buffer).await.unwrap();
    let kinds = (
        connection.read(&mut buffer).await.unwrap_err().kind(),
        connection.write(b"x").await.unwrap_err().kind(),
    );
    assert_eq!(
        (buffer, kinds),
        ([7; 3], (ErrorKind::ConnectionReset, ErrorKind::BrokenPipe))
    );
}

#[tokio::test(start_paused = true)]
async fn a_dial_is_refused_or_takes_too_long() {
    let helper = Helper::start();
    assert_eq!(
        helper.net.dial(81).await.err().map(|e| e.kind()),
        Some(ErrorKind::ConnectionRefused)
    );
    let (net, mut sent) = bare();
    let began = Instant::now();
    assert_eq!(
        net.dial(80).await.err().map(|e| e.kind()),
        Some(ErrorKind::TimedOut)
    );
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(
        all(&mut sent),
        [ToGuest::Dial { conn: 1, port: 80 }, ToGuest::NetReset { conn: 1 }]
    );
    take(&net, FromGuest::Dialled { conn: 1 });
    take(&net, data(1, 1));
    take(&net, FromGuest::NetReset { conn: 1 });
}

#[tokio::test]
async fn the_number_of_connections_is_bounded() {
    let (net, mut sent) = bare();
    let mut dialled_all = Vec::new();
    for conn in 1..=u32::try_from(MOST_CONNECTIONS).unwrap() {
        dialled_all.push(dialled(&net, conn).await);
    }
    assert_eq!(
        net.dial(80).await.err().map(|e| e.kind()),
        Some(ErrorKind::QuotaExceeded)
    );
    let _listener = listener(&net).await;
    let number = 2 + u32::try_from(MOST_CONNECTIONS).unwrap();
    let accepted = FromGuest::Accepted {
        conn: ACCEPTED | 1,
        listener: number,
    };
    assert_eq!(
        net.take(accepted.clone()).unwrap_err().what,
        "connection 0x80000001: it is one connection too many"
    );
    drop(dialled_all.pop());
    assert!(
        net.take(accepted.clone()).is_err(),
        "the helper has not said its last word"
    );
    let conn = number - 2;
    take(&net, FromGuest::NetReset { conn });
    all(&mut sent);
    take(&net, accepted);
    assert_eq!(all(&mut sent), []);
}

#[tokio::test]
async fn a_listener_has_a_backlog_and_an_end() {
    let (net, mut sent) = bare();
    let mut listener = listener(&net).await;
    let accepted = |number: u32| FromGuest::Accepted {
        conn: ACCEPTED | number,
        listener: 1,
    };
    for number in 1..=65 {
        take(&net, accepted(number));
    }
    let reset = |number: u32| ToGuest::NetReset {
        conn: ACCEPTED | number,
    };
    assert_eq!(all(&mut sent), [reset(65)], "the backlog is full");
    let turned_away = [listener.take_turned_away(), listener.take_turned_away()];
    assert_eq!(turned_away, [1, 0], "which is told once");
    let first = listener.accept().await.unwrap();
    drop(first);
    assert_eq!(all(&mut sent), [reset(1)]);
    drop(listener);
    let mut expected = vec![ToGuest::Unlisten { id: 1 }];
    expected.extend((2..=64).map(reset));
    assert_eq!(all(&mut sent), expected);
    take(&net, accepted(66));
    assert_eq!(all(&mut sent), [reset(66)], "it was under way");
}

#[tokio::test]
async fn a_listener_that_fails_is_forgotten() {
    let (net, mut sent) = bare();
    let failed = net
        .listen(|number| async move { Err(format!("{number} is in use")) })
        .await;
    assert_eq!(failed.err().as_deref(), Some("1 is in use"));
    assert_eq!(all(&mut sent), []);
    assert!(
        net.take(FromGuest::Accepted {
            conn: ACCEPTED | 1,
            listener: 1
        })
        .is_err()
    );
}

#[tokio::test]
async fn ports_are_watched_once_and_must_be_in_order() {
    let (net, mut sent) = bare();
    let (mut one, two) = (net.ports(), net.ports());
    assert_eq!(all(&mut sent), [ToGuest::WatchPorts]);
    take(&net, FromGuest::Ports { ports: vec![22, 80] });
    one.changed().await.unwrap();
    assert_eq!(
        (one.borrow().clone(), two.borrow().clone()),
        (vec![22, 80], vec![22, 80])
    );
    for ports in [vec![0, 1], vec![2, 1], vec![5, 5]] {
        let breach = net.take(FromGuest::Ports { ports }).unwrap_err();
        assert_eq!(breach.what, "the helper reported ports that are not in order");
    }
    net.close();
    assert!(one.changed().await.is_err());
}

#[tokio::test]
async fn everything_breaks_when_the_stream_is_gone() {
    let (net, mut sent) = bare();
    let mut connection = dialled(&net, 1).await;
    let mut listener = listener(&net).await;
    let (read, accepted, ()) = tokio::join!(connection.read_u8(), listener.accept(), async {
        tokio::task::yield_now().await;
        net.close();
    });
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(accepted.is_none() && net.is_closed());
    assert_eq!(
        net.dial(80).await.err().map(|e| e.kind()),
        Some(ErrorKind::NotConnected)
    );
    let dial = ToGuest::Dial { conn: 1, port: 80 };
    let (reset, unlisten) = (ToGuest::NetReset { conn: 1 }, ToGuest::Unlisten { id: 2 });
    assert_eq!(
        all(&mut sent),
        [dial, reset, unlisten],
        "the helper may still live"
    );
    let (conn, listener_number) = (ACCEPTED | 1, 2);
    for late in [
        data(1, 1),
        FromGuest::NetReset { conn: 1 },
        FromGuest::Accepted {
            conn,
            listener: listener_number,
        },
        FromGuest::Ports { ports: vec![] },
    ] {
        take(&net, late);
    }
    drop((connection, listener));
    assert_eq!(all(&mut sent), []);
}
