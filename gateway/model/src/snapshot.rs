//! One value, one generation: everything that a request is decided over.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    authority::Authority,
    change::{ApplicationRow, ConsumerRow, KeyRow, Revisions},
    denial::DenialRow,
    document::Document,
    id::ConsumerId,
    residency::{Labels, Within},
    structure::{Structure, Upstream},
    time::UtcMicros,
};

/// The immutable state that a request loads once.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What it was made from.
    pub revisions: Revisions,
    /// Routes, services, plans.
    pub structure: Arc<Structure>,
    /// Keys, applications, consumers.
    pub authority: Arc<Authority>,
    /// The region of each domain's primary, as far as the monitors know.
    pub writers: Arc<HashMap<Arc<str>, Arc<str>>>,
    /// When it was sealed, if it was read from disk and nothing has confirmed it since.
    pub booted_from: Option<UtcMicros>,
}

impl Snapshot {
    /// The regions in which the data of a consumer may lie: none when nobody knows it.
    pub fn within(&self, consumer: ConsumerId) -> Within<'_> {
        const NOWHERE: &[Box<str>] = &[];
        let asks = match self.authority.consumers.get(&consumer) {
            Some(consumer) => consumer.residency.as_ref().map(Labels::names),
            None => Some(NOWHERE),
        };
        Within::new(asks, &self.structure.labels)
    }

    /// The region that takes a service's writes, if it is known.
    pub fn writer_region<'s>(&'s self, upstream: &'s Upstream) -> Option<&'s Arc<str>> {
        match &upstream.domain {
            Some(domain) => self.writers.get(domain),
            None => upstream.writer.as_ref(),
        }
    }
}

/// What a node seals to disk, so that it can start without a database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// What it was made from.
    pub revisions: Revisions,
    /// When it was known to be current.
    pub sealed_at: UtcMicros,
    /// The structural part.
    pub document: Document,
    /// Where each domain's primary was.
    pub writers: HashMap<Arc<str>, Arc<str>>,
    /// Consumers.
    pub consumers: Vec<ConsumerRow>,
    /// Applications.
    pub applications: Vec<ApplicationRow>,
    /// Keys.
    pub keys: Vec<KeyRow>,
    /// Tokens that are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denials: Vec<DenialRow>,
}

impl Image {
    /// Compiles the image into a snapshot that knows that it is from disk.
    ///
    /// # Errors
    /// Every mistake in the document; an image that was sealed by this version has none.
    pub fn into_snapshot(self) -> Result<Snapshot, Vec<crate::compile::ConfigError>> {
        let structure = crate::compile::compile(&self.document)?;
        Ok(Snapshot {
            revisions: self.revisions,
            structure: Arc::new(structure),
            authority: Arc::new(Authority::from_rows(self.consumers, self.applications, self.keys, self.denials)),
            writers: Arc::new(self.writers),
            booted_from: Some(self.sealed_at),
        })
    }
}
