use pretty_assertions::assert_eq;

use crate::net::http::{Body, Chunks, Head, RequestKind, read_head};

/// What is passed on of a request, or why nothing is.
fn passed_on(request: &str) -> Result<String, &'static str> {
    match read_head(request.as_bytes()) {
        Head::Partial => Err("partial"),
        Head::Bad(bad) => Err(bad.problem),
        Head::Whole(request, _) => Ok(match request.kind {
            RequestKind::Tunnel => format!("{} {}", request.method, request.endpoint),
            RequestKind::Plain { head, .. } => String::from_utf8(head).unwrap().replace("\r\n", "\n"),
        }),
    }
}

#[test]
fn a_request_is_written_anew() {
    let table = [
        (
            "CONNECT Example.ORG:443 HTTP/1.1\r\nHost: other.test\r\n\r\n",
            "connect example.org:443",
        ),
        ("CONNECT [::1]:443 HTTP/1.0\r\n\r\n", "connect [::1]:443"),
        ("\r\nCONNECT a.test:1 HTTP/1.1\n\n", "connect a.test:1"),
        (
            "GET http://a.test HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: a.test\nConnection: close\n\n",
        ),
        (
            "GET http://a.test?q=/x HTTP/1.1\r\n\r\n",
            "GET /?q=/x HTTP/1.1\nHost: a.test\nConnection: close\n\n",
        ),
        (
            "GET HTTP://A.test.:8080/x?y=http://b.test/ HTTP/1.0\r\nHost: evil.test\r\nhost: evil2.test\r\n\r\n",
            "GET /x?y=http://b.test/ HTTP/1.0\nHost: a.test:8080\nConnection: close\n\n",
        ),
        (
            "POST http://a.test/ HTTP/1.1\r\nProxy-Authorization: secret\r\nProxy-Connection: keep-alive\r\n\
             Connection: keep-alive, X-Hop , host\r\nX-Hop: 1\r\nX-Kept: 2\r\nKeep-Alive: 3\r\nTE: trailers\r\n\
             Upgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\nHost: a.test\nX-Kept: 2\nContent-Length: 5\nConnection: close\n\n",
        ),
        (
            "PUT http://a.test/ HTTP/1.1\r\nConnection: transfer-encoding\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "PUT / HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\nConnection: close\n\n",
        ),
    ];
    for (request, expected) in table {
        assert_eq!(passed_on(request), Ok(expected.to_owned()), "{request}");
    }
}

