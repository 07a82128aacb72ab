//! Client sessions: each writes items and reads them, and items of others, through one node after another of all regions.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::try_join_all;
use harness::client::{RawAnswer, RawTls};
use harness::dev::Ready;
use harness::history::{Action, Op};
use harness::regions::Member;
use harness::seed::Random;
use harness::wait;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::document::Route;
use super::record::{Place, Record};

/// The longest that one answer may take before it counts as none.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a new document may take to be served by every node.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
/// Before a session that was not answered goes on.
const PAUSE: Duration = Duration::from_millis(20);
/// Items that a session writes before another one takes its place.
const WRITES: u64 = 6;
/// Reads behind each write: at least, and how many more at most. The first fall into the lag of replication, the others behind it.
const READS: (u64, u64) = (8, 32);
/// One session of so many uses the route that waits longer, and refuses.
const REFUSES_EACH: u32 = 2;
/// One request of so many goes to a node of the writer's region.
const TO_WRITER_EACH: u64 = 16;
/// After an answer from elsewhere a client that is a person takes this time, now and then: at least, and at most. What it has just read
/// there is as new as can be, so one that never pauses is always ahead of its own region.
const THINKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));
/// What is written.
const BODY: &str = r#"{"name":"mine","quantity":1}"#;
/// The longest token that a client need keep.
const TOKEN_MAX: usize = 256;

/// Whether clients send the newest token that they have got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sends {
    /// Always.
    Token,
    /// Never.
    Nothing,
}

/// A node, as a client reaches it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) name: String,
    address: SocketAddr,
    /// Its address, as `Host` has it.
    host: String,
    pub(super) region: usize,
}

/// The nodes, and what a client needs to use them.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) doors: Vec<Door>,
    pub(super) regions: Vec<&'static str>,
    key: String,
    ca: PathBuf,
    began: Instant,
}

impl Ground {
    pub(super) fn of(members: &[Member], ready: &Ready, regions: &[&'static str]) -> Result<Self> {
        let doors = members.iter().map(|member| {
            let address = member.node.region().data_address()?;
            Ok(Door { name: member.name.clone(), address, host: address.ip().to_string(), region: member.region })
        });
        Ok(Self {
            doors: doors.collect::<Result<_>>()?,
            regions: regions.to_vec(),
            key: ready.api_key.clone(),
            ca: ready.ca.clone(),
            began: Instant::now(),
        })
    }

    /// Writes an item, and waits until every node has come to serve it on every route, to a client without a token.
    pub(super) async fn settled(self: &Arc<Self>) -> Result<()> {
        let course = Arc::new(Course::new(Arc::clone(self), Sends::Nothing, 0, 1));
        let mut worker = Worker::of(&course, 0, 0);
        let mut session = Session::new(0, Route::Primary);
        wait::until("a write", SERVED_WITHIN, async || {
            worker.write(&mut session).await;
            !session.own.is_empty()
        })
        .await?;
        let item = *session.own.first().context("no item")?;
        let nodes = (0..self.doors.len()).flat_map(|node| Route::ALL.map(|route| (node, route)));
        try_join_all(nodes.map(async |(node, route)| {
            let mut worker = Worker::of(&course, 0, 0);
            let what = format!("{route:?} of {}", self.doors.get(node).map_or("?", |door| &door.name));
            wait::until(&what, SERVED_WITHIN, async || {
                worker.prepare(node, Request::Read(item), route, None);
                worker.ask(node, Request::Read(item)).await.is_some_and(|answer| answer.status == 200)
            })
            .await
        }))
        .await?;
        Ok(())
    }

    fn at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }
}

/// One run of many sessions.
#[derive(Debug)]
pub(super) struct Course {
    ground: Arc<Ground>,
    sends: Sends,
    /// Reads that are still to be made.
    left: AtomicI64,
    /// It goes on although enough was read.
    is_held_open: AtomicBool,
    /// The item that each worker has written last; 0 while there is none.
    newest: Vec<AtomicU32>,
    sessions: AtomicU32,
}

impl Course {
    pub(super) fn new(ground: Arc<Ground>, sends: Sends, reads: u64, workers: usize) -> Self {
        Self {
            ground,
            sends,
            left: AtomicI64::new(i64::try_from(reads).unwrap_or(i64::MAX)),
            is_held_open: AtomicBool::new(false),
            newest: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            sessions: AtomicU32::new(0),
        }
    }

    /// Lets it go on, or end when enough was read.
    pub(super) fn hold_open(&self, is_held_open: bool) {
        self.is_held_open.store(is_held_open, Ordering::Relaxed);
    }

    /// Whether enough was read.
    pub(super) fn is_enough(&self) -> bool {
        self.left.load(Ordering::Relaxed) <= 0
    }

    fn goes_on(&self) -> bool {
        !self.is_enough() || self.is_held_open.load(Ordering::Relaxed)
    }

