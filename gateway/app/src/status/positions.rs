//! Whether the promise to read one's own writes can be kept here.

use edge::{positions::View, runtime::Edge};
use model::structure::{Domain, Structure};

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
