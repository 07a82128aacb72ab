//! Honest traffic beside an attack: it must be served as if nothing were.

use harness::listening::accept_each;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use harness::client::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::claim::Verdict;
use crate::figures::{Durations, share};
use crate::ground::Door;

/// The longest that an honest request may take before it counts as not served.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two requests of one neighbor.
const PACE: Duration = Duration::from_millis(5);
/// What the honest service answers: its length is what the neighbors check, with the request's own path.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What the neighbors got.
#[derive(Debug, Default)]
struct Tally {
    asked: u64,
    served: u64,
    odd: Option<String>,
    took: Durations,
}

/// Neighbors at work, and the service that they call; both end with this value.
pub(crate) struct Neighbors {
    tally: Arc<Mutex<Tally>>,
    tasks: JoinSet<()>,
}

impl Neighbors {
    /// One neighbor for each protocol calls `/honest/N` until [`Neighbors::judge`].
    pub(crate) fn start(door: &Door) -> Result<Self> {
        let tally = Arc::<Mutex<Tally>>::default();
        let mut tasks = JoinSet::new();
        for (version, name) in [(Version::Http1, "h1"), (Version::Http2, "h2")] {
            tasks.spawn(call(door.client(version)?, format!("{}/honest/{name}", door.url()), Arc::clone(&tally)));
        }
        Ok(Self { tally, tasks })
    }

    /// Stops them; one trial, which fails when less than 99.9 % was served. What was asked, the share and the times go into the line.
    pub(crate) fn judge(self, verdict: &mut Verdict) {
        {
            let tally = lock(&self.tally);
            let (asked, served) = (tally.asked, tally.served);
            verdict.trial(asked > 0 && served.saturating_mul(1_000) >= asked.saturating_mul(999), || {
                format!("honest neighbors: {served} of {asked} served; {}", tally.odd.clone().unwrap_or_default())
            });
        }
        self.tell(verdict);
    }

    /// Stops them; what was asked, the share that was served and the times go into the line.
    pub(crate) fn tell(mut self, verdict: &mut Verdict) {
        self.tasks.abort_all();
        let tally = lock(&self.tally);
        verdict.figure("honest", tally.asked);
        verdict.figure("honest_share", share(tally.served, tally.asked));
        verdict.figure("honest_p50_ms", tally.took.percentile(50));
        verdict.figure("honest_p99_ms", tally.took.percentile(99));
    }

    /// Honest requests that have ended so far, well or not.
    pub(crate) fn asked(&self) -> u64 {
        lock(&self.tally).asked
    }

    /// Those that were not served.
    pub(crate) fn lost(&self) -> u64 {
        let tally = lock(&self.tally);
        tally.asked - tally.served
    }

    /// Honest requests answered so far.
    pub(crate) fn served(&self) -> u64 {
        lock(&self.tally).served
    }
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn call(http: reqwest::Client, url: String, tally: Arc<Mutex<Tally>>) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0_u64.. {
        pace.tick().await;
        let (url, began) = (format!("{url}/{n}"), Instant::now());
        let answer = async {
            let answer = http.get(&url).timeout(PATIENCE).send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
        };
        let odd = match answer.await {
            Ok((200, body)) if url.ends_with(&body) && !body.is_empty() => None,
            Ok((status, body)) => Some(format!("{url}: {status} {body}")),
            Err(error) => Some(format!("{url}: {error:?}")),
        };
        let mut tally = lock(&tally);
        tally.asked += 1;
        tally.took.add(began.elapsed());
        match odd {
            None => tally.served += 1,
            Some(odd) => tally.odd = Some(odd),
        }
    }
}

/// The honest service: answers each request with its own target.
pub(crate) fn service(listener: TcpListener) -> JoinSet<()> {
    accept_each(listener, serve)
}

/// Serves requests without bodies until the client leaves.
async fn serve(mut stream: TcpStream) {
    let mut left = Vec::new();
    loop {
        while let Some(at) = left.windows(HEAD_END.len()).position(|window| window == HEAD_END) {
            let head: Vec<u8> = left.drain(..at + HEAD_END.len()).collect();
            let head = String::from_utf8_lossy(&head);
            let target = head.split(' ').nth(1).unwrap_or_default();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut left).await, Ok(n) if n > 0) {
            return;
        }
    }
}
