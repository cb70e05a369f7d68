//! Sandboxes in memory whose behaviour tests write down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use harness_core::capture::{Collector, Kind, Offer};
use harness_core::ports::{
    CollectRequest, Collected, ExecEnding, ExecRequest, ExecResult, FileContent, FileProblem, ImageOrigin,
    KeepReason, KeptSandbox, Later, PreparedImage, PutFile, Sandbox, SandboxError, SandboxFact, SandboxInfo,
    SandboxProvider, SandboxRequest, SweepScope, Swept, Terminal, TerminalRequest,
};
use harness_core::sandbox::{ImageSource, SandboxSpec};
use harness_core::task::FileData;
use harness_core::text::Captured;
use harness_core::units::Bytes;
use tokio::time::{Instant, sleep};

/// What a command does.
pub(crate) enum Did {
    /// It ends by itself after a while.
    Ends(Duration, ExecEnding, String),
    /// The sandbox fails.
    Fails(SandboxError),
    /// Nothing, for ever, whatever its timeout says.
    Hangs,
    /// Our own program has a bug.
    Panics,
}

/// How sandboxes are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keeps {
    /// As asked.
    Well,
    /// With a note.
    WithTrouble,
    /// Not at all.
    Never,
    /// Nobody knows.
    WithoutAnAnswer,
}

/// A command that prints something and ends well, at once.
pub(crate) fn prints(text: &str) -> Did {
    exits(0, text)
}

/// A command that prints something and exits, at once.
pub(crate) fn exits(code: i32, text: &str) -> Did {
    Did::Ends(Duration::ZERO, ExecEnding::Exited { code }, text.to_owned())
}

/// A command that takes a while.
pub(crate) fn takes(seconds: u64, text: &str) -> Did {
    Did::Ends(
        Duration::from_secs(seconds),
        ExecEnding::Exited { code: 0 },
        text.to_owned(),
    )
}

/// The sandbox is dead.
pub(crate) fn gone(out_of_memory: bool) -> SandboxError {
    SandboxError::Gone {
        out_of_memory,
        detail: "removed".to_owned(),
    }
}

/// No daemon answers.
pub(crate) fn unreachable() -> SandboxError {
    SandboxError::DaemonUnreachable {
        address: "/nowhere".to_owned(),
        detail: "connection refused".to_owned(),
    }
}

/// The files of a sandbox.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;
type OnExec = dyn Fn(&mut Files, &ExecRequest) -> Did + Send + Sync;
/// What a terminal is, by its request.
type OnTerminal = dyn Fn(&TerminalRequest) -> Result<Box<dyn Terminal>, SandboxError> + Send + Sync;
type Notes = dyn Fn(&ExecRequest) -> Vec<String> + Send + Sync;
type Reports = dyn Fn(&ExecRequest) -> Vec<SandboxFact> + Send + Sync;
type Breaks = dyn Fn(&SandboxRequest) -> Option<Duration> + Send + Sync;
type OnStart = dyn Fn(u32, &SandboxRequest) -> (Duration, Option<SandboxError>) + Send + Sync;

/// What happened.
#[derive(Default)]
pub(crate) struct Seen {
    /// Starts that worked.
    pub(crate) started: u32,
    /// Starts that were tried.
    pub(crate) tried: u32,
    /// Sandboxes that were stopped.
    pub(crate) stopped: u32,
    /// Sandboxes that are there.
    pub(crate) live: u32,
    /// The most that were there at once.
    pub(crate) most: u32,
    /// Calls beside commands, in order: `kill_all`, `write /path`, `import`, `export`.
    pub(crate) calls: Vec<String>,
    /// All commands.
    pub(crate) execs: Vec<ExecRequest>,
    /// What sandboxes were asked for with, in order.
    pub(crate) requests: Vec<SandboxRequest>,
    /// Sandboxes that were kept.
    pub(crate) kept: Vec<(String, KeepReason)>,
    /// How often the provider was asked to settle.
    pub(crate) settled: u32,
}

