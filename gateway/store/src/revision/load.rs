//! Whole loads: everything, at one moment of one server.

use futures_util::TryStreamExt;
use model::{
    change::{ApplicationRow, ConsumerRow, KeyRow},
    document::Document,
    id::{ApplicationId, ConsumerId},
};
use serde::de::DeserializeOwned;
use sqlx::{PgConnection, PgTransaction, query_file, query_file_as};

use super::{BadRow, FullLoad, StructureLoad, heads_on};
use crate::{error::StoreError, key::KeyColumns, pool::Reader};

/// The statement that begins the transaction: every later statement sees the same moment.
const BEGIN: &str = include_str!("../../queries/transaction/begin_read.sql");

/// Everything, in one REPEATABLE READ transaction on one server (T7).
///
/// # Errors
/// [`StoreError`]; a row that cannot be read is no error, see [`FullLoad::quarantined`].
pub async fn full(reader: &impl Reader) -> Result<FullLoad, StoreError> {
    let mut tx: PgTransaction<'_> = reader.reader_pool().begin_with(BEGIN).await?;
    let StructureLoad { revisions, document, mut quarantined } = structure_on(&mut tx).await?;
    let consumers = consumers(&mut tx).await?;
    let applications = applications(&mut tx).await?;
    let keys = keys(&mut tx, &mut quarantined).await?;
    let denials = crate::denial::all(&mut tx).await?;
    tx.rollback().await?;
    Ok(FullLoad { revisions, document, consumers, applications, keys, denials, quarantined })
}

/// The structural part, in one transaction.
///
/// # Errors
/// [`StoreError`]; a row that cannot be read is no error, see [`StructureLoad::quarantined`].
pub async fn structure(reader: &impl Reader) -> Result<StructureLoad, StoreError> {
    let mut tx: PgTransaction<'_> = reader.reader_pool().begin_with(BEGIN).await?;
    let load = structure_on(&mut tx).await?;
    tx.rollback().await?;
    Ok(load)
}

async fn structure_on(connection: &mut PgConnection) -> Result<StructureLoad, StoreError> {
    let revisions = heads_on(connection).await?;
    let mut document = Document { version: 1, ..Document::default() };
    let mut quarantined = Vec::new();
    for row in query_file!("queries/gateway_resource/all.sql").fetch_all(connection).await? {
        let added = match row.kind.as_str() {
            "region" => add(&mut document.regions, &row.body),
            "domain" => add(&mut document.domains, &row.body),
            "tenant" => add(&mut document.tenants, &row.body),
            "plan" => add(&mut document.plans, &row.body),
            "issuer" => add(&mut document.issuers, &row.body),
            "certificate_authority" => add(&mut document.certificate_authorities, &row.body),
            "signer" => add(&mut document.signers, &row.body),
            "api" => add(&mut document.apis, &row.body),
            "upstream" => add(&mut document.upstreams, &row.body),
            "route" => add(&mut document.routes, &row.body),
            _ => Err("a kind that this version does not know".to_owned()),
        };
        if let Err(message) = added {
            quarantined.push(BadRow { kind: row.kind, entity: row.name, message });
        }
    }
    Ok(StructureLoad { revisions, document, quarantined })
}

fn add<T: DeserializeOwned>(section: &mut Vec<T>, body: &str) -> Result<(), String> {
    section.push(serde_json::from_str(body).map_err(|error| error.to_string())?);
    Ok(())
}

async fn consumers(connection: &mut PgConnection) -> Result<Vec<ConsumerRow>, StoreError> {
    let rows = query_file!("queries/consumer/all.sql").fetch_all(connection).await?;
    Ok(rows
        .into_iter()
        .map(|row| ConsumerRow { id: ConsumerId::new(row.id), name: row.name, tenant: row.tenant, residency: row.residency })
        .collect())
}

async fn applications(connection: &mut PgConnection) -> Result<Vec<ApplicationRow>, StoreError> {
    let rows = query_file!("queries/application/all.sql").fetch_all(connection).await?;
    let rows = rows.into_iter().map(|row| ApplicationRow {
        id: ApplicationId::new(row.id),
        name: row.name,
        consumer: ConsumerId::new(row.consumer_id),
        plan: row.plan,
        scopes: row.scopes,
    });
    Ok(rows.collect())
}

/// Row by row from the wire: there may be a million.
async fn keys(connection: &mut PgConnection, quarantined: &mut Vec<BadRow>) -> Result<Vec<KeyRow>, StoreError> {
    let mut rows = query_file_as!(KeyColumns, "queries/api_key/all.sql").fetch(connection);
    let mut keys = Vec::new();
    while let Some(columns) = rows.try_next().await? {
        let id = columns.id.clone();
        match columns.into_row() {
            Ok(key) => keys.push(key),
            Err(message) => quarantined.push(BadRow { kind: "key".to_owned(), entity: id, message: message.to_owned() }),
        }
    }
    Ok(keys)
}
