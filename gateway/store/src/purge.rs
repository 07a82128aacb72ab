//! Purges of stored responses: a revision of the authority lane that changes no row.
//!
//! The change log alone holds them. A node that follows it takes each one in its order; a node that loads everything instead
//! forgets all that it has stored, and a node that starts has stored nothing.

use model::{change::AuthorityChange, purge::Purge, time::UtcMicros};
use sqlx::query_file;

use crate::{
    actor::Actor,
    error::StoreError,
    pool::Primary,
    write::{ControlWrite, Lanes, Written},
};

/// The kind of its rows in the change log.
pub const CACHE_PURGE: &str = "cache_purge";

/// Writes a purge; the item is the moment at which it was written. Doing it again purges what was stored since.
///
/// # Errors
/// [`StoreError::NotFound`] without such a tenant or route: a name that is misspelled must not look like a purge.
pub async fn create(primary: &Primary, purge: &Purge, actor: &Actor) -> Result<Written<UtcMicros>, StoreError> {
    let mut write = ControlWrite::begin(primary, Lanes::Authority, actor).await?;
    let (tenant, route) = (purge.tenant.as_deref(), purge.route.as_deref());
    let target = query_file!("queries/cache_purge/target.sql", tenant, route).fetch_one(&mut *write.tx).await?;
    for (what, name, is_there) in [("tenant", tenant, target.has_tenant), ("route", route, target.has_route)] {
        if !is_there {
            return Err(StoreError::not_found(what, name.unwrap_or_default()));
        }
    }
    write.authority(&AuthorityChange::CachePurge(purge.clone()))?;
    Ok(Written { item: UtcMicros::from_datetime(target.at), revisions: write.commit().await? })
}
