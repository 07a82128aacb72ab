//! The audit spool's disk: full, it refuses requests before they reach a service and recovers by itself; failing, it releases
//! nothing more.
#![expect(clippy::print_stderr, reason = "a skip is never silent")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use harness::dev::{Dev, RegionReady};
use harness::fault::Proxy;
use harness::node::{Node, Under};
use harness::power;
use harness::process::Process;
use harness::sql::Sql;
use harness::upstream::{Behavior, Recorder};
use harness::wait;
use rustix::process::Signal;

use crate::calls::Calls;
use crate::program::causeway_at;

const WITHIN: Duration = Duration::from_secs(20);
/// A spool of a few MiB holds thousands of records; on two cores with others that takes its time.
const FULL_WITHIN: Duration = Duration::from_mins(1);
/// A route without limits that goes on serving for five minutes without its database.
const PATH: &str = "/demo/v1/social/echo";
const CLIENTS: usize = 8;

/// What a client was answered.
#[derive(Debug, Clone)]
struct Told {
    request_id: String,
    status: u16,
    code: String,
    began: SystemTime,
}

/// A node whose ways to the database can be cut, in front of a service that records.
struct Stage {
    dev: Dev,
    region: RegionReady,
    node: Node,
    calls: Calls,
    service: Recorder,
    ways: Vec<Proxy>,
    database: Sql,
}

impl Stage {
    /// The writer region's node with this `spool:` line.
    async fn start(spool: impl FnOnce(&Path) -> String) -> Self {
        let dev = Dev::start().await.unwrap();
        let calls = Calls::of(dev.ready()).unwrap();
        let (region, reader) = (dev.writer().unwrap().clone(), dev.reader().unwrap().clone());
        let database = Sql::open(region.postgres_port, &reader.postgres_data_dir).unwrap();
        let service = Recorder::start(Behavior::ok("{}")).await.unwrap();
        lead_to(&dev, &service).await;
        let mut node = Node::adopt(&dev, &region).unwrap();
        node.stop().await.unwrap();
        let mut ways = Vec::new();
        for port in [region.postgres_port, reader.postgres_port] {
            let way = Proxy::to_port(port).await.unwrap();
            node.reconfigure(|text| text.replace(&format!("127.0.0.1:{port}\""), &format!("127.0.0.1:{}\"", way.port()))).unwrap();
            ways.push(way);
        }
        let line = spool(region.node_config.parent().unwrap());
        node.reconfigure(|text| {
            text.lines().map(|known| if known.starts_with("spool:") { format!("{line}\n") } else { format!("{known}\n") }).collect()
        })
        .unwrap();
        node.start(Under::Bare).await.unwrap();
        let stage = Self { dev, region, node, calls, service, ways, database };
        stage.serves().await;
        stage
    }

    async fn ask(&self) -> Result<Told> {
        ask(&self.calls, &self.region).await
    }

    async fn serves(&self) {
        let served = wait::until("a served request", WITHIN, async || self.ask().await.is_ok_and(|told| told.status == 200)).await;
        assert!(served.is_ok(), "{:?}\n{:?}", self.ask().await, self.calls.readiness(&self.region).await);
    }

    fn part(&self) {
        for way in &self.ways {
            way.refuse();
            way.cut();
        }
    }

    fn heal(&self) {
        for way in &self.ways {
            way.heal();
        }
    }

