//! Where the data of a route, a service or a consumer may lie.

use std::sync::Arc;

use crate::{compile::is_name, document::RegionDoc, key};

/// Labels that one list may hold.
pub const LABELS_MAX: usize = 32;

/// The regions that may serve: all of them, or those that have one of the labels that are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residency(Option<Arc<[Arc<str>]>>);

impl Residency {
    /// Only these regions.
    pub fn only(regions: Vec<Arc<str>>) -> Self {
        Self(Some(regions.into()))
    }

    /// True where nothing is asked for.
    pub const fn is_any(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a region may serve. A deployment has a few, so that a list is searched as fast as a table.
    pub fn allows(&self, region: &str) -> bool {
        self.0.as_ref().is_none_or(|regions| regions.iter().any(|known| **known == *region))
    }
}

/// The labels that a consumer asks for. They stay labels, and are no regions yet: consumers and regions change apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    names: Arc<[Box<str>]>,
    number: u128,
}

impl Labels {
    /// One of these. No region has one of none.
    pub fn new(names: Vec<String>) -> Self {
        let mut sorted: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let number = u128::from_be_bytes(key::fingerprint(&sorted).first_chunk().copied().unwrap_or_default());
        Self { names: names.into_iter().map(String::into_boxed_str).collect(), number }
    }

    /// As they were given.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The same for each list of the same labels, and for no other.
    pub const fn number(&self) -> u128 {
        self.number
    }

    /// As rows have them.
    pub fn to_texts(&self) -> Vec<String> {
        self.names.iter().map(|name| name.clone().into_string()).collect()
    }
}

/// Whether a list of labels is one that a consumer may ask for. Whether a region has them is another question.
///
/// # Errors
/// What is wrong with it, as words that go on from what it is called.
pub fn check(labels: &[String]) -> Result<(), &'static str> {
    if labels.is_empty() {
        return Err("an empty list lets no region serve; leave it out where any may");
    }
    if labels.len() > LABELS_MAX {
        return Err("at most 32 labels can be asked for");
    }
    if labels.iter().any(|label| !is_name(label)) {
        return Err("a label is 1 to 63 of a-z, 0-9, `-` and `_`, starting with a letter or digit");
    }
    let is_twice = |(index, label): (usize, &String)| labels.iter().take(index).any(|earlier| earlier == label);
    if labels.iter().enumerate().any(is_twice) { Err("each label stands there once") } else { Ok(()) }
}

/// The labels of each region. A deployment has a few regions, so that a list is searched as fast as a table.
#[derive(Debug, Clone, Default)]
pub struct RegionLabels(Box<[Labeled]>);

/// A region and its labels.
#[derive(Debug, Clone)]
struct Labeled {
    region: Box<str>,
    labels: Box<[Box<str>]>,
}

impl RegionLabels {
    /// Those of a document.
    pub fn of(docs: &[RegionDoc]) -> Self {
        let labels = |doc: &RegionDoc| doc.residency.iter().map(|label| label.as_str().into()).collect();
        Self(docs.iter().map(|doc| Labeled { region: doc.name.as_str().into(), labels: labels(doc) }).collect())
    }

    /// Whether a region has one of these. One that is not known has none.
    pub fn has_one(&self, region: &str, asked: &[Box<str>]) -> bool {
        let known = self.0.iter().find(|known| *known.region == *region);
        known.is_some_and(|known| known.labels.iter().any(|label| asked.contains(label)))
    }
}

/// The regions in which the data of one consumer may lie.
#[derive(Debug, Clone, Copy, Default)]
pub struct Within<'s>(Option<(&'s [Box<str>], &'s RegionLabels)>);

impl<'s> Within<'s> {
    /// Those that have one of the labels; all of them when nothing is asked for.
    pub fn new(asks: Option<&'s [Box<str>]>, labels: &'s RegionLabels) -> Self {
        Self(asks.map(|asks| (asks, labels)))
    }

    /// True where nothing is asked for.
    pub const fn is_any(self) -> bool {
        self.0.is_none()
    }

    /// Whether a region may serve.
    pub fn allows(self, region: &str) -> bool {
        self.0.is_none_or(|(asks, labels)| labels.has_one(region, asks))
    }
}

#[cfg(test)]
mod tests;
