use std::sync::Arc;

use model::{change::Revisions, time::UtcMicros};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn check(confirmed: Option<u64>, booted_from: Option<i64>, on_stale: OnStaleDoc, is_read: bool) -> bool {
    let lease = Lease::new(24 * 3_600_000_000);
    if let Some(at) = confirmed {
        lease.reported(60 * SECOND, BootNanos(0));
        lease.confirm(BootNanos(at * SECOND));
    }
    let snapshot = Snapshot {
        revisions: Revisions::default(),
        structure: Arc::default(),
        authority: Arc::default(),
        writers: Arc::default(),
        booted_from: booted_from.map(UtcMicros),
    };
    let now = Now { wall: UtcMicros(1_000_000_000_000), boot: BootNanos(1_000 * SECOND) };
    lease.check(KeyFreshness { max_staleness_nanos: 2 * SECOND, on_stale }, is_read, &snapshot, now).is_ok()
}

#[test]
fn a_confirmed_lease_serves_within_its_bound_and_then_by_policy() {
    assert!(check(Some(999), None, OnStaleDoc::Deny, false));
    assert!(!check(Some(998), None, OnStaleDoc::Deny, false), "two seconds of a clock that may be slow are more");
    assert!(!check(Some(997), None, OnStaleDoc::Deny, true));
    assert!(check(Some(997), None, OnStaleDoc::Allow, false));
    assert!(check(Some(997), None, OnStaleDoc::AllowReads, true));
    assert!(!check(Some(997), None, OnStaleDoc::AllowReads, false));
}

#[test]
fn a_snapshot_from_disk_carries_no_lease() {
    let (recent, day_old, future) = (Some(1_000_000_000_000 - 5), Some(1_000_000_000_000 - 25 * 3_600_000_000), Some(1_000_000_000_009));

    assert!(!check(None, recent, OnStaleDoc::Deny, true));
    assert!(check(None, recent, OnStaleDoc::Allow, false));
    assert!(!check(None, day_old, OnStaleDoc::Allow, false), "older than boot_stale_max");
    assert!(!check(None, future, OnStaleDoc::Allow, false), "a clock that was set back proves nothing");
}

#[test]
fn a_confirmation_never_goes_back() {
    let lease = Lease::new(0);
    lease.confirm(BootNanos(10));
    lease.confirm(BootNanos(5));

    assert_eq!(lease.staleness_nanos(BootNanos(12)), Some(2));
}

/// A receipt waits for a node by what the node has reported: so a bound counts for what was read after that is known to be written.
#[test]
fn no_confirmation_counts_for_longer_than_was_reported_before_its_read() {
    let lease = Lease::new(0);
    let snapshot = Snapshot {
        revisions: Revisions::default(),
        structure: Arc::default(),
        authority: Arc::default(),
        writers: Arc::default(),
        booted_from: None,
    };
    let serves = |bound: u64, now: u64| {
        let now = Now { wall: UtcMicros(0), boot: BootNanos(now * SECOND) };
        lease.check(KeyFreshness { max_staleness_nanos: bound * SECOND, on_stale: OnStaleDoc::Deny }, false, &snapshot, now).is_ok()
    };

    lease.confirm(BootNanos(10 * SECOND));
    assert!(!serves(5, 11), "nothing was reported");
    lease.reporting(5 * SECOND);
    lease.reported(5 * SECOND, BootNanos(12 * SECOND));
    lease.confirm(BootNanos(11 * SECOND));
    assert!(!serves(5, 12), "it was read before the report was known to be written");
    lease.confirm(BootNanos(12 * SECOND));
    assert!(serves(5, 16) && !serves(5, 17));
    assert!(serves(60, 16) && !serves(60, 18), "a wider bound than was reported");
    lease.reporting(60 * SECOND);
    lease.reported(60 * SECOND, BootNanos(20 * SECOND));
    assert!(!serves(60, 18), "the confirmation is older than the report");
    lease.confirm(BootNanos(21 * SECOND));
    assert!(serves(60, 70));
    lease.reported(90 * SECOND, BootNanos(22 * SECOND));
    lease.reported(90 * SECOND, BootNanos(24 * SECOND));
    lease.confirm(BootNanos(23 * SECOND));
    assert!(serves(90, 110), "the same again counts from the first time");
    lease.reporting(2 * SECOND);
    assert!(!serves(60, 26) && serves(60, 24), "from before a narrower one is reported");
    lease.confirm(BootNanos(26 * SECOND));
    assert!(!serves(60, 29), "a report that was not written widens nothing");
    assert_eq!(lease.registered_nanos(), 2 * SECOND);
}

/// A purge that this node has not heard of was committed after the newest confirmation, so what was asked for later is as good.
#[test]
fn a_stored_response_is_covered_by_the_confirmation_or_by_its_own_youth() {
    let covers = |confirmed: u64, known: u64, on_stale| {
        let lease = Lease::new(0);
        lease.confirm(BootNanos(confirmed * SECOND));
        lease.covers(KeyFreshness { max_staleness_nanos: 2 * SECOND, on_stale }, BootNanos(known * SECOND), BootNanos(1_000 * SECOND))
    };

    assert!(covers(999, 1, OnStaleDoc::Deny) && covers(1, 999, OnStaleDoc::Deny));
    assert!(!covers(998, 998, OnStaleDoc::Deny), "two seconds of a clock that may be slow are more");
    assert!(!covers(997, 997, OnStaleDoc::Deny));
    assert!(covers(1, 1, OnStaleDoc::Allow) && covers(1, 1, OnStaleDoc::AllowReads), "stored responses answer reads alone");
}
