//! What calls into a sandbox cost. `cargo xtask bench sandbox` builds this and reads its output: one JSON object a line,
//! a name and the values that were measured.
//!
//! Owns: the measuring loops around the ports. Must not: judge or combine the values, or leave containers behind.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use harness_core::ids::{AttemptId, RunId, TrialId};
use harness_core::ports::{
    CollectRequest, ExecEnding, ExecRequest, ExecResult, ExecUser, PutFile, Sandbox, SandboxLabels,
    SandboxProvider, SandboxRequest, SweepScope,
};
use harness_core::sandbox::{ImageSource, NetworkPolicy, Resources, Runtime, SandboxSpec};
use harness_core::task::FileData;
use harness_core::units::{Bytes, Timestamp};
use harness_docker::{DockerProvider, DockerSettings, Helper};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "bench_sandbox [--quick] [--without-helper]";
/// Sandboxes that are called at the same time.
const AT_ONCE: usize = 8;
const FILE_BYTES: usize = 10_000_000;
const FILE: &str = "/home/agent/file";
/// Input of a command that reads none of it, and files of one folder.
const UNREAD_BYTES: usize = 16_000_000;
const CROWD: usize = 50_000;
/// The smallest command that a tool can run.
const NOTHING: &str = "true";

/// How often things are done.
#[derive(Clone, Copy)]
struct Counts {
    /// Everything below is repeated, so that a busy moment of the machine hits all of it.
    rounds: usize,
    calls: usize,
    daemon_calls: usize,
    /// Processes that one command starts.
    forks: usize,
    /// Calls to each of the sandboxes that are called at once.
    calls_at_once: usize,
    /// Copies that one command makes.
    copies: usize,
}

const FULL: Counts = Counts {
    rounds: 7,
    calls: 60,
    daemon_calls: 6,
    forks: 200,
    calls_at_once: 100,
    copies: 5,
};
const QUICK: Counts = Counts {
    rounds: 3,
    calls: 10,
    daemon_calls: 3,
    forks: 50,
    calls_at_once: 10,
    copies: 2,
};

#[tokio::main]
async fn main() -> Outcome<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let known = ["--quick", "--without-helper"];
    if let Some(word) = words.iter().find(|word| !known.contains(&word.as_str())) {
        return Err(format!("`{word}` is unknown; usage: {USAGE}").into());
    }
    let has = |name: &str| words.iter().any(|word| word == name);
    let counts = if has("--quick") { QUICK } else { FULL };
    let ground = Ground::open(!has("--without-helper")).await?;
    let measured = ground.measure(counts).await;
    ground.close().await?;
    measured
}

/// Where it is measured.
struct Ground {
    provider: DockerProvider,
    /// Makes sandboxes whose every command is a call of the daemon.
    plain: DockerProvider,
    helped: bool,
    run: RunId,
}

impl Ground {
    async fn open(helped: bool) -> Outcome<Self> {
        let connect = |helper: Helper| {
            DockerProvider::connect(DockerSettings {
                host: env::var("DOCKER_HOST").ok(),
                helper,
                lifecycle_slots: AT_ONCE,
                ..DockerSettings::default()
            })
        };
        let helper = if helped { Helper::Embedded } else { Helper::Never };
        Ok(Self {
            provider: connect(helper).await?,
            plain: connect(Helper::Never).await?,
            helped,
            run: RunId::new(format!(
                "bench-{}-{}",
                std::process::id(),
                since_epoch()?.as_secs()
            )),
        })
    }

    async fn measure(&self, counts: Counts) -> Outcome<()> {
        let sandbox = self.start(&self.provider).await?;
        self.check_helper(sandbox.as_ref())?;
        let plain = self.start(&self.plain).await?;
        calls(counts, sandbox.as_ref(), plain.as_ref()).await?;
        plain.stop().await?;
        files(counts, sandbox.as_ref()).await?;
        if self.helped {
            burden(sandbox.as_ref()).await?;
            print("helper_rss_mb", &[helper_memory(sandbox.as_ref()).await?]);
        }
        sandbox.stop().await?;
        self.at_once(counts).await
    }

    /// Fails if a call would not go the way that is to be measured.
    fn check_helper(&self, sandbox: &dyn Sandbox) -> Outcome<()> {
        let notes = sandbox.info().notes;
        match notes.iter().find(|note| note.contains("call of the daemon")) {
            Some(note) if self.helped => Err(format!("the helper does not run here: {note}").into()),
            _ => Ok(()),
        }
    }

