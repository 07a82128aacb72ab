//! Request collapsing: one request asks the service, the others for the same thing wait for what it brings.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use model::problem::Denial;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Key, Stored};

/// What a leader brought.
#[derive(Debug, Clone)]
pub enum Landing {
    /// A response that is kept.
    Stored(Arc<Stored>),
    /// A response that may not be kept: whoever waits asks for itself.
    Pass,
    /// The service failed; those who waited fail with it instead of trying it all at once.
    Failed(Arc<Denial>),
}

type Signal = Option<Landing>;

/// Who is on the way.
#[derive(Debug, Default)]
pub struct Flights(Mutex<HashMap<Key, watch::Receiver<Signal>>>);

/// The part of a request in a flight.
#[derive(Debug)]
pub enum Boarding {
    /// It asks the service.
    Lead(Lead),
    /// Another one does.
    Wait(Waiter),
}

/// The duty to tell the others. Dropping it tells them to look again: the client of this one has hung up.
#[derive(Debug)]
pub struct Lead {
    flights: Arc<Flights>,
    key: Key,
    sender: watch::Sender<Signal>,
}

/// A place behind a leader.
#[derive(Debug)]
pub struct Waiter(watch::Receiver<Signal>);

impl Flights {
    /// Leads if nobody does.
    pub fn board(self: &Arc<Self>, key: &Key) -> Boarding {
        match self.0.lock().entry(key.clone()) {
            Entry::Occupied(entry) => Boarding::Wait(Waiter(entry.get().clone())),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                entry.insert(receiver);
                Boarding::Lead(Lead { flights: Arc::clone(self), key: key.clone(), sender })
            }
        }
    }

    /// How many are on the way.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl Lead {
    /// Tells everybody who waits.
    pub fn land(self, landing: Landing) {
        // Nobody may be waiting.
        self.sender.send_replace(Some(landing));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        // Who comes from now on leads a flight of its own; who waits sees the sender go.
        self.flights.0.lock().remove(&self.key);
    }
}

impl Waiter {
    /// What the leader brought; `None` when it was dropped before it brought anything.
    pub async fn landing(mut self) -> Option<Landing> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|signal| signal.clone())
    }
}

#[cfg(test)]
mod tests;
