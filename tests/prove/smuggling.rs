//! `smuggling`: whatever bytes a client sends, the service sees no request that a strict reader does not find in them.
//!
//! Streams are made by a grammar of everything that two readers of HTTP/1.1 were ever known to read differently, with bytes changed at
//! random besides; the reference is a reader of its own. The second part does the same for HTTP/2 requests that become HTTP/1.1 ones.

mod downgrade;
mod grammar;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use harness::client::Version;
use harness::frames::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::share;
use crate::ground::{self, Door, Ground, Service};
use crate::neighbor::{self, Neighbors};
use crate::sloppy::Sloppy;
use grammar::Stream;
use reader::{End, Reading};
use recorder::{Book, Expected};

/// Clients at the same time.
const PARALLEL: u64 = 64;
/// The fewest streams of a run: fewer show nothing.
const STREAMS_MIN: u64 = 2_000;
/// One HTTP/2 request for so many HTTP/1.1 streams.
const DOWNGRADE_EVERY: u64 = 4;
/// How long the gateway may take to answer, or to end a connection whose client has stopped sending.
const ANSWERS_WITHIN: Duration = Duration::from_secs(6);
/// How many streams a number stays in the book: late arrivals belong to a stream that is still known.
const KEPT: u64 = 20_000;
/// How often the run tells how far it is.
const TELL_EVERY: u64 = 500_000;
/// The mutant: a proxy in the gateway's place that reads leniently.
const LENIENT_PROXY: &str = "lenient-proxy";

pub(crate) const CLAIM: Claim = Claim {
    slug: "smuggling",
    promise: "no bytes make the service see a request that a strict reader does not find in them (n: streams, at least 2,000)",
    trials: 20_000,
    mutants: &[LENIENT_PROXY],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (listener, port) = ground::listener().await?;
    let (honest, honest_port) = ground::listener().await?;
    let book = Arc::<Book>::default();
    let _recorder = recorder::start(listener, Arc::clone(&book));
    let _honest = neighbor::service(honest);
    let smug = Service::new("smug", port);
    let ground = Ground::start("stall_timeout: 5s", &ground::document(&[smug, Service::new("honest", honest_port)]), "/honest/ready").await?;
    let neighbors = Neighbors::start(&ground.door)?;
    let stand_in = if context.is_mutant(LENIENT_PROXY) { Some(Sloppy::start(port).await?) } else { None };
    let door = stand_in.as_ref().map_or_else(|| ground.door.clone(), |sloppy| ground.door.stand_in(sloppy.address));

    // The mutant hangs where it waits for bytes that never come: a few streams are enough to see it.
    let streams = if stand_in.is_some() { STREAMS_MIN / 8 } else { context.trials.max(STREAMS_MIN) };
    let tally = Arc::new(Tally { next: AtomicU64::new(context.from), end: context.from.saturating_add(streams), ..Tally::default() });
    let began = tokio::time::Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..PARALLEL {
        clients.spawn(client(door.clone(), context.seed, Arc::clone(&tally), Arc::clone(&book)));
    }
    while let Some(done) = clients.join_next().await {
        done??;
    }
    let downgraded = if stand_in.is_none() { streams / DOWNGRADE_EVERY } else { 0 };
    if downgraded > 0 {
        downgrade::run(context, verdict, &door, &book, downgraded).await?;
    }
    let millis = u64::try_from(began.elapsed().as_millis())?.max(1);
    let violations = std::mem::take(&mut *book.violations());
    verdict.trials_of(streams, violations.len() as u64, || first(&violations));
    judge_answers(verdict, &tally);
    verdict.figure("streams", streams);
    verdict.figure("downgraded", downgraded);
    verdict.figure("a_minute", (streams + downgraded).saturating_mul(60_000) / millis);
    verdict.figure("seen_upstream", book.seen.load(Ordering::Relaxed));
    verdict.figure("next", context.from.saturating_add(streams));
    neighbors.tell(verdict);
    ground.stop().await
}

