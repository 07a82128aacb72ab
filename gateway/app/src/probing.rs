//! Reads of a domain's primary, and what confirms them.
//!
//! A read proves nothing about the moment after it: the server may have been replaced, and answer as before. So each read waits for the
//! heartbeats that began after it ([`store::heartbeat`]). Only a confirmed read says something, of the instant at which it *began*.

use std::{collections::VecDeque, time::Duration};

use model::time::BootNanos;
use store::heartbeat::{Heart, Under};
use tokio::sync::watch;

use crate::beating::{Primaries, Pulse};

/// How often the primary is asked; over a line that is slower, as often as it answers.
const PULSE: Duration = Duration::from_millis(100);
/// A primary that takes longer to answer is asked over several lines.
const FAR_US: u64 = 80_000;
/// Reads that wait for their confirmation at most; beyond, the oldest is of no use any more.
const UNCONFIRMED_MAX: usize = 64;

/// A read of a primary, with the instant at which it began.
#[derive(Debug, Clone, Copy)]
pub struct Probe<R> {
    /// When the read began.
    pub started_at: BootNanos,
    /// What it saw.
    pub read: R,
}

/// What one look at the primary has brought.
#[derive(Debug)]
pub struct Seen<R> {
    /// What it shows now.
    pub probe: Probe<R>,
    /// Earlier reads that it confirms, in their order.
    pub confirmed: Vec<Probe<R>>,
}

/// A domain whose primary is read.
pub trait Probed: Primaries {
    /// What is read.
    type Read: Clone + Send;
    /// Why it is not.
    type Error: Send;

    /// Reads.
    fn look(&self, line: &mut Self::Line) -> impl Future<Output = Result<(Heart, Self::Read), Self::Error>> + Send;

    /// Takes what was read; false when nobody wants it any more.
    fn seen(&self, seen: Seen<Self::Read>) -> bool;

    /// Takes note that the primary was not read, and says for how long it is left alone.
    fn failed(&self, error: &Self::Error) -> Duration;

    /// Whoever writes the heartbeat looks there.
    fn pulse(&self) -> &watch::Sender<Option<Pulse>>;

    /// The time, on the clock that leases are of.
    fn now(&self) -> BootNanos;

    /// Nobody takes anything any more.
    fn is_over(&self) -> bool;
}

/// Asks the primary again and again, for as long as somebody takes what it says. Over a line that takes long to answer several questions
/// are on their way at once, each over a connection of its own: or what is confirmed would be some round trips older.
pub async fn probe(probed: &impl Probed) {
    tokio::join!(over_and_over(probed, 0), over_and_over(probed, 1), over_and_over(probed, 2));
}

/// One line after another; the first one always, the others while answers take long.
async fn over_and_over(probed: &impl Probed, number: u32) {
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !probed.is_over() {
        pulse.tick().await;
        if number > 0 && !is_far(probed) {
            continue;
        }
        let replaced = probed.replaced();
        let Some(line) = probed.open().await else { continue };
        let mut rest = Duration::ZERO;
        // What was read over one connection is confirmed over no other, so nothing is taken along.
        tokio::select! {
            result = ask(probed, line, number) => {
                if let Err(error) = result {
                    rest = probed.failed(&error);
                }
            }
            // Another server may be the primary now, and this one would answer for good.
            () = replaced => {}
        }
        if number == 0 {
            probed.pulse().send_replace(None);
        }
        tokio::time::sleep(rest).await;
    }
}

fn is_far(probed: &impl Probed) -> bool {
    probed.pulse().borrow().as_ref().is_some_and(|pulse| pulse.rtt_us > FAR_US)
}

async fn ask<P: Probed>(probed: &P, mut line: P::Line, number: u32) -> Result<(), P::Error> {
    let mut pulse = tokio::time::interval_at(tokio::time::Instant::now() + PULSE * number, PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unconfirmed = Unconfirmed::default();
    loop {
        pulse.tick().await;
        if number > 0 && !is_far(probed) {
            return Ok(());
        }
        let started_at = probed.now();
        let (heart, read) = probed.look(&mut line).await?;
        let rtt_us = probed.now().nanos_since(started_at) / 1_000;
        let probe = Probe { started_at, read };
        let confirmed = unconfirmed.confirmed_by(&heart);
        unconfirmed.wait(&heart, probe.clone());
        if number == 0 {
            probed.pulse().send_replace(Some(Pulse { heart, rtt_us }));
        }
        if !probed.seen(Seen { probe, confirmed }) {
            return Ok(());
        }
    }
}

/// Reads over one connection that nothing has confirmed yet, the oldest first.
#[derive(Debug)]
struct Unconfirmed<T>(VecDeque<(u64, Under, T)>);

impl<T> Default for Unconfirmed<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Unconfirmed<T> {
    /// Keeps what was read together with a heartbeat.
    fn wait(&mut self, heart: &Heart, read: T) {
        if self.0.len() >= UNCONFIRMED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((heart.beat, heart.under, read));
    }

    /// Takes out what a later look over the same connection confirms, and what none will: its settings are gone.
    fn confirmed_by(&mut self, heart: &Heart) -> Vec<T> {
        self.0.retain(|(_, under, _)| *under == heart.under);
        let count = self.0.iter().take_while(|(beat, under, _)| heart.confirms(*beat, *under)).count();
        self.0.drain(..count).map(|(_, _, read)| read).collect()
    }
}
