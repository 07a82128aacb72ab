//! One promotion with a lost tail, from the writes before it to the return of the server that was replaced.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::{join_all, try_join_all};

use super::chain::{Chain, Proof, REGIONS};
use super::clients::Clients;
use super::judge::{Case, Found, judge};
use super::record::{Entry, Mode, NODES, Stake, Way};

/// Clients that write before the standby is cut off, and behind that: at least, and how many more at most.
const CLIENTS: (usize, usize) = (3, 3);
/// Tokens of each kind, of earlier promotions, that are asked about again.
const REMEMBERED: usize = 4;

/// What becomes of the primary that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on, and takes whatever writes come.
    Alive,
    /// It is killed with SIGKILL before, and comes back afterwards as it was.
    Killed,
    /// Nodes and standbys hear nothing of it, and its own region's service still does, until it comes back.
    Partitioned,
}

/// How many promotions there are that a node can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steps {
    /// One.
    Seen,
    /// One, behind another one that no node sees.
    Unseen,
}

/// Tokens of earlier promotions of a domain.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) kept: Vec<Stake>,
    pub(super) lost: Vec<Stake>,
}

/// What a promotion has shown.
pub(super) struct Shown {
    pub(super) found: Found,
    pub(super) entries: Vec<Entry>,
}

/// Promotes, and judges it by what clients see.
pub(super) async fn promote(clients: Clients<'_>, chain: &mut Chain, memory: &mut Memory, fate: Fate, steps: Steps) -> Result<Shown> {
    let old = chain.first;
    let between = Chain::behind(old);
    let next = if steps == Steps::Unseen { Chain::behind(between) } else { between };
    let region = REGIONS.get(next).copied().context("a server without a region")?;
    let kept = before(&clients, chain, memory, [old, between, next]).await.context("before the standby is cut off")?;
    let lost = tail(&clients, chain, &kept, old, fate).await.context("behind that")?;

    let promoted_us = Cell::new(u64::MAX);
    let racing = async {
        let told = join_all(Way::all().map(|way| clients.until_told(way, &lost)));
        let (_, written) = tokio::join!(told, clients.write_on(region, &promoted_us));
        written
    };
    let ordered = order(chain, [old, between, next], fate, || promoted_us.set(clients.gate.now_us()));
    let (newest, ordered) = tokio::join!(racing, ordered);
    ordered.context("the promotion")?;
    let settled_us = clients.gate.now_us();

    bring_back(chain, [old, between, next], fate).await.context("the return of what was replaced")?;
    let fresh = afterwards(&clients, memory, &kept, &lost, &newest).await.context("after the promotion")?;
    let truth: HashSet<String> = chain.items(next).await?.into_iter().collect();
    let is_cut = lost.iter().all(|stake| !truth.contains(&*stake.name)) && kept.iter().all(|stake| truth.contains(&*stake.name));
    ensure!(is_cut, "the standby has not exactly what came before it was cut off: this proves nothing");
    let names: Vec<Arc<str>> = kept.iter().map(|stake| Arc::clone(&stake.name)).collect();
    let entries = clients.into_entries();
    let (promoted_us, is_proved) = (promoted_us.get(), chain.proof == Proof::History);
    let found = judge(&Case { entries: &entries, truth: &truth, promoted_us, region, kept: &names, is_proved, settled_us });
    memory.kept.extend(kept.into_iter().chain(fresh));
    memory.lost.extend(lost);
    Ok(Shown { found, entries })
}

/// Clients write what the standbys that will be promoted come to have; then the first of these gets nothing more.
async fn before(clients: &Clients<'_>, chain: &Chain, memory: &Memory, [old, between, next]: [usize; 3]) -> Result<Vec<Stake>> {
    let some = CLIENTS.0 + clients.below(CLIENTS.1);
    let kept = (0..some).map(async |_| clients.placed(clients.stake(&memory.kept).await?).await);
    let kept = try_join_all(kept).await?;
    let place = chain.written(old).await?;
    chain.wait_replayed(between, &place).await?;
    chain.wait_replayed(next, &place).await?;
    chain.hold(between);
    Ok(kept)
}

/// Clients write what no standby has.
async fn tail(clients: &Clients<'_>, chain: &Chain, kept: &[Stake], old: usize, fate: Fate) -> Result<Vec<Stake>> {
    let some = CLIENTS.0 + clients.below(CLIENTS.1);
    let early = some.div_ceil(2);
    let mut lost = try_join_all((0..early).map(|_| clients.stake(kept))).await?;
    if fate == Fate::Partitioned {
        // From here on nobody can say where a write is.
        chain.hide(old);
    }
    lost.extend(try_join_all((early..some).map(|_| clients.stake(kept))).await?);
    Ok(lost)
}

/// Orders the promotion.
async fn order(chain: &mut Chain, [old, between, next]: [usize; 3], fate: Fate, ordered: impl Fn()) -> Result<()> {
    let lost = chain.written(old).await?;
    ordered();
    if fate == Fate::Killed {
        chain.kill(old).await?;
    }
    if next != between {
        chain.hide(between);
        chain.promote(between).await?;
        let place = chain.written(between).await?;
        chain.wait_replayed(next, &place).await.context("behind a promotion that nobody sees")?;
    }
    chain.promote(next).await?;
    chain.outgrow(next, &lost).await
}

/// What was replaced comes back, as a primary still.
async fn bring_back(chain: &mut Chain, [old, between, next]: [usize; 3], fate: Fate) -> Result<()> {
    if next != between {
        chain.show(between);
        chain.wait_asked(between).await?;
    }
    match fate {
        Fate::Alive => return Ok(()),
        Fate::Killed => chain.revive(old).await?,
        Fate::Partitioned => chain.show(old),
    }
    chain.wait_asked(old).await
}

/// Clients ask again about everything that they hold, and write anew; what they hold of that.
async fn afterwards(clients: &Clients<'_>, memory: &Memory, kept: &[Stake], lost: &[Stake], newest: &[Stake]) -> Result<Vec<Stake>> {
    let fresh = (0..NODES).map(async |node| clients.placed(clients.written(Way { node, mode: Mode::Primary }, None).await?).await);
    let fresh = try_join_all(fresh).await?;
    let everywhere = kept.iter().chain(lost).chain(&fresh).flat_map(|stake| Way::all().map(|way| (way, stake.clone())));
    let mut asks: Vec<(Way, Stake)> = everywhere.collect();
    asks.extend(newest.iter().map(|stake| (clients.way(), stake.clone())));
    for remembered in [&memory.kept, &memory.lost] {
        let some = (0..REMEMBERED).filter_map(|_| Some((clients.way(), clients.one_of(remembered)?)));
        asks.extend(some);
    }
    let writes = Mode::ALL.map(async |mode| {
        let way = Way { mode, ..clients.way() };
        clients.write(way, clients.one_of(lost).as_ref()).await
    });
    tokio::join!(clients.settle_all(&asks), join_all(writes));
    Ok(fresh)
}
