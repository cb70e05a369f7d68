//! A program on a terminal by a call of the daemon, where no helper runs.

use std::pin::Pin;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use harness_core::ports::{
    ExecEnding, ExecUser, Later, SandboxError, Terminal, TerminalOutput, TerminalRequest, TerminalState,
    WindowSize,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::errors::About;
use crate::output::OutputStream;
use crate::provider::Shared;
use crate::sandbox::DockerSandbox;
use crate::scripts;

/// How much is read at once.
const READ: usize = 256 << 10;
/// How long more output is gathered before it is returned.
const GATHER: Duration = Duration::from_millis(2);

/// A program on a terminal of the daemon's.
struct DaemonTerminal {
    shared: std::sync::Arc<Shared>,
    exec: String,
    input: Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
    output: Mutex<OutputStream>,
    /// Kills what was started in it.
    killer: DaemonKiller,
}

struct DaemonKiller {
    container: String,
    user: String,
    marker: String,
}

impl DockerSandbox {
    /// Starts a program on a terminal.
    pub(crate) async fn open_daemon_terminal(
        &self,
        request: &TerminalRequest,
    ) -> Result<Box<dyn Terminal>, SandboxError> {
        let user = match request.user {
            ExecUser::Task => self.user.clone(),
            ExecUser::Root => "0:0".to_owned(),
        };
        let marker = self.shared.unique("terminal");
        let mut env: Vec<String> = request
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !request.env.contains_key("TERM") {
            env.push("TERM=xterm-256color".to_owned());
        }
        env.push(format!("{}={marker}", scripts::MARKER));
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(true),
            env: Some(env),
            cmd: Some(request.argv.clone()),
            user: Some(user.clone()),
            working_dir: Some(request.cwd.clone().unwrap_or_else(|| self.workdir.clone())),
            ..CreateExecOptions::default()
        };
        let docker = &self.shared.docker;
        let created = match docker.create_exec(&self.id, options).await {
            Ok(created) => created.id,
            Err(error) => return Err(self.explain(&error, "create a terminal").await),
        };
        let start = StartExecOptions {
            tty: true,
            ..StartExecOptions::default()
        };
        let (output, input) = match docker.start_exec(&created, Some(start)).await {
            Ok(StartExecResults::Attached { output, input }) => (output, input),
            Ok(StartExecResults::Detached) => {
                let detail = "a terminal came back detached".to_owned();
                return Err(SandboxError::Protocol { detail });
            }
            Err(error) => return Err(self.explain(&error, "start a terminal").await),
        };
        let terminal = DaemonTerminal {
            shared: std::sync::Arc::clone(&self.shared),
            exec: created,
            input: Mutex::new(input),
            output: Mutex::new(output),
            killer: DaemonKiller {
                container: self.id.clone(),
                user,
                marker,
            },
        };
        terminal.set_size(request.size).await?;
        Ok(Box::new(terminal))
    }
}

impl DaemonTerminal {
    async fn set_size(&self, size: WindowSize) -> Result<(), SandboxError> {
        let options = ResizeExecOptions {
            height: size.rows,
            width: size.cols,
        };
        let resized = self.shared.docker.resize_exec(&self.exec, options).await;
        resized.map_err(|error| self.shared.error(&error, "resize a terminal", About::Container))
    }

    async fn write(&self, bytes: &[u8]) -> Result<(), SandboxError> {
        let mut input = self.input.lock().await;
        let written = match input.write_all(bytes).await {
            Ok(()) => input.flush().await,
            Err(error) => Err(error),
        };
        written.map_err(|error| SandboxError::Daemon {
            operation: "write to a terminal".to_owned(),
            detail: error.to_string(),
        })
    }

    async fn read_some(&self, wait: Duration) -> Result<TerminalOutput, SandboxError> {
        let mut stream = self.output.lock().await;
        let mut until = Instant::now() + wait;
        let mut bytes = Vec::new();
        while bytes.len() < READ {
            match timeout_at(until, stream.next()).await {
                Ok(Some(Ok(piece))) => {
                    bytes.extend_from_slice(&piece.into_bytes());
                    until = Instant::now() + GATHER;
                }
                Ok(Some(Err(_)) | None) => {
                    let ended = self.exit_code().await?;
                    return Ok(TerminalOutput {
                        bytes,
                        ended: Some(ExecEnding::Exited { code: ended }),
                    });
                }
                Err(_) => break,
            }
        }
        Ok(TerminalOutput { bytes, ended: None })
    }

    async fn exit_code(&self) -> Result<i32, SandboxError> {
        let found = self.shared.docker.inspect_exec(&self.exec).await;
        let found =
            found.map_err(|error| self.shared.error(&error, "look at a terminal", About::Container))?;
        Ok(found
            .exit_code
            .and_then(|code| i32::try_from(code).ok())
            .unwrap_or(137))
    }

    /// Kills what was started in the terminal, as far as it carries its marker.
    async fn kill(&self) -> Result<(), SandboxError> {
        let killer = &self.killer;
        let argv = ["/bin/sh", "-c", scripts::SWEEP, "sh", &killer.marker];
        let options = CreateExecOptions {
            cmd: Some(argv.map(str::to_owned).to_vec()),
            user: Some(killer.user.clone()),
            ..CreateExecOptions::default()
        };
        let docker = &self.shared.docker;
        let failed =
            |error: bollard::errors::Error| self.shared.error(&error, "end a terminal", About::Container);
        let created = docker
            .create_exec(&killer.container, options)
            .await
            .map_err(failed)?;
        let start = StartExecOptions {
            detach: true,
            ..StartExecOptions::default()
        };
        docker
            .start_exec(&created.id, Some(start))
            .await
            .map_err(failed)?;
        Ok(())
    }
}

impl Terminal for DaemonTerminal {
    fn send<'a>(&'a self, bytes: &'a [u8]) -> Later<'a, Result<(), SandboxError>> {
        Box::pin(self.write(bytes))
    }

    fn resize(&self, size: WindowSize) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(self.set_size(size))
    }

    fn read(&self, wait: Duration) -> Later<'_, Result<TerminalOutput, SandboxError>> {
        Box::pin(self.read_some(wait))
    }

    fn state(&self) -> Later<'_, Result<TerminalState, SandboxError>> {
        Box::pin(async { Ok(TerminalState::default()) })
    }

    fn close(&self) -> Later<'_, Result<(), SandboxError>> {
        Box::pin(self.kill())
    }
}