/// Makes sandboxes in memory.
pub(crate) struct Provider {
    seen: Arc<Mutex<Seen>>,
    on_exec: Arc<OnExec>,
    on_terminal: Arc<OnTerminal>,
    on_start: Box<OnStart>,
    /// Fails `stop`, and how long it takes; `None` is for ever.
    pub(crate) on_stop: Option<(Option<Duration>, bool)>,
    /// How sandboxes are kept.
    pub(crate) keeps: Keeps,
    /// What could not be removed in the background, and how long it takes to know; `None` is for ever.
    pub(crate) on_settle: (Option<Duration>, Vec<String>),
    /// What a command makes its sandbox report.
    pub(crate) reports: Arc<Reports>,
    /// How long after its start a sandbox breaks.
    pub(crate) breaks: Box<Breaks>,
    /// What a command makes its sandbox note.
    pub(crate) notes: Arc<Notes>,
    /// What looking for containment events finds.
    pub(crate) on_check: Result<(), SandboxError>,
    /// How long an image takes.
    pub(crate) image_takes: Duration,
}

impl Provider {
    /// All commands do what the function says.
    pub(crate) fn new(on_exec: impl Fn(&mut Files, &ExecRequest) -> Did + Send + Sync + 'static) -> Self {
        Self {
            seen: Arc::default(),
            on_exec: Arc::new(on_exec),
            on_terminal: Arc::new(|_| {
                Err(SandboxError::Unsupported {
                    what: "terminals".to_owned(),
                })
            }),
            on_start: Box::new(|_, _| (Duration::from_millis(700), None)),
            on_stop: None,
            keeps: Keeps::Well,
            on_settle: (Some(Duration::ZERO), Vec::new()),
            reports: Arc::new(|_| Vec::new()),
            breaks: Box::new(|_| None),
            notes: Arc::new(|_| Vec::new()),
            on_check: Ok(()),
            image_takes: Duration::ZERO,
        }
    }

    /// Terminals are what the function makes.
    pub(crate) fn with_terminals(
        mut self,
        on_terminal: impl Fn(&TerminalRequest) -> Result<Box<dyn Terminal>, SandboxError> + Send + Sync + 'static,
    ) -> Self {
        self.on_terminal = Arc::new(on_terminal);
        self
    }

    /// Starts take a while or fail; the first argument counts them from 0.
    pub(crate) fn starting(
        mut self,
        on_start: impl Fn(u32, &SandboxRequest) -> (Duration, Option<SandboxError>) + Send + Sync + 'static,
    ) -> Self {
        self.on_start = Box::new(on_start);
        self
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    async fn start(&self, request: &SandboxRequest) -> Result<Box<dyn Sandbox>, SandboxError> {
        let nth = {
            let mut seen = self.seen();
            seen.requests.push(request.clone());
            seen.tried += 1;
            seen.tried - 1
        };
        let (takes, fails) = (self.on_start)(nth, request);
        sleep(takes).await;
        if let Some(error) = fails {
            return Err(error);
        }
        let mut seen = self.seen();
        seen.started += 1;
        seen.live += 1;
        seen.most = seen.most.max(seen.live);
        let files = request.files.iter();
        let files = files
            .map(|file| (file.path.clone(), file.data.bytes.clone()))
            .collect();
        Ok(Box::new(Fake {
            id: format!("box-{nth}"),
            seen: Arc::clone(&self.seen),
            files: Mutex::new(files),
            on_exec: Arc::clone(&self.on_exec),
            on_terminal: Arc::clone(&self.on_terminal),
            on_stop: self.on_stop,
            keeps: self.keeps,
            reports: Arc::clone(&self.reports),
            facts: Mutex::default(),
            on_note: Arc::clone(&self.notes),
            notes: Mutex::new(vec!["from the start".to_owned()]),
            on_check: self.on_check.clone(),
            stopped: Mutex::new(false),
            breaks_at: (self.breaks)(request).map(|after| Instant::now() + after),
        }))
    }
}

impl SandboxProvider for Provider {
    fn prepare<'a>(
        &'a self,
        spec: &'a SandboxSpec,
        _: &'a BTreeMap<String, Arc<FileData>>,
    ) -> Later<'a, Result<PreparedImage, SandboxError>> {
        Box::pin(async move {
            sleep(self.image_takes).await;
            let image = |source: &ImageSource| {
                let ImageSource::Named(name) = source else {
                    panic!("tests build no images")
                };
                PreparedImage {
                    name: name.clone(),
                    id: "sha256:0".to_owned(),
                    origin: ImageOrigin::Present,
                    services: BTreeMap::new(),
                }
            };
            let services = spec.services.iter();
            let services = services.map(|(name, service)| (name.clone(), image(&service.image)));
            Ok(PreparedImage {
                services: services.collect(),
                ..image(&spec.image)
            })
        })
    }

    fn start<'a>(&'a self, request: &'a SandboxRequest) -> Later<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(self.start(request))
    }

    fn sweep<'a>(&'a self, _: &'a SweepScope) -> Later<'a, Result<Swept, SandboxError>> {
        Box::pin(async { Ok(Swept::default()) })
    }

    fn settle(&self) -> Later<'_, Vec<String>> {
        Box::pin(async {
            self.seen().settled += 1;
            match self.on_settle.0 {
                Some(takes) => sleep(takes).await,
                None => std::future::pending().await,
            }
            self.on_settle.1.clone()
        })
    }
}

