//! Clients that write items, and others that read them around the time at which they must be there.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::client::{RawAnswer, RawTls};
use harness::history::{Action, Op};
use harness::regions::Regions;
use harness::seed::Random;
use harness::wait;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::document::Kind;

/// The longest that one answer may take before it counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a new document may take to be served by every node, and bounds to be kept again.
const SERVED_WITHIN: Duration = Duration::from_secs(40);
/// Clients that write, and how long each rests.
const WRITERS: usize = 2;
const REST: Duration = Duration::from_millis(15);
/// Before a client that was refused goes on.
const PAUSE: Duration = Duration::from_millis(10);
/// For how long items are read after they were written.
const READ_FOR: Duration = Duration::from_secs(8);
/// What is written.
const BODY: &str = r#"{"name":"bound","quantity":1}"#;
const TOLD_MAX: usize = 5;

/// A node, as a client reaches it.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    region: usize,
}

/// What a run of clients shares.
#[derive(Debug)]
pub(super) struct Course {
    doors: Vec<Door>,
    regions: Vec<&'static str>,
    key: String,
    ca: PathBuf,
    began: Instant,
    left: AtomicI64,
    is_held_open: AtomicBool,
    /// Items that were acknowledged not long ago, the oldest first.
    recent: Mutex<VecDeque<(u32, Instant)>>,
}

/// One read.
#[derive(Debug, Clone, Copy)]
struct Read {
    kind: Kind,
    /// What it has shown; `None` where it was refused for its bound.
    version: Option<u64>,
    item: u32,
    began_us: u64,
    ended_us: u64,
    is_away: bool,
    is_at_home: bool,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub(super) struct Record {
    writes: Vec<Op>,
    reads: Vec<Read>,
    pub(super) refused: u64,
    pub(super) unanswered: u64,
    pub(super) wrong: u64,
    pub(super) told: Vec<String>,
}

impl Record {
    /// The writes, and the answered reads of a kind.
    pub(super) fn of(&self, kind: Kind) -> Vec<Op> {
        let op = |read: &Read| {
            let version = read.version?;
            Some(Op { session: 0, action: Action::Read, item: read.item, version, began_us: read.began_us, ended_us: read.ended_us })
        };
        let reads = self.reads.iter().filter(|read| read.kind == kind).filter_map(op);
        self.writes.iter().cloned().chain(reads).collect()
    }

    pub(super) const fn writes(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn asked(&self, kind: Kind) -> u64 {
        self.reads.iter().filter(|read| read.kind == kind).count() as u64
    }

    pub(super) fn served(&self, kind: Kind) -> u64 {
        self.reads.iter().filter(|read| read.kind == kind && read.version.is_some()).count() as u64
    }

    /// Reads that began in a time and were served.
    pub(super) fn served_between(&self, kind: Kind, from: u64, until: u64) -> u64 {
        self.between(kind, from, until).filter(|read| read.version.is_some()).count() as u64
    }

    /// And those that were refused.
    pub(super) fn refused_between(&self, kind: Kind, from: u64, until: u64) -> u64 {
        self.between(kind, from, until).filter(|read| read.version.is_none()).count() as u64
    }

    /// Those that had ended, too: what waits until the time is over may be served.
    fn between(&self, kind: Kind, from: u64, until: u64) -> impl Iterator<Item = &Read> {
        self.reads.iter().filter(move |read| read.kind == kind && read.began_us > from && read.ended_us < until)
    }

    /// Served reads with a bound, of those asked away from the primary.
    pub(super) fn away(&self) -> u64 {
        self.reads.iter().filter(|read| read.is_away && read.version.is_some() && read.kind != Kind::Eventual).count() as u64
    }

    /// Those of them that were answered in the region that was asked.
    pub(super) fn at_home(&self) -> u64 {
        self.reads.iter().filter(|read| read.is_at_home && read.is_away && read.version.is_some() && read.kind != Kind::Eventual).count() as u64
    }

    /// Writes the history as JSON, one object a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let file = std::fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut file = std::io::BufWriter::new(file);
        for op in &self.writes {
            serde_json::to_writer(&mut file, op)?;
            file.write_all(b"\n")?;
        }
        for read in &self.reads {
            let Read { kind, version, item, began_us, ended_us, .. } = read;
            let line = serde_json::json!({ "action": "read", "kind": kind.name(), "item": item, "version": version, "began_us": began_us, "ended_us": ended_us });
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        Ok(())
    }

    fn take(&mut self, other: Self) {
        self.writes.extend(other.writes);
        self.reads.extend(other.reads);
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.wrong += other.wrong;
        self.told.extend(other.told);
        self.told.truncate(TOLD_MAX);
    }

    fn wrong(&mut self, what: String) {
        self.wrong += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }
}

impl Course {
    pub(super) fn new(regions: &Regions, trials: u64) -> Result<Self> {
        let door = |member: &harness::regions::Member| Ok(Door { address: member.node.region().data_address()?, region: member.region });
        let ready = regions.dev().ready();
        Ok(Self {
            doors: regions.members().iter().map(door).collect::<Result<_>>()?,
            regions: regions.names().to_vec(),
            key: ready.api_key.clone(),
            ca: ready.ca.clone(),
            began: Instant::now(),
            left: AtomicI64::new(i64::try_from(trials).unwrap_or(i64::MAX)),
            is_held_open: AtomicBool::new(false),
            recent: Mutex::default(),
        })
    }

