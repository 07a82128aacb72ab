//! Processes by number, told apart from later ones that get the same number.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal};

use crate::wait;

/// One process: its number and the moment of its start, which together name it for as long as the machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    pid: u32,
    started_ticks: u64,
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    state: char,
    parent: u32,
    started_ticks: u64,
}

impl Process {
    /// The process that has this number now.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(pid: u32) -> Result<Self> {
        let stat = stat(pid).with_context(|| format!("there is no process {pid}"))?;
        Ok(Self { pid, started_ticks: stat.started_ticks })
    }

    /// Its number.
    pub fn pid(self) -> u32 {
        self.pid
    }

    /// Whether it still runs. A zombie does not, once its last thread has ended: until then its locks and its ports are taken.
    pub fn is_alive(self) -> bool {
        let Some(stat) = stat(self.pid).filter(|stat| stat.started_ticks == self.started_ticks) else { return false };
        match stat.state {
            'X' => false,
            'Z' => std::fs::read_dir(format!("/proc/{}/task", self.pid)).is_ok_and(|threads| threads.count() > 1),
            _ => true,
        }
    }

    /// Sends a signal; a process that has ended is left alone.
    pub fn signal(self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.is_alive())
            && let Err(error) = rustix::process::kill_process(pid, signal)
        {
            debug_assert_eq!(error, rustix::io::Errno::SRCH, "a signal to {}", self.pid);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it outlives `limit`.
    pub async fn wait_gone(self, limit: Duration) -> Result<()> {
        let what = format!("the end of process {} ({})", self.pid, self.command());
        wait::until(&what, limit, async || !self.is_alive()).await?;
        Ok(())
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end within five seconds.
    pub async fn kill(self) -> Result<()> {
        self.signal(Signal::KILL);
        self.wait_gone(Duration::from_secs(5)).await
    }

    /// Its arguments, the program first.
    ///
    /// # Errors
    /// When it has ended, or may not be looked at.
    pub fn arguments(self) -> Result<Vec<OsString>> {
        self.strings("cmdline")
    }

    /// Its environment at its start, `NAME=value` each.
    ///
    /// # Errors
    /// When it has ended, or may not be looked at.
    pub fn environment(self) -> Result<Vec<OsString>> {
        self.strings("environ")
    }

    /// The children, their children and so on, itself not included.
    pub fn descendants(self) -> Vec<Self> {
        let mut children: HashMap<u32, Vec<Self>> = HashMap::new();
        for pid in std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            if let Some(stat) = stat(pid) {
                let child = Self { pid, started_ticks: stat.started_ticks };
                children.entry(stat.parent).or_default().push(child);
            }
        }
        let mut found = Vec::new();
        let mut next = vec![self.pid];
        while let Some(pid) = next.pop() {
            for child in children.get(&pid).into_iter().flatten() {
                found.push(*child);
                next.push(child.pid);
            }
        }
        found
    }

    /// Its resident memory, in bytes; 0 when it has ended.
    pub fn resident_bytes(self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    }

    /// Its open descriptors; 0 when it has ended.
    pub fn descriptors(self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// Its arguments on one line, for messages.
    pub fn command(self) -> String {
        let arguments = self.arguments().unwrap_or_default();
        let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    fn strings(self, file: &str) -> Result<Vec<OsString>> {
        let path = format!("/proc/{}/{file}", self.pid);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
        Ok(parts.map(|part| OsString::from_vec(part.to_vec())).collect())
    }
}

fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, so count from its end; field numbers as in proc(5).
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let started_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, started_ticks })
}
