mod admission;
mod durability;
mod recovery;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use uuid::Uuid;

use super::{Durability, Durable, Lane, Lost, Spool, SpoolConfig, Writer};
use crate::{
    event::{Class, Event, Phase},
    reader::Rows,
    simulate::SimDisk,
};

/// Small figures, so that segments change often.
pub(crate) fn config() -> SpoolConfig {
    SpoolConfig { disk_bytes_max: 1 << 20, segment_bytes: 1, ..SpoolConfig::new("/spool", "node-1") }
}

pub(crate) fn stepped(disk: &SimDisk) -> (Spool, Writer) {
    Spool::open_stepped(config(), Arc::new(disk.clone())).expect("the spool opens")
}

pub(crate) fn event(id: u128) -> Event<'static> {
    Event::new(Class::Access, Phase::Outcome, Uuid::from_u128(id), 1, "eu-west", "node-1", "req")
}

/// Queues one durable record.
pub(crate) fn record(lane: &Lane, id: u128) -> Durable {
    let mut reservation = lane.reserve(Durability::Durable, 1).expect("admitted");
    reservation.record(&event(id)).durable()
}

/// Polls once; `None` while it is pending.
pub(crate) fn answer(durable: &mut Durable) -> Option<Result<u64, Lost>> {
    match Pin::new(durable).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

/// Waits on this thread, at most ten seconds.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time") })
}

/// Waits for a condition, at most ten seconds.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    wait(async {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while !condition() {
            ticks.tick().await;
        }
    });
}

/// A row's number, salt and event.
pub(crate) type Owned = (u64, [u8; 32], Vec<u8>);

pub(crate) fn owned(rows: &Rows) -> Vec<Owned> {
    rows.iter().map(|row| (row.seq, *row.salt, row.event.to_vec())).collect()
}

/// Every row of one incarnation that can be read without a gap.
pub(crate) fn rows(spool: &Spool, incarnation: u64) -> Vec<Owned> {
    owned(&spool.reader().read(incarnation, 0, usize::MAX).expect("readable").rows)
}

/// The event ids in rows.
pub(crate) fn ids(rows: &[Owned]) -> Vec<u128> {
    let id = |row: &Owned| {
        let event: serde_json::Value = serde_json::from_slice(&row.2).expect("JSON");
        Uuid::parse_str(event["event_id"].as_str().expect("an id")).expect("a UUID").as_u128()
    };
    rows.iter().map(id).collect()
}