#[test]
fn what_two_programs_might_read_differently_is_refused() {
    let with = |headers: &str| format!("POST http://a.test/ HTTP/1.1\r\n{headers}\r\n\r\n");
    let both = "it has both Content-Length and Transfer-Encoding";
    let number = "its Content-Length is no number";
    let coding = "its Transfer-Encoding is not chunked";
    let whole = "it is neither CONNECT nor a request for a whole http:// address";
    let http = "it is not HTTP/1.1";
    let table = [
        (with("Content-Length: 5\r\nTransfer-Encoding: chunked"), both),
        (
            with("Content-Length: 5\r\nContent-Length: 5"),
            "it has more than one Content-Length",
        ),
        (
            with("Transfer-Encoding: chunked\r\ntransfer-encoding: chunked"),
            "it has more than one Transfer-Encoding",
        ),
        (with("Content-Length: +5"), number),
        (with("Content-Length: 5, 5"), number),
        (with("Content-Length:"), number),
        (with("Content-Length: 99999999999999999999"), number),
        (with("Transfer-Encoding: gzip, chunked"), coding),
        (with("Transfer-Encoding: identity"), coding),
        (with("Transfer-Encoding: chunked").replace("1.1", "1.0"), coding),
        (with("Content-Length : 5"), http),
        (with("A: b\r\n c"), http),
        (with("A: b\rc"), http),
        (with("A: b\0c"), http),
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(), whole),
        ("GET a.test:80 HTTP/1.1\r\n\r\n".to_owned(), whole),
        ("connect a.test:80 HTTP/1.1\r\n\r\n".to_owned(), whole),
        ("GET https://a.test/ HTTP/1.1\r\n\r\n".to_owned(), whole),
        (
            "GET http://a.test/#x HTTP/1.1\r\n\r\n".to_owned(),
            "its address has a fragment",
        ),
        (
            "GET http://u:p@a.test/ HTTP/1.1\r\n\r\n".to_owned(),
            "it names more than a host and a port",
        ),
        (
            "GET http://a.test\\@b.test/ HTTP/1.1\r\n\r\n".to_owned(),
            "it names more than a host and a port",
        ),
        ("GET http:/// HTTP/1.1\r\n\r\n".to_owned(), "it names no host"),
        (
            "GET http://a.test:/ HTTP/1.1\r\n\r\n".to_owned(),
            "its port is not between 1 and 65535",
        ),
        (
            "GET http://127.1/ HTTP/1.1\r\n\r\n".to_owned(),
            "its host is an address in an unusual spelling",
        ),
        ("CONNECT a.test HTTP/1.1\r\n\r\n".to_owned(), "it names no port"),
        (
            "CONNECT http://a.test:1 HTTP/1.1\r\n\r\n".to_owned(),
            "it names more than a host and a port",
        ),
        ("GET http://a.test/ HTTP/2.0\r\n\r\n".to_owned(), http),
        ("GET http://a.test/\r\n\r\n".to_owned(), http),
        ("\u{16}\u{3}\u{1}\0\0".to_owned(), http),
        (with(&"A: b\r\n".repeat(200)), "it has too many headers"),
        (
            format!("GET http://a.test/{} ", "x".repeat(20_000)),
            "its head is too long",
        ),
        ("GET http://a.test/ HTTP/1.1\r\nA: b\r\n".to_owned(), "partial"),
    ];
    for (request, expected) in table {
        assert_eq!(passed_on(&request), Err(expected), "{request:?}");
    }
}

/// A body, what comes, and how much of that belongs to it and whether it is over then.
#[test]
fn a_body_ends_where_it_ends() {
    let chunked = || Body::Chunked(Chunks::Size { size: 0, digits: 0 });
    let table = [
        (Body::Over, "GET", Some((0, true))),
        (Body::Length(0), "GET", Some((0, true))),
        (Body::Length(5), "hel", Some((3, false))),
        (Body::Length(5), "hello", Some((5, true))),
        (Body::Length(5), "helloGET", Some((5, true))),
        (chunked(), "", Some((0, false))),
        (chunked(), "5\r\nhel", Some((6, false))),
        (chunked(), "5\r\nhello\r\n", Some((10, false))),
        (chunked(), "5\r\nhello\r\n0\r\n\r\nGET", Some((15, true))),
        (
            chunked(),
            "00a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n",
            Some((39, true)),
        ),
        (chunked(), "0\r\nTrailer: x\r\n\r\n", None),
        (chunked(), "5;ext=1\r\nhello\r\n", None),
        (chunked(), "5\nhello\n0\n\n", None),
        (chunked(), "\r\n", None),
        (chunked(), "0x5\r\n", None),
        (chunked(), " 5\r\n", None),
        (chunked(), "-1\r\n", None),
        (chunked(), "5\r\nhelloX\n", None),
        (chunked(), "fffffffffffffff0\r\n", None),
    ];
    for (mut body, text, expected) in table {
        let at_once = body.take(text.as_bytes()).map(|taken| (taken, body.is_over()));
        assert_eq!(at_once, expected, "{text:?}");
    }
    let (mut body, text) = (chunked(), b"3\r\nabc\r\n0\r\n\r\n");
    let bytewise: Option<usize> = text.iter().map(|byte| body.take(&[*byte])).sum();
    assert_eq!((bytewise, body), (Some(text.len()), Body::Over));
}
