use model::jwt::rejection::Reason;

use super::*;

fn known() -> Known {
    let place = model::structure::identity::Place::KeySet("https://id.example/keys".parse().unwrap());
    let algorithms = model::jwt::algorithm::Algorithms::new(&[model::jwt::algorithm::Algorithm::Es256]).unwrap();
    let (refresh, stale_max) = (Duration::from_mins(10), Duration::from_hours(1));
    let remote = Remote { place, algorithms, ca: None, allows_private: false, refresh, stale_max };
    Known { remote: Arc::new(remote), state: Arc::default() }
}

/// What the task does around a fetch.
fn fetch(known: &Known) {
    let number = known.state.begun.fetch_add(1, Ordering::AcqRel) + 1;
    known.state.done.send_replace(number);
}

async fn rings(known: &Known) -> bool {
    timeout(Duration::from_millis(20), known.state.bell.notified()).await.is_ok()
}

#[tokio::test]
async fn all_who_miss_a_key_share_one_fetch_and_then_it_rests() {
    let known = known();
    fetch(&known);
    let now = BootNanos(1_000_000_000_000);

    let (answers, ()) = tokio::join!(
        async {
            let asking = (0..100).map(|_| known.again(now));
            futures_util::future::join_all(asking).await
        },
        async {
            assert!(rings(&known).await);
            fetch(&known);
        }
    );

    assert!(answers.iter().all(|answer| *answer == Again::Done), "{answers:?}");
    assert_eq!(known.again(BootNanos(now.0 + COOL_DOWN_NANOS - 1)).await, Again::Resting);
    assert!(!rings(&known).await, "nobody is asked meanwhile");
    let (answer, ()) = tokio::join!(known.again(BootNanos(now.0 + COOL_DOWN_NANOS)), async {
        assert!(rings(&known).await, "the time is over");
        fetch(&known);
    });
    assert_eq!(answer, Again::Done);
}

#[tokio::test]
async fn a_fetch_that_was_under_way_already_does_not_answer() {
    let known = known();
    fetch(&known);
    known.state.begun.fetch_add(1, Ordering::AcqRel); // it may have left before the issuer had the new key

    let asking = known.again(BootNanos(1));
    let (answer, ()) = tokio::join!(asking, async {
        assert!(rings(&known).await);
        known.state.done.send_replace(2);
        tokio::task::yield_now().await;
        fetch(&known);
    });

    assert_eq!((answer, *known.state.done.borrow()), (Again::Done, 3));
}

#[tokio::test]
async fn who_waits_for_a_silent_issuer_is_let_go() {
    let known = known();

    assert!(known.first().await.is_none());
    assert_eq!(known.again(BootNanos(1)).await, Again::Late);
    assert_eq!(known.state.waiting.load(Ordering::Relaxed), 0);
    known.state.waiting.store(WAITING_MAX, Ordering::Relaxed);
    let full = timeout(WAIT_MAX / 4, known.again(BootNanos(1))).await;
    assert_eq!(full, Ok(Again::Late), "where too many wait already, at once");
}

#[tokio::test]
async fn a_reload_keeps_the_keys_unless_they_would_come_from_elsewhere() {
    let issuers = Issuers::default();
    let first = known().remote;
    let set = |remote: &Remote| issuers.set(&HashMap::from([("id".into(), Arc::new(remote.clone()))]));
    set(&first);
    let before = issuers.of("id", &first).await.unwrap();
    set(&first);
    assert!(Arc::ptr_eq(&before.remote, &issuers.of("id", &first).await.unwrap().remote), "nothing has changed, and nothing is fetched anew");

    let sooner = Remote { refresh: Duration::from_mins(1), ..Remote::clone(&first) };
    set(&sooner);
    let again = issuers.of("id", &sooner).await.unwrap();
    assert!(Arc::ptr_eq(&before.state, &again.state) && again.remote.refresh == Duration::from_mins(1));
    let moved = Remote { ca: Some(Box::default()), ..sooner.clone() };
    set(&moved);
    let moved = issuers.of("id", &moved).await.unwrap();
    assert!(!Arc::ptr_eq(&before.state, &moved.state), "what was trusted before is not any more");
    let late = issuers.of("id", &sooner).await.unwrap();
    assert!(Arc::ptr_eq(&late.state, &before.state), "a request that began before goes on with what there was, and changes nothing");
    assert!(Arc::ptr_eq(&issuers.view()[0].1.state, &moved.state));
    set(&sooner);
    assert!(Arc::ptr_eq(&issuers.view()[0].1.state, &before.state), "the change was taken back");
    issuers.set(&HashMap::new());
    assert!(issuers.view().is_empty());
}

#[tokio::test]
async fn a_request_that_is_quicker_than_the_reload_waits_for_it() {
    let issuers = Issuers::default();
    let remote = known().remote;

    assert!(issuers.of("id", &remote).await.is_none(), "not for ever");
    let (found, ()) = tokio::join!(issuers.of("id", &remote), async {
        tokio::task::yield_now().await;
        issuers.set(&HashMap::from([("id".into(), Arc::clone(&remote))]));
    });
    assert!(found.is_some());
}

#[test]
fn refusals_are_counted_under_their_own_names() {
    let issuers = Issuers::default();
    issuers.refused(Refusal::Token(Reason::Expired));
    issuers.refused(Refusal::Unreachable);
    issuers.offered(&[KeyHint::Jku, KeyHint::Jku]);

    let [refused, offered] = issuers.counts();
    let some: Vec<_> = refused.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(some, [&("expired", 1), &("issuer-unreachable", 1)]);
    assert_eq!(offered[0], ("jku", 2));
    let mut names: Vec<_> = refused.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), refused.len());
}

#[test]
fn retries_come_slower_each_time_and_not_at_one_time() {
    assert_eq!([1, 2, 3, 6, 40].map(retry_after), [1, 2, 4, 30, 30].map(Duration::from_secs));
    let pauses: std::collections::HashSet<_> = (0..50).map(|number| with_jitter(Duration::from_mins(10), number)).collect();
    assert!(pauses.len() > 20 && pauses.iter().all(|pause| (480..=600).contains(&pause.as_secs())));
}
