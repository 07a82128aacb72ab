//! Which mails somebody wants: all that are not refused.

use model::id::AccountId;
use sqlx::{query_file, query_file_scalar};

use crate::{
    error::StoreError,
    pool::{Primary, Reader},
};

/// What can be refused. Leaks, and what is about the account itself, cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Keys that were issued, approved, rolled or revoked.
    Keys,
    /// Keys that end.
    Ends,
    /// People of the team.
    Team,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::Keys, Self::Ends, Self::Team];

    /// The name in the database and in forms.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Ends => "ends",
            Self::Team => "team",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == text)
    }
}

/// What somebody has refused.
///
/// # Errors
/// [`StoreError`].
pub async fn refused(reader: &impl Reader, account: AccountId) -> Result<Vec<Topic>, StoreError> {
    let names = query_file_scalar!("queries/mail_refusal/of_account.sql", account.uuid()).fetch_all(reader.reader_pool()).await?;
    Ok(names.iter().filter_map(|name| Topic::parse(name)).collect())
}

/// Wants some topics and refuses others; the rest stays. What is refused afterwards.
///
/// # Errors
/// [`StoreError`].
pub async fn change(primary: &Primary, account: AccountId, wanted: &[Topic], unwanted: &[Topic]) -> Result<Vec<Topic>, StoreError> {
    let names = |topics: &[Topic]| -> Vec<String> { topics.iter().map(|topic| topic.as_str().to_owned()).collect() };
    let mut tx = primary.pool().begin().await?;
    query_file!("queries/mail_refusal/want.sql", account.uuid(), &names(wanted)).execute(&mut *tx).await?;
    query_file!("queries/mail_refusal/put.sql", account.uuid(), &names(unwanted)).execute(&mut *tx).await?;
    let refused = query_file_scalar!("queries/mail_refusal/of_account.sql", account.uuid()).fetch_all(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(refused.iter().filter_map(|name| Topic::parse(name)).collect())
}

/// Refuses these topics, and wants all others.
///
/// # Errors
/// [`StoreError`].
pub async fn refuse(primary: &Primary, account: AccountId, topics: &[Topic]) -> Result<(), StoreError> {
    let names: Vec<String> = topics.iter().map(|topic| topic.as_str().to_owned()).collect();
    let mut tx = primary.pool().begin().await?;
    query_file!("queries/mail_refusal/forget.sql", account.uuid()).execute(&mut *tx).await?;
    query_file!("queries/mail_refusal/put.sql", account.uuid(), &names).execute(&mut *tx).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}
