//! What happens to the server that leads, and how it comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::Patroni;
use crate::process::Process;

/// How long a planned change may take.
const SWITCHOVER_WITHIN: Duration = Duration::from_mins(1);

/// How a server stops leading, unplanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server is killed, and its agent sees it.
    Crash,
    /// The server and its agent are killed: only the time of the leader's key tells.
    Kill,
    /// Both stand still, and wake later without knowing.
    Freeze,
}

/// Processes that stand still.
#[derive(Debug, Default)]
pub struct Held(Vec<Process>);

impl Held {
    fn hold(&mut self, processes: impl IntoIterator<Item = Process>) {
        for process in processes {
            process.signal(Signal::STOP);
            self.0.push(process);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for process in &self.0 {
            process.signal(Signal::CONT);
        }
    }
}

impl Patroni {
    /// Lets a leader send nothing more to its standbys: from here on it has what nobody else has. It lasts for as long as the answer lives.
    ///
    /// # Errors
    /// When there is no such server, or it does not stream to all others.
    pub fn hold_senders(&self, member: usize) -> Result<Held> {
        let server = self.members.get(member).context("there is no such server")?.server();
        let senders: Vec<Process> = server.into_iter().filter(|process| process.command().contains("walsender")).collect();
        ensure!(senders.len() == self.members.len() - 1, "the leader streams to {} servers", senders.len());
        let mut held = Held::default();
        held.hold(senders);
        Ok(held)
    }

    /// Takes the leader away. What stands still does so for as long as the answer lives.
    ///
    /// # Errors
    /// When a process does not end.
    pub async fn strike(&mut self, fault: Fault, leader: usize) -> Result<Held> {
        let member = self.members.get_mut(leader).context("there is no such server")?;
        let mut held = Held::default();
        match fault {
            Fault::Crash => member.kill(false).await?,
            Fault::Kill => member.kill(true).await?,
            Fault::Freeze => {
                held.hold([member.agent()?]);
                held.hold(member.server());
                // What was begun while the first of them were stopped.
                held.hold(member.server());
            }
        }
        Ok(held)
    }

    /// Has the leader hand over to whomever Patroni chooses.
    ///
    /// # Errors
    /// When it does not come about.
    pub async fn switch_over(&self, leader: usize) -> Result<()> {
        let member = self.members.get(leader).context("there is no such server")?;
        let (url, body) = (format!("{}/switchover", member.agent_url()), json!({ "leader": member.name }));
        let answer = self.client.post(url).json(&body).timeout(SWITCHOVER_WITHIN).send().await?;
        let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
        ensure!(status.is_success(), "the switchover was answered {status}: {said}");
        Ok(())
    }

    /// Starts the agent of a server again, if it does not run: what then happens to the server is its own affair.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn bring_back(&mut self, member: usize) -> Result<()> {
        let member = self.members.get_mut(member).context("there is no such server")?;
        if member.agent().is_ok_and(Process::is_alive) { Ok(()) } else { member.start(&self.runner) }
    }
}
