//! One command line in a folder of its own, with everything volatile filtered out of what it says.
//!
//! Owns: starting the program, its environment, the filters. Must not: know what a test expects.

mod docker;
mod log;
mod tasks;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use regex::Regex;
use tempfile::TempDir;

pub(crate) use docker::{Daemon, daemon, knows_runtime};
pub(crate) use log::{Log, log_of};
pub(crate) use tasks::{EASY, Suite, busybox_task};

/// Nothing of ours takes longer; a test that waits for this long has found something.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A temporary folder in which commands run.
pub(crate) struct Context {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

impl Context {
    pub(crate) fn new() -> Self {
        let environment = ["PATH", "LLVM_PROFILE_FILE"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        Self {
            dir: tempfile::tempdir().unwrap(),
            environment,
        }
    }

    /// Adds a variable to the environment of every command.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Builds a context whose commands find the daemon that the tests use.
    pub(crate) fn with(daemon: &Daemon) -> Self {
        Self::new().env("DOCKER_HOST", &daemon.address())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Returns a command of the program: clean environment, working folder here, no input.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        self.any_command(env!("CARGO_BIN_EXE_harness"), args)
    }

    /// Returns a command of a shell, with the program as `$harness`.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut command = self.any_command("sh", ["-c", script]);
        command.env("harness", env!("CARGO_BIN_EXE_harness"));
        command
    }

    fn any_command<S: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("HOME", self.dir.path())
            .env("TMPDIR", self.dir.path())
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the program.
    pub(crate) fn run(&self, args: &str) -> Shot {
        self.shot(self.command(args.split_whitespace()).output().unwrap())
    }

    /// Runs a command of the program that must succeed, and returns its standard output as it is.
    pub(crate) fn good(&self, args: &str) -> String {
        let output = self.command(args.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{args}: {}", self.shot(output).text);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a command of the program; what it says is kept for [`Self::end`].
    pub(crate) fn start(&self, args: &str) -> Child {
        let mut command = self.command(args.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Waits for a started command.
    pub(crate) fn end(&self, child: Child) -> Shot {
        self.shot(child.wait_with_output().unwrap())
    }

    pub(crate) fn shot(&self, output: Output) -> Shot {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let code = output
            .status
            .code()
            .map_or_else(|| output.status.to_string(), |code| code.to_string());
        let mut text = format!("exit code: {code}\n");
        for (name, stream) in [("stdout", &stdout), ("stderr", &stderr)] {
            if !stream.is_empty() {
                let _ = write!(text, "--- {name}\n{}", self.filtered(stream));
            }
        }
        Shot {
            code: output.status.code(),
            text,
            stdout,
            stderr,
        }
    }

    /// Replaces what differs from run to run: names of runs, times, durations, ids, paths.
    pub(crate) fn filtered(&self, text: &str) -> String {
        static FILTERS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
            [
                (r"-\d{8}-\d{6}-[0-9a-f]{6}(-\d+)?\b", "-[RUN]"),
                (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[TIME]"),
                (r"\b(process|pid) \d+", "$1 [PID]"),
                (r"harness-check-\d+-\d+", "harness-check-[ID]"),
                (r"127\.0\.0\.1:\d{4,5}\b", "127.0.0.1:[PORT]"),
                (r"content-length=\d+", "content-length=[N]"),
                (r"\b(sha256:)?[0-9a-f]{12,64}\b", "[ID]"),
                (r"\bplan [0-9a-f]{8,}", "plan [ID]"),
                (
                    r"\(\S+ ago\); no event for \S+",
                    "([TIME] ago); no event for [TIME]",
                ),
                // Of transcripts: working time, and the time of a call.
                // Waits are worth a line only if they are long, and then the next lines have other numbers.
                (r"(?m)^#\d+ +\d+\.\d\ds  waited .*\n", ""),
                (r"(?m)^#\d+ +\d+\.\d\ds", "#[N] [TIME]"),
                (r", (\d+(ms|s|m|h))+\)", ", [TIME])"),
            ]
            .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
            .into()
        });
        let here = self.dir.path().display().to_string();
        let mut text = text.replace(&here, "[DIR]");
        for (pattern, with) in FILTERS.iter() {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        text
    }

    /// Returns the only run of the results folder.
    pub(crate) fn only_run(&self) -> PathBuf {
        let runs = self.runs();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.into_iter().next().unwrap()
    }

    /// Returns the folders of all runs.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("results")) else {
            return Vec::new();
        };
        let mut runs: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        runs.sort();
        runs
    }

    /// Returns the name of the only run.
    pub(crate) fn run_name(&self) -> String {
        name_of(&self.only_run())
    }
}

/// What a command came to.
pub(crate) struct Shot {
    pub(crate) code: Option<i32>,
    /// Exit code and both streams, filtered.
    pub(crate) text: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shot {
    /// Asserts the exit code, and shows everything if it is another.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        self
    }
}

pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Waits until something is so.
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + PATIENCE;
    while Instant::now() < patience {
        if let Some(found) = found() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain until {what}");
}

/// Sends a signal to a child of ours.
pub(crate) fn signal(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Random numbers that are the same every time (xorshift64*, Vigna 2016).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}
