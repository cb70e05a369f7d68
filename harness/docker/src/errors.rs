//! What the daemon says, as an error of the sandbox.
//!
//! Owns: the only table from daemon texts to variants. Must not: talk to the daemon.

use std::error::Error as StdError;

use bollard::errors::Error;
use harness_core::ports::{FileProblem, SandboxError};

/// A failed call, reduced to what decides its meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody listens, or the connection broke.
    Connection(String),
    /// No answer in time.
    Silence,
    /// The daemon answered with an error.
    Status(u16, String),
    /// The daemon reported an error within a stream, or the runtime within a command's output.
    Stream(String),
    /// An answer that can't be read.
    Garbled(String),
}

/// What a call was about, so that its error can name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About<'a> {
    /// The daemon itself, or things without a name.
    Daemon,
    /// An image.
    Image(&'a str),
    /// A container, and the runtime that was asked for.
    Container,
    /// A file of a container.
    File(&'a str),
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                Self::Status(*status_code, message.clone())
            }
            Error::DockerStreamError { error } | Error::DockerContainerWaitError { error, .. } => {
                Self::Stream(error.clone())
            }
            Error::RequestTimeoutError => Self::Silence,
            Error::SocketNotFoundError(path) => Self::Connection(format!("no socket at {path}")),
            Error::IOError { .. } | Error::HyperResponseError { .. } | Error::HyperLegacyError { .. } => {
                Self::Connection(whole_chain(error))
            }
            other => Self::Garbled(whole_chain(other)),
        }
    }
}

fn whole_chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// Returns what a failed call means. `operation` reads well after "failed to".
pub(crate) fn meaning(failure: &Failure, operation: &str, about: About<'_>, address: &str) -> SandboxError {
    let daemon = |detail: String| SandboxError::Daemon {
        operation: operation.to_owned(),
        detail,
    };
    match failure {
        Failure::Connection(detail) => SandboxError::DaemonUnreachable {
            address: address.to_owned(),
            detail: format!("{detail} (while trying to {operation})"),
        },
        Failure::Silence => daemon("it did not answer in time".to_owned()),
        Failure::Garbled(detail) => SandboxError::Protocol {
            detail: format!("{detail} (while trying to {operation})"),
        },
        Failure::Status(code, message) => from_text(message, about).unwrap_or_else(|| match (code, about) {
            (404, About::Image(image)) => image_missing(image, message),
            (404 | 409, About::Container) => gone(message),
            (404, About::File(path)) => missing_file(path),
            _ => daemon(one_line(message)),
        }),
        Failure::Stream(message) => from_text(message, about).unwrap_or_else(|| daemon(one_line(message))),
    }
}

fn from_text(message: &str, about: About<'_>) -> Option<SandboxError> {
    let lower = message.to_ascii_lowercase();
    let says = |part: &str| lower.contains(part);
    if says("no space left on device") || says("disk quota exceeded") {
        return Some(SandboxError::HostDisk {
            detail: one_line(message),
        });
    }
    if says("address pool") {
        return Some(SandboxError::Daemon {
            operation: "make a network".to_owned(),
            detail: format!(
                "{}; remove unused networks with `docker network prune`, or widen `default-address-pools` in daemon.json",
                one_line(message)
            ),
        });
    }
    if says("unknown or invalid runtime name") || says("unknown runtime specified") {
        return Some(SandboxError::RuntimeUnknown {
            runtime: last_word(message),
        });
    }
    if says("unable to find user") {
        return Some(SandboxError::UnknownUser {
            user: word_after(message, "unable to find user "),
        });
    }
    if is_missing_shell(message) {
        return Some(SandboxError::NoShell {
            detail: one_line(message),
        });
    }
    if says("no such image") {
        let image = match about {
            About::Image(image) => image.to_owned(),
            _ => last_word(message),
        };
        return Some(image_missing(&image, message));
    }
    if says("no such container")
        || says("is not running")
        || says("no such exec")
        || says("cannot exec in a stopped")
    {
        return Some(gone(message));
    }
    if let About::File(path) = about
        && (says("could not find the file") || says("no such file or directory") || says("not a directory"))
    {
        return Some(missing_file(path));
    }
    None
}

/// Returns why a container can't run its first program, if that is what the daemon says: the program does not fit, or
/// what it is in can't be mounted.
pub(crate) fn cannot_run(message: &str, program: &str) -> Option<String> {
    let lower = message.to_ascii_lowercase();
    let folder = program.rsplit_once('/').map_or(program, |(folder, _)| folder);
    let named = lower.contains(program) || (lower.contains("mount") && lower.contains(folder));
    (named || lower.contains("exec format error")).then(|| one_line(message))
}

/// Says whether the runtime could not run a program for lack of `/bin/sh`.
pub(crate) fn is_missing_shell(message: &str) -> bool {
    let lower = message.to_ascii_lowercase();
    lower.contains("exec: \"/bin/sh\"")
        && (lower.contains("no such file") || lower.contains("executable file not found"))
}

