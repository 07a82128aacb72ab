//! Which service of a route takes a request: the one that a header asks for, one that has a share, or the route's own.

use std::sync::Arc;

use model::structure::{Route, Upstream};

use crate::{balance::dice::Dice, head::Head};

/// The service for a request.
pub fn choose<'s>(route: &'s Route, head: &Head, dice: &Dice) -> &'s Arc<Upstream> {
    let Some(diversions) = &route.diversions else { return &route.upstream };
    let asked = diversions.canaries.iter().find(|canary| {
        let mut values = head.parts.headers.get_all(&canary.header).iter();
        match &canary.value {
            None => values.next().is_some(),
            Some(wanted) => values.any(|value| value == wanted),
        }
    });
    if let Some(canary) = asked {
        return &canary.upstream;
    }
    if diversions.shares.is_empty() {
        return &route.upstream;
    }
    let mut drawn = u32::try_from(dice.below(10_000)).unwrap_or(0);
    for share in &diversions.shares {
        if drawn < share.of_ten_thousand {
            return &share.upstream;
        }
        drawn -= share.of_ten_thousand;
    }
    &route.upstream
}
