//! What a record costs: `cargo run --release -p audit --example cost -- DIR [records]`.
//!
//! CPU time per record for encoding and queueing, for writing in batches of 1, 16 and 64, and for reading back as the loader
//! does; then the time from recording to durable when records come at a steady pace, with segments changing under way. Run it
//! before and after a change, on the disk that matters.
#![expect(clippy::print_stdout, reason = "its output is the figures")]
#![expect(clippy::expect_used, reason = "a measurement that cannot run ends")]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use audit::{
    event::{Class, Event, Outcome, Personal, Phase},
    spool::{Durability, Durable, Lane, Spool, SpoolConfig},
};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// CPU time of the whole process, or of this thread, in nanoseconds.
fn cpu(clock: ClockId) -> i64 {
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
    event.personal = Personal { client_address: Some("127.0.0.1"), user_agent: Some("h2load nghttp2/1.52.0") };
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
    let before = (cpu(ClockId::ProcessCPUTime), cpu(ClockId::ThreadCPUTime), Instant::now());
    runtime.block_on(async {
        let mut waiting = Vec::new();
        for round in 0..rounds {
            waiting.extend((0..size).map(|id| record(&lane, u128::from(round * size + id))));
            for receipt in waiting.drain(..) {
                receipt.await.expect("durable");
            }
        }
    });
    let all = cpu(ClockId::ProcessCPUTime) - before.0;
    let mine = cpu(ClockId::ThreadCPUTime) - before.1;
    let wall = i64::try_from(before.2.elapsed().as_nanos()).unwrap_or(0);
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
    let before = cpu(ClockId::ThreadCPUTime);
    for id in 0..200_000 {
        out.clear();
        event(id).encode(&mut out);
    }
    println!("encode: {:.3} us for {} bytes", per(cpu(ClockId::ThreadCPUTime) - before, 200_000), out.len());
}

fn read(spool: &Spool) {
    let mut reader = spool.reader();
    let mut after = 0;
    let before = cpu(ClockId::ThreadCPUTime);
    loop {
        let batch = reader.read(spool.incarnation(), after, 2_000).expect("readable");
        if batch.rows.is_empty() {
            break;
        }
        after += u64::try_from(batch.rows.len()).expect("small");
    }
    println!("read: {:.3} us per record over {after}", per(cpu(ClockId::ThreadCPUTime) - before, after.max(1)));
}

/// `rate` records a second from one task each, at their time: how long until each is durable.
async fn paced(spool: Spool, rate: u32, seconds: u32) -> Vec<u128> {
    let lane = spool.lane();
    let began = Instant::now();
    let gap = Duration::from_secs(1) / rate;
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut sent = 0;
    while sent < rate * seconds {
        while began + gap * sent <= Instant::now() && sent < rate * seconds {
            let due = began + gap * sent;
            let durable = record(&lane, u128::from(sent));
            let told = told.clone();
            tokio::task::spawn_local(async move {
                durable.await.expect("durable");
                told.send(due.elapsed().as_micros()).ok();
            });
            sent += 1;
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
        spool.release(spool.incarnation(), spool.durable_seq()).expect("released");
    }
    drop(told);
    let mut times = Vec::new();
    while let Some(took) = heard.recv().await {
        times.push(took);
    }
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
        let before = cpu(ClockId::ProcessCPUTime);
        let times = tokio::task::LocalSet::new().block_on(&runtime, paced(spool.clone(), rate, 6));
        let all = cpu(ClockId::ProcessCPUTime) - before;
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
