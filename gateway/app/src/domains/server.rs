//! One server of a domain, asked over a connection of its own.

use std::{sync::Arc, time::Duration};

use edge::positions::Question;
use store::sample::Probe;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::state::Shared;

/// Asks a server now and then, and whenever somebody wants to know; questions that come while it answers share the next exchange.
pub(super) async fn ask(shared: Arc<Shared>, index: usize, mut probe: Probe, mut questions: mpsc::Receiver<Question>, poll: Duration) {
    let mut ticks = interval(poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(question) = questions.recv() => asked.push(question),
        }
        // Whoever asks from here on gets the next answer: this one may show what was before its question.
        while let Ok(question) = questions.try_recv() {
            asked.push(question);
        }
        let sample = probe.sample().await;
        let shown = shared.record(index, sample);
        for question in asked.drain(..) {
            drop(question.send(shown.clone()));
        }
        if let Some(timeline) = shared.wants_history(index) {
            let history = probe.history(timeline).await;
            shared.learn_history(index, timeline, history);
        }
    }
}