    /// Calls several sandboxes at the same time.
    async fn at_once(&self, counts: Counts) -> Outcome<()> {
        let starting = (0..AT_ONCE).map(|_| self.start(&self.provider));
        let sandboxes: Vec<Arc<dyn Sandbox>> = try_join_all(starting).await?;
        let mut rates = Vec::new();
        for _ in 0..counts.rounds {
            let working = sandboxes.iter().map(|sandbox| {
                let sandbox = Arc::clone(sandbox);
                tokio::spawn(async move {
                    for _ in 0..counts.calls_at_once {
                        shell(sandbox.as_ref(), NOTHING).await?;
                    }
                    Outcome::Ok(())
                })
            });
            let took = time(async {
                for ended in try_join_all(working.collect::<Vec<_>>()).await? {
                    ended?;
                }
                Ok(())
            });
            rates.push((AT_ONCE * counts.calls_at_once) as f64 / took.await?);
        }
        print("tool_calls_per_s", &rates);
        for sandbox in &sandboxes {
            sandbox.stop().await?;
        }
        Ok(())
    }

    async fn start(&self, provider: &DockerProvider) -> Outcome<Arc<dyn Sandbox>> {
        let spec = spec();
        let request = SandboxRequest {
            image: provider.prepare(&spec, &BTreeMap::new()).await?,
            spec: Arc::new(spec),
            files: Vec::new(),
            service_files: BTreeMap::new(),
            labels: SandboxLabels {
                run: self.run.clone(),
                attempt: AttemptId {
                    trial: TrialId::new("bench/1/react/model/0"),
                    number: 1,
                },
                expires: Timestamp(i64::try_from(since_epoch()?.as_micros())?).plus(Duration::from_hours(1)),
            },
        };
        Ok(Arc::from(provider.start(&request).await?))
    }

    /// Removes whatever is there, stopped or not.
    async fn close(self) -> Outcome<()> {
        let mut left = self.provider.settle().await;
        left.extend(self.plain.settle().await);
        self.provider.sweep(&SweepScope::Run(self.run)).await?;
        match left.as_slice() {
            [] => Ok(()),
            left => Err(format!("not removed: {}", left.join(", ")).into()),
        }
    }
}

/// A command that does nothing, called through the helper and through the daemon, and what starting a process costs
/// inside the sandbox, where no call is between.
async fn calls(counts: Counts, sandbox: &dyn Sandbox, plain: &dyn Sandbox) -> Outcome<()> {
    let (mut forks, mut helped, mut daemon) = (Vec::new(), Vec::new(), Vec::new());
    let many = repeated(counts.forks, &format!("/bin/sh -c {NOTHING}"));
    let none = repeated(0, NOTHING);
    for _ in 0..counts.rounds {
        let empty = time(shell(sandbox, &none)).await?;
        let full = time(shell(sandbox, &many)).await?;
        forks.push(1e3 * (full - empty) / counts.forks as f64);
        for _ in 0..counts.calls {
            helped.push(1e3 * time(shell(sandbox, NOTHING)).await?);
        }
        for _ in 0..counts.daemon_calls {
            daemon.push(1e3 * time(shell(plain, NOTHING)).await?);
        }
    }
    print("fork_exec_ms", &forks);
    print("tool_call_ms", &helped);
    print("daemon_exec_ms", &daemon);
    Ok(())
}

/// A file into the sandbox and out of it, and what copying and reading it costs inside.
async fn files(counts: Counts, sandbox: &dyn Sandbox) -> Outcome<()> {
    let data = Arc::new(FileData {
        bytes: noise(FILE_BYTES),
        executable: false,
    });
    let files = [PutFile {
        path: FILE.to_owned(),
        data: Arc::clone(&data),
    }];
    let (mut into, mut out, mut copy, mut read) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let none = repeated(0, NOTHING);
    let copies = repeated(counts.copies, &format!("cat {FILE} > {FILE}.copy"));
    let reads = repeated(counts.copies, &format!("cat {FILE} > /dev/null"));
    for _ in 0..counts.rounds {
        into.push(1e3 * time(put(sandbox, &files)).await?);
        let start = Instant::now();
        let found = sandbox.read(FILE, Bytes(1 << 24)).await?;
        out.push(1e3 * start.elapsed().as_secs_f64());
        if found.bytes != data.bytes {
            return Err("a file came out of the sandbox otherwise than it went in".into());
        }
        let empty = time(shell(sandbox, &none)).await?;
        for (values, command) in [(&mut copy, &copies), (&mut read, &reads)] {
            let full = time(shell(sandbox, command)).await?;
            values.push(1e3 * (full - empty).max(0.0) / counts.copies as f64);
        }
    }
    print("file_in_ms", &into);
    print("file_out_ms", &out);
    print("copy_inside_ms", &copy);
    print("read_inside_ms", &read);
    Ok(())
}

