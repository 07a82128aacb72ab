//! The token endpoint (RFC 6749 section 3.2): an API key becomes an access token for some minutes.
//!
//! What a client sends in OAuth's own form is brought into the gateway's first ([`lift`]), so that the key goes the way of every
//! key: authenticated, held against what it is bound to, limited and recorded. Then [`answer`] makes the token.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use model::{
    access_token::Grant,
    key::Presented,
    problem::{Denial, ProblemKind},
    structure::TokenEndpoint,
};
use url::form_urlencoded;

use crate::{authenticate::Principal, body::BodyError, head::Head, intake::Intake, limit::Admitted, runtime::Edge, validate};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The media type of token requests (RFC 6749 section 4.4.2).
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// Largest form: a key and every scope that it may have.
const FORM_BYTES_MAX: usize = 8 << 10;

/// What a client wants, its credential aside.
#[derive(Debug, Default)]
pub struct Wish {
    scopes: Option<Vec<Box<str>>>,
}

/// Reads a token request, and puts its key where every other request has it.
///
/// # Errors
/// `request-malformed`, `content-type-unsupported`, `body-too-large`, `request-timeout`, `grant-unsupported`, `credentials-missing`,
/// `credentials-invalid`.
///
/// # Cancel
/// Loses nothing.
pub async fn lift(head: &mut Head, body: &mut Intake, stall: Duration, within: Duration) -> Result<Wish, Denial> {
    let headers = &head.parts.headers;
    let media = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !media.eq_ignore_ascii_case(FORM) {
        return Err(Denial::new(ProblemKind::ContentTypeUnsupported, "a token request is a form: application/x-www-form-urlencoded"));
    }
    let whole = tokio::time::timeout(within, read(body, stall)).await.map_err(|_| validate::stalled())??;
    let form = Form::parse(&whole)?;
    let key = credential(headers, &form)?;
    match form.grant_type.as_deref() {
        Some("client_credentials") => {}
        None => return Err(malformed("the form lacks grant_type=client_credentials")),
        Some(_) => return Err(Denial::new(ProblemKind::GrantUnsupported, "the only grant here is grant_type=client_credentials")),
    }
    let mut value = HeaderValue::from_str(&key).map_err(|_| invalid_client())?;
    value.set_sensitive(true);
    let headers = &mut head.parts.headers;
    headers.remove(header::AUTHORIZATION);
    headers.insert(API_KEY, value);
    let scopes = form.scope.map(|scope| scope.split(' ').filter(|scope| !scope.is_empty()).map(Box::from).collect());
    Ok(Wish { scopes })
}

