//! Compiles residency: labels of regions, and which of them routes and services ask for.

use std::{collections::BTreeSet, sync::Arc};

use super::Errors;
use crate::{
    document::{ConsumerDoc, Document, RegionDoc},
    residency::{self, LABELS_MAX, Residency},
    structure::{Domain, Upstream},
};

/// Checks the labels of regions, and where their requests go when they cannot serve them.
pub(super) fn regions(document: &Document, errors: &mut Errors) {
    let names = || document.regions.iter().map(|doc| doc.name.as_str());
    for (index, doc) in document.regions.iter().enumerate() {
        if doc.residency.len() > LABELS_MAX {
            errors.add(format!("regions[{index}].residency"), format!("a region has at most {LABELS_MAX} labels"));
        }
        for (position, label) in doc.residency.iter().enumerate() {
            if !super::is_name(label) {
                errors.add(
                    format!("regions[{index}].residency[{position}]"),
                    format!("`{label}` is not a label: use 1 to 63 of a-z, 0-9, `-` and `_`"),
                );
            }
        }
        let mut seen = BTreeSet::from([doc.name.as_str()]);
        for (position, name) in doc.failover.iter().enumerate() {
            let path = format!("regions[{index}].failover[{position}]");
            if !names().any(|known| known == name) {
                errors.unknown(path, "region", name, names());
            } else if !seen.insert(name) {
                errors.add(path, format!("`{name}` stands there already, or is the region itself"));
            }
        }
    }
}

/// Checks the labels that a consumer asks for.
pub(super) fn consumer(doc: &ConsumerDoc, path: &str, docs: &[RegionDoc], errors: &mut Errors) {
    let Some(labels) = &doc.residency else { return };
    if let Err(mistake) = residency::check(labels) {
        errors.add(path, mistake);
    }
    for (position, label) in labels.iter().enumerate() {
        known(label, format!("{path}[{position}]"), docs, errors);
    }
}

fn known(label: &str, path: String, docs: &[RegionDoc], errors: &mut Errors) {
    if !docs.iter().any(|doc| doc.residency.iter().any(|known| known == label)) {
        let known = docs.iter().flat_map(|doc| &doc.residency).map(String::as_str);
        errors.unknown(path, "label of a region", label, known);
    }
}

/// The regions that have one of the labels.
pub(super) fn lawful(labels: Option<&[String]>, at: &str, docs: &[RegionDoc], errors: &mut Errors) -> Residency {
    let Some(labels) = labels else { return Residency::default() };
    if labels.is_empty() {
        errors.add(format!("{at}.residency"), "an empty list lets no region serve; leave it out where any may");
    }
    for (position, label) in labels.iter().enumerate() {
        known(label, format!("{at}.residency[{position}]"), docs, errors);
    }
    let lawful = docs.iter().filter(|doc| doc.residency.iter().any(|label| labels.contains(label)));
    Residency::only(lawful.map(|doc| Arc::from(doc.name.as_str())).collect())
}

/// Whether a service can answer a route at all.
pub(super) fn served(residency: &Residency, upstream: &Upstream, may_write: bool, domains: &[Domain], at: &str, errors: &mut Errors) {
    let may = |region: &str| residency.allows(region) && upstream.residency.allows(region);
    if residency.is_any() && upstream.residency.is_any() || upstream.regions.is_empty() {
        return;
    }
    if !upstream.regions.iter().any(|region| may(&region.region)) {
        errors.add(format!("{at}.residency"), format!("`{}` runs in no region in which these data may lie", upstream.name));
        return;
    }
    if !may_write {
        return;
    }
    let domain = upstream.domain.as_ref().and_then(|name| domains.iter().find(|domain| domain.name == *name));
    if let Some(domain) = domain.filter(|domain| !domain.servers.iter().any(|server| may(&server.region))) {
        errors.add(
            format!("{at}.residency"),
            format!(
                "the domain `{}` of `{}` has no server in a region in which these data may lie: nothing could be written",
                domain.name, upstream.name
            ),
        );
    }
    if let Some(writer) = upstream.writer.as_ref().filter(|writer| domain.is_none() && !may(writer)) {
        errors.add(format!("{at}.residency"), format!("`{}` takes its writes in {writer}, where these data may not lie", upstream.name));
    }
}
