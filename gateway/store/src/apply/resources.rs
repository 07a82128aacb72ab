//! The structural part of a document: tenants, plans, and everything that nothing refers to by key.

use std::borrow::Borrow;

use model::document::Document;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{query_file, query_file_scalar};
use uuid::Uuid;

use super::{ApplyReport, Comparison, ResourceKind, ResourceName, Todo};
use crate::{
    error::StoreError,
    wire,
    write::{ControlWrite, Op},
};

/// One entry of the document.
#[derive(Debug)]
struct Entry {
    kind: ResourceKind,
    name: String,
    /// As a statement takes it: id, kind, name, position, body.
    row: Value,
}

/// The entries of the document, by table.
#[derive(Debug)]
pub(super) struct Wanted {
    tenants: Vec<Entry>,
    plans: Vec<Entry>,
    others: Vec<Entry>,
}

impl Wanted {
    pub(super) fn from_document(document: &Document) -> Result<Self, StoreError> {
        // Named one by one, so that none can be forgotten; callers are written by themselves.
        let Document {
            version: _,
            regions,
            domains,
            tenants,
            plans,
            issuers,
            certificate_authorities,
            signers,
            apis,
            consumers: _,
            applications: _,
            upstreams,
            routes,
        } = document;
        let mut others = section(ResourceKind::Region, regions, |doc| &doc.name)?;
        others.extend(section(ResourceKind::Domain, domains, |doc| &doc.name)?);
        others.extend(section(ResourceKind::Issuer, issuers, |doc| &doc.name)?);
        others.extend(section(ResourceKind::CertificateAuthority, certificate_authorities, |doc| &doc.name)?);
        others.extend(section(ResourceKind::Signer, signers, |doc| &doc.name)?);
        others.extend(section(ResourceKind::Api, apis, |doc| &doc.name)?);
        others.extend(section(ResourceKind::Upstream, upstreams, |doc| &doc.name)?);
        others.extend(section(ResourceKind::Route, routes, |doc| &doc.name)?);
        Ok(Self {
            tenants: section(ResourceKind::Tenant, tenants, |doc| &doc.name)?,
            plans: section(ResourceKind::Plan, plans, |doc| &doc.name)?,
            others,
        })
    }
}

fn section<T: Serialize>(kind: ResourceKind, docs: &[T], name: impl Fn(&T) -> &String) -> Result<Vec<Entry>, StoreError> {
    let entries = docs.iter().enumerate().map(|(position, doc)| {
        let body = serde_json::to_value(doc).map_err(|error| StoreError::invalid(error.to_string()))?;
        let name = name(doc).clone();
        let row = json!({ "id": Uuid::now_v7(), "kind": kind.as_str(), "name": name, "position": position, "body": body });
        Ok(Entry { kind, name, row })
    });
    entries.collect()
}

fn rows<E: Borrow<Entry>>(entries: &[E]) -> Value {
    entries.iter().map(|entry| entry.borrow().row.clone()).collect()
}

fn names(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.name.clone()).collect()
}

/// Writes what is new or different.
pub(super) async fn put(write: &mut ControlWrite, wanted: &Wanted, report: &mut ApplyReport) -> Result<(), StoreError> {
    let compared = compare_tenants(write, &wanted.tenants).await?;
    if let Some(rows) = sort(write, &wanted.tenants, &compared, report)? {
        query_file!("queries/tenant/put.sql", rows).execute(&mut *write.tx).await?;
    }
    let compared = compare_plans(write, &wanted.plans).await?;
    if let Some(rows) = sort(write, &wanted.plans, &compared, report)? {
        query_file!("queries/plan/put.sql", rows).execute(&mut *write.tx).await?;
    }
    let compared = compare_others(write, &wanted.others).await?;
    if let Some(rows) = sort(write, &wanted.others, &compared, report)? {
        query_file!("queries/gateway_resource/put.sql", rows).execute(&mut *write.tx).await?;
    }
    Ok(())
}

/// Reports and logs each entry; returns the rows that have to be written, if there are any.
fn sort(write: &mut ControlWrite, entries: &[Entry], compared: &[Comparison], report: &mut ApplyReport) -> Result<Option<Value>, StoreError> {
    let mut written = Vec::new();
    for entry in entries {
        let comparison = compared.iter().find(|comparison| comparison.kind == entry.kind && comparison.name == entry.name);
        let comparison = comparison.ok_or_else(|| wire::corrupt(entry.kind.as_str(), "it was not compared"))?;
        let op = match comparison.judge(report)? {
            Todo::Nothing => continue,
            Todo::Move => Op::Move,
            Todo::Write => Op::Put,
        };
        let body = entry.row.get("body").cloned().unwrap_or_default();
        write.structural(entry.kind.as_str(), &entry.name, op, body);
        written.push(entry);
    }
    Ok((!written.is_empty()).then(|| rows(&written)))
}

async fn compare_tenants(write: &mut ControlWrite, entries: &[Entry]) -> Result<Vec<Comparison>, StoreError> {
    let found = query_file!("queries/tenant/compare.sql", rows(entries)).fetch_all(&mut *write.tx).await?;
    let found = found.into_iter().map(|row| Comparison {
        kind: ResourceKind::Tenant,
        name: row.name,
        managed_by: row.managed_by,
        changed: row.changed,
        moved: row.moved,
    });
    Ok(found.collect())
}

async fn compare_plans(write: &mut ControlWrite, entries: &[Entry]) -> Result<Vec<Comparison>, StoreError> {
    let found = query_file!("queries/plan/compare.sql", rows(entries)).fetch_all(&mut *write.tx).await?;
    let found = found.into_iter().map(|row| Comparison {
        kind: ResourceKind::Plan,
        name: row.name,
        managed_by: row.managed_by,
        changed: row.changed,
        moved: row.moved,
    });
    Ok(found.collect())
}

async fn compare_others(write: &mut ControlWrite, entries: &[Entry]) -> Result<Vec<Comparison>, StoreError> {
    let found = query_file!("queries/gateway_resource/compare.sql", rows(entries)).fetch_all(&mut *write.tx).await?;
    let found = found
        .into_iter()
        .map(|row| Ok(Comparison { kind: kind(&row.kind)?, name: row.name, managed_by: row.managed_by, changed: row.changed, moved: row.moved }));
    found.collect()
}

fn kind(text: &str) -> Result<ResourceKind, StoreError> {
    ResourceKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| wire::corrupt("resource kind", text))
}

/// Deletes what belongs to the file and is no longer in it.
pub(super) async fn prune(write: &mut ControlWrite, wanted: &Wanted, report: &mut ApplyReport) -> Result<(), StoreError> {
    let others = query_file!("queries/gateway_resource/prune.sql", rows(&wanted.others)).fetch_all(&mut *write.tx).await?;
    for row in others {
        gone(write, kind(&row.kind)?, row.name, report);
    }
    let plans = query_file_scalar!("queries/plan/prune.sql", &names(&wanted.plans)).fetch_all(&mut *write.tx).await?;
    for name in plans {
        gone(write, ResourceKind::Plan, name, report);
    }
    let tenants = query_file_scalar!("queries/tenant/prune.sql", &names(&wanted.tenants)).fetch_all(&mut *write.tx).await?;
    for name in tenants {
        gone(write, ResourceKind::Tenant, name, report);
    }
    Ok(())
}

fn gone(write: &mut ControlWrite, kind: ResourceKind, name: String, report: &mut ApplyReport) {
    write.structural(kind.as_str(), &name, Op::Remove, Value::Null);
    report.deleted.push(ResourceName { kind, name });
}