/// Makes the token that an admitted client wants.
///
/// # Errors
/// `scope-invalid`; `internal` when it cannot be made.
pub fn answer(endpoint: TokenEndpoint, admitted: &Admitted<'_>, wish: Wish, host: &str, edge: &Edge) -> Result<Response<Bytes>, Denial> {
    let cannot = || Denial::new(ProblemKind::Internal, "the gateway cannot make a token");
    let principal = admitted.permit().principal().ok_or_else(cannot)?;
    let proof = principal.key().ok_or_else(cannot)?;
    let scopes = granted(principal, wish)?;
    let now = edge.clock.now().wall;
    let until = proof.key.valid_until(proof.secret_number, now);
    let left = until.map_or(0, |until| until.0.saturating_sub(now.0).div_euclid(1_000_000));
    let lives_seconds = endpoint.lifetime_seconds.min(left);
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| cannot())?;
    let grant = Grant {
        origin: &format!("https://{host}"),
        application: &principal.application.name,
        key: proof.id,
        secret_number: proof.secret_number,
        scopes: &scopes,
        issued_at: now,
        lives_seconds,
        id,
    };
    let token = edge.tokens.mint(&grant).ok_or_else(cannot)?;
    let body = serde_json::json!({
        "access_token": token.expose_secret(),
        "token_type": "Bearer",
        "expires_in": lives_seconds,
        "scope": scopes.join(" "),
    });
    let mut response = Response::new(Bytes::from(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // RFC 6749 section 5.1.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The scopes that are wanted, if the key has all of them; all that it has when none are named (RFC 6749 section 3.3).
fn granted(principal: &Principal, wish: Wish) -> Result<Box<[Box<str>]>, Denial> {
    let Some(wanted) = wish.scopes else { return Ok(principal.scopes.iter().cloned().collect()) };
    if !wanted.iter().all(|scope| principal.scopes.contains(scope)) {
        // Not echoed: it need not be a scope, and the caller knows what it sent.
        let detail = "the key does not have every scope that was asked for; leave `scope` out for all that it has";
        return Err(Denial::new(ProblemKind::ScopeInvalid, detail));
    }
    Ok(principal.scopes.iter().filter(|scope| wanted.contains(scope)).cloned().collect())
}

/// The key of a client: in the user name and password of HTTP Basic, or in the form (RFC 6749 section 2.3.1). One place alone.
fn credential(headers: &HeaderMap, form: &Form) -> Result<String, Denial> {
    if headers.contains_key(API_KEY) {
        return Err(malformed("send the key as the client's secret: by HTTP Basic, or as client_secret in the form"));
    }
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (id, secret) = match (fields.next(), &form.client_secret) {
        (Some(_), Some(_)) => return Err(malformed("the client authenticates twice: by HTTP Basic, and in the form")),
        (Some(_), None) if fields.next().is_some() => return Err(malformed("the Authorization header is repeated")),
        (Some(field), None) => {
            let (id, secret) = field.to_str().ok().and_then(basic).ok_or_else(invalid_client)?;
            if form.client_id.as_deref().is_some_and(|other| *other != *id) {
                return Err(malformed("client_id in the form is not the one of HTTP Basic"));
            }
            (Some(id), secret)
        }
        (None, Some(secret)) => (form.client_id.clone(), secret.clone()),
        (None, None) => {
            return Err(Denial::new(
                ProblemKind::CredentialsMissing,
                "send the key's id as client_id and the whole key as client_secret, by HTTP Basic or in the form",
            ));
        }
    };
    // A token of this endpoint is no secret of a client: it would live forever.
    let presented = Presented::parse(&secret).ok_or_else(invalid_client)?;
    // A client that thinks it is another one would not notice (RFC 6749 section 2.3.1 has both).
    if id.as_deref() != Some(presented.id.as_str()) {
        return Err(invalid_client());
    }
    Ok(secret)
}

/// The user name and password of HTTP Basic (RFC 7617). Neither ids nor keys hold anything that forms would escape.
fn basic(field: &str) -> Option<(String, String)> {
    let (scheme, text) = field.split_once(' ')?;
    let text = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(text.trim().as_bytes()).ok())??;
    let (id, secret) = std::str::from_utf8(&text).ok()?.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// The parameters that are known here; others are ignored (RFC 6749 section 3.2).
#[derive(Default)]
struct Form {
    grant_type: Option<String>,
    scope: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

impl Form {
    fn parse(text: &[u8]) -> Result<Self, Denial> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(text) {
            let place = match &*name {
                "grant_type" => &mut form.grant_type,
                "scope" => &mut form.scope,
                "client_id" => &mut form.client_id,
                "client_secret" => &mut form.client_secret,
                // What would change who asks, if it were understood.
                "client_assertion" | "client_assertion_type" => return Err(malformed("clients authenticate by their key alone")),
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(malformed("a parameter of the form stands twice"));
            }
        }
        // A parameter without a value counts as left out (RFC 6749 section 3.2).
        for place in [&mut form.grant_type, &mut form.scope, &mut form.client_id, &mut form.client_secret] {
            place.take_if(|value| value.is_empty());
        }
        Ok(form)
    }
}

async fn read(body: &mut Intake, stall: Duration) -> Result<Bytes, Denial> {
    body.settle(stall).await.map_err(|error| if error == BodyError::Stalled { validate::stalled() } else { broken() })?;
    let mut whole = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = tokio::time::timeout(stall, body.frame()).await.map_err(|_| validate::stalled())? else { break };
        let Ok(data) = frame.map_err(|_| broken())?.into_data() else { continue };
        if whole.len().saturating_add(data.len()) > FORM_BYTES_MAX {
            return Err(Denial::new(ProblemKind::BodyTooLarge, format!("a token request has at most {FORM_BYTES_MAX} bytes")));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

fn malformed(detail: &'static str) -> Denial {
    Denial::new(ProblemKind::RequestMalformed, detail)
}

fn broken() -> Denial {
    malformed("the body broke off, or is not as long as the head announced")
}

fn invalid_client() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the client is not accepted; client_id is the key's id, client_secret the whole key")
}

#[cfg(test)]
mod tests;
