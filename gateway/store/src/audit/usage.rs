//! What each key was used for, counted from the records that are loaded, in their transaction: as exact as the log itself.

use std::{collections::HashMap, time::Duration};

use model::time::UtcMicros;
use serde::Serialize;
use sqlx::{PgConnection, postgres::types::PgInterval, query_file};

use super::extract::Columns;
use crate::{error::StoreError, pool::Primary, wire};

/// Slots of latency: four in each octave from 64 us on, the last one open.
const LATENCY_SLOTS: usize = 80;
/// The octave in which the first slot ends.
const LATENCY_OCTAVE_MIN: u32 = 6;
/// Rows that one statement deletes, and statements in one go.
const TRIM_ROWS: u64 = 5_000;
const TRIMS_MAX: usize = 4;
/// In place of a key's id, before the application's name. No id has a colon.
const TOKENS_OF: &str = "token:";
/// The longest name of a client program that is kept, in bytes.
const CLIENT_MAX: usize = 32;
/// Between two looks at what program uses a key.
const LOOK_MICROS: i64 = 1_000_000;

/// How long a slot of time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Grain {
    /// Ten seconds: for what a roll still waits for.
    Ten,
    Minute,
    Hour,
}

impl Grain {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ten => "t",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }

    /// When the slot begins in which an instant lies.
    const fn start(self, at: i64) -> i64 {
        at - at.rem_euclid(self.micros())
    }

    const fn micros(self) -> i64 {
        match self {
            Self::Ten => 10_000_000,
            Self::Minute => 60_000_000,
            Self::Hour => 3_600_000_000,
        }
    }
}

/// One row's worth.
#[derive(Debug, Clone, Serialize)]
struct Sums {
    grain: &'static str,
    at: i64,
    key_id: String,
    route: String,
    region: Option<String>,
    tenant: Option<String>,
    consumer: Option<String>,
    application: Option<String>,
    requests: i64,
    denied: i64,
    client_errors: i64,
    server_errors: i64,
    old_secret: i64,
    request_bytes: i64,
    response_bytes: i64,
    latency: Vec<i64>,
}

/// When a key was used last.
#[derive(Debug, Clone, Serialize)]
struct Use {
    key_id: String,
    at: i64,
    region: Option<String>,
    client: Option<String>,
    /// Of which record the client is.
    #[serde(skip)]
    looked_at: i64,
}

/// What one load adds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By minute, key and route; what is longer is summed when it is written.
    minutes: HashMap<String, Sums>,
    /// Old secrets by ten seconds, key and route.
    tens: HashMap<String, Sums>,
    uses: HashMap<String, Use>,
}

impl Tally {
    /// Counts an event, if it is a request of a caller who is known, or the end of its stream.
    pub(super) fn count(&mut self, columns: &Columns<'_>, event: &[u8]) {
        let [phase, class] = columns.kind() else { return };
        let [_, _, application, key_id, route, _] = columns.who() else { return };
        let (Some("access"), Some(at), Some(application)) = (*class, columns.at, application) else { return };
        let is_outcome = match *phase {
            Some("outcome") => true,
            Some("close") => false,
            _ => return,
        };
        let route = route.unwrap_or_default();
        let Some(key_id) = key_id else {
            // A caller with a token alone: counted for the application, in a place that no key has.
            let place = format!("{TOKENS_OF}{application}");
            return slot(&mut self.minutes, Grain::Minute, (at, &place, route), columns).add(columns, is_outcome);
        };
        slot(&mut self.minutes, Grain::Minute, (at, key_id, route), columns).add(columns, is_outcome);
        if is_outcome && is_old(columns) {
            slot(&mut self.tens, Grain::Ten, (at, key_id, route), columns).add(columns, is_outcome);
        }
        if is_outcome {
            self.used(key_id, at, columns.region(), event);
        }
    }

