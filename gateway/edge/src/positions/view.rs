//! All servers of a domain at one moment, and what can be said by them.

use std::sync::Arc;

use model::position::{Epochs, Lsn, Position};

#[cfg(test)]
mod tests;

/// One server of a domain, for as long as it is watched: whatever others come or go, it keeps this name and no other gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServerId(pub u32);

/// What a server has shown, over one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which server.
    pub id: ServerId,
    /// Its address, `host:port`.
    pub address: Arc<str>,
    /// The region whose services read it.
    pub region: Arc<str>,
    /// Whether they do while it is a standby.
    pub is_read: bool,
    /// Whether it takes writes.
    pub is_primary: bool,
    /// What it has at least; `None` while it does not answer, or its epoch is not known.
    pub position: Option<Position>,
    /// It may have more, of whatever epoch: it was shown before, and nobody knows what came since.
    pub is_held: bool,
    /// Tells its connections apart; 0 while there is none.
    pub connection: u64,
    /// How long a question to it takes, in microseconds, about; `None` before its first answer.
    pub rtt_us: Option<u64>,
}

/// All servers of a domain at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The epochs that are known.
    pub epochs: Arc<Epochs>,
    /// The server that takes the writes.
    pub primary: Option<ServerId>,
    /// In the order of the document.
    pub servers: Box<[Shown]>,
}

/// Which server is meant, and what must not have changed about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// The server.
    pub server: ServerId,
    /// The epoch that it was in.
    pub epoch: u32,
    /// The connection over which it said so.
    pub connection: u64,
}

impl Pin {
    /// The position that is shown now, if it is the same server in the same epoch.
    pub fn still(&self, shown: Option<&Shown>) -> Option<Position> {
        shown.filter(|shown| shown.connection == self.connection && !shown.is_held)?.position.filter(|position| position.epoch == self.epoch)
    }
}

/// Whoever answers at all, of whatever epoch.
fn answering(shown: &Shown) -> Option<Pin> {
    (shown.connection != 0).then_some(Pin { server: shown.id, epoch: 0, connection: shown.connection })
}

/// Whether the servers that a region reads have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All of them have it.
    Has,
    /// One of them has it not yet.
    Behind,
    /// Nobody can say: one does not answer or is in another epoch, or none is known.
    Unknown,
}

impl View {
    /// The newest epoch's number.
    pub fn epoch(&self) -> Option<u32> {
        self.epochs.newest().map(|epoch| epoch.number)
    }

    /// One of the servers; `None` when it is not watched any more. A domain has a few, so that a list is searched as fast as a table.
    pub fn server(&self, id: ServerId) -> Option<&Shown> {
        self.servers.iter().find(|shown| shown.id == id)
    }

    /// What the primary has shown.
    fn shown_by_primary(&self) -> Option<&Shown> {
        self.server(self.primary?)
    }

    /// The primary, if it writes the newest epoch.
    pub fn writer(&self) -> Option<Pin> {
        self.pin(self.shown_by_primary()?)
    }

    /// Whether writes have nowhere to go: an epoch is known, and what answers as a primary writes an earlier one, or none is known that has
    /// not been replaced. One that writes the newest epoch and does not answer for the moment is not meant.
    pub fn lacks_writer(&self) -> bool {
        self.epoch().is_some() && self.writer().is_none() && self.shown_by_primary().is_none_or(|shown| shown.position.is_some())
    }

    /// A primary whose epoch nobody has begun yet.
    pub fn unknown_primary(&self) -> Option<ServerId> {
        self.shown_by_primary().filter(|shown| shown.is_primary && shown.position.is_none()).map(|shown| shown.id)
    }

    /// A set of a region, and its other servers that answer: one of them may be the primary by now.
    pub fn with_others(&self, region: &str, set: &[Pin]) -> Vec<Pin> {
        let is_one = |shown: &&Shown| set.iter().any(|pin| pin.server == shown.id);
        let others = self.servers.iter().filter(|shown| *shown.region == *region && !is_one(shown));
        set.iter().copied().chain(others.filter_map(answering)).collect()
    }

