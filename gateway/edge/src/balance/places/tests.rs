use std::task::{Context, Waker};

use super::*;

const RULE: InFlight = InFlight { max: 2, queue: 1, wait: Duration::from_secs(5) };

#[test]
fn place_beyond_the_cap_is_refused_until_one_is_free() {
    let places = Arc::new(Places::default());
    let (first, second) = (places.take(2), places.take(2));

    assert!(first.is_some() && second.is_some() && places.take(2).is_none());
    drop(first);
    assert!(places.take(2).is_some());
}

#[tokio::test]
async fn one_that_waits_gets_the_place_that_is_freed_and_one_more_is_refused_at_once() {
    let places = Arc::new(Places::default());
    let (held, _other) = (places.take(2), places.take(2));
    let mut waiter = pin!(places.wait(&RULE, RULE.wait));
    assert!(waiter.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());

    assert!(places.wait(&RULE, RULE.wait).await.is_none(), "the queue holds one");
    drop(held);
    assert!(waiter.await.is_some());
}

#[tokio::test]
async fn one_that_waited_in_vain_leaves_the_queue() {
    let places = Arc::new(Places::default());
    let _held = (places.take(2), places.take(2));

    assert!(places.wait(&RULE, Duration::from_millis(1)).await.is_none());
    assert_eq!(places.waiting.load(Ordering::SeqCst), 0);
    assert_eq!(places.taken.load(Ordering::SeqCst), 2);
}
