//! How many connections one address may hold at once, over all cores.

use std::{collections::HashMap, net::IpAddr, num::NonZeroU32, sync::Arc};

use parking_lot::Mutex;

/// Open connections by address. One lock for all cores: it is taken twice in a connection's life, which begins with a
/// handshake that takes a thousand times as long.
#[derive(Debug)]
pub struct Places {
    max: NonZeroU32,
    taken: Mutex<HashMap<IpAddr, u32>>,
}

impl Places {
    /// Lets each address hold `max` connections.
    pub fn new(max: NonZeroU32) -> Arc<Self> {
        Arc::new(Self { max, taken: Mutex::default() })
    }

    /// Takes a place for a connection; `None` when its address has none left.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let subject = subject(address);
        let mut taken = self.taken.lock();
        let count = taken.entry(subject).or_insert(0);
        if *count >= self.max.get() {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), subject })
    }
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    subject: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(count) = taken.get_mut(&self.subject) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.subject);
            }
        }
    }
}

/// Who is counted: an IPv4 address, or an IPv6 /64, of which one machine can use every address.
fn subject(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests;