    /// Whether a region reads none but these now, in the newest epoch. Some of them may not be read any more.
    pub fn is_set(&self, region: &str, set: &[Pin]) -> bool {
        let is_one = |shown: &Shown| set.iter().any(|pin| pin.server == shown.id);
        set.iter().all(|pin| Some(pin.epoch) == self.epoch()) && self.set(region).all(is_one)
    }

    /// The servers that services of a region read: standbys that are read, and the primary where it is.
    fn set<'v>(&'v self, region: &'v str) -> impl Iterator<Item = &'v Shown> {
        self.servers.iter().filter(move |shown| *shown.region == *region && self.is_read(shown))
    }

    fn is_read(&self, shown: &Shown) -> bool {
        shown.is_read || self.primary == Some(shown.id)
    }

    /// Whether a primary's region reads nothing but it.
    pub fn is_read_alone(&self, writer: Pin) -> bool {
        self.server(writer.server).is_some_and(|shown| self.set(&shown.region).count() == 1)
    }

    fn pin(&self, shown: &Shown) -> Option<Pin> {
        let epoch = shown.position.filter(|position| Some(position.epoch) == self.epoch())?.epoch;
        Some(Pin { server: shown.id, epoch, connection: shown.connection })
    }

    /// Whether a region's services read what a position stands for, whichever server answers them.
    pub fn standing(&self, region: &str, position: Position) -> Standing {
        let Some(newest) = self.epoch().filter(|newest| self.epochs.survives(position, *newest)) else { return Standing::Unknown };
        let mut standing = Standing::Unknown;
        for shown in self.set(region) {
            // A set in two epochs shows what the other one has lost.
            let Some(at) = shown.position.filter(|at| at.epoch == newest) else { return Standing::Unknown };
            // A primary has all of its epoch, also what nobody knows the place of.
            let is_source = self.primary == Some(shown.id) && shown.is_primary && position.epoch == newest;
            if !is_source && at.lsn < position.lsn {
                standing = Standing::Behind;
            } else if standing == Standing::Unknown {
                standing = Standing::Has;
            }
        }
        standing
    }

    /// The servers that a region reads, to be looked at again; `None` when one of them cannot be.
    pub fn pins(&self, region: &str) -> Option<Vec<Pin>> {
        self.set(region).map(|shown| self.pin(shown)).collect()
    }

    /// Whether a position is of an epoch that is over, and not known to have survived it.
    pub fn has_lost(&self, position: Position) -> bool {
        self.epoch().is_some_and(|newest| position.epoch <= newest && !self.epochs.survives(position, newest))
    }

    /// The regions that read a server, in the order of the document.
    pub fn regions(&self) -> Vec<&str> {
        let mut regions = Vec::new();
        for shown in self.servers.iter().filter(|shown| self.is_read(shown)) {
            if !regions.contains(&&*shown.region) {
                regions.push(&*shown.region);
            }
        }
        regions
    }

    /// How far away a region is: how long a question to the nearest of its servers takes, in microseconds, about. The greatest number while
    /// that is not known.
    pub fn rtt_us(&self, region: &str) -> u64 {
        let of_region = self.servers.iter().filter(|shown| *shown.region == *region);
        of_region.filter_map(|shown| shown.rtt_us).min().unwrap_or(u64::MAX)
    }

    /// How far the servers that a region reads are behind the primary, in bytes of the log.
    pub fn lag_bytes(&self, region: &str) -> Option<u64> {
        let head = self.shown_by_primary()?.position?;
        let places = self.set(region).map(|shown| shown.position.filter(|at| at.epoch == head.epoch).map(|at| at.lsn));
        Some(head.lsn.0.saturating_sub(places.min()??.0))
    }

    /// Adds a position to the one that a client has. The maximum, unless that would hide a loss: then that is told.
    pub fn merge(&self, has: Option<Position>, new: Position) -> Merged {
        let Some(has) = has else { return Merged { position: new, is_lost: false } };
        // The place of a write that nobody knew is known once the primary of its epoch was seen afterwards.
        if has.lsn == Lsn::END && has.epoch == new.epoch {
            return Merged { position: new, is_lost: false };
        }
        let is_lost = has.epoch < new.epoch && !self.epochs.survives(has, new.epoch);
        Merged { position: has.max(new), is_lost }
    }
}

/// What a client has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// For its token.
    pub position: Position,
    /// What it had has not provably survived.
    pub is_lost: bool,
}
