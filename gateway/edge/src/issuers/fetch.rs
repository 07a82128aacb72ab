//! Fetches a key set: over https alone, from a public address alone, without following anybody anywhere else.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{
    jwt::{
        introspection,
        keys::{KeySet, SetFault},
    },
    structure::identity::{Place, Remote},
};
use rustls::ClientConfig;
use url::Url;

use super::introspect::client::Question;
use crate::outside::{self, Addresses};

/// One byte more than the largest key set, so that it says itself that it is too long.
const ANSWER_BYTES_MAX: usize = (256 << 10) + 1;

/// Why there is no key set, or no answer about a token. No part of what was said stands in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It took too long.
    #[error("it took longer than two seconds")]
    Late,
    /// The name is not known.
    #[error("its name cannot be looked up: {0}")]
    Name(std::io::Error),
    /// It is at an address that is not public.
    #[error("it is at an address that is not public; `private_addresses: true` allows that")]
    NotPublic,
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// The roots cannot be used.
    #[error("{0}")]
    Trust(String),
    /// The answer is no HTTP.
    #[error("the answer is not valid HTTP: {0}")]
    Http(hyper::Error),
    /// The answer is not 200. Redirects are not followed: whoever can make one would choose the keys.
    #[error("the answer is {0} and not 200; redirects are not followed")]
    Status(StatusCode),
    /// The body broke off, or is too long.
    #[error("the answer is longer than it may be, or broke off")]
    Body,
    /// The configuration is not JSON with `issuer` and `jwks_uri`.
    #[error("the issuer's configuration is not one: `issuer` and an https `jwks_uri` must be there")]
    Configuration,
    /// The configuration is another issuer's.
    #[error("the issuer's configuration names another issuer")]
    OtherIssuer,
    /// The set cannot be taken.
    #[error("{0}")]
    Set(SetFault),
    /// What an issuer said about a token cannot be understood.
    #[error("{0}")]
    Answer(introspection::Fault),
    /// There is nothing to prove the node with.
    #[error("this node has no such client")]
    NoClient,
    /// No key of the set can be used: the set before is better than none.
    #[error("no key of the set can be used")]
    NoKeys,
}

impl From<outside::Fault> for Fault {
    fn from(fault: outside::Fault) -> Self {
        match fault {
            outside::Fault::Place => Self::Configuration,
            outside::Fault::Name(error) => Self::Name(error),
            outside::Fault::NotPublic => Self::NotPublic,
            outside::Fault::Connect(error) => Self::Connect(error),
            outside::Fault::Http(error) => Self::Http(error),
            outside::Fault::Body(_) => Self::Body,
        }
    }
}

/// Fetches the key set. `trust` is made at the first time and kept: the system's roots are some hundred certificates.
///
/// # Errors
/// The first [`Fault`].
///
/// # Cancel
/// Closes the connection.
pub(super) async fn key_set(remote: &Remote, trust: &mut Option<Arc<ClientConfig>>) -> Result<KeySet, Fault> {
    let tls = match trust {
        Some(tls) => Arc::clone(tls),
        None => Arc::clone(trust.insert(outside::tls(remote.ca.as_deref()).map_err(Fault::Trust)?)),
    };
    let text = match &remote.place {
        Place::KeySet(url) => get(url, remote, &tls).await?,
        Place::Configuration { url, issuer } => {
            let place = place(&get(url, remote, &tls).await?, issuer)?;
            get(&place, remote, &tls).await?
        }
    };
    let keys = KeySet::from_jwks(&text, remote.algorithms).map_err(Fault::Set)?;
    if keys.n_usable() == 0 { Err(Fault::NoKeys) } else { Ok(keys) }
}

/// Where a configuration says that the keys are (`OpenID` Connect Discovery 1.0 section 4.3: it must name the issuer exactly).
fn place(text: &str, issuer: &str) -> Result<Url, Fault> {
    let configuration: serde_json::Value = serde_json::from_str(text).map_err(|_| Fault::Configuration)?;
    let member = |name: &str| configuration.get(name).and_then(serde_json::Value::as_str).ok_or(Fault::Configuration);
    if member("issuer")? != issuer {
        return Err(Fault::OtherIssuer);
    }
    let url = Url::parse(member("jwks_uri")?).map_err(|_| Fault::Configuration)?;
    let is_plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    if is_plain { Ok(url) } else { Err(Fault::Configuration) }
}

async fn get(url: &Url, remote: &Remote, tls: &Arc<ClientConfig>) -> Result<String, Fault> {
    let asked = Asked { url, allows_private: remote.allows_private, bytes_max: ANSWER_BYTES_MAX, question: None };
    String::from_utf8(exchange(asked, tls).await?.into()).map_err(|_| Fault::Set(SetFault::Malformed))
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) url: &'a Url,
    /// Whether it may be at an address that is not public.
    pub(super) allows_private: bool,
    /// The longest answer.
    pub(super) bytes_max: usize,
    /// What is sent, and by whom; without it, something is fetched.
    pub(super) question: Option<Question>,
}

/// One request on a connection of its own, and the body of its answer.
///
/// # Errors
/// The first [`Fault`]; an answer that is not 200 is one.
///
/// # Cancel
/// Closes the connection.
pub(super) async fn exchange(asked: Asked<'_>, tls: &Arc<ClientConfig>) -> Result<Bytes, Fault> {
    let Asked { url, allows_private, bytes_max, question } = asked;
    let addresses = if allows_private { Addresses::Any } else { Addresses::PublicAlone };
    let mut fields = HeaderMap::new();
    let mut sent = None;
    match question {
        None => {
            fields.insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        }
        Some(Question { authorization, body }) => {
            fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
            fields.insert(header::AUTHORIZATION, authorization);
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            sent = Some(body);
        }
    }
    let answer = outside::send(outside::Question { url, addresses, body: sent, fields }, tls).await?;
    if answer.status() != StatusCode::OK {
        return Err(Fault::Status(answer.status()));
    }
    Ok(answer.body(bytes_max).await?)
}
