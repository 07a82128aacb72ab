//! What a record costs: `cargo run --release -p audit --example cost -- DIR [records]`.
//!
//! CPU time per record for encoding and queueing, for writing in batches of 1, 16 and 64, and for reading back as the loader
//! does; then the time from recording to durable when records come at a steady pace, with segments changing under way. Run it
//! before and after a change, on the disk that matters.
#![expect(clippy::print_stdout, reason = "its output is the figures")]
#![expect(clippy::expect_used, reason = "a measurement that cannot run ends")]

use std::{cell::RefCell, path::PathBuf, rc::Rc, time::Duration};

use audit::{
    event::{Class, Event, Outcome, Personal, Phase},
    spool::{Durability, Durable, Lane, Spool, SpoolConfig},
};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// Time, or CPU time of the whole process or of this thread, in nanoseconds.
fn read_clock(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// As the data plane records a small GET.
fn event(id: u128) -> Event<'static> {
    let time_us = 1_764_000_000_000_000 + i64::try_from(id).unwrap_or(0);
    let mut event =
        Event::new(Class::Access, Phase::Outcome, Uuid::from_u128(id), time_us, "eu-west", "bench-1", "01938c5e-7c00-7000-8000-0123456789ab");
    event.outcome = Outcome::Ok;
    event.tenant = Some("bench");
    event.consumer = Some("bench");
    event.application = Some("bench");
    event.principal_kind = Some("key");
    event.auth_method = Some("api_key");
    event.key_id = Some("k7d2m4q9x3wa");
    event.scheme = Some("https");
    event.route = Some("all");
    event.upstream = Some("service");
    event.target_region = Some("eu-west");
    event.upstream_address = Some("127.0.0.1:40123");
    event.method = Some("GET");
    event.host = Some("localhost:8443");
    event.path = Some("/api/v1/items/42");
    event.tls_version = Some("1.3");
    event.tls_cipher = Some("TLS13_AES_128_GCM_SHA256");
    event.tls_group = Some("X25519");
    event.sni = Some("localhost");
    event.protocol = Some("h1");
    event.epoch = Some(1);
    event.authority_revision = Some(100_007);
    event.structural_revision = Some(4);
    event.request_bytes = Some(0);
    event.response_bytes = Some(512);
    event.duration_us = Some(612);
    event.upstream_us = Some(301);
    event.status = Some(200);
    event.upstream_status = Some(200);
    event.personal = Personal { subject: None, client_address: Some("127.0.0.1"), user_agent: Some("h2load nghttp2/1.52.0") };
    event
}

fn record(lane: &Lane, id: u128) -> Durable {
    let mut reservation = lane.reserve(Durability::Durable, 1).expect("admitted");
    reservation.record(&event(id)).durable()
}

fn per(total_ns: i64, count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let value = total_ns as f64 / 1_000.0 / count as f64;
    value
}

fn batches(spool: &Spool, runtime: &tokio::runtime::Runtime, size: u64, records: u64) {
    let lane = spool.lane();
    let rounds = (records / size).max(1);
    let before = (read_clock(ClockId::ProcessCPUTime), read_clock(ClockId::ThreadCPUTime), read_clock(ClockId::Monotonic));
    runtime.block_on(async {
        let mut waiting = Vec::new();
        for round in 0..rounds {
            waiting.extend((0..size).map(|id| record(&lane, u128::from(round * size + id))));
            for receipt in waiting.drain(..) {
                receipt.await.expect("durable");
            }
        }
    });
    let all = read_clock(ClockId::ProcessCPUTime) - before.0;
    let mine = read_clock(ClockId::ThreadCPUTime) - before.1;
    let wall = read_clock(ClockId::Monotonic) - before.2;
    let count = rounds * size;
    println!(
        "batches of {size:3}: encode, queue, await {:6.2} us   write {:6.2} us   per record; one batch takes {:5.0} us",
        per(mine, count),
        per(all - mine, count),
        per(wall, rounds)
    );
}

fn encode() {
    let mut out = Vec::with_capacity(4_096);
    let before = read_clock(ClockId::ThreadCPUTime);
    for id in 0..200_000 {
        out.clear();
        event(id).encode(&mut out);
    }
    println!("encode: {:.3} us for {} bytes", per(read_clock(ClockId::ThreadCPUTime) - before, 200_000), out.len());
}

fn read(spool: &Spool) {
    let mut reader = spool.reader();
    let mut after = 0;
    let before = read_clock(ClockId::ThreadCPUTime);
    loop {
        let batch = reader.read(spool.incarnation(), after, 2_000).expect("readable");
        if batch.rows.is_empty() {
            break;
        }
        after += u64::try_from(batch.rows.len()).expect("small");
    }
    println!("read: {:.3} us per record over {after}", per(read_clock(ClockId::ThreadCPUTime) - before, after.max(1)));
}

/// `rate` records a second from one task each, at their time: how many microseconds until each is durable, sorted.
async fn paced(spool: Spool, rate: i64, seconds: i64) -> Vec<i64> {
    let lane = spool.lane();
    let began = read_clock(ClockId::Monotonic);
    let times = Rc::new(RefCell::new(Vec::new()));
    let mut tasks = Vec::new();
    let mut sent = 0;
    while sent < rate * seconds {
        let due = began + sent * 1_000_000_000 / rate;
        if due > read_clock(ClockId::Monotonic) {
            tokio::time::sleep(Duration::from_micros(500)).await;
            spool.release(spool.incarnation(), spool.durable_seq()).expect("released");
            continue;
        }
        let durable = record(&lane, u128::try_from(sent).expect("it counts up"));
        let times = Rc::clone(&times);
        tasks.push(tokio::task::spawn_local(async move {
            durable.await.expect("durable");
            times.borrow_mut().push((read_clock(ClockId::Monotonic) - due) / 1_000);
        }));
        sent += 1;
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let mut times = times.take();
    times.sort_unstable();
    times
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().expect("a directory on the disk to measure"));
    let records: u64 = arguments.next().map_or(100_000, |count| count.parse().expect("a count"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    encode();
    let spool = Spool::open(SpoolConfig::new(dir.join("batches"), "bench-1")).expect("opens");
    for (size, count) in [(1, records / 50), (16, records / 4), (64, records)] {
        batches(&spool, &runtime, size, count);
    }
    read(&spool);
    drop(spool);
    for rate in [2_000, 8_000] {
        let config = SpoolConfig { segment_bytes: 8 << 20, disk_bytes_max: 1 << 30, ..SpoolConfig::new(dir.join(rate.to_string()), "bench-1") };
        let spool = Spool::open(config).expect("opens");
        let before = read_clock(ClockId::ProcessCPUTime);
        let times = tokio::task::LocalSet::new().block_on(&runtime, paced(spool.clone(), rate, 6));
        let all = read_clock(ClockId::ProcessCPUTime) - before;
        let at = |permille: usize| times.get((times.len() * permille / 1_000).min(times.len().saturating_sub(1))).copied().unwrap_or(0);
        println!(
            "{rate} records/s: p50 {} us, p99 {} us, p99.9 {} us, most {} us; {:.2} us CPU per record, {} syncs",
            at(500),
            at(990),
            at(999),
            at(1_000),
            per(all, u64::try_from(times.len()).unwrap_or(1).max(1)),
            spool.state().fsyncs_total
        );
    }
}
