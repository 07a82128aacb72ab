//! How callers prove who they are, and whose tokens are taken.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rustls_pki_types::CertificateDer;
use url::Url;

use crate::{
    certificate::authority::Authority,
    jwt::{algorithm::Algorithms, issuer::Rules, keys::KeySet},
    signature::{self, key::Signer, rule::Need},
};

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

    fn ways(&self) -> &[Way] {
        if let Self::Ways(ways) = self { ways } else { &[] }
    }

    /// Whether services get a token that is taken.
    pub fn forwards(&self) -> bool {
        self.ways().iter().filter_map(Way::token_rules).flatten().any(|rule| rule.issuer.forward)
    }

    /// Whether a client may have to show a certificate, for which the handshake must ask.
    pub fn asks_certificate(&self) -> bool {
        let of_token = |rules: &[TokenRule]| rules.iter().any(|rule| rule.issuer.certificate_bound != Binding::Refuse);
        self.ways().iter().any(|way| way.authorities().is_some() || way.token_rules().is_some_and(of_token))
    }

    /// Whether it takes tokens that are bound to a key of their client's (RFC 9449).
    pub fn takes_dpop(&self) -> bool {
        self.ways().iter().filter_map(Way::token_rules).flatten().any(|rule| rule.issuer.dpop != Binding::Refuse)
    }

    /// Whether any way of it takes a signature (RFC 9421).
    pub fn takes_signature(&self) -> bool {
        self.ways().iter().any(|way| way.kinds().signature)
    }

    /// Whether any way of it takes a signature that may have been used before.
    pub fn takes_signature_twice(&self) -> bool {
        self.ways().iter().filter_map(Way::signature_rule).any(|rule| rule.rules.nonce != Need::Required)
    }

    /// Whether any way of it takes an API key.
    pub fn takes_key(&self) -> bool {
        matches!(self, Self::ApiKey) || self.ways().iter().any(|way| way.kinds().key)
    }

    /// The way that takes exactly these kinds of credentials.
    pub fn way(&self, kinds: Kinds) -> Option<&Way> {
        self.ways().iter().find(|way| way.kinds() == kinds)
    }
}

/// Kinds of credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set: each kind is in it or not")]
pub struct Kinds {
    /// An API key.
    pub key: bool,
    /// A token.
    pub token: bool,
    /// A client certificate.
    pub certificate: bool,
    /// A signature over the request.
    pub signature: bool,
}

/// The credentials that a request must carry, all of them and no other. The first speaks for the caller.
#[derive(Debug, Default)]
pub struct Way(pub Box<[Credential]>);

/// One of the credentials of a way.
#[derive(Debug)]
pub enum Credential {
    /// An API key.
    Key,
    /// A token of one of these issuers.
    Token(Box<[TokenRule]>),
    /// A certificate that one of these vouches for.
    Certificate(Box<[Arc<Authority>]>),
    /// A signature of one of these signers.
    Signature(Box<SignatureRule>),
}

impl Way {
    /// What it takes.
    pub fn kinds(&self) -> Kinds {
        self.0.iter().fold(Kinds::default(), |kinds, credential| match credential {
            Credential::Key => Kinds { key: true, ..kinds },
            Credential::Token(_) => Kinds { token: true, ..kinds },
            Credential::Certificate(_) => Kinds { certificate: true, ..kinds },
            Credential::Signature(_) => Kinds { signature: true, ..kinds },
        })
    }

    /// Whose tokens it takes.
    pub fn token_rules(&self) -> Option<&[TokenRule]> {
        self.0.iter().find_map(|credential| if let Credential::Token(rules) = credential { Some(&**rules) } else { None })
    }

    /// Whose signatures it takes.
    pub fn signature_rule(&self) -> Option<&SignatureRule> {
        self.0.iter().find_map(|credential| if let Credential::Signature(rule) = credential { Some(&**rule) } else { None })
    }

    /// Who may vouch for certificates.
    pub fn authorities(&self) -> Option<&[Arc<Authority>]> {
        self.0.iter().find_map(|credential| if let Credential::Certificate(authorities) = credential { Some(&**authorities) } else { None })
    }
}

/// The signatures that one route takes.
#[derive(Debug)]
pub struct SignatureRule {
    /// Whose, by name.
    pub signers: HashMap<Arc<str>, Arc<Signer>>,
    /// What is asked of them.
    pub rules: Arc<signature::rule::Rules>,
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
    /// What happens with tokens that are bound to their client's certificate.
    pub certificate_bound: Binding,
    /// What happens with tokens that are bound to a key of their client's.
    pub dpop: Binding,
}

/// What happens with tokens that are bound to their client's certificate (RFC 8705 section 3) or key (RFC 9449 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// They are refused.
    Refuse,
    /// They are taken from whoever holds the certificate or the key.
    Accept,
    /// All others are refused.
    Require,
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
    /// From nowhere: the issuer is asked about each token.
    Introspection(Arc<Introspection>),
}

impl KeySource {
    /// Whether the same keys come from both, as far as the document says.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed { written, .. }, Self::Fixed { written: other, .. }) => written == other,
            (Self::Remote(remote), Self::Remote(other)) => remote.place == other.place && remote.ca == other.ca,
            (Self::Introspection(asked), Self::Introspection(other)) => asked.endpoint == other.endpoint && asked.ca == other.ca,
            (Self::Fixed { .. } | Self::Remote(_) | Self::Introspection(_), _) => false,
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

/// How an issuer is asked about its tokens (RFC 7662).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introspection {
    /// Where.
    pub endpoint: Url,
    /// The name of what the node proves itself with.
    pub client: Box<str>,
    /// How long an answer is good.
    pub cache: Duration,
    /// The roots that are trusted; the system's when `None`.
    pub ca: Option<Box<[CertificateDer<'static>]>>,
    /// Whether it may be at an address that is not public.
    pub allows_private: bool,
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
