//! Ways out: a proxy that lets through what is listed, and nothing beside it.
//!
//! Nothing here may leave this machine: only loopback addresses are listed and reached; everything else is refused
//! before anything is looked up or sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use harness_core::egress::EgressVerdict;
use harness_core::ports::{Sandbox, SandboxFact};
use harness_core::sandbox::{NetworkPolicy, Runtime, SandboxSpec};
use pretty_assertions::assert_eq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{attack, busybox_on, under_each_runtime};
use crate::support::{ask, sh, sh_for};

under_each_runtime!(listed_and_not, without_the_proxy, nothing_is_listed);

/// A server of the host on a loopback address, which counts.
struct Listening {
    port: u16,
    seen: Arc<AtomicU32>,
    _task: AbortOnDropHandle<()>,
}

async fn listen() -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&seen);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut head = [0; 1000];
            let _ = stream.read(&mut head).await;
            let _ = stream
                .write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                .await;
        }
    });
    Listening {
        port,
        seen,
        _task: AbortOnDropHandle::new(task),
    }
}

fn spec_with(runtime: Runtime, hosts: Vec<String>) -> SandboxSpec {
    SandboxSpec {
        network: NetworkPolicy::Allow(hosts),
        ..busybox_on(runtime)
    }
}

/// Sends a request to the proxy as it is and returns what comes back.
async fn through_proxy(sandbox: &dyn Sandbox, request: &str) -> String {
    let text = format!("printf '{request}' | nc proxy 3128");
    sandbox.exec(&sh(&text)).await.unwrap().stdout.readable(2000).text
}

async fn listed_and_not(runtime: Runtime) {
    let (listed, other) = (listen().await, listen().await);
    let (listed_seen, other_seen) = (Arc::clone(&listed.seen), Arc::clone(&other.seen));
    let hosts = vec![
        format!("127.0.0.1:{}", listed.port),
        "*.example.test:80".to_owned(),
    ];
    attack(spec_with(runtime, hosts), async move |sandbox| {
        let port = listed.port;
        let plain = format!("GET http://127.0.0.1:{port}/x HTTP/1.0\\r\\n\\r\\n");
        let tunnel = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\\r\\n\\r\\nGET /x HTTP/1.0\\r\\n\\r\\n");
        for request in [plain, tunnel] {
            let answer = through_proxy(&*sandbox, &request).await;
            assert!(answer.starts_with("HTTP/1.") && answer.ends_with("hello"), "{answer}");
        }
        let other = other.port;
        let refused = [
            "169.254.169.254:80".to_owned(),
            "[fd00:ec2::254]:80".to_owned(),
            "[::ffff:169.254.169.254]:80".to_owned(),
            "100.100.100.200:80".to_owned(),
            "10.0.0.1:80".to_owned(),
            "192.168.0.1:443".to_owned(),
            format!("127.0.0.1:{other}"),
            format!("127.1:{other}"),
            format!("0.0.0.0:{port}"),
            format!("[::1]:{port}"),
            format!("[::ffff:127.0.0.1]:{other}"),
            format!("2130706433:{other}"),
            format!("0x7f000001:{other}"),
            format!("0177.0.0.1:{other}"),
            format!("localhost:{port}"),
            "metadata.google.internal:80".to_owned(),
            "example.test:80".to_owned(),
            "a.example.test:81".to_owned(),
            "a.example.test.:8080".to_owned(),
            "a.example.test@127.0.0.1:80".to_owned(),
        ];
        for host in &refused {
            for request in [
                format!("CONNECT {host} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n\\r\\n"),
                format!("GET http://{host}/latest/meta-data/ HTTP/1.0\\r\\nHost: 127.0.0.1:{port}\\r\\n\\r\\n"),
            ] {
                let answer = through_proxy(&*sandbox, &request).await;
                let status = answer.split(' ').nth(1).unwrap_or_default();
                assert!(matches!(status, "403" | "400"), "{request}: {answer}");
            }
        }
        let smuggled = format!(
            "GET http://127.0.0.1:{port}/x HTTP/1.1\\r\\nHost: 127.0.0.1:{other}\\r\\nTransfer-Encoding: chunked\\r\\n\
             Content-Length: 3\\r\\n\\r\\n0\\r\\n\\r\\nGET http://127.0.0.1:{other}/ HTTP/1.1\\r\\n\\r\\n"
        );
        through_proxy(&*sandbox, &smuggled).await;
        check_facts(&*sandbox, refused.len() * 2, port).await;
    })
    .await;
    assert!(matches!(listed_seen.load(Ordering::Relaxed), 2 | 3));
    assert_eq!(other_seen.load(Ordering::Relaxed), 0);
}

