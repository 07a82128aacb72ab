use std::time::Duration;

use ::audit::{
    event::{Class, Event, Phase},
    reader::Row,
};
use futures_util::future::join_all;
use model::time::UtcMicros;
use tokio::time::timeout;
use uuid::Uuid;

use super::fixture::{Database, hex};
use crate::{
    audit::{AuditFilter, AuditItem, LoadError, Loader, Watermark, query, watermark},
    page::PageRequest,
    pool::Primary,
};

/// A row with its bytes.
#[derive(Debug, Clone)]
struct Stored {
    seq: u64,
    event: Vec<u8>,
}

/// The rows as the reader gives them.
fn given(rows: &[Stored]) -> Vec<Row<'_>> {
    rows.iter().map(|row| Row { incarnation: 1, seq: row.seq, salt: &[9; 32], event: &row.event }).collect()
}

/// Loads by a loader that has loaded nothing before.
async fn load(primary: &Primary, node: &str, incarnation: u64, from_seq: u64, rows: &[Stored], chain: [u8; 32]) -> Result<u64, LoadError> {
    Loader::default().load(primary, node, incarnation, from_seq, given(rows).into_iter(), chain).await
}

const DAY_US: i64 = 86_400_000_000;

async fn now(database: &Database) -> i64 {
    database.number("select (extract(epoch from now()) * 1000000)::bigint").await
}

fn event(seq: u64, time_us: i64) -> Vec<u8> {
    let request = format!("r-{seq}");
    let mut event = Event::new(Class::Access, Phase::Outcome, Uuid::from_u128(u128::from(seq)), time_us, "eu", "eu-1", &request);
    let route = if seq.is_multiple_of(2) { "even" } else { "odd" };
    let key = format!("key{:09}", seq % 5);
    event.route = Some(route);
    event.key_id = Some(&key);
    event.tenant = Some("acme");
    event.status = Some(if seq.is_multiple_of(4) { 503 } else { 200 });
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

fn rows(range: std::ops::RangeInclusive<u64>, time_us: i64) -> Vec<Stored> {
    let row = |seq| Stored { seq, event: event(seq, time_us + i64::try_from(seq).expect("small")) };
    range.map(row).collect()
}

async fn count(database: &Database) -> (i64, i64, i64) {
    let rows = database.number("select count(*) from audit_event").await;
    let distinct = database.number("select count(distinct (node, incarnation, seq)) from audit_event").await;
    (rows, distinct, database.number("select coalesce(max(seq), 0) from audit_event").await)
}

#[tokio::test]
async fn rows_that_are_loaded_twice_are_there_once() {
    let database = Database::new().await;
    let at = now(&database).await;
    let batch = rows(1..=100, at);

    for _ in 0..2 {
        assert_eq!(load(&database.primary, "eu-1", 1, 1, &batch, [1; 32]).await.expect("it loads"), 100);
    }
    let overlapping = rows(51..=150, at);
    assert_eq!(load(&database.primary, "eu-1", 1, 51, &overlapping, [2; 32]).await.expect("it loads"), 150);

    assert_eq!(count(&database).await, (150, 150, 150));
    assert_eq!(watermark(&database.primary, "eu-1", 1).await.expect("there is one"), Watermark { seq: 150, chain: [2; 32] });
    assert_eq!(watermark(&database.primary, "eu-1", 2).await.expect("there is none"), Watermark { seq: 0, chain: [0; 32] });
    let stored = database
        .number("select count(*) from audit_event where octet_length(salt) = 32 and convert_from(event, 'utf8')::json ->> 'request_id' = 'r-' || seq")
        .await;
    assert_eq!(stored, 150);
}

#[tokio::test(flavor = "multi_thread")]
async fn loaders_of_the_same_rows_at_the_same_time_load_them_once() {
    let database = Database::new().await;
    let at = now(&database).await;
    // Each loader goes through all rows in steps of its own size.
    let loader = async |step: usize| {
        let all = rows(1..=300, at);
        let mut next = 1;
        while next <= 300 {
            let from = usize::try_from(next).expect("small") - 1;
            let part = &all[from..all.len().min(from + step)];
            next = load(&database.primary, "eu-1", 1, next, part, [3; 32]).await.expect("it loads") + 1;
        }
    };

    join_all([7, 30, 45, 100, 300, 11, 64, 150].map(loader)).await;

    assert_eq!(count(&database).await, (300, 300, 300));
}

/// A loader remembers the days that have a partition; a day that it has not met gets one all the same, and more than one piece
/// of a COPY is one load.
#[tokio::test]
async fn a_loader_that_has_loaded_before_files_every_day_and_any_number_of_rows() {
    let database = Database::new().await;
    let at = now(&database).await;
    let mut loader = Loader::default();

    for (from, until, day) in [(1, 1_000, 0), (1_001, 1_001, 0), (1_002, 1_003, -1), (1_004, 2_500, -1), (2_501, 2_502, 40)] {
        let part = rows(from..=until, at + day * DAY_US);
        assert_eq!(loader.load(&database.primary, "eu-1", 1, from, given(&part).into_iter(), [5; 32]).await.expect("it loads"), until);
    }

    assert_eq!(count(&database).await, (2_502, 2_502, 2_502));
    assert_eq!(database.number("select count(*) from audit_event_default").await, 2);
    assert_eq!(database.number("select count(distinct tableoid) from audit_event").await, 3);
}

/// A load that is cut off at any moment, its commit included, is asked again with the same rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_whose_outcome_is_unknown_is_safe_to_repeat() {
    let database = Database::new().await;
    let at = now(&database).await;
    let mut cut = 0;
    // One and the same loader, as a node has it.
    let mut loader = Loader::default();
    for batch in 0..60 {
        let (first, last) = (batch * 20 + 1, batch * 20 + 20);
        let part = rows(first..=last, at);
        // From at once to longer than a load takes.
        let patience = Duration::from_micros(150 * (batch % 40));
        let part = given(&part);
        if timeout(patience, loader.load(&database.primary, "eu-1", 1, first, part.iter().copied(), [4; 32])).await.is_err() {
            cut += 1;
        }
        assert_eq!(loader.load(&database.primary, "eu-1", 1, first, part.iter().copied(), [4; 32]).await.expect("it loads"), last);
    }

    assert!(cut > 0, "no load was cut off");
    assert_eq!(count(&database).await, (1200, 1200, 1200));
}

