//! Ending what runs in a sandbox.
//!
//! Owns: that nothing of a stopped command lives on, and that `kill_all` leaves nothing. Must not: believe
//! what processes say about themselves where the daemon can be asked.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use bollard::query_parameters::{RestartContainerOptionsBuilder, TopOptionsBuilder};
use harness_core::ports::SandboxError;
use tokio::time::sleep;

use crate::exec::{Command, Stop};
use crate::sandbox::DockerSandbox;
use crate::scripts;

const SCRIPT_TIMEOUT: Duration = Duration::from_secs(10);
const CHECKS: u32 = 40;
const CHECK_INTERVAL: Duration = Duration::from_millis(25);
/// The keeper and its `sleep`; or the helper.
const KEEPER_PROCESSES: usize = 2;
const HELPER_PROCESSES: usize = 1;

impl DockerSandbox {
    /// Looks at or changes the markers of the commands that run.
    pub(crate) fn with_running<T>(&self, action: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        action(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Kills a command and all that it started. What earlier commands left running goes on if that is possible.
    pub(crate) async fn end_command(&self, id: &str, marker: &str, user: &str) -> Result<(), SandboxError> {
        let mut argv = vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            scripts::SWEEP.to_owned(),
            "sh".to_owned(),
            marker.to_owned(),
        ];
        argv.extend(self.with_running(|running| {
            let others = running.iter().filter(|other| *other != marker);
            others.cloned().collect::<Vec<_>>()
        }));
        let swept = self.script(argv, user).await?;
        if swept == Stop::Ended(0) && self.has_ended(id).await? {
            return Ok(());
        }
        tracing::debug!(container = %self.id, ?swept, "a command could not be ended alone");
        self.note("a command could not be ended alone, so all processes of its user were killed");
        let argv = ["/bin/sh", "-c", scripts::KILL_ALL].map(str::to_owned).to_vec();
        let killed = self.script(argv, user).await?;
        if killed == Stop::Ended(0) && self.has_ended(id).await? {
            return Ok(());
        }
        self.restart("a command could not be killed from inside").await
    }

    /// Kills everything but the keeper, and makes sure of it.
    pub(crate) async fn kill_everything(&self) -> Result<(), SandboxError> {
        let argv = ["/bin/sh", "-c", scripts::KILL_ALL].map(str::to_owned).to_vec();
        let killed = self.script(argv, "0:0").await?;
        if matches!(killed, Stop::Ended(_)) && self.only_keeper_lives().await? {
            return Ok(());
        }
        self.restart("some processes could not be killed from inside")
            .await?;
        if self.only_keeper_lives().await? {
            return Ok(());
        }
        Err(SandboxError::Daemon {
            operation: "kill everything in a sandbox".to_owned(),
            detail: "processes survived a restart of the container".to_owned(),
        })
    }

    /// Starts the container's processes anew; its file system stays.
    pub(crate) async fn restart(&self, why: &str) -> Result<(), SandboxError> {
        self.check_alive().await?;
        self.note(&format!("the container was restarted: {why}"));
        let options = RestartContainerOptionsBuilder::new().t(0).build();
        let docker = &self.shared.docker;
        match docker.restart_container(&self.id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explain(&error, "restart a sandbox").await),
        }
    }

    async fn script(&self, argv: Vec<String>, user: &str) -> Result<Stop, SandboxError> {
        let command = Command {
            argv,
            user: user.to_owned(),
            cwd: "/".to_owned(),
            env: Vec::new(),
            stdin: None,
            timeout: SCRIPT_TIMEOUT,
            keep: 4096,
            disk: None,
        };
        Ok(self.run(&command).await?.stop)
    }

    async fn has_ended(&self, id: &str) -> Result<bool, SandboxError> {
        for _ in 0..CHECKS {
            if self.ear.borrow().ended.contains_key(id) {
                return Ok(true);
            }
            match self.shared.docker.inspect_exec(id).await {
                // Without an exit code it was not even started yet.
                Ok(found) if found.running == Some(true) || found.exit_code.is_none() => {
                    sleep(CHECK_INTERVAL).await;
                }
                Ok(_) => return Ok(true),
                Err(error) => return Err(self.explain(&error, "look at a command").await),
            }
        }
        Ok(false)
    }

    /// Asks the daemon, which sees the processes from outside.
    async fn only_keeper_lives(&self) -> Result<bool, SandboxError> {
        for _ in 0..CHECKS {
            let options = TopOptionsBuilder::new().ps_args("-eo pid,ppid,stat,args").build();
            let top = match self.shared.docker.top_processes(&self.id, Some(options)).await {
                Ok(top) => top,
                Err(error) => return Err(self.explain(&error, "list the processes of a sandbox").await),
            };
            let rows = top.processes.unwrap_or_default();
            // A zombie with an `l` is one only by its first thread.
            let dead = |state: &String| state.starts_with(['Z', 'X']) && !state.contains('l');
            let living = rows.iter().filter(|row| !row.get(2).is_some_and(dead));
            let own = if self.link.is_some() {
                HELPER_PROCESSES
            } else {
                KEEPER_PROCESSES
            };
            if living.count() <= own {
                return Ok(true);
            }
            sleep(CHECK_INTERVAL).await;
        }
        Ok(false)
    }
}