    /// Runs it to its end.
    pub(super) async fn run(self: &Arc<Self>, random: &mut Random) -> Result<Record> {
        let mut workers = JoinSet::new();
        for place in 0..self.newest.len() {
            let mut worker = Worker::of(self, place, random.next_u64());
            workers.spawn(async move {
                while worker.course.goes_on() {
                    worker.session().await;
                }
                worker.record
            });
        }
        let mut record = Record::default();
        while let Some(of_worker) = workers.join_next().await {
            record.take(of_worker?);
        }
        record.sessions = u64::from(self.sessions.load(Ordering::Relaxed));
        Ok(record)
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Write,
    Read(u32),
}

/// A client's own state.
#[derive(Debug)]
struct Session {
    number: u32,
    route: Route,
    token: Option<String>,
    /// What it wrote.
    own: Vec<u32>,
    /// What others wrote and it has read.
    seen: Vec<u32>,
}

impl Session {
    fn new(number: u32, route: Route) -> Self {
        Self { number, route, token: None, own: Vec::new(), seen: Vec::new() }
    }
}

/// Plays one session after another, over one connection to each node.
struct Worker {
    course: Arc<Course>,
    place: usize,
    random: Random,
    connections: Vec<Option<RawTls>>,
    request: String,
    record: Record,
}

impl Worker {
    fn of(course: &Arc<Course>, place: usize, seed: u64) -> Self {
        let connections = course.ground.doors.iter().map(|_| None).collect();
        Self { course: Arc::clone(course), place, random: Random::new(seed), connections, request: String::new(), record: Record::default() }
    }

    async fn session(&mut self) {
        let number = self.course.sessions.fetch_add(1, Ordering::Relaxed);
        let route = if number.is_multiple_of(REFUSES_EACH) { Route::Refuse } else { Route::Primary };
        let mut session = Session::new(number, route);
        for _ in 0..WRITES {
            self.write(&mut session).await;
            if session.own.is_empty() {
                return;
            }
            for _ in 0..READS.0 + self.random.below(READS.1) {
                if !self.course.goes_on() {
                    return;
                }
                self.read(&mut session).await;
            }
        }
    }

    /// Writes an item. A write that was not answered promises nothing.
    async fn write(&mut self, session: &mut Session) {
        let node = self.node();
        self.prepare(node, Request::Write, session.route, session.token.as_deref());
        let began = Instant::now();
        let answer = self.ask(node, Request::Write).await;
        let ended = Instant::now();
        self.record.tally.writes += 1;
        let Some(answer) = answer else {
            self.record.tally.unwritten += 1;
            return sleep_until(Instant::now() + PAUSE).await;
        };
        if answer.status != 201 {
            self.record.tally.unwritten += 1;
            let through = self.course.ground.name(node).to_owned();
            self.record.tally.refused(answer.status, &answer.body, || format!("a write through {through}"));
            return sleep_until(Instant::now() + PAUSE).await;
        }
        let Some(item) = written(&answer.body) else {
            return self.record.tally.wrong(|| "a write was answered without an item".to_owned());
        };
        let op = Op {
            session: session.number,
            action: Action::Write,
            item,
            version: 1,
            began_us: self.course.ground.at(began),
            ended_us: self.course.ground.at(ended),
        };
        let place = self.place_of(node, &answer);
        self.record.add(op, place);
        session.own.push(item);
        if let Some(newest) = self.course.newest.get(self.place) {
            newest.store(item, Ordering::Relaxed);
        }
        self.keep(session, &answer);
    }

    /// Reads an item.
    async fn read(&mut self, session: &mut Session) {
        let (node, item) = (self.node(), self.item(session));
        self.prepare(node, Request::Read(item), session.route, session.token.as_deref());
        let began = Instant::now();
        let answer = self.ask(node, Request::Read(item)).await;
        let ended = Instant::now();
        self.course.left.fetch_sub(1, Ordering::Relaxed);
        self.record.tally.reads += 1;
        let Some(answer) = answer else {
            self.record.tally.unanswered += 1;
            return sleep_until(Instant::now() + PAUSE).await;
        };
        // A 404 of the gateway's own says nothing about the item.
        let is_problem = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json"));
        let version = match answer.status {
            200 => 1,
            404 if !is_problem => 0,
            _ => {
                let (route, through) = (session.route, self.course.ground.name(node).to_owned());
                self.record.tally.refused(answer.status, &answer.body, || format!("a read on {route:?} through {through}"));
                return sleep_until(Instant::now() + PAUSE).await;
            }
        };
        let op = Op {
            session: session.number,
            action: Action::Read,
            item,
            version,
            began_us: self.course.ground.at(began),
            ended_us: self.course.ground.at(ended),
        };
        let place = self.place_of(node, &answer);
        self.record.add(op, place);
        self.record.tally.marked += u64::from(answer.header("causeway-staleness").is_some());
        // Who sends a token gets a newer one; who sends none gets none.
        if self.course.sends == Sends::Token {
            self.keep(session, &answer);
        }
        if place.is_elsewhere(&self.course.ground) && self.random.below(2) == 0 {
            sleep_until(Instant::now() + self.random.between(THINKS.0, THINKS.1)).await;
        }
    }

