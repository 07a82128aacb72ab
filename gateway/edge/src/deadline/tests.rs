use std::{future::pending, sync::Arc, time::Duration};

use super::{Deadlines, TICK, watch, within};
use crate::clock::Clock;

fn watched() -> Arc<Deadlines> {
    let deadlines = Arc::new(Deadlines::default());
    crate::accept::spawn(watch(Arc::clone(&deadlines), Clock));
    deadlines
}

#[tokio::test]
async fn future_that_is_ready_needs_no_slot_and_one_that_is_not_gives_its_slot_back() {
    let deadlines = watched();
    assert_eq!(within(&deadlines, Clock, Duration::ZERO, std::future::ready(1)).await, Some(1));
    assert!(deadlines.slots.lock().list.is_empty());
    assert_eq!(within(&deadlines, Clock, Duration::from_secs(5), tokio::task::yield_now()).await, Some(()));
    let slots = deadlines.slots.lock();
    assert_eq!((slots.list.len(), slots.free.len()), (1, 1));
}

#[tokio::test]
async fn deadline_passes_soon_after_its_time_and_never_before() {
    let deadlines = watched();
    for limit in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(20), Duration::from_millis(60)] {
        let began = Clock.boot();
        assert_eq!(within(&deadlines, Clock, limit, pending::<()>()).await, None);
        let took = Duration::from_nanos(Clock.boot().nanos_since(began));
        assert!(took >= limit && took < limit + TICK + Duration::from_secs(2), "{took:?} for {limit:?}");
    }
}

#[tokio::test]
async fn many_deadlines_run_side_by_side_and_canceled_ones_leave_nothing() {
    let deadlines = watched();
    let mut running = tokio::task::JoinSet::new();
    for index in 0..500_u64 {
        let deadlines = Arc::clone(&deadlines);
        running.spawn(async move {
            let limit = Duration::from_millis(index % 37);
            match index % 3 {
                0 => within(&deadlines, Clock, limit, pending::<()>()).await.is_none(),
                1 => within(&deadlines, Clock, Duration::from_mins(1), tokio::task::yield_now()).await.is_some(),
                // Dropped half-way by the outer one.
                _ => within(&deadlines, Clock, limit, within(&deadlines, Clock, Duration::from_mins(1), pending::<()>())).await.is_none(),
            }
        });
    }
    assert!(running.join_all().await.into_iter().all(|is_as_promised| is_as_promised));
    let slots = deadlines.slots.lock();
    assert_eq!(slots.free.len(), slots.list.len());
}
