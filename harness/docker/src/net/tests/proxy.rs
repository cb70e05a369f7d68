use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use harness_core::egress::{AllowList, EgressAttempt, EgressVerdict};
use harness_core::ports::SandboxFact;
use pretty_assertions::assert_eq;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::helper::Helper;
use crate::net::outside::Outside;
use crate::net::{PROXY_ADDRESS, PROXY_PORT, Proxy, RealOutside};

const PUBLIC: &str = "93.184.216.34";

/// An outside that never leaves this machine: names are made up, and every dial ends at a server of the test.
#[derive(Default)]
struct Stage {
    names: BTreeMap<&'static str, Vec<&'static str>>,
    servers: BTreeMap<SocketAddr, SocketAddr>,
    /// This machine's own addresses.
    own: Vec<IpAddr>,
    seen: Mutex<Vec<String>>,
}

impl Outside for Stage {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        self.seen.lock().unwrap().push(format!("resolve {name}"));
        let addresses = self.names.get(name).ok_or_else(|| io::ErrorKind::NotFound.into());
        let addresses = addresses.map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect());
        Box::pin(std::future::ready(addresses))
    }

    fn own_addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(self.own.clone())
    }

    /// All servers of the test are here, whatever they stand for.
    fn ends_here(&self, _: &TcpStream) -> bool {
        false
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.seen.lock().unwrap().push(format!("dial {address}"));
        Box::pin(async move {
            let server = self
                .servers
                .get(&address)
                .ok_or(io::ErrorKind::ConnectionRefused)?;
            TcpStream::connect(server).await
        })
    }
}

/// A proxy, what it did outside, and what it reported.
struct Scene {
    proxy: Arc<Proxy>,
    stage: Arc<Stage>,
    reports: Reports,
}

impl Scene {
    fn new(list: &[&str], stage: Stage) -> Self {
        let stage = Arc::new(stage);
        let (proxy, reports) = proxy(list, Arc::clone(&stage) as Arc<dyn Outside>);
        Self {
            proxy,
            stage,
            reports,
        }
    }

    /// Sends a request and returns the whole answer.
    async fn ask(&self, request: &str) -> String {
        let (mut client, serving) = self.connect();
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        serving.await.unwrap();
        answer
    }

    fn connect(&self) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(1 << 20);
        let proxy = Arc::clone(&self.proxy);
        (client, tokio::spawn(async move { proxy.serve(server).await }))
    }

    fn reports(&self) -> Vec<EgressAttempt> {
        taken(&self.reports)
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.stage.seen.lock().unwrap())
    }
}

type Reports = Arc<Mutex<Vec<SandboxFact>>>;

fn proxy(list: &[&str], outside: Arc<dyn Outside>) -> (Arc<Proxy>, Reports) {
    let reports = Reports::default();
    let taker = Arc::clone(&reports);
    let report = Arc::new(move |fact| taker.lock().unwrap().push(fact));
    let list = AllowList::parse(list.iter().copied()).unwrap();
    let proxy = Proxy::new(list, BTreeMap::new(), outside, report);
    (Arc::new(proxy), reports)
}

/// What was reported of connections that are over, without its times.
fn taken(reports: &Reports) -> Vec<EgressAttempt> {
    let facts = std::mem::take(&mut *reports.lock().unwrap());
    let ended = facts.into_iter().filter_map(|fact| match fact {
        SandboxFact::Egress(attempt) => Some(timeless(attempt)),
        _ => None,
    });
    ended.collect()
}

fn timeless(attempt: EgressAttempt) -> EgressAttempt {
    assert!(attempt.began.is_some(), "{attempt:?}");
    EgressAttempt {
        took: Duration::ZERO,
        began: None,
        ..attempt
    }
}

fn report(method: &str, host: &str, port: u16, verdict: EgressVerdict) -> EgressAttempt {
    EgressAttempt {
        host: host.to_owned(),
        port,
        method: method.to_owned(),
        verdict,
        address: None,
        sent: 0,
        received: 0,
        began: None,
        took: Duration::ZERO,
    }
}