/// The first violations, a line each.
fn first(violations: &[String]) -> String {
    violations.iter().take(12).map(|text| text.chars().take(700).collect::<String>()).collect::<Vec<_>>().join("\n    ")
}

/// What the clients counted.
#[derive(Debug, Default)]
struct Tally {
    next: AtomicU64,
    end: u64,
    plain: AtomicU64,
    plain_served: AtomicU64,
    lawful: AtomicU64,
    lawful_served: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
    wrong: std::sync::Mutex<Vec<String>>,
}

fn judge_answers(verdict: &mut Verdict, tally: &Tally) {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let wrong = tally.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    verdict.trials_of(0, wrong.len() as u64, || first(&wrong));
    verdict.figure("connections", get(&tally.connections));
    verdict.figure("refused", get(&tally.refused));
    verdict.figure("plain", get(&tally.plain));
    verdict.figure("plain_share", share(get(&tally.plain_served), get(&tally.plain)));
    verdict.figure("lawful", get(&tally.lawful));
    verdict.figure("lawful_share", share(get(&tally.lawful_served), get(&tally.lawful)));
}

/// Sends streams, over one connection for as long as it stays open.
async fn client(door: Door, seed: u64, tally: Arc<Tally>, book: Arc<Book>) -> Result<()> {
    let mut kept: Option<Box<dyn Wire>> = None;
    loop {
        let number = tally.next.fetch_add(1, Ordering::Relaxed);
        if number >= tally.end {
            return Ok(());
        }
        let (stream, mut random) = grammar::stream(seed, number);
        let reading = reader::stream(&stream.bytes);
        {
            let mut all = book.expected();
            let expected = Expected {
                requests: reading.requests.iter().filter(|request| !request.is_bad).cloned().collect(),
                partial: reading.partial.clone(),
                next: 0,
                sent: stream.bytes.clone(),
            };
            all.insert(number, expected);
            all.remove(&number.wrapping_sub(KEPT));
        }
        if number.is_multiple_of(TELL_EVERY) && number > 0 {
            tell(number);
        }
        let cuts = grammar::pieces(&mut random, stream.bytes.len());
        let is_kept = kept.is_some();
        let mut wire = open(kept.take(), &door, &tally).await?;
        let mut outcome = exchange(&mut *wire, &stream, &cuts, &reading).await;
        if is_kept && outcome.answers.is_empty() && !outcome.is_open && !outcome.is_late {
            // A kept connection may end at any moment: what was sent into its end is sent again (RFC 9112 section 9.5).
            if let Some(expected) = book.expected().get_mut(&number) {
                expected.next = 0;
            }
            wire = open(None, &door, &tally).await?;
            outcome = exchange(&mut *wire, &stream, &cuts, &reading).await;
        }
        count(&tally, number, &stream, &reading, &outcome);
        if outcome.is_open {
            kept = Some(wire);
        }
    }
}

/// The kept connection, or a new one.
async fn open(kept: Option<Box<dyn Wire>>, door: &Door, tally: &Tally) -> Result<Box<dyn Wire>> {
    if let Some(wire) = kept {
        return Ok(wire);
    }
    tally.connections.fetch_add(1, Ordering::Relaxed);
    door.connect(Version::Http1).await
}

fn tell(number: u64) {
    eprintln!("  smuggling: stream {number}; go on from here with --from {number} and the same --seed");
}

/// What a client saw.
struct Outcome {
    /// Statuses and bodies of the answers, in order.
    answers: Vec<(u16, Vec<u8>)>,
    is_open: bool,
    is_late: bool,
}

