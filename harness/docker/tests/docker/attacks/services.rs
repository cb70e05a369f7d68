//! Services beside a sandbox: reached by name from the sandbox, and reaching nothing themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use harness_core::ports::{Sandbox, SandboxFact, SandboxProvider, SweepScope};
use harness_core::sandbox::{Healthcheck, ImageSource, NetworkPolicy, Runtime, SandboxSpec, ServiceSpec};
use pretty_assertions::assert_eq;

use super::forging::{every_forgery, octal};
use super::{attack, busybox_on, under_each_runtime};
use crate::support::{Bench, ask, daemon_knows, inspect, kill_container, service_containers, sh, sh_for};

under_each_runtime!(
    by_name,
    hostile_service,
    ends,
    is_killed,
    unhealthy,
    through_the_proxy
);

fn service(script: &str) -> ServiceSpec {
    ServiceSpec {
        image: ImageSource::Named("harness/busybox:1".to_owned()),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        files: BTreeMap::default(),
        env: BTreeMap::new(),
        healthcheck: None,
    }
}

fn web(text: &str, port: u16) -> ServiceSpec {
    service(&format!(
        "mkdir -p /srv; echo {text} >/srv/index.html; exec httpd -f -p {port} -h /srv"
    ))
}

fn with_services(runtime: Runtime, services: Vec<(&str, ServiceSpec)>) -> SandboxSpec {
    SandboxSpec {
        network: NetworkPolicy::Internal,
        services: services
            .into_iter()
            .map(|(name, spec)| (name.to_owned(), spec))
            .collect(),
        ..busybox_on(runtime)
    }
}

/// A sandbox that may reach everything has its services by name like any other.
#[tokio::test]
async fn of_an_open_sandbox() {
    let spec = SandboxSpec {
        network: NetworkPolicy::Open,
        ..with_services(Runtime::Runc, vec![("one", web("one", 8080))])
    };
    crate::support::in_sandbox(spec, async |sandbox| {
        let found = ask(
            &*sandbox,
            sh("ls /sys/class/net | wc -l; wget -q -O - http://one:8080/"),
        )
        .await;
        assert_eq!(found, "2\none");
    })
    .await;
}

/// Two services with the same port are both there, for the sandbox alone.
async fn by_name(runtime: Runtime) {
    let checked = ServiceSpec {
        healthcheck: Some(Healthcheck {
            run: "wget -q -O - http://127.0.0.1:8080/".to_owned(),
            retries: 20,
        }),
        ..web("two", 8080)
    };
    let spec = with_services(
        runtime,
        vec![
            ("one", web("one", 8080)),
            ("two", checked),
            ("three", web("three", 8081)),
        ],
    );
    attack(spec, async move |sandbox| {
        let get = "for s in one:8080 two:8080 three:8081; do wget -q -O - http://$s/; done";
        for _ in 0..3 {
            assert_eq!(ask(&*sandbox, sh(get)).await, "one\ntwo\nthree");
        }
        let networks = inspect(&sandbox.info().id).await.network_settings.unwrap().networks.unwrap();
        assert!(networks.values().all(|network| network.ip_address.as_deref().unwrap_or_default().is_empty()));
        let stranger = "for a in 127.1.0.1 127.1.0.2 127.1.0.3 one; do nc $a 8080 </dev/null 2>/dev/null && echo $a; done; true";
        attack(busybox_on(runtime), async move |other| {
            assert_eq!(ask(&*other, sh_for(stranger, 10_000)).await, "");
        })
        .await;
        assert_eq!(sandbox.take_facts(), Vec::new());
    })
    .await;
}

