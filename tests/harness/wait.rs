//! Waiting for a condition, with a deadline: the only way in which a test waits.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

/// How often a condition is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `condition` holds, for at most `limit`, and returns how long that took.
///
/// A condition that is being evaluated when the time is over is dropped.
///
/// # Errors
/// When it does not hold in time; the message names `what`.
pub async fn until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> bool) -> Result<Duration> {
    let found = some(what, limit, async || condition().await.then_some(())).await;
    found.map(|((), took)| took)
}

/// Waits until `probe` finds something, for at most `limit`, and returns it and how long that took.
///
/// # Errors
/// When nothing is found in time; the message names `what`.
pub async fn some<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Result<(T, Duration)> {
    let began = Instant::now();
    let looking = async {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Some(found) = probe().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(limit, looking).await {
        Ok(found) => Ok((found, began.elapsed())),
        Err(_) => bail!("waited {} ms in vain for {what}", limit.as_millis()),
    }
}
