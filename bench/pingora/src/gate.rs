//! The features that the other gateways have too: who is it, may it now, and a line about it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const NANOS: u64 = 1_000_000_000;
/// As nginx is configured: the buffer of the log, and how long a line may wait in it.
const LOG_BUFFER_BYTES: usize = 64 * 1024;
const LOG_FLUSH: Duration = Duration::from_secs(1);

/// The keys with their limits, and the log.
pub(crate) struct Gate {
    clients: HashMap<Box<[u8]>, Client>,
    /// Time that one request takes out of its key's allowance (the generic cell rate algorithm), in nanoseconds.
    step_nanos: u64,
    origin: Instant,
    log: Arc<Mutex<BufWriter<File>>>,
}

struct Client {
    number: usize,
    /// When the key's allowance will be whole again, in nanoseconds after `Gate::origin`.
    full_at: AtomicU64,
}

/// What the log says of a request.
pub(crate) struct Entry<'r> {
    pub(crate) micros: u128,
    pub(crate) status: u16,
    pub(crate) bytes: usize,
    pub(crate) client: Option<usize>,
    pub(crate) method: &'r str,
    pub(crate) path: &'r str,
    pub(crate) address: Option<IpAddr>,
}

impl Gate {
    /// Reads the keys, one a line, and opens the log for appending; `rate` is in requests a second per key.
    pub(crate) fn open(keys: &str, log: &str, rate: u64) -> io::Result<Self> {
        let clients = std::fs::read_to_string(keys)?
            .lines()
            .enumerate()
            .map(|(number, key)| (key.as_bytes().into(), Client { number, full_at: AtomicU64::new(0) }))
            .collect();
        let file = File::options().append(true).create(true).open(log)?;
        let log = Arc::new(Mutex::new(BufWriter::with_capacity(LOG_BUFFER_BYTES, file)));
        let flushed = Arc::clone(&log);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(LOG_FLUSH);
                let _ = flushed.lock().unwrap_or_else(PoisonError::into_inner).flush();
            }
        });
        Ok(Self { clients, step_nanos: NANOS / rate, origin: Instant::now(), log })
    }

    /// The number of the key's owner; the status to refuse with when the key is unknown or has used up its second.
    pub(crate) fn admit(&self, key: Option<&[u8]>, now: Instant) -> Result<usize, u16> {
        let client = key.and_then(|key| self.clients.get(key)).ok_or(401_u16)?;
        let now = u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        client
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now).saturating_add(self.step_nanos);
                (next <= now.saturating_add(NANOS)).then_some(next)
            })
            .map(|_| client.number)
            .map_err(|_| 429)
    }

    pub(crate) fn log(&self, entry: &Entry<'_>) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry { micros, status, bytes, method, path, .. } = entry;
        // A path may hold quotation marks; it is ASCII, for which Rust's escapes are JSON's.
        let _ = write!(log, r#"{{"ts":{at},"us":{micros},"status":{status},"bytes":{bytes},"method":"{method}","path":{path:?}"#);
        if let Some(client) = entry.client {
            let _ = write!(log, r#","client":{client}"#);
        }
        if let Some(address) = entry.address {
            let _ = write!(log, r#","address":"{address}""#);
        }
        let _ = log.write_all(b"}\n");
    }
}
