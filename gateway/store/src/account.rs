//! Accounts: the people who sign in to the portal and the console. Nodes never see these.
//!
//! An account belongs to teams ([`team`]), which are consumers with people; it comes by signing up or by an [`invitation`], and is
//! signed in for as long as it has a [`session`]. One with a [`second_factor`] gets its session when the code that belongs to its
//! [`sign_in`] has come. Whoever has lost the password gets another by a [`reset`]. Programs of a person come with a [`token`].

use std::fmt;

use model::{
    id::{AccountId, ConsumerId},
    time::UtcMicros,
};
use serde::Serialize;
use sqlx::{PgConnection, query_file, query_file_as, query_file_scalar};
use time::OffsetDateTime;
use uuid::Uuid;

use self::team::TeamRole;
use crate::{
    actor::Actor,
    consumer::{self, NewConsumer},
    error::StoreError,
    notification,
    page::{Page, PageRequest, Place},
    pool::{Primary, Reader},
    wire,
    write::{ControlWrite, Lanes, Written},
};

pub mod identity;
pub mod invitation;
pub mod reset;
pub mod second_factor;
pub mod session;
pub mod sign_in;
pub mod team;
pub mod token;

/// Requests to sign up that may wait at once: anybody can ask, and a person has to read each.
pub const PENDING_MAX: u32 = 1_000;

/// An account, without anything that authenticates.
#[derive(Debug, Clone, Serialize)]
pub struct AccountInfo {
    /// Its id.
    pub id: AccountId,
    /// Where the person can be reached, in lower case; unique.
    pub email: String,
    /// What the person is called.
    pub name: String,
    /// Whether it may be used.
    pub state: AccountState,
    /// What it may as an operator; nothing when absent.
    pub role: Option<String>,
    /// What the person called their team at sign-up; empty for those who were invited.
    pub organization: String,
    /// When it was made.
    pub created_at: UtcMicros,
    /// Whether signing in asks for more than the password.
    pub has_second_factor: bool,
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// It waits for approval.
    Pending,
    /// It may be used.
    Active,
    /// Somebody shut it out.
    Disabled,
}

impl AccountState {
    /// The name in the database and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    /// Reads that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Disabled].into_iter().find(|state| state.as_str() == text)
    }
}

/// What a sign-in is checked against.
#[derive(Clone)]
pub struct SignIn {
    /// Whose it is.
    pub account: AccountInfo,
    /// The argon2id hash, in PHC form; without one nobody signs in by password.
    pub password: Option<String>,
    /// The pepper that the hash is keyed with.
    pub pepper_version: u16,
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignIn").field("account", &self.account).field("pepper_version", &self.pepper_version).finish_non_exhaustive()
    }
}

/// What a new account is made of; the caller has checked the texts.
#[derive(Clone, Copy)]
pub struct NewAccount<'a> {
    /// Where the person can be reached, in lower case; unique.
    pub email: &'a str,
    /// What the person is called.
    pub name: &'a str,
    /// The argon2id hash, in PHC form.
    pub password: &'a str,
    /// The pepper that the hash is keyed with.
    pub pepper_version: u16,
    /// What the person calls their team.
    pub organization: &'a str,
}

impl fmt::Debug for NewAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount").field("pepper_version", &self.pepper_version).finish_non_exhaustive()
    }
}

/// The consumer that is made for an account.
#[derive(Debug, Clone, Copy)]
pub struct Team<'a> {
    /// The name of its tenant.
    pub tenant: &'a str,
    /// Its name, unique in the deployment.
    pub consumer: &'a str,
}

/// What somebody who says that they have this e-mail address has to prove.
///
/// # Errors
/// [`StoreError`]; an unknown address is `None`.
pub async fn by_email(reader: &impl Reader, email: &str) -> Result<Option<SignIn>, StoreError> {
    let row = query_file!("queries/account/by_email.sql", email).fetch_optional(reader.reader_pool()).await?;
    let Some(row) = row else { return Ok(None) };
    let pepper_version = u16::try_from(row.pepper_version).map_err(|_| wire::corrupt("pepper version", "it is out of range"))?;
    let account = Row {
        id: row.id,
        email: row.email,
        name: row.name,
        state: row.state,
        role: row.role,
        organization: row.organization,
        created_at: row.created_at,
        has_second_factor: row.has_second_factor,
    };
    Ok(Some(SignIn { account: account.into_info()?, password: row.password, pepper_version }))
}

/// One account.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(reader: &impl Reader, id: AccountId) -> Result<AccountInfo, StoreError> {
    let mut connection = reader.reader_pool().acquire().await?;
    find(&mut connection, id).await
}