    /// Several clients ask until `stop` says so; all that they were told.
    async fn load(&self, stop: impl AsyncFnMut() -> bool) -> Vec<Told> {
        let mut stop = stop;
        let ended = Arc::new(AtomicBool::new(false));
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let (calls, region, ended) = (Calls::of(self.dev.ready()).unwrap(), self.region.clone(), Arc::clone(&ended));
            clients.spawn(async move {
                let mut told = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    // A broken connection told the client nothing.
                    told.extend(ask(&calls, &region).await.ok());
                }
                told
            });
        }
        let reached = wait::until("the end of the load", FULL_WITHIN, async || stop().await).await;
        ended.store(true, Ordering::Relaxed);
        let told = clients.join_all().await.concat();
        reached.unwrap();
        told
    }

    /// Every answer but a refusal for want of a place has exactly one outcome record in the database.
    async fn each_answer_has_one_record(&self, told: &[Told]) {
        let wanted: Vec<&Told> = told.iter().filter(|told| told.code != "audit-unavailable").collect();
        let question = "select request_id, status, count(*) from audit_event where phase = 'outcome' and class = 'access' group by 1, 2";
        let missing = async || {
            let rows = self.database.ask("causeway", question).await.unwrap_or_default();
            let records: HashMap<&str, (&str, &str)> = rows
                .iter()
                .filter_map(|row| {
                    let mut columns = row.split('|');
                    Some((columns.next()?, (columns.next()?, columns.next()?)))
                })
                .collect();
            wanted.iter().filter(|told| records.get(&*told.request_id) != Some(&(told.status.to_string().as_str(), "1"))).count()
        };
        let all = wait::until("all records in the database", FULL_WITHIN, async || missing().await == 0).await;
        if all.is_err() {
            let (readiness, rows) = (self.calls.readiness(&self.region).await, self.database.ask("causeway", question).await);
            let rows = rows.unwrap_or_default();
            let found = |told: &Told| rows.iter().filter(|row| row.starts_with(&told.request_id)).cloned().collect::<Vec<_>>();
            let one = |told: &&&Told| found(told) != [format!("{}|{}|1", told.request_id, told.status)];
            let lacking: Vec<_> = wanted.iter().filter(one).take(3).map(|told| (told, found(told))).collect();
            assert!(all.is_ok(), "{} of {} answers have no or no single record: {lacking:?}; {readiness:?}", missing().await, wanted.len());
        }
        assert!(!wanted.is_empty());
    }
}

/// Makes the demo's route lead to the recorder, in the writer's region.
async fn lead_to(dev: &Dev, service: &Recorder) {
    let present = dev.ready().ca.parent().unwrap().with_file_name("gateway.yaml");
    let text = std::fs::read_to_string(&present).unwrap();
    let line = text.lines().find(|line| line.trim_start().starts_with("eu-west: { targets")).unwrap();
    let recorded = present.with_file_name("recorded.yaml");
    std::fs::write(&recorded, text.replace(line, &format!("    eu-west: {{ targets: [ \"http://{}\" ] }}", service.address()))).unwrap();
    causeway_at(dev.ready(), &["apply", "-f", recorded.to_str().unwrap()]).await.expect(0);
}

async fn ask(calls: &Calls, region: &RegionReady) -> Result<Told> {
    let began = edge::clock::Clock.wall();
    let answer = calls.get(region, PATH, calls.first_key()).await?;
    let request_id = answer.header("x-request-id").unwrap_or_default().to_owned();
    let began = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(began.0)?);
    Ok(Told { request_id, status: answer.status, code: answer.code(), began })
}