/// Looks at what was reported: two requests that were passed on, and so many that were not.
async fn check_facts(sandbox: &dyn Sandbox, refused: usize, port: u16) {
    let (mut passed, mut blocked, mut opened) = (Vec::new(), Vec::new(), 0);
    for _ in 0..100 {
        for fact in sandbox.take_facts() {
            match fact {
                SandboxFact::Egress(attempt) if attempt.verdict.blocked() => blocked.push(attempt),
                SandboxFact::Egress(attempt) => passed.push(attempt),
                SandboxFact::EgressOpened(_) => opened += 1,
                other => panic!("{other:?}"),
            }
        }
        // One more that was refused is the smuggled one, which may be understood as far as its first request.
        if passed.len() + blocked.len() > 2 + refused {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let address = format!("127.0.0.1:{port}");
    assert!(passed.len() >= 2 && opened == 1, "{passed:?}");
    for allowed in &passed[..2] {
        assert_eq!(
            (allowed.verdict, allowed.port, allowed.address.as_deref()),
            (EgressVerdict::Allowed, port, Some(address.as_str())),
            "{allowed:?}"
        );
        assert!(allowed.sent > 0 && allowed.received > 40, "{allowed:?}");
    }
    assert!(blocked.len() >= refused, "{blocked:?}");
    assert!(
        blocked.iter().all(|attempt| attempt.address.is_none()),
        "{blocked:?}"
    );
    let metadata = blocked
        .iter()
        .filter(|attempt| attempt.host.contains("169.254.169.254"));
    assert!(metadata.clone().count() >= 2);
    assert!(
        metadata
            .clone()
            .all(|attempt| attempt.verdict == EgressVerdict::Forbidden),
        "{blocked:?}"
    );
}

/// Beside the proxy there is no way: connections fail at once, since there is no network to wait for.
async fn without_the_proxy(runtime: Runtime) {
    let other = listen().await;
    let seen = Arc::clone(&other.seen);
    let hosts = vec![format!("127.0.0.1:{}", other.port)];
    attack(spec_with(runtime, hosts), async move |sandbox| {
        let port = other.port;
        for target in [
            "169.254.169.254 80",
            "10.0.0.1 80",
            "192.0.2.1 53",
            "172.17.0.1 80",
            "172.17.0.1 2375",
        ] {
            let ran = sandbox
                .exec(&sh_for(&format!("nc {target} </dev/null 2>&1"), 10_000))
                .await
                .unwrap();
            let said = ran.stdout.readable(200).text;
            assert!(
                said.contains("nreachable") || said.contains("No route"),
                "{target}: {:?} {said}",
                ran.ending
            );
        }
        let own = sandbox
            .exec(&sh_for(&format!("nc 127.0.0.1 {port} </dev/null 2>&1"), 10_000))
            .await
            .unwrap();
        assert!(own.stdout.readable(200).text.contains("refused"), "{own:?}");
        let names = ask(
            &*sandbox,
            sh("nslookup example.test 2>&1 | grep -c Address: ; cat /etc/resolv.conf; true"),
        )
        .await;
        assert!(!names.contains("nameserver"), "{names}");
        assert_eq!(sandbox.take_facts(), Vec::new());
    })
    .await;
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

/// Without a list there is no proxy at all.
async fn nothing_is_listed(runtime: Runtime) {
    for network in [NetworkPolicy::None, NetworkPolicy::Internal] {
        let spec = SandboxSpec {
            network,
            ..busybox_on(runtime)
        };
        attack(spec, async |sandbox| {
            let tried = "env | grep -ci proxy; for a in proxy 127.1.255.254; do nc $a 3128 </dev/null 2>/dev/null && echo $a; done; true";
            assert_eq!(ask(&*sandbox, sh_for(tried, 10_000)).await, "0");
        })
        .await;
    }
}