/// Accounts, newest first.
///
/// # Errors
/// [`StoreError`].
pub async fn list(reader: &impl Reader, state: Option<AccountState>, page: &PageRequest) -> Result<Page<AccountInfo>, StoreError> {
    let place = page.place()?;
    let (at, after) = (place.as_ref().map(|place| place.at), place.as_ref().map(Place::uuid).transpose()?);
    let state = state.map(AccountState::as_str);
    let rows = query_file_as!(Row, "queries/account/list.sql", state, at, after, page.rows()).fetch_all(reader.reader_pool()).await?;
    let items = rows.into_iter().map(Row::into_info).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::cut(page, items, |info| (info.created_at, info.id.uuid().to_string())))
}

/// Signs somebody up at once: the account, and a team of which it is the owner.
///
/// # Errors
/// [`StoreError::Conflict`] with `account_email_unique` or `consumer_name_unique` when one of them is taken;
/// [`StoreError::NotFound`] without such a tenant. Then nothing is left behind.
pub async fn sign_up(primary: &Primary, new: NewAccount<'_>, team: Team<'_>, actor: &Actor) -> Result<Written<AccountInfo>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let item = insert(&mut write.tx, new, AccountState::Active, None).await?;
    found(&mut write, item.id, team).await?;
    Ok(Written { item, revisions: write.commit().await? })
}

/// Notes that somebody wants to sign up; it waits for [`approve`] or [`refuse`], for two weeks.
///
/// # Errors
/// [`StoreError::Conflict`] with `account_email_unique` when the address is taken, and with `account_pending` when
/// [`PENDING_MAX`] wait already.
pub async fn ask(primary: &Primary, new: NewAccount<'_>) -> Result<AccountInfo, StoreError> {
    let mut tx = primary.pool().begin().await?;
    query_file_scalar!("queries/account/lock_pending.sql").fetch_one(&mut *tx).await?;
    query_file!("queries/account/trim_pending.sql").execute(&mut *tx).await?;
    let waiting = query_file_scalar!("queries/account/count_pending.sql").fetch_one(&mut *tx).await?;
    if waiting >= i64::from(PENDING_MAX) {
        return Err(StoreError::conflict("account_pending", format!("{PENDING_MAX} requests to sign up wait already")));
    }
    let item = insert(&mut tx, new, AccountState::Pending, None).await?;
    notification::account_waits(&mut tx, &item).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    Ok(item)
}

/// Lets in somebody who waits, and makes a team of which they are the owner.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `account_state` when it does not wait, or not any more, and with
/// `consumer_name_unique` when the team's name is taken.
pub async fn approve(primary: &Primary, id: AccountId, team: Team<'_>, actor: &Actor) -> Result<Written<AccountInfo>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let row = query_file_as!(Row, "queries/account/approve.sql", id.uuid(), actor.to_string()).fetch_optional(&mut *write.tx).await?;
    let Some(row) = row else { return Err(other_state(&mut write.tx, id).await) };
    let item = row.into_info()?;
    found(&mut write, id, team).await?;
    notification::account_approved(&mut write.tx, &item).await?;
    Ok(Written { item, revisions: write.commit().await? })
}

/// Forgets somebody who waits.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `account_state` when it does not wait, or not any more.
pub async fn refuse(primary: &Primary, id: AccountId, actor: &Actor) -> Result<(), StoreError> {
    let mut tx = primary.pool().begin().await?;
    let Some(email) = query_file_scalar!("queries/account/refuse.sql", id.uuid()).fetch_optional(&mut *tx).await? else {
        return Err(other_state(&mut tx, id).await);
    };
    notification::account_refused(&mut tx, &email).await?;
    tx.commit().await.map_err(StoreError::at_commit)?;
    // The row is gone, and with it the place that could say who did it.
    tracing::info!(account.id = %id, actor = %actor, "the request to sign up of account {id} was refused");
    Ok(())
}

/// Shuts somebody out, at once: their sessions end in the same transaction.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `account_state` for one that waits.
pub async fn disable(primary: &Primary, id: AccountId, actor: &Actor) -> Result<AccountInfo, StoreError> {
    decide(primary, id, AccountState::Disabled, actor).await
}

/// Lets somebody in again who was shut out.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] with `account_state` for one that waits.
pub async fn enable(primary: &Primary, id: AccountId, actor: &Actor) -> Result<AccountInfo, StoreError> {
    decide(primary, id, AccountState::Active, actor).await
}

/// Gives an account another password, an argon2id hash in PHC form; its sessions end.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn set_password(primary: &Primary, id: AccountId, password: &str, pepper_version: u16) -> Result<(), StoreError> {
    let mut tx = primary.pool().begin().await?;
    let done = query_file!("queries/account/set_password.sql", id.uuid(), password, i32::from(pepper_version)).execute(&mut *tx).await?;
    if done.rows_affected() == 0 {
        return Err(not_found(id));
    }
    session::end_all_on(&mut tx, id).await?;
    // Whoever knew the old one may have made one.
    token::revoke_all_on(&mut tx, id).await?;
    reset::withdraw_on(&mut tx, id).await?;
    tx.commit().await.map_err(StoreError::at_commit)
}

