//! `secrets`: what nodes of a deployment share and nobody else knows.

use serde::{Deserialize, Serialize};

use super::{SecretRef, key_set::KeySetConfig};

/// Secrets, by reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsConfig {
    /// What key digests are made with, oldest first; 32 bytes in hexadecimal each.
    pub peppers: Vec<PepperConfig>,
    /// What the snapshot on disk is sealed with; 32 bytes in hexadecimal.
    pub snapshot_key: SecretRef,
    /// What access tokens are made with; documents with a token endpoint are refused when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_tokens: Option<KeySetConfig>,
    /// What consistency tokens are made with; without, clients get none, and reads that promise them their own writes go to the writer region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency_tokens: Option<KeySetConfig>,
}

/// One pepper version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PepperConfig {
    /// Its number.
    pub version: u16,
    /// Its bytes.
    pub key: SecretRef,
}
