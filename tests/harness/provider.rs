//! An `OpenID` provider, played over HTTPS: it signs real tokens, asks for PKCE and for the client's secret, takes a code once, and can lie in
//! every way.
//!
//! # Source
//! `OpenID` Connect Core 1.0 §3.1 and Discovery 1.0 §4, RFC 6749 §4.1 and §5.2, RFC 7636 §4.6, RFC 9207.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use url::{Url, form_urlencoded};

use crate::issuer::Signer;
use crate::listening::accept_each;

/// What the provider calls the deployment, and what the deployment shows it.
pub const CLIENT: &str = "causeway test";
/// With characters that have to be encoded (RFC 6749 §2.3.1).
pub const SECRET: &str = "s3cret:of/the+client";

/// What is wrong with what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// The token is of another sign-in.
    Nonce,
    /// It has no nonce.
    NoNonce,
    /// The token is for somebody else.
    Audience,
    /// It is for somebody else, too.
    Audiences,
    /// It was issued to somebody else.
    Party,
    /// It is over.
    Expired,
    /// It was issued long ago.
    Old,
    /// It says that another issuer made it.
    Issuer,
    /// It is signed with a key that is not published.
    Key,
    /// It is not signed.
    Unsigned,
    /// It is an access token.
    AccessToken,
    /// The answer is longer than anybody wants.
    Huge,
    /// The answer is elsewhere.
    Redirect,
    /// There is no token in the answer.
    NoToken,
    /// The answer to the browser says that it is another provider's.
    MixUp,
    /// The configuration is another issuer's.
    Configuration,
    /// The mail address is not verified.
    Unverified,
    /// It says nothing about itself, and does not hang up.
    Silent,
}

/// Who is signed in at the provider.
#[derive(Debug, Clone)]
pub struct User {
    /// For ever.
    pub subject: String,
    /// What they say it is.
    pub email: String,
    /// What roles come from.
    pub groups: Vec<String>,
}

/// The provider.
#[derive(Debug)]
pub struct Provider {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    signer: Signer,
    other: Signer,
    lie: Mutex<Lie>,
    user: Mutex<User>,
    codes: Mutex<HashMap<String, Grant>>,
    drawn: AtomicU64,
    redeemed: AtomicU64,
    asked: AtomicU64,
}

/// What a code stands for.
#[derive(Debug, Clone)]
struct Grant {
    redirect: String,
    nonce: String,
    challenge: String,
    user: User,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Provider {
    /// Starts it on a port of its own, with a certificate for `127.0.0.1`.
    ///
    /// # Errors
    /// When the files cannot be read, or there is no port.
    pub async fn start(certificate: &Path, key: &Path, user: User) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let shared = Arc::new(Shared {
            url: format!("https://127.0.0.1:{}", listener.local_addr()?.port()),
            signer: Signer::p256("first")?,
            other: Signer::p256("first")?,
            lie: Mutex::new(Lie::None),
            user: Mutex::new(user),
            codes: Mutex::default(),
            drawn: AtomicU64::new(0),
            redeemed: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        });
        let served = Arc::clone(&shared);
        let tasks = accept_each(listener, move |stream| {
            let (tls, shared) = (tls.clone(), Arc::clone(&served));
            async move { serve(stream, &tls, &shared).await.unwrap_or_default() }
        });
        Ok(Self { shared, _tasks: tasks })
    }

    /// `iss`, and where it is.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Lies from now on.
    pub fn lie(&self, lie: Lie) {
        *locked(&self.shared.lie) = lie;
    }

    /// Somebody else sits there from now on.
    pub fn seat(&self, user: User) {
        *locked(&self.shared.user) = user;
    }

    /// How many requests there were, of everybody.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// How many codes were redeemed.
    pub fn redeemed(&self) -> u64 {
        self.shared.redeemed.load(Ordering::Acquire)
    }
}

/// A request, as far as it matters here.
struct Asked {
    target: String,
    authorization: String,
    body: String,
}

impl Asked {
    async fn read(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<Self> {
        let mut read = Vec::new();
        let end = loop {
            if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(stream.read_buf(&mut read).await? > 0 && read.len() < 16_384, "no head");
        };
        let head = String::from_utf8(read.get(..end).context("no head")?.to_vec())?;
        let field = |name: &str| {
            let value = head.lines().find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)));
            value.map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let length: usize = field("content-length").parse().unwrap_or(0);
        while read.len() < end + length {
            ensure!(stream.read_buf(&mut read).await? > 0, "no body");
        }
        let target = head.split(' ').nth(1).context("no target")?.to_owned();
        let body = String::from_utf8(read.get(end..end + length).context("no body")?.to_vec())?;
        Ok(Self { target, authorization: field("authorization"), body })
    }
}

fn fields(text: &str) -> HashMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