    /// Keeps the token of an answer.
    fn keep(&mut self, session: &mut Session, answer: &RawAnswer) {
        match answer.header("consistency-token") {
            Some(token) if token.is_empty() || token.len() > TOKEN_MAX => self.record.tally.wrong(|| format!("a token of {} bytes", token.len())),
            Some(token) if self.course.sends == Sends::Token => {
                let kept = session.token.get_or_insert_default();
                kept.clear();
                kept.push_str(token);
            }
            Some(_) => {}
            None => self.record.tally.without_token += 1,
        }
    }

    fn place_of(&mut self, node: usize, answer: &RawAnswer) -> Place {
        let name = answer.header("causeway-region").unwrap_or_default();
        let region = self.course.ground.regions.iter().position(|known| *known == name);
        if region.is_none() {
            self.record.tally.wrong(|| format!("an answer says {name:?} where its region should stand"));
        }
        Place::of(node, region)
    }

    /// The next node: mostly one that is not beside the primary.
    fn node(&mut self) -> usize {
        let ground = &self.course.ground;
        let far = u64::try_from(ground.regions.len()).unwrap_or(1).saturating_sub(1);
        let region = if self.random.below(TO_WRITER_EACH) == 0 { 0 } else { 1 + self.random.below(far) };
        let nodes = || ground.doors.iter().enumerate().filter(|(_, door)| u64::try_from(door.region) == Ok(region));
        let drawn = self.random.below(nodes().count() as u64);
        nodes().map(|(node, _)| node).nth(usize::try_from(drawn).unwrap_or(0)).unwrap_or(0)
    }

    /// The next item: the one that was written last, another own, one that was read before, or one that somebody has just written.
    fn item(&mut self, session: &mut Session) -> u32 {
        let newest = session.own.last().copied().unwrap_or(0);
        match self.random.below(20) {
            0..10 => newest,
            10..14 => self.one_of(&session.own).unwrap_or(newest),
            14..17 => self.one_of(&session.seen).unwrap_or(newest),
            _ => {
                let drawn = usize::try_from(self.random.below(self.course.newest.len() as u64)).unwrap_or(0);
                let item = self.course.newest.get(drawn).map_or(0, |item| item.load(Ordering::Relaxed));
                if item == 0 || session.own.contains(&item) {
                    return newest;
                }
                session.seen.push(item);
                item
            }
        }
    }

    fn one_of(&mut self, items: &[u32]) -> Option<u32> {
        let drawn = self.random.below(items.len() as u64);
        items.get(usize::try_from(drawn).ok()?).copied()
    }

    /// Writes a request down.
    fn prepare(&mut self, node: usize, request: Request, route: Route, token: Option<&str>) {
        let (line, path) = (&mut self.request, route.path());
        line.clear();
        let written = match request {
            Request::Write => write!(line, "POST {path}/items HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", BODY.len()),
            Request::Read(item) => write!(line, "GET {path}/items/{item} HTTP/1.1\r\n"),
        };
        debug_assert!(written.is_ok(), "a text takes whatever is written");
        for part in ["host: ", self.course.ground.host(node), "\r\nx-api-key: ", &self.course.ground.key, "\r\n"] {
            line.push_str(part);
        }
        if let Some(token) = token.filter(|_| self.course.sends == Sends::Token) {
            line.push_str("consistency-token: ");
            line.push_str(token);
            line.push_str("\r\n");
        }
        line.push_str("\r\n");
        if request == Request::Write {
            line.push_str(BODY);
        }
    }

    /// Sends it to a node. A connection that was kept may have ended meanwhile: a read is then sent once more.
    async fn ask(&mut self, node: usize, request: Request) -> Option<RawAnswer> {
        let kept = self.connections.get_mut(node)?.take();
        let may_repeat = kept.is_some() && request != Request::Write;
        if let Some(answer) = self.exchange(node, kept).await {
            return Some(answer);
        }
        if may_repeat { self.exchange(node, None).await } else { None }
    }

    async fn exchange(&mut self, node: usize, kept: Option<RawTls>) -> Option<RawAnswer> {
        let ground = &self.course.ground;
        let mut connection = if let Some(kept) = kept {
            kept
        } else {
            let opened = RawTls::connect(ground.doors.get(node)?.address, ground.host(node), &ground.ca, "http/1.1");
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

impl Ground {
    fn name(&self, node: usize) -> &str {
        self.doors.get(node).map_or("?", |door| &door.name)
    }

    fn host(&self, node: usize) -> &str {
        self.doors.get(node).map_or("?", |door| &door.host)
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
