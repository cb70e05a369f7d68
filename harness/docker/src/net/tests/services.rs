use std::collections::{BTreeMap, BTreeSet};

use harness_guest::FromGuest;
use pretty_assertions::assert_eq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::helper::Helper;
use crate::net::services::FirstRound;
use crate::net::{Member, addresses, hosts, relay};

const APP: [u8; 4] = [127, 1, 0, 1];
const DB: [u8; 4] = [127, 1, 0, 2];

fn member(name: &str, helper: &Helper, refused: &[u16]) -> Member {
    Member {
        name: name.to_owned(),
        net: helper.net.clone(),
        listen: helper.listen(refused),
        own_ports: BTreeSet::new(),
    }
}

fn ports(helper: &Helper, ports: &[u16]) {
    helper.tell(FromGuest::Ports {
        ports: ports.to_vec(),
    });
}

/// Nobody waits for the first round.
fn nobody() -> FirstRound {
    tokio::sync::mpsc::channel(1).0
}

/// A sandbox and the services `app` and `db`, whose ports are being watched.
async fn three() -> [Helper; 3] {
    let helpers = [Helper::start(), Helper::start(), Helper::start()];
    let [sandbox, app, db] = &helpers;
    let members = vec![
        member("", sandbox, &[]),
        member("db", db, &[]),
        member("app", app, &[]),
    ];
    tokio::spawn(relay(members, nobody()));
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    helpers
}

#[test]
fn each_service_has_an_address() {
    let expected = BTreeMap::from([("app".to_owned(), APP), ("db".to_owned(), DB)]);
    assert_eq!(addresses(["db", "", "app"]), expected);
    let names: Vec<String> = (0..300).map(|n| format!("s{n:03}")).collect();
    let many = addresses(names.iter().map(String::as_str));
    assert_eq!((many["s254"], many["s255"]), ([127, 1, 0, 255], [127, 1, 1, 0]));
}

#[test]
fn hosts_names_what_can_be_reached() {
    let local = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    let services = addresses(["db", "app"]);
    let table = [
        (hosts("sandbox", &BTreeMap::new(), false), "127.0.1.1\tsandbox\n"),
        (
            hosts("sandbox", &BTreeMap::new(), true),
            "127.0.1.1\tsandbox\n127.1.255.254\tproxy\n",
        ),
        (
            hosts("sandbox", &services, false),
            "127.0.1.1\tsandbox\n127.1.0.1\tapp\n127.1.0.2\tdb\n",
        ),
        (hosts("db", &services, false), "127.1.0.1\tapp\n127.1.0.2\tdb\n"),
        (hosts("a\n9.9.9.9\tdb", &addresses(["x y"]), false), ""),
    ];
    for (text, expected) in table {
        assert_eq!(text, format!("{local}{expected}"));
    }
}

#[tokio::test]
async fn a_service_is_reached_by_all_others() {
    let [sandbox, app, db] = three().await;
    let mut servers = db.serve(5432);
    ports(&db, &[5432]);
    for client in [&sandbox, &app] {
        client.listens_to(&[(DB, 5432)]).await;
        let mut near = client.connect(DB, 5432).unwrap();
        near.write_all(b"question").await.unwrap();
        near.shutdown().await.unwrap();
        let mut far = servers.recv().await.unwrap();
        let (mut question, mut answer) = (String::new(), String::new());
        far.read_to_string(&mut question).await.unwrap();
        far.write_all(b"answer").await.unwrap();
        far.shutdown().await.unwrap();
        near.read_to_string(&mut answer).await.unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    }
    db.listens_to(&[]).await;
    while [&sandbox, &app, &db]
        .iter()
        .any(|helper| helper.connections() > 0)
    {
        tokio::task::yield_now().await;
    }
    for helper in [sandbox, app, db] {
        assert_eq!(helper.breaches(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn listeners_follow_the_ports() {
    let [sandbox, app, db] = three().await;
    ports(&db, &[80, 443]);
    ports(&app, &[80]);
    sandbox.listens_to(&[(APP, 80), (DB, 80), (DB, 443)]).await;
    app.listens_to(&[(DB, 80), (DB, 443)]).await;
    db.listens_to(&[(APP, 80)]).await;
    let mut servers = db.serve(80);
    let mut near = sandbox.connect(DB, 80).unwrap();
    let mut far = servers.recv().await.unwrap();
    ports(&db, &[443, 8080]);
    sandbox.listens_to(&[(APP, 80), (DB, 443), (DB, 8080)]).await;
    near.write_all(b"x").await.unwrap();
    assert_eq!(
        far.read_u8().await.unwrap(),
        b'x',
        "a connection outlives its listener"
    );
    let many: Vec<u16> = (1..=1000).collect();
    ports(&db, &many);
    let expected: Vec<_> = many[..64].iter().map(|port| (DB, *port)).collect();
    app.listens_to(&expected).await;
    db.net.close();
    sandbox.listens_to(&[(APP, 80)]).await;
    assert_eq!(
        near.read(&mut [0; 1]).await.unwrap_or(0),
        0,
        "the service is gone"
    );
}

#[tokio::test]
async fn a_port_without_a_server_breaks_the_connection() {
    let [sandbox, _app, db] = three().await;
    ports(&db, &[80]);
    sandbox.listens_to(&[(DB, 80)]).await;
    let mut near = sandbox.connect(DB, 80).unwrap();
    assert_eq!(near.read(&mut [0; 1]).await.unwrap_or(0), 0);
    while sandbox.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((sandbox.breaches(), db.breaches()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_is_tried_again() {
    let [sandbox, app, db] = [Helper::start(), Helper::start(), Helper::start()];
    let mut own = member("app", &app, &[]);
    own.own_ports.insert(80);
    tokio::spawn(relay(
        vec![member("", &sandbox, &[80]), own, member("db", &db, &[])],
        nobody(),
    ));
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    ports(&db, &[80, 81]);
    sandbox.listens_to(&[(DB, 81)]).await;
    sandbox.refuse_nothing();
    sandbox.listens_to(&[(DB, 80), (DB, 81)]).await;
    app.listens_to(&[(DB, 81)]).await;
}

/// Whoever waits for the first round finds the known ports listened for, those that are taken left aside.
#[tokio::test(start_paused = true)]
async fn the_first_round_ends_when_every_known_port_was_tried() {
    let [sandbox, app, db] = [Helper::start(), Helper::start(), Helper::start()];
    let members = vec![
        member("", &sandbox, &[80]),
        member("app", &app, &[]),
        member("db", &db, &[]),
    ];
    for service in [&app, &db] {
        let _ = service.net.ports();
    }
    ports(&db, &[80, 81]);
    let (first, mut over) = tokio::sync::mpsc::channel(1);
    tokio::spawn(relay(members, first));
    assert!(over.recv().await.is_none());
    sandbox.listens_to_now(&[(DB, 81)]);
    app.listens_to_now(&[(DB, 80), (DB, 81)]);
}
