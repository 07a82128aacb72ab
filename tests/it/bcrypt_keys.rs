//! Keys that another system has hashed with bcrypt: verified at their first use, and like any imported key from then on.

use std::time::{Duration, Instant};

use harness::bcrypt::hash;
use harness::client::Version;
use harness::wait;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::imported_keys::Place;
use crate::site::SOON;

const RIGHT: &str = "causeway_bcrypt_verifications_total{outcome=\"right\"}";
const WRONG: &str = "causeway_bcrypt_verifications_total{outcome=\"wrong\"}";
const BUSY: &str = "causeway_bcrypt_verifications_total{outcome=\"busy\"}";

/// A key: what it is called, what it begins with, and its hash.
type Listed<'k> = (&'k str, &'k str, String);

/// Imports these, and gives the report's items.
async fn import(place: &Place, keys: &[Listed<'_>], code: i32) -> Vec<Value> {
    import_for(place, keys, Duration::from_hours(1), code).await
}

/// The same for keys that end soon.
async fn import_for(place: &Place, keys: &[Listed<'_>], life: Duration, code: i32) -> Vec<Value> {
    let end = (OffsetDateTime::now_utc() + life).format(&Rfc3339).unwrap();
    let mut lines = vec!["id,prefix,hash,algorithm,expires_at".to_owned()];
    lines.extend(keys.iter().map(|(id, prefix, hash)| format!("{id},{prefix},{hash},bcrypt,{end}")));
    let file = place.station.folder().join("bcrypt.csv");
    std::fs::write(&file, lines.join("\n")).unwrap();
    place.import(&file, &[], code).await["items"].as_array().unwrap().clone()
}

fn id(item: &Value) -> String {
    item["id"].as_str().unwrap_or_else(|| panic!("{item}")).to_owned()
}

fn loss(item: &Value) -> &str {
    item["losses"][0]["code"].as_str().unwrap_or_default()
}

async fn status(place: &Place, key: &str) -> u16 {
    place.status("/taken/x", ("x-api-key", key)).await
}

/// Whether the node has counted so many.
async fn counted(place: &Place, name: &str, expected: u32) -> bool {
    (place.station.metric(name).await - f64::from(expected)).abs() < 0.5
}

/// How many keys wait for their texts.
async fn waiting(place: &Place) -> u64 {
    let rows = place.station.sql().ask("causeway", "select count(*) from api_key where import_sealed is not null").await.unwrap();
    rows[0].parse().unwrap()
}

async fn becomes_known(place: &Place, left: u64) {
    wait::until("a key that is found by its text", SOON, async || waiting(place).await == left).await.unwrap();
}

/// What the command line says of two keys, in tables and in JSON: whether they wait for their first use.
async fn said(place: &Place, items: &[Value], waits: [bool; 2]) {
    let listed = place.run(&["keys", "list"], 0).await.stdout;
    let json = place.run(&["keys", "list", "--json"], 0).await.json();
    for (item, waits) in items.iter().zip(waits) {
        let (id, source) = (id(item), item["source_id"].as_str().unwrap().to_owned());
        let words = if waits { format!("kong {source} (imported, not yet used)") } else { format!("kong {source} ") };
        let line = listed.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{listed}"));
        assert!(line.contains(&words), "{line}");
        let shown = place.run(&["keys", "show", &id], 0).await.stdout;
        assert_eq!(shown.contains("(imported, not yet used)"), waits, "{shown}");
        let of = |key: &Value| key["imported"]["awaits_first_use"].clone();
        let entry = json["items"].as_array().unwrap().iter().find(|key| key["id"] == id.as_str()).unwrap();
        assert_eq!(of(entry), waits, "{entry}");
        assert_eq!(of(&place.run(&["keys", "show", &id, "--json"], 0).await.json()), waits);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_verified_once_and_is_then_known_to_every_node_and_over_a_restart() {
    let mut place = Place::start().await;
    let (text, second) = ("zuplo-0123456789-a", "zuplo-0123456789-b");
    let keys = [("b-1", "zuplo-0123", hash(text, 10, 1)), ("b-2", "zuplo-0123", hash(second, 4, 2).replace("$2b$", "$2y$"))];
    let items = import(&place, &keys, 0).await;
    assert!(items.iter().all(|item| item["outcome"] == "imported" && loss(item).is_empty()), "{items:?}");
    said(&place, &items, [true, true]).await;

    place.becomes("/taken/x", text, 200).await;
    for (path, key, expected) in [
        ("/taken/x", "zuplo-0123456789-c", 401),
        ("/taken/x", "zuplo-0123", 401),
        ("/taken/x", &keys[0].2, 401),
        ("/plain/x", text, 401),
        ("/plain/x", second, 401),
        ("/either/x", text, 200),
    ] {
        assert_eq!(place.status(path, ("x-api-key", key)).await, expected, "{path} {key}");
    }
    becomes_known(&place, 1).await;
    said(&place, &items, [false, true]).await;
    assert_eq!(status(&place, text).await, 200);
    assert!(counted(&place, RIGHT, 1).await, "it was verified once");

    // The other node learns it by replication, and verifies the second key itself; this node then learns that.
    let other = place.station.dev.reader().unwrap().clone();
    let there = async |key: &str| {
        let request = place.station.http(Version::Http1).get(format!("{}/taken/x", other.data)).header("x-api-key", key);
        request.send().await.unwrap().status().as_u16()
    };
    wait::until("the key at the other node", SOON, async || there(text).await == 200).await.unwrap();
    wait::until("the second key at the other node", SOON, async || there(second).await == 200).await.unwrap();
    becomes_known(&place, 0).await;
    place.becomes("/taken/x", second, 200).await;
    wait::until("the follower", SOON, async || status(&place, "zuplo-0123456789-d").await == 401).await.unwrap();

    place.restart().await;
    for key in [text, second] {
        place.becomes("/taken/x", key, 200).await;
    }
    assert!(counted(&place, RIGHT, 0).await && counted(&place, WRONG, 0).await, "nothing is verified with bcrypt any more");
    let again = import(&place, &keys, 0).await;
    assert!(again.iter().zip(&items).all(|(again, first)| again["outcome"] == "before" && again["id"] == first["id"]), "{again:?}");
    place.run(&["keys", "revoke", &id(&items[0])], 0).await;
    place.becomes("/taken/x", text, 401).await;
    place.station.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_key_ends_it_before_its_first_use_and_while_a_node_alone_knows_it() {
    let place = Place::start().await;
    // What a node says of a key is not written: its own memory has to answer.
    let sql = place.station.sql();
    sql.ask("causeway", "alter table api_key add constraint no_proof check (import_mark is null or import_lookup is null) not valid").await.unwrap();
    let texts = ["remembered-1", "revoked-before", "disabled-before", "rolled-before", "rolled-at-once"];
    let keys: Vec<_> = texts.iter().enumerate().map(|(n, text)| (*text, &text[..8], hash(text, 4, u8::try_from(n).unwrap()))).collect();
    let items = import(&place, &keys, 0).await;
    place.run(&["keys", "revoke", &id(&items[1])], 0).await;
    place.run(&["keys", "disable", &id(&items[2])], 0).await;
    place.run(&["keys", "roll", &id(&items[3]), "--overlap", "1h"], 0).await;
    place.run(&["keys", "roll", &id(&items[4]), "--overlap", "0"], 0).await;

    place.becomes("/taken/x", texts[0], 200).await;
    for _ in 0..5 {
        assert_eq!(status(&place, texts[0]).await, 200);
    }
    assert!(counted(&place, RIGHT, 1).await, "it is remembered");
    place.becomes("/taken/x", texts[3], 200).await;
    for text in [texts[1], texts[2], texts[4]] {
        place.becomes("/taken/x", text, 401).await;
    }
    assert!(counted(&place, WRONG, 0).await, "nobody has to wait for a key that has ended");
    place.run(&["keys", "enable", &id(&items[2])], 0).await;
    place.becomes("/taken/x", texts[2], 200).await;
    place.run(&["keys", "end-overlap", &id(&items[3])], 0).await;
    place.becomes("/taken/x", texts[3], 401).await;
    place.run(&["keys", "disable", &id(&items[0])], 0).await;
    place.becomes("/taken/x", texts[0], 401).await;
    place.run(&["keys", "enable", &id(&items[0])], 0).await;
    place.becomes("/taken/x", texts[0], 200).await;
    import_for(&place, &[("ends", "ending-", hash("ending-soon", 4, 20))], Duration::from_secs(8), 0).await;
    place.becomes("/taken/x", "ending-soon", 200).await;
    place.becomes("/taken/x", "ending-soon", 401).await;
    assert_eq!(waiting(&place).await, 5, "the revoked one holds no hash any more");
    place.station.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_keys_may_begin_alike_and_what_cannot_be_verified_is_refused_when_it_is_imported() {
    let place = Place::start().await;
    let texts: Vec<String> = (1..=5).map(|n| format!("shared-prefix-{n}")).collect();
    let long = format!("seventy-three-{}", "x".repeat(59));
    let mut keys: Vec<_> = texts.iter().zip(1..).map(|(text, n)| (text.as_str(), "shared", hash(text, 4, n))).collect();
    keys.extend([
        ("dear", "dear-1", hash("dear-1-text", 4, 6).replace("$04$", "$13$")),
        ("no-prefix", "", hash("no-prefix-text", 4, 7)),
        ("broken", "broken", hash("broken-text", 4, 8)[..59].to_owned()),
        ("other", "other-", hash("other-text", 4, 9).replace("$2b$", "$2x$")),
        ("long", "seventy", hash(&long, 4, 10)),
    ]);

    let items = import(&place, &keys, 1).await;
    let told: Vec<_> = items.iter().map(|item| (item["outcome"].as_str().unwrap(), loss(item))).collect();
    let taken = ("imported", "");
    let expected = [
        [taken, taken, taken, taken, ("refused", "prefix-crowded")],
        [("refused", "cost-too-high"), ("refused", "prefix-malformed"), ("refused", "hash-malformed"), ("refused", "hash-malformed"), taken],
    ];
    assert_eq!(told, expected.concat());
    for text in &texts[..4] {
        place.becomes("/taken/x", text, 200).await;
    }
    assert_eq!(status(&place, &texts[4]).await, 401);
    // bcrypt would not read its last character, and take any text that begins so.
    assert_eq!((long.len(), status(&place, &long).await, status(&place, &long[..72]).await), (73, 401, 200));

    becomes_known(&place, 0).await;
    let again = import(&place, &keys[..5], 0).await;
    assert_eq!(again[4]["outcome"], "imported", "those that were used made room: {again:?}");
    place.becomes("/taken/x", &texts[4], 200).await;
    place.station.stop().await;
}

/// Whoever knows what a key begins with makes a node compute, a little and at a low priority: nobody else notices.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test's own clock and tasks")]
async fn a_flood_of_wrong_texts_costs_little_and_slows_nobody_else() {
    let place = Place::start().await;
    let keys: Vec<_> = (0..8)
        .map(|n| {
            (
                ["f-0", "f-1", "f-2", "f-3", "f-4", "f-5", "f-6", "f-7"][n],
                ["flood-0", "flood-1", "flood-2", "flood-3", "flood-4", "flood-5", "flood-6", "flood-7"][n],
            )
        })
        .collect();
    let listed: Vec<_> = keys.iter().zip(1..).map(|((id, prefix), n)| (*id, *prefix, hash(&format!("{prefix}-text"), 12, n))).collect();
    import(&place, &listed, 0).await;
    import(&place, &[("quick", "quick-", hash("quick-text", 4, 20))], 0).await;
    place.becomes("/taken/x", "quick-text", 200).await;
    becomes_known(&place, 8).await;
    let own = place.run(&["keys", "create", "own", "--application", "default"], 0).await.stdout.trim().to_owned();
    place.becomes("/plain/x", &own, 200).await;
    let before = place.station.metric(WRONG).await;

    let url = format!("{}/taken/x", place.station.region.data);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flood = (0..24).map(|n| {
        let (http, url, stop) = (place.station.http(Version::Http1), url.clone(), std::sync::Arc::clone(&stop));
        tokio::spawn(async move {
            let mut told = Vec::new();
            for turn in 0.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
                let answer = http.get(&url).header("x-api-key", format!("flood-{}-{n}-{turn}", n % 8)).send().await.unwrap();
                told.push((answer.status().as_u16(), answer.headers().contains_key("retry-after")));
            }
            told
        })
    });
    let flood: Vec<_> = flood.collect();
    wait::until("a flood that is under way", SOON, async || place.station.metric(BUSY).await > 100.0).await.unwrap();
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        for (path, key) in [("/taken/x", "quick-text"), ("/plain/x", own.as_str()), ("/taken/x", own.as_str())] {
            let began = Instant::now();
            assert_eq!(place.status(path, ("x-api-key", key)).await, 200, "{path}");
            slowest = slowest.max(began.elapsed());
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut told = Vec::new();
    for task in flood {
        told.extend(task.await.unwrap());
    }

    let verified = place.station.metric(WRONG).await - before;
    assert!(told.iter().all(|answer| matches!(answer, (401, _) | (503, true))), "each is refused, or told when to come again");
    assert!(told.len() > 200, "{} requests were no flood", told.len());
    // What one address has: 20 at once, and one in five seconds.
    assert!(verified <= 30.0, "{verified} of {} were verified", told.len());
    assert!(slowest < Duration::from_secs(1), "{slowest:?} for a request with a good key");
    place.station.stop().await;
}
