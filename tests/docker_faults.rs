//! A daemon that goes away and comes back in the middle of a run.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pretty_assertions::assert_eq;

use crate::util::{Context, Suite, busybox_task, daemon, log_of, until};

/// Stands between the program and the daemon, and can pretend that the daemon is gone.
struct Proxy {
    socket: PathBuf,
    gone: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<UnixStream>>>,
}

impl Proxy {
    fn start(socket: &Path, daemon: &str) -> Self {
        let proxy = Self {
            socket: socket.to_owned(),
            gone: Arc::default(),
            open: Arc::default(),
        };
        let listener = UnixListener::bind(socket).unwrap();
        let (gone, open, daemon) = (proxy.gone.clone(), proxy.open.clone(), daemon.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if gone.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&daemon) else {
                    continue;
                };
                let mut open = open.lock().unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    open.push(from.try_clone().unwrap());
                    std::thread::spawn(move || pump(from, to));
                }
            }
        });
        proxy
    }

    /// Ends every connection and lets no new one through.
    fn go_away(&self) {
        self.gone.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn come_back(&self) {
        self.gone.store(false, Ordering::SeqCst);
    }
}

fn pump(mut from: UnixStream, mut to: UnixStream) {
    let mut buffer = [0; 16384];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_run_survives_a_daemon_that_restarts() {
    let Some(daemon) = daemon() else { return };
    let context = Context::new();
    let proxy = Proxy::start(&context.path("d.sock"), &daemon.socket);
    let context = context.env("DOCKER_HOST", &format!("unix://{}", proxy.socket.display()));
    let task = busybox_task(
        "boxed",
        "",
        "score: {answer: {match: exact}}\noracle: {submit: done}\n",
    );
    context.write("tasks/boxed/task.yaml", &task);
    Suite {
        more: "epochs: 20\nconcurrency: {trials: 4, sandboxes: 4}\n",
        scripts: "  - turns:\n      - tools: [{name: bash, arguments: {command: sleep 0.5}}]\n      - tools: [{name: submit, arguments: {answer: done}}]\n",
        ..Suite::default()
    }
    .write(&context);
    let child = context.start("run suite.yaml");
    let settled = || {
        let run = context.runs().pop()?;
        let log = std::fs::read_to_string(run.join("run.jsonl")).ok()?;
        Some(log.matches("\"then\":{\"kind\":\"settled\"}").count())
    };
    for quota in [3, 9] {
        until(&format!("{quota} trials ended"), || {
            (settled()? >= quota).then_some(())
        });
        proxy.go_away();
        std::thread::sleep(Duration::from_secs(2));
        proxy.come_back();
    }
    let shot = context.end(child);
    let log = log_of(&context.only_run());
    eprintln!("{}{}", shot.text, log.endings());
    assert_eq!(shot.code, Some(0));
    log.assert_sound();
    let counts = log.view.counts(log.plan.trials.iter().map(|trial| &trial.id));
    assert_eq!((counts.trials, counts.success), (20, 20));
    // What could not be removed while the daemon was away is swept.
    let run = context.run_name();
    context.good("gc");
    assert_eq!(daemon.leftovers(&run), (0, 0, 0));
}
