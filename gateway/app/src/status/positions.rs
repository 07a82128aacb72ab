//! Where the databases of fronted services stand, and whether the promise to read one's own writes can be kept here.

use control::port::DomainServer;
use edge::{positions::View, runtime::Edge};
use model::structure::{Domain, Structure};

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
    let head = view.primary.and_then(|primary| view.servers.get(primary)?.position);
    let server = |(index, (written, shown)): (usize, (&model::structure::DomainServer, &edge::positions::Shown))| {
        let is_writer = view.primary == Some(index);
        DomainServer {
            domain: domain.name.to_string(),
            address: written.address.to_string(),
            region: written.region.to_string(),
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
    domain.servers.iter().zip(&view.servers).enumerate().map(server).collect()
}

/// What stands against it, a sentence for each domain; nothing when nobody is promised anything.
pub(super) fn troubles(edge: &Edge, structure: &Structure) -> Vec<String> {
    let tracked: Vec<&Domain> = structure.domains.iter().filter(|domain| domain.is_tracked).collect();
    if !tracked.is_empty() && !edge.consistency_keys.can_sign() {
        return vec![
            "routes promise clients their own writes, and this node has no keys under `secrets.consistency_tokens`: it gives no tokens, and such reads go to the writer region"
                .to_owned(),
        ];
    }
    tracked.into_iter().filter_map(|domain| trouble(edge, domain)).collect()
}

fn trouble(edge: &Edge, domain: &Domain) -> Option<String> {
    let name = &domain.name;
    let Some(watched) = edge.positions.domain(domain.mark) else {
        return Some(format!("`{name}` is not watched; the node file needs an entry for it under `domains`"));
    };
    unknown(&watched.view(), domain).map(|what| format!("`{name}`: {what}"))
}

/// What is not known of a domain's servers.
fn unknown(view: &View, domain: &Domain) -> Option<String> {
    if view.writer().is_none() {
        return Some("the epoch of its primary is not known: it does not answer, or the control database has not taken the epoch yet".to_owned());
    }
    let is_blind = |index: usize| view.servers.get(index).is_some_and(|shown| shown.is_read && shown.position.is_none());
    let blind: Vec<&str> = domain.servers.iter().enumerate().filter(|(index, _)| is_blind(*index)).map(|(_, server)| &*server.address).collect();
    (!blind.is_empty()).then(|| {
        format!(
            "the position of {} is not known, so its region is not read for tokens: it does not answer, follows nobody, or the role is no member of `pg_monitor`",
            blind.join(", ")
        )
    })
}
