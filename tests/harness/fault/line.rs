//! One direction of one connection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Direction, Held, IN_FLIGHT_MAX, Plan};
use crate::seed::Random;

const CHUNK_BYTES: usize = 64 << 10;

pub(super) struct Line<'c> {
    pub(super) direction: Direction,
    pub(super) plan: watch::Receiver<Plan>,
    /// Nothing is due before the handshake would have ended.
    pub(super) opened: Instant,
    pub(super) delivered: &'c AtomicU64,
}

/// What waits for its moment.
struct Due {
    at: Instant,
    /// `None` is the end of the stream.
    bytes: Option<Bytes>,
}

impl Line<'_> {
    /// Carries until the end of the stream has been delivered.
    ///
    /// # Errors
    /// When either side fails.
    pub(super) async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> std::io::Result<()> {
        let mut random = Random::new(Random::fresh_seed());
        let mut waiting: VecDeque<Due> = VecDeque::new();
        let mut in_flight = 0_usize;
        let mut ended = false;
        let mut latest = self.opened;
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK_BYTES);
            tokio::select! {
                // Deliver first: a fast sender must not starve what is due.
                biased;
                () = due(waiting.front(), &mut self.plan, self.direction) => {
                    let Some(Due { bytes, .. }) = waiting.pop_front() else { continue };
                    let Some(bytes) = bytes else { return to.shutdown().await };
                    to.write_all(&bytes).await?;
                    in_flight -= bytes.len();
                    self.delivered.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                }
                read = from.read_buf(&mut buffer), if !ended && in_flight < IN_FLIGHT_MAX => {
                    let n = read?;
                    ended = n == 0;
                    let way = self.plan.borrow().way(self.direction);
                    let late = way.delay + random.between(Duration::ZERO, way.jitter);
                    // Never before what was read earlier: delay must not reorder bytes.
                    latest = latest.max(Instant::now().max(self.opened) + late);
                    in_flight += n;
                    waiting.push_back(Due { at: latest, bytes: (!ended).then(|| buffer.split().freeze()) });
                }
            }
        }
    }
}

/// Resolves when the first waiting piece may be delivered: its moment has come and the direction is not held.
async fn due(first: Option<&Due>, plan: &mut watch::Receiver<Plan>, direction: Direction) {
    let Some(first) = first else {
        return std::future::pending().await;
    };
    tokio::time::sleep_until(first.at).await;
    if plan.wait_for(|now| now.way(direction).held == Held::No).await.is_err() {
        std::future::pending::<()>().await;
    }
}