struct Fake {
    id: String,
    seen: Arc<Mutex<Seen>>,
    files: Mutex<Files>,
    on_exec: Arc<OnExec>,
    on_terminal: Arc<OnTerminal>,
    on_stop: Option<(Option<Duration>, bool)>,
    keeps: Keeps,
    reports: Arc<Reports>,
    facts: Mutex<Vec<SandboxFact>>,
    on_note: Arc<Notes>,
    notes: Mutex<Vec<String>>,
    on_check: Result<(), SandboxError>,
    stopped: Mutex<bool>,
    breaks_at: Option<Instant>,
}

impl Fake {
    fn note(&self, call: impl Into<String>) {
        self.seen.lock().unwrap().calls.push(call.into());
    }

    async fn run(&self, request: &ExecRequest) -> Result<ExecResult, SandboxError> {
        self.seen.lock().unwrap().execs.push(request.clone());
        self.facts.lock().unwrap().extend((self.reports)(request));
        self.notes.lock().unwrap().extend((self.on_note)(request));
        let did = (self.on_exec)(&mut self.files.lock().unwrap(), request);
        match did {
            Did::Hangs => std::future::pending().await,
            Did::Panics => panic!("a bug in the sandbox"),
            Did::Fails(error) => Err(error),
            Did::Ends(after, ending, text) => {
                let took = after.min(request.timeout);
                sleep(took).await;
                let ending = if after > request.timeout {
                    ExecEnding::TimedOut {
                        after: request.timeout,
                    }
                } else {
                    ending
                };
                Ok(ExecResult {
                    ending,
                    stdout: captured(text.into_bytes(), request.keep),
                    stderr: Captured::default(),
                    took,
                })
            }
        }
    }

    async fn end(&self) -> Result<(), SandboxError> {
        let (takes, fails) = self.on_stop.unwrap_or((Some(Duration::ZERO), false));
        match takes {
            Some(takes) => sleep(takes).await,
            None => std::future::pending().await,
        }
        if fails {
            return Err(unreachable());
        }
        let mut stopped = self.stopped.lock().unwrap();
        if !*stopped {
            *stopped = true;
            let mut seen = self.seen.lock().unwrap();
            seen.stopped += 1;
            seen.live -= 1;
        }
        Ok(())
    }
}

fn captured(mut bytes: Vec<u8>, keep: Bytes) -> Captured {
    let (total, half) = (bytes.len(), usize::try_from(keep.0 / 2).unwrap());
    if total <= 2 * half {
        return Captured::whole(bytes);
    }
    let tail = bytes.split_off(total - half);
    bytes.truncate(half);
    Captured {
        head: bytes,
        tail,
        total: total as u64,
    }
}

impl Sandbox for Fake {
    fn info(&self) -> SandboxInfo {
        SandboxInfo {
            id: self.id.clone(),
            image: "sha256:0".to_owned(),
            runtime: "runc".to_owned(),
            notes: self.notes.lock().unwrap().clone(),
        }
    }