async fn fills_refuses_and_recovers(mut stage: Stage) {
    stage.part();
    let process = stage.node.process();

    let mut refused_in_a_row = 0;
    let mut told = stage
        .load(async || {
            refused_in_a_row = if stage.ask().await.is_ok_and(|told| told.code == "audit-unavailable") { refused_in_a_row + 1 } else { 0 };
            refused_in_a_row >= 20
        })
        .await;
    // The last places go one by one.
    wait::until("the last place taken", WITHIN, async || {
        for _ in 0..20 {
            let last = stage.ask().await.unwrap();
            let is_refused = last.code == "audit-unavailable";
            told.push(last);
            if !is_refused {
                return false;
            }
        }
        true
    })
    .await
    .unwrap();
    let seen = stage.service.seen().len();
    let mut refusals = Vec::new();
    for _ in 0..50 {
        refusals.push(stage.ask().await.unwrap());
    }
    let (ready, text) = stage.calls.readiness(&stage.region).await.unwrap();
    let live = stage.calls.control(&stage.region, "/livez").await.unwrap();

    let other: Vec<_> = told.iter().filter(|told| told.status != 200 && told.code != "audit-unavailable").collect();
    assert!(other.is_empty(), "{:?}", other.first());
    assert!(refusals.iter().all(|told| told.status == 503 && told.code == "audit-unavailable"), "{refusals:?}");
    assert_eq!(stage.service.seen().len(), seen, "a request that is refused never reaches the service");
    assert_eq!(ready, 503, "{text}");
    assert!(text.lines().any(|line| line.starts_with("failed") && line.contains("audit-spool")), "{text}");
    assert_eq!(live.status, 200);
    assert!(process.is_alive());

    stage.heal();
    stage.serves().await;
    wait::until("readiness", WITHIN, async || stage.calls.readiness(&stage.region).await.is_ok_and(|(status, _)| status == 200)).await.unwrap();
    told.push(stage.ask().await.unwrap());
    stage.each_answer_has_one_record(&told).await;
    assert!(process.is_alive());
    stage.node.stop().await.unwrap();
    stage.dev.stop().await.unwrap();
}

/// Issue 2, "a full spool disk": the operator's own limit.
#[tokio::test(flavor = "multi_thread")]
async fn spool_at_its_limit_refuses_before_dispatch_and_serves_again_once_it_is_drained() {
    let stage = Stage::start(|_| "spool: { dir: spool, max: 4MiB, segment: 1MiB }".to_owned()).await;
    fills_refuses_and_recovers(stage).await;
}

/// A small file system of its own; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(dir: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(dir).stdin(Stdio::null()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then(|| Self(dir.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).stdin(Stdio::null()).status());
    }
}

/// The same when the file system itself is full, long before the operator's limit.
#[tokio::test(flavor = "multi_thread")]
async fn full_file_system_refuses_before_dispatch_and_serves_again_once_it_is_drained() {
    let mut mounted = None;
    let stage = Stage::start(|folder| {
        let place = folder.join("small");
        mounted = Mounted::tmpfs(&place, "4m");
        format!("spool: {{ dir: {}, max: 64MiB, segment: 1MiB }}", place.join("spool").display())
    })
    .await;
    if mounted.is_none() {
        eprintln!("skipped: this user may not mount a tmpfs");
        return stage.dev.stop().await.unwrap();
    }
    fills_refuses_and_recovers(stage).await;
    drop(mounted);
}

/// When a tracer saw the first injected error, by the clock that the clients use.
fn first_error(trace: &str) -> Option<SystemTime> {
    let line = trace.lines().find(|line| line.contains("EIO"))?;
    let stamp = line.split_whitespace().find(|word| word.contains('.') && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))?;
    let (seconds, micros) = stamp.split_once('.')?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?))
}

