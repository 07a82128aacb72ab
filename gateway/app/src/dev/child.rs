//! The processes that a development deployment consists of.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// Where util-linux keeps `setpriv`, which has the kernel tell a process that its parent has died.
const SETPRIV: [&str; 2] = ["/usr/bin/setpriv", "/bin/setpriv"];

/// One process of ours, with its log file.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts this program with other arguments. It gets no terminal signals: its parent stops it in order.
    ///
    /// When this process is killed, the kernel sends it SIGTERM, where `setpriv` is installed: nothing may be left that holds
    /// the data folder. The signal is tied to the thread that starts it, so the caller must be one that lives as long as
    /// the process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, arguments: &[&str], log: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let output = File::options().create(true).append(true).open(log).with_context(|| format!("cannot write {}", log.display()))?;
        let setpriv = SETPRIV.iter().map(Path::new).find(|path| path.is_file());
        let mut command = match setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig=TERM", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    /// The process id; 0 once it has ended.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    /// Fails with the end of the log when the process has ended.
    ///
    /// # Errors
    /// When it has.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(8).collect();
            bail!("{} ended while starting ({status}):\n{}", self.name, lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        Ok(())
    }

    /// Resolves when the process ends, with a sentence about it.
    pub async fn gone(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("{} is gone ({status}); it is not started again. Its log: {}", self.name, self.log.display()),
            Err(error) => format!("{} cannot be watched: {error}", self.name),
        }
    }

    /// Asks the process to stop, and ends it when it does not.
    pub async fn stop(&mut self, patience: Duration) {
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
        if kill_process(pid, Signal::TERM).is_err() {
            return;
        }
        if tokio::time::timeout(patience, self.child.wait()).await.is_err() {
            self.child.kill().await.ok();
        }
    }
}