/// A service is hostile too: it gets neither at the sandbox's servers, nor at its proxy, nor out.
async fn hostile_service(runtime: Runtime) {
    let script = "mkdir -p /srv/cgi-bin; printf '#!/bin/sh\\necho; for a in $(echo $QUERY_STRING | tr , \" \"); do \
        nc ${a%%:*} ${a##*:} </dev/null >/dev/null 2>/tmp/why && echo open $a; done; \
        ls /sys/class/net 2>/dev/null; id -u; grep CapEff /proc/self/status | cut -c 8-; echo end\\n' >/srv/cgi-bin/try; \
        chmod 755 /srv/cgi-bin/try; exec httpd -f -p 8080 -h /srv";
    let mut spec = with_services(
        runtime,
        vec![("bad", service(script)), ("good", web("good", 9090))],
    );
    spec.network = NetworkPolicy::Allow(vec!["127.0.0.1:1".to_owned()]);
    attack(spec, async |sandbox| {
        let own = "echo own >index.html; httpd -p 7000; httpd -p 127.0.0.1:7001; wget -q -O - http://127.0.0.1:7000/";
        let env = BTreeMap::from([("http_proxy".to_owned(), String::new())]);
        let request = harness_core::ports::ExecRequest { env: env.clone(), ..sh(own) };
        assert_eq!(ask(&*sandbox, request).await, "own");
        let targets = "127.0.0.1:7000,127.0.0.1:7001,127.0.1.1:7000,sandbox:7000,localhost:7001,127.1.255.254:3128,\
                       proxy:3128,10.0.0.1:80,169.254.169.254:80,172.17.0.1:80,good:9090,good:7000,bad:7000";
        let get = format!("wget -q -O - 'http://bad:8080/cgi-bin/try?{targets}'");
        let request = harness_core::ports::ExecRequest { env, ..sh(&get) };
        let told = ask(&*sandbox, request).await;
        let opened: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("open ")).collect();
        assert_eq!(opened, ["good:9090"], "{told}");
        assert!(told.ends_with("end"), "{told}");
        assert_eq!(sandbox.take_facts(), Vec::new());
    })
    .await;
}

