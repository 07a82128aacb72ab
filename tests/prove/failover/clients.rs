//! What clients do around one promotion. All that they ask is recorded.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use harness::seed::Random;
use tokio::time::{Instant, sleep_until};

use super::gate::{Gate, Heard, Sends};
use super::record::{Entry, Mode, NODES, Said, Stake, Way};

/// How long a promotion may take to be told, and a write to be acknowledged.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// How long what has survived may take to be served.
const SERVED_WITHIN: Duration = Duration::from_secs(45);
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two clients that write through the same node while the promotion comes.
const WRITES_EVERY: Duration = Duration::from_millis(40);
/// Writes to the promoted server after which no more come.
const CONTENT: usize = 3;

/// The clients of one domain.
pub(super) struct Clients<'a> {
    pub(super) gate: &'a Gate,
    pub(super) domain: String,
    /// In front of the names of what is written.
    pub(super) prefix: String,
    pub(super) random: RefCell<Random>,
    names: Cell<u32>,
    entries: RefCell<Vec<Entry>>,
}

impl<'a> Clients<'a> {
    pub(super) fn new(gate: &'a Gate, domain: String, prefix: String, random: Random) -> Self {
        Self { gate, domain, prefix, random: RefCell::new(random), names: Cell::new(0), entries: RefCell::default() }
    }

    /// All that was asked.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries.into_inner()
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        usize::try_from(self.random.borrow_mut().below(bound as u64)).unwrap_or(0)
    }

    /// One of several.
    pub(super) fn one_of<T: Clone>(&self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len())).cloned()
    }

    pub(super) fn way(&self) -> Way {
        self.way_of(self.below(NODES))
    }

    fn way_of(&self, node: usize) -> Way {
        Way { node, mode: self.one_of(&Mode::ALL).unwrap_or(Mode::Refuse) }
    }

    /// Writes until it is acknowledged with a token. A token that is told to be lost is dropped, as clients are asked to.
    pub(super) async fn written(&self, way: Way, mut has: Option<&Stake>) -> Result<Stake> {
        let until = Instant::now() + TOLD_WITHIN;
        while Instant::now() < until {
            let Heard { entry, stake } = self.write(way, has).await;
            if let Some(stake) = stake {
                return Ok(stake);
            }
            has = has.filter(|_| !entry.is_told());
            pause().await;
        }
        let last = self.entries.borrow().last().map(Entry::told).unwrap_or_default();
        Err(anyhow::anyhow!("nothing can be written through {way:?}: {last}"))
    }

    /// The same stake, with a token that says where the write is: one that was told without its place stands for all of its epoch, and is
    /// lost with the next promotion whether it has survived or not. The first read finds the place; it belongs to the ground, and sends its
    /// token whatever is spoiled.
    pub(super) async fn placed(&self, stake: Stake) -> Result<Stake> {
        let until = Instant::now() + SERVED_WITHIN;
        while Instant::now() < until {
            if let Heard { entry, stake: Some(read) } = self.keep(self.gate.read_as(Sends::Token, &self.domain, self.way(), &stake).await)
                && entry.said == Said::Served
            {
                return Ok(read);
            }
            pause().await;
        }
        Err(anyhow::anyhow!("{} is not read", stake.name))
    }

    /// A client that writes, and then perhaps reads what it has written: what it holds in the end.
    pub(super) async fn stake(&self, has: &[Stake]) -> Result<Stake> {
        let has = self.one_of(has).filter(|_| self.below(2) == 0);
        let stake = self.written(self.way(), has.as_ref()).await?;
        let read = if self.below(2) == 0 { self.read(self.way(), &stake).await.stake } else { None };
        Ok(read.unwrap_or(stake))
    }

    /// Reads until the loss of each is told, or passed over in silence.
    pub(super) async fn until_told(&self, way: Way, lost: &[Stake]) {
        let until = Instant::now() + TOLD_WITHIN;
        let mut pending: Vec<&Stake> = lost.iter().collect();
        while let Some(stake) = pending.pop().filter(|_| Instant::now() < until) {
            let entry = self.read(way, stake).await.entry;
            let is_for_now = !entry.is_told() && (entry.said != Said::Served || entry.shows_own());
            if is_for_now {
                pending.insert(0, stake);
            }
            pause().await;
        }
    }

    /// Reads until the answer is one that lasts.
    pub(super) async fn settle(&self, way: Way, stake: &Stake) {
        let until = Instant::now() + SERVED_WITHIN;
        loop {
            let said = self.read(way, stake).await.entry.said;
            let is_for_now = matches!(said, Said::Unavailable | Said::Warned);
            if !is_for_now || Instant::now() > until {
                return;
            }
            pause().await;
        }
    }

    /// Asks for each of these.
    pub(super) async fn settle_all(&self, asks: &[(Way, Stake)]) {
        join_all(asks.iter().map(|(way, stake)| self.settle(*way, stake))).await;
    }

    /// Clients that write through every node until the promoted server in `region` takes it: all that they have written. One comes after the
    /// other, whatever becomes of those before it: a service whose database is gone keeps its callers waiting.
    pub(super) async fn write_on(&self, region: &str, promoted_us: &Cell<u64>) -> Vec<Stake> {
        let clients = (0..NODES).map(async |node| {
            let until = Instant::now() + TOLD_WITHIN;
            let (mut stakes, mut content, mut next) = (Vec::new(), 0, Instant::now());
            let mut under_way = FuturesUnordered::new();
            loop {
                tokio::select! {
                    () = sleep_until(next), if content < CONTENT && next < until => {
                        under_way.push(self.write(self.way_of(node), None));
                        next += WRITES_EVERY;
                    }
                    Some(Heard { entry, stake }) = under_way.next() => {
                        content += usize::from(entry.is_acknowledged() && entry.region == region && entry.began_us > promoted_us.get());
                        stakes.extend(stake);
                    }
                    else => return stakes,
                }
            }
        });
        join_all(clients).await.into_iter().flatten().collect()
    }

    pub(super) async fn write(&self, way: Way, has: Option<&Stake>) -> Heard {
        let number = self.names.get();
        self.names.set(number + 1);
        let name = format!("{}-{number}", self.prefix);
        self.keep(self.gate.write(&self.domain, way, &name, has).await)
    }

    async fn read(&self, way: Way, has: &Stake) -> Heard {
        self.keep(self.gate.read(&self.domain, way, has).await)
    }

    fn keep(&self, heard: Heard) -> Heard {
        self.entries.borrow_mut().push(heard.entry.clone());
        heard
    }
}

async fn pause() {
    sleep_until(Instant::now() + PAUSE).await;
}