#[tokio::test]
async fn a_hole_is_refused() {
    let database = Database::new().await;
    let at = now(&database).await;
    let mut torn = rows(1..=4, at);
    torn.remove(2);

    let ahead = load(&database.primary, "eu-1", 1, 2, &rows(2..=3, at), [0; 32]).await;
    let inside = load(&database.primary, "eu-1", 1, 1, &torn, [0; 32]).await;
    let foreign = load(&database.primary, "eu-1", 2, 1, &rows(1..=2, at), [0; 32]).await;

    assert!(matches!(ahead, Err(LoadError::Gap { seq: 2, expected_after: 0 })), "{ahead:?}");
    assert!(matches!(inside, Err(LoadError::Gap { seq: 4, expected_after: 2 })), "{inside:?}");
    assert!(matches!(foreign, Err(LoadError::Gap { .. })), "{foreign:?}");
    assert_eq!(count(&database).await, (0, 0, 0));
}

#[tokio::test]
async fn bytes_that_are_no_event_are_kept_and_never_stop_the_loader() {
    let database = Database::new().await;
    let at = now(&database).await;
    let long = "x".repeat(5000);
    let odd: Vec<Vec<u8>> = vec![
        b"not json".to_vec(),
        Vec::new(),
        vec![0, 255, 254],
        b"[]".to_vec(),
        br#"{"time_us":"yesterday"}"#.to_vec(),
        format!(r#"{{"time_us":{at},"route":"{long}","tenant":"a\u0000b","status":99999999}}"#).into_bytes(),
        format!(r#"{{"time_us":{},"route":"far"}}"#, i64::MAX).into_bytes(),
        format!(r#"{{"time_us":{},"route":"far"}}"#, i64::MIN).into_bytes(),
    ];
    let rows: Vec<Stored> = (1..).zip(&odd).map(|(seq, event)| Stored { seq, event: event.clone() }).collect();

    assert_eq!(load(&database.primary, "eu-1", 1, 1, &rows, [0; 32]).await.expect("it loads"), 8);

    let found = query(&database.primary, &AuditFilter::default(), &PageRequest::default()).await.expect("a page");
    assert_eq!(found.items.len(), 8);
    assert_eq!(found.items.iter().filter(|item| item.event.is_none()).count(), 3);
    assert_eq!(database.number("select count(*) from audit_event where route is null and status is null").await, 5);
    assert_eq!(database.number("select max(octet_length(route))::bigint from audit_event").await, 512);
    assert_eq!(database.number("select count(*) from audit_event where tenant = 'a'").await, 1);
    for (seq, event) in (1..).zip(odd) {
        let hex = hex(&event);
        let kept = format!("select count(*) from audit_event where seq = {seq} and event = '\\x{hex}'");
        assert_eq!(database.number(kept).await, 1, "the bytes of row {seq}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_once_by_loaders_at_the_same_time_and_a_lying_clock_gets_none() {
    let database = Database::new().await;
    let at = now(&database).await;
    let days = [0, -1, -2, -7, 1, 2, -8, 4, 40, -4000, 9000];
    let loader = async |node: usize| {
        let name = format!("eu-{node}");
        let rows: Vec<Stored> = (1..).zip(days).map(|(seq, day)| Stored { seq, event: event(seq, at + day * DAY_US) }).collect();
        load(&database.primary, &name, 1, 1, &rows, [0; 32]).await.expect("it loads")
    };

    let marks = join_all((0..8).map(loader)).await;

    assert_eq!(marks, [11; 8]);
    let partitions = database.number("select count(*) from pg_inherits where inhparent = 'audit_event'::regclass").await;
    // One for each believable day, and the default.
    assert_eq!(partitions, 7);
    let unbelieved = database.number("select count(*) from audit_event_default where day = '1970-01-01'").await;
    assert_eq!((unbelieved, count(&database).await.0), (5 * 8, 88));
    // The days that were not believed can still have their partition when they come.
    database.run("create table later partition of audit_event for values from (current_date + 4) to (current_date + 5)").await;
}

#[tokio::test]
async fn a_search_filters_and_pages_newest_first() {
    let database = Database::new().await;
    let at = now(&database).await;
    load(&database.primary, "eu-1", 1, 1, &rows(1..=40, at), [0; 32]).await.expect("it loads");
    // Another node, the same instants: nothing may be lost between pages.
    load(&database.primary, "eu.2", 1, 1, &rows(1..=40, at), [0; 32]).await.expect("it loads");

    let mut seen: Vec<AuditItem> = Vec::new();
    let mut page = PageRequest { limit: 7, cursor: None };
    loop {
        let found = query(&database.primary, &AuditFilter::default(), &page).await.expect("a page");
        seen.extend(found.items);
        let Some(cursor) = found.next_cursor else { break };
        page.cursor = Some(cursor);
    }
    assert_eq!(seen.len(), 80);
    assert!(seen.is_sorted_by(|a, b| (a.at, &a.node) > (b.at, &b.node)));
    let event = seen[0].event.as_ref().expect("it reads");
    assert_eq!((event["request_id"].as_str(), seen[0].seq, seen[0].at), (Some("r-40"), 40, UtcMicros(at + 40)));

    let count =
        async |filter: AuditFilter| query(&database.primary, &filter, &PageRequest { limit: 200, cursor: None }).await.expect("a page").items.len();
    let all = AuditFilter::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(count(AuditFilter { route: text("even"), ..all() }).await, 40);
    assert_eq!(count(AuditFilter { key_id: text("key000000003"), ..all() }).await, 16);
    assert_eq!(count(AuditFilter { request_id: text("r-3"), ..all() }).await, 2);
    assert_eq!(count(AuditFilter { status_min: Some(500), ..all() }).await, 20);
    assert_eq!(count(AuditFilter { status_max: Some(499), route: text("even"), ..all() }).await, 20);
    assert_eq!(count(AuditFilter { since: Some(UtcMicros(at + 31)), ..all() }).await, 20);
    assert_eq!(count(AuditFilter { until: Some(UtcMicros(at + 31)), ..all() }).await, 60);
    assert_eq!(
        count(AuditFilter {
            tenant: text("acme"),
            class: text("access"),
            phase: text("outcome"),
            decision: text("allow"),
            region: text("eu"),
            ..all()
        })
        .await,
        80
    );
    assert_eq!(count(AuditFilter { tenant: text("other"), ..all() }).await, 0);
    assert_eq!(count(AuditFilter { method: text("GET"), ..all() }).await, 0);
    assert_eq!(count(AuditFilter { consumer: text("x"), ..all() }).await, 0);
    assert_eq!(count(AuditFilter { action: text("key.create"), ..all() }).await, 0);
}
