//! Does a server keep the rules of HTTP? Small cases, each from one rule of an RFC, played byte by byte over TLS against any
//! server: RFC 9113 (HTTP/2), RFC 7541 (HPACK), RFC 9112 and RFC 9110 (HTTP/1.1).
//!
//! A case says what it sends and what must follow. What followed is [`Found`]: the rule was kept, it was kept in another way
//! than the RFC prefers, or it was broken.
//!
//! Reading order: [`target`] (whom), [`http2`] and [`http1`] (how cases are played), then their tables.

pub mod http1;
pub mod http2;
pub mod service;
pub mod target;

use std::fmt;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use target::Target;

/// Cases that are played at the same time.
const PARALLEL: usize = 8;

/// How strongly an RFC asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Interoperability or safety hangs on it.
    Must,
    /// There may be reasons to do otherwise.
    Should,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// As the RFC says.
    Kept,
    /// Lawful, or harmless, but not what the RFC prefers: another error code, an end without a word.
    Otherwise(String),
    /// Not as the RFC says.
    Broken(String),
    /// The server's settings leave nothing to try.
    Skipped(&'static str),
}

/// A case as it is listed.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// RFC and section.
    pub section: &'static str,
    /// The rule, in our words.
    pub text: &'static str,
    /// How strongly it is asked for.
    pub level: Level,
}

/// A case and what came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The case.
    pub rule: Rule,
    /// What came of it.
    pub found: Found,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "must",
            Self::Should => "should",
        })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("kept"),
            Self::Otherwise(how) => write!(f, "otherwise: {how}"),
            Self::Broken(how) => write!(f, "broken: {how}"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// Every rule that is tried, in order.
pub fn rules() -> Vec<Rule> {
    http2::cases().iter().map(|case| case.rule).chain(http1::cases().iter().map(|case| case.rule)).collect()
}

/// Plays every case whose section or text holds `only`, in the order of [`rules`].
///
/// # Errors
/// When the target cannot be reached at all; a case that fails is an outcome.
pub async fn run(target: &Target, only: &str) -> Result<Vec<Outcome>> {
    target.probe().await?;
    let is_wanted = |rule: &Rule| rule.section.contains(only) || rule.text.contains(only);
    let second = stream::iter(http2::cases()).filter(|case| std::future::ready(is_wanted(&case.rule)));
    let second = second.map(async |case| Outcome { rule: case.rule, found: http2::play(target, &case).await });
    let mut outcomes: Vec<Outcome> = second.buffered(PARALLEL).collect().await;
    let first = stream::iter(http1::cases()).filter(|case| std::future::ready(is_wanted(&case.rule)));
    let first = first.map(async |case| Outcome { rule: case.rule, found: http1::play(target, &case).await });
    outcomes.extend(first.buffered(PARALLEL).collect::<Vec<_>>().await);
    Ok(outcomes)
}
