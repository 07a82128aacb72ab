//! What a node proves itself with to an issuer that it asks about tokens.

use std::fmt;

use bytes::Bytes;
use data_encoding::BASE64;
use http::HeaderValue;
use model::secret::SecretText;
use url::form_urlencoded::{Serializer, byte_serialize};

/// A client of an issuer, by its id and a secret (RFC 6749 section 2.3.1).
#[derive(Debug, Clone)]
pub struct Client {
    /// Sensitive, so that it is printed nowhere.
    authorization: HeaderValue,
}

/// A question about a token, ready to be sent.
pub(in crate::issuers) struct Question {
    pub(in crate::issuers) authorization: HeaderValue,
    pub(in crate::issuers) body: Bytes,
}

/// The token stays out of logs.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").finish_non_exhaustive()
    }
}

impl Client {
    /// The client with this id and secret; `None` when one of them is empty.
    pub fn new(id: &str, secret: &SecretText) -> Option<Self> {
        if id.is_empty() || secret.expose_secret().is_empty() {
            return None;
        }
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(id), encoded(secret.expose_secret()));
        let mut authorization = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair.as_bytes()))).ok()?;
        authorization.set_sensitive(true);
        Some(Self { authorization })
    }

    /// The question about a token (RFC 7662 section 2.1).
    pub(super) fn question(&self, token: &str) -> Question {
        let body = Serializer::new(String::new()).append_pair("token", token).append_pair("token_type_hint", "access_token").finish();
        Question { authorization: self.authorization.clone(), body: body.into() }
    }
}
