//! Loopback connections that the host carries on. The ports are the system's choice.

use crate::driver::Driver;
use harness_guest::{ACCEPTED, FromGuest, MOST_CONNECTIONS, PIECE, ProblemKind, ToGuest, WINDOW};
use pretty_assertions::assert_eq;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

const ADDRESS: [u8; 4] = [127, 0, 0, 1];

/// Finds a free port.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn listen(driver: &mut Driver, id: u32) -> u16 {
    let address = ADDRESS;
    // Somebody else may take what was free.
    for _ in 0..20 {
        let port = free_port();
        driver.say(&ToGuest::Listen { id, address, port });
        if driver.answer(id).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

fn accepted(driver: &mut Driver, id: u32) -> u32 {
    driver.wait_for(|message| match message {
        FromGuest::Accepted { conn, listener } if *listener == id => Some(*conn),
        _ => None,
    })
}

fn is(message: &FromGuest, wanted: &FromGuest) -> Option<()> {
    (message == wanted).then_some(())
}

/// Passes everything back until the other side ends, keeping to the credit in both directions.
fn echo(driver: &mut Driver, wanted: u32) -> usize {
    let mut credit = WINDOW as usize;
    let mut waiting: Vec<u8> = vec![];
    let (mut taken, mut ended, mut end_said) = (0, false, false);
    loop {
        let now = waiting.len().min(credit).min(PIECE);
        if now > 0 {
            let bytes: Vec<u8> = waiting.drain(..now).collect();
            credit -= now;
            driver.say(&ToGuest::NetData { conn: wanted, bytes });
            continue;
        }
        if ended && waiting.is_empty() && !end_said {
            end_said = true;
            driver.say(&ToGuest::NetEnd { conn: wanted });
        }
        match driver.next() {
            FromGuest::NetData { conn, bytes } if conn == wanted => {
                taken += bytes.len();
                let count = u32::try_from(bytes.len()).unwrap();
                waiting.extend(bytes);
                driver.say(&ToGuest::NetCredit { conn, bytes: count });
            }
            FromGuest::NetCredit { conn, bytes } if conn == wanted => credit += bytes as usize,
            FromGuest::NetEnd { conn } if conn == wanted => ended = true,
            FromGuest::NetReset { conn } if conn == wanted => return taken,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn more_than_a_window_goes_both_ways() {
    let mut driver = Driver::start();
    let port = listen(&mut driver, 1);
    let content: Vec<u8> = (0..2_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let conn = accepted(&mut driver, 1);
    assert_eq!(conn & ACCEPTED, ACCEPTED);
    let mut writer = stream.try_clone().unwrap();
    let sent = content.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reading = std::thread::spawn(move || {
        let mut back = vec![];
        stream.read_to_end(&mut back).unwrap();
        back
    });
    assert_eq!(echo(&mut driver, conn), content.len());
    writing.join().unwrap();
    assert!(reading.join().unwrap() == content);
}

#[test]
fn no_more_is_read_than_the_host_has_taken() {
    let mut driver = Driver::start();
    let port = listen(&mut driver, 1);
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let conn = accepted(&mut driver, 1);
    let mut writer = stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&vec![1; 50_000_000]);
    });
    let mut taken = 0;
    while taken < WINDOW {
        taken += driver.wait_for(|message| match message {
            FromGuest::NetData { bytes, .. } => Some(u32::try_from(bytes.len()).unwrap()),
            _ => None,
        });
    }
    assert_eq!(taken, WINDOW);
    std::thread::sleep(std::time::Duration::from_millis(200));
    driver.say(&ToGuest::Ping { id: 5 });
    assert_eq!(driver.next(), FromGuest::Pong { id: 5 });
    driver.say(&ToGuest::NetReset { conn });
    assert_eq!(driver.next(), FromGuest::NetReset { conn });
    writing.join().unwrap();
    driver.say(&ToGuest::NetReset { conn });
    driver.say(&ToGuest::Ping { id: 6 });
    assert_eq!(driver.next(), FromGuest::Pong { id: 6 }, "the end is said once");
}

#[test]
fn ports_of_the_sandbox_are_dialled() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else {
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let serving = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = vec![];
            stream.read_to_end(&mut question).unwrap();
            stream.write_all(b"answer to ").unwrap();
            stream.write_all(&question).unwrap();
        });
        let mut driver = Driver::start();
        driver.say(&ToGuest::Dial { conn: 7, port });
        assert_eq!(driver.next(), FromGuest::Dialled { conn: 7 });
        let bytes = b"a question".to_vec();
        driver.say(&ToGuest::NetData { conn: 7, bytes });
        driver.say(&ToGuest::NetEnd { conn: 7 });
        driver.wait_for(|message| is(message, &FromGuest::NetCredit { conn: 7, bytes: 10 }));
        let mut answer = vec![];
        loop {
            match driver.next() {
                FromGuest::NetData { conn: 7, bytes } => answer.extend(bytes),
                FromGuest::NetEnd { conn: 7 } => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(String::from_utf8(answer).unwrap(), "answer to a question");
        assert_eq!(driver.next(), FromGuest::NetReset { conn: 7 });
        serving.join().unwrap();
    }
}

#[test]
fn nobody_there_is_said_once() {
    let mut driver = Driver::start();
    // Nothing of today's is served there.
    driver.say(&ToGuest::Dial { conn: 3, port: 1 });
    assert_eq!(driver.next(), FromGuest::NetReset { conn: 3 });
    driver.say(&ToGuest::NetData {
        conn: 3,
        bytes: vec![1],
    });
    driver.say(&ToGuest::NetEnd { conn: 3 });
    driver.say(&ToGuest::Ping { id: 1 });
    assert_eq!(driver.next(), FromGuest::Pong { id: 1 });
}

#[test]
fn only_loopback_addresses_are_listened_to_and_only_while_wanted() {
    let mut driver = Driver::start();
    for address in [[0, 0, 0, 0], [10, 0, 0, 1], [128, 0, 0, 1]] {
        driver.say(&ToGuest::Listen {
            id: 1,
            address,
            port: 0,
        });
        assert_eq!(
            driver.answer(1).map_err(|problem| problem.kind),
            Err(ProblemKind::Denied)
        );
    }
    let port = listen(&mut driver, 2);
    let address = ADDRESS;
    driver.say(&ToGuest::Listen { id: 3, address, port });
    assert_eq!(
        driver.answer(3).map_err(|problem| problem.kind),
        Err(ProblemKind::Other)
    );
    driver.say(&ToGuest::Unlisten { id: 2 });
    driver.say(&ToGuest::Ping { id: 4 });
    driver.wait_for(|message| is(message, &FromGuest::Pong { id: 4 }));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn connections_are_bounded() {
    let mut driver = Driver::start();
    let port = listen(&mut driver, 1);
    let mut streams: Vec<(TcpStream, u32)> = (0..MOST_CONNECTIONS)
        .map(|_| {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            (stream, accepted(&mut driver, 1))
        })
        .collect();
    // It waits for a place: it must not come and go without anybody being told.
    let mut one_more = TcpStream::connect(("127.0.0.1", port)).unwrap();
    one_more
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let waited = one_more.read(&mut [0]).unwrap_err();
    assert!(
        matches!(waited.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{waited}"
    );
    let (stream, conn) = streams.pop().unwrap();
    drop(stream);
    driver.say(&ToGuest::NetReset { conn });
    accepted(&mut driver, 1);
}

#[test]
fn ports_that_others_reach_are_told() {
    let mut driver = Driver::start();
    let told = |driver: &mut Driver, port: u16, there: bool| {
        driver.wait_for(|message| match message {
            FromGuest::Ports { ports } => (ports.contains(&port) == there).then_some(()),
            _ => None,
        });
    };
    // Nothing is sent anywhere: the listener only stands in the kernel's table.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    driver.say(&ToGuest::WatchPorts);
    told(&mut driver, port, true);
    drop(listener);
    told(&mut driver, port, false);
}
