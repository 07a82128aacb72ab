//! What can be done to a deployment: lines that are cut or held, standbys that stand still or end, nodes that die.

use anyhow::{Context, Result};
use app::postgres::{Cluster, Stop};

use super::{Distance, Regions, WITHIN};
use crate::node::{self, Under};
use crate::sql::Sql;
use crate::wait;

impl Regions {
    /// Changes how far the regions are from each other.
    pub fn distance(&mut self, distance: Distance) {
        self.lines.measure(distance);
    }

    /// Cuts a region off: its servers and nodes hear nothing of the other regions' servers, and those nothing of its own. Nobody is told.
    pub fn cut_off(&self, region: usize) {
        self.lines.of(region).for_each(|line| line.proxy.partition());
    }

    /// Ends that. What was held on the way arrives now.
    pub fn rejoin(&self, region: usize) {
        self.lines.of(region).for_each(|line| line.proxy.rejoin());
    }

    /// Restarts the nodes of a region with the primary's own address, past every line: the mutant that must be caught by whoever cuts
    /// the region off.
    ///
    /// # Errors
    /// When a node does not come up again.
    pub async fn read_primary(&mut self, region: usize) -> Result<()> {
        let (direct, line) = (self.writer()?.postgres_port, self.lines.to(region, 0).context("no line leads to the primary")?.proxy.port());
        for member in self.members.iter_mut().filter(|member| member.region == region) {
            member.node.kill().await?;
            member.node.reconfigure(|text| node::with_port(text, line, direct))?;
            member.node.start(Under::Bare).await?;
        }
        self.wait_serving().await
    }

    /// Holds what the primary streams to a region's standby. Nodes and clients go on.
    pub fn hold_replication(&self, region: usize) {
        self.lines.replication_of(region).for_each(|line| line.proxy.partition());
    }

    /// Ends that. What was held arrives now.
    pub fn release_replication(&self, region: usize) {
        self.lines.replication_of(region).for_each(|line| line.proxy.rejoin());
    }

    /// A direct way into the server that a region reads.
    ///
    /// # Errors
    /// When there is no such region.
    pub fn server(&self, region: usize) -> Result<Sql> {
        let member = self.members.iter().find(|member| member.region == region).context("there is no such region")?;
        let further = self.further.iter().find(|further| self.names.get(region) == Some(&further.name));
        Ok(self.database.on(further.map_or(member.node.region().postgres_port, |further| further.standby)))
    }

    /// The port of the standby beside the primary, which is in nobody's document; `None` where commits wait for no such one.
    pub fn partner(&self) -> Option<u16> {
        self.standbys.iter().find(|standby| standby.region == 0).map(|standby| standby.cluster.port())
    }

    /// Stops the standby beside the primary as a crash would: commits wait until it is there again.
    ///
    /// # Errors
    /// When there is none, or it does not end.
    pub async fn stop_partner(&mut self) -> Result<()> {
        self.partner_cluster()?.stop(Stop::Immediate).await
    }

    /// Starts it again, and waits until it streams.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_partner(&mut self) -> Result<()> {
        self.partner_cluster()?.start().await?;
        let streams = "select count(*) from pg_stat_replication where application_name = 'eu_west_2' and state = 'streaming'";
        let is_back = async || self.database.ask("postgres", streams).await.is_ok_and(|rows| rows == ["1"]);
        wait::until("the standby beside the primary", WITHIN, is_back).await?;
        Ok(())
    }

    fn partner_cluster(&mut self) -> Result<&mut Cluster> {
        let partner = self.standbys.iter_mut().find(|standby| standby.region == 0);
        Ok(&mut partner.context("no standby stands beside the primary")?.cluster)
    }

    /// Lets commits of the primary wait for nobody from now on.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn wait_for_nobody(&self) -> Result<()> {
        self.database.ask("postgres", "alter system set synchronous_standby_names = ''").await?;
        self.database.ask("postgres", "select pg_reload_conf()").await?;
        Ok(())
    }

    /// Stops a further region's standby as a crash would, and starts it again.
    ///
    /// # Errors
    /// When it does not end, or does not come up, or is not ours: those of the first two regions are `causeway dev`'s.
    pub async fn restart_standby(&mut self, region: usize) -> Result<()> {
        let standby = self.standbys.iter_mut().find(|standby| standby.region == region && region > 1).context("the standby is not ours")?;
        standby.cluster.stop(Stop::Immediate).await?;
        standby.cluster.start().await
    }

    /// Kills a node, by its place among the members, and starts it again; it has answered a client when this ends.
    ///
    /// # Errors
    /// When there is none, or it does not come up again.
    pub async fn restart_node(&mut self, member: usize) -> Result<()> {
        let member = self.members.get_mut(member).context("there is no such node")?;
        member.node.kill().await?;
        member.node.start(Under::Bare).await?;
        member.node.wait_answering(WITHIN).await
    }
}
