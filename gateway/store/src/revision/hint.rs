//! Hints: notifications from the primary that a lane has a new head.

use model::change::Lane;
use sqlx::postgres::PgListener;

use crate::{error::StoreError, pool::Primary};

/// Where control transactions notify.
const CHANNEL: &str = "causeway_control";

/// A notification that a lane has a new head. It may be late, missing or early for a standby: polling is the truth (T12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// Which lane.
    pub lane: Lane,
    /// In which epoch.
    pub epoch: u64,
    /// The head.
    pub rev: u64,
}

impl Hint {
    /// Reads `lane:epoch:rev`.
    fn parse(payload: &str) -> Option<Self> {
        let mut parts = payload.splitn(3, ':');
        let name = parts.next()?;
        let lane = [Lane::Authority, Lane::Structural].into_iter().find(|lane| lane.as_str() == name)?;
        Some(Self { lane, epoch: parts.next()?.parse().ok()?, rev: parts.next()?.parse().ok()? })
    }
}

/// Hints from the primary. It holds one connection of the pool.
#[derive(Debug)]
pub struct HintStream(PgListener);

impl HintStream {
    /// Waits for the next hint. What is not a hint of ours is passed over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the connection is lost: what was sent meanwhile is lost too, so poll the heads, then
    /// listen again.
    pub async fn next(&mut self) -> Result<Hint, StoreError> {
        loop {
            match self.0.try_recv().await? {
                Some(notification) => {
                    if let Some(hint) = Hint::parse(notification.payload()) {
                        return Ok(hint);
                    }
                }
                None => return Err(StoreError::unavailable("the listening connection was lost")),
            }
        }
    }
}

/// Listens for hints. It needs the primary: LISTEN fails on a standby.
///
/// # Errors
/// [`StoreError`].
pub async fn listen(primary: &Primary) -> Result<HintStream, StoreError> {
    let mut listener = PgListener::connect_with(primary.pool()).await?;
    listener.listen(CHANNEL).await?;
    Ok(HintStream(listener))
}