/// What takes the most memory of the helper: input that nobody reads, and the listing of a crowded folder.
async fn burden(sandbox: &dyn Sandbox) -> Outcome<()> {
    let unread = ExecRequest {
        stdin: Some(Arc::from(noise(UNREAD_BYTES))),
        ..ExecRequest::shell("sleep 2", Duration::from_mins(1))
    };
    succeeded(sandbox.exec(&unread).await?)?;
    // In memory: some storage drivers take minutes to make as many files.
    let crowd = format!("mkdir /dev/shm/crowd && cd /dev/shm/crowd && seq 1 {CROWD} | xargs touch");
    shell(sandbox, &crowd).await?;
    let request = CollectRequest {
        patterns: vec!["/dev/shm/crowd/*".to_owned()],
        per_file: Bytes(1),
        total: Bytes(1),
        files: 1,
    };
    let found = sandbox.collect(&request).await?;
    match found.files.len() {
        1 => Ok(()),
        count => Err(format!("of a crowded folder {count} files were taken, not one").into()),
    }
}

async fn put(sandbox: &dyn Sandbox, files: &[PutFile]) -> Outcome<()> {
    Ok(sandbox.write(files).await?)
}

/// Returns the most memory that the sandbox's first process ever had, in MB.
async fn helper_memory(sandbox: &dyn Sandbox) -> Outcome<f64> {
    let mut request = ExecRequest::shell("grep VmHWM /proc/1/status", Duration::from_secs(10));
    request.user = ExecUser::Root;
    let result = succeeded(sandbox.exec(&request).await?)?;
    let text = String::from_utf8_lossy(&result.stdout.head).into_owned();
    let kilobytes = text
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse::<f64>().ok());
    let kilobytes = kilobytes.ok_or_else(|| format!("the kernel says of process 1: {text:?}"))?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// Runs shell text, which must succeed.
async fn shell(sandbox: &dyn Sandbox, text: &str) -> Outcome<()> {
    let request = ExecRequest::shell(text, Duration::from_mins(1));
    succeeded(sandbox.exec(&request).await?)?;
    Ok(())
}

fn succeeded(result: ExecResult) -> Outcome<ExecResult> {
    match result.ending {
        ExecEnding::Exited { code: 0 } => Ok(result),
        other => {
            let told = String::from_utf8_lossy(&result.stderr.head).into_owned();
            Err(format!("a command that must succeed ended with {other:?}: {told}").into())
        }
    }
}

/// Returns a loop of a shell.
fn repeated(times: usize, command: &str) -> String {
    format!("i=0; while [ $i -lt {times} ]; do {command}; i=$((i+1)); done")
}

/// Returns how many seconds something took that succeeded.
async fn time(work: impl Future<Output = Outcome<()>>) -> Outcome<f64> {
    let start = Instant::now();
    work.await?;
    Ok(start.elapsed().as_secs_f64())
}

/// Returns bytes without a pattern that anything could profit from.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

fn since_epoch() -> Outcome<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

fn spec() -> SandboxSpec {
    SandboxSpec {
        image: ImageSource::Named("harness/busybox:1".to_owned()),
        network: NetworkPolicy::None,
        services: BTreeMap::new(),
        files: BTreeMap::new(),
        setup: Vec::new(),
        env: BTreeMap::new(),
        user: "agent".to_owned(),
        workdir: "/home/agent".to_owned(),
        resources: Resources {
            cpus: 1.0,
            memory: Bytes(128 << 20),
            pids: 64,
            disk: Bytes(256 << 20),
        },
        runtime: Runtime::Runc,
    }
}

fn print(name: &str, values: &[f64]) {
    println!("{}", json!({"name": name, "values": values}));
}
