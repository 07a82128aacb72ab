//! One server of a domain, asked over a connection of its own.

use std::sync::Arc;

use edge::positions::{Question, ServerId};
use store::sample::Probe;
use tokio::{
    sync::{mpsc, watch},
    time::{Duration, Instant, sleep_until},
};

use super::state::Shared;

/// Asks a server now and then, and whenever somebody wants to know; questions that come while it answers share the next exchange.
pub(super) async fn ask(
    shared: Arc<Shared>,
    id: ServerId,
    mut probe: Probe,
    mut questions: mpsc::Receiver<Question>,
    poll: watch::Receiver<Duration>,
) {
    let mut next = Instant::now();
    let mut asked = Vec::new();
    loop {
        tokio::select! {
            () = sleep_until(next) => next = Instant::now() + *poll.borrow(),
            Some(question) = questions.recv() => asked.push(question),
        }
        // Whoever asks from here on gets the next answer: this one may show what was before its question.
        while let Ok(question) = questions.try_recv() {
            asked.push(question);
        }
        let before = shared.replayed();
        let sample = probe.sample().await;
        let shown = shared.record(id, sample, before);
        for question in asked.drain(..) {
            drop(question.send(shown.clone()));
        }
        if let Some(timeline) = shared.wants_history(id) {
            let history = probe.history(timeline).await;
            shared.learn_history(id, timeline, history);
        }
    }
}
