use ::audit::{
    event::{Class, Decision, Event, Personal, Phase},
    reader::Row,
};
use model::{key::KeyId, time::UtcMicros};
use uuid::Uuid;

use super::fixture::{Database, document};
use crate::{
    audit::Loader,
    usage::{self, Step, UsageFilter},
};

const KEY: &str = "7sEgbYf9hQ2x";

/// One request with a key, as its record says it.
#[derive(Debug, Clone, Copy)]
struct Request {
    at: i64,
    status: u16,
    method: &'static str,
    duration_us: u64,
    agent: &'static str,
}

fn event(request: Request) -> Vec<u8> {
    let refused = request.status == 403;
    let event = Event {
        key_id: Some(KEY),
        route: Some("orders"),
        tenant: Some("acme"),
        consumer: Some("shop"),
        application: Some("web"),
        auth_method: Some(request.method),
        decision: if refused { Decision::Deny } else { Decision::Allow },
        status: Some(request.status),
        duration_us: Some(request.duration_us),
        request_bytes: Some(10),
        response_bytes: Some(100),
        personal: Personal { user_agent: Some(request.agent), ..Personal::default() },
        ..Event::new(Class::Access, Phase::Outcome, Uuid::from_u128(1), request.at, "eu", "eu-1", "r")
    };
    let mut bytes = Vec::new();
    event.encode(&mut bytes);
    bytes
}

async fn load(database: &Database, node: &str, from_seq: u64, events: &[Vec<u8>]) {
    let rows: Vec<_> = (from_seq..).zip(events).map(|(seq, event)| Row { incarnation: 1, seq, salt: &[9; 32], event }).collect();
    Loader::default().load(&database.primary, node, 1, from_seq, rows.into_iter(), [1; 32]).await.expect("it loads");
}

fn filter(step: Step, at: i64) -> UsageFilter {
    let hour = 3_600_000_000;
    UsageFilter { key_id: KeyId::parse(KEY), application: None, route: None, since: UtcMicros(at - 30 * hour), until: UtcMicros(at + hour), step }
}

async fn now(database: &Database) -> i64 {
    database.number("select (extract(epoch from now()) * 1000000)::bigint").await
}

/// Usage is as exact as the log: what is loaded twice is counted once, and what two nodes saw is added.
#[tokio::test]
async fn each_record_is_counted_once_whoever_loads_it_and_however_often() {
    let database = Database::new().await;
    let team = "tenants: [{ name: acme, hosts: [api.example.com] }]\nconsumers: [{ name: shop }]\napplications: [{ name: web, consumer: shop }]";
    database.apply(&document(team)).await;
    let at = now(&database).await;
    let request = Request { at, status: 200, method: "api_key", duration_us: 900, agent: "curl/8" };
    let mut events: Vec<_> = (0..90).map(|_| event(request)).collect();
    events.push(event(Request { status: 404, ..request }));
    events.push(event(Request { status: 503, duration_us: 50_000, ..request }));
    events.push(event(Request { status: 403, ..request }));
    events.push(event(Request { method: "api_key_old", ..request }));
    events.push(b"no event at all".to_vec());
    let mut unknown = Event::new(Class::Access, Phase::Outcome, Uuid::from_u128(1), at, "eu", "eu-1", "r");
    unknown.key_id = Some(KEY);
    let mut bytes = Vec::new();
    unknown.encode(&mut bytes);
    events.push(bytes);

    for _ in 0..3 {
        load(&database, "eu-1", 1, &events).await;
    }
    load(&database, "us-1", 1, &events).await;
    load(&database, "us-1", 91, &events[90..]).await;

    for step in [Step::Minute, Step::Hour, Step::Day] {
        let points = usage::series(&database.primary, &filter(step, at)).await.expect("there is usage");
        let [point] = points.as_slice() else { panic!("{points:?}") };
        assert_eq!((point.requests, point.denied, point.client_errors, point.server_errors, point.old_secret), (188, 2, 4, 2, 2), "{point:?}");
        assert_eq!((point.request_bytes, point.response_bytes), (1_880, 18_800));
        assert!((900..=1_125).contains(&point.p50_us.expect("some were counted")), "{point:?}");
    }
    for step in [Step::Minute, Step::Hour] {
        let total = usage::total(&database.primary, &filter(step, at)).await.expect("there is usage");
        assert_eq!((total.requests, total.errors), (188, 6), "{total:?}");
        assert!(total.p50_us.is_some_and(|us| (900..=1_125).contains(&us)) && total.p95_us >= total.p50_us, "{total:?}");
    }
    let none = usage::total(&database.primary, &UsageFilter { route: Some("nobodys".to_owned()), ..filter(Step::Hour, at) }).await.expect("none");
    assert_eq!(none, usage::Total { requests: 0, errors: 0, p50_us: None, p95_us: None });
    // What a quota is used for, nearly: most of what was refused charged nothing, and other routes, callers and times do not count.
    let (routes, others) = (["orders".to_owned(), "more".to_owned()], ["other".to_owned()]);
    let of = |routes| usage::Counted { key_id: None, application: None, consumer: None, routes };
    let key_id = KeyId::parse(KEY);
    let an_hour_ago = UtcMicros(at - 3_600_000_000);
    for (counted, since, expected) in [
        (usage::Counted { key_id, ..of(&routes) }, an_hour_ago, 186),
        (usage::Counted { application: Some("web"), ..of(&routes) }, an_hour_ago, 186),
        (usage::Counted { consumer: Some("shop"), ..of(&routes) }, an_hour_ago, 186),
        (usage::Counted { application: Some("another"), ..of(&routes) }, an_hour_ago, 0),
        (usage::Counted { consumer: Some("another"), ..of(&routes) }, an_hour_ago, 0),
        (usage::Counted { key_id: KeyId::parse("0123456789ab"), ..of(&routes) }, an_hour_ago, 0),
        (usage::Counted { key_id, ..of(&others) }, an_hour_ago, 0),
        (usage::Counted { key_id, ..of(&routes) }, UtcMicros(at + 60_000_000), 0),
    ] {
        let found = usage::admitted(&database.primary, &counted, since, Step::Minute).await.expect("it is counted");
        assert_eq!(found, expected, "{counted:?}");
    }
    let old = usage::old_secret_requests(&database.primary, &KeyId::parse(KEY).expect("an id")).await.expect("it is counted");
    assert_eq!(old, 2);
}

