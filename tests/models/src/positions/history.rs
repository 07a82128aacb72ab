//! The timelines of one domain: what each holds, and where it left the one before.

/// Two promotions.
pub(super) const EPOCHS: usize = 3;
/// As many positions as there are writes.
pub(super) const LSN_MAX: u8 = 2;

/// A position: never a bare LSN. Later is greater; the LSN of an epoch says how many writes lie before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) epoch: u8,
    pub(super) lsn: u8,
}

impl Position {
    /// Above everything that the epoch can have: nothing that it stands for is known to survive it.
    pub(super) const fn unknown(epoch: u8) -> Self {
        Self { epoch, lsn: u8::MAX }
    }
}

/// Every epoch: its writes, the epoch before it, and the LSN at which it left that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// The bit of each write, by epoch and LSN; 0 where nothing is written yet.
    logs: [[u8; LSN_MAX as usize]; EPOCHS],
    /// For each epoch after the first, the one before it and the fork.
    forks: [Option<Position>; EPOCHS],
    next_write: u8,
}

fn index(epoch: u8) -> usize {
    usize::from(epoch) - 1
}

impl History {
    pub(super) const START: Self = Self { logs: [[0; LSN_MAX as usize]; EPOCHS], forks: [None; EPOCHS], next_write: 1 };

    /// How many writes an epoch holds.
    pub(super) fn len(&self, epoch: u8) -> u8 {
        self.logs[index(epoch)].iter().fold(0, |n, write| n + u8::from(*write != 0))
    }

    /// The writes before a position.
    pub(super) fn content(&self, at: Position) -> u8 {
        self.logs[index(at.epoch)].iter().take(usize::from(at.lsn)).fold(0, |all, write| all | write)
    }

    /// A new write at the end of an epoch; its bit.
    pub(super) fn append(&mut self, epoch: u8) -> u8 {
        let (write, at) = (self.next_write, usize::from(self.len(epoch)));
        self.logs[index(epoch)][at] = write;
        self.next_write <<= 1;
        write
    }

    /// A standby at `from` becomes the primary of a new epoch.
    pub(super) fn promote(&mut self, from: Position) -> Option<u8> {
        let epoch = (2..=3).find(|epoch| self.forks[index(*epoch)].is_none())?;
        self.forks[index(epoch)] = Some(from);
        for at in 0..usize::from(from.lsn) {
            self.logs[index(epoch)][at] = self.logs[index(from.epoch)][at];
        }
        Some(epoch)
    }

    /// The epoch before this one; 0 before the first.
    pub(super) fn parent(&self, epoch: u8) -> u8 {
        self.forks[index(epoch)].map_or(0, |fork| fork.epoch)
    }

    /// The number that PostgreSQL gives the timeline without a shared archive: one more than its parent's.
    pub(super) fn timeline(&self, epoch: u8) -> u8 {
        self.forks[index(epoch)].map_or(1, |fork| 1 + self.timeline(fork.epoch))
    }

    /// The forks on the way from an epoch back to the first.
    fn way(&self, epoch: u8) -> impl Iterator<Item = Position> + '_ {
        std::iter::successors(self.forks[index(epoch)], |fork| self.forks[index(fork.epoch)])
    }

    /// Whether an epoch provably has what lies before a position: it descends from the position's, and left it, and every one
    /// between, above.
    pub(super) fn survived(&self, position: Position, epoch: u8) -> bool {
        let descends = position.epoch == epoch || self.way(epoch).any(|fork| fork.epoch == position.epoch);
        descends && self.way(epoch).take_while(|fork| fork.epoch >= position.epoch).all(|fork| position.lsn <= fork.lsn)
    }

    /// The same, with the first fork after the position alone.
    pub(super) fn survived_next(&self, position: Position, epoch: u8) -> bool {
        let descends = position.epoch == epoch || self.way(epoch).any(|fork| fork.epoch == position.epoch);
        descends && self.way(epoch).filter(|fork| fork.epoch == position.epoch).all(|fork| position.lsn <= fork.lsn)
    }

    /// The same, as if each epoch were the child of the one before.
    pub(super) fn survived_in_line(&self, position: Position, epoch: u8) -> bool {
        position.epoch <= epoch && (position.epoch + 1..=epoch).all(|later| self.forks[index(later)].is_some_and(|fork| position.lsn <= fork.lsn))
    }

    /// How far a server can keep what it has when it follows a newer epoch.
    pub(super) fn common(&self, at: Position, epoch: u8) -> u8 {
        let (ours, theirs) = (self.logs[index(at.epoch)], self.logs[index(epoch)]);
        let same = ours.iter().zip(theirs).take(usize::from(at.lsn)).take_while(|(ours, theirs)| **ours == *theirs).count();
        u8::try_from(same).unwrap_or(0)
    }
}
