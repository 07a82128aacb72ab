//! What systemd is told: one datagram of `NAME=value` lines for each message (`sd_notify(3)`), and nothing where no one
//! listens.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use edge::metrics::Counters;

use crate::{boot, facts::Facts};

/// A core whose sweep, which runs each second, has not run for so long is stuck.
const BEAT_SECONDS_MAX: u64 = 5;

/// The supervisor, if there is one.
#[derive(Debug)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// Finds the supervisor in the environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    ///
    /// # Errors
    /// When `NOTIFY_SOCKET` is set and is no address of a Unix socket.
    pub fn from_environment() -> Result<Self> {
        let own = std::process::id().to_string();
        let is_for_us = boot::environment("WATCHDOG_PID").is_none_or(|pid| pid == own);
        let watchdog = boot::environment("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|micros| *micros > 0 && is_for_us);
        Self::new(boot::environment("NOTIFY_SOCKET").as_deref(), watchdog.map(Duration::from_micros))
    }

    fn new(socket: Option<&str>, watchdog: Option<Duration>) -> Result<Self> {
        let Some(name) = socket.filter(|name| !name.is_empty()) else { return Ok(Self { socket: None, watchdog: None }) };
        let address = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let address = address.with_context(|| format!("NOTIFY_SOCKET is `{name}`, which is no address of a Unix socket"))?;
        let socket = UnixDatagram::unbound().context("cannot make a socket for the supervisor")?;
        // The supervisor's queue may be full: a late message is no reason to stand still.
        socket.set_nonblocking(true).context("cannot make a socket for the supervisor")?;
        Ok(Self { socket: Some((socket, address)), watchdog })
    }

    /// The node serves. Its process is the main one from now on, also when another one started it.
    pub fn ready(&self) {
        self.say(&format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id()));
    }

    /// The node reads its files again; [`Self::ready`] must follow.
    pub fn reloading(&self) {
        // Type=notify-reload asks for the time at which the reload began.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1_000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=reading certificates again"));
    }

    /// The node has begun to stop.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    /// Tells the supervisor that every core turns, twice in each of its periods, for as long as that is so.
    ///
    /// A core that has finished draining turns no more, and that is well.
    pub async fn watchdog(self: Arc<Self>, counters: Vec<Arc<Counters>>, facts: Arc<Facts>) {
        let Some(period) = self.watchdog else { return };
        let mut pulse = tokio::time::interval(period / 2);
        loop {
            pulse.tick().await;
            let now = edge::clock::Clock.boot().0 / 1_000_000_000;
            // One that has not turned yet has just been started.
            let beats = counters.iter().map(|core| core.last_beat_seconds()).filter(|last| *last > 0);
            let stuck = beats.filter(|last| now.saturating_sub(*last) > BEAT_SECONDS_MAX).count();
            let is_leaving = facts.draining.load(Ordering::Relaxed) || facts.handing_over.load(Ordering::Relaxed);
            if stuck == 0 || is_leaving {
                self.say("WATCHDOG=1");
            } else {
                tracing::error!(stuck, "data-plane threads do not turn; the supervisor is not told that all is well");
            }
        }
    }

    fn say(&self, text: &str) {
        let Some((socket, address)) = &self.socket else { return };
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the supervisor was not told {}", text.lines().next().unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
