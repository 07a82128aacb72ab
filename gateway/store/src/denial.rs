//! Tokens that are refused: rows of the authority lane, so that they are as quick as the revocation of a key.

use model::{
    change::AuthorityChange,
    denial::{DENIALS_MAX, DenialRow, Denied},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_as};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    actor::Actor,
    error::StoreError,
    page::{Page, PageRequest, Place},
    pool::{Primary, Reader},
    wire,
    write::{ControlWrite, Lanes, Written},
};

/// The kinds in the database.
const TOKEN: &str = "token";
const SUBJECT: &str = "subject";

/// A denial, for lists.
#[derive(Debug, Clone, Serialize)]
pub struct DenialInfo {
    /// Its id.
    pub id: Uuid,
    /// What it says.
    #[serde(flatten)]
    pub row: DenialRow,
    /// When it was made.
    pub created_at: UtcMicros,
    /// Who made it.
    pub created_by: String,
}

/// Refuses tokens from now on. Doing it again refuses what is more of the two.
///
/// # Errors
/// [`StoreError::NotFound`] without such an issuer, by its name here or by its `iss`: one that is misspelled must not look like a denial.
/// [`StoreError::Invalid`] when there are too many already.
pub async fn create(primary: &Primary, row: &DenialRow, actor: &Actor) -> Result<Written<DenialInfo>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    // What has ended means nothing to any node, so its end is no revision.
    query_file!("queries/token_denial/trim.sql").execute(&mut *write.tx).await?;
    let known = query_file!("queries/token_denial/issuer.sql", row.issuer).fetch_one(&mut *write.tx).await?;
    let issuer = known.issuer.ok_or_else(|| StoreError::not_found("issuer", row.issuer.clone()))?;
    if usize::try_from(known.in_force).unwrap_or(usize::MAX) >= DENIALS_MAX {
        return Err(StoreError::invalid("there are 100,000 denials in force already; deny subjects in place of tokens, or take the issuer out"));
    }
    let (kind, value, issued_until) = match &row.which {
        Denied::Token { id } => (TOKEN, id, None),
        Denied::Subject { subject, issued_until } => (SUBJECT, subject, Some(wire::instant(*issued_until)?)),
    };
    let put = query_file_as!(
        Row,
        "queries/token_denial/put.sql",
        Uuid::now_v7(),
        issuer,
        kind,
        value,
        issued_until,
        wire::instant(row.expires_at)?,
        actor.to_string()
    );
    let item = put.fetch_one(&mut *write.tx).await?.into_info()?;
    write.authority(&AuthorityChange::TokenDenied(item.row.clone()))?;
    Ok(Written { item, revisions: write.commit().await? })
}

/// Denials, newest first; those that have ended stay for a day.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, issuer: Option<&str>, page: &PageRequest) -> Result<Page<DenialInfo>, StoreError> {
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(Place::uuid).transpose()?);
    let rows = query_file_as!(Row, "queries/token_denial/list.sql", issuer, at, after, page.rows()).fetch_all(reader.reader_pool()).await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.to_string())))
}

/// All that are in force.
pub(crate) async fn all(connection: &mut PgConnection) -> Result<Vec<DenialRow>, StoreError> {
    let rows = query_file!("queries/token_denial/all.sql").fetch_all(connection).await?;
    rows.into_iter().map(|row| denial(row.issuer, &row.kind, row.value, row.issued_until, row.expires_at)).collect()
}

fn denial(
    issuer: String,
    kind: &str,
    value: String,
    issued_until: Option<OffsetDateTime>,
    expires_at: OffsetDateTime,
) -> Result<DenialRow, StoreError> {
    let which = match (kind, issued_until) {
        (TOKEN, None) => Denied::Token { id: value },
        (SUBJECT, Some(until)) => Denied::Subject { subject: value, issued_until: UtcMicros::from_datetime(until) },
        _ => return Err(wire::corrupt("token denial", kind)),
    };
    Ok(DenialRow { issuer, which, expires_at: UtcMicros::from_datetime(expires_at) })
}

struct Row {
    id: Uuid,
    issuer: String,
    kind: String,
    value: String,
    issued_until: Option<OffsetDateTime>,
    expires_at: OffsetDateTime,
    created_at: OffsetDateTime,
    created_by: String,
}

impl Row {
    fn into_info(self) -> Result<DenialInfo, StoreError> {
        Ok(DenialInfo {
            id: self.id,
            row: denial(self.issuer, &self.kind, self.value, self.issued_until, self.expires_at)?,
            created_at: UtcMicros::from_datetime(self.created_at),
            created_by: self.created_by,
        })
    }
}