    fn exec<'a>(&'a self, request: &'a ExecRequest) -> Later<'a, Result<ExecResult, SandboxError>> {
        Box::pin(self.run(request))
    }

    fn read<'a>(&'a self, path: &'a str, cap: Bytes) -> Later<'a, Result<FileContent, SandboxError>> {
        let found = self.files.lock().unwrap().get(path).cloned();
        Box::pin(async move {
            let mut bytes = found.ok_or_else(|| SandboxError::File {
                path: path.to_owned(),
                problem: FileProblem::Missing,
            })?;
            let size = bytes.len() as u64;
            bytes.truncate(usize::try_from(cap.0).unwrap());
            Ok(FileContent { bytes, size })
        })
    }

    fn write<'a>(&'a self, files: &'a [PutFile]) -> Later<'a, Result<(), SandboxError>> {
        for file in files {
            self.note(format!("write {}", file.path));
            let mut mine = self.files.lock().unwrap();
            mine.insert(file.path.clone(), file.data.bytes.clone());
        }
        Box::pin(async { Ok(()) })
    }

    fn kill_all(&self) -> Later<'_, Result<(), SandboxError>> {
        self.note("kill_all");
        Box::pin(async { Ok(()) })
    }

    fn export<'a>(&'a self, path: &'a str, _: Bytes) -> Later<'a, Result<Vec<u8>, SandboxError>> {
        self.note(format!("export {path}"));
        Box::pin(async { Ok(b"archive".to_vec()) })
    }

    fn import<'a>(&'a self, path: &'a str, archive: Vec<u8>) -> Later<'a, Result<(), SandboxError>> {
        self.note(format!("import {path} {}", String::from_utf8_lossy(&archive)));
        Box::pin(async { Ok(()) })
    }

    fn open_terminal<'a>(
        &'a self,
        request: &'a TerminalRequest,
    ) -> Later<'a, Result<Box<dyn Terminal>, SandboxError>> {
        self.note("open_terminal");
        Box::pin(async move { (self.on_terminal)(request) })
    }

    fn collect<'a>(&'a self, request: &'a CollectRequest) -> Later<'a, Result<Collected, SandboxError>> {
        self.note("collect");
        let mut collector = Collector::new(request);
        for (path, bytes) in self.files.lock().unwrap().iter() {
            // A file that begins so is a link.
            let kind = if bytes.starts_with(b"-> ") {
                Kind::Link
            } else {
                Kind::File
            };
            let (path, size) = (path.as_bytes(), bytes.len() as u64);
            let offer = Offer {
                path,
                kind,
                size,
                readable: true,
            };
            if let Some(take) = collector.offer(&offer) {
                collector.took(&take, bytes.clone(), size);
            }
        }
        Box::pin(async { Ok(collector.finish()) })
    }

    fn check(&self) -> Later<'_, Result<(), SandboxError>> {
        let broke = self.breaks_at.is_some_and(|at| Instant::now() >= at);
        let broke = broke.then(|| gone(false)).map_or(Ok(()), Err);
        Box::pin(std::future::ready(broke))
    }

    fn check_containment(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(async { self.on_check.clone() })
    }

    fn take_facts(&self) -> Vec<SandboxFact> {
        std::mem::take(&mut *self.facts.lock().unwrap())
    }

    fn keep(&self, reason: KeepReason) -> Later<'_, Result<KeptSandbox, SandboxError>> {
        Box::pin(async move {
            match self.keeps {
                Keeps::Well => {}
                Keeps::WithTrouble => self.notes.lock().unwrap().push("a service is gone".to_owned()),
                Keeps::Never => return Err(unreachable()),
                Keeps::WithoutAnAnswer => std::future::pending().await,
            }
            *self.stopped.lock().unwrap() = true;
            let mut seen = self.seen.lock().unwrap();
            seen.kept.push((self.id.clone(), reason));
            seen.live -= 1;
            Ok(KeptSandbox {
                id: self.id.clone(),
                name: self.id.clone(),
                reason,
                paused: reason == KeepReason::Quarantine,
            })
        })
    }

    fn stop(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(self.end())
    }
}