/// A server for one connection: it answers at the first bytes, and returns all that came.
async fn server(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        while !ended(&all) {
            if stream.read_buf(&mut all).await.unwrap() == 0 {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut all).await;
        String::from_utf8(all).unwrap()
    });
    (address, served)
}

/// Whether a server of a test has read enough to answer.
fn ended(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"END")
}

fn stage(names: &[(&'static str, &[&'static str])], servers: &[(&str, SocketAddr)]) -> Stage {
    Stage {
        names: names
            .iter()
            .map(|(name, addresses)| (*name, addresses.to_vec()))
            .collect(),
        servers: servers
            .iter()
            .map(|(from, to)| (from.parse().unwrap(), *to))
            .collect(),
        own: Vec::new(),
        seen: Mutex::default(),
    }
}

#[tokio::test]
async fn a_tunnel_to_a_host_of_the_list() {
    let (address, served) = server("hello").await;
    let scene = Scene::new(
        &["*.test:443"],
        stage(&[("a.test", &[PUBLIC])], &[("93.184.216.34:443", address)]),
    );
    let answer = scene
        .ask("CONNECT A.test:443 HTTP/1.1\r\nHost: x\r\n\r\ntunnelled END")
        .await;
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nhello");
    assert_eq!(served.await.unwrap(), "tunnelled END");
    assert_eq!(scene.seen(), ["resolve a.test", "dial 93.184.216.34:443"]);
    let expected = EgressAttempt {
        address: Some("93.184.216.34:443".to_owned()),
        sent: 13,
        received: 5,
        ..report("connect", "a.test", 443, EgressVerdict::Allowed)
    };
    assert_eq!(scene.reports(), [expected]);
}

