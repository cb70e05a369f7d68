//! The Engine API without any library: HTTP/1.1 by hand over the daemon's socket.
//!
//! Owns: the few calls that the floor of the sandbox benchmark is made of, and asking whether a daemon is there.
//! Must not: know what `harness` does with the daemon.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A daemon that is silent for so long is taken for dead.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// One kept connection to the daemon.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Engine {
    /// Connects to the daemon, and tells what to do if it is not there.
    pub(crate) fn connect() -> Result<Self> {
        let socket = socket()?;
        let help =
            "start it (`systemctl start docker`, or `dockerd &` as root), or set DOCKER_HOST=unix:///PATH";
        let stream = match open(&socket) {
            Ok(stream) => stream,
            Err(error) => bail!(
                "no Docker daemon answers at {} ({error}); {help}",
                socket.display()
            ),
        };
        let mut engine = Self {
            socket,
            stream: BufReader::new(stream),
        };
        let (status, _) = engine.request("GET", "/_ping", None)?;
        if status != 200 {
            bail!("the Docker daemon answers a ping with status {status}; {help}");
        }
        Ok(engine)
    }

    /// Sends a request and reads the answer, whose status must be good.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, bytes) = self.request(method, path, body)?;
        if !(200..400).contains(&status) {
            bail!(
                "{method} {path}: status {status}: {}",
                String::from_utf8_lossy(&bytes)
            );
        }
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).with_context(|| format!("{method} {path}: not JSON"))
    }

    /// Tells whether an image is there.
    pub(crate) fn has_image(&mut self, name: &str) -> Result<bool> {
        let (status, _) = self.request("GET", &format!("/images/{name}/json"), None)?;
        Ok(status == 200)
    }

    /// Starts an exec and reads its output to the end; the daemon gives up the connection for it.
    pub(crate) fn exec_output(&self, exec: &str) -> Result<Vec<u8>> {
        let mut stream = BufReader::new(open(&self.socket)?);
        let body = br#"{"Detach":false,"Tty":false}"#;
        send(stream.get_mut(), "POST", &format!("/exec/{exec}/start"), body)?;
        let head = read_head(&mut stream)?;
        if head.status != 200 {
            bail!("starting an exec: status {}", head.status);
        }
        let mut output = Vec::new();
        stream.read_to_end(&mut output)?;
        Ok(output)
    }

    fn request(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Vec<u8>)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        send(self.stream.get_mut(), method, path, body.as_bytes())?;
        let head = read_head(&mut self.stream)?;
        let bytes = read_body(&mut self.stream, &head)?;
        Ok((head.status, bytes))
    }
}

/// Returns the daemon's socket.
fn socket() -> Result<PathBuf> {
    let host = env::var("DOCKER_HOST").unwrap_or_default();
    match host.trim() {
        "" => Ok(PathBuf::from("/var/run/docker.sock")),
        host => match host.strip_prefix("unix://") {
            Some(path) => Ok(PathBuf::from(path)),
            None => bail!("DOCKER_HOST is `{host}`; only unix:// addresses are supported"),
        },
    }
}

fn open(socket: &Path) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LONGEST_WAIT))?;
    Ok(stream)
}

#[derive(Debug, Default)]
struct Head {
    status: u16,
    length: Option<usize>,
    chunked: bool,
}

fn send(stream: &mut UnixStream, method: &str, path: &str, body: &[u8]) -> Result<()> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\n").into_bytes();
    if !body.is_empty() {
        request.extend_from_slice(b"Content-Type: application/json\r\n");
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    Ok(())
}

fn read_head(stream: &mut impl BufRead) -> Result<Head> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut head = Head {
        status: status.with_context(|| format!("not an answer in HTTP: {line:?}"))?,
        ..Head::default()
    };
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            bail!("the daemon closed the connection within an answer");
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(head);
        };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => head.length = Some(value.parse()?),
            ("transfer-encoding", "chunked") => head.chunked = true,
            _ => {}
        }
    }
}

fn read_body(stream: &mut impl BufRead, head: &Head) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    if !head.chunked {
        body.resize(head.length.unwrap_or(0), 0);
        stream.read_exact(&mut body)?;
        return Ok(body);
    }
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let size =
            usize::from_str_radix(line.trim(), 16).with_context(|| format!("a chunk of size {line:?}"))?;
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        line.clear();
        stream.read_line(&mut line)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{read_body, read_head};

    fn read(text: &str) -> (u16, String) {
        let mut stream = text.as_bytes();
        let head = read_head(&mut stream).unwrap();
        let body = read_body(&mut stream, &head).unwrap();
        (head.status, String::from_utf8(body).unwrap())
    }

    #[test]
    fn answers_are_read() {
        let cases = [
            ("HTTP/1.1 204 No Content\r\n\r\n", (204, "")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKrest", (200, "OK")),
            (
                "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n",
                (404, "0123456789x"),
            ),
        ];
        for (text, (status, body)) in cases {
            assert_eq!(read(text), (status, body.to_owned()));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(read_head(&mut "SSH-2.0-x\r\n".as_bytes()).is_err());
        assert!(read_head(&mut "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".as_bytes()).is_err());
    }
}