/// Takes what a sandbox reports until there is something.
async fn first_facts(sandbox: &dyn Sandbox) -> Vec<SandboxFact> {
    for _ in 0..300 {
        let facts = sandbox.take_facts();
        if !facts.is_empty() {
            return facts;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Vec::new()
}

/// A service that listens until somebody connects.
fn short(then: &str) -> ServiceSpec {
    service(&format!("nc -l -p 8080 >/dev/null; {then}"))
}

async fn ends(runtime: Runtime) {
    let spec = vec![
        ("short", short("echo last words; exit 7")),
        ("long", web("long", 8081)),
    ];
    attack(with_services(runtime, spec), async |sandbox| {
        assert_eq!(sandbox.take_facts(), Vec::new());
        ask(&*sandbox, sh("echo | nc short 8080")).await;
        let facts = first_facts(&*sandbox).await;
        let [
            SandboxFact::ServiceEnded {
                service,
                code,
                output,
            },
        ] = &facts[..]
        else {
            panic!("{facts:?}");
        };
        assert_eq!(
            (service.as_str(), *code, output.text.trim()),
            ("short", 7, "last words")
        );
        assert_eq!(ask(&*sandbox, sh("wget -q -O - http://long:8081/")).await, "long");
    })
    .await;
}

/// The death of a whole service is reported; the sandbox goes on.
async fn is_killed(runtime: Runtime) {
    let spec = vec![("short", web("short", 8080)), ("long", web("long", 8081))];
    attack(with_services(runtime, spec), async |sandbox| {
        let killed = service_containers(&sandbox.info().id).await;
        let mut found = Vec::new();
        for id in &killed {
            kill_container(id).await;
            found.extend(first_facts(&*sandbox).await);
        }
        let broken = found.iter().map(|fact| match fact {
            SandboxFact::ServiceBroken { service, .. } => service.as_str(),
            other => panic!("{other:?}"),
        });
        let mut broken: Vec<_> = broken.collect();
        broken.sort_unstable();
        assert_eq!(broken, ["long", "short"]);
        assert_eq!(ask(&*sandbox, sh("echo goes on")).await, "goes on");
        let error = sandbox.check().await.unwrap_err();
        assert_eq!(error.name(), "service", "{error}");
    })
    .await;
}

/// What a service's helper says is checked like that of the sandbox. Under gVisor (as of 2022) root has a way to the
/// helper's streams.
#[tokio::test]
async fn forged_frames_of_a_service() {
    let forged = octal(&every_forgery().concat());
    let forge =
        format!("for to in 0 1 2; do (printf '{forged}' >/proc/1/fd/$to) 2>/dev/null; done; sleep 1000");
    let spec = with_services(
        Runtime::Runsc,
        vec![("bad", short(&forge)), ("good", web("good", 8081))],
    );
    attack(spec, async |sandbox| {
        sandbox.check().await.unwrap();
        let _ = sandbox.exec(&sh("echo | nc bad 8080")).await;
        let facts = first_facts(&*sandbox).await;
        assert!(
            matches!(&facts[..], [SandboxFact::ServiceBroken { service, detail }]
                if service == "bad" && detail.starts_with("containment event: ")),
            "{facts:?}"
        );
        let error = sandbox.exec(&sh("echo unharmed")).await.unwrap_err();
        assert!(error.is_breach(), "{error}");
        assert!(error.to_string().contains("service `bad`: "), "{error}");
    })
    .await;
}

/// A program that asks the proxy for a service gets there, and that is no attempt to get out.
async fn through_the_proxy(runtime: Runtime) {
    let mut spec = with_services(runtime, vec![("shop", web("shop", 8000))]);
    spec.network = NetworkPolicy::Allow(vec!["shop:8000".to_owned()]);
    attack(spec, async |sandbox| {
        // Busybox takes no notice of `no_proxy`.
        assert_eq!(ask(&*sandbox, sh("wget -q -O - http://shop:8000/")).await, "shop");
        let tunnel = "printf 'CONNECT shop:8000 HTTP/1.1\\r\\n\\r\\nGET / HTTP/1.0\\r\\n\\r\\n' | nc proxy 3128 | tail -n 1";
        assert_eq!(ask(&*sandbox, sh(tunnel)).await, "shop");
        assert_eq!(sandbox.take_facts(), Vec::new());
    })
    .await;
}

async fn unhealthy(runtime: Runtime) {
    let sick = ServiceSpec {
        healthcheck: Some(Healthcheck {
            run: "echo no; exit 1".to_owned(),
            retries: 1,
        }),
        ..web("sick", 8080)
    };
    let cases = [
        (sick, "service `sick` is not healthy after 5 tries: no"),
        (
            service("echo broken; exit 3"),
            "service `sick` ended with code 3: broken",
        ),
    ];
    for (spec, expected) in cases {
        let Some(bench) = Bench::open().await else { return };
        if !daemon_knows(runtime).await {
            return;
        }
        let spec = with_services(runtime, vec![("sick", spec), ("well", web("well", 8081))]);
        let request = bench.request(spec, Vec::new()).await;
        let Err(error) = bench.provider.start(&request).await else {
            panic!("started");
        };
        assert_eq!(error.to_string(), expected);
        assert_eq!(bench.provider.settle().await, super::NOTHING);
        let left = bench
            .provider
            .leftovers(&SweepScope::Run(bench.run.clone()))
            .await
            .unwrap();
        bench.close().await;
        assert_eq!(left, Vec::new());
    }
}

/// A start that is cut off leaves nothing behind, whatever it was about.
#[tokio::test]
async fn a_start_that_is_cut_off() {
    let Some(bench) = Bench::open().await else { return };
    let sick = ServiceSpec {
        healthcheck: Some(Healthcheck {
            run: "exit 1".to_owned(),
            retries: 600,
        }),
        ..web("sick", 8080)
    };
    let spec = with_services(Runtime::Runc, vec![("sick", sick), ("well", web("well", 8081))]);
    let request = bench.request(spec, Vec::new()).await;
    // While containers are made, while they start, and while a service is waited for.
    for millis in [1, 20, 60, 150, 400, 4000] {
        let starting = bench.provider.start(&request);
        let cut = tokio::time::timeout(Duration::from_millis(millis), starting).await;
        assert!(cut.is_err(), "{millis}");
    }
    assert_eq!(bench.provider.settle().await, super::NOTHING);
    let scope = SweepScope::Run(bench.run.clone());
    let left = bench.provider.leftovers(&scope).await.unwrap();
    bench.close().await;
    assert_eq!(left, Vec::new());
}
