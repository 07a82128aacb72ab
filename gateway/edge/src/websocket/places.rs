//! How many WebSockets may be open at once: on the node, and on each route.

use std::{collections::HashMap, sync::Arc};

use model::problem::{Denial, ProblemKind};
use parking_lot::Mutex;

use super::tally::Tally;

/// Open WebSockets of a node, by route. One lock for all cores: it is taken twice in a WebSocket's life.
#[derive(Debug, Default)]
pub struct Places {
    taken: Mutex<Taken>,
    /// What became of them.
    pub tally: Tally,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    routes: HashMap<Arc<str>, usize>,
}

impl Places {
    /// Takes a place.
    ///
    /// # Errors
    /// `overloaded` when the node or the route has as many as it may.
    pub(super) fn take(self: &Arc<Self>, route: &Arc<str>, all_max: usize, route_max: usize) -> Result<Place, Denial> {
        let mut taken = self.taken.lock();
        let of_route = taken.routes.get(route).copied().unwrap_or(0);
        if taken.all >= all_max || of_route >= route_max {
            return Err(Denial::new(ProblemKind::Overloaded, "as many WebSockets are open as may be; try again").retry_after(5));
        }
        taken.all += 1;
        taken.routes.insert(Arc::clone(route), of_route + 1);
        Ok(Place { places: Arc::clone(self), route: Arc::clone(route) })
    }
}

/// One WebSocket's place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    route: Arc<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        let is_last = taken.routes.get_mut(&self.route).is_none_or(|count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
        if is_last {
            taken.routes.remove(&self.route);
        }
    }
}

#[cfg(test)]
mod tests;