async fn serve(stream: TcpStream, tls: &TlsAcceptor, shared: &Shared) -> Result<()> {
    let mut stream = tls.accept(stream).await?;
    let asked = Asked::read(&mut stream).await?;
    shared.asked.fetch_add(1, Ordering::AcqRel);
    let lie = *locked(&shared.lie);
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    if lie == Lie::Silent {
        return std::future::pending().await;
    }
    let answer = match path {
        "/.well-known/openid-configuration" => whole(200, "", &configuration(shared, lie).to_string()),
        "/keys" => whole(200, "", &json!({ "keys": [shared.signer.jwk()?] }).to_string()),
        "/authorize" => match authorized(shared, &fields(query), lie) {
            Ok(place) => whole(302, &format!("location: {place}\r\n"), ""),
            Err(error) => whole(400, "", &format!("{error:#}")),
        },
        "/token" => match token(shared, &asked, lie) {
            Ok(_) if lie == Lie::Redirect => whole(307, "location: /elsewhere\r\n", ""),
            Ok(token) => {
                let filler = if lie == Lie::Huge { " ".repeat(70_000) } else { String::new() };
                let mut members = json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 300 });
                if lie != Lie::NoToken
                    && let Some(members) = members.as_object_mut()
                {
                    members.insert("id_token".to_owned(), json!(token));
                }
                whole(200, "cache-control: no-store\r\n", &(members.to_string() + &filler))
            }
            Err(error) => whole(400, "", &json!({ "error": "invalid_grant", "error_description": format!("{error:#}") }).to_string()),
        },
        _ => whole(404, "", ""),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

fn whole(status: u16, more: &str, text: &str) -> String {
    format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n{text}", text.len())
}

fn configuration(shared: &Shared, lie: Lie) -> Value {
    let url = &shared.url;
    let issuer = if lie == Lie::Configuration { "https://other.example" } else { url };
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"], "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

/// Whoever sits there says yes. Where the browser goes then.
fn authorized(shared: &Shared, asked: &HashMap<String, String>, lie: Lie) -> Result<Url> {
    let get = |name: &str| asked.get(name).with_context(|| format!("{name} is missing"));
    ensure!(get("client_id")? == CLIENT && get("response_type")? == "code" && get("code_challenge_method")? == "S256", "another kind of request");
    ensure!(get("scope")?.split(' ').any(|scope| scope == "openid"), "no openid");
    let grant = Grant {
        redirect: get("redirect_uri")?.clone(),
        nonce: get("nonce")?.clone(),
        challenge: get("code_challenge")?.clone(),
        user: locked(&shared.user).clone(),
    };
    let mut place = Url::parse(&grant.redirect)?;
    let code = format!("code-{}", shared.drawn.fetch_add(1, Ordering::AcqRel));
    locked(&shared.codes).insert(code.clone(), grant);
    let issuer = if lie == Lie::MixUp { "https://other.example" } else { &shared.url };
    place.query_pairs_mut().append_pair("code", &code).append_pair("state", get("state")?).append_pair("iss", issuer);
    Ok(place)
}

fn token(shared: &Shared, asked: &Asked, lie: Lie) -> Result<String> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let expected = format!("Basic {}", BASE64.encode(format!("{}:{}", encoded(CLIENT), encoded(SECRET)).as_bytes()));
    ensure!(asked.authorization == expected, "another client");
    let form = fields(&asked.body);
    let get = |name: &str| form.get(name).with_context(|| format!("{name} is missing"));
    ensure!(get("grant_type")? == "authorization_code", "another grant");
    let grant = locked(&shared.codes).remove(get("code")?).context("no such code, or used before")?;
    ensure!(*get("redirect_uri")? == grant.redirect, "another redirect");
    let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, get("code_verifier")?.as_bytes()).as_ref());
    ensure!(challenge == grant.challenge, "another verifier");
    shared.redeemed.fetch_add(1, Ordering::AcqRel);
    signed(shared, &grant, lie)
}

fn signed(shared: &Shared, grant: &Grant, lie: Lie) -> Result<String> {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let mut claims = json!({
        "iss": shared.url, "sub": grant.user.subject, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": grant.nonce,
        "email": grant.user.email, "email_verified": lie != Lie::Unverified, "name": "Ann Bell", "groups": grant.user.groups,
    });
    let more = match lie {
        Lie::Nonce => json!({ "nonce": "of another sign-in" }),
        Lie::NoNonce => json!({ "nonce": null }),
        Lie::Audience => json!({ "aud": "somebody else" }),
        Lie::Audiences => json!({ "aud": [CLIENT, "somebody else"] }),
        Lie::Party => json!({ "azp": "somebody else" }),
        Lie::Expired => json!({ "exp": now - 60, "iat": now - 120 }),
        Lie::Old => json!({ "iat": now - 3_600 }),
        Lie::Issuer => json!({ "iss": "https://other.example" }),
        Lie::None
        | Lie::Key
        | Lie::Unsigned
        | Lie::AccessToken
        | Lie::Huge
        | Lie::Redirect
        | Lie::NoToken
        | Lie::MixUp
        | Lie::Configuration
        | Lie::Unverified
        | Lie::Silent => json!({}),
    };
    if let (Some(claims), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        claims.extend(more.clone());
    }
    if lie == Lie::Unsigned {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        return Ok(format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims)));
    }
    let ty = if lie == Lie::AccessToken { "at+jwt" } else { "JWT" };
    let signer = if lie == Lie::Key { &shared.other } else { &shared.signer };
    signer.compact(&json!({ "alg": signer.algorithm(), "kid": signer.key_id, "typ": ty }).to_string(), &claims.to_string())
}
