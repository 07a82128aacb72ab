//! The authority part of a document: consumers and applications.

use model::{
    change::{ApplicationRow, AuthorityChange, ConsumerRow},
    document::Document,
    id::{ApplicationId, ConsumerId},
};
use serde_json::{Value, json};
use sqlx::query_file;
use uuid::Uuid;

use super::{ApplyReport, Comparison, ResourceKind, ResourceName, Todo};
use crate::{error::StoreError, write::ControlWrite};

/// Writes what is new or different; the tenants and plans are there already.
pub(super) async fn put(write: &mut ControlWrite, document: &Document, report: &mut ApplyReport) -> Result<(), StoreError> {
    put_consumers(write, document, report).await?;
    put_applications(write, document, report).await
}

async fn put_consumers(write: &mut ControlWrite, document: &Document, report: &mut ApplyReport) -> Result<(), StoreError> {
    // Compiled: a consumer without a tenant means the only one.
    let only = document.tenants.first().map(|tenant| tenant.name.as_str());
    let rows = document.consumers.iter().enumerate().map(|(position, doc)| {
        let tenant = doc.tenant.as_deref().or(only);
        json!({ "id": Uuid::now_v7(), "name": doc.name, "tenant": tenant, "residency": doc.residency, "position": position })
    });
    let rows: Vec<Value> = rows.collect();
    let found = query_file!("queries/consumer/compare.sql", Value::Array(rows.clone())).fetch_all(&mut *write.tx).await?;
    let found = found.into_iter().map(|row| Comparison {
        kind: ResourceKind::Consumer,
        name: row.name,
        managed_by: row.managed_by,
        changed: row.changed,
        moved: false,
    });
    let Some(rows) = sort(rows, found, report)? else { return Ok(()) };
    for row in query_file!("queries/consumer/put.sql", rows).fetch_all(&mut *write.tx).await? {
        let row = ConsumerRow { id: ConsumerId::new(row.consumer_id), name: row.name, tenant: row.tenant, residency: row.residency };
        write.authority(&AuthorityChange::Consumer(row))?;
    }
    Ok(())
}

async fn put_applications(write: &mut ControlWrite, document: &Document, report: &mut ApplyReport) -> Result<(), StoreError> {
    let rows = document.applications.iter().enumerate().map(|(position, doc)| {
        json!({
            "id": Uuid::now_v7(), "name": doc.name, "consumer": doc.consumer, "plan": doc.plan, "scopes": doc.scopes,
            "position": position,
        })
    });
    let rows: Vec<Value> = rows.collect();
    let found = query_file!("queries/application/compare.sql", Value::Array(rows.clone())).fetch_all(&mut *write.tx).await?;
    let found = found.into_iter().map(|row| Comparison {
        kind: ResourceKind::Application,
        name: row.name,
        managed_by: row.managed_by,
        changed: row.changed,
        moved: false,
    });
    let Some(rows) = sort(rows, found, report)? else { return Ok(()) };
    for row in query_file!("queries/application/put.sql", rows).fetch_all(&mut *write.tx).await? {
        write.authority(&AuthorityChange::Application(ApplicationRow {
            id: ApplicationId::new(row.application_id),
            name: row.name,
            consumer: ConsumerId::new(row.consumer_id),
            plan: row.plan,
            scopes: row.scopes,
        }))?;
    }
    Ok(())
}

/// Reports each entry; returns the rows that have to be written, if there are any. Both come in the document's order.
fn sort(rows: Vec<Value>, found: impl Iterator<Item = Comparison>, report: &mut ApplyReport) -> Result<Option<Value>, StoreError> {
    let mut written = Vec::new();
    for (row, comparison) in rows.into_iter().zip(found) {
        match comparison.judge(report)? {
            Todo::Write => written.push(row),
            Todo::Move | Todo::Nothing => {}
        }
    }
    Ok((!written.is_empty()).then_some(Value::Array(written)))
}

/// Deletes what belongs to the file and is no longer in it; keys of such applications end.
pub(super) async fn prune(write: &mut ControlWrite, document: &Document, report: &mut ApplyReport) -> Result<(), StoreError> {
    let kept: Vec<String> = document.applications.iter().map(|doc| doc.name.clone()).collect();
    let applications = query_file!("queries/application/prunable.sql", &kept).fetch_all(&mut *write.tx).await?;
    let ids: Vec<Uuid> = applications.iter().map(|row| row.application_id).collect();
    report.keys_revoked = write.remove_applications(&ids).await?;
    let gone = applications.into_iter().map(|row| ResourceName { kind: ResourceKind::Application, name: row.name });
    report.deleted.extend(gone);

    let kept: Vec<String> = document.consumers.iter().map(|doc| doc.name.clone()).collect();
    for row in query_file!("queries/consumer/prune.sql", &kept).fetch_all(&mut *write.tx).await? {
        write.authority(&AuthorityChange::ConsumerRemoved { id: ConsumerId::new(row.consumer_id) })?;
        report.deleted.push(ResourceName { kind: ResourceKind::Consumer, name: row.name });
    }
    Ok(())
}