    fn used(&mut self, key_id: &str, at: UtcMicros, region: Option<&str>, event: &[u8]) {
        match self.uses.get_mut(key_id) {
            Some(before) if before.at >= at.0 => {}
            Some(before) => {
                (before.at, before.region) = (at.0, region.map(str::to_owned));
                // Whose program it was stands in the envelope, which is not scanned: it is looked up once in a second for each key.
                if at.0 - before.looked_at >= LOOK_MICROS {
                    (before.client, before.looked_at) = (client(event), at.0);
                }
            }
            None => {
                let seen = Use { key_id: key_id.to_owned(), at: at.0, region: region.map(str::to_owned), client: client(event), looked_at: at.0 };
                self.uses.insert(key_id.to_owned(), seen);
            }
        }
    }

    /// Adds it to what is there, and forgets it.
    pub(super) async fn write(&mut self, connection: &mut PgConnection, node: &str) -> Result<(), StoreError> {
        if self.minutes.is_empty() {
            return Ok(());
        }
        let minutes: Vec<Sums> = self.minutes.drain().map(|(_, sums)| sums).collect();
        let mut sums: Vec<Sums> = hours(&minutes).into_values().chain(self.tens.drain().map(|(_, sums)| sums)).collect();
        sums.extend(minutes);
        // Everybody takes the rows in one order, so that nobody waits for somebody who waits for him.
        sums.sort_unstable_by(|a, b| (a.grain, a.at, &a.key_id, &a.route).cmp(&(b.grain, b.at, &b.key_id, &b.route)));
        query_file!("queries/key_usage/add.sql", node, json(&sums)?).execute(&mut *connection).await?;
        Ok(())
    }

    /// Notes when keys were used last. All nodes write these rows, so it is done behind the load and not in it: nobody's load waits for
    /// another's. What is lost here is written with the next use.
    pub(super) async fn note_uses(&mut self, connection: &mut PgConnection) {
        let mut uses: Vec<Use> = self.uses.drain().map(|(_, used)| used).collect();
        if uses.is_empty() {
            return;
        }
        uses.sort_unstable_by(|a, b| a.key_id.cmp(&b.key_id));
        let noted = match json(&uses) {
            Ok(uses) => query_file!("queries/key_use/put.sql", uses).execute(connection).await.map(drop).map_err(StoreError::from),
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            tracing::warn!(error = &error as &dyn std::error::Error, "when keys were used last was not noted");
        }
    }

    /// Forgets what a load that did not come to its end has counted.
    pub(super) fn clear(&mut self) {
        self.minutes.clear();
        self.tens.clear();
        self.uses.clear();
    }
}

/// Deletes what is too old for its grain, now and then. A failure stops nothing: the next time comes soon.
pub(super) async fn trim(primary: &Primary) {
    for (grain, age) in [("t", Duration::from_mins(10)), ("m", Duration::from_hours(48)), ("h", Duration::from_hours(400 * 24))] {
        let Ok(age) = PgInterval::try_from(age) else { continue };
        for _ in 0..TRIMS_MAX {
            match query_file!("queries/key_usage/trim.sql", grain, age).execute(primary.pool()).await {
                Ok(done) if done.rows_affected() >= TRIM_ROWS => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "old usage was not deleted");
                    break;
                }
            }
        }
    }
}

/// The sums of a slot.
fn slot<'s>(slots: &'s mut HashMap<String, Sums>, grain: Grain, (at, key_id, route): (UtcMicros, &str, &str), columns: &Columns<'_>) -> &'s mut Sums {
    let start = grain.start(at.0);
    slots.entry(format!("{start} {key_id} {route}")).or_insert_with(|| Sums::start(grain, start, [key_id, route], columns))
}

/// Minutes, summed by the hour.
fn hours(minutes: &[Sums]) -> HashMap<(i64, &str, &str), Sums> {
    let mut hours: HashMap<(i64, &str, &str), Sums> = HashMap::new();
    for minute in minutes {
        let start = Grain::Hour.start(minute.at);
        let hour = hours.entry((start, &minute.key_id, &minute.route)).or_insert_with(|| minute.emptied(Grain::Hour, start));
        hour.merge(minute);
    }
    hours
}

fn is_old(columns: &Columns<'_>) -> bool {
    columns.facts.auth_method.is_some_and(|method| method.starts_with("api_key_old"))
}

