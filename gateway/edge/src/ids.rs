//! Ids of requests, with randomness that is drawn in bulk: one call of the generator for 128 ids.

use aws_lc_rs::rand;
use model::time::Now;
use parking_lot::Mutex;
use uuid::Uuid;

/// Random bytes of a UUIDv7.
const ID_BYTES: usize = 10;
const POOL_BYTES: usize = 128 * ID_BYTES;

/// One core's source of ids.
#[derive(Debug, Default)]
pub struct Ids(Mutex<Vec<u8>>);

impl Ids {
    /// A fresh UUIDv7 (RFC 9562 section 5.7) from a time that is known already.
    pub fn next(&self, now: Now) -> Uuid {
        let millis = u64::try_from(now.wall.0 / 1_000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &self.random()).into_uuid()
    }

    fn random(&self) -> [u8; ID_BYTES] {
        let mut pool = self.0.lock();
        if pool.len() < ID_BYTES {
            pool.resize(POOL_BYTES, 0);
            // A source that fails leaves zeros: ids may then repeat within a millisecond, which records survive.
            if rand::fill(&mut pool).is_err() {
                pool.fill(0);
                tracing::error!("the random source failed while ids were made");
            }
        }
        let random = pool.last_chunk().copied().unwrap_or_default();
        let left = pool.len().saturating_sub(ID_BYTES);
        pool.truncate(left);
        random
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use model::time::{BootNanos, UtcMicros};

    use super::*;

    /// More than one pool full, within one millisecond: none repeats, and all tell their time and kind.
    #[test]
    fn ids_of_one_millisecond_differ() {
        let ids = Ids::default();
        let now = Now { wall: UtcMicros(1_790_000_000_123_456), boot: BootNanos(1) };

        let made: HashSet<Uuid> = (0..1_000).map(|_| ids.next(now)).collect();

        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|id| id.get_version_num() == 7));
        assert!(made.iter().all(|id| id.get_timestamp().is_some_and(|time| time.to_unix() == (1_790_000_000, 123_000_000))));
    }
}
