//! What a document says about callers: how a route knows them, and whose tokens it takes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::duration::Span;

/// `routes[].auth`: `api_key`, `none`, `jwt`, `mtls`, `signature`, `{ jwt: {..} }` and its like, `{ any_of: [..] }` or `{ all_of: [..] }`.
///
/// It is kept as it was written, because what is wrong with it is told with its place by the compiler.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuthDoc(pub Value);

impl Default for AuthDoc {
    fn default() -> Self {
        Self(Value::from("api_key"))
    }
}

/// `routes[].client_certificate`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificateDoc {
    /// Clients are asked where `auth` takes certificates, or tokens that are bound to one.
    #[default]
    AsNeeded,
    /// They are asked, for keys that are bound to one.
    Ask,
}

impl ClientCertificateDoc {
    /// Whether it need not be written: a node of the version before does not know the member.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(crate) const fn is_default(&self) -> bool {
        matches!(self, Self::AsNeeded)
    }
}

/// `routes[].imported_keys`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportedKeysDoc {
    /// Only texts of ours are keys.
    #[default]
    Refuse,
    /// Keys that were imported from other systems are taken by the texts that those have issued.
    Accept,
}

impl ImportedKeysDoc {
    /// Whether it need not be written: a node of the version before does not know the member.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(crate) const fn is_default(&self) -> bool {
        matches!(self, Self::Refuse)
    }
}

/// `issuers[]`: who issues JSON Web Tokens (RFC 7519) that routes may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerDoc {
    /// Its name here.
    pub name: String,
    /// `iss`, exactly as tokens have it.
    pub issuer: String,
    /// Where its key set is (RFC 7517): an `https://` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// Whether the place of the key set is asked for at `<issuer>/.well-known/openid-configuration`.
    #[serde(default)]
    pub discovery: bool,
    /// Its public keys, in place of a key set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<IssuerKeyDoc>,
    /// How it is asked about tokens that only it can read (RFC 7662), in place of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<IntrospectionDoc>,
    /// What tokens are for (`aud`): one of these, exactly.
    pub audiences: Vec<String>,
    /// What it signs with. `HS*` is refused: a shared secret has no place in a document.
    #[serde(default = "IssuerDoc::algorithms_default")]
    pub algorithms: Vec<String>,
    /// The application that calls with its tokens count for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The claim that holds the name of that application, in place of `application`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_claim: Option<String>,
    /// How far its clock may be from ours: 5s to 30s.
    #[serde(default = "IssuerDoc::leeway_default")]
    pub leeway: Span,
    /// The longest that a token may live, from `iat` to `exp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_max: Option<Span>,
    /// The `typ` that tokens must have. Without it: none, `JWT` or `at+jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typ: Option<String>,
    /// Claims that must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_claims: Vec<String>,
    /// The claim that holds the scopes. Without it: `scope`, and where that is missing `scp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_claim: Option<String>,
    /// How often the key set is fetched.
    #[serde(default = "IssuerDoc::refresh_default")]
    pub refresh: Span,
    /// How old it may become while it cannot be fetched.
    #[serde(default = "IssuerDoc::stale_max_default")]
    pub stale_max: Span,
    /// PEM certificates of the roots to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Whether the key set may be at an address that is not public.
    #[serde(default)]
    pub private_addresses: bool,
    /// Whether services, and those that get copies, get the token.
    #[serde(default)]
    pub forward: bool,
    /// What happens with tokens that are bound to their client's certificate.
    #[serde(default, skip_serializing_if = "BindingDoc::is_default")]
    pub certificate_bound: BindingDoc,
    /// What happens with tokens that are bound to a key of their client's, which signs a proof for each request.
    #[serde(default, skip_serializing_if = "BindingDoc::is_default")]
    pub dpop: BindingDoc,
}

