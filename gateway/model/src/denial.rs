//! Tokens that are refused although their issuer signed them: one by its id, or all about somebody up to an instant.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::time::UtcMicros;

/// Denials that a deployment may have at once: each node holds them all, and copies them when one is added.
pub const DENIALS_MAX: usize = 100_000;

/// A denial as nodes receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenialRow {
    /// `iss`, as tokens have it.
    pub issuer: String,
    /// Which tokens.
    pub which: Denied,
    /// When every token that it is about is over.
    pub expires_at: UtcMicros,
}

/// Which tokens of an issuer are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Denied {
    /// The one with this `jti`.
    Token {
        /// Its id.
        id: String,
    },
    /// All about somebody that were issued up to an instant, and those that do not say when they were issued.
    Subject {
        /// `sub`.
        subject: String,
        /// Tokens issued later are good again.
        issued_until: UtcMicros,
    },
}

/// What of a token a denial can be about.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'t> {
    /// `iss`.
    pub issuer: &'t str,
    /// `sub`.
    pub subject: &'t str,
    /// `jti`.
    pub id: Option<&'t str>,
    /// `iat`.
    pub issued_at: Option<UtcMicros>,
}

/// Every denial, for looking tokens up.
#[derive(Debug, Clone, Default)]
pub struct Denials {
    by_issuer: HashMap<Box<str>, OfIssuer>,
}

#[derive(Debug, Clone, Default)]
struct OfIssuer {
    /// When each ends, by `jti`.
    tokens: HashMap<Box<str>, UtcMicros>,
    /// Up to when tokens are refused, and when that ends, by `sub`.
    subjects: HashMap<Box<str>, (UtcMicros, UtcMicros)>,
}

impl Denials {
    /// Builds from rows.
    pub fn from_rows(rows: impl IntoIterator<Item = DenialRow>) -> Self {
        let mut denials = Self::default();
        rows.into_iter().for_each(|row| denials.add(row));
        denials
    }

    /// Adds one; of two about the same, what refuses more stays.
    pub fn add(&mut self, row: DenialRow) {
        let of_issuer = self.by_issuer.entry(row.issuer.into()).or_default();
        match row.which {
            Denied::Token { id } => {
                let ends = of_issuer.tokens.entry(id.into()).or_insert(row.expires_at);
                *ends = row.expires_at.max(*ends);
            }
            Denied::Subject { subject, issued_until } => {
                let known = of_issuer.subjects.entry(subject.into()).or_insert((issued_until, row.expires_at));
                *known = (issued_until.max(known.0), row.expires_at.max(known.1));
            }
        }
    }

    /// Whether a token is refused.
    pub fn refuses(&self, token: &Traits<'_>) -> bool {
        // Usually there is none, and then nothing is hashed.
        if self.by_issuer.is_empty() {
            return false;
        }
        let Some(of_issuer) = self.by_issuer.get(token.issuer) else { return false };
        // One that has ended refuses still: every token that it is about has, too.
        let is_one = token.id.is_some_and(|id| of_issuer.tokens.contains_key(id));
        let is_about = of_issuer.subjects.get(token.subject).is_some_and(|(until, _)| token.issued_at.is_none_or(|at| at <= *until));
        is_one || is_about
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_issuer.values().map(|of_issuer| of_issuer.tokens.len() + of_issuer.subjects.len()).sum()
    }

    /// True when nothing is denied.
    pub fn is_empty(&self) -> bool {
        self.by_issuer.is_empty()
    }

    /// The rows that it is made from, in no order.
    pub fn to_rows(&self) -> Vec<DenialRow> {
        let rows = self.by_issuer.iter().flat_map(|(issuer, of_issuer)| {
            let row = |which, expires_at| DenialRow { issuer: issuer.to_string(), which, expires_at };
            let tokens = of_issuer.tokens.iter().map(move |(id, ends)| row(Denied::Token { id: id.to_string() }, *ends));
            let subjects = of_issuer.subjects.iter().map(move |(subject, (issued_until, ends))| {
                row(Denied::Subject { subject: subject.to_string(), issued_until: *issued_until }, *ends)
            });
            tokens.chain(subjects).collect::<Vec<_>>()
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