/// The design, "Spool": a failed sync is final for the node's log. A second try could succeed and prove nothing: the kernel may
/// have dropped the pages.
#[tokio::test(flavor = "multi_thread")]
async fn failed_sync_is_the_last_and_nothing_that_was_released_is_missing_after_a_restart() {
    let Ok(strace) = power::strace() else {
        eprintln!("skipped: strace is not installed");
        return;
    };
    let mut stage = Stage::start(|_| "spool: { dir: spool, max: 64MiB, segment: 1MiB }".to_owned()).await;
    let trace = stage.region.node_config.with_file_name("sync.trace");
    let process = stage.node.process();
    let mut tracer = Command::new(strace);
    tracer.args(["-f", "-ttt", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=40+", "-o"]).arg(&trace);
    let mut tracer = tracer.args(["-p", &process.pid().to_string()]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let attached = wait::until("the tracer", WITHIN, async || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
    .await;
    if attached.is_err() {
        eprintln!("skipped: this user may not trace processes");
        drop(tracer.wait());
        return stage.dev.stop().await.unwrap();
    }

    let mut unready = None;
    let told = stage
        .load(async || {
            if let Ok((503, text)) = stage.calls.readiness(&stage.region).await {
                unready = unready.take().or_else(|| Some((edge::clock::Clock.wall(), text)));
            }
            unready.is_some() && stage.ask().await.is_ok_and(|told| told.status == 503)
        })
        .await;
    let mut after = Vec::new();
    for _ in 0..50 {
        after.push(stage.ask().await.unwrap());
    }
    let alive = process.is_alive();
    Process::of(tracer.id()).unwrap().signal(Signal::TERM);
    tracer.wait().unwrap();
    let failed = first_error(&std::fs::read_to_string(&trace).unwrap()).expect("an injected error");

    let (unready_at, text) = unready.unwrap();
    let unready_at = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(unready_at.0).unwrap());
    let late: Vec<_> = told.iter().chain(&after).filter(|told| told.status == 200 && told.began > failed).collect();
    assert!(late.is_empty(), "{} requests were served after the failed sync: {:?}", late.len(), late.first());
    assert!(told.iter().filter(|told| told.status == 200).count() > CLIENTS, "the load was served before");
    assert!(after.iter().all(|told| told.code == "audit-unavailable"), "{after:?}");
    assert!(text.contains("a write to the audit spool failed"), "{text}");
    let took = unready_at.duration_since(failed).unwrap_or_default();
    assert!(took < Duration::from_secs(1), "/readyz said so {} ms after the error", took.as_millis());
    assert!(alive, "the process stays, so that it can be asked");

    stage.node.stop().await.unwrap();
    stage.node.start(Under::Bare).await.unwrap();
    stage.serves().await;
    let served: Vec<_> = told.into_iter().filter(|told| told.status == 200).collect();
    stage.each_answer_has_one_record(&served).await;
    stage.node.stop().await.unwrap();
    stage.dev.stop().await.unwrap();
}

/// A watermark that another spool directory left must not make the loader skip this one's first records.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_not_skipped_for_those_of_another_directory_with_the_same_incarnation() {
    let mut stage = Stage::start(|_| "spool: { dir: spool, max: 64MiB, segment: 1MiB }".to_owned()).await;
    stage.node.stop().await.unwrap();
    let claims = std::fs::read_dir(stage.region.node_config.with_file_name("spool")).unwrap();
    let names = claims.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let last = names.filter_map(|name| u64::from_str_radix(name.get(..16)?, 16).ok()).max().unwrap();
    let foreign = format!(
        "insert into audit_watermark (node, incarnation, seq, chain_hash) \
         select node, {}, 5, decode(repeat('ab', 32), 'hex') from audit_watermark where incarnation = {last} returning 1",
        last + 1
    );
    assert_eq!(stage.database.ask("causeway", &foreign).await.unwrap(), ["1"]);

    stage.node.start(Under::Bare).await.unwrap();
    stage.serves().await;
    let disputed = stage.ask().await.unwrap();
    let said = wait::until("the loader's complaint", WITHIN, async || {
        stage.calls.readiness(&stage.region).await.is_ok_and(|(_, text)| text.contains("from another spool directory"))
    });
    said.await.unwrap();
    let rows = format!("select count(*) from audit_event where incarnation = {}", last + 1);
    assert_eq!(stage.database.ask("causeway", &rows).await.unwrap(), ["0"]);

    stage.node.stop().await.unwrap();
    assert!(std::fs::metadata(stage.region.node_config.with_file_name("spool").join(format!("{:016x}-{:016x}", last + 1, 1))).is_ok());
    stage.node.start(Under::Bare).await.unwrap();
    stage.serves().await;
    let served = stage.ask().await.unwrap();
    stage.each_answer_has_one_record(&[served]).await;
    assert_eq!(disputed.status, 200);
    stage.node.stop().await.unwrap();
    stage.dev.stop().await.unwrap();
}
