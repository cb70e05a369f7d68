use std::net::IpAddr;

use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::EgressVerdict::{Forbidden, NotListed};
use super::address::Reach::{self, Inside, Never, Public};
use super::address::reach;
use super::*;

fn list(patterns: &[&str]) -> AllowList {
    AllowList::parse(patterns.iter().copied()).unwrap()
}

/// Judges `host:port`, then an address if there is one.
fn judge(patterns: &[&str], asked: &str, address: Option<&str>) -> Result<(), EgressVerdict> {
    let endpoint = Endpoint::parse(asked).map_err(|_| EgressVerdict::Malformed)?;
    let target = list(patterns).asked(endpoint)?;
    address.map_or(Ok(()), |address| target.address(address.parse().unwrap()))
}

#[test]
fn patterns_have_one_spelling() {
    let table = [
        ("example.org:443", "example.org:443"),
        ("EXAMPLE.org.:443", "example.org:443"),
        ("*.Example.org:*", "*.example.org:*"),
        ("db:5432", "db:5432"),
        ("a_b.c-d.xn--p1ai:1", "a_b.c-d.xn--p1ai:1"),
        ("10.0.0.5:8080", "10.0.0.5:8080"),
        ("[::1]:80", "[::1]:80"),
        ("[0:0::0001]:80", "[::1]:80"),
        ("[2001:DB8::A]:*", "[2001:db8::a]:*"),
    ];
    for (text, shown) in table {
        assert_eq!(
            Pattern::parse(text).map(|p| p.to_string()),
            Ok(shown.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_pattern_is_told() {
    use EndpointProblem::*;
    let long = format!("{}.org:1", "a".repeat(64));
    let longer = format!("{}org:1", "a.".repeat(130));
    let table = [
        ("", NoHost),
        ("example.org", NoPort),
        (":80", NoHost),
        ("example.org:", BadPort),
        ("example.org:0", BadPort),
        ("example.org:65536", BadPort),
        ("example.org:+80", BadPort),
        ("example.org:080", BadPort),
        ("example.org: 80", BadPort),
        ("example.org:8*", BadPort),
        ("https://example.org", More),
        ("https://example.org:443", More),
        ("example.org:443/path", More),
        ("user@example.org:443", More),
        ("*:443", AnyHost),
        ("*:*", AnyHost),
        ("*.:443", NoHost),
        ("*.*.org:443", BadHost),
        ("a.*.org:443", BadHost),
        ("*example.org:443", BadHost),
        ("*.10.0.0.5:80", BadHost),
        ("*.[::1]:80", BadHost),
        ("exa mple.org:443", BadHost),
        ("example..org:443", BadHost),
        (".example.org:443", BadHost),
        ("example.org..:443", BadHost),
        (".:443", BadHost),
        ("-a.org:443", BadHost),
        ("a-.org:443", BadHost),
        ("a\0.org:443", BadHost),
        (&long, BadHost),
        (&longer, BadHost),
        ("bücher.example:443", NotAscii),
        ("example。org:443", NotAscii),
        ("::1:80", BadHost),
        ("[::1:80", BadHost),
        ("[::1]80", BadHost),
        ("[::1]", NoPort),
        ("[fe80::1%eth0]:80", More),
        ("[10.0.0.5]:80", BadHost),
        ("[::1]x:80", BadHost),
        ("127.1:80", OddAddress),
        ("2130706433:80", OddAddress),
        ("0x7f.1:80", OddAddress),
        ("0x7f000001:80", OddAddress),
        ("0X7F.0.0.1:80", OddAddress),
        ("0177.0.0.1:80", OddAddress),
        ("127.0.0.01:80", OddAddress),
        ("127.0.0.1.:80", OddAddress),
        ("256.0.0.1:80", OddAddress),
        ("1.2.3.4.5:80", OddAddress),
        ("a.0x:80", OddAddress),
        ("169.254.169.254:80", Never),
        ("169.254.0.1:*", Never),
        ("168.63.129.16:80", Never),
        ("100.100.100.200:80", Never),
        ("192.0.0.192:80", Never),
        ("[fd00:ec2::254]:80", Never),
        ("[fe80::1]:80", Never),
        ("[::ffff:169.254.169.254]:80", Never),
        ("[64:ff9b::a9fe:a9fe]:80", Never),
        ("[2002:a9fe:a9fe::1]:80", Never),
    ];
    for (text, problem) in table {
        assert_eq!(
            Pattern::parse(text).map_err(|e| e.problem),
            Err(problem),
            "{text}"
        );
        assert!(!problem.hint().is_empty());
    }
    let error = Pattern::parse("evil\n\u{1b}[31m.org:80").unwrap_err().to_string();
    assert_eq!(
        error,
        "`evil \\u{1b}[31m.org:80` has a host that is neither a name nor an address"
    );
}

#[test]
fn names_are_judged_before_they_are_resolved() {
    let patterns = [
        "example.org:443",
        "*.example.net:80",
        "any.test:*",
        "10.0.0.5:8080",
        "93.184.216.34:80",
        "[::1]:80",
    ];
    let malformed = Err(EgressVerdict::Malformed);
    let table = [
        ("example.org:443", Ok(())),
        ("EXAMPLE.ORG:443", Ok(())),
        ("example.org.:443", Ok(())),
        ("example.org:80", Err(NotListed)),
        ("www.example.org:443", Err(NotListed)),
        ("example.org.evil.test:443", Err(NotListed)),
        ("notexample.org:443", Err(NotListed)),
        ("example.net:80", Err(NotListed)),
        ("a.example.net:80", Ok(())),
        ("a.b.EXAMPLE.net:80", Ok(())),
        ("a.example.net:443", Err(NotListed)),
        ("evilexample.net:80", Err(NotListed)),
        (".example.net:80", malformed),
        ("any.test:1", Ok(())),
        ("any.test:65535", Ok(())),
        ("any.test:0", malformed),
        ("localhost:80", Err(NotListed)),
        ("10.0.0.5:8080", Ok(())),
        ("10.0.0.5:80", Err(Forbidden)),
        ("10.0.0.6:8080", Err(Forbidden)),
        ("[::ffff:10.0.0.5]:8080", Err(Forbidden)),
        ("[::10.0.0.5]:8080", Err(Forbidden)),
        ("[64:ff9b::10.0.0.5]:8080", Err(Forbidden)),
        ("10.0.0.5.:8080", malformed),
        ("0xa.0.0.5:8080", malformed),
        ("167772165:8080", malformed),
        ("93.184.216.34:80", Ok(())),
        ("93.184.216.34:81", Err(NotListed)),
        ("[::ffff:93.184.216.34]:80", Err(NotListed)),
        ("[::1]:80", Ok(())),
        ("[0:0:0:0:0:0:0:1]:80", Ok(())),
        ("127.0.0.1:80", Err(Forbidden)),
        ("169.254.169.254:80", Err(Forbidden)),
        ("[fd00:ec2::254]:80", Err(Forbidden)),
        ("any.test:80@evil.test:80", malformed),
        ("any.test\u{0}.evil.test:80", malformed),
        ("any.test%00:80", malformed),
        ("any.test\r\nX:80", malformed),
        ("::1:80", malformed),
        ("", malformed),
    ];
    for (asked, expected) in table {
        assert_eq!(judge(&patterns, asked, None), expected, "{asked}");
    }
    assert_eq!(
        judge(&[], "example.org:443", None),
        Err(NotListed),
        "the empty list allows nothing"
    );
}

/// Addresses and where they lead.
const ADDRESSES: &[(&str, Reach)] = &[
    ("93.184.216.34", Public),
    ("1.1.1.1", Public),
    ("9.255.255.255", Public),
    ("11.0.0.0", Public),
    ("100.63.255.255", Public),
    ("100.128.0.0", Public),
    ("172.15.255.255", Public),
    ("172.32.0.0", Public),
    ("192.167.255.255", Public),
    ("198.17.255.255", Public),
    ("198.20.0.0", Public),
    ("223.255.255.255", Public),
    ("168.63.129.17", Public),
    ("2606:2800:220:1::1", Public),
    ("2001:200::1", Public),
    ("::ffff:93.184.216.34", Public),
    ("64:ff9b::5db8:d822", Public),
    ("2002:5db8:d822::1", Public),
    ("0.0.0.0", Inside),
    ("0.1.2.3", Inside),
    ("10.0.0.0", Inside),
    ("10.255.255.255", Inside),
    ("100.64.0.0", Inside),
    ("100.127.255.255", Inside),
    ("127.0.0.1", Inside),
    ("127.255.255.255", Inside),
    ("172.16.0.0", Inside),
    ("172.31.255.255", Inside),
    ("192.0.0.1", Inside),
    ("192.0.2.1", Inside),
    ("192.88.99.1", Inside),
    ("192.168.255.255", Inside),
    ("198.18.0.0", Inside),
    ("198.19.255.255", Inside),
    ("198.51.100.1", Inside),
    ("203.0.113.1", Inside),
    ("224.0.0.1", Inside),
    ("239.255.255.250", Inside),
    ("240.0.0.1", Inside),
    ("255.255.255.255", Inside),
    ("::", Inside),
    ("::1", Inside),
    ("fc00::1", Inside),
    ("fdff::1", Inside),
    ("fec0::1", Inside),
    ("ff02::1", Inside),
    ("100::1", Inside),
    ("2001::1", Inside),
    ("2001:2::1", Inside),
    ("2001:db8::1", Inside),
    ("3fff::1", Inside),
    ("4000::1", Inside),
    ("5f00::1", Inside),
    ("::ffff:127.0.0.1", Inside),
    ("::ffff:10.1.2.3", Inside),
    ("::10.1.2.3", Inside),
    ("::93.184.216.34", Inside),
    ("::ffff:0:10.1.2.3", Inside),
    ("::ffff:0:93.184.216.34", Inside),
    ("64:ff9b::192.168.1.1", Inside),
    ("64:ff9b:1::93.184.216.34", Inside),
    ("2002:7f00:1::", Inside),
    ("2002:c0a8:101::1", Inside),
    ("2606:2800:220:1:0:5efe:10.1.2.3", Inside),
    ("169.254.0.0", Never),
    ("169.254.169.254", Never),
    ("169.254.170.2", Never),
    ("169.254.255.255", Never),
    ("168.63.129.16", Never),
    ("100.100.100.200", Never),
    ("100.96.0.96", Never),
    ("100.88.222.5", Never),
    ("192.0.0.192", Never),
    ("fe80::a9fe:a9fe", Never),
    ("febf::1", Never),
    ("fd00:ec2::254", Never),
    ("fd00:ec2::23", Never),
    ("fd20:ce::254", Never),
    ("fd00:42::42", Never),
    ("fd00:c1::a9fe:a9fe", Never),
    ("fd00:a9fe:a9fe::1", Never),
    ("::ffff:169.254.169.254", Never),
    ("::169.254.169.254", Never),
    ("::ffff:0:169.254.169.254", Never),
    ("64:ff9b::169.254.169.254", Never),
    ("64:ff9b:1::169.254.169.254", Never),
    ("2002:a9fe:a9fe::", Never),
    ("2606:2800:220:1:200:5efe:169.254.169.254", Never),
];

#[test]
fn addresses_are_judged_after_a_name_is_resolved() {
    for (text, expected) in ADDRESSES.iter().copied() {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(reach(address), expected, "{text}");
        let by_name = judge(&["any.test:*"], "any.test:80", Some(text));
        let by_name_expected = if expected == Public {
            Ok(())
        } else {
            Err(Forbidden)
        };
        assert_eq!(by_name, by_name_expected, "a name for {text}");
        let literal = Host::Address(address).to_string() + ":80";
        let listed = Pattern::parse(&literal).map(|pattern| AllowList::new(vec![pattern]));
        let direct = listed.map(|list| {
            list.asked(Endpoint::parse(&literal).unwrap())
                .and_then(|t| t.address(address))
        });
        let direct_expected = if expected == Never { None } else { Some(Ok(())) };
        assert_eq!(direct.ok(), direct_expected, "{text} on the list");
    }
}

#[test]
fn a_literal_on_the_list_allows_no_name_and_no_other_address() {
    let patterns = ["127.0.0.1:80", "any.test:80"];
    let table = [
        ("127.0.0.1:80", "127.0.0.1", Ok(())),
        ("127.0.0.1:80", "127.0.0.2", Err(Forbidden)),
        ("127.0.0.1:80", "93.184.216.34", Err(Forbidden)),
        ("127.0.0.1:80", "::ffff:127.0.0.1", Err(Forbidden)),
        ("any.test:80", "127.0.0.1", Err(Forbidden)),
        ("any.test:80", "93.184.216.34", Ok(())),
        ("127.0.0.1:81", "127.0.0.1", Err(Forbidden)),
    ];
    for (asked, address, expected) in table {
        assert_eq!(
            judge(&patterns, asked, Some(address)),
            expected,
            "{asked} as {address}"
        );
    }
}

#[test]
fn a_proxy_request_may_leave_the_port_out() {
    let table = [
        ("example.org", Ok("example.org:80")),
        ("EXAMPLE.org:8080", Ok("example.org:8080")),
        ("[::1]", Ok("[::1]:80")),
        ("example.org:", Err(EndpointProblem::BadPort)),
        ("127.1", Err(EndpointProblem::OddAddress)),
    ];
    for (text, expected) in table {
        let read = Endpoint::parse_or(text, 80).map(|endpoint| endpoint.to_string());
        assert_eq!(read, expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn hostile_text_is_shown_as_one_short_line() {
    assert_eq!(Endpoint::shown("a\nb\u{202e}c"), "a b\\u{202e}c");
    assert_eq!(
        Endpoint::shown(&"x".repeat(5000)),
        format!("{}...", "x".repeat(100))
    );
}

/// Hosts that are near to each other, so that they often meet.
fn hosts() -> impl Strategy<Value = String> {
    let label = || prop::sample::select(vec!["a", "b", "ab", "A", "org", "oRg", "1", "127", "0x1"]);
    let name = prop::collection::vec(label(), 1..4).prop_map(|labels| labels.join("."));
    let address = any::<[u8; 4]>().prop_map(|bytes| IpAddr::from(bytes).to_string());
    let special = prop::sample::select(vec![
        "10.0.0.5",
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:10.0.0.5]",
    ]);
    prop_oneof![4 => name, 1 => address, 1 => special.prop_map(str::to_owned)]
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let port = prop::sample::select(vec!["80", "443", "*"]);
    let pattern = (prop::bool::ANY, hosts(), port).prop_map(|(below, host, port)| {
        if below {
            format!("*.{host}:{port}")
        } else {
            format!("{host}:{port}")
        }
    });
    prop::collection::vec(pattern, 0..5)
}

/// What the list says, in the plainest way: by text alone.
fn plainly_listed(patterns: &[String], host: &str, port: u16) -> bool {
    let host = host.to_lowercase();
    patterns.iter().any(|pattern| {
        let pattern = pattern.to_lowercase();
        let (wanted, ports) = pattern.rsplit_once(':').unwrap();
        let host_fits = match wanted.strip_prefix('*') {
            Some(domain) => host.ends_with(domain) && host.len() > domain.len(),
            None => host == wanted,
        };
        host_fits && (ports == "*" || ports == port.to_string())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_but_the_list_is_allowed(patterns in patterns(), host in hosts(), port in prop::sample::select(vec![80u16, 443, 22])) {
        let patterns: Vec<String> = patterns.into_iter().filter(|text| Pattern::parse(text).is_ok()).collect();
        let list = AllowList::parse(patterns.iter().map(String::as_str)).unwrap();
        let asked = Endpoint::parse(&format!("{host}:{port}")).map(|endpoint| list.asked(endpoint));
        if let Ok(asked) = asked {
            prop_assert_eq!(asked.is_ok(), plainly_listed(&patterns, &host, port) && host != "169.254.169.254");
        }
    }

    #[test]
    fn case_decides_nothing(patterns in patterns(), host in hosts()) {
        let upper: Vec<String> = patterns.iter().map(|text| text.to_uppercase()).collect();
        let decide = |patterns: &[String], host: &str| {
            let patterns = patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
            Endpoint::parse(&format!("{host}:80")).map(|endpoint| AllowList::new(patterns).asked(endpoint))
        };
        let expected = decide(&patterns, &host);
        prop_assert_eq!(decide(&upper, &host.to_lowercase()), expected.clone());
        prop_assert_eq!(decide(&patterns, &host.to_uppercase()), expected);
    }

    /// Judged by the standard library's own words for special addresses, however the address is wrapped.
    #[test]
    fn a_name_never_leads_inside(bits in any::<u32>(), form in 0..5u8) {
        let inner = std::net::Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = inner.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        let address = match form {
            0 => IpAddr::V4(inner),
            1 => IpAddr::V6(inner.to_ipv6_mapped()),
            2 => IpAddr::from([0x64, 0xff9b, 0, 0, 0, 0, high, low]),
            3 => IpAddr::from([0x2002, high, low, 0, 0, 0, 0, 1]),
            _ => IpAddr::from([0, 0, 0, 0, 0, 0, high, low]),
        };
        let special = inner.is_private() || inner.is_loopback() || inner.is_link_local() || inner.is_multicast()
            || inner.is_broadcast() || inner.is_unspecified() || inner.is_documentation();
        if special {
            prop_assert_eq!(judge(&["any.test:80"], "any.test:80", Some(&address.to_string())), Err(Forbidden));
        }
    }

    #[test]
    fn no_text_is_a_panic(text in ".{0,40}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(Pattern::parse(&pattern.to_string()), Ok(pattern));
        }
        let _ = Endpoint::parse(&text);
        let _ = Endpoint::shown(&text);
    }
}

fn attempt(host: &str, port: u16, verdict: EgressVerdict) -> EgressAttempt {
    EgressAttempt {
        host: host.to_owned(),
        port,
        method: "connect".to_owned(),
        verdict,
        address: None,
        sent: 0,
        received: 0,
        began: None,
        took: std::time::Duration::ZERO,
    }
}

#[test]
fn neither_noise_nor_repetition_pushes_an_attempt_out() {
    let mut room = EgressRoom::new(6, 2);
    let mut takes = |host: &str, verdict| room.takes(&attempt(host, 80, verdict));
    let same: Vec<_> = (0..3).map(|_| takes("noise", NotListed)).collect();
    assert_eq!(same, [true, true, false]);
    let others: Vec<_> = (0..5).map(|n| takes(&format!("noise{n}"), NotListed)).collect();
    assert_eq!(others, [true, true, true, true, false]);
    assert!(takes("noise", Forbidden), "a verdict of its own");
    assert!(room.takes(&attempt("other", 81, Forbidden)));
}

#[test]
fn an_attempt_of_an_older_log_is_read() {
    let old =
        r#"{"host":"a.test","port":80,"method":"GET","verdict":"failed","sent":1,"received":2,"took":0.0}"#;
    let expected = EgressAttempt {
        method: "GET".to_owned(),
        sent: 1,
        received: 2,
        ..attempt("a.test", 80, EgressVerdict::Failed)
    };
    assert_eq!(serde_json::from_str::<EgressAttempt>(old).unwrap(), expected);
    assert_eq!(serde_json::to_string(&expected).unwrap(), old);
}
