//! What a route does to messages on their way, ready to be done.

use http::{HeaderName, HeaderValue, Method};

use crate::{filter::CodingDoc, origin::Origins};

/// Everything that is off unless it is written; a route without any of it has no such value.
#[derive(Debug, Default)]
pub struct Filters {
    /// Pages of other origins.
    pub cors: Option<Cors>,
    /// Changes of fields towards the service.
    pub request_fields: Option<FieldRules>,
    /// Changes of fields towards the client.
    pub response_fields: Option<FieldRules>,
    /// Compression of responses.
    pub compression: Option<Compression>,
    /// Responses that are kept.
    pub cache: Option<CacheRules>,
}

impl Filters {
    /// True when nothing is asked for.
    pub const fn is_empty(&self) -> bool {
        self.cors.is_none() && self.request_fields.is_none() && self.response_fields.is_none() && self.compression.is_none() && self.cache.is_none()
    }
}

/// Answers to browsers about pages of other origins.
#[derive(Debug)]
pub struct Cors {
    /// Who may ask.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`.
    pub methods: HeaderValue,
    /// `Access-Control-Allow-Headers`: a list, or whatever the browser names when `None`.
    pub headers: Option<HeaderValue>,
    /// `Access-Control-Expose-Headers`.
    pub expose: Option<HeaderValue>,
    /// Whether pages may send cookies and client certificates.
    pub credentials: bool,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: HeaderValue,
}

/// Changes of header fields: first what goes, then what is set, then what is added.
#[derive(Debug, Default)]
pub struct FieldRules {
    /// Fields that go.
    pub remove: Box<[HeaderName]>,
    /// Fields that get exactly one value.
    pub set: Box<[(HeaderName, FieldText)]>,
    /// Values that come beside those that are there.
    pub add: Box<[(HeaderName, FieldText)]>,
}

impl FieldRules {
    /// True when a field gets a value from these rules.
    pub fn gives(&self, name: &HeaderName) -> bool {
        self.set.iter().chain(&self.add).any(|(given, _)| given == name)
    }

    /// Every variable that the values speak of.
    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        let texts = self.set.iter().chain(&self.add).map(|(_, text)| text);
        let parts = texts.flat_map(|text| match text {
            FieldText::Fixed(_) => &[],
            FieldText::Parts(parts) => &**parts,
        });
        parts.filter_map(|part| match part {
            FieldPart::Text(_) => None,
            FieldPart::Variable(variable) => Some(*variable),
        })
    }
}

/// A field's value: fixed, or made for each message.
#[derive(Debug)]
pub enum FieldText {
    /// The same for all.
    Fixed(HeaderValue),
    /// Text and variables, in order.
    Parts(Box<[FieldPart]>),
}

/// A part of a field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPart {
    /// Text.
    Text(Box<str>),
    /// What a variable stands for.
    Variable(Variable),
}

/// What a field's value may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variable {
    /// The id in `X-Request-Id`.
    RequestId,
    /// The caller's consumer.
    Consumer,
    /// The caller's application.
    Application,
    /// The public id of the caller's key; nothing for callers with a token alone.
    KeyId,
    /// Whom the caller's token is about; nothing for callers with a key alone.
    Subject,
    /// The name of the token's issuer here.
    Issuer,
    /// The owner of the host name.
    Tenant,
    /// The route's name.
    Route,
    /// The region of this node.
    Region,
    /// Where the request came from.
    ClientAddress,
    /// The host name that was asked for, without port.
    Host,
}

impl Variable {
    /// Every variable, with its name.
    pub const ALL: [(&'static str, Self); 11] = [
        ("request_id", Self::RequestId),
        ("consumer", Self::Consumer),
        ("application", Self::Application),
        ("key_id", Self::KeyId),
        ("subject", Self::Subject),
        ("issuer", Self::Issuer),
        ("tenant", Self::Tenant),
        ("route", Self::Route),
        ("region", Self::Region),
        ("client_address", Self::ClientAddress),
        ("host", Self::Host),
    ];

    /// True for what only an authenticated request has.
    pub const fn is_about_caller(self) -> bool {
        matches!(self, Self::Consumer | Self::Application | Self::KeyId | Self::Subject | Self::Issuer)
    }
}

/// What the `Host` field says to the service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UpstreamHost {
    /// The target's own name.
    #[default]
    Target,
    /// What the client asked for.
    Preserve,
    /// This name.
    Name(HeaderValue),
}

/// Which responses are compressed, and how.
#[derive(Debug)]
pub struct Compression {
    /// Media types in lower case; one that ends in `/` stands for the whole family.
    pub types: Box<[Box<str>]>,
    /// Codings, the preferred first.
    pub codings: Box<[CodingDoc]>,
    /// Responses that are known to be smaller stay as they are, in bytes.
    pub bytes_min: u64,
}

impl Compression {
    /// True for a `Content-Type` that is on the list. A family does not cover `text/event-stream`, which must be named, nor
    /// gRPC, which compresses its own messages.
    pub fn covers(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let family = essence.find('/').and_then(|at| essence.get(..=at));
        self.types.iter().any(|listed| {
            listed.eq_ignore_ascii_case(essence)
                || listed.ends_with('/')
                    && family.is_some_and(|family| listed.eq_ignore_ascii_case(family))
                    && !essence.eq_ignore_ascii_case("text/event-stream")
                    && !essence.get(.."application/grpc".len()).is_some_and(|start| start.eq_ignore_ascii_case("application/grpc"))
        })
    }
}

/// How responses of a route are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRules {
    /// Tells responses of this document's route and service from those of any other.
    pub scope: u64,
    /// One stored response for all consumers.
    pub shared: bool,
    /// The largest body that is kept, in bytes.
    pub object_bytes_max: u64,
    /// Stale while asked for again, in seconds.
    pub while_revalidate: u64,
    /// Stale when the service fails, in seconds.
    pub if_error: u64,
}

/// Methods that a page may use when neither `cors.methods` nor the route names any.
pub const CORS_METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