fn gone(message: &str) -> SandboxError {
    SandboxError::Gone {
        out_of_memory: false,
        detail: one_line(message),
    }
}

fn missing_file(path: &str) -> SandboxError {
    SandboxError::File {
        path: path.to_owned(),
        problem: FileProblem::Missing,
    }
}

fn image_missing(image: &str, message: &str) -> SandboxError {
    SandboxError::ImageMissing {
        image: image.to_owned(),
        detail: one_line(message),
    }
}

fn last_word(message: &str) -> String {
    let word = message.split_whitespace().next_back().unwrap_or(message);
    word.trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | '.'))
        .to_owned()
}

fn word_after(message: &str, marker: &str) -> String {
    let rest = message.split_once(marker).map_or(message, |(_, rest)| rest);
    rest.split([':', ' ']).next().unwrap_or(rest).to_owned()
}

/// Returns the text on one line, cut to a length that people read.
pub(crate) fn one_line(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    harness_core::text::Capped::new(&line, 2000).text
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn check(failure: &Failure, about: About<'_>, expected: &str) {
        let found = meaning(failure, "make a sandbox", about, "/run/d.sock");
        assert_eq!(format!("{}: {found}", found.name()), expected, "{failure:?}");
    }

    #[test]
    fn only_what_is_certain_says_that_a_program_cannot_run() {
        let cases = [
            ("exec /.harness/guest: no such file or directory", true),
            (
                "standard_init_linux.go:228: exec user process caused: exec format error",
                true,
            ),
            (
                "error mounting \"/var/lib/x\" to rootfs at \"/.harness\": read-only file system",
                true,
            ),
            ("cannot start: out of memory", false),
            ("error mounting \"/x\" to rootfs at \"/data\": no space", false),
        ];
        for (text, expected) in cases {
            assert_eq!(cannot_run(text, "/.harness/guest").is_some(), expected, "{text}");
        }
    }

    #[test]
    fn daemon_texts_become_exact_variants() {
        use About::{Container, Daemon, File, Image};
        let status = |code, text: &str| Failure::Status(code, text.to_owned());
        let stream = |text: &str| Failure::Stream(text.to_owned());
        let cases = [
            (
                status(500, "write /var/lib/docker/tmp/x: no space left on device"),
                Container,
                "host_disk: the disk of the host is full: write /var/lib/docker/tmp/x: no space left on device",
            ),
            (
                status(
                    403,
                    "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
                ),
                Daemon,
                "daemon: the Docker daemon failed to make a network: could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network; remove unused networks with `docker network prune`, or widen `default-address-pools` in daemon.json",
            ),
            (
                status(404, "No such image: nobody/nothing:1"),
                Container,
                "image_missing: image `nobody/nothing:1` is missing: No such image: nobody/nothing:1",
            ),
            (
                status(404, "manifest unknown"),
                Image("a:1"),
                "image_missing: image `a:1` is missing: manifest unknown",
            ),
            (
                status(400, "unknown or invalid runtime name: runsc"),
                Container,
                "runtime_unknown: the Docker daemon does not know the runtime `runsc`",
            ),
            (
                status(
                    400,
                    "OCI runtime exec failed: exec failed: unable to start container process: exec: \"/bin/sh\": stat /bin/sh: no such file or directory: unknown",
                ),
                Container,
                "no_shell: the image has no /bin/sh: OCI runtime exec failed: exec failed: unable to start container process: exec: \"/bin/sh\": stat /bin/sh: no such file or directory: unknown",
            ),
            (
                stream("unable to find user nobodyx: no matching entries in passwd file\r\n"),
                Container,
                "unknown_user: the image has no user `nobodyx`",
            ),
            (
                status(404, "No such container: abc"),
                Container,
                "sandbox_gone: the sandbox is gone: No such container: abc",
            ),
            (
                status(409, "Container abc is not running"),
                Container,
                "sandbox_gone: the sandbox is gone: Container abc is not running",
            ),
            (
                status(404, "Could not find the file /x in container abc"),
                File("/x"),
                "file: file `/x` in the sandbox: no such file",
            ),
            (
                status(404, "No such container: abc"),
                File("/x"),
                "sandbox_gone: the sandbox is gone: No such container: abc",
            ),
            (
                status(500, "cannot  do\nthat"),
                Container,
                "daemon: the Docker daemon failed to make a sandbox: cannot do that",
            ),
            (
                Failure::Silence,
                Daemon,
                "daemon: the Docker daemon failed to make a sandbox: it did not answer in time",
            ),
            (
                Failure::Garbled("EOF".into()),
                Daemon,
                "protocol: unexpected answer of the Docker daemon: EOF (while trying to make a sandbox)",
            ),
            (
                Failure::Connection("refused".into()),
                Daemon,
                "daemon_unreachable: no Docker daemon answers at /run/d.sock: refused (while trying to make a sandbox)",
            ),
        ];
        for (failure, about, expected) in cases {
            check(&failure, about, expected);
        }
    }
}
