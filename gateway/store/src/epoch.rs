//! Epochs of the control database: where one begins, and what a process has heard of others.
//!
//! A promotion begins an epoch with the first write on the new primary, whose timeline is another. It is not enough that the database which
//! is written to counts them: a server that is promoted without having heard of an earlier promotion would take its number (ADR 0030, 10).
//! So a process tells each write what it has heard of, and the database what it is; nothing else decides.

use std::sync::Arc;

use model::change::Revisions;
use parking_lot::Mutex;

use crate::{
    actor::Actor,
    error::StoreError,
    pool::Primary,
    write::{ControlWrite, Lanes},
};

/// The newest heads that a process knows to exist, from any server of the control database. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Heard(Arc<Mutex<Revisions>>);

impl Heard {
    /// Takes in heads that some server has shown.
    pub fn hear(&self, heads: &Revisions) {
        let mut heads = *heads;
        if heads.structural_epoch != heads.epoch {
            // A structure that was kept over a promotion: its number says nothing about this epoch.
            heads.structural = 0;
        }
        let mut heard = self.0.lock();
        if heads.epoch > heard.epoch {
            *heard = heads;
        } else if heads.are_of_one_epoch(&heard) {
            if heard.epoch_id.is_nil() {
                heard.epoch_id = heads.epoch_id;
            }
            heard.authority = heard.authority.max(heads.authority);
            heard.structural = heard.structural.max(heads.structural);
        }
    }

    /// The newest.
    pub fn newest(&self) -> Revisions {
        *self.0.lock()
    }
}

/// What a write finds when it holds the lock of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The database goes on in its epoch.
    Goes,
    /// It has to begin another one first: it was promoted, or it has lost revisions, or two epochs have its number.
    Begins,
    /// A later epoch is known, and this server does not know it: it is an old primary, or was restored to an earlier time.
    IsOld,
}

/// Judges a server that is written to, by the lanes whose heads are locked. `is_elsewhere`: its timeline or its cluster is another than at
/// the write before.
pub(crate) fn standing(here: &Revisions, structural: Option<u64>, is_elsewhere: bool, heard: &Revisions) -> Standing {
    let has_lost = here.authority < heard.authority || structural.is_some_and(|structural| structural < heard.structural);
    let is_behind = here.are_of_one_epoch(heard) && has_lost;
    if is_elsewhere || is_behind || here.contradicts(heard) {
        Standing::Begins
    } else if here.epoch < heard.epoch {
        Standing::IsOld
    } else {
        Standing::Goes
    }
}

/// Begins an epoch, if the primary has to: nodes that know a newer revision, or another epoch of its number, can then take what it has.
///
/// # Errors
/// [`StoreError`]; [`StoreError::Superseded`] where a server is known to have been replaced.
///
/// # Cancel
/// Nothing has happened, or all of it.
pub async fn settle(primary: &Primary, actor: &Actor) -> Result<Revisions, StoreError> {
    ControlWrite::begin(primary, Lanes::Both, actor).await?.commit().await
}

/// Begins an epoch above `above`, whatever this process knows: for an operator who has restored the database, and before anybody writes to it.
///
/// # Errors
/// [`StoreError`].
///
/// # Cancel
/// Nothing has happened, or all of it.
pub async fn begin(primary: &Primary, above: u64, actor: &Actor) -> Result<Revisions, StoreError> {
    ControlWrite::begin_epoch(primary, above, actor).await?.commit().await
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(epoch: u64, id: u128, authority: u64) -> Revisions {
        Revisions { epoch, epoch_id: Uuid::from_u128(id), authority, structural_epoch: epoch, structural: 1 }
    }

    #[test]
    fn a_server_is_judged_by_where_it_is_and_by_what_was_heard() {
        for (here, is_elsewhere, heard, expected) in [
            (at(1, 1, 5), false, at(1, 1, 5), Standing::Goes),
            (at(1, 1, 5), false, Revisions::default(), Standing::Goes),
            (at(1, 1, 6), false, at(1, 1, 5), Standing::Goes),
            (at(2, 2, 1), false, at(1, 1, 9), Standing::Goes),
            (at(1, 0, 5), false, at(1, 1, 5), Standing::Goes),
            (at(1, 1, 5), true, at(1, 1, 5), Standing::Begins),
            (at(1, 1, 5), true, at(4, 4, 5), Standing::Begins),
            (at(1, 1, 4), false, at(1, 1, 5), Standing::Begins),
            (at(2, 3, 5), false, at(2, 2, 1), Standing::Begins),
            (at(1, 1, 9), false, at(2, 2, 1), Standing::IsOld),
        ] {
            assert_eq!(standing(&here, None, is_elsewhere, &heard), expected, "{here:?} {is_elsewhere} {heard:?}");
        }
        let heard = Revisions { structural: 4, ..at(1, 1, 5) };
        assert_eq!([3, 4, 5].map(|structural| standing(&at(1, 1, 5), Some(structural), false, &heard) == Standing::Begins), [true, false, false]);
        assert_eq!(standing(&at(1, 1, 5), None, false, &heard), Standing::Goes, "a lane that is not locked is not judged");
    }

    #[test]
    fn the_number_of_a_structure_that_was_kept_over_a_promotion_is_not_heard() {
        let heard = Heard::default();
        heard.hear(&Revisions { structural_epoch: 1, structural: 12, ..at(2, 2, 5) });
        assert_eq!(heard.newest().structural, 0);
        heard.hear(&Revisions { structural: 3, ..at(2, 2, 5) });
        assert_eq!(heard.newest().structural, 3);
    }

    #[test]
    fn what_is_heard_only_rises_and_stays_in_its_epoch() {
        let heard = Heard::default();
        for (told, expected) in [
            (at(1, 1, 5), at(1, 1, 5)),
            (at(1, 1, 3), at(1, 1, 5)),
            (at(2, 2, 1), at(2, 2, 1)),
            (at(1, 1, 9), at(2, 2, 1)),
            (at(2, 3, 7), at(2, 2, 1)),
            (at(2, 0, 2), at(2, 0, 2)),
        ] {
            heard.hear(&told);
            assert_eq!(heard.newest().authority, expected.authority, "{told:?}");
            assert_eq!(heard.newest().epoch, expected.epoch, "{told:?}");
        }
    }
}
