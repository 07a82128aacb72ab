//! Where the databases of fronted services stand, and whether the promise to read one's own writes can be kept here.

use std::time::Duration;

use control::port::DomainServer;
use edge::{
    positions::{Shown, View, heartbeat::Heartbeat},
    runtime::Edge,
};
use model::{
    structure::{Domain, Structure},
    time::BootNanos,
};

/// A primary that has shown nothing for longer is a trouble.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);

/// All servers of all domains, in the order of the document.
pub(super) fn servers(edge: &Edge, structure: &Structure) -> Vec<DomainServer> {
    structure
        .domains
        .iter()
        .filter_map(|domain| Some((domain, edge.positions.domain(domain.mark)?.view())))
        .flat_map(|(domain, view)| of(domain, &view))
        .collect()
}

fn of(domain: &Domain, view: &View) -> Vec<DomainServer> {
    let head = view.primary.and_then(|primary| view.server(primary)?.position);
    let server = |shown: &Shown| {
        let is_writer = view.primary == Some(shown.id);
        DomainServer {
            domain: domain.name.to_string(),
            address: shown.address.to_string(),
            region: shown.region.to_string(),
            state: match shown {
                _ if is_writer => "primary",
                shown if shown.connection == 0 => "unreachable",
                shown if shown.is_primary => "replaced",
                _ => "standby",
            },
            is_read: shown.is_read || is_writer,
            epoch: shown.position.map(|at| at.epoch),
            lsn: shown.position.map(|at| at.lsn.to_string()),
            lag_bytes: head.zip(shown.position).filter(|(head, at)| head.epoch == at.epoch).map(|(head, at)| head.lsn.0.saturating_sub(at.lsn.0)),
        }
    };
    view.servers.iter().map(server).collect()
}

/// What stands against it, a sentence for each domain; nothing when nobody is promised anything.
pub(super) fn troubles(edge: &Edge, structure: &Structure) -> Vec<String> {
    let mut troubles = Vec::new();
    if structure.domains.iter().any(|domain| domain.is_tracked) && !edge.consistency_keys.can_sign() {
        troubles.push(
            "routes promise clients their own writes, and this node has no keys under `secrets.consistency_tokens`: it gives no tokens, and such reads go to the writer region"
                .to_owned(),
        );
    }
    troubles.extend(structure.domains.iter().filter(|domain| domain.is_tracked || domain.is_beating).filter_map(|domain| trouble(edge, domain)));
    troubles
}

/// What commits of the primaries wait for where it is proved how old answers are: a sentence for each domain.
pub(super) fn quorums(edge: &Edge, structure: &Structure) -> Vec<String> {
    let beating = structure.domains.iter().filter(|domain| domain.is_beating && domain.servers.len() > 1);
    let sentence = |domain: &Domain| {
        let heartbeat = edge.positions.domain(domain.mark)?.heartbeat();
        // Nothing was read yet.
        heartbeat.newest()?;
        Some(match &*heartbeat.standbys {
            "" => format!(
                "commits of `{}` wait for no standby (`synchronous_standby_names` is empty): how old its answers are cannot be proved over a promotion",
                domain.name
            ),
            standbys => format!("commits of `{}` wait for {standbys}", domain.name),
        })
    };
    beating.filter_map(sentence).collect()
}

fn trouble(edge: &Edge, domain: &Domain) -> Option<String> {
    let name = &domain.name;
    let Some(watched) = edge.positions.domain(domain.mark) else {
        return Some(format!("`{name}` is not watched; the node file needs an entry for it under `domains`"));
    };
    let unknown = unknown(&watched.view()).or_else(|| unconfirmed(&watched.heartbeat(), domain, edge.clock.boot()));
    unknown.map(|what| format!("`{name}`: {what}"))
}

/// What is wrong with a domain's heartbeat.
fn unconfirmed(heartbeat: &Heartbeat, domain: &Domain, now: BootNanos) -> Option<String> {
    if !domain.is_beating {
        return None;
    }
    let age = heartbeat.newest().map(|newest| Duration::from_nanos(now.nanos_since(newest.at)));
    if age.is_some_and(|age| age <= CONFIRMED_WITHIN) {
        return None;
    }
    let why = heartbeat.trouble.as_deref().unwrap_or("no heartbeat of its primary was committed: it waits for a standby, or was replaced");
    let since = age.map_or_else(|| "since the start".to_owned(), |age| format!("for {} s", age.as_secs()));
    Some(format!("how old its answers are cannot be proved {since}: {why}"))
}

/// What is not known of a domain's servers.
fn unknown(view: &View) -> Option<String> {
    if view.writer().is_none() {
        return Some("the epoch of its primary is not known: it does not answer, or the control database has not taken the epoch yet".to_owned());
    }
    let is_blind = |shown: &&Shown| shown.is_read && shown.position.is_none();
    let blind: Vec<&str> = view.servers.iter().filter(is_blind).map(|shown| &*shown.address).collect();
    (!blind.is_empty()).then(|| {
        format!(
            "the position of {} is not known, so its region is not read where something is promised: it does not answer, follows nobody, or the role is no member of `pg_monitor`",
            blind.join(", ")
        )
    })
}