fn count(tally: &Tally, number: u64, stream: &Stream, reading: &Reading, outcome: &Outcome) {
    let add = |counter: &AtomicU64| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let is_lawful = matches!(reading.end, End::Open | End::Closed);
    let served = outcome.answers.iter().filter(|(status, _)| *status == 200).count();
    let is_served = served == reading.requests.iter().filter(|request| !request.is_bad).count();
    if is_lawful {
        add(&tally.lawful);
        if is_served {
            add(&tally.lawful_served);
        }
    } else {
        add(&tally.refused);
    }
    let mut wrong = None;
    if stream.is_plain {
        add(&tally.plain);
        if is_served && is_lawful {
            add(&tally.plain_served);
        } else {
            wrong = Some("a plain stream is not served");
        }
    }
    if outcome.is_late {
        wrong = Some("no answer and no end in time");
    }
    // Each answer repeats its request's target: an answer to another request shows.
    let mut targets = reading.requests.iter();
    let in_order = outcome
        .answers
        .iter()
        .filter(|(status, body)| *status == 200 && !body.is_empty())
        .all(|(_, body)| targets.any(|request| request.path.as_bytes() == body));
    if !in_order || served > reading.requests.len() {
        wrong = Some("answers that belong to no request of the stream");
    }
    if let Some(wrong) = wrong {
        let statuses: Vec<u16> = outcome.answers.iter().map(|(status, _)| *status).collect();
        let text = format!("stream {number}: {wrong} ({statuses:?}, {:?}): {}", reading.end, stream.bytes.escape_ascii());
        tally.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(text);
    }
}

/// Sends a stream in pieces, and reads answers until each request has one or the connection ends.
async fn exchange(wire: &mut dyn Wire, stream: &Stream, cuts: &[usize], reading: &Reading) -> Outcome {
    let mut from = 0;
    for cut in cuts.iter().copied().chain([stream.bytes.len()]) {
        let piece = stream.bytes.get(from..cut).unwrap_or_default();
        from = cut;
        // A server that has refused what came so far may have gone away; its answer is still there to be read.
        if wire.write_all(piece).await.is_err() || wire.flush().await.is_err() {
            break;
        }
    }
    let heads = reading.requests.iter().map(|request| request.method == "HEAD").collect();
    let mut answers = Answers { wire, heads, left: Vec::new(), all: Vec::new(), is_over: false };
    let wanted = reading.requests.len();
    let mut is_late = timeout(ANSWERS_WITHIN, answers.until(wanted)).await.is_err();
    if reading.end != End::Open && !answers.is_over {
        // It should end the connection by itself; where it waits for more, it is told that nothing comes.
        if reading.end == End::Refused {
            timeout(Duration::from_millis(30), answers.until(usize::MAX)).await.ok();
        }
        answers.wire.shutdown().await.ok();
        is_late |= timeout(ANSWERS_WITHIN, answers.until(usize::MAX)).await.is_err();
    }
    let is_open = reading.end == End::Open && !answers.is_over && answers.left.is_empty() && !is_late;
    Outcome { answers: answers.all, is_open, is_late }
}

/// Answers on their way.
struct Answers<'w> {
    wire: &'w mut dyn Wire,
    /// Which requests are `HEAD`: their answers have no body.
    heads: Vec<bool>,
    left: Vec<u8>,
    all: Vec<(u16, Vec<u8>)>,
    is_over: bool,
}

impl Answers<'_> {
    /// Reads until there are so many, or the connection is over.
    async fn until(&mut self, wanted: usize) {
        while self.all.len() < wanted && !self.is_over {
            let is_head = self.heads.get(self.all.len()).copied().unwrap_or(false);
            if let Some((status, body, length, closes)) = answer(&self.left, is_head) {
                self.left.drain(..length);
                if status >= 200 {
                    self.all.push((status, body));
                }
                self.is_over |= closes;
            } else {
                self.is_over = !matches!(self.wire.read_buf(&mut self.left).await, Ok(n) if n > 0);
            }
        }
    }
}

/// Status, body, length in bytes and whether the connection ends, of an answer that is whole.
fn answer(bytes: &[u8], is_head: bool) -> Option<(u16, Vec<u8>, usize, bool)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
    let status: u16 = head.get(9..12)?.parse().ok()?;
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    let length = if is_head || status < 200 || status == 204 { 0 } else { length };
    let body = bytes.get(end..end + length)?.to_vec();
    Some((status, body, end + length, head.contains("connection: close")))
}
