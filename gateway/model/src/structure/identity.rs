//! How callers prove who they are, and whose tokens are taken.

use std::{sync::Arc, time::Duration};

use rustls_pki_types::CertificateDer;
use url::Url;

use crate::jwt::{algorithm::Algorithms, issuer::Rules, keys::KeySet};

/// How callers prove who they are.
#[derive(Debug)]
pub enum Auth {
    /// Not at all.
    None,
    /// With an API key.
    ApiKey,
    /// In one of these ways, told apart by the kinds of credentials that a request carries.
    Ways(Box<[Way]>),
}

impl Auth {
    /// True where nobody is asked.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether services get a token that is taken.
    pub fn forwards(&self) -> bool {
        let Self::Ways(ways) = self else { return false };
        ways.iter().filter_map(|way| way.token.as_ref()).any(|rules| rules.iter().any(|rule| rule.issuer.forward))
    }

    /// The way that takes exactly these kinds of credentials.
    pub fn way(&self, key: bool, token: bool) -> Option<&Way> {
        let Self::Ways(ways) = self else { return None };
        ways.iter().find(|way| way.key == key && way.token.is_some() == token)
    }
}

/// The credentials that a request must carry, all of them and no other.
#[derive(Debug, Default)]
pub struct Way {
    /// An API key.
    pub key: bool,
    /// A token of one of these issuers.
    pub token: Option<Box<[TokenRule]>>,
    /// Whether the token speaks for the caller where both are asked for; else the key does.
    pub is_token_first: bool,
}

/// The tokens of one issuer, as one route takes them.
#[derive(Debug, Clone)]
pub struct TokenRule {
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// Its rules, with the route's audience if that names one.
    pub rules: Arc<Rules>,
}

/// Who issues tokens.
#[derive(Debug)]
pub struct Issuer {
    /// Its name here, a label in metrics.
    pub name: Arc<str>,
    /// Its rules.
    pub rules: Arc<Rules>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Whom its tokens speak for.
    pub holder: Holder,
    /// Whether services get the token.
    pub forward: bool,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// From the document.
    Fixed {
        /// The keys.
        keys: Arc<KeySet>,
        /// As they were written: what tells whether they are the same.
        written: Box<str>,
    },
    /// From the issuer.
    Remote(Arc<Remote>),
}

impl KeySource {
    /// Whether the same keys come from both, as far as the document says.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed { written, .. }, Self::Fixed { written: other, .. }) => written == other,
            (Self::Remote(remote), Self::Remote(other)) => remote.place == other.place && remote.ca == other.ca,
            (Self::Fixed { .. }, Self::Remote(_)) | (Self::Remote(_), Self::Fixed { .. }) => false,
        }
    }
}

/// Which application a token's calls count for.
#[derive(Debug, PartialEq, Eq)]
pub enum Holder {
    /// This one.
    Application(Arc<str>),
    /// The one that the token's client is named like.
    Client,
}

/// A key set that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where it is, or where it is said.
    pub place: Place,
    /// What its keys are used with.
    pub algorithms: Algorithms,
    /// The roots that are trusted; the system's when `None`.
    pub ca: Option<Box<[CertificateDer<'static>]>>,
    /// Whether it may be at an address that is not public.
    pub allows_private: bool,
    /// How often it is fetched.
    pub refresh: Duration,
    /// How old it may become.
    pub stale_max: Duration,
}

/// Where a key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Here.
    KeySet(Url),
    /// Where the issuer's configuration says (`OpenID` Connect Discovery 1.0 section 4), if that names the issuer exactly so.
    Configuration {
        /// Where the configuration is.
        url: Url,
        /// `issuer`.
        issuer: Arc<str>,
    },
}