/// Keeps the same password under a newer pepper. One that was changed since `before` was read stays as it is; no session ends.
///
/// # Errors
/// [`StoreError`].
pub async fn rehash(primary: &Primary, id: AccountId, before: &str, password: &str, pepper_version: u16) -> Result<(), StoreError> {
    query_file!("queries/account/rehash.sql", id.uuid(), before, password, i32::from(pepper_version)).execute(primary.pool()).await?;
    Ok(())
}

async fn decide(primary: &Primary, id: AccountId, state: AccountState, actor: &Actor) -> Result<AccountInfo, StoreError> {
    let mut tx = primary.pool().begin().await?;
    let row = query_file_as!(Row, "queries/account/decide.sql", id.uuid(), state.as_str(), actor.to_string()).fetch_optional(&mut *tx).await?;
    let Some(row) = row else { return Err(other_state(&mut tx, id).await) };
    if state != AccountState::Active {
        session::end_all_on(&mut tx, id).await?;
        // Whoever is let in again begins anew: a token may be why they were shut out.
        token::revoke_all_on(&mut tx, id).await?;
        reset::withdraw_on(&mut tx, id).await?;
    }
    tx.commit().await.map_err(StoreError::at_commit)?;
    row.into_info()
}

async fn insert(connection: &mut PgConnection, new: NewAccount<'_>, state: AccountState, role: Option<&str>) -> Result<AccountInfo, StoreError> {
    let row = query_file_as!(
        Row,
        "queries/account/insert.sql",
        Uuid::now_v7(),
        new.email,
        new.name,
        new.password,
        i32::from(new.pepper_version),
        state.as_str(),
        role,
        new.organization
    );
    row.fetch_one(connection).await?.into_info()
}

/// Makes the team of an account.
async fn found(write: &mut ControlWrite, owner: AccountId, team: Team<'_>) -> Result<ConsumerId, StoreError> {
    let made = consumer::add(write, NewConsumer { name: team.consumer, tenant: Some(team.tenant), residency: None }).await?;
    team::join(&mut write.tx, made.id, owner, TeamRole::Owner).await?;
    Ok(made.id)
}

async fn find(connection: &mut PgConnection, id: AccountId) -> Result<AccountInfo, StoreError> {
    let row = query_file_as!(Row, "queries/account/find.sql", id.uuid()).fetch_optional(connection).await?;
    row.ok_or_else(|| not_found(id))?.into_info()
}

/// The account, which nobody else changes until the end of the transaction.
async fn lock(connection: &mut PgConnection, id: AccountId) -> Result<AccountInfo, StoreError> {
    let row = query_file_as!(Row, "queries/account/lock.sql", id.uuid()).fetch_optional(connection).await?;
    row.ok_or_else(|| not_found(id))?.into_info()
}

/// Locks the account, if it may be used.
async fn lock_active(connection: &mut PgConnection, id: AccountId) -> Result<AccountInfo, StoreError> {
    let account = lock(connection, id).await?;
    if account.state == AccountState::Active { Ok(account) } else { Err(wrong_state(&account)) }
}

/// Why a statement that asked for a state found no row.
async fn other_state(connection: &mut PgConnection, id: AccountId) -> StoreError {
    match find(connection, id).await {
        Ok(account) => wrong_state(&account),
        Err(error) => error,
    }
}

/// Whoever helps somebody must be allowed what they are: so what they are must not change in between.
fn unchanged(account: &AccountInfo, role: Option<&str>) -> Result<(), StoreError> {
    if account.role.as_deref() == role {
        return Ok(());
    }
    Err(StoreError::conflict("account_role", format!("account `{}` has another role now", account.id)))
}

fn wrong_state(account: &AccountInfo) -> StoreError {
    StoreError::conflict("account_state", format!("account `{}` is {}", account.id, account.state.as_str()))
}

fn not_found(id: AccountId) -> StoreError {
    StoreError::not_found("account", id.to_string())
}

/// A row of `account`.
#[derive(Debug)]
struct Row {
    id: Uuid,
    email: String,
    name: String,
    state: String,
    role: Option<String>,
    organization: String,
    created_at: OffsetDateTime,
    has_second_factor: bool,
}

impl Row {
    fn into_info(self) -> Result<AccountInfo, StoreError> {
        Ok(AccountInfo {
            id: AccountId::new(self.id),
            email: self.email,
            name: self.name,
            state: AccountState::parse(&self.state).ok_or_else(|| wire::corrupt("account state", self.state))?,
            role: self.role,
            organization: self.organization,
            created_at: UtcMicros::from_datetime(self.created_at),
            has_second_factor: self.has_second_factor,
        })
    }
}