#[tokio::test]
async fn the_last_use_tells_when_where_and_with_what() {
    let database = Database::new().await;
    let at = now(&database).await;
    let id = KeyId::parse(KEY).expect("an id");
    let minute = 60_000_000;
    let request = |at, agent| event(Request { at, status: 200, method: "api_key", duration_us: 900, agent });

    assert_eq!(usage::last_use(&database.primary, &id).await.expect("it is read"), None);
    load(&database, "eu-1", 1, &[request(at - 10 * minute, "curl/8.5")]).await;
    let first = usage::last_use(&database.primary, &id).await.expect("it is read").expect("it was used");
    load(&database, "eu-1", 2, &[request(at, "python-requests/2")]).await;
    load(&database, "eu-1", 3, &[request(at + minute / 2, "late/1"), request(at - 20 * minute, "older/1")]).await;
    let second = usage::last_use(&database.primary, &id).await.expect("it is read").expect("it was used");

    assert_eq!((first.at, first.client.as_deref(), first.region.as_deref()), (UtcMicros(at - 10 * minute), Some("curl"), Some("eu")));
    assert_eq!((second.at, second.client.as_deref()), (UtcMicros(at), Some("python-requests")), "it is written once a minute");

    let several = [request(at + 2 * minute, "first/1"), request(at + 2 * minute + 500_000, "second/1"), request(at + 3 * minute, "third/1")];
    load(&database, "eu-1", 5, &several).await;
    let third = usage::last_use(&database.primary, &id).await.expect("it is read").expect("it was used");
    assert_eq!((third.at, third.client.as_deref()), (UtcMicros(at + 3 * minute), Some("third")), "the last of one load");
}

#[tokio::test]
async fn old_slots_are_trimmed_and_hours_stay() {
    let database = Database::new().await;
    let at = now(&database).await;
    let old = at - 3 * 86_400_000_000;
    let request = |at| event(Request { at, status: 200, method: "api_key_old", duration_us: 900, agent: "curl/8" });
    load(&database, "eu-1", 1, &[request(old)]).await;

    // A loader that has loaded nothing before prepares its calendar, and trims on the way.
    load(&database, "eu-1", 2, &[request(at)]).await;

    let grains = database.texts("select grain::text || count(*)::text from key_usage group by grain order by grain").await;
    assert_eq!(grains, ["h2", "m1", "t1"]);
}
