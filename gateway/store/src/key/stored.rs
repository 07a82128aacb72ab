//! The columns of a key that nodes need, and the row that they become.

use model::{
    change::{BcryptRow, Environment, KeyRow, KeyState, PreviousRow, SecretRow},
    id::ApplicationId,
    key::{KeyId, foreign::bcrypt::Prefix},
    restriction::Restrictions,
    time::UtcMicros,
};
use sqlx::{PgConnection, query_file_as};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{error::StoreError, wire};

/// One row, as `api_key/all.sql` and `api_key/row.sql` select it.
#[derive(Debug)]
pub(crate) struct KeyColumns {
    pub(crate) id: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) peppers: Vec<i32>,
    pub(crate) secret_number: i32,
    pub(crate) previous_digest: Option<Vec<u8>>,
    pub(crate) previous_peppers: Option<Vec<i32>>,
    pub(crate) previous_until: Option<OffsetDateTime>,
    pub(crate) previous_number: Option<i32>,
    pub(crate) application_id: Uuid,
    pub(crate) prefix: String,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) plan: Option<String>,
    pub(crate) restrictions: Option<serde_json::Value>,
    pub(crate) state: String,
    pub(crate) expires_at: OffsetDateTime,
    pub(crate) import_lookup: Option<Vec<u8>>,
    pub(crate) import_peppers: Option<Vec<i32>>,
    pub(crate) import_prefix: Option<String>,
    pub(crate) import_sealed: Option<Vec<u8>>,
    pub(crate) import_sealed_pepper: Option<i32>,
}

impl KeyColumns {
    /// The row as nodes receive it.
    pub(crate) fn into_row(self) -> Result<KeyRow, &'static str> {
        let previous = match (self.previous_digest, self.previous_peppers, self.previous_until) {
            (Some(digest), Some(peppers), Some(until)) => {
                let number = self.previous_number.map(number).transpose()?;
                Some(PreviousRow { secret: secret(digest, &peppers)?, until: UtcMicros::from_datetime(until), number })
            }
            _ => None,
        };
        let lookup = self.import_lookup.zip(self.import_peppers).map(|(digest, peppers)| secret(digest, &peppers)).transpose()?;
        let bcrypt = match (self.import_prefix, self.import_sealed, self.import_sealed_pepper) {
            (Some(prefix), Some(sealed), Some(pepper)) => Some(bcrypt(&prefix, sealed, pepper)?),
            _ => None,
        };
        let restrictions = self.restrictions.map(serde_json::from_value).transpose();
        Ok(KeyRow {
            id: KeyId::parse(&self.id).ok_or("its id is not a key id")?,
            application: ApplicationId::new(self.application_id),
            environment: environment(&self.prefix)?,
            secret: secret(self.digest, &self.peppers)?,
            secret_number: number(self.secret_number)?,
            lookup,
            bcrypt,
            previous,
            scopes: self.scopes,
            plan: self.plan,
            restrictions: restrictions.map_err(|_| "it has restrictions that this version does not know")?.unwrap_or_default(),
            state: KeyState::parse(&self.state).ok_or("its state is unknown")?,
            expires_at: UtcMicros::from_datetime(self.expires_at),
        })
    }
}

/// What nodes receive of one key.
pub(crate) async fn row_on(connection: &mut PgConnection, id: &KeyId) -> Result<KeyRow, StoreError> {
    let columns = query_file_as!(KeyColumns, "queries/api_key/row.sql", id.as_str()).fetch_optional(connection).await?;
    let columns = columns.ok_or_else(|| StoreError::not_found("key", id.to_string()))?;
    columns.into_row().map_err(|message| wire::corrupt(format!("key {id}"), message))
}

/// Restrictions for a parameter.
pub(super) fn restrictions(restrictions: &Restrictions) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(restrictions).map_err(|error| wire::corrupt("key restrictions", error.to_string()))
}

/// Reads what a key's text begins with.
pub(super) fn environment(prefix: &str) -> Result<Environment, &'static str> {
    let known = [Environment::Live, Environment::Test].into_iter().find(|environment| environment.purpose().prefix() == prefix);
    known.ok_or("its prefix is unknown")
}

fn bcrypt(prefix: &str, sealed: Vec<u8>, pepper: i32) -> Result<BcryptRow, &'static str> {
    let prefix = Prefix::parse(prefix).ok_or("what its text begins with has not the form")?;
    Ok(BcryptRow { prefix, sealed, pepper: u16::try_from(pepper).map_err(|_| "its pepper version is out of range")? })
}

fn number(column: i32) -> Result<u32, &'static str> {
    u32::try_from(column).map_err(|_| "the number of its secret is out of range")
}

fn secret(digest: Vec<u8>, peppers: &[i32]) -> Result<SecretRow, &'static str> {
    let peppers = peppers.iter().map(|version| u16::try_from(*version)).collect::<Result<_, _>>();
    Ok(SecretRow {
        digest: digest.try_into().map_err(|_| "its digest has not 32 bytes")?,
        peppers: peppers.map_err(|_| "its pepper version is out of range")?,
    })
}