/// `issuers[].certificate_bound` (RFC 8705 section 3) and `issuers[].dpop` (RFC 9449 section 6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindingDoc {
    /// They are refused.
    #[default]
    Refuse,
    /// They are taken from a client that proves to hold the certificate or the key, others from everybody.
    Accept,
    /// Tokens that are bound to none are refused.
    Require,
}

/// `issuers[].introspection`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionDoc {
    /// Where it is asked: an `https://` URL.
    pub endpoint: String,
    /// The name of what the node proves itself with: each node file says under `introspection_clients` what that is.
    pub client: String,
    /// How long an answer is good: 1s to 5m.
    #[serde(default = "IntrospectionDoc::cache_default")]
    pub cache: Span,
}

impl IntrospectionDoc {
    const fn cache_default() -> Span {
        Span(std::time::Duration::from_secs(30))
    }
}

impl IssuerDoc {
    fn algorithms_default() -> Vec<String> {
        ["RS256", "PS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
    }

    const fn leeway_default() -> Span {
        Span(std::time::Duration::from_secs(10))
    }

    const fn refresh_default() -> Span {
        Span(std::time::Duration::from_mins(10))
    }

    const fn stale_max_default() -> Span {
        Span(std::time::Duration::from_hours(24))
    }
}

/// One public key of an issuer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerKeyDoc {
    /// The id that tokens name it by (`kid`). Without one it serves tokens that name no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// The one algorithm that it is used with.
    pub algorithm: String,
    /// One PEM section `PUBLIC KEY`.
    pub pem: String,
}

impl BindingDoc {
    /// Whether it need not be written: a node of the version before does not know the member.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    const fn is_default(&self) -> bool {
        matches!(self, Self::Refuse)
    }
}

/// `certificate_authorities[]`: who vouches for client certificates (RFC 5280), and whose they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateAuthorityDoc {
    /// Its name here.
    pub name: String,
    /// PEM certificates of the roots. Without any, certificates are known by thumbprints alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// PEM revocation lists, one for each issuer that is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crls: Option<String>,
    /// Which certificates of a chain are looked up in them.
    #[serde(default)]
    pub crl_depth: CrlDepthDoc,
    /// What a list is worth after its `nextUpdate`.
    #[serde(default)]
    pub expired_crls: ExpiredCrlsDoc,
    /// The application that calls count for whose certificate has no entry in `clients`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// Whose certificates are whose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<CertificateClientDoc>,
    /// Whether services get the certificate, in `Client-Cert` (RFC 9440).
    #[serde(default = "CertificateAuthorityDoc::forward_default")]
    pub forward: bool,
}

impl CertificateAuthorityDoc {
    const fn forward_default() -> bool {
        true
    }
}

/// `certificate_authorities[].crl_depth`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlDepthDoc {
    /// The client's alone.
    Leaf,
    /// All but the root.
    #[default]
    Chain,
}

/// `certificate_authorities[].expired_crls`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiredCrlsDoc {
    /// Nothing: certificates that would be looked up in it are refused.
    #[default]
    Deny,
    /// What it was worth before.
    Allow,
}

/// One client of an authority, by exactly one of its names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateClientDoc {
    /// The application that its calls count for.
    pub application: String,
    /// A host name among the certificate's `subjectAltName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// A URI there, such as a SPIFFE id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// An address of mail there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The SHA-256 hash of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
}

/// `signers[]`: who signs requests (RFC 9421), by which key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerDoc {
    /// Its name here, and the `keyid` of its signatures.
    pub name: String,
    /// The application that its calls count for.
    pub application: String,
    /// The one algorithm that its key is used with. `hmac-sha256` is refused: a shared secret has no place in a document.
    pub algorithm: String,
    /// Its public key: one PEM section `PUBLIC KEY`, or a JSON Web Key (RFC 7517). It is kept as it was written.
    pub key: Value,
}

/// `upstreams[].principal`: the service gets `Causeway-Principal`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrincipalDoc {
    /// What `aud` says; the service's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}