    /// The time of the history, microseconds.
    pub(super) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn hold_open(&self, is_held_open: bool) {
        self.is_held_open.store(is_held_open, Ordering::Relaxed);
    }

    pub(super) fn is_enough(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= 0
    }

    fn goes_on(&self) -> bool {
        !self.is_enough() || self.is_held_open.load(Ordering::Relaxed)
    }

    /// Writes an item and waits until every node serves it on every route.
    pub(super) async fn settled(self: &Arc<Self>) -> Result<()> {
        let mut writer = Client::of(self, 0);
        wait::until("a write", SERVED_WITHIN, async || writer.write().await).await?;
        self.is_served().await
    }

    /// Waits until every node serves reads on every route.
    pub(super) async fn is_served(self: &Arc<Self>) -> Result<()> {
        let item = self.recent().back().map(|(item, _)| *item).context("no item was written")?;
        let mut client = Client::of(self, 0);
        for node in 0..self.doors.len() {
            for kind in Kind::ALL {
                wait::until(&format!("reads with {} through node {node}", kind.name()), SERVED_WITHIN, async || {
                    client.prepare(Some(item), kind);
                    client.ask(node, true).await.is_some_and(|answer| answer.status == 200)
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Lets clients write and read until enough was read.
    pub(super) async fn run(self: &Arc<Self>, readers: usize, random: &mut Random) -> Result<Record> {
        let mut clients = JoinSet::new();
        for number in 0..readers + WRITERS {
            let mut client = Client::of(self, random.next_u64());
            clients.spawn(async move {
                while client.course.goes_on() {
                    if number < WRITERS {
                        client.write().await;
                        sleep_until(Instant::now() + REST).await;
                    } else {
                        client.read().await;
                    }
                }
                client.record
            });
        }
        let mut record = Record::default();
        while let Some(of_client) = clients.join_next().await {
            record.take(of_client?);
        }
        Ok(record)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, VecDeque<(u32, Instant)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest item that was acknowledged so long ago.
    fn acknowledged(&self, ago: Duration) -> Option<u32> {
        let recent = self.recent();
        let end = recent.partition_point(|(_, at)| at.elapsed() >= ago);
        recent.get(end.checked_sub(1)?).map(|(item, _)| *item)
    }
}

/// One client, with a connection to each node.
struct Client {
    course: Arc<Course>,
    random: Random,
    connections: Vec<Option<RawTls>>,
    request: String,
    record: Record,
}

impl Client {
    fn of(course: &Arc<Course>, seed: u64) -> Self {
        let connections = course.doors.iter().map(|_| None).collect();
        Self { course: Arc::clone(course), random: Random::new(seed), connections, request: String::new(), record: Record::default() }
    }

    /// Writes an item; whether it was acknowledged.
    async fn write(&mut self) -> bool {
        self.prepare(None, Kind::Eventual);
        let began = Instant::now();
        // Beside the primary: a write from afar would be acknowledged long after it was committed, and ask less of reads.
        let node = usize::try_from(self.random.below(2)).unwrap_or(0);
        let answer = self.ask(node, false).await;
        let ended = Instant::now();
        let item = answer.filter(|answer| answer.status == 201).and_then(|answer| written(&answer.body));
        let Some(item) = item else { return false };
        let (began_us, ended_us) = (self.course.at(began), self.course.at(ended));
        self.record.writes.push(Op { session: 0, action: Action::Write, item, version: 1, began_us, ended_us });
        let mut recent = self.course.recent();
        recent.push_back((item, ended));
        while recent.front().is_some_and(|(_, at)| at.elapsed() > READ_FOR) && recent.len() > 1 {
            recent.pop_front();
        }
        true
    }

    /// Reads an item about as long after it was acknowledged as the bound is.
    async fn read(&mut self) {
        let kind = *Kind::ALL.get(usize::try_from(self.random.below(4)).unwrap_or(0)).unwrap_or(&Kind::Half);
        let bound = kind.bound().unwrap_or(Kind::narrowest());
        let ago = if self.random.below(4) == 0 {
            self.random.between(Duration::ZERO, bound)
        } else {
            bound + self.random.between(Duration::ZERO, Duration::from_millis(300))
        };
        let Some(item) = self.course.acknowledged(ago) else { return sleep_until(Instant::now() + PAUSE).await };
        let node = usize::try_from(self.random.below(self.course.doors.len() as u64)).unwrap_or(0);
        self.prepare(Some(item), kind);
        let began = Instant::now();
        let answer = self.ask(node, true).await;
        let ended = Instant::now();
        self.course.left.fetch_sub(1, Ordering::Relaxed);
        let Some(answer) = answer else {
            self.record.unanswered += 1;
            return sleep_until(Instant::now() + PAUSE).await;
        };
        // A 404 of the gateway's own says nothing about the item.
        let is_problem = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
        let version = match answer.status {
            200 => Some(1),
            404 if !is_problem => Some(0),
            503 if String::from_utf8_lossy(&answer.body).contains("position-unreached") => None,
            // A region whose service or server is gone.
            500.. => {
                self.record.unanswered += 1;
                return sleep_until(Instant::now() + PAUSE).await;
            }
            status => return self.record.wrong(format!("a read with {} was answered {status}", kind.name())),
        };
        if answer.header("causeway-staleness").is_some() {
            self.record.wrong(format!("a read with {} is said to be stale", kind.name()));
        }
        let region = self.course.doors.get(node).map_or(0, |door| door.region);
        let answered = answer.header("causeway-region").and_then(|name| self.course.regions.iter().position(|known| *known == name));
        let (began_us, ended_us) = (self.course.at(began), self.course.at(ended));
        self.record.reads.push(Read { kind, version, item, began_us, ended_us, is_away: region != 0, is_at_home: answered == Some(region) });
        if version.is_none() {
            self.record.refused += 1;
            sleep_until(Instant::now() + PAUSE).await;
        }
    }

    /// Writes a request down: a read of an item, or a write.
    fn prepare(&mut self, item: Option<u32>, kind: Kind) {
        let (line, path) = (&mut self.request, kind.path());
        line.clear();
        let written = match item {
            None => write!(line, "POST {path}/items HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", BODY.len()),
            Some(item) => write!(line, "GET {path}/items/{item} HTTP/1.1\r\n"),
        };
        debug_assert!(written.is_ok(), "a text takes whatever is written");
        for part in ["host: 127.0.0.1\r\nx-api-key: ", &self.course.key, "\r\n\r\n"] {
            line.push_str(part);
        }
        if item.is_none() {
            line.push_str(BODY);
        }
    }

    /// Sends it to a node. A connection that was kept may have ended meanwhile: a read is then sent once more.
    async fn ask(&mut self, node: usize, is_read: bool) -> Option<RawAnswer> {
        let kept = self.connections.get_mut(node)?.take();
        let may_repeat = kept.is_some() && is_read;
        if let Some(answer) = self.exchange(node, kept).await {
            return Some(answer);
        }
        if may_repeat { self.exchange(node, None).await } else { None }
    }

    async fn exchange(&mut self, node: usize, kept: Option<RawTls>) -> Option<RawAnswer> {
        let course = &self.course;
        let mut connection = if let Some(kept) = kept {
            kept
        } else {
            let opened = RawTls::connect(course.doors.get(node)?.address, "127.0.0.1", &course.ca, "http/1.1");
            timeout(ANSWER_WITHIN, opened).await.ok()?.ok()?
        };
        connection.send(self.request.as_bytes()).await.ok()?;
        let answer = connection.answer(ANSWER_WITHIN).await.ok()?;
        if answer.header("connection") != Some("close") {
            *self.connections.get_mut(node)? = Some(connection);
        }
        Some(answer)
    }
}

/// The number of the item that was made.
fn written(body: &[u8]) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Item {
        id: u32,
    }
    serde_json::from_slice::<Item>(body).ok().map(|item| item.id)
}
