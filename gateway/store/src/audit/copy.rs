//! The binary form of COPY (`PostgreSQL` documentation, "COPY", Binary Format): the event's bytes travel as they are.

use model::time::UtcMicros;

/// The signature, no flags, no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// Columns of the COPY statement.
const COLUMNS: i16 = 24;

/// 2000-01-01 in microseconds and in days of 1970: where the database's own count begins.
const EPOCH_US: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

const DAY_US: i64 = 86_400_000_000;

/// How much is sent at once: small enough to stay in the processor's cache on its way through the connection's own buffer.
const PIECE_BYTES: usize = 64 * 1_024;

/// Rows in the binary form, a piece at a time.
#[derive(Debug, Default)]
pub(super) struct CopyBuffer(Vec<u8>);

impl CopyBuffer {
    /// Begins a COPY; whatever was there is gone.
    pub(super) fn start(&mut self) {
        self.0.clear();
        self.0.extend_from_slice(HEADER);
    }

    /// Whether it is time to send what is there.
    pub(super) const fn is_full(&self) -> bool {
        self.0.len() >= PIECE_BYTES
    }

    /// What is there.
    pub(super) fn piece(&self) -> &[u8] {
        &self.0
    }

    /// Forgets what was sent.
    pub(super) fn sent(&mut self) {
        self.0.clear();
    }

    pub(super) fn row(&mut self) {
        self.0.extend_from_slice(&COLUMNS.to_be_bytes());
    }

    pub(super) fn null(&mut self) {
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    /// A value of at most 2^31 - 1 bytes; a longer one becomes null, which no event can be.
    pub(super) fn bytes(&mut self, value: &[u8]) {
        match i32::try_from(value.len()) {
            Ok(len) => {
                self.0.extend_from_slice(&len.to_be_bytes());
                self.0.extend_from_slice(value);
            }
            Err(_) => self.null(),
        }
    }

    pub(super) fn optional(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(value),
            None => self.null(),
        }
    }

    pub(super) fn texts(&mut self, values: &[Option<&str>]) {
        for value in values {
            self.optional(value.map(str::as_bytes));
        }
    }

    pub(super) fn bigint(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(super) fn instant(&mut self, at: UtcMicros) {
        self.bigint(at.0.saturating_sub(EPOCH_US));
    }

    pub(super) fn day(&mut self, day: Day) {
        self.bytes(&day.0.saturating_sub(EPOCH_DAYS).to_be_bytes());
    }

    /// The end mark.
    pub(super) fn end(&mut self) {
        self.0.extend_from_slice(&(-1_i16).to_be_bytes());
    }
}

/// A day (UTC), counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(i32);

impl Day {
    /// Where events go whose clock is not believed: no partition but the default covers 1970-01-01.
    pub(super) const UNBELIEVED: Self = Self(0);

    pub(super) fn of(at: UtcMicros) -> Self {
        Self(i32::try_from(at.0.div_euclid(DAY_US)).unwrap_or(0))
    }

    pub(super) fn to_date(self) -> Option<time::Date> {
        time::Date::from_julian_day(JULIAN_1970 + self.0).ok()
    }

    pub(super) fn from_date(date: time::Date) -> Self {
        Self(date.to_julian_day() - JULIAN_1970)
    }
}

/// 1970-01-01 as `time` counts Julian days.
const JULIAN_1970: i32 = 2_440_588;