impl Sums {
    fn start(grain: Grain, at: i64, [key_id, route]: [&str; 2], columns: &Columns<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let [tenant, consumer, application] = columns.who().first_chunk().copied().unwrap_or_default();
        Self {
            grain: grain.as_str(),
            at,
            key_id: key_id.to_owned(),
            route: route.to_owned(),
            region: owned(columns.region()),
            tenant: owned(tenant),
            consumer: owned(consumer),
            application: owned(application),
            requests: 0,
            denied: 0,
            client_errors: 0,
            server_errors: 0,
            old_secret: 0,
            request_bytes: 0,
            response_bytes: 0,
            latency: vec![0; LATENCY_SLOTS],
        }
    }

    fn add(&mut self, columns: &Columns<'_>, is_outcome: bool) {
        let facts = &columns.facts;
        self.request_bytes = self.request_bytes.saturating_add(facts.request_bytes.unwrap_or(0));
        self.response_bytes = self.response_bytes.saturating_add(facts.response_bytes.unwrap_or(0));
        if !is_outcome {
            return;
        }
        self.requests += 1;
        self.old_secret += i64::from(is_old(columns));
        self.denied += i64::from(columns.decision() == Some("deny"));
        self.client_errors += i64::from(columns.status.is_some_and(|status| (400..500).contains(&status)));
        self.server_errors += i64::from(columns.status.is_some_and(|status| status >= 500));
        if let Some(slot) = facts.duration_us.and_then(|duration| self.latency.get_mut(latency_slot(duration))) {
            *slot += 1;
        }
    }

    /// The same key and route in another slot of time, with nothing counted.
    fn emptied(&self, grain: Grain, at: i64) -> Self {
        let [requests, denied, client_errors, server_errors, old_secret, request_bytes, response_bytes] = [0; 7];
        let latency = vec![0; LATENCY_SLOTS];
        Self {
            grain: grain.as_str(),
            at,
            requests,
            denied,
            client_errors,
            server_errors,
            old_secret,
            request_bytes,
            response_bytes,
            latency,
            ..self.clone()
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.denied += other.denied;
        self.client_errors += other.client_errors;
        self.server_errors += other.server_errors;
        self.old_secret += other.old_secret;
        self.request_bytes = self.request_bytes.saturating_add(other.request_bytes);
        self.response_bytes = self.response_bytes.saturating_add(other.response_bytes);
        self.latency.iter_mut().zip(&other.latency).for_each(|(sum, count)| *sum += count);
    }
}

/// The slot of a duration in microseconds.
fn latency_slot(duration_us: i64) -> usize {
    let duration = u64::try_from(duration_us).unwrap_or(0).max(1);
    let octave = duration.ilog2();
    if octave < LATENCY_OCTAVE_MIN {
        return 0;
    }
    let quarter = (duration >> (octave - 2)) & 3;
    let slot = u64::from(octave - LATENCY_OCTAVE_MIN) * 4 + quarter;
    usize::try_from(slot).unwrap_or(usize::MAX).min(LATENCY_SLOTS - 1)
}

/// The duration in microseconds under which a share of all counted ones lies, in hundredths; `None` when none was counted. It is the upper end of a
/// slot: at most a quarter more than the exact one.
pub(crate) fn percentile(latency: &[i64], percent: i64) -> Option<u64> {
    let total: i64 = latency.iter().sum();
    let wanted = (total * percent + 99) / 100;
    let mut seen = 0;
    let slot = latency.iter().position(|count| {
        seen += count;
        *count > 0 && seen >= wanted
    })?;
    let (octave, quarter) = (u32::try_from(slot / 4).ok()? + LATENCY_OCTAVE_MIN, u64::try_from(slot % 4).ok()?);
    Some((4 + quarter + 1) << (octave - 2))
}

/// The name of the program in a `User-Agent` (RFC 9110 section 10.1.5): its first product, without the version.
fn client(event: &[u8]) -> Option<String> {
    let event: serde_json::Value = serde_json::from_slice(event).ok()?;
    let agent = event.pointer("/personal/data/user_agent")?.as_str()?;
    let product: String = agent.chars().take_while(|character| character.is_ascii_alphanumeric() || "-_.+".contains(*character)).collect();
    Some(product.chars().take(CLIENT_MAX).collect()).filter(|name: &String| !name.is_empty())
}

fn json(value: &impl Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| wire::corrupt("usage", error.to_string()))
}

#[cfg(test)]
mod tests;
