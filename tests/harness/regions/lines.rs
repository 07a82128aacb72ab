//! The lines between the regions.

use anyhow::Result;

use super::Distance;
use crate::fault::{Direction, Proxy};

/// What a line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// A standby streams over it.
    Replication,
    /// Nodes ask a server over it.
    Nodes,
}

/// One line, used by one region, to a server of another.
#[derive(Debug)]
pub(super) struct Line {
    from: usize,
    to: usize,
    carries: Use,
    pub(super) proxy: Proxy,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// Of those that are there, and of those to come.
    distance: Distance,
}

impl Line {
    fn measure(&self, distance: Distance) {
        for direction in [Direction::Up, Direction::Down] {
            self.proxy.delay_one_way(direction, distance.least, distance.most.saturating_sub(distance.least));
        }
    }
}

impl Lines {
    /// None yet.
    pub(super) const fn of_length(distance: Distance) -> Self {
        Self { lines: Vec::new(), distance }
    }

    /// The port by which a standby in region `from` streams from the primary.
    pub(super) async fn replication(&mut self, from: usize, primary: u16) -> Result<u16> {
        self.add(from, 0, primary, Use::Replication).await
    }

    /// The port by which the nodes of region `from` reach a server in region `to`.
    pub(super) async fn node(&mut self, from: usize, to: usize, server: u16) -> Result<u16> {
        self.add(from, to, server, Use::Nodes).await
    }

    async fn add(&mut self, from: usize, to: usize, target: u16, carries: Use) -> Result<u16> {
        let proxy = Proxy::to_port(target).await?;
        let port = proxy.port();
        let line = Line { from, to, carries, proxy };
        line.measure(self.distance);
        self.lines.push(line);
        Ok(port)
    }

    /// Whether every standby streams.
    pub(super) fn replicate(&self) -> bool {
        self.lines.iter().filter(|line| line.carries == Use::Replication).all(|line| line.proxy.connections() > 0)
    }

    /// The lines that begin or end in a region.
    pub(super) fn of(&self, region: usize) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.from == region || line.to == region)
    }

    /// The line over which a region's standby streams.
    pub(super) fn replication_of(&self, region: usize) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| line.carries == Use::Replication && line.from == region)
    }

    /// The line of a region's nodes to the first server of another.
    pub(super) fn to(&self, from: usize, to: usize) -> Option<&Line> {
        self.lines.iter().find(|line| line.carries == Use::Nodes && (line.from, line.to) == (from, to))
    }

    /// Makes all of them as long.
    pub(super) fn measure(&mut self, distance: Distance) {
        self.distance = distance;
        self.lines.iter().for_each(|line| line.measure(distance));
    }

    /// Ends all faults.
    pub(super) fn heal(&self) {
        self.lines.iter().for_each(|line| line.proxy.rejoin());
        self.lines.iter().for_each(|line| line.proxy.heal());
    }
}
