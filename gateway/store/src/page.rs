//! Lists in pages: newest first, with a cursor that holds the place after the last item.

use model::time::UtcMicros;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{error::StoreError, wire};

/// The most items that a page holds.
pub const LIMIT_MAX: u32 = 200;

/// Which page is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// How many items at most; more than [`LIMIT_MAX`] or none at all count as the nearest lawful number.
    pub limit: u32,
    /// `next_cursor` of the page before; the first page when absent.
    pub cursor: Option<String>,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { limit: 50, cursor: None }
    }
}

impl PageRequest {
    /// How many rows to read: one more than are shown tells whether there is a next page.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.shown()) + 1
    }

    fn shown(&self) -> u32 {
        self.limit.clamp(1, LIMIT_MAX)
    }

    /// The place that the cursor holds.
    pub(crate) fn place(&self) -> Result<Option<Place>, StoreError> {
        self.cursor.as_deref().map(Place::parse).transpose()
    }
}

/// A page of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Asks for the items after these; absent on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The same page with each item turned into something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(f).collect(), next_cursor: self.next_cursor }
    }

    /// Cuts rows that were read with [`PageRequest::rows`] to a page; `place` tells where an item stands.
    pub(crate) fn cut(request: &PageRequest, mut items: Vec<T>, place: impl Fn(&T) -> (UtcMicros, String)) -> Self {
        let shown = usize::try_from(request.shown()).unwrap_or(usize::MAX);
        let more = items.len() > shown;
        items.truncate(shown);
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let (at, rest) = place(last);
            format!("{}.{rest}", at.0)
        });
        Self { items, next_cursor }
    }
}

/// Where a page ended: an instant, and what orders items of the same instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: OffsetDateTime,
    pub(crate) rest: String,
}

impl Place {
    fn parse(cursor: &str) -> Result<Self, StoreError> {
        let (micros, rest) = cursor.split_once('.').ok_or_else(foreign)?;
        let micros = UtcMicros(micros.parse().map_err(|_| foreign())?);
        let at = wire::instant(micros).map_err(|_| foreign())?;
        Ok(Self { at, rest: rest.to_owned() })
    }

    /// The rest as a UUID.
    pub(crate) fn uuid(&self) -> Result<Uuid, StoreError> {
        self.rest.parse().map_err(|_| foreign())
    }
}

/// The error for a cursor that we did not make.
pub(crate) fn foreign() -> StoreError {
    StoreError::invalid("the cursor is not one of ours")
}