#[tokio::test]
async fn an_address_of_the_list_is_reached_without_resolving() {
    let (address, served) = server("HTTP/1.0 200 OK\r\n\r\nhello").await;
    let (proxy, reports) = proxy(&[&address.to_string()], Arc::new(RealOutside));
    let (mut client, stream) = duplex(1 << 16);
    let request = format!("GET http://{address}/x HTTP/1.1\r\nAccept: */*\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    proxy.serve(stream).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "HTTP/1.0 200 OK\r\n\r\nhello");
    let head = format!("GET /x HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    assert_eq!(served.await.unwrap(), head);
    let expected = EgressAttempt {
        address: Some(address.to_string()),
        sent: head.len() as u64,
        received: 24,
        ..report("GET", "127.0.0.1", address.port(), EgressVerdict::Allowed)
    };
    assert_eq!(taken(&reports), [expected]);
}

#[tokio::test]
async fn what_is_refused_is_never_resolved_or_dialled() {
    let scene = Scene::new(&["a.test:443", "a.test:80"], Stage::default());
    let listed = |what: &str| {
        (
            "403 Forbidden",
            format!("{what} is not on the list of what this task allows"),
        )
    };
    let inside = |what: &str| {
        (
            "403 Forbidden",
            format!("{what} leads to an address that this task's list does not allow"),
        )
    };
    let bad = |why: &str| {
        (
            "400 Bad Request",
            format!("this request is not understood: {why}"),
        )
    };
    let (not_listed, forbidden, malformed) = (
        EgressVerdict::NotListed,
        EgressVerdict::Forbidden,
        EgressVerdict::Malformed,
    );
    let odd = "its host is an address in an unusual spelling";
    let table = [
        (
            "CONNECT b.test:443",
            listed("b.test:443"),
            report("connect", "b.test", 443, not_listed),
        ),
        (
            "CONNECT a.test:22",
            listed("a.test:22"),
            report("connect", "a.test", 22, not_listed),
        ),
        (
            "CONNECT x.a.test:443",
            listed("x.a.test:443"),
            report("connect", "x.a.test", 443, not_listed),
        ),
        (
            "CONNECT 1.1.1.1:443",
            listed("1.1.1.1:443"),
            report("connect", "1.1.1.1", 443, not_listed),
        ),
        (
            "CONNECT 127.0.0.1:443",
            inside("127.0.0.1:443"),
            report("connect", "127.0.0.1", 443, forbidden),
        ),
        (
            "CONNECT [::1]:443",
            inside("[::1]:443"),
            report("connect", "[::1]", 443, forbidden),
        ),
        (
            "GET http://169.254.169.254/",
            inside("169.254.169.254:80"),
            report("GET", "169.254.169.254", 80, forbidden),
        ),
        (
            "DELETE http://b.test/",
            listed("b.test:80"),
            report("DELETE", "b.test", 80, not_listed),
        ),
        (
            "CONNECT 2130706433:80",
            bad(odd),
            report("connect", "2130706433:80", 0, malformed),
        ),
        (
            "GET http://0x7f.1/",
            bad(odd),
            report("GET", "0x7f.1", 0, malformed),
        ),
        (
            "GET /",
            bad("it is neither CONNECT nor a request for a whole http:// address"),
            report("GET", "/", 0, malformed),
        ),
        (
            "\u{16}\u{3}\u{1}",
            bad("it is not HTTP/1.1"),
            report("", "", 0, malformed),
        ),
    ];
    for (request, (status, text), expected) in table {
        assert_eq!(
            scene.ask(&format!("{request} HTTP/1.1\r\n\r\n")).await,
            refusal(status, &text),
            "{request}"
        );
        assert_eq!(scene.reports(), [expected], "{request}");
        assert_eq!(scene.seen(), Vec::<String>::new(), "{request}");
    }
}

fn refusal(status: &str, text: &str) -> String {
    let text = format!("harness: {text}\n");
    let headers = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
    format!(
        "HTTP/1.1 {status}\r\n{headers}\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

#[tokio::test]
async fn a_name_cannot_be_turned_inside() {
    let addresses: &[&'static [&'static str]] = &[
        &["169.254.169.254"],
        &["127.0.0.1"],
        &["10.1.2.3"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::a9fe:a9fe"],
        &["192.168.0.1", "fd00::1", "0.0.0.0"],
    ];
    for turned in addresses {
        let scene = Scene::new(&["a.test:80", "127.0.0.1:80"], stage(&[("a.test", turned)], &[]));
        let answer = scene.ask("CONNECT a.test:80 HTTP/1.1\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        assert_eq!(scene.seen(), ["resolve a.test"]);
        assert_eq!(
            scene.reports(),
            [report("connect", "a.test", 80, EgressVerdict::Forbidden)]
        );
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_tried_where_it_is_allowed() {
    let mixed: &[&'static str] = &[
        "10.0.0.1",
        "1.1.1.1",
        "127.0.0.1",
        "1.1.1.2",
        "1.1.1.3",
        "1.1.1.4",
        "1.1.1.5",
    ];
    let scene = Scene::new(&["a.test:80", "b.test:80"], stage(&[("a.test", mixed)], &[]));
    let answer = scene.ask("GET http://a.test/ HTTP/1.1\r\n\r\n").await;
    assert!(
        answer.ends_with("\r\n\r\nharness: a.test:80 cannot be reached\n"),
        "{answer}"
    );
    let dials = [
        "resolve a.test",
        "dial 1.1.1.1:80",
        "dial 1.1.1.2:80",
        "dial 1.1.1.3:80",
        "dial 1.1.1.4:80",
    ];
    assert_eq!(scene.seen(), dials);
    let answer = scene.ask("GET http://b.test/ HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    let failed = |host| report("GET", host, 80, EgressVerdict::Failed);
    assert_eq!(scene.reports(), [failed("a.test"), failed("b.test")]);
}

/// A request as it is sent, and what of it arrives.
#[tokio::test]
async fn one_request_is_passed_on_and_nothing_behind_it() {
    let second = "GET http://a.test/second HTTP/1.1\r\n\r\n";
    let table = [
        (
            "Content-Length: 6\r\n\r\nbodEND",
            "Content-Length: 6\r\nConnection: close\r\n\r\nbodEND",
            "",
        ),
        (
            "Content-Length: 6\r\n\r\nbodEND",
            "Content-Length: 6\r\nConnection: close\r\n\r\nbodEND",
            "\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "",
        ),
        ("A: b\r\n\r\n", "A: b\r\nConnection: close\r\n\r\n", ""),
    ];
    for (request, expected, behind) in table {
        let (address, served) = server("HTTP/1.1 200 OK\r\n\r\nhello").await;
        let scene = Scene::new(
            &["a.test:80"],
            stage(&[("a.test", &[PUBLIC])], &[("93.184.216.34:80", address)]),
        );
        let answer = scene
            .ask(&format!("POST http://a.test/ HTTP/1.1\r\n{request}{behind}"))
            .await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\n\r\nhello", "{request}");
        assert_eq!(
            served.await.unwrap(),
            format!("POST / HTTP/1.1\r\nHost: a.test\r\n{expected}")
        );
    }
    let (address, served) = server("").await;
    let scene = Scene::new(
        &["a.test:80"],
        stage(&[("a.test", &[PUBLIC])], &[("93.184.216.34:80", address)]),
    );
    let mut arrived = scene
        .ask(&format!("GET http://a.test/ HTTP/1.1\r\n\r\n{second}"))
        .await;
    arrived += &served.await.unwrap();
    assert!(!arrived.contains("second"), "{arrived}");
    let verdicts: Vec<_> = scene.reports().iter().map(|report| report.verdict).collect();
    assert_eq!(verdicts, [EgressVerdict::Allowed, EgressVerdict::Failed]);
}

/// What comes behind a request is judged and reported, but never dialled.
#[tokio::test]
async fn requests_behind_another_one_leave_a_trace() {
    use EgressVerdict::{Allowed, Failed, Forbidden, Malformed, NotListed};
    let get = |host: &str| format!("GET http://{host}/ HTTP/1.1\r\n\r\n");
    let table = [
        (get("b.test"), vec![report("GET", "b.test", 80, NotListed)]),
        (get("a.test"), vec![report("GET", "a.test", 80, Failed)]),
        (
            format!(
                "{}{}",
                get("169.254.169.254"),
                "CONNECT b.test:443 HTTP/1.1\r\n\r\nGET"
            ),
            vec![
                report("GET", "169.254.169.254", 80, Forbidden),
                report("connect", "b.test", 443, NotListed),
            ],
        ),
        (
            format!(
                "POST http://b.test/ HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\n{}",
                get("c.test")
            ),
            vec![
                report("POST", "b.test", 80, NotListed),
                report("GET", "c.test", 80, NotListed),
            ],
        ),
        ("GET http://b".to_owned(), vec![report("", "", 0, Malformed)]),
        (
            "\u{16}\u{3}\u{1}\n\n".to_owned(),
            vec![report("", "", 0, Malformed)],
        ),
        (get("b.test").repeat(18), {
            let mut all = vec![report("GET", "b.test", 80, NotListed); 16];
            all.push(report("", "", 0, Malformed));
            all
        }),
    ];
    for (behind, expected) in table {
        let (address, _served) = server("HTTP/1.1 200 OK\r\n\r\nhello").await;
        let scene = Scene::new(
            &["a.test:80"],
            stage(&[("a.test", &[PUBLIC])], &[("93.184.216.34:80", address)]),
        );
        let (mut client, serving) = scene.connect();
        let first = "POST http://a.test/ HTTP/1.1\r\nContent-Length: 3\r\n\r\n123";
        client
            .write_all(format!("{first}{behind}").as_bytes())
            .await
            .unwrap();
        client.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        serving.await.unwrap();
        let reports = scene.reports();
        assert_eq!(reports[0].verdict, Allowed, "{behind}");
        assert_eq!(reports[1..], expected, "{behind}");
        assert_eq!(
            scene.seen(),
            ["resolve a.test", "dial 93.184.216.34:80"],
            "{behind}"
        );
    }
}

/// A name of the list that leads to one of this host's own public addresses.
#[tokio::test]
async fn a_name_cannot_be_turned_to_this_hosts_public_address() {
    let names: &[(&'static str, &[&'static str])] = &[("a.test", &["::ffff:93.184.216.34", PUBLIC])];
    let mut outside = stage(names, &[]);
    outside.own = vec![PUBLIC.parse().unwrap(), "::1".parse().unwrap()];
    let scene = Scene::new(&["a.test:80"], outside);
    let answer = scene.ask("CONNECT a.test:80 HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert_eq!(scene.seen(), ["resolve a.test"]);
    let forbidden = report("connect", "a.test", 80, EgressVerdict::Forbidden);
    assert_eq!(scene.reports(), [forbidden]);
}

#[tokio::test]
async fn this_host_knows_its_own_addresses_and_the_connections_to_them() {
    let own = RealOutside.own_addresses().unwrap();
    assert!(own.contains(&"127.0.0.1".parse().unwrap()), "{own:?}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = RealOutside.dial(address).await.unwrap();
    assert!(RealOutside.ends_here(&stream));
    // Where a connection ends elsewhere, its two ends differ; on this machine two loopback addresses stand for that.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = socket.connect(address).await.unwrap();
    assert!(!RealOutside.ends_here(&stream));
}

/// What a task's own services are asked through the proxy stays inside, and is no attempt to get out.
#[tokio::test]
async fn a_service_is_reached_through_the_proxy_without_a_report() {
    let helper = Helper::start();
    let port = 8000;
    let mut servers = helper.serve(port);
    tokio::spawn(async move {
        while let Some(mut stream) = servers.recv().await {
            let mut head = Vec::new();
            while !ended(&head) {
                stream.read_buf(&mut head).await.unwrap();
            }
            let answer = b"HTTP/1.1 200 OK\r\n\r\nfrom the shop";
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    let reports = Reports::default();
    let taker = Arc::clone(&reports);
    let report = Arc::new(move |fact| taker.lock().unwrap().push(fact));
    let services = BTreeMap::from([("shop".to_owned(), helper.net.clone())]);
    let outside = Arc::new(Stage::default());
    let shown: Arc<dyn Outside> = Arc::clone(&outside) as _;
    let proxy = Proxy::new(AllowList::default(), services, shown, report);
    for (asked, expected) in [
        (
            format!("GET http://Shop:{port}/ HTTP/1.1\r\n\r\n"),
            "from the shop",
        ),
        (
            format!("CONNECT shop:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            "from the shop",
        ),
        (
            "GET http://shop:1/ HTTP/1.1\r\n\r\n".to_owned(),
            "shop:1 cannot be reached\n",
        ),
    ] {
        let (mut client, stream) = duplex(1 << 16);
        client.write_all(asked.as_bytes()).await.unwrap();
        let asking = async move {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(proxy.serve(stream), asking);
        assert!(answer.ends_with(expected), "{asked}: {answer}");
    }
    assert_eq!(*reports.lock().unwrap(), Vec::new());
    assert_eq!(outside.seen.lock().unwrap().len(), 0);
    let (mut client, stream) = duplex(1 << 16);
    client
        .write_all(b"GET http://shop.test/ HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    proxy.serve(stream).await;
    assert_eq!(taken(&reports).len(), 1, "another host is none of them");
}

/// A tunnel is reported when it opens: its end may never come to be reported.
#[tokio::test]
async fn a_tunnel_is_reported_when_it_opens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scene = Scene::new(
        &["a.test:80"],
        stage(&[("a.test", &[PUBLIC])], &[("93.184.216.34:80", address)]),
    );
    let (mut client, serving) = scene.connect();
    client
        .write_all(b"CONNECT a.test:80 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    client.read_exact(&mut [0; 12]).await.unwrap();
    let facts = std::mem::take(&mut *scene.reports.lock().unwrap());
    let [SandboxFact::EgressOpened(opened)] = &facts[..] else {
        panic!("{facts:?}");
    };
    let expected = EgressAttempt {
        address: Some("93.184.216.34:80".to_owned()),
        ..report("connect", "a.test", 80, EgressVerdict::Allowed)
    };
    assert_eq!(timeless(opened.clone()), expected);
    drop((client, listener));
    serving.await.unwrap();
    let facts = std::mem::take(&mut *scene.reports.lock().unwrap());
    let [SandboxFact::Egress(ended)] = &facts[..] else {
        panic!("{facts:?}");
    };
    assert_eq!(ended.began, opened.began, "so that both can be told to be one");
}

#[tokio::test]
async fn too_many_at_once_are_turned_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scene = Scene::new(
        &["a.test:80"],
        stage(&[("a.test", &[PUBLIC])], &[("93.184.216.34:80", address)]),
    );
    let request = "CONNECT a.test:80 HTTP/1.1\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..64 {
        let (mut client, serving) = scene.connect();
        client.write_all(request.as_bytes()).await.unwrap();
        client.read_exact(&mut [0; 12]).await.unwrap();
        open.push((client, serving, listener.accept().await.unwrap()));
    }
    let answer = scene.ask(request).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{answer}"
    );
    assert_eq!(
        scene.reports(),
        [report("connect", "a.test", 80, EgressVerdict::TooMany)]
    );
    let (client, serving, (upstream, _)) = open.pop().unwrap();
    drop((client, upstream));
    serving.await.unwrap();
    let (mut client, _serving) = scene.connect();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200", "one has ended");
}

#[tokio::test]
async fn silence_ends_a_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scene = Scene::new(
        &["a.test:80"],
        stage(&[("a.test", &[PUBLIC])], &[("93.184.216.34:80", address)]),
    );
    let (mut client, serving) = scene.connect();
    client
        .write_all(b"CONNECT a.test:80 HTTP/1.1\r\n\r\nabc")
        .await
        .unwrap();
    client.read_exact(&mut [0; 12]).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    upstream.read_exact(&mut [0; 3]).await.unwrap();
    tokio::time::pause();
    serving.await.unwrap();
    let expected = EgressAttempt {
        address: Some("93.184.216.34:80".to_owned()),
        sent: 3,
        ..report("connect", "a.test", 80, EgressVerdict::Allowed)
    };
    assert_eq!(scene.reports(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_whole_request() {
    let scene = Scene::new(&[], Stage::default());
    let (client, serving) = scene.connect();
    drop(client);
    serving.await.unwrap();
    assert_eq!(scene.reports(), [], "nothing was asked for");
    let (mut client, serving) = scene.connect();
    client.write_all(b"CONNECT a.te").await.unwrap();
    drop(client);
    serving.await.unwrap();
    let malformed = report("", "", 0, EgressVerdict::Malformed);
    assert_eq!(scene.reports(), std::slice::from_ref(&malformed));
    let (mut client, serving) = scene.connect();
    client.write_all(b"CONNECT a.te").await.unwrap();
    serving.await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert_eq!(scene.reports(), [malformed]);
}

#[tokio::test]
async fn a_sandbox_that_dies_midway_is_reported_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let literal = listener.local_addr().unwrap().to_string();
    let (proxy, reports) = proxy(&[&literal], Arc::new(RealOutside));
    let helper = Helper::start();
    let listen = helper.listen(&[]);
    let accepting = helper
        .net
        .listen(|number| listen(number, PROXY_ADDRESS, PROXY_PORT))
        .await
        .unwrap();
    let running = tokio::spawn(proxy.run(accepting));
    let mut client = helper.connect(PROXY_ADDRESS, PROXY_PORT).unwrap();
    client
        .write_all(format!("CONNECT {literal} HTTP/1.1\r\n\r\nabc").as_bytes())
        .await
        .unwrap();
    client.read_exact(&mut [0; 12]).await.unwrap();
    let (mut upstream, _) = listener.accept().await.unwrap();
    upstream.read_exact(&mut [0; 3]).await.unwrap();
    assert_eq!(taken(&reports), []);
    helper.net.close();
    running.await.unwrap();
    let (host, port) = literal.split_once(':').unwrap();
    let expected = EgressAttempt {
        address: Some(literal.clone()),
        sent: 3,
        ..report("connect", host, port.parse().unwrap(), EgressVerdict::Allowed)
    };
    assert_eq!(taken(&reports), [expected]);
    assert_eq!(upstream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}
